"""What deploy/mixin/rendered says, read once: rules, alerts, dashboards, and every metric that their queries name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from streams.adapters.metricmanifest import MANIFEST, Metric

MIXIN = Path(__file__).resolve().parents[2] / "deploy" / "mixin"
RENDERED = MIXIN / "rendered"
RUNBOOKS = MIXIN.parent / "runbooks"

_RECORDED = re.compile(r"\b[a-z_]+:doorward_\w+:\w+")
_METRIC = re.compile(r"(?<![\w:])((?:doorward|process|python)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')


class Query(NamedTuple):
    """A panel's query, with Grafana's variables ($job, $instance, $__rate_interval) in it."""

    dashboard: str
    panel: str
    expr: str

    def filled(self, job: str = "doorward", instance: str = ".*", interval: str = "1m") -> str:
        """The expression as Grafana would send it."""
        text = self.expr.replace("$__rate_interval", interval)
        return text.replace("$instance", instance).replace("$job", job)


class Selector(NamedTuple):
    """A metric as a query names it; matchers are (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def _rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((RENDERED / name).read_text())["groups"] for rule in group["rules"]]


RECORDING: list[dict[str, Any]] = _rules("rules.yaml")
ALERTS: list[dict[str, Any]] = _rules("alerts.yaml")
DASHBOARDS: dict[str, Any] = {
    file.stem.removeprefix("doorward-"): json.loads(file.read_text())
    for file in sorted((RENDERED / "dashboards").glob("*.json"))
}
RECORDED: dict[str, str] = {rule["record"]: rule["expr"] for rule in RECORDING}


def queries() -> Iterator[Query]:
    """Every query of every dashboard."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield Query(name, panel["title"], target["expr"])


def recorded_in(expr: str) -> set[str]:
    """The recorded series that an expression names."""
    return set(_RECORDED.findall(expr))


def selectors(expr: str) -> list[Selector]:
    """The metrics that an expression names itself."""
    bare = _RECORDED.sub("", expr)
    return [Selector(name, tuple(_MATCHER.findall(inside))) for name, inside in _METRIC.findall(bare)]


def metrics_behind(expr: str) -> set[str]:
    """The metrics that an expression looks at, also through what is recorded of them; names as exposed."""
    seen: set[str] = set()
    waiting = [expr]
    while waiting:
        text = waiting.pop()
        seen |= {selector.name for selector in selectors(text)}
        waiting += [RECORDED[name] for name in recorded_in(text)]
    return seen


def exposed(metric: Metric) -> dict[str, Metric]:
    """The names under which a metric is scraped."""
    if metric.kind == "histogram":
        return {f"{metric.name}_{part}": metric for part in ("bucket", "sum", "count")}
    return {metric.exposed: metric}


EXPOSED: dict[str, Metric] = {name: metric for each in MANIFEST for name, metric in exposed(each).items()}
