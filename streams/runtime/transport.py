"""Faust's Kafka transport, with the source topics taken out of its hands.

Faust subscribes the source topics like any other, so its assignor, its rebalances, its tables and its commit timer all
apply. But their records never enter its conductor: `Consumer._getmany` takes them out of each poll, and the `Source`
owns their positions. What is overridden and against which lines is listed in `streams/runtime/__init__.py`; each
override has a test in `tests/runtime/test_pinned_faust.py` that fails when the code it leans on changes shape.

All of it runs on the main loop; aiokafka has a loop and a thread of its own (`thread`).
"""

import asyncio
import logging
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, cast

from aiokafka.errors import IllegalStateError, KafkaTimeoutError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.runtime.source import Source
from streams.runtime.thread import ConsumerThread

if TYPE_CHECKING:
    from streams.runtime.application import ChunkedApp

log = logging.getLogger(__name__)

STAY_SECONDS = 5.0
"""How often we count as polling while a chunk keeps the next poll waiting; far below max_poll_interval."""

IDLE_SECONDS = 0.05
"""Pause between two looks when there is nothing to fetch (closed, rebalancing)."""

POLL_ERRORS = IllegalStateError, AssertionError, KafkaTimeoutError
"""What a call to the consumer's thread raises when we were rebalanced or cut off meanwhile."""


class Consumer(driver.Consumer):
    """Faust's consumer, less the records of the source topics."""

    logger = logging.getLogger("faust")
    app: "ChunkedApp"
    _thread: ConsumerThread

    @property
    def source(self) -> Source:
        """The application's source."""
        return self.app.source

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to Faust's topics and the source's."""
        await super().subscribe({*topics, *self.source.topics})

    async def _wait_next_records(
        self,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
    ) -> tuple[Any, Any]:
        """Look again soon when there is nothing to read, during a rebalance or when all partitions are paused.

        Faust would wait for the rebalance's end, or a second after recovery, and would not count as polling meanwhile.
        aiokafka leaves the group of a consumer that doesn't poll for max_poll_interval, and joins again only once it
        does: which with Faust is after the rebalance that is not begun.
        """
        if not self.flow_active or not self._get_active_partitions():
            await asyncio.sleep(IDLE_SECONDS)
            await self._thread.stay()
            return {}, set()
        return cast("tuple[Any, Any]", await super()._wait_next_records(timeout))

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust passes these by name
    ) -> dict[TopicPartition, list[Any]]:
        """Poll, keep the source's records and those of chunked tables' changelogs, return the others to Faust."""
        epoch = self.source.positions.epoch
        await self._wait_free()
        if self.source.positions.epoch != epoch:  # what was active then is another's now
            return {}
        replay = self.app.replay
        # A copy: Faust empties the live set on revocation, and aiokafka reads an empty set as "all partitions".
        active = {TopicPartition(*tp) for tp in active_partitions or ()}
        mine = {partition for partition in active if partition.topic in self.source.topics}
        if not self.source.is_flowing:
            active -= mine
            mine = set()
        active = {partition for partition in active if partition.topic not in replay.topics or replay.is_due(partition)}
        if not self.flow_active or not active:
            await asyncio.sleep(IDLE_SECONDS)
            await self._thread.stay()
            return {}
        if not await self._take_on(mine):
            return {}
        records = await self._poll(active, mine, patience=timeout)
        ours = {
            partition: records.pop(partition) for partition in list(records) if partition.topic in self.source.topics
        }
        if ours:
            self._offer(ours)
        return records

    async def _wait_free(self) -> None:
        """Wait until a poll may begin (see `Source.wait_free`), however long brokers keep the chunk in hand.

        Counted as polling: aiokafka would leave the group, and the chunk would be somebody else's.
        """
        while True:
            try:
                async with asyncio.timeout(STAY_SECONDS):
                    return await self.source.wait_free()
            except TimeoutError:
                await self._thread.stay()

    async def _take_on(self, mine: set[TopicPartition]) -> bool:
        """Begin the source partitions that are new in this epoch; returns whether to go on and fetch.

        Raises:
            Exception: From the application, which could not take them on; the process ends.
        """
        positions = self.source.positions
        epoch = positions.epoch
        fresh = mine - positions.next.keys()
        if not fresh:
            return True
        try:
            offsets = await self._thread.start_offsets(fresh)
        except POLL_ERRORS as exc:
            log.info("taking partitions on was given up: %r", exc)
            await asyncio.sleep(IDLE_SECONDS)
            return False
        return positions.epoch == epoch and await self.source.begin(offsets, self._thread.stay)

    async def _poll(
        self, active: set[TopicPartition], mine: set[TopicPartition], patience: float
    ) -> dict[TopicPartition, list[Any]]:
        """Fetch, with our own seeks first, and apply what is of changelogs. Drops the records of an epoch that ended.

        Raises:
            DamagedFilesError: A table's files can't take the records; the process ends.
        """
        positions, replay = self.source.positions, self.app.replay
        epoch = positions.epoch
        logs = {partition for partition in active if partition.topic in replay.topics}
        try:
            seeks = positions.take_rewinds(mine) | replay.seeks(epoch, logs)
            fetched = await self._thread.fetch(active, patience, seeks)
        except POLL_ERRORS as exc:
            log.info("poll given up: %r", exc)
            self._distrust(epoch, mine | logs)
            await asyncio.sleep(IDLE_SECONDS)
            return {}
        except BaseException:  # Faust cancels its fetcher: the fetch goes on without us, and its records are lost
            self._distrust(epoch, mine | logs)
            raise
        records = dict(fetched.records)
        replayed = {partition: records.pop(partition) for partition in logs & records.keys()}
        if positions.epoch != epoch:  # the new epoch begins with seeks of its own
            return {partition: part for partition, part in records.items() if partition.topic not in self.source.topics}
        for partition in mine & fetched.reached.keys():
            positions.skip(partition, fetched.reached[partition])
        if self.flow_active:
            replay.apply(replayed, fetched.reached)
        else:
            replay.distrust(replayed)
        return records

    def _distrust(self, epoch: int, partitions: set[TopicPartition]) -> None:
        """Records of these may have been read and lost; a later epoch trusts nothing of this one anyhow."""
        if self.source.positions.epoch == epoch:
            self.source.positions.distrust(partitions)
            self.app.replay.distrust(partitions)

    async def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of each log; see `ConsumerThread.bounds`."""
        return await self._thread.bounds(partitions)

    def _offer(self, records: dict[TopicPartition, list[Any]]) -> None:
        """Hand on what is still wanted; the rest is read again."""
        source = self.source
        wanted = {}
        for partition, fetched in records.items():
            if self.flow_active and source.is_flowing and partition in self._active_partitions:
                wanted[partition] = fetched
            else:
                source.counts.dropped += len(fetched)
                source.positions.distrust([partition])
        if wanted:
            source.offer(wanted, {partition: self._thread.highwater(partition) for partition in wanted})

    def lag(self) -> dict[TopicPartition, int]:
        """Records known to be in each owned source partition that are not finished yet. Any thread may ask."""
        lags = {}
        for partition, done in self.source.positions.done.copy().items():
            try:
                highwater = self._thread.highwater(partition)
            except (IllegalStateError, AssertionError, AttributeError):  # being revoked just now
                continue
            if highwater is not None:
                lags[partition] = max(0, highwater - done)
        return lags

    async def wait_empty(self) -> None:
        """Faust calls this on revocation and on stop: finish the chunk in hand, then commit."""
        await self.source.drain()
        await super().wait_empty()
        if self.source.positions.committable():  # its commit may have waited for one that began before the drain
            await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Everything is revoked (the protocol is eager): drain and commit, then end the epoch."""
        try:
            await super().on_partitions_revoked(revoked)
        finally:
            self.source.forget()

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit Faust's own topics, then what is finished of the source.

        The outputs of a finished chunk are acknowledged, so no flush comes between. The thread drops partitions no
        longer assigned; the broker refuses a commit of a generation that is over.
        """
        committed: bool = await super().force_commit(topics, start_new_transaction)
        positions, counts = self.source.positions, self.source.counts
        epoch, offsets = positions.epoch, positions.committable()
        if offsets:
            if await self._commit(offsets):
                positions.confirm(epoch, offsets)
                counts.commits += 1
                committed = True
            else:
                counts.commit_failures += 1
        return committed


class Transport(driver.Transport):
    """Makes our consumer."""

    Consumer = Consumer
