"""Proving a recorded decision: what called for it, and that deciding again gives the same bytes (design §4, §9).

What may live here: one decision held against its participation's events, the documents as they were at the offset it
names, and the geo build it names. Where those come from, and what is made of many proofs, is for others
(``streams.core.ledger``). A proof ends in one of four ways:

    proven      deciding again gives the recorded bytes, the id included
    different   it gives others; each field that differs is told
    baseless    nothing calls for it: no such event, document, window, build or earlier removal
    unprovable  something it was made from is gone, and that is named; it may be right or wrong

What called for a decision is not written in it, but its id is a hash over it (``decide.decision_id``). So each trigger
there can be is tried: the event; a revision's offset; a window's edge; a geo build; the number of a reminder.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from streams.core.charter import REMOVE
from streams.core.counts import MOST_REMINDERS
from streams.core.decide import Judgement, decision, decision_again, judge_by
from streams.core.events import DecisionEvent, EventRef, JoinData, JoinEvent, LeaveEvent, Provenance
from streams.core.evidence import Atlas, Bounds, Input, Said, World, id_of, located
from streams.core.facts import Facts
from streams.core.index import Slot
from streams.core.policy import VERDICTS
from streams.core.sessions import begin, moment
from streams.core.sweep import NOTHING

Outcome: TypeAlias = Literal["proven", "different", "baseless", "unprovable"]
Parts: TypeAlias = tuple[str, ...]
"""A trigger as ids are made of it: ``event``, source and id; ``policy`` and an offset; and so on."""

ANSWERS: Final = ("join", "update")
"""Causes of decisions that answer an event, and of reminders of such."""

_encode = msgspec.json.encode
"""As ``streams.wire.cloudevents.encode``, which a test holds it to."""


class Field(msgspec.Struct, frozen=True):
    """A field that differs: its path, as recorded, as decided again; None for one that is not there."""

    path: str
    recorded: Any
    again: Any


class Proof(msgspec.Struct, frozen=True):
    """How it ended.

    Attributes:
        outcome: see the module.
        why: in words, of all but proven ones.
        trigger: what called for the decision, as far as it was found.
        reports: whether an answer in report mode belongs beside it.
        fields: that differ.
    """

    outcome: Outcome
    why: str = ""
    trigger: Parts = ()
    reports: bool = False
    fields: tuple[Field, ...] = ()


class _Missing(Exception):
    """A part is not there, which ends the proof."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome: Outcome = outcome


class Prover:
    """Proves the decisions of one participation.

    Args:
        inputs: its events that were read, by offset.
        said: all that was said of it in that time.
        bounds: of what was read.
        world: see there.
    """

    def __init__(self, inputs: Sequence[Input], said: Sequence[Said], bounds: Bounds, world: World) -> None:
        self._at = {each.offset: each for each in inputs}
        self._named: dict[tuple[str, str], list[Input]] = {}  # joins and updates, by source and id
        for each in inputs:
            if isinstance(each.event, JoinEvent):
                self._named.setdefault((each.event.source, each.event.id), []).append(each)
        self._said = said
        self._bounds = bounds
        self._world = world

    def prove(self, said: Said) -> Proof:
        """Prove one decision."""
        data = said.decision.data
        trigger: Parts = ()
        slots = self._world.documents.reaching(data.account, data.meeting, data.policy_offset)
        try:
            newest = self._input_at(data.order[0])
            trigger = self._trigger(said, slots)
            if trigger[0] == "event":
                whose, event = self._answered(data.event, newest)
            else:
                whose, event = self._live(said, newest, trigger), None
            return self._decide_again(said, trigger, slots, whose, event)
        except _Missing as missing:
            return Proof(missing.outcome, str(missing), trigger)

    # -- the events ----------------------------------------------------------------------------------------------

    def _input_at(self, offset: int) -> Input:
        """The event that a decision's ``order`` names."""
        found, bounds = self._at.get(offset), self._bounds
        if found is not None:
            return found
        if offset < bounds.first:
            raise _Missing("unprovable", "its event lies before what was read of joins, or is past its retention")
        if offset >= bounds.stop and not bounds.is_end:
            raise _Missing("unprovable", "its event lies behind the time that was read")
        raise _Missing("baseless", f"joins has no event of this participation at offset {offset}")

    def _answered(self, ref: EventRef, newest: Input) -> tuple[Input, JoinEvent]:
        """Whose data an answer was made from, and the event it answers."""
        named = self._named.get((ref.source, ref.id))
        if not named:
            if self._bounds.first:
                raise _Missing("unprovable", "the late event it answers lies before what was read of joins")
            raise _Missing("baseless", "joins has no such event of this participation")
        if isinstance(newest.event, LeaveEvent):  # it came after the leave: answered by what it says itself
            return named[-1], named[-1].event  # type: ignore[return-value]  # chosen for being one
        if newest.ref == ref:
            named = [newest]
        event: JoinEvent = named[-1].event  # type: ignore[assignment]  # as above
        if moment(event) > moment(newest.event):
            raise _Missing("baseless", f"it answers an event by an older one, at offset {newest.offset}")
        return newest, event

    def _live(self, said: Said, newest: Input, trigger: Parts) -> Input:
        """The newest event of a session that was decided again."""
        data = said.decision.data
        if newest.ref != data.event or isinstance(newest.event, LeaveEvent):
            raise _Missing("baseless", f"it names another event than the one at offset {newest.offset}")
        if trigger[0] == "reminder" and not any(self._is_reminded(said, other) for other in self._said):
            raise _Missing("baseless", "it says a removal again that was not said before")
        return newest

    def _is_reminded(self, reminder: Said, other: Said) -> bool:
        """Whether a removal is what a reminder says again."""
        data, before = reminder.decision.data, other.decision.data
        return (
            other.mode == "enforce"
            and before.verdict == "remove"
            and before.cause == data.cause
            and before.order < data.order
            and other.decision.id != reminder.decision.id
        )

    # -- what called for it --------------------------------------------------------------------------------------

    def _trigger(self, said: Said, slots: Sequence[Slot]) -> Parts:
        data = said.decision.data
        for trigger in self._candidates(said, slots):
            if id_of(said.mode, said.decision, trigger) == said.decision.id:
                if trigger[0] == "policy" and int(trigger[1]) in self._world.refused:
                    raise _Missing("unprovable", _refused(*self._world.refused[int(trigger[1])]))
                return trigger
        nothing = {
            "policy": "no document that reaches it came at any offset that would give its id",
            "clock": "no window of a document that reaches it opens or closes at a time that would give its id",
            "geo": "no geo build that was in use would give its id",
        }
        raise _Missing("baseless", nothing.get(data.cause, "its id is not that of an answer to the event it names"))

    def _candidates(self, said: Said, slots: Sequence[Slot]) -> Iterator[Parts]:
        """What may have called for a decision of its cause, the likeliest first."""
        data, world = said.decision.data, self._world
        revisions = [revision for slot in slots for revision in slot.revisions]
        if data.cause in ANSWERS:
            yield ("event", data.event.source, data.event.id)
        elif data.cause == "policy":
            yield from (("policy", str(revision.offset)) for revision in revisions)
            yield from (("policy", str(offset)) for offset in world.refused)
        elif data.cause == "clock":
            edges = [edge for r in revisions for edge in (r.document.not_before, r.document.not_after)]
            yield from (("clock", str(edge)) for edge in edges if edge is not None)
        else:
            yield ("geo", data.geo_build)
            yield from (("geo", build) for build in world.builds)
        if said.mode == "enforce" and data.verdict == VERDICTS[REMOVE]:
            yield from (("reminder", str(number)) for number in range(1, MOST_REMINDERS + 1))

    # -- deciding again ------------------------------------------------------------------------------------------

    def _decide_again(
        self, said: Said, trigger: Parts, slots: Sequence[Slot], whose: Input, event: JoinEvent | None
    ) -> Proof:
        data = said.decision.data
        participant: JoinData = whose.event.data  # type: ignore[assignment]  # a leave is never decided
        atlas = self._atlas(data.geo_build)
        facts = located(atlas, participant.address)
        provenance = Provenance(
            data.policy_offset, data.geo_build, atlas.time, self._world.contest, data.engine, self._world.written_in
        )

        def made(facts: Facts) -> tuple[DecisionEvent, bool]:
            enforced, reported = judge_by(slots, participant, facts, data.order[3])
            judgement = enforced if said.mode == "enforce" else reported or NOTHING
            again = self._again(said, trigger, whose, event, facts, judgement, provenance)
            return again, event is not None and reported is not None

        again, reports = made(facts)
        if _encode(again) == said.value:
            return Proof("proven", trigger=trigger, reports=reports and said.mode == "enforce")
        if event is None or whose.event is not event:  # from a session, whose address may not have opened
            for unread in self.unread(facts, whose):
                if _encode(made(unread)[0]) == said.value:
                    return Proof("unprovable", "it was decided without the address, which did not open", trigger)
        fields = tuple(differing(said.value, _encode(again)))
        if data.engine != self._world.engine:
            why = f"engine {data.engine} decided it; this one, {self._world.engine}, decides otherwise"
            return Proof("unprovable", why, trigger, fields=fields)
        for path, revision in self._world.refused.values():
            if data.policies.get(path) == revision:
                return Proof("unprovable", _refused(path, revision), trigger, fields=fields)
        if any(each.event != whose.event for each in self._named[whose.event.source, whose.event.id]):
            return Proof("unprovable", "its event's id was used twice, for different content", trigger, fields=fields)
        where = fields[0].path if fields else "its spelling"
        more = f" and {len(fields) - 1} more" if len(fields) > 1 else ""
        return Proof("different", f"decided again it differs in {where}{more}", trigger, fields=fields)

    def _atlas(self, build: str) -> Atlas:
        """The geo files of a build."""
        found = self._world.atlas(build)
        if found is None:
            raise _Missing("unprovable", f"the geo build {build} is not at hand")
        return found

    def unread(self, facts: Facts, whose: Input) -> Iterator[Facts]:
        """The facts a session is left with where its address does not open: as they are, or as they were answered."""
        yield msgspec.structs.replace(facts, address=None)
        answered = {s.decision.data.geo_build for s in self._said if s.decision.data.order[0] == whose.offset}
        for build in sorted(answered):
            atlas = self._world.atlas(build)
            if atlas is not None:
                data: JoinData = whose.event.data  # type: ignore[assignment]  # a session's
                yield msgspec.structs.replace(located(atlas, data.address), address=None)

    def _again(
        self,
        said: Said,
        trigger: Parts,
        whose: Input,
        event: JoinEvent | None,
        facts: Facts,
        judgement: Judgement,
        provenance: Provenance,
    ) -> DecisionEvent:
        data = said.decision.data
        at, offset = data.order[3], data.order[0]
        newest: JoinEvent = whose.event  # type: ignore[assignment]  # a leave is never decided
        session = begin(newest, facts, None, offset, data.geo_build)
        before = (other for s in self._said if (other := s.decision.data.order) < data.order)
        if any(other[:3:2] == data.order[:3:2] for other in before):
            session.geo_time = data.order[2]  # geo files may be exchanged for older ones, which `order` does not follow
        if event is not None:
            return decision(event, facts, judgement, provenance, mode=said.mode, offset=offset, at=at, of=session)
        return decision_again(
            session, facts, judgement, provenance, mode=said.mode, at=at, cause=data.cause, trigger=trigger
        )


def differing(recorded: bytes, again: bytes) -> Iterator[Field]:
    """The fields in which two JSON values differ, in the order of their paths.

    None where a recorded one is no JSON in a member that no decision has, which nobody looked at so far.
    """
    try:
        one, other = _flat(msgspec.json.decode(recorded)), _flat(msgspec.json.decode(again))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    for path in sorted(one.keys() | other.keys()):
        if (path in one, one.get(path)) != (path in other, other.get(path)):
            yield Field(path, one.get(path), other.get(path))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves by path; an object without any is a leaf, and so is a list."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{path}.{key}" if path else key)
    return found


def _refused(path: str, revision: int) -> str:
    return f"{path} revision {revision} is on the policy log, but not by this trust set"
