"""What every command shares: where output goes, and how one ends when something is wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer
from pydantic import ValidationError

from streams.settings import Settings

FINDING: Final = 1
BAD_INPUT: Final = 2
UNAVAILABLE: Final = 3


def say(message: str) -> None:
    """One line for people, on stderr."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201  # the one place that prints to stderr


def out(line: str | bytes) -> None:
    """One line of data, on stdout."""
    sys.stdout.buffer.write((line if isinstance(line, bytes) else line.encode()) + b"\n")


def fail(message: str, code: int) -> NoReturn:
    """End the command with one clear line and an exit code."""
    say(f"doorward: {message}")
    raise typer.Exit(code)


def settings(**given: object) -> Settings:
    """The settings of the environment, with what the command line gave on top. Ends the command on a bad one."""
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as exc:
        for error in exc.errors():
            name = "_".join(map(str, error["loc"])).upper()
            say(f"doorward: DOORWARD_{name}: {error['msg']}")
        raise typer.Exit(BAD_INPUT) from None


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End quietly when the reader of stdout has gone (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit: give it somewhere to go.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # lives until the process ends
        raise typer.Exit(0) from None
    except OSError as exc:
        if exc.filename is not None:
            raise  # about a file, not about stdout
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # as above
        fail(f"cannot write to stdout: {exc.strerror}", UNAVAILABLE)
