"""The ledger: every event offered is answered, and nothing is committed before it is.

A `Ledger` offers numbered events on the input topic, starts and stops worker processes, reads every answer, and samples
the group's committed offsets all the while. It knows no worker: what an event looks like, how an answer names the event
it is for, and how a worker is started are given to it, so that one set of faults serves any program.

What it keeps, by input partition: how often each offset was answered, and the *front*, the first offset not answered
yet. From these follow

    lost         offsets never answered
    repeats      answers beyond the first
    exposed      offsets answered but not committed at some moment: all that a crash at that moment may repeat
    violations   committed offsets seen beyond the front
    rewinds      committed offsets seen to go back

A commit is compared only after every answer that existed at its time was read, so a late reader accuses nobody.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord, TopicPartition

TICK = 0.02
SAMPLE = 0.2
CLIENT = {"metadata_max_age_ms": 5_000, "request_timeout_ms": 60_000}


@dataclass(frozen=True)
class Program:
    """A worker as the ledger needs to know it.

    Attributes:
        command: Its command line; given the ledger and the worker's number.
        encode: Key and value of the event with a number.
        decode: The number of the event an output record answers; None when it answers none.
    """

    command: Callable[["Ledger", int], Sequence[str]]
    encode: Callable[[int], tuple[bytes, bytes]]
    decode: Callable[[ConsumerRecord], int | None]


@dataclass
class Report:
    """What came out; see the module's words."""

    offered: int = 0
    answers: int = 0
    lost: int = 0
    repeats: int = 0
    allowed_repeats: int = 0
    violations: list[str] = field(default_factory=list)
    rewinds: list[str] = field(default_factory=list)
    samples: int = 0
    committed_to_the_end: bool = False
    longest_silence: float = 0.0
    exits: list[int | None] = field(default_factory=list)

    def check(self) -> None:
        """What holds after any fault."""
        assert self.offered > 0
        assert self.samples > 0
        assert self.lost == 0, self
        assert not self.violations, self
        assert not self.rewinds, self
        assert self.committed_to_the_end, self
        assert self.repeats <= self.allowed_repeats, self


class Ledger:
    """One group of workers on one pair of topics.

    Args:
        bootstrap: The broker.
        name: Prefix of the names of group, topics and log files.
        program: The worker.
        folder: For the workers' logs and data.
        group: The consumer group, where the worker's is fixed.
        topics: Input and output topic, where they exist already.
        partitions: Of both topics.
        rate: Events offered a second.
    """

    def __init__(
        self,
        bootstrap: str,
        name: str,
        program: Program,
        folder: Path,
        *,
        group: str | None = None,
        topics: tuple[str, str] | None = None,
        partitions: int = 4,
        rate: int = 2_000,
    ) -> None:
        self.bootstrap = bootstrap
        self.group = group or f"{name}-group"
        self.input, self.output = topics or (f"{name}-in", f"{name}-out")
        self._create = topics is None
        self.folder = folder
        self.rate = rate
        self.partitions = partitions
        self.report = Report()
        self.workers: dict[int, subprocess.Popen[bytes]] = {}
        self.started = 0
        self.answered: list[Counter[int]] = [Counter() for _ in range(partitions)]
        self.front = [0] * partitions
        self.ends = [0] * partitions
        self._program = program
        self._next = 0
        self._places: dict[int, tuple[int, int]] = {}
        self._early: list[int] = []
        self._read_to: dict[TopicPartition, int] = {}
        self._partitioner = DefaultPartitioner()
        self._tasks: list[asyncio.Task[None]] = []
        self._committed = [0] * partitions
        self._last_answer = 0.0

    async def __aenter__(self) -> "Ledger":
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=20_000)
        await self._admin.start()
        if self._create:
            topics = [NewTopic(topic, self.partitions, 1) for topic in (self.input, self.output)]
            await self._admin.create_topics(topics)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, enable_idempotence=True, max_batch_size=1 << 18, **CLIENT
        )
        await self._producer.start()
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50, **CLIENT
        )
        await self._reader.start()
        self._reader.assign([TopicPartition(self.output, partition) for partition in range(self.partitions)])
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._sample())]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reader.stop()
        await self._producer.stop()
        await self._admin.close()

    # Workers.

    def start(self, *extra: str) -> int:
        """Start a worker process; returns its number."""
        number = self.started
        self.started += 1
        with (self.folder / f"{self.group}-{number}.log").open("wb") as log:
            self.workers[number] = subprocess.Popen(
                [*self._program.command(self, number), *extra],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        return number

    def log(self, number: int) -> str:
        """What a worker wrote."""
        return (self.folder / f"{self.group}-{number}.log").read_text()

    async def says(self, number: int, words: str, limit: float = 20.0) -> None:
        """Wait until a worker writes something, once more if it has before."""
        before = self.log(number).count(words)
        async with asyncio.timeout(limit):
            while self.log(number).count(words) == before:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(TICK)

    async def joined(self, number: int, limit: float = 60.0) -> None:
        """Wait until a worker of Doorward's has been given partitions."""
        deadline = time.monotonic() + limit
        while "partitions assigned" not in self.log(number):
            assert time.monotonic() < deadline, f"worker {number} was given no partitions in {limit:.0f} s"
            await asyncio.sleep(0.1)

    async def end(self, number: int, sig: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Signal a worker and wait for it to end; returns its exit code and how long that took."""
        began = time.monotonic()
        self.workers[number].send_signal(sig)
        return await self.ended(number), time.monotonic() - began

    async def ended(self, number: int, limit: float = 40.0) -> int:
        """Wait for a worker to end; returns its exit code."""
        code = await asyncio.to_thread(self.workers[number].wait, limit)
        del self.workers[number]
        self.report.exits.append(code)
        return code

    async def kill(self, number: int) -> None:
        """kill -9, and allow the repeats that may cost."""
        await self.end(number, signal.SIGKILL)
        self.report.allowed_repeats += await self.exposed()

    # Load and progress.

    def offer(self, seconds: float) -> asyncio.Task[None]:
        """Offer events at the ledger's rate for a while."""
        task = asyncio.create_task(self._offer(seconds))
        self._tasks.append(task)
        return task

    async def offer_one(self, tail: bytes) -> tuple[int, int]:
        """Offer one event with something appended to its value; returns its partition and offset."""
        number = self._take_number()
        key, value = self._program.encode(number)
        metadata = await self._producer.send_and_wait(self.input, value + tail, key)
        self._place(metadata.partition, metadata.offset, [number])
        return metadata.partition, metadata.offset

    async def answers(self, more: int, limit: float = 40.0) -> None:
        """Wait until so many more answers were read."""
        goal = self.report.answers + more
        async with asyncio.timeout(limit):
            while self.report.answers < goal:  # noqa: ASYNC110 - counters have no events
                await asyncio.sleep(TICK)

    async def exposed(self) -> int:
        """Offsets answered but not committed, as of now."""
        committed = await self.commits()
        return sum(sum(offset >= committed[p] for offset in self.answered[p]) for p in range(self.partitions))

    def repeats(self) -> int:
        """Answers beyond the first, so far."""
        return self.report.answers - sum(map(len, self.answered))

    async def finish(self, limit: float = 60.0) -> Report:
        """Wait until all is answered and committed, then stop the workers and report."""
        report = self.report
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and not self._settled():  # noqa: ASYNC110 - counters have no events
            await asyncio.sleep(TICK)
        for number in list(self.workers):
            await self.end(number)
        await self.commits()
        report.offered = sum(self.ends)
        report.lost = sum(
            offset not in self.answered[p] for p in range(self.partitions) for offset in range(self.ends[p])
        )
        report.repeats = self.repeats()
        report.committed_to_the_end = self._committed == self.ends
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # an error of the harness is no result
        return report

    # The three loops.

    async def _offer(self, seconds: float) -> None:
        began = time.monotonic()
        every = list(range(self.partitions))
        while (now := time.monotonic() - began) < seconds:
            builders = [self._producer.create_batch() for _ in every]
            numbers: list[list[int]] = [[] for _ in every]
            goal = int(now * self.rate)
            for _ in range(min(goal - self._next, 1_000)):
                number = self._take_number()
                key, value = self._program.encode(number)
                partition = self._partitioner(key, every, every)
                builders[partition].append(key=key, value=value, timestamp=None)
                numbers[partition].append(number)
            sends = []
            for partition, builder in enumerate(builders):
                if numbers[partition]:
                    builder.close()
                    sends.append(await self._producer.send_batch(builder, self.input, partition=partition))
            for metadata in await asyncio.gather(*sends):
                self._place(metadata.partition, metadata.offset, numbers[metadata.partition])
            await asyncio.sleep(TICK)

    def _take_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _place(self, partition: int, base: int, numbers: list[int]) -> None:
        for offset, number in enumerate(numbers, base):
            self._places[number] = partition, offset
        self.ends[partition] = max(self.ends[partition], base + len(numbers))
        early, self._early = self._early, []
        for number in early:
            self._answer(number)

    def _answer(self, number: int) -> None:
        place = self._places.get(number)
        if place is None:  # answered before its own acknowledgement came back
            self._early.append(number)
            return
        partition, offset = place
        seen = self.answered[partition]
        seen[offset] += 1
        while self.front[partition] in seen:
            self.front[partition] += 1

    async def _read(self) -> None:
        while True:
            batches = await self._reader.getmany(timeout_ms=200)
            for partition, records in batches.items():
                for record in records:
                    number = self._program.decode(record)
                    if number is not None:
                        self.report.answers += 1
                        self._answer(number)
                self._read_to[partition] = records[-1].offset + 1
            if batches:
                now = time.monotonic()
                if self._last_answer:
                    self.report.longest_silence = max(self.report.longest_silence, now - self._last_answer)
                self._last_answer = now

    async def _sample(self) -> None:
        before = [0] * self.partitions
        while True:
            committed = await self.commits()
            self.report.samples += 1
            for p in range(self.partitions):
                if committed[p] > self.front[p]:
                    self.report.violations.append(f"partition {p}: {committed[p]} beyond {self.front[p]}")
                if committed[p] < before[p]:
                    self.report.rewinds.append(f"partition {p}: {before[p]} to {committed[p]}")
            before = committed
            await asyncio.sleep(SAMPLE)

    async def commits(self) -> list[int]:
        """The committed offsets, once every answer that existed then was read."""
        while True:
            try:
                offsets = await self._admin.list_consumer_group_offsets(self.group)
                ends = await self._reader.end_offsets(list(self._reader.assignment()))
                break
            except (KafkaError, TimeoutError):  # the broker is away, which may be the test
                await asyncio.sleep(SAMPLE)
        committed = list(self._committed)
        for partition, metadata in offsets.items():
            if metadata.offset >= 0:  # a coordinator that is still loading knows none; that is no commit
                committed[partition.partition] = metadata.offset
        while self._unread(ends):  # noqa: ASYNC110 - counters have no events
            await asyncio.sleep(TICK)
        self._committed = committed
        return committed

    def _settled(self) -> bool:
        return self.front == self.ends and self._committed == self.ends

    def _unread(self, ends: dict[TopicPartition, int]) -> bool:
        return bool(self._early) or any(self._read_to.get(partition, 0) < end for partition, end in ends.items())


def repository() -> Path:
    """The folder worker processes are started in."""
    return Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Worker processes import the package from the work tree."""
    return {**os.environ, "PYTHONPATH": str(repository())}
