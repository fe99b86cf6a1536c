"""Prometheus' own tool on the mixin: rules and queries are sound; each alert fires when it should, and not before."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.mixin.mixin import ALERTS, MIXIN, RENDERED, queries, recorded_in

PROMTOOL = os.environ.get("DOORWARD_PROMTOOL") or shutil.which("promtool")
CASES: list[dict[str, Any]] = yaml.safe_load((MIXIN / "tests" / "alerts.yaml").read_text())
RULES = [RENDERED / "rules.yaml", RENDERED / "alerts.yaml"]
GROUPS: dict[str, dict[str, Any]] = {
    group["name"]: group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]
}
GROUP_OF = {rule.get("alert"): name for name, group in GROUPS.items() for rule in group["rules"]}
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool on the PATH or in DOORWARD_PROMTOOL (Debian: the package prometheus has it)"
)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def _interval(case: dict[str, Any]) -> str:
    return str(case.get("every", "1m"))


def _run(case: dict[str, Any]) -> tuple[str, str, str]:
    return GROUP_OF[case["alert"]], case["labels"].get("long", ""), _interval(case)


def _recorded_for(group: dict[str, Any]) -> list[dict[str, Any]]:
    named = set().union(*(recorded_in(rule["expr"]) for rule in group["rules"]))
    return [each for each in GROUPS.values() if named & {rule.get("record") for rule in each["rules"]}]


def _series(name: str) -> str:
    if "job=" in name:
        return name
    metric, _, labels = name.partition("{")
    return f'{metric}{{job="doorward",{labels}'


def _expected(case: dict[str, Any]) -> dict[str, Any]:
    labels = {"job": "doorward"} | case["labels"]
    [rule] = [
        rule for rule in ALERTS if rule["alert"] == case["alert"] and rule["labels"].items() <= case["labels"].items()
    ]
    return {
        "exp_labels": {label: value for label, value in labels.items() if value is not None},
        "exp_annotations": rule["annotations"] | {"description": case["says"]},
    }


def unit_test(case: dict[str, Any]) -> dict[str, Any]:
    """A case as promtool takes it."""
    return {
        "name": f"{case['alert']}: {case['when']}",
        "interval": _interval(case),
        "input_series": [{"series": _series(name), "values": values} for name, values in case["series"].items()],
        "alert_rule_test": [
            {"alertname": case["alert"], "eval_time": case["silent"], "exp_alerts": []},
            {"alertname": case["alert"], "eval_time": case["fires"], "exp_alerts": [_expected(case)]},
        ],
    }


def test_every_alert_has_a_case_of_each_of_its_severities() -> None:
    rules = {(rule["alert"], *sorted(rule["labels"].items())) for rule in ALERTS}
    fixed = {"severity", "long", "short"}
    cases = {
        (case["alert"], *sorted((label, case["labels"][label]) for label in fixed & case["labels"].keys()))
        for case in CASES
    }
    assert rules == cases


@needs_promtool
def test_rules_are_sound(tmp_path: Path) -> None:
    resource = yaml.safe_load((RENDERED / "prometheusrule.yaml").read_text())
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(resource["spec"]))
    checked = promtool("check", "rules", *RULES, tmp_path / "spec.yaml")
    assert checked.returncode == 0, checked.stderr


@needs_promtool
def test_dashboards_ask_in_sound_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:query:{place}", "expr": query.filled()} for place, query in enumerate(queries())]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = promtool("check", "rules", tmp_path / "rules.yaml")
    assert checked.returncode == 0, checked.stderr


@needs_promtool
@pytest.mark.parametrize(("group", "long", "every"), sorted({_run(case) for case in CASES}))
def test_each_is_silent_just_before_and_fires_just_after(group: str, long: str, every: str, tmp_path: Path) -> None:
    """A group at a time, and of the budgets one window, with what is recorded for it.

    All rules for every case would take many times as long; and where budgets burn by one window, they do by others.
    """
    cases = [case for case in CASES if _run(case) == (group, long, every)]
    rules = [rule for rule in GROUPS[group]["rules"] if rule["labels"].get("long", "") == long]
    asked = {"name": group, "rules": rules}
    groups = [*_recorded_for(asked), asked]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    given = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": every,
        "group_eval_order": [each["name"] for each in groups],  # otherwise any, and alerts may look too early
        "tests": [unit_test(case) for case in cases],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    tested = promtool("test", "rules", tmp_path / "tests.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
