"""A table's rows on this machine's disk: one RocksDB per partition, each an exact prefix of its changelog.

Local files are never the truth, only a shortcut to it: rows come here after the changelog has them, and whatever is
wrong with a partition's files, they are thrown away and read again from the changelog. Two things follow. Rows and the
*mark*, which says how far they go, are written in one batch or not at all. And a fault of the files must be noticed:
RocksDB checks its blocks when they are read, but rocksdict's `items` ends at a damaged one as if nothing came after it,
so rows are read by an iterator whose status is asked.

Nor is all damage one that RocksDB notices. Its list of files (MANIFEST) may lose its end and still be whole by its own
rules: then a file of rows drops out, and rows that came after it would be brought back by RocksDB's own journal,
together with a mark that says nothing is missing. So there is no journal: whatever opens is what was on disk at some
moment, all of it, and its mark says which. A crash costs the rows that were only in memory, twice `WRITE_BUFFER_BYTES`
of each partition at most, and they are read from the changelog like any others. So there is no hurry either: rows are
held until there are enough of them for a batch, or somebody reads them or closes the partition.

A fault of the machine (disk full, no right, files locked by another process) is told apart, for throwing files away
would cure nothing: it is raised, and the process ends.

Faust opens and closes partitions through the `Store` subclass below, and asks it for persisted offsets. What Faust
would write here (`table[key] = value`) is refused by the table.
"""

import logging
import shutil
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import rocksdict
from faust.stores import rocksdb
from faust.types import TP

log = logging.getLogger(__name__)

RESERVED: Final = b"__faust\0"
"""No key of a row may begin so."""

CACHE_BYTES: Final = 32 << 20
WRITE_BUFFER_BYTES: Final = 8 << 20
OPEN_FILES: Final = 64
HELD_ROWS: Final = 256
"""Rows of a partition that are written to its files together: a batch costs some 20 microseconds whatever is in it."""
SLICE_ROWS: Final = 1_000
"""Rows read at once. Between slices no iterator is held, which would keep closed files locked."""

_MARK_KEY: Final = RESERVED + b"mark"
_MARK: Final = struct.Struct(">BqQQ")
_MARK_TAKEN: Final = 1
_MARK_CHECKED: Final = 2

_MACHINE_FAULTS: Final = (
    *("No space left", "Disk quota exceeded", "Read-only file system", "Permission denied", "Operation not permitted"),
    *("Too many open files", "Cannot allocate memory"),
)
_LOCKED: Final = ("lock hold by", "While lock file")


class Mark(NamedTuple):
    """How far a partition's rows go.

    Attributes:
        offset: The last changelog offset they include; -1 for none.
        highest: The highest number seen in the changelog up to there.
        as_of: Unix milliseconds; every record behind `offset` was appended later than this.
    """

    offset: int
    highest: int
    as_of: int


class DamagedFilesError(Exception):
    """A partition's files failed in use. The table's are all gone; the process should end, the next start rebuilds."""


def is_machine_fault(exc: BaseException) -> bool:
    """Whether this error of RocksDB (which has no classes of them) is the machine's and not the files'."""
    return is_locked(exc) or any(fault in str(exc) for fault in _MACHINE_FAULTS)


def is_locked(exc: BaseException) -> bool:
    """Whether somebody else has these files open."""
    return any(words in str(exc) for words in _LOCKED)


class PartitionStore(rocksdb.Store):
    """The partitions of one table.

    Attributes:
        marks: Of each open partition.
        rebuilt: How many partitions' files were thrown away.
        checked: Whether rows are checked before they come here. The mark keeps it, and files with rows that were not
            are of no use where they must be.
    """

    logger = logging.getLogger("faust")  # where Faust's own lines about this service go

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.marks: dict[int, Mark] = {}
        self.rebuilt = 0
        self.checked = False
        self._held: dict[int, dict[bytes, bytes | None]] = {}  # by partition, what its files don't have yet
        self._cache = rocksdict.Cache(CACHE_BYTES)  # shared: there may be many partitions

    # Opening and closing.

    def open(self, partition: int, flaw: Callable[[Mark, bool], str | None], now: int) -> Mark:
        """Open a partition's files, or new ones where these are of no use.

        Args:
            partition: Its number; it may be open already.
            flaw: What is wrong with files of this mark, if anything; told whether they were closed until now.
            now: Unix milliseconds.

        Raises:
            Exception: The machine's fault; see `is_locked`.
        """
        was_closed = partition not in self._dbs
        reason = self._try_open(partition)
        if reason is None and partition in self.marks:
            reason = flaw(self.marks[partition], was_closed)
        if reason is not None:
            self.discard(partition, reason)
            self._dbs[partition] = self._open_for_partition(partition)
        if partition not in self.marks:
            self.write(partition, (), Mark(-1, 0, now))
        return self.marks[partition]

    def _try_open(self, partition: int) -> str | None:
        """Open if need be, and read the mark of files that existed; returns why that failed."""
        if partition in self._dbs:
            return None
        # Without tables it is new, or was killed before the first was written.
        had_rows = any(self.partition_path(partition).glob("*.sst"))
        try:
            db = self._dbs[partition] = self._open_for_partition(partition)
            raw = db.get(_MARK_KEY)
        except Exception as exc:  # rocksdict raises nothing finer
            if is_machine_fault(exc):
                self._tell_machine_fault(partition, exc)
                raise
            return str(exc)
        if raw is None or len(raw) != _MARK.size or raw[0] not in (_MARK_TAKEN, _MARK_CHECKED):
            return "its files hold no mark of this format" if had_rows else None
        if self.checked and raw[0] != _MARK_CHECKED:
            return "its rows were never checked for stamps"
        self.marks[partition] = Mark(*_MARK.unpack(raw)[1:])
        return None

    def _open_for_partition(self, partition: int) -> Any:
        """Open a partition's files with our options; Faust's `RocksDBOptions` ignores most under rocksdict."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_max_open_files(OPEN_FILES)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        env = rocksdict.Env()  # the process's; it can only be made more patient
        # A compaction takes 60 ms and a flush 20 of the core that decides: they have time, joins have not.
        env.lower_thread_pool_cpu_priority()
        env.lower_high_priority_thread_pool_cpu_priority()
        options.set_env(env)
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(self._cache)
        options.set_block_based_table_factory(table)
        db = rocksdict.Rdict(str(self.partition_path(partition)), options=options)
        writing = rocksdict.WriteOptions()
        # No journal: see the module. The stubs have a method where the class has an attribute.
        writing.disable_wal = True  # type: ignore[method-assign, assignment]
        db.set_write_options(writing)
        return db

    def _db_for_partition(self, partition: int) -> Any:
        """An open partition; only `open` opens one, and Faust asks only for those that are.

        Raises:
            KeyError: It is not open.
        """
        return self._dbs[partition]

    def close(self, partition: int) -> None:
        """Close a partition's files, so that they can be opened again."""
        with suppress(Exception):  # a failed last flush: what it would have kept is in the changelog
            self._put(partition)
        self._held.pop(partition, None)
        self.marks.pop(partition, None)
        db = self._dbs.pop(partition, None)
        if db is not None:
            with suppress(Exception):  # likewise
                db.close()

    def keep(self, partitions: Collection[int]) -> None:
        """Close every other partition."""
        for partition in self._dbs.keys() - set(partitions):
            self.close(partition)

    def discard(self, partition: int, reason: str) -> None:
        """Throw a partition's files away."""
        path: Path = self.partition_path(partition)
        log.warning("%s[%d]: local files thrown away, to be read from the changelog: %s", self.table_name, partition,
                    reason)  # fmt: skip
        self._held.pop(partition, None)
        self.close(partition)
        self.rebuilt += 1
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    async def stop(self) -> None:
        """Close everything (Faust leaves it to the garbage collector)."""
        self.keep(())

    # Rows.

    def write(self, partition: int, rows: Iterable[tuple[bytes, bytes | None]], mark: Mark) -> None:
        """Write rows (None deletes) and the mark they lead to, all or nothing, soon.

        Raises:
            KeyError: The partition is not open.
            DamagedFilesError: See there. It may be an earlier write's.
        """
        if partition not in self._dbs:
            raise KeyError(partition)
        held = self._held.setdefault(partition, {})
        held.update(rows)
        self.marks[partition] = mark
        if len(held) >= HELD_ROWS:
            self._put(partition)

    def _put(self, partition: int) -> None:
        """Write what is held of a partition, if anything is."""
        rows = self._held.get(partition)
        if rows is None:
            return
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_MARK_KEY, _MARK.pack(_MARK_CHECKED if self.checked else _MARK_TAKEN, *self.marks[partition]))
        with self._guarded(partition):
            self._dbs[partition].write(batch)
        del self._held[partition]  # not before: the next mark says that they are there

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Every row of an open partition, in the order of keys.

        Raises:
            KeyError: The partition is not open, or was closed meanwhile.
            DamagedFilesError: See there.
        """
        after = b""
        while True:
            part = self._slice(partition, after)
            for key, value in part:
                if not key.startswith(RESERVED):
                    yield key, value
            if len(part) < SLICE_ROWS:
                return
            after = part[-1][0] + b"\0"

    def _slice(self, partition: int, begin: bytes) -> list[tuple[bytes, bytes]]:
        self._put(partition)
        db = self._dbs[partition]
        part: list[tuple[bytes, bytes]] = []
        with self._guarded(partition):
            rows = db.iter()
            rows.seek(begin)
            while len(part) < SLICE_ROWS and rows.valid():
                part.append((rows.key(), rows.value()))
                rows.next()
            rows.status()  # raises where it ended by damage
        return part

    @contextmanager
    def _guarded(self, partition: int) -> Iterator[None]:
        try:
            yield
        except Exception as exc:  # rocksdict raises nothing finer
            if is_machine_fault(exc):
                self._tell_machine_fault(partition, exc)
                raise
            self.discard(partition, str(exc))
            # Damage seldom comes alone, each would end the process once, and what is cached hides what is on disk.
            for other in list(self._dbs):
                self.discard(other, f"those of partition {partition} are damaged")
            raise DamagedFilesError(f"{self.table_name}[{partition}]: {exc}") from exc

    def _tell_machine_fault(self, partition: int, exc: Exception) -> None:
        """Say in one line why the process is about to end; files that are in use are waited for instead."""
        if not is_locked(exc):
            log.critical("%s[%d]: cannot be kept on this machine, so the process ends: %s", self.table_name, partition,
                         exc)  # fmt: skip

    # For Faust.

    def persisted_offset(self, tp: TP) -> int | None:
        """The last offset held, None for none."""
        mark = self.marks.get(tp.partition)
        return mark.offset if mark is not None and mark.offset >= 0 else None
