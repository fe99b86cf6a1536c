"""A backend for tests: sends records to `joins` and reads whole topics back, as a client in any language would."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2


def join(meeting: str, address: str, account: str = "acme", **more: Any) -> dict[str, Any]:
    """A join event; `id` and `type` may be given, everything else goes into its data."""
    event = {
        "specversion": "1.0",
        "type": more.pop("type", "doorward.join.v1"),
        "source": "/edge/test",
        "id": more.pop("id", f"id-{time.monotonic_ns()}"),
        "time": "2026-11-21T09:30:00.123Z",
    }
    data = {"meeting": meeting, "account": account, "participation": f"p-{event['id']}", "address": address}
    return {**event, "data": {**data, **more}}


class Backend:
    """Talks to one deployment; every call connects anew, which keeps tests independent."""

    def __init__(self, bootstrap: str, partitions: int = 4, **security: Any) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.security = security

    def send(
        self, records: Sequence[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]], **options: Any
    ) -> list[tuple[int, int]]:
        """Send (key, value, headers) to the default partitioner's partition; returns (partition, offset) of each."""

        async def run() -> list[tuple[int, int]]:
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **self.security, **options)
            await producer.start()
            try:
                sent = []
                for key, value, headers in records:
                    partition = (murmur2(key) & 0x7FFFFFFF) % self.partitions if key is not None else 0
                    sent.append(await producer.send("joins", value, key=key, headers=headers, partition=partition))
                return [(done.partition, done.offset) for done in [await future for future in sent]]
            finally:
                await producer.stop()

        return asyncio.run(run())

    def send_events(self, *events: dict[str, Any]) -> list[tuple[int, int]]:
        """Send CloudEvents in structured mode, keyed by meeting."""
        return self.send([(e["data"]["meeting"].encode(), json.dumps(e).encode(), []) for e in events])

    def append(self, topic: str, key: bytes | None, value: bytes | None) -> int:
        """Append one record to partition 0 of any topic; returns its offset."""

        async def run() -> int:
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **self.security)
            await producer.start()
            try:
                return (await producer.send_and_wait(topic, value, key=key, partition=0)).offset
            finally:
                await producer.stop()

        return asyncio.run(run())

    def read(
        self, topic: str, until: Callable[[list[Any]], bool] = lambda found: True, seconds: float = 20.0
    ) -> list[Any]:
        """A topic's records from its beginning to its end, read on until `until` holds of all that was read."""

        async def run() -> list[Any]:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, **self.security)
            await consumer.start()
            try:
                await consumer._client._wait_on_metadata(topic)
                partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
                consumer.assign(partitions)
                await consumer.seek_to_beginning()
                ends = await consumer.end_offsets(partitions)
                found: list[Any] = []
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    at_end = all([await consumer.position(p) >= ends[p] for p in partitions])
                    if at_end and until(found):
                        return found
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
                raise AssertionError(f"{topic}: {len(found)} records, and what was waited for is not among them")
            finally:
                await consumer.stop()

        return asyncio.run(run())

    def decisions(self, *ids: str, topic: str = "decisions") -> dict[str, dict[str, Any]]:
        """The decision on each event id, waited for; of several the last."""

        def by_id(records: list[Any]) -> dict[str, dict[str, Any]]:
            made = [json.loads(record.value) for record in records]
            return {event["data"]["event"]["id"]: event for event in made}

        found = by_id(self.read(topic, lambda records: set(ids) <= by_id(records).keys()))
        return {id_: found[id_] for id_ in ids}

    def statuses(self, until: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Everything said on `policies.status`."""

        def decoded(records: list[Any]) -> list[dict[str, Any]]:
            return [json.loads(record.value) for record in records]

        return decoded(self.read("policies.status", lambda records: until(decoded(records))))
