"""What Prometheus scrapes."""

import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.adapters.metrics import LATENCY_BUCKETS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    port = metrics.serve("127.0.0.1", 0)
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_chunk_counts_at_once() -> None:
    metrics = Metrics()
    metrics.count_decisions(Counter({("remove", "enforce"): 3, ("admit", "report"): 2}))
    metrics.latency.observe_all([0.0005, 0.001, 0.004, 99.0, -1.0])
    found = samples(metrics)
    assert found["doorward_decisions_total", (("mode", "enforce"), ("verdict", "remove"))] == 3
    assert found["doorward_decisions_total", (("mode", "report"), ("verdict", "admit"))] == 2
    name = "doorward_decision_latency_seconds"
    assert found[f"{name}_count", ()] == 5
    assert found[f"{name}_sum", ()] == pytest.approx(99.0055)
    assert found[f"{name}_bucket", (("le", "0.001"),)] == 3, "a bound belongs to its bucket; before time is no time"
    assert found[f"{name}_bucket", (("le", "0.005"),)] == 4
    assert found[f"{name}_bucket", (("le", str(LATENCY_BUCKETS[-1])),)] == 4
    assert found[f"{name}_bucket", (("le", "+Inf"),)] == 5


def test_a_port_in_use_is_an_os_error() -> None:
    metrics = Metrics()
    port = metrics.serve("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        Metrics().serve("127.0.0.1", port)
