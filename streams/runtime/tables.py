"""A Faust table whose rows are written in batches, after the changelog has them, and recovered in batches.

    table = app.chunked_table("sessions", partitions=4, changelog="sessions-changelog", delete_retention=86_400.0)

    # once a partition is recovered and taken on (`ChunkedApp`'s `assigned`)
    view = dict(table.rows(partition))
    table.own(partition, generation)
    changes.put(...) for every key of table.overwritten(partition)

    # in each chunk
    table.add_to(outbox, changes)
    acks = await outbox.send(chunk.check)
    spoiled = table.persist(changes, acks)

It is an ordinary table to Faust: its assignor gives a partition of the changelog to the owner of the source's, and its
recovery decides when that is recovered. But Faust's `table[key] = value` writes to disk before the changelog has it and
costs ten times as much; it raises here.

One worker writes a partition at a time, except for one that was paused and wakes too late. Its records carry a lower
number (`frames`) and count for nothing. But the log's compaction keeps the *last* record of a key, and that would be
the stale one: so keys that a stale writer has written are named (`persist`, `overwritten`), and said again.

Where the table has stamps, a record that bears no genuine one counts for nothing either (`frames` says what that is
worth), and its key is said again. Rows on disk were looked at when they came; files are otherwise not distrusted.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.runtime import lenient
from streams.runtime.config import client_options
from streams.runtime.frames import ChangelogRecord, Stamps, frame, is_genuine, said, tombstone_headers, unframe
from streams.runtime.produce import Acks, Outbox
from streams.runtime.store import RESERVED, Mark, PartitionStore, is_locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.runtime.application import ChunkedApp
    from streams.runtime.transport import Consumer

log = logging.getLogger(__name__)

LOCK_SECONDS: Final = 15.0
"""How long to wait for files that a process before us still has open."""

LOCK_POLL_SECONDS: Final = 0.25
FOREIGN_READ_SECONDS: Final = 20.0


class SupersededError(Exception):
    """Another worker wrote a partition with a number not below ours: it is not ours any more. End the process."""


class Changes:
    """What a chunk changes in a table. The last value of a key wins."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[bytes, bytes | None]] = {}
        self.numbers: dict[int, int] = {}  # by partition, what its records carry; set by `ChunkedTable.add_to`

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Set a row, or delete it with None.

        Raises:
            ValueError: The key is one that the table keeps for itself.
        """
        if key.startswith(RESERVED):
            raise ValueError(f"a key may not begin with {RESERVED!r}")
        self._rows.setdefault(partition, {})[key] = value

    def partitions(self) -> Iterable[tuple[int, Mapping[bytes, bytes | None]]]:
        """Each partition and its rows, in the order they were first put."""
        return self._rows.items()

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))


class ChunkedTable(faust.Table[bytes, bytes]):
    """See the module; made by `ChunkedApp.chunked_table`. All of it runs on the main loop.

    Attributes:
        changelog: Name of its topic.
        recovered: Records applied from the changelog since the process began.
        stale: Records of stale writers ignored there.
        undecodable: Records ignored there because they are none of ours: no key, no frame, another format.
        forged: Records ignored, there or beside ours, because they bear no genuine stamp.
    """

    logger = logging.getLogger("faust")  # where Faust's own lines about this service go
    app: "ChunkedApp"

    def __init__(
        self,
        app: "ChunkedApp",
        *,
        name: str,
        partitions: int,
        changelog: str,
        delete_retention: float,
        stamps: Stamps | None,
        **options: Any,
    ) -> None:
        topic = app.topic(
            changelog,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
            internal=True,
            allow_empty=True,
        )
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            changelog_topic=topic,
            **options,
        )
        self.changelog = changelog
        self.recovered = self.stale = self.undecodable = self.forged = 0
        self._stamps = stamps
        self._delete_retention_ms = int(delete_retention * 1000)
        self._numbers: dict[int, int] = {}
        self._overwritten: dict[int, set[bytes]] = {}
        self._reached: dict[int, int] = {}  # where the files' mark may not follow yet: the last offset known to be ours
        self._unread: set[int] = set()  # partitions in which others wrote, and nobody has read what

    @property
    def rebuilt(self) -> int:
        """How many partitions' local files were thrown away since the process began."""
        return self.local.rebuilt

    @property
    def local(self) -> PartitionStore:
        """The rows on this machine."""
        return cast("PartitionStore", self.data)

    def _new_store(self) -> PartitionStore:
        store = PartitionStore("rocksdb://", self.app, self, table_name=self.name, loop=self.loop)
        store.checked = self._stamps is not None
        return store

    def send_changelog(self, *args: Any, **options: Any) -> NoReturn:
        """What `table[key] = value` calls.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{self.name} is written by add_to and persist")

    # Partitions come and go.

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Close what is not ours, actively or standing by; open what is, anew where its files are of no use."""
        self._numbers.clear()
        mine = {TopicPartition(*tp) for tp in assigned if tp.topic == self.changelog}
        self.local.keep([tp.partition for tp in mine])
        if not mine:
            return
        bounds = await cast("Consumer", self.app.consumer).bounds(mine)
        for tp in sorted(mine):
            await self._open(tp.partition, *bounds[tp])

    async def _open(self, partition: int, first: int, end: int) -> None:
        """Open a partition whose changelog holds the offsets `first` to `end`."""
        now = _now()
        tries = int(LOCK_SECONDS / LOCK_POLL_SECONDS)
        for left in reversed(range(tries)):
            try:
                mark = self.local.open(partition, partial(self._flaw, first, end, now), now)
            except Exception as exc:  # rocksdict raises nothing finer
                if not left or not is_locked(exc):
                    raise
                await asyncio.sleep(LOCK_POLL_SECONDS)
            else:
                break
        if mark.offset < 0:
            self._overwritten.pop(partition, None)

    def _flaw(self, first: int, end: int, now: int, mark: Mark, was_closed: bool) -> str | None:
        if mark.offset < 0:
            return None
        if mark.offset >= end:
            return f"they go to offset {mark.offset}, and the changelog ends at {end}: its topic was made anew"
        if mark.offset + 1 < first:
            return f"they go to offset {mark.offset}, and the changelog begins at {first}"
        if was_closed and now - mark.as_of > self._delete_retention_ms:  # open ones were kept up with the changelog
            return "they are older than the changelog keeps deletions"
        return None

    def own(self, partition: int, generation: int) -> None:
        """Take a partition on, once it is recovered and before the first write to it.

        Args:
            partition: A recovered partition.
            generation: The group generation it was assigned in; rises with each rebalance.

        Raises:
            KeyError: The partition is not assigned to this worker.
        """
        mark = self.local.marks[partition]
        # The sum rises with every generation, even where nobody wrote in between. The higher of the two would not when
        # a group was made anew and counts its generations from one again.
        self._numbers[partition] = mark.highest + generation
        self._reached.pop(partition, None)
        self._unread.discard(partition)
        self.local.write(partition, (), mark._replace(as_of=_now()))

    def rows(self, partition: int) -> "Iterator[tuple[bytes, bytes]]":
        """Every row of a recovered partition, in the order of keys.

        Raises:
            KeyError: The partition is not assigned to this worker, or was taken from it meanwhile.
            DamagedFilesError: The local files are damaged. They are gone; let the process end.
        """
        return self.local.rows(partition)

    def overwritten(self, partition: int) -> set[bytes]:
        """Keys whose last record found at recovery counts for nothing, named once; their present rows must be put."""
        return self._overwritten.pop(partition, set())

    # Recovery; called by `recovery.Replay`.

    def recover(self, partition: int, records: Sequence[ChangelogRecord]) -> None:
        """Apply records of the changelog in one batch, in the order of their offsets; those applied before are passed.

        Raises:
            KeyError: The partition is not assigned to this worker.
            DamagedFilesError: See `rows`.
        """
        mark = self.local.marks[partition]
        held, highest = mark.offset, mark.highest
        overwritten = self._overwritten.setdefault(partition, set())
        rows: list[tuple[bytes, bytes | None]] = []
        for record in records:
            if record.offset <= held:
                continue
            key = record.key
            content = unframe(record)
            if key is None or content is None or key.startswith(RESERVED):
                self.undecodable += 1
                if key is not None and not key.startswith(RESERVED):  # which is none of a row, and can't be put
                    overwritten.add(key)
                continue
            if self._is_forged(partition, record, content):
                overwritten.add(key)
                continue
            number, payload = content
            if number < highest:
                self.stale += 1
                overwritten.add(key)
                continue
            highest = number
            rows.append((key, payload))
            if overwritten:
                overwritten.discard(key)
        last = records[-1]
        if last.offset > held:
            self.local.write(partition, rows, Mark(last.offset, highest, max(0, min(last.timestamp, _now()))))
            self.recovered += len(rows)

    # Writing.

    def add_to(self, outbox: Outbox, changes: Changes) -> None:
        """Add a record for each change to the outbox, for the changelog's same partition.

        Raises:
            KeyError: A partition that was not taken on.
            RecordTooLargeError: From the outbox.
        """
        for partition, rows in changes.partitions():
            number = changes.numbers[partition] = self._numbers[partition]
            stamps = self._stamps
            for key, value in rows.items():
                stamp = b"" if stamps is None else stamps.stamp(said(partition, number, key, value))
                if value is None:
                    outbox.add(self.changelog, partition, key, None, headers=tombstone_headers(number, stamp))
                else:
                    outbox.add(self.changelog, partition, key, frame(number, value, stamp))

    def persist(self, changes: Changes, acks: Acks) -> dict[int, tuple[int, int]]:
        """Keep acknowledged changes on disk. Those of a partition lost meanwhile are its new owner's to keep.

        Args:
            changes: What `add_to` added.
            acks: What sending it returned.

        Returns:
            Partitions where somebody else's records lie between ours: the first offset that may be theirs, and one past
            the last. Their keys (`foreign_keys`) must be put again.

        Raises:
            DamagedFilesError: See `rows`.
        """
        spoiled: dict[int, tuple[int, int]] = {}
        for partition, rows in changes.partitions():
            number = changes.numbers[partition]
            if number != self._numbers.get(partition):
                continue
            mark = self.local.marks[partition]
            expected = self._reached.get(partition, mark.offset) + 1
            for base, count in acks.batches[TopicPartition(self.changelog, partition)]:
                if base > expected:
                    spoiled[partition] = spoiled.get(partition, (expected, 0))[0], base
                expected = max(expected, base + count)
            if partition in spoiled:
                self._unread.add(partition)
            if partition in self._unread:  # what others wrote is not in the files: whoever opens them has to read it
                self._reached[partition] = expected - 1
            else:
                self._reached.pop(partition, None)
                mark = Mark(expected - 1, number, _now())
            self.local.write(partition, rows.items(), mark)
        return spoiled

    async def foreign_keys(self, spoiled: Mapping[int, tuple[int, int]]) -> dict[int, set[bytes]]:
        """The keys somebody else has written in these spans of offsets, by partition; where it has stamps all keys.

        Reads them with a consumer of its own; takes a few round trips.

        Raises:
            SupersededError: Somebody wrote with a number not below ours.
            TimeoutError: They could not be read within 20 s.
            KafkaError: From the consumer.
        """
        spans = {TopicPartition(self.changelog, partition): span for partition, span in spoiled.items()}
        keys: dict[int, set[bytes]] = {partition: set() for partition in spoiled}
        async with asyncio.timeout(FOREIGN_READ_SECONDS):
            for tp, records in (await self._read(spans)).items():
                keys[tp.partition] = {record.key for record in records if self._is_foreign(tp.partition, record)}
        self._unread -= spoiled.keys()
        return keys

    def _is_foreign(self, partition: int, record: ChangelogRecord) -> bool:
        """Whether a record with a key is not our own: ours lie twice in the log when an acknowledgement was lost."""
        number = self._numbers.get(partition)
        content = unframe(record)
        if record.key is None or record.key.startswith(RESERVED) or number is None:
            return False
        if content is None or self._is_forged(partition, record, content):
            return True
        if content[0] > number:
            self.local.discard(partition, "another worker has written with a higher number")
            raise SupersededError(f"{self.changelog}[{partition}] at {record.offset}: {content[0]}, ours is {number}")
        return content[0] != number or self._stamps is not None  # a copy of our own, put back: none can tell which

    def _is_forged(self, partition: int, record: ChangelogRecord, content: tuple[int, bytes | None]) -> bool:
        """Whether a record with a key bears no genuine stamp, where one is wanted; counts it."""
        is_forged = self._stamps is not None and not is_genuine(self._stamps, partition, record, content)
        self.forged += is_forged
        return is_forged

    async def _read(self, spans: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, list[Any]]:
        """The records at these spans of offsets."""
        lenient.install()
        conf = self.app.conf
        reader = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **client_options(
                bootstrap=",".join(f"{url.host}:{url.port}" for url in conf.broker),
                client_id=conf.broker_client_id,
                credentials=conf.broker_credentials,
            ),
        )
        found: dict[TopicPartition, list[Any]] = {tp: [] for tp in spans}
        await reader.start()
        try:
            reader.assign(list(spans))
            for tp, (first, _) in spans.items():
                reader.seek(tp, first)
            unread: AbstractSet[TopicPartition] = set(spans)
            while unread:
                for tp, records in (await reader.getmany(*unread, timeout_ms=100)).items():
                    found[tp] += [record for record in records if record.offset < spans[tp][1]]
                unread = {tp for tp in unread if await reader.position(tp) < spans[tp][1]}
        finally:
            await reader.stop()
        return found


def _now() -> int:
    """Unix milliseconds."""
    return int(time() * 1000)


def changelogs(tables: Collection[Any]) -> dict[str, ChunkedTable]:
    """The chunked ones of Faust's tables, by changelog."""
    return {table.changelog: table for table in tables if isinstance(table, ChunkedTable)}
