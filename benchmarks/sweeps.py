"""How soon are live sessions decided again, what does a session cost, and how soon is it back after a crash?

    python -m benchmarks.sweeps [--sessions 200000] [--affected 10000] [--rounds 3] [--everyone]

Two workers, one broker, all on this machine's cores. ``--sessions`` live participations, of which ``--affected`` are
one account's and the rest everybody else's; with ``--everyone`` all are the one account's, ``--affected`` of them in
the one country the document names, so that each has to be decided again to find those. Each round pushes a document
that removes them, then its next revision that lets them in again. Counted by the client: from handing a document to the
producer to reading the last decision it causes. At the end one worker is killed with its local files, and its sessions
have to come back.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import murmur2

from streams.dev.sandbox import Sandbox, SandboxWorker

AFFECTED, OTHERS = "acme", 400
HERE, THERE, COUNTRY = "8.8.8.8", "5.39.0.1", "FR"
"""An address elsewhere, one in the country that documents name, and that country."""


def events(sessions: int, affected: int, everyone: bool) -> Iterator[tuple[bytes, bytes]]:
    for i in range(sessions):
        account = AFFECTED if i < affected or everyone else f"clinic-{i % OTHERS}"
        meeting = f"m-{account}-{i // 8 if i < affected or everyone else i // (8 * OTHERS)}"
        address = THERE if i < affected else HERE
        data = {"meeting": meeting, "account": account, "participation": f"p-{i:016x}", "address": address}
        event = {"specversion": "1.0", "type": "doorward.join.v1", "source": "/edge/eu-1", "id": f"01J{i:023d}"}
        yield meeting.encode(), json.dumps({**event, "time": "2026-11-21T09:30:00Z", "data": data}).encode()


async def fill(sandbox: Sandbox, sessions: int, affected: int, everyone: bool) -> float:
    """Let all join; returns how many decisions a second came meanwhile."""
    producer = AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap, linger_ms=20, max_batch_size=1 << 18)
    reader = await Reader.start(sandbox)
    await producer.start()
    started = time.monotonic()
    for key, value in events(sessions, affected, everyone):
        await producer.send("joins", value, key=key, partition=(murmur2(key) & 0x7FFFFFFF) % sandbox.partitions)
    await producer.stop()
    await reader.count(sessions, 600)
    await reader.stop()
    return sessions / (time.monotonic() - started)


class Reader:
    """Reads ``decisions`` from where they end now."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    @classmethod
    async def start(cls, sandbox: Sandbox) -> "Reader":
        consumer = AIOKafkaConsumer("decisions", bootstrap_servers=sandbox.bootstrap, auto_offset_reset="latest")
        await consumer.start()
        for partition in consumer.assignment():
            await consumer.position(partition)
        return cls(consumer)

    async def count(self, wanted: int, seconds: float, cause: str = "join") -> int:
        """Read until so many of a cause came; returns how many."""
        read, deadline, mark = 0, time.monotonic() + seconds, f'"cause":"{cause}"'.encode()
        while read < wanted and time.monotonic() < deadline:
            batches = await self._consumer.getmany(timeout_ms=200)
            read += sum(mark in record.value for records in batches.values() for record in records)
        return read

    async def stop(self) -> None:
        await self._consumer.stop()


def document(revision: int, then: str) -> dict[str, object]:
    scope = {"scope": "account", "account": AFFECTED, "name": "licensing"}
    rules = [{"id": "there", "when": {"country": [COUNTRY]}, "then": then}]
    contest = "https://acme.example/contest"
    return {**scope, "revision": revision, "rules": rules, "default": "admit", "contest": contest}


async def push(sandbox: Sandbox, value: dict[str, object], wanted: int) -> float:
    """Seconds from handing a document over to the last of the decisions it causes."""
    offer = sandbox.authority.offer(value)
    reader = await Reader.start(sandbox)
    producer = AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap, acks="all")
    await producer.start()
    started = time.monotonic()
    await producer.send_and_wait("policies", offer.raw, key=offer.path.encode(), partition=0)
    read = await reader.count(wanted, 120, "policy")
    taken = time.monotonic() - started
    await producer.stop()
    await reader.stop()
    if read != wanted:
        raise SystemExit(f"{read} decisions, not {wanted}")
    return taken


def commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def metric(worker: SandboxWorker, name: str) -> float:
    text = urllib.request.urlopen(worker.metrics, timeout=5).read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


def resident(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def fail_over(sandbox: Sandbox, sessions: int) -> tuple[float, str]:
    """Kill a worker with its files; seconds until the others have all its sessions, and what they logged of it."""
    lost, other = sandbox.workers
    started = time.monotonic()
    os.kill(lost.pid, signal.SIGKILL)
    shutil.rmtree(lost.folder / "faust", ignore_errors=True)
    while live(sandbox) < sessions and time.monotonic() - started < 120:
        time.sleep(0.1)
    lines = [line for line in other.log.read_text().splitlines() if "partitions assigned" in line]
    return time.monotonic() - started, lines[-1]


def live(sandbox: Sandbox) -> float:
    """Sessions of the workers that answer; the sandbox starts the dead one again."""
    total = 0.0
    for worker in sandbox.workers:
        with suppress(OSError):
            total += metric(worker, "doorward_sessions")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=200_000)
    parser.add_argument("--affected", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--everyone", action="store_true")
    given = parser.parse_args()
    with Sandbox(workers=2, accounts=[AFFECTED], environment={"DOORWARD_REMIND": "3600"}) as sandbox:
        empty = [resident(worker.pid) for worker in sandbox.workers]
        rate = asyncio.run(fill(sandbox, given.sessions, given.affected, given.everyone))
        print(f"{given.sessions:,} sessions, joined at {rate:,.0f}/s", flush=True)
        full = [resident(worker.pid) for worker in sandbox.workers]
        disk = sum(on_disk(worker.folder) for worker in sandbox.workers)
        print(
            f"commit {commit()}; memory {(sum(full) - sum(empty)) / given.sessions:,.0f} B a session, "
            f"disk {disk / given.sessions:,.0f} B"
        )
        taken = []
        for round_ in range(given.rounds):
            for revision, verdict in ((2 * round_ + 1, "remove"), (2 * round_ + 2, "admit")):
                taken.append(asyncio.run(push(sandbox, document(revision, verdict), given.affected)))
        spread = f"{min(taken):.3f}-{max(taken):.3f}"
        print(f"push → {given.affected:,} verdicts changed and read: {statistics.median(taken):.3f} s ({spread})")
        seconds, line = fail_over(sandbox, given.sessions)
        print(f"kill -9 of one worker, its files deleted → all sessions back: {seconds:.1f} s; {line}")


if __name__ == "__main__":
    main()
