"""The floor of this client: a plain aiokafka loop around Doorward's own core, as its documentation advises for load.

``getmany``, one batch builder a partition, acknowledgements awaited, then the offsets committed every half second. It
decodes, locates, decides and encodes with the same code as the worker; it has no lease, no dead letters' headers, no
metrics, no policy log and no sandboxed start. Configured by the environment as the worker is.
"""

import gc
import os
import time
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams import __version__
from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.agents.decider import Decider
from streams.core.events import LeaveEvent, Provenance
from streams.wire import cloudevents, documents, signed
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Malformed


async def main() -> None:
    placed, _ = documents.read_folder(Path(os.environ["POLICIES"]))
    index, _ = signed.index_of_unsigned(placed, vocabulary())
    geo = Geo.open([shipped()], vocabulary())
    decider = Decider(index, geo.facts, Provenance(0, geo.build, geo.time, None, __version__))
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
        batches = await consumer.getmany(timeout_ms=500)
        at = time.time_ns() // 1_000_000
        pending = []
        for partition, records in batches.items():
            batch = producer.create_batch()
            for record in records:
                try:
                    event = cloudevents.decode(record.value, record.headers)
                except Malformed:
                    continue
                if isinstance(event, LeaveEvent) or record.key != event.data.meeting.encode():
                    continue
                value = cloudevents.encode(decider.answer(event, record.offset, at).decision)
                added = {"key": record.key, "value": value, "timestamp": None, "headers": CONTENT_TYPE_HEADERS}
                if batch.append(**added) is None:
                    pending.append(await producer.send_batch(batch, "decisions", partition=partition.partition))
                    batch = producer.create_batch()
                    batch.append(**added)
            pending.append(await producer.send_batch(batch, "decisions", partition=partition.partition))
            done[partition] = records[-1].offset + 1
        for future in pending:
            await future
        if done and time.monotonic() - committed > 0.5:
            await consumer.commit(done)
            committed, done = time.monotonic(), {}


if __name__ == "__main__":
    uvloop.run(main())
