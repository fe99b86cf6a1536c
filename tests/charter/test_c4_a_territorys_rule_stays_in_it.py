"""C4 and ruling 13: a service rule removes only who is located, in a territory it names, on a clear connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.decide import judge
from streams.core.facts import (
    ANONYMISED,
    ANY_CONNECTION,
    CONTINENTS,
    HOSTING,
    NOTHING_KNOWN,
    OTHER,
    RELAY,
    Facts,
    settle,
)
from streams.core.policy import VERDICTS
from tests.samples import (
    EU,
    NOON,
    PROPERTY,
    VOCABULARY,
    account,
    facts,
    index,
    join,
    located,
    offers,
    problems,
    revision,
    rule,
    service,
)


def decided(when: dict[str, Any], known: Facts, make: Any = service) -> tuple[str, str | None, str | None]:
    found, _ = judge(index(make(rules=[rule("remove", when)])), join(), known, NOON)
    assert found.finding is not None
    return VERDICTS[found.verdict], found.finding.outcome, found.finding.rule.id if found.finding.rule else None


EVERYWHERE = sorted(VOCABULARY.countries)
REMOVED, ALERTED = ("remove", "rule", "r"), ("alert", "rule", "r")


@pytest.mark.parametrize(
    "when",
    [
        None,
        {"country": {"not": ["US"]}},
        {"connection": ["tor", "vpn", "proxy"]},
        {"continent": {"not": ["NA"]}, "subdivision": {"not": ["FR-75"]}, "connection": ["residential"]},
    ],
)
def test_a_removing_rule_names_a_territory_positively(when: dict[str, Any] | None) -> None:
    assert problems(service(rules=[rule("alert", when, "a"), rule("remove", when)])) == {
        ("C4-territory", "rules[1].when")
    }


@pytest.mark.parametrize(
    ("when", "known", "wanted"),
    [
        pytest.param({"country": ["FR"]}, located(country="FR"), REMOVED, id="located"),
        pytest.param({"country": ["FR"]}, located(subdivision="FR-75"), REMOVED, id="located by its subdivision"),
        pytest.param({"continent": ["EU"]}, located(continent="EU"), REMOVED, id="located on a continent"),
        pytest.param({"country": ["FR"]}, settle(VOCABULARY, country="FR"), ALERTED, id="no anonymity data"),
        pytest.param({"country": EVERYWHERE}, located(), ALERTED, id="all countries are true of an unknown place"),
        pytest.param({"country": EVERYWHERE}, NOTHING_KNOWN, ALERTED, id="all countries, nothing known"),
        pytest.param({"country": EU}, located(continent="EU"), ALERTED, id="a continent's countries, country unknown"),
        pytest.param({"country": EU, "continent": ["EU"]}, located(continent="EU"), REMOVED, id="one of two is known"),
        pytest.param({"subdivision": ["FR-75", "FR-13"]}, located(country="FR"), ALERTED, id="subdivision not known"),
        pytest.param({"continent": ["EU"]}, located(country="FR", connection=HOSTING), REMOVED, id="hosting is clear"),
        pytest.param({"continent": ["EU"]}, located(country="FR", connection=RELAY), REMOVED, id="a relay is clear"),
        pytest.param({"continent": ["EU"]}, located(country="FR", connection=OTHER | 1), ALERTED, id="it may be tor"),
        pytest.param(
            {"continent": ["EU"]}, located(country="FR", connection=OTHER | 4), ALERTED, id="it may be a proxy"
        ),
    ],
)
def test_only_the_located_are_removed(when: dict[str, Any], known: Facts, wanted: Any) -> None:
    assert decided(when, known) == wanted


def test_the_cap_is_for_service_documents() -> None:
    assert decided({"country": EVERYWHERE}, NOTHING_KNOWN, account) == REMOVED


# -- everywhere is not anywhere ----------------------------------------------------------------------------------------

EVERYTHING = [
    rule("remove", {"country": EVERYWHERE}, "countries"),
    rule("remove", {"subdivision": sorted(VOCABULARY.subdivisions)}, "subdivisions"),
    rule("remove", {"continent": sorted(CONTINENTS)}, "continents"),
    rule("remove", {"continent": sorted(CONTINENTS), "connection": {"not": ["tor"]}}, "clear"),
]


@pytest.mark.parametrize("rules", [EVERYTHING, EVERYTHING[::-1], *([one] for one in EVERYTHING)])
@pytest.mark.parametrize(
    "known",
    [
        NOTHING_KNOWN,
        located(),
        located(asn=64500),
        settle(VOCABULARY, connection=1),
        settle(VOCABULARY, country="FR", connection=2),
        settle(VOCABULARY, subdivision="FR-75", connection=4),
        settle(VOCABULARY, subdivision="FR-75", connection=ANY_CONNECTION),
        settle(VOCABULARY, subdivision="FR-75", connection=ANY_CONNECTION & ~1),
        settle(VOCABULARY, country="FR", connection=OTHER | 2),
    ],
)
def test_a_rule_for_all_the_world_removes_nobody_who_is_nowhere(rules: Any, known: Facts) -> None:
    found, _ = judge(index(service(rules=rules)), join(), known, NOON)
    assert VERDICTS[found.verdict] != "remove"


def test_many_documents_are_no_more_than_each() -> None:
    """Being nowhere in each does not add up to a place."""
    values = [service(name=str(i), rules=[{**one, "id": "r"}]) for i, one in enumerate(EVERYTHING)]
    for known in (NOTHING_KNOWN, located(), settle(VOCABULARY, country="FR", connection=2)):
        found, _ = judge(index(*values), join(), known, NOON)
        assert VERDICTS[found.verdict] != "remove"
    found, _ = judge(index(*values), join(), located(country="FR"), NOON)
    assert VERDICTS[found.verdict] == "remove"


# -- whatever passes ---------------------------------------------------------------------------------------------------

passing = offers("service").filter(lambda value: not problems(value))


@settings(PROPERTY, max_examples=150)
@given(passing, facts, st.sampled_from(["host", "guest"]), st.booleans())
def test_whatever_is_written_nobody_unlocated_is_removed(
    value: dict[str, Any], known: Facts, role: str, on_behalf: bool
) -> None:
    found, _ = judge(index(revision(value, on_behalf=on_behalf)), join(role=role), known, NOON)
    if VERDICTS[found.verdict] == "remove":
        assert found.finding is not None
        assert found.finding.rule is not None
        assert not known.connection & ANONYMISED
        named = {c.field: c.values for c in found.finding.rule.conditions if c.names_territory}
        assert [field for field, values in named.items() if getattr(known, field) in values]


@settings(PROPERTY, max_examples=100)
@given(passing, st.integers(1, ANY_CONNECTION).filter(lambda bits: bits & ANONYMISED))
def test_nobody_who_may_be_anonymised_is_removed(value: dict[str, Any], connection: int) -> None:
    known = settle(VOCABULARY, subdivision="FR-75", connection=connection)
    found, _ = judge(index(value), join(), known, NOON)
    assert VERDICTS[found.verdict] != "remove"
