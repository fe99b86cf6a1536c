"""Where each source partition stands: what was read, what is finished, what may be committed.

Only bookkeeping may live here: no asyncio, no Kafka client, no clock, so that every order of events can be tried in a
test without a broker.

A partition is ours for a while and then is not. That while is an *epoch*: `forget` ends one, and nothing that was
begun in an earlier epoch can change anything in a later one. Within an epoch a partition has three offsets:

    done <= next        `done`: everything before it is finished, so it may be committed
                        `next`: everything before it was handed on; the next record to accept

Records are accepted in order as *spans* `(next before, next after)`. A span finishes only when it starts at `done`, so
`done` can't pass a record that was not finished, whatever the caller does. Whatever was read and then dropped is read
again: its partition is marked, and the reader seeks back to `next` before its next fetch.

The broker side may move under us (Faust seeks back to the committed offset after each rebalance), which is why `next`
is ours: records before it are repeats and are dropped. But records from before the epoch's first offset, or in a log
that ends before `next`, are no repeats: the topic was made anew, and dropping them would lose live records until their
offsets caught up. (A new topic that has already grown past `next` can't be told apart by offsets.)
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from aiokafka.structs import TopicPartition


class HasOffset(Protocol):
    """A record, as far as positions are concerned."""

    @property
    def offset(self) -> int:
        """The record's offset in its partition."""


Record = TypeVar("Record", bound=HasOffset)

Span: TypeAlias = tuple[int, int]  # [from, to): the offsets a run of accepted records accounts for, gaps included


class TopicReplacedError(Exception):
    """A partition's offsets went back: its topic was deleted and made anew, or it lost records."""


class OutOfOrderError(Exception):
    """A span was reported finished before the one ahead of it: a mistake in the caller, never in the data."""


@dataclass(slots=True)
class Tally:
    """Counts since the process began; all of them only rise."""

    repeats: int = 0  # records dropped because they were accepted before
    gaps: int = 0  # jumps forward: retention, compaction or transaction markers
    missing: int = 0  # offsets those jumps passed over
    refused: int = 0  # spans that finished after their epoch had ended


class Positions:
    """The offsets of the source partitions we own, in one epoch after another.

    Attributes:
        epoch: Number of the present epoch; rises with each `forget`.
        next: Next offset to accept, by partition. Its keys are the partitions owned.
        done: Offset that may be committed, by partition.
        tally: What was dropped or refused so far.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.next: dict[TopicPartition, int] = {}
        self.done: dict[TopicPartition, int] = {}
        self.tally = Tally()
        self._first: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._rewind: set[TopicPartition] = set()

    def start(self, partition: TopicPartition, offset: int, *, committed: bool) -> None:
        """Take a partition on at `offset`, which the reader must seek to first.

        Args:
            partition: A partition not yet owned in this epoch.
            offset: Where to begin.
            committed: Whether the broker holds that offset already. If not, it becomes committable as it is: that pins
                the choice the reset policy made, so that a later start doesn't make another.
        """
        self._first[partition] = self.next[partition] = self.done[partition] = offset
        if committed:
            self._committed[partition] = offset
        self._rewind.add(partition)

    def accept(
        self, partition: TopicPartition, records: Sequence[Record], log_end: int
    ) -> tuple[Sequence[Record], Span] | None:
        """Take records a fetch returned, in the order of their offsets.

        Args:
            partition: An owned partition.
            records: At least one.
            log_end: Offset of the partition's next record to come, as of that fetch.

        Returns:
            The records not seen before and their span; None where there are none.

        Raises:
            TopicReplacedError: The log is not the one that was read before.
        """
        expected = self.next[partition]
        first = records[0].offset
        if first < expected:
            if first < self._first[partition] or log_end < expected:
                raise TopicReplacedError(
                    f"{partition.topic}[{partition.partition}] returned offset {first} and ends at {log_end}, but was "
                    f"read from {self._first[partition]} up to {expected}: was the topic made anew?"
                )
            fresh = [record for record in records if record.offset >= expected]
            self.tally.repeats += len(records) - len(fresh)
            if not fresh:
                return None
            records = fresh
            first = fresh[0].offset
        if first > expected:
            self.tally.gaps += 1
            self.tally.missing += first - expected
        self.next[partition] = end = records[-1].offset + 1
        return records, (expected, end)

    def skip(self, partition: TopicPartition, reached: int) -> None:
        """A fetch that returned nothing of an owned partition ended at `reached`: what lies before is no record.

        Transaction markers are such offsets, and whatever compaction took from the log's end. They belong to the span
        of the record behind them, but one may never come, and until then they would count as work to be done. Nothing
        changes while records before them are unfinished, or were read and lost: a later fetch says it again.
        """
        if partition not in self._rewind and self.done[partition] == self.next[partition] < reached:
            self.tally.gaps += 1
            self.tally.missing += reached - self.next[partition]
            self.next[partition] = self.done[partition] = reached

    def put_back(self, spans: Mapping[TopicPartition, Span]) -> None:
        """Undo the acceptance of spans of this epoch that nobody will finish; they will be read again."""
        for partition, (begin, _) in spans.items():
            self.next[partition] = min(self.next[partition], begin)
            self._rewind.add(partition)

    def distrust(self, partitions: Iterable[TopicPartition]) -> None:
        """Records of these may have been read and lost (a cancelled fetch): seek to `next` before the next fetch."""
        self._rewind.update(self.next.keys() & set(partitions))

    def take_rewinds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets to seek to before fetching `partitions`; they count as sought from now on."""
        wanted = {partition: self.next[partition] for partition in self._rewind.intersection(partitions)}
        self._rewind.difference_update(wanted)
        return wanted

    def finish(self, epoch: int, spans: Mapping[TopicPartition, Span]) -> bool:
        """Everything in these spans is answered.

        Returns:
            Whether it counts: False when the epoch they were accepted in is over.

        Raises:
            OutOfOrderError: A span doesn't start where the finished ones end. Nothing has changed then.
        """
        if epoch != self.epoch:
            self.tally.refused += len(spans)
            return False
        for partition, (begin, _) in spans.items():
            if self.done[partition] != begin:
                raise OutOfOrderError(f"{partition}: {begin} reported finished while {self.done[partition]} is not")
        for partition, (_, end) in spans.items():
            self.done[partition] = end
        return True

    def committable(self) -> dict[TopicPartition, int]:
        """Offsets the broker doesn't hold yet, as far as we know."""
        return {
            partition: offset for partition, offset in self.done.items() if offset != self._committed.get(partition)
        }

    def confirm(self, epoch: int, offsets: Mapping[TopicPartition, int]) -> None:
        """The broker holds these offsets."""
        if epoch == self.epoch:
            self._committed.update(offsets)

    def forget(self) -> None:
        """End the epoch: every partition is given up, and late results of it count for nothing."""
        self.epoch += 1
        for offsets in (self.next, self.done, self._first, self._committed):
            offsets.clear()
        self._rewind.clear()
