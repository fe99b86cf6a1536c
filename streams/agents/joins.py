"""The joins agent: a chunk of ``joins`` in; decisions, reports, dead letters and sessions out, acknowledged together.

One record's fault is a dead letter and never slows the rest. Our own faults (``internal``) are too, until there are so
many that draining the topic into dead letters would be the bigger fault: then the fuse blows and the chunk is held,
uncommitted, for somebody to look at (design §7).
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import structlog
from aiokafka.partitioner import murmur2

from streams import __version__
from streams.adapters.metrics import Metrics, Words
from streams.agents.sessions import Draft, SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core.events import DecisionEvent, LeaveEvent
from streams.core.policy import Mode
from streams.runtime.produce import Acks, Outbox, RecordTooLargeError
from streams.runtime.source import Chunk
from streams.runtime.tables import Changes
from streams.wire import cloudevents, deadletter, sessionrecord
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Fault, Header, Malformed

if TYPE_CHECKING:  # it needs the extra `otel`
    from streams.adapters.tracing import Tracing, Turn

DECISIONS: Final = "decisions"
REPORTS: Final = "decisions.report"
DEAD_LETTERS: Final = "joins.dlq"
MOST_WRITTEN_OVER: Final = 5_000
"""Keys written over with one chunk, some 50 ms of work: garbage in the changelog must not hold up joins."""
LONGEST_SUBJECT: Final = 3 * 128 * 12 + 2
"""Bytes of three ids of 128 characters, percent-encoded. A longer key is nobody's, and a record of it may be too large
to be written over."""
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


class Table(Protocol):
    """The sessions' table, as far as a chunk writes to it."""

    def add_to(self, outbox: Outbox, changes: Changes) -> None:
        """Add the changelog's records."""

    def persist(self, changes: Changes, acks: Acks) -> Mapping[int, tuple[int, int]]:
        """Write to disk; returns where somebody else wrote in between."""

    async def foreign_keys(self, spoiled: Mapping[int, tuple[int, int]]) -> Mapping[int, Collection[bytes]]:
        """What they wrote."""


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
        keeper: remembers participations and answers their events.
        sweeper: decides live sessions again, a share with each chunk.
        table: the sessions' table.
        outbox: a fresh outbox for a chunk.
        clock: ms since the epoch; read once a chunk.
        metrics: where to count.
        partitions: of ``joins``, to notice misrouted events.
        max_event_bytes: the largest event.
        fuse: for our own faults.
        tracing: follows sampled joins; None: no traces.
    """

    def __init__(
        self,
        *,
        keeper: SessionKeeper,
        sweeper: Sweeper,
        table: Table,
        outbox: Callable[[], Outbox],
        clock: Callable[[], int],
        metrics: Metrics,
        partitions: int,
        max_event_bytes: int,
        fuse: Fuse,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._keeper = keeper
        self._sweeper = sweeper
        self._table = table
        self._new_outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._max_event_bytes = max_event_bytes
        self._fuse = fuse
        self._tracing = tracing
        self._spoiled: dict[int, set[bytes]] = {}  # keys to be written over
        self._swept: Outbox | None = None  # what the last turn said, for the next chunk
        self._reached: dict[int, int] = {}  # by partition, the timestamp of the latest event answered
        self._reported: dict[bytes, None] = {}  # misrouted meetings that were reported, oldest first

        @lru_cache(maxsize=_REMEMBERED)
        def home(key: bytes) -> int:
            """The default partitioner's choice (Kafka's murmur2)."""
            return int((murmur2(key) & 0x7FFFFFFF) % partitions)

        self._home = home

    def write_over(self, partition: int, subjects: Collection[bytes]) -> None:
        """What the changelog holds last of these is not what counts; the next chunks say again what does."""
        ours = {subject for subject in subjects if len(subject) <= LONGEST_SUBJECT}
        if ours:
            self._spoiled.setdefault(partition, set()).update(ours)

    def forget(self) -> None:
        """The partitions are no longer ours."""
        self._spoiled, self._swept, self._reached = {}, None, {}

    async def run(self, chunks: Any) -> None:
        """Answer chunks until Faust stops the stream."""
        async for chunk in chunks:
            with chunk:
                await self.answer(chunk)

    async def answer(self, chunk: Chunk) -> None:
        """Answer one chunk; returns when every output is acknowledged. Blocks for ever once the fuse has blown."""
        started, taken = time.perf_counter(), time.time_ns() // 1_000_000
        outbox, self._swept = self._swept or self._new_outbox(), None
        work = _Work(outbox, self._new_outbox(), self._keeper.instant(self._clock()))
        turn = None if self._tracing is None else self._tracing.turn(len(chunk))
        answer = self._answer if turn is None else partial(self._follow, turn)
        if missing := {partition.partition for partition in chunk.parts} - self._keeper.views.keys():
            raise RuntimeError(f"sessions of partitions {sorted(missing)} were never loaded")
        for partition, records in chunk.parts.items():
            # Here, as deciding needs the records next: what it costs is to fetch them. -1: its producer gave none.
            work.waits += [taken - at for record in records if (at := record.timestamp) >= 0]
            failures = [answer(record, partition.partition, work) for record in records]
            if any(failures):
                log.error("events failed", failed=len(work.failures), first=work.failures[:3])
            if self._fuse.blown_by(failures):
                await self._hold(chunk, partition.partition)
        self._sweeper.turn(work.say_swept, work.draft, work.at)
        decided = time.perf_counter()
        await self._write(chunk, work)
        written = time.perf_counter()
        chunk.check()  # what the sweep says is for the next chunk, if there is one of ours
        self._swept = work.swept
        self._sweeper.acknowledged(spoke=work.spoke)
        if chunk.parts:
            self._count(chunk, work, deciding=decided - started, writing=written - decided)
        if turn is not None:
            turn.acknowledged(deciding=decided - started, writing=written - decided)

    def reached(self, partition: int, now: int) -> int:
        """The timestamp of the latest event answered in a partition, ms; of one that has had none, since we asked."""
        return self._reached.setdefault(partition, now)

    async def _write(self, chunk: Chunk, work: "_Work") -> None:
        """Send what a chunk came to; on disk only once the brokers have it.

        What a sweep says waits for the sessions it changed, and goes out beside the next chunk: a crash in between is
        made good by whoever takes them on, while a decision whose session is lost would be forgotten. (A join is read
        again after either.)

        Where a worker that is not the owner any more, or a forger, wrote into our changelog, that is written over.
        """
        table, changes = self._table, Changes()
        self._put_spoiled(changes)
        for (partition, subject), state in work.draft.items():
            changes.put(partition, subject, None if state is None else sessionrecord.encode(state))
        while True:
            table.add_to(work.outbox, changes)
            spoiled = table.persist(changes, await work.outbox.send(chunk.check))
            if not spoiled:
                break
            log.warning("somebody else wrote into our changelog; writing it over", spoiled=spoiled)
            foreign = await table.foreign_keys(spoiled)
            chunk.check()  # the views may have gone meanwhile
            changes = Changes()
            for partition, subjects in foreign.items():
                self.write_over(partition, subjects)
            self._put_spoiled(changes)

    def _put_spoiled(self, changes: Changes) -> None:
        """Say again what counts of a share of the keys that are to be written over."""
        room = MOST_WRITTEN_OVER
        for partition, subjects in list(self._spoiled.items()):
            while subjects and room:
                subject = subjects.pop()
                changes.put(partition, subject, self._keeper.record(partition, subject))
                room -= 1
            if not subjects:
                del self._spoiled[partition]

    def _follow(self, turn: "Turn", record: Record, partition: int, work: "_Work") -> bool:
        """Answer one record, carrying on the trace it is in."""
        followed = turn.follow(record)
        if followed is None:
            return self._answer(record, partition, work)
        work.headers, work.said, work.fault = followed.headers, None, None
        failed = self._answer(record, partition, work)
        work.headers = CONTENT_TYPE_HEADERS
        turn.answered(followed, work.said, work.fault)
        return failed

    def _answer(self, record: Record, partition: int, work: "_Work") -> bool:
        """Put what one record gets into the outbox. Returns whether it failed for a reason of our own."""
        try:
            self._decide(record, partition, work)
        except Malformed as exc:
            self._bury(record, exc.fault, exc.detail, work)
        except Exception as exc:  # our own fault, whatever it is: the rest of the chunk must not pay for it
            work.failures.append((partition, record.offset, type(exc).__name__))
            self._bury(record, "internal", type(exc).__name__, work)
            return True
        return False

    def _decide(self, record: Record, partition: int, work: "_Work") -> None:
        event = cloudevents.decode(record.value, record.headers, max_bytes=self._max_event_bytes)
        key = event.data.meeting.encode()
        if record.key != key:
            raise Malformed("key_mismatch", "the record's key is not the meeting's id")
        if self._home(key) != partition:
            self._misrouted(key, partition, work)
        work.types.append(event.type)
        if isinstance(event, LeaveEvent):
            self._keeper.leave(partition, event, record.offset, work.at, work.draft)
            return
        answer = self._keeper.join(partition, event, record.offset, work.at, work.draft)
        work.say(partition, key, answer.decision, "enforce")
        work.said = answer.decision
        if answer.report is not None:
            work.say(partition, key, answer.report, "report")
        if answer.bad_address is not None:
            self._bury(record, "bad_address", answer.bad_address, work)

    def _bury(self, record: Record, fault: Fault, detail: str, work: "_Work") -> None:
        work.faults[fault] += 1
        work.fault = fault
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
            work.outbox.add(DEAD_LETTERS, record.partition, record.key, record.value, record.timestamp, headers)
        except RecordTooLargeError:
            key, stub = deadletter.stub(record.key, record.value, headers)
            work.outbox.add(DEAD_LETTERS, record.partition, key, None, record.timestamp, stub)

    def _misrouted(self, key: bytes, partition: int, work: "_Work") -> None:
        work.misrouted += 1
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

    def _count(self, chunk: Chunk, work: "_Work", *, deciding: float, writing: float) -> None:
        """Count a chunk of events; ``deciding`` and ``writing`` are the seconds that took."""
        for partition, records in chunk.parts.items():
            self._reached[partition.partition] = records[-1].timestamp
        metrics = self._metrics
        if work.waits:
            metrics.latency.observe_all(work.waits, shift=1000 * (deciding + writing))
            metrics.stages.observe(max(work.waits) / 1000, "wait")
        metrics.stages.observe(deciding, "decide")
        metrics.stages.observe(writing, "write")
        metrics.events.count_all(work.types)
        metrics.decisions.count_all(work.verdicts)
        for fault, count in work.faults.items():
            metrics.dead_letters.labels(fault).inc(count)
        if work.misrouted:
            metrics.misrouted.inc(work.misrouted)


class _Work:
    """What a chunk comes to: what is to be sent, and counts that go into the metrics once it is acknowledged."""

    __slots__ = (
        "at", "draft", "failures", "fault", "faults", "headers", "misrouted", "outbox", "said", "spoke", "swept",
        "types", "verdicts", "waits",
    )  # fmt: skip

    def __init__(self, outbox: Outbox, swept: Outbox, at: int) -> None:
        self.outbox = outbox
        self.swept = swept  # what a sweep says
        self.spoke = False  # whether it said anything
        self.at = at
        self.draft: Draft = {}
        self.types: list[str] = []  # of each event
        self.verdicts: list[Words] = []  # of each decision: verdict, cause and mode
        self.waits: list[int] = []  # of each event that has a timestamp: ms until it was taken
        self.faults: Counter[Fault] = Counter()
        self.misrouted = 0
        self.failures: list[tuple[int, int, str]] = []  # partition, offset and the exception's name
        self.headers = CONTENT_TYPE_HEADERS  # of what is said next
        self.said: DecisionEvent | None = None  # the latest decision on an event
        self.fault: Fault | None = None  # of the latest dead letter

    def say(self, partition: int, key: bytes, made: DecisionEvent, mode: Mode) -> None:
        """Put an answer into the outbox; the key is the meeting's."""
        self._put(self.outbox, partition, key, made, mode)

    def say_swept(self, partition: int, made: DecisionEvent, mode: Mode) -> None:
        """Put what a sweep says into its own."""
        self._put(self.swept, partition, made.data.meeting.encode(), made, mode)
        self.spoke = True

    def _put(self, outbox: Outbox, partition: int, key: bytes, made: DecisionEvent, mode: Mode) -> None:
        data, topic = made.data, DECISIONS if mode == "enforce" else REPORTS
        outbox.add(topic, partition, key, cloudevents.encode(made), None, self.headers)
        self.verdicts.append((data.verdict, data.cause, mode))
