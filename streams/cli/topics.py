"""`doorward topics`: what the cluster's topics lack, making them, checking them.

What may live here: options, wording and exit codes; the comparing is in `streams.adapters.topics`.

Exit codes: 0 all is as it should be, 1 something differs, 2 wrong use, 3 no broker (or it refused).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer
from aiokafka.admin import AIOKafkaAdminClient

from streams.adapters import topics
from streams.adapters.kafka import CredentialsUnavailable
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable, Difference, Manifest
from streams.cli import console

Answer = TypeVar("Answer")

app = typer.Typer(help="Show, make and check Doorward's topics.", no_args_is_help=True)

Bootstrap = Annotated[
    str | None,
    typer.Option(help="Brokers: host:port, several with commas between. [env: DOORWARD_KAFKA_BOOTSTRAP]"),
]
Replication = Annotated[
    int | None, typer.Option(min=1, help="Replicas of each partition. [default: as `joins` has, else 3]")
]
Partitions = Annotated[
    int | None, typer.Option(min=1, help="Partitions of the topics keyed by meeting. [default: as `joins` has, else 4]")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]


@app.command()
def plan(
    bootstrap: Bootstrap = None, replication: Replication = None, partitions: Partitions = None, as_json: Json = False
) -> None:
    """Show what `apply` would find to do. Changes nothing."""
    differences = _ask(bootstrap, lambda admin, manifest: topics.plan(admin, manifest, replication, partitions))
    _finish([], differences, as_json)


@app.command()
def apply(
    bootstrap: Bootstrap = None, replication: Replication = None, partitions: Partitions = None, as_json: Json = False
) -> None:
    """Create missing topics and alter settings. Never deletes, never changes partitions or replicas."""
    applied, left = _ask(bootstrap, lambda admin, manifest: topics.apply(admin, manifest, replication, partitions))
    _finish(applied, left, as_json)


@app.command()
def check(bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """Check what a worker checks at its start."""
    _finish([], _ask(bootstrap, topics.plan), as_json)


def _ask(bootstrap: str | None, question: Callable[[AIOKafkaAdminClient, Manifest], Awaitable[Answer]]) -> Answer:
    connection = console.settings(kafka_bootstrap=bootstrap).connection()

    async def asking() -> Answer:
        async with topics.connected(connection.bootstrap, **connection.security_options()) as admin:
            return await question(admin, topics.load_manifest())

    # The client logs each failed attempt; the one line below says it all.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(asking())
    except (BrokerUnavailable, CredentialsUnavailable) as unavailable:
        console.fail(str(unavailable), console.UNAVAILABLE)
    except BootstrapMalformed as malformed:
        console.fail(str(malformed), console.BAD_INPUT)


def _finish(applied: Sequence[Difference], left: Sequence[Difference], as_json: bool) -> None:
    """Prints the outcome and ends with its exit code."""
    if as_json:
        typer.echo(
            json.dumps({"applied": [_row(each) for each in applied], "differences": [_row(each) for each in left]})
        )
    else:
        for each in applied:
            typer.echo(f"applied: {each}")
        for each in left:
            typer.echo(str(each) if each.can_apply else f"{each} (never changed by apply)")
    console.say(f"differences: {len(left)}" if left else "topics are as they should be")
    raise typer.Exit(console.FINDING if left else 0)


def _row(difference: Difference) -> dict[str, str | bool | None]:
    return {
        "topic": difference.topic,
        "setting": difference.setting,
        "found": difference.found,
        "wanted": difference.wanted,
        "can_apply": difference.can_apply,
    }
