"""The events of a comparison: made once, sent to each round's broker, and decided offline for the verifier."""

import asyncio
import random
from collections.abc import Iterator
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2

from benchmarks.peers.job import now
from benchmarks.peers.raw_aiokafka import Batches
from benchmarks.peers.verifier import Record
from streams.adapters.geo import shipped
from streams.core import instants
from streams.dev.demo import ACCOUNTS
from streams.dev.traffic import Addresses, Traffic

CHUNK: Final = 500


class Events:
    """The demo's traffic, the same for the same seed but for its instants.

    Args:
        count: at least so many; a few more may come along.
        partitions: of ``joins``.
        seed: of all that is random.
    """

    def __init__(self, count: int, partitions: int, seed: int = 7) -> None:
        rng = random.Random(seed)
        traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
        self._events: list[tuple[bytes, bytes]] = []
        self._partitions = bytearray()
        self._homes: dict[bytes, int] = {}
        self._of = partitions
        while len(self._events) < count:
            for made in traffic.batch(CHUNK, instants.render(now())):
                # A copy: what orjson returns keeps the room that it was written in, some 4 KiB.
                self._events.append((made.key, bytes(memoryview(made.value))))
                self._partitions.append(self._home(made.key))

    def _home(self, key: bytes) -> int:
        if key not in self._homes:
            self._homes[key] = (murmur2(key) & 0x7FFFFFFF) % self._of
        return self._homes[key]

    def __len__(self) -> int:
        return len(self._events)

    def ends(self, events: int | None = None) -> dict[int, int]:
        """By partition, the offset behind the first so many events; behind all."""
        counted = self._partitions[:events]
        return {partition: counted.count(partition) for partition in range(self._of)}

    def records(self, first: int = 0) -> Iterator[Record]:
        """The records from an event on, in the order in which they are sent."""
        offsets = self.ends(first)
        for at in range(first, len(self._events)):
            partition = self._partitions[at]
            yield Record(partition, offsets[partition], *self._events[at])
            offsets[partition] += 1

    def send(self, bootstrap: str) -> None:
        """Send all of them to ``joins``, which is empty."""
        asyncio.run(self._send(bootstrap))

    async def _send(self, bootstrap: str) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=1 << 18)
        await producer.start()
        try:
            for first in range(0, len(self._events), 20 * CHUNK):
                batches = Batches(producer)
                for at in range(first, min(first + 20 * CHUNK, len(self._events))):
                    key, value = self._events[at]
                    await batches.add("joins", self._partitions[at], key, value, [])
                await batches.acknowledged()
        finally:
            await producer.stop()

    def begin(self, bootstrap: str, group: str, first: int) -> None:
        """Commit for a group that has read nothing yet that it begins with an event."""
        asyncio.run(self._begin(bootstrap, group, first))

    async def _begin(self, bootstrap: str, group: str, first: int) -> None:
        offsets = {TopicPartition("joins", partition): end for partition, end in self.ends(first).items()}
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            await consumer.commit(offsets)
        finally:
            await consumer.stop()
