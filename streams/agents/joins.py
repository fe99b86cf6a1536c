"""The joins agent: a chunk of ``joins`` in; decisions, reports and dead letters out, acknowledged together.

One record's fault is a dead letter and never slows the rest. Our own faults (``internal``) are too, until there are so
many that draining the topic into dead letters would be the bigger fault: then the fuse blows and the chunk is held,
uncommitted, for somebody to look at (design §7).
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn, Protocol

import structlog
from aiokafka.partitioner import murmur2

from streams import __version__
from streams.adapters.metrics import Metrics
from streams.agents.decider import Decider
from streams.core.events import LeaveEvent
from streams.runtime.produce import Outbox, RecordTooLargeError
from streams.runtime.source import Chunk
from streams.wire import cloudevents, deadletter
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Fault, Header, Malformed

DECISIONS: Final = "decisions"
REPORTS: Final = "decisions.report"
DEAD_LETTERS: Final = "joins.dlq"
_REMEMBERED: Final = 65_536

log = structlog.get_logger(__name__)


class Record(Protocol):
    """What is read of an aiokafka ConsumerRecord."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    topic: str
    partition: int
    offset: int
    timestamp: int


class Fuse:
    """Blows when too large a share of the latest events failed for reasons of our own.

    Args:
        share: of the sample, above which it blows.
        sample: how many of the latest events are looked at; with fewer it never blows.
    """

    def __init__(self, share: float, sample: int) -> None:
        self._share = share
        self._latest: deque[bool] = deque(maxlen=sample)

    def clear(self) -> None:
        """Forget the sample."""
        self._latest.clear()

    def blown_by(self, failures: Sequence[bool]) -> bool:
        """Count a partition's chunk (True: failed) and say whether the fuse blows."""
        latest = self._latest
        if not any(failures):
            latest.extend(failures)
            return False
        for failed in failures:
            latest.append(failed)
            if failed and len(latest) == latest.maxlen and sum(latest) > self._share * len(latest):
                return True
        return False


class JoinsAgent:
    """Answers chunks.

    Args:
        decider: answers one join.
        outbox: a fresh outbox for a chunk.
        clock: ms since the epoch; read once a chunk.
        metrics: where to count.
        partitions: of ``joins``, to notice misrouted events.
        max_event_bytes: the largest event.
        fuse: for our own faults.
    """

    def __init__(
        self,
        *,
        decider: Decider,
        outbox: Callable[[], Outbox],
        clock: Callable[[], int],
        metrics: Metrics,
        partitions: int,
        max_event_bytes: int,
        fuse: Fuse,
    ) -> None:
        self._decider = decider
        self._new_outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._max_event_bytes = max_event_bytes
        self._fuse = fuse
        self._reported: dict[bytes, None] = {}  # misrouted meetings that were reported, oldest first

        @lru_cache(maxsize=_REMEMBERED)
        def home(key: bytes) -> int:
            """The default partitioner's choice (Kafka's murmur2)."""
            return int((murmur2(key) & 0x7FFFFFFF) % partitions)

        self._home = home

    async def run(self, chunks: Any) -> None:
        """Answer chunks until Faust stops the stream."""
        async for chunk in chunks:
            with chunk:
                await self.answer(chunk)

    async def answer(self, chunk: Chunk) -> None:
        """Answer one chunk; returns when every output is acknowledged. Blocks for ever once the fuse has blown."""
        outbox, at, tally = self._new_outbox(), self._clock(), _Tally()
        for partition, records in chunk.parts.items():
            failures = [self._answer(record, partition.partition, outbox, at, tally) for record in records]
            if any(failures):
                log.error("events failed", failed=len(tally.failures), first=tally.failures[:3])
            if self._fuse.blown_by(failures):
                await self._hold(chunk, partition.partition)
        await outbox.send(chunk.check)
        self._count(chunk, tally)

    def _answer(self, record: Record, partition: int, outbox: Outbox, at: int, tally: "_Tally") -> bool:
        """Put what one record gets into the outbox. Returns whether it failed for a reason of our own."""
        try:
            self._decide(record, partition, outbox, at, tally)
        except Malformed as exc:
            self._bury(record, exc.fault, exc.detail, outbox, tally)
        except Exception as exc:  # our own fault, whatever it is: the rest of the chunk must not pay for it
            tally.failures.append((partition, record.offset, type(exc).__name__))
            self._bury(record, "internal", type(exc).__name__, outbox, tally)
            return True
        return False

    def _decide(self, record: Record, partition: int, outbox: Outbox, at: int, tally: "_Tally") -> None:
        event = cloudevents.decode(record.value, record.headers, max_bytes=self._max_event_bytes)
        key = event.data.meeting.encode()
        if record.key != key:
            raise Malformed("key_mismatch", "the record's key is not the meeting's id")
        if self._home(key) != partition:
            self._misrouted(key, partition, tally)
        tally.types[event.type] += 1
        if isinstance(event, LeaveEvent):
            return
        answer = self._decider.answer(event, record.offset, at)
        made = answer.decision
        outbox.add(DECISIONS, partition, key, cloudevents.encode(made), None, CONTENT_TYPE_HEADERS)
        tally.verdicts[made.data.verdict, "enforce"] += 1
        if answer.report is not None:
            outbox.add(REPORTS, partition, key, cloudevents.encode(answer.report), None, CONTENT_TYPE_HEADERS)
            tally.verdicts[answer.report.data.verdict, "report"] += 1
        if answer.bad_address is not None:
            self._bury(record, "bad_address", answer.bad_address, outbox, tally)

    def _bury(self, record: Record, fault: Fault, detail: str, outbox: Outbox, tally: "_Tally") -> None:
        tally.faults[fault] += 1
        headers = deadletter.headers(
            record.headers,
            fault,
            detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            version=__version__,
        )
        try:
            outbox.add(DEAD_LETTERS, record.partition, record.key, record.value, record.timestamp, headers)
        except RecordTooLargeError:
            key, stub = deadletter.stub(record.key, record.value, headers)
            outbox.add(DEAD_LETTERS, record.partition, key, None, record.timestamp, stub)

    def _misrouted(self, key: bytes, partition: int, tally: "_Tally") -> None:
        tally.misrouted += 1
        if key not in self._reported:
            self._reported[key] = None
            if len(self._reported) > _REMEMBERED:
                del self._reported[next(iter(self._reported))]
            log.warning("misrouted", meeting=key.decode(), partition=partition, expected=self._home(key))

    async def _hold(self, chunk: Chunk, partition: int) -> NoReturn:
        """Hold the chunk, unsent and uncommitted, for somebody to look at: a release that mends it reads it again."""
        self._metrics.fuse_blown.set(1)
        self._metrics.ready.set(0)
        log.critical("fuse blown: too many events fail here; nothing is sent or committed", partition=partition)
        try:
            await chunk.hold()
        finally:  # the partitions went to somebody else, who finds the same; what comes next here starts anew
            self._fuse.clear()
            self._metrics.fuse_blown.set(0)
            self._metrics.ready.set(1)

    def _count(self, chunk: Chunk, tally: "_Tally") -> None:
        metrics, now = self._metrics, time.time_ns() // 1_000_000
        for type_, count in tally.types.items():
            metrics.events.labels(type_).inc(count)
        metrics.count_decisions(tally.verdicts)
        for fault, count in tally.faults.items():
            metrics.dead_letters.labels(fault).inc(count)
        if tally.misrouted:
            metrics.misrouted.inc(tally.misrouted)
        metrics.latency.observe_all(
            (now - record.timestamp) / 1000
            for records in chunk.parts.values()
            for record in records
            if record.timestamp >= 0  # -1: its producer gave none
        )


class _Tally:
    """What a chunk came to; goes into the metrics once it is acknowledged."""

    __slots__ = ("failures", "faults", "misrouted", "types", "verdicts")

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[Fault] = Counter()
        self.misrouted = 0
        self.failures: list[tuple[int, int, str]] = []  # partition, offset and the exception's name
