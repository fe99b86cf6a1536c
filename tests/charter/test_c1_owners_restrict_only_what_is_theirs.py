"""C1, tried from every side: another account's key, a key on behalf where the owner has one, look-alikes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import instants
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
from streams.core.events import JoinData
from streams.core.facts import Facts
from tests.samples import (
    NOON,
    PROPERTY,
    account,
    facts,
    index,
    join,
    located,
    meeting,
    offers,
    parse,
    problems,
    revision,
    rule,
    service,
)
from tests.signing import Worker, entry, trusting

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


# -- at the policy log: signed by one account, speaking of another -----------------------------------------------------


@pytest.fixture
def worker() -> Worker:
    return Worker(trusting("acme", "settings", "ann", "bo", entry("globex"), entry("a/b", scopes=["account/a/b"])))


@pytest.mark.parametrize(
    "signers", [("globex",), ("ann", "bo"), ("ann",), ("settings",), ("globex", "settings", "ann")]
)
@pytest.mark.parametrize(
    "value",
    [
        account(default="remove"),
        meeting(default="remove"),
        account(revision=9, retracted=True),
        meeting(mode="report", default="remove"),
    ],
)
def test_nobody_else_signs_for_an_account_that_has_a_key(
    worker: Worker, value: dict[str, Any], signers: tuple[str, ...]
) -> None:
    assert worker.refuses(value, *signers) == {"C1-owner"}


def test_a_meeting_that_two_accounts_claim_is_decided_by_its_own(worker: Worker) -> None:
    """Another account may write of the same meeting id; its words are for a meeting of its own."""
    worker.takes(meeting(default="alert"), "acme")
    worker.takes(meeting(account="globex", default="remove"), "globex")
    worker.takes(account(account="globex", default="remove"), "globex")
    found, _ = judge(worker.index, join(), located(), NOON)
    assert (found.verdict, set(found.policies)) == (ALERT, {"meeting/acme/m-1/licensing"})


def test_nobody_retracts_what_is_anothers(worker: Worker) -> None:
    worker.takes(account(default="remove"), "acme")
    for value in (account(revision=2, retracted=True), account(revision=2)):
        for signer in ("globex", "settings", "a/b"):
            assert worker.refuses(value, signer) == {"C1-owner"}
        assert worker.refuses(value, "ann", "bo") == {"C1-owner"}
    theirs = account(account="globex", revision=2, retracted=True)
    assert worker.refuses(theirs, "globex", path="account/acme/licensing") == {"key-mismatch"}
    found, _ = judge(worker.index, join(), located(), NOON)
    assert found.verdict == REMOVE


def test_a_retraction_waits_for_nothing_and_ends_at_once(worker: Worker) -> None:
    """Ruling 15: a window in it means nothing, so nobody is kept out until one opens, or let down when one closes."""
    worker.takes(account(default="remove"), "acme")
    closed = {"not_before": "2030-01-01T00:00:00Z", "not_after": "2031-01-01T00:00:00Z"}
    worker.takes(account(revision=2, retracted=True, default="remove", **closed), "acme")
    for at in (NOON, instants.parse("2030-06-01T00:00:00Z"), instants.parse("2040-01-01T00:00:00Z")):
        assert judge(worker.index, join(), located(), at)[0].policies == {}
    assert worker.refuses(account(revision=1, default="alert"), "acme") == {"revision-conflict"}
    worker.takes(account(revision=3, default="alert"), "acme")
    assert judge(worker.index, join(), located(), NOON)[0].verdict == ALERT


# Each is another account than `acme`, or `a/b`, to a reader that compares characters; none may pass for it.
LOOK_ALIKES = [
    "Acme", "ACME", "acme ", " acme", "acme\0", "acme\n", "acme/", "/acme", "acme/m-1", "%61cme", "acme%00", "a%2Fb",
    "a%2fb",
    "аcme",  # Cyrillic a
    "ａcme",  # full width
    "acm\u200be", "acmé", "acme\u0301", "*", "acme*", "..", ".", "acme/../globex", "a\u2215b", "a\\b",
]  # fmt: skip


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_look_alike_is_another_account(worker: Worker, name: str) -> None:
    looks = trusting(
        "acme", entry("a/b", scopes=["account/a/b"]), entry("like", scopes=[f"account/{name}"]), "settings"
    )
    worker = Worker(looks)
    for owner in ("acme", "a/b"):
        assert worker.refuses(account(account=owner, default="remove"), "like") == {"C1-owner"}
        assert worker.refuses(account(account=name, default="remove"), owner) == {"C1-owner"}
    worker.takes(account(account=name, default="remove"), "settings" if name == "*" else "like")
    for owner in ("acme", "a/b"):
        assert judge(worker.index, join(account=owner), located(), NOON)[0].policies == {}


def test_letters_that_look_the_same_in_two_ways_are_two_accounts() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    worker = Worker(trusting(entry("cafe", scopes=[f"account/{composed}"])))
    assert worker.refuses(account(account=decomposed, default="remove"), "cafe") == {"C1-owner"}
    worker.takes(account(account=composed, default="remove"), "cafe")
    assert judge(worker.index, join(account=decomposed), located(), NOON)[0].verdict == ADMIT


@pytest.mark.parametrize("key", ["account", "meeting", "name"])
@pytest.mark.parametrize("empty", ["", None, [], 0, "x" * 129, "\ud800"])
def test_no_part_of_a_path_is_empty_or_no_text(key: str, empty: Any) -> None:
    (found,) = problems({**meeting(), key: empty})
    assert found in {("name", key), ("null", key)}


parts = st.sampled_from(["a", "b", "a/b", "b/a", "a%2Fb", "%", "%25", "*", "..", "/", "é", "e\u0301"])


@settings(PROPERTY, max_examples=100)
@given(st.lists(st.tuples(parts, parts, parts), min_size=2, max_size=2, unique=True))
def test_no_two_documents_share_a_path(named: list[tuple[str, str, str]]) -> None:
    (a, b, c), (d, e, f) = named
    paths = {
        parse(value).path
        for value in (
            meeting(account=a, meeting=b, name=c),
            meeting(account=d, meeting=e, name=f),
            account(account=a, name=c),
            service(name=c),
        )
    }
    assert len(paths) == 4


def test_a_slash_in_a_name_moves_no_document() -> None:
    worker = Worker(trusting(entry("a"), entry("a/b", scopes=["account/a/b"])))
    worker.takes(account(account="a", name="b/c", default="remove"), "a")
    assert worker.refuses(account(account="a/b", name="c", default="remove"), "a") == {"C1-owner"}
    for path in ("account/a%2fb/c", "account/a/b/c", "account/a%252Fb/c"):
        value = account(account="a/b", name="c", default="remove")
        assert worker.refuses(value, "a/b", path=path) == {"key-mismatch"}
    assert judge(worker.index, join(account="a/b"), located(), NOON)[0].verdict == ADMIT


@settings(PROPERTY, max_examples=150)
@given(
    st.sampled_from(["account", "meeting"]).flatmap(offers),
    st.booleans(),
    st.builds(
        join, account=st.sampled_from(["globex", "Acme", "acme/m-1", "*"]), role=st.sampled_from(["host", "guest"])
    ),
    facts,
)
def test_whatever_an_owner_writes_joins_of_other_accounts_are_decided_as_without_it(
    value: dict[str, Any], on_behalf: bool, who: JoinData, known: Facts
) -> None:
    theirs = [
        revision(account(account="globex", default="alert")),
        revision(service(rules=[rule("remove", {"country": ["FR"]})])),
    ]
    without, with_it = index(*theirs), index(*theirs, revision(value, on_behalf=on_behalf))
    assert judge(with_it, who, known, NOON) == judge(without, who, known, NOON)
