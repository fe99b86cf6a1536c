"""When joins come due, what they look like, and which one a decision answers: the pure parts of the open loop.

A run's instants are drawn before it begins, so that nothing which happens in it can move them. They are a Poisson
process: many backends, none of which knows of the others, send joins with gaps that are exponential and independent.
Evenly spaced ones would never come two at a time, and hide what waiting for each other costs.
"""

import random
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import orjson
from aiokafka.partitioner import murmur2

from streams.adapters.geo import shipped
from streams.core import instants
from streams.core.events import LEAVE
from streams.dev.demo import ACCOUNTS
from streams.dev.traffic import Addresses, Traffic

if TYPE_CHECKING:  # in `requirements-bench.lock`; tests of what is pure here do without
    from hdrh.histogram import HdrHistogram

GRAIN: Final = 0.001
"""Seconds between two looks at what is due, at least: finer ones would take more of the shared core than they show."""
MARK: Final = b'"id":"e-'
DIGITS: Final = 9
LONGEST: Final = 60_000_000
"""The greatest latency a histogram keeps, µs."""
TEMPLATES: Final = 20_000


def arrivals(rate: float, seconds: float, rng: random.Random) -> list[float]:
    """The instants of a Poisson process, s from its beginning: gaps are exponential and independent."""
    found, at = [], rng.expovariate(rate)
    while at < seconds:
        found.append(at)
        at += rng.expovariate(rate)
    return found


def looks(due: Sequence[float], grain: float = GRAIN) -> list[tuple[float, int]]:
    """When to look, and how many joins are due by then: as the first of them is, and never twice within the grain."""
    found: list[tuple[float, int]] = []
    upto = 0
    while upto < len(due):
        at = due[upto] if not found else max(due[upto], found[-1][0] + grain)
        while upto < len(due) and due[upto] <= at:
            upto += 1
        found.append((at, upto))
    return found


def number_in(value: bytes) -> int:
    """The number of the join that a decision answers (or that a join is); -1 for anything else."""
    at = value.find(MARK)
    return -1 if at < 0 else int(value[at + len(MARK) : at + len(MARK) + DIGITS])


class Templates:
    """Joins and leaves into which a number is written.

    Args:
        joins: key and value of joins, JSON objects.
        partitions: of the topic.
    """

    def __init__(self, joins: Sequence[tuple[bytes, bytes]], partitions: int) -> None:
        self._joins, self._leaves = [], []
        for key, value in joins:
            event = orjson.loads(value)
            event["id"], event["data"]["participation"] = "e-@@", "p-@@"
            join = orjson.dumps(event).split(b"@@")
            event["id"], event["type"] = "l-@@", LEAVE
            event["data"] = {name: event["data"][name] for name in ("meeting", "account", "participation")}
            leave = orjson.dumps(event).split(b"@@")
            partition = (murmur2(key) & 0x7FFFFFFF) % partitions
            self._joins.append((partition, key, *join))
            self._leaves.append((partition, key, *leave))

    def join(self, number: int) -> tuple[int, bytes, bytes]:
        """Partition, key and value of the join of that number."""
        partition, key, head, middle, tail = self._joins[number % len(self._joins)]
        digits = b"%09d" % number
        return partition, key, b"".join((head, digits, middle, digits, tail))

    def leave(self, number: int) -> tuple[int, bytes, bytes]:
        """The same of the leave of whoever joined with that number."""
        partition, key, head, middle, tail = self._leaves[number % len(self._leaves)]
        digits = b"%09d" % number
        return partition, key, b"".join((head, digits, middle, digits, tail))


def drawn(count: int = TEMPLATES) -> list[tuple[bytes, bytes]]:
    """Key and value of so many joins of the demo's traffic."""
    rng = random.Random(7)
    traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
    made = traffic.batch(count, instants.render(time.time_ns() // 1_000_000))
    return [(each.key, each.value) for each in made if each.kind == "join"]


def histogram(seconds: Iterable[float] = ()) -> "HdrHistogram":
    """Of latencies: in µs, to three digits, up to a minute."""
    from hdrh.histogram import HdrHistogram

    made = HdrHistogram(1, LONGEST, 3)
    for each in seconds:
        made.record_value(min(LONGEST, max(1, round(each * 1e6))))
    return made
