"""The policy table: rows survive, in the log's order, and a table that means nothing any more is empty."""

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from streams.adapters.policytable import Meaning, PolicyTable, Row, TableDamaged, TableUnavailable

MEANING = Meaning(vocabulary="ISO 1", audience="here", trust="sha256:1", contest=None)


def opened(folder: Path, **changed: str) -> PolicyTable:
    return PolicyTable(folder, msgspec.structs.replace(MEANING, **changed))


def filled(folder: Path, offsets: tuple[int, ...] = (3, 1, 256, 2)) -> None:
    table = opened(folder)
    table.put(Row(offset=offset, appended_at=offset, status=b"said") for offset in offsets)
    table.close()


def offsets(table: PolicyTable, start: int = 0) -> list[int]:
    try:
        return [row.offset for row in table.rows(start)]
    finally:
        table.close()


def test_rows_come_back_in_the_logs_order(tmp_path: Path) -> None:
    filled(tmp_path / "t")
    assert offsets(opened(tmp_path / "t")) == [1, 2, 3, 256]
    assert offsets(opened(tmp_path / "t"), start=3) == [3, 256]
    assert offsets(opened(tmp_path / "t"), start=257) == []


def test_a_row_keeps_everything(tmp_path: Path) -> None:
    row = Row(
        offset=7,
        appended_at=9,
        status=b"s",
        document=b"{}",
        content=b"\0\xff",
        holder="acme",
        on_behalf=True,
        sha256="x",
    )
    table = opened(tmp_path / "t")
    table.put([row])
    assert list(table.rows()) == [row]
    table.close()


@pytest.mark.parametrize(
    "changed", [{"vocabulary": "ISO 2"}, {"audience": "there"}, {"trust": "sha256:2"}, {"contest": "https://c.example"}]
)
def test_judged_by_anything_else_it_is_empty(tmp_path: Path, changed: dict[str, str]) -> None:
    filled(tmp_path / "t")
    assert offsets(opened(tmp_path / "t", **changed)) == []


def test_clear_forgets_all_and_keeps_working(tmp_path: Path) -> None:
    filled(tmp_path / "t")
    table = opened(tmp_path / "t")
    table.clear()
    table.put([Row(offset=1, appended_at=1, status=b"")])
    assert offsets(table) == [1]


def cut_manifest(folder: Path) -> None:
    for file in folder.glob("MANIFEST-*"):
        file.write_bytes(file.read_bytes()[:10])


def lose_current(folder: Path) -> None:
    (folder / "CURRENT").write_bytes(b"nonsense\n")


def fill_with_text(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_text("not RocksDB")


@pytest.mark.parametrize("damage", [cut_manifest, lose_current, fill_with_text])
def test_a_damaged_table_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    filled(tmp_path / "t")
    damage(tmp_path / "t")
    table = opened(tmp_path / "t")
    table.put([Row(offset=5, appended_at=1, status=b"")])
    assert offsets(table) == [5]


def flipped(folder: Path) -> PolicyTable:
    """A table with bytes turned over in the middle of its rows, where opening it notices nothing."""
    table = opened(folder)
    table.put(Row(offset=offset, appended_at=offset, status=random.randbytes(300)) for offset in range(2_000))
    table.close()
    [file] = folder.glob("*.sst")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    file.write_bytes(content)
    return opened(folder)


def test_rows_that_end_at_damage_do_not_end_as_if_there_were_no_more(tmp_path: Path) -> None:
    table = flipped(tmp_path / "t")
    read = []
    with pytest.raises(TableDamaged, match="checksum"):
        read.extend(row.offset for row in table.rows())
    with pytest.raises(TableDamaged, match="checksum"):
        [table.status(offset) for offset in range(2_000)]
    table.clear()
    assert offsets(table) == []


def test_wherever_bytes_turn_over_the_rows_are_all_there_or_it_is_noticed(tmp_path: Path) -> None:
    filled(tmp_path / "t", tuple(range(20)))
    [file] = (tmp_path / "t").glob("*.sst")
    for at in range(0, file.stat().st_size, 32):
        copy = shutil.copytree(tmp_path / "t", tmp_path / str(at))
        content = bytearray(file.read_bytes())
        content[at] ^= 0xFF
        (copy / file.name).write_bytes(content)
        table = opened(copy)
        with suppress(TableDamaged):
            assert [row.offset for row in table.rows()] in ([], list(range(20))), at
        table.clear()
        assert offsets(table) == []


def test_two_processes_cannot_share_one(tmp_path: Path) -> None:
    table = opened(tmp_path / "t")
    with pytest.raises(TableUnavailable, match="DOORWARD_DATA"):
        opened(tmp_path / "t")
    table.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TableUnavailable, match="DOORWARD_DATA"):
        opened(tmp_path / "file" / "t")


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "LOCK").mkdir()
    (folder / "keep.yaml").write_text("not ours")
    with pytest.raises(TableUnavailable, match="DOORWARD_DATA"):
        opened(folder)
    assert (folder / "keep.yaml").read_text() == "not ours"


def test_what_was_said_of_a_record_is_known(tmp_path: Path) -> None:
    filled(tmp_path / "t", (1,))
    table = opened(tmp_path / "t")
    assert (table.status(1), table.status(2)) == (b"said", None)
    table.close()


def test_a_table_by_another_trust_set_is_kept_until_it_is_judged_anew(tmp_path: Path) -> None:
    filled(tmp_path / "t", (1, 2, 3))
    table = opened(tmp_path / "t", trust="sha256:2")
    assert table.is_outdated
    assert (table.status(1), list(table.rows())) == (b"said", [])
    table.rejudge()
    table.put(Row(offset=offset, appended_at=1, status=b"said anew") for offset in (1, 2))
    table.judged_by(msgspec.structs.replace(MEANING, trust="sha256:2"), last=2)
    assert not table.is_outdated
    assert offsets(table) == [1, 2], "the log had no third record any more"
    again = opened(tmp_path / "t", trust="sha256:2")
    assert not again.is_outdated
    assert offsets(again) == [1, 2]


def test_a_table_that_was_being_judged_anew_is_dropped_by_the_next_start(tmp_path: Path) -> None:
    filled(tmp_path / "t", (1, 2))
    table = opened(tmp_path / "t", trust="sha256:2")
    table.rejudge()
    table.put([Row(offset=1, appended_at=1, status=b"said anew")])
    table.close()
    again = opened(tmp_path / "t", trust="sha256:2")
    assert not again.is_outdated
    assert offsets(again) == []
