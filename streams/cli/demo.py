"""``doorward demo``: see the whole thing work, and checked, in about a minute; ``doorward load``: traffic alone."""

import asyncio
import dataclasses
import json
import random
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from streams.adapters.kafka import Connection
from streams.cli import console
from streams.cli.dev import Stop, read_documents, sandbox_errors

SECONDS = 20.0
RATE = 2200.0
"""Joins a second: a tenth above what is promised, so that the promise holds on a busy machine."""
REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 4.0


def demo(
    seconds: Annotated[float, typer.Option(min=2.0, max=600.0, help="How long joins are offered.")] = SECONDS,
    rate: Annotated[float, typer.Option(min=1.0, help="Joins a second.")] = RATE,
    workers: Annotated[int, typer.Option(min=1, max=8)] = 2,
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object.")] = False,
) -> None:
    """Run Kafka and workers here, offer a realistic stream, push a stricter document half way, check every answer."""
    stop = Stop()
    try:
        with sandbox_errors():
            summary = _run(stop, seconds, rate, workers, seed)
    except KeyboardInterrupt:
        console.fail("interrupted; nothing is left running", 130)
    with console.quiet_pipe():
        if as_json:
            console.out(json.dumps({**dataclasses.asdict(summary), "ok": summary.ok}))
        else:
            _print(summary)
    if not summary.ok:
        raise typer.Exit(console.FINDING)


def _run(stop: Stop, seconds: float, rate: float, workers: int, seed: int) -> Any:
    from streams.dev.authority import accounts_of, offers  # here: needs the `dev` extra
    from streams.dev.demo import starter_policies, stream
    from streams.dev.sandbox import Sandbox, SandboxFailed, rejections

    folder = starter_policies()
    placed = [each for each in read_documents(folder) if Path(each[1].file).parent == folder]
    stricter = read_documents(folder / "next")
    with Sandbox(workers=workers, accounts=accounts_of([*placed, *stricter]), say=console.say) as sandbox:
        first, problems = offers(sandbox.authority, placed)
        second, more = offers(sandbox.authority, stricter)
        if problems or more:
            raise SandboxFailed("; ".join((*problems, *more)))
        console.say(f"pushing {len(first)} signed documents")
        if lines := rejections(sandbox.push(first)):
            raise SandboxFailed("; ".join(lines))

        async def watched() -> Any:
            view: list[asyncio.Task[None]] = []

            def watch(progress: Any) -> None:
                view.append(asyncio.create_task(_show(progress)))

            try:
                return await stream(sandbox, second, rate=rate, seconds=seconds, seed=seed, watch=watch)
            finally:
                for task in view:
                    task.cancel()
                await asyncio.gather(*view, return_exceptions=True)

        return stop.run(watched())


async def _show(progress: Any) -> None:
    """The live view on a terminal; a line now and then elsewhere."""
    if not sys.stderr.isatty():
        while True:
            await asyncio.sleep(PLAIN_SECONDS)
            figures = progress.figures()
            verdicts = ", ".join(f"{count} {name}" for name, count in sorted(figures["verdicts"].items()))
            console.say(
                f"{figures['stage']} {figures['share']:.0%}: {figures['events_per_second']:.0f} events/s, {verdicts}, "
                f"p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms, lag {figures['lag']}"
            )
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        while True:
            live.update(_view(progress), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)


def _view(progress: Any) -> Group:
    figures = progress.figures()
    verdicts = figures["verdicts"]
    table = Table(title=f"Doorward: {figures['stage']}", title_justify="left")
    for name in (
        "admit",
        "alert",
        "remove",
        "dead letters",
        "events/s",
        "p50 ms",
        "p99 ms",
        "lag",
        "stricter document",
    ):
        table.add_column(name, justify="right")
    push = progress.push
    applied = "-" if push is None else f"applied by {len(push.applied)}" if push.applied else "pushed"
    table.add_row(
        *(f"{verdicts.get(name, 0):,}" for name in ("admit", "alert", "remove")),
        f"{figures['dead_letters']:,}",
        f"{figures['events_per_second']:,.0f}",
        f"{figures['p50_ms']:.1f}",
        f"{figures['p99_ms']:.1f}",
        f"{figures['lag']:,}",
        applied,
    )
    return Group(table, ProgressBar(total=1.0, completed=figures["share"], width=60))


def _print(summary: Any) -> None:
    dead = ", ".join(f"{count} {reason}" for reason, count in summary.dead_letters.items()) or "none"
    applied = ", ".join(f"{worker} {ms:.0f} ms" for worker, ms in summary.pushed_applied_ms.items()) or "none"
    rows = {
        "sent": f"{summary.joins:,} joins, {summary.updates:,} updates, {summary.leaves:,} leaves, "
        f"{summary.malformed:,} malformed",
        "rate": f"{summary.joins_per_second:,.0f} joins/s, {summary.events_per_second:,.0f} events/s",
        "decided": f"{summary.admits:,} admit, {summary.alerts:,} alert, {summary.removes:,} remove",
        "dead letters": f"{sum(summary.dead_letters.values()):,} ({dead})",
        "event → decision": f"p50 {summary.p50_ms:.1f} ms, p99 {summary.p99_ms:.1f} ms, as the client saw it",
        "pushed → applied": applied,
        "unanswered": f"{summary.unanswered:,}",
        "decided again": f"{summary.later:,} times while the call was live",
        "checked offline": f"{summary.checked:,} decisions, {summary.reports:,} in report mode, "
        f"{summary.different:,} differ, {summary.repeats:,} repeats",
    }
    for name, text in rows.items():
        console.out(f"{name:>17}  {text}")
    for problem in summary.problems:
        console.out(f"{'problem':>17}  {problem}")
    console.out(f"{'result':>17}  {'every join answered, every answer right' if summary.ok else 'FAILED'}")


def load(
    bootstrap: Annotated[str | None, typer.Option(help="Brokers. [env: DOORWARD_KAFKA_BOOTSTRAP]")] = None,
    rate: Annotated[float, typer.Option(min=1.0, help="Joins a second.")] = RATE,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long.")] = SECONDS,
    seed: Annotated[int, typer.Option(help="Of the traffic.")] = 1,
) -> None:
    """Send traffic to running workers and say what came back (development only: it makes up joins)."""
    settings = console.settings(kafka_bootstrap=bootstrap)
    stop = Stop()
    with sandbox_errors():
        try:
            ledger = stop.run(_load(settings.connection(), rate, seconds, seed))
        except KeyboardInterrupt:
            console.fail("interrupted", 130)
    from streams.dev.load import percentile

    latencies = ledger.latencies()
    answer = {
        "sent": dict(ledger.kinds),
        "joins_per_second": round(ledger.per_second(ledger.kinds["join"])),
        "events_per_second": round(ledger.per_second(len(ledger.sent))),
        "verdicts": dict(ledger.verdicts),
        "dead_letters": len(ledger.dead_letters),
        "unanswered": len(ledger.missing()),
        "p50_ms": round(percentile(latencies, 0.5) * 1000, 3),
        "p99_ms": round(percentile(latencies, 0.99) * 1000, 3),
    }
    console.out(json.dumps(answer))
    problems = ledger.shortcomings(rate)
    for problem in problems:
        console.say(f"doorward: {problem}")
    if answer["unanswered"] or problems:
        raise typer.Exit(console.FINDING)


async def _load(connection: Connection, rate: float, seconds: float, seed: int) -> Any:
    from streams.adapters import topics
    from streams.adapters.geo import shipped
    from streams.dev.demo import ACCOUNTS, SETTLE_SECONDS
    from streams.dev.load import Client
    from streams.dev.traffic import Addresses, Traffic

    security = connection.security_options()
    async with topics.connected(connection.bootstrap, **security) as admin:
        partitions = await topics.check(admin, topics.load_manifest())
    rng = random.Random(seed)  # noqa: S311  # traffic, not secrets
    traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
    async with Client(connection.bootstrap, traffic, partitions, **security) as client:
        await client.send(rate, seconds)
        await client.settle(SETTLE_SECONDS)
        return client.ledger
