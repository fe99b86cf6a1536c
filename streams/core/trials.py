"""A trial: what a document in report mode would do to live sessions, counted as far as it may be told.

What may live here: the document of a trial, counting, and what of the counts is published (ruling 34). A sweep keeps
a ``Tally`` for each document it tries and adds every session that the document reaches. An owner's own document is
told exactly. Of a service document, and of one signed on an owner's behalf, nobody may learn how many fewer than ten
there are somewhere, nor whether there is anybody:

- all that is told is worked out from four counts that have no session in common: flagged or removed, and either so
  already or not. Each is told as the tens in it, and where there are none as null; so one number less another leaves
  tens too, and never a count that somebody would rather not tell;
- ``admit`` is never told: the sessions less all verdicts would say what the tens leave out;
- where the tens leave out fewer than ten sessions, that would say how few are admitted and how few are missing from
  each count. The greatest count is then told as ten less.

``sessions`` is exact from ten on: it is what the worker has, whatever the document says.

Tens also blunt what somebody learns who tries two documents that differ by one territory, and takes one answer from
the other: a step of ten where a few people are, or none. They don't prevent it for one who may try
often; but each trial is signed, and stays on the policy log for ever.

Whoever reads a trial reads spans: how many there are at least and at most.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from streams.core import instants
from streams.core.charter import ADMIT, ALERT, REMOVE, SHORTEST_WINDOW
from streams.core.index import Revision
from streams.core.policy import MAX_NAME, Document
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
        if document.scope == "service" or revision.on_behalf:
            return self._blunted(document, sessions)
        return Trial(
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

    def _blunted(self, document: Document, sessions: int) -> Trial:
        _, alert, remove = self._verdicts
        counts = (self._would_alert, alert - self._would_alert, self._would_remove, remove - self._would_remove)
        told = [_tens(count) for count in counts]
        if sessions >= FEWEST > sessions - sum(told):
            told[told.index(max(told))] -= FEWEST
        would_alert, alert_already, would_remove, removed_already = told
        return Trial(
            path=document.path,
            revision=document.revision,
            sessions=sessions if sessions >= FEWEST else None,
            admit=None,
            alert=would_alert + alert_already or None,
            remove=would_remove + removed_already or None,
            would_alert=would_alert or None,
            would_remove=would_remove or None,
            meetings=min(_tens(len(self._meetings)), would_remove) or None,
        )


def _tens(count: int) -> int:
    return count - count % FEWEST


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
    return _span(trial, trial.would_remove)


def alerted(trial: Trial) -> Span:
    """How many sessions a tried document would flag."""
    return _span(trial, trial.would_alert)


def meetings(trial: Trial) -> Span:
    """In how many meetings it would remove."""
    span, most = _span(trial, trial.meetings), removed(trial).most
    less = trial.meetings == trial.would_remove  # told as no more than that, so perhaps as less than it is
    return Span(span.least, most if less else min(most, span.least + (FEWEST - 1 if _blunt(trial) else 0)))


def _blunt(trial: Trial) -> bool:
    return trial.admit is None


def _span(trial: Trial, told: int | None) -> Span:
    least = told or 0
    if not _blunt(trial):
        return Span(least, least)
    left_out = reached(trial).most - (trial.alert or 0) - (trial.remove or 0)
    more = 2 * FEWEST - 1 if left_out < 2 * FEWEST else FEWEST - 1  # ten of a count may be among those left out
    return Span(least, least + min(more, left_out))
