"""What a refused person and the host are told."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core.receipts import receipt
from tests.samples import account, meeting, revision, rule, service

RULE = rule("remove", {"country": ["FR"]}, "elsewhere", note="Visits need a clinician licensed where you are.")


def told(
    value: Any, stage: str | None = "live", contest: str | None = None, by_rule: bool = True, **signed: Any
) -> Any:
    found = revision(value, **signed)
    return receipt("0123", found, found.document.rules[0] if by_rule else None, stage, contest)


def test_the_person_is_told_which_rule_whose_and_how_to_contest() -> None:
    got = told(
        account(rules=[RULE], revision=7, contest="https://acme.example/contest"), holder="acme", sha256="sha256:aa"
    )
    assert got.person == (
        "You were removed from this meeting by the rule “elsewhere”. Visits need a clinician licensed where you are. "
        "Policy account/acme/licensing, revision 7, class owner, signed by acme. "
        "To contest: https://acme.example/contest. Quote decision 0123."
    )
    assert got.host == (
        "A participant was removed. Policy account/acme/licensing, revision 7, class owner, signed by acme. "
        "To contest: https://acme.example/contest. Quote decision 0123."
    )
    assert (got.id, got.status, got.contest, got.document) == ("0123", 403, "https://acme.example/contest", "sha256:aa")


def test_ground_and_reference_are_told() -> None:
    got = told(service(rules=[RULE]), holder="A, B")
    for copy in (got.person, got.host):
        assert "class legal, signed by A, B. Ground: Export control. Reference: Gazette 12." in copy
    assert (got.status, got.reference) == (451, "Gazette 12")


@pytest.mark.parametrize(
    ("value", "status"),
    [(service(), 451), (service(**{"class": "safety"}), 403), (account(), 403), (meeting(), 403)],
)
def test_451_is_for_legal_class_only(value: Any, status: int) -> None:
    assert told(value, by_rule=False).status == status


def test_who_waits_in_the_lobby_was_not_let_in() -> None:
    got = told(account(rules=[RULE]), stage="lobby")
    assert got.person.startswith("You were not let into this meeting by")
    assert got.host.startswith("A participant was not let in.")


def test_without_a_rule_the_person_is_told_that_none_lets_them_in() -> None:
    assert "because no rule lets you in. Policy" in told(account(default="remove"), by_rule=False).person


def test_a_rule_without_a_note() -> None:
    assert "by the rule “r”. Policy" in told(account(rules=[rule("remove")])).person


@pytest.mark.parametrize(
    ("own", "deployments", "wanted"),
    [
        ("https://own", "https://d", "https://own"),
        (None, "https://d", "https://d"),
        ("https://own", None, "https://own"),
    ],
)
def test_the_documents_contest_address_comes_before_the_deployments(own: Any, deployments: Any, wanted: str) -> None:
    got = told(account(contest=own), contest=deployments, by_rule=False)
    assert got.contest == wanted
    assert f"To contest: {wanted}." in got.person


def test_no_way_to_contest_is_said() -> None:
    got = told(account(), by_rule=False)
    assert got.contest is None
    assert "No way to contest was given." in got.person
    assert "No way to contest was given." in got.host


def test_who_signed_is_said() -> None:
    assert "class owner, unsigned." in told(account(), by_rule=False).host
    assert told(account(), by_rule=False).document is None
    host = told(account(), by_rule=False, holder="settings", on_behalf=True).host
    assert "signed by settings on the owner's behalf." in host
