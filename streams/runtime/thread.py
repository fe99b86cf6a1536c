"""aiokafka's consumer on a loop and a thread of its own, so that heartbeats go on while the main loop is busy.

The main loop calls it through `call_thread`, Faust's way, and for what comes often through `_run`. Some of aiokafka's
inner calls are wrapped at its start (`calls`): the lease is renewed here, fetches are paced and bounded, and no seek
races a fetch.
"""
# ruff: noqa: SLF001 - reaching into the pinned Faust and aiokafka is what this file is for

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.group import SyncGroupRequest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from streams.runtime import calls, lenient

if TYPE_CHECKING:
    from streams.runtime.application import ChunkedApp

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
"""How often the consumer's thread shows that its loop turns."""

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
