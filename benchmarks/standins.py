"""What stands in for parts that a benchmark leaves out, and a collector that is held still."""

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord, TopicPartition


class Parts(NamedTuple):
    """What the joins agent asks of a chunk."""

    parts: dict[TopicPartition, list[ConsumerRecord]]

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def check(self) -> None: ...


class Unkept:
    """The sessions' table, of which nobody reads anything."""

    def add_to(self, outbox: object, changes: object) -> None: ...

    def persist(self, changes: object, acks: object) -> Mapping[int, tuple[int, int]]:
        return {}

    async def foreign_keys(self, spoiled: object) -> Mapping[int, Collection[bytes]]:
        return {}


@contextmanager
def no_garbage_collected() -> Iterator[None]:
    """Nothing here makes cycles worth a pause in the block; whom it would fall on would be chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
