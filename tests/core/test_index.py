"""Which revision is in force: the cached span against a search that remembers nothing; order never matters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import instants
from streams.core.index import Conflict, Index, Revision, Slot
from tests.samples import DAY, HOUR, NOON, PROPERTY, account, index, meeting, revision, service


def windowed(number: int, opens: int | None = None, closes: int | None = None, *, retracted: bool = False) -> Revision:
    times = {"not_before": opens, "not_after": closes}
    fields = {key: None if at is None else instants.render(at) for key, at in times.items()}
    return revision(account(revision=number, **fields, **({"retracted": True} if retracted else {})))


def naive(revisions: list[Revision], at: int) -> int | None:
    """Design §4, rule 1, and rulings 14 and 15, read aloud."""
    documents = sorted((r.document for r in revisions), key=lambda d: d.revision, reverse=True)
    for document in documents:
        if document.retracted:
            return None
        if document.not_before is None or document.not_before <= at:
            return document.revision if document.not_after is None or at < document.not_after else None
    return None


edges = st.none() | st.integers(-6, 6)
windows = st.tuples(edges, edges, st.integers(0, 5).map(lambda n: n == 0)).filter(
    lambda w: w[0] is None or w[1] is None or w[0] < w[1]
)


@settings(PROPERTY, max_examples=300)
@given(
    st.dictionaries(st.integers(1, 6), windows, max_size=5).flatmap(lambda d: st.permutations(sorted(d.items()))),
    st.data(),
)
def test_the_answer_is_the_one_a_search_gives_whatever_was_asked_before(
    arriving: list[tuple[int, Any]], data: st.DataObject
) -> None:
    slot, put = Slot("account/acme/licensing"), []
    for number, (opens, closes, retracted) in [*arriving, (None, (None, None, False))]:
        for at in data.draw(st.lists(st.integers(-8, 8), max_size=6)):
            found = slot.in_force(at)
            assert (found.document.revision if found else None) == naive(put, at)
        if number is not None:
            put.append(windowed(number, opens, closes, retracted=retracted))
            assert slot.put(put[-1])


def in_force(*revisions: Revision, at: int) -> int | None:
    found = index(*revisions).get("account/acme/licensing")
    assert found is not None
    current = found.in_force(at)
    return current.document.revision if current else None


@pytest.mark.parametrize(
    ("revisions", "at", "wanted"),
    [
        pytest.param([windowed(1)], NOON, 1, id="no window"),
        pytest.param([windowed(1), windowed(2)], NOON, 2, id="the highest"),
        pytest.param([windowed(2), windowed(1)], NOON, 2, id="a lower one comes later"),
        pytest.param([windowed(1), windowed(2, NOON + 1)], NOON, 1, id="a later one waits"),
        pytest.param([windowed(1), windowed(2, NOON)], NOON, 2, id="not_before is within"),
        pytest.param([windowed(1, None, NOON)], NOON - 1, 1, id="the last millisecond"),
        pytest.param([windowed(1, None, NOON)], NOON, None, id="not_after is outside"),
        pytest.param([windowed(1), windowed(2, None, NOON)], NOON, None, id="an expired one brings no older one back"),
        pytest.param([windowed(1), windowed(2, NOON - 2, NOON - 1)], NOON, None, id="came and went"),
        pytest.param([windowed(1), windowed(2, retracted=True)], NOON, None, id="retracted"),
        pytest.param([windowed(1), windowed(2, NOON + DAY, retracted=True)], NOON, None, id="retracted at once"),
        pytest.param([windowed(2, retracted=True), windowed(3)], NOON, 3, id="issued again"),
        pytest.param([windowed(1), windowed(2, retracted=True), windowed(3, NOON + 1)], NOON, None, id="not yet again"),
    ],
)
def test_in_force(revisions: list[Revision], at: int, wanted: int | None) -> None:
    assert in_force(*revisions, at=at) == wanted


def test_the_clock_may_go_either_way_over_an_edge() -> None:
    slot = index(windowed(1), windowed(2, NOON, NOON + HOUR)).get("account/acme/licensing")
    assert slot is not None
    asked = [NOON - 1, NOON, NOON + HOUR, NOON - 1, NOON + HOUR - 1, NOON + HOUR, NOON]
    found = [slot.in_force(at) for at in asked]
    assert [r.document.revision if r else None for r in found] == [1, 2, None, 1, 2, None, 2]


def test_the_same_revision_again_is_a_repeat() -> None:
    documents = Index()
    assert documents.put(windowed(1)) is True
    digest = documents.digest
    assert documents.put(windowed(1)) is False
    assert (documents.digest, len(documents)) == (digest, 1)


def test_other_content_under_the_same_revision_is_a_conflict_that_changes_nothing() -> None:
    documents = index(windowed(1), windowed(3))
    digest = documents.digest
    for number in (1, 3):
        with pytest.raises(Conflict, match=f"account/acme/licensing revision {number} "):
            documents.put(windowed(number, NOON))
    slot = documents.get("account/acme/licensing")
    assert slot is not None
    assert [r.document.revision for r in slot.revisions] == [3, 1]
    assert documents.digest == digest


VALUES = [account(name=n, revision=r) for n in "ab" for r in (1, 2)] + [meeting(), service(), account(account="other")]


@PROPERTY
@given(st.permutations(VALUES), st.integers(0, len(VALUES)))
def test_the_digest_names_the_set_not_the_order(values: list[dict[str, Any]], some: int) -> None:
    forwards, whole = index(*values[:some]), index(*VALUES)
    assert forwards.digest == index(*reversed(values[:some])).digest
    assert (forwards.digest == whole.digest) == (some == len(VALUES))
    assert len(whole.digest) == 32
    assert sorted(slot.path for slot in whole) == sorted({revision(v).document.path for v in VALUES})


def test_an_empty_index() -> None:
    empty = Index()
    assert (len(empty), list(empty), empty.digest, empty.get("x")) == (0, [], "0" * 32, None)
    assert empty.reaching("acme", "m-1") == ()


def test_a_meeting_is_reached_widest_scope_first_then_by_path() -> None:
    values = [
        *(meeting(name="z"), meeting(name="a"), meeting(meeting="m-2"), meeting(account="other")),
        *(account(name="b"), account(name="a"), account(account="other"), service(name="y"), service(name="x")),
    ]
    reached = [slot.path for slot in index(*values).reaching("acme", "m-1")]
    assert reached == [
        *("service/x", "service/y", "account/acme/a", "account/acme/b", "meeting/acme/m-1/a", "meeting/acme/m-1/z"),
    ]


@PROPERTY
@given(*[st.text("ab/%2F ", min_size=1, max_size=4)] * 4)
def test_no_id_reaches_another_accounts_meeting(account_: str, meeting_: str, their: str, other: str) -> None:
    documents = index(account(account=account_), meeting(account=account_, meeting=meeting_))
    assert len(documents.reaching(account_, meeting_)) == 2
    reached = documents.reaching(their, other)
    assert len(reached) == (0 if their != account_ else 2 if other == meeting_ else 1)


def test_the_documents_that_reach_everyone_are_named() -> None:
    assert index(account()).service == ()
    assert [slot.path for slot in index(account(), service(name="b"), service(name="a")).service] == [
        "service/a",
        "service/b",
    ]
