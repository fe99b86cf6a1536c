"""The manifest of the geo files in use: what it says, and following it while a worker runs.

A manifest is a JSON file. A worker that is pointed at one uses the files it lists, in order of precedence, and takes
another set as soon as the manifest is replaced. ``doorward geo adopt`` writes it (``streams.adapters.geoadoption``).

    {"version": 1,
     "files": [{"path": "geo.json.d/country-2026-06-17-1a2b3c4d.mmdb",
                "sha256": "1a2b3c4d…", "build": "2026-06-17T19:51:40Z", "database_type": "GeoLite2-Country",
                "canaries": {"8.8.8.8": {"country": "US"}, "192.0.2.1": {"country": null}}}],
     "accept_change": null,
     "adopted_at": "2026-06-18T08:00:00.000Z"}

``path``           relative to the folder of the manifest (of what it links to, where it is a link), or absolute. Any
                   regular file will do, ``../`` and links included: what counts is what is in it
``sha256``         of the whole file, hex in lower case
``build``          the build time in the file's metadata, RFC 3339
``database_type``  as in the file's metadata
``canaries``       addresses to look up in this file alone, before it is used. For each, some of ``country``,
                   ``subdivision``, ``continent``, ``asn`` and ``connection``: what Doorward would know of the address
                   if there were no other file. So a connection known to be a VPN hides the place, as it always does
                   (``streams.core.facts``). null: it must not be known. A fact that is not named may be anything
``accept_change``  the share of live verdicts, 0 to 1, that taking up these files may change; null: the worker's setting
``adopted_at``     when this manifest was written, RFC 3339, for people; may be null or left out, like the one above

All else is an error that names its place: a key that is unknown or stands twice, another type, no file at all, a path,
a digest or a name (``streams.adapters.mmdb.name_of``) that stands twice, a canary that names no fact, a code that
ISO 3166 does not have. All files are used or none. Messages count canaries and never repeat their addresses, since
workers log them (charter C7).
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streams.adapters.anonymity import Standards
from streams.adapters.files import Look, look
from streams.adapters.geo import Geo, open_file
from streams.adapters.mmdb import GeoDamaged, GeoUnavailable, Mmdb, name_of, open_regular
from streams.core import address, instants
from streams.core.facts import CONTINENTS, Vocabulary
from streams.wire.documents import NotJson, strict_json

MAX_MANIFEST: Final = 2**20
"""Bytes; a manifest of a few files has some hundreds."""


class GeoRefused(Exception):
    """A manifest, or a file it names, is not as it must be. The message is one line: which, and what is wrong."""


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a canary must show: a value, None for not known, UNSET for anything."""

    country: str | UnsetType | None = UNSET
    subdivision: str | UnsetType | None = UNSET
    continent: str | UnsetType | None = UNSET
    asn: Annotated[int, Meta(ge=1, le=2**32 - 1)] | UnsetType | None = UNSET
    connection: Literal["tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential"] | UnsetType | None = UNSET

    def named(self) -> dict[str, str | int | None]:
        """The facts that are compared."""
        return {fact: value for fact, value in msgspec.structs.asdict(self).items() if value is not UNSET}


class ManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a manifest, as the module says."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    build: str
    database_type: str
    canaries: dict[str, Expected] = {}

    @property
    def built(self) -> int:
        """The build time in ms since the epoch."""
        return instants.parse(self.build)

    @property
    def name(self) -> str:
        """What it is called, whatever its build: ``country``."""
        return name_of(Path(self.path), datetime.fromtimestamp(self.built / 1000, UTC), self.sha256)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest, as the module says."""

    version: Literal[1]
    files: Annotated[list[ManifestFile], Meta(min_length=1)]
    accept_change: Annotated[float, Meta(ge=0, le=1)] | None = None
    adopted_at: str | None = None


class Canary(NamedTuple):
    """One fact of one canary: what was expected and what was found. As text it leaves the address out.

    Attributes:
        number: of the address among the file's canaries, from 1.
        address: as the manifest writes it.
        fact: its name.
        expected: the value, None: not known.
        found: the same of what the file says.
    """

    number: int
    address: str
    fact: str
    expected: str | int | None
    found: str | int | None

    @property
    def holds(self) -> bool:
        """Whether the file says what was expected."""
        return self.expected == self.found

    @property
    def difference(self) -> str:
        """What was found and what was expected, in words."""
        found, expected = ("not known" if value is None else value for value in (self.found, self.expected))
        return f"{self.fact} is {found}, expected was {expected}"

    def __str__(self) -> str:
        return f"canary {self.number}: {self.difference}"


class ManifestSource:
    """A worker's geo files by manifest.

    ``open`` blocks and belongs in a thread, one at a time; ``changed`` is for the event loop. They share nothing with
    the ``Geo`` objects handed out, each of which stays as it is for as long as it is wanted.

    Args:
        path: of the manifest.
        vocabulary: the codes that count.
        standards: what is asked of anonymity files (``streams.adapters.geo.Geo``).

    Attributes:
        accept_change: of the manifest last opened; None before, and where it names no share.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary, standards: Standards | None = None) -> None:
        self._standards = standards
        self.accept_change: float | None = None
        self._path, self._vocabulary = path, vocabulary
        self._seen: Mapping[Path, Look] | None = None

    def open(self) -> Geo:
        """Read the manifest, check and open its files.

        Takes as long as reading and checking all the files anew; the checking is done in another process.

        Raises:
            GeoRefused: the manifest or a file is not as it must be.
            GeoUnavailable: the manifest or a file cannot be read.
        """
        seen = {self._path: look(self._path)}  # before reading, so that nothing later goes unnoticed
        databases: list[Mmdb] = []
        try:
            manifest = read(self._path, self._vocabulary)
            places = [place_of(entry, self._path) for entry in manifest.files]
            seen |= {place: look(place) for place in places}
            for entry, place in zip(manifest.files, places, strict=True):
                databases.append(open_entry(entry, place))
                refuse(place, databases[-1], entry.canaries, self._vocabulary)
        except BaseException:
            for database in databases:
                database.close()
            raise
        finally:
            self._seen = seen
        self.accept_change = manifest.accept_change
        named = [entry.name for entry in manifest.files if any(map(_is_anonymised, entry.canaries.values()))]
        return Geo(databases, self._vocabulary, self._standards, named)

    def changed(self) -> bool:
        """Whether the manifest, or a file it names, is another than at the last ``open``, which may have failed.

        So a file that was missing is found as soon as it is there, and one in use that is damaged on disk is noticed
        before a restart depends on it. Costs one ``stat`` a file, some microseconds each.
        """
        seen = self._seen
        return seen is None or any(look(path) != before for path, before in seen.items())


def _is_anonymised(canary: Expected) -> bool:
    return canary.connection in ("tor", "vpn", "proxy", "relay")


def read(path: Path, vocabulary: Vocabulary) -> Manifest:
    """Read a manifest; its files are not looked at.

    Raises:
        GeoRefused: it is no manifest.
        GeoUnavailable: it cannot be read.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_MANIFEST + 1)
    except OSError as error:
        raise GeoUnavailable(f"geo manifest {path}: {error.strerror or error}") from None
    try:
        return parse(data, vocabulary)
    except ValueError as error:
        raise GeoRefused(f"geo manifest {path}: {_printable(str(error))}") from None


def parse(data: bytes, vocabulary: Vocabulary) -> Manifest:
    """The manifest in some bytes. Raises ValueError with one line that names the place."""
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"is larger than {MAX_MANIFEST // 2**20} MiB")
    try:
        manifest = msgspec.convert(strict_json(data), Manifest)
    except NotJson as error:
        at = f" (line {error.line}, column {error.column})" if error.line else ""
        raise ValueError(f"{_without_addresses(str(error))}{at}") from None
    except msgspec.ValidationError as error:
        raise ValueError(_without_addresses(str(error))) from None
    if manifest.adopted_at is not None:
        _instant(manifest.adopted_at, "adopted_at")
    seen: dict[tuple[str, str], int] = {}
    for number, entry in enumerate(manifest.files):
        at = f"files[{number}]"
        if not entry.path.isprintable():
            raise ValueError(f"{at}.path has characters that cannot be printed")
        _instant(entry.build, f"{at}.build")
        try:
            check_canaries(entry.canaries, vocabulary)
        except ValueError as error:
            raise ValueError(f"{at}: {error}") from None
        for key in (("path", os.path.normpath(entry.path)), ("sha256", entry.sha256), ("name", entry.name)):
            if (earlier := seen.setdefault(key, number)) != number:
                raise ValueError(f"files[{earlier}] and {at} have the same {key[0]}, {key[1]}")
    return manifest


_LIKE_AN_ADDRESS: Final = re.compile(r"(?<![\w$.])[0-9A-Fa-f]*(?:[.:][0-9A-Fa-f]*){2,}(?!\w)")


def _without_addresses(text: str) -> str:
    return _LIKE_AN_ADDRESS.sub("(an address)", text)


def _printable(text: str) -> str:
    """One line, whatever a key that is quoted in it may hold."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _instant(text: str, at: str) -> None:
    try:
        instants.parse(text)
    except ValueError as error:
        raise ValueError(f"{at}: {error}") from None


def check_canaries(canaries: Mapping[str, Expected], vocabulary: Vocabulary) -> None:
    """Check that canaries can be looked up and mean something. Raises ValueError, which names the first that is bad."""
    codes = {
        "country": (vocabulary.countries, "ISO 3166-1 code"),
        "subdivision": (vocabulary.subdivisions, "ISO 3166-2 code"),
        "continent": (CONTINENTS, "continent"),
    }
    seen: dict[bytes, int] = {}
    for number, (text, expected) in enumerate(canaries.items(), 1):
        here = f"canary {number}"
        try:
            packed = address.parse(text)
        except address.BadAddress as error:
            raise ValueError(f"{here}: {error}") from None
        if (earlier := seen.setdefault(packed, number)) != number:
            raise ValueError(f"{here}: the same address as canary {earlier}")
        if not expected.named():
            raise ValueError(f"{here}: names no fact")
        for fact, value in expected.named().items():
            if fact in codes and value is not None and value not in codes[fact][0]:
                raise ValueError(f"{here}: {fact} {value!r} is no {codes[fact][1]}")


def merged(known: Mapping[str, Expected], given: Mapping[str, Expected]) -> dict[str, Expected]:
    """Canaries of before and those given now, which win where both have an address, however it is written."""
    anew = {address.parse(text) for text in given}
    return {text: expected for text, expected in known.items() if address.parse(text) not in anew} | dict(given)


def place_of(entry: ManifestFile, manifest: Path) -> Path:
    """Where a file of a manifest is."""
    return Path(os.path.realpath(manifest)).parent / entry.path


def open_entry(entry: ManifestFile, place: Path, *, count: bool = False) -> Mmdb:
    """Open a file of a manifest and check that it is the one described; its canaries are not looked up.

    Args:
        entry: what the manifest says of it.
        place: where it is.
        count: count its records.

    Raises:
        GeoRefused: it is another file, or a damaged one.
        GeoUnavailable: it cannot be read.
    """
    try:
        database = open_file(place, sha256=entry.sha256, apart=True, count=count)
    except GeoDamaged as error:
        raise GeoRefused(str(error)) from None
    built = instants.render(int(database.built.timestamp()) * 1000)
    for what, found, expected in (
        ("build", built, instants.render(entry.built)),
        ("database_type", database.database_type, entry.database_type),
    ):
        if found != expected:
            database.close()
            raise GeoRefused(f"geo file {place}: its {what} is {found!r}, expected was {expected!r}")
    return database


def look_up(database: Mmdb, canaries: Mapping[str, Expected], vocabulary: Vocabulary) -> list[Canary]:
    """Look up the canaries of one file in that file alone: every fact that is compared, in order."""
    alone = Geo([database], vocabulary)
    looked = []
    for number, (text, expected) in enumerate(canaries.items(), 1):
        facts = alone.facts(text)
        for fact, value in expected.named().items():
            found = facts.known_connection if fact == "connection" else getattr(facts, fact)
            looked.append(Canary(number, text, fact, value, found))
    return looked


def refuse(place: Path, database: Mmdb, canaries: Mapping[str, Expected], vocabulary: Vocabulary) -> None:
    """Raises GeoRefused, with all that is wrong, unless every canary of a file shows what it must."""
    if wrong := [str(canary) for canary in look_up(database, canaries, vocabulary) if not canary.holds]:
        raise GeoRefused(f"geo file {place}: {'; '.join(wrong)}")
