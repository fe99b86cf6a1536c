"""What the geo files in use say of an address, as facts.

``Geo`` asks each file in the order given, reads what it has into a ``Finding`` (``streams.adapters.layouts``), merges
the findings fact by fact, and lets ``streams.core.facts.settle`` apply the rulings on places and connections. Three
caches keep that cheap: of facts by the event's text, of findings by flat record, of merged facts by findings. The first
is the one that answers nearly always, since the same people and offices join again and again.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import maxminddb
import msgspec

from streams.adapters.layouts import ANONYMITY_WORDS, HOSTING_WORDS, Finding, exclusions, finding_of
from streams.adapters.mmdb import GeoUnavailable, Mmdb
from streams.core import address
from streams.core.facts import ANY_CONNECTION, Facts, Vocabulary, settle

__all__ = ["Geo", "GeoFile", "GeoUnavailable", "open_file", "shipped"]

_CACHED_ADDRESSES: Final = 65_536
_CACHED_FINDINGS: Final = 4_096
_UNKNOWN: Final = Finding()  # also of a file that cannot answer: it excludes nothing (ruling 8)


def shipped() -> Path:
    """The country snapshot that comes with Doorward (``data/country.manifest.json`` says whence)."""
    return Path(__file__).parent / "data" / "country.mmdb"


def open_file(path: Path, *, sha256: str | None = None, apart: bool = False, count: bool = False) -> Mmdb:
    """Open one file for a ``Geo``; for the arguments see ``streams.adapters.mmdb.Mmdb``. Raises GeoUnavailable."""
    return Mmdb(path, ANONYMITY_WORDS, HOSTING_WORDS, sha256=sha256, apart=apart, count=count)


class GeoFile(msgspec.Struct, frozen=True):
    """One file in use, as it is announced (ruling 33).

    Attributes:
        name: the file's stem.
        sha256: hex digest of the bytes in use.
        epoch: build time, Unix seconds.
        database_type: as the file's metadata says it.
        anonymity: whether it lists anonymised connections, so that not being listed says something.
    """

    name: str
    sha256: str
    epoch: int
    database_type: str
    anonymity: bool


class Geo:
    """The geo files in use, in order. Never changes; a new set of files is a new ``Geo``.

    Attributes:
        files: the files in the order given.
        build: their ``NAME-YYYY-MM-DD-HASH8``, joined by ``+``; ``none`` without files.
        time: the newest build epoch among them, Unix seconds; 0 without files (ruling 25).
        facts: address text to ``Facts``, cached. Raises ``streams.core.address.BadAddress`` for text that is none.
    """

    def __init__(self, databases: Sequence[Mmdb], vocabulary: Vocabulary) -> None:
        self._sources = [_Source(database, vocabulary) for database in databases]
        self._vocabulary = vocabulary
        self.files = tuple(source.file for source in self._sources)
        self.build = "+".join(f"{d.name}-{d.built:%Y-%m-%d}-{d.sha256[:8]}" for d in databases) or "none"
        self.time = max((file.epoch for file in self.files), default=0)
        self.facts = lru_cache(_CACHED_ADDRESSES)(self._facts)
        self._merged = lru_cache(_CACHED_FINDINGS)(self._merge)

    @classmethod
    def open(cls, paths: Sequence[Path], vocabulary: Vocabulary) -> "Geo":
        """Open files, first ones weighing most; no path means that nothing is known of any address.

        Blocks: some 20 ms for the shipped snapshot, seconds for a large city file.

        Raises:
            GeoUnavailable: a file is unreadable, not an MMDB file, or damaged.
        """
        return cls([open_file(path) for path in paths], vocabulary)

    @property
    def lookup_errors(self) -> int:
        """Look-ups so far that met damage in a file, which then counts as knowing nothing.

        Repeats that the cache answers are not counted again.
        """
        return sum(source.errors for source in self._sources)

    def close(self) -> None:
        """Release the files and the cached addresses. ``facts`` must not be called any more."""
        self.facts.cache_clear()
        for source in self._sources:
            source.close()

    def _facts(self, text: str) -> Facts:
        packed = address.parse(text)
        wide = len(packed) == 16
        if not wide and ":" in text:  # unwrapped: the files hold the address inside
            text = address.text(packed)
        return Facts(packed, *self._merged(*[source.find(text, wide) for source in self._sources]))

    def _merge(self, *findings: Finding) -> tuple[Any, ...]:
        """The facts, but for the address, of some findings.

        Of each fact the first that is given counts, and exclusions where no file gives a connection (rulings 4, 5).
        """
        country = subdivision = continent = asn = None
        connection = excluded = 0
        for finding in findings:
            country = country or finding.country
            subdivision = subdivision or finding.subdivision
            continent = continent or finding.continent
            asn = asn or finding.asn
            connection = connection or finding.connection
            excluded |= finding.excluded
        settled = settle(
            self._vocabulary,
            country=country,
            subdivision=subdivision,
            continent=continent,
            asn=asn,
            connection=connection or ANY_CONNECTION & ~excluded,
        )
        return msgspec.structs.astuple(settled)[1:]


class _Source:
    """One file as a source of findings."""

    def __init__(self, database: Mmdb, vocabulary: Vocabulary) -> None:
        excluded = exclusions(database.database_type, database.has_words, database.has_further)
        self.file = GeoFile(
            database.name, database.sha256, int(database.built.timestamp()), database.database_type, excluded != 0
        )
        self.errors = 0
        self.close = database.close
        self._get = database.get
        self._wide = database.ip_version == 6
        self._vocabulary, self._excluded = vocabulary, excluded
        self._not_listed = Finding(excluded=excluded)
        self._flat = lru_cache(_CACHED_FINDINGS)(self._read_items)

    def find(self, text: str, wide: bool) -> Finding:
        """What the file gives of an address that parses; ``wide`` says that it is an IPv6 one."""
        if wide and not self._wide:
            return _UNKNOWN
        try:
            record = self._get(text)
        except (maxminddb.InvalidDatabaseError, ValueError):
            self.errors += 1
            return _UNKNOWN
        if not isinstance(record, dict):
            return self._not_listed
        try:
            return self._flat(tuple(record.items()))
        except TypeError:  # nested, so its items have no hash
            return finding_of(record, self._vocabulary, self._excluded)

    def _read_items(self, items: tuple[tuple[str, object], ...]) -> Finding:
        return finding_of(dict(items), self._vocabulary, self._excluded)
