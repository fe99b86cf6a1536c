"""One join, answered: facts looked up, judged, and put into the events that are sent.

The worker and ``doorward decide`` both answer through this class, which is what makes one the other's proof.
"""

from collections.abc import Callable

import msgspec

from streams.core.address import BadAddress
from streams.core.decide import Participant, decision, judge
from streams.core.events import DecisionEvent, JoinEvent, Provenance
from streams.core.facts import NOTHING_KNOWN, Facts
from streams.core.index import Index


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What is sent for one join.

    Attributes:
        decision: for ``decisions``.
        report: for ``decisions.report``; None where no document in report mode applied.
        bad_address: why the address was none, for the dead letter beside the decision (design §4, rule 7); or None.
        verdict: the decision's, a place in ``VERDICTS``.
        reported: the report's; admit without one.
    """

    decision: DecisionEvent
    report: DecisionEvent | None
    bad_address: str | None
    verdict: int
    reported: int


class Decider:
    """Answers joins from an index and a geography.

    Args:
        index: the accepted documents; may grow between calls.
        locate: address text to facts; raises BadAddress.
        provenance: what decisions are made with; replaced when the index or the geography changes.
        rosters: see ``streams.core.decide.judge``.
    """

    def __init__(
        self, index: Index, locate: Callable[[str], Facts], provenance: Provenance, *, rosters: bool = False
    ) -> None:
        self.index = index
        self.locate = locate
        self.provenance = provenance
        self.rosters = rosters

    def look_up(self, text: str) -> tuple[Facts, str | None]:
        """The facts of an address, and why it is none where it is."""
        try:
            return self.locate(text), None
        except BadAddress as exc:
            return NOTHING_KNOWN, str(exc)

    def answer(self, event: JoinEvent, offset: int, at: int) -> Answer:
        """Decide one join that stands alone.

        Args:
            event: a join or update, normalised.
            offset: its offset in ``joins`` (offline: its line).
            at: the instant to decide at, ms since the epoch.
        """
        facts, bad_address = self.look_up(event.data.address)
        return self.decide(event, facts, bad_address, offset, at)

    def decide(
        self,
        event: JoinEvent,
        facts: Facts,
        bad_address: str | None,
        offset: int,
        at: int,
        of: Participant | None = None,
        subject: str | None = None,
    ) -> Answer:
        """Decide one join on facts that are known; see ``streams.core.decide.decision`` for the others."""
        whose: Participant = event.data if of is None else of
        provenance = self.provenance
        enforced, reported = judge(self.index, whose, facts, at, rosters=self.rosters)
        made = decision(
            event, facts, enforced, provenance, mode="enforce", offset=offset, at=at, of=of, subject=subject
        )
        if reported is None:
            return Answer(made, None, bad_address, enforced.verdict, 0)
        report = decision(
            event, facts, reported, provenance, mode="report", offset=offset, at=at, of=of, subject=subject
        )
        return Answer(made, report, bad_address, enforced.verdict, reported.verdict)
