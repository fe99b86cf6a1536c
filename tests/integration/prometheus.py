"""A real Prometheus for tests, with the mixin's rules in quick motion: 5 minutes of theirs are 3 seconds here.

Rules are rendered with a configuration of the test's own; then their ranges are made a hundredth, and their waits a
three-hundredth and at most `LONGEST_WAIT`. Names stay, so that dashboards ask for what is recorded; expressions and
thresholds stay, as they are what is tested. How long an alert waits is promtool's to test (tests/mixin).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest
import yaml

from streams.dev.guardian import Guarded
from tests.chaos.workers import await_that
from tests.mixin.mixin import MIXIN

BINARY: Final = os.environ.get("DOORWARD_PROMETHEUS") or shutil.which("prometheus")
needs_prometheus: Final = pytest.mark.skipif(
    BINARY is None, reason="no prometheus on the PATH or in DOORWARD_PROMETHEUS (Debian: apt-get install prometheus)"
)

SCRAPE_SECONDS: Final = 0.5
EVALUATE_SECONDS: Final = 1
QUICKER: Final = 100
WAIT_QUICKER: Final = 300
LONGEST_WAIT: Final = 3.0
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_RANGE = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])\b")


def quickened(group: dict[str, Any]) -> dict[str, Any]:
    """A group of rules in quick motion."""

    def shorter(found: re.Match[str]) -> str:
        number, unit = found[1] or found[3], found[2] or found[4]
        return f"{round(1000 * int(number) * UNITS[unit] / QUICKER)}ms"

    rules = []
    for rule in group["rules"]:
        quick = rule | {"expr": _RANGE.sub(shorter, rule["expr"])}
        if "for" in rule:
            seconds = int(rule["for"][:-1]) * UNITS[rule["for"][-1]]
            quick["for"] = f"{round(1000 * min(seconds / WAIT_QUICKER, LONGEST_WAIT))}ms"
        rules.append(quick)
    return {"name": group["name"], "rules": rules}


def rendered(folder: Path, config: str) -> dict[str, Any]:
    """The mixin's rules and alerts, rendered as a deployment does that wants some things otherwise.

    Args:
        folder: where to.
        config: fields of `_config`, in Jsonnet.
    """
    pytest.importorskip("_gojsonnet", reason="gojsonnet, which renders the mixin, has no wheel for this platform")
    ours = folder / "ours.jsonnet"
    ours.write_text(
        f"(import '{MIXIN}/lib/files.libsonnet')((import '{MIXIN}/mixin.libsonnet') + {{ _config+:: {{ {config} }} }})"
    )
    command = [sys.executable, str(MIXIN / "render.py"), str(ours), "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    groups = [
        group
        for name in ("rules.yaml", "alerts.yaml")
        for group in yaml.safe_load((folder / name).read_text())["groups"]
    ]
    return {"groups": [quickened(group) for group in groups]}


def free_port() -> int:
    """A port of loopback that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """A server of ours alone, on loopback; its data goes with its folder.

    Args:
        folder: for all it writes.
        targets: host:port of what it scrapes, by job.
        rules: as in a file of rules.

    Attributes:
        targets: what it scrapes now.
        url: its own.
    """

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]], rules: dict[str, Any]) -> None:
        self._folder = folder
        self.targets = targets
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
        self._write()
        self._command = [
            str(BINARY),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]

    def __enter__(self) -> Self:
        self.began = time.time()
        self._process = Guarded(self._command, log=self._folder / "prometheus.log", env=dict(os.environ))
        await_that(self._is_ready, (self._folder / "prometheus.log").read_text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.release()
        self._process.wait()

    def watch(self, targets: Mapping[str, Sequence[str]]) -> None:
        """Have other targets from now on."""
        self.targets = targets
        self._write()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/-/reload", method="POST"), timeout=10).close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What an expression is now: series with `metric` and `value`. Raises HTTPError for one that is none."""
        found = self._get("query", query=expr)
        assert found["resultType"] == "vector", found
        result: list[dict[str, Any]] = found["result"]
        return result

    def fires(self, alert: str, since: float, seconds: float = 20.0, **labels: str) -> None:
        """Wait until an alert has fired.

        Args:
            alert: its name, or a part of a regular expression of names.
            since: Unix time before which it does not count.
            seconds: to wait.
            labels: that it must have.
        """
        chosen = "".join(f',{name}="{value}"' for name, value in labels.items())
        series = f'ALERTS{{alertname="Doorward{alert}",alertstate="firing"{chosen}}}'
        await_that(
            lambda: bool(self.query(f"count_over_time({series}[{max(1, round(time.time() - since))}s])")),
            lambda: f"{alert} {labels} does not fire; these do: {self.firing()}",
            seconds,
        )

    def resolves(self, *alerts: str, seconds: float = 30.0, but: Sequence[str] = ()) -> None:
        """Wait until these alerts are silent; none named: all but some."""

        def loud() -> set[str]:
            names = {name.removeprefix("Doorward") for name, *_ in self.firing()}
            return names & set(alerts) if alerts else names - set(but)

        await_that(lambda: not loud(), lambda: f"{loud()} still fire", seconds)

    def firing(self) -> set[tuple[str, str, str]]:
        """Alerts that fire now: name, severity and long window."""
        return {_told(series) for series in self.query('ALERTS{alertstate="firing"}')}

    def fired(self) -> set[tuple[str, str, str]]:
        """Alerts that have fired since it began."""
        seconds = round(time.time() - self.began) + 1
        return {_told(series) for series in self.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')}

    def _is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=1).close()
        except OSError:
            return False
        return True

    def _write(self) -> None:
        config = {
            "global": {
                "scrape_interval": f"{round(1000 * SCRAPE_SECONDS)}ms",
                "scrape_timeout": f"{round(1000 * SCRAPE_SECONDS)}ms",
                "evaluation_interval": f"{EVALUATE_SECONDS}s",
            },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(places)}]} for job, places in self.targets.items()
            ],
        }
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump(config))

    def _get(self, what: str, **asked: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(asked)}", timeout=10) as answer:
            return json.loads(answer.read())["data"]


def _told(series: dict[str, Any]) -> tuple[str, str, str]:
    labels = series["metric"]
    return labels["alertname"], labels["severity"], labels.get("long", "")
