"""What Prometheus scrapes: all that is declared, nothing else, and in few words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.adapters.metricmanifest import ANY_PATH, BY_NAME, MANIFEST, QUICK, page
from streams.adapters.metrics import Latency, Metrics, counter, gauge
from streams.adapters.watchmetrics import WatchMetrics
from streams.core.events import JOIN, LEAVE, UPDATE

PAGE = Path(__file__).parents[2] / "deploy/METRICS.md"
ELSEWHERE = {"doorward_produce_retries", "doorward_commits", "doorward_commit_failures", "doorward_fenced_chunks"} | {
    "doorward_repeated_records",
    "doorward_geo_lookups",
}
"""Counters that a worker's other parts keep: `Metrics.tally` (tests/integration sees them scraped)."""


def families(registry: CollectorRegistry) -> dict[str, str]:
    found = text_string_to_metric_families(generate_latest(registry).decode())
    mine = (family for family in found if family.name.startswith("doorward_"))
    return {family.name: family.type for family in mine if not family.name.endswith("_created")}  # the client's own


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(("process", "made"), [("worker", Metrics), ("watch", WatchMetrics)])
def test_all_that_is_declared_is_served_and_nothing_else(process: str, made: type[Metrics | WatchMetrics]) -> None:
    declared = {metric.name: metric.kind for metric in MANIFEST if metric.process == process}
    served = families(made().registry)
    assert served == {name: kind for name, kind in declared.items() if name not in ELSEWHERE}
    assert BY_NAME.keys() >= ELSEWHERE


def test_what_is_not_declared_cannot_be_made() -> None:
    registry = CollectorRegistry()
    with pytest.raises(KeyError, match="doorward_meetings"):
        gauge("doorward_meetings", registry)
    with pytest.raises(KeyError, match="declared as a gauge"):
        counter("doorward_sessions", registry)
    with pytest.raises(KeyError, match="declared as a counter"):
        Latency("doorward_events", registry)


def test_names_are_prometheus_and_labels_have_few_words() -> None:
    assert len(BY_NAME) == len(MANIFEST)
    for metric in MANIFEST:
        assert metric.name.startswith("doorward_")
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_milliseconds"))
        assert (metric.kind == "histogram") == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")
        assert metric.viewers
        assert not metric.labels.keys() & {"meeting", "account", "participation", "address", "rule", "le"}
        series = 1
        for words in metric.labels.values():
            series *= len(words)
        assert series <= 30, metric.name
        assert ("policy" in metric.labels) == (ANY_PATH in metric.labels.values())


def test_a_stage_that_is_not_declared_cannot_be_observed() -> None:
    with pytest.raises(KeyError):
        Metrics().stages.observe_all([0.1], "sleep")


def test_a_chunk_counts_at_once() -> None:
    metrics = Metrics()
    metrics.events.count_all([JOIN, LEAVE, JOIN])
    metrics.decisions.count_all([("remove", "policy", "enforce")] * 3 + [("admit", "join", "report")] * 2)
    metrics.latency.observe_all([1, 3, 0, 98_999, -1000], shift=0.5)  # ms
    metrics.latency.observe_all([])
    metrics.stages.observe(0.3, "write")
    found = samples(metrics)
    counted = "doorward_decisions_total"
    assert found[counted, (("cause", "policy"), ("mode", "enforce"), ("verdict", "remove"))] == 3
    assert found[counted, (("cause", "join"), ("mode", "report"), ("verdict", "admit"))] == 2
    name = "doorward_decision_latency_seconds"
    assert found[f"{name}_count", ()] == 5
    assert found["doorward_events_total", (("type", JOIN),)] == 2
    assert found["doorward_events_total", (("type", UPDATE),)] == 0
    assert found[f"{name}_sum", ()] == pytest.approx(0.0005 + 0.0015 + 0.0035 + 98.9995)
    assert found[f"{name}_bucket", (("le", "0.001"),)] == 2, "before time is no time"
    assert found[f"{name}_bucket", (("le", "0.002"),)] == 3
    assert found[f"{name}_bucket", (("le", "0.005"),)] == 4
    assert found[f"{name}_bucket", (("le", "10.0"),)] == 4
    assert found[f"{name}_bucket", (("le", "+Inf"),)] == 5
    assert found["doorward_stage_seconds_bucket", (("le", "0.25"), ("stage", "write"))] == 0
    assert found["doorward_stage_seconds_bucket", (("le", "0.5"), ("stage", "write"))] == 1
    assert found["doorward_stage_seconds_count", (("stage", "wait"),)] == 0


@given(st.lists(st.floats(-1e3, 1e5) | st.sampled_from([1000 * bound for bound in QUICK])), st.sampled_from([0.0, 0.5]))
def test_observations_at_once_are_those_one_by_one(values: list[float], shift: float) -> None:
    name = "doorward_decision_latency_seconds"
    together, single = (Latency(name, CollectorRegistry(), per_second=1000) for _ in range(2))
    together.observe_all(values, shift=shift)
    for value in values:
        single.observe(value + shift)
    told, wanted = ([sample for family in each.collect() for sample in family.samples] for each in (together, single))
    assert [(one.name, one.labels) for one in told] == [(one.name, one.labels) for one in wanted]
    assert [one.value for one in told] == pytest.approx([one.value for one in wanted])


def test_index_hashes_that_differ_differ_as_numbers() -> None:
    metrics, other = Metrics(), Metrics()
    metrics.show_index("0123456789ab" + 20 * "0", 3, 7)
    other.show_index("0123456789ac" + 20 * "0", 3, 7)
    [value, another] = (samples(each)["doorward_policy_index_hash", ()] for each in (metrics, other))
    assert value == 0x0123456789AB
    assert another - value == 1


def test_what_others_count_is_read_when_it_is_asked_for() -> None:
    metrics, counts = Metrics(), {"found": 1.0, "error": 0.0}
    metrics.tally("doorward_geo_lookups", lambda: counts)
    counts["found"] = 5
    assert samples(metrics)["doorward_geo_lookups_total", (("result", "found"),)] == 5


def test_the_page_is_what_the_manifest_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m streams.adapters.metricmanifest > deploy/METRICS.md"
