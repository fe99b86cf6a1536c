"""``doorward policy explain``: why joins get the verdict they get, document by document, rule by rule.

Of joins at hand, or of a decision that was recorded (``cli.recorded`` finds what it was made from).
"""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from streams.cli import console, recorded
from streams.cli.decide import open_geo, opened, parse_now, read_event, read_index
from streams.cli.recorded import Told
from streams.core.address import BadAddress
from streams.core.events import LeaveEvent
from streams.core.explain import ConditionStep, Explanation, explain
from streams.core.facts import NOTHING_KNOWN
from streams.core.index import Index
from streams.settings import Settings
from streams.wire.cloudevents import Malformed


def explain_joins(
    policies: Annotated[
        Path | None,
        typer.Option(help="Folder of documents, read recursively: unsigned, or with --trust signed ones."),
    ] = None,
    joins: Annotated[str | None, typer.Option(help="Joins as JSON lines; - is stdin.  [default: -]")] = None,
    geo_files: Annotated[
        list[Path] | None,
        typer.Option("--geo", help="MMDB file, repeatable; of a decision by default the worker's. [env: DOORWARD_GEO]"),
    ] = None,
    now: Annotated[str | None, typer.Option(help="As of this RFC 3339 time instead of the clock.")] = None,
    decision: Annotated[str | None, typer.Option(help="Instead: a recorded decision, by its id.")] = None,
    decisions: Annotated[
        str | None, typer.Option(help="With --decision: look in these JSON lines, --joins and --policies, not Kafka.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="With --decision: brokers, host:port. [env: DOORWARD_KAFKA_BOOTSTRAP]")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="With --decision: look from this RFC 3339 time on; sooner found in a long topic.")
    ] = None,
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="JWK Set that signed documents are held to. [env: DOORWARD_TRUST]")
    ] = None,
    audience: Annotated[
        str | None, typer.Option(help="The deployment's name in signed documents. [env: DOORWARD_AUDIENCE]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a join, or for the decision.")] = False,
) -> None:
    """Explain verdicts: the rules tried, each condition true, false or open, and who won.

    Of joins under documents (--policies, --joins), or of a recorded decision by its id (--decision), which is made
    again from its own join, document revisions and instant. A decision that comes out otherwise, or is not found, is
    exit code 1; of one that lacks a part by now, the part is named and its own reason is told.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience)
    unsigned = trust_file is None
    if decision is None:
        if decisions is not None or bootstrap is not None or since is not None:
            console.fail("--decisions, --bootstrap and --since go with --decision ID", console.BAD_INPUT)
        if policies is None:
            console.fail("--policies FOLDER is required, or --decision ID", console.BAD_INPUT)
        _explain_all(read_index(policies, settings, unsigned=unsigned), joins or "-", geo_files, now, settings, as_json)
        return
    id_ = recorded.check_id(decision)
    if now is not None:
        console.fail("--now: a recorded decision is explained as of its own instant", console.BAD_INPUT)
    if decisions is not None:
        if bootstrap is not None or since is not None:
            console.fail("--decisions reads files; --bootstrap and --since are for Kafka", console.BAD_INPUT)
        evidence = recorded.from_files(id_, decisions, joins, policies, settings, unsigned=unsigned)
    elif joins is not None or policies is not None:
        console.fail("--joins and --policies go with --decisions FILE; without it Kafka is read", console.BAD_INPUT)
    else:
        evidence = recorded.from_topics(id_, parse_now(since, "--since") or 0, settings)
    _explain_recorded(recorded.decide_again(evidence, geo_files or [], settings), as_json)


def _explain_recorded(told: Told, as_json: bool) -> None:
    with console.quiet_pipe():
        if as_json:
            console.out(msgspec.json.encode(told))
        else:
            for line in recorded.lines(told) + (rendered(told.again.explanation) if told.again else []):
                console.out(line)
    if told.again is not None and told.again.same == "verdict":
        raise typer.Exit(console.FINDING)


def _explain_all(
    index: Index, joins: str, geo_files: list[Path] | None, now: str | None, settings: Settings, as_json: bool
) -> None:
    at = parse_now(now)
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
    return [f"line {number}: {made.verdict}{by}", *rendered(made)]


def rendered(made: Explanation) -> list[str]:
    """The documents, rules and conditions of an explanation, for people."""
    lines = []
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
