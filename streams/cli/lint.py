"""``doorward policy lint``: everything wrong with policy documents, and everything that cannot be meant, at once.

Exit status: 0 where nothing is wrong, 1 on an error (with ``--strict`` on a warning too), 2 on bad usage, 3 where a
file or folder that was named is not there; all others are looked at even so.
"""

import json
import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from streams.adapters import geo, geofacts
from streams.adapters.geomanifest import GeoRefused, place_of, read
from streams.adapters.iso import vocabulary
from streams.cli import console, sarif
from streams.cli.decide import parse_now
from streams.cli.linting import Finding, Report, Tick, lint_files
from streams.core.diagnostics import CODES, Severity
from streams.core.fixes import closest
from streams.core.lint import Given
from streams.settings import Settings

_WIDTH: Final = 88
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "cyan"}


def lint_documents(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE|FOLDER]...", help="Documents, or signed ones (*.jws.json).")
    ] = None,
    geo_files: Annotated[
        list[Path] | None,
        typer.Option("--geo", help="MMDB file of the deployment, repeatable. [env: DOORWARD_GEO or _GEO_MANIFEST]"),
    ] = None,
    now: Annotated[str | None, typer.Option(help="As of this RFC 3339 time instead of the clock.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    as_sarif: Annotated[bool, typer.Option("--sarif", help="One SARIF 2.1.0 log instead of text.")] = False,
    explain: Annotated[str | None, typer.Option(metavar="CODE", help="Say more of one code, with an example.")] = None,
) -> None:
    """Check policy documents: their language, the charter, and rules that can never match.

    Exit status 1 on an error; warnings alone are 0, unless --strict.
    """
    if explain is not None:
        _explain(explain)
        return
    if not paths:
        console.fail("name a file or folder to lint, or --explain CODE", console.BAD_INPUT)
    if as_json and as_sarif:
        console.fail("--json and --sarif exclude one another", console.BAD_INPUT)
    given = _given(geo_files, now)
    with ExitStack() as stack:
        report = lint_files(paths, given, lambda files: _progress(stack, files))
    counted = Counter(finding.severity for finding in report.findings)
    with console.quiet_pipe():
        if as_sarif:
            console.out(json.dumps(sarif.log(report.findings)))
        elif as_json:
            console.out(json.dumps(_summary(report, counted)))
        else:
            colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            for finding in report.findings:
                for line in text(finding, colour=colour):
                    console.out(line)
    for missing in report.missing:
        console.say(f"doorward: {_plainly(missing)}")
    console.say(
        f"{counted['error']:,} errors, {counted['warning']:,} warnings, {counted['note']:,} notes "
        f"in {report.documents:,} documents of {report.files:,} files"
    )
    if report.missing:
        raise typer.Exit(console.UNAVAILABLE)
    if counted["error"] or (strict and counted["warning"]):
        raise typer.Exit(console.FINDING)


def _given(geo_files: list[Path] | None, now: str | None) -> Given:
    """The deployment of the environment and the command line. Ends the command where it cannot be told."""
    settings = console.settings()
    at = parse_now(now)
    try:
        facts, connections = geofacts.given_by(geo_files or _in_use(settings), vocabulary())
    except (geo.GeoUnavailable, GeoRefused) as exc:
        console.fail(f"--geo: {exc}", console.UNAVAILABLE)
    return Given(
        now=time.time_ns() // 1_000_000 if at is None else at,
        facts=facts,
        connections=connections,
        contest=settings.contest is not None,
        limits=settings.limits(),
    )


def _in_use(settings: Settings) -> Sequence[Path]:
    """The geo files that workers with these settings open. Raises GeoRefused, GeoUnavailable."""
    if settings.geo_manifest is None:
        return settings.geo or [geo.shipped()]
    manifest = settings.geo_manifest
    return [place_of(entry, manifest) for entry in read(manifest, vocabulary()).files]


def _progress(stack: ExitStack, files: int) -> Tick:
    """A bar on stderr, if a terminal watches and there is something to wait for."""
    if files < 2 or not sys.stderr.isatty():
        return lambda _: None
    bar = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
    task = bar.add_task("linting", total=files)
    return lambda done: bar.advance(task, done)


def text(finding: Finding, *, colour: bool = False) -> Iterator[str]:
    """A finding as lines for people."""
    head = f"{finding.severity}[{finding.code}]"
    if colour:
        head = typer.style(head, fg=_COLOURS[finding.severity], bold=True)
    yield f"{head}: {_plainly(finding.message)}"
    margin = " " * len(str(finding.at.line))
    yield _plainly(f"{margin}--> {finding.at}" + (f" in {finding.path}" if finding.path else ""))
    if finding.source:
        begin, length = finding.underline
        yield f"{margin} |"
        yield f"{finding.at.line} | {finding.source}"
        yield f"{margin} | {' ' * begin}{'^' * length}"
    for at, what in finding.related:
        yield _plainly(f"{margin} = see: {what} at {at}")
    yield _plainly(f"{margin} = fix: {finding.fix}")
    yield ""


def _plainly(words: str) -> str:
    """Without what a terminal would obey: names and values come from whoever wrote the file."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def _summary(report: Report, counted: Counter[Severity]) -> dict[str, Any]:
    return {
        "findings": [_plain(finding) for finding in report.findings],
        "errors": counted["error"],
        "warnings": counted["warning"],
        "notes": counted["note"],
        "documents": report.documents,
        "files": report.files,
        "missing": report.missing,
    }


def _plain(finding: Finding) -> dict[str, Any]:
    at = finding.at
    return {
        "code": finding.code,
        "severity": finding.severity,
        "file": at.file,
        "line": at.line or None,
        "column": at.column or None,
        "end_line": at.end_line or None,
        "end_column": at.end_column or None,
        "in_payload": at.payload,
        "path": finding.path,
        "message": finding.message,
        "fix": finding.fix,
        "related": [
            {"file": place.file, "line": place.line, "column": place.column, "path": what}
            for place, what in finding.related
        ],
    }


def _explain(code: str) -> None:
    if code not in CODES:
        near = closest(code, CODES)
        hint = f"; did you mean {near}?" if near else ""
        console.fail(
            f"--explain: there is no code {code}{hint} There are: {', '.join(sorted(CODES))}", console.BAD_INPUT
        )
    for line in explanation(code):
        console.out(line)


def explanation(code: str) -> Iterator[str]:
    """All there is to say of one code, as lines."""
    entry = CODES[code]
    yield f"{code} ({entry.severity})"
    yield ""
    yield from textwrap.wrap(entry.text, _WIDTH)
    yield ""
    yield "For example:"
    yield ""
    yield from (f"    {line}" for line in entry.example.split("\n"))
    yield ""
    yield f"To fix it: {entry.fix}."
