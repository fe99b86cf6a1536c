"""What stands where aiokafka stands: requests that take time, and the consumer, producer and disk of one worker.

A request has three moments: asked, arrived (it has had its effect), answered. Its worker can die at each. What it had
asked for may arrive nonetheless, however late: that is what makes a zombie.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaTimeoutError, NotLeaderForPartitionError
from aiokafka.structs import TopicPartition

from streams.runtime.store import Mark
from tests.sim.brokers import Brokers

if TYPE_CHECKING:
    from tests.sim.world import World

Result = TypeVar("Result")


class Gone(BaseException):
    """The worker is dead; nothing of it may have an effect."""


class Link:
    """A worker's connection to the brokers.

    Attributes:
        cut, muted, jammed: until when nothing, nothing for the coordinator, and nothing produced gets through.
        slow, slow_until: seconds added to each request, and until when.
    """

    def __init__(self, world: "World", worker: Any) -> None:
        self._world = world
        self._worker = worker
        self.cut = self.muted = self.jammed = self.slow = self.slow_until = 0.0

    def delay(self, *, coordinator: bool = False) -> float:
        """How long a message takes that is sent now."""
        world = self._world
        now = world.loop.time()
        until = max(self.cut, self.muted) if coordinator else self.cut
        slow = self.slow if now < self.slow_until else 0.0
        return max(0.0, until - now) + world.random.expovariate(1 / world.script.latency) + slow * world.random.random()

    def ask(self, request: str, effect: Callable[[], Result], *, at: float | None = None) -> "asyncio.Future[Result]":
        """Send a request; the future is its answer, which may never come."""
        world, worker, loop = self._world, self._worker, self._world.loop
        if not worker.alive:
            raise Gone
        answered: asyncio.Future[Result] = loop.create_future()
        coordinator = request in ("heartbeat", "commit", "join")

        def arrive() -> None:
            if not worker.alive and world.random.random() < 0.5:
                return  # it had not left the machine
            try:
                result = effect()
            except Exception as exc:
                loop.call_later(self.delay(), answer, None, exc)
                return
            world.moment(worker, request, "arrived")
            loop.call_later(self.delay(coordinator=coordinator), answer, result, None)

        def answer(result: Any, exc: Exception | None) -> None:
            if worker.alive and not answered.done():
                if exc is None:
                    answered.set_result(result)
                else:
                    answered.set_exception(exc)
                world.moment(worker, request, "answered")

        due = at if at is not None else loop.time() + self.delay(coordinator=coordinator)
        loop.call_at(due, arrive)
        world.moment(worker, request, "asked")
        return answered


class Place:
    """Where the consumer stands in a partition; what aiokafka keeps of it."""

    has_valid_position = True

    def __init__(self, position: int) -> None:
        self.position = position
        self.highwater: int | None = None


class Client:
    """The part of an AIOKafkaConsumer that `ConsumerThread` uses, its fetcher and its subscription."""

    def __init__(self, world: "World", worker: Any, link: Link) -> None:
        self._world, self._worker, self._link = world, worker, link
        self._brokers: Brokers = world.brokers
        self._fetcher = SimpleNamespace(_subscriptions=self)
        self.subscription = SimpleNamespace(assignment=self)
        self._fetch_count = 0
        self.places: dict[TopicPartition, Place] = {}
        self.generation = -1

    @property
    def tps(self) -> set[TopicPartition]:
        return set(self.places)

    def state_value(self, tp: TopicPartition) -> Place:
        return self.places[tp]

    def fetch_context(self) -> Any:
        return nullcontext()

    def assign(self, tps: Collection[TopicPartition]) -> None:
        """As Faust leaves it after a rebalance: at the committed offsets, or at the beginning."""
        self.places = {tp: Place(self._brokers.committed.get(tp, 0)) for tp in tps}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp not in self.places:
            raise IllegalStateError(f"No current assignment for partition {tp}")
        self.places[tp].position = offset

    async def committed(self, tp: TopicPartition) -> int | None:
        return await self._link.ask("committed", lambda: self._brokers.committed.get(tp))

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._link.ask("ends", lambda: {tp: self._brokers.log(*tp).end for tp in tps})

    async def commit(self, offsets: Mapping[TopicPartition, Any]) -> None:
        generation = self.generation
        plain = {tp: each.offset for tp, each in offsets.items()}
        if not await self._link.ask("commit", lambda: self._brokers.commit(self._worker, generation, plain)):
            raise CommitFailedError

    async def fetch(self, active: Collection[TopicPartition], patience: float) -> dict[TopicPartition, list[Any]]:
        """What is there of some partitions, or comes within a while."""
        world, deadline = self._world, self._world.loop.time() + patience
        if world.random.random() < 0.01:
            raise KafkaTimeoutError
        await self._link.ask("fetch", lambda: None)
        while True:
            found: dict[TopicPartition, list[Any]] = {}
            for tp in sorted(active):
                place = self.places.get(tp)
                if place is None:  # taken away meanwhile
                    continue
                log = self._brokers.log(*tp)
                rows, position = log.read(place.position, world.script.most)
                place.position, place.highwater = max(position, place.position), log.end
                if rows:
                    found[tp] = rows
            if found or world.loop.time() >= deadline:
                return found
            try:
                async with asyncio.timeout_at(deadline):
                    await self._brokers.news.wait()
            except TimeoutError:
                return {}


class Batch:
    """Three records at most."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, Any, Any]] = []

    def append(self, *, timestamp: Any, key: Any, value: Any, headers: Any) -> object | None:
        if len(self.rows) == 3:
            return None
        self.rows.append((key, value, headers))
        return self

    def size(self) -> int:
        return len(self.rows)

    def record_count(self) -> int:
        return len(self.rows)

    def close(self) -> None:
        pass


class Producer:
    """The part of an AIOKafkaProducer that `Outbox` uses. Batches of a partition arrive in the order they were sent."""

    def __init__(self, world: "World", link: Link) -> None:
        self._world, self._link = world, link
        self._free: dict[tuple[str, int], float] = {}

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        world, fate = self._world, self._world.random.random() / max(self._world.script.lost_acks, 1e-9)
        if fate < 0.2:
            raise NotLeaderForPartitionError

        def effect() -> Any:
            if 0.2 <= fate < 0.4:
                raise NotLeaderForPartitionError
            offset = world.brokers.append(topic, partition, batch.rows, world.now())
            if 0.4 <= fate < 0.7:  # the acknowledgement is lost, and the outbox learns of no more
                raise KafkaTimeoutError
            if 0.7 <= fate < 1:  # or aiokafka has sent the batch again
                offset = world.brokers.append(topic, partition, batch.rows, world.now())
            return SimpleNamespace(offset=offset)

        link, now = self._link, world.loop.time()
        due = max(self._free.get((topic, partition), 0.0), link.jammed, now) + link.delay()
        self._free[topic, partition] = due
        return link.ask("produce", effect, at=due)


class Disk:
    """What `PartitionStore` is to a table: rows and a mark, written together; they outlive the process."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[dict[bytes, bytes], Mark]] = {}
        self.rebuilt = 0


class Files:
    """A process's view of its disk."""

    def __init__(self, disk: Disk, is_alive: Callable[[], bool]) -> None:
        self._disk, self._is_alive = disk, is_alive
        self._open: set[int] = set()

    @property
    def marks(self) -> dict[int, Mark]:
        return {partition: self._disk.kept[partition][1] for partition in self._open}

    def open(self, partition: int, flaw: Callable[[Mark, bool], str | None], now: int) -> Mark:
        kept = self._disk.kept
        if partition in kept and flaw(kept[partition][1], partition not in self._open) is not None:
            self.discard(partition, "")
        kept.setdefault(partition, ({}, Mark(-1, 0, now)))
        self._open.add(partition)
        return kept[partition][1]

    def keep(self, partitions: Collection[int]) -> None:
        self._open &= set(partitions)

    def discard(self, partition: int, reason: str) -> None:
        del self._disk.kept[partition]
        self._open.discard(partition)
        self._disk.rebuilt += 1

    def write(self, partition: int, rows: Iterable[tuple[bytes, bytes | None]], mark: Mark) -> None:
        if not self._is_alive():
            raise Gone
        if partition not in self._open:
            raise KeyError(partition)
        kept = self._disk.kept[partition][0]
        for key, value in rows:
            if value is None:
                kept.pop(key, None)
            else:
                kept[key] = value
        self._disk.kept[partition] = kept, mark

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self._disk.kept[partition][0]):
            if partition not in self._open:
                raise KeyError(partition)
            yield key, self._disk.kept[partition][0][key]

    def persisted_offset(self, tp: Any) -> int | None:
        mark = self.marks.get(tp.partition)
        return mark.offset if mark is not None and mark.offset >= 0 else None
