"""C4 and ruling 13: a service rule removes only who is located, in a territory it names, on a clear connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.decide import judge
from streams.core.facts import ANONYMISED, ANY_CONNECTION, HOSTING, NOTHING_KNOWN, OTHER, RELAY, Facts, settle
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


conditions = st.fixed_dictionaries(
    {},
    optional={
        "country": st.lists(st.sampled_from(EVERYWHERE), min_size=1, max_size=11, unique=True),
        "subdivision": st.lists(st.sampled_from(sorted(VOCABULARY.subdivisions)), min_size=1, unique=True),
        "continent": st.lists(st.sampled_from(["EU", "NA", "OC"]), min_size=1, unique=True),
        "connection": st.sampled_from([["tor"], {"not": ["tor"]}, ["residential", "mobile"]]),
    },
)
removing = conditions.filter(lambda when: set(when) & {"country", "subdivision", "continent"})
service_rules = st.lists(
    st.builds(lambda when: rule("remove", when), removing)
    | st.builds(lambda when, then: rule(then, when or None), conditions, st.sampled_from(["admit", "alert"])),
    max_size=4,
).map(lambda rules: [{**r, "id": str(i)} for i, r in enumerate(rules)])


@PROPERTY
@given(service_rules, facts, st.sampled_from(["host", "guest"]), st.booleans())
def test_whatever_is_written_nobody_unlocated_is_removed(rules: Any, known: Facts, role: str, on_behalf: bool) -> None:
    found, _ = judge(index(revision(service(rules=rules), on_behalf=on_behalf)), join(role=role), known, NOON)
    if VERDICTS[found.verdict] == "remove":
        assert found.finding is not None
        assert found.finding.rule is not None
        assert not known.connection & ANONYMISED
        named = {c.field: c.values for c in found.finding.rule.conditions if c.names_territory}
        assert [field for field, values in named.items() if getattr(known, field) in values]


@PROPERTY
@given(service_rules, st.integers(1, ANY_CONNECTION).filter(lambda bits: bits & ANONYMISED))
def test_nobody_who_may_be_anonymised_is_removed(rules: Any, connection: int) -> None:
    known = settle(VOCABULARY, subdivision="FR-75", connection=connection)
    found, _ = judge(index(service(rules=rules)), join(), known, NOON)
    assert VERDICTS[found.verdict] != "remove"
