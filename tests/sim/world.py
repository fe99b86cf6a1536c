"""The world: plays a script on workers and brokers, then heals it, waits until all is quiet and asks the oracle."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import structlog

from streams.agents import sessions, sweeps
from streams.core.index import Revision
from streams.runtime import source, tables, thread, transport
from tests import samples
from tests.samples import NOON
from tests.sim.brokers import Brokers
from tests.sim.network import Disk
from tests.sim.oracle import JOINS, Oracle, Violated
from tests.sim.script import PARTITIONS, SPAN, Crash, Fault, Script
from tests.sim.timeline import Timeline
from tests.sim.worker import CHANGELOG, Worker

QUIET_SECONDS = 120.0
"""After so long without faults everything must have been answered."""


class World:
    """One run.

    Args:
        script: what happens.
        worker_type: what workers are; another one is planted.
    """

    def __init__(self, script: Script, loop: Timeline, worker_type: type[Worker] = Worker) -> None:
        self.script, self.loop = script, loop
        self.random = Random(script.seed + 1)
        self.oracle = Oracle()
        self.brokers = Brokers(self.random, PARTITIONS, self.oracle.appended, self.oracle.committing)
        self.policies: list[Revision] = []
        self.published = asyncio.Event()  # pulsed
        self.workers: dict[int, Worker] = {}
        self.disks = {n: Disk() for n in range(script.workers)}
        self.ends: list[str] = []
        self._worker_type = worker_type
        self._began = loop.time()
        self._moments: Counter[tuple[str, str]] = Counter()
        self._is_healed = False

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return NOON + round((self.loop.time() - self._began) * 1000)

    # -- what workers and their links tell -----------------------------------------------------------------------

    def moment(self, worker: Worker, request: str, moment: str) -> None:
        """A request has got so far; perhaps its worker dies of it."""
        if self._is_healed or not self.script.crashes:
            return
        self._moments[request, moment] += 1
        if Crash(request, moment, self._moments[request, moment]) in self.script.crashes:
            worker.die(f"crash when {request} is {moment}")

    def died(self, worker: Worker) -> None:
        self.ends.append(f"{self.now() - NOON} ms: worker {worker.number}: {worker.why}")
        if self.random.random() < 0.2:
            self.disks[worker.number] = Disk()
        self.loop.call_later(self.random.uniform(0.05, 3.0), self._start, worker.number)

    def failed(self, worker: Worker, exc: BaseException) -> None:
        """It ended by an exception. There is one by which it may, when another has taken its partition over."""
        if not isinstance(exc, tables.SupersededError | TimeoutError):
            self.oracle.found.append(f"worker {worker.number} ended by {exc!r}")

    def _start(self, number: int) -> None:
        worker = self.workers[number] = self._worker_type(self, number, self.disks[number])
        worker.run()

    # -- playing -------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Play the script.

        Raises:
            Violated: What must hold does not.
        """
        loop, script = self.loop, self.script
        for number in self.disks:
            loop.call_later(self.random.choice([0.0, 0.0, 3.0]), self._start, number)
        for event in script.events:
            loop.call_later(event.at, self._send, event)
        for at, value in script.documents:
            loop.call_later(at, self._publish, value)
        for fault in script.faults:
            loop.call_later(fault.at, self._befall, fault)
        looking = loop.create_task(self._look())
        await asyncio.sleep(SPAN)
        self._is_healed = True
        await self._quiet()
        looking.cancel()
        self._judge()
        for worker in self.workers.values():
            for task in worker._tasks:
                task.cancel()

    def _send(self, event: Any) -> None:
        log = self.brokers.log(JOINS, event.partition)
        log.append(event.key, event.value, None, self.now())
        self.oracle.sent(log.rows[-1])
        self.brokers.news.set()
        self.brokers.news.clear()

    def _publish(self, value: dict[str, Any]) -> None:
        self.policies.append(samples.revision(value, offset=len(self.policies), appended_at=self.now()))
        self.published.set()
        self.published.clear()

    def _befall(self, fault: Fault) -> None:
        worker, now = self.workers.get(fault.worker), self.loop.time()
        if fault.what == "compact":
            for partition in PARTITIONS:
                self.brokers.log(CHANGELOG, partition).compact()
        elif fault.what == "mark":
            for partition in PARTITIONS:
                self.brokers.log(JOINS, partition).mark()
        elif fault.what == "rebalance":
            self.brokers.group.rebalance()
        elif worker is not None and worker.alive:
            match fault.what:
                case "kill":
                    worker.die("killed")
                case "stop":
                    worker.spawn(worker.stop())
                case "cut":
                    worker.link.cut = now + fault.value
                case "mute":
                    worker.link.muted = now + fault.value
                case "jam":
                    worker.link.jammed = now + fault.value
                    self.loop.call_later(0.5, self.brokers.group.rebalance)
                case "slow":
                    worker.link.slow, worker.link.slow_until = fault.value, now + 3.0

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.brokers.group.look()

    async def _quiet(self) -> None:
        async with asyncio.timeout(QUIET_SECONDS):
            calm = 0
            while calm < 3:
                await asyncio.sleep(1.0)
                calm = calm + 1 if self._is_quiet() else 0

    def _is_quiet(self) -> bool:
        brokers, workers = self.brokers, self.workers.values()
        logs = [brokers.log(JOINS, partition) for partition in PARTITIONS]
        return (
            all(brokers.committed.get(log.tp, 0) >= log.end for log in logs)
            and brokers.group.is_stable
            and len(workers) == len(self.disks)
            and all(w.alive and w.client.generation == brokers.group.generation and w.is_done() for w in workers)
            and {partition for w in workers for partition in w.keeper.views} == set(PARTITIONS)
        )

    def _judge(self) -> None:
        oracle, now = self.oracle, self.now()
        oracle.close(self.brokers, self.policies, now)
        newcomer = self._worker_type(self, -1, Disk()).sessions
        for partition in PARTITIONS:
            wanted = oracle.uninterrupted(partition, self.policies, now)
            newcomer.local.open(partition, lambda mark, was_closed: None, 0)
            if rows := self.brokers.log(CHANGELOG, partition).rows:
                newcomer.recover(partition, rows)
            oracle.compare(dict(newcomer.rows(partition)), wanted, "on the changelog")
            for worker in self.workers.values():
                if partition in worker.keeper.views:
                    oracle.compare(dict(worker.sessions.rows(partition)), wanted, "on its owner's disk")
        if newcomer.forged:
            oracle.found.append(f"{newcomer.forged} of the workers' own records are taken for forged")
        if oracle.found:
            raise Violated(oracle.found[0])


@contextmanager
def _bent(loop: Timeline, script: Script) -> Iterator[None]:
    """Modules that ask the machine for the time ask the loop; shares of work are small."""
    told: list[tuple[Any, str, Any]] = [
        (source, "monotonic", loop.time),
        (source, "LEASE_POLL_SECONDS", 0.2),
        (source, "LARGE", script.large),
        (thread, "monotonic", loop.time),
        (transport, "IDLE_SECONDS", 0.2),
        (tables, "time", lambda: NOON / 1000 + loop.time()),
        (sweeps, "time", SimpleNamespace(perf_counter=loop.time)),
        (sweeps, "TURN_SECONDS", -1),
        (sweeps, "LOOK", 2),
        (sweeps, "SLICE", 3),
        (sessions, "LOAD_SLICE", 2),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in told]
    logs, level = structlog.get_config(), logging.root.manager.disable
    for module, name, value in told:
        setattr(module, name, value)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
        structlog.configure(**logs)
        for module, name, value in before:
            setattr(module, name, value)


def run(seed: int, worker_type: type[Worker] = Worker) -> World:
    """Play the run of a seed.

    Raises:
        Violated: What must hold does not.
    """
    loop = Timeline()
    gc.disable()  # a world is one big circle; it goes when its run is over
    script = Script(seed)
    with _bent(loop, script):
        try:
            world = World(script, loop, worker_type)
            try:
                loop.run_until_complete(world.play())
            except TimeoutError:
                what = world.oracle.found or ["it never came to an end"]
                raise Violated(what[0]) from None
        finally:
            loop.close()
            gc.enable()
    return world
