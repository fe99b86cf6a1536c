"""The events of ``scale``, made beforehand: every round gets the very same ones. And its word for growth.

Nothing here knows of brokers or workers.
"""

import math
import random
import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from aiokafka.partitioner import murmur2

from streams.adapters.geo import shipped
from streams.core import instants
from streams.dev.demo import ACCOUNTS
from streams.dev.traffic import Addresses, Traffic

WARM_UP: Final = 20_000
"""Events poured in first: a broker that was started just now is slow for some seconds, the more partitions the more."""
JOIN: Final = "join"
LEAVE: Final = "leave"
STAY: Final = 1_000
"""Others who come before one leaves."""
EVENT: Final = (
    '{"specversion":"1.0","type":"doorward.%s.v1","source":"/edge/eu-1","id":"%s-%022d","time":"2026-11-21T09:30:00Z",'
    '"data":{"meeting":"%s","account":"%s","participation":"p-%016x"%s}}'
)


class Event(NamedTuple):
    """One record of ``joins``, and whether it gets a decision."""

    key: bytes
    value: bytes
    decided: bool = True


class Load(NamedTuple):
    """The demo's traffic in three parts: to warm up with, to be sent at a pace, and at once."""

    warm: list[Event]
    slow: list[Event]
    fast: list[Event]

    @classmethod
    def of(cls, rate: float, seconds: float, events: int) -> "Load":
        """So many events a second for so many seconds, and so many at once."""
        slow = int(rate * seconds)
        made = traffic(WARM_UP + slow + events)
        return cls(made[:WARM_UP], made[WARM_UP : WARM_UP + slow], made[WARM_UP + slow :])


def traffic(events: int, seed: int = 7) -> list[Event]:
    """The demo's traffic: joins and updates, a quarter leaves, a few repeated or malformed."""
    rng = random.Random(seed)
    source, made = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS), []
    while len(made) < events:
        now = instants.render(time.time_ns() // 1_000_000)
        made += [Event(e.key, e.value, e.expect in ("decision", "both")) for e in source.batch(500, now)]
    return made[:events]


def event(kind: str, person: int, account: str, meeting: str) -> Event:
    """Somebody joins or leaves. Addresses are spread over the networks of the world, listed or not."""
    address = f"{1 + person % 200}.{person // 200 % 250}.{person // 50_000 % 250}.9"
    more = f',"address":"{address}"' if kind == JOIN else ""
    value = EVENT % (kind, kind, person, meeting, account, person, more)
    return Event(meeting.encode(), value.encode(), kind == JOIN)


def visits(people: Iterable[tuple[int, str, str]]) -> Iterator[Event]:
    """People join, each with a number, account and meeting, and leave once ``STAY`` others have come."""
    present: deque[tuple[int, str, str]] = deque()
    for person in people:
        yield event(JOIN, *person)
        present.append(person)
        if len(present) > STAY:
            yield event(LEAVE, *present.popleft())
    for person in present:
        yield event(LEAVE, *person)


def decided(events: Iterable[Event]) -> int:
    """How many decisions they get."""
    return sum(event.decided for event in events)


def home(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def tenfold(points: Sequence[tuple[float, Sequence[float]]]) -> float:
    """By how much the median grows while the size grows tenfold, over the whole curve: 1 is constant, 10 linear."""
    (small, first), (large, last) = points[0], points[-1]
    return float((statistics.median(last) / statistics.median(first)) ** (1 / math.log10(large / small)))
