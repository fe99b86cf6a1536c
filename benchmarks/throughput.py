"""How many events a second does one worker decide on one core, beside a raw aiokafka loop with the same core?

    python -m benchmarks.throughput [--events 300000] [--rounds 3]

The loop runs twice: once deciding only, once remembering live participations too (view, sealed address, changelog,
RocksDB), which is what the worker does.

The broker has one core, the program under test the other. In each round the same events are read from the beginning by
one program after the other. Counted from outside, between 20 % and
100 % of the decisions: CPU from /proc, decisions from the end offsets of ``decisions``.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.partitioner import murmur2

from benchmarks.peers.raw_aiokafka import CHANGELOG
from streams.adapters import topics
from streams.adapters.geo import shipped
from streams.adapters.seal import new_key
from streams.core import instants
from streams.dev.authority import accounts_of, establish, offers
from streams.dev.demo import ACCOUNTS, starter_policies
from streams.dev.guardian import Guarded
from streams.dev.kafka import EmbeddedKafka
from streams.dev.traffic import Addresses, Traffic
from streams.wire import documents

PARTITIONS = 4
RAW, RAW_SESSIONS, DOORWARD = "raw aiokafka", "raw with sessions", "doorward"
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def fill(bootstrap: str, events: int) -> int:
    """Send the events; returns how many decisions they must get."""
    rng = random.Random(7)
    traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, max_batch_size=1 << 18)
    await producer.start()
    sent = decisions = 0
    while sent < events:
        for made in traffic.batch(500, instants.render(time.time_ns() // 1_000_000)):
            partition = (murmur2(made.key) & 0x7FFFFFFF) % PARTITIONS
            await producer.send("joins", made.value, key=made.key, partition=partition)
            sent += 1
            decisions += made.expect in ("decision", "both")
    await producer.stop()
    return decisions


async def policies(bootstrap: str, authority, placed) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    signed, problems = offers(authority, placed)
    assert not problems, problems
    for offer in signed:
        await producer.send_and_wait("policies", offer.raw, key=offer.path.encode(), partition=0)
    await producer.stop()


async def measure(bootstrap: str, pid: int, wanted: int) -> tuple[float, float]:
    """Events a second and CPU microseconds an event, between 20 % and 100 % of the decisions wanted."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    ends = [TopicPartition("decisions", p) for p in range(PARTITIONS)]
    start = sum((await consumer.end_offsets(ends)).values())
    first = None
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        count = sum((await consumer.end_offsets(ends)).values()) - start
        now = (count, time.monotonic(), cpu_seconds(pid))
        if first is None and count >= 0.2 * wanted:
            first = now
        if count >= wanted:
            await consumer.stop()
            assert first is not None
            n, wall, cpu = (b - a for a, b in zip(first, now, strict=True))
            return n / wall, cpu / n * 1e6
        await asyncio.sleep(0.02)
    raise AssertionError(f"{count} of {wanted} decisions after 120 s")


def one_round(events: int, folder: Path, placed) -> dict[str, tuple[float, float]]:
    """Each program once, on a broker of their own: sessions of an earlier round would be known already."""
    results = {}
    with tempfile.TemporaryDirectory() as name, EmbeddedKafka() as kafka:
        asyncio.run(apply(kafka.bootstrap))
        authority = establish(Path(name) / "keys", accounts_of(placed))
        asyncio.run(policies(kafka.bootstrap, authority, placed))
        wanted = asyncio.run(fill(kafka.bootstrap, events))
        seal, flat = Path(name) / "seal.jwk.json", Path(name) / "flat"
        new_key(seal)
        flat.mkdir()
        for each in folder.glob("*.yaml"):
            (flat / each.name).write_bytes(each.read_bytes())
        for program in (RAW, RAW_SESSIONS, DOORWARD):
            environment = {
                **os.environ,
                "DOORWARD_KAFKA_BOOTSTRAP": kafka.bootstrap,
                "DOORWARD_GROUP": program.replace(" ", "-"),
                "DOORWARD_TRUST": str(authority.trust),
                "DOORWARD_DATA": str(Path(name) / "data"),
                "DOORWARD_LOG_LEVEL": "ERROR",
                "DOORWARD_SEAL_KEYS": str(seal),
                "POLICIES": str(flat),
            }
            if program == RAW_SESSIONS:
                environment["SESSIONS"] = str(Path(name) / "sessions")
            module = "streams.dev.worker" if program == DOORWARD else "benchmarks.peers.raw_aiokafka"
            process = Guarded(["taskset", "-c", "0", sys.executable, "-m", module], env=environment)
            results[program] = asyncio.run(measure(kafka.bootstrap, process.pid, wanted))
            process.release()
            process.wait(30)
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    folder = starter_policies()
    placed = [each for each in documents.read_folder(folder)[0] if Path(each[1].file).parent == folder]
    results: dict[str, list[tuple[float, float]]] = {RAW: [], RAW_SESSIONS: [], DOORWARD: []}
    os.sched_setaffinity(0, {1})
    for number in range(args.rounds):
        for program, figures in one_round(args.events, folder, placed).items():
            results[program].append(figures)
            print(f"round {number + 1} {program}: {figures[0]:,.0f} decisions/s, {figures[1]:.2f} µs", flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"commit {commit}, {args.events:,} events, {args.rounds} rounds, median (least to most)")
    medians = {}
    for program, figures in results.items():
        rates, costs = zip(*figures, strict=True)
        medians[program] = statistics.median(costs)
        print(
            f"{program:>17}: {statistics.median(rates):,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f}), "
            f"{statistics.median(costs):.2f} µs CPU/event ({min(costs):.2f} to {max(costs):.2f})"
        )
    for program in (RAW, RAW_SESSIONS):
        print(f"CPU/event beside {program}: {medians[DOORWARD] / medians[program]:.2f}")


async def apply(bootstrap: str) -> None:
    async with topics.connected(bootstrap) as admin:
        await topics.apply(admin, topics.load_manifest(), replication=1, partitions=PARTITIONS)
        options = {"cleanup.policy": "compact"}
        await admin.create_topics([NewTopic(CHANGELOG, PARTITIONS, 1, topic_configs=options)])


if __name__ == "__main__":
    main()
