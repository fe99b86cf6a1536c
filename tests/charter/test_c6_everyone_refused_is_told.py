"""C6: a receipt on every removal, and a host's copy that does not say where the person is."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import pycountry
import pytest
from hypothesis import given
from msgspec import UNSET

from streams.core.decide import decision, judge
from streams.core.events import DecisionEvent, Receipt
from streams.core.facts import CONTINENT_OF, CONTINENTS, Facts, Vocabulary, settle
from streams.core.messages import Language, render
from streams.core.policy import parse
from tests.samples import (
    CLEAN,
    NOON,
    PROPERTY,
    PROVENANCE,
    Revision,
    account,
    event,
    facts,
    index,
    located,
    meeting,
    problems,
    revision,
    rule,
    service,
)

VALUES: list[dict[str, Any]] = [
    account(default="remove", contest="https://acme.example/contest"),
    account(rules=[rule("remove", {"country": {"not": ["US"]}}, note="Not from France: FR.")], unknown="remove"),
    meeting(rules=[rule("remove", {"subdivision": ["FR-75"]}, "paris")]),
    service(rules=[rule("remove", {"continent": ["EU"]}, "europe")]),
]


def decided(value: dict[str, Any] | Revision, known: Facts) -> DecisionEvent:
    enforced, _ = judge(index(value), event().data, known, NOON)
    return decision(event(), known, enforced, PROVENANCE, mode="enforce", offset=1, at=NOON)


def receipt_of(made: DecisionEvent) -> Receipt:
    assert made.data.receipt is not UNSET
    return made.data.receipt


@PROPERTY
@given(facts)
def test_every_removal_carries_a_receipt_that_tells_who_decided(known: Facts) -> None:
    for value in VALUES:
        made = decided(value, known)
        if made.data.verdict != "remove":
            assert made.data.receipt is UNSET
            continue
        receipt, reason = receipt_of(made), made.data.reason
        assert reason is not None
        assert receipt.id == made.id
        assert receipt.contest
        for copy in (receipt.person, receipt.host):
            assert all(text in copy for text in (reason.policy, reason.class_, receipt.contest, made.id))
        assert receipt.status == (451 if value["scope"] == "service" else 403)


@pytest.mark.parametrize("contest", ["", " ", "\n", "\u200b", "\u3164\u2060"])
def test_a_contest_of_nothing_does_not_stand_in_for_the_deployments(contest: str) -> None:
    for offered in (service(contest=contest, rules=VALUES[3]["rules"]), account(contest=contest, default="remove")):
        assert problems(offered) == {("required", "contest")}


FORGED = "r”\nIt is signed by the court.\u2028\u2029“\u202e\u0085"


@pytest.mark.parametrize("field", ["id", "note", "ground", "reference", "holder"])
def test_nobodys_words_pass_for_a_sentence_of_the_receipts(field: str) -> None:
    """They stay within quotation marks and on the line, in every language and in the parameters it is told with."""
    plain, forged = (
        revision(
            service(
                rules=[rule("remove", {"country": ["FR"]}, id_=said["id"], note=said["note"])],
                ground=said["ground"],
                reference=said["reference"],
            ),
            holder=said["holder"],
        )
        for said in (dict.fromkeys(SAID, "r"), dict.fromkeys(SAID, "r") | {field: FORGED})
    )
    one, other = (receipt_of(decided(value, located(country="FR"))) for value in (plain, forged))
    assert other.messages is not UNSET
    assert other.parameters is not UNSET
    for language in get_args(Language):
        for copy, like in ((other.messages.person, one.person), (other.messages.host, one.host)):
            text = render(language, copy, other.parameters)
            assert text.isprintable()
            if language == one.written_in:
                assert re.sub("[^“”]", "", text) == re.sub("[^“”]", "", like)


SAID = ("id", "note", "ground", "reference", "holder")


# -- the host's copy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES[1:])
def test_the_hosts_copy_says_nothing_of_the_place(value: dict[str, Any]) -> None:
    known = located(subdivision="FR-75", address=b"\x08\x08\x08\x08", asn=64500)
    host = receipt_of(decided(value, known)).host
    for word in ("FR", "France", "paris", "europe", "EU", "64500", "8.8.8.8"):
        assert word not in host


def in_every_language(receipt: Receipt) -> list[str]:
    """The host's copy, as the worker or a backend can write it."""
    assert receipt.messages is not UNSET
    assert receipt.parameters is not UNSET
    named = [render(language, receipt.messages.host, receipt.parameters) for language in get_args(Language)]
    return [receipt.host, *named]


@PROPERTY
@given(facts, facts)
def test_two_people_removed_by_one_document_get_the_host_the_same_copy(one: Facts, other: Facts) -> None:
    """So nothing of the person can be told from it, whatever rule removed them or whatever was unknown."""
    value = account(
        rules=[
            rule("remove", {"country": ["FR"]}, "france", note="France is FR."),
            rule("remove", {"country": ["US"], "connection": ["vpn"]}, "vpn"),
            rule("admit", {"continent": ["SA"]}, "south"),
        ],
        default="remove",
        unknown="remove",
    )
    made = [decided(value, known) for known in (one, other)]
    if any(each.data.verdict != "remove" for each in made):
        return
    first, second = (in_every_language(receipt_of(each)) for each in made)
    assert first == second


def places() -> list[tuple[str, str, dict[str, str]]]:
    """Every code a document may name: the code, the place's name and what is known of a join from there."""
    continents = [(code, code, {"continent": code}) for code in sorted(CONTINENTS)]
    countries = [(c.alpha_2, c.name, {"country": c.alpha_2}) for c in pycountry.countries if c.alpha_2 in CONTINENT_OF]
    parts = [
        (s.code, s.name, {"subdivision": s.code}) for s in pycountry.subdivisions if s.country_code in CONTINENT_OF
    ]
    return [*continents, *countries, *parts]


def document_of(known: dict[str, str]) -> str:
    """Which document holds the rule for a place: one for the subdivisions of each country, since rules are searched."""
    [(field, code)] = known.items()
    return code[:2] if field == "subdivision" else field


def test_no_place_of_the_world_gets_into_the_hosts_copy() -> None:
    """A document with a rule for each place, named and noted after it, removes somebody in each."""
    world = places()
    vocabulary = Vocabulary(
        "the world",
        [code for code, _, known in world if "country" in known],
        [code for code, _, known in world if "subdivision" in known],
    )
    assert len(world) > 5_000
    rules: dict[str, list[dict[str, Any]]] = {}
    for code, name, known in world:
        named = rule("remove", {next(iter(known)): [code]}, f"{code} {name}", note=f"{name} ({code})")
        rules.setdefault(document_of(known), []).append(named)
    plain = account(default="remove")
    documents = {
        of: Revision(document=parse({**plain, "rules": each}, vocabulary), content=of.encode())
        for of, each in rules.items()
    }
    everywhere = in_every_language(receipt_of(decided(plain, located())))
    told = " ".join(everywhere)
    for code, name, known in world:
        receipt = receipt_of(decided(documents[document_of(known)], settle(vocabulary, connection=CLEAN, **known)))
        assert f"{code} {name}" in receipt.person
        assert name in receipt.person
        assert in_every_language(receipt) == everywhere
        if "subdivision" not in known:
            assert not re.search(rf"\b{re.escape(code)}\b", told), code
            assert not re.search(rf"\b{re.escape(name)}\b", told, re.IGNORECASE), name


def test_the_host_is_told_of_a_removal_on_the_owners_behalf() -> None:
    signed = index(account(default="remove")).get("account/acme/licensing")
    assert signed is not None
    on_behalf = msgspec.structs.replace(signed.revisions[0], holder="settings", on_behalf=True)
    receipt = receipt_of(decided(on_behalf, located()))
    assert "signed by settings on the owner's behalf" in receipt.host
    assert "signed by settings on the owner's behalf" in receipt.person
