"""A worker's instruments: what changes by itself is put into the metrics once a second, and health checks look at it.

What happens in chunks is counted where it happens (``JoinsAgent``). Here are gauges, which only a look can set, and
counters that others keep as plain numbers for reasons of their own. Checks, and the gauge of how long the worker has
been hung, are asked from another thread than the event loop's (``streams.adapters.health``): they only read. All other
gauges of a worker that hangs stay as they were.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from streams.adapters.certificates import earliest_end
from streams.adapters.health import Check
from streams.adapters.metrics import Metrics
from streams.agents.geography import Geography
from streams.agents.joins import JoinsAgent
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.runtime.application import ChunkedApp

LIVE_SECONDS: Final = 10.0
"""For how long the event loop may stand still, or work lie about, before ``/livez`` says so."""
CERTIFICATES_SECONDS: Final = 3600.0
"""How often certificates are looked at; they are exchanged in place."""


class Instruments:
    """Reads a worker's parts.

    Args:
        metrics: where to.
        app, agent, keeper, sweeper, geography: what is read.
        certificates: files in use.
        clock: ms since the epoch.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        app: ChunkedApp,
        agent: JoinsAgent,
        keeper: SessionKeeper,
        sweeper: Sweeper,
        geography: Geography,
        certificates: Sequence[Path],
        clock: Callable[[], int],
    ) -> None:
        self._metrics = metrics
        self._app = app
        self._agent = agent
        self._keeper = keeper
        self._sweeper = sweeper
        self._geography = geography
        self._certificates = certificates
        self._clock = clock
        self._certificates_at = -CERTIFICATES_SECONDS
        self._sweeping_since: float | None = None
        self._lost_at: float | None = time.monotonic()  # partitions; at the start there are none
        counts, tally, watchdog = app.source.counts, app.source.positions.tally, app.watchdog
        self._is_open = False
        self._show()
        metrics.stalled.set_function(lambda: max(watchdog.silent_for, watchdog.stalled_for))
        metrics.tally("doorward_commits", lambda: {"": counts.commits})
        metrics.tally("doorward_commit_failures", lambda: {"": counts.commit_failures})
        metrics.tally("doorward_fenced_chunks", lambda: {"": counts.fenced})
        metrics.tally("doorward_produce_retries", lambda: {"": counts.resent})
        metrics.tally("doorward_repeated_records", lambda: {"": tally.repeats})
        metrics.tally("doorward_geo_lookups", self._lookups)

    def lost(self) -> None:
        """The partitions are no longer ours."""
        self._lost_at = self._lost_at or time.monotonic()
        self._metrics.partitions.set(0)
        self._show()

    def taken_on(self, partitions: int) -> None:
        """So many partitions are ours, and loaded."""
        self._metrics.partitions.set(partitions)
        self._metrics.rebalances.inc()
        if self._lost_at is not None:
            self._metrics.recovery.observe_all([time.monotonic() - self._lost_at])
            self._lost_at = None
        self._show()

    def left_without(self) -> None:
        """There are partitions for others only. Said as often as one likes."""
        if self._lost_at is not None:
            self.taken_on(0)

    def opened(self) -> None:
        """Joins are consumed, where there are partitions to consume them from."""
        self._is_open = True
        self._show()

    def _show(self) -> None:
        is_placed = self._lost_at is None
        self._metrics.recovering.set(not is_placed)
        self._metrics.ready.set(self._is_open and is_placed)

    def look(self) -> None:
        """Call once a second."""
        metrics, keeper, now = self._metrics, self._keeper, self._clock()
        lag = self._app.lag()
        metrics.lag.set(sum(lag.values()))
        behind = (partition.partition for partition, records in lag.items() if records)
        metrics.lag_age.set(max((now - self._agent.reached(partition, now) for partition in behind), default=0) / 1000)
        metrics.sessions.set(len(keeper))
        metrics.ended.set(sum(len(view.ended) for view in keeper.views.values()))
        metrics.unconfirmed.set(keeper.unconfirmed)
        metrics.geo_build_time.set(self._geography.geo.time)
        metrics.loop_lag.set(self._app.watchdog.loop_lag)
        metrics.document_expiry.set((self._sweeper.next_end(now) or 0) / 1000)
        self._look_at_sweeps()
        self._look_at_certificates()

    def live_checks(self) -> dict[str, Check]:
        """Of ``/livez``: a worker that fails one for long should be started anew."""
        watchdog = self._app.watchdog
        return {
            "loop": lambda: watchdog.silent_for < LIVE_SECONDS,
            "progress": lambda: watchdog.stalled_for < LIVE_SECONDS,
        }

    def ready_checks(self, *, has_taken_on: Check, oldest_geo: float) -> dict[str, Check]:
        """Of ``/readyz``.

        Args:
            has_taken_on: whether what was assigned is loaded.
            oldest_geo: seconds since the newest geo file's build; 0: whatever its age.
        """
        source, geography = self._app.source, self._geography
        return {
            "policies": lambda: source.is_open,  # by then the log and the trust set have been read
            "partitions": has_taken_on,
            "geo": lambda: not oldest_geo or time.time() - geography.geo.time <= oldest_geo,
            "fuse": lambda: not source.held,
        }

    def _look_at_sweeps(self) -> None:
        due, now = len(self._sweeper.backlog), time.monotonic()
        self._sweeping_since = (self._sweeping_since or now) if due else None
        self._metrics.sweeps_due.set(due)
        self._metrics.sweep_age.set(0.0 if self._sweeping_since is None else now - self._sweeping_since)

    def _look_at_certificates(self) -> None:
        now = time.monotonic()
        if now - self._certificates_at >= CERTIFICATES_SECONDS:
            self._certificates_at = now
            self._metrics.certificate_expiry.set(earliest_end(self._certificates))

    def _lookups(self) -> dict[str, float]:
        errors, unknown = self._geography.geo.lookup_errors, self._keeper.unlocated
        return {"found": self._keeper.located, "unknown": max(0, unknown - errors), "error": errors}
