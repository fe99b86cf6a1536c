"""What a worker needs before it starts: files that can be used, and brokers with the topics as they must be.

What cannot be had is one line that names the setting to look at.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from streams import __version__
from streams.adapters import topics
from streams.adapters.anonymity import Standards
from streams.adapters.geo import Geo, GeoUnavailable, shipped
from streams.adapters.geomanifest import GeoRefused, ManifestSource
from streams.adapters.iso import vocabulary
from streams.adapters.kafka import Connection, CredentialsUnavailable
from streams.adapters.policytable import Meaning, PolicyTable, TableUnavailable
from streams.adapters.seal import Sealer, SealUnavailable
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust

if TYPE_CHECKING:  # it needs the extra `otel`
    from streams.adapters.tracing import Tracing

LEAST_ROOM: Final = 32 << 20
"""Bytes. With less a worker would soon end again, and each start makes the others hand their partitions around."""


class Unavailable(Exception):
    """Something the worker needs is not to be had; one line that names the setting."""


@contextmanager
def _named(*settings: str) -> Iterator[None]:
    """Name the settings that say where it should be."""
    try:
        yield
    except (GeoRefused, GeoUnavailable, SealUnavailable, TrustUnavailable, TableUnavailable, KafkaError) as exc:
        raise Unavailable(": ".join((*settings, str(exc)))) from None


def geography(
    files: Sequence[Path], manifest: Path | None, standards: Standards, at: int
) -> tuple[Geo, ManifestSource | None]:
    """The geo files in use from the start, reviewed at an instant in ms; and the manifest, where one names them.

    Raises:
        Unavailable: a file or the manifest cannot be used.
    """
    if manifest is None:
        source = None
        with _named("DOORWARD_GEO"):
            geo = Geo.open(files or (shipped(),), vocabulary(), standards)
    else:
        source = ManifestSource(manifest, vocabulary(), standards)
        with _named("DOORWARD_GEO_MANIFEST"):
            geo = source.open()
    geo.review(at)
    return geo, source


def sealer(files: Sequence[Path]) -> Sealer | None:
    """What seals addresses; None without a key. Raises Unavailable."""
    with _named("DOORWARD_SEAL_KEYS"):
        return Sealer.read(files) if files else None


def trust_set(file: Path | None) -> tuple[Path, TrustSet]:
    """The trust set and its file. Raises Unavailable."""
    if file is None:
        raise Unavailable("DOORWARD_TRUST: names no file; a worker needs the JWK Set of those who may sign documents")
    with _named("DOORWARD_TRUST"):
        return file, read_trust(file)


def tracing(endpoint: str | None, *, ratio: float, cap: int, worker: str) -> "Tracing | None":
    """What follows joins; None without a collector.

    Raises:
        Unavailable: the packages are missing, or one of OpenTelemetry's own variables is nonsense.
    """
    if endpoint is None:
        return None
    try:
        from streams.adapters.tracing import Tracing
    except ModuleNotFoundError as exc:
        if not (exc.name or "").startswith("opentelemetry"):
            raise
        raise Unavailable("DOORWARD_TRACING_ENDPOINT: needs OpenTelemetry; install `doorward[otel]`") from None
    try:
        return Tracing.to(endpoint, ratio=ratio, cap=cap, worker=worker, version=__version__)
    except ValueError as exc:
        raise Unavailable(str(exc)) from None


def room(folder: Path) -> None:
    """Check that there is room for a worker's folder, which is made if missing, and that we may write there.

    Raises:
        Unavailable: it is not so.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < LEAST_ROOM:
            told = f"{free >> 20} MiB are free on the disk of {folder}, and {LEAST_ROOM >> 20} are needed"
            raise Unavailable(f"DOORWARD_DATA: {told}")
        faust_folder(folder).mkdir(exist_ok=True)
        for place in (folder, faust_folder(folder)):
            with TemporaryFile(dir=place):
                pass
    except OSError as exc:
        raise Unavailable(f"DOORWARD_DATA: cannot write to {folder}: {exc.strerror}") from None


def faust_folder(folder: Path) -> Path:
    """Where Faust keeps what it has, in a worker's folder."""
    return folder / "faust"


def policy_table(folder: Path, meaning: Meaning) -> PolicyTable:
    """The policy table in a worker's folder. Raises Unavailable."""
    with _named():  # its message names DOORWARD_DATA
        return PolicyTable(folder / "policy-table", meaning)


def partitions_of_joins(connection: Connection) -> int:
    """Check that the topics are as the manifest says; returns the number of partitions of ``joins``.

    Raises:
        Unavailable: they are not, or nobody answers.
    """

    async def ask() -> int:
        async with topics.connected(connection.bootstrap, **connection.security_options()) as admin:
            return await topics.check(admin, topics.load_manifest())

    quiet = logging.getLogger("aiokafka")
    quiet.setLevel(logging.CRITICAL)  # it logs each attempt; one line says it all
    try:
        with _named("DOORWARD_KAFKA_BOOTSTRAP", connection.bootstrap):
            return asyncio.run(ask())
    except (topics.BrokerUnavailable, topics.BootstrapMalformed, CredentialsUnavailable) as exc:
        raise Unavailable(str(exc)) from None
    except topics.TopicsDiffer as exc:
        raise Unavailable(f"DOORWARD_KAFKA_BOOTSTRAP: {exc}; see `doorward topics plan`") from None
    finally:
        quiet.setLevel(logging.WARNING)
