"""`policy explain` on a document and joins, as its author reads it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli.main import app
from streams.wire import jws
from streams.wire.trust import written
from tests.geofiles import write_geo
from tests.signing import AUDIENCE, entry, key

POLICY = """
scope: account
account: acme
name: licensing
revision: 3
rules:
  - {id: hosts, when: {role: [host]}, then: admit}
  - {id: elsewhere, when: {country: {not: [US]}}, then: remove}
default: alert
"""
JOIN = {"meeting": "m-1", "account": "acme", "participation": "p-1", "address": "5.39.0.1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "licensing.yaml").write_text(POLICY)
    return tmp_path


def explained(folder: Path, joins: str, *more: str) -> Result:
    return CliRunner().invoke(app, ["policy", "explain", "--policies", str(folder), *more], input=joins)


def test_the_path_to_a_verdict(folder: Path) -> None:
    result = explained(folder, json.dumps(JOIN))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "line 1: remove by account/acme/licensing",
        "  account/acme/licensing revision 3: remove (rule 'elsewhere')",
        "    hosts: false, then admit",
        "      false: role in [host]; it is participant",
        "    elsewhere: true, then remove",
        "      true: country not in [US]; it is FR",
    ]


def test_machines_get_json_and_an_address_that_is_none_is_an_unknown_fact(folder: Path) -> None:
    result = explained(folder, json.dumps({**JOIN, "address": "010.8.8.8"}), "--json")
    made = json.loads(result.stdout)
    assert made["documents"][0]["rules"][1]["state"] == "open"
    assert (made["verdict"], made["documents"][0]["outcome"]) == ("alert", "unknown")
    assert "010.8.8.8" not in result.output


def test_a_line_that_is_no_join_is_named(folder: Path) -> None:
    result = explained(folder, "\n{")
    assert result.exit_code == 2
    assert "line 2: not_json" in result.stderr


def test_signed_documents_are_explained_too(tmp_path: Path) -> None:
    value = {"scope": "account", "account": "acme", "name": "licensing", "revision": 3, "default": "remove"}
    (tmp_path / "licensing.jws.json").write_bytes(jws.sign(value, [key("acme")], AUDIENCE))
    (tmp_path / "trust.json").write_bytes(written([entry("acme")]))
    result = explained(tmp_path, json.dumps(JOIN), "--trust", str(tmp_path / "trust.json"))
    assert result.exit_code == 0
    assert result.stdout.startswith("line 1: remove by account/acme/licensing\n")


# -- a recorded decision, from files -----------------------------------------------------------------------------


class Files:
    """Joins decided offline, as a user keeps them."""

    def __init__(self, folder: Path, at: Path, *joins: dict[str, object]) -> None:
        self.policies, self.joins, self.decisions = folder, at / "joins.jsonl", at / "decisions.jsonl"
        self.joins.write_text("{\n\n" + "".join(json.dumps(join) + "\n" for join in joins))
        command = ["decide", "--unsigned", "--report", "--policies", str(folder), "--joins", str(self.joins)]
        made = CliRunner().invoke(app, command)
        assert made.exit_code == 0, made.output
        self.decisions.write_text(made.stdout)
        self.made = [json.loads(line) for line in made.stdout.splitlines()][1:]

    def explain(self, id_: str, *more: str, joins: bool = True, policies: bool = True) -> Result:
        given = ["policy", "explain", "--decision", id_, "--decisions", str(self.decisions)]
        given += ["--joins", str(self.joins)] if joins else []
        given += ["--policies", str(self.policies)] if policies else []
        return CliRunner().invoke(app, [*given, *more])


@pytest.fixture
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    trial = "{scope: account, account: acme, name: trial, revision: 1, mode: report, default: remove}"
    (folder / "trial.yaml").write_text(trial)
    return Files(folder, tmp_path_factory.mktemp("kept"), {**JOIN, "participation": "p-0", "address": ""}, JOIN)


def test_a_recorded_decision_is_explained_and_made_again(files: Files) -> None:
    removed = files.made[2]
    result = files.explain(removed["id"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"decision {removed['id']}: remove of acme/m-1/p-1"
    assert lines[1].endswith("(cause join), on event 4 of doorward-decide")
    assert lines[3:] == [
        "  rule 'elsewhere' of account/acme/licensing revision 3 (class owner, unsigned), on country FR",
        "decided again it is the same, for the same reason:",
        "  account/acme/licensing revision 3: remove (rule 'elsewhere')",
        "    hosts: false, then admit",
        "      false: role in [host]; it is participant",
        "    elsewhere: true, then remove",
        "      true: country not in [US]; it is FR",
    ]
    assert JOIN["address"] not in result.output


def test_decisions_in_report_mode_and_on_an_unreadable_address_are_explained(files: Files) -> None:
    unreadable, _, _, reported = files.made
    result = files.explain(unreadable["id"])
    assert (result.exit_code, "it is not known" in result.stdout) == (0, True)
    assert "decided again it is the same" in result.stdout
    result = files.explain(reported["id"])
    assert result.exit_code == 0
    assert "in report mode" in result.stdout
    assert "account/acme/trial revision 1: remove (default, report mode)" in result.stdout


def test_what_is_gone_is_named_and_the_decisions_own_reason_told(files: Files) -> None:
    removed = files.made[2]
    result = files.explain(removed["id"], joins=False, policies=False)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[3:] == [
        "  rule 'elsewhere' of account/acme/licensing revision 3 (class owner, unsigned), on country FR",
        "  gone: the join: no --joins was given",
        "  gone: account/acme/licensing revision 3: no --policies was given",
        "it cannot be decided again; the reason above is the decision's own",
    ]
    files.joins.write_text("")
    (files.policies / "licensing.yaml").write_text(POLICY.replace("revision: 3", "revision: 4"))
    geo = write_geo(files.policies / "other.mmdb", {"layout": "country", "networks": {"5.39.0.0/16": "US"}})
    result = files.explain(removed["id"], "--geo", str(geo), "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["again"], told["reason"]["rule"]) == (0, None, "elsewhere")
    join, document, build = told["gone"]
    assert join == f"the join: {files.joins} has no event 4 of doorward-decide"
    assert document == f"account/acme/licensing revision 3: it is not in {files.policies}"
    assert removed["data"]["geo_build"] in build


def test_the_geo_files_of_a_workers_manifest_are_used(files: Files, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.mktemp("geo")
    file, manifest = kept / "country.mmdb", kept / "geo.json"
    write_geo(file, {"layout": "country", "networks": {"5.39.0.0/16": "BV"}})
    adopted = CliRunner().invoke(app, ["geo", "adopt", str(file), "--manifest", str(manifest)])
    assert adopted.exit_code == 0, adopted.output
    command = ["decide", "--unsigned", "--policies", str(files.policies), "--joins", str(files.joins)]
    made = CliRunner().invoke(app, [*command, "--geo", str(file)])
    files.decisions.write_text(made.stdout)
    removed = json.loads(made.stdout.splitlines()[-1])
    command = ["policy", "explain", "--decision", removed["id"], "--decisions", str(files.decisions)]
    command += ["--joins", str(files.joins), "--policies", str(files.policies)]
    result = CliRunner().invoke(app, command, env={"DOORWARD_GEO_MANIFEST": str(manifest)})
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("true: country not in [US]; it is BV\n")


def test_a_decision_that_comes_out_otherwise_is_a_finding(files: Files) -> None:
    (files.policies / "licensing.yaml").write_text(POLICY.replace("then: remove", "then: admit"))
    result = files.explain(files.made[2]["id"])
    assert result.exit_code == 1
    assert (
        "decided again it is admit: rule 'elsewhere' of account/acme/licensing revision 3 (class owner, unsigned), "
        "on country FR"
    ) in result.stdout
    (files.policies / "licensing.yaml").write_text(POLICY.replace("id: elsewhere", "id: away"))
    result = files.explain(files.made[2]["id"])
    assert result.exit_code == 0
    assert "decided again it is remove as well, but: rule 'away'" in result.stdout


@pytest.mark.parametrize(
    ("code", "given"),
    [
        (1, ["--decision", "0" * 32, "--decisions", "DECISIONS"]),
        (2, ["--decision", "p-1", "--decisions", "DECISIONS"]),
        (2, ["--decision", "0" * 32, "--joins", "-"]),
        (2, ["--decision", "0" * 32, "--decisions", "DECISIONS", "--bootstrap", "127.0.0.1:1"]),
        (2, ["--decision", "0" * 32, "--decisions", "DECISIONS", "--now", "2026-11-21T12:00:00Z"]),
        (2, ["--decision", "0" * 32, "--bootstrap", "127.0.0.1:1"]),
        (2, ["--decisions", "DECISIONS"]),
        (2, []),
        (3, ["--decision", "0" * 32, "--decisions", "none"]),
        (3, ["--decision", "0" * 32, "--bootstrap", "127.0.0.1:1", "--trust", "none"]),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    files: Files, code: int, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOORWARD_TRUST", raising=False)
    given = [str(files.decisions) if each == "DECISIONS" else each for each in given]
    result = CliRunner().invoke(app, ["policy", "explain", *given])
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
