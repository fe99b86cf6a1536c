"""A control: what brokers alone make a plain client wait, measured in the same trial on partitions placed the same way.

It has nothing of Doorward: one aiokafka producer that sends a record at a time to each partition, and one consumer that
reads them. Whatever silence it sees, nobody could have answered in.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.adapters import topics

TOPIC = "control"
BEAT_SECONDS = 0.05


class Control:
    """What the control saw; filled in while it runs.

    Attributes:
        seen: when each record was read, by partition; monotonic seconds.
    """

    def __init__(self, partitions: int) -> None:
        self.seen: list[list[float]] = [[] for _ in range(partitions)]

    @property
    def gap(self) -> float:
        """The longest time between two records of one partition, seconds."""
        return max(after - before for seen in self.seen for before, after in pairwise(seen))


async def _mirrored(bootstrap: str, names: list[str]) -> int:
    """Make the control's topic: a partition for each of those topics', on the same brokers; returns how many."""
    async with topics.connected(bootstrap) as admin:
        found = [part["replicas"] for topic in await admin.describe_topics(names) for part in topic["partitions"]]
        settings = {"min.insync.replicas": str(len(found[0]) // 2 + 1)}
        await admin.create_topics(
            [NewTopic(TOPIC, -1, -1, replica_assignments=dict(enumerate(found)), topic_configs=settings)]
        )
    return len(found)


@asynccontextmanager
async def controlled(bootstrap: str, names: list[str]) -> AsyncIterator[Control]:
    """Run the control beside whatever is done in the block; the last of its records are read before it ends.

    Args:
        bootstrap: the brokers.
        names: topics whose partitions' brokers it uses.
    """
    partitions = await _mirrored(bootstrap, names)
    control = Control(partitions)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100)
    await producer.start()
    await consumer.start()
    consumer.assign([TopicPartition(TOPIC, partition) for partition in range(partitions)])
    over = asyncio.Event()

    async def send(partition: int) -> None:
        while not over.is_set():
            try:
                await producer.send_and_wait(TOPIC, b"beat", partition=partition)
            except KafkaError:
                continue
            await asyncio.sleep(BEAT_SECONDS)

    async def read() -> None:
        while True:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                control.seen[tp.partition] += [time.monotonic()] * len(records)

    reading = asyncio.create_task(read())
    sending = [asyncio.create_task(send(partition)) for partition in range(partitions)]
    try:
        yield control
    finally:
        over.set()
        await asyncio.gather(*sending)
        await asyncio.sleep(1)  # for what is on its way
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await consumer.stop()
        await producer.stop()
        async with topics.connected(bootstrap) as admin:
            await admin.delete_topics([TOPIC])
