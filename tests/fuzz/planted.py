"""Targets that are wrong on purpose, each in one way that the engine must notice."""

from __future__ import annotations

import os
import signal
from typing import Final

from tests.fuzz.engine import Target


def _forgets_a_case(data: bytes) -> None:
    if b"?" in data:
        raise KeyError("?")


def _answers_wrongly(data: bytes) -> None:
    assert b"?" not in data, "wrong answer"


def _never_ends(data: bytes) -> None:
    while b"?" in data:
        pass


def _is_slow(data: bytes) -> None:
    if b"?" in data:
        sum(range(2_000_000))


def _crashes(data: bytes) -> None:
    if b"?" in data:
        os.kill(os.getpid(), signal.SIGSEGV)


_CORPUS: Final = (b"what is it", b"and why")
TARGETS: Final = [
    Target("forgets-a-case", _forgets_a_case, "text", _CORPUS),
    Target("answers-wrongly", _answers_wrongly, "text", _CORPUS),
    Target("never-ends", _never_ends, "text", _CORPUS, seconds=0.01),
    Target("is-slow", _is_slow, "text", _CORPUS, seconds=0.01),
    Target("crashes", _crashes, "text", _CORPUS, apart=True),
]
