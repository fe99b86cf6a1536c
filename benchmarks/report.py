"""Where results are kept: as measured in ``results/NAME.json``, its plot in ``NAME.svg``, its table in RESULTS.md.

    python -m benchmarks.report

writes the tables of RESULTS.md anew from the files, each between its two markers (``<!-- NAME -->``, ``<!-- /NAME
-->``); what is between sections is written by hand and stays. A benchmark does so too when it is told to ``--record``.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
PAGE: Final = HERE / "RESULTS.md"


def commit() -> str:
    """The commit measured, short; with ``+`` where ``streams`` differs from it."""
    named = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    differs = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "streams"]).returncode
    return named + "+" * bool(differs)


def machine() -> str:
    """Processor, cores and Python."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = model[1] if model else platform.processor()
    return f"{len(os.sched_getaffinity(1))} vCPU of {name}, Python {platform.python_version()}"


def spread(values: Sequence[float], form: str = ",.2f") -> str:
    """Median (least to most)."""
    if len(values) == 1:
        return format(values[0], form)
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def command() -> str:
    """The command line as somebody else would type it: paths as names."""
    module = sys.modules["__main__"].__spec__
    words = [module.name.removesuffix(".__main__") if module else Path(sys.argv[0]).name, *sys.argv[1:]]
    return "python -m " + " ".join(Path(word).name if word.startswith("/") else word for word in words)


def record(
    name: str,
    question: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str] = (),
    figures: Any = None,
    plot: Callable[[Path], None] | None = None,
) -> None:
    """Keep a result, draw its plot, and renew the page.

    Args:
        name: of the files: letters, digits, dashes.
        question: what was asked, one sentence.
        columns: heads of the table.
        rows: cells, as they are to be read.
        notes: sentences below the table: what was not as it should be, what ratios say.
        figures: the measurements themselves, for JSON.
        plot: writes the picture to the path it is given (``benchmarks.plots``).
    """
    RESULTS.mkdir(exist_ok=True)
    kept = {
        "question": question,
        "command": command(),
        "commit": commit(),
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "notes": list(notes),
        "plot": plot is not None,
        "figures": figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if plot is not None:
        plot(RESULTS / f"{name}.svg")
    renew()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(name: str, kept: dict[str, Any]) -> str:
    """What stands between the markers of a result."""
    parts = [
        f"{kept['question']}\n`{kept['command']}`, commit {kept['commit']}, {kept['date']}, {kept['machine']}:",
        table(kept["columns"], kept["rows"]),
        *kept["notes"],
        *([f"![{name}](results/{name}.svg)"] if kept["plot"] else []),
    ]
    return f"<!-- {name} -->\n" + "\n\n".join(parts) + f"\n<!-- /{name} -->"


def renewed(page: str, results: dict[str, dict[str, Any]]) -> str:
    """The page with each result's section; one that has no place yet comes last."""
    for name, kept in sorted(results.items()):
        between = re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- /{re.escape(name)} -->", re.DOTALL)
        text = section(name, kept)
        if between.search(page):
            page = between.sub(lambda _, text=text: text, page)
        else:
            page = f"{page.rstrip()}\n\n## {name}\n{text}\n"
    return page


def kept_results() -> dict[str, dict[str, Any]]:
    """All that is kept, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def renew() -> None:
    """Write the tables of the page anew."""
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), kept_results()), encoding="utf-8")


if __name__ == "__main__":
    renew()
