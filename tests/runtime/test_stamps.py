"""What is forged in a changelog changes no row, whoever wrote it and however it came there."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters import seal
from streams.adapters.seal import KEY_BYTES, Sealer
from streams.runtime import frames
from streams.runtime.application import ChunkedApp
from streams.runtime.config import faust_options
from streams.runtime.frames import STAMP_HEADER, Stamps, frame, is_genuine, said, tombstone_headers, unframe
from streams.runtime.produce import Acks
from streams.runtime.store import RESERVED
from streams.runtime.tables import ChunkedTable, SupersededError
from tests.runtime.test_tables import LOG, Outbox, Record, changed, gone, now, opened, put, rows
from tests.samples import PROPERTY

KEY, FORMER, STRANGE = (bytes((number,)) * KEY_BYTES for number in (1, 2, 3))
OURS = Sealer([KEY])
HIGHEST = 2**64 - 1

partitions = st.integers(0, 2**31 - 1)
numbers = st.integers(0, HIGHEST)
keys = st.binary(max_size=40)
payloads = st.none() | st.binary(max_size=60)
things = st.tuples(partitions, numbers, keys, payloads)
Thing = tuple[int, int, bytes, bytes | None]


def stamped(thing: Thing, stamps: Stamps = OURS, offset: int = 0) -> Record:
    """A record as a worker with these keys would write it."""
    _, number, key, payload = thing
    stamp = stamps.stamp(said(*thing))
    if payload is None:
        return Record(offset, key, None, tombstone_headers(number, stamp), now())
    return Record(offset, key, frame(number, payload, stamp), timestamp=now())


def holds(record: Record, partition: int, stamps: Stamps = OURS) -> bool:
    """Whether a record is believed where it is found."""
    content = unframe(record)
    return content is not None and is_genuine(stamps, partition, record, content)


# What a stamp is of.


def test_a_stamp_is_as_long_as_a_frame_has_room_for() -> None:
    assert frames.STAMP_BYTES == seal.STAMP_BYTES == len(OURS.stamp(b""))


@PROPERTY
@given(things)
def test_what_a_worker_wrote_is_believed(thing: Thing) -> None:
    record = stamped(thing)
    assert unframe(record) == (thing[1], thing[3])
    assert holds(record, thing[0])
    assert not holds(record, thing[0], Sealer([STRANGE]))


@PROPERTY
@given(things, things)
def test_no_two_records_say_the_same(one: Thing, other: Thing) -> None:
    assert (said(*one) == said(*other)) == (one == other)


@PROPERTY
@given(things, st.data())
def test_a_stamp_is_of_one_row_of_one_partition_and_owner(thing: Thing, data: st.DataObject) -> None:
    partition, number, key, payload = thing
    where = data.draw(st.sampled_from(range(4)), "which part is another")
    other = data.draw((partitions, numbers, keys, payloads)[where].filter(lambda part: part != thing[where]))
    stamp = OURS.stamp(said(*thing))
    partition, number, key, payload = (*thing[:where], other, *thing[where + 1 :])
    if payload is None:
        lifted = Record(0, key, None, tombstone_headers(number, stamp))
    else:
        lifted = Record(0, key, frame(number, payload, stamp))
    assert not holds(lifted, partition)


@PROPERTY
@given(partitions, numbers, keys, st.binary(max_size=60), st.data())
def test_no_changed_bit_is_believed(
    partition: int, number: int, key: bytes, payload: bytes, data: st.DataObject
) -> None:
    value = stamped((partition, number, key, payload)).value
    assert value is not None
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    changed_value = bytearray(value)
    changed_value[bit // 8] ^= 1 << bit % 8
    cut = data.draw(st.integers(0, len(value) - 1))
    for forged in (bytes(changed_value), value[:cut], value + b"\0"):
        assert not holds(Record(0, key, forged), partition)


@PROPERTY
@given(things, st.binary(max_size=60))
def test_nothing_that_others_put_for_a_stamp_is_believed(thing: Thing, anything: bytes) -> None:
    partition, number, key, _ = thing
    ours = OURS.stamp(said(partition, number, key, None))
    for stamp in (None, anything, ours[:4] + anything, ours[:-1]):
        headers = [*tombstone_headers(number), (STAMP_HEADER, stamp)]
        assert not holds(Record(0, key, None, headers), partition)
        assert not holds(Record(0, key, frame(number, b"", stamp or b"")), partition)


# Recovery.


def table_at(folder: Path, *keys: bytes) -> ChunkedTable:
    """A table whose workers have these keys; its partition is not open yet."""
    options = faust_options(bootstrap="127.0.0.1:9", client_id="worker-1", data_dir=folder)
    app = ChunkedApp("doorward", sources={"joins"}, **options)
    stamps = Sealer(keys) if keys else None
    return app.chunked_table("rows", partitions=1, changelog="rows-changelog", delete_retention=86_400.0, stamps=stamps)


@pytest.fixture
def table(tmp_path: Path) -> ChunkedTable:
    """One that recovered a row of number 5."""
    table = opened(table_at(tmp_path, KEY))
    table.recover(0, [stamped((0, 5, b"a", b"1"))])
    return table


FORGED = {
    "without a stamp": put(1, b"a", b"forged", 5),
    "without a stamp and above all": put(1, b"a", b"forged", HIGHEST),
    "under a key that is none of ours": stamped((0, 5, b"a", b"forged"), Sealer([STRANGE]), 1),
    "of another row": replace(stamped((0, 5, b"b", b"forged"), offset=1), key=b"a"),
    "of another partition": stamped((1, 5, b"a", b"forged"), offset=1),
    "a deletion without a stamp": gone(1, b"a", 5),
    "a deletion without a stamp and above all": gone(1, b"a", HIGHEST),
    "a deletion of another row": replace(stamped((0, 5, b"b", None), offset=1), key=b"a"),
    "a deletion with the stamp of an empty row": Record(
        1, b"a", None, tombstone_headers(5, OURS.stamp(said(0, 5, b"a", b"")))
    ),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_is_forged_changes_no_row_and_shuts_nobody_out(table: ChunkedTable, forged: Record) -> None:
    table.recover(0, [forged])
    assert (rows(table), table.forged, table.stale, table.recovered) == ({b"a": b"1"}, 1, 0, 1)
    assert table.persisted_offset(LOG) == 1
    table.recover(0, [stamped((0, 5, b"b", b"2"), offset=2)])
    assert rows(table) == {b"a": b"1", b"b": b"2"}, "the owner's own records count as before"
    assert table.overwritten(0) == {b"a"}, "compaction would keep what is forged"


def test_a_record_is_not_lifted_over_a_newer_owners(table: ChunkedTable) -> None:
    put_back = stamped((0, 5, b"a", b"1"), offset=2)
    table.recover(0, [stamped((0, 6, b"a", b"2"), offset=1), put_back])
    assert (rows(table), table.stale, table.forged) == ({b"a": b"2"}, 1, 0)
    value = put_back.value
    assert value is not None
    lifted = Record(3, b"a", value[:1] + (7).to_bytes(8) + value[9:], timestamp=now())
    table.recover(0, [lifted])
    assert (rows(table), table.forged) == ({b"a": b"2"}, 1)


def test_a_copy_of_the_same_owners_is_not_told_from_its_last(table: ChunkedTable) -> None:
    """What stamps do not prove (`frames`)."""
    table.recover(0, [stamped((0, 5, b"a", b"2"), offset=1), stamped((0, 5, b"a", b"1"), offset=2)])
    assert (rows(table), table.forged) == ({b"a": b"1"}, 0)


def test_without_a_key_everything_is_believed_stamped_or_not(tmp_path: Path) -> None:
    table = opened(table_at(tmp_path))
    table.recover(
        0, [stamped((0, 5, b"a", b"1"), offset=0), put(1, b"b", b"2", 6), stamped((0, 6, b"c", b"3"), offset=2)]
    )
    table.recover(0, [stamped((0, 6, b"c", None), offset=3)])
    assert (rows(table), table.forged) == ({b"a": b"1", b"b": b"2"}, 0)


# Writing.


def sent(table: ChunkedTable, **values: bytes | None) -> list[Record]:
    """What a table sends to have rows changed."""
    outbox = Outbox()
    table.add_to(outbox, changed(**values))  # type: ignore[arg-type]  # the part of an outbox that a table uses
    return outbox.added


@pytest.mark.parametrize(
    ("writer", "reader", "believed"),
    [
        ([FORMER], [FORMER, KEY], True),
        ([FORMER, KEY], [KEY, FORMER], True),
        ([KEY, FORMER], [FORMER, KEY], True),
        ([KEY, FORMER], [KEY], True),
        ([FORMER, KEY], [KEY], False),
        ([KEY, FORMER], [FORMER], False),
        ([], [KEY], False),
    ],
)
def test_any_key_of_ours_is_known_and_the_first_stamps(
    tmp_path: Path, writer: list[bytes], reader: list[bytes], believed: bool
) -> None:
    writing, reading = (opened(table_at(tmp_path / who, *ours)) for who, ours in (("w", writer), ("r", reader)))
    writing.own(0, 1)
    records = [*sent(writing, a=b"1", b=b"2"), *sent(writing, b=None)]
    reading.recover(0, [replace(record, offset=n) for n, record in enumerate(records)])
    assert rows(reading) == ({b"a": b"1"} if believed else {})
    assert reading.forged == (0 if believed else 3)


def beside(table: ChunkedTable, *foreign: Record) -> set[bytes]:
    """The keys to be said again where these lie between a table's own records."""

    async def found(spans: Any) -> dict[TopicPartition, list[Record]]:
        return {LOG: list(foreign)}

    table._read = found  # type: ignore[assignment,method-assign]  # in place of a consumer
    return asyncio.run(table.foreign_keys({0: (0, len(foreign))}))[0]


def test_an_owner_says_again_what_was_forged_and_what_was_put_back(table: ChunkedTable) -> None:
    table.own(0, 1)
    [copy] = sent(table, c=b"0")
    assert beside(table, *FORGED.values(), copy, put(1, b"d", b"", HIGHEST)) == {b"a", b"c", b"d"}
    assert table.forged == len(FORGED) + 1
    with pytest.raises(SupersededError):
        beside(table, stamped((0, 99, b"a", b"newer")))


def test_a_forged_key_that_no_row_may_have_is_passed_over(table: ChunkedTable) -> None:
    """It can't be said again, and a worker that tried to would end."""
    table.own(0, 1)
    own = [Record(1, RESERVED + b"mark", None), put(2, RESERVED, b"x", 5), stamped((0, 5, RESERVED, b"x"), offset=3)]
    table.recover(0, own)
    assert (rows(table), table.undecodable, table.overwritten(0)) == ({b"a": b"1"}, 3, set())
    assert beside(table, *own, Record(4, b"b", b"no frame")) == {b"b"}


# Files.


def test_files_of_rows_that_nobody_looked_at_are_read_anew(tmp_path: Path) -> None:
    table = opened(table_at(tmp_path))
    table.recover(0, [put(0, b"a", b"forged"), stamped((0, 1, b"b", b"1"), offset=1)])
    table.local.keep(())
    again = opened(table_at(tmp_path, KEY))
    assert (again.rebuilt, again.persisted_offset(LOG), rows(again)) == (1, None, {})
    again.recover(0, [put(0, b"a", b"forged"), stamped((0, 1, b"b", b"1"), offset=1)])
    again.local.keep(())
    once_more = opened(table_at(tmp_path, KEY))
    assert (once_more.rebuilt, rows(once_more)) == (0, {b"b": b"1"})
    once_more.local.keep(())
    assert rows(opened(table_at(tmp_path))) == {b"b": b"1"}, "who has no key believes anything"


def test_rows_written_here_are_kept_as_looked_at(tmp_path: Path) -> None:
    table = opened(table_at(tmp_path, KEY))
    table.own(0, 1)
    changes = changed(a=b"1")
    table.add_to(Outbox(), changes)  # type: ignore[arg-type]  # see above
    assert table.persist(changes, Acks(batches={LOG: [(0, 1)]})) == {}
    table.local.keep(())
    assert rows(opened(table_at(tmp_path, KEY))) == {b"a": b"1"}
