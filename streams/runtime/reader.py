"""A plain reader of a log: one topic of one partition, without a group, from an offset of the caller's choosing.

The policy log is read this way by every worker: whole, in order, at once (50,000 records in a tenth of a second, where
a GlobalTable took twelve). The reader hands on batches, knows when it has reached the end it saw at its start, and then
goes on with what is appended. A broker that restarts is waited for.

A log may grow; it may not change under its reader. Where the offset to read next does not exist, the topic was cut or
made anew, and jumping to what is there would silently skip or repeat history: that is `LogChangedError`. A topic made
anew that has grown past the reader's position can't be told by offsets; whoever needs to know compares a record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.runtime import lenient

FETCH_BYTES: Final = 4 << 20
POLL_MS: Final = 500


class LogChangedError(Exception):
    """The log has no record where reading should go on: it was cut, or its topic was made anew."""


class LogReader:
    """Reads one single-partition topic.

    Args:
        topic: Its name.
        handle: Given each batch of records, in order; awaited before the next is read. Its exceptions end `run`.
        options: For aiokafka's consumer: `bootstrap_servers`, `client_id`, security settings.

    Attributes:
        caught_up: Set once everything that existed at the start has been handled.
    """

    def __init__(
        self, topic: str, handle: Callable[[Sequence[ConsumerRecord]], Awaitable[None]], **options: Any
    ) -> None:
        self.caught_up = asyncio.Event()
        self._partition = TopicPartition(topic, 0)
        self._handle = handle
        self._position = 0
        self._end = 0
        self._goal = 0
        self._stopping = False
        lenient.install()
        self._consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            **options,
        )

    @property
    def position(self) -> int:
        """Offset of the next record to handle: everything before it was handled."""
        return self._position

    @property
    def end(self) -> int:
        """Offset the next appended record will get, as of the latest fetch."""
        return max(self._end, self._position)

    async def start(self, offset: int | None = None) -> None:
        """Connect, and begin at an offset.

        Args:
            offset: The first record wanted; None for the first there is.

        Raises:
            LogChangedError: The log doesn't reach back, or up, to that offset.
            KafkaConnectionError: No broker answers.
        """
        await self._consumer.start()
        try:
            self._consumer.assign([self._partition])
            first = (await self._consumer.beginning_offsets([self._partition]))[self._partition]
            self._goal = self._end = (await self._consumer.end_offsets([self._partition]))[self._partition]
            self._position = first if offset is None else offset
            if not first <= self._position <= self._goal:
                held = f"{self._partition.topic} holds offsets {first} to {self._goal}"
                raise LogChangedError(f"{held}; reading was to go on at {self._position}")
            self._consumer.seek(self._partition, self._position)
            self._note_progress()
        except BaseException:
            await self._consumer.stop()
            raise

    async def run(self) -> None:
        """Read until `stop`.

        Raises:
            LogChangedError: The log was cut or made anew while it was read.
        """
        while not self._stopping:
            try:
                batches = await self._consumer.getmany(self._partition, timeout_ms=POLL_MS)
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as exc:
                raise LogChangedError(f"{self._partition.topic} has no offset {self._position} any more") from exc
            for records in batches.values():
                await self._handle(records)
                self._position = records[-1].offset + 1
            await self._pass_over()
            self._end = self._consumer.highwater(self._partition) or self._end
            self._note_progress()

    async def stop(self) -> None:
        """Disconnect; `run` returns."""
        self._stopping = True
        await self._consumer.stop()

    async def _pass_over(self) -> None:
        """All that was fetched is handled; what aiokafka passed over behind it (transaction markers) is no record."""
        if not self._stopping:
            self._position = max(self._position, await self._consumer.position(self._partition))

    def _note_progress(self) -> None:
        if self._position >= self._goal:
            self.caught_up.set()
