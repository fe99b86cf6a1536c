"""The log reader against a real broker: all of it, in order, fast, and never a silent jump."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.dev.kafka import EmbeddedKafka
from streams.runtime.reader import LogChangedError, LogReader


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def append(bootstrap: str, topic: str, numbers: range, size: int = 0) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 18)
    await producer.start()
    batch = producer.create_batch()
    for number in numbers:
        value = b"%d " % number + b"." * size
        if batch.append(timestamp=None, key=b"k", value=value) is None:
            await producer.send_batch(batch, topic, partition=0)
            batch = producer.create_batch()
            batch.append(timestamp=None, key=b"k", value=value)
    await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()


async def ends_at(bootstrap: str, topic: str, offset: int) -> None:
    """Wait until a log has grown to there: a broker writes a transaction's marker some time after its commit."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    async with asyncio.timeout(10):
        while (await consumer.end_offsets([partition]))[partition] < offset:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.02)
    await consumer.stop()


class Reading:
    """A reader at work, with what it handed on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.values: list[int] = []
        self.offsets: list[int] = []
        self.reader = LogReader(topic, self.handle, bootstrap_servers=bootstrap, metadata_max_age_ms=2_000)

    async def handle(self, records: Sequence[ConsumerRecord]) -> None:
        self.values += [int(record.value.split(b" ", 1)[0]) for record in records]
        self.offsets += [record.offset for record in records]

    async def until(self, count: int, timeout: float = 20.0) -> None:  # noqa: ASYNC109 - how long to wait, no more
        async with asyncio.timeout(timeout):
            while len(self.values) < count:  # noqa: ASYNC110 - the reader has no event per record
                await asyncio.sleep(0.01)


@asynccontextmanager
async def reading(bootstrap: str, topic: str, offset: int | None = None) -> AsyncIterator[Reading]:
    work = Reading(bootstrap, topic)
    await work.reader.start(offset)
    task = asyncio.create_task(work.reader.run())
    try:
        yield work
    finally:
        await work.reader.stop()
        await task


def test_it_reads_to_the_end_and_goes_on(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        await create(kafka.bootstrap, "log-follow")
        await append(kafka.bootstrap, "log-follow", range(100))
        async with reading(kafka.bootstrap, "log-follow", 0) as work:
            await asyncio.wait_for(work.reader.caught_up.wait(), 10)
            assert work.values == list(range(100))
            assert (work.reader.position, work.reader.end) == (100, 100)
            await append(kafka.bootstrap, "log-follow", range(100, 103))
            await work.until(103)
            assert work.values == work.offsets == list(range(103))
        async with reading(kafka.bootstrap, "log-follow", 101) as warm:
            await asyncio.wait_for(warm.reader.caught_up.wait(), 10)
            assert warm.values == [101, 102]

    asyncio.run(main())


def test_a_log_that_ends_with_a_transaction_has_an_end(kafka: EmbeddedKafka) -> None:
    """The marker of a commit counts in the log's end, and is never a record."""

    async def main() -> None:
        await create(kafka.bootstrap, "log-marked")
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="log-marked-sender")
        await producer.start()
        async with producer.transaction():
            for number in range(3):
                await producer.send("log-marked", b"%d" % number, partition=0)
        await ends_at(kafka.bootstrap, "log-marked", 4)
        async with reading(kafka.bootstrap, "log-marked") as work:
            await asyncio.wait_for(work.reader.caught_up.wait(), 10)
            assert work.values == [0, 1, 2]
            assert (work.reader.position, work.reader.end) == (4, 4)
            async with producer.transaction():
                await producer.send("log-marked", b"4", partition=0)
            await work.until(4)
            assert work.offsets == [0, 1, 2, 4]
        await ends_at(kafka.bootstrap, "log-marked", 6)
        async with reading(kafka.bootstrap, "log-marked", 5) as warm:  # only a marker is left
            await asyncio.wait_for(warm.reader.caught_up.wait(), 10)
            assert warm.values == []
        await producer.stop()

    asyncio.run(main())


def test_an_empty_log_is_caught_up_at_once(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        await create(kafka.bootstrap, "log-empty")
        async with reading(kafka.bootstrap, "log-empty") as work:
            assert work.reader.caught_up.is_set()
            assert (work.reader.position, work.reader.end) == (0, 0)

    asyncio.run(main())


def test_fifty_thousand_records_take_well_under_a_second(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        await create(kafka.bootstrap, "log-long")
        await append(kafka.bootstrap, "log-long", range(50_000), size=500)
        work = Reading(kafka.bootstrap, "log-long")
        await work.reader.start(0)
        began = time.process_time()
        task = asyncio.create_task(work.reader.run())
        await asyncio.wait_for(work.reader.caught_up.wait(), 20)
        spent = time.process_time() - began
        await work.reader.stop()
        await task
        assert len(work.values) == 50_000
        assert spent < 1.0  # CPU seconds: the wall clock is shared with whatever else runs here

    asyncio.run(main())


@pytest.mark.parametrize("offset", [0, 4, 11])
def test_an_offset_the_log_does_not_hold_is_refused(kafka: EmbeddedKafka, offset: int) -> None:
    topic = f"log-cut-{offset}"

    async def main() -> None:
        await create(kafka.bootstrap, topic)
        await append(kafka.bootstrap, topic, range(10))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=5)})
        await admin.close()
        with pytest.raises(LogChangedError, match=rf"5 to 10.*at {offset}"):
            await Reading(kafka.bootstrap, topic).reader.start(offset)
        async with reading(kafka.bootstrap, topic, None) as work:
            await work.until(5)
            assert work.values == [5, 6, 7, 8, 9]

    asyncio.run(main())


def test_a_topic_made_anew_under_the_reader_ends_it(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        await create(kafka.bootstrap, "log-anew")
        await append(kafka.bootstrap, "log-anew", range(50))
        work = Reading(kafka.bootstrap, "log-anew")
        await work.reader.start(0)
        task = asyncio.create_task(work.reader.run())
        await work.until(50)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_topics(["log-anew"])
        await asyncio.sleep(1)
        await admin.create_topics([NewTopic("log-anew", 1, 1)])
        await admin.close()
        await append(kafka.bootstrap, "log-anew", range(3))
        with pytest.raises(LogChangedError, match="no offset 50"):
            await asyncio.wait_for(task, 30)
        await work.reader.stop()
        assert work.values == list(range(50))

    asyncio.run(main())


class HandlerError(Exception):
    pass


def test_a_handler_that_fails_ends_the_run_and_does_not_count_as_handled(kafka: EmbeddedKafka) -> None:
    async def fail(records: Sequence[ConsumerRecord]) -> None:
        raise HandlerError

    async def main() -> None:
        await create(kafka.bootstrap, "log-fail")
        await append(kafka.bootstrap, "log-fail", range(5))
        reader = LogReader("log-fail", fail, bootstrap_servers=kafka.bootstrap)
        await reader.start(0)
        with pytest.raises(HandlerError):
            await asyncio.wait_for(reader.run(), 10)
        assert reader.position == 0
        await reader.stop()

    asyncio.run(main())
