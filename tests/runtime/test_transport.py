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
        stays, free = [], asyncio.Event()

        async def stay() -> None:
            stays.append(True)
            if len(stays) == 3:
                free.set()

        consumer = object.__new__(Consumer)  # Faust's has a thread and an application
        consumer.app = SimpleNamespace(source=SimpleNamespace(wait_free=free.wait))
        consumer._thread = SimpleNamespace(stay=stay)
        async with asyncio.timeout(5):
            await consumer._wait_free()
        assert len(stays) == 3

    asyncio.run(main())
