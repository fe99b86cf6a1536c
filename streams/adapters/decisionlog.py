"""Reading what was decided: a topic of decisions, all partitions, by time; and a decision from its bytes.

How it works. Without a group, so reading leaves no trace and takes nothing from anybody. The first offset of each
partition is the one Kafka's time index gives for the instant asked for, some minutes earlier: a record is stamped when
it is sent, by another clock perhaps than the one that decided. Who reads compares ``decided_at`` again. The end is the
one that was there at the start, unless the reader goes on with what is appended.

What is held in memory is what one fetch brings.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from streams.adapters.kafka import failure, no_topic
from streams.adapters.topics import BrokerUnavailable, connected
from streams.core.counts import Recorded

DECISIONS: Final = "decisions"
FETCH_BYTES: Final = 1 << 20
POLL_MS: Final = 500
SLACK: Final = 300_000
"""Milliseconds that the clocks of workers and brokers may differ by, and a decision may wait until it is sent."""


class Unreadable(ValueError):
    """Bytes that are no decision; the message says why."""


class _DeadLetter(msgspec.Struct):
    dead_letter: str
    line: int


_decode = msgspec.json.Decoder(Recorded).decode
_decode_dead_letter = msgspec.json.Decoder(_DeadLetter).decode


def decode(value: bytes | None) -> Recorded:
    """A decision from a record's value. Raises Unreadable."""
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        raise Unreadable(f"not a decision: {exc}") from None


def decode_line(line: bytes) -> Recorded | None:
    """A decision from a line of ``doorward decide``; None for a dead letter. Raises Unreadable."""
    try:
        return decode(line)
    except Unreadable:
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            _decode_dead_letter(line)
            return None
        raise


class DecisionLog:
    """A topic of decisions, opened by ``opened``.

    Attributes:
        total: records there were between the start and the end, when it was opened.
        cut: whether the topic may have held more of the time asked for, which retention has deleted since.
    """

    def __init__(self, consumer: AIOKafkaConsumer, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]):
        self.total = sum(max(0, ends[partition] - starts[partition]) for partition in starts)
        self.cut = False
        self._consumer = consumer
        self._ends = ends
        self._positions = dict(starts)

    @property
    def done(self) -> bool:
        """Whether all there was at the start was read."""
        return all(position >= self._ends[partition] for partition, position in self._positions.items())

    async def batch(self, *, beyond: bool = False) -> list[bytes | None]:
        """The values of the next records, in order within a partition; none after ``POLL_MS`` without any.

        Args:
            beyond: whether what was appended since the start is wanted too.

        Raises:
            KafkaError: no offset any more where reading was to go on: the topic was cut or made anew.
        """
        values: list[bytes | None] = []
        for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
            end = self._ends[partition]
            values += [record.value for record in records if beyond or record.offset < end]
        for partition in self._positions:
            # Not the last record's offset: what aiokafka passes over behind it (transaction markers) is no record.
            self._positions[partition] = await self._consumer.position(partition)
        return values

    async def lag(self) -> int:
        """How many records wait, asking the brokers. Raises KafkaError where they don't answer."""
        ends = await self._consumer.end_offsets(list(self._positions))
        return sum(max(0, ends[partition] - position) for partition, position in self._positions.items())


@asynccontextmanager
async def opened(
    bootstrap: str, since: int, until: int | None = None, *, topic: str = DECISIONS, **security: Any
) -> AsyncIterator[DecisionLog]:
    """A topic of decisions from an instant on; what Kafka raises inside becomes ``BrokerUnavailable``.

    Args:
        bootstrap: ``host:port``, several with commas between.
        since: ms since the epoch. Records from ``SLACK`` before may come as well.
        until: likewise, records up to ``SLACK`` after may come; None: what there is now.
        topic: its name.
        security: how to connect: ``streams.adapters.kafka.Connection.security_options``.

    Raises:
        BrokerUnavailable: nobody answers there, the topic is missing or was cut, or an answer is an error.
        BootstrapMalformed: ``bootstrap`` is not written like that.
    """
    async with connected(bootstrap, **security) as admin:
        # All are listed: naming a missing topic to any client could make brokers create it.
        found = [each for each in await admin.describe_topics() if each["topic"] == topic and each["partitions"]]
        if not found:
            raise BrokerUnavailable(no_topic([topic], bootstrap, security))
        partitions = [TopicPartition(topic, each["partition"]) for each in found[0]["partitions"]]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=FETCH_BYTES,
        **security,
    )
    try:
        await consumer.start()
        yield await _seek(consumer, partitions, since, until)
    except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
        raise BrokerUnavailable(f"{topic} was cut while it was read; read it again") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(failure(error, bootstrap, security)) from error
    finally:
        await consumer.stop()


async def _seek(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since: int, until: int | None
) -> DecisionLog:
    consumer.assign(partitions)
    beginnings = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    starts = await _at(consumer, partitions, since - SLACK, ends)
    if until is not None and until + SLACK < time.time_ns() // 1_000_000:
        ends = await _at(consumer, partitions, until + SLACK, ends)
    for partition in partitions:
        consumer.seek(partition, starts[partition])
    log = DecisionLog(consumer, starts, ends)
    log.cut = any(0 < beginnings[partition] == starts[partition] for partition in partitions)
    return log


async def _at(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], instant: int, ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """The first offsets whose records are of an instant or later; the end where there is none."""
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(instant, 0)))
    return {p: ends[p] if found.get(p) is None else min(found[p].offset, ends[p]) for p in partitions}
