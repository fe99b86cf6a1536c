"""The documents in force, arranged so that a join meets only those of its service, account and meeting.

An ``Index`` maps an account, or an account and a meeting, to ``Slot``s; a slot is one path with all its revisions and
answers which of them is in force at an instant (design §4, rule 1; rulings 14, 15 and 17). The answer is kept with
the span of time it holds for, so that a decision costs a comparison, not a search, and the clock may go either way.

Nothing here checks a signature: what reaches ``put`` has been accepted.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from streams.core.policy import Document

_FOREVER: Final = 2**63


class Conflict(ValueError):
    """The same path and revision twice, with different content (ruling 17)."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted document with what is known of its acceptance.

    Attributes:
        document: the compiled document.
        content: identifies the content; the same content again is a repeat.
        holder: who signed, or None when unsigned; two approvers are written ``A, B`` in order.
        on_behalf: signed on the owner's behalf (ruling 30).
        sha256: ``sha256:`` and the hex digest of the signed document, or None when unsigned.
        offset: where in the policy log, or -1 when it came from a file.
        appended_at: the log's append time in ms, or 0 when it came from a file.
    """

    document: Document
    content: bytes
    holder: str | None = None
    on_behalf: bool = False
    sha256: str | None = None
    offset: int = -1
    appended_at: int = 0


class Slot:
    """One path and its revisions."""

    __slots__ = ("_current", "_from", "_until", "path", "reads_addresses", "reports", "revisions")

    def __init__(self, path: str) -> None:
        self.path = path
        self.revisions: list[Revision] = []  # highest first
        self._current: Revision | None = None
        self._from = self._until = 0  # an empty span: nothing worked out yet
        self.reads_addresses = False  # whether any revision ever named a network
        self.reports = False  # whether any revision ever was in report mode

    def put(self, new: Revision) -> bool:
        """Add a revision; False for a repeat. Raises Conflict."""
        number = new.document.revision
        for i, old in enumerate(self.revisions):
            if old.document.revision == number:
                if old.content != new.content:
                    raise Conflict(f"{self.path} revision {number} exists with other content")
                return False
            if old.document.revision < number:
                self.revisions.insert(i, new)
                break
        else:
            self.revisions.append(new)
        self._from = self._until = 0
        self.reads_addresses = self.reads_addresses or new.document.reads_addresses
        self.reports = self.reports or new.document.mode == "report"
        return True

    def in_force(self, at: int) -> Revision | None:
        """The revision in force at an instant (ms), or None."""
        if not self._from <= at < self._until:
            self._work_out(at)
        return self._current

    def news(self, at: int, *, offset: int, since: int) -> tuple[int, int | None, int] | None:
        """What last changed this slot's answer for somebody who knew the log up to an offset, at an instant (ms).

        Returns:
            When it changed, the window's edge if one did it (else None), and the offset of the revision; None where
            the slot has nothing new to say.
        """
        for revision in self.revisions:  # highest first: the first whose window has come has the say
            document, edge = revision.document, None
            if not document.retracted:
                if document.not_before is not None and at < document.not_before:
                    continue
                closed = document.not_after is not None and document.not_after <= at
                edge = document.not_after if closed else document.not_before
            if edge is not None and edge > max(since, revision.appended_at):
                return edge, edge, revision.offset
            return (revision.appended_at, None, revision.offset) if revision.offset > offset else None
        return None

    def _work_out(self, at: int) -> None:
        """Find the revision in force and the span of time around ``at`` for which that answer holds."""
        self._from, self._until, self._current = -_FOREVER, _FOREVER, None
        for revision in self.revisions:  # highest first: the first whose window has come has the say
            document = revision.document
            start = -_FOREVER if document.retracted or document.not_before is None else document.not_before
            if at < start:
                self._until = min(self._until, start)
                continue
            self._from = max(self._from, start)
            end = _FOREVER if document.retracted or document.not_after is None else document.not_after
            if document.retracted:
                return
            if at >= end:  # an expired revision does not bring an older one back
                self._from = max(self._from, end)
                return
            self._until = min(self._until, end)
            self._current = revision
            return


class Index:
    """All accepted documents, by what they reach."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._service: tuple[Slot, ...] = ()
        self._digest = 0
        self._accounts: dict[str, tuple[Slot, ...]] = {}
        self._meetings: dict[tuple[str, str], tuple[Slot, ...]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def get(self, path: str) -> Slot | None:
        """The slot of a path."""
        return self._slots.get(path)

    def put(self, revision: Revision) -> bool:
        """Add an accepted revision; False for a repeat. Raises Conflict."""
        document = revision.document
        slot = self._slots.get(document.path)
        if slot is None:
            slot = self._slots[document.path] = self._add(document)
        if not slot.put(revision):
            return False
        self._digest += int.from_bytes(_fingerprint(revision))
        return True

    def _add(self, document: Document) -> Slot:
        slot = Slot(document.path)
        if document.account is None:
            self._service = _with(self._service, slot)
        elif document.meeting is None:
            self._accounts[document.account] = _with(self._accounts.get(document.account, ()), slot)
        else:
            key = (document.account, document.meeting)
            self._meetings[key] = _with(self._meetings.get(key, ()), slot)
        return slot

    @property
    def digest(self) -> str:
        """Names the set of accepted revisions, 32 hex digits; equal on all workers that accepted the same ones alike.

        By whom a document is signed counts, and whether on the owner's behalf: verdicts and what is said of them rest
        on it, and two workers may judge one record by two trust sets.

        The sum of the revisions' fingerprints modulo 2^128: the order in which they came does not matter.
        """
        return f"{self._digest % 2**128:032x}"

    @property
    def service(self) -> tuple[Slot, ...]:
        """The slots that reach every meeting, by path."""
        return self._service

    def reaching(self, account: str, meeting: str) -> tuple[Slot, ...]:
        """The slots that reach a meeting: widest scope first, then by path, which is how ties are settled."""
        found = self._service
        if slots := self._accounts.get(account):
            found += slots
        if slots := self._meetings.get((account, meeting)):
            found += slots
        return found


def _fingerprint(revision: Revision) -> bytes:
    document = revision.document
    holder = "" if revision.holder is None else f"by {revision.holder}"
    # a path has no space, being percent-encoded; a holder may have one, so its length goes before
    named = f"{document.path} {document.revision} {revision.on_behalf:d} {len(holder)} {holder}"
    return blake2b(named.encode() + revision.content, digest_size=16).digest()


def _with(slots: Sequence[Slot], slot: Slot) -> tuple[Slot, ...]:
    return tuple(sorted((*slots, slot), key=lambda s: s.path))
