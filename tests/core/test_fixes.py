"""What lint proposes to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core import policy
from streams.core.fixes import closest, suggest, value_at
from tests.samples import VOCABULARY, account, rule, service


def fixes(value: Any) -> list[str | None]:
    with pytest.raises(policy.Invalid) as caught:
        policy.parse(value, VOCABULARY)
    return [suggest(problem, value, VOCABULARY) for problem in caught.value.problems]


def when(**conditions: Any) -> dict[str, Any]:
    return account(rules=[rule("admit", conditions)])


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        (account(defualt="remove"), "write default"),
        (account(xyz=1), None),
        (account(meeting="m"), "take it out: account documents have none"),
        (service(account="acme"), "take it out: service documents have none"),
        (
            account(rules=[{"id": "a", "then": "admit", "country": ["FR"]}]),
            "put it under `when`: when: {country: [...]}",
        ),
        (account(rules=[{"id": "a", "then": "admit", "wehn": {"asn": [1]}}]), "write when"),
        (when(contry=["FR"]), "write country"),
        (when(country=["fr"]), "write FR"),
        (when(country=["UK"]), None),
        (when(country=["US-CA"]), "put it under `subdivision`: subdivision: [US-CA]"),
        (when(country=["EU"]), "put it under `continent`: continent: [EU]"),
        (when(subdivision=["us_ca"]), "write US-CA"),
        (when(subdivision=["AU-VCI"]), "write AU-VIC"),
        (when(subdivision=["AU-Q"]), None),
        (when(subdivision=[7]), None),
        (when(connection=["VPN"]), "write vpn"),
        (when(connection=["torr"]), "write tor"),
        (when(role=["co-host"]), "write cohost"),
        (when(stage=["lobyb"]), "write lobby"),
        (when(network=["192.0.2.9/24"]), "write 192.0.2.0/24 for the whole block, or 192.0.2.9/32 for the one address"),
        (when(network=["2001:db8::1"]), "write 2001:db8::1/128 for this one address"),
        (when(network=["office"]), None),
        (when(network=["192.0.2.0/33"]), None),
        (when(network=["192.0.2.0/x"]), None),
        (when(network=[7]), None),
        (account(default="deny"), "write remove"),
        (account(default="allow"), "write admit"),
        (account(default="alret"), "write alert"),
        (account(default=7), None),
        (account(mode="deny"), None),
        (account(not_before="2027-01-15"), "write 2027-01-15T00:00:00Z"),
        (account(not_before="2027-01-15T09:30"), "write 2027-01-15T09:30:00Z, if that is UTC"),
        (account(not_before="2027-01-15 09:30:10"), "write 2027-01-15T09:30:10Z, if that is UTC"),
        (account(not_before="tomorrow"), None),
        (account(revision="3"), "write 3"),
        (account(revision="three"), None),
        (account(revision=1.5), None),
        (when(asn=["AS64500"]), "write 64500"),
        (account(revision=...), "add revision: 1"),
        (account(name=...), "add name: …"),
        (when(country="FR"), "write [FR]"),
        (when(asn=7), "write [7]"),
        (when(country=True), None),
        (service(default="alert"), "write admit"),
        (account(note=7), None),
    ],
)
def test_a_fix_that_fits_the_case(value: Any, fix: str | None) -> None:
    assert fixes(value) == [fix]


def test_the_country_that_people_mean() -> None:
    problem = policy.Problem("unknown-code", "rules[0].when.country[0]", "")
    vocabulary = type(VOCABULARY)("with GB", ["GB"], [])
    assert suggest(problem, when(country=["UK"]), vocabulary) == "write GB"


def test_a_service_rule_that_asks_for_a_role_has_no_other_word() -> None:
    assert fixes(service(rules=[rule("alert", {"role": ["host"], "country": ["FR"]})])) == [None]


def test_what_a_path_leads_to() -> None:
    document = {"rules": [{"id": "a"}]}
    assert value_at(document, "rules[0].id") == "a"
    assert value_at(document, "") == document
    for path in ("rules[1]", "rules.id", "rules[0].id.x", "none"):
        assert value_at(document, path) is None


def test_the_closest_word() -> None:
    assert closest("remvoe", ["remove", "admit"]) == "remove"
    assert closest("x" * 1000, ["remove"]) is None
    assert closest("remove", []) is None
    assert closest("ab", ["cd"]) is None
