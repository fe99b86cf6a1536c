"""Workers that die are started again, ever later in a crash loop, and never once the sandbox ends."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.dev import sandbox
from streams.dev.sandbox import SandboxWorker, Supervisor


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[SandboxWorker]:
    """A worker that ends as soon as it has read its settings: they name no trust set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DOORWARD_")}
    worker = SandboxWorker(1, tmp_path, kept, 0)
    yield worker
    worker.process.release()
    worker.process.wait()


def test_a_crash_loop_slows_down_and_is_said_once_a_restart(
    crashing: SandboxWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "RESTART_CAP_SECONDS", 1.5)
    said: list[str] = []
    supervisor = Supervisor([crashing], said.append)
    deadline = time.monotonic() + 40
    while len(said) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    supervisor.stop()
    assert said == [
        f"sandbox-1 ended with code 3; starting it again in {wait} s" for wait in ("0.5", "1", "1.5", "1.5")
    ]
    assert crashing.restarts == 3
    assert crashing.last_line().startswith("DOORWARD_TRUST: ")


def test_no_worker_is_started_once_the_supervisor_has_stopped(
    crashing: SandboxWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, starting = crashing.restart, threading.Event()

    def slow_restart() -> None:
        starting.set()
        time.sleep(0.5)  # the sandbox is ended in just this moment
        start()

    monkeypatch.setattr(crashing, "restart", slow_restart)
    supervisor = Supervisor([crashing], lambda line: None)
    assert starting.wait(20)
    supervisor.stop()
    last = crashing.pid
    time.sleep(1.5)
    assert crashing.restarts == 1
    assert crashing.pid == last
