"""The outbox against a real broker: order, headers, batches that fill up, records that fit no batch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.dev.kafka import EmbeddedKafka
from streams.runtime.config import MAX_BATCH_BYTES
from streams.runtime.produce import Outbox, RecordTooLargeError


@asynccontextmanager
async def desk(bootstrap: str, *topics: str, limit: int = MAX_BATCH_BYTES) -> AsyncIterator[Outbox]:
    """An outbox on new topics of two partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1) for topic in topics])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=limit)
    await producer.start()
    try:
        yield Outbox(producer, dict.fromkeys(topics, limit))
    finally:
        await producer.stop()


async def everything(bootstrap: str, topic: str, partition: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        where = TopicPartition(topic, partition)
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        records: list[ConsumerRecord] = []
        while len(records) < end:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


def anything() -> None:
    """A check that lets everything through."""


def test_what_was_added_is_on_the_topic_when_send_returns(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        async with desk(kafka.bootstrap, "outbox-a", "outbox-b") as outbox:
            headers = [("content-type", b"application/json"), ("empty", None)]
            outbox.add("outbox-a", 1, b"m-1", b"one", 1_795_253_400_123, headers)
            outbox.add("outbox-b", 0, None, b"other")
            outbox.add("outbox-a", 1, b"m-2", None)
            acks = await outbox.send(anything)
            assert acks.records == {"outbox-a": 2, "outbox-b": 1}
            a, b = TopicPartition("outbox-a", 1), TopicPartition("outbox-b", 0)
            assert acks.batches == {a: [(0, 2)], b: [(0, 1)]}
            assert (await outbox.send(anything)).records == {}
        one, gone = await everything(kafka.bootstrap, "outbox-a", 1)
        assert (one.key, one.value, one.timestamp) == (b"m-1", b"one", 1_795_253_400_123)
        assert one.headers == tuple(headers)
        assert (gone.key, gone.value) == (b"m-2", None)
        assert await everything(kafka.bootstrap, "outbox-a", 0) == []

    asyncio.run(main())


def test_a_partition_keeps_its_order_over_many_batches(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        async with desk(kafka.bootstrap, "outbox-order", limit=4_096) as outbox:
            for number in range(2_000):
                outbox.add("outbox-order", number % 2, b"k", b"%d" % number)
            acks = await outbox.send(anything)
            assert acks.records == {"outbox-order": 2_000}
            for batches in acks.batches.values():
                assert len(batches) > 1
                assert [base for base, _ in batches] == [sum(n for _, n in batches[:i]) for i in range(len(batches))]
                assert sum(count for _, count in batches) == 1_000
        for partition in (0, 1):
            records = await everything(kafka.bootstrap, "outbox-order", partition)
            assert [int(record.value) for record in records] == list(range(partition, 2_000, 2))

    asyncio.run(main())


@pytest.mark.parametrize("company", [False, True], ids=["alone", "after others"])
def test_a_record_no_batch_can_hold_is_named_and_leaves_the_others(kafka: EmbeddedKafka, company: bool) -> None:
    topic = f"outbox-large-{company}".lower()

    async def main() -> None:
        async with desk(kafka.bootstrap, topic) as outbox:
            if company:
                outbox.add(topic, 0, None, b"before")
            with pytest.raises(RecordTooLargeError) as caught:
                outbox.add(topic, 0, None, b"x" * MAX_BATCH_BYTES)
            assert (caught.value.topic, caught.value.partition) == (topic, 0)
            assert caught.value.size > caught.value.limit == MAX_BATCH_BYTES
            outbox.add(topic, 0, None, b"stub")
            outbox.add(topic, 0, None, b"x" * (MAX_BATCH_BYTES - 200))  # the most the broker takes
            await outbox.send(anything)
        sizes = [len(record.value) for record in await everything(kafka.bootstrap, topic, 0)]
        assert sizes == [6] * company + [4, MAX_BATCH_BYTES - 200]

    asyncio.run(main())


class StaleError(Exception):
    pass


def test_a_failed_check_sends_nothing(kafka: EmbeddedKafka) -> None:
    def stale() -> None:
        raise StaleError

    async def main(check: Callable[[], None]) -> None:
        async with desk(kafka.bootstrap, "outbox-stale") as outbox:
            outbox.add("outbox-stale", 0, None, b"late")
            with pytest.raises(StaleError):
                await outbox.send(check)
            assert (await outbox.send(anything)).records == {}
        assert await everything(kafka.bootstrap, "outbox-stale", 0) == []

    asyncio.run(main(stale))
