"""Adopting geo files: copying them beside a manifest, and replacing the manifest in one step.

What may live here: writing what ``streams.adapters.geomanifest`` reads. The files of ``geo.json`` are kept in the
folder ``geo.json.d`` beside it, under names that say what is in them (``country-2026-06-17-1a2b3c4d.mmdb``): so no file
is ever rewritten, and earlier ones are there to go back to.

Each step leaves something whole: a copy is written under another name, synced and renamed; the manifest likewise, and
last. Whatever ends an adoption before that leaves the manifest as it was, and at worst whole files that ``prune``
removes later and a ``.geo.json.part`` that the next adoption takes away. A lock on the manifest's folder lets one at a
time do this.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from streams.adapters import geomanifest
from streams.adapters.geomanifest import Expected, Manifest, ManifestFile, merged
from streams.adapters.mmdb import GeoUnavailable, Mmdb, copied, stamp
from streams.core import instants
from streams.core.facts import Vocabulary

KEPT: Final = 2
"""How many builds of each name ``prune`` leaves, besides those in use."""
_ADOPTED: Final = re.compile(r"(.+)-(\d{4}-\d\d-\d\d)-[0-9a-f]{8}\.mmdb", re.ASCII | re.DOTALL)


class NotAdopted(Exception):
    """Nothing was adopted.

    Attributes:
        problems: why, a line each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class Candidate(NamedTuple):
    """A file to adopt.

    Attributes:
        path: where it is.
        database: the same, opened.
        canaries: given for it now; they come on top of those it has in the earlier manifest.
    """

    path: Path
    database: Mmdb
    canaries: Mapping[str, Expected]


class Adoption(NamedTuple):
    """What adopting did.

    Attributes:
        manifest: in force now.
        changed: False where it already said all this, but for the time.
        dropped: names that were in use and are not any more.
    """

    manifest: Manifest
    changed: bool
    dropped: tuple[str, ...]


def adopt(
    path: Path,
    candidates: Sequence[Candidate],
    vocabulary: Vocabulary,
    *,
    at: int,
    accept_change: float | None = None,
    allow_older: bool = False,
) -> Adoption:
    """Make these files, in this order, the ones that a manifest names.

    Blocks while another adoption into the same folder is under way, and for as long as copying takes.

    Args:
        path: of the manifest; made where there is none. Where it is a link, what it links to is replaced.
        candidates: all the files that are to be in use.
        vocabulary: the codes that count.
        at: now, ms since the epoch.
        accept_change: the share of live verdicts that workers may let these files change; None: their setting.
        allow_older: take builds older than the ones in use.

    Raises:
        NotAdopted: a canary does not hold, a build is older than the one in use, two files have the same name.
        GeoRefused: the present manifest is none.
        GeoUnavailable: something cannot be read or written.
    """
    real = Path(os.path.realpath(path))
    try:
        with _alone(real.parent):
            before = geomanifest.read(real, vocabulary) if real.exists() else None
            manifest = _manifest(real, candidates, before, vocabulary, at, accept_change, allow_older)
            changed = before is None or msgspec.structs.replace(before, adopted_at=manifest.adopted_at) != manifest
            _store(real, candidates, manifest)
            if changed:
                _replace(real, written(manifest))
    except OSError as error:
        raise GeoUnavailable(f"geo manifest {path}: cannot adopt: {_said(error)}") from None
    present = {entry.name for entry in manifest.files}
    dropped = tuple(entry.name for entry in (before.files if before else ()) if entry.name not in present)
    return Adoption(manifest if changed or before is None else before, changed, dropped)


def written(manifest: Manifest) -> bytes:
    """The bytes of a manifest, indented for people."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def prune(path: Path, vocabulary: Vocabulary) -> list[str]:
    """Remove the adopted files that the manifest does not name, but for the last ``KEPT`` builds of each name.

    Only what adoption called so is touched. Workers are not disturbed: they read private copies.

    Returns:
        The names of the files removed.

    Raises:
        GeoRefused: there is no manifest in that file.
        GeoUnavailable: something cannot be read or removed.
    """
    real = Path(os.path.realpath(path))
    try:
        with _alone(real.parent):
            manifest = geomanifest.read(real, vocabulary)
            named = {os.path.realpath(geomanifest.place_of(entry, real)) for entry in manifest.files}
            builds: dict[str, list[tuple[str, int, Path]]] = {}
            folder = folder_of(real)
            for file in folder.iterdir() if folder.exists() else ():
                match = _ADOPTED.fullmatch(file.name)
                if match and file.is_file() and not file.is_symlink():
                    builds.setdefault(match[1], []).append((match[2], file.stat().st_mtime_ns, file))
            removed = []
            for files in builds.values():
                for *_, file in sorted(files)[:-KEPT]:
                    if os.path.realpath(file) not in named:
                        file.unlink()
                        removed.append(file.name)
    except OSError as error:
        raise GeoUnavailable(f"geo manifest {path}: cannot prune: {_said(error)}") from None
    return sorted(removed)


def folder_of(manifest: Path) -> Path:
    """Where the files adopted by a manifest are kept."""
    return manifest.with_name(f"{manifest.name}.d")


def _manifest(
    path: Path,
    candidates: Sequence[Candidate],
    before: Manifest | None,
    vocabulary: Vocabulary,
    at: int,
    accept_change: float | None,
    allow_older: bool,
) -> Manifest:
    """The manifest to be, with everything checked that its files can be checked for. Raises NotAdopted."""
    earlier = {entry.name: entry for entry in before.files} if before else {}
    problems: list[str] = []
    entries: list[ManifestFile] = []
    for candidate in candidates:
        database = candidate.database
        known = earlier.get(database.name)
        built = int(database.built.timestamp()) * 1000
        entry = ManifestFile(
            path=f"{folder_of(path).name}/{_file_name(database)}",
            sha256=database.sha256,
            build=instants.render(built),
            database_type=database.database_type,
            canaries=merged(known.canaries if known else {}, candidate.canaries),
        )
        if known and built < known.built and not allow_older:
            problems.append(f"{candidate.path}: its build of {entry.build} is older than the one in use, {known.build}")
        looked = geomanifest.look_up(database, entry.canaries, vocabulary)
        wrong = [canary for canary in looked if not canary.holds]
        problems += [f"{candidate.path}: canary {canary.address}: {canary.difference}" for canary in wrong]
        entries.append(entry)
    manifest = Manifest(1, entries, accept_change, instants.render(at))
    if not problems:
        try:
            geomanifest.parse(written(manifest), vocabulary)  # what a worker would say of it, such as of two names
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise NotAdopted(problems)
    return manifest


def _file_name(database: Mmdb) -> str:
    return f"{database.name}{stamp(database.built, database.sha256)}.mmdb"


def _store(manifest: Path, candidates: Sequence[Candidate], wanted: Manifest) -> None:
    """Have the files where the manifest to be says; whole ones that are there are left alone.

    Raises:
        NotAdopted: a file is not any more what was checked.
        OSError: it cannot be read, or the copy not written.
    """
    folder = folder_of(manifest)
    folder.mkdir(exist_ok=True)
    for place in (manifest, folder / manifest.name):
        _part_of(place, manifest).unlink(missing_ok=True)  # of an adoption that was killed
    for candidate, entry in zip(candidates, wanted.files, strict=True):
        target = manifest.parent / entry.path
        if _holds(target, entry.sha256):
            continue
        with _part(target, manifest) as stream:
            if copied(candidate.path, stream)[0] != entry.sha256:
                raise NotAdopted([f"{candidate.path}: was changed while it was adopted"])
    _sync(folder)
    _sync(folder.parent)


def _holds(target: Path, sha256: str) -> bool:
    """Whether a file is there and whole."""
    try:
        with open(os.devnull, "wb") as nowhere:
            return copied(target, nowhere)[0] == sha256
    except OSError:
        return False


def _replace(manifest: Path, data: bytes) -> None:
    """Write a manifest whole or not at all: a worker may read it at any instant. Keeps its mode. Raises OSError."""
    with _part(manifest, manifest) as stream:
        if manifest.exists():
            os.fchmod(stream.fileno(), manifest.stat().st_mode & 0o777)
        stream.write(data)
    _sync(manifest.parent)


def _part_of(target: Path, manifest: Path) -> Path:
    return target.with_name(f".{manifest.name}.part")


@contextmanager
def _part(target: Path, manifest: Path) -> Iterator[BinaryIO]:
    """A file beside another, whose place it takes once the body has written it. One at a time in a folder."""
    part = _part_of(target, manifest)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _sync(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _said(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other adoptions out of a folder. Blocks while there is one. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
