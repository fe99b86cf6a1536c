"""Why a verdict came out: each document that reaches a join, each rule tried, each condition and the fact it met.

An explanation is the decision made again, with its steps kept; it decides nothing itself. What it says of a document
comes from the same tests and the same ``find`` as the decision, so the two cannot disagree.
"""

from typing import Literal, TypeAlias

import msgspec

from streams.core.decide import find, is_roster
from streams.core.events import JoinData, OutcomeName
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
        verdict: of the join.
        decided_by: path of the deciding document; None where none is in force.
        documents: every document that reaches the join, widest scope first, then by path.
        waiting: paths that reach the join but have no revision in force.
    """

    verdict: Verdict
    decided_by: str | None
    documents: tuple[DocumentStep, ...]
    waiting: tuple[str, ...]


def explain(index: Index, data: JoinData, facts: Facts, at: int, *, rosters: bool = False) -> Explanation:
    """Explain the decision on a join; arguments as for ``streams.core.decide.judge``."""
    steps: list[DocumentStep] = []
    waiting: list[str] = []
    for slot in index.reaching(data.account, data.meeting):
        revision = slot.in_force(at)
        if revision is None:
            waiting.append(slot.path)
        elif revision.document.mode == "enforce" or rosters or not is_roster(revision):
            steps.append(_document(revision, data, facts))
    enforced = [step for step in steps if step.mode == "enforce"]
    # max() keeps the first of equals: the widest scope, then the lowest path.
    strictest = max(enforced, key=lambda step: VERDICTS.index(step.verdict), default=None)
    if strictest is None:
        return Explanation("admit", None, tuple(steps), tuple(waiting))
    return Explanation(strictest.verdict, strictest.policy, tuple(steps), tuple(waiting))


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
