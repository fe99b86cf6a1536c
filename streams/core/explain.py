"""Why a verdict came out: each document that reaches a join, each rule tried, each condition and the fact it met.

An explanation is the decision made again, with its steps kept; it decides nothing itself. What it says of a document
comes from the same tests and the same ``find`` as the decision, so the two cannot disagree.

``again`` explains a decision that was recorded: by the very revisions it names, at its instant. It is told the facts,
since no record keeps them, so it also says whether they lead to what was decided.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from streams.core.decide import find, is_roster, judge, reason
from streams.core.events import DecisionData, JoinData, OutcomeName, Reason
from streams.core.facts import CONNECTIONS, OTHER, Facts
from streams.core.index import Index, Revision
from streams.core.policy import VERDICTS, Mode, Rule, Verdict

State: TypeAlias = Literal["true", "false", "open"]


class ConditionStep(msgspec.Struct, frozen=True):
    """One condition.

    Attributes:
        field: what it looks at.
        values: what the document names; with ``negated``, none of these.
        state: true, false or open.
        met: the fact it met, in words; for ``network`` only whether there was an address (charter C7).
    """

    field: str
    values: tuple[str | int, ...]
    negated: bool
    state: State
    met: str


class RuleStep(msgspec.Struct, frozen=True):
    """One rule that was tried; those behind a true one are not."""

    id: str
    then: Verdict
    state: State
    conditions: tuple[ConditionStep, ...]


class DocumentStep(msgspec.Struct, frozen=True):
    """One document in force that reaches the join.

    Attributes:
        policy: its path.
        revision: the one in force.
        mode: whether it counts or only reports.
        verdict: what it says, after the charter's caps.
        outcome: how it came about.
        rule: the deciding rule's id, where the outcome is ``rule``.
        capped: whether the charter turned its removal into an alert.
        rules: the rules tried, in order.
    """

    policy: str
    revision: int
    mode: Mode
    verdict: Verdict
    outcome: OutcomeName
    rule: str | None
    capped: bool
    rules: tuple[RuleStep, ...]


class Explanation(msgspec.Struct, frozen=True):
    """The whole path to a decision.

    Attributes:
        verdict: of the join, by the documents of the mode asked for.
        decided_by: path of the deciding document; None where none is in force.
        documents: every document that reaches the join, widest scope first, then by path.
        waiting: paths that reach the join but have no revision in force.
    """

    verdict: Verdict
    decided_by: str | None
    documents: tuple[DocumentStep, ...]
    waiting: tuple[str, ...]


def explain(
    index: Index, data: JoinData, facts: Facts, at: int, *, rosters: bool = False, mode: Mode = "enforce"
) -> Explanation:
    """Explain the decision on a join in one of the two modes; else arguments as for ``streams.core.decide.judge``."""
    steps: list[DocumentStep] = []
    waiting: list[str] = []
    for slot in index.reaching(data.account, data.meeting):
        revision = slot.in_force(at)
        if revision is None:
            waiting.append(slot.path)
        elif revision.document.mode == "enforce" or rosters or not is_roster(revision):
            steps.append(_document(revision, data, facts))
    counted = [step for step in steps if step.mode == mode]
    # max() keeps the first of equals: the widest scope, then the lowest path.
    strictest = max(counted, key=lambda step: VERDICTS.index(step.verdict), default=None)
    if strictest is None:
        return Explanation("admit", None, tuple(steps), tuple(waiting))
    return Explanation(strictest.verdict, strictest.policy, tuple(steps), tuple(waiting))


class Again(msgspec.Struct, frozen=True):
    """A recorded decision made again.

    Attributes:
        explanation: of the decision as it is made now.
        reason: as it is given now.
        same: ``same``; ``reason`` where the verdict is the same but not the document, revision, rule or outcome that
            it comes from; ``verdict`` where it is another.
    """

    explanation: Explanation
    reason: Reason | None
    same: Literal["same", "reason", "verdict"]


def again(recorded: DecisionData, mode: Mode, revisions: Iterable[Revision], data: JoinData, facts: Facts) -> Again:
    """Make a recorded decision again, at the instant it was made.

    Args:
        recorded: the decision.
        mode: which of the two kinds it is.
        revisions: those that it names in ``policies``.
        data: of the participation's newest event known then, normalised.
        facts: of its address, by the geo build that the decision names.
    """
    index = Index()
    for revision in revisions:
        index.put(revision)
    at = recorded.order[-1]
    explanation = explain(index, data, facts, at, rosters=True, mode=mode)
    enforced, reported = judge(index, data, facts, at, rosters=True)
    judgement = enforced if mode == "enforce" else reported
    given = None if judgement is None else reason(judgement, data, facts)
    if explanation.verdict != recorded.verdict:
        return Again(explanation, given, "verdict")
    return Again(explanation, given, "same" if _origin(given) == _origin(recorded.reason) else "reason")


def _origin(given: Reason | None) -> tuple[str, int, str | None, OutcomeName] | None:
    return None if given is None else (given.policy, given.revision, given.rule, given.outcome)


def _document(revision: Revision, data: JoinData, facts: Facts) -> DocumentStep:
    document = revision.document
    tried = []
    for rule in document.rules:
        step = _rule(rule, data, facts)
        tried.append(step)
        if step.state == "true":
            break
    finding = find(revision, data, facts)
    said = finding.rule.then if finding.rule else document.default if finding.outcome == "default" else document.unknown
    return DocumentStep(
        policy=document.path,
        revision=document.revision,
        mode=document.mode,
        verdict=VERDICTS[finding.verdict],
        outcome=finding.outcome,
        rule=finding.rule.id if finding.rule else None,
        capped=finding.verdict != said,
        rules=tuple(tried),
    )


def _rule(rule: Rule, data: JoinData, facts: Facts) -> RuleStep:
    steps = tuple(
        ConditionStep(
            condition.field,
            condition.values,
            condition.negated,
            _state(condition.test(data, facts)),  # type: ignore[arg-type]  # normalised: role and stage are set
            _met(condition.field, data, facts),
        )
        for condition in rule.conditions
    )
    states = {step.state for step in steps}
    state: State = "false" if "false" in states else "open" if "open" in states else "true"
    return RuleStep(rule.id, VERDICTS[rule.then], state, steps)


def _state(truth: bool | None) -> State:
    return "open" if truth is None else "true" if truth else "false"


def _met(field: str, data: JoinData, facts: Facts) -> str:
    if field in ("role", "stage"):
        return str(getattr(data, field))
    if field == "network":
        return "the address" if facts.address is not None else "no readable address"
    if field == "connection":
        possible = [name for bit, name in enumerate(CONNECTIONS) if facts.connection >> bit & 1]
        return " or ".join([*possible, "other"] if facts.connection & OTHER else possible)
    fact = getattr(facts, field)
    return "not known" if fact is None else str(fact)
