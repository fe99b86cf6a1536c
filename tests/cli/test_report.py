"""`doorward report` as its readers use it: counts in three forms, a public one, and the alarm on a recorded day."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest
from typer.testing import CliRunner, Result

from streams.adapters.watchmetrics import WatchMetrics
from streams.cli.main import app
from streams.core.concentration import Cut, Finding
from streams.core.counts import Recorded
from tests.recorded import made
from tests.samples import DAY, HOUR, NOON

POLICY = """
scope: account
account: acme
name: licensing
revision: 3
rules:
  - {id: elsewhere, when: {country: {not: [US]}}, then: remove}
default: admit
"""
NOW = "2026-11-21T12:00:00Z"


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["report", *arguments], input=stdin)


def lines(*events: Recorded) -> str:
    return "".join(msgspec.json.encode(each).decode() + "\n" for each in events)


def crowd(count: int, name: str = "p", **fields: Any) -> list[Recorded]:
    return [made(f"{name}-{n}", **{"meeting": f"m-{n}", "account": f"a-{n % 9}", **fields}) for n in range(count)]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """What `doorward decide` says of three joins, one of them twice and one unreadable, with a trial beside."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "licensing.yaml").write_text(POLICY)
    trial = POLICY.replace("licensing", "trial").replace("default: admit", "default: alert\nmode: report")
    (tmp_path / "policies" / "trial.yaml").write_text(trial)
    people = [("p-1", "5.39.0.1"), ("p-2", "8.8.8.8"), ("p-3", "5.39.0.2")]
    joins = [{"meeting": "m-1", "account": "acme", "participation": p, "address": a} for p, a in people]
    text = "".join(json.dumps(join) + "\n" for join in joins) + "no join\n"
    given = ["decide", "--policies", str(tmp_path / "policies"), "--joins", "-", "--unsigned", "--report", "--now", NOW]
    done = CliRunner().invoke(app, given, input=text)
    assert done.exit_code == 0
    assert "dead_letter" in done.stdout
    file = tmp_path / "decisions.jsonl"
    file.write_text(done.stdout + done.stdout.splitlines()[0] + "\n\n")
    return file


# -- counts ------------------------------------------------------------------------------------------------------


def test_what_decide_wrote_is_counted(answers: Path) -> None:
    result = run("--decisions", str(answers))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "policy                  rule       outcome  class  verdict  country  holder  count",
        "account/acme/licensing  elsewhere  rule     owner  remove   FR       -           2",
        "-                       -          -        -      admit    -        -           1",
    ]
    assert result.stderr.splitlines() == [
        "decisions: 3",
        "doorward: left out, seen before: 1",
        "doorward: left out, in report mode: 3",
    ]


def test_machines_get_one_object(answers: Path) -> None:
    result = run("--decisions", str(answers), "--by", "verdict,class", "--json")
    assert json.loads(result.stdout) == {
        "since": None, "until": None, "complete": True, "repeats": 1, "reminders": 0, "unreadable": 0,
        "decisions": 3, "others": 0,
        "rows": [
            {"class": "owner", "verdict": "remove", "count": 2},
            {"class": None, "verdict": "admit", "count": 1},
        ],
    }  # fmt: skip


def test_sheets_get_csv(answers: Path) -> None:
    result = run("--decisions", str(answers), "--by", "country,rule", "--csv")
    assert list(csv.reader(result.stdout.splitlines())) == [
        ["policy", "rule", "outcome", "country", "count"],
        ["account/acme/licensing", "elsewhere", "rule", "FR", "2"],
        ["", "", "", "", "1"],
    ]


def test_a_period_is_from_an_instant_to_before_another() -> None:
    told = lines(*(made(str(n), at=NOON + n * HOUR) for n in range(-2, 3)))
    period = ["--since", "2026-11-21T13:00:00+02:00", "--until", "2026-11-21T13:00:00Z"]
    result = run("--decisions", "-", *period, "--json", stdin=told)
    found = json.loads(result.stdout)
    assert (found["decisions"], found["since"]) == (2, "2026-11-21T11:00:00.000Z")


def test_several_files_are_one_report(tmp_path: Path) -> None:
    for name, events in (("a", crowd(2)), ("b", crowd(3))):
        (tmp_path / name).write_text(lines(*events))
    result = run("--decisions", str(tmp_path / "a"), "--decisions", str(tmp_path / "b"), "--json")
    assert (json.loads(result.stdout)["decisions"], json.loads(result.stdout)["repeats"]) == (3, 2)


def test_the_public_report_is_of_whole_days_and_hides_few() -> None:
    events = crowd(12, policy="account/acme/licensing", matched={"country": "FR"}, at=NOON)
    events += crowd(11, "x", policy="service/export", matched={"country": "BV"}, at=NOON)
    events += crowd(3, "y", policy="service/export", matched={"country": "HM"}, at=NOON)
    events += crowd(40, "z", at=NOON + DAY)
    period = ["--since", "2026-11-21T09:00:00Z", "--until", "2026-11-22T09:00:00Z"]
    result = run("--decisions", "-", *period, "--public", "--json", stdin=lines(*events))
    found = json.loads(result.stdout)
    assert (found["since"], found["until"]) == ("2026-11-21T00:00:00.000Z", "2026-11-22T00:00:00.000Z")
    row = {"policy": "account", "rule": None, "outcome": "rule", "class": "owner", "verdict": "remove"}
    assert found["rows"] == [{**row, "country": "FR", "holder": None, "count": 12}]
    assert (found["decisions"], found["others"]) == (26, 14)
    assert not {"repeats", "reminders", "unreadable"} & found.keys()


def test_a_public_report_of_few_tells_no_number() -> None:
    result = run("--decisions", "-", "--since", "2026-11-21T00:00:00Z", "--until", "2026-11-22T00:00:00Z", "--public",
                 stdin=lines(*crowd(9)))  # fmt: skip
    assert result.stderr.splitlines()[0] == "decisions: fewer than 10"
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "place"], "--by: 'place' is none of rule, class, verdict, country, holder"),
        (["--since", "yesterday"], "--since: not an RFC 3339 time"),
        (["--since", "1h", "--until", "2h"], "--since is not before --until"),
        (["--public", "--since", "2026-11-21T01:00:00Z", "--until", "2026-11-21T09:00:00Z"], "whole UTC days"),
        (["--public", "--by", "rule"], "--public: always by all aspects"),
        (["--json", "--csv"], "--json and --csv"),
        (["--once"], "go with --watch"),
        (["--watch"], "takes --once"),
        (["--watch", "--once", "--public"], "no --since, --public or --csv"),
        (["--watch", "--once", "--metrics", "0"], "nothing to serve"),
        (["--decisions", "-"], "stdin can be read only once"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], words: str) -> None:
    result = run("--decisions", "-", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("line", ['{"id": "1"}', "{", "[]", '{"dead_letter": 1}', '{"id": "\\ud800"}'])
def test_a_line_that_is_no_decision_is_named(line: str) -> None:
    result = run("--decisions", "-", stdin=lines(made("1")) + line + "\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--decisions: -: line 2: not a decision" in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = run("--decisions", str(tmp_path / "none"))
    assert result.exit_code == 3
    assert "cannot read" in result.stderr


def test_no_broker_is_one_line() -> None:
    result = run("--bootstrap", "127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stderr == "doorward: no Kafka answers at 127.0.0.1:1 (DOORWARD_KAFKA_BOOTSTRAP)\n"


# -- the alarm ---------------------------------------------------------------------------------------------------

AIMED = {"policy": "service/export", "matched": {"country": "BV"}, "meeting": "seminar", "account": "acme"}


def test_a_day_that_fell_on_one_meeting_is_a_finding_that_names_no_meeting() -> None:
    told = lines(*crowd(15, "aimed", **AIMED), *crowd(200))
    result = run("--watch", "--once", "--until", NOW.replace("12:00", "12:01"), "--decisions", "-", stdin=told)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "2026-11-21T12:01:00.000Z ALARM service/export: "
        f"15 of 15 removals of a day fell on one {scope}, which has 7% of all joins"
        for scope in ("account", "meeting")
    ]
    assert result.stderr == "doorward: 1 service document with enough removals to judge; 2 alarms\n"
    result = run(
        "--watch", "--once", "--until", NOW.replace("12:00", "12:01"), "--decisions", "-", "--json", stdin=told
    )
    assert json.loads(result.stdout.splitlines()[1]) == {
        "alarm": "began", "at": "2026-11-21T12:01:00.000Z", "policy": "service/export", "scope": "meeting",
        "rule": None, "fact": None, "removals": 15, "fallen": 15, "share": 1.0, "usual": 0.07,
    }  # fmt: skip
    assert not any(name in result.output for name in ("seminar", "acme", "aimed-"))


def test_a_day_that_fell_on_a_territory_is_none() -> None:
    told = lines(*crowd(60, "x", policy="service/export", matched={"country": "BV"}), *crowd(200))
    result = run("--watch", "--once", "--until", "2026-11-22T00:00:00Z", "--decisions", "-", stdin=told)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 service document with enough removals to judge; no alarms" in result.stderr


def test_the_cut_that_alarms_is_named() -> None:
    padding = crowd(60, "x", policy="service/export", matched={"country": "HM"})
    told = lines(*crowd(15, "aimed", **AIMED), *padding, *crowd(200))
    result = run("--watch", "--once", "--until", "2026-11-22T00:00:00Z", "--decisions", "-", stdin=told)
    assert "ALARM service/export, rule 'listed', country BV: 15 of 15 removals" in result.stdout


def test_metrics_show_what_is_and_nothing_that_was() -> None:
    metrics = WatchMetrics()
    aimed = Finding(Cut("service/export", "listed"), "meeting", 20, 15, 0.01, True)
    metrics.show([aimed, Finding(Cut("service/safety"), "account", 40, 4, 0.1, False)])
    text = generate_latest(metrics.registry).decode()
    assert 'doorward_charter_removals_concentration{policy="service/export",scope="meeting"} 0.75' in text
    assert 'doorward_charter_alarm{policy="service/export",scope="meeting"} 1.0' in text
    assert 'doorward_charter_alarm{policy="service/safety",scope="account"} 0.0' in text
    metrics.show([])
    assert "policy=" not in generate_latest(metrics.registry).decode()
