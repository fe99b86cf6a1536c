"""`policy lint` as its users meet it: the words of every diagnostic, and how files, folders and output are handled."""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.geo import shipped
from streams.cli import linting
from streams.cli.main import app
from streams.core.diagnostics import CODES
from tests.geofiles import write_geo
from tests.golden.lint import refresh

ROOT = Path(__file__).parents[2]
GOOD = "scope: account\naccount: clinic-1\nname: licensing\nrevision: 3\ndefault: alert\n"
BAD = GOOD.replace("alert", "deny")
NOW = "2026-11-21T12:00:00Z"


def lint(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", "lint", "--now", NOW, *map(str, arguments)])


@pytest.fixture(scope="module")
def reports() -> dict[str, tuple[linting.Report, str]]:
    return refresh.reports()


# -- the words ---------------------------------------------------------------------------------------------------


def test_every_diagnostic_reads_as_it_did(reports: dict[str, tuple[linting.Report, str]]) -> None:
    there = {file.name.removesuffix(".txt"): file.read_text() for file in refresh.EXPECTED.glob("*.*.txt")}
    made = {name: words for name, (_, words) in reports.items()}
    assert sorted(made) == sorted(there)
    differ = [name for name in made if made[name] != there[name]]
    assert not differ, "changed on purpose? write them again: python -m tests.golden.lint.refresh"
    assert refresh.explanations() == (refresh.EXPECTED / "explain.txt").read_text()


def test_every_code_has_a_case_and_every_case_shows_the_code_it_is_called_after(
    reports: dict[str, tuple[linting.Report, str]],
) -> None:
    shown: dict[str, set[str]] = {name: {f.code for f in report.findings} for name, (report, _) in reports.items()}
    assert set().union(*shown.values()) == set(CODES)
    for name, codes in shown.items():
        called = name.split(".")[0]
        assert [code for code in codes if called == code or called.startswith(f"{code}-")] or called == "signed-payload"


def test_every_code_that_a_document_can_be_refused_with_has_an_entry() -> None:
    """Those of the language and the charter's text stand as first arguments in the modules that read documents."""
    used = set()
    for module in ("policy.py", "fields.py"):
        for node in ast.walk(ast.parse((ROOT / "streams" / "core" / module).read_text())):
            noted = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "bad"
            if noted and isinstance(node.args[0], ast.Constant):
                used.add(node.args[0].value)
    assert len(used) > 15
    assert used <= set(CODES)


def test_explain() -> None:
    result = CliRunner().invoke(app, ["policy", "lint", "--explain", "shadowed"])
    assert result.exit_code == 0
    assert result.stdout.startswith("shadowed (error)\n")
    assert "For example:" in result.stdout
    result = CliRunner().invoke(app, ["policy", "lint", "--explain", "shadow"])
    assert result.exit_code == 2
    assert "there is no code shadow" in result.stderr


# -- files and folders -------------------------------------------------------------------------------------------


def test_a_folder_without_faults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "a.test.yaml").write_text("cases: []")
    (tmp_path / ".hidden.yaml").write_text("[")
    result = lint(tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "0 errors, 0 warnings, 0 notes in 1 documents of 1 files\n"


def test_a_broken_file_among_good_ones_and_everything_is_said_in_the_files_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD)
    (tmp_path / "b.yaml").write_text("rules: [")
    (tmp_path / "c.json").write_text('{"scope": "account"}')
    (tmp_path / "d.yaml").write_text(f"{GOOD}---\n{BAD}---\n{BAD}")
    result = lint(tmp_path, tmp_path / "d.yaml")
    places = [line.split()[1] for line in result.stdout.splitlines() if "-->" in line]
    assert result.exit_code == 1
    assert [place.removeprefix(f"{tmp_path}/") for place in places] == [
        *("a.yaml:5:10", "b.yaml:1:9"),
        *["c.json:1:1"] * 4,
        *("d.yaml:11:10", "d.yaml:17:10"),
    ]


def test_what_is_not_there_is_said_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD)
    result = lint(tmp_path / "none.yaml", tmp_path / "a.yaml")
    assert result.exit_code == 3
    assert "there is no such file" in result.stderr
    assert "error[choice]" in result.stdout


def test_warnings_are_errors_only_if_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{GOOD}not_after: 2026-01-01T00:00:00Z\n")
    assert lint(tmp_path).exit_code == 0
    assert lint(tmp_path, "--strict").exit_code == 1


def test_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    assert lint().exit_code == 2
    assert lint(tmp_path, "--json", "--sarif").exit_code == 2
    assert CliRunner().invoke(app, ["policy", "lint", str(tmp_path), "--now", "noon"]).exit_code == 2
    result = lint(tmp_path, "--geo", tmp_path / "none.mmdb")
    assert result.exit_code == 3
    assert "--geo: geo file" in result.stderr


def test_the_geo_files_of_the_workers_manifest_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(f"{GOOD}rules: [{{id: office, when: {{asn: [64500]}}, then: admit}}]\n")
    assert "no geo file in use gives autonomous system numbers" in lint(tmp_path).stdout
    file, manifest = tmp_path / "asn.mmdb", tmp_path / "geo.json"
    write_geo(file, {"layout": "asn", "networks": {"192.0.2.0/24": 64500}})
    assert CliRunner().invoke(app, ["geo", "adopt", str(file), "--manifest", str(manifest)]).exit_code == 0
    monkeypatch.setenv("DOORWARD_GEO_MANIFEST", str(manifest))
    assert lint(tmp_path / "a.yaml").stdout == ""
    assert "asn" in lint(tmp_path / "a.yaml", "--geo", shipped()).stdout, "what the command line names goes first"
    manifest.write_text("{}")
    refused = lint(tmp_path / "a.yaml")
    assert refused.exit_code == 3
    assert f"--geo: geo manifest {manifest}" in refused.stderr


def test_the_deployments_own_way_to_contest_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(f"{GOOD}rules: [{{id: fr, when: {{country: [FR]}}, then: remove}}]\n")
    assert "warning[contest]" in lint(tmp_path).stdout
    monkeypatch.setenv("DOORWARD_CONTEST", "https://doorward.example/contest")
    assert lint(tmp_path).stdout == ""


def test_the_same_revision_in_two_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.json").write_text(json.dumps({"scope": "account", "account": "clinic-1", "name": "licensing",
                                                 "revision": 3, "default": "admit"}))  # fmt: skip
    result = lint("--json", tmp_path)
    (found,) = json.loads(result.stdout)["findings"]
    assert (found["code"], found["file"], found["line"]) == ("revision-conflict", str(tmp_path / "b.json"), 1)
    assert found["related"] == [{"file": str(tmp_path / "a.yaml"), "line": 4, "column": 11, "path": "the first"}]


def test_many_files_are_shared_out_and_found_in_the_same_order(tmp_path: Path) -> None:
    for number in range(linting._MANY):
        (tmp_path / f"{number:03}.json").write_text(json.dumps({"scope": "account", "number": number}))
    result = lint("--json", tmp_path)
    made = json.loads(result.stdout)
    assert (made["files"], made["documents"], made["errors"]) == (64, 64, 64 * 5)
    assert [found["file"] for found in made["findings"]] == sorted(found["file"] for found in made["findings"])


def test_a_file_that_cannot_be_read_or_never_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    result = lint(tmp_path / "pipe.yaml")
    assert result.exit_code == 1
    assert "is not a regular file" in result.stdout


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    file = os.path.join(os.fsencode(tmp_path), b"\xff.yaml")
    Path(os.fsdecode(file)).write_text(BAD)
    assert "\\udcff.yaml:5:10" in lint(tmp_path).stdout
    assert json.loads(lint("--json", tmp_path).stdout)["errors"] == 1
    (result,) = sarif(tmp_path)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("/%FF.yaml")


def test_what_a_terminal_would_obey_is_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"scope": "account", "note\u202e": "\u009b2J"}')
    assert not {"\u202e", "\u009b"} & set(lint(tmp_path).stdout)


# -- for machines ------------------------------------------------------------------------------------------------


def test_json(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD)
    made = json.loads(lint("--json", tmp_path).stdout)
    (found,) = made.pop("findings")
    assert found == {
        "code": "choice",
        "severity": "error",
        "file": str(tmp_path / "a.yaml"),
        "line": 5,
        "column": 10,
        "end_line": 5,
        "end_column": 14,
        "in_payload": False,
        "path": "default",
        "message": "must be one of admit, alert or remove",
        "fix": "write remove",
        "related": [],
    }
    assert made == {"errors": 1, "warnings": 0, "notes": 0, "documents": 1, "files": 1, "missing": []}


def sarif(*arguments: str | Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(lint("--sarif", *arguments).stdout)
    return made


def test_sarif_is_what_the_standard_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SARIF 2.1.0: 3.13, 3.14, 3.19, 3.27, 3.28, 3.30 and 3.49, as far as a log of ours uses them."""
    shutil.copytree(refresh.CASES, tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    log = sarif("policies")
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert run["tool"]["driver"]["name"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert len(run["results"]) > 80
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        for location in [*result["locations"], *result.get("relatedLocations", ())]:
            physical = location["physicalLocation"]
            uri = physical["artifactLocation"]["uri"]
            assert (tmp_path / uri).is_file()
            if region := physical.get("region"):
                assert not uri.endswith(".jws.json")
                begin, end = (region["startLine"], region["startColumn"]), (region["endLine"], region["endColumn"])
                assert (1, 1) <= begin <= end
                assert region["endLine"] <= (tmp_path / uri).read_text().count("\n") + 1
    for related in (r["relatedLocations"] for r in run["results"] if "relatedLocations" in r):
        assert [location["id"] for location in related] == list(range(len(related)))


def test_sarif_names_files_by_uris(tmp_path: Path) -> None:
    (tmp_path / "a b#.yaml").write_text(BAD)
    (result,) = sarif(tmp_path)["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == f"file://{tmp_path}/a%20b%23.yaml"
