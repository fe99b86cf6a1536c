"""The composition root: the only file that wires everything.

``run`` starts a worker: settings → files (trust, geo) → the broker and its topics, checked → the Faust application
with its joins agent → the policy log read to its end → joins consumed. What cannot be had ends the start with
``Unavailable`` and one line that names the setting; nothing is half started.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn

import msgspec
import structlog
from aiokafka.errors import KafkaError

from streams import __version__
from streams.adapters import health, logs, topics
from streams.adapters.anonymity import ANY_FILE
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.agents import needs
from streams.agents.decider import Decider
from streams.agents.geography import Geography
from streams.agents.instruments import Instruments
from streams.agents.joins import DEAD_LETTERS, Fuse, JoinsAgent
from streams.agents.needs import Unavailable
from streams.agents.policies import PolicyFollower
from streams.agents.policylog import Applied, PolicyLog, Taken
from streams.agents.progress import Progress
from streams.agents.sessions import SessionKeeper
from streams.agents.speaker import STATUS, Speaker
from streams.agents.sweeps import REST_SECONDS, Sweeper
from streams.agents.trustwatch import TrustWatch
from streams.core import status
from streams.core.events import Provenance
from streams.core.index import Index, Revision
from streams.runtime import process
from streams.runtime.application import ChunkedApp
from streams.runtime.config import client_options, faust_options
from streams.runtime.produce import Outbox, RecordTooLargeError
from streams.runtime.thread import FetchSettings
from streams.settings import Settings
from streams.wire.announced import Announced
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS
from streams.wire.trust import TrustSet

__all__ = ["Unavailable", "Worker", "run"]

JOINS: Final = "joins"
SESSIONS: Final = "doorward-sessions-changelog"
LOOK_SECONDS: Final = 1.0
"""Between two looks at gauges, at the trust set's file and at geo files."""
SAY_AGAIN_SECONDS: Final = 1.0
"""How soon what could not be said is tried again."""
TICK_SECONDS: Final = 0.5
"""How often sweeps look at the clock."""
TAKEN_ON_SECONDS: Final = 0.02
"""How often a start looks whether its partitions are loaded."""

log = structlog.get_logger(__name__)


class Worker:
    """One worker: owns what is opened, and the tasks that run beside Faust's agents.

    Args:
        settings: of the environment.
        clock_shift: ms added to the clock; only the sandbox gives one, and decisions then say so (ruling 29).
        sandbox: whether keys approve and anonymity files count at once, whatever their age (rulings 32 and 33); only
            the sandbox says so, and decisions then do from the first service document on.

    Raises:
        Unavailable: see there.
    """

    def __init__(self, settings: Settings, *, clock_shift: int = 0, sandbox: bool = False) -> None:
        self.settings = settings
        self.clock_shift = clock_shift
        self.sandbox = sandbox
        self.metrics = Metrics()
        standards = ANY_FILE if sandbox else settings.standards()
        geo, manifest = needs.geography(settings.geo, settings.geo_manifest, standards, self.clock())
        trust_file, trust = needs.trust_set(settings.trust)
        self.tracing = needs.tracing(
            settings.tracing_endpoint, ratio=settings.tracing_ratio, cap=settings.tracing_cap, worker=settings.worker
        )
        connection = settings.connection()
        self.partitions = needs.partitions_of_joins(connection)
        self.metrics.joins_partitions.set(self.partitions)
        self._credentials = connection.faust_credentials()
        self._client_options = client_options(
            bootstrap=settings.kafka_bootstrap, client_id=settings.worker, credentials=self._credentials
        )
        meaning = settings.meaning(trust.digest, vocabulary().edition, sandbox=sandbox)
        needs.room(settings.data)
        self.table = needs.policy_table(settings.data, meaning)
        index = Index()
        engine = self._engine(index)
        provenance = Provenance(-1, geo.build, geo.time, settings.contest, engine, settings.language)
        self.decider = Decider(index, geo.facts, provenance)
        self._sealer = needs.sealer(settings.seal_keys)
        self.keeper = SessionKeeper(
            self.decider,
            self._sealer,
            self.metrics,
            lateness=round(settings.lateness * 1000),
            ttl=round(settings.session_ttl * 1000),
            remind=round(settings.remind * 1000),
        )
        self._news = asyncio.Event()  # something may have to be said
        self.sweeper = Sweeper(
            self.decider,
            self.keeper,
            self.metrics,
            clock=self.clock,
            ask_turn=lambda: self.app.source.ask_turn(),
            finished=self._on_swept,
            rest=REST_SECONDS,
        )
        self.progress = Progress(
            worker=settings.worker,
            sweeper=self.sweeper,
            metrics=self.metrics,
            clock=self.clock,
            clock_shift=clock_shift,
        )
        self.announced = Announced()
        self.speaker = Speaker(table=self.table, announced=self.announced, say=self._say)
        self.geography = Geography(
            geo,
            manifest,
            max_change=settings.geo_max_change,
            decider=self.decider,
            sweeper=self.sweeper,
            speaker=self.speaker,
            metrics=self.metrics,
            worker=settings.worker,
            clock=self.clock,
        )
        self.policy_log = PolicyLog(
            table=self.table,
            meaning=meaning,
            trust=trust,
            judge=self._judge,
            options=self._client_options,
            taken=self._on_taken,
            applied=self._on_applied,
            judged=self.progress.judged,
        )
        self.trust_watch = TrustWatch(
            trust_file,
            trust,
            taken=self.policy_log.judge_by,
            announced=None if sandbox else self.announced,
            speaker=self.speaker,
            worker=settings.worker,
        )
        self.app = self._build()
        self.instruments = Instruments(
            self.metrics,
            app=self.app,
            agent=self.agent,
            keeper=self.keeper,
            sweeper=self.sweeper,
            geography=self.geography,
            certificates=settings.certificates(),
            clock=self.clock,
        )

    def clock(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + self.clock_shift

    def _engine(self, index: Index) -> str:
        """What decisions by an index are made by: the version, and what no real deployment has."""
        sandbox = " (sandbox)" if self.sandbox and index.service else ""
        clock = f" (clock {self.clock_shift / 3_600_000:+g}h)" if self.clock_shift else ""
        return f"{__version__}{sandbox}{clock}"

    # -- wiring --------------------------------------------------------------------------------------------------

    def _build(self) -> ChunkedApp:
        settings = self.settings
        app = ChunkedApp(
            settings.group,
            sources={JOINS},
            assigned=self._on_assigned,
            forgotten=self._on_forgotten,
            fetch=FetchSettings(pace=settings.fetch_pace),
            patience=settings.stall_timeout,
            **faust_options(
                bootstrap=settings.kafka_bootstrap,
                client_id=settings.worker,
                data_dir=needs.faust_folder(settings.data),
                session_timeout=settings.session_timeout,
                standby_replicas=settings.standbys,
                credentials=self._credentials,
            ),
        )
        manifest = topics.load_manifest()
        limits = {DEAD_LETTERS: int(manifest.topic(DEAD_LETTERS).config["max.message.bytes"])}
        kept = int(manifest.topic(SESSIONS).config["delete.retention.ms"]) / 1000
        self.sessions = app.chunked_table(
            "sessions",
            partitions=self.partitions,
            changelog=SESSIONS,
            delete_retention=kept,
            stamps=self._sealer,
        )
        self.agent = agent = JoinsAgent(
            keeper=self.keeper,
            sweeper=self.sweeper,
            table=self.sessions,
            outbox=lambda: Outbox(app.batches, limits, app.source.counts),
            clock=self.clock,
            metrics=self.metrics,
            partitions=self.partitions,
            max_event_bytes=settings.max_event_bytes,
            fuse=Fuse(settings.fuse_share, settings.fuse_sample),
            tracing=self.tracing,
        )
        app.agent(app.chunks, name="joins")(agent.run)
        for task in (self._read_policies, self._read_status, self._speak, self._look, self._tick):
            app.task(task)
        return app

    def _judge(self, index: Index, trust: TrustSet, applied: Applied) -> PolicyFollower:
        return PolicyFollower(
            index=index,
            table=self.table,
            trust=trust,
            audience=self.settings.audience,
            vocabulary=vocabulary(),
            contest=self.settings.contest,
            metrics=self.metrics,
            announced=None if self.sandbox else self.announced,
            limits=self.settings.limits(),
            announcements_read=self.speaker.caught_up,
            applied=applied,
        )

    # -- what the runtime tells us -------------------------------------------------------------------------------

    async def _on_assigned(self, partitions: Any) -> None:
        owned = {partition.partition for partition in partitions}
        started = time.monotonic()
        generation = self.app.consumer_generation_id
        await self.keeper.load(owned, self.sessions)
        for partition in owned:
            self.sessions.own(partition, generation)
            self.agent.write_over(partition, self.sessions.overwritten(partition))
        self.sweeper.recovered()
        self._count_strangers()
        self.instruments.taken_on(len(owned))
        self.speaker.may_speak = 0 in owned
        seconds = round(time.monotonic() - started, 3)
        log.info("partitions assigned", partitions=sorted(owned), sessions=len(self.keeper), seconds=seconds)
        self._news.set()

    def _count_strangers(self) -> None:
        """Count what was found since last asked of records in the sessions' changelog that are not our workers'."""
        table, faults = self.sessions, self.metrics.session_faults
        faults.labels("undecodable").inc(table.undecodable)
        faults.labels("forged").inc(table.forged)
        if table.forged:  # one line however many they are
            log.error("session records bear no stamp of our keys; they count for nothing", records=table.forged)
        table.undecodable = table.forged = 0

    def _on_forgotten(self) -> None:
        self.keeper.forget()
        self.agent.forget()
        self.sweeper.forgotten()
        self.instruments.lost()
        self.speaker.may_speak = False
        log.info("partitions revoked")

    def _on_taken(self, taken: Taken) -> None:
        """Another index is in force: what is known from earlier, or what another trust set makes of the log."""
        follower = taken.follower
        self.decider.index = follower.index
        self._take_up(follower, taken.fresh, is_deciding=False)
        self.speaker.use(_trust_event(taken.trust))
        self.speaker.correct(follower.changed)
        if self.app.source.is_open:
            self.progress.read_whole(taken.seconds)
            self.sweeper.relocated()  # whatever counts no longer held for whoever is in a meeting
            log.info("judged by the trust set", digest=taken.trust.digest, documents=len(follower.index))
        self._news.set()

    def _on_applied(self, follower: PolicyFollower, revisions: Sequence[Revision]) -> None:
        self._take_up(follower, revisions, is_deciding=self.app.source.is_open)
        self._news.set()

    def _take_up(self, follower: PolicyFollower, revisions: Sequence[Revision], *, is_deciding: bool) -> None:
        self.decider.provenance = msgspec.structs.replace(
            self.decider.provenance, policy_offset=follower.offset, engine=self._engine(follower.index)
        )
        self.progress.applied(follower.index, follower.offset, follower.appended_at, is_deciding=is_deciding)
        self.sweeper.accepted(revisions, follower.offset)

    def _on_swept(self) -> None:
        self.progress.swept()
        self._news.set()

    # -- tasks beside the agent ----------------------------------------------------------------------------------

    async def _read_policies(self) -> None:
        """Read the policy log to its end, then open the source, then go on reading (design §7)."""
        await self.speaker.caught_up.wait()
        await self.trust_watch.begin()
        opening = asyncio.ensure_future(self._open_when_read(time.monotonic()))
        try:
            await self.policy_log.run()
        finally:
            opening.cancel()

    async def _open_when_read(self, started: float) -> None:
        await self.policy_log.caught_up.wait()
        process.settle()
        self.progress.read_whole(time.monotonic() - started)
        self.app.source.open()
        while not self.has_taken_on():  # noqa: ASYNC110 - Faust's state has no event for it
            await asyncio.sleep(TAKEN_ON_SECONDS)
        self.instruments.opened()
        self._news.set()
        log.info("ready", documents=len(self.decider.index), policy_offset=self.progress.offset)

    def has_taken_on(self) -> bool:
        """Whether the first rebalance is over and what it gave us is loaded."""
        return self.app.is_recovered and self._assigned() <= self.keeper.views.keys()

    def _assigned(self) -> set[int]:
        return {tp.partition for tp in self.app.consumer.assignment() if tp.topic == JOINS}

    async def _read_status(self) -> None:
        await self.speaker.follow(self._client_options, caught_up=self._news.set)

    async def _look(self) -> None:
        """Look at what changes by itself: gauges, and files once joins are decided."""
        while not self.app.should_stop:
            await asyncio.sleep(LOOK_SECONDS)
            self._count_strangers()
            self.instruments.look()
            if self.app.source.is_open:
                await self.trust_watch.look()
                await self.geography.look()
                self._news.set()

    async def _tick(self) -> None:
        while not self.app.should_stop:
            await asyncio.sleep(TICK_SECONDS)
            if self.app.is_recovered and not self._assigned():
                self.sweeper.recovered()  # left without partitions: nothing is loaded, and nobody says so
                self.instruments.left_without()
            self.sweeper.tick()

    # -- speaking ------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        """Say what is new, when it is: deciding never waits for the status log, nor policy for its acknowledgement."""
        while not self.app.should_stop:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAY_AGAIN_SECONDS):
                    await self._news.wait()
            self._news.clear()
            try:
                if self.app.source.is_open:
                    await self.progress.say(self._say)
                await self.speaker.speak()
            except (KafkaError, RecordTooLargeError) as exc:
                log.error("status not said; trying again", error=repr(exc))

    async def _say(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        outbox = Outbox(self.app.batches, counts=self.app.source.counts)
        for key, value in records:
            outbox.add(STATUS, 0, key, value, None, CONTENT_TYPE_HEADERS)
        await outbox.send(lambda: None)


def run(settings: Settings, *, clock_shift: int = 0, sandbox: bool = False) -> NoReturn:
    """Run a worker until a signal or a failure ends it; see ``streams.runtime.process`` for exit codes.

    ``clock_shift`` and ``sandbox`` are ``Worker``'s.

    Raises:
        Unavailable: before anything was started.
    """
    logs.configure(settings.log_level, settings.worker)
    worker = Worker(settings, clock_shift=clock_shift, sandbox=sandbox)
    where, tls = f"{settings.metrics_host}:{settings.metrics_port}", settings.metrics_tls()
    serve = partial(
        health.serve,
        settings.metrics_host,
        settings.metrics_port,
        registry=worker.metrics.registry,
        live=worker.instruments.live_checks(),
        ready=worker.instruments.ready_checks(
            has_taken_on=worker.has_taken_on, oldest_geo=settings.geo_max_age * 86_400
        ),
        tls=tls,
    )
    try:
        port = health.once_free(serve)
    except (ssl.SSLError, FileNotFoundError) as exc:
        raise Unavailable(f"DOORWARD_METRICS_CERTIFICATE, _KEY, _CLIENTS: {exc.strerror}") from None
    except OSError as exc:
        raise Unavailable(f"DOORWARD_METRICS_PORT: cannot listen on {where}: {exc.strerror}") from None
    url = f"{'https' if tls else 'http'}://{settings.metrics_host}:{port or settings.metrics_port}/metrics"
    log.info("starting", version=__version__, metrics=url)
    if not settings.seal_keys:
        log.warning(
            "DOORWARD_SEAL_KEYS names no key: sweeps will not know the addresses of people already in, and whatever "
            "stands in the sessions' changelog is believed"
        )
    try:
        process.run(worker.app)
    finally:
        if worker.tracing is not None:
            worker.tracing.close()


def _trust_event(trust: TrustSet) -> status.TrustEvent:
    return status.trust_announced(trust.digest, trust.announced(), time.time_ns() // 1_000_000)
