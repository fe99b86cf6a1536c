"""Every target: whatever takes bytes from a topic, a file or a person that nobody vouches for.

An input that once failed is kept in ``corpus/found``, in a folder by its target's name, from the day of its mend on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.fuzz import engine, geography, planted, policies, readings, records, signatures
from tests.fuzz.apart import run_apart
from tests.fuzz.engine import Failure, Target


def _with_found(target: Target) -> Target:
    found = sorted((engine.CORPUS / "found" / target.name).glob("*"))
    return target._replace(corpus=[*target.corpus, *(file.read_bytes() for file in found)])


TARGETS: Final[list[Target]] = [
    _with_found(target) for each in (records, readings, policies, signatures, geography) for target in each.TARGETS
]
"""In the order of a run."""


def named(name: str) -> Target:
    """A target by its name; one with a planted fault too."""
    return next(target for target in (*TARGETS, *planted.TARGETS) if target.name == name)


def shared_out(inputs: int, targets: list[Target]) -> list[tuple[Target, int]]:
    """How many of a number of inputs each target has: at least one."""
    whole = sum(target.share for target in targets)
    return [(target, max(1, round(inputs * target.share / whole))) for target in targets]


def failures(target: Target, seed: str, numbers: range, done: Callable[[int], None]) -> Iterator[Failure]:
    """Check inputs of a target, here or in a process of its own."""
    return run_apart(target, seed, numbers) if target.apart else engine.run(target, seed, numbers, done)
