"""The source: the one place that hands records to the agent and knows what became of them.

`transport.Consumer` offers what each poll returned; the agent takes it as a `Chunk`, works through it, and leaves its
`with` block. Leaving is the only way to finish a chunk, and leaving by an exception never finishes it:

    @app.agent(app.chunks)
    async def joins(chunks):
        async for chunk in chunks:
            with chunk:
                for partition, records in chunk.parts.items():
                    ...
                await outbox.send(chunk.check)      # returns when every output is acknowledged

An *empty chunk* is a turn for work that is not records (`Source.ask_turn`): the agent does it between chunks, so that
nothing else changes meanwhile, and under the same rules.

One chunk is in hand and, if that is large, one more may wait; other polls wait themselves (the gate). The agent pulls:
there is no queue in between that Faust could clear, so a chunk can't be lost on the way. All of this runs on the main
event loop; only the `Lease` is written by the consumer's thread.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Any, Final, NoReturn, TypeAlias

from aiokafka.structs import TopicPartition

from streams.runtime.positions import Positions, Span

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 5.0
"""How long a rebalance or a stop waits for the chunk in hand; well under Faust's rebalance timeout of 60 s."""

LEASE_POLL_SECONDS: Final = 0.05
"""How often a waiting chunk looks whether the lease is back."""


LARGE: Final = 1_000
"""Records of a chunk beside which the next is made ready."""

LOADING_SECONDS: Final = 0.5
"""How often we show the group that we are alive while the application takes partitions on."""


Assigned: TypeAlias = Callable[[Collection[TopicPartition]], Awaitable[None]]


async def nothing_to_load(partitions: Collection[TopicPartition]) -> None:
    """An `assigned` for applications that keep no state."""


class FencedError(Exception):
    """The chunk's partitions are no longer ours: write nothing more, their new owner reads them again."""


class LapsedError(Exception):
    """The lease is out: the chunk's partitions may no longer be ours. Write nothing until it is known that they are."""


class Lease:
    """How long the group surely still counts us as a member.

    The coordinator drops a member it has not heard from for the session timeout. Counted from the *sending* of the
    last heartbeat it answered, and ended a margin early, our own idea of it always ends before the coordinator's.
    Written by the consumer's thread and read by others; a float is replaced whole, so no lock is needed.

    Args:
        duration: The session timeout, in seconds.
        margin: Seconds taken off it, for what happens between a check and the write it allows.
    """

    def __init__(self, duration: float, margin: float = 1.0) -> None:
        if duration <= margin:
            raise ValueError(f"a session timeout of {duration} s leaves nothing after the margin of {margin} s")
        self._duration = duration - margin
        self._renewed = float("-inf")

    def renew(self, heard: float) -> None:
        """A heartbeat sent at `heard` (monotonic seconds) was answered."""
        self._renewed = heard

    def left(self) -> float:
        """Seconds that remain; zero or less once lapsed."""
        return self._renewed + self._duration - monotonic()

    def holds(self) -> bool:
        """Whether we surely still are a member."""
        return self.left() > 0


class Chunk:
    """What one poll returned of the source topics: the unit of work. Or nothing: a turn that was asked for.

    Attributes:
        parts: `{TopicPartition: [ConsumerRecord, ...]}`, each list in the order of its offsets and not empty.
        epoch: The ownership epoch it was read in; rises with each rebalance.
    """

    __slots__ = ("_source", "epoch", "parts", "spans")

    def __init__(
        self,
        source: "Source",
        epoch: int,
        parts: Mapping[TopicPartition, list[Any]],
        spans: Mapping[TopicPartition, Span],
    ) -> None:
        self._source = source
        self.epoch = epoch
        self.parts = parts
        self.spans = spans

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def check(self) -> None:
        """Call right before writing, and after every long wait. That the agent still calls it counts as progress.

        Raises:
            FencedError: The partitions are no longer ours. Let it leave the `with` block.
            LapsedError: The lease is out. `Outbox.send` waits for it then; leaving the `with` block by it ends the
                process.
        """
        self._source.check(self)

    async def hold(self) -> NoReturn:
        """Go no further with this chunk, on purpose: it stays in hand, unfinished, for somebody to look at.

        Nothing else is handed on meanwhile, and the watchdog takes the silence for what it is. Our membership of the
        group is kept, so that whatever is wrong with these records doesn't move on to a neighbour.

        Raises:
            FencedError: The partitions are no longer ours. Let it leave the `with` block.
        """
        await self._source.hold(self)

    def __enter__(self) -> "Chunk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return self._source.release(self, exc)


@dataclass(slots=True)
class Counts:
    """What became of chunks, since the process began; all of them only rise."""

    chunks: int = 0  # finished
    records: int = 0  # finished
    dropped: int = 0  # records read but not handed on (rebalance, pause); read again by whoever owns them then
    stale: int = 0  # records worked through whose epoch had ended meanwhile: their new owner answers them too
    fenced: int = 0  # chunks given up at a check
    commits: int = 0
    commit_failures: int = 0
    resent: int = 0  # batches sent again, as the brokers did not acknowledge them


class Source:
    """Hands chunks on, one at a time and in order, and keeps what is finished.

    Args:
        topics: Names of the source topics.
        lease: The group lease.
        lapsed: Called when the agent gave a chunk up because the lease is out; must not return in production.
        failed: Called once when the agent failed with a chunk in hand.
        assigned: Awaited with the partitions taken on, before their first record is handed on and not before the source
            is open; no chunk comes meanwhile. Main loop; it may take long if it awaits something now and then. It is
            cancelled when the epoch ends. Its exceptions end the process.
        forgotten: Called after an epoch's last commit, and after `assigned` was cancelled: state kept for its
            partitions must go. The first rebalance of a process ends an epoch too, an empty one. Main loop; must be
            quick.

    Attributes:
        positions: The bookkeeping.
        counts: What became of chunks.
        progress_at: When we last did what we can, monotonic seconds: finished a chunk (empty or not), tried to write
            one, could not begin one without the lease, or found nothing because a broker could not be read from.
        hand: The chunk the agent works on, if any.
        held: Whether the agent holds that chunk on purpose; see `Chunk.hold`.
    """

    def __init__(
        self,
        topics: Collection[str],
        lease: Lease,
        *,
        lapsed: Callable[[], None],
        failed: Callable[[], None] = lambda: None,
        assigned: Assigned = nothing_to_load,
        forgotten: Callable[[], None] = lambda: None,
    ) -> None:
        self.topics = frozenset(topics)
        self.lease = lease
        self.positions = Positions()
        self.counts = Counts()
        self.progress_at = monotonic()
        self.hand: Chunk | None = None
        self.is_open = False
        self.held = False
        self._waiting: Chunk | None = None
        self._turn_asked = False
        self._draining = False
        self._loading: asyncio.Future[None] | None = None
        self._change = asyncio.Event()  # pulsed: set and cleared at once, which wakes everyone who waits just then
        self._lapsed = lapsed
        self._failed = failed
        self._assigned = assigned
        self._forgotten = forgotten

    # The gate of the whole source.

    def open(self) -> None:
        """The application is ready: fetch, and hand chunks on. A new source is closed."""
        self.is_open = True
        self._pulse()

    def close(self) -> None:
        """Fetch and hand on nothing more. The chunk in hand finishes; positions stay."""
        self.is_open = False
        self._drop_waiting()  # or the next poll, which may be for Faust's own topics, would wait for it

    @property
    def is_flowing(self) -> bool:
        """Whether to fetch and hand on: open, and nothing held."""
        return self.is_open and not self.held

    def ask_turn(self) -> None:
        """Hand an empty chunk on as soon as none with records waits. Main loop.

        It comes only while the source flows and owns partitions; an ask is kept until then, and several count once.
        """
        self._turn_asked = True
        self._pulse()

    @property
    def _is_turn(self) -> bool:
        return self._turn_asked and self.is_flowing and not self._draining and bool(self.positions.next)

    # For the agent's channel.

    async def take(self) -> Chunk | None:
        """Wait for a chunk and put it in the caller's hand.

        Returns:
            The chunk; None after `wake`, when there is something else to look at.

        Raises:
            RuntimeError: The chunk before it is still in hand: it was taken outside `with`, or by a second agent.
        """
        if self.hand is not None:
            raise RuntimeError("a chunk is still in hand: use `with chunk:`, one agent, concurrency 1")
        # Even when turns are asked for all the time, the fetcher gets to run and its chunk goes first.
        await asyncio.sleep(0)
        if self._waiting is None and not self._is_turn:
            await self._change.wait()
        if self._waiting is None and not self._is_turn:
            return None
        if not self.lease.holds():  # a paused process or an unreachable coordinator: hold, don't guess
            self.progress_at = monotonic()
            await asyncio.sleep(LEASE_POLL_SECONDS)
            return None
        if self._waiting is not None:
            self.hand, self._waiting = self._waiting, None
        else:
            self.hand, self._turn_asked = Chunk(self, self.positions.epoch, {}, {}), False
        self._pulse()
        return self.hand

    def wake(self) -> None:
        """Make a waiting `take` return."""
        self._pulse()

    def check(self, chunk: Chunk) -> None:
        """See `Chunk.check`."""
        self.progress_at = monotonic()
        if chunk.epoch != self.positions.epoch:
            raise FencedError
        if not self.lease.holds():
            raise LapsedError

    def starved(self) -> None:
        """A broker could not be read from: that there is nothing to work on is no fault of ours. Any thread."""
        if self.hand is None and self._waiting is None:
            self.progress_at = monotonic()

    async def hold(self, chunk: Chunk) -> NoReturn:
        """See `Chunk.hold`."""
        self.held = True
        self._drop_waiting()  # or the next poll, which also keeps us in the group, would wait for it
        self._pulse()  # and one that waits for this chunk's end goes on
        while chunk.epoch == self.positions.epoch:
            await self._change.wait()
        raise FencedError

    def release(self, chunk: Chunk, exc: BaseException | None) -> bool:
        """The agent left its `with` block; see `Chunk.__exit__`.

        Returns:
            Whether the exception ends here, which is so only for `FencedError` (and `LapsedError`, after `lapsed`).
        """
        if chunk is not self.hand:
            raise RuntimeError("this chunk is not in hand")
        self.hand = None
        self.held = False
        fenced = isinstance(exc, FencedError | LapsedError)
        if isinstance(exc, LapsedError):
            self._lapsed()
        if exc is None:
            if self.positions.finish(chunk.epoch, chunk.spans):
                self.counts.chunks += bool(chunk.parts)
                self.counts.records += len(chunk)
            else:
                self.counts.stale += len(chunk)
            self.progress_at = monotonic()
        else:
            self.counts.fenced += fenced
            self._drop_waiting()
            self._put_back(chunk)
            if not fenced:
                self.close()
                if isinstance(exc, Exception):  # not a cancellation, which is Faust stopping its agents
                    self._failed()
        self._pulse()
        return fenced

    # For the consumer.

    async def wait_free(self) -> None:
        """Wait until a poll may begin: no chunk waits, and the agent is free, holds its chunk or has a large one.

        Beside a large one the next is made ready: there is a backlog. Beside a small one it would go without the
        records that come until the agent can begin it, and they would wait for two chunks' acknowledgements. (aiokafka
        reads ahead by itself.)
        """
        while self._waiting is not None or not self._may_work_ahead:
            await self._change.wait()

    @property
    def _may_work_ahead(self) -> bool:
        return self.hand is None or self.held or len(self.hand) >= LARGE

    async def begin(
        self, offsets: Mapping[TopicPartition, tuple[int, bool]], stay: Callable[[], Awaitable[None]]
    ) -> bool:
        """Take partitions on, once the application has; see `assigned`.

        Args:
            offsets: By partition, where to begin and whether the broker holds that as committed.
            stay: Shows the group that we are alive; called now and then.

        Returns:
            Whether they are ours now: False when the epoch ended meanwhile.
        """
        epoch = self.positions.epoch
        self._loading = loading = asyncio.ensure_future(self._assigned(offsets.keys()))
        try:
            while not (await asyncio.wait([loading], timeout=LOADING_SECONDS))[0]:
                await stay()
        finally:
            loading.cancel()
            self._loading = None
        if epoch != self.positions.epoch:
            if not loading.cancelled() and loading.exception():
                log.info("taking partitions on was overtaken by a rebalance: %r", loading.exception())
            return False
        if loading.cancelled() or loading.exception():
            self.close()
            self._failed()
        loading.result()
        for partition, (offset, committed) in offsets.items():
            self.positions.start(partition, offset, committed=committed)
        self._pulse()
        return True

    def offer(self, records: Mapping[TopicPartition, list[Any]], log_ends: Mapping[TopicPartition, int]) -> None:
        """Hand on what a poll returned of partitions we own. Nothing may be waiting (see `wait_free`).

        Args:
            records: By partition, in the order of their offsets.
            log_ends: By partition, the offset of the next record to come.

        Raises:
            TopicReplacedError: From the bookkeeping; the process should end.
        """
        parts: dict[TopicPartition, list[Any]] = {}
        spans: dict[TopicPartition, Span] = {}
        for partition, fetched in records.items():
            accepted = self.positions.accept(partition, fetched, log_ends[partition])
            if accepted is not None:
                fresh, spans[partition] = accepted
                parts[partition] = list(fresh) if fresh is not fetched else fetched
        if parts:
            self._waiting = Chunk(self, self.positions.epoch, parts, spans)
            self._pulse()

    async def drain(self) -> None:
        """Start nothing new, and wait a while for the chunk in hand, so that it can still be committed.

        Without the lease it can't be: a chunk that waits for it would wait in vain.
        """
        self._draining = True  # until the epoch ends, which is what follows unless the process does
        self._drop_waiting()
        if not self.lease.holds():
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self.hand is not None and not self.held:
                    await self._change.wait()
        except TimeoutError:
            log.warning("a chunk still runs after %.0f s: its records will be read again", DRAIN_SECONDS)

    def forget(self) -> None:
        """End the epoch (see `Positions.forget`)."""
        self.positions.forget()
        self._waiting = None
        self._draining = False
        if self._loading is not None:
            self._loading.cancel()  # from here on nothing of it runs but its own clean-up
        self._pulse()
        self._forgotten()

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self._put_back(self._waiting)
            self._waiting = None
            self._pulse()

    def _put_back(self, chunk: Chunk) -> None:
        if chunk.epoch == self.positions.epoch:
            self.positions.put_back(chunk.spans)
            self.counts.dropped += len(chunk)

    def _pulse(self) -> None:
        self._change.set()
        self._change.clear()
