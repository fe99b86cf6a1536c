"""Ten times the joins that workers can decide, for a minute. One broker, two workers.

Each event takes workers so long (`tests.chaos.laboured`) that a client on the same machine can offer ten times what
they manage. Afterwards they are let go, and must catch up within the time that the backlog takes at the speed that
they had shown before.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.dev.load import Client
from streams.dev.sandbox import Sandbox
from streams.runtime.config import MAX_FETCH_BYTES
from tests.chaos.laboured import lay_on
from tests.chaos.table import note
from tests.chaos.trials import SteadyStorm, long_form, resident, trial
from tests.integration.backend import Backend

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600), long_form]

RATE = 200
"""Joins a second before and after."""
OVERLOAD = 2_000
"""For a minute; as many leave."""
TIMES = 10
CAPACITY = 150
"""Events a second that each of two workers can decide meanwhile."""
SECONDS = 60.0
WARM_SECONDS = 3.0
LIVE = 5_000
LATENESS_SECONDS = 30
"""Until a worker forgets who left, so that it need not keep all who came during the trial."""
MEMORY_MIB = 256.0
"""By which a worker may grow in all: catching up it remembers whoever left meanwhile, and RocksDB has buffers too."""
EVENT_BYTES = 250
"""At least, of a record of joins."""
SLACK = 2.0
"""On a shared machine: how much longer than computed things may take."""
HELD = 3
"""Fetches of a partition that a worker holds at most: one in hand, one that waits, one in the client's buffer."""
OBJECTS = 8
"""Bytes that a worker takes for a byte fetched: records as objects, what is made of them, batches to send."""


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    environment = {
        "DOORWARD_LATENESS": str(LATENESS_SECONDS),
        "DOORWARD_REMIND": "3600",  # a removal said again looks like an answer given again
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return {"environment": environment, "program": "tests.chaos.laboured"}


@contextmanager
def laden(sandbox: Sandbox, capacity: float) -> Iterator[None]:
    """Let each worker decide so many events a second, no more, until the block is left."""
    for worker in sandbox.workers:
        lay_on(worker.folder, 1 / capacity)
    yield
    for worker in sandbox.workers:
        lay_on(worker.folder, 0)


def lag(sandbox: Sandbox) -> float:
    """What workers say is waiting, records."""
    return sum(worker.scrape(5).get("doorward_lag_records", 0.0) for worker in sandbox.workers)


class _Data(msgspec.Struct):
    order: list[int]


class _Said(msgspec.Struct):
    subject: str
    data: _Data


def out_of_order(sandbox: Sandbox) -> list[str]:
    """Decisions that stand behind one of the same participation with a higher `order`."""
    decode = msgspec.json.Decoder(_Said).decode
    highest: dict[str, list[int]] = {}
    found = []
    for record in sorted(Backend(sandbox.bootstrap).read("decisions", seconds=60), key=lambda record: record.offset):
        said = decode(record.value)
        if said.data.order < highest.get(said.subject, []):
            found.append(f"{said.subject}: {said.data.order} behind {highest[said.subject]}")
        highest[said.subject] = said.data.order
    return found


def answered(client: Client) -> int:
    return len(client.ledger.decisions) + len(client.ledger.dead_letters)


async def caught_up(client: Client, seconds: float) -> float:
    """Wait until all sent up to now is answered; returns the seconds it took."""
    began, wanted = time.monotonic(), client.ledger.wanted()
    while answered(client) < wanted:
        assert time.monotonic() - began < seconds, f"{wanted - answered(client)} still wait after {seconds:.0f} s"
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def memory(sandbox: Sandbox) -> float:
    """Of the largest worker, bytes."""
    return max(resident(worker.pid) for worker in sandbox.workers)


@dataclass
class Course:
    """What is done, and what was measured on the way.

    Attributes:
        rate: joins offered a second at present.
        speed: answers a second that workers gave when they caught up with a first backlog.
        offered: records sent in the minute that get an answer; half of what was sent.
        decided: answers in the minute.
        backlog: answers that waited at its end.
        grown: bytes by which the largest worker grew in the minute.
        allowed: seconds to catch up in.
        took: seconds it took.
        lags: once a second, what workers said was waiting (records) and what did (answers).
    """

    rate: float = RATE
    speed: float = 0.0
    offered: int = 0
    decided: int = 0
    backlog: int = 0
    grown: float = 0.0
    allowed: float = 0.0
    took: float = 0.0
    lags: list[tuple[float, int]] = field(default_factory=list)

    async def inflict(self, sandbox: Sandbox, client: Client) -> int:
        await self.overload(sandbox, WARM_SECONDS)
        waiting = client.ledger.wanted() - answered(client)
        self.speed = waiting / await caught_up(client, 60)
        watching = asyncio.create_task(self.watch(sandbox, client))
        sent, made, small = client.ledger.wanted(), answered(client), memory(sandbox)
        await self.overload(sandbox, SECONDS)
        self.offered, self.decided = client.ledger.wanted() - sent, answered(client) - made
        self.backlog, self.grown = client.ledger.wanted() - answered(client), memory(sandbox) - small
        self.allowed = SLACK * self.backlog / self.speed + 10
        self.took = await caught_up(client, self.allowed)
        await asyncio.sleep(3)
        watching.cancel()
        return 1

    async def overload(self, sandbox: Sandbox, seconds: float) -> None:
        self.rate = OVERLOAD
        with laden(sandbox, CAPACITY):
            await asyncio.sleep(seconds)
        self.rate = RATE

    async def watch(self, sandbox: Sandbox, client: Client) -> None:
        while True:
            said = await asyncio.to_thread(lag, sandbox)
            self.lags.append((said, client.ledger.wanted() - answered(client)))
            await asyncio.sleep(1)


def test_ten_times_what_workers_can_decide_is_waited_for_in_bounded_memory(sandbox: Sandbox) -> None:
    course = Course()
    outcome = asyncio.run(
        trial(
            sandbox,
            SteadyStorm(LIVE),
            "10x overload for 60 s",
            lambda client: course.inflict(sandbox, client),
            rate=lambda: course.rate,
        )
    )
    print(course, outcome)
    outcome.check()
    assert course.offered > TIMES * course.decided
    bound = HELD * OBJECTS * sandbox.partitions * MAX_FETCH_BYTES
    assert course.backlog * EVENT_BYTES > bound, "who held all that waits would be found out"
    assert course.grown < bound
    assert outcome.memory < MEMORY_MIB
    assert outcome.restarts == outcome.duplicates == 0
    assert out_of_order(sandbox) == []
    gauge = [said for said, _ in course.lags]
    assert max(gauge) > course.backlog / 2
    assert gauge[-1] < RATE
    note(outcome)
