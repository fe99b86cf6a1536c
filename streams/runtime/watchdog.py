"""The watchdog: ends a process that no longer does its work, or that may no longer speak.

An exit is always safe here: what is not committed is read again. A worker that hangs with its partitions is not safe,
and Faust alone lets that happen, for its heartbeats come from a thread of their own. So a third thread looks on, and
ends the process at once (exit code 70) when

* the process did not run when the group lease lapsed, and has a chunk in hand: another worker may own its partitions.
  A stale worker must not speak. (One that runs knows when its lease is out, and waits: see `produce` and `fence`);
* there is work (a chunk in hand, or known lag) and for too long the agent neither finished a chunk nor tried to write
  one, unless one is held on purpose. An agent that tries is not hung: brokers without room are waited for;
* the main loop or the consumer's loop stands still for too long;
* a part of the consumer has died and left the rest alive.

`diagnose` holds these rules and nothing else. When the whole process was stopped (SIGSTOP, a suspended machine) its
silences start anew, so that it isn't blamed for the time it could not run; the lease makes no such allowance.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import Any, Final

from mode import Service

log = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""sysexits.h EX_SOFTWARE: a supervisor should start the worker again."""

TICK_SECONDS: Final = 0.25
STOPPED_SECONDS: Final = 5.0
"""A tick this late means that the process did not run."""

LAG_SAMPLES: Final = 120
"""Loop lags remembered: half a minute of ticks."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the rules look at. Times are monotonic seconds.

    Attributes:
        in_hand: Whether the agent has a chunk.
        lag: Unfinished records known of, over all owned partitions.
        lease_left: Seconds the group lease still holds.
        progress_at: When it last did what it could; see `Source`.
        main_beat_at: When the main loop last turned.
        consumer_beat_at: When the consumer's loop last turned; 0 when it has not started.
        held: Whether the chunk in hand is held on purpose.
        dead_part: A part of the consumer that has died.
    """

    in_hand: bool
    lag: int
    lease_left: float
    progress_at: float
    main_beat_at: float
    consumer_beat_at: float
    held: bool = False
    dead_part: str | None = None


def has_work(vitals: Vitals) -> bool:
    """Whether something should be finished by and by: not while a chunk is held for somebody to look at."""
    return (vitals.in_hand or vitals.lag > 0) and not vitals.held


def diagnose(vitals: Vitals, now: float, ran_since: float, work_since: float, patience: float) -> str | None:
    """Why the process must end, if it must.

    Args:
        vitals: What was seen at `now`.
        now: Monotonic seconds.
        ran_since: Since when the process has run without a stop; no silence is counted from before.
        work_since: Since when there has been something to finish.
        patience: Seconds a silence may last.
    """
    if vitals.in_hand and vitals.lease_left <= 0 and ran_since > now + vitals.lease_left:
        return "the group lease has lapsed unseen, with a chunk in hand"
    if vitals.dead_part:
        return f"the consumer's {vitals.dead_part} has died"
    if now - max(vitals.main_beat_at, ran_since) > patience:
        return f"the main loop stood still for {patience:.0f} s"
    if vitals.consumer_beat_at and now - max(vitals.consumer_beat_at, ran_since) > patience:
        return f"the consumer's loop stood still for {patience:.0f} s"
    if has_work(vitals) and now - max(vitals.progress_at, ran_since, work_since) > patience:
        return f"nothing was finished for {patience:.0f} s though {vitals.lag} records are waiting"
    return None


def exit_now(reason: str) -> None:
    """Log one line and end the process, running no exit handlers: none may send or commit anything any more."""
    last_resort = threading.Timer(1.0, os._exit, (EXIT_CODE,))  # logging takes locks, and whoever hangs may hold them
    last_resort.daemon = True
    last_resort.start()
    log.critical("ending the process: %s", reason)
    logging.shutdown()
    os._exit(EXIT_CODE)


def exit_later(seconds: float, reason: str) -> None:
    """End the process in `seconds` unless it ended by itself; neither commits nor thread stops have a limit."""
    timer = threading.Timer(seconds, exit_now, (reason,))
    timer.daemon = True
    timer.start()


class Watchdog(Service):
    """Watches from a thread of its own; started and stopped with the application.

    Args:
        read: Reads the vitals; called from the thread, so it may only read. `main_beat_at` is filled in here.
        patience: Seconds a silence may last.
        end: Ends the process.

    Attributes:
        stalled_for: Seconds for which there has been something to do and nothing was done. Any thread may read it.
    """

    logger = logging.getLogger("mode")  # where mode's own lines about this service go

    def __init__(
        self, read: Callable[[float], Vitals], *, patience: float, end: Callable[[str], None] = exit_now, **options: Any
    ) -> None:
        super().__init__(**options)
        self._read = read
        self._patience = patience
        self._end = end
        self._beat_at = monotonic()
        self._lags: deque[float] = deque(maxlen=LAG_SAMPLES)
        self._over = threading.Event()
        self._failed = False  # the latest look; a failure is logged once
        self.stalled_for = 0.0

    @property
    def silent_for(self) -> float:
        """Seconds since the main loop last turned. Any thread may ask."""
        return monotonic() - self._beat_at

    @property
    def loop_lag(self) -> float:
        """Seconds the main loop was late in the worst of the last 120 ticks (30 s)."""
        return max(self._lags, default=0.0)

    async def on_start(self) -> None:
        """Start watching."""
        self._beat_at = monotonic()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    async def on_stop(self) -> None:
        """Stop watching: from here on `exit_later` bounds the stop."""
        self._over.set()

    @Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            slept = monotonic()
            await asyncio.sleep(TICK_SECONDS)
            self._beat_at = monotonic()
            self._lags.append(max(0.0, self._beat_at - slept - TICK_SECONDS))

    def _look(self, before: Vitals) -> Vitals:
        """What is seen now; while parts come and go on other threads that may fail, and then it is no news."""
        try:
            vitals = self._read(self._beat_at)
        except Exception:
            if not self._failed:
                log.exception("the watchdog could not read the vitals; it goes by those before")
            self._failed = True
            return replace(before, main_beat_at=self._beat_at)
        self._failed = False
        return vitals

    def _watch(self) -> None:
        seen = ran_since = work_since = monotonic()
        vitals = Vitals(False, 0, inf, seen, seen, 0.0)
        while not self._over.wait(TICK_SECONDS):
            now = monotonic()
            if now - seen > STOPPED_SECONDS:
                ran_since = now
            seen = now
            vitals = self._look(vitals)
            if not has_work(vitals):
                work_since = now
            idle_since = max(vitals.progress_at, ran_since, work_since)
            self.stalled_for = now - idle_since if has_work(vitals) else 0.0
            reason = diagnose(vitals, now, ran_since, work_since, self._patience)
            if reason and not self._over.is_set():
                self._end(reason)
                return
