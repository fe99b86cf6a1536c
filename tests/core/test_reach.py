"""What lint says of a document's rules is held to brute force: every state of knowledge of a small world is tried.

Two continents, four countries, four subdivisions, four quarters of the IPv4 addresses, two numbers, and every set of
connections that geo files lead to. The brute force asks the very tests that decisions ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from streams.core import policy
from streams.core.facts import ANY_CONNECTION, CONNECTIONS, CONTINENTS, Facts, Vocabulary, settle
from streams.core.policy import ROLES, STAGES, Document
from streams.core.reach import CONNECTION_STATES, Person, Reach, Spent, bottom
from tests import samples

WORLD = {"FR": "EU", "DE": "EU", "US": "NA", "CA": "NA"}
SUBDIVISIONS = ("FR-75", "FR-13", "US-CA", "US-NV")
VOCABULARY = Vocabulary("two continents", WORLD, SUBDIVISIONS, WORLD)
NETWORKS = ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2", "::/0")
ADDRESSES = (None, *(bytes([quarter * 64 + 9, 0, 0, 1]) for quarter in range(4)), bytes([0x20, 1, *range(14)]))
NUMBERS = (7, 8)
LISTS: dict[str, tuple[Any, ...]] = {
    "country": tuple(WORLD),
    "subdivision": SUBDIVISIONS,
    "continent": ("EU", "NA"),
    "connection": CONNECTIONS,
    "role": ROLES,
    "stage": STAGES,
    "asn": NUMBERS,
    "network": NETWORKS,
}


@st.composite
def rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    fields = draw(st.lists(st.sampled_from(sorted(LISTS)), min_size=1, max_size=4, unique=True))
    made = []
    for number in range(draw(st.integers(1, 5))):
        rule: dict[str, Any] = {"id": f"r{number}", "then": draw(st.sampled_from(policy.VERDICTS))}
        chosen = draw(st.lists(st.sampled_from(fields), max_size=3, unique=True))
        when: dict[str, Any] = {}
        for field in chosen:
            values = draw(st.lists(st.sampled_from(LISTS[field]), min_size=1, max_size=7, unique=True))
            when[field] = {"not": values} if draw(st.integers(0, 3)) == 0 else values
        made.append(rule | ({"when": when} if when else {}))
    return made


def parse(made: list[dict[str, Any]]) -> Document:
    base = {"scope": "account", "account": "acme", "name": "n", "revision": 1, "default": "admit"}
    return policy.parse({**base, "rules": made}, VOCABULARY)


def states(document: Document, *, own_continents: bool = False) -> Iterator[tuple[Person, Facts]]:
    """Every state that some rule of the document could tell from another; of an axis nobody asks for, one state."""
    asked = {condition.field for rule in document.rules for condition in rule.conditions}
    located = [(None, None, None)]
    if asked & {"country", "subdivision", "continent"}:
        located += [(None, None, continent) for continent in ("EU", "NA")]
        for country, continent in WORLD.items():
            for where in CONTINENTS if own_continents else (continent,):
                located += [(country, None, where)]
                located += [(country, code, where) for code in SUBDIVISIONS if code[:2] == country]
    seen = {
        settle(
            VOCABULARY, country=country, subdivision=code, continent=continent, connection=bits, asn=asn, address=packed
        )
        for country, code, continent in located
        for bits in (CONNECTION_STATES if "connection" in asked else (ANY_CONNECTION,))
        for asn in ((None, *NUMBERS, 99) if "asn" in asked else (None,))
        for packed in (ADDRESSES if "network" in asked else (None,))
    }
    for role in ROLES if "role" in asked else ROLES[:1]:
        for stage in STAGES if "stage" in asked else STAGES[:1]:
            for facts in seen:
                yield Person(role, stage), facts


def brute(document: Document, *, own_continents: bool = False) -> tuple[set[int], set[int], set[int]]:
    """The rules that hold, decide and count somewhere."""
    holds, decides, counts = set[int](), set[int](), set[int]()
    for person, facts in states(document, own_continents=own_continents):
        ended = False
        for i, rule in enumerate(document.rules):
            truths = {condition.test(person, facts) for condition in rule.conditions}
            if truths <= {True}:
                holds.add(i)
            if not ended and False not in truths:
                counts.add(i)
                if None not in truths:
                    decides.add(i)
                    ended = True
    return holds, decides, counts


@settings(deadline=None, max_examples=200)
@given(rules(), st.booleans())
def test_no_rule_is_wrongly_called_dead_and_no_dead_one_is_missed(
    made: list[dict[str, Any]], own_continents: bool
) -> None:
    document = parse(made)
    every = range(len(made))
    reach = Reach(document, VOCABULARY, own_continents=own_continents)
    holds, decides, counts = brute(document, own_continents=own_continents)
    event(f"dead rules: {len(every) - len(decides)}")
    assert {i for i in every if reach.holds(i)} == holds
    assert {i for i in every if reach.decides(i)} == decides
    assert {i for found in bottom(document).values() for i in found.tried} == counts
    for dead in holds - decides:
        without_others = [made[i] for i in reach.covering(dead)] + [made[dead]]
        assert len(without_others) - 1 not in brute(parse(without_others), own_continents=own_continents)[1]


@settings(deadline=None, max_examples=60)
@given(rules(), st.sampled_from(ROLES))
def test_the_same_for_one_role(made: list[dict[str, Any]], role: str) -> None:
    document = parse(made)
    decides = set()
    for person, facts in states(document):
        if person.role != role and any("role" in rule.get("when", {}) for rule in made):
            continue
        for i, rule in enumerate(document.rules):
            if all(condition.test(Person(role, person.stage), facts) for condition in rule.conditions):
                decides.add(i)
                break
    reach = Reach(document, VOCABULARY)
    assert {i for i in range(len(made)) if reach.decides(i, role)} == decides


@settings(deadline=None, max_examples=100)
@example([samples.rule("remove", {"role": ["guest"]}, "a"), samples.rule("alert", {"role": ["guest", "host"]}, "b")])
@given(rules())
def test_dead_values_are_those_that_would_be_dead_rules(made: list[dict[str, Any]]) -> None:
    document = parse(made)
    reach = Reach(document, VOCABULARY)
    last = len(made) - 1
    said = {(dead.field, dead.at): dead.covered for dead in reach.dead_values(last)}
    for field, values in made[last].get("when", {}).items():
        if isinstance(values, dict):
            continue
        for at, value in enumerate(values):
            alone = [*made[:-1], {**made[-1], "when": {**made[-1]["when"], field: [value]}}]
            if field == "network" and value != values[at]:
                continue
            holds, decides, _ = brute(parse(alone))
            if field == "network" and any(other != value and _covers(other, value) for other in values):
                assert (field, at) not in said
            else:
                assert ((field, at) in said) == (last not in decides)
                if (field, at) in said:
                    assert said[field, at] == (last in holds)


def _covers(outer: str, inner: str) -> bool:
    return (outer, inner) in {
        ("0.0.0.0/0", each) for each in NETWORKS if each not in ("::/0", "0.0.0.0/0")
    } or (outer, inner) in {
        ("0.0.0.0/1", "0.0.0.0/2"), ("0.0.0.0/1", "64.0.0.0/2"),
        ("128.0.0.0/1", "128.0.0.0/2"), ("128.0.0.0/1", "192.0.0.0/2"),
    }  # fmt: skip


def test_a_spent_budget_is_no_answer() -> None:
    document = parse([{"id": "a", "then": "admit", "when": {"country": ["FR"]}}])
    with pytest.raises(Spent):
        Reach(document, VOCABULARY, budget=3)
