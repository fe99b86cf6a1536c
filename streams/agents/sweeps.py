"""Sweeps: live sessions decided again, in turns between joins.

``Sweeper.turn`` is called by the joins agent with each chunk, and with an empty one whenever there is work but no
joins. It takes a bounded share of time, so that a join waits for one turn at most, and puts what changed into the
chunk's own outbox. What a sweep changed is written down before it is said (``JoinsAgent``): no join would be read again
after a crash to say it, so the next owner says the last turn's again, under the same ids.

Why no session slips through between a join and a document: a chunk is decided in one go, and so is a turn; documents
are swapped in between them. A session either was decided by the new document or is in the view when the sweep that
the document asked for walks over it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from streams.adapters.metrics import Metrics
from streams.agents.contained import Contained
from streams.agents.decider import Decider
from streams.agents.sessions import Draft, SessionKeeper
from streams.agents.sweeptally import SweepTally
from streams.core import status
from streams.core.charter import REMOVE
from streams.core.decide import Judgement, decision_again, find, judge_by
from streams.core.events import DecisionEvent
from streams.core.facts import Facts
from streams.core.index import Revision, Slot
from streams.core.policy import VERDICTS, Mode
from streams.core.sessions import Meeting, Session, Sessions, Swept
from streams.core.sweep import (
    EVERYTHING,
    NOTHING,
    Alike,
    Backlog,
    Change,
    Job,
    Reach,
    Timetable,
    decide_again,
    due,
    reminder,
)

TURN_SECONDS: Final = 0.002
"""How long a turn may keep joins waiting."""
REST_SECONDS: Final = 0.008
"""How long chunks are joins' alone between two turns, while joins come."""
IDLE_REST: Final = 0.1
"""Of that, what is rested while none come: brokers and readers of decisions may be on the same machine."""
LOOK: Final = 32
"""Sessions between two looks at the time."""
SLICE: Final = 512
"""Sessions of one sweep before the next one's turn."""
EXPIRED: Final = 2_000
"""Ended participations forgotten, and sessions looked at, in one tick."""

Say = Callable[[int, DecisionEvent, Mode], None]
"""Puts a decision into the outbox: its partition, and which topic it is for."""
_Walk = Iterator[tuple[int, Sessions, Meeting, Session]]


class Sweeper:
    """Decides live sessions again.

    Args:
        decider: whose index, geography and provenance are used.
        keeper: the sessions.
        metrics: where to count.
        clock: ms since the epoch.
        ask_turn: asks the source for a turn of the agent.
        finished: called when a sweep has got to its end and all that it changed is acknowledged.
        rest: seconds between two turns, in which chunks are joins' alone.

    Attributes:
        backlog: what is due.
    """

    def __init__(
        self,
        decider: Decider,
        keeper: SessionKeeper,
        metrics: Metrics,
        *,
        clock: Callable[[], int],
        ask_turn: Callable[[], None],
        finished: Callable[[], None],
        rest: float = 0.0,
    ) -> None:
        self.backlog = Backlog()
        self._decider = decider
        self._keeper = keeper
        self._metrics = metrics
        self._clock = clock
        self._ask_turn = ask_turn
        self._timetable = Timetable()
        self._looked_at = clock()
        self._tick = False
        self._tally = SweepTally()
        self._finished = finished
        self._rest = rest
        self._resting = False
        self._joins_come = False  # since the last rest began
        self._done = False  # whether a sweep got to its end in the last turn
        self._adrift = False  # between losing the partitions and taking some on
        self._told = False  # likewise in one before, and what it said is on its way
        self._looked = 0
        self._alike = Alike("")
        self._contained = Contained(metrics)

    # -- what asks for sweeps ------------------------------------------------------------------------------------

    def accepted(self, revisions: Iterable[Revision], offset: int) -> None:
        """Documents came into force, or wait for their window; the last at an offset of the policy log."""
        revisions = list(revisions)
        self._alike = self._nobody_yet()
        for revision in revisions:
            self._timetable.add(revision.document)
        if len(self._keeper):
            for reach, trials in due(revisions).items():
                self._add(reach, offset, trials, counted=True)

    def recovered(self) -> None:
        """Partitions were taken on: whatever happened since their sessions were last decided is made up for."""
        self._adrift = False
        if len(self._keeper):
            self._add(EVERYTHING, self._decider.provenance.policy_offset)

    def forgotten(self) -> None:
        """The partitions are no longer ours, and their sessions their next owner's to sweep."""
        self.backlog, self._adrift, self._done, self._told = Backlog(), True, False, False

    def relocated(self) -> None:
        """The decider has another geography."""
        self._alike = self._nobody_yet()
        if len(self._keeper):
            self._add(EVERYTHING, self._decider.provenance.policy_offset)

    def tick(self) -> None:
        """Call once a second: windows that opened or closed, removals to be said again, sessions to be forgotten."""
        self._alike = self._nobody_yet()
        then, self._looked_at = self._looked_at, self._clock()
        for reach in self._timetable.between(then, self._looked_at):
            self._add(reach, self._decider.provenance.policy_offset)
        self._tick = True
        self._ask_turn()

    def _nobody_yet(self) -> Alike:
        return Alike(self._decider.provenance.geo_build)

    def _add(self, reach: Reach, offset: int, trials: Iterable[Revision] = (), *, counted: bool = False) -> None:
        self.backlog.add(reach, offset, trials, counted=counted)
        self._ask_turn()

    # -- one turn ------------------------------------------------------------------------------------------------

    def turn(self, say: Say, draft: Draft, at: int) -> None:
        """Do a share of what is due.

        Args:
            say: puts a decision into the chunk's outbox.
            draft: of the same chunk.
            at: the instant to decide at, ms since the epoch.
        """
        self._looked_at = min(self._looked_at, at)  # the clock went back: what opened in between opens once more
        for partition, session in self._keeper.take_unsaid():
            with self._contained:
                self._restate(partition, session, say, draft, at)
        self._joins_come = self._joins_come or bool(draft)
        if self._resting:
            return
        until, more = time.perf_counter() + TURN_SECONDS, False
        if self._tick:
            more = self._keeper.expire(at, EXPIRED, draft)
            self._tick = more = self._remind(say, draft, at, until) or more
        while not more and (job := self.backlog.next()) is not None:
            more = self._go_on(job, say, draft, at, until)
        if more or len(self.backlog):
            self._take_rest()

    def _take_rest(self) -> None:
        """Ask for the next turn after a while, which is what joins have of the time while there is much to sweep."""
        if self._rest:
            rest = self._rest * (1.0 if self._joins_come else IDLE_REST)
            self._resting, self._joins_come = True, False
            asyncio.get_running_loop().call_later(rest, self._end_rest)
        else:
            self._ask_turn()

    def _end_rest(self) -> None:
        self._resting = False
        self._ask_turn()

    def acknowledged(self, *, spoke: bool) -> None:
        """What earlier turns said has been acknowledged, and so have the sessions that the last one changed.

        Args:
            spoke: whether the last one said anything: that goes out with the next chunk.
        """
        self._metrics.swept.inc(self._looked)
        self._looked = 0
        finished = self._told or (self._done and not spoke)
        self._told, self._done = self._done and spoke, False
        if finished:
            self._finished()
        if spoke:
            self._ask_turn()

    def _go_on(self, job: Job, say: Say, draft: Draft, at: int, until: float) -> bool:
        """Take a sweep a slice further; returns whether time is over."""
        if job.walk is None:
            job.walk = self._walk(job.reach)
        walk: _Walk = job.walk
        index, reached = self._decider.index, None
        slots: tuple[Slot, ...] = ()
        reads_addresses = False
        for n, (partition, view, meeting, session) in enumerate(walk, 1):
            if meeting is not reached:  # asked anew in each slice: the index may have grown in between
                reached, slots = meeting, index.reaching(meeting.account, meeting.id)
                reads_addresses = any(slot.reads_addresses for slot in slots)
            # It may have changed since the walk came here, or left.
            present = meeting.sessions.get(session.participation)
            if present is not None and view.holds(present):
                alike = not reads_addresses and not job.trials and present.decided_at <= at
                if alike and self._alike.stands(present, slots, at):
                    self._looked += 1
                    self._tally.decided += job.counted
                else:
                    with self._contained:
                        self._again(
                            job, partition, view, present, slots, say, draft, at, reads_addresses=reads_addresses
                        )
            if n % LOOK == 0 and time.perf_counter() > until:
                return True
            if n >= SLICE:
                return False
        if not job.again:
            self._tally.trials += [
                counted.trial(revision)
                for path, (revision, counted) in job.trials.items()
                if (slot := index.get(path)) is not None and slot.revisions[0] is revision  # not superseded meanwhile
            ]
        self.backlog.done(job)
        self._done = True
        return time.perf_counter() > until

    def _walk(self, reach: Reach) -> _Walk:
        keeper = self._keeper
        for partition in list(keeper.views):
            view = keeper.views.get(partition)
            if view is None:
                continue
            for account in view.accounts if reach.account is None else [reach.account]:
                for meeting in view.meetings(account, reach.meeting):
                    for session in list(meeting.sessions.values()):
                        yield partition, view, meeting, session

    def _again(
        self,
        job: Job,
        partition: int,
        view: Sessions,
        session: Session,
        slots: Sequence[Slot],
        say: Say,
        draft: Draft,
        at: int,
        *,
        reads_addresses: bool,
    ) -> None:
        decider, keeper = self._decider, self._keeper
        self._looked += 1
        self._tally.decided += job.counted
        at = keeper.instant_for(session, at)
        facts = keeper.facts(session, decider, reads_addresses=reads_addresses)
        change = decide_again(session, slots, facts, decider.provenance, at)
        if session.geo_build != decider.provenance.geo_build:
            session.facts, session.geo_build = view.place(facts), decider.provenance.geo_build
        if change is not None:
            self._say_change(partition, session, facts, change, say, draft, at, counted=job.counted)
        for revision, counted in job.trials.values():
            counted.add(session.account, session.meeting, find(revision, session, facts).verdict, session.verdict)

    def _say_change(
        self,
        partition: int,
        session: Session,
        facts: Facts,
        change: Change,
        say: Say,
        draft: Draft,
        at: int,
        *,
        counted: bool = False,
    ) -> None:
        """Put what changed into words, then into the session."""
        decider, (cause, trigger) = self._decider, change.trigger
        verdict, reported = session.verdict, session.reported
        if change.enforced is not None:
            verdict = change.enforced.verdict
            made = decision_again(
                session, facts, change.enforced, decider.provenance, mode="enforce", at=at, cause=cause, trigger=trigger
            )
            say(partition, made, "enforce")
            self._tally.changed[VERDICTS[verdict]] += counted
            self._metrics.sweep_changes.labels(VERDICTS[verdict], cause).inc()
            session.cause = cause
        if change.reported is not None:
            reported = change.reported.verdict
            made = decision_again(
                session, facts, change.reported, decider.provenance, mode="report", at=at, cause=cause, trigger=trigger
            )
            say(partition, made, "report")
        before = session.swept  # of the last turn, perhaps, and still on its way
        session.swept = Swept(
            cause,
            trigger,
            enforced=change.enforced is not None or (before is not None and before.enforced),
            reported=change.reported is not None or (before is not None and before.reported),
            turn=self._keeper.this_turn,
        )
        self._keeper.change(partition, session, verdict, reported, at, draft)

    def _restate(self, partition: int, session: Session, say: Say, draft: Draft, at: int) -> None:
        """Say what was written down before a crash, under the same ids, and what has changed since.

        What has changed is said at once: it may change back before a sweep comes, and then the last word of before the
        crash, which nobody may have heard, would stand unsaid.
        """
        decider, keeper, swept = self._decider, self._keeper, session.swept
        if swept is None or not keeper.views[partition].holds(session):  # an event was answered, and so it was said
            return
        session.swept = swept._replace(turn=keeper.this_turn)
        at = keeper.instant_for(session, at)
        slots = decider.index.reaching(session.account, session.meeting)
        facts = keeper.facts(session, decider, reads_addresses=any(slot.reads_addresses for slot in slots))
        change = decide_again(session, slots, facts, decider.provenance, at)
        enforced, reported = judge_by(slots, session, facts, at)
        verdicts: tuple[tuple[Mode, Judgement, int, bool], ...] = (
            ("enforce", enforced, session.verdict, swept.enforced),
            ("report", reported or NOTHING, session.reported, swept.reported),
        )
        for mode, judgement, before, was_unsaid in verdicts:
            if was_unsaid and judgement.verdict == before:
                made = decision_again(
                    session,
                    facts,
                    judgement,
                    decider.provenance,
                    mode=mode,
                    at=at,
                    cause=swept.cause,
                    trigger=swept.trigger,
                )
                say(partition, made, mode)
        keeper.change(partition, session, session.verdict, session.reported, at, draft)
        if change is not None:
            self._say_change(partition, session, facts, change, say, draft, at)

    # -- removals said again -------------------------------------------------------------------------------------

    def _remind(self, say: Say, draft: Draft, at: int, until: float) -> bool:
        """Say removals again that are due; returns whether time ended it."""
        for n, found in enumerate(self._keeper.unreminded(at), 1):
            if found is not None:
                with self._contained:
                    self._say_again(*found, say, draft, at)
            if n % LOOK == 0 and time.perf_counter() > until:
                return True
        return False

    def _say_again(self, partition: int, session: Session, say: Say, draft: Draft, at: int) -> None:
        """Say a removal again, unless it stands no more; what has changed since it was said is said first.

        Otherwise the sweep that is on its way would find the session spoken of later than what had changed.
        """
        decider, keeper = self._decider, self._keeper
        at = keeper.instant_for(session, at)
        slots = decider.index.reaching(session.account, session.meeting)
        facts = keeper.facts(session, decider, reads_addresses=any(slot.reads_addresses for slot in slots))
        change = decide_again(session, slots, facts, decider.provenance, at)
        if change is not None:
            self._say_change(partition, session, facts, change, say, draft, at)
        if session.verdict != REMOVE:
            return
        judgement, _ = judge_by(slots, session, facts, at)
        cause, trigger = reminder(session)
        made = decision_again(
            session, facts, judgement, decider.provenance, mode="enforce", at=at, cause=cause, trigger=trigger
        )
        say(partition, made, "enforce")
        is_reported = session.swept is not None and session.swept.reported
        session.swept = Swept(cause, trigger, enforced=True, reported=is_reported, turn=keeper.this_turn)
        session.reminders += 1
        keeper.change(partition, session, session.verdict, session.reported, at, draft)
        self._metrics.reminders.inc()

    # -- what is said of it --------------------------------------------------------------------------------------

    def has_swept(self, offset: int) -> bool:
        """Whether what documents up to an offset of the policy log changed has been said and acknowledged."""
        return self.backlog.swept(offset) and not (self._adrift or self._done or self._told)

    def next_end(self, now: int) -> int | None:
        """When the next of the documents in force ends, ms since the epoch; None where none does."""
        return self._timetable.next_end(now, self._decider.index)

    def report(self) -> status.Sweep | None:
        """What came of sweeps since this was last asked; None where no session was decided again."""
        tally, self._tally = self._tally, SweepTally()
        return tally.report(len(self._keeper))

    async def survey(self, other: Decider) -> tuple[int, int]:
        """How many live verdicts another geography would change, and how many there are. Changes nothing."""
        changed = seen = 0
        for partition, view, meeting, session in self._walk(EVERYTHING):
            del partition, view
            seen += 1
            slots = other.index.reaching(meeting.account, meeting.id)
            facts = self._keeper.facts(session, other, reads_addresses=any(slot.reads_addresses for slot in slots))
            changed += judge_by(slots, session, facts, self._clock())[0].verdict != session.verdict
            if seen % SLICE == 0:
                await asyncio.sleep(0)
        return changed, seen
