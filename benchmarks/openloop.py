"""An open loop: joins that come due by a schedule of their own, and when each one's decision was read.

The load client of ``benchmarks.latency``, a program of its own so that it can be pinned. It takes one JSON line a run
on stdin and answers with one on stdout (``main``).

How it works. A thread sleeps from one instant of the schedule (``benchmarks.schedule``) to the next and wakes the loop;
whatever answers come, nothing moves it. A join's latency runs from when it was *due*, so a stall counts for everyone
who came due in it (coordinated omission), be it a stall of ours: how late we handed joins over is kept in a histogram
of its own.

It shares cores with brokers, so it does little for a join. Events are templates into which a number is written; they
go straight into batches, one in flight per partition, and what comes due meanwhile goes with the next. Answers are
found by that number, which is the event's id and stands in the decision, by a search for bytes. Instants go into
arrays; histograms are made of them afterwards. No garbage is collected in a run.
"""

import argparse
import asyncio
import json
import random
import sys
import threading
import time
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from benchmarks.schedule import Templates, arrivals, drawn, histogram, looks, number_in
from benchmarks.stage import TICK, cpu_seconds
from benchmarks.standins import no_garbage_collected

FETCH_PACE: Final = 0.001
"""Seconds between two looks at what was answered, at least: finer ones would take more of the core than they show."""
LEAVES: Final = 3
"""Of ten joins, how many are followed by their leave, as in ``streams.dev.traffic``."""
STAY: Final = 5.0
"""Seconds between such a join and its leave."""
SETTLE_SECONDS: Final = 30.0
"""How long answers may take once everything has been sent."""
REACH_SECONDS: Final = 60.0
"""How long a program may take until it answers."""
REACH_EVERY: Final = 0.1
FLOOD_PACE: Final = 0.005
MOST: Final = 60_000
"""Answers a second that a flood makes room for."""
WINDOW: Final = 20_000
"""Unanswered joins in a flood: more than the worker takes at once, so that it never waits for us."""


# -- what this machine does meanwhile --------------------------------------------------------------------------------


def machine_seconds() -> tuple[float, float]:
    """CPU time that this machine has used so far, on all cores, and what its host has kept from it."""
    user, nice, system, _, _, irq, softirq, stolen = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICK, int(stolen) / TICK


class Gauge:
    """What groups of processes use between two instants, in shares of one core; what others do, and the host keeps."""

    def __init__(self, groups: dict[str, list[int]]) -> None:
        self._groups = groups
        self._read = self._now()

    def _now(self) -> dict[str, float]:
        used = {name: sum(map(cpu_seconds, pids)) for name, pids in self._groups.items()}
        machine, stolen = machine_seconds()
        others = machine - sum(used.values())
        return {"seconds": time.monotonic(), **used, "others": others, "stolen": stolen}

    def shares(self) -> dict[str, float]:
        """Since it was made."""
        now = self._now()
        spent = {name: now[name] - before for name, before in self._read.items()}
        wall = spent.pop("seconds")
        return {name: used / wall for name, used in spent.items()}


# -- the client ------------------------------------------------------------------------------------------------------


def instants_of(joins: int) -> "array[float]":
    """Room for an instant of each; 0 until it has come."""
    return array("d", bytes(8 * joins))


class Clock(threading.Thread):
    """Wakes the event loop by a plan, from a thread: the loop's own timers go by whole milliseconds.

    Args:
        begin: of the plan, monotonic seconds.
        plan: instants from then, and what to call back with.
        look: called in the loop.
    """

    def __init__(self, begin: float, plan: Sequence[tuple[float, int]], look: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self._begin, self._plan, self._look = begin, plan, look
        self._loop = asyncio.get_running_loop()

    def run(self) -> None:
        for at, upto in self._plan:
            early = self._begin + at - time.monotonic()
            if early > 0:
                time.sleep(early)
            self._loop.call_soon_threadsafe(self._look, upto)


class Lane:
    """One partition's batches: one in flight, and those that are being filled meanwhile."""

    def __init__(self, producer: AIOKafkaProducer, partition: int) -> None:
        self._producer = producer
        self._partition = partition
        self._open: list[tuple[Any, list[int]]] = []  # builders, and places of the joins in them
        self._sending: asyncio.Task[None] | None = None

    def add(self, place: int, key: bytes, value: bytes) -> None:
        """Put a record into a batch; -1 for the place of what is no join."""
        if not self._open or self._open[-1][0].append(key=key, value=value, timestamp=None) is None:
            self._open.append((self._producer.create_batch(), []))
            self._open[-1][0].append(key=key, value=value, timestamp=None)
        if place >= 0:
            self._open[-1][1].append(place)

    def flush(self, acknowledged: Callable[[Sequence[int]], None]) -> None:
        """Send what there is, unless that is being done; tells of the joins of each batch that brokers have.

        Raises:
            KafkaError: brokers did not take what was sent before.
        """
        if self._sending is None or self._sending.done():
            if self._sending is not None:
                self._sending.result()
            self._sending = asyncio.ensure_future(self._send(acknowledged)) if self._open else None

    async def _send(self, acknowledged: Callable[[Sequence[int]], None]) -> None:
        while self._open:
            builder, places = self._open.pop(0)
            builder.close()
            await (await self._producer.send_batch(builder, "joins", partition=self._partition))
            acknowledged(places)

    async def empty(self) -> None:
        """Wait until brokers have everything. Raises KafkaError."""
        if self._sending is not None:
            await self._sending


class Loop:
    """Sends joins and notes when each was handed over, acknowledged and answered.

    Args:
        bootstrap: the brokers.
        partitions: of ``joins``.
        templates: what joins look like.
    """

    def __init__(self, bootstrap: str, partitions: int, templates: Templates) -> None:
        self._templates = templates
        self._partitions = partitions
        self._bootstrap = bootstrap
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=0, max_batch_size=1 << 20, request_timeout_ms=30_000
        )
        self._lanes = [Lane(self._producer, partition) for partition in range(partitions)]
        self._begin(0)

    def _begin(self, joins: int) -> None:
        """A run of so many joins at most, under numbers of its own."""
        self._first = self._first + len(self._answered) if hasattr(self, "_first") else 0
        self._answered, self._acknowledged = instants_of(joins), instants_of(joins)
        self._answers = 0
        self._wanted: int | None = None  # answers, once it is known how many there will be
        self._settled = asyncio.Event()

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()

    # -- within a run ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _reading(self, topic: str) -> AsyncIterator[None]:
        """Answers are read in the block, from where the topic ends now."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, fetch_max_wait_ms=100, max_partition_fetch_bytes=1 << 20
        )
        await consumer.start()
        partitions = [TopicPartition(topic, partition) for partition in range(self._partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        reading = asyncio.ensure_future(self._read(consumer))
        try:
            yield
        finally:
            reading.cancel()
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        first, answered = self._first, self._answered
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            now = time.monotonic()
            for records in batches.values():
                for record in records:
                    index = number_in(record.value) - first
                    if 0 <= index < len(answered) and not answered[index]:
                        answered[index] = now
                        self._answers += 1
            if self._answers == self._wanted:
                self._settled.set()
            await asyncio.sleep(FETCH_PACE)

    async def _settle(self, wanted: int) -> None:
        """Wait a while for so many answers. Raises KafkaError where brokers did not take what was sent."""
        for lane in self._lanes:
            await lane.empty()
        self._wanted = wanted
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS if self._answers < wanted else 0):
                await self._settled.wait()

    def _put(self, begin: int, end: int, leave_after: int) -> None:
        """Send the joins at these places in the run, and the leaves that follow some of earlier ones."""
        for place in range(begin, end):
            self._add(place, self._templates.join(self._first + place))
            leaving = place - leave_after
            if leaving >= 0 and leaving % 10 < LEAVES:
                self._add(-1, self._templates.leave(self._first + leaving))
        for lane in self._lanes:
            lane.flush(self._note_acknowledged)

    def _add(self, place: int, made: tuple[int, bytes, bytes]) -> None:
        partition, key, value = made
        self._lanes[partition].add(place, key, value)

    def _note_acknowledged(self, places: Sequence[int]) -> None:
        now = time.monotonic()
        for place in places:
            self._acknowledged[place] = now

    # -- commands ----------------------------------------------------------------------------------------------------

    async def reach(self, topic: str) -> dict[str, Any]:
        """Return once a join is answered: whoever answers has started."""
        self._begin(joins := int(REACH_SECONDS / REACH_EVERY))
        async with self._reading(topic):
            for place in range(joins):
                self._put(place, place + 1, joins)
                await asyncio.sleep(REACH_EVERY)
                if self._answers:
                    break
            await asyncio.sleep(1.0)  # what else it is busy with at its start, and answers to the others
        return {"reached": self._answers > 0}

    async def run(
        self, topic: str, rate: float, warm: float, seconds: float, groups: dict[str, list[int]]
    ) -> dict[str, Any]:
        """An open loop for ``warm + seconds``; what came due in the latter counts.

        Returns:
            ``shares`` of a core by group, ``missing`` answers, and three histograms, encoded: from due to read
            (``latency``), to handed over (``lateness``) and to ``acknowledged``.
        """
        due = arrivals(rate, warm + seconds, random.Random(rate))
        handed, leave_after = instants_of(len(due)), max(1, round(rate * STAY))
        self._begin(len(due))
        with no_garbage_collected():
            async with self._reading(topic):
                begin = time.monotonic() + 0.2
                sent, over = 0, asyncio.Event()

                def look(upto: int) -> None:
                    nonlocal sent
                    now = time.monotonic()
                    for place in range(sent, upto):
                        handed[place] = now
                    self._put(sent, upto, leave_after)
                    sent = upto
                    if sent == len(due):
                        over.set()

                Clock(begin, looks(due), look).start()
                await asyncio.sleep(begin + warm - time.monotonic())
                gauge = Gauge(groups)
                await asyncio.sleep(seconds)
                shares = gauge.shares()
                await over.wait()
                await self._settle(len(due))
        which = [place for place, at in enumerate(due) if at >= warm]
        missing = sum(not self._answered[place] for place in which)
        columns = {"latency": self._answered, "lateness": handed, "acknowledged": self._acknowledged}
        since = {
            name: histogram(column[place] - begin - due[place] for place in which if column[place]).encode().decode()
            for name, column in columns.items()
        }
        return {"shares": shares, "missing": missing, **since}

    async def flood(self, topic: str, warm: float, seconds: float, groups: dict[str, list[int]]) -> dict[str, Any]:
        """A closed loop: ``WINDOW`` joins always unanswered, so that as many are answered as can be.

        Returns:
            Answers a second after ``warm`` (``rate``), ``shares`` of a core by group, ``missing`` answers.
        """
        self._begin(most := int((warm + seconds) * MOST))
        sent = 0
        async with self._reading(topic):
            begin = time.monotonic()
            gauge, before = None, 0
            while (now := time.monotonic()) < begin + warm + seconds:
                if gauge is None and now >= begin + warm:
                    gauge, before, since = Gauge(groups), self._answers, now
                room = min(WINDOW - (sent - self._answers), most - sent)
                self._put(sent, sent + room, WINDOW)
                sent += room
                await asyncio.sleep(FLOOD_PACE)
            rate, shares = (self._answers - before) / (now - since), gauge.shares()
            await self._settle(sent)
        return {"rate": rate, "shares": shares, "missing": sent - self._answers}


async def serve(bootstrap: str, partitions: int) -> None:
    """Answer commands until stdin ends."""
    loop = Loop(bootstrap, partitions, Templates(drawn(), partitions))
    await loop.start()
    lines = asyncio.get_running_loop()
    while line := await lines.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        answer = await getattr(loop, asked.pop("do"))(**asked)
        print(json.dumps(answer), flush=True)
    await loop.stop()


def main() -> None:
    """``{"do": "run", "topic": …, "rate": …, "warm": …, "seconds": …, "groups": {NAME: [PID, …]}}``, or ``flood``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bootstrap")
    parser.add_argument("--partitions", type=int, default=4)
    given = parser.parse_args()
    uvloop.run(serve(given.bootstrap, given.partitions))


if __name__ == "__main__":
    main()
