"""Stock faust-streaming doing the job, as its documentation advises for load: an agent, a table, nothing of ours.

    python -m benchmarks.peers.stock_faust

uvloop, RocksDB (with rocksdict, its present driver), a lingering producer with batches of a MiB and acks of all
replicas, no web server, one worker and an agent of concurrency 1, so that a participation's events stay in order. Bytes
in and bytes out. Logging at WARNING.

It does less than is asked: it commits an event's offset once its agent is done with it, whether or not what the agent
sent has been acknowledged, and its table writes to disk before the changelog has the record. That is how it is made;
`streams/runtime` tells what to do about it.
"""

import logging
import os
from pathlib import Path
from typing import Any

import faust
import uvloop

from benchmarks.peers.job import Job, now, settle
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS

PARTITIONS = 4


def application(job: Job) -> faust.App:
    """The application and its agent."""
    folder = job.sessions or Path(os.environ["DOORWARD_DATA"])
    folder.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        os.environ["DOORWARD_GROUP"],
        broker=f"kafka://{os.environ['DOORWARD_KAFKA_BOOTSTRAP']}",
        store="rocksdb://?driver=rocksdict",
        datadir=folder,
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=0.5,
        producer_acks=-1,
        producer_linger=0.02,
        producer_max_batch_size=1 << 20,
        stream_recovery_delay=0.0,
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
    )
    joins = app.topic("joins", key_type=bytes, value_type=bytes)
    decisions = app.topic(os.environ.get("DECISIONS", "decisions"), key_type=bytes, value_type=bytes)
    table: Any = None
    if job.sessions is not None:
        table = app.Table("sessions", partitions=PARTITIONS, key_type=bytes, value_type=bytes)

    @app.agent(joins)
    async def answer(stream: Any) -> None:
        async for record in stream.events():
            message = record.message
            event = job.event(message.key, message.value, message.headers)
            if event is None:
                continue
            if table is not None:
                job.recall(event, message.partition, table.get)
            value = job.answer(event, message.partition, message.offset, now())
            if table is not None:
                for _, subject, row in job.touched():
                    table[subject] = row
            if value is not None:
                await decisions.send(
                    key=message.key, value=value, partition=message.partition, headers=CONTENT_TYPE_HEADERS
                )

    return app


def main() -> None:
    uvloop.install()
    for name in ("aiokafka", "faust", "mode"):
        logging.getLogger(name).setLevel(logging.WARNING)
    app = application(Job())
    settle()
    worker = faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.spinner = None  # it writes terminal escapes
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
