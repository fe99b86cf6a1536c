"""The floor of this client: a plain aiokafka loop around Doorward's own core, as its documentation advises for load.

``getmany``, one batch builder a partition, acknowledgements awaited, then the offsets committed every half second. It
decodes, locates, decides and encodes with the same code as the worker; it has no lease, no dead letters' headers, no
metrics, no policy log, no sweeps and no sandboxed start. Configured by the environment as the worker is.

With ``SESSIONS=FOLDER`` it also remembers live participations as the worker does: the same view, the same records on
a changelog topic, and, once those are acknowledged, one RocksDB write a partition in that folder.
"""

import gc
import os
import time
from pathlib import Path

import rocksdict
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams import __version__
from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.sessions import SessionKeeper
from streams.core.events import LeaveEvent, Provenance
from streams.core.sessions import Sessions
from streams.wire import cloudevents, documents, sessionrecord, signed
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Malformed

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


def database(folder: Path, partition: int) -> rocksdict.Rdict:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    return rocksdict.Rdict(str(folder / str(partition)), options=options)


async def main() -> None:
    placed, _ = documents.read_folder(Path(os.environ["POLICIES"]))
    index, _ = signed.index_of_unsigned(placed, vocabulary())
    geo = Geo.open([shipped()], vocabulary())
    decider = Decider(index, geo.facts, Provenance(0, geo.build, geo.time, None, __version__))
    folder = Path(os.environ["SESSIONS"]) if "SESSIONS" in os.environ else None
    sealer = Sealer.read([Path(os.environ["DOORWARD_SEAL_KEYS"])]) if folder else None
    keeper = SessionKeeper(decider, sealer, Metrics(), lateness=21_600_000, ttl=86_400_000, remind=30_000)
    databases = {}
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
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    committed, done = time.monotonic(), {}
    while True:
        polled = await consumer.getmany(timeout_ms=500)
        at = time.time_ns() // 1_000_000
        batches, draft = Batches(producer), {}
        for partition, records in polled.items():
            number = partition.partition
            if folder and number not in keeper.views:
                keeper.views[number], databases[number] = Sessions(), database(folder, number)
            for record in records:
                try:
                    event = cloudevents.decode(record.value, record.headers)
                    if record.key != event.data.meeting.encode():
                        continue
                    if isinstance(event, LeaveEvent):
                        if folder:
                            keeper.leave(number, event, record.offset, at, draft)
                        continue
                    if folder:
                        answer = keeper.join(number, event, record.offset, at, draft)
                    else:
                        answer = decider.answer(event, record.offset, at)
                except Malformed:
                    continue
                value = cloudevents.encode(answer.decision)
                await batches.add("decisions", number, record.key, value, CONTENT_TYPE_HEADERS)
            done[partition] = records[-1].offset + 1
        rows = {number: rocksdict.WriteBatch(raw_mode=True) for number in {number for number, _ in draft}}
        for (number, subject), state in draft.items():
            value = sessionrecord.encode(state)
            rows[number].put(subject, value)
            await batches.add(CHANGELOG, number, subject, value, [])
        await batches.acknowledged()
        for number, batch in rows.items():
            databases[number].write(batch)
        if done and time.monotonic() - committed > 0.5:
            await consumer.commit(done)
            committed, done = time.monotonic(), {}


if __name__ == "__main__":
    uvloop.run(main())
