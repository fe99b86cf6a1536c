"""What the simulated brokers are: logs with offsets, the group's coordinator, and the requests that reach them.

Nothing here is Doorward's. It does what Kafka promises and no more: a log keeps the order it took records in, offsets
rise and may have gaps, compaction keeps the last record of each key, an acknowledged record stays. The group is the
eager one: whoever joins or goes, all give up everything and join again; a member not heard from is dropped; a commit
counts only from a member of the present generation.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, NamedTuple

from aiokafka.structs import TopicPartition

SESSION_SECONDS = 3.0
REBALANCE_SECONDS = 4.0
"""How long the coordinator waits for members to join again."""


class Row(NamedTuple):
    """A record as a consumer has it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp: int


class Log:
    """A partition."""

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.rows: list[Row] = []
        self.end = 0

    def append(self, key: bytes | None, value: bytes | None, headers: Any, timestamp: int) -> int:
        offset, self.end = self.end, self.end + 1
        self.rows.append(Row(*self.tp, offset, key, value, headers or (), timestamp))
        return offset

    def mark(self) -> None:
        """Take an offset for what is no record, as a transaction's marker does."""
        self.end += 1

    def read(self, position: int, most: int) -> tuple[list[Row], int]:
        """Some records from a position on, and where the next read begins."""
        begin = bisect_left(self.rows, position, key=lambda row: row.offset)
        found = self.rows[begin : begin + most]
        return found, self.end if begin + most >= len(self.rows) else found[-1].offset + 1

    def compact(self) -> None:
        """Keep the last record of each key; the log's last record stays in any case, and tombstones do."""
        last = {row.key: row.offset for row in self.rows}
        self.rows = [row for row in self.rows if last[row.key] == row.offset]


class Group:
    """The coordinator.

    Attributes:
        generation: rises with each assignment.
        accepts_any: planted; commits of any generation count.
    """

    def __init__(self, random: Random, partitions: Collection[int]) -> None:
        self.generation = 0
        self.accepts_any = False
        self._random = random
        self._partitions = list(partitions)
        self._heard: dict[Any, float] = {}  # members
        self._joining: dict[Any, asyncio.Future[tuple[int, set[int]]]] = {}
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_stable(self) -> bool:
        return self._deadline is None

    def join(self, member: Any) -> "asyncio.Future[tuple[int, set[int]]]":
        """Resolved with the generation and the partitions, once all members have joined or run out of time."""
        loop = asyncio.get_running_loop()
        self._heard[member] = loop.time()
        joined = self._joining[member] = loop.create_future()
        self._prepare()
        if self._joining.keys() >= self._heard.keys():
            loop.call_soon(self._complete)
        return joined

    def leave(self, member: Any) -> None:
        self._heard.pop(member, None)
        self._joining.pop(member, None)
        self._prepare()

    def heartbeat(self, member: Any, generation: int) -> str:
        """What a member is told."""
        if member not in self._heard or generation != self.generation:
            return "unknown"
        self._heard[member] = asyncio.get_running_loop().time()
        return "fine" if self.is_stable else "rebalancing"

    def may_commit(self, member: Any, generation: int) -> bool:
        return self.accepts_any or (member in self._heard and generation == self.generation)

    def look(self) -> None:
        """Drop members not heard from."""
        now = asyncio.get_running_loop().time()
        for member, heard in list(self._heard.items()):
            if now - heard > SESSION_SECONDS and (member not in self._joining or not member.alive):
                self.leave(member)

    def rebalance(self) -> None:
        """As when somebody joins who goes at once."""
        self._prepare()

    def _prepare(self) -> None:
        if self.is_stable and self._heard:
            self._deadline = asyncio.get_running_loop().call_later(REBALANCE_SECONDS, self._complete)

    def _complete(self) -> None:
        if self._deadline is None or (not self._joining and self._heard and not self._is_over()):
            return
        self._deadline.cancel()
        self._deadline, joining, self._joining = None, self._joining, {}
        self._heard = {member: self._heard[member] for member in joining}
        self.generation += 1
        members = list(joining)
        self._random.shuffle(members)
        given: dict[Any, set[int]] = {member: set() for member in members}
        for n, partition in enumerate(self._partitions):
            if members:
                given[members[n % len(members)]].add(partition)
        now = asyncio.get_running_loop().time()
        for member, joined in joining.items():
            self._heard[member] = now
            if not joined.done():
                joined.set_result((self.generation, given[member]))

    def _is_over(self) -> bool:
        return self._deadline is not None and self._deadline.when() <= asyncio.get_running_loop().time()


class Brokers:
    """All logs, and what is committed.

    Args:
        random: decides whatever the brokers are free to do.
        partitions: of each topic.
        appended: told of each record that is not of ``joins``.
        committing: asked before a commit counts; what was committed until then, and what would be.
    """

    def __init__(
        self,
        random: Random,
        partitions: Collection[int],
        appended: Callable[[Row], None],
        committing: Callable[[TopicPartition, int, int], None],
    ) -> None:
        self.logs: dict[TopicPartition, Log] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.group = Group(random, partitions)
        self.news = asyncio.Event()  # pulsed with each record
        self._appended = appended
        self._committing = committing

    def log(self, topic: str, partition: int) -> Log:
        tp = TopicPartition(topic, partition)
        return self.logs.get(tp) or self.logs.setdefault(tp, Log(tp))

    def append(self, topic: str, partition: int, rows: Collection[tuple[Any, Any, Any]], timestamp: int) -> int:
        """Take records; returns the first one's offset."""
        log = self.log(topic, partition)
        base = log.end
        for key, value, headers in rows:
            log.append(key, value, headers, timestamp)
            self._appended(log.rows[-1])
        self.news.set()
        self.news.clear()
        return base

    def commit(self, member: Any, generation: int, offsets: Mapping[TopicPartition, int]) -> bool:
        if not self.group.may_commit(member, generation):
            return False
        for tp, offset in offsets.items():
            self._committing(tp, self.committed.get(tp, 0), offset)
            self.committed[tp] = offset
        return True
