"""Workers that die are started again, ever later in a crash loop, and never once the sandbox ends.

What was sealed in a kept sandbox opens when it is started again.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.adapters.seal import Sealer
from streams.dev import sandbox
from streams.dev.sandbox import Sandbox, SandboxFailed, SandboxWorker, Supervisor
from streams.settings import Settings


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


def sealer(started: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sealer:
    """As a worker of the sandbox reads it; nothing is running yet."""
    with monkeypatch.context() as patch:
        for name, value in started._environment.items():
            patch.setenv(name, value)
        return Sealer.read(Settings().seal_keys)


def test_a_kept_sandbox_keeps_its_sealing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORWARD_SEAL_KEYS", "of-another-deployment.json")
    sealed = sealer(Sandbox(data=tmp_path / "kept"), monkeypatch).seal(b"\xcb\0q\x09", b"acme/m-1/p-77")
    again = sealer(Sandbox(data=tmp_path / "kept"), monkeypatch)
    assert again.unseal(sealed, b"acme/m-1/p-77") == b"\xcb\0q\x09"
    other = sealer(Sandbox(data=tmp_path / "other"), monkeypatch)
    assert repr(other) != repr(again)


def test_a_sealing_key_that_is_none_is_said_before_anything_is_started(tmp_path: Path) -> None:
    Sandbox(data=tmp_path)
    (key,) = (tmp_path / "keys").glob("seal*")
    key.write_text("{}")
    with pytest.raises(SandboxFailed, match="is no sealing key"):
        Sandbox(data=tmp_path)
