"""Write the budgets anew, on purpose: ``python -m tests.gate``. Prints what changed; commit ``budgets.json`` with it.

``--check`` writes nothing and ends with 1 where a part does more than it may.
"""

from __future__ import annotations

import argparse
import sys

from tests.gate import budgets
from tests.gate.counting import count
from tests.gate.parts import PARTS
from tests.gate.reference import clocked, pairs, plain


def main() -> int:
    """0 fine, 1 where ``--check`` found a fault."""
    parser = argparse.ArgumentParser(prog=budgets.COMMAND)
    parser.add_argument("--check", action="store_true")
    told = parser.parse_args()
    works = {name: count(part) for name, part in PARTS.items()}
    loop = count(lambda: plain).instructions
    ratios = {name: clocked(*pair) for name, pair in pairs().items()}
    old = budgets.read() if budgets.TABLE.exists() else {"python": "", "parts": {}, "beside_plain": {}, "clock": {}}
    faults = []
    print(f"Python {budgets.VERSION}; budgets of {old['python'] or 'none'}")
    for name, work in works.items():
        before = old["parts"].get(name)
        was = f" (was {before['instructions']:,}, {before['bytes']:,} B)" if before else ""
        calls = sum(work.calls.values())
        print(f"{name:<48}{work.instructions:>7,} instructions{calls:>5} calls{work.bytes:>8,} B{was}")
        if found := budgets.judged(name, work, loop, old).faults:
            faults.append(budgets.line(name, found))
    for name, ratio in ratios.items():
        print(f"{name:<48}{ratio:>7.2f} times the CPU time (was {old['clock'].get(name)})")
    if told.check:
        print("\n".join(faults) or "within budget", file=sys.stderr)
        return 1 if faults else 0
    budgets.write(budgets.made(works, loop, ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
