"""``make sim``: many seeds of the simulation.

    python -m tests.sim [--seeds N] [--from SEED]

Prints each seed that fails, with what it found and how its workers ended; ``--seeds 1 --from SEED`` plays one again, to
the last bit. Ends with 1 where any failed.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.sim.world import Violated, run

_WATCHED = sys.stderr.isatty()


def main() -> int:
    """Run; 0 fine, 1 where a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--from", type=int, default=0, dest="start")
    told = parser.parse_args()
    began, shown, failed = time.perf_counter(), 0.0, 0
    for done, seed in enumerate(range(told.start, told.start + told.seeds), 1):
        try:
            run(seed)
        except Violated as exc:
            failed += 1
            print(f"\r\033[Kseed {seed}: {exc}" if _WATCHED else f"seed {seed}: {exc}", flush=True)
        now = time.perf_counter()
        if now - shown > (0.2 if _WATCHED else 30.0):
            shown, rate = now, done / (now - began)
            line = f"seed {seed:,}  {done / told.seeds:4.0%}  {rate:,.0f}/s  {failed:,} failed"
            print(f"\r\033[K{line}" if _WATCHED else line, end="" if _WATCHED else "\n", file=sys.stderr, flush=True)
    if _WATCHED:
        print("\r\033[K", end="", file=sys.stderr)
    print(f"{told.seeds:,} seeds in {time.perf_counter() - began:,.0f} s: {failed:,} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
