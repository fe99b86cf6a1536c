"""`doorward top` as its readers see it: tables and lines of JSON, of workers that answer, are gone, start or differ."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli import top
from streams.cli.main import app
from tests.workerpages import HASH, WatchedWorker, nobody


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine answers later than a fraction of these short intervals."""
    monkeypatch.setattr(top, "PATIENCE", 20.0)


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["top", "--interval", "0.2", *arguments], env=env)


def once(*urls: str) -> dict[str, Any]:
    result = run("--json", "--once", *(part for url in urls for part in ("--metrics", url)))
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line)


def nothing() -> None:
    """Happens."""


def test_a_table_of_one_interval() -> None:
    busy, idle = WatchedWorker(), WatchedWorker()
    busy.before = [lambda: busy.answer(1000), lambda: busy.answer(100, removes=20)]
    busy.metrics.lag.set(1200)
    busy.metrics.lag_age.set(0.25)
    busy.metrics.sessions.set(5301)
    result = run("--metrics", busy.url, "--metrics", idle.url)
    assert result.exit_code == 0
    head, cluster, first, second = map(cells, result.stdout.splitlines())
    assert head == list(top.COLUMNS)
    told = dict(zip(head, first, strict=True))
    assert told | {"events/s": "", "admit/s": "", "remove/s": ""} == {
        "worker": busy.name,
        "state": "ready",
        "parts": "2",
        "events/s": "",
        "admit/s": "",
        "alert/s": "0",
        "remove/s": "",
        "dead/s": "0",
        "p50": "3.5 ms",
        "p99": "5.0 ms",
        "lag": "1,200",
        "behind": "250.0 ms",
        "policy": "42",
        "index": "same",
        "sessions": "5,301",
        "sweeps": "0",
        "unconf": "0",
    }
    events, admits, removes = (float(told[name]) for name in ("events/s", "admit/s", "remove/s"))
    assert admits + removes == pytest.approx(events, abs=2)
    assert 0 < events < 1000, "of the interval, not of what came before"
    assert second[:6] == [idle.name, "ready", "2", "0", "0", "0"]
    assert cluster[:4] == ["cluster", "2 of 2 ready", "4", told["events/s"]]
    assert result.stderr == ""


def test_who_does_not_answer_is_shown_and_hides_nobody() -> None:
    well, gone, starting = WatchedWorker(), nobody(), WatchedWorker(ready=False)
    held, taking = WatchedWorker(), WatchedWorker()
    starting.metrics.show_index("", 0, 0)
    held.metrics.fuse_blown.set(1)
    taking.metrics.recovering.set(1)
    urls = [gone, well.url, starting.url, held.url, taking.url]
    result = run("--once", "--metrics", ",".join(urls))
    assert result.exit_code == 0
    _, cluster, *workers = map(cells, result.stdout.splitlines())
    assert cluster[1] == "1 of 5 ready"
    assert [row[1] for row in workers] == ["no answer", "ready", "not ready", "fuse blown", "recovering"]
    assert result.stderr == f"doorward: {gone[7:-8]}: connection refused\n"


def test_nobody_answers() -> None:
    result = run("--once", "--metrics", nobody())
    assert result.exit_code == 3
    assert result.stderr.endswith("doorward: no worker answers\n")
    assert "0 of 1 ready" in result.stdout


def test_workers_that_hold_different_policies_at_one_offset() -> None:
    one, other, further = WatchedWorker(), WatchedWorker(), WatchedWorker()
    other.metrics.show_index("0" * 12, 12, 42)
    further.metrics.show_index("1" * 12, 13, 43)
    assert "index hashes differ" in run("--metrics", one.url, "--metrics", other.url).stderr, "whatever the room"
    told = once(one.url, other.url, further.url)
    assert [worker["agrees"] for worker in told["workers"]] == [False, False, None]
    assert (told["cluster"]["agrees"], told["cluster"]["policy_offset"]) == (False, [42, 43])
    assert told["workers"][0]["state"]["policy_index_hash"] == HASH
    other.metrics.show_index(HASH + "00", 12, 42)
    assert once(one.url, other.url)["cluster"]["agrees"] is True


def test_a_worker_started_anew_counts_from_0() -> None:
    worker = WatchedWorker()
    worker.answer(5000)

    def restart() -> None:
        worker.start()
        worker.answer(30, removes=3)

    worker.before = [nothing, restart]
    told = once(worker.url)
    [shown] = told["workers"]
    assert shown["restarted"] is True
    rates = shown["traffic"]
    assert 0 < rates["events"] < 1000
    assert rates["decisions"]["remove"] == pytest.approx(rates["events"] / 10)
    assert rates["p50"] == pytest.approx(0.0035)
    assert told["cluster"]["traffic"] == rates


def test_urls_come_from_the_environment_too() -> None:
    one, other = WatchedWorker(), WatchedWorker()
    result = run("--once", "--json", env={"DOORWARD_METRICS_URLS": f"{one.url}, {other.url},{one.url}"})
    assert [worker["name"] for worker in json.loads(result.stdout)["workers"]] == [one.name, other.name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "whom to ask? give --metrics URL, or set DOORWARD_METRICS_URLS"),
        (["--metrics", "127.0.0.1:9100"], "--metrics: 127.0.0.1:9100: not a URL such as http://127.0.0.1:9100/metrics"),
        (["--metrics", "http://a/metrics", "--interval", "0"], "'--interval': Input should be greater"),
        (["--metrics", "http://a/metrics", "--interval=-2"], "'--interval': "),
        (["--metrics", "http://a/metrics", "--interval", "nan"], "'--interval': "),
        (["--metrics", "http://a/metrics", "--interval", "inf"], "'--interval': "),
        (["--metrics", "http://a/metrics", "--key", "x"], "--key goes with --cert"),
        (["--metrics", "https://a/metrics", "--cacert", __file__], "--cacert, --cert, --key: "),
    ],
)
def test_wrong_use(arguments: list[str], words: str) -> None:
    result = run(*arguments, env={"DOORWARD_METRICS_URLS": ""})
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_file_that_is_not_there() -> None:
    result = run("--metrics", "https://a/metrics", "--cacert", "no-such-file")
    assert (result.exit_code, result.stderr) == (3, "doorward: --cacert, --cert, --key: No such file or directory\n")


def test_columns_that_have_no_room_are_left_out() -> None:
    widths = dict.fromkeys(top.COLUMNS, 10)
    assert top.fitting(widths, 12 * len(widths) - 2) == list(top.COLUMNS)
    narrow = top.fitting(widths, 100)
    assert len(narrow) * 12 - 2 <= 100
    assert [column for column in top.COLUMNS if column in narrow] == narrow
    assert top.fitting(widths, 1) == ["worker", "state", "events/s", "remove/s", "p99", "behind"]
    assert set(top.LEAST) < set(top.COLUMNS)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "-"), (0.0041, "4.1 ms"), (0.25, "250.0 ms"), (2.5, "2.5 s"), (10.0, "≥10 s"), (0.0, "0 s")],
)
def test_quantiles_in_words(seconds: float | None, told: str) -> None:
    assert top._quantile(seconds) == told


def test_lines_of_json_until_somebody_ends_it() -> None:
    worker = WatchedWorker()
    command = [sys.executable, "-m", "streams.cli.main", "top", "--json", "--interval", "0.2", "--metrics", worker.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")
    assert lines[0]["at"] < lines[1]["at"]
    assert all(line["workers"][0]["name"] == worker.name for line in lines)


def test_a_terminal_is_left_as_it_was(tmp_path: Path) -> None:
    worker = WatchedWorker()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "streams.cli.main", "top", "--interval", "0.2", "--metrics", worker.url]
    environment = {**os.environ, "TERM": "xterm", "HOME": str(tmp_path)}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    try:
        seen = _read(ours, b"events/s", 3)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        seen += _read(ours, b"\x1b[?25h", 1)
    finally:
        process.kill()
        process.wait()
    assert b"\x1b[?1049h" in seen, "the alternate screen"
    assert seen.rindex(b"\x1b[?1049l") > seen.rindex(b"\x1b[?1049h")
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "the cursor is shown again"
    assert worker.name.encode() in seen
    assert b"no room for: parts" in seen
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def _read(terminal: int, words: bytes, times: int) -> bytes:
    """What was written on the terminal until the words have come so often."""
    seen, deadline = b"", time.monotonic() + 20
    while seen.count(words) < times:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 65536)
    return seen
