"""What recorded decisions are held against: the documents as workers took them, and the geo files at hand.

What may live here: what ``doorward verify`` and ``doorward replay`` both need before they can read anything.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
from aiokafka.structs import ConsumerRecord

from streams import __version__
from streams.adapters.geo import GeoUnavailable, shipped
from streams.adapters.geomanifest import GeoRefused, place_of, read
from streams.adapters.geoshelf import Shelf
from streams.adapters.iso import vocabulary
from streams.adapters.ledgerlog import POLICIES, STATUSES, Logs
from streams.agents.policies import LOG_APPEND_TIME
from streams.cli import console
from streams.cli.reading import Advance
from streams.core import status
from streams.core.asof import AsOf
from streams.core.evidence import Atlas, World
from streams.core.index import Index, Revision
from streams.settings import Settings
from streams.wire import signed
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust


def trust_of(settings: Settings) -> TrustSet:
    """Whose signatures count. Ends the command where that is not told, or cannot be read."""
    if settings.trust is None:
        console.fail("--trust FILE is required: a document counts by its signature", console.BAD_INPUT)
    try:
        return read_trust(settings.trust)
    except TrustUnavailable as exc:
        return console.fail(f"--trust: {exc}", console.UNAVAILABLE)


def shelf_of(files: list[Path], settings: Settings) -> Shelf:
    """The geo files at hand: those given, the settings' and the shipped snapshot. Ends the command on a bad one."""
    paths = [*files, *settings.geo, shipped()]
    try:
        if settings.geo_manifest is not None:
            entries = read(settings.geo_manifest, vocabulary()).files
            paths += [place_of(entry, settings.geo_manifest) for entry in entries]
        return Shelf(list(dict.fromkeys(paths)), vocabulary())
    except (GeoRefused, GeoUnavailable) as exc:
        return console.fail(f"--geo: {exc}", console.UNAVAILABLE)


async def world_of(
    logs: Logs, settings: Settings, trusted: TrustSet, atlas: Callable[[str], Atlas | None], advance: Advance
) -> World:
    """The documents, as workers took them.

    By signature, and not where the group said that it rejects one that the signatures would do for: it may have been
    by the age of a key (ruling 32), of which this process knows nothing.
    """
    rejected: dict[int, bool] = {}
    builds: set[str] = set()
    async for records in logs.records(STATUSES):
        advance(len(records))
        for record in records:
            try:
                said = status.decode(record.value or b"")
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                continue  # of another version, or nobody's
            if isinstance(said, status.AcceptedEvent | status.RejectedEvent):
                rejected[said.data.offset] = isinstance(said, status.RejectedEvent)
            elif isinstance(said, status.GeoEvent):
                builds.add(said.data.build)
    index, refused = Index(), {}
    async for records in logs.records(POLICIES):
        advance(len(records))
        for record in records:
            try:
                if record.timestamp_type == LOG_APPEND_TIME and not rejected.get(record.offset):
                    index.put(_accepted(record, trusted, settings, index))
            except signed.Rejected as exc:
                if exc.path is not None and exc.revision is not None:
                    refused[record.offset] = exc.path, exc.revision
            except signed.Repeat:
                continue
    return World(
        documents=AsOf(index),
        atlas=atlas,
        engine=__version__,
        contest=settings.contest,
        written_in=settings.language,
        refused=refused,
        builds=builds,
    )


def _accepted(record: ConsumerRecord, trusted: TrustSet, settings: Settings, index: Index) -> Revision:
    return signed.accept(
        record.value,
        trust=trusted,
        audience=settings.audience,
        vocabulary=vocabulary(),
        index=index,
        contest=settings.contest,
        record=signed.Record(record.key, record.offset, record.timestamp),
        limits=settings.limits(),
    )
