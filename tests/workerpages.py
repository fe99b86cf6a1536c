"""Workers as those who watch them see them: real metrics on real servers, in this process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from streams.adapters import health
from streams.adapters.health import Tls
from streams.adapters.metrics import Metrics

LOOPBACK = "127.0.0.1"
HASH = "3fa2c19d00aa"


class WatchedWorker(Collector):
    """A ready worker's pages.

    Attributes:
        metrics: what it counts.
        failing: the checks that fail.
        before: what happens before each look at its metrics, one after the other.
    """

    def __init__(self, *, ready: bool = True, tls: Tls | None = None) -> None:
        self.failing: set[str] = set()
        self.before: list[Callable[[], object]] = []
        self.start(ready=ready)
        registry = CollectorRegistry()
        registry.register(self)
        names = {"live": ("loop", "progress"), "ready": ("policies", "partitions", "geo", "fuse")}
        checks = {kind: {name: lambda n=name: n not in self.failing for name in each} for kind, each in names.items()}
        self.port = health.serve(LOOPBACK, 0, registry=registry, **checks, tls=tls)
        self.name = f"{LOOPBACK}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.name}/metrics"

    def collect(self) -> Iterable[Metric]:
        if self.before:
            self.before.pop(0)()
        return self.metrics.registry.collect()

    def describe(self) -> Iterable[Metric]:
        return []

    def start(self, *, ready: bool = True) -> None:
        """A process that has just started: again, the second time."""
        self.metrics = Metrics()
        self.metrics.ready.set(ready)
        self.metrics.partitions.set(2)
        self.metrics.show_index(HASH + "ff", 12, 42)

    def answer(self, events: int, seconds: float = 0.003, removes: int = 0) -> None:
        """Events came and were decided."""
        self.metrics.events.count_all(["doorward.join.v1"] * events)
        self.metrics.latency.observe_all([1000 * seconds] * events)
        verdicts = [("admit", "join", "enforce")] * (events - removes) + [("remove", "join", "enforce")] * removes
        self.metrics.decisions.count_all(verdicts + [("remove", "join", "report")] * 7)


def deaf() -> socket.socket:
    """Takes connections and never answers; the caller closes it."""
    listening = socket.socket()
    listening.bind((LOOPBACK, 0))
    listening.listen()
    return listening


def nobody() -> str:
    """The URL of a worker that is gone."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return f"http://{LOOPBACK}:{free.getsockname()[1]}/metrics"
