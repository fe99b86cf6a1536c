"""A trial: a fault done to a sandbox under load, what came of it, and what must hold after any fault.

The load generator sends all the while and keeps its own account of what it got; when all is answered, `doorward verify`
reads the topics and checks the five invariants for itself. So an outcome rests on two accounts that share nothing but
the brokers: what a client saw, and what is written.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from streams.adapters.geo import shipped
from streams.dev.authority import AUDIENCE
from streams.dev.load import Client, Ledger, percentile
from streams.dev.sandbox import GROUP, Sandbox
from streams.dev.traffic import Addresses, Made, Traffic
from tests.integration.backend import Backend
from tests.integration.calls import document, push

LONG = os.environ.get("CHAOS") == "long"
long_form = pytest.mark.skipif(
    not LONG, reason="minutes each, mostly waiting for time-outs that brokers and workers have; `make chaos` runs it"
)

ACCOUNTS = ["visits", "exams"]
Sandboxed = TypeVar("Sandboxed", bound=Sandbox)
BURST_SLICE = 1_000
"""Malformed records added to one tick's batch of a burst."""
SLICE_SECONDS = 0.5
LOOK = 0.25
COMMITTED_SECONDS = 30.0


@contextmanager
def deployed(sandbox: Sandboxed) -> Iterator[Sandboxed]:
    """Start a sandbox, and give each account its document."""
    with sandbox as started:
        for account in ACCOUNTS:
            push(started, document(account))
        yield started


class Storm(Traffic):
    """Traffic of which one record in a thousand is malformed, and bursts of nothing else on request.

    One for a sandbox's whole life: another would use the same participations again.

    Attributes:
        owed: malformed records that the next batches bring besides.
    """

    def __init__(self) -> None:
        rng = random.Random(6)
        super().__init__(Addresses(shipped(), rng, networks=500), rng, ACCOUNTS, meetings=400)
        self.owed = 0

    def batch(self, joins: int, now: str) -> list[Made]:
        made = super().batch(joins, now)
        burst = min(self.owed, BURST_SLICE)
        self.owed -= burst
        return made + [self._malformed() for _ in range(burst)]


class SteadyStorm(Storm):
    """A storm in which people leave as fast as others come: what workers hold stays the same however long it goes on.

    Args:
        live: people in meetings.
    """

    def __init__(self, live: int) -> None:
        super().__init__()
        self._most = live

    def batch(self, joins: int, now: str) -> list[Made]:
        made = super().batch(joins, now)
        return made + [self._leave() for _ in range(len(self._live) - self._most)]


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        fault: its name.
        times: how often it was done.
        events: records sent.
        dead_letters: of them, by the client's account.
        duplicates: decisions with the id of one before; a removal said again has one of its own.
        lost: records without the answer they must get.
        gap: the longest time in which no answer came on one of the partitions while the load went on, seconds.
        p99: from sending a record to reading its answer, seconds.
        memory: by which the largest worker grew during the trial, MiB.
        restarts: of workers, whoever ended them; of those that were there at the end.
        account: what `doorward verify` found.
    """

    fault: str
    times: int
    events: int
    dead_letters: int
    duplicates: int
    lost: int
    gap: float
    p99: float
    memory: float
    restarts: int
    account: dict[str, Any]

    def check(self) -> None:
        """What holds after any fault."""
        assert self.events > 0
        assert self.lost == 0, self
        assert not self.account["violations"], self.account
        assert self.account["waiting"] == 0, self.account
        assert self.account["events"] >= self.events
        assert self.account["proven"] == self.account["decisions"] > 0, self.account["unprovable"]


async def trial(
    sandbox: Sandbox,
    storm: Storm,
    fault: str,
    inflict: Callable[[Client], Awaitable[int]],
    *,
    rate: float | Callable[[], float],
    after: float = 2.0,
    patience: float = 60.0,
    around: str | None = None,
) -> Outcome:
    """Do something to a sandbox under load.

    Args:
        sandbox: where.
        storm: its traffic.
        fault: what the outcome is called.
        inflict: does it, undoes it where it has to be undone, and returns how often it was done.
        rate: joins offered a second, from a second before the fault begins; asked twice a second where it changes.
        after: seconds the load goes on when it is over.
        patience: seconds within which all must be answered then.
        around: where the client and the oracle find the brokers, when the fault is only for the workers.
    """
    bootstrap = around or sandbox.bootstrap
    restarts = {worker.id: worker.restarts for worker in sandbox.workers}
    async with Client(bootstrap, storm, sandbox.partitions) as client:
        began, sizes = time.monotonic(), _Sizes(sandbox)
        watch = asyncio.create_task(sizes.watch())
        over = asyncio.Event()
        load = asyncio.create_task(_offered(client, rate, over))
        try:
            await asyncio.sleep(1)
            times = await inflict(client)
            await asyncio.sleep(after)
        finally:
            over.set()
            await load
            ended = time.monotonic()
        await client.settle(patience)
        watch.cancel()
        ledger = client.ledger
        assert not ledger.failed, ledger.failed
        return Outcome(
            fault=fault,
            times=times,
            events=len(ledger.sent),
            dead_letters=len(ledger.dead_letters),
            duplicates=sum(_repeats(said) for said in ledger.decisions.values()),
            lost=await asyncio.to_thread(_lost, ledger, bootstrap),
            gap=max(silence(ledger, partition, began, ended) for partition in range(sandbox.partitions)),
            p99=percentile(ledger.latencies(), 0.99),
            memory=sizes.growth / 2**20,
            restarts=sum(worker.restarts - restarts.get(worker.id, 0) for worker in sandbox.workers),
            account=await asyncio.to_thread(_verified, sandbox, bootstrap),
        )


def _lost(ledger: Ledger, bootstrap: str) -> int:
    """Records whose answer is not on the topics.

    The client knows an answer by the offset in its `order`. That can be a later event's: where a crash comes between
    a session's acknowledgement and its decision's, the record read again is an older event then, and answered as one.
    So what the client misses is looked for by the event's id before it counts as lost.
    """
    missing = ledger.missing()
    if not missing:
        return 0
    answered = {json.loads(record.value)["data"]["event"]["id"] for record in Backend(bootstrap).read("decisions")}
    lost = 0
    for place in missing:
        made, _ = ledger.sent[place]
        buried = made.expect == "decision" or place in ledger.dead_letters
        decided = made.expect == "dead_letter" or json.loads(made.value)["id"] in answered
        lost += not (buried and decided)
    return lost


def _repeats(said: list[tuple[bytes, float]]) -> int:
    return len(said) - len({json.loads(value)["id"] for value, _ in said}) if len(said) > 1 else 0


async def _offered(client: Client, rate: float | Callable[[], float], over: asyncio.Event) -> None:
    while not over.is_set():
        await client.send(rate() if callable(rate) else rate, SLICE_SECONDS)


def silence(ledger: Ledger, partition: int, began: float, ended: float) -> float:
    """The longest time without an answer on a partition from the first one to the load's end, or the next after it."""
    answered = sorted(said[0][1] for (place, _), said in ledger.decisions.items() if place == partition)
    moments = [at for at in answered if began <= at <= ended] + [at for at in answered if at > ended][:1]
    return max((after - before for before, after in pairwise(moments)), default=ended - began)


class _Sizes:
    """How much memory workers hold (resident, bytes); a process started anew counts from its own first size."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._first: dict[int, int] = {}
        self.growth = 0

    async def watch(self) -> None:
        while True:
            for worker in self._sandbox.workers:
                with suppress(OSError, IndexError):  # it ended just now
                    size = resident(worker.pid)
                    first = self._first.setdefault(worker.pid, size)
                    self.growth = max(self.growth, size - first)
            await asyncio.sleep(LOOK)


def resident(pid: int) -> int:
    """Bytes (proc_pid_statm(5): the second figure, in pages)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _verified(sandbox: Sandbox, bootstrap: str) -> dict[str, Any]:
    """What `doorward verify` says once workers have committed all there is."""
    deadline = time.monotonic() + COMMITTED_SECONDS
    while True:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "streams.cli.main", "verify", "--json", "--grace", "5", "--group", GROUP),
                *("--bootstrap", bootstrap),
                *("--trust", str(sandbox.authority.trust), "--audience", AUDIENCE),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        account: dict[str, Any] = json.loads(done.stdout)
        if not account["waiting"] or time.monotonic() > deadline:
            return account
