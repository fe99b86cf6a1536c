"""What a record of a changelog is made of: a number that tells a stale writer's records, and the payload.

    value       1 byte format (1), 8 bytes number (big-endian), payload
    tombstone   no value; a header `number` with the same 8 bytes

Only bytes may be known here: no Kafka client, no store. Whoever owns a partition writes with a *number* above every
number seen in it before (`ChunkedTable.own`). A record whose number is lower than one before it in its partition was
written by a worker that no longer owned it, and counts for nothing.
"""

import struct
from collections.abc import Sequence
from typing import Final, Protocol

FORMAT: Final = 1
NUMBER_HEADER: Final = "number"

_FRAME: Final = struct.Struct(">BQ")
_NUMBER: Final = struct.Struct(">Q")

Headers = Sequence[tuple[str, bytes | None]]


class ChangelogRecord(Protocol):
    """A record of a changelog as Kafka returns it."""

    @property
    def offset(self) -> int:
        """Its offset in its partition."""

    @property
    def timestamp(self) -> int:
        """Unix milliseconds."""

    @property
    def key(self) -> bytes | None:
        """Key of the row."""

    @property
    def value(self) -> bytes | None:
        """The frame; None for a tombstone."""

    @property
    def headers(self) -> Headers:
        """Name and value of each."""


def frame(number: int, payload: bytes) -> bytes:
    """The value of a record that sets a row."""
    return _FRAME.pack(FORMAT, number) + payload


def tombstone_headers(number: int) -> list[tuple[str, bytes | None]]:
    """The headers of a record that deletes a row."""
    return [(NUMBER_HEADER, _NUMBER.pack(number))]


def unframe(record: ChangelogRecord) -> tuple[int, bytes | None] | None:
    """The number and payload of a record, payload None for a tombstone; None when it is no frame."""
    value = record.value
    if value is None:
        number = dict(record.headers).get(NUMBER_HEADER)
        return (_NUMBER.unpack(number)[0], None) if number is not None and len(number) == _NUMBER.size else None
    if len(value) < _FRAME.size:
        return None
    form, number = _FRAME.unpack_from(value)
    return (number, value[_FRAME.size :]) if form == FORMAT else None
