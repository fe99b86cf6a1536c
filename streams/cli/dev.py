"""``doorward dev``: a whole deployment on this machine, gone with the command (design §9)."""

import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.adapters.topics import BrokerUnavailable
from streams.cli import console
from streams.wire import documents
from streams.wire.documents import Placed

_SHIFT = re.compile(r"([+-])(\d+)([smhd])")
_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def dev(
    brokers: Annotated[int, typer.Option(min=1, max=3, help="Kafka nodes: 1 or 3.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    policies: Annotated[Path | None, typer.Option(help="Documents to sign and push at the start.")] = None,
    geo: Annotated[list[Path] | None, typer.Option("--geo", help="MMDB file, repeatable. None: the snapshot.")] = None,
    clock: Annotated[str, typer.Option(help="Shift the workers' clock, as +25h; decisions then say so.")] = "+0h",
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
    stop_signals()
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


def stop_signals() -> None:
    """Let SIGTERM end the command as Ctrl-C does, and neither cut short what takes everything down."""
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


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
    except (KafkaUnavailable, SandboxFailed, BrokerUnavailable) as exc:
        console.fail(str(exc), console.UNAVAILABLE)
