"""``doorward status``: whether a running cluster is well, in a page for people and an exit code for scripts.

What may live here: options, the page and when it is looked a second time. What is wrong when is in ``core.checkup``,
how workers are asked in ``adapters.scrape``.

Exit codes: 0 all is well, 1 something is wrong, 2 wrong use, 3 no worker answers or a file can't be read.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from streams.adapters.scrape import look
from streams.cli import asking, console
from streams.core import instants
from streams.core.checkup import FLEETING, Finding, Limits, findings, newest_policy
from streams.core.cluster import Cluster, Worker, survey

PATIENCE: Final = 3.0
"""Seconds that workers may take to answer."""
SETTLE_SECONDS: Final = 2.0
"""After which it is looked again where something was found that may only have been passing."""
MOST_LAG: Final = 259_200.0
"""Seconds: `joins` keeps 72 hours, so nothing is behind by more."""
MOST_AGE: Final = 36_500.0
"""Days."""
_RUNBOOKS: Final = "deploy/runbooks"


def status(
    metrics: Annotated[list[str] | None, asking.Urls] = None,
    max_lag: Annotated[
        float, typer.Option(min=0.0, max=MOST_LAG, help="Seconds that answers may be behind.")
    ] = Limits().lag,
    max_geo_age: Annotated[
        float, typer.Option(min=0.0, max=MOST_AGE, help="Days since the newest geo file's build; 0: for ever.")
    ] = Limits().geo_age,
    max_unconfirmed: Annotated[
        int, typer.Option(min=0, help="Removed participations that have not left, of all workers.")
    ] = Limits().unconfirmed,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    cacert: Annotated[Path | None, asking.Authority] = None,
    cert: Annotated[Path | None, asking.Certificate] = None,
    key: Annotated[Path | None, asking.Key] = None,
) -> None:
    """Say whether a running cluster is well, and what is wrong with the name of its runbook."""
    targets = asking.targets(metrics)
    context = asking.context(targets, cacert, cert, key)
    limits = Limits(max_lag, max_geo_age, max_unconfirmed)
    looks = look(targets, PATIENCE, context, checks=True)
    newest = newest_policy(looks)
    found = findings(looks, time.time(), limits, newest)
    if any(finding.kind in FLEETING for finding in found):
        time.sleep(SETTLE_SECONDS)
        looks = look(targets, PATIENCE, context, checks=True)
        found = findings(looks, time.time(), limits, newest)
    cluster, workers = survey(looks, {})
    with console.quiet_pipe():
        if as_json:
            console.out(_json(cluster, workers, found))
        else:
            for line in [*_page(cluster, workers), "", *map(_line, found), *([] if found else ["all is well"])]:
                console.out(line)
    if not cluster.answering:
        console.fail("no worker answers", console.UNAVAILABLE)
    if found:
        raise typer.Exit(console.FINDING)


def _json(cluster: Cluster, workers: Sequence[Worker], found: Sequence[Finding]) -> bytes:
    return msgspec.json.encode({"well": not found, "findings": found, "cluster": cluster, "workers": workers})


def _page(cluster: Cluster, workers: Sequence[Worker]) -> list[str]:
    states = [worker.state for worker in workers if worker.state is not None]
    hashes = sorted({each.policy_index_hash for each in states if each.ready})
    documents = max((each.policy_documents for each in states), default=0)
    built = sorted({_day(each.geo_build_timestamp_seconds) for each in states})
    lowest, highest = cluster.policy_offset or ("-", "-")
    offset = f"{highest}" if lowest == highest else f"{lowest} to {highest}"
    lines = {
        "workers": f"{cluster.answering} of {cluster.workers} answer, {cluster.ready} are ready",
        "partitions": f"{cluster.partitions:,}",
        "lag": f"{cluster.lag_records:,} events, {cluster.lag_seconds:,.1f} s",
        "policy": f"offset {offset}, {documents:,} documents, index {' '.join(hashes) or '-'}",
        "geo": f"built {' '.join(built) or '-'}",
        "sessions": f"{cluster.sessions:,}",
        "sweeps due": f"{cluster.sweeps_due:,}",
        "unconfirmed": f"{cluster.unconfirmed_removals:,} removals",
    }
    return [f"{name:<11}  {text}" for name, text in lines.items()]


def _day(timestamp: float) -> str:
    """Of Unix seconds, in UTC."""
    return instants.render(round(timestamp * 1000))[:10] if timestamp else "never"


def _line(finding: Finding) -> str:
    who = f"{', '.join(finding.workers)}: " if finding.workers else ""
    return f"WRONG  {who}{finding.says} ({_RUNBOOKS}/{finding.runbook}.md)"
