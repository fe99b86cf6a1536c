"""What a record of a changelog is made of: a number that tells a stale writer's records, a stamp, and the payload.

    value       1 byte format (1), 8 bytes number (big-endian), payload
    stamped     1 byte format (2), 8 bytes number, 20 bytes stamp, payload
    tombstone   no value; a header `number` with the same 8 bytes, and where it is stamped a header `stamp`

Only bytes may be known here: no Kafka client, no store, no key. Whoever owns a partition writes with a *number* above
every number seen in it before (`ChunkedTable.own`). A record whose number is lower than one before it in its partition
was written by a worker that no longer owned it, and counts for nothing.

A *stamp* is what only a worker with a key can make (`streams.adapters.seal` says of what). It is over all that a record
says: partition, number, key, whether it sets or deletes the row, and payload. Where workers have a key, a record that
bears none, or one of something else, is *forged* and counts for nothing: it sets no row, deletes none, and its number
is not looked at, so that nobody can put themselves above all owners to come. The row before it stands.

What it proves: somebody with the key wrote this record, for this row, as the owner with this number. So a record can't
be made up, changed, moved to another row or partition, or lifted over a newer owner's.

What it does not: that it is the *last* one of its row under its number. A copy of a genuine record, appended again
behind the records of the same owner and before those of the next, puts that row back to what it was: a session to an
earlier answer, one that ended to life, one that was deleted into memory. An owner at work says the row again beside its
next write to the partition; one put back behind its owner's end stays until the participation's next event or its
time-to-live. Nor in which making of the topic it stood: records of one that was made anew since, or of another
deployment with the same key, would count in this one, and may rank above its own. And not that nothing is missing:
whoever may delete from the topic, or fill it until compaction has taken what was there, can have rows forgotten.

Tombstones are stamped too. A forged one would have a row forgotten: the removal of somebody still in would not be said
again, no later document would find them before their next event, and a late join would begin again what had ended. And
its number would count: one could shut out every owner. They come once in a row's life, so the stamp costs nothing.
"""

import struct
from collections.abc import Sequence
from typing import Final, Protocol

FORMAT: Final = 1
STAMPED: Final = 2
STAMP_BYTES: Final = 20
NUMBER_HEADER: Final = "number"
STAMP_HEADER: Final = "stamp"

_FRAME: Final = struct.Struct(">BQ")
_NUMBER: Final = struct.Struct(">Q")
_SAID: Final = struct.Struct(">IQBI")  # partition, number, whether it sets the row, the key's length
_PAYLOAD_AT: Final = _FRAME.size + STAMP_BYTES

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


class Stamps(Protocol):
    """Makes stamps and knows them again."""

    def stamp(self, said: bytes) -> bytes:
        """A stamp of ``STAMP_BYTES`` bytes."""

    def is_stamp_of(self, said: bytes, stamp: bytes) -> bool:
        """Whether somebody with one of the keys made this stamp, of just this. Any bytes may be asked about."""


def said(partition: int, number: int, key: bytes, payload: bytes | None) -> bytes:
    """What a stamp is over: all that a record says, and no two records the same; payload None for a tombstone."""
    sets = payload is not None
    return _SAID.pack(partition, number, sets, len(key)) + key + (payload or b"")


def frame(number: int, payload: bytes, stamp: bytes = b"") -> bytes:
    """The value of a record that sets a row; without a stamp one that bears none."""
    return _FRAME.pack(STAMPED if stamp else FORMAT, number) + stamp + payload


def tombstone_headers(number: int, stamp: bytes = b"") -> list[tuple[str, bytes | None]]:
    """The headers of a record that deletes a row; without a stamp one that bears none."""
    headers: list[tuple[str, bytes | None]] = [(NUMBER_HEADER, _NUMBER.pack(number))]
    if stamp:
        headers.append((STAMP_HEADER, stamp))
    return headers


def unframe(record: ChangelogRecord) -> tuple[int, bytes | None] | None:
    """The number and payload of a record, payload None for a tombstone; None when it is no frame."""
    value = record.value
    if value is None:
        number = dict(record.headers).get(NUMBER_HEADER)
        return (_NUMBER.unpack(number)[0], None) if number is not None and len(number) == _NUMBER.size else None
    if len(value) < _FRAME.size:
        return None
    form, number = _FRAME.unpack_from(value)
    if form == STAMPED and len(value) >= _PAYLOAD_AT:
        return number, value[_PAYLOAD_AT:]
    return (number, value[_FRAME.size :]) if form == FORMAT else None


def is_genuine(stamps: Stamps, partition: int, record: ChangelogRecord, content: tuple[int, bytes | None]) -> bool:
    """Whether a record bears the stamp of what it says.

    Args:
        stamps: Ours.
        partition: Where it was found.
        record: One with a key.
        content: What `unframe` made of it.
    """
    number, payload = content
    value = record.value
    if value is None:
        stamp = dict(record.headers).get(STAMP_HEADER)
    else:
        stamp = value[_FRAME.size : _PAYLOAD_AT] if value[0] == STAMPED else None
    return stamp is not None and stamps.is_stamp_of(said(partition, number, record.key or b"", payload), stamp)
