"""Faust's Kafka transport, with the source topics taken out of its hands.

Faust subscribes the source topics like any other, so its assignor, its rebalances, its tables and its commit timer all
apply. But their records never enter its conductor: `Consumer._getmany` takes them out of each poll, and the `Source`
owns their positions. What is overridden and against which lines is listed in `streams/runtime/__init__.py`; each
override has a test in `tests/runtime/test_pinned_faust.py` that fails when the code it leans on changes shape.

Two event loops meet here. `Consumer` runs on the main loop. `ConsumerThread` runs aiokafka on a loop of its own, in its
own thread, so that heartbeats go on while the main loop is busy; the main loop calls it through `call_thread`.
"""
# ruff: noqa: SLF001 - reaching into the pinned Faust and aiokafka is what this file is for

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError, KafkaTimeoutError
from aiokafka.protocol.group import SyncGroupRequest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from streams.runtime import calls, lenient
from streams.runtime.source import Source

if TYPE_CHECKING:
    from streams.runtime.application import ChunkedApp

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05
"""Pause between two looks when there is nothing to fetch (closed, rebalancing)."""

POLLS = 20
"""Polls in a row that Faust hears nothing of, as they brought nothing of its own: its loop costs as much as a fetch."""

BEAT_SECONDS = 0.5
"""How often the consumer's thread shows that its loop turns."""

POLL_ERRORS = IllegalStateError, AssertionError, KafkaTimeoutError
"""What a call to the consumer's thread raises when we were rebalanced or cut off meanwhile."""

Records: TypeAlias = Mapping[TopicPartition, list[Any]]


class Fetched(NamedTuple):
    """What a fetch brought.

    Attributes:
        records: By partition, each list in the order of its offsets and not empty.
        reached: By partition without records, where its next fetch begins: behind what aiokafka passed over.
    """

    records: Records
    reached: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What Faust hard-codes or lacks about fetching.

    Attributes:
        max_wait_ms: How long a broker may hold a fetch that has nothing to return. Faust's 1500 makes a busy partition
            wait behind idle ones: aiokafka keeps one fetch in flight per broker.
        pace: Least seconds between the starts of two fetches to one broker. Without it a light load is read in chunks
            of one record, at half a millisecond of overhead each. A fetch that waited longer at the broker is not held
            back further, so an idle stream pays nothing.
        most: Records a poll returns at most, of all partitions together; the rest comes with the next. A chunk takes as
            long as its records, a new policy waits behind it, and a worker may own many partitions with a backlog.
    """

    max_wait_ms: int = 500
    pace: float = 0.004
    most: int = 4_000


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's thread, with a lease, paced fetches, and seeks that can't race fetches.

    Attributes:
        beat_at: When its loop last turned, monotonic seconds; 0 before the start.
        synced_at: When the group was last asked for our share of a finished rebalance, monotonic seconds.
    """

    logger = logging.getLogger("faust")  # where Faust's own lines about this service go
    app: "ChunkedApp"
    beat_at = 0.0
    synced_at: float | None = None

    async def on_start(self) -> None:
        """Start the consumer and wrap some of its inner calls."""
        await super().on_start()
        self._fetching = asyncio.Lock()
        consumer = self._ensure_consumer()
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        limit = self.app.conf.broker_session_timeout / 2
        coordinator._do_heartbeat = self._leased(calls.bounded(coordinator._do_heartbeat, consumer, limit))
        coordinator._send_req = self._timed(coordinator._send_req)
        consumer._client.send = calls.noted(consumer._client.send, self.app.source.starved)
        fetcher._proc_fetch_request = calls.paced(fetcher._proc_fetch_request, self.app.fetch.pace)

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        lenient.install()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.app.fetch.max_wait_ms  # its fetcher is made from this at start
        return consumer

    def _leased(self, heartbeat: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        """Renew the lease by each answered heartbeat, as of when it was sent."""
        lease = self.app.source.lease

        async def leased_heartbeat() -> bool:
            sent = monotonic()
            answered = await heartbeat()
            if answered:
                lease.renew(sent)
            return answered

        return leased_heartbeat

    def _timed(self, send: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """Note when a SyncGroup is sent."""

        async def timed_send(request: Any) -> Any:
            if isinstance(request, SyncGroupRequest):
                self.synced_at = monotonic()
            return await send(request)

        return timed_send

    @Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            self.beat_at = monotonic()
            await self.sleep(BEAT_SECONDS)

    def dead_part(self) -> str | None:
        """Name of a part of the consumer that has ended though it should run; any thread may ask."""
        if self._thread is None or self._consumer is None or self.should_stop:
            return None
        parts = {
            "thread": not self._thread.is_alive(),
            "fetcher": self._consumer._fetcher is not None and self._consumer._fetcher._fetch_task.done(),
            "coordinator": self._consumer._coordinator is not None
            and self._consumer._coordinator._coordination_task.done(),
        }
        return next((name for name, dead in parts.items() if dead), None)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A finished join is as good as a heartbeat: as of when it was asked for, for its answer may come late."""
        self.app.source.lease.renew(monotonic() if self.synced_at is None else self.synced_at)
        await super().on_partitions_assigned(assigned, generation_id)

    async def start_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, bool]]:
        """Where to begin: by partition (offset, whether it is committed). Main loop."""
        offsets: dict[TopicPartition, tuple[int, bool]] = await self.call_thread(self._start_offsets, partitions)
        return offsets

    async def _start_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, bool]]:
        consumer = self._ensure_consumer()
        bounds, committed = await asyncio.gather(
            self._bounds(partitions), asyncio.gather(*map(consumer.committed, partitions))
        )
        reset = 0 if self.app.conf.consumer_auto_offset_reset == "earliest" else 1
        offsets: dict[TopicPartition, tuple[int, bool]] = {}
        for partition, offset in zip(partitions, committed, strict=True):
            first, last = bounds[partition]
            if offset is not None and first <= offset <= last:
                offsets[partition] = offset, True
                continue
            begin_at = bounds[partition][reset]
            if offset is not None:
                log.error(
                    "%s[%d]: the committed offset %d lies outside the log (%d to %d); reading from %d",
                    *partition, offset, first, last, begin_at,
                )  # fmt: skip
            offsets[partition] = begin_at, False
        return offsets

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of each log. Main loop.

        Raises:
            KafkaError: No broker tells.
        """
        bounds: dict[TopicPartition, tuple[int, int]] = await self.call_thread(self._bounds, partitions)
        return bounds

    async def _bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        consumer = self._ensure_consumer()
        first, last = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
        return {partition: (first[partition], last[partition]) for partition in partitions}

    async def fetch(self, active: set[TopicPartition], patience: float, seeks: Mapping[TopicPartition, int]) -> Fetched:
        """Seek, then fetch what is there of `active` (not empty), waiting up to `patience` s for the first. Main loop.

        Raises:
            IllegalStateError: A partition to seek is no longer assigned; none of it was fetched.
        """
        fetched: Fetched = await self._run(self._seek_and_fetch(active, patience, seeks))
        return fetched

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Have the thread do this now, without `call_thread`'s queue and its two workers; it's for what comes often.

        It runs to its end, whoever is cancelled here.
        """
        return await asyncio.shield(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop)))

    async def _seek_and_fetch(
        self, active: set[TopicPartition], patience: float, seeks: Mapping[TopicPartition, int]
    ) -> Fetched:
        async with self._fetching:  # a fetch whose caller was cancelled runs to its end before anyone seeks
            consumer = self._ensure_consumer()
            for partition, offset in seeks.items():
                consumer.seek(partition, offset)
            subscriptions = consumer._fetcher._subscriptions
            fetches = subscriptions._fetch_count
            try:
                records: Records = await self._fetch_records(
                    consumer, active, timeout=patience, max_records=self.app.fetch.most
                )
            finally:
                # aiokafka forgets to count down when a fetch raises, and never checks max_poll_interval again
                subscriptions._fetch_count = fetches
            return Fetched(records, self._reached(active - records.keys()))

    def _reached(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Where aiokafka's next fetches begin; to be asked before anything else can seek."""
        subscription = self._ensure_consumer()._fetcher._subscriptions.subscription
        assignment = subscription and subscription.assignment
        if assignment is None:
            return {}
        states = {partition: assignment.state_value(partition) for partition in partitions & assignment.tps}
        return {
            partition: state.position
            for partition, state in states.items()
            # A seek of Faust's may have led out of a log that was cut; none leads past a record in it.
            if state.has_valid_position and state.highwater is not None and state.position <= state.highwater
        }

    async def stay(self) -> None:
        """Count as polling though nothing is fetched, so that max_poll_interval does not end our membership."""
        await self.call_thread(self._stay)

    async def _stay(self) -> None:
        with self._ensure_consumer()._fetcher._subscriptions.fetch_context():
            pass


class Consumer(driver.Consumer):
    """Faust's consumer, less the records of the source topics."""

    logger = logging.getLogger("faust")
    app: "ChunkedApp"
    _thread: ConsumerThread

    @property
    def source(self) -> Source:
        """The application's source."""
        return self.app.source

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to Faust's topics and the source's."""
        await super().subscribe({*topics, *self.source.topics})

    async def _wait_next_records(
        self,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
    ) -> tuple[Any, Any]:
        """Look again soon when there is nothing to read, during a rebalance or when all partitions are paused.

        Faust would wait for the rebalance's end, or a second after recovery, and would not count as polling meanwhile.
        aiokafka leaves the group of a consumer that doesn't poll for max_poll_interval, and joins again only once it
        does: which with Faust is after the rebalance that is not begun.
        """
        if not self.flow_active or not self._get_active_partitions():
            await asyncio.sleep(IDLE_SECONDS)
            await self._thread.stay()
            return {}, set()
        for _ in range(POLLS):
            found = cast("tuple[Any, Any]", await super()._wait_next_records(timeout))
            if found[0] or not self.flow_active or self.should_stop:
                break
        return found

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust passes these by name
    ) -> dict[TopicPartition, list[Any]]:
        """Poll, keep the source's records and those of chunked tables' changelogs, return the others to Faust."""
        await self.source.wait_free()
        replay = self.app.replay
        # A copy: Faust empties the live set on revocation, and aiokafka reads an empty set as "all partitions".
        active = {TopicPartition(*tp) for tp in active_partitions or ()}
        mine = {partition for partition in active if partition.topic in self.source.topics}
        if not self.source.is_flowing:
            active -= mine
            mine = set()
        active = {partition for partition in active if partition.topic not in replay.topics or replay.is_due(partition)}
        if not self.flow_active or not active:
            await asyncio.sleep(IDLE_SECONDS)
            await self._thread.stay()
            return {}
        if not await self._take_on(mine):
            return {}
        records = await self._poll(active, mine, patience=timeout)
        ours = {
            partition: records.pop(partition) for partition in list(records) if partition.topic in self.source.topics
        }
        if ours:
            self._offer(ours)
        return records

    async def _take_on(self, mine: set[TopicPartition]) -> bool:
        """Begin the source partitions that are new in this epoch; returns whether to go on and fetch.

        Raises:
            Exception: From the application, which could not take them on; the process ends.
        """
        positions = self.source.positions
        epoch = positions.epoch
        fresh = mine - positions.next.keys()
        if not fresh:
            return True
        try:
            offsets = await self._thread.start_offsets(fresh)
        except POLL_ERRORS as exc:
            log.info("taking partitions on was given up: %r", exc)
            await asyncio.sleep(IDLE_SECONDS)
            return False
        return positions.epoch == epoch and await self.source.begin(offsets, self._thread.stay)

    async def _poll(
        self, active: set[TopicPartition], mine: set[TopicPartition], patience: float
    ) -> dict[TopicPartition, list[Any]]:
        """Fetch, with our own seeks first, and apply what is of changelogs. Drops the records of an epoch that ended.

        Raises:
            DamagedFilesError: A table's files can't take the records; the process ends.
        """
        positions, replay = self.source.positions, self.app.replay
        epoch = positions.epoch
        logs = {partition for partition in active if partition.topic in replay.topics}
        try:
            seeks = positions.take_rewinds(mine) | replay.seeks(epoch, logs)
            fetched = await self._thread.fetch(active, patience, seeks)
        except POLL_ERRORS as exc:
            log.info("poll given up: %r", exc)
            self._distrust(epoch, mine | logs)
            await asyncio.sleep(IDLE_SECONDS)
            return {}
        except BaseException:  # Faust cancels its fetcher: the fetch goes on without us, and its records are lost
            self._distrust(epoch, mine | logs)
            raise
        records = dict(fetched.records)
        replayed = {partition: records.pop(partition) for partition in logs & records.keys()}
        if positions.epoch != epoch:  # the new epoch begins with seeks of its own
            return {partition: part for partition, part in records.items() if partition.topic not in self.source.topics}
        for partition in mine & fetched.reached.keys():
            positions.skip(partition, fetched.reached[partition])
        if self.flow_active:
            replay.apply(replayed, fetched.reached)
        else:
            replay.distrust(replayed)
        return records

    def _distrust(self, epoch: int, partitions: set[TopicPartition]) -> None:
        """Records of these may have been read and lost; a later epoch trusts nothing of this one anyhow."""
        if self.source.positions.epoch == epoch:
            self.source.positions.distrust(partitions)
            self.app.replay.distrust(partitions)

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of each log; see `ConsumerThread.bounds`."""
        return await self._thread.bounds(partitions)

    def _offer(self, records: dict[TopicPartition, list[Any]]) -> None:
        """Hand on what is still wanted; the rest is read again."""
        source = self.source
        wanted = {}
        for partition, fetched in records.items():
            if self.flow_active and source.is_flowing and partition in self._active_partitions:
                wanted[partition] = fetched
            else:
                source.counts.dropped += len(fetched)
                source.positions.distrust([partition])
        if wanted:
            source.offer(wanted, {partition: self._thread.highwater(partition) for partition in wanted})

    def lag(self) -> dict[TopicPartition, int]:
        """Records known to be in each owned source partition that are not finished yet. Any thread may ask."""
        lags = {}
        for partition, done in self.source.positions.done.copy().items():
            try:
                highwater = self._thread.highwater(partition)
            except (IllegalStateError, AssertionError, AttributeError):  # being revoked just now
                continue
            if highwater is not None:
                lags[partition] = max(0, highwater - done)
        return lags

    async def wait_empty(self) -> None:
        """Faust calls this on revocation and on stop: finish the chunk in hand, then commit."""
        await self.source.drain()
        await super().wait_empty()
        if self.source.positions.committable():  # its commit may have waited for one that began before the drain
            await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Everything is revoked (the protocol is eager): drain and commit, then end the epoch."""
        try:
            await super().on_partitions_revoked(revoked)
        finally:
            self.source.forget()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit Faust's own topics, then what is finished of the source.

        The outputs of a finished chunk are acknowledged, so no flush comes between. The thread drops partitions no
        longer assigned; the broker refuses a commit of a generation that is over.
        """
        committed: bool = await super().force_commit(topics, start_new_transaction)
        positions, counts = self.source.positions, self.source.counts
        epoch, offsets = positions.epoch, positions.committable()
        if offsets:
            if await self._commit(offsets):
                positions.confirm(epoch, offsets)
                counts.commits += 1
                committed = True
            else:
                counts.commit_failures += 1
        return committed


class Transport(driver.Transport):
    """Makes our consumer."""

    Consumer = Consumer
