"""``doorward dev``: a whole deployment on this machine, gone with the command (design §9)."""

import asyncio
import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any, TypeVar

import typer
from aiokafka.errors import KafkaError

from streams.adapters.geo import Geo, GeoUnavailable
from streams.adapters.iso import vocabulary
from streams.adapters.kafka import CredentialsUnavailable
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable, TopicsDiffer
from streams.cli import console
from streams.wire import documents
from streams.wire.documents import Placed

Outcome = TypeVar("Outcome")

_SHIFT = re.compile(r"([+-])(\d+)([smhd])")
_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def dev(
    brokers: Annotated[int, typer.Option(min=1, max=3, help="Kafka nodes: 1 or 3.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    policies: Annotated[Path | None, typer.Option(help="Documents to sign and push at the start.")] = None,
    geo: Annotated[list[Path] | None, typer.Option("--geo", help="MMDB file, repeatable. None: the snapshot.")] = None,
    clock: Annotated[str, typer.Option(help="Shift the workers' clock, as +25h; decisions then say so.")] = "+0h",
    strict: Annotated[
        bool, typer.Option("--strict", help="Let keys wait a day and ask anonymity files for age, size and canaries.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder to keep everything in. None: a temporary one.")] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Of joins.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="When ready, print one line of JSON.")] = False,
) -> None:
    """Run Kafka, its topics and workers here until Ctrl-C; dead workers are started again."""
    if brokers == 2:
        console.fail("--brokers: 1 or 3; two brokers tolerate no more failures than one", console.BAD_INPUT)
    shift = _SHIFT.fullmatch(clock)
    if shift is None:
        console.fail(f"--clock: {clock!r} is no shift such as +25h or -30m", console.BAD_INPUT)
    shift_ms = int(shift[1] + shift[2]) * _UNITS[shift[3]]
    placed = read_documents(policies) if policies else []
    _check_geo(geo or [])
    if data is not None:
        _check_folder(data)
    Stop()
    with sandbox_errors(), suppress(KeyboardInterrupt):
        from streams.dev.authority import accounts_of, offers  # here: needs the `dev` extra
        from streams.dev.sandbox import Sandbox, rejections

        with Sandbox(
            accounts=accounts_of(placed),
            brokers=brokers,
            workers=workers,
            geo=geo or (),
            data=data,
            clock_shift=shift_ms,
            strict=strict,
            partitions=partitions,
            say=console.say,
        ) as sandbox:
            signed, problems = offers(sandbox.authority, placed)
            for problem in problems:
                console.say(problem)
            if problems:
                console.fail(f"{len(problems)} problem(s) in {policies}", console.BAD_INPUT)
            if signed:
                for line in rejections(sandbox.push(signed)):
                    console.say(line)  # as in a deployment: the log has it, the status says why, the rest counts
            _announce(sandbox.ready(), as_json=as_json)
            threading.Event().wait()


def _check_geo(files: list[Path]) -> None:
    """Open the files as a worker will: a bad one is said before Kafka is started."""
    try:
        if files:
            Geo.open(files, vocabulary())
    except GeoUnavailable as exc:
        console.fail(f"--geo: {exc}", console.UNAVAILABLE)


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass  # being able to is all we ask
    except OSError as exc:
        console.fail(f"--data: {folder}: {exc.strerror or exc}", console.UNAVAILABLE)


def _announce(ready: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.out(json.dumps({"ready": True, **ready}))
        sys.stdout.flush()
        return
    console.say(f"ready: Kafka at {ready['bootstrap']}, workers {', '.join(map(str, ready['workers']))}")
    for name in ("metrics", "trust", "keys", "data"):
        console.say(f"  {name}: {ready[name]}")
    console.say("Ctrl-C ends it all")


def read_documents(folder: Path) -> list[Placed]:
    """The documents of a folder; every unreadable one is said, then the command ends."""
    try:
        placed, problems = documents.read_folder(folder)
    except documents.FolderUnavailable as exc:
        console.fail(f"--policies: {exc}", console.UNAVAILABLE)
    for problem in problems:
        console.say(str(problem))
    if problems:
        console.fail(f"{len(problems)} problem(s) in {folder}", console.BAD_INPUT)
    return placed


class Stop:
    """Ctrl-C, and SIGTERM with it: ends the command once, so that a second one cannot cut short the clearing up.

    Where a task runs it is cancelled. An exception out of a signal handler would strike whichever task has the turn:
    one of the Kafka client's own, as likely as not, which then says so at length.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._task: asyncio.Task[Any] | None = None
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._task is None:
            raise KeyboardInterrupt
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def run(self, main: Coroutine[Any, Any, Outcome]) -> Outcome:
        """As `asyncio.run`; raises KeyboardInterrupt once the coroutine has cleared up after a signal."""

        async def watched() -> Outcome:
            self._task = asyncio.current_task()
            try:
                return await main
            finally:
                self._task = None

        try:
            return asyncio.run(watched())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


@contextmanager
def sandbox_errors() -> Iterator[None]:
    """End the command with one line when the sandbox cannot be had."""
    try:
        from streams.dev.kafka import KafkaUnavailable
        from streams.dev.sandbox import SandboxFailed
    except ImportError as exc:
        console.fail(f"{exc.name} is missing: install doorward[dev]", console.UNAVAILABLE)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each attempt; one line says it all
    try:
        yield
    except BootstrapMalformed as exc:
        console.fail(str(exc), console.BAD_INPUT)
    except (KafkaUnavailable, SandboxFailed, BrokerUnavailable, CredentialsUnavailable) as exc:
        console.fail(str(exc), console.UNAVAILABLE)
    except TopicsDiffer as exc:
        console.fail(f"DOORWARD_KAFKA_BOOTSTRAP: {exc}; see `doorward topics plan`", console.UNAVAILABLE)
    except KafkaError as exc:
        console.fail(f"DOORWARD_KAFKA_BOOTSTRAP: {exc}", console.UNAVAILABLE)
