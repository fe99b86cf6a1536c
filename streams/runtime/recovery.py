"""Recovery of chunked tables: what a poll returned of a changelog is applied at once, in one batch per partition.

Faust decides what to recover and until where: at each rebalance it asks a table for its persisted offsets, reads the
log's ends, and resumes the changelogs that are behind. Its own replay takes each record through a queue and costs a
hundred times as much as applying it. So the records are taken out of each poll here, as those of the source are, and
Faust is told the offsets reached and, at the end, that nothing remains.

*Active* partitions are those whose source we own: they are read until recovery ends, and not any more. *Standbys* are
copies of other workers' partitions, read as long as we have them.

Positions are ours here too. A poll may be cancelled or overtaken by a rebalance, and its records are lost; a replay
that went on behind them would leave rows out for ever. So where anything is doubtful, and at the start of each epoch,
the reader seeks to the first offset the table has not got.
"""

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from typing import Any

from aiokafka.structs import TopicPartition
from faust.tables.recovery import Recovery

from streams.runtime.tables import ChunkedTable

Offsets = MutableMapping[TopicPartition, int]


class Replay:
    """Applies changelogs to tables. Main loop.

    Args:
        tables: By changelog.
        recovery: Faust's; its offsets are kept true.
    """

    def __init__(self, tables: Mapping[str, ChunkedTable], recovery: Recovery) -> None:
        self._tables = tables
        self._recovery = recovery
        self._epoch = -1
        self._trusted: set[TopicPartition] = set()  # aiokafka's position is known to be where the table ends

    @property
    def topics(self) -> Collection[str]:
        """The changelogs."""
        return self._tables.keys()

    def is_due(self, tp: TopicPartition) -> bool:
        """Whether Faust wants this partition of a changelog read, and has settled from where."""
        recovery = self._recovery
        return (tp in recovery.standby_tps or tp in recovery.active_tps) and self._offsets(tp).get(tp) is not None

    def seeks(self, epoch: int, due: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Where to seek before the next fetch of these partitions; they count as sought from now on."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._trusted.clear()
        seeks = {tp: self._reached(tp) + 1 for tp in due - self._trusted}
        self._trusted |= due
        return seeks

    def distrust(self, partitions: Iterable[TopicPartition]) -> None:
        """Records of these may have been read and lost."""
        self._trusted.difference_update(partitions)

    def apply(self, records: Mapping[TopicPartition, list[Any]], reached: Mapping[TopicPartition, int]) -> None:
        """Apply what a poll of this epoch returned, and see whether recovery is done.

        Args:
            records: Of changelogs, each list in the order of its offsets and not empty.
            reached: Where the next fetches begin of partitions, of any topic, that returned nothing.

        Raises:
            DamagedFilesError: See there. The process should end.
        """
        for tp, part in records.items():
            if self.is_due(tp):
                self._tables[tp.topic].recover(tp.partition, part)
                self._note(tp, part[-1].offset)
        for tp, position in reached.items():  # behind what is no record: transaction markers, what compaction took
            if tp in self._trusted and self.is_due(tp):
                self._note(tp, position - 1)
        # Whoever waits has set `in_recovery` first; asking what remains goes through all partitions.
        if self._recovery.in_recovery and not self._recovery.need_recovery():
            # Whoever waits is woken by the setting. Cleared at once, it can't end a recovery that has yet to begin;
            # and one that begins to wait only now is woken by the next poll.
            self._recovery.signal_recovery_end.set()
            self._recovery.signal_recovery_end.clear()

    def _offsets(self, tp: TopicPartition) -> Offsets:
        recovery = self._recovery
        offsets: Offsets = recovery.standby_offsets if tp in recovery.standby_tps else recovery.active_offsets
        return offsets

    def _reached(self, tp: TopicPartition) -> int:
        """The last offset the table has."""
        return self._offsets(tp)[tp]

    def _note(self, tp: TopicPartition, offset: int) -> None:
        self._offsets(tp)[tp] = max(offset, self._reached(tp))
