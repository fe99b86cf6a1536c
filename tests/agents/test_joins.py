"""The joins agent on one chunk: what is sent, and when nothing may be."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import pytest
from prometheus_client import CollectorRegistry

from streams.adapters.metrics import Metrics
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.core import address
from streams.core.facts import Facts, settle
from streams.runtime.produce import RecordTooLargeError
from tests.agents.rig import remembering
from tests.samples import NOON, PROVENANCE, VOCABULARY, account, index, rule


class Partition(NamedTuple):
    topic: str = "joins"
    partition: int = 0


class Outbox:
    """Keeps what is added and whether it was sent; refuses large records as a real one does."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.added: list[tuple[str, bytes | None, dict[str, bytes]]] = []
        self.sent = False
        self._limit = limit

    def add(
        self, topic: str, partition: int, key: Any, value: bytes | None, timestamp: Any, headers: list[Any]
    ) -> None:
        if value is not None and len(value) > self._limit:
            raise RecordTooLargeError(topic, partition, len(value), self._limit)
        self.added.append((topic, value, dict(headers)))

    async def send(self, check: Callable[[], None]) -> Counter[str]:
        check()
        self.sent = True
        return Counter(topic for topic, _, _ in self.added)


class Held(Exception):
    """The chunk is held. A real one stays so until its partitions go, and then raises as well."""


class Chunk(SimpleNamespace):
    def check(self) -> None:
        return

    async def hold(self) -> NoReturn:
        self.metrics.seen = (self.metrics.fuse_blown._value.get(), self.metrics.ready._value.get())
        raise Held


def joined(offset: int, text: str = "5.39.0.1", meeting: str = "m-1") -> Any:
    data = {"meeting": meeting, "account": "acme", "participation": f"p-{offset}", "address": text}
    event = {"specversion": "1.0", "type": "doorward.join.v1", "source": "/e", "id": str(offset), "data": data}
    return record(offset, json.dumps(event).encode(), meeting.encode())


def record(offset: int, value: bytes | None, key: bytes | None = b"m-1") -> Any:
    return SimpleNamespace(
        key=key, value=value, headers=(), topic="joins", partition=0, offset=offset, timestamp=NOON, unreadable=None
    )


def locate(text: str) -> Facts:
    if text == "127.0.0.1":
        raise ZeroDivisionError("a fault of our own")
    return settle(VOCABULARY, address=address.parse(text), country="FR")


class Rig:
    def __init__(self, *, share: float = 0.05, sample: int = 100, limit: int = 1 << 20) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.outbox = Outbox(limit)
        decider = Decider(index(account(rules=[rule("remove", {"country": ["FR"]})])), locate, PROVENANCE)
        self.agent = JoinsAgent(
            **remembering(decider, self.metrics),
            outbox=lambda: self.outbox,  # type: ignore[arg-type, return-value]
            clock=lambda: NOON,
            metrics=self.metrics,
            partitions=1,
            max_event_bytes=1 << 20,
            fuse=Fuse(share, sample),
        )

    def answer(self, *records: Any) -> Outbox:
        asyncio.run(self.agent.answer(Chunk(parts={Partition(): list(records)}, metrics=self.metrics)))
        return self.outbox


def test_decisions_and_dead_letters_go_out_together() -> None:
    outbox = Rig().answer(joined(1), record(2, b"{"), joined(3, "nonsense"))
    assert [topic for topic, _, _ in outbox.added] == ["decisions", "joins.dlq", "decisions", "joins.dlq"]
    assert outbox.sent


def test_a_fault_of_our_own_is_a_dead_letter_and_the_rest_goes_on() -> None:
    outbox = Rig().answer(joined(1, "127.0.0.1"), joined(2))
    [(topic, value, headers), (second, _, _)] = outbox.added
    assert (topic, headers["doorward-reason"], headers["doorward-detail"]) == (
        "joins.dlq",
        b"internal",
        b"ZeroDivisionError",
    )
    assert value is not None
    assert second == "decisions"


def test_a_blown_fuse_holds_the_chunk_before_anything_is_sent() -> None:
    rig = Rig(share=0.5, sample=4)
    with pytest.raises(Held):
        rig.answer(joined(1), *(joined(offset, "127.0.0.1") for offset in range(2, 6)))
    assert not rig.outbox.sent
    assert rig.metrics.seen == (1, 0), "while it is held the fuse shows and the worker isn't ready"
    assert (rig.metrics.fuse_blown._value.get(), rig.metrics.ready._value.get()) == (0, 1)
    assert rig.answer(joined(9, "127.0.0.1")).sent, "another sample has begun"


def test_a_record_that_no_batch_holds_leaves_a_stub_that_names_it() -> None:
    raw = b"not json " * 200
    outbox = Rig(limit=1_000).answer(record(7, raw))
    [(topic, value, headers)] = outbox.added
    assert (topic, value) == ("joins.dlq", None)
    assert (headers["doorward-offset"], headers["doorward-size"]) == (b"7", b"1800")
    assert len(headers["doorward-sha256"]) == 64
