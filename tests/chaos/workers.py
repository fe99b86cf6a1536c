"""Words for what is done to a sandbox's workers from outside: ending them, starting them again, waiting for them."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streams.dev.sandbox import Sandbox, SandboxWorker

READY_SECONDS = 40.0


@contextmanager
def ended(sandbox: Sandbox, worker: SandboxWorker, how: signal.Signals) -> Iterator[None]:
    """End a worker, and start it again when the block is left; nobody else does meanwhile."""
    with sandbox.unsupervised():
        worker.process.signal(how)
        worker.process.wait()
        yield
        worker.restart()


def await_ready(sandbox: Sandbox) -> None:
    """Wait until every worker has found its place and each partition has its owner."""
    await_that(sandbox.is_ready, lambda: str([worker.last_line() for worker in sandbox.workers]))


def await_that(holds: Callable[[], bool], told: Callable[[], str], seconds: float = READY_SECONDS) -> None:
    """Wait until something holds; where it doesn't in time, fail with what is told then."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
