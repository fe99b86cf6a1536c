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
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from streams.core import instants
from streams.core.policy import Mode
from streams.dev.traffic import Made, Traffic

TICK_SECONDS: Final = 0.005
"""How often due records are sent; the open loop's grain."""

LEAST_SHARE: Final = 0.9
"""Of the rate asked for; offered less, a run says nothing about that rate."""

Place = tuple[int, int]
"""(partition, offset) in ``joins``."""


ANSWERS: Final = ("join", "update")
"""Causes of decisions that answer a record; the others come while the call is live."""


class _Data(msgspec.Struct):
    verdict: str
    order: list[int]
    cause: str


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
        reports: place to every report-mode decision that came.
        later: of each record, mode and bytes of what was said because a rule, the clock or the geography changed.
        failed: why records could not be sent, to how many.
        offered: joins that came due and were handed over, with what goes along with them.
        seconds: how long sending took, to the last acknowledgement; 0 while it goes on.
    """

    sent: dict[Place, tuple[Made, float]] = field(default_factory=dict)
    decisions: dict[Place, list[tuple[bytes, float]]] = field(default_factory=dict)
    dead_letters: dict[Place, str] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=20_000))
    in_flight: int = 0
    reports: dict[Place, list[bytes]] = field(default_factory=dict)
    later: dict[Place, list[tuple[Mode, bytes]]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    offered: int = 0
    seconds: float = 0.0

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

    def per_second(self, records: int) -> float:
        """Of so many records sent, how many a second; 0 before sending has ended."""
        return records / self.seconds if self.seconds else 0.0

    def shortcomings(self, rate: float) -> list[str]:
        """What was wrong with the sending itself, one line each.

        Args:
            rate: joins a second that were asked for.
        """
        lines = [f"{count} records were not sent: {reason}" for reason, count in self.failed.items()]
        offered = self.per_second(self.offered)
        if offered < LEAST_SHARE * rate:
            lines.append(f"only {offered:,.0f} joins/s were offered, {rate:,.0f} were asked for")
        return lines

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
        security: how to connect: ``streams.adapters.kafka.Connection.security_options``.
    """

    def __init__(self, bootstrap: str, traffic: Traffic, partitions: int, **security: Any) -> None:
        self.ledger = Ledger()
        self._traffic = traffic
        self._partitions = partitions
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=2, request_timeout_ms=30_000, **security
        )
        self._consumer = AIOKafkaConsumer(
            "decisions",
            "decisions.report",
            "joins.dlq",
            bootstrap_servers=bootstrap,
            group_id=None,
            auto_offset_reset="latest",
            fetch_max_wait_ms=100,
            **security,
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
                self.ledger.offered = made
                for record in self._traffic.batch(due, instants.render(time.time_ns() // 1_000_000)):
                    await self._send(record)
            await asyncio.sleep(TICK_SECONDS)
        await self._producer.flush()
        self.ledger.seconds = time.monotonic() - started

    async def _send(self, record: Made) -> None:
        partition = (murmur2(record.key) & 0x7FFFFFFF) % self._partitions
        at = time.monotonic()
        try:
            future = await self._producer.send("joins", record.value, key=record.key, partition=partition)
        except KafkaError as exc:  # no room for it within the time-out, or no leader
            self.ledger.failed[repr(exc)] += 1
            return
        self.ledger.in_flight += 1
        future.add_done_callback(self._noting(record, at))

    def _noting(self, record: Made, at: float) -> Callable[[Any], None]:
        def note(future: Any) -> None:
            ledger = self.ledger
            ledger.in_flight -= 1
            if future.cancelled():
                ledger.failed["cut short"] += 1
            elif (error := future.exception()) is not None:
                ledger.failed[repr(error)] += 1
            else:
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
                        place = (record.partition, data.order[0])
                        if data.cause in ANSWERS:
                            ledger.note_decision(place, data.verdict, record.value, now)
                        else:
                            ledger.later.setdefault(place, []).append(("enforce", record.value))
                elif partition.topic == "decisions.report":
                    for record in records:
                        data = _peek(record.value).data
                        place = (record.partition, data.order[0])
                        if data.cause in ANSWERS:
                            ledger.reports.setdefault(place, []).append(record.value)
                        else:
                            ledger.later.setdefault(place, []).append(("report", record.value))
                else:
                    for record in records:
                        headers = dict(record.headers)
                        place = (int(headers["doorward-partition"]), int(headers["doorward-offset"]))
                        ledger.dead_letters[place] = headers["doorward-reason"].decode()

    async def settle(self, seconds: float) -> bool:
        """Wait until everything sent has its answer, and all that was said is read; False when it isn't in time."""
        deadline = time.monotonic() + seconds
        while self.ledger.in_flight or self.ledger.missing():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        # Report-mode decisions are acknowledged with the others, but nobody can count on how many there should be.
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True


def percentile(ordered: list[float], share: float) -> float:
    """The value below which a share of the sorted values lies; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
