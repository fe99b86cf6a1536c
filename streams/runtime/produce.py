"""The outbox: what a chunk wants said, sent in batches and acknowledged before the chunk is finished.

Records are appended straight into aiokafka's batch builders, one per topic and partition, and whole batches are handed
to its producer: about a microsecond a record, against tens for a send per record. Batches of one partition go out in
the order they were filled.

Each try of a batch is preceded by a check, and so is each request that carries it, however long after (`fence`). While
the lease is out nothing is sent, and what was not acknowledged waits: in a cluster that loses a broker, the answers to
heartbeats and to produce requests are late for one and the same reason.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import TopicPartition

from streams.runtime import fence
from streams.runtime.config import MAX_BATCH_BYTES
from streams.runtime.source import LEASE_POLL_SECONDS, Counts, LapsedError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5


class RecordTooLargeError(Exception):
    """A record that no batch can hold. Nothing of it was kept; what was added before it still is.

    Attributes:
        topic: Where it was to go.
        partition: Where it was to go.
        size: Bytes it would take.
        limit: Bytes there are.
    """

    def __init__(self, topic: str, partition: int, size: int, limit: int) -> None:
        super().__init__(f"a record for {topic}[{partition}] takes {size} bytes, more than the {limit} of a batch")
        self.topic = topic
        self.partition = partition
        self.size = size
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Acks:
    """What was acknowledged.

    Attributes:
        records: How many, by topic.
        batches: By partition, the offset of its first record and the number of records of each batch, in the order of
            their offsets.
    """

    records: Counter[str] = field(default_factory=Counter)
    batches: dict[TopicPartition, list[tuple[int, int]]] = field(default_factory=dict)


class Outbox:
    """Collects records and sends them.

    Args:
        producer: A started producer with `acks` all; `ChunkedApp.batches`.
        limits: By topic, the bytes a record alone in its batch may take: the topic's `max.message.bytes`. Elsewhere it
            is what any batch may, the producer's `max_batch_size`.
        counts: Where batches sent again are counted; None: nowhere.
    """

    def __init__(
        self, producer: AIOKafkaProducer, limits: Mapping[str, int] | None = None, counts: Counts | None = None
    ) -> None:
        self._producer = producer
        self._limits = limits or {}
        self._counts = Counts() if counts is None else counts
        self._open: dict[tuple[str, int], Any] = {}  # aiokafka BatchBuilders with room
        self._full: list[tuple[TopicPartition, Any]] = []

    def add(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp: int | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Add one record.

        Args:
            topic: Its topic.
            partition: Its partition; never chosen for you.
            key: Its key.
            value: Its value.
            timestamp: Unix milliseconds; now, when None.
            headers: Name and value of each.

        Raises:
            RecordTooLargeError: It fits no batch, not even an empty one.
        """
        builder = self._open.get((topic, partition))
        if builder is not None:
            if builder.append(timestamp=timestamp, key=key, value=value, headers=headers) is not None:
                return
            self._full.append((TopicPartition(topic, partition), builder))
            del self._open[topic, partition]
        builder = self._producer.create_batch()
        builder.append(timestamp=timestamp, key=key, value=value, headers=headers)
        limit = self._limits.get(topic, MAX_BATCH_BYTES)
        if builder.size() > limit:  # a builder takes its first record whatever its size
            raise RecordTooLargeError(topic, partition, builder.size(), limit)
        self._open[topic, partition] = builder

    def clear(self) -> None:
        """Drop what was added and not sent."""
        self._open.clear()
        self._full.clear()

    async def send(self, check: Callable[[], None]) -> Acks:
        """Send what was added and wait until all in-sync replicas have it. The outbox is empty afterwards.

        Blocks while a partition has no leader or too few replicas: no room means wait. Blocks while the lease is out,
        too, and returns only when it is not.

        Args:
            check: Raises when nothing may be written any more; `Chunk.check`.

        Returns:
            What was sent, and where it lies.

        Raises:
            KafkaError: Refused for good, once every batch has its outcome. Some of the records may have been written.
            FencedError: From the check, or whatever else it raises but `LapsedError`; likewise.
        """
        batches = [*self._full, *((TopicPartition(*place), builder) for place, builder in self._open.items())]
        self.clear()
        acks = Acks()
        await _allowed(check)
        while batches:
            batches = await self._attempt(batches, acks, check)
            if batches:
                log.warning("%d batches not acknowledged; sending them again", len(batches))
                self._counts.resent += len(batches)
                await asyncio.sleep(RETRY_SECONDS)
            await _allowed(check)
        return acks

    async def _attempt(
        self, batches: list[tuple[TopicPartition, Any]], acks: Acks, check: Callable[[], None]
    ) -> list[tuple[TopicPartition, Any]]:
        """Send each batch once and note what was acknowledged; returns those that may be tried again."""
        pending: list[asyncio.Future[Any]] = []
        refused: dict[TopicPartition, asyncio.Future[Any]] = {}
        guard = fence.Guard(check)
        for partition, builder in batches:
            builder.close()
            fence.put(builder, guard)
            if partition not in refused:
                try:
                    pending.append(
                        await self._producer.send_batch(builder, partition.topic, partition=partition.partition)
                    )
                    continue
                except KafkaError as exc:  # no metadata, or the batch before it found no leader
                    refused[partition] = asyncio.get_running_loop().create_future()
                    refused[partition].set_exception(exc)
            pending.append(refused[partition])  # and so are those behind it, or they would overtake it
        again = []
        for batch, outcome in zip(batches, await asyncio.gather(*pending, return_exceptions=True), strict=True):
            if _may_be_tried_again(outcome):
                again.append(batch)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                partition, builder = batch
                acks.records[partition.topic] += builder.record_count()
                acks.batches.setdefault(partition, []).append((outcome.offset, builder.record_count()))
        return again


def _may_be_tried_again(outcome: object) -> bool:
    if isinstance(outcome, KafkaError):
        return outcome.retriable or isinstance(outcome, KafkaTimeoutError)
    return isinstance(outcome, LapsedError)


async def _allowed(check: Callable[[], None]) -> None:
    """Return when the check lets through; what it raises but `LapsedError` is raised."""
    is_waiting = False
    while True:
        try:
            return check()
        except LapsedError:
            if not is_waiting:
                log.warning("the group lease is out; writing nothing until a heartbeat is answered")
            is_waiting = True
            await asyncio.sleep(LEASE_POLL_SECONDS)
