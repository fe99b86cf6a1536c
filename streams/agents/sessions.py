"""The worker's sessions: what it remembers of the live participations of its partitions.

``SessionKeeper`` holds a view (``streams.core.sessions``) for each partition it owns. A chunk's events and sweeps
change the view at once and note what they touched in a ``Draft``; the chunk's end writes the draft to the changelog
together with the decisions, and, once both are acknowledged, to RocksDB. A chunk that is given up takes the view with
it: the partition's next owner has what was acknowledged, and reads the rest of ``joins`` again.

Addresses are here only sealed; one is unsealed where a rule names a network or a new geo build has to be asked, and
dropped again with the facts it went into.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count, islice
from sys import intern
from typing import Final, Protocol, TypeAlias
from urllib.parse import unquote

import msgspec
import structlog

from streams.adapters.metrics import Metrics
from streams.adapters.seal import LostKey, Sealer
from streams.agents.decider import Answer, Decider
from streams.core import address
from streams.core.charter import REMOVE
from streams.core.decide import decision, is_roster
from streams.core.events import JoinEvent, LeaveEvent
from streams.core.facts import Facts
from streams.core.policy import path_of
from streams.core.sessions import AccountMismatch, Ended, Session, Sessions, Swept, begin, renew
from streams.core.sweep import NOTHING
from streams.wire import sessionrecord
from streams.wire.cloudevents import Malformed

LOAD_SLICE: Final = 2_000
"""Rows decoded in one go at a recovery: some 5 ms."""
STEP_BACK: Final = 60_000
"""How far the clock may step back while time is held still, ms; from farther back it begins anew."""
REREAD: Final = 60_000
"""For how long after taking a partition on an event may be one that was answered before, ms: commits are seconds apart.
"""
MOST_DOUBLINGS: Final = 4
"""A removal is said again after the interval, then twice, four, eight and at last each sixteen times as long."""

Draft: TypeAlias = dict[tuple[int, bytes], Session | Ended | None]
"""What a chunk touched: by partition and subject, the state to be written; None deletes."""

log = structlog.get_logger(__name__)


class Rows(Protocol):
    """What is read of the session table."""

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All of a partition's rows."""


class SessionKeeper:
    """Keeps sessions.

    Args:
        decider: answers events.
        sealer: seals addresses; None: sessions keep none.
        metrics: where to count.
        lateness: how long after a leave an event of its participation may still arrive, ms.
        ttl: after how long without an event a session is taken for ended, ms.
        remind: after how long a removal without a leave is first said again, ms.

    Attributes:
        views: by partition.
        unconfirmed: removed sessions whose leave has not been seen.
        located, unlocated: joins and updates whose address has a country, and others, since the process began.
        this_turn: of what is said now; see ``Swept``.
    """

    def __init__(
        self, decider: Decider, sealer: Sealer | None, metrics: Metrics, *, lateness: int, ttl: int, remind: int
    ) -> None:
        self.views: dict[int, Sessions] = {}
        self.unconfirmed = 0
        self.located = self.unlocated = 0
        self._unsaid: list[tuple[int, Session]] = []
        self._since: dict[int, int] = {}  # by partition, the instant of its first event here
        self._latest = self.this_turn = 0
        self._decider = decider
        self._sealer = sealer
        self._metrics = metrics
        self._lateness = lateness
        self._ttl = ttl
        self._remind = remind
        self._due: list[tuple[int, int, int, int, Session]] = []  # at, tie-break, partition, decided_at, session
        self._ties = count()
        self._round: Iterator[tuple[int, Session]] | None = None

    def __len__(self) -> int:
        """How many sessions are live."""
        return sum(map(len, self.views.values()))

    # -- ownership -----------------------------------------------------------------------------------------------

    async def load(self, partitions: Collection[int], table: Rows) -> None:
        """Remember what the table knows of partitions taken on. In slices; nothing of them may be answered before.

        A row that is none is counted and passed over: its participation begins anew with its next event.
        """
        for partition in partitions:
            view = Sessions()
            rows = table.rows(partition)
            while batch := list(islice(rows, LOAD_SLICE)):
                self._load(view, partition, batch)
                await asyncio.sleep(0)
            self._find_unsaid(partition, view)
            view.ended = dict(sorted(view.ended.items(), key=lambda item: item[1].until))
            self.views[partition] = view

    def _load(self, view: Sessions, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        for subject, record in rows:
            try:
                state = sessionrecord.decode(record)
                if isinstance(state, Ended):
                    view.ended[subject] = state
                else:
                    state.facts = view.place(state.facts)
                    view.add(state)
                    self._said(state, partition, before=0)
            except (sessionrecord.BadRecord, AccountMismatch) as exc:
                self._metrics.session_faults.labels("bad_record").inc()
                log.error("session record passed over", partition=partition, error=str(exc))

    def _find_unsaid(self, partition: int, view: Sessions) -> None:
        """What a sweep wrote down may not have been said: that is due with the chunk behind the one that wrote it.

        An answered event tells of a later chunk as well, at the instant it was decided at, which is its turn or before.
        """
        turns = {session.decided_at if session.swept is None else session.swept.turn for session in view}
        latest = sorted(turns)[-2:]
        self._unsaid += ((partition, s) for s in view if s.swept is not None and s.swept.turn in latest)
        self._latest = max((self._latest, *(session.decided_at for session in view)))
        self.this_turn = max(self.this_turn, self._latest, *latest)

    def take_unsaid(self) -> list[tuple[int, Session]]:
        """Partition and session of each that may have been changed without a word; named once after a recovery."""
        unsaid, self._unsaid = self._unsaid, []
        return unsaid

    def forget(self) -> None:
        """The partitions are no longer ours."""
        self.views = {}
        self._due, self._unsaid, self._since, self._round, self.unconfirmed = [], [], {}, None, 0

    # -- events --------------------------------------------------------------------------------------------------

    def join(self, partition: int, event: JoinEvent, offset: int, at: int, draft: Draft) -> Answer:
        """Answer a join or update. The view changes last, when nothing can go wrong any more.

        Raises:
            Malformed: ``account_mismatch`` (ruling 35).
        """
        view, data, decider = self.views[partition], event.data, self._decider
        path = path_of(data.account, data.meeting, data.participation)
        subject = path.encode()
        facts, bad_address = decider.look_up(data.address)
        if facts.country is None:
            self.unlocated += 1
        else:
            self.located += 1
        ended = view.ended.get(subject)
        if ended is not None:  # its session is forgotten, so it is answered by what it says itself
            self._metrics.session_faults.labels("late").inc()
            return decider.decide(event, facts, bad_address, ended.offset, at, subject=path)
        try:
            known = view.find(data.account, data.meeting, data.participation)
        except AccountMismatch as exc:
            raise Malformed("account_mismatch", str(exc)) from None
        sealed = self._seal(facts, subject)
        build = decider.provenance.geo_build
        if known is None:
            event.source = intern(event.source)
            session = begin(event, view.place(facts), sealed, offset, build)
            answer = decider.decide(event, facts, bad_address, offset, at, subject=path)
        else:
            session = msgspec.structs.replace(known)
            is_new = renew(session, event, view.place(facts), sealed, offset, build)
            if session.offset == known.offset:
                at = self.instant_for(session, at)
            if not is_new:
                self._metrics.session_faults.labels("late").inc()
                facts = self.facts(session, decider, reads_addresses=True)
                session.facts, session.geo_build = view.place(facts), build
            answer = decider.decide(event, facts, bad_address, session.offset, at, of=session, subject=path)
        if answer.report is None and (session.reported or at - self._since.setdefault(partition, at) <= REREAD):
            answer = self._take_back(partition, session, answer, event, facts, at)
        session.cause, session.seen_at = answer.decision.data.cause, at
        if session.swept is not None:
            session.swept = None if answer.report is not None else _trial_left(session)
        before = session.verdict
        session.verdict, session.reported = answer.verdict, answer.reported
        self.note(session, at)
        view.add(session)
        if session.verdict == REMOVE or before == REMOVE:
            self._said(session, partition, before)
        draft[partition, subject] = session
        return answer

    def _take_back(
        self, partition: int, session: Session, answer: Answer, event: JoinEvent, facts: Facts, at: int
    ) -> Answer:
        """The answer, taking back what was last said in report mode now that no such document applies.

        What was said may not be known: the owner before us may have answered this very event, by documents that have
        gone, and ended before it had written the session down; or have written it down and ended before it spoke.
        """
        decider = self._decider
        if not session.reported:
            slots = decider.index.reaching(session.account, session.meeting)
            revisions = [revision for slot in slots if slot.reports for revision in slot.revisions]
            if not any(r.document.mode == "report" and not is_roster(r) for r in revisions):
                return answer
        report = decision(
            event, facts, NOTHING, decider.provenance, mode="report", offset=session.offset, at=at, of=session
        )
        return msgspec.structs.replace(answer, report=report)

    def leave(self, partition: int, event: LeaveEvent, offset: int, at: int, draft: Draft) -> None:
        """End a participation, known or not: its join may yet arrive."""
        view, data = self.views[partition], event.data
        subject = _subject(data.account, data.meeting, data.participation)
        try:
            session = view.find(data.account, data.meeting, data.participation)
        except AccountMismatch:  # nothing of that account's is live there
            session = None
        if session is None and subject not in view.ended:
            self._metrics.session_faults.labels("unknown_leave").inc()
        elif session is not None and session.verdict == REMOVE:
            self.unconfirmed -= 1
            self._metrics.removal_confirmed.observe_all([(at - session.removed_at) / 1000])
        view.end(subject, session, Ended(offset, at + self._lateness))
        draft[partition, subject] = view.ended[subject]

    # -- sessions decided again ----------------------------------------------------------------------------------

    def change(self, partition: int, session: Session, verdict: int, reported: int, at: int, draft: Draft) -> None:
        """A session was decided again, and it has been put into words."""
        before = session.verdict
        session.verdict, session.reported = verdict, reported
        self.note(session, at)
        self._said(session, partition, before)
        draft[partition, _subject(session.account, session.meeting, session.participation)] = session

    def note(self, session: Session, at: int) -> None:
        """What a decision said now was made with; the rest of its ``order``."""
        provenance = self._decider.provenance
        session.policy_offset, session.decided_at = provenance.policy_offset, at
        if session.geo_time < provenance.geo_time:
            session.geo_time = provenance.geo_time
        if session.verdict != REMOVE:
            session.removed_at = 0
        elif not session.removed_at:
            session.removed_at = at

    def facts(self, session: Session, decider: Decider, *, reads_addresses: bool) -> Facts:
        """What a decider's geo files say of a session's address; with the address where a rule reads it.

        Where the address does not open, what an earlier build said stands, and ``network`` is open, as it is for an
        address that was none (ruling 10).
        """
        renewed = session.geo_build != decider.provenance.geo_build
        if not (renewed or reads_addresses) or (packed := self.unseal(session)) is None:
            return session.facts
        if renewed:
            return decider.locate(address.text(packed))
        return msgspec.structs.replace(session.facts, address=packed)

    def unseal(self, session: Session) -> bytes | None:
        """A session's address; None where it has none that opens."""
        if session.sealed is None or self._sealer is None:
            return None
        try:
            return self._sealer.unseal(
                session.sealed, _subject(session.account, session.meeting, session.participation)
            )
        except LostKey:
            self._metrics.session_faults.labels("lost_key").inc()
            return None

    # -- time ----------------------------------------------------------------------------------------------------

    def instant(self, now: int) -> int:
        """The instant to decide a chunk at, ms since the epoch: the clock's, and after all that was said before.

        Where the clock steps back a little, time is held still for as long, or what is said next would have a lower
        ``order`` than what was said last.
        """
        later = self._latest + 1
        self._latest = later if now < later <= now + STEP_BACK else now
        self.this_turn = max(self.this_turn + 1, self._latest)
        return self._latest

    def instant_for(self, session: Session, at: int) -> int:
        """The instant to decide a session at: one that what is said then does not rank below what was said last.

        A clock that was ahead, here or at another worker, has said things in its future. Nothing but a newer event,
        document or geo build outranks them, so until the clock is there the session's own time goes on from where it
        was. What is said declares that instant, and windows go by it.

        Args:
            session: as it was last said; its newest event is known already.
            at: the chunk's instant, ms since the epoch.
        """
        provenance = self._decider.provenance
        outranks = (provenance.policy_offset, provenance.geo_time) > (session.policy_offset, session.geo_time)
        return at if outranks or session.decided_at <= at else session.decided_at + 1

    def unreminded(self, at: int) -> Iterator[tuple[int, Session] | None]:
        """Partition and session of each removal that has to be said again by now.

        None for one that need not be after all: there may be many, and who goes through them looks at the time.
        """
        while self._due and self._due[0][0] <= at:
            _, _, partition, decided_at, session = heappop(self._due)
            view = self.views.get(partition)
            if view is None or not view.holds(session) or session.decided_at != decided_at:
                yield None  # it left, or something was said of it since, which is due on its own
            else:
                yield partition, session

    def again_later(self, partition: int, session: Session, at: int) -> None:
        """Look at a removed session again after the interval."""
        due = at + (self._remind << min(session.reminders, MOST_DOUBLINGS))
        heappush(self._due, (due, next(self._ties), partition, session.decided_at, session))

    def expire(self, at: int, most: int, draft: Draft) -> bool:
        """Forget ended participations no longer expected, and look at some sessions' time-to-live.

        Args:
            at: now, ms since the epoch.
            most: how many of each at once.
            draft: where what is forgotten is noted.

        Returns:
            Whether there is more to forget at once.
        """
        forgotten = 0
        for partition, view in self.views.items():
            while view.ended and forgotten < most:
                subject, ended = next(iter(view.ended.items()))
                if ended.until > at:
                    break
                del view.ended[subject]
                draft[partition, subject] = None
                forgotten += 1
        if self._round is None:
            self._round = ((partition, s) for partition, view in list(self.views.items()) for s in view)
        looked = 0
        for partition, session in islice(self._round, most):
            looked += 1
            if session.seen_at + self._ttl <= at and self.views[partition].holds(session):
                self.views[partition].drop(session)
                self.unconfirmed -= session.verdict == REMOVE
                self._metrics.session_faults.labels("expired").inc()
                draft[partition, _subject(session.account, session.meeting, session.participation)] = None
        if looked < most:
            self._round = None
        return forgotten >= most

    def record(self, partition: int, subject: bytes) -> bytes | None:
        """What the table should hold of a participation; None for nothing."""
        view = self.views[partition]
        if (ended := view.ended.get(subject)) is not None:
            return sessionrecord.encode(ended)
        try:
            account, meeting, participation = (unquote(part) for part in subject.decode().split("/"))
            session = view.find(account, meeting, participation)
        except (AccountMismatch, ValueError):  # nothing of ours: it goes
            return None
        return None if session is None else sessionrecord.encode(session)

    # -- within --------------------------------------------------------------------------------------------------

    def _said(self, session: Session, partition: int, before: int) -> None:
        removed = session.verdict == REMOVE
        self.unconfirmed += removed - (before == REMOVE)
        if removed:
            self.again_later(partition, session, session.decided_at)

    def _seal(self, facts: Facts, subject: bytes) -> bytes | None:
        if self._sealer is None or facts.address is None:
            return None
        return self._sealer.seal(facts.address, subject)


def _trial_left(session: Session) -> Swept | None:
    """What of a sweep's words may be on its way still when a session is answered for: what it said in report mode."""
    if session.swept is None or not session.swept.reported:
        return None
    return session.swept._replace(enforced=False)


def _subject(account: str, meeting: str, participation: str) -> bytes:
    return path_of(account, meeting, participation).encode()
