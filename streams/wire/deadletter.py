"""Dead letters: the original record untouched, and headers that say why and where from (design §4, §7)."""

from collections.abc import Iterable, Sequence
from typing import Final

from streams.wire.cloudevents import Fault, Header

PREFIX: Final = "doorward-"


def headers(
    original: Iterable[Header], fault: Fault, detail: str, *, topic: str, partition: int, offset: int, version: str
) -> Sequence[Header]:
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
