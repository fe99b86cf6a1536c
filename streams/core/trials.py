"""A trial: what a document in report mode would do to live sessions, counted as far as it may be told.

What may live here: the document of a trial, counting, and what of the counts is published (ruling 34). A sweep keeps
a ``Tally`` for each document it tries and adds every session that the document reaches. An owner's own document is
told exactly. Of a service document, and of one signed on an owner's behalf, nobody may learn how many fewer than ten
there are somewhere:

- a count below ``FEWEST`` is null, and zero is such a count;
- the three verdicts add up to the sessions, so where one is untold ``admit`` is untold too, or the difference would
  tell it;
- where all that is untold is still below ``FEWEST``, nearly all are flagged or removed. Null would hide just this, so
  ``alert``, or where that is untold ``remove``, is told as so many less that ``FEWEST`` are left untold.

Whoever reads a trial reads spans: how many there are at least and at most.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from streams.core import instants
from streams.core.charter import ADMIT, ALERT, REMOVE, SHORTEST_WINDOW
from streams.core.index import Revision
from streams.core.policy import MAX_NAME
from streams.core.status import Trial

FEWEST: Final = 10
_SUFFIX: Final = "~trial"
_IDENTITY: Final = ("scope", "account", "meeting")
_SLOW_CLOCK: Final = instants.DAY // 24
"""How far behind ours a worker's clock may be, milliseconds: a service document's trial is in force from then on."""


def trial_of(value: Mapping[str, Any], revision: int, now: int) -> dict[str, Any]:
    """The document that tries another one: the same in report mode, under another name, in force at once.

    Args:
        value: a valid document as plain JSON values.
        revision: the trial's own; higher than that of any earlier trial of the document.
        now: ms since the epoch.
    """
    trial = {**value, "name": _name(value["name"]), "revision": revision, "mode": "report"}
    trial.pop("not_before", None)  # what it would do as soon as its window opens
    if value["scope"] == "service":
        opens = now - _SLOW_CLOCK
        trial |= {"not_before": instants.render(opens), "not_after": instants.render(opens + SHORTEST_WINDOW)}
    return trial


def retraction_of(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The document that ends a trial (ruling 15: nothing else is required of it)."""
    ids = {key: trial[key] for key in _IDENTITY if key in trial}
    return {**ids, "name": trial["name"], "revision": trial["revision"] + 1, "retracted": True}


def _name(name: str) -> str:
    """The trial's name: of two long ones that differ only at their ends, two names."""
    if len(name) + len(_SUFFIX) <= MAX_NAME:
        return name + _SUFFIX
    mark = "~" + blake2b(name.encode(), digest_size=8).hexdigest() + _SUFFIX
    return name[: MAX_NAME - len(mark)] + mark


class Tally:
    """One document's own verdicts on the live sessions it reaches."""

    def __init__(self) -> None:
        self._verdicts = [0, 0, 0]
        self._would_alert = 0
        self._would_remove = 0
        self._meetings: set[tuple[str, str]] = set()

    def add(self, account: str, meeting: str, says: int, now: int) -> None:
        """Count a session.

        Args:
            account: the session's.
            meeting: the session's.
            says: the tried document's verdict, a place in ``policy.VERDICTS``.
            now: the verdict in force on the session.
        """
        self._verdicts[says] += 1
        if says == REMOVE and now != REMOVE:
            self._would_remove += 1
            self._meetings.add((account, meeting))
        elif says == ALERT and now == ADMIT:
            self._would_alert += 1

    def trial(self, revision: Revision) -> Trial:
        """What may be told of a document on which this was counted."""
        document, sessions = revision.document, sum(self._verdicts)
        admit, alert, remove = self._verdicts
        exact = Trial(
            path=document.path,
            revision=document.revision,
            sessions=sessions,
            admit=admit,
            alert=alert,
            remove=remove,
            would_alert=self._would_alert,
            would_remove=self._would_remove,
            meetings=len(self._meetings),
        )
        guarded = document.scope == "service" or revision.on_behalf
        return _withheld(exact, self._verdicts) if guarded else exact


def _withheld(exact: Trial, verdicts: list[int]) -> Trial:
    sessions = sum(verdicts)
    told = [_enough(count) for count in verdicts]
    if None in told:
        told[ADMIT] = None
        if _untold(verdicts, told) < FEWEST:
            last = REMOVE if told[ALERT] is None else ALERT
            told[last] = _enough(verdicts[last] + _untold(verdicts, told) - FEWEST)
    would_remove = None if told[REMOVE] is None else _enough(min(exact.would_remove or 0, told[REMOVE]))
    return Trial(
        path=exact.path,
        revision=exact.revision,
        sessions=_enough(sessions),
        admit=told[ADMIT],
        alert=told[ALERT],
        remove=told[REMOVE],
        would_alert=None if told[ALERT] is None else _enough(min(exact.would_alert or 0, told[ALERT])),
        would_remove=would_remove,
        meetings=None if would_remove is None else _enough(min(exact.meetings or 0, would_remove)),
    )


def _untold(verdicts: list[int], told: list[int | None]) -> int:
    return sum(count for count, said in zip(verdicts, told, strict=True) if said is None)


def _enough(count: int) -> int | None:
    return count if count >= FEWEST else None


# -- what a reader may take from it ------------------------------------------------------------------------------


class Span(msgspec.Struct, frozen=True):
    """A count that is known to lie between two numbers."""

    least: int = 0
    most: int = 0

    def __add__(self, other: "Span") -> "Span":
        return Span(self.least + other.least, self.most + other.most)

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.most:,}"
        return f"{self.least:,} to {self.most:,}" if self.least else f"fewer than {self.most + 1:,}"


def reached(trial: Trial) -> Span:
    """How many live sessions a tried document reaches."""
    return Span(0, FEWEST - 1) if trial.sessions is None else Span(trial.sessions, trial.sessions)


def removed(trial: Trial) -> Span:
    """How many sessions a tried document would remove."""
    if trial.would_remove is None:
        sessions = reached(trial).most  # from twice FEWEST on, null is below FEWEST: else remove would be told
        return Span(0, sessions if sessions < 2 * FEWEST else FEWEST - 1)
    return _lessened(trial, trial.would_remove, trial.sessions)


def alerted(trial: Trial) -> Span:
    """How many sessions a tried document would flag."""
    if trial.would_alert is None:
        return Span(0, min(reached(trial).most, 2 * FEWEST - 1))
    return _lessened(trial, trial.would_alert, (trial.sessions or 0) - (trial.remove or 0))


def meetings(trial: Trial) -> Span:
    """In how many meetings it would remove."""
    most = removed(trial).most
    if trial.meetings is None:
        return Span(0, most if trial.would_remove is None else FEWEST - 1)
    return Span(trial.meetings, most if trial.meetings == trial.would_remove else trial.meetings)


def _lessened(trial: Trial, told: int, others: int | None) -> Span:
    """A count that was told as less than it is where it leaves just ``FEWEST`` of the others untold."""
    less = trial.admit is None and others == told + FEWEST
    return Span(told, told + FEWEST if less else told)
