"""The policy log followed: every worker derives its own index from ``policies``, by a plain reader (design §7).

A record is verified and judged once (``streams.wire.signed``); the verdict goes into the policy table, an accepted
document into the index, and from the next chunk on joins are decided by it. Nothing a worker can write changes what
another one decides by.

An index says what the log comes to *by one trust set*. With another one the whole log is judged anew, into another
index (``streams.agents.policylog``): so a worker that has run for months and one that starts today agree.

What came of each record is said on ``policies.status`` by one worker for the group (``streams.agents.speaker``); how
far a worker has got is said by each (``streams.agents.progress``).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from aiokafka.structs import ConsumerRecord

from streams.adapters.metrics import Metrics
from streams.adapters.policytable import PolicyTable, Row, TableDamaged
from streams.core import status
from streams.core.facts import Vocabulary
from streams.core.index import Index, Revision
from streams.core.policy import Document, Limits, Problem
from streams.wire import signed, stored
from streams.wire.announced import Announced
from streams.wire.signed import Record, Rejected, Repeat
from streams.wire.trust import TrustSet

POLICIES: Final = "policies"
LOG_APPEND_TIME: Final = 1
"""Kafka's timestamp type of a record stamped by the broker."""
_SERVICE: Final = b"service/"
"""How the keys of service documents begin; one under another key is refused whoever signed it."""
_SLICE_SECONDS: Final = 0.03
"""How long records are judged in one go, for which joins wait: a hundred and more of the usual ones, one with 60,000
networks."""

log = structlog.get_logger(__name__)


class LogReplaced(Exception):
    """The log holds another record where the table's last one was read: the topic was made anew."""


class PolicyFollower:
    """Derives the index from the log.

    Args:
        index: filled here and nowhere else.
        table: what is known from earlier.
        trust: whose signatures count.
        audience: the deployment's.
        vocabulary: the codes documents may name.
        contest: the deployment's own way to contest.
        announced: how old keys are (ruling 32); None: not asked, as in the sandbox.
        limits: the greatest sizes of documents.
        announcements_read: set once the announcements were read to the end they had at the start.
        applied: called after each slice with the revisions accepted in it.

    Attributes:
        changed: by offset, what is to be said of records that the table held another answer to.
    """

    def __init__(
        self,
        *,
        index: Index,
        table: PolicyTable,
        trust: TrustSet,
        audience: str,
        vocabulary: Vocabulary,
        contest: str | None,
        metrics: Metrics,
        announced: Announced | None,
        limits: Limits,
        announcements_read: asyncio.Event,
        applied: Callable[[Sequence[Revision]], None],
    ) -> None:
        self.index = index
        self.table = table
        self.offset = -1
        self.appended_at: int | None = None
        self._trust = trust
        self._audience = audience
        self._vocabulary = vocabulary
        self._contest = contest
        self._metrics = metrics
        self._announced = announced
        self._limits = limits
        self._announcements_read = announcements_read
        self._applied = applied
        self.changed: dict[int, bytes] = {}
        self._accepted: list[Revision] = []

    def warm(self) -> int | None:
        """Fill the index from the table, verifying and checking nothing twice. Blocks: about 10 µs a document.

        Returns:
            The offset to read on from: the last one known, so that ``handle`` can see that it is the same log. None
            when the table is empty.

        Raises:
            TableDamaged: see there; the index must not be used.
        """
        decode = stored.decoder(self._vocabulary)
        try:
            for row in self.table.rows():
                if row.after != self.offset:
                    raise TableDamaged(f"what was made of records {self.offset + 1} to {row.offset - 1} is missing")
                if row.document is not None:
                    revision = _revision(row, decode(row.document))
                    self.index.put(revision)
                    self._accepted.append(revision)
                self.offset, self.appended_at = row.offset, row.appended_at
        except (msgspec.MsgspecError, ValueError) as exc:
            raise TableDamaged(str(exc)) from exc
        self._report()
        return None if self.offset < 0 else self.offset

    async def handle(self, records: Sequence[ConsumerRecord]) -> None:
        """Judge a batch of the log, in slices between which joins are decided. Raises LogReplaced, TableDamaged."""
        if records[0].offset == self.offset:
            if records[0].timestamp != self.appended_at:
                raise LogReplaced(f"the record at offset {self.offset} is not the one that was judged")
            records = records[1:]
        if self._announced is not None and any((record.key or b"").startswith(_SERVICE) for record in records):
            await self._announcements_read.wait()
        waiting = deque(records)
        while waiting:
            rows: list[Row] = []
            until = time.monotonic() + _SLICE_SECONDS
            while waiting and time.monotonic() < until:
                row = self._judge(waiting.popleft())
                rows.append(msgspec.structs.replace(row, after=rows[-1].offset if rows else self.offset))
            for row in rows:
                if self.table.status(row.offset) not in (None, row.status):
                    self.changed[row.offset] = row.status
            self.table.put(rows)
            self.offset, self.appended_at = rows[-1].offset, rows[-1].appended_at
            self._report()
            await asyncio.sleep(0)

    def _report(self) -> None:
        accepted, self._accepted = self._accepted, []
        self._applied(accepted)

    def _judge(self, record: ConsumerRecord) -> Row:
        offset, at = record.offset, record.timestamp
        try:
            revision = self._accept(record)
            repeat = False
        except Repeat as exc:
            revision, repeat = exc.accepted, True
        except Rejected as exc:
            key = (record.key or b"").decode(errors="replace")
            said = status.rejected(
                exc.path or key, exc.revision, exc.problems, offset=offset, appended_at=at, sha256=exc.sha256
            )
            self._metrics.policy_records.labels("rejected").inc()
            codes = sorted({problem.code for problem in exc.problems})
            log.warning("policy rejected", path=exc.path or key, offset=offset, codes=codes)
            return Row(offset=offset, appended_at=at, status=status.encode(said))
        said_accepted = status.encode(status.accepted(revision, offset=offset, appended_at=at))
        if repeat:
            self._metrics.policy_records.labels("repeated").inc()
            return Row(offset=offset, appended_at=at, status=said_accepted)
        self.index.put(revision)
        self._accepted.append(revision)
        self._metrics.policy_records.labels("accepted").inc()
        return Row(
            offset=offset,
            appended_at=at,
            status=said_accepted,
            document=stored.encode(revision.document),
            content=revision.content,
            holder=revision.holder,
            on_behalf=revision.on_behalf,
            sha256=revision.sha256,
        )

    def _accept(self, record: ConsumerRecord) -> Revision:
        if record.timestamp_type != LOG_APPEND_TIME:  # ruling 36: a producer could date its own notice
            message = "the policy log must stamp records itself (message.timestamp.type=LogAppendTime)"
            raise Rejected([Problem("C5-append-time", "", message)], None)
        return signed.accept(
            record.value,
            trust=self._trust,
            audience=self._audience,
            vocabulary=self._vocabulary,
            index=self.index,
            contest=self._contest,
            announced=self._announced,
            limits=self._limits,
            record=Record(record.key, record.offset, record.timestamp),
        )


def _revision(row: Row, document: Document) -> Revision:
    return Revision(
        document=document,
        content=row.content,
        holder=row.holder,
        on_behalf=row.on_behalf,
        sha256=row.sha256,
        offset=row.offset,
        appended_at=row.appended_at,
    )
