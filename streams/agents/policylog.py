"""The policy log, read for as long as a worker runs, and judged anew when the trust set changes.

What is in force is a function of the log and of the trust set, and of nothing that happened in between. So a key that
is revoked or added while a worker runs is dealt with as at a start: the whole log is judged by the new set, into an
index of its own, while joins are still decided by the old one; at the log's end the indexes are exchanged. A worker
that starts later with that trust set comes to the same index and says so by the same digest. Which sets may be given
here at all is ``streams.agents.trustwatch``'s to say: none that has the past otherwise.

Judging costs a fifth of a millisecond a document, in slices between which joins are decided. Records that are appended
meanwhile wait for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from streams.adapters.policytable import Meaning, PolicyTable, TableDamaged
from streams.agents.policies import POLICIES, LogReplaced, PolicyFollower
from streams.core.index import Index, Revision
from streams.runtime.reader import LogChangedError, LogReader
from streams.wire.trust import TrustSet

RETRY_SECONDS: Final = 1.0
TOLD: Final = 10
"""Paths named in one line of the log."""

log = structlog.get_logger(__name__)

Applied: TypeAlias = Callable[[Sequence[Revision]], None]
"""Told of the revisions that a follower accepted."""


class Taken(msgspec.Struct, frozen=True):
    """An index that is in force from now on.

    Attributes:
        follower: goes on filling it.
        trust: whose signatures it is made of.
        fresh: revisions that the index before it did not have.
        seconds: how long judging took.
    """

    follower: PolicyFollower
    trust: TrustSet
    fresh: list[Revision]
    seconds: float


class PolicyLog:
    """Reads the log.

    Args:
        table: what is known from earlier.
        meaning: what its rows are judged by.
        trust: whose signatures count to begin with.
        judge: makes a follower that fills an index by a trust set and reports to ``Applied``.
        options: for the log's readers: ``bootstrap_servers``, ``client_id``, security settings.
        taken: an index came into force: at the start what the table held, later what the whole log came to.
        applied: its follower took more records in.
        judged: told how many seconds judging a batch took.

    Attributes:
        caught_up: set once the log was read to the end it had at the start.
    """

    def __init__(
        self,
        *,
        table: PolicyTable,
        meaning: Meaning,
        trust: TrustSet,
        judge: Callable[[Index, TrustSet, Applied], PolicyFollower],
        options: dict[str, Any],
        taken: Callable[[Taken], None],
        applied: Callable[[PolicyFollower, Sequence[Revision]], None],
        judged: Callable[[float], None],
    ) -> None:
        self.caught_up = asyncio.Event()
        self._table = table
        self._meaning = meaning
        self._trust = trust
        self._judge = judge
        self._options = options
        self._taken = taken
        self._applied = applied
        self._judged = judged
        self._current: PolicyFollower | None = None
        self._changed = asyncio.Event()

    def judge_by(self, trust: TrustSet) -> None:
        """Have the log judged by another trust set; returns at once."""
        self._trust = trust
        self._changed.set()

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            LogReplaced: the log is not the one that the table was made of; the table is empty now.
            TableDamaged: it failed in use; it is empty now.
            LogChangedError: the log was cut while it was read.
        """
        reading = await self._begin()
        try:
            while True:
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait((reading.task, changed), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if reading.task.done():
                    return reading.task.result()
                await reading.end()
                reading = await self._anew()
        except (LogReplaced, TableDamaged):
            self._table.clear()  # the log has the truth; the next start reads it from its beginning
            raise
        finally:
            await reading.end()

    async def _begin(self) -> "_Reading":
        """Go on where the table ends, or begin anew where it is of no use."""
        if self._table.is_outdated:
            reading = await self._anew()
            self.caught_up.set()
            return reading
        try:
            reading = await self._warm()
        except (TableDamaged, LogChangedError) as exc:
            # The table is derived: whatever is wrong with it, the log has the truth.
            log.warning("policy table built again", reason=str(exc))
            self._table.clear()
            self._current = None
            reading = await self._warm()
        await reading.catch_up()
        self.caught_up.set()
        return reading

    async def _warm(self) -> "_Reading":
        began = time.monotonic()
        follower = self._follower()
        offset = follower.warm()
        self._take(follower, self._trust, began)
        log.info("policy table read", documents=len(follower.index), seconds=round(time.monotonic() - began, 3))
        return await self._read(follower, offset)

    async def _anew(self) -> "_Reading":
        """Judge the whole log by the trust set that was given last, until that is done; brokers are waited for."""
        while True:
            self._changed.clear()
            began, trust = time.monotonic(), self._trust
            self._table.rejudge()
            follower = self._follower()
            try:
                reading = await self._read(follower, None)
                await reading.catch_up()
            except KafkaError as exc:
                log.error("the policy log cannot be judged by the new trust set; trying again", error=repr(exc))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._table.judged_by(msgspec.structs.replace(self._meaning, trust=trust.digest), follower.offset)
            self._take(follower, trust, began)
            return reading

    def _take(self, follower: PolicyFollower, trust: TrustSet, began: float) -> None:
        before = {} if self._current is None else _revisions(self._current.index)
        now = _revisions(follower.index)
        self._current = follower
        fresh = [revision for key, revision in now.items() if key not in before]
        lost = [revision for key, revision in before.items() if key not in now]
        if lost:
            paths = sorted({revision.document.path for revision in lost})
            log.warning(
                "documents count no longer by this trust set",
                documents=len(paths),
                first=paths[:TOLD],
            )
        self._taken(Taken(follower, trust, fresh, time.monotonic() - began))

    def _follower(self) -> PolicyFollower:
        def applied(revisions: Sequence[Revision]) -> None:
            if follower is self._current:
                self._applied(follower, revisions)

        follower = self._judge(Index(), self._trust, applied)
        return follower

    async def _read(self, follower: PolicyFollower, offset: int | None) -> "_Reading":
        async def handle(records: Sequence[ConsumerRecord]) -> None:
            before = time.monotonic()
            await follower.handle(records)
            self._judged(time.monotonic() - before)

        reader = LogReader(POLICIES, handle, **self._options)
        await reader.start(offset)
        return _Reading(reader)


class _Reading:
    """A reader that runs."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.task = asyncio.ensure_future(reader.run())

    async def catch_up(self) -> None:
        """Wait until it has read what there was at its start. Raises what ended it."""
        caught_up = asyncio.ensure_future(self._reader.caught_up.wait())
        try:
            await asyncio.wait((self.task, caught_up), return_when=asyncio.FIRST_COMPLETED)
            if self.task.done():
                self.task.result()
        except BaseException:
            await self.end()
            raise
        finally:
            caught_up.cancel()

    async def end(self) -> None:
        """Stop it, between two slices of records."""
        self.task.cancel()
        await asyncio.wait((self.task,))
        await self._reader.stop()


def _revisions(index: Index) -> dict[tuple[str, int, bytes], Revision]:
    return {(slot.path, r.document.revision, r.content): r for slot in index for r in slot.revisions}
