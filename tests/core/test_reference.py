"""The compiled core and the reference evaluator (tests/reference.py) agree on whatever documents and facts there are.

Fourteen countries on seven continents, some with two subdivisions and some with none, are enough for every way a list
can cover, touch or miss what is possible; documents come in all scopes, modes, windows and revisions, retractions
included.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from streams.core import decide as core
from streams.core.events import JoinData
from streams.core.facts import CONNECTIONS, OTHER, Facts, connection_bits, settle
from streams.core.facts import Vocabulary as CoreVocabulary
from streams.core.index import Index, Revision
from streams.core.policy import VERDICTS, parse
from tests import reference

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
CONTINENTS = {
    "AF": ("EG", "KE"),
    "AN": ("AQ", "TF"),
    "AS": ("JP", "SG"),
    "EU": ("AD", "FR"),
    "NA": ("CA", "US"),
    "OC": ("FJ", "NZ"),
    "SA": ("AR", "PE"),
}
SUBDIVISIONS = {
    "AD": ("AD-02", "AD-03"),
    "FR": ("FR-IDF", "FR-PAC"),
    "US": ("US-CA", "US-NV"),
    "CA": ("CA-ON", "CA-QC"),
}
CONTINENT_OF = {country: continent for continent, countries in CONTINENTS.items() for country in countries}
COUNTRIES = tuple(CONTINENT_OF)
ALL_SUBDIVISIONS = tuple(code for codes in SUBDIVISIONS.values() for code in codes)
VOCABULARY = reference.Vocabulary(CONTINENT_OF, SUBDIVISIONS)
CORE_VOCABULARY = CoreVocabulary("small", COUNTRIES, ALL_SUBDIVISIONS, CONTINENT_OF)

ADDRESSES = ("192.0.2.9", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:db8:1::1")
NETWORKS = (
    "0.0.0.0/0",
    "192.0.2.0/24",
    "192.0.2.0/25",
    "192.0.2.9/32",
    "::ffff:192.0.2.128/121",
    "::/0",
    "2001:db8::/48",
)
ASNS = (64500, 64501)
MEETINGS = (("acme", "m-1"), ("acme", "m-1"), ("acme", "m-1"), ("acme", "m 2"), ("other", "m-1"))


def some_of(values: tuple[Any, ...], *wholes: tuple[Any, ...]) -> st.SearchStrategy[list[Any]]:
    """Short lists, and now and then a list that covers everything there is of something."""
    short = st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True)
    return short if not wholes else short | st.sampled_from([list(whole) for whole in wholes])


LISTS = {
    "country": some_of(COUNTRIES, COUNTRIES, ("AD", "FR"), COUNTRIES[:-1]),
    "subdivision": some_of(ALL_SUBDIVISIONS, ALL_SUBDIVISIONS, *SUBDIVISIONS.values()),
    "continent": some_of(tuple(CONTINENTS), tuple(CONTINENTS), tuple(CONTINENTS)[1:]),
    "connection": some_of(CONNECTIONS, CONNECTIONS, ("tor", "vpn", "proxy"), ("hosting", "mobile", "residential")),
    "asn": some_of(ASNS),
    "network": some_of(NETWORKS),
    "role": some_of(("host", "cohost", "participant", "guest")),
    "stage": some_of(("lobby", "live")),
}
EVERYWHERE = {"country": COUNTRIES, "subdivision": ALL_SUBDIVISIONS, "continent": tuple(CONTINENTS)}
SERVICE_FIELDS = (*reference.TERRITORY, "connection")


@st.composite
def whens(draw: st.DrawFn, fields: tuple[str, ...]) -> dict[str, Any]:
    """Conditions on one to three fields."""
    chosen = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3, unique=True))
    negated = draw(st.sets(st.sampled_from(chosen)))
    lists = {field: draw(LISTS[field]) for field in chosen}
    return {field: {"not": values} if field in negated else values for field, values in lists.items()}


@st.composite
def rules(draw: st.DrawFn, service: bool) -> list[dict[str, Any]]:
    """Up to four rules, the last perhaps without `when`; a service document's removals name a territory."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        rule: dict[str, Any] = {"id": f"r{number}", "then": draw(st.sampled_from(reference.STRICTNESS))}
        if draw(st.integers(0, 9)):
            rule["when"] = draw(whens(SERVICE_FIELDS if service else tuple(LISTS)))
        if service and rule["then"] == "remove":
            territory = draw(st.sampled_from(reference.TERRITORY))
            everywhere = {"country": COUNTRIES, "subdivision": ALL_SUBDIVISIONS, "continent": tuple(CONTINENTS)}[
                territory
            ]
            rule["when"] = {**rule.get("when", {}), territory: draw(st.just(list(everywhere)) | LISTS[territory])}
        made.append(rule)
    return made


def instant(days: int) -> str:
    return (NOW + timedelta(days=days)).isoformat()


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """One revision of one document, as its author writes it, with `on_behalf` beside it."""
    scope = draw(st.sampled_from(reference.SCOPES))
    account, meeting = draw(st.sampled_from(MEETINGS))
    made: dict[str, Any] = {"scope": scope, "name": draw(st.sampled_from("aé0")), "revision": draw(st.integers(1, 4))}
    if scope != "service":
        made["account"] = account
        made["on_behalf"] = draw(st.booleans())
    if scope == "meeting":
        made["meeting"] = meeting
    if draw(st.integers(0, 7)) == 0:
        window = {"not_before": instant(draw(st.sampled_from((-1, 1)))), "not_after": instant(2)}
        return made | {"retracted": True} | draw(st.sampled_from(({}, window)))
    made["rules"] = draw(rules(scope == "service"))
    made["mode"] = draw(st.sampled_from(("enforce", "enforce", "report")))
    if scope == "service":
        start = draw(st.sampled_from((-30, -7, -1, 0, 1)))
        end = start + draw(st.sampled_from((7, 30, 366)))
        made |= {"default": "admit", "class": draw(st.sampled_from(("legal", "safety")))}
        return made | {"ground": "g", "reference": "r", "not_before": instant(start), "not_after": instant(end)}
    made["default"] = draw(st.sampled_from(reference.STRICTNESS))
    if draw(st.booleans()):
        made["unknown"] = draw(st.sampled_from(reference.STRICTNESS))
    if draw(st.integers(0, 3)) == 0:
        made["not_before"] = instant(draw(st.sampled_from((-2, 0, 1))))
    if draw(st.integers(0, 3)) == 0:
        made["not_after"] = instant(
            draw(st.sampled_from((2, 3)) if "not_before" in made else st.sampled_from((-1, 0, 1)))
        )
    return made


KNOWN_CONNECTIONS = [{name} for name in CONNECTIONS]
CONNECTION_SETS = st.sampled_from(
    [
        reference.CONNECTIONS,
        reference.CONNECTIONS - {"tor", "vpn", "proxy", "relay"},
        reference.CONNECTIONS - {"tor", "vpn", "proxy", "relay", "hosting"},
        reference.ANONYMISED,
        *KNOWN_CONNECTIONS,
    ]
) | st.sets(st.sampled_from(sorted(reference.CONNECTIONS)), min_size=1).filter(
    # Relay or anonymised and nothing else: no file says so, and the text does not settle it.
    lambda names: "relay" not in names or len(names) == 1 or not names <= reference.ANONYMISED | {"relay"}
)


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Any]:
    """What the files may give: a subdivision with or without its country, a continent of the file's own."""
    subdivision = draw(st.none() | st.sampled_from(ALL_SUBDIVISIONS))
    countries = st.sampled_from(COUNTRIES) if subdivision is None else st.just(subdivision[:2])
    return {
        "country": draw(st.none() | countries),
        "subdivision": subdivision,
        "continent": draw(st.none() | st.none() | st.sampled_from(tuple(CONTINENTS))),
        "asn": draw(st.none() | st.sampled_from((*ASNS, 1))),
        "connection": draw(CONNECTION_SETS),
        "address": draw(st.none() | st.sampled_from(ADDRESSES).map(ipaddress.ip_address)),
    }


@st.composite
def joins(draw: st.DrawFn) -> dict[str, Any]:
    account, meeting = draw(st.sampled_from(MEETINGS))
    role = draw(st.sampled_from(("host", "cohost", "participant", "guest")))
    return {"account": account, "meeting": meeting, "role": role, "stage": draw(st.sampled_from(("lobby", "live")))}


def core_facts(given_facts: dict[str, Any]) -> Facts:
    connection = connection_bits(given_facts["connection"] - {"other"})
    return settle(
        CORE_VOCABULARY,
        address=given_facts["address"].packed if given_facts["address"] else None,
        country=given_facts["country"],
        subdivision=given_facts["subdivision"],
        continent=given_facts["continent"],
        asn=given_facts["asn"],
        connection=connection | (OTHER if "other" in given_facts["connection"] else 0),
    )


def shown(judgement: core.Judgement | None, data: JoinData, known: Facts) -> dict[str, Any] | None:
    """The core's judgement in the reference's words."""
    if judgement is None:
        return None
    reason = core.reason(judgement, data, known)
    words = None
    if reason is not None:
        words = {name: getattr(reason, name) for name in ("policy", "revision", "rule", "outcome", "matched")}
        words["class"] = reason.class_
    return {"verdict": VERDICTS[judgement.verdict], "reason": words, "policies": judgement.policies}


def index_of(written: list[dict[str, Any]]) -> Index:
    index = Index()
    for number, document in enumerate(written):
        text = {key: value for key, value in document.items() if key != "on_behalf"}
        compiled = parse(text, CORE_VOCABULARY)
        index.put(Revision(document=compiled, content=b"%d" % number, on_behalf=document.get("on_behalf", False)))
    return index


def one_each(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One document a path and revision: two are an error before anything is decided."""
    return list({(reference.path_of(document), document["revision"]): document for document in written}.values())


@settings(max_examples=600, deadline=None)
@given(st.lists(documents(), max_size=8).map(one_each), joins(), facts(), st.sampled_from((-1, 0, 1)))
def test_core_agrees_with_the_reference(
    written: list[dict[str, Any]], join: dict[str, Any], known: dict[str, Any], moved: int
) -> None:
    now = NOW + timedelta(milliseconds=moved)
    data = JoinData(participation="p-1", address="", **join)
    settled = core_facts(known)
    judgements = core.judge(index_of(written), data, settled, round(now.timestamp() * 1000), rosters=True)
    for mode, judgement in zip(("enforce", "report"), judgements, strict=True):
        wanted = reference.decide(written, join, known, now, VOCABULARY, mode)
        event(f"{mode} {(wanted or {}).get('verdict')} {((wanted or {}).get('reason') or {}).get('outcome')}")
        assert shown(judgement, data, settled) == wanted


@settings(max_examples=1200, deadline=None)
@given(whens(tuple(LISTS)), joins(), facts())
def test_one_rule_is_true_false_or_open_alike(
    when: dict[str, Any], join: dict[str, Any], known: dict[str, Any]
) -> None:
    """One rule in one document, so that every example reaches its conditions."""
    written = {"scope": "account", "account": join["account"], "name": "n", "revision": 1, "default": "admit"}
    written |= {"unknown": "alert", "rules": [{"id": "r", "when": when, "then": "remove"}]}
    data = JoinData(participation="p-1", address="", **join)
    settled = core_facts(known)
    judgement, _ = core.judge(index_of([written]), data, settled, round(NOW.timestamp() * 1000))
    wanted = reference.decide([written], join, known, NOW, VOCABULARY)
    event(str(wanted and wanted["verdict"]))
    assert shown(judgement, data, settled) == wanted
