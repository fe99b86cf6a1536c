"""The worker process: event loop, garbage collector, loggers, signals, and how it ends.

Exit codes: 0 after SIGTERM or SIGINT; 1 when an agent or a service failed; 70 when the watchdog ended it or the stop
took too long. In each case what was not committed is read again.
"""

import gc
import signal
from typing import Any, NoReturn

import faust
import uvloop

from streams.runtime import calls
from streams.runtime.application import STOP_SECONDS, ChunkedApp
from streams.runtime.config import quiet_loggers
from streams.runtime.watchdog import exit_later


class Worker(faust.Worker):
    """Faust's worker, which leaves logging alone and bounds its own end."""

    def __init__(self, app: ChunkedApp, **options: Any) -> None:
        super().__init__(app, override_logging=False, redirect_stdouts=False, quiet=True, **options)
        self.spinner = None  # it writes terminal escapes to stdout, which is for data

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        exit_later(STOP_SECONDS, f"the stop took longer than {STOP_SECONDS:.0f} s")  # covers a stop during the start
        super()._schedule_shutdown(signal)


def settle() -> None:
    """Move everything alive out of the garbage collector's sight, and let it run seldom.

    Decisions make many short-lived objects and no cycles. Call it again after loading something large (policies).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def run(app: ChunkedApp) -> NoReturn:
    """Run the worker until a signal or a failure; never returns.

    uvloop serves both loops, the main one and the consumer's, so it must be in place before Faust makes them.
    """
    uvloop.install()
    calls.install()
    quiet_loggers()
    settle()
    Worker(app).execute_from_commandline()
    raise AssertionError("Faust's worker ends by SystemExit")
