"""`doorward acls`: who may do what on Kafka, against the table of rights; and making the cluster like it.

What may live here: options, wording and exit codes; the comparing is in `streams.adapters.acls`.

Exit codes: 0 all is as the table says, 1 something differs, 2 wrong use, 3 no broker (or it refused).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, TypeVar

import typer
from aiokafka.admin import AIOKafkaAdminClient

from streams.adapters import acls, topics
from streams.adapters.acls import AclsUnavailable, Plan, RoleUnknown, Rule
from streams.adapters.kafka import CredentialsUnavailable
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable
from streams.cli import console

Answer = TypeVar("Answer")

app = typer.Typer(help="Show and make the rights that Doorward's parts need on Kafka.", no_args_is_help=True)

Bootstrap = Annotated[
    str | None,
    typer.Option(help="Brokers: host:port, several with commas between. [env: DOORWARD_KAFKA_BOOTSTRAP]"),
]
Group = Annotated[str | None, typer.Option(help="The workers' consumer group. [env: DOORWARD_GROUP]")]
Users = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="ROLE=USER", help="Who has a role, if not doorward-ROLE; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]

_LACKING: Final = "lacking"
_BEYOND: Final = "beyond the table"
_FORBIDDEN: Final = "forbidden, though the table allows it"


@app.command()
def plan(bootstrap: Bootstrap = None, group: Group = None, users: Users = None, as_json: Json = False) -> None:
    """Show which rights lack, and which there are beyond the table. Changes nothing."""
    _finish([], _ask(bootstrap, group, users, acls.plan), as_json)


@app.command()
def apply(bootstrap: Bootstrap = None, group: Group = None, users: Users = None, as_json: Json = False) -> None:
    """Add the rights that lack. Takes none away: those beyond the table are shown."""
    added, left = _ask(bootstrap, group, users, acls.apply)
    _finish(added, left, as_json)


def _ask(
    bootstrap: str | None,
    group: str | None,
    users: list[str] | None,
    question: Callable[[AIOKafkaAdminClient, set[Rule]], Awaitable[Answer]],
) -> Answer:
    settings = console.settings(kafka_bootstrap=bootstrap, group=group)
    connection = settings.connection()
    try:
        wanted = acls.load_table().rules(settings.group, _by_role(users or ()))
    except RoleUnknown as unknown:
        console.fail(f"--user: {unknown}", console.BAD_INPUT)

    async def asking() -> Answer:
        async with topics.connected(connection.bootstrap, **connection.security_options()) as admin:
            return await question(admin, wanted)

    # The client logs each failed attempt; the one line below says it all.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(asking())
    except AclsUnavailable as without:
        console.fail(f"Kafka at {connection.bootstrap} (DOORWARD_KAFKA_BOOTSTRAP): {without}", console.UNAVAILABLE)
    except (BrokerUnavailable, CredentialsUnavailable) as unavailable:
        console.fail(str(unavailable), console.UNAVAILABLE)
    except BootstrapMalformed as malformed:
        console.fail(str(malformed), console.BAD_INPUT)


def _by_role(users: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in users:
        role, _, user = text.partition("=")
        if not role or not user:
            console.fail(f"--user: {text!r} should be ROLE=USER", console.BAD_INPUT)
        found.setdefault(role, []).append(user)
    return found


def _finish(added: Sequence[Rule], left: Plan, as_json: bool) -> None:
    """Prints the outcome and ends with its exit code."""
    groups = {_LACKING: left.lacking, _BEYOND: left.beyond, _FORBIDDEN: left.forbidden}
    if as_json:
        rows = {"added": added, "lacking": left.lacking, "beyond": left.beyond, "forbidden": left.forbidden}
        typer.echo(json.dumps({name: [_row(rule) for rule in rules] for name, rules in rows.items()}))
    else:
        for rule in added:
            typer.echo(f"added: {rule}")
        for name, rules in groups.items():
            for rule in rules:
                typer.echo(f"{name}: {rule}")
    counts = ", ".join(f"{len(rules)} {name}" for name, rules in groups.items() if rules)
    console.say(f"rights: {counts}" if counts else "rights are as the table says")
    raise typer.Exit(0 if left.is_met else console.FINDING)


def _row(rule: Rule) -> dict[str, str | bool]:
    return {
        "user": rule.user,
        "denied": rule.denied,
        "operation": rule.operation.title,
        "thing": rule.thing.name.lower(),
        "name": rule.name,
        "prefixed": rule.prefixed,
        "host": rule.host,
    }
