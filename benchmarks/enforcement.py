"""How soon after it is appended is a document in force for new joins, on every worker, while joins flow?

    python -m benchmarks.enforcement [--documents 200] [--rate 2000]

Two workers and one broker on all of this machine's cores, an open loop of joins beside them. Documents are pushed one
after the other, four a second; each is a new revision of one account's. Two figures come of each:

* what the workers say: the greatest ``in_force`` of their ``applied`` events, from the broker's append time;
* what the decisions show: the latest ``decided_at`` of any join's decision that was still made with an earlier
  ``policy_offset``, less the append time. A worker that told a fairy tale about itself would be found out here.

Both clocks are this machine's, whole milliseconds.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
from collections import defaultdict

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.adapters.geo import shipped
from streams.dev.demo import ACCOUNTS
from streams.dev.load import Client, percentile
from streams.dev.sandbox import Sandbox
from streams.dev.traffic import Addresses, Traffic

SECONDS_BETWEEN = 0.25


def document(revision: int) -> dict[str, object]:
    scope = {"scope": "account", "account": ACCOUNTS[0], "name": "enforcement"}
    rules = [{"id": f"r{revision}", "when": {"country": ["NZ"]}, "then": "alert"}]
    return {**scope, "revision": revision, "rules": rules, "default": "admit"}


async def push_all(sandbox: Sandbox, documents: int) -> dict[int, int]:
    """Push them one by one; returns append time by offset."""
    producer = AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap, acks="all")
    await producer.start()
    appended = {}
    for revision in range(1, documents + 1):
        offer = sandbox.authority.offer(document(revision))
        sent = await producer.send_and_wait("policies", offer.raw, key=offer.path.encode(), partition=0)
        appended[sent.offset] = sent.timestamp
        await asyncio.sleep(SECONDS_BETWEEN)
    await producer.stop()
    return appended


async def read_all(bootstrap: str, topic: str) -> list[object]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    ends, values = await consumer.end_offsets(consumer.assignment()), []
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            values += [json.loads(record.value) for record in records]
    await consumer.stop()
    return values


def said(events: list[object], workers: int) -> dict[int, float]:
    """By offset, the seconds after which the last worker had it in force; only what each worker spoke of."""
    spoken = defaultdict(dict)
    for event in events:
        if event["type"] == "doorward.policy.applied.v1":
            spoken[event["data"]["offset"]][event["data"]["worker"]] = event["data"]["timings"].get("in_force")
    return {offset: max(by.values()) for offset, by in spoken.items() if len(by) == workers and None not in by.values()}


def shown(decisions: list[object], appended: dict[int, int]) -> dict[int, float]:
    """By offset, the seconds for which joins were still decided without it."""
    latest = defaultdict(int)
    for event in decisions:
        data = event["data"]
        if data["cause"] == "join":
            latest[data["policy_offset"]] = max(latest[data["policy_offset"]], data["order"][3])
    lag, newest = {}, 0
    for offset in sorted({*latest, *appended}):
        if offset in appended:
            lag[offset] = max(0.0, (newest - appended[offset]) / 1000)
        newest = max(newest, latest.get(offset, 0))
    return lag


async def run(sandbox: Sandbox, documents: int, rate: float) -> tuple[dict[int, int], list[float], float]:
    rng = random.Random(7)
    traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
    async with Client(sandbox.bootstrap, traffic, sandbox.partitions) as client:
        await client.send(rate, 5)  # warm
        client.ledger.sent.clear()
        client.ledger.decisions.clear()
        sending = asyncio.create_task(client.send(rate, documents * (SECONDS_BETWEEN + 0.02)))
        await asyncio.sleep(1)
        appended = await push_all(sandbox, documents)
        await sending
        assert await client.settle(30)
        return appended, client.ledger.latencies(), client.ledger.per_second(client.ledger.offered)


def line(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    shares = ", ".join(f"p{share * 100:g} {percentile(ordered, share) * 1000:.0f} ms" for share in (0.5, 0.99))
    return f"{shares}, most {ordered[-1] * 1000:.0f} ms ({len(ordered)} documents)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--rate", type=float, default=2_000)
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    with Sandbox(workers=2, accounts=ACCOUNTS) as sandbox:
        appended, latencies, offered = asyncio.run(run(sandbox, given.documents, given.rate))
        events = asyncio.run(read_all(sandbox.bootstrap, "policies.status"))
        decisions = asyncio.run(read_all(sandbox.bootstrap, "decisions"))
    print(f"commit {commit}, {os.cpu_count()} cores, {offered:,.0f} joins/s offered, {len(decisions):,} decisions")
    print(f"appended → in force, as the slower worker says: {line(list(said(events, 2).values()))}")
    print(f"appended → no join decided without it any more: {line(list(shown(decisions, appended).values()))}")
    p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
    print(f"join → decision read meanwhile: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
