"""What the questions of ``scale`` share: workers that say when they are ready, loads, and counting what comes of them.

Events (``scaling_events``) are poured in at once, in batches of the size that a busy producer makes: so the client
takes little of the machine while workers decide. Or they are sent at a pace, whatever becomes of them.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks import report
from benchmarks.scaling_events import Event, Load, decided, home
from benchmarks.stage import BROKER_CORE, PROGRAM_CORE, Stage, cpu_seconds, resident_bytes, stop
from streams.dev.sandbox import SandboxWorker

PROGRAM: Final = frozenset({PROGRAM_CORE})
ALL_CORES: Final = frozenset({PROGRAM_CORE, BROKER_CORE})
BATCH: Final = 1 << 16
"""Bytes of a producer's batch."""
BEGIN: Final = 0.2
"""Share of a load's decisions after which counting begins: by then the worker is at its pace."""
SLOT: Final = 0.005
"""Seconds between two sends of a paced load."""
READY_SECONDS: Final = 900.0
PATIENCE: Final = 180.0
"""Seconds a load's decisions may take."""


@dataclass(frozen=True)
class Seen:
    """What was seen of programs while they decided.

    Attributes:
        decided: decisions.
        seconds: by the clock.
        cpu: seconds of each program watched.
    """

    decided: int
    seconds: float
    cpu: Sequence[float]

    @property
    def rate(self) -> float:
        """Decisions a second."""
        return self.decided / self.seconds

    def cost(self, *places: int) -> float:
        """CPU microseconds a decision of these programs taken together."""
        return sum(self.cpu[place] for place in places) / self.decided * 1e6


# -- loads -------------------------------------------------------------------------------------------------------


async def pour(stage: Stage, records: Iterable[tuple[bytes, bytes]], topic: str = "joins") -> None:
    """Send keys with their values all at once, and wait until the broker has them."""
    partitions = 1 if topic == "policies" else stage.partitions
    producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap, max_batch_size=BATCH)
    await producer.start()
    builders, pending = {}, []
    try:
        for key, value, *_ in records:
            partition = home(key, partitions)
            builder = builders.get(partition)
            if builder is None or builder.append(key=key, value=value, timestamp=None) is None:
                if builder is not None:
                    pending.append(await producer.send_batch(builder, topic, partition=partition))
                builder = builders[partition] = producer.create_batch()
                builder.append(key=key, value=value, timestamp=None)
        for partition, builder in builders.items():
            pending.append(await producer.send_batch(builder, topic, partition=partition))
        await asyncio.gather(*pending)
    finally:
        await producer.stop()


def pour_all(stage: Stage, records: Iterable[tuple[bytes, bytes]], topic: str) -> None:
    """``pour`` with nobody watching."""
    asyncio.run(pour(stage, records, topic))


async def trickle(stage: Stage, events: Sequence[Event], rate: float) -> None:
    """Send so many a second, whatever becomes of them."""
    producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap)
    await producer.start()
    try:
        started, sent = time.monotonic(), 0
        while sent < len(events):
            due = min(len(events), int((time.monotonic() - started) * rate))
            for key, value, _ in events[sent:due]:
                await producer.send("joins", value, key=key, partition=home(key, stage.partitions))
            sent = max(sent, due)
            await asyncio.sleep(SLOT)
    finally:
        await producer.stop()


# -- counting ----------------------------------------------------------------------------------------------------


class _Counter:
    """Counts decisions by the end offsets of their topic."""

    def __init__(self, stage: Stage) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=stage.bootstrap)
        self._partitions = [TopicPartition("decisions", p) for p in range(stage.partitions)]
        self._start = 0

    async def __aenter__(self) -> "_Counter":
        await self._consumer.start()
        self._start = await self.count()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def count(self) -> int:
        """How many came since it was entered."""
        return sum((await self._consumer.end_offsets(self._partitions)).values()) - self._start


async def _look(counter: _Counter, pids: Sequence[int]) -> tuple[int, float, list[float]]:
    return await counter.count(), time.monotonic(), [cpu_seconds(pid) for pid in pids]


def _between(first: tuple[int, float, list[float]], last: tuple[int, float, list[float]]) -> Seen:
    (decided, at, cpu), (decided_then, then, cpu_then) = first, last
    return Seen(decided_then - decided, then - at, [b - a for a, b in zip(cpu, cpu_then, strict=True)])


def burst(stage: Stage, events: Iterable[Event], wanted: int, pids: Sequence[int]) -> Seen:
    """Pour events in and watch programs from a share of the decisions wanted on until the last.

    Raises:
        SystemExit: decisions did not all come in time.
    """
    return asyncio.run(_burst(stage, events, wanted, pids))


async def _burst(stage: Stage, events: Iterable[Event], wanted: int, pids: Sequence[int]) -> Seen:
    first = None
    async with _Counter(stage) as counter:
        pouring = asyncio.ensure_future(pour(stage, events))
        deadline = time.monotonic() + PATIENCE
        while True:
            now = await _look(counter, pids)
            if first is None and now[0] >= BEGIN * wanted:
                first = now
            if first is not None and now[0] >= wanted:
                await pouring
                return _between(first, now)
            if now[1] > deadline:
                raise SystemExit(f"{now[0]:,} of {wanted:,} decisions after {PATIENCE:.0f} s")
            await asyncio.sleep(0.02)


def paced(stage: Stage, events: Sequence[Event], pids: Sequence[int], rate: float) -> Seen:
    """Send so many events a second and watch programs from a share of the events on until the last is sent.

    Returns when all are decided.

    Raises:
        SystemExit: decisions did not all come in time.
    """
    return asyncio.run(_paced(stage, events, pids, rate))


async def _paced(stage: Stage, events: Sequence[Event], pids: Sequence[int], rate: float) -> Seen:
    async with _Counter(stage) as counter:
        sending = asyncio.ensure_future(trickle(stage, events, rate))
        await asyncio.sleep(BEGIN * len(events) / rate)
        first = await _look(counter, pids)
        await sending
        last, wanted = await _look(counter, pids), decided(events)
        while (count := await counter.count()) < wanted:
            if time.monotonic() > last[1] + PATIENCE:
                raise SystemExit(f"{count:,} of {wanted:,} decisions after {PATIENCE:.0f} s")
            await asyncio.sleep(0.02)
        return _between(first, last)


def warm_up(stage: Stage, load: Load) -> None:
    """Have a load's first part answered."""
    burst(stage, load.warm, decided(load.warm), ())


# -- workers -----------------------------------------------------------------------------------------------------


@contextmanager
def on(cores: Collection[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Crew:
    """Workers of one group on a stage; ended with the block they are used in.

    Args:
        stage: entered already.
        cores: of each worker.
        settings: more ``DOORWARD_`` variables.

    Attributes:
        workers: the real worker's processes.
        start_seconds: from their start until all were ready.
    """

    def __init__(self, stage: Stage, *cores: Collection[int], **settings: str) -> None:
        self._stage = stage
        self._cores = cores
        self._settings = settings
        self.workers: list[SandboxWorker] = []
        self.start_seconds = 0.0

    def __enter__(self) -> "Crew":
        environment = self._stage.environment("scale", **self._settings)
        started = time.monotonic()
        try:
            for number, cores in enumerate(self._cores, 1):
                with on(cores):
                    self.workers.append(SandboxWorker(number, self._stage.folder, environment, 0))
            self.await_ready()
        except BaseException:
            self.__exit__()
            raise
        self.start_seconds = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            with suppress(Exception):
                stop(worker.process)

    @property
    def pids(self) -> list[int]:
        """Of the workers that run now."""
        return [worker.pid for worker in self.workers]

    @property
    def resident(self) -> list[int]:
        """Bytes of resident memory of each worker."""
        return [resident_bytes(pid) for pid in self.pids]

    def await_ready(self) -> None:
        """Wait until each partition has its owner, and each worker a share.

        Raises:
            SystemExit: a worker ended, or they took too long.
        """
        deadline = time.monotonic() + READY_SECONDS
        while True:
            owned = [worker.owned() for worker in self.workers]
            if all(owned) and sum(filter(None, owned)) == self._stage.partitions:
                return
            for worker in self.workers:
                if worker.process.poll() is not None:
                    raise SystemExit(f"{worker.id} ended: {worker.last_line()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"workers own {owned} partitions after {READY_SECONDS:.0f} s")
            time.sleep(0.05)

    def again(self, between: Callable[[SandboxWorker], None] = lambda _: None) -> float:
        """End the only worker as SIGTERM does, and start it again; returns seconds from its start until it is ready.

        Args:
            between: done while it does not run.
        """
        [worker] = self.workers
        stop(worker.process)
        between(worker)
        with on(self._cores[0]):
            started = time.monotonic()
            worker.restart()
        self.await_ready()
        return time.monotonic() - started


def release(pids: Iterable[int]) -> None:
    """Let processes, with all their threads, run on every core."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # a thread that has ended meanwhile
                os.sched_setaffinity(int(thread.name), ALL_CORES)


def on_disk(folder: Path) -> int:
    """Bytes of all files below a folder; those that go away meanwhile don't count."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


# -- results -----------------------------------------------------------------------------------------------------


def tell(
    given: argparse.Namespace,
    name: str,
    question: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str],
    figures: Any,
    plot: Callable[[Path], None],
) -> None:
    """Print a table with its notes; keep it where that was asked for. See ``report.record``."""
    print(report.table(heads, rows), *notes, sep="\n")
    if given.record:
        report.record(name, question, heads, rows, notes=notes, figures=figures, plot=plot)
