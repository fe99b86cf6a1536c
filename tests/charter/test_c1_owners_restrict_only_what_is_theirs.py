"""C1, tried from every side: another account's key, a key on behalf where the owner has one, look-alikes."""

from __future__ import annotations

import pytest

from streams.core.charter import (
    ADMIT,
    ALERT,
    REMOVE,
    Signer,
    c1_exact_stays_exact,
    c1_owners_only,
    capped,
    trusted_owner,
)
from streams.core.decide import judge
from tests.samples import NOON, account, index, join, located, meeting, parse, problems, revision, rule

ACME = Signer("acme", ("account/acme",))
OTHER = Signer("globex", ("account/globex",))
SETTINGS = Signer("settings", ("account/*",), on_behalf=True)
APPROVER = Signer("approver", ("service",))
HELPER = Signer("settings", ("account/acme",), on_behalf=True)
DOCUMENT = parse(account(default="remove"))


@pytest.mark.parametrize(
    ("signers", "exact", "counts"),
    [
        pytest.param([ACME], {"acme"}, True, id="the owner's own key"),
        pytest.param([], set(), False, id="nobody"),
        pytest.param([OTHER], {"globex"}, False, id="another account's key"),
        pytest.param([APPROVER], set(), False, id="an approver of service documents"),
        pytest.param([APPROVER, OTHER], set(), False, id="two that each may not"),
        pytest.param([SETTINGS], set(), True, id="on behalf of an owner without a key"),
        pytest.param([SETTINGS], {"globex"}, True, id="another account's key does not stand in the way"),
        pytest.param([SETTINGS], {"acme"}, False, id="on behalf of an owner with a key"),
        pytest.param([HELPER], {"acme"}, False, id="an exact scope held on behalf"),
        pytest.param([SETTINGS, ACME], {"acme"}, True, id="beside the owner's own"),
        pytest.param([Signer("x", ("account/",))], set(), False, id="an empty account"),
        pytest.param([Signer("x", ("account/acm*",))], set(), False, id="a pattern"),
        pytest.param([Signer("x", ("account/acme/licensing",))], set(), False, id="a longer scope"),
        pytest.param([Signer("x", ("account/ACME",))], set(), False, id="other capitals"),
        pytest.param([Signer("x", ("*",))], set(), False, id="everything"),
    ],
)
def test_who_may_sign_an_owners_document(signers: list[Signer], exact: set[str], counts: bool) -> None:
    found = c1_owners_only(DOCUMENT, signers, frozenset(exact))
    assert [code for code, _, _ in found] == ([] if counts else ["C1-owner"])
    assert (trusted_owner(DOCUMENT, signers, frozenset(exact)) is not None) is counts


def test_a_meetings_document_needs_its_accounts_key() -> None:
    document = parse(meeting(account="globex", meeting="acme"))
    assert c1_owners_only(document, [ACME], frozenset())
    assert not c1_owners_only(document, [OTHER], frozenset())


def test_the_owners_own_signature_counts_before_one_on_their_behalf() -> None:
    assert trusted_owner(DOCUMENT, [Signer("a", ("account/*",), on_behalf=True), ACME], frozenset()) == ACME


@pytest.mark.parametrize(
    ("on_behalf", "last", "refused"),
    [(True, False, True), (True, True, False), (True, None, False), (False, False, False), (False, True, False)],
)
def test_a_key_on_behalf_never_supersedes_the_owners_own(on_behalf: bool, last: bool | None, refused: bool) -> None:
    for document in (DOCUMENT, parse(account(revision=2, retracted=True))):
        assert bool(c1_exact_stays_exact(document, on_behalf, last)) is refused


@pytest.mark.parametrize("role", ["host", "cohost", "participant", "guest"])
@pytest.mark.parametrize("on_behalf", [False, True])
def test_nobody_is_thrown_out_of_their_own_meeting_on_their_behalf(role: str, on_behalf: bool) -> None:
    spared = on_behalf and role in ("host", "cohost")
    for value in (
        account(default="remove"),
        account(rules=[rule("remove")]),
        account(unknown="remove", default="alert", rules=[open_rule()]),
    ):
        found, _ = judge(index(revision(value, on_behalf=on_behalf)), join(role=role), located(), NOON)
        assert found.verdict == (ALERT if spared else REMOVE)


def open_rule() -> dict[str, object]:
    return rule("admit", {"country": ["FR"]})


def test_caps_touch_removals_only() -> None:
    for verdict in (ADMIT, ALERT):
        assert capped(DOCUMENT, None, verdict, located(), role="host", on_behalf=True) == verdict


def test_a_join_is_only_met_by_its_own_accounts_documents() -> None:
    theirs = index(account(account="globex", default="remove"), meeting(account="globex", default="remove"))
    found, _ = judge(theirs, join(), located(), NOON)
    assert (found.verdict, found.policies) == (ADMIT, {})


@pytest.mark.parametrize(
    "value", [account(meeting="m-1"), account(accounts=["globex"]), meeting(account=["acme", "globex"])]
)
def test_a_document_names_one_account_and_only_where_its_scope_has_one(value: object) -> None:
    assert problems(value)
