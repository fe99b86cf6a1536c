"""A deployment at work and those who watch it: Prometheus and the charter's watch; a backend sends joins all along."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import Self

from streams.dev.guardian import Guarded
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox, SandboxWorker
from tests.chaos.trials import Storm
from tests.chaos.workers import await_ready, ended
from tests.integration.backend import Backend
from tests.integration.prometheus import Prometheus

RATE = 100
"""Joins a second."""
PARTITIONS = 4


class Load:
    """A backend that sends joins all the while, in a thread of its own."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._over = threading.Event()
        self.storm = Storm()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self.unanswered: int | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send no more, and wait for what is still to be answered."""
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        async with Client(self._bootstrap, self.storm, PARTITIONS) as client:
            while not self._over.is_set():
                await client.send(RATE, 0.5)
            await client.settle(60)
            self.unanswered = len(client.ledger.missing()) + sum(client.ledger.failed.values())


class Scene:
    """A deployment, and those who watch it.

    Args:
        folder: for what is made on the way.
        sandbox: started; joins are sent to it.
        prometheus: scrapes it, and the watch at `port`.
        load: of joins.
    """

    def __init__(self, folder: Path, sandbox: Sandbox, prometheus: Prometheus, load: Load, port: int) -> None:
        self.folder, self.sandbox, self.prometheus, self.load = folder, sandbox, prometheus, load
        self.backend = Backend(sandbox.bootstrap, PARTITIONS)
        self._port = port
        self._watch: Guarded | None = None

    def begin_watch(self) -> None:
        """Start `doorward report --watch`."""
        command = [sys.executable, "-m", "streams.cli.main", "report", "--watch"]
        command += ["--bootstrap", self.sandbox.bootstrap, "--metrics", str(self._port)]
        self._watch = Guarded(command, log=self.folder / "watch.log")

    def end_watch(self) -> None:
        """Stop it, if it runs."""
        if self._watch is not None:
            self._watch.release()
            self._watch.wait()
            self._watch = None

    def restart(self, worker: SandboxWorker, *, strict: bool = False, **environment: str) -> None:
        """Start a worker again with other settings than it has by itself, and wait until all are ready.

        Args:
            worker: which.
            strict: as for `Sandbox`.
            environment: on top of its own, which it keeps; an empty one takes a variable away.
        """
        with ended(self.sandbox, worker, signal.SIGTERM):
            own = worker._environment
            changed = {name: text for name, text in (own | environment).items() if text}
            worker._environment, worker._arguments = changed, ["0", *(["strict"] if strict else [])]
        worker._environment = own
        await_ready(self.sandbox)
