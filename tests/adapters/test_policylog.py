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


def applied(
    worker: str, offset: int, sweep: status.Sweep | None = None, timings: dict[str, float] | None = None
) -> status.StatusEvent:
    return status.applied(
        status.AppliedData(
            worker=worker,
            offset=offset,
            digest="",
            documents=1,
            appended_at=0,
            applied_at=0,
            timings=timings or {},
            sweep=sweep,
        )
    )


def sweep(*counts: int, trials: list[status.Trial] | None = None) -> status.Sweep:
    sessions, decided, admit, alert, remove = counts
    return status.Sweep(
        sessions=sessions, decided=decided, admit=admit, alert=alert, remove=remove, trials=trials or []
    )


def trial(path: str, revision: int, would_remove: int) -> status.Trial:
    return status.Trial(
        path=path, revision=revision, sessions=50, admit=0, alert=0, remove=50, would_alert=0,
        would_remove=would_remove, meetings=1,
    )  # fmt: skip


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


# -- what applying them did --------------------------------------------------------------------------------------


def test_what_the_workers_swept_is_added_up() -> None:
    push = sent(7, 9)
    for event in (
        accepted(7),
        accepted(9),
        applied("w1", 7, sweep(100, 40, 1, 2, 3), {"judge": 0.1, "swept": 0.2}),
        applied("w1", 9, sweep(101, 50, 10, 20, 30), {"judge": 0.3, "swept": 0.1}),
        applied("w2", 9, timings={"judge": 0.01}),
    ):
        push.hear(event)
    assert push.effects["w1"].timings == {"judge": 0.3, "swept": 0.2}, "the slowest of each"
    assert push.effects["w1"].sweep == sweep(101, 90, 11, 22, 33)
    assert push.effects["w2"].sweep is None
    push.hear(applied("w2", 9, sweep(9, 9, 9, 9, 9)))
    assert push.effects["w2"].sweep is None, "said again"
    assert push.swept == sweep(101, 90, 11, 22, 33)


def test_what_came_before_or_after_ours_is_no_effect_of_ours() -> None:
    push = sent(7)
    push.hear(accepted(7))
    push.hear(applied("w1", 6, sweep(5, 5, 0, 0, 5)))
    push.hear(applied("w1", 8, sweep(6, 6, 0, 0, 1)))  # two documents in one step
    push.hear(applied("w1", 9, sweep(7, 7, 0, 0, 7)))
    push.hear(applied("w2", 7))
    assert push.complete
    assert push.swept == sweep(6, 6, 0, 0, 1)


def test_trials_are_those_of_the_document_on_live_workers() -> None:
    push = sent(7, live=("w1", "w2", "w3"))
    offer = push.offers[0]
    ours, older, others = trial("account/a/n", 1, 4), trial("account/a/n", 0, 5), trial("account/b/n", 1, 6)
    push.hear(accepted(7))
    push.hear(applied("w1", 7, sweep(9, 9, 0, 0, 0, trials=[older, ours, others])))
    push.hear(applied("w2", 7, sweep(9, 9, 0, 0, 0, trials=[ours])))
    push.hear(applied("w3", 7))
    assert push.trials(offer) == [ours, ours]
    push.live = frozenset({"w1"})
    assert push.trials(offer) == [ours], "whose sessions went to another is not counted"
    assert push.swept.sessions == 9
