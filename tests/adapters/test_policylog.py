"""When a push is complete, told from what workers say: every document answered, every live worker past the last one."""

from __future__ import annotations

from streams.adapters.policylog import Offer, Push
from streams.core import status
from streams.core.policy import Problem


def accepted(offset: int) -> status.StatusEvent:
    data = status.AcceptedData(
        path="account/a/n", revision=1, offset=offset, appended_at=0, sha256="", holder="a", on_behalf=False,
        account="a", meeting=None,
    )  # fmt: skip
    return status.AcceptedEvent(id="", time="", subject="", data=data)


def rejected(offset: int) -> status.StatusEvent:
    return status.rejected("p", 1, [Problem("x", "", "no")], offset=offset, appended_at=0, sha256=None)


def applied(worker: str, offset: int) -> status.StatusEvent:
    return status.applied(
        status.AppliedData(
            worker=worker, offset=offset, digest="", documents=1, appended_at=0, applied_at=0, timings={}
        )
    )


def sent(*offsets: int, live: tuple[str, ...] = ("w1", "w2")) -> Push:
    push = Push([Offer("account/a/n", 1, b"") for _ in offsets])
    for offer, offset in zip(push.offers, offsets, strict=True):
        push.sent(offer, offset)
    push.live = frozenset(live)
    return push


def test_it_waits_for_every_answer_and_every_worker() -> None:
    push = sent(7, 9)
    steps = [accepted(7), applied("w1", 9), applied("w2", 7), accepted(9), applied("w2", 8)]
    for event in steps:
        push.hear(event)
        assert not push.complete
    assert push.missing == ["w2"]
    push.hear(applied("w2", 30))
    assert push.complete


def test_others_records_and_repeated_words_change_nothing() -> None:
    push = sent(7)
    push.hear(rejected(6))
    push.hear(accepted(8))
    assert not push.answered
    push.hear(accepted(7))
    push.hear(rejected(7))
    assert (push.offers[0].answer, push.offers[0].problems) == ("accepted", [])


def test_what_is_rejected_need_not_be_applied() -> None:
    push = sent(7, live=())
    push.hear(rejected(7))
    assert push.complete
    assert [p.code for p in push.offers[0].problems] == ["x"]
    push = sent(7, 8)
    for event in (accepted(7), rejected(8), applied("w1", 7), applied("w2", 7)):
        push.hear(event)
    assert push.complete


def test_without_a_live_worker_nothing_accepted_is_complete() -> None:
    push = sent(7, live=())
    push.hear(accepted(7))
    assert not push.complete


def test_a_worker_that_died_is_not_waited_for_and_one_that_joined_is() -> None:
    push = sent(7)
    push.hear(accepted(7))
    push.hear(applied("w1", 7))
    push.live = frozenset({"w1"})
    assert push.complete
    push.live = frozenset({"w1", "w3"})
    assert push.missing == ["w3"]
