"""The floor of this client: a plain aiokafka loop around Doorward's own core, as its documentation advises for load.

``getmany``, one batch builder a partition, acknowledgements awaited, then the offsets committed every half second. It
decodes, locates, decides and encodes with the same code as the worker; it has no lease, no dead letters, no metrics, no
policy log, no sweeps and no sandboxed start. Configured by the environment as the worker is; `benchmarks.peers.job`
says what it does with a record.

With ``SESSIONS=FOLDER`` it also remembers live participations as the worker does: the same view, the same stamped
records on a changelog topic, and, once those are acknowledged, one RocksDB write a partition in that folder. It reads
none of it back at a start; that costs nothing while it runs.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

import rocksdict
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.peers.job import Job, now, settle
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS

CHANGELOG = "raw-sessions-changelog"


class Batches:
    """Record batches of one poll: sent as they fill up, all acknowledged before the offsets are."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open = {}
        self._pending = []

    async def add(self, topic, partition, key, value, headers) -> None:
        added = {"key": key, "value": value, "timestamp": None, "headers": headers}
        batch = self._open.get((topic, partition))
        if batch is None or batch.append(**added) is None:
            if batch is not None:
                self._pending.append(await self._producer.send_batch(batch, topic, partition=partition))
            batch = self._open[topic, partition] = self._producer.create_batch()
            batch.append(**added)

    async def acknowledged(self) -> None:
        for (topic, partition), batch in self._open.items():
            self._pending.append(await self._producer.send_batch(batch, topic, partition=partition))
        for future in self._pending:
            await future


class Databases:
    """RocksDB, one database a partition, opened when first written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = {}

    def write(self, rows) -> None:
        batches = {}
        for partition, key, value in rows:
            if partition not in batches:
                batches[partition] = rocksdict.WriteBatch(raw_mode=True)
            batches[partition].put(key, value)
        for partition, batch in batches.items():
            if partition not in self._open:
                options = rocksdict.Options(raw_mode=True)
                options.create_if_missing(True)
                opened = rocksdict.Rdict(str(self._folder / str(partition)), options=options)
                writing = rocksdict.WriteOptions()
                writing.disable_wal = True  # as the worker's: the changelog is the journal
                opened.set_write_options(writing)
                self._open[partition] = opened
            self._open[partition].write(batch)


async def main() -> None:
    job = Job()
    databases = Databases(job.sessions) if job.sessions else None
    decisions = os.environ.get("DECISIONS", "decisions")
    bootstrap = os.environ["DOORWARD_KAFKA_BOOTSTRAP"]
    consumer = AIOKafkaConsumer(
        "joins",
        bootstrap_servers=bootstrap,
        group_id=os.environ["DOORWARD_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1 << 18,
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0, max_batch_size=1 << 20)
    await consumer.start()
    await producer.start()
    settle()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    committed, done = time.monotonic(), {}
    while not stopped.is_set():
        polled = await consumer.getmany(timeout_ms=500)
        at = now()
        batches = Batches(producer)
        for partition, records in polled.items():
            number = partition.partition
            for record in records:
                event = job.event(record.key, record.value, record.headers)
                value = None if event is None else job.answer(event, number, record.offset, at)
                if value is not None:
                    await batches.add(decisions, number, record.key, value, CONTENT_TYPE_HEADERS)
            done[partition] = records[-1].offset + 1
        rows = list(job.touched())
        for number, subject, value in rows:
            await batches.add(CHANGELOG, number, subject, value, [])
        await batches.acknowledged()
        if databases is not None:
            databases.write(rows)
        if done and time.monotonic() - committed > 0.5:
            await consumer.commit(done)
            committed, done = time.monotonic(), {}
    if done:
        await consumer.commit(done)
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    uvloop.run(main())
