"""A poll that waits for the agent."""

import asyncio
from types import SimpleNamespace

import pytest

from streams.runtime import transport
from streams.runtime.transport import Consumer


def test_a_poll_that_waits_for_a_chunk_counts_as_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers may keep a chunk for longer than max_poll_interval."""
    monkeypatch.setattr(transport, "STAY_SECONDS", 0.01)

    async def main() -> None:
        stays, free, positions = [], asyncio.Event(), SimpleNamespace(epoch=1)

        async def stay() -> None:
            stays.append(True)
            if len(stays) == 3:
                positions.epoch = 2  # so that nothing is fetched after the wait
                free.set()

        consumer = object.__new__(Consumer)  # Faust's has a thread and an application
        consumer.app = SimpleNamespace(source=SimpleNamespace(wait_free=free.wait, positions=positions))
        consumer._thread = SimpleNamespace(stay=stay)
        async with asyncio.timeout(5):
            assert await consumer._getmany(set(), 1.0) == {}
        assert len(stays) == 3

    asyncio.run(main())
