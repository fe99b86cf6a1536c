"""The policy log read and judged for a command: with progress where a terminal watches, within bounds, or not at all.

Every command that looks at the log reads all of it, from its first record: what stands there now is what follows from
everything before, and a signature is believed when it was verified here.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.adapters import policylog
from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Extent
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable
from streams.cli import console, pushing
from streams.core import status
from streams.runtime import lenient
from streams.settings import Settings
from streams.wire.announced import Announced
from streams.wire.chain import LogRecord
from streams.wire.history import Entry, History
from streams.wire.trust import TrustSet

Bootstrap = Annotated[str | None, typer.Option(help="Brokers: host:port. [env: DOORWARD_KAFKA_BOOTSTRAP]")]
Trust = Annotated[Path | None, typer.Option("--trust", help="The workers' JWK Set. [env: DOORWARD_TRUST]")]
Audience = Annotated[
    str | None, typer.Option(help="The deployment's name in signed documents. [env: DOORWARD_AUDIENCE]")
]


def read(
    settings: Settings,
    trusted: TrustSet,
    each: Callable[[Entry], None] = lambda entry: None,
    *,
    bar: bool = True,
    key_age: bool = False,
) -> tuple[History, Extent]:
    """Read and judge the whole log. Ends the command where it cannot be had.

    Args:
        settings: where the brokers are, and the deployment's audience, contest and greatest sizes.
        trusted: whose signatures count.
        each: called with every record's entry, in order.
        bar: whether to show progress where a terminal watches.
        key_age: whether approvers' keys are held to ruling 32, by what the status log says was announced.
    """
    security = pushing.security(settings)
    pushing.quiet_client()
    known = announced(settings, security) if key_age else None
    history = History(trusted, settings.audience, vocabulary(), settings.contest, known, settings.limits())
    watched = bar and sys.stderr.isatty()
    columns = (TextColumn("reading the policy log"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not watched) as progress:
        task = progress.add_task("", total=None)

        def take(records: Sequence[LogRecord], extent: Extent) -> None:
            for record in records:
                each(history.take(record))
                progress.update(task, total=extent.end - extent.first, completed=record.offset + 1 - extent.first)

        extent = _read(settings, security, take, policylog.POLICIES)
    return history, extent


def announced(settings: Settings, security: dict[str, Any]) -> Announced:
    """What the status log says of keys, as a worker reads it. Ends the command where it cannot be had."""
    found = Announced()

    def take(records: Sequence[LogRecord], extent: Extent) -> None:
        if extent.first > 0:
            found.begins_cut()
        for record in records:
            with suppress(msgspec.MsgspecError):  # an event of a later version, or somebody else's
                event = status.decode(record.value or b"")
                if isinstance(event, status.TrustEvent) and record.stamped:  # a time its writer chose is none
                    found.note(event.data.keys, record.appended_at)

    _read(settings, security, take, policylog.STATUS)
    return found


def _read(
    settings: Settings,
    security: dict[str, Any],
    take: Callable[[Sequence[LogRecord], Extent], None],
    topic: str,
) -> Extent:
    lenient.install()  # a header's name may be anything; the log has to be readable all the same
    try:
        return asyncio.run(policylog.read(settings.kafka_bootstrap, take, topic=topic, **security))
    except BootstrapMalformed as exc:
        console.fail(str(exc), console.BAD_INPUT)
    except BrokerUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)
    except KeyboardInterrupt:
        console.fail("interrupted", console.UNAVAILABLE)
