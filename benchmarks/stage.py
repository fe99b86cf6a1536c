"""What the benchmarks share: a broker with topics, policies and events; a program on one core; its work counted.

The broker and whoever measures have one core, the program under test the other (``BROKER_CORE``, ``PROGRAM_CORE``),
unless a benchmark says otherwise. Brokers run in a JVM as Kafka's own start script makes it. Counted from outside: CPU
seconds from /proc, decisions from end offsets.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.partitioner import murmur2

from streams.adapters import topics
from streams.adapters.geo import shipped
from streams.adapters.seal import new_key
from streams.core import instants
from streams.dev.authority import accounts_of, establish, offers
from streams.dev.demo import ACCOUNTS, starter_policies
from streams.dev.guardian import Guarded
from streams.dev.kafka import SERVER, EmbeddedKafka
from streams.dev.traffic import Addresses, Traffic
from streams.wire import documents

PARTITIONS: Final = 4
PROGRAM_CORE: Final = 0
BROKER_CORE: Final = 1
WORKER: Final = [sys.executable, "-m", "streams.dev.worker"]
TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What one program did while it was watched.

    Attributes:
        rate: decisions a second.
        cost: CPU microseconds a decision.
        seconds: how long it was watched.
        resident: bytes of resident memory at the end.
    """

    rate: float
    cost: float
    seconds: float
    resident: int


def cpu_seconds(pid: int) -> float:
    """CPU a process took so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


class Stage:
    """A cluster with Doorward's topics and the starter policies, and what programs need to join in.

    Use in ``with``. Everything it makes is in one temporary folder, removed at the end.

    Args:
        partitions: of ``joins`` and the topics that go with it.
        brokers: how many; three replicate threefold.
        cores: of brokers and of whoever measures.

    Attributes:
        bootstrap: where the brokers are.
        folder: the temporary folder.
        policies: a folder of the same policies as plain, unsigned JSON, for programs that read files.
    """

    def __init__(
        self, *, partitions: int = PARTITIONS, brokers: int = 1, cores: Collection[int] = (BROKER_CORE,)
    ) -> None:
        self.partitions = partitions
        self._cores = cores
        self._brokers = brokers
        self._folder = tempfile.TemporaryDirectory(prefix="doorward-bench-")
        self.folder = Path(self._folder.name)
        self._kafka = EmbeddedKafka(nodes=brokers, jvm=SERVER)
        starters = starter_policies()
        self._placed = [each for each in documents.read_folder(starters)[0] if Path(each[1].file).parent == starters]

    def __enter__(self) -> "Stage":
        os.sched_setaffinity(0, self._cores)  # what is started later inherits it
        self._kafka.__enter__()
        self.bootstrap = self._kafka.bootstrap
        asyncio.run(self._prepare())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kafka.__exit__(kind, exc, traceback)
        self._folder.cleanup()

    async def _prepare(self) -> None:
        async with topics.connected(self.bootstrap) as admin:
            replication = min(3, self._brokers)
            await topics.apply(admin, topics.load_manifest(), replication=replication, partitions=self.partitions)
        self.authority = establish(self.folder / "keys", accounts_of(self._placed))
        self.seal = self.folder / "seal.jwk.json"
        new_key(self.seal)
        self.policies = self.folder / "policies"
        self.policies.mkdir()
        for number, (value, _) in enumerate(self._placed):  # a file may hold several
            (self.policies / f"{number}.json").write_text(json.dumps(value))
        signed, problems = offers(self.authority, self._placed)
        if problems:
            raise SystemExit(f"the starter policies have problems: {problems}")
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        for offer in signed:
            await producer.send_and_wait("policies", offer.raw, key=offer.path.encode(), partition=0)
        await producer.stop()

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """The environment of a program with a group and a data folder of its own."""
        return {
            **os.environ,
            "DOORWARD_KAFKA_BOOTSTRAP": self.bootstrap,
            "DOORWARD_GROUP": name,
            "DOORWARD_WORKER": name,
            "DOORWARD_TRUST": str(self.authority.trust),
            "DOORWARD_DATA": str(self.folder / f"data-{name}"),
            "DOORWARD_LOG_LEVEL": "ERROR",
            "DOORWARD_SEAL_KEYS": str(self.seal),
            "POLICIES": str(self.policies),
            "GEO": str(shipped()),
            **more,
        }

    @property
    def broker_pids(self) -> list[int]:
        """The brokers' processes."""
        return list(self._kafka.pids.values())

    def create(self, topic: str, **config: str) -> None:
        """Make a topic with as many partitions as ``joins``; underscores in a setting's name stand for its dots."""

        async def make() -> None:
            options = {name.replace("_", "."): value for name, value in config.items()}
            async with topics.connected(self.bootstrap) as admin:
                await admin.create_topics(
                    [NewTopic(topic, self.partitions, min(3, self._brokers), topic_configs=options)]
                )

        asyncio.run(make())

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], *, core: int | None = PROGRAM_CORE
    ) -> Guarded:
        """Start a program, on one core unless told otherwise; it ends with this process at the latest."""
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        return Guarded([*pinned, *command], env=environment)

    def fill(self, events: int, *, topic: str = "joins", seed: int = 7) -> int:
        """Send so many events of the demo's traffic; returns how many decisions they must get."""
        return asyncio.run(self._fill(events, topic, seed))

    async def _fill(self, events: int, topic: str, seed: int) -> int:
        rng = random.Random(seed)
        traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=20, max_batch_size=1 << 18)
        await producer.start()
        sent = decisions = 0
        while sent < events:
            for made in traffic.batch(min(500, events - sent), instants.render(time.time_ns() // 1_000_000)):
                partition = (murmur2(made.key) & 0x7FFFFFFF) % self.partitions
                await producer.send(topic, made.value, key=made.key, partition=partition)
                sent += 1
                decisions += made.expect in ("decision", "both")
        await producer.stop()
        return decisions

    def ends(self, topic: str = "decisions") -> dict[int, int]:
        """The end offset of each partition."""
        return asyncio.run(self._ends(topic))

    async def _ends(self, topic: str) -> dict[int, int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            found = await consumer.end_offsets([TopicPartition(topic, p) for p in range(self.partitions)])
        finally:
            await consumer.stop()
        return {partition.partition: end for partition, end in found.items()}

    def watch(
        self, program: Guarded, wanted: int, *, begin: float = 0.2, topic: str = "decisions", timeout: float = 180.0
    ) -> Usage:
        """What a program does between a share of the decisions wanted, and all of them; call right after its start.

        Raises:
            SystemExit: they did not all come in time, or the program ended.
        """
        return asyncio.run(self._watch(program, wanted, begin, topic, time.monotonic() + timeout))

    async def _watch(self, program: Guarded, wanted: int, begin: float, topic: str, deadline: float) -> Usage:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        partitions = [TopicPartition(topic, p) for p in range(self.partitions)]
        try:
            start = sum((await consumer.end_offsets(partitions)).values())
            first: tuple[int, float, float] | None = None
            while True:
                count = sum((await consumer.end_offsets(partitions)).values()) - start
                if program.poll() is not None:
                    raise SystemExit(f"the program ended after {count} of {wanted} decisions")
                now = (count, time.monotonic(), cpu_seconds(program.pid))
                if first is None and count >= begin * wanted:
                    first = now
                if first is not None and count >= wanted:
                    decided, seconds, cpu = (b - a for a, b in zip(first, now, strict=True))
                    return Usage(decided / seconds, cpu / decided * 1e6, seconds, resident_bytes(program.pid))
                if now[1] > deadline:
                    raise SystemExit(f"only {count} of {wanted} decisions in time")
                await asyncio.sleep(0.02)
        finally:
            await consumer.stop()


def stop(program: Guarded) -> Any:
    """End a program as SIGTERM does, and wait."""
    program.release()
    return program.wait(30)
