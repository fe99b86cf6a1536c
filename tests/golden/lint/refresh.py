"""The diagnostics, word for word: what `policy lint` says of each file in `cases/`, and of some too odd for a file.

Changed on purpose? Write them again, and read the difference: python -m tests.golden.lint.refresh
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path

from streams.adapters import geo, geofacts
from streams.adapters.iso import vocabulary
from streams.cli.lint import explanation, text
from streams.cli.linting import Report, lint_files
from streams.core.diagnostics import CODES
from streams.core.lint import Given

HERE = Path(__file__).parent
CASES = HERE / "cases"
EXPECTED = HERE / "expected"
NOON = 1_795_262_400_000
"""2026-11-21T12:00:00Z"""
DOCUMENT = {"scope": "account", "account": "clinic-1", "name": "licensing", "revision": 3, "default": "alert"}


def _with_rules(*rules: dict[str, object]) -> bytes:
    return json.dumps({**DOCUMENT, "rules": rules}, indent=1).encode()


def _rule(number: int, **when: list[object]) -> dict[str, object]:
    return {"id": f"rule-{number}", "when": when, "then": "admit"}


MADE = {
    "encoding.json": b'{"scope": "account",\n "note": "caf\xe9"}',
    "too-large.json": b" " * (16 * 2**20 + 1),
    "too-large-document.yaml": b"- 0.0.0.0/0\n" * 1_000_000,
    "too-large-nodes.yaml": b"[" + b"1," * 250_001 + b"]",
    "too-long.json": json.dumps({**DOCUMENT, "note": "x" * 2001}).encode(),
    "too-many.json": json.dumps({**DOCUMENT, "rules": [{}] * 1_000_000}).encode(),
    "too-many-values.json": _with_rules(_rule(0, network=["0.0.0.0/0"] * 200_001)),
    "not-analysed.json": _with_rules(*(_rule(i, asn=[i]) for i in range(1_500))),
}
"""Files that are better made than kept."""


@cache
def given() -> Given:
    """The deployment of all cases: the shipped snapshot and no way to contest."""
    facts, connections = geofacts.given_by([geo.shipped()], vocabulary())
    return Given(NOON, facts, connections, contest=False)


def report_on(file: Path) -> Report:
    return lint_files([file], given(), lambda _: lambda _: None)


def said(report: Report, folder: Path) -> str:
    """A report as text, with the folder left out of it."""
    lines = [line for finding in report.findings for line in text(finding)]
    return "\n".join(lines).replace(f"{folder}/", "")


def reports() -> dict[str, tuple[Report, str]]:
    """For each case by name what is found, and how it reads."""
    found = {}
    for file in sorted(CASES.iterdir()):
        report = report_on(file)
        found[file.name] = report, said(report, CASES)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in MADE.items():
            file = Path(folder, name)
            file.write_bytes(content)
            report = report_on(file)
            found[name] = report, said(report, file.parent)
        pipe = Path(folder, "unreadable.yaml")
        os.mkfifo(pipe)
        report = report_on(pipe)
        found[pipe.name] = report, said(report, pipe.parent)
    return found


def explanations() -> str:
    return "\n\n\n".join("\n".join(explanation(code)) for code in sorted(CODES)) + "\n"


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for name, (_, words) in reports().items():
        (EXPECTED / f"{name}.txt").write_text(words)
    (EXPECTED / "explain.txt").write_text(explanations())
