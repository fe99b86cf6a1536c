"""Single records of ``joins`` and the records of some documents on ``policies``: what a recorded decision came from.

How it works. A decision names the offset of its participation's newest event, but not the partition. It is the one
that the meeting's key belongs on, unless the join was misrouted, so that one is asked first and then the others: one
record each. Documents are found by reading the policy log up to the offset that the decision names and keeping the
records under the paths asked for. Nobody's group is used, and no topic is created by asking for it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.structs import ConsumerRecord

from streams.adapters.kafka import failure, no_topic
from streams.adapters.topics import BrokerUnavailable, connected

JOINS: Final = "joins"
POLICIES: Final = "policies"
POLL_MS: Final = 500
FETCH_BYTES: Final = 1 << 20
PATIENCE: Final = 30.0
"""Seconds to wait for the next record of a partition that has one."""

Found = TypeVar("Found")


async def join_record(
    bootstrap: str, meeting: str, offset: int, read: Callable[[ConsumerRecord], Found | None], **security: Any
) -> Found | None:
    """What a record at an offset of ``joins`` is read as.

    Args:
        bootstrap: ``host:port``, several with commas between.
        meeting: whose record it is; says which partition is looked at first.
        offset: the record's.
        read: given a record at that offset, what it is; None where it is not the one wanted.
        security: how to connect: ``streams.adapters.kafka.Connection.security_options``.

    Returns:
        None where no partition has it, or has it any more.

    Raises:
        BrokerUnavailable: nobody answers there, the topic is missing, or an answer is an error.
        BootstrapMalformed: ``bootstrap`` is not written like that.
    """
    async with _reading(bootstrap, JOINS, security) as (consumer, partitions):
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        expected = (murmur2(meeting.encode()) & 0x7FFFFFFF) % len(partitions)
        for partition in sorted(partitions, key=lambda each: (each.partition != expected, each.partition)):
            if not beginnings[partition] <= offset < ends[partition]:
                continue
            consumer.assign([partition])
            consumer.seek(partition, offset)
            record = await _next(consumer, partition, offset)
            if record is not None and (found := read(record)) is not None:
                return found
    return None


async def _next(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> ConsumerRecord | None:
    """The record at an offset; None where the log has none there (a transaction's marker)."""
    records = await _fetched(consumer, partition, max_records=1)
    return records[0] if records and records[0].offset == offset else None


async def _fetched(
    consumer: AIOKafkaConsumer, partition: TopicPartition, max_records: int | None = None
) -> list[ConsumerRecord]:
    """The next records of a partition that goes on; none where aiokafka passed over all that came.

    Raises:
        TimeoutError: the broker has stopped answering, of which aiokafka tells nobody.
    """
    async with asyncio.timeout(PATIENCE):
        before = await consumer.position(partition)
        while True:
            records = await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=max_records)
            if records or await consumer.position(partition) != before:
                return list(records.get(partition, ()))


async def policy_records(
    bootstrap: str, paths: Collection[str], until: int, advance: Callable[[int], None], **security: Any
) -> list[ConsumerRecord]:
    """The records of the policy log under some paths, in order, up to an offset (included).

    Args:
        bootstrap: as for ``join_record``.
        paths: of the documents.
        until: the last offset wanted.
        advance: told how many records were read, wanted or not.
        security: as for ``join_record``.

    Raises:
        BrokerUnavailable: as ``join_record``.
        BootstrapMalformed: likewise.
    """
    keys = {path.encode() for path in paths}
    kept: list[ConsumerRecord] = []
    async with _reading(bootstrap, POLICIES, security) as (consumer, _):
        partition = TopicPartition(POLICIES, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = min((await consumer.end_offsets([partition]))[partition], until + 1)
        while await consumer.position(partition) < end:
            records = await _fetched(consumer, partition)
            kept += [record for record in records if record.key in keys and record.offset < end]
            advance(len(records))
    return kept


@asynccontextmanager
async def _reading(
    bootstrap: str, topic: str, security: dict[str, Any]
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """A consumer without a group, and a topic's partitions; what Kafka raises inside becomes ``BrokerUnavailable``."""
    async with connected(bootstrap, **security) as admin:
        # All are listed: naming a missing topic to any client could make brokers create it.
        listed = [each for each in await admin.describe_topics() if each["topic"] == topic]
        partitions = [TopicPartition(topic, part["partition"]) for each in listed for part in each["partitions"]]
        if not partitions:
            raise BrokerUnavailable(no_topic([topic], bootstrap, security))
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
        consumer.assign(partitions)
        yield consumer, partitions
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(failure(error, bootstrap, security)) from error
    finally:
        await consumer.stop()
