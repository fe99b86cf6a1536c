"""Where each revision stands; what is said agrees with what the slot decides by."""

from __future__ import annotations

from itertools import product

import pytest

from streams.core.index import Revision, Slot
from streams.core.policy import Document
from streams.core.standing import present, standings


def slot(*revisions: tuple[int | None, int | None, bool]) -> Slot:
    """A path whose revisions, from 1 on, have these windows; True for a retraction."""
    made = Slot("account/a/n")
    for number, (opens, closes, retracted) in enumerate(revisions, 1):
        document = Document(
            scope="account", account="a", meeting=None, name="n", revision=number, path=made.path, not_before=opens,
            not_after=closes, retracted=retracted,
        )  # fmt: skip
        made.put(Revision(document=document, content=bytes([number])))
    return made


ALWAYS, FROM_20, FROM_10_TO_20, RETRACTED = (
    (None, None, False),
    (20, None, False),
    (10, 20, False),
    (None, None, True),
)


@pytest.mark.parametrize(
    ("revisions", "at", "states"),
    [
        ([ALWAYS], 5, [("in force", None)]),
        ([ALWAYS, FROM_20], 19, [("waiting", 20), ("in force", None)]),
        ([ALWAYS, FROM_20], 20, [("in force", None), ("superseded", None)]),
        ([ALWAYS, FROM_10_TO_20], 19, [("in force", 20), ("superseded", None)]),
        ([ALWAYS, FROM_10_TO_20], 20, [("expired", None), ("superseded", None)]),
        ([FROM_20, RETRACTED], 5, [("retracted", None), ("superseded", None)]),
        ([ALWAYS, RETRACTED, FROM_20], 5, [("waiting", 20), ("retracted", None), ("superseded", None)]),
    ],
)
def test_states(
    revisions: list[tuple[int | None, int | None, bool]], at: int, states: list[tuple[str, int | None]]
) -> None:
    assert [(each.state, each.until) for each in standings(slot(*revisions), at)] == states


def test_what_is_said_to_be_in_force_is_what_decides() -> None:
    for revisions in product((ALWAYS, FROM_20, FROM_10_TO_20, RETRACTED), repeat=3):
        made = slot(*revisions)
        for at in (0, 10, 15, 20, 30):
            in_force = [each.revision for each in standings(made, at) if each.state == "in force"]
            assert in_force == [each for each in (made.in_force(at),) if each is not None]


def test_what_a_path_amounts_to() -> None:
    assert present(slot(ALWAYS, FROM_20), 5).revision.document.revision == 1
    assert present(slot(FROM_20, FROM_20), 5).state == "waiting"
    assert present(slot(FROM_20, FROM_20), 5).revision.document.revision == 2
