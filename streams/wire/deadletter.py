"""Dead letters: the original record untouched, and headers that say why and where from (design §4, §7)."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from streams.wire.cloudevents import Fault, Header

PREFIX: Final = "doorward-"
LONGEST_KEY: Final = 64 * 1024
"""Bytes of a key that is kept in a stub; a meeting's id has 128 characters at most."""


def headers(
    original: Iterable[Header], fault: Fault, detail: str, *, topic: str, partition: int, offset: int, version: str
) -> list[Header]:
    """The headers of a dead letter: the record's own, then ours. A replayed letter's old ``doorward-*`` are dropped.

    Args:
        original: the record's headers.
        fault: the reason.
        detail: one line for people.
        topic: where the record was.
        partition: where the record was.
        offset: where the record was.
        version: of the engine that gave up on it.
    """
    ours = {
        "reason": fault,
        "detail": detail,
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "version": version,
    }
    kept = [(name, value) for name, value in original if not name.startswith(PREFIX)]
    return [*kept, *((PREFIX + name, value.encode()) for name, value in ours.items())]


def stub(key: bytes | None, value: bytes | None, ours: Sequence[Header]) -> tuple[bytes | None, list[Header]]:
    """What stands for a record that no batch can hold: no value, but its size and SHA-256; where it was is known.

    Headers of the record itself are left out, and its key when it is no key a producer could have meant.
    """
    kept = [(name, raw) for name, raw in ours if name.startswith(PREFIX)]
    raw = value or b""
    kept.append((f"{PREFIX}size", str(len(raw)).encode()))
    kept.append((f"{PREFIX}sha256", hashlib.sha256(raw).hexdigest().encode()))
    return (key if key is None or len(key) <= LONGEST_KEY else None), kept
