"""A worker of the simulation: the application's own parts, on a simulated client.

What runs is what runs in production: `Source`, `Positions`, `Lease`, `Outbox`, `ChunkedTable`, `Replay`, of the
transport all that we override (`Consumer`, `ConsumerThread`), the joins agent with keeper and sweeper, and how `Worker`
wires them. `Beneath` and `ThreadBeneath` stand *below* our overrides, where Faust's classes are asked by `super()`;
with `Recovery` they are this simulation's idea of Faust: eager rebalances, a recovery before the source is resumed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams import app
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core.events import Provenance
from streams.core.index import Index
from streams.runtime import thread as consumer_thread
from streams.runtime.produce import Outbox
from streams.runtime.recovery import Replay
from streams.runtime.source import Lease, Source
from streams.runtime.tables import ChunkedTable
from streams.runtime.thread import ConsumerThread, FetchSettings
from streams.runtime.transport import Consumer
from tests.agents.rig import HOUR, KEY
from tests.core.ledgerworld import BUILDS
from tests.samples import PROVENANCE
from tests.sim.brokers import SESSION_SECONDS
from tests.sim.network import Client, Disk, Files, Gone, Link, Producer
from tests.sim.script import PARTITIONS

if TYPE_CHECKING:
    from tests.sim.world import World

METRICS = Metrics(CollectorRegistry())
CHANGELOG = app.SESSIONS
MARGIN_SECONDS = 1.0
PATIENCE_SECONDS = 1.0
COMMIT_SECONDS = 0.7
HEARTBEAT_SECONDS = SESSION_SECONDS / 4
TICK_SECONDS = 2.0
POLICY = msgspec.structs.replace(PROVENANCE, policy_offset=-1, geo_build="build-0")
SEALER = Sealer([KEY])


class ThreadBeneath(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread, as far as ours calls it."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        await self.app.consumer.taken_on(assigned)

    async def _fetch_records(
        self,
        consumer: Client,
        active: Any,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
        max_records: int,
    ) -> Any:
        return await consumer.fetch(active, timeout)


class Thread(ConsumerThread, ThreadBeneath):
    """Ours, on the simulation's only loop."""

    def __init__(self, worker: "Worker") -> None:
        self.app = worker.app  # type: ignore[assignment]
        self._worker = worker
        self._fetching = asyncio.Lock()
        self.tp_last_committed_at: dict[Any, float] = {}
        self.log = logging.getLogger("faust")

    async def crash(self, exc: BaseException) -> None:
        """Faust ends the application at most errors of a commit."""
        self._worker.die(f"Faust crashed it: {exc!r}")

    def _ensure_consumer(self) -> Any:
        return self._worker.client

    async def call_thread(self, method: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        return await self._run(method(*args))

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Who is cancelled here doesn't cancel what the thread does."""
        return await asyncio.shield(self._worker.start(work))

    def assignment(self) -> Any:
        return self._worker.client.tps

    def highwater(self, tp: TopicPartition) -> int | None:
        return self._worker.client.places[tp].highwater


class Beneath(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, as far as ours calls it. The commit is Faust's own."""

    async def wait_empty(self) -> None:
        await self.commit()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        return False

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        return bool(await self._thread.call_thread(self._thread._commit, offsets))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._active_partitions.clear()
        self.app.recovery.stop()
        self.flow_active = False
        if revoked:
            await self.wait_empty()


class SimConsumer(Consumer, Beneath):
    """Ours, and when Faust would call it."""

    def __init__(self, worker: "Worker") -> None:
        self.app = worker.app  # type: ignore[assignment]
        self._worker = worker
        self._thread = Thread(worker)
        self._active_partitions: set[Any] = set()
        self.flow_active = False
        self._commit_fut = None
        self._loop = worker.world.loop

    async def taken_on(self, assigned: set[TP]) -> None:
        """What Faust does once partitions were assigned."""
        await self._worker.sessions.on_rebalance(assigned, set(), assigned, self.app.consumer_generation_id)
        self.app.recovery.begin(assigned)

    async def poll(self) -> None:
        """Faust's fetcher."""
        while True:
            if not self.flow_active or not self._active_partitions:
                await asyncio.sleep(0.2)
                continue
            await self._getmany(set(self._active_partitions), timeout=PATIENCE_SECONDS)

    async def commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self.commit()


class Recovery:
    """Faust's: which changelogs are read, from where and until where, and what follows."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self.standby_tps: set[Any] = set()
        self.standby_offsets: dict[Any, int] = {}
        self.active_tps: set[Any] = set()
        self.active_offsets: dict[Any, int] = {}
        self.in_recovery = False
        self.signal_recovery_end = asyncio.Event()
        self._highwaters: dict[Any, int] = {}
        self._task: asyncio.Task[None] | None = None

    def need_recovery(self) -> bool:
        return any(end > self.active_offsets[tp] for tp, end in self._highwaters.items())

    def begin(self, assigned: set[TP]) -> None:
        self._task = self._worker.spawn(self._recover(assigned))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.active_tps, self.active_offsets, self._highwaters = set(), {}, {}

    async def _recover(self, assigned: set[TP]) -> None:
        consumer = self._worker.app.consumer
        logs = {tp for tp in assigned if tp.topic == CHANGELOG}
        bounds = await consumer.bounds({TopicPartition(*tp) for tp in logs})
        local = self._worker.sessions.local
        held = {tp: local.persisted_offset(tp) for tp in bounds}
        self.active_offsets = {tp: -1 if offset is None else offset for tp, offset in held.items()}
        self._highwaters = {tp: end - 1 for tp, (_, end) in bounds.items()}
        self.active_tps = set(bounds)
        if self.need_recovery():
            self.in_recovery = True
            consumer._active_partitions = set(logs)
            consumer.flow_active = True
            await self.signal_recovery_end.wait()
        self.in_recovery = False
        consumer._active_partitions = assigned - logs
        consumer.flow_active = True


class Table(ChunkedTable):
    """The sessions' table with another disk, and read back through the simulated network."""

    def __init__(self, worker: "Worker", files: Files) -> None:
        self.app = worker.app  # type: ignore[assignment]
        self.changelog = CHANGELOG
        self.recovered = self.stale = self.undecodable = self.forged = 0
        self._stamps = SEALER
        self._delete_retention_ms = 86_400_000
        self._numbers = {}
        self._overwritten = {}
        self._reached, self._unread = {}, set()
        self._files, self._worker = files, worker

    @property
    def local(self) -> Any:
        return self._files

    async def _read(self, spans: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, list[Any]]:
        brokers = self._worker.world.brokers

        def read() -> dict[TopicPartition, list[Any]]:
            rows = {tp: brokers.log(*tp).rows for tp in spans}
            return {tp: [row for row in rows[tp] if first <= row.offset < end] for tp, (first, end) in spans.items()}

        return await self._worker.link.ask("read", read)


class Chunks:
    """`ChunkChannel`, without Faust's queue."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> Any:
        while True:
            chunk = await self._source.take()
            if chunk is not None:
                return chunk


class Worker(app.Worker):
    """A process, from its start until it dies.

    Args:
        world: where it lives.
        number: which of the workers; its disk is that of the one before it of this number.
    """

    agent_type = JoinsAgent
    keeper_type = SessionKeeper
    sweeper_type = Sweeper
    table_type = Table
    source_type = Source
    outbox_type = Outbox

    def __init__(self, world: "World", number: int, disk: Disk) -> None:
        self.world, self.number = world, number
        self.alive, self.why = True, ""
        self.sandbox, self.clock_shift, self.metrics = False, 0, METRICS
        self._tasks: set[asyncio.Task[Any]] = set()
        self._news = asyncio.Event()
        self._rejoin = asyncio.Event()
        self.followed = 0
        self.link = Link(world, self)
        self.client = Client(world, self, self.link)
        self.speaker = SimpleNamespace(may_speak=False)  # type: ignore[assignment]
        self.progress = SimpleNamespace(applied=lambda *args, **more: None)  # type: ignore[assignment]
        self.instruments = SimpleNamespace(taken_on=lambda count: None, lost=lambda: None)  # type: ignore[assignment]
        self.decider = Decider(Index(), BUILDS["build-0"].facts, self._provenance())
        self.keeper = self.keeper_type(self.decider, SEALER, METRICS, lateness=6 * HOUR, ttl=24 * HOUR, remind=30_000)
        self.sweeper = self.sweeper_type(
            self.decider,
            self.keeper,
            METRICS,
            clock=self.clock,
            ask_turn=lambda: self.app.source.ask_turn(),
            finished=lambda: None,
        )
        self.app = self._made()
        self.sessions = self.table_type(self, Files(disk, lambda: self.alive))
        self.app.consumer = SimConsumer(self)
        self.app.recovery = Recovery(self)
        self.app.replay = Replay({CHANGELOG: self.sessions}, self.app.recovery)
        self.agent = self.agent_type(
            keeper=self.keeper,
            sweeper=self.sweeper,
            table=self.sessions,
            outbox=lambda: self.outbox_type(self.app.batches),
            clock=self.clock,
            metrics=METRICS,
            partitions=len(PARTITIONS),
            max_event_bytes=1 << 20,
            fuse=Fuse(0.05, 100),
        )

    def _provenance(self) -> Provenance:
        return msgspec.structs.replace(POLICY, engine=self._engine(Index()))

    def _made(self) -> Any:
        source = self.source_type(
            {app.JOINS},
            Lease(SESSION_SECONDS, MARGIN_SECONDS),
            lapsed=self._lapsed,
            assigned=self._on_assigned,
            forgotten=self._on_forgotten,
        )
        return SimpleNamespace(
            source=source,
            conf=SimpleNamespace(consumer_auto_offset_reset="earliest"),
            fetch=FetchSettings(),
            client_only=False,
            consumer_generation_id=-1,
            batches=Producer(self.world, self.link),
        )

    def clock(self) -> int:
        return self.world.now()

    # -- life and death ------------------------------------------------------------------------------------------

    def run(self) -> None:
        for task in (self._belong(), self._beat(), self._follow(), self._tick()):
            self.spawn(task)
        self.spawn(self.app.consumer.poll())
        self.spawn(self.app.consumer.commit_now_and_then())
        self.spawn(self.agent.run(Chunks(self.app.source)))

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.world.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start what ends the process where it fails."""
        task = self.start(coroutine)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        exc = None if task.cancelled() else task.exception()
        if exc is not None and not isinstance(exc, Gone):
            self.die(repr(exc))
            self.world.failed(self, exc)

    def die(self, why: str) -> None:
        """As by kill -9."""
        if not self.alive:
            return
        self.alive, self.why = False, why
        for task in self._tasks:
            task.cancel()
        self.world.died(self)

    def _lapsed(self) -> None:
        self.die("the lease has lapsed")
        raise Gone

    async def stop(self) -> None:
        """End in good order, as at a signal."""
        with contextlib.suppress(Gone):
            await self.app.consumer.wait_empty()
            await self.link.ask("leave", lambda: self.world.brokers.group.leave(self))
            self.die("stopped")

    # -- the group -----------------------------------------------------------------------------------------------

    async def _belong(self) -> None:
        """aiokafka's coordination, with Faust's listener."""
        group, thread = self.world.brokers.group, self.app.consumer._thread
        while True:
            joined = await self.link.ask("join", lambda: group.join(self))
            generation, partitions = await joined
            thread.synced_at = consumer_thread.monotonic()
            await asyncio.sleep(self.link.delay(coordinator=True))
            self._rejoin.clear()
            assigned = {TP(topic, n) for n in sorted(partitions) for topic in (app.JOINS, CHANGELOG)}
            self.client.generation = self.app.consumer_generation_id = generation
            self.client.assign({TopicPartition(*tp) for tp in assigned})
            await thread.on_partitions_assigned(assigned, generation)
            await self._rejoin.wait()
            await self.app.consumer.on_partitions_revoked(assigned)

    async def _beat(self) -> None:
        heartbeat = self.app.consumer._thread._leased(self._heartbeat)
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self.client.generation >= 0:
                await heartbeat()

    async def _heartbeat(self) -> bool:
        generation = self.client.generation
        told = await self.link.ask("heartbeat", lambda: self.world.brokers.group.heartbeat(self, generation))
        if told != "fine" and generation == self.client.generation:
            self._rejoin.set()
        return told != "unknown"

    # -- beside the agent ----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read the policy log to its end, open the source, and read on."""
        world = self.world
        while True:
            await asyncio.sleep(self.link.delay())
            log = world.policies
            if len(log) > self.followed:
                fresh, self.followed = log[self.followed :], len(log)
                for revision in fresh:
                    self.decider.index.put(revision)
                last = fresh[-1]
                follower: Any = SimpleNamespace(
                    index=self.decider.index, offset=last.offset, appended_at=last.appended_at
                )
                self._on_applied(follower, fresh)
            if not self.app.source.is_open:
                self.app.source.open()
            await world.published.wait()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.sweeper.tick()

    def is_done(self) -> bool:
        """Whether all that is known to it has been swept and said."""
        return (
            self.followed == len(self.world.policies)
            and self.app.recovery.active_tps <= {TopicPartition(CHANGELOG, p) for p in self.keeper.views}
            and self.app.source.hand is None
            and (not self.keeper.views or self.sweeper.has_swept(len(self.world.policies) - 1))
        )
