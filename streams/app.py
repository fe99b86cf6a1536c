"""The composition root: the only file that wires everything.

``run`` starts a worker: settings → files (trust, geo) → the broker and its topics, checked → the Faust application
with its joins agent → the policy log read to its end → joins consumed. What cannot be had ends the start with
``Unavailable`` and one line that names the setting; nothing is half started.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgspec
import structlog
from aiokafka.errors import KafkaError

from streams import __version__
from streams.adapters import logs, topics
from streams.adapters.geo import Geo, GeoUnavailable, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.kafka import Connection, CredentialsUnavailable
from streams.adapters.metrics import Metrics
from streams.adapters.policytable import PolicyTable, TableUnavailable
from streams.agents.decider import Decider
from streams.agents.joins import DEAD_LETTERS, Fuse, JoinsAgent
from streams.agents.policies import POLICIES, STATUS, LogReplaced, PolicyFollower, Speaker, TableDamaged
from streams.core import status
from streams.core.events import Provenance
from streams.core.index import Index
from streams.runtime import process
from streams.runtime.application import ChunkedApp
from streams.runtime.config import client_options, faust_options
from streams.runtime.produce import Outbox
from streams.runtime.reader import LogChangedError, LogReader
from streams.runtime.transport import FetchSettings
from streams.settings import Settings
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust

JOINS: Final = "joins"
GAUGE_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Unavailable(Exception):
    """Something the worker needs is not to be had; one line that names the setting."""


class _Applied(msgspec.Struct):
    """When the policy log's latest offset came into force, for the ``applied`` status."""

    offset: int = -1
    at: int = 0


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
        self.geo = _open_geo(settings)
        self.trust = _read_trust(settings)
        connection = settings.connection()
        self.partitions = _check_broker(connection)
        self._credentials = connection.faust_credentials()
        self._client_options = client_options(
            bootstrap=settings.kafka_bootstrap, client_id=settings.worker, credentials=self._credentials
        )
        self.index = Index()
        self.table = _open_table(settings)
        engine = __version__ if not clock_shift else f"{__version__} (clock {clock_shift / 3_600_000:+g}h)"
        provenance = Provenance(-1, self.geo.build, self.geo.time, settings.contest, engine)
        self.decider = Decider(self.index, self.geo.facts, provenance)
        self._applied = _Applied()
        self.app = self._build()
        self.follower = self._follow()
        self.speaker = Speaker(
            table=self.table, trust=self.trust, geo=_geo_event(self.geo, self.clock()), say=self._say
        )
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
                credentials=self._credentials,
            ),
        )
        largest = topics.load_manifest().topic(DEAD_LETTERS).config["max.message.bytes"]
        limits = {DEAD_LETTERS: int(largest)}
        agent = JoinsAgent(
            decider=self.decider,
            outbox=lambda: Outbox(app.batches, limits),
            clock=self.clock,
            metrics=self.metrics,
            partitions=self.partitions,
            max_event_bytes=settings.max_event_bytes,
            fuse=Fuse(settings.fuse_share, settings.fuse_sample),
        )
        app.agent(app.chunks, name="joins")(agent.run)
        for task in (self._read_policies, self._read_status, self._watch_gauges):
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

    def _on_assigned(self, partitions: Any) -> None:
        owned = {partition.partition for partition in partitions}
        self.metrics.partitions.set(len(owned))
        self.speaker.may_speak = 0 in owned
        log.info("partitions assigned", partitions=sorted(owned))
        if self.speaker.may_speak:
            self._speaking = asyncio.ensure_future(self._speak())

    def _on_forgotten(self) -> None:
        self.metrics.partitions.set(0)
        self.speaker.may_speak = False
        log.info("partitions revoked")

    def _on_applied(self, offset: int) -> None:
        self.decider.provenance = msgspec.structs.replace(self.decider.provenance, policy_offset=offset)
        self._applied = _Applied(offset, self.clock())

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
        await self._say_applied({"judge": time.monotonic() - before})
        await self._speak()

    async def _open_when_read(self, reader: LogReader, started: float) -> None:
        await reader.caught_up.wait()
        process.settle()
        await self._say_applied({"start": time.monotonic() - started})
        self.app.source.open()
        self.metrics.ready.set(1)
        log.info("ready", documents=len(self.index), policy_offset=self.follower.offset)

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
        await self._speak()

    async def _watch_gauges(self) -> None:
        errors = 0
        while not self.app.should_stop:
            self.metrics.lag.set(sum(self.app.lag().values()))
            self.metrics.geo_errors.inc(self.geo.lookup_errors - errors)
            errors = self.geo.lookup_errors
            await self._speak()  # whatever could not be said when its time came
            await asyncio.sleep(GAUGE_SECONDS)

    # -- speaking ------------------------------------------------------------------------------------------------

    async def _say(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        outbox = Outbox(self.app.batches)
        for key, value in records:
            outbox.add(STATUS, 0, key, value, None, CONTENT_TYPE_HEADERS)
        await outbox.send(lambda: None)

    async def _speak(self) -> None:
        try:
            await self.speaker.speak()
        except KafkaError as exc:  # deciding goes on; it is said later
            log.error("status not said", error=repr(exc))

    async def _say_applied(self, timings: dict[str, float]) -> None:
        follower = self.follower
        said = status.applied(
            status.AppliedData(
                worker=self.settings.worker,
                offset=follower.offset,
                digest=self.index.digest,
                documents=len(self.index),
                appended_at=follower.appended_at,
                applied_at=self._applied.at - self.clock_shift,
                timings=timings,
            )
        )
        try:
            await self._say([(self.settings.worker.encode(), status.encode(said))])
        except KafkaError as exc:  # deciding goes on; the next record's status says as much
            log.error("status not said", error=repr(exc))


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
    process.run(worker.app)


# -- what has to be there ----------------------------------------------------------------------------------------


def _open_geo(settings: Settings) -> Geo:
    try:
        return Geo.open(settings.geo or (shipped(),), vocabulary())
    except GeoUnavailable as exc:
        raise Unavailable(f"DOORWARD_GEO: {exc}") from None


def _read_trust(settings: Settings) -> TrustSet:
    if settings.trust is None:
        raise Unavailable("DOORWARD_TRUST: names no file; a worker needs the JWK Set of those who may sign documents")
    try:
        return read_trust(settings.trust)
    except TrustUnavailable as exc:
        raise Unavailable(f"DOORWARD_TRUST: {exc}") from None


def _open_table(settings: Settings) -> PolicyTable:
    try:
        return PolicyTable(settings.data / "policies", vocabulary=vocabulary().edition, audience=settings.audience)
    except TableUnavailable as exc:
        raise Unavailable(str(exc)) from None


def _check_broker(connection: Connection) -> int:
    """Check that the topics are as the manifest says; returns the number of partitions of ``joins``."""

    async def ask() -> int:
        async with topics.connected(connection.bootstrap, **connection.security_options()) as admin:
            return await topics.check(admin, topics.load_manifest())

    try:
        return asyncio.run(ask())
    except (topics.BrokerUnavailable, topics.BootstrapMalformed, CredentialsUnavailable) as exc:
        raise Unavailable(str(exc)) from None
    except topics.TopicsDiffer as exc:
        raise Unavailable(f"DOORWARD_KAFKA_BOOTSTRAP: {exc}; see `doorward topics plan`") from None
    except KafkaError as exc:
        raise Unavailable(f"DOORWARD_KAFKA_BOOTSTRAP: {connection.bootstrap}: {exc}") from None


def _geo_event(geo: Geo, at: int) -> status.GeoEvent:
    files = [status.GeoFile(name=file.name, sha256=file.sha256, build=str(file.epoch)) for file in geo.files]
    return status.geo_announced(geo.build, files, at)
