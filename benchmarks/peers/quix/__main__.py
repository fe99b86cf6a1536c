"""Quix Streams doing the job, as its documentation advises for load. Runs in a virtual environment of its own.

    python -m benchmarks.peers.quix

Bytes in and bytes out, since decoding is the core's; ``to_topic`` with the same keys, and so (murmur2, as many
partitions) onto the join's partition. Its producer waits 20 ms for more and takes batches of a MiB, its consumer asks
for as much; nothing is logged a record. A checkpoint every half second: changelog and decisions flushed and
acknowledged, then the offsets committed, then RocksDB, with the options it comes with.

State goes through its State API, a participation a key under the meeting's. What this process does not know yet is
looked up there first, for so, and in no other way, Quix Streams gives state back after a restart. Its changelog takes
the last record of a participation in a checkpoint, not each.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from quixstreams import Application, State, message_context

from benchmarks.peers.job import Job, now, settle

CONTENT_TYPE = [("content-type", b"application/cloudevents+json")]


def deciding(job: Job) -> Callable[..., Iterable[bytes]]:
    """What a record comes to: one decision or none."""

    def decide(value: bytes, key: bytes, timestamp: int, headers: Any) -> Iterable[bytes]:
        event = job.event(key, value, headers)
        if event is None:
            return ()
        context = message_context()
        answer = job.answer(event, context.partition, context.offset, now())
        return () if answer is None else (answer,)

    return decide


def remembering(job: Job) -> Callable[..., Iterable[bytes]]:
    """The same, remembering."""

    def decide(value: bytes, key: bytes, timestamp: int, headers: Any, state: State) -> Iterable[bytes]:
        event = job.event(key, value, headers)
        if event is None:
            return ()
        context = message_context()
        job.recall(event, context.partition, state.get_bytes)
        answer = job.answer(event, context.partition, context.offset, now())
        for _, subject, record in job.touched():
            state.set_bytes(subject, record)
        return () if answer is None else (answer,)

    return decide


def main() -> None:
    job = Job()
    app = Application(
        broker_address=os.environ["DOORWARD_KAFKA_BOOTSTRAP"],
        consumer_group=os.environ["DOORWARD_GROUP"],
        auto_offset_reset="earliest",
        commit_interval=0.5,
        consumer_extra_config={"max.partition.fetch.bytes": 1 << 20},
        producer_extra_config={
            "acks": "all",
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 500_000,
        },
        state_dir=job.sessions or Path(os.environ["DOORWARD_DATA"]),  # it makes one even to keep nothing
        loglevel="WARNING",
    )
    joins = app.topic("joins", key_deserializer="bytes", value_deserializer="bytes")
    decisions = app.topic(os.environ.get("DECISIONS", "decisions"), key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(joins)
    if job.sessions is None:
        frame = frame.apply(deciding(job), metadata=True, expand=True)
    else:
        frame = frame.apply(remembering(job), metadata=True, expand=True, stateful=True)
    frame = frame.set_headers(lambda value, key, timestamp, headers: CONTENT_TYPE)
    frame.to_topic(decisions)
    settle()
    app.run()


if __name__ == "__main__":
    main()
