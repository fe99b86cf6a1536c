"""``make fuzz``: hostile inputs for everything that reads bytes from elsewhere, a million of them unless told.

    python -m tests.fuzz [--inputs N] [--seed SEED] [--only TARGET]... [--from NUMBER]

The inputs are shared out among the targets. Of each kind of failure the first is printed, with how to see it again. The
next run goes on where this one ended with ``--from``, which every target counts from. Ends with 1 where anything
failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.engine import SEED, Target
from tests.fuzz.targets import TARGETS, failures, shared_out

_WATCHED = sys.stderr.isatty()


class _Progress:
    """A line that is written over, where a terminal watches."""

    def __init__(self, target: Target, numbers: range) -> None:
        self.name, self.numbers, self.shown = target.name, numbers, 0.0

    def __call__(self, number: int) -> None:
        if _WATCHED and time.perf_counter() - self.shown > 0.2:
            self.shown = time.perf_counter()
            part = (number - self.numbers.start) / len(self.numbers)
            print(f"\r\033[K{self.name} {part:4.0%}  input {number:,}", end="", file=sys.stderr, flush=True)


def _say(text: object) -> None:
    if _WATCHED:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(text, flush=True)


def main() -> int:
    """Run; 0 fine, 1 where something failed, 2 for wrong arguments."""
    told = _arguments()
    failed: Counter[str] = Counter()
    began, seen = time.perf_counter(), 0
    for target, inputs in shared_out(told.inputs, [t for t in TARGETS if not told.only or t.name in told.only]):
        numbers, at = range(told.start, told.start + inputs), time.perf_counter()
        for failure in failures(target, told.seed, numbers, _Progress(target, numbers)):
            kind = f"{failure.target}: {failure.where}"
            failed[kind] += 1
            if failed[kind] == 1:
                _say(failure)
        seen += inputs
        _say(
            f"{target.name:<12} {inputs:>9,} inputs {inputs / (time.perf_counter() - at):>9,.0f}/s  from {told.start:,}"
        )
    took = time.perf_counter() - began
    _say(f"{seen:,} inputs in {took:,.0f} s, seed {told.seed!r}: {sum(failed.values()):,} failed")
    for kind, times in failed.items():
        _say(f"{times:>9,}  {kind}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for all targets together (default: a million)")
    parser.add_argument("--seed", default=SEED, help="decides every input (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=[t.name for t in TARGETS], metavar="TARGET")
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="NUMBER", help="of each target's first")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
