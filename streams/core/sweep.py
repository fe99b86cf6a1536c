"""Deciding live sessions again: which ones, in what order, and what is said of those whose verdict changed.

A document that is accepted, a window that opens or closes, a new geo build and a new trust set each call for a sweep
of the sessions they reach (``Reach``). ``decide_again`` is one session's part of it. What it says depends on the
session, the index, the facts and the instant alone, not on which sweep came by: its trigger is worked out from what
changed since the session was last spoken of (``trigger``). So a sweep that is run again gives the ids it gave before,
and a crash between needs no record of how far it had come.

``Backlog`` holds the sweeps that are due. It takes turns between accounts, so that none waits for another's million
sessions, and merges what reaches the same sessions, so that a hundred documents at once are one walk.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from streams.core.decide import Judgement, judge_by
from streams.core.events import Cause, Provenance
from streams.core.facts import Facts
from streams.core.index import Index, Revision, Slot
from streams.core.policy import Document
from streams.core.sessions import Session
from streams.core.trials import Tally

Trigger: TypeAlias = tuple[Cause, tuple[str, ...]]
"""A decision's cause, and what its id is made of besides whose it is."""

NOTHING: Final = Judgement(0, None, None, {})
"""What no document says (design §4, rule 5)."""


class Reach(NamedTuple):
    """The live sessions a document can touch: all, an account's, or a meeting's."""

    account: str | None = None
    meeting: str | None = None


EVERYTHING: Final = Reach()


def reach_of(document: Document) -> Reach:
    """What a document can touch."""
    return Reach(document.account, document.meeting)


# -- one session -------------------------------------------------------------------------------------------------


class Change(msgspec.Struct, frozen=True, gc=False):
    """What has to be said of a session that was decided again.

    Attributes:
        enforced: its judgement now, where the verdict is another than was said; else None.
        reported: likewise in report mode.
        trigger: why.
    """

    enforced: Judgement | None
    reported: Judgement | None
    trigger: Trigger


def decide_again(
    session: Session, slots: Sequence[Slot], facts: Facts, provenance: Provenance, at: int
) -> Change | None:
    """Decide a live session again; None where both verdicts are what was last said.

    Args:
        session: as it was last said; not changed.
        slots: those that reach it (``Index.reaching``).
        facts: of its address now.
        provenance: what is decided with.
        at: the instant, ms since the epoch.
    """
    enforced, reported = judge_by(slots, session, facts, at)
    changed = enforced if enforced.verdict != session.verdict else None
    trial = reported or NOTHING
    changed_trial = trial if trial.verdict != session.reported else None
    if changed is None and changed_trial is None:
        return None
    return Change(changed, changed_trial, trigger(session, slots, facts, provenance, at))


def trigger(session: Session, slots: Sequence[Slot], facts: Facts, provenance: Provenance, at: int) -> Trigger:
    """What changed a session's verdict: the latest that happened to a document reaching it since it was spoken of.

    ``policy`` and the offset of the revision, ``clock`` and the window's edge in ms, or ``geo`` and the build. Where
    the geo build changed too, it counts as the cause only if the documents as they are would have left the session,
    with the facts it had, as it was.

    Where none of these happened, and its place is where it was, other documents count than did: another trust set
    judges the same log. That is ``policy``, and ``trust`` with the instant (ms) at which the session was last spoken
    of, so that no later change shares it.
    """
    geo: Trigger = ("geo", ("geo", provenance.geo_build))
    relocated = session.geo_build != provenance.geo_build
    if relocated and _leave(slots, session, session.facts, at):
        return geo
    news = [slot.news(at, offset=session.policy_offset, since=session.decided_at) for slot in slots]
    latest = max((found for found in news if found is not None), key=lambda found: (found[0], found[2]), default=None)
    if latest is None:
        before = msgspec.structs.replace(session.facts, address=facts.address)
        if relocated or _leave(slots, session, before, at):
            return geo
        return "policy", ("trust", str(session.decided_at))
    _, edge, offset = latest
    return ("policy", ("policy", str(offset))) if edge is None else ("clock", ("clock", str(edge)))


def _leave(slots: Sequence[Slot], session: Session, facts: Facts, at: int) -> bool:
    """Whether documents leave a session with these facts as it was said."""
    enforced, reported = judge_by(slots, session, facts, at)
    return enforced.verdict == session.verdict and (reported or NOTHING).verdict == session.reported


def reminder(session: Session) -> Trigger:
    """Why a removal is said again: nobody has confirmed it. Its number rises over the session's whole life."""
    return session.cause, ("reminder", str(session.reminders + 1))


_Like: TypeAlias = tuple[int, str, str]
"""Facts (by their id), role and stage."""
_Verdicts: TypeAlias = tuple[int, int, Facts]
"""Enforced and in report mode, and the facts they are of."""


class Alike:
    """Verdicts by documents, place, role and stage: most sessions are like others, and stand as they were.

    They hold for one index and one geography, until the next window opens or closes. An address has no likes:
    documents that read one are not asked here.

    Args:
        geo_build: the geography's.
    """

    def __init__(self, geo_build: str) -> None:
        self._geo_build = geo_build
        self._slots: Sequence[Slot] = ()
        self._by_slots: dict[tuple[Slot, ...], dict[_Like, _Verdicts]] = {}
        self._likes: dict[_Like, _Verdicts] = {}

    def stands(self, session: Session, slots: tuple[Slot, ...], at: int) -> bool:
        """Whether deciding a session again gives the verdicts last said. False, too, where its facts are outdated."""
        if session.geo_build != self._geo_build:
            return False
        if slots is not self._slots:
            self._slots, self._likes = slots, self._by_slots.setdefault(slots, {})
        facts = session.facts
        like = id(facts), session.role, session.stage
        verdicts = self._likes.get(like)
        if verdicts is None:
            enforced, reported = judge_by(slots, session, facts, at)
            # With the facts themselves: while they are kept, no others have their id.
            verdicts = self._likes[like] = enforced.verdict, (reported or NOTHING).verdict, facts
        return verdicts[0] == session.verdict and verdicts[1] == session.reported


# -- the clock ---------------------------------------------------------------------------------------------------


class Timetable:
    """When windows open and close."""

    def __init__(self) -> None:
        self._edges: list[tuple[int, str, str]] = []
        self._reaches: dict[tuple[str, str], Reach] = {}
        self._ends: list[tuple[int, str, int]] = []  # of documents, with path and revision

    def add(self, document: Document) -> None:
        """Take in an accepted document's window."""
        if document.retracted:
            return
        reach = reach_of(document)
        name = (reach.account or "", reach.meeting or "")
        self._reaches[name] = reach
        for edge in (document.not_before, document.not_after):
            if edge is not None:
                insort(self._edges, (edge, *name))
        if document.not_after is not None:
            insort(self._ends, (document.not_after, document.path, document.revision))

    def between(self, then: int, now: int) -> list[Reach]:
        """What has to be swept after the clock went from one instant to another (ms), forwards or back.

        Each once, in the order of their earliest edges.
        """
        low, high = min(then, now), max(then, now)
        first, last = (bisect_left(self._edges, (after + 1, "", "")) for after in (low, high))
        return list(dict.fromkeys(self._reaches[account, meeting] for _, account, meeting in self._edges[first:last]))

    def next_end(self, now: int, index: Index) -> int | None:
        """When the next of an index's documents ends after an instant (both ms), superseded ones left out."""
        ends = self._ends = self._ends[bisect_left(self._ends, (now + 1, "", 0)) :]
        for n, (at, path, number) in enumerate(ends):
            slot = index.get(path)
            if slot is not None and slot.revisions[0].document.revision == number:
                del ends[:n]
                return at
        ends.clear()
        return None


# -- what is due -------------------------------------------------------------------------------------------------


class Job:
    """One sweep that is due or under way.

    Attributes:
        reach: the sessions to decide again.
        trials: documents in report mode, by path, each with what is counted on this walk.
        counted: whether a document asked for it, so that its counts are told.
        offset: the policy log's, of the earliest document it is for; nothing up to it counts as swept before this is.
        walk: where it has got to; None before it began.
        again: whether something new to decide by came since it began.
    """

    __slots__ = ("again", "counted", "offset", "reach", "trials", "walk")

    def __init__(self, reach: Reach, offset: int) -> None:
        self.reach = reach
        self.offset = offset
        self.trials: dict[str, tuple[Revision, Tally]] = {}
        self.walk: Any = None
        self.again = self.counted = False

    def restart(self) -> None:
        """Begin anew."""
        self.again, self.walk = False, None
        self.trials = {path: (revision, Tally()) for path, (revision, _) in self.trials.items()}


class Backlog:
    """The sweeps that are due, taking turns."""

    def __init__(self) -> None:
        self._jobs: dict[Reach, Job] = {}
        self._accounts: deque[str | None] = deque()  # whose turn is next; None: sweeps of everything
        self._queues: dict[str | None, deque[Job]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, reach: Reach, offset: int, trials: Iterable[Revision] = (), *, counted: bool = False) -> None:
        """Ask for a sweep; one for the same sessions that is already due or under way is made to do."""
        job = self._jobs.get(reach)
        if job is None:
            job = self._jobs[reach] = Job(reach, offset)
            queue = self._queues.get(reach.account)
            if queue is None:
                queue = self._queues[reach.account] = deque()
                self._accounts.append(reach.account)
            queue.append(job)
        job.offset = min(job.offset, offset)
        job.counted = job.counted or counted
        job.again = job.again or job.walk is not None
        for revision in trials:
            job.trials[revision.document.path] = revision, Tally()

    def next(self) -> Job | None:
        """Whose turn it is; call ``done`` once it has got to its end."""
        if not self._accounts:
            return None
        account = self._accounts[0]
        self._accounts.rotate(-1)
        queue = self._queues[account]
        job = queue[0]
        queue.rotate(-1)
        return job

    def done(self, job: Job) -> None:
        """A job has got to its end. One that was asked for again meanwhile starts anew."""
        if job.again:
            job.restart()
            return
        del self._jobs[job.reach]
        queue = self._queues[job.reach.account]
        queue.remove(job)
        if not queue:
            del self._queues[job.reach.account]
            self._accounts.remove(job.reach.account)

    def swept(self, offset: int) -> bool:
        """Whether every document up to an offset of the policy log has been brought to the sessions it reaches."""
        return all(job.offset > offset for job in self._jobs.values())


def due(revisions: Iterable[Revision]) -> dict[Reach, list[Revision]]:
    """What has to be swept for revisions newly accepted, with those of them in report mode."""
    found: dict[Reach, list[Revision]] = {}
    for revision in revisions:
        trials = found.setdefault(reach_of(revision.document), [])
        if revision.document.mode == "report" and not revision.document.retracted:
            trials.append(revision)
    return found
