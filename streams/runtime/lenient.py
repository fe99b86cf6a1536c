"""Record batches in which a header's name may be anything.

Kafka says that a header's name is a string and takes any bytes for one. aiokafka raises UnicodeDecodeError at a name
that is not UTF-8, in the middle of its batch, at each fetch anew: one such record would keep its partition for good.

Here the batch is then read once more by aiokafka's own slower parser, with such names written in backslash escapes
(a byte FF becomes four characters, backslash and xff). The record is an ordinary one after that, and is answered like
any other.
"""

from collections.abc import Iterator
from itertools import islice
from struct import unpack_from
from typing import Any, Final, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT: Final = 8  # a batch: offset (8 bytes), length of what follows the length (4 bytes), the rest
_REST_AT: Final = 12


class _Text(bytearray):
    """Bytes that decode whatever they hold; so do slices of them."""

    def __getitem__(self, where: SupportsIndex | slice) -> Any:
        got = super().__getitem__(where)
        return _Text(got) if isinstance(got, bytearray) else got

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")


class _SlowBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final, and aiokafka is pinned
    """The parser in Python: of a record, only headers' names are decoded."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Text):
            self._buffer = _Text(self._buffer)


class Batch:
    """One batch, as aiokafka's fetcher uses it.

    Args:
        batch: As aiokafka reads it.
        content: Its bytes.
    """

    def __init__(self, batch: Any, content: memoryview) -> None:
        self._batch = batch
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        seen = 0
        try:
            for record in self._batch:
                yield record
                seen += 1
        except UnicodeDecodeError:
            yield from islice(_SlowBatch(self._content), seen, None)

    def __next__(self) -> Any:
        return next(self._batch)  # the fetcher looks into a control batch this way


class Batches:
    """What a fetch returned of a partition; stands in for aiokafka's `MemoryRecords`."""

    def __init__(self, content: bytes) -> None:
        self._batches = MemoryRecords(content)
        self._content = memoryview(content)
        self._at = 0

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return bool(self._batches.has_next())

    def size_in_bytes(self) -> int:
        """Bytes fetched, with those of a last batch that was cut."""
        return int(self._batches.size_in_bytes())

    def next_batch(self) -> Batch | None:
        """The next whole batch."""
        batch = self._batches.next_batch()
        if batch is None:
            return None
        begin = self._at
        self._at += _REST_AT + unpack_from(">i", self._content, begin + _LENGTH_AT)[0]
        return Batch(batch, self._content[begin : self._at])


def install() -> None:
    """Let all of this process's consumers read this way. Calling it again changes nothing."""
    fetcher.MemoryRecords = Batches
