"""The sandbox's worker, except that it dies or stops, by its own hand, at a named point of a chunk's way.

The program is the real one; it is wrapped from outside, here. A test writes point and signal into a file beside the
worker's data folder (`pronounce`); at its next passage of the point the worker takes the file away, writes its last
words and sends itself the signal, KILL or STOP. What was handed to the kernel is on its way, all else is as it was.

A chunk's way, and where the points lie (`POINTS`):

    batches given to the producer    handed      sent or not, but not all acknowledged
                                     half        some acknowledged, the others not given: as with several brokers
    all acknowledged                 acked       decisions, sessions, dead letters; nothing of it on disk
    sessions on disk                 kept        the chunk is still in hand
    chunk finished                   finished    the commit not sent
    offsets committed                committed   nothing in hand, and nothing finished since
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, Final

from aiokafka.structs import TopicPartition

from streams.agents.joins import JoinsAgent
from streams.dev import worker
from streams.runtime.produce import Acks, Outbox
from streams.runtime.source import Chunk, Source
from streams.runtime.transport import Consumer

POINTS: Final = ("handed", "half", "acked", "kept", "finished", "committed")
ACK_SECONDS: Final = 0.003
"""About as long as an acknowledgement takes: within it a death at `handed` comes at a random moment."""

Batches = list[tuple[TopicPartition, Any]]

_chunk: ContextVar[Chunk | None] = ContextVar("chunk", default=None)
"""The chunk whose outputs are being written in this task; what else a worker says passes no point."""


def _doom(folder: Path) -> Path:
    return folder.with_suffix(".doom")


def _words(folder: Path) -> Path:
    return folder.with_suffix(".words")


def pronounce(folder: Path, point: str, how: signal.Signals) -> None:
    """Have the worker with this data folder send itself a signal when it next passes a point."""
    _words(folder).unlink(missing_ok=True)
    draft = folder.with_suffix(".draft")
    draft.write_text(f"{point} {how.name}")
    draft.rename(_doom(folder))


def last_words(folder: Path) -> dict[int, int] | None:
    """By partition the worker owned, the offset before which it may have answered; None: it has not met its doom."""
    try:
        words = json.loads(_words(folder).read_text())
    except (FileNotFoundError, ValueError):  # none, or they are being written just now
        return None
    return {int(partition): end for partition, end in words.items()}


def meet(folder: Path, point: str, source: Source) -> None:
    """Meet the doom that waits at a point, if there is one. Returns after a STOP, once CONT has come."""
    waiting = _waiting(folder)
    if waiting is None or waiting[0] != point:
        return
    ends = dict(source.positions.done)
    if source.hand is not None:
        ends |= {partition: end for partition, (_, end) in source.hand.spans.items()}
    _doom(folder).unlink()
    _words(folder).write_text(json.dumps({partition.partition: end for partition, end in ends.items()}))
    os.kill(os.getpid(), signal.Signals[waiting[1]])


def _waiting(folder: Path) -> tuple[str, str] | None:
    """Point and signal."""
    try:
        point, name = _doom(folder).read_text().split()
    except FileNotFoundError:
        return None
    return point, name


def wrap(folder: Path) -> None:
    """Lay the points around the worker's own methods."""
    write, attempt, send, commit = JoinsAgent._write, Outbox._attempt, Outbox.send, Consumer.force_commit

    @wraps(write)
    async def kept(self: JoinsAgent, chunk: Chunk, work: Any) -> None:
        _chunk.set(chunk if len(chunk) else None)
        try:
            await write(self, chunk, work)
        finally:
            _chunk.set(None)
        if len(chunk):
            meet(folder, "kept", chunk._source)

    @wraps(attempt)
    async def handed_and_half(self: Outbox, batches: Batches, acks: Acks, *check: Any) -> Batches:
        chunk, (point, _) = _chunk.get(), _waiting(folder) or ("", "")
        places = sorted({partition for partition, _ in batches})
        if chunk is not None and point == "half" and len(places) > 1:
            early = set(random.sample(places, random.randrange(1, len(places))))
            again = await attempt(self, [batch for batch in batches if batch[0] in early], acks, *check)
            meet(folder, "half", chunk._source)
            rest = await attempt(self, [batch for batch in batches if batch[0] not in early], acks, *check)
            return again + rest
        if chunk is None or point != "handed":
            return await attempt(self, batches, acks, *check)
        under_way = asyncio.ensure_future(attempt(self, batches, acks, *check))
        await asyncio.wait([under_way], timeout=random.uniform(0, ACK_SECONDS))
        if not under_way.done():
            meet(folder, "handed", chunk._source)
        return await under_way

    @wraps(send)
    async def acked(self: Outbox, check: Callable[[], None]) -> Acks:
        acks = await send(self, check)
        chunk = _chunk.get()
        if chunk is not None:
            meet(folder, "acked", chunk._source)
        return acks

    @wraps(commit)
    async def finished_and_committed(self: Consumer, *arguments: Any, **options: Any) -> bool:
        source = self.source
        if source.hand is None and source.positions.committable():
            meet(folder, "finished", source)
        done = await commit(self, *arguments, **options)
        if source.hand is None and done and not source.positions.committable():
            meet(folder, "committed", source)
        return done

    JoinsAgent._write, Consumer.force_commit = kept, finished_and_committed
    Outbox._attempt, Outbox.send = handed_and_half, acked


if __name__ == "__main__":
    wrap(Path(os.environ["DOORWARD_DATA"]))
    worker.main()
