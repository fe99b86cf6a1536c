"""The Prometheus metrics of ``doorward report --watch``, shown by a process of its own.

The label ``policy`` is the path of a service document. Such documents are public and few (charter C5). No label carries
a meeting, an account or a participation: the alarm says that removals fall on one, not on which.
"""

from collections.abc import Iterable

import prometheus_client
from prometheus_client import CollectorRegistry

from streams.adapters.metrics import counter, gauge
from streams.core.concentration import Finding


class WatchMetrics:
    """What the watch shows.

    Args:
        registry: where they are registered; a test brings its own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.concentration = gauge("doorward_charter_removals_concentration", registry)
        self.alarm = gauge("doorward_charter_alarm", registry)
        self.decisions = counter("doorward_charter_decisions", registry)
        self.unreadable = counter("doorward_charter_unreadable_records", registry)
        self.lag = gauge("doorward_charter_lag_records", registry)
        self.checked_at = gauge("doorward_charter_checked_timestamp_seconds", registry)
        self._shown: set[tuple[str, str]] = set()

    def show(self, findings: Iterable[Finding]) -> None:
        """Show these and no others."""
        present: set[tuple[str, str]] = set()
        for finding in findings:
            labels: tuple[str, str] = (finding.cut.policy, finding.scope)
            present.add(labels)
            self.concentration.labels(*labels).set(finding.share)
            self.alarm.labels(*labels).set(finding.alarm)
        for gone in self._shown - present:
            self.concentration.remove(*gone)
            self.alarm.remove(*gone)
        self._shown = present

    def serve(self, host: str, port: int) -> int:
        """Serve ``/metrics`` from a thread and return the port. Raises OSError when it cannot be bound."""
        server, _ = prometheus_client.start_http_server(port, host, registry=self.registry)
        return int(server.server_port)
