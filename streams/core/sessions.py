"""Live participations as they are remembered, and why the order in which events arrive does not matter.

A participation is in one of three states, and events only ever move it forward:

    unknown → live (its newest join or update known) → ended (a leave was seen)

* Of joins and updates the *newest* counts, whenever it arrives: by ``sequence``, without one by ``(time, id)``
  (``moment``). An older one changes nothing and is answered from what the newest said.
* A leave ends the participation whatever its place, since its id is never reused. What stays is a marker, so that a
  join that arrives after its leave starts nothing; it is kept for as long as events may be late.

Taking the greatest of a set and an absorbing end are commutative, associative and idempotent: every permutation and
repetition of the same events ends in the same state (design §5).

``Sessions`` is one partition's view: by meeting, and by the account a document reaches. It asks no clock, seals
nothing and writes nothing.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import msgspec

from streams.core.events import Cause, JoinEvent, Role, Stage
from streams.core.facts import Facts


class Swept(NamedTuple):
    """What a sweep last said of a session.

    Attributes:
        cause, trigger: why.
        enforced, reported: whether it said a decision, and one in report mode.
        turn: when, by a count that only rises: ms since the epoch while no clock goes back.
    """

    cause: Cause
    trigger: tuple[str, ...]
    enforced: bool
    reported: bool
    turn: int


Moment: TypeAlias = tuple[bool, int, int, str, str]

_EARLIEST: Final = -(2**63)
_PLACES: Final = 65_536


def moment(event: JoinEvent) -> Moment:
    """An event's place among its participation's: the greatest is the newest.

    Events with a ``sequence`` come after all those without, which makes the order total: comparing a pair by sequence
    and another by time could go round in a circle. ``source`` settles what is left, since (source, id) is the event.
    """
    return _moment(event.data.sequence, _milliseconds(event), event.id, event.source)


def _moment(sequence: int | None, time: int | None, id_: str, source: str) -> Moment:
    return (sequence is not None, sequence or 0, _EARLIEST if time is None else time, id_, source)


def _milliseconds(event: JoinEvent) -> int | None:
    return None if event.time is None else round(event.time.timestamp() * 1000)


class Session(msgspec.Struct, gc=False, array_like=True):
    """A live participation as remembered; removed ones stay until their leave. Also the record's content.

    Attributes:
        facts: what the newest event's address was found to be, without the address.
        sealed: the address, sealed; None where it was none or nothing seals.
        verdict: of the decision last said, a place in ``VERDICTS``.
        reported: likewise in report mode; admit where nothing was said.
        cause: of the decision last said.
        offset: in ``joins``, of the newest event; with the three that follow it is ``order`` of what was last said.
        policy_offset: the policy log's.
        geo_time: the geo files', Unix seconds; the newest of those with which this event's decisions were made.
        decided_at: ms since the epoch.
        geo_build: the geo files that ``facts`` came from.
        sequence, time, id, source: the newest event's; ``time`` in ms since the epoch.
        seen_at: when a worker last had an event of it, ms since the epoch.
        removed_at: when the removal that stands was first said, ms since the epoch; 0 where none does.
        reminders: how often a removal was said again, ever.
        swept: what a sweep said last; None where an event was answered since.
    """

    account: str
    meeting: str
    participation: str
    role: Role
    stage: Stage
    facts: Facts
    sealed: bytes | None
    verdict: int
    reported: int
    cause: Cause
    offset: int
    policy_offset: int
    geo_time: int
    decided_at: int
    geo_build: str
    sequence: int | None
    time: int | None
    id: str
    source: str
    seen_at: int
    removed_at: int = 0
    reminders: int = 0
    swept: Swept | None = None

    @property
    def moment(self) -> Moment:
        """The newest event's place (see the function of that name)."""
        return _moment(self.sequence, self.time, self.id, self.source)


class Ended(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is kept of a participation that has ended.

    Attributes:
        offset: of its leave in ``joins``.
        until: when a late event need not be expected any more, ms since the epoch.
    """

    offset: int
    until: int


class AccountMismatch(ValueError):
    """An event names another account for a meeting that is live (ruling 35)."""


class Meeting(msgspec.Struct):
    """A live meeting: whose it is, and its sessions by participation."""

    id: str
    account: str
    sessions: dict[str, Session]


class Sessions:
    """One partition's participations, live and ended.

    Attributes:
        ended: by subject (``ACCOUNT/MEETING/PARTICIPATION``, percent-encoded, UTF-8), the oldest first.
    """

    def __init__(self) -> None:
        self.ended: dict[bytes, Ended] = {}
        self._meetings: dict[str, Meeting] = {}
        self._accounts: dict[str, dict[str, Meeting]] = {}
        self._places: dict[Facts, Facts] = {}
        self._live = 0

    def __len__(self) -> int:
        """How many are live."""
        return self._live

    def __iter__(self) -> Iterator[Session]:
        for account in list(self._accounts):
            for meeting in self.meetings(account):
                yield from list(meeting.sessions.values())

    # -- looking -------------------------------------------------------------------------------------------------

    def find(self, account: str, meeting: str, participation: str) -> Session | None:
        """The live session of a participation.

        Raises:
            AccountMismatch: the meeting is live and another account's.
        """
        there = self._meetings.get(meeting)
        if there is None:
            return None
        if there.account != account:
            raise AccountMismatch("the meeting is live and another account's")
        return there.sessions.get(participation)

    def holds(self, session: Session) -> bool:
        """Whether this very session is still live."""
        there = self._meetings.get(session.meeting)
        return there is not None and there.sessions.get(session.participation) is session

    @property
    def accounts(self) -> list[str]:
        """Those with live meetings, as of now: both this and ``meetings`` may be gone through while events come in."""
        return list(self._accounts)

    def meetings(self, account: str, meeting: str | None = None) -> list[Meeting]:
        """An account's live meetings, or the one that is named."""
        live = self._accounts.get(account, {})
        if meeting is None:
            return list(live.values())
        return [live[meeting]] if meeting in live else []

    # -- changing ------------------------------------------------------------------------------------------------

    def add(self, session: Session) -> None:
        """Take a session in; give it facts from ``place``, so that it shares them. Raises AccountMismatch."""
        there = self._meetings.get(session.meeting)
        if there is None:
            there = Meeting(session.meeting, session.account, {})
            self._meetings[session.meeting] = there
            self._accounts.setdefault(session.account, {})[session.meeting] = there
        elif there.account != session.account:
            raise AccountMismatch("the meeting is live and another account's")
        session.account, session.meeting = there.account, there.id  # one string for all of a meeting's sessions
        if session.facts.address is not None:
            session.facts = self.place(session.facts)
        self._live += session.participation not in there.sessions
        there.sessions[session.participation] = session

    def end(self, subject: bytes, session: Session | None, ended: Ended) -> None:
        """A leave was seen; ``session`` is the one it ends, if any is known."""
        if session is not None:
            self.drop(session)
        before = self.ended.pop(subject, None)
        if before is not None:  # seen twice: keep what lasts longest
            ended = Ended(max(before.offset, ended.offset), max(before.until, ended.until))
        self.ended[subject] = ended

    def drop(self, session: Session) -> None:
        """Forget a session without a marker: its time-to-live is over."""
        there = self._meetings[session.meeting]
        del there.sessions[session.participation]
        self._live -= 1
        if not there.sessions:
            del self._meetings[there.id]
            live = self._accounts[there.account]
            del live[there.id]
            if not live:
                del self._accounts[there.account]

    def place(self, facts: Facts) -> Facts:
        """Facts without their address, one object for all that are equal."""
        if facts.address is not None:
            facts = msgspec.structs.replace(facts, address=None)
        if len(self._places) > _PLACES:
            self._places.clear()
        return self._places.setdefault(facts, facts)


def renew(session: Session, event: JoinEvent, facts: Facts, sealed: bytes | None, offset: int, build: str) -> bool:
    """Let a live session know of an event; returns whether the event is its newest.

    Args:
        session: changed in place.
        event: a join or update of the participation, normalised.
        facts: of its address, without the address.
        sealed: its address.
        offset: in ``joins``.
        build: the geo files that gave the facts.
    """
    data, at, known = event.data, moment(event), session.moment
    if at < known:
        return False
    if at == known:  # the same event again: the same content, unless somebody broke CloudEvents' rule
        session.offset = offset = max(session.offset, offset)
        if (data.role, data.stage, sealed or b"") <= (session.role, session.stage, session.sealed or b""):
            return False
    if offset > session.offset:
        session.geo_time = 0  # whatever is said of this event ranks above all that was said before
    session.role, session.stage = data.role or "participant", data.stage or "live"
    session.facts, session.sealed, session.geo_build = facts, sealed, build
    session.sequence, session.time = data.sequence, None if event.time is None else at[2]
    session.id, session.source, session.offset = event.id, event.source, offset
    return True


def begin(event: JoinEvent, facts: Facts, sealed: bytes | None, offset: int, build: str) -> Session:
    """The session that a participation's first known event begins; nothing has been said of it yet."""
    data = event.data
    return Session(  # by position, which takes a fifth of the time
        data.account,
        data.meeting,
        data.participation,
        data.role or "participant",
        data.stage or "live",
        facts,
        sealed,
        0,  # verdict
        0,  # reported
        event.cause,
        offset,
        -1,  # policy_offset
        0,  # geo_time
        0,  # decided_at
        build,
        data.sequence,
        _milliseconds(event),
        event.id,
        event.source,
        0,  # seen_at
    )
