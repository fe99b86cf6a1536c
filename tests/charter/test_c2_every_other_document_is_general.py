"""C2: what a service document has no words for, however they are spelt or smuggled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.decide import decision, judge
from streams.core.events import JoinData
from streams.core.facts import ANONYMISED, Facts
from tests.samples import (
    ADMIT,
    NOON,
    PROPERTY,
    PROVENANCE,
    REMOVE,
    account,
    event,
    facts,
    index,
    join,
    located,
    meeting,
    offers,
    problems,
    rule,
    service,
)
from tests.signing import Worker


@pytest.mark.parametrize("then", ["admit", "alert", "remove"])
@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize(
    ("field", "values"),
    [("asn", [64500]), ("network", ["192.0.2.0/24"]), ("role", ["guest"]), ("stage", ["lobby"])],
)
def test_no_network_no_system_no_role_no_stage(field: str, values: list[Any], negated: bool, then: str) -> None:
    when = {"country": ["FR"], field: {"not": values} if negated else values}
    assert problems(service(rules=[rule(then, when)])) == {("C2-general", f"rules[0].when.{field}")}


@pytest.mark.parametrize(
    "field", ["meeting", "account", "participation", "person", "name", "language", "topic", "content", "address", "ip"]
)
def test_no_meeting_no_account_no_person_no_content(field: str) -> None:
    found = problems(service(rules=[rule("remove", {"country": ["FR"], field: ["x"]})]))
    assert found == {("unknown-key", f"rules[0].when.{field}")}


@pytest.mark.parametrize("field", ["account", "meeting", "participation", "accounts", "except", "Account"])
def test_nothing_beside_the_rules_narrows_it_either(field: str) -> None:
    assert problems(service(**{field: "acme"})) == {("unknown-key", field)}


@pytest.mark.parametrize("verdict", ["alert", "remove"])
@pytest.mark.parametrize("key", ["default", "unknown"])
def test_it_lets_everyone_else_in(key: str, verdict: str) -> None:
    assert problems(service(**{key: verdict})) == {("C2-general", key)}


def test_territories_and_connection_classes_may_be_named() -> None:
    when = {"country": ["FR"], "subdivision": ["FR-75"], "continent": {"not": ["OC"]}, "connection": {"not": ["relay"]}}
    assert problems(service(rules=[rule("remove", when), rule("alert", {"connection": ["tor"]}, "t")])) == set()


NO_CODES: dict[str, list[Any]] = {
    "country": [
        # a pattern, a wildcard, a hash, a list of one's own
        "F.", "*", "/FR/", "F%", "^FR$", "", "sha256:9b74c9897bac770ffc029102a200c5de", "@acme", "file:list",
        ["FR"], {"not": ["US"]}, None, 33, True,
        # a network, a system, an account, where a territory stands
        "203.0.113.0/24", "203.0.113.9", "AS64500", 64500, "acme", "meeting/acme/m-1",
        # look-alikes of a code
        "fr", "Fr", " FR", "FR ", "FR\n", "\uff26\uff32", "F\u200bR", "F\u0420", "FRA", "EU", "FR-75",
    ],
    "subdivision": ["203.0.113.9", "meeting/acme/m-1", "FR", "FR-", "FR-7", "FR-75-1", "US-FR", "75", "fr-75", "FR–75"],
    "continent": [64500, "EU-acme", "FR", "eu", "Europe"],
    "connection": ["other", "TOR", "anonymous", "corporate", "AS64500", ""],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in NO_CODES.items() for value in values])
@pytest.mark.parametrize("negated", [False, True])
def test_a_value_is_a_code_and_nothing_that_passes_for_one(field: str, value: Any, negated: bool) -> None:
    when = {field: {"not": [value]} if negated else [value]}
    found = problems(service(rules=[rule("remove", {"continent": ["EU"], **when})]))
    assert found == {("unknown-code", f"rules[0].when.{field}{'.not' if negated else ''}[0]")}


@pytest.mark.parametrize(
    "condition",
    [
        "FR", None, [], {}, {"not": []}, {"not": {"not": ["FR"]}}, {"not": ["FR"], "in": ["FR"]}, {"Not": ["FR"]},
        {"matches": "F."}, {"regex": "F."}, {"hash": "9b74"}, {"in": ["FR"]}, {"any": ["FR"]}, {"": ["FR"]}, True, 1,
    ],
)  # fmt: skip
def test_a_condition_is_a_list_or_a_list_of_exceptions(condition: Any) -> None:
    (found,) = problems(service(rules=[rule("remove", {"country": condition})]))
    assert found[0] in ("condition", "empty-list")


@pytest.mark.parametrize(
    "key", ["unless", "except", "only", "meeting", "account", "if", "for", "between", "When", "schedule"]
)
def test_a_rule_has_four_fields(key: str) -> None:
    found = problems(service(rules=[{**rule("remove", {"country": ["FR"]}), key: ["acme"]}]))
    assert found == {("unknown-key", f"rules[0].{key}")}


@pytest.mark.parametrize(
    "scope", ["Service", "service ", "services", "global", "*", "account/*", ["service"], None, "", {"service": "acme"}]
)
def test_there_is_no_fourth_scope(scope: Any) -> None:
    assert problems({**service(), "scope": scope}) == {("choice", "scope")}


def test_a_service_documents_name_is_a_name_only() -> None:
    """However it is called, it reaches everybody alike."""
    for name in ("acme", "account/acme/licensing", "meeting/acme/m-1/x", "../account/acme/x", "%2e%2e", "m-1", "*"):
        documents = index(service(name=name, rules=[rule("remove", {"country": ["FR"]})]))
        for who in (join(), join(account="globex", meeting="m-2")):
            found, _ = judge(documents, who, located(country="FR"), NOON)
            assert found.verdict == REMOVE


def test_owners_scopes_are_no_way_round_it() -> None:
    """Two approvers cannot say as an owner what they may not say as the service, nor for a meeting of their choice."""
    worker = Worker()
    for value in (account(default="remove"), meeting(default="remove"), meeting(account="*", default="remove")):
        assert worker.refuses(value, "ann", "bo") == {"C1-owner"}
    assert worker.refuses(service(account="acme", default="remove"), "ann", "bo", path="service/export") == {
        "unknown-key",
        "C2-general",
    }


# -- whatever passes ---------------------------------------------------------------------------------------------------

JOINS = st.builds(
    join,
    meeting=st.sampled_from(["m-1", "m-2", "*"]),
    account=st.sampled_from(["acme", "globex", "service", "export"]),
    participation=st.text(min_size=1, max_size=3),
    role=st.sampled_from(["host", "cohost", "participant", "guest"]),
    stage=st.sampled_from(["lobby", "live"]),
)


@settings(PROPERTY, max_examples=150)
@given(offers("service").filter(lambda value: not problems(value)), JOINS, JOINS, facts)
def test_a_service_document_treats_all_joins_from_one_place_alike(
    value: dict[str, Any], one: JoinData, other: JoinData, known: Facts
) -> None:
    documents = index(value)
    first, second = (judge(documents, who, known, NOON)[0] for who in (one, other))
    assert first == second
    if first.verdict == REMOVE:
        assert first.finding is not None
        assert first.finding.rule is not None
        assert not known.connection & ANONYMISED
        assert (known.country or known.subdivision or known.continent) is not None
    said = [
        decision(event(who), known, found, PROVENANCE, mode="enforce", offset=1, at=NOON).data.reason
        for who, found in ((one, first), (other, second))
    ]
    assert said[0] == said[1]


def test_that_property_meets_documents_that_pass_and_remove() -> None:
    """Else it would say nothing: of what ``offers`` makes, some pass and remove, and some are refused by C2."""
    passed, refused = set(), set()

    @settings(PROPERTY, max_examples=60, database=None, derandomize=True)
    @given(offers("service"))
    def look(value: dict[str, Any]) -> None:
        codes = {code for code, _ in problems(value)}
        refused.update(codes)
        if not codes:
            found, _ = judge(index(value), join(), located(subdivision="FR-75"), NOON)
            passed.add(found.verdict)

    look()
    assert {ADMIT, REMOVE} <= passed
    assert {"C2-general", "C4-territory"} <= refused
