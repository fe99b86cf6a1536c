"""A header's name that is not UTF-8: its record is read like any other, and so are those around it."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.dev.kafka import EmbeddedKafka
from streams.runtime.lenient import Batches
from tests.runtime.test_reader import create, reading


class Raw(str):
    """A name that goes onto the wire as other bytes."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"caf\xe9"


def batch(begin: int, end: int, bad: int | None, compression: int = 0) -> bytes:
    """A batch of records 0, 1, ... with values `begin`, ...; the one valued `bad` has such a header."""
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, 0, 1 << 20)
    for number in range(begin, end):
        headers = [(Raw() if number == bad else "plain", b"1"), ("empty", None)]
        builder.append(number - begin, 1_000 + number, b"k", b"%d " % number + b"." * 100, headers)
    return bytes(builder.build())


async def send(producer: AIOKafkaProducer, topic: str, content: bytes) -> None:
    """Send the bytes of a batch of five, which aiokafka itself would not make."""
    sent = producer.create_batch()
    for _ in range(5):
        sent.append(timestamp=None, key=b"k", value=b"v")
    sent._buffer = bytearray(content)
    await (await producer.send_batch(sent, topic, partition=0))


def read(content: bytes, records: type = Batches) -> list[tuple[int, bytes, tuple[tuple[str, bytes | None], ...]]]:
    parsed = PartitionRecords(TopicPartition("joins", 0), records(content), [], 0, None, None, True, 0)
    return [(record.timestamp, record.value.split()[0], record.headers) for record in parsed]


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
@pytest.mark.parametrize("bad", [0, 2, 4], ids=["first", "middle", "last"])
def test_the_record_and_its_neighbours_are_read_once_each(bad: int, compression: int) -> None:
    content = batch(0, 5, bad, compression)
    with pytest.raises(UnicodeDecodeError):  # if this fails `lenient` may go
        read(content, MemoryRecords)
    names = ["caf\\xe9" if number == bad else "plain" for number in range(5)]
    assert read(content) == [
        (1_000 + number, b"%d" % number, ((names[number], b"1"), ("empty", None))) for number in range(5)
    ]


def test_what_is_well_formed_is_read_as_aiokafka_reads_it() -> None:
    content = batch(0, 5, None)
    assert read(content) == read(content, MemoryRecords)
    cut = content[:-1]
    assert not Batches(cut).has_next()
    assert Batches(cut).next_batch() is None
    assert Batches(cut).size_in_bytes() == len(cut)


def test_a_log_with_such_a_record_is_read_to_its_end(kafka: EmbeddedKafka) -> None:
    async def main() -> None:
        await create(kafka.bootstrap, "log-lenient")
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        for begin, bad in ((0, None), (5, 7), (10, None)):
            await send(producer, "log-lenient", batch(begin, begin + 5, bad))
        await producer.stop()
        async with reading(kafka.bootstrap, "log-lenient", 0) as work:
            await asyncio.wait_for(work.reader.caught_up.wait(), 10)
            assert work.values == work.offsets == list(range(15))

    asyncio.run(main())
