"""Which parts of the documents their tests have reached: every rule, every default, every unknown.

A rule is *decided* where it was the one that decided for its document, whichever document then had the last word; it
was *open* where it did not decide but could have for all that was known. A rule that is only open says nothing by
itself: no case shows what it is for. What no join can reach is not asked for: the default and the rules behind a rule
that matches all, and the unknown of a document whose open rules could change nothing.
"""

from typing import Literal, TypeAlias

import msgspec

from streams.core.explain import DocumentStep
from streams.core.index import Revision
from streams.core.policy import VERDICTS, Document, Mode, Verdict

Kind: TypeAlias = Literal["rule", "default", "unknown"]
State: TypeAlias = Literal["decided", "open", "never"]


class Point(msgspec.Struct):
    """One thing that tests should reach.

    Attributes:
        kind: a rule, or how a document ends without one.
        name: the rule's id, or the kind again.
        then: the verdict it gives.
        decided: joins for which its document's verdict was this.
        open: joins for which it might have been, as far as was known.
    """

    kind: Kind
    name: str
    then: Verdict
    decided: int = 0
    open: int = 0

    @property
    def state(self) -> State:
        """How far the tests came."""
        return "decided" if self.decided else "open" if self.open else "never"


class Covered(msgspec.Struct):
    """One revision of a document and its points, in the document's order."""

    policy: str
    revision: int
    mode: Mode
    points: list[Point]

    @property
    def reached(self) -> int:
        """How many of its points decided."""
        return sum(point.state == "decided" for point in self.points)


class Coverage:
    """Counts the joins of all tests; one instance a run."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, int, bytes], Covered] = {}

    def add(self, revision: Revision) -> None:
        """Ask for a document, whether or not a test reaches it. A retraction has nothing to reach."""
        document = revision.document
        key = (document.path, document.revision, revision.content)
        if not document.retracted and key not in self._documents:
            self._documents[key] = Covered(document.path, document.revision, document.mode, points(document))

    def take(self, revision: Revision, step: DocumentStep) -> None:
        """Count what a document that was added said of one join."""
        document = revision.document
        covered = self._documents[document.path, document.revision, revision.content]
        states = {rule.id: rule.state for rule in step.rules}
        for point in covered.points:
            if (point.kind, point.name) == (step.outcome, step.rule if step.outcome == "rule" else step.outcome):
                point.decided += 1
            elif point.kind == "rule" and states.get(point.name, "false") != "false":
                point.open += 1

    @property
    def documents(self) -> list[Covered]:
        """By path, then revision."""
        return sorted(self._documents.values(), key=lambda each: (each.policy, each.revision))

    @property
    def reached(self) -> int:
        """How many points decided."""
        return sum(document.reached for document in self._documents.values())

    @property
    def total(self) -> int:
        """How many points there are."""
        return sum(len(document.points) for document in self._documents.values())

    @property
    def tenths(self) -> int:
        """The share reached in tenths of a percent, rounded down: 1000 is all of it, and nothing less is."""
        return 1000 * self.reached // self.total if self.total else 1000


def points(document: Document) -> list[Point]:
    """What a join can reach in a document."""
    made = []
    for rule in document.rules:
        made.append(Point("rule", rule.id, VERDICTS[rule.then]))
        if not rule.conditions:  # matches all: nothing behind it is ever asked
            break
    else:
        made.append(Point("default", "default", VERDICTS[document.default]))
    if _can_be_unknown(document, len(made)):
        made.append(Point("unknown", "unknown", VERDICTS[document.unknown]))
    return made


def _can_be_unknown(document: Document, ends: int) -> bool:
    """Whether a rule that can be open differs from an end behind it. Who joins is always known, where from is not."""
    verdicts = [*(rule.then for rule in document.rules), document.default][:ends]
    return any(
        any(condition.field not in ("role", "stage") for condition in rule.conditions)
        and any(verdict != rule.then for verdict in verdicts[i + 1 :])
        for i, rule in enumerate(document.rules[:ends])
    )
