"""What a call does, in numbers that are the same on a busy machine: instructions, calls into C, bytes allocated.

How it works. Three runs of the same job, each after it has been warmed up: one under ``sys.settrace`` counts the
bytecode instructions of every Python frame; one under ``sys.setprofile`` counts calls of functions written in C, by
name; one under ``tracemalloc`` takes the most bytes that were allocated at once. Each is repeated and the least counts,
since a cache that fills or a free list that is empty can only add.

What no count sees: how long a function written in C takes, and constructors of types written in C, which are called
without a profile event; what they allocate is in the bytes.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

WARM = 3
REPEATS = 3

Job = Callable[[], object]


class Work(NamedTuple):
    """What one call of a job does.

    Attributes:
        instructions: of bytecode, all Python frames together.
        calls: of functions written in C, by name.
        bytes: the most allocated at once beyond what was there before, the result included.
    """

    instructions: int
    calls: dict[str, int]
    bytes: int


def count(prepare: Callable[[], Job]) -> Work:
    """Count what a job does, which is prepared anew for each run."""
    with undisturbed():
        for _ in range(WARM):
            prepare()()
        instructions = min(_instructions(prepare()) for _ in range(REPEATS))
        calls = min((_calls(prepare()) for _ in range(REPEATS)), key=Counter.total)
        tracemalloc.start()
        try:
            size = min(_bytes(prepare()) for _ in range(REPEATS))
        finally:
            tracemalloc.stop()
    return Work(instructions, dict(sorted(calls.items())), size)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage is collected meanwhile, and nobody else traces."""
    collecting, tracing, profiling = gc.isenabled(), sys.gettrace(), sys.getprofile()
    gc.disable()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.setprofile(profiling)
        sys.settrace(tracing)
        if collecting:
            gc.enable()


def _instructions(job: Job) -> int:
    counted = 0

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal counted
        counted += event == "opcode"
        return local

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return local

    sys.settrace(trace)
    try:
        job()
    finally:
        sys.settrace(None)
    return counted


def _calls(job: Job) -> Counter[str]:
    calls: Counter[str] = Counter()

    def profile(_: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            calls[_name(function)] += 1

    sys.setprofile(profile)
    try:
        job()
    finally:
        sys.setprofile(None)
    calls[_name(sys.setprofile)] -= 1  # the one that ends it
    return +calls


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or repr(type(function))
    return name if module in (None, "builtins") else f"{module}.{name}"


def _bytes(job: Job) -> int:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    kept = job()
    peak = tracemalloc.get_traced_memory()[1]
    del kept
    return peak - before
