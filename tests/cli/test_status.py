"""`doorward status` as people and scripts use it: a page, and an exit code that says whether all is well."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.health import Tls
from streams.cli import status
from streams.cli.main import app
from tests.adapters.test_health import certificate, write
from tests.workerpages import HASH, WatchedWorker, deaf, nobody

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SETTLE_SECONDS", 0.05)


@pytest.fixture
def workers() -> list[WatchedWorker]:
    """Two that are well."""
    both = [WatchedWorker(), WatchedWorker()]
    for each in both:
        each.metrics.geo_build_time.set(time.time() - DAY)
        each.metrics.sessions.set(1500)
    return both


def run(*urls: str, options: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(app, ["status", *options, *(part for url in urls for part in ("--metrics", url))])


def of(workers: list[WatchedWorker]) -> Result:
    return run(*(each.url for each in workers))


def wrong(result: Result) -> list[str]:
    assert result.exit_code == 1
    return [line.removeprefix("WRONG  ") for line in result.stdout.splitlines() if line.startswith("WRONG")]


def test_all_is_well(workers: list[WatchedWorker]) -> None:
    result = of(workers)
    assert (result.exit_code, result.stderr) == (0, "")
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAY))
    assert result.stdout.splitlines() == [
        "workers      2 of 2 answer, 2 are ready",
        "partitions   4",
        "lag          0 events, 0.0 s",
        f"policy       offset 42, 12 documents, index {HASH}",
        f"geo          built {day}",
        "sessions     3,000",
        "sweeps due   0",
        "unconfirmed  0 removals",
        "",
        "all is well",
    ]


def test_what_is_wrong_and_what_to_read(workers: list[WatchedWorker]) -> None:
    one, other = workers
    one.failing |= {"partitions", "progress"}
    other.metrics.lag_age.set(45)
    other.metrics.lag.set(1200)
    gone = nobody()
    assert wrong(run(one.url, gone, other.url)) == [
        f"{gone[7:-8]}: does not answer: connection refused (deploy/runbooks/DoorwardWorkerDown.md)",
        f"{one.name}: not live: progress (deploy/runbooks/DoorwardWorkerHung.md)",
        f"{one.name}: not ready: partitions (deploy/runbooks/DoorwardTooFewReady.md)",
        f"{other.name}: answers are 45 s behind; 1,200 events wait (deploy/runbooks/DoorwardLagOld.md)",
    ]


def test_limits_can_be_set(workers: list[WatchedWorker]) -> None:
    one, _ = workers
    one.metrics.lag_age.set(45)
    one.metrics.unconfirmed.set(101)
    one.metrics.geo_build_time.set(time.time() - 50 * DAY)
    urls = [each.url for each in workers]
    assert len(wrong(run(*urls))) == 3
    wider = ("--max-lag", "60", "--max-geo-age", "0", "--max-unconfirmed", "200")
    assert run(*urls, options=wider).exit_code == 0


def test_workers_that_differ_are_looked_at_twice(workers: list[WatchedWorker]) -> None:
    one, other = workers
    other.metrics.show_index("0" * 12, 12, 42)
    names = f"{one.name}, {other.name}"
    assert wrong(of(workers)) == [
        f"{names}: index hashes differ at offset 42 of the policy log (deploy/runbooks/DoorwardIndexHashDiffers.md)"
    ]
    other.before = [lambda: None, lambda: other.metrics.show_index(HASH, 12, 42)]
    assert of(workers).exit_code == 0, "a document was just coming into force"


def test_a_worker_that_stays_behind(workers: list[WatchedWorker]) -> None:
    one, other = workers
    other.metrics.show_index("0" * 12, 12, 40)
    one.before = [lambda: None, lambda: one.metrics.show_index("1" * 12, 12, 43)]
    other.before = [lambda: None, lambda: other.metrics.show_index("2" * 12, 12, 42)]
    assert of(workers).exit_code == 0, "it has come to where the other was"
    other.metrics.show_index("0" * 12, 12, 42)
    [line] = wrong(of(workers))
    assert line.startswith(f"{other.name}: decides by offset 42 of the policy log; others are at 43")


def test_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PATIENCE", 0.3)
    with deaf() as silent:
        result = run(nobody(), f"http://127.0.0.1:{silent.getsockname()[1]}/metrics")
    assert result.exit_code == 3
    assert result.stderr == "doorward: no worker answers\n"
    assert result.stdout.count("WRONG") == 2


def test_machines_get_one_object(workers: list[WatchedWorker]) -> None:
    one, _ = workers
    one.metrics.fuse_blown.set(1)
    result = run(*(each.url for each in workers), options=("--json",))
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["well"] is False
    assert told["findings"] == [
        {
            "kind": "fuse_blown",
            "says": "holds its partitions: too many events failed in our own code",
            "workers": [one.name],
            "runbook": "DoorwardFuseBlown",
        }
    ]
    assert (told["cluster"]["fuses_blown"], len(told["workers"])) == (1, 2)


def test_a_worker_that_asks_for_a_certificate(tmp_path: Path) -> None:
    authority = certificate("authority")
    ca, _ = write(tmp_path, "ca", authority)
    tls = Tls(*write(tmp_path, "server", certificate("localhost", authority)), ca)
    url = WatchedWorker(tls=tls).url.replace("127.0.0.1", "localhost")
    ours, key = write(tmp_path, "client", certificate("scraper", authority))
    assert run(url, options=("--cacert", str(ca), "--cert", str(ours), "--key", str(key))).exit_code == 0
    assert run(url, options=("--cacert", str(ca))).exit_code == 3


def test_wrong_use() -> None:
    result = CliRunner().invoke(app, ["status"], env={"DOORWARD_METRICS_URLS": " , "})
    assert result.exit_code == 2


@pytest.mark.parametrize("option", ["--max-lag", "--max-geo-age", "--max-unconfirmed"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e999", "soon"])
def test_a_limit_that_is_none_is_refused_in_a_line_that_names_it(option: str, value: str) -> None:
    result = run(nobody(), options=(f"{option}={value}",))
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert f"'{option}'" in line
