"""``doorward replay``: recorded decisions made again, and what differs (design §4 and §9).

The same reading and the same proof as ``doorward verify`` has for its third invariant, for a time or for one decision.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from streams.adapters.decisionlog import DECISIONS
from streams.cli import console, recorded, verify
from streams.cli.verify import AUDIENCE, BOOTSTRAP, GEO, SINCE, TRUST, UNTIL
from streams.cli.verifying import Account, Wanted


def replay(
    decision: Annotated[str | None, typer.Argument(help="One decision, by its id.  [default: all of the time]")] = None,
    since: Annotated[str | None, SINCE] = None,
    until: Annotated[str | None, UNTIL] = None,
    bootstrap: Annotated[str | None, BOOTSTRAP] = None,
    geo_files: Annotated[list[Path] | None, GEO] = None,
    trust_file: Annotated[Path | None, TRUST] = None,
    audience: Annotated[str | None, AUDIENCE] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Prove recorded decisions: made again from what they name, they are the same bytes, or the differences are shown.

    A decision that differs, or that nothing calls for, is exit code 1. One that lacks a part by now (its join is past
    retention, its geo build is not at hand: name more files with --geo) is counted and the part is named.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience)
    id_ = None if decision is None else recorded.check_id(decision)
    wanted = Wanted(settings.group, *verify.period(since, until), proofs=True, decision=id_)
    account = verify.checked(wanted, settings, geo_files or [])
    if id_ is not None and not account.decisions:
        where = f"{DECISIONS} and {recorded.REPORTS}"
        console.fail(f"no decision {id_} on {where} in that time; they keep 30 days", console.FINDING)
    verify.told(account, list(_lines(account)), as_json=as_json)


def _lines(account: Account) -> Iterator[str]:
    for found in account.first:
        yield f"{found.topic}[{found.partition}]@{found.offset}, {found.subject}, {found.decision}: {found.what}"
        yield from verify.differences(found)
    more = sum(account.violations.values()) - len(account.first)
    if more:
        yield f"… and {more:,} more"
    yield from verify.unproven(account)
