"""The memory of a joins agent, without a broker: real keeper and sweeper, and a table that keeps what is persisted."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core.sessions import Sessions
from streams.runtime.produce import Acks
from streams.runtime.tables import Changes
from tests.samples import NOON

HOUR = 3_600_000
KEY = bytes(range(64))


class MemoryTable:
    """What the session table does, as far as an agent sees it."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[bytes, bytes]] = {}

    def add_to(self, outbox: Any, changes: Changes) -> None:
        """Nothing is sent."""

    def persist(self, changes: Changes, acks: Acks) -> Mapping[int, tuple[int, int]]:
        """Keep the changes; nobody else writes."""
        for partition, rows in changes.partitions():
            kept = self.kept.setdefault(partition, {})
            for key, value in rows.items():
                if value is None:
                    kept.pop(key, None)
                else:
                    kept[key] = value
        return {}

    async def foreign_keys(self, spoiled: Mapping[int, tuple[int, int]]) -> Mapping[int, Collection[bytes]]:
        """Never called: `persist` finds nothing."""
        raise AssertionError(spoiled)

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """What was kept."""
        return iter(sorted(self.kept.get(partition, {}).items()))


def keeper_of(decider: Decider, metrics: Metrics, sealer: Sealer | None = None) -> SessionKeeper:
    """A keeper of partition 0."""
    keeper = SessionKeeper(decider, sealer or Sealer([KEY]), metrics, lateness=6 * HOUR, ttl=24 * HOUR, remind=30_000)
    keeper.views[0] = Sessions()
    return keeper


def remembering(decider: Decider, metrics: Metrics) -> dict[str, Any]:
    """What a JoinsAgent needs besides."""
    keeper = keeper_of(decider, metrics)
    sweeper = Sweeper(decider, keeper, metrics, clock=lambda: NOON, ask_turn=lambda: None, finished=lambda: None)
    return {"keeper": keeper, "sweeper": sweeper, "table": MemoryTable()}
