"""Runs a target in a process of its own, since what it reads may end the process: the other side is this file too.

The child notes the number of each input in a mapped file before it checks it, so that after a SIGSEGV the input is
known; the next child goes on behind it.
"""

from __future__ import annotations

import mmap
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fuzz.engine import Failure, Target, input_of, run

_WIDTH: Final = 8
ROOT: Final = Path(__file__).parents[2]


def run_apart(target: Target, seed: str, numbers: range) -> Iterator[Failure]:
    """As ``engine.run``; an input that ends its process is a failure too, and left as large as it is."""
    start = numbers.start
    while start < numbers.stop:
        with tempfile.NamedTemporaryFile() as mark:
            mark.write(start.to_bytes(_WIDTH))
            mark.flush()
            command = [sys.executable, "-m", "tests.fuzz.apart", target.name, seed, str(start), str(numbers.stop)]
            with subprocess.Popen([*command, mark.name], cwd=ROOT, stdout=subprocess.PIPE) as child:
                assert child.stdout
                while child.stdout.peek(1):  # type: ignore[attr-defined]  # a pipe of a Popen is buffered
                    yield pickle.load(child.stdout)
            mark.seek(0)
            number = int.from_bytes(mark.read(_WIDTH))
        if child.returncode >= 0:
            if child.returncode:  # an error of the engine's own, which is on standard error
                raise subprocess.CalledProcessError(child.returncode, command)
            return
        where = f"the process ended: {signal.Signals(-child.returncode).name}"
        yield Failure(target.name, seed, number, input_of(target, seed, number), where, "")
        start = number + 1


def _answer(name: str, seed: str, start: int, stop: int, mark: str) -> None:
    from tests.fuzz.targets import named  # the targets know this module

    with open(mark, "r+b") as stream, mmap.mmap(stream.fileno(), _WIDTH) as noted:

        def note(number: int) -> None:
            noted[:] = number.to_bytes(_WIDTH)

        for failure in run(named(name), seed, range(start, stop), note):
            pickle.dump(failure, sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _name, _seed, _start, _stop, _mark = sys.argv[1:]
    _answer(_name, _seed, int(_start), int(_stop), _mark)
