"""One MMDB file: opened so that nothing done to the file on disk can hurt us, and checked before it is used.

The format is MaxMind DB 2.0 (maxmind.github.io/MaxMind-DB): a search tree over address bits, a data section of tagged
values, metadata at the end. Look-ups go through maxminddb's C reader, some fifteen times faster than its Python one.
It maps a file and trusts it: cutting a mapped file short kills the process, and so does a map key that is no text, or
running through all networks of a damaged tree. So the reader maps a private copy that no folder names, the data section
is checked before its first look-up, and records are run through here. Other damage is an error of the look-ups that
meet it.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import maxminddb

_METADATA_START: Final = b"\xab\xcd\xefMaxMind.com"
_SEPARATOR: Final = 16  # zero bytes between tree and data section
_EXTENDED, _POINTER, _STRING, _MAP, _ARRAY, _BOOLEAN = 0, 1, 2, 7, 11, 14  # types; pointers and sizes are theirs

# What a size, and a pointer, counts from for each count of bytes that follow the control byte.
_SIZE_FROM: Final = (0, 29, 285, 65_821)
_POINTER_FROM: Final = (0, 2_048, 526_336)

# What reading metadata or data that are not what they should be may raise.
_DAMAGE: Final = (ValueError, TypeError, IndexError, OverflowError, RecursionError)


class GeoUnavailable(Exception):
    """A geo file cannot be used. The message is one line that names the file and says why."""


class Mmdb:
    """One opened file.

    Args:
        path: the file. It is read once, here; later changes to it have no effect.
        words: texts of at most 28 bytes, to be looked for among the keys of the file's records and the values of
            their key ``connection``.
        further: more of them, looked for only where one of ``words`` was found.

    Attributes:
        name: the file's stem, such as ``country``.
        sha256: hex digest of the bytes in use.
        built: build time, UTC.
        database_type: what the file says it is, such as ``GeoLite2-City``.
        ip_version: 4, or 6 for a file that answers for both.
        has_words: whether some record has one of ``words``; so ``has_further``.
        get: address text to record, or None where the file has none. Raises ValueError (of which
            UnicodeDecodeError is one) or ``maxminddb.InvalidDatabaseError`` on meeting damage.

    Raises:
        GeoUnavailable: unreadable, not an MMDB file, or damaged.
    """

    def __init__(self, path: Path, words: frozenset[str], further: frozenset[str]) -> None:
        try:
            content = path.read_bytes()
            # Unlinked from the start: it lives as long as the reader's mapping, however this process ends.
            with tempfile.TemporaryFile() as copy:
                copy.write(content)
                copy.flush()
                self._reader = maxminddb.open_database(f"/dev/fd/{copy.fileno()}", maxminddb.MODE_MMAP_EXT)
            metadata = self._reader.metadata()
            self.built = datetime.fromtimestamp(metadata.build_epoch, UTC)
            sections = _Sections(content, metadata.node_count, metadata.record_size)
            sections.check()
            self.has_words, self.has_further = sections.search(words, further)
        except OSError as error:
            raise GeoUnavailable(f"geo file {path}: {error.strerror or error}") from None
        except (maxminddb.InvalidDatabaseError, *_DAMAGE):
            raise GeoUnavailable(f"geo file {path}: not an MMDB file, or a damaged one") from None
        self.name = path.stem
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.database_type = str(metadata.database_type)
        self.ip_version = metadata.ip_version
        self.get = self._reader.get

    def close(self) -> None:
        """Release the mapping. Look-ups raise ValueError from now on."""
        self._reader.close()


class _Sections:
    """The tree and the data section of a file, read without trust.

    Every method raises ValueError, IndexError or RecursionError where they are not what the format says.
    """

    def __init__(self, content: bytes, node_count: int, record_size: int) -> None:
        tree_size = node_count * record_size // 4
        self._tree = memoryview(content)[:tree_size]
        self._data = content[tree_size + _SEPARATOR : content.rindex(_METADATA_START)]
        self._node_count, self._record_size = node_count, record_size
        self._followed: set[int] = set()  # targets of pointers that were checked

    def check(self) -> None:
        """Check that the data are whole values, back to back, with text as map keys and pointers that lead to values.

        Takes about 0.1 s a MB.
        """
        at = 0
        while at < len(self._data):
            at = self._skip(at)
        if at > len(self._data):
            raise ValueError("the last value is cut short")

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

    def _possible(self, words: frozenset[str]) -> frozenset[str]:
        """Those words whose encoding occurs, if perhaps within another text."""
        return frozenset(word for word in words if bytes([_STRING << 5 | len(word)]) + word.encode() in self._data)

    def _records(self) -> Iterator[int]:
        """The offset of each record that the tree leads to, once: for every node, in the order of the nodes."""
        width, half = self._record_size // 4, self._record_size // 8
        seen = set[int]()
        for start in range(0, len(self._tree), width):
            node = self._tree[start : start + width]
            left, right = int.from_bytes(node[:half]), int.from_bytes(node[-half:])
            if self._record_size == 28:  # the middle byte holds the high bits of both
                left, right = left | (node[3] & 0xF0) << 20, right | (node[3] & 0x0F) << 24
            for value in (left, right):
                if value > self._node_count and value not in seen:
                    seen.add(value)
                    yield value - self._node_count - _SEPARATOR

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
