"""What this worker says on ``policies.status`` besides how far it has got, and what it learns there.

Every worker follows the status log to know what has been said already; the one that may speak, the holder of joins
partition 0, says the rest: what came of each record of the policy log, and which keys and geo files are in use. Two
that speak at once, in a rebalance, say the same events with the same ids. What is a worker's own affair (files that it
cannot use) each says for itself.

From what was announced, by whichever worker, every worker knows how old keys are (``streams.wire.announced``), and
which it may not be without (``streams.agents.trustwatch``).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import msgspec
from aiokafka.structs import ConsumerRecord

from streams.adapters.policytable import PolicyTable
from streams.agents.policies import LOG_APPEND_TIME
from streams.core import instants, status
from streams.runtime.reader import LogReader
from streams.wire.announced import Announced

STATUS: Final = "policies.status"
SAY_AGAIN: Final = 7 * instants.DAY
"""After how long an announcement is made again, ms: the log must never forget what is in use."""
_SLICE: Final = 100

Say: TypeAlias = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[None]]
"""Writes (key, value) records to ``policies.status`` and returns once they are acknowledged."""
Announcement: TypeAlias = status.TrustEvent | status.GeoEvent
Notice: TypeAlias = status.GeoHeldEvent | status.GeoRefusedEvent | status.TrustRefusedEvent


class Hearing:
    """Reads the status log's records in order, and keeps what is announced of keys.

    Args:
        announced: filled.
    """

    def __init__(self, announced: Announced) -> None:
        self._announced = announced
        self._is_first = True

    def hear(self, record: ConsumerRecord) -> status.StatusEvent | None:
        """What a record says; None for one of a later version, or somebody else's."""
        if self._is_first and record.offset:
            self._announced.begins_cut()
        self._is_first = False
        try:
            event = status.decode(record.value or b"")
        except msgspec.MsgspecError:
            return None
        # a time that its writer chose is none: keys would be as old as a worker says
        if record.timestamp_type == LOG_APPEND_TIME:
            self._announced.spoken_at = max(self._announced.spoken_at, record.timestamp)
            if isinstance(event, status.TrustEvent):
                self._announced.note(event.data.keys, record.timestamp)
        return event


class Speaker:
    """Says what has not been said.

    Args:
        table: what came of each record.
        announced: told of the announcements that are read.
        say: writes to the status log.

    Attributes:
        may_speak: whether this worker speaks for the group.
        caught_up: set once the status log was read to the end it had at the start.
    """

    def __init__(self, *, table: PolicyTable, announced: Announced, say: Say) -> None:
        self.may_speak = False
        self.caught_up = asyncio.Event()
        self._said = -1
        self._in_use: dict[type[Announcement], Announcement] = {}
        self._heard: dict[type[Announcement], tuple[str, int]] = {}  # id and append time of the last announcement
        self._notices: list[Notice] = []
        self._changed: dict[int, bytes] = {}
        self._table = table
        self._hearing = Hearing(announced)
        self._say = say
        self._turn = asyncio.Lock()

    def use(self, announcement: Announcement) -> None:
        """Name the keys or geo files in use: announced where the last announcement is another, or a week old."""
        self._in_use[type(announcement)] = announcement

    def notice(self, notice: Notice) -> None:
        """Have something said that is this worker's own affair."""
        self._notices.append(notice)

    def correct(self, changed: Mapping[int, bytes]) -> None:
        """Have it said what now comes of records of the policy log whose answer has changed, by offset.

        Kept until this worker may speak: another one may have said it by then, as the same event.
        """
        self._changed.update(changed)

    async def follow(self, options: dict[str, Any], *, caught_up: Callable[[], None]) -> None:
        """Read the status log until cancelled.

        Args:
            options: for its reader: ``bootstrap_servers``, ``client_id``, security settings.
            caught_up: called once it was read to the end it had at the start.

        Raises:
            LogChangedError: it was cut where it was being read.
        """

        async def wait() -> None:
            await reader.caught_up.wait()
            self.caught_up.set()
            caught_up()

        reader = LogReader(STATUS, self.handle, **options)
        await reader.start(None)
        waiting = asyncio.ensure_future(wait())
        try:
            await reader.run()
        finally:
            waiting.cancel()
            await reader.stop()

    async def handle(self, records: Iterable[ConsumerRecord]) -> None:
        """Read what has been said."""
        for record in records:
            event = self._hearing.hear(record)
            if isinstance(event, status.AcceptedEvent | status.RejectedEvent):
                self._said = max(self._said, event.data.offset)
            elif isinstance(event, status.TrustEvent | status.GeoEvent):
                self._heard[type(event)] = event.id, record.timestamp

    async def speak(self) -> None:
        """Say what has not been said, if this worker may. Blocks until it is acknowledged."""
        async with self._turn:
            while self._notices:
                await self._say([_record(self._notices[0])])
                self._notices.pop(0)
            if not (self.may_speak and self.caught_up.is_set()):
                return
            now = time.time_ns() // 1_000_000
            if news := [event for kind, event in self._in_use.items() if self._is_news(kind, event, now)]:
                await self._say([_record(event) for event in news])
                self._heard.update((type(event), (event.id, now)) for event in news)
            while rows := list(islice(self._table.rows(self._said + 1), _SLICE)):
                await self._say([_answer(row.status) for row in rows])
                self._said = max(self._said, rows[-1].offset)
            while changed := dict(islice(self._changed.items(), _SLICE)):
                await self._say([_answer(said) for said in changed.values()])
                self._changed = {o: said for o, said in self._changed.items() if changed.get(o) != said}

    def _is_news(self, kind: type[Announcement], event: Announcement, now: int) -> bool:
        heard, at = self._heard.get(kind, ("", 0))
        return heard != event.id or now - at > SAY_AGAIN


def _record(event: status.StatusEvent) -> tuple[bytes, bytes]:
    return event.subject.encode(), status.encode(event)


def _answer(said: bytes) -> tuple[bytes, bytes]:
    return status.decode(said).subject.encode(), said
