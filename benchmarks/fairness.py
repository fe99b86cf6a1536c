"""How much longer does a join wait while a million live sessions are decided again?

    python -m benchmarks.fairness [--sessions 1000000] [--rate 2000] [--rounds 5] [--seconds 10]

Two workers and one broker on all of this machine's cores; every session is one account's, ten thousand of them in the
country that documents name. An open loop of other accounts' joins goes on all the while. A round is a stretch without
a sweep and a stretch of the same length with one sweep after the other: documents that remove the ten thousand, and
their next revisions that let them in again. Latency is from handing a join to the producer to reading its decision,
coordinated omission included, by the same client in both.
"""

import argparse
import asyncio
import os
import random
import statistics
import time

from aiokafka import AIOKafkaProducer

from benchmarks.sweeps import AFFECTED, Reader, commit, document, fill
from streams.adapters.geo import shipped
from streams.dev.demo import ACCOUNTS
from streams.dev.load import Client, percentile
from streams.dev.sandbox import Sandbox
from streams.dev.traffic import Addresses, Traffic

CHANGE = 10_000


async def sweep_until(sandbox: Sandbox, deadline: float, revision: int) -> int:
    """Push one document after the other, each once the former's decisions are read; returns the last revision."""
    producer = AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap, acks="all")
    await producer.start()
    while time.monotonic() < deadline:
        revision += 1
        offer = sandbox.authority.offer(document(revision, "remove" if revision % 2 else "admit"))
        reader = await Reader.start(sandbox)
        await producer.send_and_wait("policies", offer.raw, key=offer.path.encode(), partition=0)
        assert await reader.count(CHANGE, 60, "policy") == CHANGE
        await reader.stop()
    await producer.stop()
    return revision


def latencies(client: Client) -> list[float]:
    """Seconds of each join since the last call, sorted."""
    found = client.ledger.latencies()
    client.ledger.sent.clear()
    client.ledger.decisions.clear()
    return found


async def run(sandbox: Sandbox, rate: float, rounds: int, seconds: float) -> list[tuple[list[float], list[float], int]]:
    rng = random.Random(7)
    traffic = Traffic(Addresses(shipped(), rng), rng, [account for account in ACCOUNTS if account != AFFECTED])
    results, revision = [], 0
    async with Client(sandbox.bootstrap, traffic, sandbox.partitions) as client:
        await client.send(rate, 5)  # warm
        assert await client.settle(30)
        latencies(client)
        for _ in range(rounds):
            await client.send(rate, seconds)
            assert await client.settle(30)
            quiet, before = latencies(client), revision
            sweeping = asyncio.create_task(sweep_until(sandbox, time.monotonic() + seconds, revision))
            await client.send(rate, seconds)
            revision = await sweeping
            assert await client.settle(60)
            results.append((quiet, latencies(client), revision - before))
    return results


def line(ordered: list[float]) -> str:
    return " ".join(f"p{share * 100:g} {percentile(ordered, share) * 1e3:.1f} ms" for share in (0.5, 0.99))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    with Sandbox(workers=2, accounts=[*ACCOUNTS, AFFECTED], environment={"DOORWARD_REMIND": "3600"}) as sandbox:
        asyncio.run(fill(sandbox, given.sessions, CHANGE, everyone=True))
        results = asyncio.run(run(sandbox, given.rate, given.rounds, given.seconds))
    print(f"commit {commit()}, {os.cpu_count()} cores, {given.sessions:,} sessions, {given.rate:,.0f} joins/s")
    ratios = []
    for number, (quiet, swept, sweeps) in enumerate(results, 1):
        ratios.append(percentile(swept, 0.99) / percentile(quiet, 0.99))
        print(f"round {number}: without a sweep {line(quiet)}; during {sweeps} sweeps {line(swept)}")
    print(f"p99 during / without: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


if __name__ == "__main__":
    main()
