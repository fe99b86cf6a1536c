"""``doorward policy explain``: why joins get the verdict they get, document by document, rule by rule."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from streams.cli import console
from streams.cli.decide import open_geo, opened, parse_now, read_event, read_index
from streams.core.address import BadAddress
from streams.core.events import LeaveEvent
from streams.core.explain import ConditionStep, Explanation, explain
from streams.core.facts import NOTHING_KNOWN
from streams.wire.cloudevents import Malformed


def explain_joins(
    policies: Annotated[Path, typer.Option(help="Folder of unsigned documents, read recursively.", show_default=False)],
    joins: Annotated[str, typer.Option(help="Joins as JSON lines; - is stdin.", show_default=False)] = "-",
    geo_files: Annotated[list[Path] | None, typer.Option("--geo", help="MMDB file, repeatable.")] = None,
    now: Annotated[str | None, typer.Option(help="As of this RFC 3339 time instead of the clock.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a join.")] = False,
) -> None:
    """Explain the verdict on each join: the rules tried, each condition true, false or open, and who won."""
    settings = console.settings()
    at = parse_now(now)
    index = read_index(policies, settings, unsigned=True)
    geography = open_geo(geo_files)
    with opened(joins) as lines, console.quiet_pipe():
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = read_event(line.rstrip(b"\r\n"), number, settings.max_event_bytes)
            except Malformed as exc:
                console.fail(f"--joins: line {number}: {exc}", console.BAD_INPUT)
            if isinstance(event, LeaveEvent):
                continue
            try:
                facts = geography.facts(event.data.address)
            except BadAddress:
                facts = NOTHING_KNOWN
            instant = time.time_ns() // 1_000_000 if at is None else at
            made = explain(index, event.data, facts, instant, rosters=True)
            if as_json:
                console.out(msgspec.json.encode(made))
            else:
                for written in _lines(number, made):
                    console.out(written)


def _lines(number: int, made: Explanation) -> list[str]:
    by = f" by {made.decided_by}" if made.decided_by else ": no document in force reaches it"
    lines = [f"line {number}: {made.verdict}{by}"]
    for step in made.documents:
        how = f"rule {step.rule!r}" if step.rule is not None else step.outcome
        marks = ", capped by the charter" if step.capped else ""
        report = ", report mode" if step.mode == "report" else ""
        lines.append(f"  {step.policy} revision {step.revision}: {step.verdict} ({how}{marks}{report})")
        for rule in step.rules:
            lines.append(f"    {rule.id}: {rule.state}, then {rule.then}")
            lines += [f"      {condition.state}: {_words(condition)}" for condition in rule.conditions]
    lines += [f"  {path}: no revision in force" for path in made.waiting]
    return lines


def _words(condition: ConditionStep) -> str:
    listed = ", ".join(map(str, condition.values[:8])) + (", …" if len(condition.values) > 8 else "")
    return f"{condition.field} {'not in' if condition.negated else 'in'} [{listed}]; it is {condition.met}"
