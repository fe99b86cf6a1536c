"""Files that damage has taken something from: whatever opens is an exact prefix of the changelog, and says which."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from streams.runtime import store
from streams.runtime.application import ChunkedApp
from streams.runtime.config import faust_options
from streams.runtime.store import DamagedFilesError, Mark, PartitionStore

ROWS = 3_000
BUFFER = 64 << 10
"""Small, so that some files are written."""

WRITE = """
import os, sys
from pathlib import Path
from streams.runtime import store
from streams.runtime.store import Mark
from tests.runtime.test_store import BUFFER, ROWS, key, opened

store.WRITE_BUFFER_BYTES = BUFFER
files = opened(Path(sys.argv[1]))
for offset in range(ROWS):
    files.write(0, [(key(offset), bytes(100))], Mark(offset, 1, 0))
os._exit(0)  # a crash: nothing is closed
"""


def key(offset: int) -> bytes:
    return b"%06d" % offset


def opened(folder: Path) -> PartitionStore:
    """A worker's store with its partition open."""
    app = ChunkedApp("d", sources={"joins"}, **faust_options(bootstrap="127.0.0.1:9", client_id="w", data_dir=folder))
    table = app.chunked_table("rows", partitions=1, changelog="rows-changelog", delete_retention=86_400.0)
    table.local.open(0, lambda mark, was_closed: None, 0)
    return table.local


class Full:
    """Open files on a full disk."""

    def write(self, batch: object) -> None:
        raise Exception("IO error: No space left on device")  # as rocksdict does


def files_of(folder: Path) -> Path:
    [found] = folder.rglob("rows-0.db")
    return found


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a worker left that was killed while it wrote."""
    folder = tmp_path_factory.mktemp("crashed")
    subprocess.run([sys.executable, "-c", WRITE, str(folder)], check=True, timeout=60)
    assert len(list(files_of(folder).glob("*.sst"))) > 1
    return folder


def is_prefix(files: PartitionStore) -> bool:
    mark = files.marks[0]
    return [row for row, _ in files.rows(0)] == [key(offset) for offset in range(mark.offset + 1)]


def test_a_crash_leaves_a_prefix(crashed: Path, tmp_path: Path) -> None:
    files = opened(shutil.copytree(crashed, tmp_path / "c"))
    assert files.rebuilt == 0
    assert ROWS * 0.6 < files.marks[0].offset < ROWS
    assert is_prefix(files)


def test_wherever_the_list_of_files_is_cut_a_prefix_is_left_or_nothing(crashed: Path, tmp_path: Path) -> None:
    """RocksDB takes a list that ends between two entries, or within one, for a whole one."""
    [manifest] = files_of(crashed).glob("MANIFEST-*")
    found = set()
    for cut in range(0, manifest.stat().st_size, 23):
        copy = shutil.copytree(crashed, tmp_path / str(cut))
        os.truncate(files_of(copy) / manifest.name, cut)
        files = opened(copy)
        assert is_prefix(files), cut
        found.add((files.rebuilt, files.marks[0].offset))
    assert (1, -1) in found, "some are thrown away"
    assert any(not rebuilt and offset > 0 for rebuilt, offset in found), "and of some a part is left"


def test_a_crash_before_anything_was_written_is_no_damage(tmp_path: Path) -> None:
    files = opened(tmp_path / "a")
    files.write(0, [(b"k", b"v")], Mark(0, 1, 0))
    again = opened(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    assert (again.rebuilt, again.marks[0]) == (0, Mark(-1, 0, 0))
    assert store.WRITE_BUFFER_BYTES > BUFFER


def test_rows_that_are_held_are_read_and_kept_like_any_others(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.write(0, [(b"a", b"1"), (b"b", b"1")], Mark(1, 1, 0))
    files.write(0, [(b"a", None), (b"b", b"2")], Mark(3, 1, 0))
    assert list(files.rows(0)) == [(b"b", b"2")]
    files.write(0, [(b"c", b"3")], Mark(4, 1, 0))
    assert files.marks[0] == Mark(4, 1, 0)
    files.keep(())
    again = opened(tmp_path)
    assert (again.marks[0], list(again.rows(0))) == (Mark(4, 1, 0), [(b"b", b"2"), (b"c", b"3")])


def test_rows_that_could_not_be_written_are_still_held(tmp_path: Path) -> None:
    """Else a later write would put a mark on disk that says they are there."""
    files = opened(tmp_path)
    whole = files._dbs[0]
    files.write(0, [(b"a", b"1")], Mark(0, 1, 0))
    files._dbs[0] = Full()
    with pytest.raises(Exception, match="No space left"):
        list(files.rows(0))
    files._dbs[0] = whole
    files.write(0, [(b"b", b"2")], Mark(1, 1, 0))
    files.keep(())
    assert list(opened(tmp_path).rows(0)) == [(b"a", b"1"), (b"b", b"2")]


@pytest.mark.skipif(sys.platform != "linux", reason="a thread's own priority is Linux's")
def test_flushes_and_compactions_leave_the_core_to_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WRITE_BUFFER_BYTES", BUFFER)
    files = opened(tmp_path)
    deadline = time.monotonic() + 30
    offset = 0
    while any(nice == 0 for nice in background().values()):  # threads change it when they have work
        assert time.monotonic() < deadline, background()
        files.write(0, [(key(offset % ROWS), bytes(1_000))], Mark(offset, 1, 0))
        offset += 1
    assert set(background()) == {"rocksdb:low", "rocksdb:high"}


def background() -> dict[str, int]:
    """RocksDB's threads in this process: how nice each is."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile: others' come and go
            name = (thread / "comm").read_text().strip()
            if name.startswith("rocksdb:"):
                found[name] = os.getpriority(os.PRIO_PROCESS, int(thread.name))
    return found


def test_rows_that_are_held_go_with_files_that_are_thrown_away(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.write(0, [(b"a", b"1")], Mark(0, 1, 0))
    files.discard(0, "a test")
    again = opened(tmp_path)
    assert (again.marks[0], list(again.rows(0))) == (Mark(-1, 0, 0), [])


def test_damage_found_in_use_costs_the_other_partitions_files_too(tmp_path: Path) -> None:
    """What of them is cached hides what is on disk; each would end the process once."""
    files = opened(tmp_path)
    for partition in range(3):
        files.open(partition, lambda mark, was_closed: None, 0)
        files.write(partition, [(key(number), os.urandom(100)) for number in range(ROWS)], Mark(ROWS, 1, 0))
    files.keep(())
    [table] = files.partition_path(1).glob("*.sst")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    for partition in range(3):
        files.open(partition, lambda mark, was_closed: None, 0)
    with pytest.raises(DamagedFilesError):
        list(files.rows(1))
    assert files.rebuilt == 3
    assert not any(files.partition_path(partition).exists() for partition in range(3))
