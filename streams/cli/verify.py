"""``doorward verify``: whether everything that was asked was answered, once and rightly, by what the topics hold.

The five invariants, and what proves them, are in ``core.ledger``; ``cli.verifying`` reads the topics. Here are the
options and the wording. No address is printed (charter C7): what is told of a record is where it is.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from streams.adapters.spill import SpillUnavailable
from streams.cli import console
from streams.cli.decide import parse_now
from streams.cli.dev import Stop
from streams.cli.proving import shelf_of, trust_of
from streams.cli.reading import Advance, kafka_errors, progress
from streams.cli.verifying import Account, Wanted, account_of
from streams.core.ledger import INVARIANTS, Violation
from streams.settings import Settings

BOOTSTRAP = typer.Option(help="Brokers, host:port. [env: DOORWARD_KAFKA_BOOTSTRAP]")
SINCE = typer.Option(help="What was sent and decided from this RFC 3339 time on.  [default: all there is]")
UNTIL = typer.Option(help="And before this one.  [default: now]")
GEO = typer.Option(
    "--geo", help="MMDB file that decisions may name, repeatable, beside the worker's. [env: DOORWARD_GEO]"
)
TRUST = typer.Option("--trust", help="JWK Set that signed documents are held to. [env: DOORWARD_TRUST]")
AUDIENCE = typer.Option(help="The deployment's name in signed documents. [env: DOORWARD_AUDIENCE]")
_SHOWN = 10
"""Findings told of each invariant."""


def verify(
    since: Annotated[str | None, SINCE] = None,
    until: Annotated[str | None, UNTIL] = None,
    group: Annotated[str | None, typer.Option(help="The workers' consumer group. [env: DOORWARD_GROUP]")] = None,
    bootstrap: Annotated[str | None, BOOTSTRAP] = None,
    geo_files: Annotated[list[Path] | None, GEO] = None,
    trust_file: Annotated[Path | None, TRUST] = None,
    audience: Annotated[str | None, AUDIENCE] = None,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds that a change may take to reach every live participation.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check the ledger: every committed event answered, every answer called for and provable, none at odds.

    Reads joins, decisions, dead letters and the policy log, and decides every decision again. Violations are exit code
    1. What cannot be proven any more, because a geo file is not at hand or joins are past their retention, is counted
    and named.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience, group=group)
    wanted = Wanted(settings.group, *period(since, until), grace=int(grace * 1000))
    account = checked(wanted, settings, geo_files or [])
    told(account, list(lines(account, settings.group)), as_json=as_json)


def period(since: str | None, until: str | None) -> tuple[int, int | None]:
    """Two instants in ms since the epoch, the second None for now. Ends the command on bad ones."""
    start, end = parse_now(since, "--since") or 0, parse_now(until, "--until")
    if end is not None and end <= start:
        console.fail("--until must be after --since", console.BAD_INPUT)
    return start, end


def checked(wanted: Wanted, settings: Settings, geo_files: list[Path]) -> Account:
    """What came of it. Ends the command where something cannot be had."""
    trusted, shelf = trust_of(settings), shelf_of(geo_files, settings)
    with kafka_errors():
        try:
            with ExitStack() as stack:
                return Stop().run(account_of(wanted, settings, trusted, shelf, lambda steps: _bar(stack, steps)))
        except SpillUnavailable as exc:
            console.fail(str(exc), console.UNAVAILABLE)
        except KeyboardInterrupt:
            console.fail("interrupted; nothing can be said", console.UNAVAILABLE)


def _bar(stack: ExitStack, steps: int) -> Advance:
    return stack.enter_context(progress(steps, "checking the ledger"))


def told(account: Account, words: list[str], *, as_json: bool) -> None:
    """Say what came of it; violations are an exit code."""
    with console.quiet_pipe():
        if as_json:
            console.out(msgspec.json.encode(account))
        else:
            for line in words:
                console.out("".join(each if each.isprintable() else "?" for each in line))  # some was read from topics
    if account.violations:
        raise typer.Exit(console.FINDING)


def lines(account: Account, group: str) -> Iterator[str]:
    """What came of all five invariants, for people."""
    yield (
        f"{account.events:,} committed events and {account.decisions:,} decisions on {account.partitions} partitions, "
        f"group {group}"
    )
    for name, words in INVARIANTS.items():
        count = account.violations.get(name, 0)
        yield f"{name} {words}: {f'{count:,} violations' if count else 'holds'}"
        yield from _findings([found for found in account.first if found.invariant == name], count)
    yield from unproven(account)
    if account.waiting:
        yield f"not committed yet, and so not looked for: {account.waiting:,} records of joins"
    if not account.committed:
        yield f"the group {group} has committed nothing: nothing is owed an answer, and no invariant says much"


def unproven(account: Account) -> Iterator[str]:
    """How many decisions were proven, and why the others were not."""
    yield f"decided again to the same bytes: {account.proven:,} of {account.decisions:,} decisions"
    for why, count in sorted(account.unprovable.items(), key=lambda item: -item[1]):
        yield f"not provable: {count:,}, {why}"


def _findings(first: list[Violation], count: int) -> Iterator[str]:
    for found in first[:_SHOWN]:
        whose = "".join(f", {each}" for each in (found.subject, found.decision) if each is not None)
        yield f"  {found.topic}[{found.partition}]@{found.offset}{whose}: {found.what}"
        yield from differences(found)
    if count > _SHOWN:
        yield f"  … and {count - min(_SHOWN, len(first)):,} more"


def differences(found: Violation) -> Iterator[str]:
    """The fields in which a decision differs from the one made again."""
    for field in found.fields:
        recorded, again = (msgspec.json.encode(value).decode() for value in (field.recorded, field.again))
        yield f"    {field.path}: recorded {recorded}, again {again}"
