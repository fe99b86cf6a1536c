"""Conditions against quantification written out: list every possible value and ask each one (design §4, rule 3)."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import address
from streams.core.conditions import FIELDS, SHARED, Condition, compile_condition
from streams.core.facts import CONNECTIONS, CONTINENTS, Facts, Vocabulary, connection_bits, settle
from streams.core.policy import ROLES, STAGES
from tests.samples import CLEAN, EU, PROPERTY, VOCABULARY, facts, join

COUNTRIES, SUBDIVISIONS = sorted(VOCABULARY.countries), sorted(VOCABULARY.subdivisions)
VALUES: dict[str, list[Any]] = {
    "country": COUNTRIES,
    "subdivision": SUBDIVISIONS,
    "continent": sorted(CONTINENTS),
    "asn": [0, 1, 2, 3],
    "connection": list(CONNECTIONS),
    "role": list(ROLES),
    "stage": list(STAGES),
}
ELSEWHERE: Any = "a value that no list names"


def possible(field: str, known: Facts, who: Any) -> set[Any]:
    """Every value the field may have, read off the design."""
    countries = [known.country] if known.country else sorted(VOCABULARY.countries_of(known.continent))
    match field:
        case "country":
            return set(countries)
        case "subdivision":
            if known.subdivision:
                return {known.subdivision}
            return {s for c in countries for s in VOCABULARY.subdivisions_of(c) or [ELSEWHERE]}
        case "continent":
            return {known.continent} if known.continent else set(CONTINENTS)
        case "asn":
            return {known.asn} if known.asn is not None else {*VALUES["asn"], ELSEWHERE}
        case "connection":
            names = {name for name in CONNECTIONS if known.connection & connection_bits([name])}
            return names | ({ELSEWHERE} if known.connection & 128 else set())
        case _:
            return {getattr(who, field)}


def over(values: set[Any], named: tuple[Any, ...], negated: bool) -> bool | None:
    answers = {(value in named) != negated for value in values}
    return answers.pop() if len(answers) == 1 else None


@st.composite
def questions(draw: st.DrawFn) -> tuple[Any, tuple[Any, ...]]:
    field = draw(st.sampled_from(sorted(VALUES)))
    whole = st.just(tuple(VALUES[field])) | st.just(tuple(EU)) if field == "country" else st.just(tuple(VALUES[field]))
    return field, draw(whole | st.lists(st.sampled_from(VALUES[field]), min_size=1).map(tuple))


@PROPERTY
@given(questions(), facts, st.sampled_from(ROLES), st.sampled_from(STAGES), st.booleans())
def test_a_condition_is_asked_of_every_possible_value(
    question: tuple[Any, tuple[Any, ...]], known: Facts, role: str, stage: str, negated: bool
) -> None:
    field, named = question
    who = join(role=role, stage=stage)
    condition = compile_condition(field, named, negated, VOCABULARY)
    assert condition.test(who, known) is over(possible(field, known, who), named, negated)


@PROPERTY
@given(questions(), facts, st.booleans())
def test_a_long_list_says_what_a_short_one_does(
    question: tuple[Any, tuple[Any, ...]], known: Facts, negated: bool
) -> None:
    field, named = question
    short, long = (compile_condition(field, named * times, negated, VOCABULARY) for times in (1, SHARED + 1))
    assert short.test(join(), known) is long.test(join(), known)


def is_compiled(condition: Condition) -> bool:
    try:
        object.__getattribute__(condition, "test")
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("field", FIELDS)
def test_a_test_is_made_when_it_is_first_asked_but_no_join_waits_for_a_list_of_networks(field: Any) -> None:
    another = Vocabulary("as good as new", VOCABULARY.countries, VOCABULARY.subdivisions)
    condition = compile_condition(field, tuple(VALUES.get(field, ["192.0.2.0/24"])), False, another)
    assert is_compiled(condition) == (field == "network")
    assert condition.test is condition.test
    assert is_compiled(condition)


def test_a_subdivision_without_its_country_in_the_vocabulary_is_nobodys() -> None:
    orphaned = Vocabulary("no France", ["US"], ["FR-75"])
    condition = compile_condition("subdivision", ("FR-75",), False, orphaned)
    known = (Facts(), settle(orphaned, country="US"), settle(orphaned, continent="EU"))
    assert [condition.test(join(), each) for each in known] == [False] * 3


def test_documents_that_say_the_same_share_a_condition_and_vocabularies_do_not() -> None:
    def made(vocabulary: Vocabulary, negated: bool = False) -> Condition:
        return compile_condition("subdivision", ("FR-75", "FR-13"), negated, vocabulary)

    assert made(VOCABULARY) is made(VOCABULARY)
    assert made(VOCABULARY) is not made(VOCABULARY, negated=True)
    another = Vocabulary("one more", VOCABULARY.countries, {*VOCABULARY.subdivisions, "FR-69"})
    assert made(VOCABULARY).test(join(), Facts(country="FR", continent="EU")) is True
    assert made(another).test(join(), Facts(country="FR", continent="EU")) is None


def test_a_condition_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="holds"):
        getattr(compile_condition("role", ("guest",), False, VOCABULARY), "holds")  # noqa: B009  # by itself it would be an expression of no use


networks = st.ip_addresses(network="192.0.2.0/24") | st.ip_addresses(network="2001:db8::/120")


@st.composite
def blocks(draw: st.DrawFn) -> str:
    base = draw(networks)
    width = base.max_prefixlen
    return str(ipaddress.ip_network(f"{base}/{draw(st.integers(width - 8, width))}", strict=False))


@PROPERTY
@given(st.lists(blocks() | st.sampled_from(["0.0.0.0/0", "::/0"]), min_size=1), networks, st.booleans())
def test_a_network_condition_is_membership_of_any_block(named: list[str], here: Any, negated: bool) -> None:
    condition = compile_condition("network", tuple(named), negated, VOCABULARY)
    inside = any(here in ipaddress.ip_network(cidr) for cidr in named)
    assert condition.test(join(), Facts(address=here.packed)) is (inside != negated)


@PROPERTY
@given(questions(), facts)
def test_negation_swaps_true_and_false_and_leaves_open(question: tuple[Any, tuple[Any, ...]], known: Facts) -> None:
    field, named = question
    plain = compile_condition(field, named, False, VOCABULARY).test(join(), known)
    negated = compile_condition(field, named, True, VOCABULARY).test(join(), known)
    assert (plain, negated) in [(True, False), (False, True), (None, None)]


@pytest.mark.parametrize("negated", [False, True])
def test_an_unreadable_address_leaves_every_network_condition_open(negated: bool) -> None:
    condition = compile_condition("network", ("0.0.0.0/0", "::/0"), negated, VOCABULARY)
    assert condition.test(join(), Facts()) is None


def test_a_mapped_block_meets_the_unwrapped_address() -> None:
    condition = compile_condition("network", ("::ffff:192.0.2.0/120",), False, VOCABULARY)
    assert condition.test(join(), Facts(address=address.parse("64:ff9b::192.0.2.7"))) is True
    assert condition.test(join(), Facts(address=address.parse("::192.0.2.7"))) is False


@pytest.mark.parametrize(
    ("field", "named", "known", "truth"),
    [
        ("country", ("US",), {"continent": "EU"}, False),
        ("country", tuple(EU), {"continent": "EU"}, True),
        ("country", ("FR",), {"continent": "EU"}, None),
        ("country", tuple(COUNTRIES), {}, True),
        ("subdivision", ("FR-75",), {"country": "US"}, False),
        ("subdivision", ("FR-75",), {"country": "FR"}, None),
        ("subdivision", ("FR-75", "FR-13"), {"country": "FR"}, True),
        ("subdivision", ("FR-75",), {"country": "VA"}, False),
        ("subdivision", ("FR-75",), {"continent": "NA"}, False),
        ("subdivision", ("AU-VIC",), {"continent": "OC"}, True),
        ("subdivision", ("FR-75",), {}, None),
        ("subdivision", tuple(SUBDIVISIONS), {}, None),
        ("continent", ("EU",), {"country": "FR"}, True),
        ("continent", ("EU",), {"country": "FR", "continent": "NA"}, False),
        ("continent", tuple(CONTINENTS), {}, True),
        ("connection", ("tor", "vpn", "proxy", "relay"), {"connection": CLEAN & ~8}, False),
        ("connection", tuple(CONNECTIONS), {}, None),
        ("connection", ("tor", "vpn", "proxy"), {"connection": 7}, True),
        ("connection", ("tor",), {"connection": 7}, None),
        ("asn", (64500,), {}, None),
    ],
)
def test_what_is_known_narrows_what_is_asked(field: Any, named: Any, known: Any, truth: bool | None) -> None:
    settled = settle(VOCABULARY, **known)
    assert compile_condition(field, named, False, VOCABULARY).test(join(), settled) is truth


def test_only_a_positive_territory_names_one() -> None:
    named = {
        (field, negated)
        for field in FIELDS
        for negated in (False, True)
        for values in [tuple(VALUES.get(field, ["192.0.2.0/24"]))]
        if compile_condition(field, values, negated, VOCABULARY).names_territory
    }
    assert named == {("country", False), ("subdivision", False), ("continent", False)}
