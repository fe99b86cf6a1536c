"""The mixin's rendered output: it is what the sources make, and it names only what exists."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from types import ModuleType
from typing import Any

import pytest
import yaml

from streams.adapters.metricmanifest import MANIFEST
from tests.mixin.mixin import (
    ALERTS,
    DASHBOARDS,
    EXPOSED,
    MIXIN,
    RECORDED,
    RECORDING,
    RENDERED,
    metrics_behind,
    queries,
    recorded_in,
    selectors,
)

QUERIES = list(queries())
CASES: list[dict[str, Any]] = yaml.safe_load((MIXIN / "tests" / "alerts.yaml").read_text())
# Expressions by where they stand: what is tested of one is tested of all.
EXPRESSIONS = {
    **{f"rules: {rule['record']}": rule["expr"] for rule in RECORDING},
    **{f"alerts: {place} {rule['alert']}": rule["expr"] for place, rule in enumerate(ALERTS)},
    **{f"{query.dashboard}: {query.panel} {place}": query.expr for place, query in enumerate(QUERIES)},
}
# Prometheus' own and the client library's. The runtime dashboard looks at the process, too.
FOREIGN = {
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "python_gc_collections_total",
}
SCRAPED = {"job", "instance"}


def renderer() -> ModuleType:
    pytest.importorskip("_gojsonnet", reason="gojsonnet, which renders the mixin, has no wheel for this platform")
    spec = importlib.util.spec_from_file_location("render", MIXIN / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_committed_is_what_the_sources_make() -> None:
    made = renderer().render(MIXIN / "render.jsonnet")
    committed = {str(file.relative_to(RENDERED)): file for file in RENDERED.rglob("*") if file.is_file()}
    assert made.keys() == committed.keys(), "run deploy/mixin/render.py"
    differ = [name for name, text in made.items() if committed[name].read_text() != text]
    assert not differ, "run deploy/mixin/render.py"


def test_a_deployment_changes_a_threshold_in_a_file_of_its_own(tmp_path: Any) -> None:
    [ours] = re.findall(r"```jsonnet\n(.*?)```", (MIXIN / "README.md").read_text(), re.DOTALL)
    (tmp_path / "ours.jsonnet").write_text(ours.replace("'doorward/deploy/mixin/", f"'{MIXIN}/"))
    made = renderer().render(tmp_path / "ours.jsonnet")
    alerts = {rule["alert"]: rule for group in yaml.safe_load(made["alerts.yaml"])["groups"] for rule in group["rules"]}
    assert "< 3" in alerts["DoorwardTooFewReady"]["expr"]
    assert 'job="edge-doorward"' in alerts["DoorwardFuseBlown"]["expr"]
    assert alerts["DoorwardFuseBlown"]["annotations"]["runbook_url"].startswith("https://")
    assert "DoorwardVersionsDiffer" not in alerts


def test_the_operators_resource_holds_the_same_groups() -> None:
    groups = [yaml.safe_load((RENDERED / name).read_text())["groups"] for name in ("rules.yaml", "alerts.yaml")]
    resource = yaml.safe_load((RENDERED / "prometheusrule.yaml").read_text())
    assert resource["spec"]["groups"] == groups[0] + groups[1]


@pytest.mark.parametrize("expr", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_metric_is_declared_with_these_labels(expr: str) -> None:
    assert recorded_in(expr) <= RECORDED.keys()
    for name, matchers in selectors(expr):
        if name in FOREIGN:
            continue
        assert name in EXPOSED, name
        metric = EXPOSED[name]
        for label, operator, value in matchers:
            if label == "le":
                assert value in {str(bound) for bound in metric.buckets}, (name, value)
            elif label not in SCRAPED:
                words = value.split("|") if "~" in operator else [value]
                assert set(words) <= set(metric.labels[label]), (name, label, value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['alert']}: {case['when'][:40]}")
def test_the_cases_series_can_be_scraped(case: dict[str, Any]) -> None:
    for series in case["series"]:
        for name, matchers in selectors(series):
            if name in FOREIGN:
                continue
            metric = EXPOSED[name]
            labels = {label for label, _, _ in matchers} - SCRAPED
            assert labels - {"le"} == set(metric.labels), series


def test_the_manifest_says_who_looks() -> None:
    """Its page is where an SRE reads which alert or dashboard a metric is for."""
    looking: dict[str, set[str]] = {metric.name: set() for metric in MANIFEST}
    watched = [("alert", rule["expr"]) for rule in ALERTS] + [(query.dashboard, query.expr) for query in QUERIES]
    for viewer, expr in watched:
        for name in metrics_behind(expr) - FOREIGN:
            looking[EXPOSED[name].name].add(viewer)
    declared = {metric.name: set(metric.viewers) - {"detail"} for metric in MANIFEST}
    assert declared == looking


def test_recording_rules_are_named_level_metric_operations_and_used() -> None:
    used = set().union(*map(recorded_in, EXPRESSIONS.values()))
    for name in RECORDED:
        assert re.fullmatch(r"job[a-z_]*:doorward_[a-z_]+:[a-z0-9_]+", name)
    assert used == RECORDED.keys()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_what_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    said = rule["annotations"]
    assert said.keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in said["summary"]  # it heads a group of alerts
    assert said["runbook_url"] == f"deploy/runbooks/{rule['alert']}.md"
    assert len(said["description"]) > len(said["summary"])


def test_dashboards_can_be_told_apart_and_filtered() -> None:
    assert {dashboard["title"] for dashboard in DASHBOARDS.values()} == {
        "Doorward / Overview",
        "Doorward / Policy",
        "Doorward / Runtime",
    }
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)
    for dashboard in DASHBOARDS.values():
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        assert {"datasource", "job"} <= variables
        for query in (query for query in QUERIES if DASHBOARDS[query.dashboard] is dashboard):
            assert set(re.findall(r"\$(\w+)", query.expr)) <= variables | {"__rate_interval"}


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_have_a_unit_an_explanation_and_a_place_of_their_own(dashboard: dict[str, Any]) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
        if panel["type"] in {"timeseries", "stat"}:
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if "targets" in panel:
            assert panel["description"]
            assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
    assert max(taken.values()) == 1
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_alert_is_linked_from_a_dashboard() -> None:
    texts = "".join(
        panel["options"]["content"]
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        if panel["type"] == "text"
    )
    assert {rule["alert"] for rule in ALERTS} == set(re.findall(r"\[(Doorward\w+)\]\(deploy/runbooks/\1\.md\)", texts))
