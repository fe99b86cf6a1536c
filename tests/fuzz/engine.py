"""Runs targets: gives each its inputs, by number, and says exactly which one went wrong.

A target's ``check`` takes the bytes of one input and returns, or raises whatever was not declared: an exception of the
code under test, or an AssertionError where its answer is wrong. It has a bound on its processor time; what goes on for
ever is ended and counts as a failure too.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from tests.fuzz.inputs import LARGEST, Kind, made

CORPUS: Final = Path(__file__).parent / "corpus"
SEED: Final = "doorward"
_ENDLESS: Final = 8
"""Times a check's bound on processor time after which it is ended."""


class Target(NamedTuple):
    """Something that reads hostile bytes.

    Attributes:
        name: for people, and part of what decides its inputs.
        check: takes one input.
        kind: how its inputs are made.
        corpus: the inputs that others are made from.
        tokens: bytes that mean something to it.
        share: of a run's inputs, in proportion to the other targets'; slow targets have less.
        seconds: of processor time that one check may take.
        largest: bytes of an input.
        apart: whether a check may end the process, so that it runs in another.
    """

    name: str
    check: Callable[[bytes], object]
    kind: Kind
    corpus: Sequence[bytes]
    tokens: Sequence[bytes] = ()
    share: float = 1.0
    seconds: float = 0.25
    largest: int = LARGEST
    apart: bool = False


class Failure(NamedTuple):
    """An input that a target did not stand. ``where`` is the same for inputs that fail in the same way."""

    target: str
    seed: str
    number: int
    data: bytes
    where: str
    trace: str

    def __str__(self) -> str:
        return (
            f"{self.target}, seed {self.seed!r}, input {self.number}: {self.where}\n{self.trace}"
            f"  again:   python -m tests.fuzz --only {self.target} --seed {self.seed} --from {self.number} --inputs 1\n"
            f"  minimal: {self.data!r}"
        )


class _Endless(BaseException):
    """A call was ended; not an Exception, so that the code under test does not take it for one of its own."""


def corpus_of(name: str) -> list[bytes]:
    """The files of a folder of the corpus, by name."""
    return [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]


def input_of(target: Target, seed: str, number: int) -> bytes:
    """The corpus as it stands first, what is made from it after that."""
    if number < len(target.corpus):
        return target.corpus[number]
    return made(f"{seed}/{target.name}", number, target.kind, target.corpus, target.tokens, target.largest)


def run(target: Target, seed: str, numbers: range, done: Callable[[int], None] = lambda _: None) -> Iterator[Failure]:
    """Check inputs; yields each that fails, the first of a kind as small as it could be made. For the main thread only.

    Args:
        target: what to check.
        seed: decides all inputs.
        numbers: of the inputs.
        done: called with the number of each input before it is checked.
    """
    known: set[str] = set()
    for number in numbers:
        done(number)
        data = input_of(target, seed, number)
        if (found := _fault(target, data)) is None:
            continue
        if found[0] not in known:
            known.add(found[0])
            data = _smaller(target, data, found[0])
            found = _fault(target, data) or found
        yield Failure(target.name, seed, number, data, *found)


def _fault(target: Target, data: bytes) -> tuple[str, str] | None:
    """Where and how a check goes wrong, with its trace; None where it does not."""
    before = signal.signal(signal.SIGPROF, _end)
    try:
        took = _timed(target, data)
        if took > target.seconds:  # once may be a collection of garbage that others left
            took = min(_timed(target, data), _timed(target, data))
    except (Exception, _Endless) as exc:
        last = traceback.extract_tb(exc.__traceback__)[-1]
        said = f" ({exc})" if isinstance(exc, AssertionError) and "\n" not in str(exc) else ""
        trace = "".join(traceback.format_exception(exc, limit=-4))[-4000:]
        return f"{type(exc).__name__} in {Path(last.filename).name}, {last.name}{said}", trace
    finally:
        signal.signal(signal.SIGPROF, before)
    return (f"slow: over {target.seconds} s", f"  took {took:.2f} s\n") if took > target.seconds else None


def _timed(target: Target, data: bytes) -> float:
    """Check an input; the seconds of processor time it took. Raises what the check does, and _Endless."""
    signal.setitimer(signal.ITIMER_PROF, _ENDLESS * target.seconds)
    began = time.thread_time()
    try:
        target.check(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return time.thread_time() - began


def _end(signum: int, frame: FrameType | None) -> None:
    raise _Endless


def _smaller(target: Target, data: bytes, where: str, tries: int = 400) -> bytes:
    """An input that fails likewise and has as little in it as a few hundred tries could bring about."""
    if "slow" in where or "_Endless" in where:
        return data
    size = len(data) // 2
    while size and tries:
        at = 0
        while at < len(data) and tries:
            tries -= 1
            shorter = data[:at] + data[at + size :]
            found = _fault(target, shorter)
            if found is not None and found[0] == where:
                data = shorter
            else:
                at += size
        size //= 2
    return data
