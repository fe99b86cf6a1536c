"""What happens in a run, drawn from its seed: events, documents, and what goes wrong."""

import json
from random import Random
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from tests import samples, stories
from tests.samples import rule

PARTITIONS = range(2)
MEETINGS = ["m-1", "m-2", "m-3", "m-4"]
ADDRESSES = ["5.39.0.1", "8.8.8.8", "8.8.8.8", "no address"]
SPAN = 6.0
"""Seconds in which everything happens that goes wrong."""
REQUESTS = ["produce", "produce", "produce", "commit", "commit", "fetch", "committed", "join"]
KINDS = ["kill", "kill", "stop", "rebalance", "cut", "cut", "mute", "slow", "jam", "compact", "mark"]
MOMENTS = ["asked", "arrived", "answered"]
RULES = [
    [rule("remove", {"country": {"not": ["US"]}}, "elsewhere")],
    [rule("alert", {"network": ["5.39.0.0/16"]}, "line"), rule("remove", {"role": ["guest"]}, "guests")],
    [],
]


class Event(NamedTuple):
    """A record on ``joins``, and when it gets there, seconds."""

    at: float
    partition: int
    key: bytes
    value: bytes


class Fault(NamedTuple):
    """Something goes wrong: what, when, with which worker (by number), and for how long or how much."""

    at: float
    what: str
    worker: int = 0
    value: float = 0.0


class Crash(NamedTuple):
    """A worker dies at its request of a kind, the nth of all workers', at a moment of it."""

    request: str
    moment: str
    nth: int


class Script:
    """A run's script."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        random = self.random = Random(seed)
        self.workers = random.choice([1, 2, 2, 3])
        self.latency = random.choice([0.002, 0.02, 0.1])
        self.most = random.choice([1, 3, 8])  # records of a fetch
        self.large = (1, 4)[seed % 2]  # records of a chunk beside which another may wait
        self.lost_acks = random.choice([0.0, 0.05, 0.2])
        self.events = self._events()
        self.documents = self._documents()
        self.faults = sorted(self._fault() for _ in range(random.choice([0, 1, 2, 4, 6])))
        self.crashes = {
            Crash(random.choice(REQUESTS), random.choice(MOMENTS), random.choice([1, 2, 3, 5, 8, 12, 20]))
            for _ in range(random.choice([0, 1, 2, 4]))
        }

    def _events(self) -> list[Event]:
        random, found = self.random, []
        for number in range(random.randint(3, 9)):
            meeting = random.choice(MEETINGS)
            whose = {"meeting": meeting, "account": "acme", "participation": f"p-{number}"}
            events = stories.events(random, number, whose, ADDRESSES, most=3, chance=0.3)
            at = sorted(random.uniform(0, SPAN) for _ in events)
            key = meeting.encode()
            found += [Event(t, _home(key), key, json.dumps(e).encode()) for t, e in zip(at, events, strict=True)]
        for n in range(random.choice([0, 1, 3])):
            key = random.choice(MEETINGS).encode()
            found.append(Event(random.uniform(0, SPAN), _home(key), key, b"no event %d" % n))
        return sorted(found)

    def _documents(self) -> list[tuple[float, dict[str, Any]]]:
        random, found = self.random, []
        at = sorted(random.choice([0.0, random.uniform(0, SPAN)]) for _ in range(random.randint(1, 4)))
        for revision, t in enumerate(at, 1):
            fields = {"rules": random.choice(RULES), "default": random.choice(["admit", "alert", "remove"])}
            fields |= {"revision": revision, "name": random.choice(["a", "b"])}
            if random.random() < 0.3:
                fields["mode"] = "report"
            if random.random() < 0.5:
                found.append((t, samples.account(**fields)))
            else:
                found.append((t, samples.meeting(meeting=random.choice(MEETINGS), **fields)))
        return found

    def _fault(self) -> Fault:
        random = self.random
        at, worker = random.uniform(0, SPAN), random.randrange(self.workers)
        match random.choice(KINDS):
            case "kill":
                return Fault(at, "kill", worker)
            case "stop":
                return Fault(at, "stop", worker)
            case "cut":  # from every broker; what it had sent arrives late
                return Fault(at, "cut", worker, random.choice([0.5, 2.5, 5.0, 7.0]))
            case "mute":  # from the coordinator alone
                return Fault(at, "mute", worker, random.choice([2.5, 5.0]))
            case "slow":
                return Fault(at, "slow", worker, random.choice([0.5, 1.5]))
            case "jam":  # what it produces arrives late; there is a rebalance meanwhile
                return Fault(at, "jam", worker, random.choice([1.0, 6.5]))
            case what:
                return Fault(at, what)


def _home(key: bytes) -> int:
    """The default partitioner's choice."""
    return int((murmur2(key) & 0x7FFFFFFF) % len(PARTITIONS))
