"""Where each revision of a document stands at an instant: the one that has the say, those that wait, those behind.

Told from the same rule as ``Slot.in_force`` (design §4, rule 1; rulings 14 and 15): highest first, the first revision
whose window has come has the say. A retraction has it at once, an expired revision keeps it and says nothing.
"""

from typing import Literal, TypeAlias

import msgspec

from streams.core.index import Revision, Slot

State: TypeAlias = Literal["in force", "waiting", "expired", "retracted", "superseded"]


class Standing(msgspec.Struct, frozen=True):
    """One revision at an instant.

    Attributes:
        revision: which.
        state: ``waiting`` until its window opens; ``retracted`` is the retraction itself.
        until: when that ends, ms since the epoch, as far as the document's own window says; None: open.
    """

    revision: Revision
    state: State
    until: int | None


def standings(slot: Slot, at: int) -> list[Standing]:
    """All revisions of a path at an instant (ms), highest first."""
    found: list[Standing] = []
    taken = False
    for revision in slot.revisions:
        document = revision.document
        state: State
        until = None
        if taken:
            state = "superseded"
        elif document.retracted:
            state, taken = "retracted", True
        elif document.not_before is not None and at < document.not_before:
            state, until = "waiting", document.not_before
        elif document.not_after is not None and at >= document.not_after:
            state, taken = "expired", True
        else:
            state, until, taken = "in force", document.not_after, True
        found.append(Standing(revision, state, until))
    return found


def present(slot: Slot, at: int) -> Standing:
    """What the path amounts to: the revision that has the say, else the highest of those that wait."""
    found = standings(slot, at)
    return next((standing for standing in found if standing.state != "waiting"), found[0])
