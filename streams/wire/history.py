"""The policy log read as a history: each record judged again from the beginning, as a worker would, and chained.

A fresh index is filled record by record, so a signature, a revision that falls or a document that its signers may not
say is found whatever workers said at the time. Judged is by the trust set of today: a key that was since taken out of
it (rather than marked ``revoked``) no longer verifies what it signed. A deployment's own ``contest`` counts as it is
now. Ruling 32 is judged where the caller has read what was announced of keys, which is said on another topic.
"""

from typing import Final, Literal

import msgspec

from streams.core.facts import Vocabulary
from streams.core.index import Index, Revision
from streams.core.policy import LIMITS, Document, Limits, Problem
from streams.core.rulelists import brief
from streams.wire import chain, signed
from streams.wire.announced import Announced
from streams.wire.chain import Head, LogRecord, Sealed
from streams.wire.jws import digest_of
from streams.wire.signed import Record, Rejected, Repeat
from streams.wire.trust import TrustSet

NOT_CHECKED: Final = "not checked: since when approvers' keys have been announced (ruling 32)"
TAMPERED: Final = frozenset(
    {"too-large", "not-jws", "header", "alg", "typ", "audience", "untrusted", "revoked", "signature", "payload"}
    | {"key-mismatch", "revision-falls", "revision-conflict", "C5-append-time"}
)
"""Codes of refusals that are findings about the log, rather than about a document: its signature does not hold, or
its place or time is not what was signed or stamped."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record and what came of it.

    Attributes:
        record: as Kafka has it.
        sealed: what the chain took of it.
        head: the chain after it.
        sha256: of its value, ``sha256:`` and hex digits; None for a tombstone.
        outcome: ``repeated`` is the same content again, which changes nothing.
        path: the document's, or the record's key where the document could not be read that far.
        revision: the document's, where it could be read.
        accepted: the revision it became, or repeats; None when refused.
        change: what it changed of the revision before, in few words; empty when it changed nothing.
        problems: why it was refused.
    """

    record: LogRecord
    sealed: Sealed | None
    head: Head
    sha256: str | None
    outcome: Literal["accepted", "repeated", "refused"]
    path: str
    revision: int | None
    accepted: Revision | None = None
    change: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def is_finding(self) -> bool:
        """Whether the log is not as pushing leaves it."""
        return any(problem.code in TAMPERED for problem in self.problems)


class History:
    """Judges the log from its first record on.

    Args:
        trust: whose signatures count.
        audience: the deployment's.
        vocabulary: the codes documents may name.
        contest: the deployment's own way to contest (ruling 39).
        announced: what ``policies.status`` says of keys and their age (ruling 32); None: not asked.
        limits: the deployment's greatest sizes.

    Attributes:
        index: what was accepted so far.
        head: the chain so far.
        gaps: offsets that hold no record, as first and last; before the first record too.
    """

    def __init__(
        self,
        trust: TrustSet,
        audience: str,
        vocabulary: Vocabulary,
        contest: str | None,
        announced: Announced | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.index = Index()
        self.head = Head()
        self.gaps: list[tuple[int, int]] = []
        self._trust, self._audience, self._vocabulary, self._contest = trust, audience, vocabulary, contest
        self._announced, self._limits = announced, limits

    def take(self, record: LogRecord) -> Entry:
        """Judge the next record."""
        if record.offset > self.head.offset + 1:
            self.gaps.append((self.head.offset + 1, record.offset - 1))
        sealed = chain.seal(record.key, record.value)
        self.head = chain.after(self.head, record.offset, chain.link(record.offset, record.appended_at, sealed))
        sha256 = None if record.value is None else digest_of(record.value)
        try:
            revision = self._accept(record)
        except Repeat as exc:
            document = exc.accepted.document
            return Entry(
                record=record, sealed=sealed, head=self.head, sha256=sha256, outcome="repeated", path=document.path,
                revision=document.revision, accepted=exc.accepted,
            )  # fmt: skip
        except Rejected as exc:
            return Entry(
                record=record, sealed=sealed, head=self.head, sha256=sha256, outcome="refused",
                path=exc.path or (record.key or b"").decode(errors="replace"), revision=exc.revision,
                problems=tuple(exc.problems),
            )  # fmt: skip
        before = self._before(revision.document)
        self.index.put(revision)
        return Entry(
            record=record, sealed=sealed, head=self.head, sha256=sha256, outcome="accepted",
            path=revision.document.path, revision=revision.document.revision, accepted=revision,
            change=brief(before, revision.document),
        )  # fmt: skip

    def _before(self, document: Document) -> Document | None:
        slot = self.index.get(document.path)
        return slot.revisions[0].document if slot else None

    def _accept(self, record: LogRecord) -> Revision:
        if not record.stamped:  # ruling 36: a producer could date its own notice
            message = "the policy log must stamp records itself (message.timestamp.type=LogAppendTime)"
            raise Rejected([Problem("C5-append-time", "", message)], None)
        return signed.accept(
            record.value,
            trust=self._trust,
            audience=self._audience,
            vocabulary=self._vocabulary,
            index=self.index,
            contest=self._contest,
            record=Record(record.key, record.offset, record.appended_at),
            announced=self._announced,
            limits=self._limits,
        )
