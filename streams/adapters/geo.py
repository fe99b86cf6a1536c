"""What the geo files in use say of an address, as facts.

``Geo`` asks each file in the order given, reads what it has into a ``Finding`` (``streams.adapters.layouts``), merges
the findings fact by fact, and lets ``streams.core.facts.settle`` apply the rulings on places and connections. Three
caches keep that cheap: of facts by the event's text, of findings by flat record, of merged facts by findings. The first
is the one that answers nearly always, since the same people and offices join again and again.

A worker gives ``Standards``, and then facts carry doubts (ruling 33), which service documents heed.

One is of a territory that is not the block's, the /24's or /48's: its first or last address is elsewhere, or more than
half of its addresses are. The ruling names the ends alone; a file with three lines, somebody's and both ends, would
keep to that and single out one person all the same. A territory that half of a block shares singles out nobody, and
real records narrower than a block pass, as long as its ends agree. The block is gone through only where some file has
a record for less than all of it, which is seldom, once, and for ``_MOST_NETWORKS`` networks at most: what is cut finer
is in doubt.

The other is of anonymity data: they do not count, or are not of one mind. By ruling 4 a file placed first may call a
VPN's exit residential. For C4 every file is asked: none may say tor, VPN or proxy, and an anonymity file must have
cleared the address.
"""

from collections import Counter
from collections.abc import Container, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import maxminddb
import msgspec

from streams.adapters import anonymity
from streams.adapters.anonymity import Standards
from streams.adapters.layouts import ANONYMITY_WORDS, HOSTING_WORDS, Finding, exclusions, finding_of
from streams.adapters.mmdb import GeoUnavailable, Mmdb
from streams.core import address
from streams.core.facts import ANONYMISED, ANY_CONNECTION, DOUBTS, UNVOUCHED, Facts, Vocabulary, settle

__all__ = ["Geo", "GeoFile", "GeoUnavailable", "open_file", "shipped"]

_CACHED_ADDRESSES: Final = 65_536
_CACHED_FINDINGS: Final = 4_096
_BLOCK: Final = {4: 24, 16: 48}
"""Prefix length of what a territory must hold for, by the address's length in bytes (ruling 33)."""
_CACHED_BLOCKS: Final = 16_384
_MOST_NETWORKS: Final = 256
"""Of a block that are looked at: all that a /24 can have. It takes 4 ms, for which joins wait."""
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
        size: of its bytes.
        anonymity: whether it lists anonymised connections, so that not being listed says something.
        verdict: whether that counts for service documents (``streams.adapters.anonymity``); None where it does not
            list any, or nothing is asked.
    """

    name: str
    sha256: str
    epoch: int
    database_type: str
    size: int
    anonymity: bool
    verdict: str | None = None


class Geo:
    """The geo files in use, in order. A new set of files is a new ``Geo``; only their age changes one (``review``).

    Args:
        databases: the files, first ones weighing most.
        vocabulary: the codes that count.
        standards: what is asked of anonymity files before service documents may rely on them; None: facts have no
            doubts at all, as offline.
        proven: names of the files for which the manifest has canaries of anonymised connections.

    Attributes:
        files: the files in the order given.
        build: their ``NAME-YYYY-MM-DD-HASH8``, joined by ``+``; ``none`` without files. A file whose anonymity data do
            not count has ``!`` and why not behind it.
        time: the newest build epoch among them, Unix seconds; 0 without files (ruling 25).
        facts: address text to ``Facts``, cached. Raises ``streams.core.address.BadAddress`` for text that is none.
    """

    def __init__(
        self,
        databases: Sequence[Mmdb],
        vocabulary: Vocabulary,
        standards: Standards | None = None,
        proven: Container[str] = (),
    ) -> None:
        self._sources = [_Source(database, vocabulary) for database in databases]
        self._vocabulary = vocabulary
        self._standards = standards
        self.files = tuple(source.file for source in self._sources)
        self._builds = [f"{d.name}-{d.built:%Y-%m-%d}-{d.sha256[:8]}" for d in databases]
        self.build = "+".join(self._builds) or "none"
        self.time = max((file.epoch for file in self.files), default=0)
        self._doubts = 0 if standards is None else UNVOUCHED
        self._candidates = [] if standards is None else self._find_canaries(standards, proven)
        self.facts = lru_cache(_CACHED_ADDRESSES)(self._facts)
        self._merged = lru_cache(_CACHED_FINDINGS)(self._merge)
        self._shared = lru_cache(_CACHED_BLOCKS)(self._share)

    @classmethod
    def open(cls, paths: Sequence[Path], vocabulary: Vocabulary, standards: Standards | None = None) -> "Geo":
        """Open files, first ones weighing most; no path means that nothing is known of any address.

        Blocks: some 20 ms for the shipped snapshot, seconds for a large city file.

        Raises:
            GeoUnavailable: a file is unreadable, not an MMDB file, or damaged.
        """
        return cls([open_file(path) for path in paths], vocabulary, standards)

    def review(self, at: int) -> bool:
        """Ask anew which anonymity files count, at an instant in ms; returns whether the answer has changed.

        Where it has, ``build``, ``files`` and ``facts`` have too. Call it once before the first look-up. Service
        documents rely on anonymity data only where every such file counts: the facts do not tell which one it was that
        did not list an address.
        """
        if self._standards is None:
            return False
        verdicts = iter(anonymity.verdicts(self._standards, self._candidates, at))
        files = tuple(
            msgspec.structs.replace(file, verdict=next(verdicts) if file.anonymity else None) for file in self.files
        )
        doubted = [file.anonymity and file.verdict not in anonymity.COUNTING for file in files]
        doubts = 0 if self._candidates and not any(doubted) else UNVOUCHED
        if (files, doubts) == (self.files, self._doubts):
            return False
        self.files, self._doubts = files, doubts
        named = zip(self._builds, files, doubted, strict=True)
        self.build = "+".join(f"{name}!{file.verdict}" if doubt else name for name, file, doubt in named) or "none"
        self.facts.cache_clear()
        self._merged.cache_clear()
        return True

    @property
    def lookup_errors(self) -> int:
        """Look-ups so far that met damage in a file, which then counts as knowing nothing.

        Repeats that the cache answers are not counted again.
        """
        return sum(source.errors for source in self._sources)

    def close(self) -> None:
        """Release the files and the cached addresses. ``facts`` must not be called any more."""
        self.facts.cache_clear()
        self._shared.cache_clear()
        for source in self._sources:
            source.close()

    def _facts(self, text: str) -> Facts:
        packed = address.parse(text)
        wide = len(packed) == 16
        if not wide and ":" in text:  # unwrapped: the files hold the address inside
            text = address.text(packed)
        if self._standards is None:
            return Facts(packed, *self._merged(*[source.find(text, wide) for source in self._sources]))
        findings, block, is_narrow = [], _BLOCK[len(packed)], False
        for source in self._sources:
            finding, length = source.find_in(text, wide)
            findings.append(finding)
            is_narrow = is_narrow or length > block
        facts = Facts(packed, *self._merged(*findings))
        if not is_narrow:
            return facts
        return msgspec.structs.replace(facts, doubts=facts.doubts | self._odds(packed, facts))

    def _odds(self, packed: bytes, facts: Facts) -> int:
        """The territories of an address that are not its block's, as bits."""
        shared = self._shared(packed[: _BLOCK[len(packed)] // 8], len(packed))
        odds = 0
        for field, bit in DOUBTS.items():
            here = getattr(facts, field)
            if here is not None and here != shared.get(field):
                odds |= bit
        return odds

    def _share(self, kept: bytes, size: int) -> dict[str, str | None]:
        """By field, the territory of a block's first and last address, where at least half of all are in it.

        Connections are left out of it: a VPN's exit hides no geography of the block.

        Args:
            kept: the block's prefix.
            size: bytes in an address.
        """
        bits, block = 8 * size, 8 * len(kept)
        first = at = int.from_bytes(kept) << bits - block
        end = first + (1 << bits - block)
        counted: dict[str, Counter[str | None]] = {field: Counter() for field in DOUBTS}
        ends: list[Facts] = []
        for _ in range(_MOST_NETWORKS):
            text, narrowest = address.text(at.to_bytes(size)), block
            findings = []
            for source in self._sources:
                finding, length = source.find_in(text, size == 16)
                findings.append(finding._replace(connection=0, excluded=0))
                narrowest = max(narrowest, length)
            there = Facts(None, *self._merged(*findings))
            # Networks nest or are apart, so the narrowest one here begins here.
            step = min(1 << bits - narrowest, end - at)
            for field, count in counted.items():
                count[getattr(there, field)] += step
            ends = [*ends[:1], there]
            at += step
            if at == end:
                break
        else:
            return {}
        return {
            field: value
            for field, count in counted.items()
            if (value := getattr(ends[0], field)) == getattr(ends[-1], field) and 2 * count[value] >= end - first
        }

    def _find_canaries(self, standards: Standards, proven: Container[str]) -> list[anonymity.Candidate]:
        return [
            anonymity.Candidate(
                epoch=source.file.epoch,
                size=source.file.size,
                has_canaries=source.file.name in proven,
                lists=frozenset(text for text in standards.canaries or () if source.lists(text)),
            )
            for source in self._sources
            if source.file.anonymity
        ]

    def _merge(self, *findings: Finding) -> tuple[Any, ...]:
        """The facts, but for the address, of some findings. Of doubts only those that hold for every address.

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
        doubts = self._doubts
        if self._standards is not None and not settled.connection & ANONYMISED and not self._is_clear(findings):
            doubts |= UNVOUCHED
        return (*msgspec.structs.astuple(settled)[1:-1], doubts)

    def _is_clear(self, findings: Sequence[Finding]) -> bool:
        """Whether no file says that an address may be anonymised, and an anonymity file says that it is not."""
        if any(finding.connection & ANONYMISED for finding in findings):
            return False
        return any(
            source.file.anonymity and (finding.connection or finding.excluded & ANONYMISED == ANONYMISED)
            for source, finding in zip(self._sources, findings, strict=True)
        )


class _Source:
    """One file as a source of findings."""

    def __init__(self, database: Mmdb, vocabulary: Vocabulary) -> None:
        excluded = exclusions(database.database_type, database.has_words, database.has_further)
        self.file = GeoFile(
            name=database.name,
            sha256=database.sha256,
            epoch=int(database.built.timestamp()),
            database_type=database.database_type,
            size=database.size,
            anonymity=excluded != 0,
        )
        self.errors = 0
        self.close = database.close
        self._get, self._get_in = database.get, database.get_in
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
        return self._read(record)

    def find_in(self, text: str, wide: bool) -> tuple[Finding, int]:
        """The same, with the prefix length of the network it holds for: 0 where nothing narrower can say otherwise."""
        if wide and not self._wide:
            return _UNKNOWN, 0
        try:
            record, length = self._get_in(text)
        except (maxminddb.InvalidDatabaseError, ValueError):
            self.errors += 1
            return _UNKNOWN, 0
        return self._read(record), length

    def lists(self, text: str) -> bool:
        """Whether the file says of an address, which need not parse, that it is anonymised."""
        try:
            packed = address.parse(text)
        except address.BadAddress:
            return False
        return anonymity.is_listed(self.find(address.text(packed), len(packed) == 16).connection)

    def _read(self, record: object) -> Finding:
        if not isinstance(record, dict):
            return self._not_listed
        try:
            return self._flat(tuple(record.items()))
        except TypeError:  # nested, so its items have no hash
            return finding_of(record, self._vocabulary, self._excluded)

    def _read_items(self, items: tuple[tuple[str, object], ...]) -> Finding:
        return finding_of(dict(items), self._vocabulary, self._excluded)
