"""Prometheus metrics of a worker, updated once a chunk and never once an event; declared in ``metricmanifest``."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate, product
from typing import Final, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client import Counter as PromCounter
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from streams import __version__
from streams.adapters.metricmanifest import BY_NAME, MANIFEST, Kind, Metric

__all__ = ["MANIFEST", "Latency", "Metrics", "counter", "gauge"]

Words: TypeAlias = str | tuple[str, ...]

_HASH_DIGITS: Final = 12
"""Hex digits of an index hash that a metric's value can carry: 48 bits; a float has 53."""


def gauge(name: str, registry: CollectorRegistry) -> Gauge:
    """A declared gauge. Raises KeyError for one that is not."""
    metric = _declared(name, "gauge")
    return Gauge(name, metric.help, list(metric.labels), registry=registry)


def counter(name: str, registry: CollectorRegistry) -> PromCounter:
    """A declared counter, with all that its labels can say from the start: a rate of what came up just now is unknown.

    Raises:
        KeyError: there is no such counter.
    """
    metric = _declared(name, "counter")
    made = PromCounter(name, metric.help, list(metric.labels), registry=registry)
    if metric.labels:
        for words in product(*metric.labels.values()):
            made.labels(*words)
    return made


def _declared(name: str, kind: Kind) -> Metric:
    metric = BY_NAME[name]
    if metric.kind != kind:
        raise KeyError(f"{name} is declared as a {metric.kind}")
    return metric


class WordCounter(Collector):
    """A declared counter that takes a chunk's words at once (prometheus-client's takes one at a time).

    A word is a label's, or a tuple of all labels' in the manifest's order. All that can be said is shown from the start
    (see ``counter``).
    """

    def __init__(self, name: str, registry: CollectorRegistry) -> None:
        self._metric = _declared(name, "counter")
        [first, *others] = self._metric.labels.values()
        self._counts: Counter[Words] = Counter(dict.fromkeys(product(first, *others) if others else first, 0))
        registry.register(self)

    def count_all(self, words: Iterable[Words]) -> None:
        """Go up by one for each."""
        self._counts.update(words)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The counter as prometheus-client exposes it."""
        family = CounterMetricFamily(self._metric.name, self._metric.help, labels=list(self._metric.labels))
        for words, count in dict(self._counts).items():  # in one step: we are asked from another thread
            family.add_metric([words] if isinstance(words, str) else words, count)
        yield family


class Latency(Collector):
    """A declared histogram that takes a chunk's observations at once (prometheus-client's takes one at a time).

    The client makes no native histograms; its buckets are the manifest's.

    Args:
        name: the histogram's.
        registry: where it is registered.
        per_second: how many of the unit that is observed make a second; 1000: milliseconds.
    """

    def __init__(self, name: str, registry: CollectorRegistry, *, per_second: int = 1) -> None:
        self._metric = _declared(name, "histogram")
        self._per_second = per_second
        self._bounds = [bound * per_second for bound in self._metric.buckets]
        [self._label, words], *_ = [*self._metric.labels.items(), ("", ("",))]
        self._counts = {word: [0] * (len(self._bounds) + 1) for word in words}
        self._sums = dict.fromkeys(words, 0.0)
        registry.register(self)

    def observe(self, value: float, word: str = "") -> None:
        """Count one observation; see ``observe_all``."""
        value = max(value, 0.0)
        self._counts[word][bisect_left(self._bounds, value)] += 1
        self._sums[word] += value

    def observe_all(self, values: Iterable[float], word: str = "", *, shift: float = 0.0) -> None:
        """Count observations; a clock that went backwards counts as no time at all.

        Sorted they fall into few buckets, a stretch each: a third of the cost of one by one.

        Args:
            values: each of them, in the unit.
            word: the label's, where there is one.
            shift: added to each.
        """
        counts, bounds, values = self._counts[word], self._bounds, sorted(values)
        if not values:
            return
        if values[0] < -shift:
            values = [max(value, -shift) for value in values]
        begin, last = 0, bisect_left(bounds, values[-1] + shift)
        for bucket in range(bisect_left(bounds, values[0] + shift), last):
            end = bisect_right(values, bounds[bucket] - shift)
            counts[bucket] += end - begin
            begin = end
        counts[last] += len(values) - begin
        self._sums[word] += sum(values) + shift * len(values)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The histogram as prometheus-client exposes it."""
        labels = [self._label] if self._label else []
        family = HistogramMetricFamily(self._metric.name, self._metric.help, labels=labels)
        bounds = (*map(str, self._metric.buckets), "+Inf")
        for word, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([word] if labels else [], buckets, self._sums[word] / self._per_second)
        yield family


class Tallied(Collector):
    """Declared counters that somebody else keeps as plain numbers, read when they are asked for.

    Args:
        name: the counter's.
        read: gives each number, by the label's word ("" without a label). Called from another thread; it may only read.
    """

    def __init__(self, name: str, read: Callable[[], dict[str, float]], registry: CollectorRegistry) -> None:
        self._metric = _declared(name, "counter")
        self._read = read
        registry.register(self)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The counter as prometheus-client exposes it."""
        labels = list(self._metric.labels)
        family = CounterMetricFamily(self._metric.name, self._metric.help, labels=labels)
        for word, value in self._read().items():
            family.add_metric([word] if labels else [], value)
        yield family

    def describe(self) -> Iterable[CounterMetricFamily]:
        """What it is called, without reading."""
        yield CounterMetricFamily(self._metric.name, self._metric.help, labels=list(self._metric.labels))


class Metrics:
    """What a worker counts.

    Args:
        registry: Where they are registered; a test brings its own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        gauge("doorward_build_info", registry).labels(__version__).set(1)
        self.ready = gauge("doorward_ready", registry)
        self.partitions = gauge("doorward_partitions", registry)
        self.joins_partitions = gauge("doorward_joins_partitions", registry)
        self.events = WordCounter("doorward_events", registry)
        self.decisions = WordCounter("doorward_decisions", registry)
        self.dead_letters = counter("doorward_dead_letters", registry)
        self.misrouted = counter("doorward_misrouted_events", registry)
        self.latency = Latency("doorward_decision_latency_seconds", registry, per_second=1000)
        self.stages = Latency("doorward_stage_seconds", registry)
        self.lag = gauge("doorward_lag_records", registry)
        self.lag_age = gauge("doorward_lag_seconds", registry)
        self.policy_offset = gauge("doorward_policy_offset", registry)
        self.policy_applied = gauge("doorward_policy_applied_offset", registry)
        self.documents = gauge("doorward_policy_documents", registry)
        self.index_hash = gauge("doorward_policy_index_hash", registry)
        self.policy_records = counter("doorward_policy_records", registry)
        self.policy_in_force = Latency("doorward_policy_in_force_seconds", registry)
        self.policy_swept = Latency("doorward_policy_swept_seconds", registry)
        self.document_expiry = gauge("doorward_document_expiry_timestamp_seconds", registry)
        self.geo_build_time = gauge("doorward_geo_build_timestamp_seconds", registry)
        self.geo_held = gauge("doorward_geo_held", registry)
        self.anonymity_discounted = gauge("doorward_anonymity_files_discounted", registry)
        self.geo_refused = counter("doorward_geo_refused", registry)
        self.sessions = gauge("doorward_sessions", registry)
        self.ended = gauge("doorward_ended_sessions", registry)
        self.session_faults = counter("doorward_session_faults", registry)
        self.unconfirmed = gauge("doorward_unconfirmed_removals", registry)
        self.reminders = counter("doorward_reminders", registry)
        self.removal_confirmed = Latency("doorward_removal_confirmed_seconds", registry)
        self.swept = counter("doorward_swept_sessions", registry)
        self.sweep_changes = counter("doorward_sweep_changes", registry)
        self.sweeps_due = gauge("doorward_sweeps_due", registry)
        self.sweep_age = gauge("doorward_sweep_age_seconds", registry)
        self.rebalances = counter("doorward_rebalances", registry)
        self.recovering = gauge("doorward_recovering", registry)
        self.recovery = Latency("doorward_recovery_seconds", registry)
        self.fuse_blown = gauge("doorward_fuse_blown", registry)
        self.loop_lag = gauge("doorward_loop_lag_seconds", registry)
        self.stalled = gauge("doorward_stalled_seconds", registry)
        self.certificate_expiry = gauge("doorward_certificate_expiry_timestamp_seconds", registry)

    def tally(self, name: str, read: Callable[[], dict[str, float]]) -> None:
        """Expose a counter that somebody else keeps; see ``Tallied``."""
        Tallied(name, read, self.registry)

    def show_index(self, digest: str, documents: int, offset: int) -> None:
        """Show the index in force: its hash (hex), how many paths it has, and the log's last offset in it."""
        self.index_hash.set(int(digest[:_HASH_DIGITS] or "0", 16))
        self.documents.set(documents)
        self.policy_offset.set(offset)
