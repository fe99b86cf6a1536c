"""One MMDB file: opened so that nothing done to the file on disk can hurt us, and checked before it is used.

The format is MaxMind DB 2.0 (maxmind.github.io/MaxMind-DB): a search tree over address bits, a data section of tagged
values, metadata at the end. Look-ups go through maxminddb's C reader, some fifteen times faster than its Python one.
It maps a file and trusts it: cutting a mapped file short kills the process, and so does a map key that is no text, or
running through all networks of a damaged tree. So the reader maps a private copy that no folder names, the data section
is checked before its first look-up, and records are run through here. Other damage is an error of the look-ups that
meet it.

Checking takes about 0.3 s a MB of Python code. A worker that decides joins meanwhile has it done ``apart``: this file
is then run as a program of its own, given the private copy as its standard input. So it imports nothing of ours.
"""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Container
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import maxminddb

_METADATA_START: Final = b"\xab\xcd\xefMaxMind.com"
_LONGEST_METADATA: Final = 128 * 1024
_UNSIGNED: Final = (5, 6, 9, 10)
_SEPARATOR: Final = 16  # zero bytes between tree and data section
_EXTENDED, _POINTER, _STRING, _MAP, _ARRAY, _BOOLEAN = 0, 1, 2, 7, 11, 14  # types; pointers and sizes are theirs

# What a size, and a pointer, counts from for each count of bytes that follow the control byte.
_SIZE_FROM: Final = (0, 29, 285, 65_821)
_POINTER_FROM: Final = (0, 2_048, 526_336)

# What opening and checking a file that is not what it should be may raise.
_DAMAGE: Final = (maxminddb.InvalidDatabaseError, ValueError, TypeError, IndexError, OverflowError, RecursionError)

_PIECE: Final = 2**20
"""Bytes copied and hashed at a time. Both let other threads run meanwhile."""
_APART_SECONDS: Final = 600.0
"""How long a check apart may take: many times what the largest files need."""
_APART_NICENESS: Final = 10
_DAMAGED: Final = 65
"""Exit status of a check apart that met damage (sysexits.h, EX_DATAERR)."""
_CRASHED: Final = frozenset({-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT})


class GeoUnavailable(Exception):
    """A geo file cannot be used. The message is one line that names the file and says why."""


class GeoDamaged(GeoUnavailable):
    """It could be read, but it is no MMDB file, a damaged one, or another than was expected."""


class Contents(NamedTuple):
    """What checking a file showed.

    Attributes:
        has_words: whether some record has one of the words looked for; so ``has_further``.
        records: distinct records, or None where they were not counted.
    """

    has_words: bool
    has_further: bool
    records: int | None = None


class Mmdb:
    """One opened file.

    Args:
        path: the file. It is read once, here; later changes to it have no effect.
        words: texts of at most 28 bytes, to be looked for among the keys of the file's records and the values of
            their key ``connection``.
        further: more of them, looked for only where one of ``words`` was found.
        sha256: hex digest that the bytes must have, checked before anything trusts them; None: any.
        apart: check in a process of its own, so that other threads of this one hardly notice.
        count: count the records too, which takes about a second for each million nodes.

    Attributes:
        name: the file's stem, such as ``country``, without what adoption put behind it (``stamp``).
        sha256: hex digest of the bytes in use.
        size: their number.
        built: build time, UTC.
        database_type: what the file says it is, such as ``GeoLite2-City``.
        ip_version: 4, or 6 for a file that answers for both.
        has_words: whether some record has one of ``words``; so ``has_further``.
        records: distinct records, or None where they were not counted.
        get: address text to record, or None where the file has none. Raises ValueError (of which
            UnicodeDecodeError is one) or ``maxminddb.InvalidDatabaseError`` on meeting damage.
        get_in: the same, with the length of the network's prefix that the record (or its lack) holds for.

    Raises:
        GeoUnavailable: it cannot be read, or (GeoDamaged) is no MMDB file, damaged, or another file.
    """

    def __init__(
        self,
        path: Path,
        words: frozenset[str],
        further: frozenset[str],
        *,
        sha256: str | None = None,
        apart: bool = False,
        count: bool = False,
    ) -> None:
        try:
            # Unlinked from the start: it lives as long as the reader's mapping, however this process ends.
            with tempfile.TemporaryFile() as copy:
                self.sha256, self.size = copied(path, copy)
                copy.flush()
                if sha256 not in (None, self.sha256):
                    raise GeoDamaged(f"geo file {path}: its SHA-256 is {self.sha256}, expected was {sha256}")
                check = _contents_apart if apart else _contents
                contents = check(copy, words, further, count)
                self._reader = _reader(copy)
                copy.seek(max(0, self.size - _LONGEST_METADATA))
                metadata = metadata_of(copy.read())
        except OSError as error:
            raise GeoUnavailable(f"geo file {path}: {error.strerror or error}") from None
        except _DAMAGE:
            raise GeoDamaged(f"geo file {path}: not an MMDB file, or a damaged one") from None
        self.has_words, self.has_further, self.records = contents
        self.built = datetime.fromtimestamp(metadata.build_epoch, UTC)
        self.name = name_of(path, self.built, self.sha256)
        self.database_type = str(metadata.database_type)
        self.ip_version = metadata.ip_version
        self.get = self._reader.get
        self.get_in = self._reader.get_with_prefix_len

    def close(self) -> None:
        """Release the mapping. Look-ups raise ValueError from now on."""
        self._reader.close()


def stamp(built: datetime, sha256: str) -> str:
    """What tells one build of a file from others of its name: ``-2026-06-17-1a2b3c4d``, build day (UTC) and digest."""
    return f"-{built:%Y-%m-%d}-{sha256[:8]}"


def name_of(path: Path, built: datetime, sha256: str) -> str:
    """A file's stem without its stamp: an adopted ``country-2026-06-17-1a2b3c4d.mmdb`` is still ``country``."""
    return path.stem.removesuffix(stamp(built, sha256)) or path.stem


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read bytes of. Raises OSError, also for a pipe or a device: those may never end."""
    stream = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115  # the caller closes it
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError("not a regular file")
    return stream


def copied(path: Path, target: BinaryIO) -> tuple[str, int]:
    """Copy a regular file; returns the hex SHA-256 and the number of the bytes copied.

    Blocks, for other threads only in moments.

    Raises:
        OSError: it cannot be read, or the target not written.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular(path) as source:
        while piece := source.read(_PIECE):
            digest.update(piece)
            size += target.write(piece)
    return digest.hexdigest(), size


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a pipe would wait for its writer


def _reader(copy: BinaryIO) -> Any:
    return maxminddb.open_database(f"/dev/fd/{copy.fileno()}", maxminddb.MODE_MMAP_EXT)


def _contents(copy: BinaryIO, words: frozenset[str], further: frozenset[str], count: bool) -> Contents:
    """Check a file. Raises one of ``_DAMAGE``."""
    copy.seek(0)
    content = copy.read()
    metadata = metadata_of(content)
    _reader(copy).close()
    sections = _Sections(content, metadata.node_count, metadata.record_size)
    sections.check()
    return Contents(*sections.search(words, further), sections.count() if count else None)


def _contents_apart(copy: BinaryIO, words: frozenset[str], further: frozenset[str], count: bool) -> Contents:
    """Check a file in a process of its own, which it may even crash. Raises OSError, ValueError."""
    question = json.dumps([sorted(words), sorted(further), count])
    # -P: this file's folder is no place to import from
    command = [sys.executable, "-P", __file__, question]
    try:
        done = subprocess.run(command, stdin=copy, capture_output=True, check=False, timeout=_APART_SECONDS)  # noqa: S603  # ourselves
    except subprocess.TimeoutExpired:
        raise OSError(f"not checked within {_APART_SECONDS:g} s") from None
    if done.returncode == _DAMAGED or done.returncode in _CRASHED:
        raise ValueError("damaged")
    if done.returncode:  # killed, or out of memory: that says nothing about the file
        raise OSError(f"its check ended with status {done.returncode}")
    return Contents(*json.loads(done.stdout))


class Metadata(NamedTuple):
    """What a file says of itself, as far as it is used here.

    maxminddb's own way to say it (3.0) crashes the process where the metadata have a member that it does not know,
    though the format allows for some, or a key that is no text.
    """

    node_count: int
    record_size: int
    ip_version: int
    build_epoch: int
    database_type: str


def metadata_of(content: bytes) -> Metadata:
    """The metadata at the end of a file. Raises one of ``_DAMAGE``."""
    start = content.rindex(_METADATA_START) + len(_METADATA_START)
    section = _Sections(bytes(_SEPARATOR) + content[start:] + _METADATA_START, 0, 0)
    found = section.members(Metadata._fields)
    metadata = Metadata(**found)
    if not isinstance(metadata.database_type, str) or not all(isinstance(each, int) for each in metadata[:4]):
        raise ValueError("a member of the metadata has another type")
    datetime.fromtimestamp(metadata.build_epoch, UTC)
    return metadata


class _Sections:
    """The tree and the data section of a file, read without trust.

    Every method raises ValueError, IndexError or RecursionError where they are not what the format says.
    """

    def __init__(self, content: bytes, node_count: int, record_size: int) -> None:
        tree_size = node_count * record_size // 4
        self._tree = memoryview(content)[:tree_size]
        self._data = content[tree_size + _SEPARATOR : content.rindex(_METADATA_START)]
        self._readable = len(content) - tree_size - _SEPARATOR  # the reader takes the metadata for data as well
        self._node_count, self._record_size = node_count, record_size
        self._followed: set[int] = set()  # targets of pointers that were checked

    def check(self) -> None:
        """Check that the data are whole values, back to back, with text as map keys and pointers that lead to values.

        So must the tree, but where it leads out of the file, which the reader sees for itself: in the middle of a value
        may be what looks like a map whose key is no text. Takes about 0.3 s a MB of data, and 0.1 s a million nodes.
        """
        at, begun = 0, set[int]()
        while at < len(self._data):
            begun.add(at)
            at = self._skip(at)
        if at > len(self._data):
            raise ValueError("the last value is cut short")
        for start in self._records() - begun:
            if 0 <= start < self._readable and self._skip(start) > len(self._data):
                raise ValueError("the tree leads into the middle of a value, or behind the last")

    def members(self, names: Container[str]) -> dict[str, Any]:
        """Some members of the map that the data begin with: texts and whole numbers."""
        kind, size, at = self._head(0)
        if kind != _MAP:
            raise ValueError("the metadata are no map")
        found: dict[str, Any] = {}
        for _ in range(size):
            key, at = self._key(at)
            if key in names:
                kind, length, begin = self._head(at)
                raw = self._data[begin : begin + length]
                if kind == _STRING:
                    found[key] = str(raw, "utf-8")
                elif kind in _UNSIGNED:
                    found[key] = int.from_bytes(raw)
            at = self._skip(at)
        return found

    def search(self, words: frozenset[str], further: frozenset[str]) -> tuple[bool, bool]:
        """Whether records have ``words``, and if so ``further``: as keys, or as values of the key ``connection``.

        What does not occur at all is known from the bytes at once. Else records are read until all is found, which for
        a large file that has the words only elsewhere takes some seconds.
        """
        words, further = self._possible(words), self._possible(further)
        has_words = has_further = False
        if words:
            for at in self._records():
                said = self._said(at)
                has_words = has_words or not words.isdisjoint(said)
                has_further = has_further or not further.isdisjoint(said)
                if has_words and (has_further or not further):
                    break
        return has_words, has_words and has_further

    def count(self) -> int:
        """How many distinct records the tree leads to."""
        return len(self._records())

    def _possible(self, words: frozenset[str]) -> frozenset[str]:
        """Those words whose encoding occurs, if perhaps within another text."""
        return frozenset(word for word in words if bytes([_STRING << 5 | len(word)]) + word.encode() in self._data)

    def _records(self) -> set[int]:
        """The offsets of all records that the tree leads to.

        A node is two numbers of 24, 28 or 32 bits. They are laid out as numbers of 32, byte place by byte place, since
        a loop over the nodes takes ten times as long.
        """
        tree, node = self._tree, self._record_size // 4
        wide = bytearray(8 * (len(tree) // node))
        low = self._record_size // 8  # whole bytes of a number
        for place in range(low):
            wide[4 - low + place :: 8] = tree[place::node]
            wide[8 - low + place :: 8] = tree[node - low + place :: node]
        if self._record_size == 28:  # the middle byte holds the high bits of both
            middle = bytes(tree[3::node])
            wide[0::8] = middle.translate(bytes(byte >> 4 for byte in range(256)))
            wide[4::8] = middle.translate(bytes(byte & 0x0F for byte in range(256)))
        numbers = array("I", bytes(wide))
        if sys.byteorder == "little":
            numbers.byteswap()
        nodes = self._node_count
        return {number - nodes - _SEPARATOR for number in numbers if number > nodes}

    def _said(self, at: int) -> set[str]:
        """The keys of the record at an offset, and the text under its key ``connection``."""
        if at < 0:
            raise ValueError("the tree leads out of the data")
        kind, size, at = self._head(at)
        said = set[str]()
        for _ in range(size if kind == _MAP else 0):
            key, at = self._key(at)
            said.add(key)
            if key == "connection" and (text := self._text(at)[0]) is not None:
                said.add(text)
            at = self._skip(at)
        return said

    def _skip(self, at: int) -> int:
        """The offset behind the value at this offset, which is checked on the way."""
        kind, size, at = self._head(at)
        if kind == _MAP:
            for _ in range(size):
                at = self._skip(self._key(at)[1])
            return at
        if kind == _ARRAY:
            for _ in range(size):
                at = self._skip(at)
            return at
        if kind == _POINTER and size not in self._followed:
            self._followed.add(size)
            self._skip(size)
        return at if kind in (_BOOLEAN, _POINTER) else at + size

    def _key(self, at: int) -> tuple[str, int]:
        """The map key at this offset, and the offset behind it."""
        text, behind = self._text(at)
        if text is None:
            raise ValueError("a map key is no text")
        return text, behind

    def _text(self, at: int) -> tuple[str | None, int]:
        """The text at this offset or where a pointer there leads, None for another value; and the offset behind it."""
        kind, size, behind = self._head(at)
        start = behind
        if kind == _POINTER:
            kind, size, start = self._head(size)
        else:
            behind += size
        return (str(self._data[start : start + size], "utf-8") if kind == _STRING else None), behind

    def _head(self, at: int) -> tuple[int, int, int]:
        """A value's type, its size (a pointer's target), and the offset behind its control bytes."""
        data = self._data
        control = data[at]
        at += 1
        kind = control >> 5
        if kind == _POINTER:
            extra = (control >> 3 & 3) + 1
            target = int.from_bytes(data[at : at + extra])
            if extra < 4:  # with four bytes the low bits of the control byte are not used
                target += ((control & 7) << 8 * extra) + _POINTER_FROM[extra - 1]
            return kind, target, at + extra
        if kind == _EXTENDED:
            kind = 7 + data[at]
            at += 1
        size = control & 31
        if size >= 29:
            extra = size - 28
            size = _SIZE_FROM[extra] + int.from_bytes(data[at : at + extra])
            at += extra
        return kind, size, at


def _answer() -> None:
    """Be the process apart: standard input is the file, the only argument says what to look for."""
    os.nice(_APART_NICENESS)
    words, further, count = json.loads(sys.argv[1])
    try:
        contents = _contents(sys.stdin.buffer, frozenset(words), frozenset(further), count)
    except _DAMAGE:
        sys.exit(_DAMAGED)
    print(json.dumps(contents))  # noqa: T201  # to the process that started this one


if __name__ == "__main__":
    _answer()
