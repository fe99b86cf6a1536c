"""Reading recorded decisions for a command, from files or from the topic: each of the period once.

What may live here: where decisions come from, how far it has got, and how a command ends when they can't be had.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, TypeAlias

import msgspec
from rich.console import Console
from rich.progress import Progress

from streams.adapters import decisionlog
from streams.adapters.decisionlog import Unreadable
from streams.adapters.kafka import CredentialsUnavailable
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable
from streams.cli import console
from streams.cli.dev import Stop
from streams.core.counts import Recorded, Sieve
from streams.runtime import lenient
from streams.settings import Settings

Advance: TypeAlias = Callable[[int], None]

EVER: Final = 2**63 - 1
"""An end that never comes, ms since the epoch."""


class Period(msgspec.Struct, frozen=True):
    """From an instant (included) to another (not), ms since the epoch."""

    since: int
    until: int


class Reading:
    """What was read so far: each decision of the period is handed on once.

    Attributes:
        report_mode: passed over, since they change nothing.
        unreadable: records that are no decisions.
        cut: whether the topic no longer holds all of the period.
    """

    def __init__(self, period: Period, take: Callable[[Recorded], None]) -> None:
        self.period = period
        self.sieve = Sieve()
        self.report_mode = self.unreadable = 0
        self.cut = False
        self._take = take

    def hear(self, event: Recorded) -> None:
        """Take in a decision, of whatever time."""
        if event.report:
            self.report_mode += 1
        elif self.period.since <= event.data.at < self.period.until and self.sieve.passes(event):
            self._take(event)

    def hear_records(self, values: list[bytes | None]) -> None:
        """Take in what a topic holds; what is no decision there is counted."""
        for value in values:
            try:
                self.hear(decisionlog.decode(value))
            except Unreadable:
                self.unreadable += 1

    def notes(self) -> list[str]:
        """What a reader of the counts has to know about them, for people."""
        sieve = self.sieve
        found = {
            f"left out, seen before: {sieve.repeats:,}": sieve.repeats,
            f"left out, removals said again: {sieve.reminders:,}": sieve.reminders,
            f"left out, in report mode: {self.report_mode:,}": self.report_mode,
            f"left out, no decisions: {self.unreadable:,}": self.unreadable,
            "the topic no longer holds all of the period": self.cut,
            "so many decisions that repeats far apart may have been counted twice": sieve.forgetful,
        }
        return [note for note, holds in found.items() if holds]


def read(settings: Settings, files: list[str], reading: Reading, in_vain: str) -> None:
    """Read the files, or without any the topic, of the period. Ends the command where that can't be done."""
    try:
        if files:
            for file in files:
                _read_file(file, reading)
        else:
            with kafka_errors():
                Stop().run(_read_topic(settings, reading))
    except KeyboardInterrupt:
        console.fail(f"interrupted; {in_vain}", console.UNAVAILABLE)


def _read_file(file: str, reading: Reading) -> None:
    with _opened(file) as (lines, size), progress(size) as advance:
        for number, line in enumerate(lines, 1):
            advance(len(line))
            if not line.strip():
                continue
            try:
                event = decisionlog.decode_line(line)
            except Unreadable as exc:
                console.fail(f"--decisions: {file}: line {number}: {exc}", console.BAD_INPUT)
            if event is not None:
                reading.hear(event)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """A file and its size in bytes, or stdin for ``-``. Ends the command when it cannot be read."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115  # closed below; what goes wrong inside is not about opening it
    except OSError as exc:
        _unread(file, exc)
    with opened:
        try:
            yield opened, Path(file).stat().st_size
        except OSError as exc:
            _unread(file, exc)


def _unread(file: str, exc: OSError) -> NoReturn:
    console.fail(f"--decisions: cannot read {file}: {exc.strerror}", console.UNAVAILABLE)


async def _read_topic(settings: Settings, reading: Reading) -> None:
    connection = settings.connection()
    security = connection.security_options()
    period = reading.period
    async with decisionlog.opened(connection.bootstrap, period.since, period.until, **security) as log:
        with progress(log.total) as advance:
            while not log.done:
                values = await log.batch()
                reading.hear_records(values)
                advance(len(values))
        reading.cut = log.cut


@contextmanager
def kafka_errors() -> Iterator[None]:
    """End the command with one line where Kafka can't be reached or read."""
    # The client logs each failed attempt; the one line below says it all.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    lenient.install()
    try:
        yield
    except (BrokerUnavailable, CredentialsUnavailable) as unavailable:
        console.fail(str(unavailable), console.UNAVAILABLE)
    except BootstrapMalformed as malformed:
        console.fail(str(malformed), console.BAD_INPUT)


@contextmanager
def progress(total: int | None, what: str = "reading decisions") -> Iterator[Advance]:
    """A bar on stderr where a terminal watches; what is yielded moves it on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
