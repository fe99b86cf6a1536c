"""C2: what a service document has no words for, however they are spelt or smuggled."""

from __future__ import annotations

from typing import Any

import pytest

from tests.samples import problems, rule, service


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
