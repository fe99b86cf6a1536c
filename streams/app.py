"""The composition root: the only file that wires everything.

``run`` starts a worker: settings → files (trust, geo) → the broker and its topics, checked → the Faust application
with its joins agent → the policy log read to its end → joins consumed. What cannot be had ends the start with
``Unavailable`` and one line that names the setting; nothing is half started.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import msgspec
import structlog
from aiokafka.errors import KafkaError

from streams import __version__
from streams.adapters import logs, topics
from streams.adapters.geo import Geo, GeoUnavailable, shipped
from streams.adapters.geomanifest import GeoRefused, ManifestSource
from streams.adapters.iso import vocabulary
from streams.adapters.kafka import Connection, CredentialsUnavailable
from streams.adapters.metrics import Metrics
from streams.adapters.policytable import Meaning, PolicyTable, TableUnavailable
from streams.adapters.seal import Sealer, SealUnavailable
from streams.agents.decider import Decider
from streams.agents.joins import DEAD_LETTERS, Fuse, JoinsAgent
from streams.agents.policies import POLICIES, STATUS, LogReplaced, PolicyFollower, Speaker, TableDamaged
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core import instants, status
from streams.core.events import Provenance
from streams.core.index import Index, Revision
from streams.runtime import process
from streams.runtime.application import ChunkedApp
from streams.runtime.config import client_options, faust_options
from streams.runtime.produce import Outbox, RecordTooLargeError
from streams.runtime.reader import LogChangedError, LogReader
from streams.runtime.transport import FetchSettings
from streams.settings import Settings
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust

JOINS: Final = "joins"
SESSIONS: Final = "doorward-sessions-changelog"
GAUGE_SECONDS: Final = 1.0
SAY_AGAIN_SECONDS: Final = 1.0
"""How soon what could not be said is tried again."""
TICK_SECONDS: Final = 0.5
"""How often sweeps look at the clock."""
TAKEN_ON_SECONDS: Final = 0.02
"""How often a start looks whether its partitions are loaded."""
FEW_CHANGES: Final = 10
"""Changed live verdicts below which a new geo build is never held back: of few sessions, one is a large share."""

log = structlog.get_logger(__name__)


class Unavailable(Exception):
    """Something the worker needs is not to be had; one line that names the setting."""


class _Applied(msgspec.Struct):
    """When the policy log's latest offset came into force, for the ``applied`` status.

    ``at`` in ms since the epoch, ``swept_at`` in seconds of the monotonic clock, as ``since`` is: when the earliest
    offset not yet said came into force.
    """

    offset: int = -1
    at: int = 0
    since: float | None = None
    swept_at: float | None = None


class Worker:
    """One worker: owns what is opened, and the tasks that run beside Faust's agents.

    Args:
        settings: of the environment.
        clock_shift: ms added to the clock; only the sandbox gives one, and decisions then say so (ruling 29).

    Raises:
        Unavailable: see there.
    """

    def __init__(self, settings: Settings, *, clock_shift: int = 0) -> None:
        self.settings = settings
        self.clock_shift = clock_shift
        self.metrics = Metrics()
        self.manifest = None if settings.geo_manifest is None else ManifestSource(settings.geo_manifest, vocabulary())
        self.geo = _open_geo(settings, self.manifest)
        self.trust = _read_trust(settings)
        connection = settings.connection()
        self.partitions = _check_broker(connection)
        self._credentials = connection.faust_credentials()
        self._client_options = client_options(
            bootstrap=settings.kafka_bootstrap, client_id=settings.worker, credentials=self._credentials
        )
        self.index = Index()
        self.table = _open_table(settings, self.trust)
        engine = __version__ if not clock_shift else f"{__version__} (clock {clock_shift / 3_600_000:+g}h)"
        provenance = Provenance(-1, self.geo.build, self.geo.time, settings.contest, engine)
        self.decider = Decider(self.index, self.geo.facts, provenance)
        self.keeper = SessionKeeper(
            self.decider,
            _read_sealer(settings),
            self.metrics,
            lateness=round(settings.lateness * 1000),
            ttl=round(settings.session_ttl * 1000),
            remind=round(settings.remind * 1000),
        )
        self._applied = _Applied()
        self._timings: dict[str, float] = {}
        self._news = asyncio.Event()  # something may have to be said
        self._unsaid: status.AppliedEvent | None = None  # made, and not acknowledged yet
        self._notices: list[status.GeoHeldEvent | status.GeoRefusedEvent] = []
        self.sweeper = Sweeper(
            self.decider,
            self.keeper,
            self.metrics,
            clock=self.clock,
            ask_turn=lambda: self.app.source.ask_turn(),
            finished=self._on_swept,
        )
        self.app = self._build()
        self.follower = self._follow()
        self.speaker = Speaker(table=self.table, trust=self.trust, geo=geo_event(self.geo, self.clock()), say=self._say)
        self.metrics.geo_build_time.set(self.geo.time)

    def clock(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + self.clock_shift

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
                data_dir=settings.data / "faust",
                session_timeout=settings.session_timeout,
                standby_replicas=settings.standbys,
                credentials=self._credentials,
            ),
        )
        manifest = topics.load_manifest()
        limits = {DEAD_LETTERS: int(manifest.topic(DEAD_LETTERS).config["max.message.bytes"])}
        kept = int(manifest.topic(SESSIONS).config["delete.retention.ms"]) / 1000
        self.sessions = app.chunked_table(
            "sessions", partitions=self.partitions, changelog=SESSIONS, delete_retention=kept
        )
        self.agent = agent = JoinsAgent(
            keeper=self.keeper,
            sweeper=self.sweeper,
            table=self.sessions,
            outbox=lambda: Outbox(app.batches, limits),
            clock=self.clock,
            metrics=self.metrics,
            partitions=self.partitions,
            max_event_bytes=settings.max_event_bytes,
            fuse=Fuse(settings.fuse_share, settings.fuse_sample),
        )
        app.agent(app.chunks, name="joins")(agent.run)
        for task in (
            self._read_policies,
            self._read_status,
            self._speak,
            self._watch_gauges,
            self._tick,
            self._watch_geo,
        ):
            app.task(task)
        return app

    def _follow(self) -> PolicyFollower:
        return PolicyFollower(
            index=self.index,
            table=self.table,
            trust=self.trust,
            audience=self.settings.audience,
            vocabulary=vocabulary(),
            contest=self.settings.contest,
            metrics=self.metrics,
            applied=self._on_applied,
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
        self.metrics.partitions.set(len(owned))
        self.speaker.may_speak = 0 in owned
        seconds = round(time.monotonic() - started, 3)
        log.info("partitions assigned", partitions=sorted(owned), sessions=len(self.keeper), seconds=seconds)
        self._news.set()

    def _on_forgotten(self) -> None:
        self.keeper.forget()
        self.agent.forget()
        self.sweeper.forgotten()
        self.metrics.partitions.set(0)
        self.speaker.may_speak = False
        log.info("partitions revoked")

    def _on_applied(self, offset: int, revisions: Sequence[Revision]) -> None:
        self.decider.provenance = msgspec.structs.replace(self.decider.provenance, policy_offset=offset)
        now = time.monotonic()
        since = now if self._applied.since is None else self._applied.since
        self._applied = _Applied(offset, self.clock(), since)
        if self.app.source.is_open and self.follower.appended_at is not None:
            self.metrics.policy_in_force.observe_all([self._in_force()])
        self.sweeper.accepted(revisions, offset)

    def _in_force(self) -> float:
        """Seconds from the latest record's append until joins were decided by it."""
        return max(0.0, (self._applied.at - self.clock_shift - (self.follower.appended_at or 0)) / 1000)

    def _on_swept(self) -> None:
        self._applied.swept_at = time.monotonic()
        self._news.set()

    # -- tasks beside the agent ----------------------------------------------------------------------------------

    async def _read_policies(self) -> None:
        """Read the policy log to its end, then open the source, then go on reading (design §7)."""
        started = time.monotonic()
        reader = await self._policy_reader()
        log.info("policy table read", documents=len(self.index), seconds=round(time.monotonic() - started, 3))
        opening = asyncio.ensure_future(self._open_when_read(reader, started))
        try:
            await reader.run()
        except LogReplaced:
            self.table.clear()  # nothing was decided by it; the next start reads the log from its beginning
            raise
        finally:
            opening.cancel()
            await reader.stop()

    async def _policy_reader(self) -> LogReader:
        options = self._client_options
        try:
            reader = LogReader(POLICIES, self._on_policies, **options)
            await reader.start(self.follower.warm())
        except (TableDamaged, LogChangedError) as exc:
            # The table is derived: whatever is wrong with it, the log has the truth.
            log.warning("policy table built again", reason=str(exc))
            self.table.clear()
            self.index = self.decider.index = Index()
            self.follower = self._follow()
            self.follower.warm()
            reader = LogReader(POLICIES, self._on_policies, **options)
            await reader.start(None)
        return reader

    async def _on_policies(self, records: Sequence[Any]) -> None:
        before = time.monotonic()
        await self.follower.handle(records)
        self._timings = {"judge": time.monotonic() - before}
        self._news.set()

    async def _open_when_read(self, reader: LogReader, started: float) -> None:
        await reader.caught_up.wait()
        process.settle()
        self._timings = {"start": time.monotonic() - started}
        self._news.set()
        self.app.source.open()
        while not self._has_taken_on():  # noqa: ASYNC110 - Faust's state has no event for it
            await asyncio.sleep(TAKEN_ON_SECONDS)
        self.metrics.ready.set(1)
        log.info("ready", documents=len(self.index), policy_offset=self.follower.offset)

    def _has_taken_on(self) -> bool:
        """Whether the first rebalance is over and what it gave us is loaded."""
        assigned = {tp.partition for tp in self.app.consumer.assignment() if tp.topic == JOINS}
        return self.app.is_recovered and assigned <= self.keeper.views.keys()

    async def _read_status(self) -> None:
        reader = LogReader(STATUS, self.speaker.handle, **self._client_options)
        await reader.start(None)
        speaking = asyncio.ensure_future(self._speak_when_read(reader))
        try:
            await reader.run()
        finally:
            speaking.cancel()
            await reader.stop()

    async def _speak_when_read(self, reader: LogReader) -> None:
        await reader.caught_up.wait()
        self.speaker.caught_up = True
        self._news.set()

    async def _watch_gauges(self) -> None:
        errors = 0
        while not self.app.should_stop:
            self.metrics.lag.set(sum(self.app.lag().values()))
            self.metrics.geo_errors.inc(max(0, self.geo.lookup_errors - errors))
            errors = self.geo.lookup_errors
            self.metrics.sessions.set(len(self.keeper))
            self.metrics.ended.set(sum(len(view.ended) for view in self.keeper.views.values()))
            self.metrics.unconfirmed.set(self.keeper.unconfirmed)
            self.metrics.sweeps_due.set(len(self.sweeper.backlog))
            await asyncio.sleep(GAUGE_SECONDS)

    async def _tick(self) -> None:
        while not self.app.should_stop:
            await asyncio.sleep(TICK_SECONDS)
            self.sweeper.tick()

    async def _watch_geo(self) -> None:
        """Take up new geo files as the manifest names them; what can't be used changes nothing."""
        manifest = self.manifest
        while manifest is not None and not self.app.should_stop:
            await asyncio.sleep(GAUGE_SECONDS)
            if not (self.app.source.is_open and manifest.changed()):
                continue
            try:
                geo = await asyncio.to_thread(manifest.open)
            except (GeoRefused, GeoUnavailable) as exc:
                log.error("geo files refused; the ones in use stay", reason=str(exc), in_use=self.geo.build)
                self._notices.append(
                    status.geo_refused(self.settings.worker, str(exc), self.geo.build, time.time_ns() // 1_000_000)
                )
                self._news.set()
                continue
            limit = self.settings.geo_max_change if manifest.accept_change is None else manifest.accept_change
            await self._consider(geo, limit)

    async def _consider(self, geo: Geo, limit: float) -> None:
        """Take geo files up, unless they would change more than a share of live verdicts."""
        if geo.build == self.geo.build:
            geo.close()
            return
        provenance = msgspec.structs.replace(self.decider.provenance, geo_build=geo.build, geo_time=geo.time)
        changed, sessions = await self.sweeper.survey(Decider(self.index, geo.facts, provenance))
        share = changed / sessions if sessions else 0.0
        held = share > limit and changed >= FEW_CHANGES
        self.metrics.geo_held.set(held)
        if held:
            log.error("geo files held back", build=geo.build, changed=changed, sessions=sessions, limit=limit)
            data = status.GeoHeldData(
                build=geo.build,
                in_use=self.geo.build,
                worker=self.settings.worker,
                sessions=sessions,
                changed=changed,
                share=share,
                limit=limit,
            )
            self._notices.append(status.geo_held(data, time.time_ns() // 1_000_000))
            geo.close()
        else:
            before, self.geo = self.geo, geo
            self.decider.locate = geo.facts
            self.decider.provenance = msgspec.structs.replace(
                self.decider.provenance, geo_build=geo.build, geo_time=geo.time
            )
            before.close()
            self.speaker.geo = geo_event(geo, self.clock())
            self.metrics.geo_build_time.set(geo.time)
            log.info("geo files taken up", build=geo.build, changes=changed, sessions=sessions)
            self.sweeper.relocated()
        self._news.set()

    # -- speaking ------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        """Say what is new, when it is: deciding never waits for the status log, nor policy for its acknowledgement."""
        said = -2  # the offset last said to be applied; -1 is an empty log's
        while not self.app.should_stop:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAY_AGAIN_SECONDS):
                    await self._news.wait()
            self._news.clear()
            try:
                offset = self._applied.offset
                if self.app.source.is_open and offset != said and self.sweeper.has_swept(offset):
                    said = await self._say_applied()
                while self._notices:
                    notice = self._notices[0]
                    await self._say([(notice.subject.encode(), status.encode(notice))])
                    self._notices.pop(0)
                await self.speaker.speak()
            except (KafkaError, RecordTooLargeError) as exc:
                log.error("status not said; trying again", error=repr(exc))

    async def _say(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        outbox = Outbox(self.app.batches)
        for key, value in records:
            outbox.add(STATUS, 0, key, value, None, CONTENT_TYPE_HEADERS)
        await outbox.send(lambda: None)

    async def _say_applied(self) -> int:
        """Say how far this worker has got; returns the offset said. What could not be said is said as it was."""
        event = self._unsaid = self._unsaid or self._make_applied()
        await self._say([(event.subject.encode(), status.encode(event))])
        self._unsaid = None
        return event.data.offset

    def _make_applied(self) -> status.AppliedEvent:
        applied, follower = self._applied, self.follower
        timings = dict(self._timings)
        if follower.appended_at is not None and "start" not in timings:
            timings["in_force"] = self._in_force()
        swept = self.sweeper.report()
        if swept is not None and applied.swept_at is not None and applied.since is not None:
            timings["swept"] = max(0.0, applied.swept_at - applied.since)
            self.metrics.policy_swept.observe_all([timings["swept"]])
        applied.since = None
        return status.applied(
            status.AppliedData(
                worker=self.settings.worker,
                offset=applied.offset,
                digest=self.index.digest,
                documents=len(self.index),
                appended_at=follower.appended_at,
                applied_at=applied.at - self.clock_shift,
                timings=timings,
                sweep=swept,
            )
        )


def run(settings: Settings, *, clock_shift: int = 0) -> NoReturn:
    """Run a worker until a signal or a failure ends it; see ``streams.runtime.process`` for exit codes.

    Raises:
        Unavailable: before anything was started.
    """
    logs.configure(settings.log_level, settings.worker)
    worker = Worker(settings, clock_shift=clock_shift)
    try:
        port = worker.metrics.serve(settings.metrics_host, settings.metrics_port)
    except OSError as exc:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise Unavailable(f"DOORWARD_METRICS_PORT: cannot listen on {where}: {exc.strerror}") from None
    log.info("starting", version=__version__, metrics=f"http://{settings.metrics_host}:{port}/metrics")
    if not settings.seal_keys:
        log.warning("DOORWARD_SEAL_KEYS names no key: sweeps will not know the addresses of people already in")
    process.run(worker.app)


# -- what has to be there ----------------------------------------------------------------------------------------


def _open_geo(settings: Settings, manifest: ManifestSource | None) -> Geo:
    if manifest is not None:
        try:
            return manifest.open()
        except (GeoRefused, GeoUnavailable) as exc:
            raise Unavailable(f"DOORWARD_GEO_MANIFEST: {exc}") from None
    try:
        return Geo.open(settings.geo or (shipped(),), vocabulary())
    except GeoUnavailable as exc:
        raise Unavailable(f"DOORWARD_GEO: {exc}") from None


def _read_sealer(settings: Settings) -> Sealer | None:
    if not settings.seal_keys:
        return None
    try:
        return Sealer.read(settings.seal_keys)
    except SealUnavailable as exc:
        raise Unavailable(f"DOORWARD_SEAL_KEYS: {exc}") from None


def _read_trust(settings: Settings) -> TrustSet:
    if settings.trust is None:
        raise Unavailable("DOORWARD_TRUST: names no file; a worker needs the JWK Set of those who may sign documents")
    try:
        return read_trust(settings.trust)
    except TrustUnavailable as exc:
        raise Unavailable(f"DOORWARD_TRUST: {exc}") from None


def _open_table(settings: Settings, trust: TrustSet) -> PolicyTable:
    meaning = Meaning(
        vocabulary=vocabulary().edition, audience=settings.audience, trust=trust.digest, contest=settings.contest
    )
    try:
        return PolicyTable(settings.data / "policy-table", meaning)
    except TableUnavailable as exc:
        raise Unavailable(str(exc)) from None


def _check_broker(connection: Connection) -> int:
    """Check that the topics are as the manifest says; returns the number of partitions of ``joins``."""

    async def ask() -> int:
        async with topics.connected(connection.bootstrap, **connection.security_options()) as admin:
            return await topics.check(admin, topics.load_manifest())

    quiet = logging.getLogger("aiokafka")
    quiet.setLevel(logging.CRITICAL)  # it logs each attempt; one line below says it all
    try:
        return asyncio.run(ask())
    except (topics.BrokerUnavailable, topics.BootstrapMalformed, CredentialsUnavailable) as exc:
        raise Unavailable(str(exc)) from None
    except topics.TopicsDiffer as exc:
        raise Unavailable(f"DOORWARD_KAFKA_BOOTSTRAP: {exc}; see `doorward topics plan`") from None
    except KafkaError as exc:
        raise Unavailable(f"DOORWARD_KAFKA_BOOTSTRAP: {connection.bootstrap}: {exc}") from None
    finally:
        quiet.setLevel(logging.WARNING)


def geo_event(geo: Geo, at: int) -> status.GeoEvent:
    """The event that announces the geo files in use, at an instant in ms."""
    files = [
        status.GeoFile(name=file.name, sha256=f"sha256:{file.sha256}", build=instants.render(file.epoch * 1000))
        for file in geo.files
    ]
    return status.geo_announced(geo.build, files, at)
