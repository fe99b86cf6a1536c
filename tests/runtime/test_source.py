"""The source: one chunk in hand, one waiting, and the `with` block as the only way to finish."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from streams.runtime import source as source_module
from streams.runtime.positions import OutOfOrderError
from streams.runtime.source import LARGE, Chunk, FencedError, LapsedError, Lease, Source

JOINS = TopicPartition("joins", 0)


@dataclass(frozen=True)
class Row:
    offset: int


class Desk:
    """A source as the application wires it, with notes of what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.lease = Lease(6.0)
        self.lease.renew(monotonic())
        self.source = Source(
            ["joins"],
            self.lease,
            lapsed=lambda: self.notes.append("lapsed"),
            failed=lambda: self.notes.append("failed"),
            assigned=self.load,
            forgotten=lambda: self.notes.append("forgotten"),
        )
        self.source.open()
        self.loading = asyncio.Event()  # a test that clears it keeps `assigned` waiting
        self.loading.set()
        self.stays = 0

    async def load(self, partitions: Collection[TopicPartition]) -> None:
        await self.loading.wait()
        self.notes.append(f"assigned {min(partitions).partition}")

    async def stay(self) -> None:
        self.stays += 1

    async def begin(self) -> bool:
        return await self.source.begin({JOINS: (0, True)}, self.stay)

    def poll(self, begin: int, end: int) -> None:
        self.source.offer({JOINS: [Row(offset) for offset in range(begin, end)]}, {JOINS: end})

    async def take(self) -> Chunk:
        chunk = await self.source.take()
        assert chunk is not None
        return chunk

    def committable(self) -> int | None:
        return self.source.positions.committable().get(JOINS)


def run(test: Callable[[Desk], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def with_desk() -> None:
        async def main() -> None:
            async with asyncio.timeout(10):
                desk = Desk()
                await desk.begin()
                await test(desk)

        asyncio.run(main())

    with_desk.__name__ = test.__name__
    return with_desk


async def blocked(awaitable: Awaitable[Any]) -> bool:
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0.02)
    done = task.done()
    task.cancel()
    return not done


@run
async def test_leaving_the_block_finishes_the_chunk(desk: Desk) -> None:
    desk.poll(0, 3)
    with await desk.take() as chunk:
        assert [row.offset for row in chunk.parts[JOINS]] == [0, 1, 2]
        assert desk.committable() is None
    assert desk.committable() == 3
    assert (desk.source.counts.chunks, desk.source.counts.records) == (1, 3)


@run
async def test_an_exception_never_finishes_it_and_closes_the_source(desk: Desk) -> None:
    desk.poll(0, 3)
    with pytest.raises(ZeroDivisionError), await desk.take():
        1 / 0  # noqa: B018 - the exception is the point
    assert desk.committable() is None
    assert "failed" in desk.notes
    assert not desk.source.is_open
    assert desk.source.positions.take_rewinds([JOINS]) == {JOINS: 0}


@run
async def test_a_cancelled_agent_gives_its_chunk_back_without_alarm(desk: Desk) -> None:
    desk.poll(0, 3)

    async def agent() -> None:
        with await desk.take():
            await asyncio.sleep(5)

    assert await blocked(agent())
    await asyncio.sleep(0)
    assert desk.committable() is None
    assert "failed" not in desk.notes
    assert desk.source.positions.next == {JOINS: 0}


@run
async def test_a_poll_waits_while_a_chunk_waits_or_a_small_one_is_in_hand(desk: Desk) -> None:
    desk.poll(0, 2)
    assert await blocked(desk.source.wait_free())
    with await desk.take():
        assert await blocked(desk.source.wait_free())
    await desk.source.wait_free()


@run
async def test_a_poll_that_waits_for_a_chunks_end_goes_on_when_it_is_held(desk: Desk) -> None:
    desk.poll(0, 2)
    chunk = await desk.take()
    waiting = asyncio.ensure_future(desk.source.wait_free())
    await asyncio.sleep(0)
    holding = asyncio.ensure_future(chunk.hold())
    await asyncio.wait_for(waiting, 1)
    holding.cancel()


@run
async def test_beside_a_large_chunk_one_more_may_wait(desk: Desk) -> None:
    desk.poll(0, LARGE)
    with await desk.take():
        await desk.source.wait_free()
        desk.poll(LARGE, LARGE + 2)
        assert await blocked(desk.source.wait_free())
    with await desk.take() as chunk:
        assert chunk.parts[JOINS][0].offset == LARGE


@run
async def test_taking_the_next_chunk_with_one_in_hand_is_a_mistake(desk: Desk) -> None:
    desk.poll(0, 2)
    await desk.take()  # outside `with`
    with pytest.raises(RuntimeError, match="still in hand"):
        await desk.source.take()


@run
async def test_a_revoked_chunk_is_fenced_and_its_late_end_counts_for_nothing(desk: Desk) -> None:
    desk.poll(0, 2)
    with await desk.take() as chunk:
        desk.source.forget()
        await desk.begin()
        chunk.check()
        pytest.fail("the check let it through")
    assert desk.source.counts.fenced == 1
    desk.poll(0, 2)
    with await desk.take():
        desk.source.forget()
        await desk.begin()
    assert desk.source.counts.stale == 2
    assert desk.committable() is None


@run
async def test_a_chunk_given_up_because_the_lease_is_out_is_reported(desk: Desk) -> None:
    desk.poll(0, 2)
    with await desk.take() as chunk:
        chunk.check()
        desk.lease.renew(monotonic() - 5.5)  # less than the session time-out, more than it less the margin
        chunk.check()
    assert desk.notes[-1] == "lapsed"
    assert desk.committable() is None


@run
async def test_a_chunk_may_wait_for_the_lease_and_go_on(desk: Desk) -> None:
    desk.poll(0, 2)
    with await desk.take() as chunk:
        desk.lease.renew(monotonic() - 5.5)
        with pytest.raises(LapsedError):
            chunk.check()
        desk.lease.renew(monotonic())
        chunk.check()
    assert "lapsed" not in desk.notes
    assert desk.committable() == 2


@run
async def test_an_agent_that_tries_shows_it_and_one_that_is_stuck_does_not(desk: Desk) -> None:
    desk.poll(0, 2)
    desk.source.progress_at = 0.0
    with await desk.take() as chunk:
        desk.source.starved()  # a fetch that fails is no excuse for a chunk that is not answered
        assert desk.source.progress_at == 0.0
        chunk.check()
        assert desk.source.progress_at > 0.0
    desk.source.progress_at = 0.0
    desk.source.starved()
    assert desk.source.progress_at > 0.0
    desk.poll(2, 3)
    desk.source.progress_at = 0.0
    desk.source.starved()  # nor for one that nobody takes
    assert desk.source.progress_at == 0.0


@run
async def test_nothing_is_handed_on_while_the_lease_is_out(desk: Desk) -> None:
    desk.lease.renew(monotonic() - 60)
    desk.poll(0, 2)
    assert await desk.source.take() is None
    assert desk.source.hand is None
    desk.lease.renew(monotonic())
    assert len(await desk.take()) == 2


@run
async def test_closing_puts_the_waiting_chunk_back_so_that_other_topics_go_on(desk: Desk) -> None:
    desk.poll(0, 2)
    desk.source.close()
    await desk.source.wait_free()
    assert await blocked(desk.source.take())
    assert desk.source.positions.take_rewinds([JOINS]) == {JOINS: 0}
    desk.source.open()
    desk.poll(0, 2)
    assert len(await desk.take()) == 2


@run
async def test_a_drain_puts_the_waiting_chunk_back_and_waits_for_the_one_in_hand(desk: Desk) -> None:
    desk.poll(0, 2)
    chunk = await desk.take()
    desk.poll(2, 5)
    draining = asyncio.ensure_future(desk.source.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    with chunk:
        pass
    await draining
    assert desk.committable() == 2
    assert desk.source.positions.take_rewinds([JOINS]) == {JOINS: 2}
    assert desk.source.counts.dropped == 3


def test_a_drain_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "DRAIN_SECONDS", 0.05)

    async def main() -> None:
        desk = Desk()
        await desk.begin()
        desk.poll(0, 2)
        chunk = await desk.take()
        await desk.source.drain()
        desk.source.forget()
        with pytest.raises(FencedError):
            chunk.check()

    asyncio.run(main())


@run
async def test_a_held_chunk_stays_in_hand_and_lets_nothing_by_until_its_partitions_go(desk: Desk) -> None:
    desk.poll(0, 2)
    chunk = await desk.take()
    desk.poll(2, 5)

    async def agent() -> None:
        with chunk:
            await chunk.hold()

    holding = asyncio.ensure_future(agent())
    await asyncio.sleep(0.01)
    assert desk.source.held
    assert not desk.source.is_flowing
    await desk.source.wait_free()  # what waited is read again later
    await asyncio.wait_for(desk.source.drain(), 1)  # nobody will finish it
    assert not holding.done()
    assert desk.committable() is None
    desk.source.forget()
    await holding
    assert desk.source.is_flowing
    assert desk.source.counts.fenced == 1
    await desk.begin()
    desk.poll(0, 2)
    assert len(await desk.take()) == 2


@run
async def test_an_agent_that_holds_can_be_stopped(desk: Desk) -> None:
    desk.poll(0, 2)

    async def agent() -> None:
        with await desk.take() as chunk:
            await chunk.hold()

    assert await blocked(agent())
    await asyncio.sleep(0)
    assert not desk.source.held
    assert desk.committable() is None
    assert "failed" not in desk.notes


@run
async def test_chunks_can_not_be_finished_out_of_order(desk: Desk) -> None:
    desk.poll(0, 2)
    first = await desk.take()
    desk.poll(2, 4)
    desk.source.hand = None  # what no caller can do through `with`
    second = await desk.take()
    with pytest.raises(OutOfOrderError), second:
        pass
    assert first.spans == {JOINS: (0, 2)}
    assert desk.committable() is None


@run
async def test_owners_are_told_of_partitions_taken_on_and_given_up(desk: Desk) -> None:
    desk.source.forget()
    assert desk.notes == ["assigned 0", "forgotten"]


@run
async def test_no_record_comes_before_the_application_has_taken_its_partition_on(desk: Desk) -> None:
    desk.source.forget()
    desk.loading.clear()
    beginning = asyncio.ensure_future(desk.begin())
    await asyncio.sleep(source_module.LOADING_SECONDS + 0.1)
    assert desk.stays == 1  # the group hears of us all the while
    assert JOINS not in desk.source.positions.next
    desk.loading.set()
    assert await beginning
    assert desk.source.positions.next == {JOINS: 0}


@run
async def test_an_epoch_that_ends_while_partitions_are_taken_on_undoes_it(desk: Desk) -> None:
    desk.source.forget()
    desk.loading.clear()
    beginning = asyncio.ensure_future(desk.begin())
    await asyncio.sleep(0.01)
    desk.source.forget()
    desk.loading.set()
    assert not await beginning
    assert desk.notes.count("assigned 0") == 1  # the first, before this test: the second was ended, not just ignored
    assert not desk.source.positions.next
    assert await desk.begin()


@run
async def test_a_stop_while_partitions_are_taken_on_ends_that_too(desk: Desk) -> None:
    desk.source.forget()
    desk.loading.clear()
    assert await blocked(desk.begin())
    desk.loading.set()
    await asyncio.sleep(0.01)
    assert desk.notes.count("assigned 0") == 1


@run
async def test_an_application_that_can_not_take_partitions_on_ends_the_process(desk: Desk) -> None:
    async def fail() -> bool:
        raise ZeroDivisionError

    desk.source.forget()
    desk.loading.wait = fail  # type: ignore[method-assign]  # the next load fails at its first step
    with pytest.raises(ZeroDivisionError):
        await desk.begin()
    assert "failed" in desk.notes
    assert not desk.source.is_open


@run
async def test_a_turn_is_an_empty_chunk_and_comes_once_however_often_it_was_asked_for(desk: Desk) -> None:
    desk.source.ask_turn()
    desk.source.ask_turn()
    before = desk.source.progress_at
    with await desk.take() as chunk:
        chunk.check()
        assert (chunk.parts, len(chunk), chunk.epoch) == ({}, 0, desk.source.positions.epoch)
    assert desk.source.progress_at > before
    assert (desk.source.counts.chunks, desk.committable()) == (0, None)
    assert await blocked(desk.source.take())


@run
async def test_a_turn_asked_for_during_a_turn_is_another(desk: Desk) -> None:
    desk.source.ask_turn()
    with await desk.take():
        desk.source.ask_turn()
    with await desk.take() as chunk:
        assert not chunk.parts


@run
async def test_records_go_before_turns_and_turns_let_the_fetcher_run(desk: Desk) -> None:
    async def fetcher() -> None:
        for offset in range(5):
            await desk.source.wait_free()
            await asyncio.sleep(0)  # a fetch
            desk.poll(offset, offset + 1)

    fetching = asyncio.ensure_future(fetcher())
    turns = 0
    while desk.source.counts.records < 5:
        desk.source.ask_turn()
        with await desk.take() as chunk:  # never awaits anything itself
            turns += not chunk.parts
    await fetching
    assert 0 < turns < 50


@run
async def test_a_turn_waits_for_a_source_that_flows_and_owns_something(desk: Desk) -> None:
    desk.source.ask_turn()
    desk.source.close()
    assert await blocked(desk.source.take())
    desk.source.open()
    desk.source.forget()
    assert await blocked(desk.source.take())
    await desk.begin()
    with await desk.take() as chunk:
        assert not chunk.parts


@run
async def test_no_turn_comes_between_a_drain_and_the_end_of_the_epoch(desk: Desk) -> None:
    desk.source.ask_turn()
    await desk.source.drain()
    assert await blocked(desk.source.take())


@run
async def test_a_turn_is_fenced_like_any_chunk(desk: Desk) -> None:
    desk.source.ask_turn()
    with await desk.take() as chunk:
        desk.source.forget()
        chunk.check()
        pytest.fail("the check let it through")
    assert desk.source.counts.fenced == 1
