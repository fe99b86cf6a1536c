"""Reading a deployment's topics into ledgers: what ``doorward verify`` and ``doorward replay`` share.

How it works. Partition by partition. What a partition holds is read once, in the order of its offsets, and sorted into
piles by participation (``adapters.spill``); then pile by pile whole participations are handed to the partition's ledger
(``core.ledger``). In memory are at any time the documents, a byte for each record of one partition of ``joins``, one
pile (a 256th of what a partition holds, as read) and the blocks of the others (16 MiB); on disk is one partition.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import msgspec
from aiokafka.structs import ConsumerRecord

from streams.adapters import ledgerlog
from streams.adapters.decisionlog import SLACK
from streams.adapters.ledgerlog import DEAD_LETTERS, DECISIONS, JOINS, POLICIES, REPORTS, STATUSES, Logs
from streams.adapters.spill import Spill
from streams.cli.proving import world_of
from streams.cli.reading import Advance
from streams.core.events import JoinEvent, LeaveEvent
from streams.core.evidence import Atlas, Bounds, Input, NoDecision, Said, World, said_at
from streams.core.ledger import BY_ADDRESS, BY_FORM, BY_STATE, GONE, MOST_TOLD, Invariant, Ledger, Span, Violation
from streams.core.policy import Mode, path_of
from streams.settings import Settings
from streams.wire import cloudevents, deadletter
from streams.wire.cloudevents import Malformed
from streams.wire.trust import TrustSet

_SHOWN_BY: Final = {"bad_address": BY_ADDRESS, "account_mismatch": BY_STATE, "internal": BY_STATE}
MOST_BUILDS: Final = 1_000
"""Geo builds that are known at once: one a day for as long as decisions are kept is some 30."""
_NEVER: Final = 2**63 - 1
_MODES: Final[tuple[tuple[str, Mode], ...]] = ((DECISIONS, "enforce"), (REPORTS, "report"))


class Wanted(msgspec.Struct, frozen=True):
    """What to look at; instants are ms since the epoch, ``until`` None for now.

    Attributes:
        group: whose commits count.
        grace: how long a change may take until it has reached every live participation, ms.
        proofs: only whether decisions are what deciding again gives (I2 and I3).
        decision: likewise, and only this one, by its id.
    """

    group: str
    since: int = 0
    until: int | None = None
    grace: int = 0
    proofs: bool = False
    decision: str | None = None


class Account(msgspec.Struct):
    """What came of it, all partitions together. For the counts see ``core.ledger.Ledger``.

    Attributes:
        waiting: records of ``joins`` that are not committed yet, and so not owed anything.
        committed: by partition.
    """

    partitions: int = 0
    events: int = 0
    decisions: int = 0
    proven: int = 0
    waiting: int = 0
    committed: dict[int, int] = {}
    violations: dict[Invariant, int] = {}
    first: list[Violation] = []
    unprovable: dict[str, int] = {}

    def add(self, ledger: Ledger) -> None:
        """Add a partition's."""
        self.partitions += 1
        self.events += ledger.inputs
        self.decisions += ledger.decisions
        self.proven += ledger.proven
        self.violations = dict(Counter(self.violations) + ledger.violations)
        self.unprovable = dict(Counter(self.unprovable) + ledger.unprovable)
        told = Counter(found.invariant for found in self.first)
        for invariant, first in ledger.first.items():
            self.first += first[: MOST_TOLD - told[invariant]]


class _Entry(msgspec.Struct, array_like=True, gc=False):
    """What lies on a pile: a record of ``joins`` (of the two events one) or a decision (a mode and its bytes)."""

    subject: str
    offset: int
    join: JoinEvent | None = None
    leave: LeaveEvent | None = None
    letters: int = 0
    owed: bool = False
    mode: Mode = "enforce"
    value: bytes = b""


class _PeekData(msgspec.Struct, gc=False):
    geo_build: str
    order: list[int]


class _Peek(msgspec.Struct, gc=False):
    """The little of a decision that sorting it needs."""

    id: str
    subject: str
    data: _PeekData


_peek = msgspec.json.Decoder(_Peek).decode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Entry).decode


async def account_of(
    wanted: Wanted,
    settings: Settings,
    trusted: TrustSet,
    atlas: Callable[[str], Atlas | None],
    watch: Callable[[int], Advance],
) -> Account:
    """Read the topics and check them.

    Args:
        wanted: what to look at.
        settings: where the brokers are, and what workers decide with.
        trusted: whose signatures count.
        atlas: geo files by a build's name.
        watch: given how many steps there are, what to tell of each.

    Raises:
        BrokerUnavailable: see ``adapters.ledgerlog.opened``.
        SpillUnavailable: no room on the disk.
    """
    connection, now = settings.connection(), time.time_ns() // 1_000_000
    span = wanted.since, wanted.until
    async with ledgerlog.opened(connection.bootstrap, wanted.group, *span, **connection.security_options()) as logs:
        # Records of participations are gone through twice: read, then checked.
        sizes = {place: max(0, found.stop - found.start) for place, found in logs.ranges.items()}
        advance = watch(sum(size * (1 if p.topic in (POLICIES, STATUSES) else 2) for p, size in sizes.items()))
        world = await world_of(logs, settings, trusted, atlas, advance)
        account = Account(committed=logs.committed)
        end = now if wanted.until is None else min(now, wanted.until)
        partitions, only = logs.partitions, None
        if wanted.decision is not None:
            partitions, only = await _find(logs, wanted.decision)
        for partition in partitions:
            reading = _Partition(logs, partition, wanted, end, settings, world, only)
            try:
                await reading.read(advance)
                account.waiting += reading.waiting
                account.add(reading.check(advance))
            finally:
                reading.spill.close()
    return account


async def _find(logs: Logs, id_: str) -> tuple[list[int], str | None]:
    """The partition and subject of a decision."""
    mark = id_.encode()
    for topic, _ in _MODES:
        for partition in logs.partitions:
            async for records in logs.records(topic, partition):
                for record in records:
                    if mark in (record.value or b"") and (peek := _peeked(record)) is not None and peek.id == id_:
                        return [partition], peek.subject
    return [], None


# -- a partition -------------------------------------------------------------------------------------------------


class _Partition:
    """One partition of ``joins``, ``decisions``, ``decisions.report`` and ``joins.dlq``.

    Attributes:
        spill: its records by participation; to be closed.
        waiting: records of ``joins`` that are not committed.
    """

    def __init__(
        self,
        logs: Logs,
        partition: int,
        wanted: Wanted,
        end: int,
        settings: Settings,
        world: World,
        only: str | None,
    ) -> None:
        joins = logs.range_of(JOINS, partition)
        committed = logs.committed.get(partition, 0)
        bounds = Bounds(joins.start, joins.stop, joins.is_end)
        ttl, settled = int(settings.session_ttl * 1000), end - wanted.grace
        span = Span(partition, bounds, committed, wanted.since, end, settled, ttl)
        self.waiting = max(0, joins.stop - max(joins.start, committed))
        self._ledger = Ledger(span, world)
        self._logs, self._span, self._wanted, self._only = logs, span, wanted, only
        self._max_bytes = settings.max_event_bytes
        self._builds = world.builds
        self._latest = (0, "")  # the last decision before what must have settled: when, and its geo build
        self._letters = bytearray(max(0, joins.stop - joins.start))
        self._whole_from = {topic: self._first_kept(topic) for topic in (DECISIONS, DEAD_LETTERS)}
        topics = (JOINS, DECISIONS, REPORTS)
        self.spill = Spill(sum(r.stop - r.start for r in (logs.range_of(topic, partition) for topic in topics)))

    # -- reading -------------------------------------------------------------------------------------------------

    async def read(self, advance: Advance) -> None:
        """Read all four topics; what belongs to a participation goes onto its pile."""
        for topic, mode in _MODES:
            async for records in self._records(topic):
                for record in records:
                    self._sort_word(record, mode)
                advance(len(records))
        if self._latest[1]:
            self._ledger.builds.add(self._latest[1])
        async for records in self._records(DEAD_LETTERS):
            for record in records:
                self._note_letter(record)
            advance(2 * len(records))
        async for records in self._records(JOINS):
            for record in records:
                if not self._sort_event(record):
                    advance(1)
            advance(len(records))
        for place, letters in enumerate(self._letters):
            if letters and not self._wanted.proofs:
                offset = self._span.bounds.first + place
                self._ledger.stray_letter(offset, f"dead letters name offset {offset} of joins, where no record is")

    def _first_kept(self, topic: str) -> int:
        """From what instant on nothing is missing of an output: unless retention has cut it, ever since."""
        return _NEVER if self._logs.range_of(topic, self._span.partition).is_cut else 0

    async def _records(self, topic: str) -> AsyncIterator[list[ConsumerRecord]]:
        """A topic's records; of outputs that retention has cut it is noted when they begin."""
        async for records in self._logs.records(topic, self._span.partition):
            if self._whole_from.get(topic) == _NEVER:
                self._whole_from[topic] = records[0].timestamp + SLACK
            yield records

    def _sort_word(self, record: ConsumerRecord, mode: Mode) -> None:
        peek = _peeked(record)
        if peek is None:
            if self._only is None:
                self._ledger.stray_word(mode, record.offset, "it is no decision")
            return
        at, build = peek.data.order[3], peek.data.geo_build
        if at > self._span.end and self._wanted.until is not None:
            return
        _note(self._builds, build)
        if at > self._span.settled:
            _note(self._ledger.builds, build)
        else:
            self._latest = max(self._latest, (at, build))
        self._add(_Entry(peek.subject, record.offset, mode=mode, value=record.value or b""))

    def _note_letter(self, record: ConsumerRecord) -> None:
        told = {name: value or b"" for name, value in record.headers if name.startswith(deadletter.PREFIX)}
        span = self._span
        try:
            topic, reason = (told[deadletter.PREFIX + name].decode() for name in ("topic", "reason"))
            partition, offset = (int(told[deadletter.PREFIX + name]) for name in ("partition", "offset"))
        except (KeyError, ValueError):
            topic, reason, partition, offset = "", "", -1, -1
        if (topic, partition) != (JOINS, span.partition) or (offset >= span.bounds.stop and span.bounds.is_end):
            if not self._wanted.proofs:
                self._ledger.stray_letter(record.offset, "it names no record of its partition of joins")
        elif span.bounds.first <= offset < span.bounds.stop:
            self._letters[offset - span.bounds.first] |= _SHOWN_BY.get(reason, BY_FORM)

    def _sort_event(self, record: ConsumerRecord) -> bool:
        """Put an event onto its pile; False for a record that is none."""
        place = record.offset - self._span.bounds.first
        letters, self._letters[place] = self._letters[place], 0
        if record.timestamp < self._whole_from[DEAD_LETTERS]:
            letters |= GONE
        owed = self._is_owed(record)
        try:
            event = cloudevents.decode(record.value, record.headers, max_bytes=self._max_bytes)
        except Malformed:
            event = None
        if event is None or record.key != event.data.meeting.encode():
            if not self._wanted.proofs:
                self._ledger.malformed(record.offset, letters, owed=owed)
            return False
        data = event.data
        entry = _Entry(path_of(data.account, data.meeting, data.participation), record.offset)
        entry.letters, entry.owed = letters, owed
        if isinstance(event, LeaveEvent):
            entry.leave = event
        else:
            entry.join = event
        self._add(entry)
        return True

    def _is_owed(self, record: ConsumerRecord) -> bool:
        at, wanted = max(0, record.timestamp), self._wanted
        if record.offset >= self._span.committed or at < wanted.since:
            return False
        if wanted.until is not None and at >= wanted.until:
            return False
        if at < self._whole_from[DECISIONS]:
            self._ledger.doubt("an event from before the decisions that retention has left")
            return False
        return True

    def _add(self, entry: _Entry) -> None:
        if self._only in (None, entry.subject):
            self.spill.add(entry.subject.encode(), _pack(entry))

    # -- checking ------------------------------------------------------------------------------------------------

    def check(self, advance: Advance) -> Ledger:
        """Check every participation, then what was committed."""
        for pile in self.spill.piles():
            participations: dict[str, tuple[list[Input], list[Said]]] = {}
            entries = 0
            for raw in pile:
                entry = _unpack(raw)
                inputs, said = participations.setdefault(entry.subject, ([], []))
                event = entry.join or entry.leave
                if event is not None:
                    inputs.append(Input(entry.offset, event, entry.letters, entry.owed))
                else:
                    said += self._decoded(entry)
                entries += 1
            for subject, (inputs, said) in participations.items():
                self._check(subject, inputs, said)
            advance(entries)
        if not self._wanted.proofs:
            self._ledger.close()
        return self._ledger

    def _check(self, subject: str, inputs: list[Input], said: list[Said]) -> None:
        if self._wanted.proofs:
            self._ledger.prove(subject, inputs, said, self._wanted.decision)
        else:
            self._ledger.check(subject, inputs, said)

    def _decoded(self, entry: _Entry) -> Iterator[Said]:
        try:
            yield said_at(entry.offset, entry.mode, entry.value)
        except NoDecision:
            self._ledger.stray_word(entry.mode, entry.offset, "it is no decision")


def _note(builds: set[str], build: str) -> None:
    """Take in a geo build; more than anybody ever had are somebody's invention."""
    if len(builds) < MOST_BUILDS:
        builds.add(build)


def _peeked(record: ConsumerRecord) -> _Peek | None:
    try:
        peek = _peek(record.value or b"")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return peek if len(peek.data.order) == 4 else None
