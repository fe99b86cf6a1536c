"""Prometheus metrics: every metric is declared here, and updated once a chunk, never once an event.

Labels have few values, fixed by the code; none carries a meeting, an account, a participation or an address.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as PromCounter
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""
LONG_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds, for what waits for people and their clients."""


class Latency(Collector):
    """A histogram that takes a chunk's observations at once (prometheus-client's takes one at a time)."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float] = LATENCY_BUCKETS) -> None:
        self._name, self._documentation = name, documentation
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe_all(self, seconds: Iterable[float]) -> None:
        """Count observations; a clock that went backwards counts as no time at all."""
        counts, bounds = self._counts, self._buckets
        for value in seconds:
            value = max(value, 0.0)
            counts[bisect_left(bounds, value)] += 1
            self._sum += value

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The histogram as prometheus-client exposes it."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._buckets), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family = HistogramMetricFamily(self._name, self._documentation)
        family.add_metric([], buckets, self._sum)
        yield family


class Metrics:
    """What a worker counts.

    Args:
        registry: Where they are registered; a test brings its own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.ready = Gauge("doorward_ready", "1 while joins are consumed.", registry=registry)
        self.events = PromCounter("doorward_events", "Events read from joins.", ["type"], registry=registry)
        self.decisions = PromCounter(
            "doorward_decisions", "Decisions acknowledged by the brokers.", ["verdict", "mode"], registry=registry
        )
        self.dead_letters = PromCounter("doorward_dead_letters", "Dead letters.", ["reason"], registry=registry)
        self.misrouted = PromCounter(
            "doorward_misrouted_events", "Events not on the default partitioner's partition.", registry=registry
        )
        self.latency = Latency(
            "doorward_decision_latency_seconds",
            "From an event record's timestamp to its decision's acknowledgement.",
        )
        registry.register(self.latency)
        self.fuse_blown = Gauge(
            "doorward_fuse_blown", "1 while the worker holds because too many events failed.", registry=registry
        )
        self.policy_offset = Gauge("doorward_policy_offset", "Last offset of policies in force.", registry=registry)
        self.documents = Gauge("doorward_policy_documents", "Paths with an accepted document.", registry=registry)
        self.policy_records = PromCounter(
            "doorward_policy_records", "Policy records judged.", ["result"], registry=registry
        )
        self.geo_build_time = Gauge(
            "doorward_geo_build_timestamp_seconds", "Build time of the newest geo file.", registry=registry
        )
        self.geo_errors = PromCounter("doorward_geo_lookup_errors", "Geo look-ups that failed.", registry=registry)
        self.partitions = Gauge("doorward_partitions", "Partitions of joins owned.", registry=registry)
        self.lag = Gauge("doorward_lag_records", "Events waiting in owned partitions.", registry=registry)
        self.sessions = Gauge("doorward_sessions", "Live sessions of owned partitions.", registry=registry)
        self.ended = Gauge(
            "doorward_ended_sessions", "Ended participations kept for events that are late.", registry=registry
        )
        self.session_faults = PromCounter(
            "doorward_session_faults",
            "Events and records that found their session otherwise than expected; each has a defined outcome.",
            ["kind"],
            registry=registry,
        )
        self.unconfirmed = Gauge(
            "doorward_unconfirmed_removals", "Removed sessions whose leave has not been seen.", registry=registry
        )
        self.reminders = PromCounter("doorward_reminders", "Removals said again.", registry=registry)
        self.swept = PromCounter("doorward_swept_sessions", "Live sessions decided again.", registry=registry)
        self.sweep_changes = PromCounter(
            "doorward_sweep_changes", "Live verdicts changed by a sweep.", ["verdict", "cause"], registry=registry
        )
        self.sweeps_due = Gauge("doorward_sweeps_due", "Sweeps due or under way.", registry=registry)
        self.geo_held = Gauge("doorward_geo_held", "1 while a new geo build is held back.", registry=registry)
        self.policy_in_force = Latency(
            "doorward_policy_in_force_seconds", "From a policy record's append to joins being decided by it."
        )
        self.policy_swept = Latency(
            "doorward_policy_swept_seconds",
            "From a policy record's coming into force to the last changed live verdict's acknowledgement.",
            LONG_BUCKETS,
        )
        self.removal_confirmed = Latency(
            "doorward_removal_confirmed_seconds", "From a removal to the participation's leave.", LONG_BUCKETS
        )
        for latency in (self.policy_in_force, self.policy_swept, self.removal_confirmed):
            registry.register(latency)

    def count_decisions(self, verdicts: Counter[tuple[str, str]]) -> None:
        """Add a chunk's decisions, counted by verdict and mode."""
        for (verdict, mode), count in verdicts.items():
            self.decisions.labels(verdict, mode).inc(count)

    def serve(self, host: str, port: int) -> int:
        """Serve ``/metrics`` from a thread and return the port. Raises OSError when it cannot be bound."""
        server, _ = prometheus_client.start_http_server(port, host, registry=self.registry)
        return int(server.server_port)
