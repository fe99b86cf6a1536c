"""`policy log --verify`, and what `show`, `log` and `retract` say of bad input. With a broker: tests/integration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.iso import vocabulary
from streams.cli.main import app
from streams.cli.retract import ids_of
from streams.wire import jws, keys
from streams.wire.chain import LogRecord
from streams.wire.history import History
from streams.wire.publication import Publication
from streams.wire.trust import written
from tests.signing import AUDIENCE, HELD, entry, key, trusting

START = 1_795_253_400_000
BROKER = ("--bootstrap", "127.0.0.1:1")


def doorward(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, arguments)])


def exported(revisions: int, first: int = 0) -> tuple[bytes, str]:
    """An export of a log of so many revisions of a service document, and the head of its chain."""
    history = History(trusting(), AUDIENCE, vocabulary(), None)
    made = Publication(trusting(), AUDIENCE, None)
    lines = [made.header()]
    for n in range(first, revisions):
        value: dict[str, Any] = {
            "scope": "service", "name": "export", "revision": n + 1, "class": "legal", "ground": "Export Act § 4",
            "reference": "https://acts.example/4", "not_before": "2030-01-01T00:00:00Z",
            "not_after": "2030-02-01T00:00:00Z", "default": "admit",
        }  # fmt: skip
        raw = jws.sign(value, [key("ann"), key("bo")], AUDIENCE)
        lines.append(made.record(history.take(LogRecord(n, START + n, b"service/export", raw))))
    return b"\n".join([*lines, made.footer()]) + b"\n", str(history.head)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    for name in HELD:
        keys.write_private(key(name), tmp_path / f"{name}.jwk")
    (tmp_path / "trust.json").write_bytes(written([entry(name) for name in HELD]))
    for count in (2, 3):
        (tmp_path / f"{count}.jsonl").write_bytes(exported(count)[0])
    return tmp_path


def test_an_export_is_verified_without_a_broker(desk: Path) -> None:
    result = doorward("log", "--verify", desk / "3.jsonl", "--chain")
    assert (result.exit_code, result.stdout) == (0, f"{exported(3)[1]}\n")
    assert "3 records, 3 of service documents, judged by the export's own keys" in result.stderr
    assert "not checked: " in result.stderr
    result = doorward("log", "--verify", desk / "3.jsonl", "--trust", desk / "trust.json", "--json")
    told = json.loads(result.stdout)
    assert (told["head"], told["own_keys"], told["problems"]) == (exported(3)[1], False, [])


def test_an_older_head_or_export_is_one_it_leads_through(desk: Path) -> None:
    for older in (exported(2)[1], desk / "2.jsonl", desk / "3.jsonl"):
        assert doorward("log", "--verify", desk / "3.jsonl", "--since-head", older).exit_code == 0
    result = doorward("log", "--verify", desk / "2.jsonl", "--since-head", desk / "3.jsonl")
    assert (result.exit_code, result.stdout) == (1, "offset 2: the record is missing\n")
    result = doorward("log", "--verify", desk / "2.jsonl", "--since-head", f"{'0' * 64}@1")
    assert result.exit_code == 1
    assert result.stdout.startswith("offset 1: the chain is ")


def test_a_log_that_begins_late_says_what_is_missing(desk: Path) -> None:
    (desk / "late.jsonl").write_bytes(exported(3, first=1)[0])
    result = doorward("log", "--verify", desk / "late.jsonl", "--since-head", desk / "3.jsonl")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "offset 0: no record (deleted, or the mark of a transaction)",
        "offset 0: the record is missing",
    ]


def test_an_altered_export_is_a_finding(desk: Path) -> None:
    (desk / "bad.jsonl").write_bytes(
        (desk / "3.jsonl").read_bytes().replace(b'"appended_at":17952534', b'"appended_at":17952535')
    )
    result = doorward("log", "--verify", desk / "bad.jsonl")
    assert result.exit_code == 1
    assert "offset 0: the chain breaks here" in result.stdout
    assert doorward("log", "--verify", desk / "3.jsonl", "--since-head", desk / "bad.jsonl").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["log", "--verify", "gone.jsonl"], 3, "gone.jsonl: No such file"),
        (["log", "--verify", "trust.json"], 2, "trust.json: line 1"),
        (["log", "--verify", "3.jsonl", "--public"], 2, "--verify takes no path"),
        (["log", "--verify", "3.jsonl", "--trust", "gone.json"], 3, "gone.json"),
        (["log", "--verify", "3.jsonl", "--since-head", "x"], 2, "'x' is no head of a chain"),
        (["log", "--known", "--trust", "trust.json", *BROKER], 2, "--known goes with --since-head"),
        (["log", "service/export", "--public", *BROKER], 2, "--public takes neither a path nor --json"),
        (["log", *BROKER], 2, "--trust FILE (DOORWARD_TRUST) is required"),
        (["log", "--trust", "trust.json", *BROKER], 3, "no Kafka answers at 127.0.0.1:1"),
        (["log", "--trust", "trust.json", "--bootstrap", "nowhere:x"], 2, "should be host:port"),
        (["show", "--trust", "trust.json", *BROKER], 3, "no Kafka answers at 127.0.0.1:1"),
        (["diff", "a.yaml", "--trust", "trust.json", *BROKER], 3, "no Kafka answers at 127.0.0.1:1"),
        (["retract", "account/acme/a", "--trust", "trust.json", *BROKER], 2, "--key KEYFILE is required"),
        (["retract", "a/b", "--key", "acme.jwk", "--trust", "trust.json", *BROKER], 2, "a/b: is neither a file nor"),
        (["retract", "bad.yaml", "--key", "acme.jwk", "--trust", "trust.json", *BROKER], 2, "bad.yaml: default: "),
        (["retract", "bad.jws.json", "--key", "acme.jwk", "--trust", "trust.json", *BROKER], 2, "[not-jws]"),
        (["retract", "a.yaml", "--key", "acme.jwk", "--trust", "trust.json", *BROKER], 3, "no Kafka answers"),
    ],
)
def test_trouble_is_said_in_few_lines(
    arguments: list[str], code: int, said: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "a.yaml").write_text("{scope: account, account: acme, name: a, revision: 1, default: admit}")
    (desk / "bad.yaml").write_text("{scope: account, account: acme, name: a, revision: 1, default: maybe}")
    (desk / "bad.jws.json").write_text("{}")
    monkeypatch.chdir(desk)
    result = doorward(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("service/export", {"scope": "service", "name": "export"}),
        ("account/acme%20inc/a", {"scope": "account", "account": "acme inc", "name": "a"}),
        ("meeting/acme/m%2F1/a", {"scope": "meeting", "account": "acme", "meeting": "m/1", "name": "a"}),
        ("meeting/acme/a", None),
        ("account//a", None),
        ("account/acme inc/a", None),
        ("service/%65xport", None),
        ("x/a", None),
        ("", None),
    ],
)
def test_what_a_path_stands_for(path: str, ids: dict[str, str] | None) -> None:
    assert ids_of(path) == ids
