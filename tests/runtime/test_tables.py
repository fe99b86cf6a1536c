"""A table's rows and files without a broker: frames, numbers, prefixes, and files that were damaged."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import time

import pytest
import rocksdict
from aiokafka.structs import TopicPartition

from streams.runtime import store as store_module
from streams.runtime.application import ChunkedApp
from streams.runtime.config import faust_options
from streams.runtime.frames import FORMAT, Headers, frame, tombstone_headers, unframe
from streams.runtime.produce import Acks
from streams.runtime.store import HELD_ROWS, RESERVED, DamagedFilesError, Mark, PartitionStore
from streams.runtime.tables import Changes, ChunkedTable

LOG = TopicPartition("rows-changelog", 0)
DAY = 86_400_000


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int = 0


def put(offset: int, key: bytes, value: bytes, number: int = 1) -> Record:
    return Record(offset, key, frame(number, value), timestamp=now())


def gone(offset: int, key: bytes, number: int = 1) -> Record:
    return Record(offset, key, None, tombstone_headers(number), now())


def now() -> int:
    return int(time() * 1000)


class Outbox:
    """Collects what a table adds."""

    def __init__(self) -> None:
        self.added: list[Record] = []

    def add(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        assert (topic, partition) == LOG
        self.added.append(Record(len(self.added), key, value, headers))


def table_at(folder: Path) -> ChunkedTable:
    """A table as one start of a worker makes it; its partition is not open yet."""
    options = faust_options(bootstrap="127.0.0.1:9", client_id="worker-1", data_dir=folder)
    app = ChunkedApp("doorward", sources={"joins"}, **options)
    return app.chunked_table("rows", partitions=1, changelog="rows-changelog", delete_retention=86_400.0)


def opened(table: ChunkedTable, first: int = 0, end: int = 1_000_000, *, at: int | None = None) -> ChunkedTable:
    """Open its partition, as a rebalance does."""
    at = at or now()
    table.local.open(0, lambda mark, was_closed: table._flaw(first, end, at, mark, was_closed), at)
    return table


@pytest.fixture
def table(tmp_path: Path) -> ChunkedTable:
    return opened(table_at(tmp_path))


def folder_of(table: ChunkedTable) -> Path:
    path: Path = table.local.partition_path(0)
    return path


def rows(table: ChunkedTable) -> dict[bytes, bytes]:
    return dict(table.rows(0))


def changed(**values: bytes | None) -> Changes:
    changes = Changes()
    for key, value in values.items():
        changes.put(0, key.encode(), value)
    return changes


def written(table: ChunkedTable, changes: Changes, base: int) -> dict[int, tuple[int, int]]:
    """Send changes as one batch that the broker puts at an offset, and keep them."""
    table.add_to(Outbox(), changes)  # type: ignore[arg-type]  # the part of an outbox that a table uses
    return table.persist(changes, Acks(batches={LOG: [(base, len(changes))]}))


# Frames.


def test_a_frame_comes_back() -> None:
    assert unframe(put(0, b"k", b"", 2**64 - 1)) == (2**64 - 1, b"")
    assert unframe(gone(0, b"k", 7)) == (7, None)
    assert frame(258, b"x") == bytes([FORMAT, 0, 0, 0, 0, 0, 0, 1, 2]) + b"x"


@pytest.mark.parametrize(
    "record",
    [
        Record(0, b"k", b""),
        Record(0, b"k", b"\x01short"),
        Record(0, b"k", b"\x02" + bytes(8) + bytes(19)),
        Record(0, b"k", b"\x03" + bytes(8) + b"another format, and long enough"),
        Record(0, b"k", None),
        Record(0, b"k", None, [("number", None)]),
        Record(0, b"k", None, [("number", b"7")]),
    ],
)
def test_what_is_no_frame_is_told(record: Record) -> None:
    assert unframe(record) is None


# Recovery.


def test_recovered_records_make_the_rows(table: ChunkedTable) -> None:
    table.recover(0, [put(0, b"a", b"1"), put(1, b"b", b"1"), put(5, b"a", b"2"), gone(6, b"b"), put(7, b"c", b"")])
    assert rows(table) == {b"a": b"2", b"c": b""}
    assert (table.recovered, table.stale, table.undecodable) == (5, 0, 0)
    assert table.persisted_offset(LOG) == 7


def test_a_record_applied_before_is_passed_over(table: ChunkedTable) -> None:
    table.recover(0, [put(0, b"a", b"1"), put(1, b"a", b"2")])
    table.recover(0, [put(0, b"a", b"1"), put(1, b"a", b"2")])
    assert rows(table) == {b"a": b"2"}
    assert table.recovered == 2


def test_a_stale_writers_record_counts_for_nothing_and_its_key_is_named(table: ChunkedTable) -> None:
    table.recover(0, [put(0, b"a", b"1", 3), put(1, b"b", b"1", 4)])
    table.recover(0, [put(2, b"a", b"stale", 3), gone(3, b"b", 3), put(4, b"b", b"2", 4)])
    assert rows(table) == {b"a": b"1", b"b": b"2"}
    assert table.stale == 2
    assert table.overwritten(0) == {b"a"}  # b was said again
    assert table.overwritten(0) == set()


def test_the_highest_number_outlives_the_process(table: ChunkedTable, tmp_path: Path) -> None:
    table.recover(0, [put(0, b"a", b"1", 9)])
    table.local.keep(())
    again = opened(table_at(tmp_path))
    again.recover(0, [put(1, b"a", b"stale", 8)])
    assert rows(again) == {b"a": b"1"}


def test_what_is_no_record_of_ours_is_counted_and_the_log_goes_on(table: ChunkedTable) -> None:
    table.recover(0, [put(0, b"a", b"1")])
    strangers = [Record(1, b"a", b"?"), Record(2, None, frame(1, b"")), Record(3, RESERVED + b"mark", frame(1, b"x"))]
    table.recover(0, [*strangers, Record(4, b"b", None)])
    assert rows(table) == {b"a": b"1"}
    assert table.undecodable == 4
    assert table.persisted_offset(LOG) == 4
    assert b"a" in table.overwritten(0)


# Writing.


def test_own_takes_a_number_above_all_before(table: ChunkedTable) -> None:
    table.recover(0, [put(0, b"a", b"1", 41)])
    table.own(0, 2)
    outbox = Outbox()
    table.add_to(outbox, changed(a=b"2", b=None))  # type: ignore[arg-type]  # see above
    numbers = {(unframe(record) or (0, b""))[0] for record in outbox.added}
    assert len(numbers) == 1
    assert numbers.pop() > 41


def test_two_owners_one_after_the_other_never_take_the_same_number(tmp_path: Path) -> None:
    """Even if the first wrote nothing, and numbers are ahead of a group's generations."""
    numbers = []
    for generation in (3, 4):
        table = opened(table_at(tmp_path / str(generation)))
        table.recover(0, [put(0, b"a", b"1", 50)])
        table.own(0, generation)
        numbers.append(table._numbers[0])
    assert numbers[0] < numbers[1]


def test_nothing_is_written_before_the_partition_is_taken_on(table: ChunkedTable) -> None:
    with pytest.raises(KeyError):
        table.add_to(Outbox(), changed(a=b"1"))  # type: ignore[arg-type]  # see above


def test_rows_are_on_disk_once_acknowledged_and_a_restart_goes_on_behind_them(
    table: ChunkedTable, tmp_path: Path
) -> None:
    table.own(0, 1)
    assert written(table, changed(a=b"1", b=b"1"), 0) == {}
    assert written(table, changed(a=b"2", b=None), 2) == {}
    table.local.keep(())
    again = opened(table_at(tmp_path), end=4)
    assert rows(again) == {b"a": b"2"}
    assert again.persisted_offset(LOG) == 3
    assert again.rebuilt == 0


def test_somebody_elses_records_between_ours_are_noticed(table: ChunkedTable) -> None:
    table.own(0, 1)
    written(table, changed(a=b"1"), 0)
    assert written(table, changed(a=b"2"), 3) == {0: (1, 3)}
    assert written(table, changed(a=b"3"), 4) == {}
    changes = changed(a=b"4", b=b"1")
    table.add_to(Outbox(), changes)  # type: ignore[arg-type]  # see above
    assert table.persist(changes, Acks(batches={LOG: [(6, 1), (9, 1)]})) == {0: (5, 9)}
    assert table.persisted_offset(LOG) == 0, "files that do not hold what others wrote do not say they do"


def test_a_chunk_that_ends_after_its_partition_went_and_came_keeps_nothing(table: ChunkedTable) -> None:
    table.own(0, 1)
    late = changed(a=b"late")
    table.add_to(Outbox(), late)  # type: ignore[arg-type]  # see above
    table._numbers.clear()  # a rebalance
    assert table.persist(late, Acks(batches={LOG: [(0, 1)]})) == {}
    table.recover(0, [put(0, b"a", b"late", 1), put(1, b"a", b"newer", 2)])
    table.own(0, 3)
    assert table.persist(late, Acks(batches={LOG: [(0, 1)]})) == {}
    assert rows(table) == {b"a": b"newer"}


def test_the_last_change_of_a_key_wins_and_the_tables_own_keys_are_refused() -> None:
    changes = changed(a=b"1")
    assert not Changes()
    changes.put(0, b"a", None)
    changes.put(1, b"a", b"2")
    assert len(changes) == 2
    assert dict(changes.partitions()) == {0: {b"a": None}, 1: {b"a": b"2"}}
    with pytest.raises(ValueError, match="may not begin"):
        changes.put(0, RESERVED + b"mark", b"")


def test_fausts_own_way_to_write_is_refused(table: ChunkedTable) -> None:
    with pytest.raises(TypeError):
        table.send_changelog(0, b"a", b"1")


def test_many_rows_come_in_order_over_many_slices(table: ChunkedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SLICE_ROWS", 7)
    table.recover(0, [put(number, b"k%03d" % number, b"v") for number in range(100)])
    assert [key for key, _ in table.rows(0)] == [b"k%03d" % number for number in range(100)]


def test_rows_of_a_partition_taken_away_meanwhile_end_with_an_error(
    table: ChunkedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SLICE_ROWS", 7)
    table.recover(0, [put(number, b"k%03d" % number, b"v") for number in range(100)])
    reading = table.rows(0)
    next(reading)
    table.local.keep(())
    with pytest.raises(KeyError):
        list(reading)
    opened(table)  # the reader holds no lock on the files
    assert len(rows(table)) == 100


# Files.


def fill(table: ChunkedTable) -> None:
    """Enough for files with many blocks, closed."""
    table.recover(0, [put(number, b"k%06d" % number, os.urandom(200)) for number in range(5_000)])
    table.local._dbs[0].flush()
    table.local.keep(())


def damage_current(folder: Path) -> None:
    (folder / "CURRENT").write_text("nonsense")


def cut_manifest(folder: Path) -> None:
    for manifest in folder.glob("MANIFEST-*"):
        os.truncate(manifest, manifest.stat().st_size // 2)


def remove_tables(folder: Path) -> None:
    for table in folder.glob("*.sst"):
        table.unlink()


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


def write_another_format(folder: Path) -> None:
    db = rocksdict.Rdict(str(folder), options=rocksdict.Options(raw_mode=True))
    mark = bytearray(db[RESERVED + b"mark"])
    mark[0] = 9
    db[RESERVED + b"mark"] = bytes(mark)
    db.close()


@pytest.mark.parametrize(
    "damage",
    [
        damage_current,
        cut_manifest,
        remove_tables,
        replace_by_file,
        write_another_format,
        lambda folder: (folder / "CURRENT").unlink(),
    ],
)
def test_damaged_files_are_thrown_away_at_the_start(
    table: ChunkedTable, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    fill(table)
    damage(folder_of(table))
    again = opened(table_at(tmp_path))
    assert again.rebuilt == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert again.persisted_offset(LOG) is None
    assert rows(again) == {}
    again.recover(0, [put(0, b"a", b"1")])
    assert rows(again) == {b"a": b"1"}


def test_a_removed_folder_is_no_damage(table: ChunkedTable, tmp_path: Path) -> None:
    fill(table)
    shutil.rmtree(folder_of(table))
    again = opened(table_at(tmp_path))
    assert (again.rebuilt, again.persisted_offset(LOG)) == (0, None)


def flip_bytes(folder: Path) -> None:
    for table in folder.glob("*.sst"):
        content = bytearray(table.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 50] = bytes(byte ^ 0xFF for byte in content[middle : middle + 50])
        table.write_bytes(content)


def test_damage_found_while_reading_is_an_error_and_never_a_short_answer(table: ChunkedTable, tmp_path: Path) -> None:
    fill(table)
    flip_bytes(folder_of(table))
    again = opened(table_at(tmp_path))
    with pytest.raises(DamagedFilesError, match="checksum"):
        rows(again)
    assert not folder_of(again).exists()
    after = opened(table_at(tmp_path))  # the next start
    assert (after.rebuilt, rows(after)) == (0, {})


def test_rocksdicts_own_items_still_end_silently_at_damage(table: ChunkedTable) -> None:
    """If this fails, `PartitionStore.rows` may be simplified."""
    fill(table)
    flip_bytes(folder_of(table))
    opened(table)
    assert 0 < len(list(table.local._dbs[0].items())) < 5_000


class Broken:
    """Open files that fail at a write."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def write(self, batch: object) -> None:
        raise Exception(self.fault)  # as rocksdict does

    def close(self) -> None:
        """Nothing to close."""


def test_damage_found_while_writing_removes_the_files(table: ChunkedTable) -> None:
    table.local._dbs.pop(0).close()
    table.local._dbs[0] = Broken("Corruption: block checksum mismatch")
    with pytest.raises(DamagedFilesError):
        table.recover(0, [put(offset, b"%d" % offset, b"1") for offset in range(HELD_ROWS)])
    assert not folder_of(table).exists()


def test_a_full_disk_removes_nothing(table: ChunkedTable) -> None:
    table.local._dbs.pop(0).close()
    table.local._dbs[0] = Broken("IO error: No space left on device: While appending to file: 000004.log")
    with pytest.raises(Exception, match="No space left"):
        table.recover(0, [put(offset, b"%d" % offset, b"1") for offset in range(HELD_ROWS)])
    assert folder_of(table).exists()


def test_files_another_process_has_open_are_left_alone(table: ChunkedTable, tmp_path: Path) -> None:
    fill(table)
    held = opened(table_at(tmp_path))
    with pytest.raises(Exception, match="lock") as caught:
        opened(table_at(tmp_path))
    assert store_module.is_locked(caught.value)
    assert len(rows(held)) == 5_000


# Files and their changelog.


@pytest.mark.parametrize(
    ("first", "end", "age", "reason"),
    [
        (0, 2, 0, "made anew"),  # the topic is shorter than what was read of it
        (0, 0, 0, "made anew"),
        (4, 9, 0, "begins at 4"),  # what lies between is gone, deletions too
        (0, 9, DAY + 1, "keeps deletions"),
    ],
)
def test_files_that_do_not_fit_the_changelog_are_thrown_away(
    table: ChunkedTable, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int, end: int, age: int, reason: str
) -> None:
    table.recover(0, [put(0, b"a", b"1"), put(2, b"b", b"1")])
    at = now() + age
    table.local.keep(())
    again = opened(table_at(tmp_path), first, end, at=at)
    assert (again.rebuilt, rows(again)) == (1, {})
    assert reason in caplog.text


def test_files_that_fit_are_kept(table: ChunkedTable, tmp_path: Path) -> None:
    table.recover(0, [put(0, b"a", b"1"), put(2, b"b", b"1")])
    at = now() + DAY - 60_000
    table.local.keep(())
    again = opened(table_at(tmp_path), 3, 3, at=at)
    assert (again.rebuilt, len(rows(again))) == (0, 2)


def test_files_kept_open_do_not_grow_old(table: ChunkedTable) -> None:
    table.recover(0, [put(0, b"a", b"1")])
    opened(table, at=now() + 9 * DAY)
    assert (table.rebuilt, len(rows(table))) == (0, 1)


def test_a_mark_is_as_old_as_the_records_it_stands_behind(table: ChunkedTable, tmp_path: Path) -> None:
    """A replay that was cut off has not seen the deletions behind it, however recently it ran."""
    table.recover(0, [Record(0, b"a", frame(1, b"1"), timestamp=now() - 2 * DAY)])
    table.local.keep(())
    assert opened(table_at(tmp_path)).rebuilt == 1


def test_the_options_are_small(table: ChunkedTable) -> None:
    assert isinstance(table.local, PartitionStore)
    [options] = folder_of(table).glob("OPTIONS-*")
    text = options.read_text()
    assert "write_buffer_size=8388608" in text
    assert "max_open_files=64" in text
    assert store_module.CACHE_BYTES == 32 << 20
    assert table.local.marks[0] == Mark(-1, 0, table.local.marks[0].as_of)
