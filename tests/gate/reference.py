"""What our work is held to where a count or a clock alone would say little: ordinary Python, and the stock JSON codec.

``plain`` is a decision as one would first write it, without three values, reasons or ids. Its instructions are counted
in the same run as ours, so that the relation holds for a Python whose compiler makes more or fewer of the same source.
The JSON codec is timed in the same run as ours, in turns, so that the relation holds for a busy or a slow machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from streams.wire import cloudevents
from tests.gate.counting import undisturbed
from tests.gate.parts import FEW, HERE, value, world

TURNS = 40
CALLS = 100
"""In one turn: some milliseconds, shorter than a scheduler's slice."""


class Guest:
    """Somebody who joins."""

    def __init__(self, name: str, country: str | None, role: str) -> None:
        self.name, self.country, self.role = name, country, role

    def is_in(self, countries: frozenset[str]) -> bool | None:
        return None if self.country is None else self.country in countries


GUESTS = [Guest(f"p-{i}", ("US", "FR", None)[i % 3], ("host", "guest")[i % 2]) for i in range(24)]
RULES = [("admit", frozenset(["US", "CA"])), ("alert", frozenset(["DE"])), ("remove", frozenset(["FR", "NZ"]))]


def plain() -> dict[str, str]:
    """Decide for all guests."""
    said = {}
    for guest in GUESTS:
        verdict = "admit"
        if guest.role != "host":
            for then, countries in RULES:
                truth = guest.is_in(countries)
                if truth:
                    verdict = then
                    break
                if truth is None:
                    verdict = max(verdict, then)
        said[guest.name] = f"{verdict} for {guest.role}"
    return said


def pairs() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """What is timed beside what, by name."""
    raw = value("join")
    made = world(FEW).worded(HERE)
    plain_decision = json.loads(cloudevents.encode(made))

    def both() -> None:
        json.loads(raw)
        json.dumps(plain_decision)

    return {
        "decode / json.loads": (lambda: cloudevents.decode(raw, ()), partial(json.loads, raw)),
        "encode / json.dumps": (lambda: cloudevents.encode(made), partial(json.dumps, plain_decision)),
        "full decide / json.loads + json.dumps": (lambda: world(FEW).full(raw), both),
    }


def clocked(ours: Callable[[], object], theirs: Callable[[], object]) -> float:
    """How much CPU time ours takes beside theirs, the least of many turns of each."""
    with undisturbed():
        _cpu(ours), _cpu(theirs)
        turns = [(_cpu(ours), _cpu(theirs)) for _ in range(TURNS)]
    return min(our for our, _ in turns) / min(their for _, their in turns)


def _cpu(job: Callable[[], object]) -> int:
    before = time.thread_time_ns()
    for _ in range(CALLS):
        job()
    return time.thread_time_ns() - before
