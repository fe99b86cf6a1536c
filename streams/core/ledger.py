"""The ledger: whether everything that was asked was answered, once and rightly, and nothing else was said.

Five invariants, held against what the topics hold, one participation at a time:

    I1  every committed event has its decision or dead letter, and a participation's last word (the decision of the
        highest ``order``) is the right one for its newest event, under the documents in force
    I2  nothing is said that nothing calls for
    I3  deciding again gives the same bytes (``streams.core.proof``)
    I4  decisions of one id agree: they are of one kind, about one participation, and where they name the same order,
        geo build and engine they are the same bytes. A repeat after a crash may be decided later, by other documents
    I5  no offset is committed of which an output is missing: decision, dead letter, decision in report mode

What is lost so shows twice: as an event without an answer (I1), and as the place that was committed too far (I5).

A participation's events and decisions all lie on one partition, so a ``Ledger`` is kept for each, and is handed whole
participations (``check``) in any order. It keeps counts, the first findings and one offset: nothing that grows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from streams.core import address, instants
from streams.core.decide import judge_by
from streams.core.events import DecisionData, JoinData, JoinEvent, LeaveEvent
from streams.core.evidence import Bounds, Input, Said, World, located
from streams.core.facts import Facts
from streams.core.index import Slot
from streams.core.policy import VERDICTS, Mode
from streams.core.proof import Field, Proof, Prover
from streams.core.sessions import moment

Invariant: TypeAlias = Literal["I1", "I2", "I3", "I4", "I5"]

INVARIANTS: Final[dict[Invariant, str]] = {
    "I1": "every committed event is answered, and the last word is the right one",
    "I2": "nothing is said that nothing calls for",
    "I3": "deciding again gives the same bytes",
    "I4": "decisions of one id agree",
    "I5": "nothing is committed before its outputs are there",
}
MOST_TOLD: Final = 20
"""Findings of an invariant, and reasons why something cannot be proven, that are kept in words."""
TOPICS: Final[dict[Mode, str]] = {"enforce": "decisions", "report": "decisions.report"}

BY_FORM, BY_ADDRESS, BY_STATE, GONE = 1, 2, 4, 8
"""What dead letters say of a record, as bits: it is no event we take, its address is none, or something that its bytes
do not show (``account_mismatch``, ``internal``). ``GONE``: those of its time are past their retention."""
_GONE: Final = "an event without an answer, and dead letters of its time are past their retention"


class Violation(msgspec.Struct, frozen=True):
    """One invariant broken at one place.

    Attributes:
        invariant: which.
        what: in words, without any address.
        topic, partition, offset: the record it shows at.
        subject: whose, where that is known.
        decision: the id of the decision, where there is one.
        fields: that differ.
    """

    invariant: Invariant
    what: str
    topic: str
    partition: int
    offset: int
    subject: str | None = None
    decision: str | None = None
    fields: tuple[Field, ...] = ()


class Span(NamedTuple):
    """What is looked at of a partition; instants are ms since the epoch.

    Attributes:
        partition: of all topics but ``policies``.
        bounds: of what was read of ``joins``.
        committed: by the group: the first offset not committed; 0 where nothing is.
        since: what was decided or sent before is context, and not held against anything.
        end: up to when decisions were read.
        settled: what had changed by then must have reached every live participation by ``end``.
        ttl: for how long after its last event a participation is decided again, ms.
    """

    partition: int
    bounds: Bounds
    committed: int
    since: int
    end: int
    settled: int
    ttl: int


class Ledger:
    """What came of a partition.

    Args:
        span: what is looked at.
        world: what it is held against.

    Attributes:
        violations: how many, by invariant.
        first: of each invariant, those told.
        unprovable: why decisions and last words could be neither proven nor refuted, how many times.
        inputs: events that had to be answered.
        proven: decisions that deciding again gave the same bytes of.
        decisions: decisions looked at, in both modes.
        builds: geo builds in use from ``settled`` on; who reads the partition puts them here.
    """

    def __init__(self, span: Span, world: World) -> None:
        self.violations: Counter[Invariant] = Counter()
        self.first: dict[Invariant, list[Violation]] = defaultdict(list)
        self.unprovable: Counter[str] = Counter()
        self.inputs = self.proven = self.decisions = 0
        self.builds: set[str] = set()
        self._span = span
        self._world = world
        self._lacking: tuple[int, str] | None = None

    # -- records that belong to no participation -----------------------------------------------------------------

    def malformed(self, offset: int, letters: int, *, owed: bool) -> None:
        """A record on ``joins`` that is no event we take, and what its dead letters say."""
        self.inputs += owed
        if owed and not letters & (BY_FORM | BY_STATE):
            self._lost(offset, "no dead letter, and the record is no event", None, letters)

    def stray_letter(self, offset: int, why: str) -> None:
        """A record on ``joins.dlq`` that is no dead letter of one on ``joins``."""
        self._found("I2", why, offset, topic="joins.dlq")

    def stray_word(self, mode: Mode, offset: int, why: str) -> None:
        """A record on a topic of decisions that is none."""
        self._found("I2", why, offset, topic=TOPICS[mode])

    def doubt(self, why: str) -> None:
        """Something can be neither proven nor refuted. Reasons name builds and engines, so there may be many."""
        known = why in self.unprovable or len(self.unprovable) < MOST_TOLD
        self.unprovable[why if known else "for further reasons"] += 1

    # -- a participation -----------------------------------------------------------------------------------------

    def check(self, subject: str, inputs: Sequence[Input], said: Sequence[Said]) -> None:
        """Check all that was read of one participation."""
        prover = Prover(inputs, said, self._span.bounds, self._world)
        proofs = [(each, prover.prove(each)) for each in said if each.decision.data.order[3] >= self._span.since]
        for each, proof in proofs:
            self._take(subject, each, proof)
        self._check_repeats(subject, said)
        self._check_answers(subject, inputs, said)
        self._check_reports(proofs, inputs, said)
        self._check_last_word(subject, prover, inputs, said)

    def prove(self, subject: str, inputs: Sequence[Input], said: Sequence[Said], id_: str | None = None) -> None:
        """Prove what was said of one participation, or one decision by its id, and look at nothing else (I2 and I3)."""
        prover = Prover(inputs, said, self._span.bounds, self._world)
        for each in said:
            if each.decision.data.order[3] >= self._span.since and id_ in (None, each.decision.id):
                self._take(subject, each, prover.prove(each))

    def _take(self, subject: str, said: Said, proof: Proof) -> None:
        """I2 and I3."""
        self.decisions += 1
        if proof.outcome == "proven":
            self.proven += 1
        elif proof.outcome == "unprovable":
            self.doubt(proof.why)
        else:
            broken: Invariant = "I2" if proof.outcome == "baseless" else "I3"
            self._found(broken, proof.why, said.offset, subject, said, fields=proof.fields)

    def _check_repeats(self, subject: str, said: Sequence[Said]) -> None:
        """I4."""
        by_id: dict[tuple[Mode, str], list[Said]] = defaultdict(list)
        for each in said:
            by_id[each.mode, each.decision.id].append(each)
        for group in by_id.values():
            kinds: set[tuple[str, ...]] = set()
            exact: dict[tuple[object, ...], bytes] = {}
            for each in group:
                decision, data = each.decision, each.decision.data
                kinds.add((decision.type, decision.subject, data.verdict))
                if len(kinds) > 1:
                    self._found("I4", "its id is that of another decision as well", each.offset, subject, each)
                    break
                made_with = (*data.order, data.geo_build, data.engine)
                if exact.setdefault(made_with, each.value) != each.value:
                    what = "made twice with the same order, geo build and engine, and not the same bytes"
                    self._found("I4", what, each.offset, subject, each)
                    break

    def _check_answers(self, subject: str, inputs: Sequence[Input], said: Sequence[Said]) -> None:
        """I1: each event has an answer of its own; two records of the same event have two."""
        answers = Counter(_answered(each) for each in said if each.mode == "enforce" and each.is_answer)
        for each in sorted(inputs, key=lambda one: one.offset):
            event, letters = each.event, each.letters
            is_bad = isinstance(event, JoinEvent) and _is_bad(event.data.address)
            if letters & BY_FORM or (letters & BY_ADDRESS and not is_bad):
                self._found(
                    "I2", "a dead letter says of it what its bytes do not show", each.offset, subject, topic="joins"
                )
            if not each.owed:
                continue
            self.inputs += 1
            if isinstance(event, LeaveEvent) or letters & (BY_FORM | BY_STATE):
                continue
            answers[_name(each)] -= 1
            if answers[_name(each)] < 0:
                self._lost(each.offset, "neither decision nor dead letter", subject, letters)
            elif is_bad and not letters & (BY_ADDRESS | GONE):
                self._lacks(each.offset, "the dead letter is missing, and its address is none")

    def _check_reports(
        self, proofs: Sequence[tuple[Said, Proof]], inputs: Sequence[Input], said: Sequence[Said]
    ) -> None:
        """I5: an answer in report mode is acknowledged with the other, at the latest where the event is read again."""
        reported = {(_answered(each), tuple(each.decision.data.order)) for each in said if each.mode == "report"}
        whole: Counter[tuple[str, str]] = Counter()
        half: set[tuple[str, str]] = set()
        for each, proof in proofs:
            name = _answered(each)
            if proof.reports and (name, tuple(each.decision.data.order)) not in reported:
                half.add(name)
            elif each.mode == "enforce" and each.is_answer:
                whole[name] += 1
        for one in inputs:
            whole[_name(one)] -= one.owed
            if one.owed and _name(one) in half and whole[_name(one)] < 0:
                self._lacks(one.offset, "the decision in report mode is missing")

    # -- the last word -------------------------------------------------------------------------------------------

    def _check_last_word(self, subject: str, prover: Prover, inputs: Sequence[Input], said: Sequence[Said]) -> None:
        """I1: of the newest event, and by what is in force."""
        words = [each for each in said if each.mode == "enforce"]
        events = {each.offset: each for each in inputs}
        if not words:
            return
        last = max(words, key=lambda each: each.decision.data.order)
        newest = events.get(last.decision.data.order[0])
        if newest is None or isinstance(newest.event, LeaveEvent):
            return  # unprovable, baseless, or a late event's own answer: said already
        answered = {_answered(each): each.decision.data.order[3] for each in words if each.is_answer}
        left = min((each.offset for each in inputs if isinstance(each.event, LeaveEvent)), default=None)
        if left is not None and newest.offset > left:
            return  # its leave was forgotten before this event came
        known, at = moment(newest.event), answered.get(_name(newest), 0)
        for each in inputs:
            if isinstance(each.event, LeaveEvent) or not each.owed or each.letters & (BY_FORM | BY_STATE):
                continue
            is_forgotten = at - answered.get(_name(each), at) >= self._span.ttl
            if (left is None or each.offset < left) and not is_forgotten and moment(each.event) > known:
                what = f"the last word is on the event at {newest.offset}, and this one is newer"
                self._found("I1", what, each.offset, subject, last, topic="joins")
                return
        if left is None and self._is_settled(inputs, words):
            self._check_verdict(subject, prover, last, newest, newest.event.data)

    def _is_settled(self, inputs: Sequence[Input], words: Sequence[Said]) -> bool:
        """Whether a participation was live and had no event for so long that whatever changed has reached it."""
        span = self._span
        if any(each.offset >= span.committed for each in inputs):
            return False
        seen = max((each.decision.data.order[3] for each in words if each.is_answer), default=span.end)
        return seen <= span.settled and seen + span.ttl > span.end

    def _check_verdict(self, subject: str, prover: Prover, last: Said, newest: Input, data: JoinData) -> None:
        """The last word against what is in force, by every build that may have been asked."""
        said, now, gone = last.decision.data, "", ""
        states = list(self._states(data))
        for build in sorted(self.builds or {said.geo_build}):
            atlas = self._world.atlas(build)
            if atlas is None:
                gone = f"a last word: the geo build {build} is not at hand"
                continue
            facts = located(atlas, data.address)
            verdicts = _verdicts(states, data, facts)
            if said.verdict in verdicts:
                return
            now = verdicts[0]
            if any(said.verdict in _verdicts(states, data, unread) for unread in prover.unread(facts, newest)):
                gone = "a last word: it is right without the address, which may not have opened"
        if said.order[3] > self._span.end and self._stands_then(said, data):
            gone = "a last word: a clock that ran ahead said it, and it stands until that instant"
        if gone:
            self.doubt(gone)
            return
        what = (
            f"the last word is {said.verdict}; it has been {now} since {instants.render(self._span.settled)} or before"
        )
        self._found("I1", what, last.offset, subject, last)

    def _stands_then(self, said: DecisionData, data: JoinData) -> bool:
        """Whether what is in force says the same at a decision's own instant, which is still to come."""
        documents, atlas = self._world.documents, self._world.atlas(said.geo_build)
        slots = documents.reaching(data.account, data.meeting, documents.offset_at(self._span.end))
        then = [(slots, said.order[3])]
        return atlas is not None and said.verdict in _verdicts(then, data, located(atlas, data.address))

    def _states(self, data: JoinData) -> Iterator[tuple[Sequence[Slot], int]]:
        """The documents as they were at ``settled``, and after each change up to ``end``."""
        span, documents = self._span, self._world.documents
        slots = documents.reaching(data.account, data.meeting, documents.offset_at(span.end))
        changes = {span.settled}
        for revision in (revision for slot in slots for revision in slot.revisions):
            document = revision.document
            for at in (revision.appended_at, document.not_before, document.not_after):
                if at is not None and span.settled < at <= span.end:
                    changes.add(at)
        for at in sorted(changes):
            yield documents.reaching(data.account, data.meeting, documents.offset_at(at)), at

    # -- findings ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """All participations were checked: compare what was committed (I5)."""
        span = self._span
        if span.bounds.is_end and span.committed > span.bounds.stop:
            what = f"{span.committed} is committed, and the log ends at {span.bounds.stop}"
            self._found("I5", what, span.committed, topic="joins")
        if self._lacking is not None:
            offset, why = self._lacking
            self._found("I5", f"{span.committed} is committed, but of this offset {why}", offset, topic="joins")

    def _lost(self, offset: int, why: str, subject: str | None, letters: int) -> None:
        if letters & GONE:
            self.doubt(_GONE)
            return
        self._found("I1", why, offset, subject, topic="joins")
        self._lacks(offset, f"there is {why}")

    def _lacks(self, offset: int, why: str) -> None:
        if self._lacking is None or offset < self._lacking[0]:
            self._lacking = offset, why

    def _found(
        self,
        invariant: Invariant,
        what: str,
        offset: int,
        subject: str | None = None,
        said: Said | None = None,
        *,
        topic: str | None = None,
        fields: tuple[Field, ...] = (),
    ) -> None:
        self.violations[invariant] += 1
        if len(self.first[invariant]) < MOST_TOLD:
            where = topic or (TOPICS[said.mode] if said else "joins")
            id_ = said.decision.id if said else None
            place = (where, self._span.partition, offset)
            self.first[invariant].append(Violation(invariant, what, *place, subject, id_, fields))


def _name(each: Input) -> tuple[str, str]:
    return each.event.source, each.event.id


def _answered(each: Said) -> tuple[str, str]:
    ref = each.decision.data.event
    return ref.source, ref.id


def _verdicts(states: Sequence[tuple[Sequence[Slot], int]], data: JoinData, facts: Facts) -> list[str]:
    return [VERDICTS[judge_by(slots, data, facts, at)[0].verdict] for slots, at in states]


def _is_bad(text: str) -> bool:
    try:
        address.parse(text)
    except address.BadAddress:
        return True
    return False
