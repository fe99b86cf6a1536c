"""The reference evaluator: design section 4, "How a document decides", written out slowly.

It works on plain dicts, as documents stand in a file, and shares nothing with `streams`. Nothing here is compiled,
indexed or clever: the places an address may be in are listed one by one, a fact's possible values are read off that
list, and a condition is asked of every one of them. Where this and the core differ, the text decides which is wrong.

In brackets: numbers of RULINGS.md, or "4.N", the numbered points of the design's normative list.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

ANONYMISED = {"tor", "vpn", "proxy"}
CONNECTIONS = {"tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential", "other"}
TERRITORY = ("country", "subdivision", "continent")
SCOPES = ("service", "account", "meeting")
STRICTNESS = ("admit", "alert", "remove")
NO_SUBDIVISION = None
SOME_OTHER_ASN = -1

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Vocabulary:
    """The places there are.

    Attributes:
        continents: country code to continent code.
        subdivisions: country code to its subdivision codes; a country that is missing, or has an empty tuple, has none.
    """

    continents: dict[str, str]
    subdivisions: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Place:
    """One place an address may be in."""

    country: str
    subdivision: str | None
    continent: str


def places(facts: dict[str, Any], vocabulary: Vocabulary) -> list[Place]:
    """Every place that contradicts nothing known [1].

    A file's own continent wins over the table [2]: when the country is known too, or settled by a known subdivision,
    that country lies where the file says.
    """
    everywhere = [
        Place(country, subdivision, continent)
        for country, continent in vocabulary.continents.items()
        for subdivision in vocabulary.subdivisions.get(country) or (NO_SUBDIVISION,)
    ]
    found = [place for place in everywhere if facts["country"] in (None, place.country)]
    found = [place for place in found if facts["subdivision"] in (None, place.subdivision)]
    if facts["continent"] is None:
        return found
    if facts["country"] is not None or facts["subdivision"] is not None:
        return [Place(place.country, place.subdivision, facts["continent"]) for place in found]
    return [place for place in found if place.continent == facts["continent"]]


def hidden(facts: dict[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """The facts after what the connection takes away [4.2, 7].

    Raises:
        ValueError: the connection may be a relay or anonymised but nothing else, which the text does not settle.
    """
    connection = set(facts["connection"])
    if connection <= ANONYMISED:
        return {**facts, "country": None, "subdivision": None, "continent": None}
    if connection == {"relay"}:
        # What the subdivision settled stays known: the country is the relay's to keep.
        settled = places(facts, vocabulary)[0] if facts["subdivision"] else None
        country = settled.country if settled else facts["country"]
        continent = settled.continent if settled else facts["continent"]
        return {**facts, "country": country, "continent": continent, "subdivision": None}
    if connection <= ANONYMISED | {"relay"}:
        raise ValueError("relay or anonymised: not settled by the text")
    return facts


def possible(
    document: dict[str, Any], join: dict[str, Any], facts: dict[str, Any], vocabulary: Vocabulary
) -> dict[str, set[Any]]:
    """For each fact but the network the set of its possible values.

    An unknown ASN may be any integer. No finite list tells those it does not name apart, so one stands for them all.
    """
    here = places(facts, vocabulary)
    named = {asn for rule in document["rules"] for asn in listed(rule.get("when", {}).get("asn", []))}
    return {
        "country": {place.country for place in here},
        "subdivision": {place.subdivision for place in here},
        "continent": {place.continent for place in here},
        "asn": named | {SOME_OTHER_ASN} if facts["asn"] is None else {facts["asn"]},
        "connection": set(facts["connection"]),
        "role": {join["role"]},
        "stage": {join["stage"]},
    }


def listed(condition: Any) -> list[Any]:
    """The values a condition names, whichever way."""
    named: list[Any] = condition["not"] if isinstance(condition, dict) else condition
    return named


def holds(condition: Any, value: Any) -> bool:
    """Whether one value satisfies a condition: any of, or none of [5]."""
    return value not in condition["not"] if isinstance(condition, dict) else value in condition


def truth_of_network(condition: Any, address: Address | None) -> str:
    """Whether the unwrapped address lies in the networks; without an address it stays open [10]."""
    if address is None:
        return "open"
    inside = False
    for text in listed(condition):
        network = ipaddress.ip_network(text)
        if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
            network = ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
        if network.version == address.version and address in network:
            inside = True
    return "true" if inside != isinstance(condition, dict) else "false"


def truth(condition: Any, values: set[Any]) -> str:
    """True if all possible values satisfy it, false if none does, else open [4.3]."""
    answers = {holds(condition, value) for value in values}
    if answers == {True}:
        return "true"
    if answers == {False}:
        return "false"
    return "open"


def truth_of_rule(rule: dict[str, Any], values: dict[str, set[Any]], address: Address | None) -> str:
    """All-of: any false is false, all true is true, else open [4.3]. No `when` matches all."""
    answers = []
    for field, condition in rule.get("when", {}).items():
        if field == "network":
            answers.append(truth_of_network(condition, address))
        else:
            answers.append(truth(condition, values[field]))
    if "false" in answers:
        return "false"
    if "open" in answers:
        return "open"
    return "true"


def path_of(document: dict[str, Any]) -> str:
    """The document's path, each part percent-encoded but for RFC 3986's unreserved characters [20]."""
    parts = (
        [document["scope"]] + [document[key] for key in ("account", "meeting") if key in document] + [document["name"]]
    )
    return "/".join(quote(part, safe="-._~") for part in parts)


def in_force(documents: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Of each path the revision that speaks at `now`, if any does [4.1, 14, 15]."""
    speaking = []
    for path in {path_of(document) for document in documents}:
        come = []
        for document in documents:
            if path_of(document) != path:
                continue
            opens = document.get("not_before")
            if document.get("retracted") or opens is None or datetime.fromisoformat(opens) <= now:
                come.append(document)
        if not come:
            continue
        highest = max(come, key=lambda document: document["revision"])
        if highest.get("retracted"):
            continue
        closes = highest.get("not_after")
        if closes is None or now < datetime.fromisoformat(closes):
            speaking.append(highest)
    return speaking


def applies(document: dict[str, Any], join: dict[str, Any]) -> bool:
    """Whether the join is one the document's scope reaches [4.5, C1]."""
    return all(key not in document or document[key] == join[key] for key in ("account", "meeting"))


def outcome_of(
    document: dict[str, Any], values: dict[str, set[Any]], address: Address | None
) -> tuple[str, str, dict[str, Any] | None]:
    """One document's verdict, outcome and, where a rule decided, that rule [4.4]."""
    verdicts = set()
    ending: tuple[str, str, dict[str, Any] | None] = (document["default"], "default", None)
    for rule in document["rules"]:
        answer = truth_of_rule(rule, values, address)
        if answer == "open":
            verdicts.add(rule["then"])
        if answer == "true":
            ending = (rule["then"], "rule", rule)
            break
    verdicts.add(ending[0])
    if len(verdicts) == 1:
        return ending
    return document.get("unknown", "admit" if document["scope"] == "service" else "alert"), "unknown", None


def capped(
    document: dict[str, Any],
    verdict: str,
    rule: dict[str, Any] | None,
    values: dict[str, set[Any]],
    join: dict[str, Any],
) -> str:
    """The verdict after C4's cap on service documents [13] and that on documents signed on an owner's behalf [30]."""
    if verdict != "remove":
        return verdict
    if document.get("on_behalf") and join["role"] in ("host", "cohost"):
        return "alert"
    if document["scope"] != "service":
        return verdict
    when = rule.get("when", {}) if rule else {}
    positive = [field for field in TERRITORY if isinstance(when.get(field), list)]
    located = any(len(values[field]) == 1 for field in positive)
    plain = not values["connection"] & ANONYMISED
    return "remove" if located and plain else "alert"


def matched_of(rule: dict[str, Any] | None, values: dict[str, set[Any]]) -> dict[str, Any]:
    """The facts the deciding rule names, null where not known; of a network only that it was looked at [22]."""
    matched: dict[str, Any] = {}
    for field in rule.get("when", {}) if rule else {}:
        if field == "network":
            matched[field] = True
        else:
            (value, *others) = values[field]
            # Connection `other` and a country without subdivisions have no name to show.
            matched[field] = None if others or value in ("other", SOME_OTHER_ASN) else value
    return matched


def decide(
    documents: list[dict[str, Any]],
    join: dict[str, Any],
    facts: dict[str, Any],
    now: datetime,
    vocabulary: Vocabulary,
    mode: str = "enforce",
) -> dict[str, Any] | None:
    """The decision on one join.

    Args:
        documents: all accepted revisions, as in a file; `on_behalf: true` marks a document signed so [30].
        join: meeting, account, role and stage, each a text.
        facts: country, subdivision, continent and asn, None where not known; connection, the set of possible values;
            address, unwrapped, None where it did not parse.
        now: the instant decided at, with an offset.
        vocabulary: the places there are.
        mode: `enforce`, or `report`, where None is returned when no document applies [24].

    Returns:
        verdict; reason, None or a dict of policy, revision, rule, outcome, class and matched; policies, path to
        revision.
    """
    known = hidden(facts, vocabulary)
    candidates = []
    for document in in_force(documents, now):
        if not applies(document, join) or document.get("mode", "enforce") != mode:
            continue
        full = {"rules": [], **document}
        values = possible(full, join, known, vocabulary)
        verdict, outcome, rule = outcome_of(full, values, facts["address"])
        candidates.append((full, capped(full, verdict, rule, values, join), outcome, rule, values))
    policies = {path_of(document): document["revision"] for document, *_ in candidates}
    if not candidates:
        return None if mode == "report" else {"verdict": "admit", "reason": None, "policies": {}}
    strictest = max((verdict for _, verdict, *_ in candidates), key=STRICTNESS.index)
    # The strictest; ties go to the widest scope, then to the lowest path [4.5, 22].
    document, verdict, outcome, rule, values = min(
        (candidate for candidate in candidates if candidate[1] == strictest),
        key=lambda candidate: (SCOPES.index(candidate[0]["scope"]), path_of(candidate[0])),
    )
    if verdict == "admit" and outcome == "default":
        return {"verdict": verdict, "reason": None, "policies": policies}
    silent = verdict != "remove" and (document["scope"] == "service" or document.get("on_behalf"))
    reason = {
        "policy": path_of(document),
        "revision": document["revision"],
        "rule": rule["id"] if rule else None,
        "outcome": outcome,
        "class": document["class"] if document["scope"] == "service" else "owner",
        "matched": {} if silent else matched_of(rule, values),  # No rosters [34].
    }
    return {"verdict": verdict, "reason": reason, "policies": policies}
