"""`policy test` as its user meets it: failures with their reason, coverage, exit codes, files that are not right."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from typer.testing import CliRunner, Result

from streams.cli.main import app
from tests.geofiles import write_geo

POLICY = """
scope: account
account: acme
name: licensing
revision: 3
rules:
  - {id: hosts, when: {role: [host]}, then: admit}
  - {id: elsewhere, when: {country: {not: [US]}}, then: remove}
default: admit
"""
TESTS = """
account: acme
cases:
  - case: elsewhere is refused
    join: {country: FR}
    expect: {verdict: remove, rule: elsewhere}
  - case: at home and hosts are let in
    join: [{country: US}, {role: host, country: FR}]
    expect: admit
"""
WINDOW = "not_before: 2027-01-01T00:00:00Z\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "licensing.yaml").write_text(POLICY)
    (tmp_path / "licensing.test.yaml").write_text(TESTS)
    return tmp_path


def run_tests(*words: object) -> Result:
    return CliRunner().invoke(app, ["policy", "test", *map(str, words)])


def test_all_is_well(folder: Path) -> None:
    result = run_tests(folder)
    assert result.exit_code == 0
    assert result.stdout == "all 3 joins as expected, in 1 test file; 3 of 4 rules and outcomes reached (75 %)\n"
    assert run_tests(folder / "licensing.test.yaml", folder).stdout == result.stdout  # each file once


def test_a_failure_shows_what_came_and_why(folder: Path) -> None:
    (folder / "licensing.yaml").write_text(POLICY.replace("then: remove", "then: alert"))
    result = run_tests(folder)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"FAILED {folder}/licensing.test.yaml:4: elsewhere is refused",
        "  - verdict: remove",
        "  + verdict: alert",
        "    alert by account/acme/licensing",
        "      account/acme/licensing revision 3: alert (rule 'elsewhere')",
        "        hosts: false, then admit",
        "          false: role in [host]; it is participant",
        "        elsewhere: true, then alert",
        "          true: country not in [US]; it is FR",
        "1 of 3 joins NOT as expected, in 1 test file; 3 of 4 rules and outcomes reached (75 %)",
    ]


def test_of_several_joins_the_one_that_differs_is_numbered(folder: Path) -> None:
    (folder / "licensing.yaml").write_text(POLICY.replace("[host]", "[cohost]"))
    assert (
        f"FAILED {folder}/licensing.test.yaml:7: at home and hosts are let in (join 2 of 2)" in run_tests(folder).stdout
    )


def test_coverage_tells_what_no_case_reached_and_can_be_asked_for(folder: Path) -> None:
    result = run_tests(folder, "--coverage", "--min-coverage", "75")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:-1] == [
        "account/acme/licensing revision 3: 3 of 4 reached",
        "  rule 'hosts', admit: decided 1x",
        "  rule 'elsewhere', remove: decided 1x",
        "  default, admit: decided 1x",
        "  unknown, alert: never",
    ]
    result = run_tests(folder, "--min-coverage", "75.1")
    assert result.exit_code == 1
    assert "less than 75.1 % of the rules and outcomes are reached" in result.stderr


def test_a_document_that_no_test_selects_counts_as_never_reached(folder: Path) -> None:
    (folder / "licensing.test.yaml").write_text(f"documents: [licensing.yaml]\n{TESTS}")
    (folder / "trial.yaml").write_text(POLICY.replace("name: licensing", "name: trial\nmode: report"))
    result = run_tests(folder, "--coverage")
    assert "account/acme/trial revision 3, report mode: 0 of 4 reached" in result.stdout
    assert "3 of 8 rules and outcomes reached (37.5 %)" in result.stdout


def test_machines_get_json(folder: Path) -> None:
    (folder / "licensing.yaml").write_text(POLICY.replace("then: remove", "then: alert"))
    made = json.loads(run_tests(folder, "--json").stdout)
    assert (made["ok"], made["exit"], made["files"], made["problems"]) == (False, 1, 1, [])
    assert [(each["line"], each["ok"]) for each in made["joins"]] == [(4, False), (7, True), (7, True)]
    assert made["joins"][0]["differences"] == [{"what": "verdict", "expected": "remove", "came": "alert"}]
    assert made["joins"][0]["explanation"]["decided_by"] == "account/acme/licensing"
    assert "explanation" not in made["joins"][1]
    [document] = made["coverage"]["documents"]
    assert [point["state"] for point in document["points"]] == ["decided", "decided", "decided", "never"]


def test_an_address_is_looked_up_in_the_geo_files(folder: Path) -> None:
    geo = write_geo(folder / "geo.mmdb", {"layout": "country", "networks": {"192.0.2.0/24": "FR"}})
    (folder / "licensing.test.yaml").write_text(TESTS.replace("{country: FR}", "{address: 192.0.2.7}"))
    assert run_tests(folder).exit_code == 1  # the snapshot does not know it
    assert run_tests(folder, "--geo", geo).exit_code == 0
    assert run_tests(folder, "--geo", folder / "none").exit_code == 3


def test_a_window_asks_for_the_time_and_the_clock_is_never_asked(folder: Path) -> None:
    (folder / "licensing.yaml").write_text(POLICY + WINDOW)
    result = run_tests(folder)
    assert result.exit_code == 2
    wanted = f"{folder}/licensing.test.yaml:4: account/acme/licensing has a window: say with `now` at what time this is"
    assert wanted in result.stderr
    assert result.stdout == ""
    (folder / "licensing.test.yaml").write_text(f"now: 2027-01-01T00:00:00Z{TESTS}")
    assert run_tests(folder).exit_code == 0
    (folder / "licensing.test.yaml").write_text(f"now: 2026-12-31T23:59:59Z{TESTS}")
    result = run_tests(folder)
    assert result.exit_code == 1
    assert "    admit as no document in force reaches this join" in result.stdout
    assert "account/acme/licensing: no revision in force" in result.stdout


def test_files_that_are_not_right_are_all_said_and_nothing_is_tested(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(TESTS.replace("country: FR", "contry: FR"))
    (folder / "none.test.yaml").write_text(f"documents: [none.yaml]\n{TESTS}")
    (folder / "charter.yaml").write_text(POLICY.replace("scope: account\naccount: acme", "scope: service"))
    result = run_tests(folder)
    assert (result.exit_code, result.stdout) == (2, "")
    for said in (
        f"{folder}/bad.test.yaml:5:12: a join has no key 'contry'; it has",
        f"{folder}/none.test.yaml: documents: {folder}/none.yaml: cannot be read: No such file or directory",
        "a service document cannot ask for role",
    ):
        assert result.stderr.count(said) == 1, result.stderr
    made = json.loads(run_tests(folder, "--json").stdout)
    assert (made["exit"], made["joins"]) == (2, [])
    assert len(made["problems"]) == result.stderr.count("\n") - 1


def test_where_there_is_nothing_it_is_said(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    for words, code, said in (
        ([empty], 3, f"no tests (*.test.yaml) in {empty}"),
        ([folder / "none"], 3, f"{folder}/none: there is no such file or folder"),
        ([folder / "licensing.yaml"], 2, "licensing.yaml: is no test file; its name has to end in .test.yaml"),
    ):
        result = run_tests(*words)
        assert (result.exit_code, result.stdout) == (code, "")
        assert said in result.stderr
    (empty / "a.test.yaml").write_text(TESTS)
    assert f"a.test.yaml: no unsigned documents to test in {empty}" in run_tests(empty).stderr
    assert run_tests(empty).exit_code == 3


def test_it_watches_until_ctrl_c(folder: Path) -> None:
    program = "from streams.cli.main import main; main()"
    command = [sys.executable, "-c", program, "policy", "test", str(folder), "--watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines: Queue[str] = Queue()
        assert process.stdout is not None
        threading.Thread(target=_hand_over, args=(process.stdout, lines), daemon=True).start()
        try:
            assert lines.get(timeout=60).startswith("all 3 joins as expected")
            (folder / "licensing.yaml").write_text("scope: 7\n")  # a file that is not right does not end it
            (folder / "more.test.yaml").write_text(TESTS)
            (folder / "licensing.yaml").write_text(POLICY.replace("then: remove", "then: alert"))
            assert lines.get(timeout=60).startswith("FAILED")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert "Traceback" not in process.stderr.read()  # type: ignore[union-attr]  # it is a pipe
        finally:
            process.kill()


def _hand_over(stream: Iterator[str], lines: Queue[str]) -> None:
    for line in stream:
        lines.put(line)
