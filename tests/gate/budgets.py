"""The table of what each part may do, and what is said of a part that does more.

``budgets.json`` holds what was counted when somebody last wrote it on purpose (``python -m tests.gate``):

* for the Python it was counted with: of each part instructions, bytes, and calls into C by name. Instructions and
  bytes may rise by ``SLACK``; calls not at all, since one more parse of JSON is one more call. One function may take
  another's place only where fewer are called altogether.
* for every Python: each part's instructions beside those of a plain loop, which may rise by ``FOREIGN_SLACK``.
* ratios of CPU time, which may rise by ``CLOCK_SLACK``.

Less than the budget by more than the slack is good news; it is told, so that the budget is brought down after it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.gate.counting import Work

TABLE = Path(__file__).with_name("budgets.json")
COMMAND = "python -m tests.gate"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SLACK = {"instructions": (1.005, 3), "bytes": (1.03, 64)}
"""How much more is let pass, as a factor and at the least. Counts are the same in every run, so it is not for noise:
it spares whoever makes a small change to something large from writing budgets. One text formatted an event is above."""
FOREIGN_SLACK = 1.3
FEW = 10
"""Instructions that a small part may have more of beside the plain loop, whatever the Python."""
CLOCK_SLACK = 1.5
FLAT_SLACK = 1.01


class Verdict(NamedTuple):
    """What is said of a part, in clauses for people; ``line`` puts them together.

    Attributes:
        faults: what it does too much of.
        news: what it does clearly less of.
    """

    faults: list[str]
    news: list[str]


def line(name: str, clauses: Iterable[str]) -> str:
    """What is said of a part, in one line that names it."""
    return f"{name}: {'; '.join(clauses)}. If that is meant, write new budgets with `{COMMAND}`"


def read() -> dict[str, Any]:
    """The table."""
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))


def made(works: Mapping[str, Work], plain: int, ratios: Mapping[str, float]) -> dict[str, Any]:
    """A table of what was counted and timed just now. What another Python counted has no place beside it."""
    return {
        "python": VERSION,
        "clock": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "beside_plain": {name: round(work.instructions / plain, 3) for name, work in works.items()},
        "parts": {name: work._asdict() for name, work in works.items()},
    }


def write(table: Mapping[str, Any]) -> None:
    """Keep a table; a line for each part, so that a change can be read."""
    lines = (f"  {json.dumps(name)}: {json.dumps(part)}" for name, part in table["parts"].items())
    rest = {key: value for key, value in table.items() if key != "parts"}
    text = json.dumps(rest, indent=1).removesuffix("\n}") + ',\n "parts": {\n' + ",\n".join(lines) + "\n }\n}\n"
    TABLE.write_text(text, encoding="utf-8")


def judged(name: str, work: Work, plain: int, table: Mapping[str, Any]) -> Verdict:
    """What a part did, held to the table.

    Args:
        name: the part's.
        work: counted.
        plain: instructions of the plain loop, counted in the same run.
        table: see ``read``.
    """
    faults: list[str] = []
    news: list[str] = []
    if name not in table["parts"]:
        return Verdict(["it has no budget"], [])
    if table["python"] == VERSION:
        budget = Work(**table["parts"][name])
        for what, (factor, least) in SLACK.items():
            old, new = getattr(budget, what), getattr(work, what)
            if abs(new - old) > max(old * (factor - 1), least):
                into = faults if new > old else news
                into.append(f"{new:,} {what}, and the budget is {old:,} ({new / old - 1:+.1%})")
        rises = ", ".join(_rises(budget.calls, work.calls))
        old, new = sum(budget.calls.values()), sum(work.calls.values())
        if rises or new < old:
            into = faults if new >= old else news
            into.append(f"{new} calls into C, and the budget is {old} ({rises or 'none rose'})")
    old, new = table["beside_plain"][name], work.instructions / plain
    if new > old * FOREIGN_SLACK + FEW / plain:
        faults.append(f"{new:.3f} times the instructions of a plain loop, and the budget is {old}")
    return Verdict(faults, news)


def _rises(budget: Mapping[str, int], calls: Mapping[str, int]) -> Iterator[str]:
    for name, count in calls.items():
        if count > (old := budget.get(name, 0)):
            yield f"{name} {count} times instead of {old}"


def flat(few: str, fewer: Work, more: Work) -> list[str]:
    """What is wrong with a part that is more work beside many documents than beside few; nothing if it is not."""
    return [
        f"{new:,} {what}, but {old:,} for {few!r}: work must not grow with the number of documents"
        for what in ("instructions", "bytes")
        if (new := getattr(more, what)) > (old := getattr(fewer, what)) * FLAT_SLACK
    ]


def slow(name: str, ratio: float, table: Mapping[str, Any]) -> list[str]:
    """What is wrong with a ratio of CPU time; nothing if it is not."""
    most = table["clock"][name] * CLOCK_SLACK
    return [f"{ratio:.2f} times the CPU time, and at most {most:.2f} is let pass"] if ratio > most else []
