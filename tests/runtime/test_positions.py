"""Positions: in whatever order things happen, nothing is skipped, and nothing committable before it is finished."""

from dataclasses import dataclass

import pytest
from aiokafka.structs import TopicPartition
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from streams.runtime.positions import OutOfOrderError, Positions, Span, TopicReplacedError

PARTITIONS = [TopicPartition("joins", number) for number in range(2)]
A, B = PARTITIONS


@dataclass(frozen=True)
class Row:
    offset: int


def rows(begin: int, end: int) -> list[Row]:
    return [Row(offset) for offset in range(begin, end)]


class Worker(RuleBasedStateMachine):
    """A log with markers in it, a fetcher that Faust may move back, an agent that may be slow, and rebalances.

    The model remembers which offsets were really handed on and finished in this epoch, and what the broker holds.
    """

    handed = Bundle("handed")

    def __init__(self) -> None:
        super().__init__()
        self.positions = Positions()
        self.log_end = dict.fromkeys(PARTITIONS, 0)
        self.markers: dict[TopicPartition, set[int]] = {partition: set() for partition in PARTITIONS}
        self.committed: dict[TopicPartition, int] = {}
        self.began: dict[TopicPartition, int] = {}
        self.fetch_at: dict[TopicPartition, int] = {}
        self.finished: dict[TopicPartition, set[int]] = {}

    @precondition(lambda self: not self.positions.next)
    @rule(astray=st.integers(0, 20))
    def assign(self, astray: int) -> None:
        for partition in PARTITIONS:
            offset = self.committed.get(partition, 0)
            self.positions.start(partition, offset, committed=partition in self.committed)
            self.began[partition] = offset
            self.fetch_at[partition] = min(astray, self.log_end[partition])  # only our own seek counts
            self.finished[partition] = set()

    @precondition(lambda self: self.positions.next)
    @rule(partition=st.sampled_from(PARTITIONS))
    def faust_seeks_to_committed(self, partition: TopicPartition) -> None:
        self.fetch_at[partition] = max(self.committed.get(partition, 0), self.began[partition])

    @precondition(lambda self: self.positions.next)
    @rule(target=handed, appended=st.integers(0, 4), marked=st.booleans(), count=st.integers(1, 6), lose=st.booleans())
    def poll(self, appended: int, marked: bool, count: int, lose: bool) -> object:
        owned = list(self.positions.next)
        for partition in owned:
            self.log_end[partition] += appended
            if marked:
                self.markers[partition].add(self.log_end[partition])
                self.log_end[partition] += 1
        for partition, offset in self.positions.take_rewinds(owned).items():
            self.fetch_at[partition] = offset
        spans: dict[TopicPartition, Span] = {}
        given: dict[TopicPartition, list[int]] = {}
        for partition in owned:
            begin = self.fetch_at[partition]
            end = min(begin + count, self.log_end[partition])
            fetched = [row for row in rows(begin, end) if row.offset not in self.markers[partition]]
            self.fetch_at[partition] = max(begin, end)
            if lose or not fetched:
                continue
            accepted = self.positions.accept(partition, fetched, self.log_end[partition])
            if accepted is not None:
                records, spans[partition] = accepted
                given[partition] = [record.offset for record in records]
        if lose:  # a cancelled poll: the records are gone
            self.positions.distrust(owned)
        return (self.positions.epoch, spans, given) if spans else multiple()

    @precondition(lambda self: self.positions.next)
    @rule(partition=st.sampled_from(PARTITIONS))
    def nothing_came(self, partition: TopicPartition) -> None:
        """May be heard at any time: what happened since the fetch must make it harmless."""
        self.positions.skip(partition, self.fetch_at[partition])

    @rule(chunk=consumes(handed))
    def finish(self, chunk: tuple[int, dict[TopicPartition, Span], dict[TopicPartition, list[int]]]) -> None:
        epoch, spans, given = chunk
        in_order = all(self.positions.done.get(partition) == begin for partition, (begin, _) in spans.items())
        if epoch == self.positions.epoch and not in_order:
            with pytest.raises(OutOfOrderError):
                self.positions.finish(epoch, spans)
            return
        counted = self.positions.finish(epoch, spans)
        assert counted == (epoch == self.positions.epoch)
        if counted:
            for partition, offsets in given.items():
                self.finished[partition].update(offsets)

    @rule(chunk=consumes(handed))
    def put_back(self, chunk: tuple[int, dict[TopicPartition, Span], dict[TopicPartition, list[int]]]) -> None:
        epoch, spans, _ = chunk
        if epoch == self.positions.epoch and all(
            begin >= self.positions.done[partition] for partition, (begin, _) in spans.items()
        ):
            self.positions.put_back(spans)

    @rule(reply_lost=st.booleans())
    def commit(self, reply_lost: bool) -> None:
        offsets = self.positions.committable()
        self.committed.update(offsets)
        if not reply_lost:
            self.positions.confirm(self.positions.epoch, offsets)

    @precondition(lambda self: self.positions.next)
    @rule()
    def revoke(self) -> None:
        self.positions.forget()

    @invariant()
    def nothing_is_committable_before_it_is_finished(self) -> None:
        for partition, done in self.positions.done.items():
            records = set(range(self.began[partition], done)) - self.markers[partition]
            assert records <= self.finished[partition]
            assert done <= self.positions.next[partition] <= self.log_end[partition]

    @invariant()
    def commits_never_go_back(self) -> None:
        for partition, offset in self.positions.committable().items():
            assert offset >= self.committed.get(partition, 0)


TestWorker = Worker.TestCase
TestWorker.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def started(offset: int = 10) -> Positions:
    positions = Positions()
    positions.start(A, offset, committed=True)
    positions.take_rewinds([A])
    return positions


def test_a_start_nobody_committed_is_committed_as_it_is() -> None:
    positions = Positions()
    positions.start(A, 7, committed=False)
    positions.start(B, 9, committed=True)
    assert positions.committable() == {A: 7}


def test_repeats_are_dropped_and_counted() -> None:
    positions = started()
    positions.accept(A, rows(10, 15), 99)
    accepted = positions.accept(A, rows(12, 18), 99)
    assert accepted == (rows(15, 18), (15, 18))
    assert positions.tally.repeats == 3
    assert positions.accept(A, rows(11, 18), 99) is None


def test_a_gap_belongs_to_the_span_after_it() -> None:
    positions = started()
    _, span = positions.accept(A, rows(14, 16), 99) or pytest.fail("nothing accepted")
    assert span == (10, 16)
    assert (positions.tally.gaps, positions.tally.missing) == (1, 4)
    assert positions.finish(0, {A: span})
    assert positions.committable() == {A: 16}


def test_what_is_no_record_at_the_end_of_a_log_is_skipped_once_all_before_it_is_finished() -> None:
    positions = started()
    _, span = positions.accept(A, rows(10, 12), 13) or pytest.fail("nothing accepted")
    positions.skip(A, 13)
    assert (positions.next[A], positions.done[A]) == (12, 10)
    assert positions.finish(0, {A: span})
    positions.skip(A, 12)
    assert positions.tally.gaps == 0
    positions.skip(A, 13)
    assert positions.next[A] == 13
    assert positions.committable() == {A: 13}
    assert (positions.tally.gaps, positions.tally.missing) == (1, 1)
    _, behind = positions.accept(A, rows(13, 14), 14) or pytest.fail("nothing accepted")
    assert behind == (13, 14)


def test_what_was_put_back_is_never_skipped() -> None:
    positions = started()
    _, span = positions.accept(A, rows(10, 12), 13) or pytest.fail("nothing accepted")
    positions.put_back({A: span})
    positions.skip(A, 13)
    assert positions.take_rewinds([A]) == {A: 10}


@pytest.mark.parametrize(("begin", "log_end"), [(3, 99), (10, 12)], ids=["before the epoch", "in a shorter log"])
def test_offsets_that_go_back_mean_a_new_topic(begin: int, log_end: int) -> None:
    positions = started()
    positions.accept(A, rows(10, 15), 15)
    with pytest.raises(
        TopicReplacedError, match=rf"joins\[0\].*offset {begin} and ends at {log_end}.*from 10 up to 15"
    ):
        positions.accept(A, rows(begin, begin + 2), log_end)


def test_an_earlier_epoch_can_change_nothing() -> None:
    positions = started()
    _, span = positions.accept(A, rows(10, 12), 99) or pytest.fail("nothing accepted")
    positions.forget()
    positions.start(A, 10, committed=True)
    assert not positions.finish(0, {A: span})
    positions.confirm(0, {A: 12})
    assert positions.committable() == {}
    assert positions.done == {A: 10}


def test_what_is_put_back_is_sought_and_read_again() -> None:
    positions = started()
    _, first = positions.accept(A, rows(10, 12), 99) or pytest.fail("nothing accepted")
    _, second = positions.accept(A, rows(12, 14), 99) or pytest.fail("nothing accepted")
    positions.put_back({A: second})
    positions.put_back({A: first})
    assert positions.take_rewinds([A, B]) == {A: 10}
    assert positions.take_rewinds([A, B]) == {}
