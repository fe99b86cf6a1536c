"""Several polls go for one of Faust's, as long as nothing happens that Faust must see to."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.runtime import transport
from streams.runtime.transport import Consumer

JOINS = {TP("joins", 0)}


class Bare(Consumer):
    """Ours, on as much of Faust's as waits for records; `answers` says what each poll brings."""

    should_stop = False  # a service's property

    def __init__(self, *answers: Any) -> None:
        self.app = SimpleNamespace(client_only=False)
        self.flow_active = True
        self.not_waiting_next_records = asyncio.Event()
        self.active, self.answers, self.polls, self.stays = set(JOINS), list(answers), 0, 0
        self._thread = SimpleNamespace(stay=self._stay)

    async def _stay(self) -> None:
        self.stays += 1

    def _get_active_partitions(self) -> set[TP]:
        return self.active

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        self.polls += 1
        answer = self.answers.pop(0) if self.answers else {}
        return answer() if callable(answer) else answer


async def waited(consumer: Bare) -> Any:
    async with asyncio.timeout(0.5):  # Faust itself sleeps for a second where all partitions are paused
        return await consumer._wait_next_records(timeout=1.0)


def test_polls_that_bring_nothing_of_fausts_go_for_one() -> None:
    async def main() -> None:
        consumer = Bare()
        assert await waited(consumer) == ({}, JOINS)
        assert consumer.polls == transport.POLLS

    asyncio.run(main())


def test_what_is_fausts_is_handed_on_at_once() -> None:
    async def main() -> None:
        consumer = Bare({}, {"topic": ["record"]})
        assert await waited(consumer) == ({"topic": ["record"]}, JOINS)
        assert consumer.polls == 2

    asyncio.run(main())


@pytest.mark.parametrize("change", ["paused", "rebalancing"])
def test_a_rebalance_between_two_of_them_is_seen_at_once(change: str) -> None:
    """If it isn't, Faust sleeps for a second at each, twenty times over: takeovers took five seconds longer."""

    async def main() -> None:
        def overtaken() -> dict[Any, Any]:
            consumer.active.clear() if change == "paused" else setattr(consumer, "flow_active", False)
            return {}

        consumer = Bare({}, overtaken)
        assert await waited(consumer) == ({}, set())
        assert (consumer.polls, consumer.stays) == (2, 1)

    asyncio.run(main())
