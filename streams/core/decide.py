"""Deciding one join: the strictest verdict over the documents in force, and why (design §4).

``evaluate`` is one document's verdict by rule 4; ``judge`` is the join's by rule 5, once for documents in force and
once for those in report mode; ``decision`` puts a judgement into the event that is sent. None of it does work in
proportion to the number of documents: an index hands over only those that reach the meeting.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from streams.core import charter, instants
from streams.core.conditions import Subject
from streams.core.events import (
    DECISION_TYPES,
    Cause,
    DecisionData,
    DecisionEvent,
    EventRef,
    JoinEvent,
    OutcomeName,
    Provenance,
    Reason,
    Role,
    Stage,
)
from streams.core.facts import Facts
from streams.core.index import Index, Revision, Slot
from streams.core.policy import VERDICTS, Document, Mode, Rule, path_of
from streams.core.receipts import receipt
from streams.core.sessions import Session

SOURCE: Final = "doorward"
_LENGTHS: Final = ["\0\0\0" + chr(length) for length in range(128)]
"""Lengths as four bytes, big-endian, in text: one that is all ASCII is encoded at once."""


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What one document says of one join.

    Attributes:
        verdict: a place in ``VERDICTS``, after the charter's caps.
        outcome: how it came about.
        rule: the deciding rule; None unless the outcome is ``rule``.
    """

    verdict: int
    outcome: OutcomeName
    rule: Rule | None


_BY_DEFAULT: Final = tuple(Finding(verdict, "default", None) for verdict in range(len(VERDICTS)))
_UNKNOWN: Final = tuple(Finding(verdict, "unknown", None) for verdict in range(len(VERDICTS)))
"""By verdict; most documents have nothing more to say, and each join asks several."""


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """What all documents of one mode say of one join.

    Attributes:
        verdict: a place in ``VERDICTS``.
        finding: of the deciding document; None when no document applied.
        revision: the deciding document; None when no document applied.
        policies: path to revision of every document that applied.
    """

    verdict: int
    finding: Finding | None
    revision: Revision | None
    policies: dict[str, int]


def evaluate(document: Document, subject: Subject, facts: Facts) -> Finding:
    """One document's verdict, before the charter's caps: rules in order, open ones counted, the first true one ends."""
    possible = 0  # a set of verdicts, as bits
    final: Rule | None = None
    for rule in document.rules:
        is_open = False
        for condition in rule.conditions:
            truth = condition.test(subject, facts)
            if truth is False:
                break
            if truth is None:
                is_open = True
        else:
            possible |= 1 << rule.then
            if not is_open:
                final = rule
                break
    verdict = document.default if final is None else final.then
    if possible & ~(1 << verdict):
        return _UNKNOWN[document.unknown]
    return _BY_DEFAULT[verdict] if final is None else Finding(verdict, "rule", final)


class Participant(Protocol):
    """Who a decision is about: a join's data, normalised, or a session."""

    @property
    def role(self) -> Role | None:
        """Never None once normalised."""

    @property
    def stage(self) -> Stage | None:
        """Never None once normalised."""

    @property
    def account(self) -> str:
        """Whose meeting it is."""

    @property
    def meeting(self) -> str:
        """Its id."""

    @property
    def participation(self) -> str:
        """Its id."""


def judge(
    index: Index, data: Participant, facts: Facts, at: int, *, rosters: bool = False
) -> tuple[Judgement, Judgement | None]:
    """The join's judgement, and the one of documents in report mode where any applies.

    Args:
        index: the accepted documents.
        data: who joins (normalised).
        facts: where from.
        at: the instant, ms since the epoch.
        rosters: whether service documents and ones signed on the owner's behalf are reported on too. A worker does
            not (ruling 34): it would publish who is where; offline the joins are the reader's own.
    """
    return judge_by(index.reaching(data.account, data.meeting), data, facts, at, rosters=rosters)


def judge_by(
    slots: Sequence[Slot], data: Participant, facts: Facts, at: int, *, rosters: bool = False
) -> tuple[Judgement, Judgement | None]:
    """The same for slots found already: those that reach the participation, in the index's order."""
    policies: dict[str, int] = {}
    strictest: Finding | None = None
    deciding: Revision | None = None
    reported: _Strictest | None = None
    for slot in slots:
        revision = slot.in_force(at)
        if revision is None:
            continue
        document = revision.document
        if document.mode == "enforce":
            finding = find(revision, data, facts)
            policies[document.path] = document.revision
            if strictest is None or finding.verdict > strictest.verdict:  # ties stay with the earlier one (rule 5)
                strictest, deciding = finding, revision
        elif rosters or not is_roster(revision):
            if reported is None:
                reported = _Strictest()
            reported.take(find(revision, data, facts), revision)
    judgement = Judgement(0 if strictest is None else strictest.verdict, strictest, deciding, policies)
    return judgement, None if reported is None else reported.judgement()


def find(revision: Revision, data: Participant, facts: Facts) -> Finding:
    """What an accepted document says of a join, the charter's caps applied (ruling 13, 30)."""
    finding = evaluate(revision.document, data, facts)  # type: ignore[arg-type]  # normalised: role and stage are set
    if finding.verdict != charter.REMOVE:
        return finding
    verdict = charter.capped(
        revision.document, finding.rule, finding.verdict, facts, role=data.role or "", on_behalf=revision.on_behalf
    )
    return finding if verdict == finding.verdict else Finding(verdict, finding.outcome, finding.rule)


class _Strictest:
    """The strictest finding so far.

    Ties stay with the earlier document: slots come widest scope first, then by path (rule 5, ruling 22).
    """

    __slots__ = ("finding", "policies", "revision")

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self.revision: Revision | None = None
        self.policies: dict[str, int] = {}

    def take(self, finding: Finding, revision: Revision) -> None:
        document = revision.document
        self.policies[document.path] = document.revision
        if self.finding is None or finding.verdict > self.finding.verdict:
            self.finding, self.revision = finding, revision

    def judgement(self) -> Judgement:
        return Judgement(self.finding.verdict if self.finding else 0, self.finding, self.revision, self.policies)


def decision(
    event: JoinEvent,
    facts: Facts,
    judgement: Judgement,
    provenance: Provenance,
    *,
    mode: Mode,
    offset: int,
    at: int,
    of: Participant | None = None,
    subject: str | None = None,
) -> DecisionEvent:
    """The decision event that answers a join or update.

    Args:
        event: what it answers.
        facts: what it was judged on.
        judgement: from ``judge``.
        provenance: what it was judged with.
        mode: which of the two judgements this is; part of the id.
        offset: in ``joins`` (offline: the line), of the participation's newest event.
        at: the instant it was decided at, ms since the epoch.
        of: the session, where a late event is answered from it; the event's own data otherwise.
        subject: its path (``path_of`` account, meeting and participation), for who has it already.
    """
    trigger = ("event", event.source, event.id)
    whose: Participant = event.data if of is None else of
    ref = EventRef(event.source, event.id)
    return _decision(whose, facts, judgement, provenance, mode, offset, at, event.cause, trigger, ref, subject)


def decision_again(
    session: Session,
    facts: Facts,
    judgement: Judgement,
    provenance: Provenance,
    *,
    mode: Mode,
    at: int,
    cause: Cause,
    trigger: tuple[str, ...],
) -> DecisionEvent:
    """The decision event for a live session decided again; it names the session's newest event."""
    ref = EventRef(session.source, session.id)
    return _decision(session, facts, judgement, provenance, mode, session.offset, at, cause, trigger, ref, None)


def _decision(
    whose: Participant,
    facts: Facts,
    judgement: Judgement,
    provenance: Provenance,
    mode: Mode,
    offset: int,
    at: int,
    cause: Cause,
    trigger: tuple[str, ...],
    ref: EventRef,
    subject: str | None,
) -> DecisionEvent:
    word = VERDICTS[judgement.verdict]
    id_ = decision_id(mode, whose, trigger, word)
    time, geo_time = instants.render(at), provenance.geo_time
    if isinstance(whose, Session) and whose.geo_time > geo_time:
        geo_time = whose.geo_time  # files may be exchanged for older ones; what is said then must not rank below
    body = DecisionData(
        meeting=whose.meeting,
        account=whose.account,
        participation=whose.participation,
        stage=whose.stage or "live",
        verdict=word,
        cause=cause,
        event=ref,
        reason=reason(judgement, whose, facts),
        policies=judgement.policies,
        policy_offset=provenance.policy_offset,
        geo_build=provenance.geo_build,
        order=[offset, provenance.policy_offset, geo_time, at],
        decided_at=time,
        engine=provenance.engine,
    )
    if judgement.verdict == charter.REMOVE and judgement.revision is not None and judgement.finding is not None:
        finding = judgement.finding
        body.receipt = receipt(
            id_,
            judgement.revision,
            finding.rule,
            finding.outcome,
            whose.stage,
            provenance.contest,
            provenance.written_in,
        )
    if subject is None:
        subject = path_of(whose.account, whose.meeting, whose.participation)
    return DecisionEvent("1.0", DECISION_TYPES[word], SOURCE, id_, time, subject, body)


def decision_id(mode: Mode, data: Participant, trigger: tuple[str, ...], verdict: str) -> str:
    """BLAKE2b-128, in hex, over mode, account, meeting, participation, the trigger's parts and the verdict.

    Each is UTF-8 behind its length as four bytes, big-endian, so that no two lists of parts share an encoding
    (ruling 23). The trigger of a join or update is ``event``, its source and its id; of a session decided again see
    ``streams.core.sweep``.
    """
    account, meeting, participation = data.account, data.meeting, data.participation
    try:
        if len(trigger) == 3:  # an event's, as nearly always
            kind, source, event = trigger
            why = f"{_LENGTHS[len(kind)]}{kind}{_LENGTHS[len(source)]}{source}{_LENGTHS[len(event)]}{event}"
        else:
            why = "".join([_LENGTHS[len(part)] + part for part in trigger])
        text = (
            f"{_LENGTHS[len(mode)]}{mode}{_LENGTHS[len(account)]}{account}{_LENGTHS[len(meeting)]}{meeting}"
            f"{_LENGTHS[len(participation)]}{participation}{why}{_LENGTHS[len(verdict)]}{verdict}"
        )
    except IndexError:
        text = ""
    if text and text.isascii():  # so that characters are bytes
        return blake2b(text.encode(), digest_size=16).hexdigest()
    raws = [part.encode() for part in (mode, account, meeting, participation, *trigger, verdict)]
    return blake2b(b"".join([len(raw).to_bytes(4) + raw for raw in raws]), digest_size=16).hexdigest()


def reason(judgement: Judgement, data: Participant, facts: Facts) -> Reason | None:
    """Why; None for an admit by default or without a document (ruling 22)."""
    finding, revision = judgement.finding, judgement.revision
    if finding is None or revision is None:
        return None
    if judgement.verdict == charter.ADMIT and finding.outcome == "default":
        return None
    document = revision.document
    return Reason(  # by position, which takes half the time
        document.path,
        document.revision,
        finding.rule.id if finding.rule else None,
        finding.outcome,
        document.class_,
        revision.holder,
        matched(finding, revision, data, facts),
    )


def is_roster(revision: Revision) -> bool:
    """Whether what a document says of joins it doesn't remove would list people who are not its author's guests."""
    return revision.document.scope == "service" or revision.on_behalf


def matched(finding: Finding, revision: Revision, data: Participant, facts: Facts) -> dict[str, object]:
    """The facts that the deciding rule named, null where not known; for ``network`` only ``true``.

    Empty for outcomes other than ``rule``, and for what a service document, or one signed on the owner's behalf,
    says short of a removal: otherwise its alerts would be a roster (ruling 34).
    """
    if finding.rule is None or (is_roster(revision) and finding.verdict != charter.REMOVE):
        return {}
    found: dict[str, object] = {}
    for condition in finding.rule.conditions:
        field = condition.field
        if field == "role" or field == "stage":
            found[field] = getattr(data, field)
        elif field == "network":
            found[field] = True
        else:
            found[field] = facts.known_connection if field == "connection" else getattr(facts, field)
    return found
