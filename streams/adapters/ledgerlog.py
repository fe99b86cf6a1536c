"""The topics a ledger is made of, partition by partition, between two instants; and what the group has committed.

How it works. Everything is asked for once, in an order that makes the answers fit together while workers go on: first
what is committed, then where the outputs end, then ``joins``. So the outputs of all that was committed are there to be
read, and so are the events of all outputs. Nobody's group is joined, and no topic is created by asking for it.

Where the time begins or ends, some minutes more are read (``SLACK``): clocks differ, and answers come later.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from streams.adapters.decisionlog import FETCH_BYTES, POLL_MS, SLACK
from streams.adapters.kafka import failure, no_topic
from streams.adapters.topics import BrokerUnavailable, connected

DECISIONS: Final = "decisions"
REPORTS: Final = "decisions.report"
DEAD_LETTERS: Final = "joins.dlq"
JOINS: Final = "joins"
POLICIES: Final = "policies"
STATUSES: Final = "policies.status"
OUTPUTS: Final = (DECISIONS, REPORTS, DEAD_LETTERS)
PATIENCE: Final = 30.0
"""Seconds to wait for the next record of a partition that has one."""


class Range(NamedTuple):
    """Which records of a partition are looked at.

    Attributes:
        start: the first offset.
        stop: one behind the last.
        is_cut: whether retention has deleted records before ``start`` that the time asked for had.
        is_end: whether ``stop`` was the log's end when it was asked for.
    """

    start: int
    stop: int
    is_cut: bool
    is_end: bool


class Logs:
    """The topics, opened by ``opened``.

    Attributes:
        committed: by partition of ``joins``, the group's; partitions without any are left out.
        ranges: by topic and partition.
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, committed: dict[int, int], ranges: dict[TopicPartition, Range]
    ) -> None:
        self.committed = committed
        self.ranges = ranges
        self._consumer = consumer

    @property
    def partitions(self) -> list[int]:
        """Of ``joins``."""
        return sorted(each.partition for each in self.ranges if each.topic == JOINS)

    def range_of(self, topic: str, partition: int) -> Range:
        """What is looked at of a partition; nothing of one that does not exist."""
        return self.ranges.get(TopicPartition(topic, partition), Range(0, 0, False, True))

    async def records(self, topic: str, partition: int = 0) -> AsyncIterator[list[ConsumerRecord]]:
        """The records of a partition in order, some at a time.

        Raises:
            TimeoutError: the broker has stopped answering, of which aiokafka tells nobody.
        """
        place, looked_at = TopicPartition(topic, partition), self.range_of(topic, partition)
        if looked_at.start >= looked_at.stop:
            return
        consumer = self._consumer
        consumer.assign([place])
        consumer.seek(place, looked_at.start)
        position, heard = looked_at.start, time.monotonic()
        while position < looked_at.stop:
            found = (await consumer.getmany(place, timeout_ms=POLL_MS)).get(place, [])
            before, position = position, await consumer.position(place)
            if position != before:  # not by records alone: a transaction's markers are passed over
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE:
                raise TimeoutError(f"nothing comes from {topic}, partition {partition}")
            if found:
                yield [record for record in found if record.offset < looked_at.stop]
                heard = time.monotonic()


@asynccontextmanager
async def opened(bootstrap: str, group: str, since: int, until: int | None, **security: Any) -> AsyncIterator[Logs]:
    """The topics of a deployment; what Kafka raises inside becomes ``BrokerUnavailable``.

    Args:
        bootstrap: ``host:port``, several with commas between.
        group: whose commits count.
        since: ms since the epoch; ``policies`` and ``policies.status`` are always read whole.
        until: likewise; None: what there is now.
        security: how to connect: ``streams.adapters.kafka.Connection.security_options``.

    Raises:
        BrokerUnavailable: nobody answers there, a topic is missing or was cut, or an answer is an error.
        BootstrapMalformed: ``bootstrap`` is not written like that.
    """
    async with connected(bootstrap, **security) as admin:
        partitions = await _partitions(admin, bootstrap, security)
        committed = {
            place.partition: found.offset
            for place, found in (await admin.list_consumer_group_offsets(group)).items()
            if place.topic == JOINS and found.offset >= 0
        }
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
        ranges: dict[TopicPartition, Range] = {}
        for topic in (*OUTPUTS, JOINS):
            ranges |= await _ranges(consumer, partitions[topic], since, until)
        for topic in (POLICIES, STATUSES):
            ranges |= await _ranges(consumer, partitions[topic], 0, None)
        yield Logs(consumer, committed, ranges)
    except OffsetOutOfRangeError as error:
        raise BrokerUnavailable("a topic was cut while it was read; read it again") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerUnavailable(failure(error, bootstrap, security)) from error
    finally:
        await consumer.stop()


async def _partitions(
    admin: AIOKafkaAdminClient, bootstrap: str, security: dict[str, Any]
) -> dict[str, list[TopicPartition]]:
    # All are listed: naming a missing topic to any client could make brokers create it.
    listed = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
    wanted = (*OUTPUTS, JOINS, POLICIES, STATUSES)
    if missing := [topic for topic in wanted if not listed.get(topic)]:
        raise BrokerUnavailable(no_topic(missing, bootstrap, security))
    return {topic: [TopicPartition(topic, part["partition"]) for part in listed[topic]] for topic in wanted}


async def _ranges(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], since: int, until: int | None
) -> dict[TopicPartition, Range]:
    consumer.assign(places)
    first, end = await asyncio.gather(consumer.beginning_offsets(places), consumer.end_offsets(places))
    starts = first if since <= SLACK else await _at(consumer, places, since - SLACK, end)
    stops = end
    if until is not None and until + SLACK < time.time_ns() // 1_000_000:
        stops = await _at(consumer, places, until + SLACK, end)
    return {
        place: Range(starts[place], stops[place], 0 < first[place] == starts[place], stops[place] == end[place])
        for place in places
    }


async def _at(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], instant: int, ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """The first offsets whose records are of an instant or later; the end where there is none."""
    found = await consumer.offsets_for_times(dict.fromkeys(places, instant))
    return {p: ends[p] if found.get(p) is None else min(found[p].offset, ends[p]) for p in places}
