"""The load generator and the client beside it: sends traffic at a rate and notes what came back for every record.

``Ledger`` is the account: each record sent is known by (partition, offset), which decisions repeat as ``order[0]`` on
the same partition and dead letters in their headers. So nothing has to be matched by guess, and a record without its
answer is a fact.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.partitioner import murmur2

from streams.core import instants
from streams.dev.traffic import Made, Traffic

TICK_SECONDS: Final = 0.005
"""How often due records are sent; the open loop's grain."""

Place = tuple[int, int]
"""(partition, offset) in ``joins``."""


class _Data(msgspec.Struct):
    verdict: str
    order: list[int]


class _Decision(msgspec.Struct):
    """The little of a decision that the ledger needs at once."""

    data: _Data


_peek = msgspec.json.Decoder(_Decision).decode


@dataclass
class Ledger:
    """What was sent and what came back.

    Attributes:
        sent: place to record and the time it was handed to the producer (monotonic seconds).
        decisions: place to every decision that came, as (value, time read).
        dead_letters: place to reason.
        verdicts: decisions read, repeats included.
        kinds: records sent.
        recent: of the latest decisions, when each was known to be of ours and its seconds from sending to reading.
        in_flight: records handed to the producer and not acknowledged.
    """

    sent: dict[Place, tuple[Made, float]] = field(default_factory=dict)
    decisions: dict[Place, list[tuple[bytes, float]]] = field(default_factory=dict)
    dead_letters: dict[Place, str] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=20_000))
    in_flight: int = 0

    def note_sent(self, place: Place, made: Made, at: float) -> None:
        """Note a record that the brokers acknowledged; its decision may have come first."""
        self.sent[place] = (made, at)
        self.kinds[made.kind] += 1
        if place in self.decisions:
            self.recent.append((time.monotonic(), self.decisions[place][0][1] - at))

    def note_decision(self, place: Place, verdict: str, value: bytes, now: float) -> None:
        """Note a decision."""
        self.verdicts[verdict] += 1
        self.decisions.setdefault(place, []).append((value, now))
        if place in self.sent:
            self.recent.append((now, now - self.sent[place][1]))

    def missing(self) -> list[Place]:
        """Places that lack the decision or dead letter they must get."""
        lacking = []
        for place, (made, _) in self.sent.items():
            if (made.expect in ("decision", "both") and place not in self.decisions) or (
                made.expect in ("dead_letter", "both") and place not in self.dead_letters
            ):
                lacking.append(place)
        return lacking

    def wanted(self) -> int:
        """Decisions and dead letters that the records sent so far must get."""
        return len(self.sent) - self.kinds["leave"]

    def latencies(self) -> list[float]:
        """Seconds from sending each record to reading its first decision; sorted."""
        return sorted(
            self.decisions[place][0][1] - at for place, (_, at) in self.sent.items() if place in self.decisions
        )


class Client:
    """A conferencing backend in miniature: sends joins, reads decisions and dead letters.

    Args:
        bootstrap: the brokers.
        traffic: what to send.
        partitions: of ``joins``.
    """

    def __init__(self, bootstrap: str, traffic: Traffic, partitions: int) -> None:
        self.ledger = Ledger()
        self._bootstrap = bootstrap
        self._traffic = traffic
        self._partitions = partitions
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=2, request_timeout_ms=30_000
        )
        self._consumer = AIOKafkaConsumer(
            "decisions",
            "joins.dlq",
            bootstrap_servers=bootstrap,
            group_id=None,
            auto_offset_reset="latest",
            fetch_max_wait_ms=100,
        )

    async def __aenter__(self) -> "Client":
        await self._producer.start()
        await self._consumer.start()
        # `latest` is looked up lazily: settle it before the first record is sent.
        for partition in self._consumer.assignment():
            await self._consumer.position(partition)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._consumer.stop()
        await self._producer.stop()

    async def send(self, rate: float, seconds: float) -> None:
        """Send ``rate`` joins a second, and what goes along with them, open loop: late ticks are made up for."""
        started, made = time.monotonic(), 0
        while (elapsed := time.monotonic() - started) < seconds:
            due = int(elapsed * rate) - made
            if due > 0:
                made += due
                for record in self._traffic.batch(due, instants.render(time.time_ns() // 1_000_000)):
                    await self._send(record)
            await asyncio.sleep(TICK_SECONDS)
        await self._producer.flush()

    async def _send(self, record: Made) -> None:
        partition = (murmur2(record.key) & 0x7FFFFFFF) % self._partitions
        at = time.monotonic()
        future = await self._producer.send("joins", record.value, key=record.key, partition=partition)
        self.ledger.in_flight += 1
        future.add_done_callback(self._noting(record, at))

    def _noting(self, record: Made, at: float) -> Callable[[Any], None]:
        def note(future: Any) -> None:
            ledger = self.ledger
            ledger.in_flight -= 1
            if not future.cancelled() and future.exception() is None:
                sent = future.result()
                ledger.note_sent((sent.partition, sent.offset), record, at)

        return note

    async def _read(self) -> None:
        ledger = self.ledger
        while True:
            batches = await self._consumer.getmany(timeout_ms=200)
            now = time.monotonic()
            for partition, records in batches.items():
                if partition.topic == "decisions":
                    for record in records:
                        data = _peek(record.value).data
                        ledger.note_decision((record.partition, data.order[0]), data.verdict, record.value, now)
                else:
                    for record in records:
                        headers = dict(record.headers)
                        place = (int(headers["doorward-partition"]), int(headers["doorward-offset"]))
                        ledger.dead_letters[place] = headers["doorward-reason"].decode()

    async def settle(self, seconds: float) -> bool:
        """Wait until everything sent has its answer; False when it hasn't in time."""
        deadline = time.monotonic() + seconds
        while self.ledger.in_flight or self.ledger.missing():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True


def percentile(ordered: list[float], share: float) -> float:
    """The value below which a share of the sorted values lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
