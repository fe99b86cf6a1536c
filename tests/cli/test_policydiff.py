"""`policy diff` between files: what is said, the exit codes of diff(1), and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.iso import vocabulary
from streams.cli.main import app
from streams.core.policy import parse
from streams.wire import jws
from tests.signing import AUDIENCE, key

LICENSING = """\
scope: account
account: acme
name: {name}
revision: {revision}
rules:
  - {{id: elsewhere, when: {{country: {{not: [US]}}}}, then: {then}}}
default: admit
unknown: admit
"""


def write(folder: Path, name: str, revision: int = 1, then: str = "remove", called: str = "licensing") -> Path:
    file = folder / name
    file.write_text(LICENSING.format(name=called, revision=revision, then=then))
    return file


def diff(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", "diff", *map(str, arguments)])


def test_what_changes_for_whom_and_what_is_written(tmp_path: Path) -> None:
    result = diff(write(tmp_path, "a.yaml", 6), write(tmp_path, "b.yaml", 7, then="alert"))
    assert result.exit_code == 1
    where = "everyone from any country but US or of whom only the continent is known (AF, AN, AS, EU, OC or SA)"
    assert result.stdout.splitlines() == [
        "account/acme/licensing: revision 6 → 7",
        f"  {where}: were removed by rule 'elsewhere', now admitted with an alert by rule 'elsewhere'",
        "  rule 'elsewhere' changed: then remove → alert",
    ]


def test_as_json(tmp_path: Path) -> None:
    result = diff(write(tmp_path, "a.yaml", 6), write(tmp_path, "b.yaml", 7, then="alert"), "--json")
    told = json.loads(result.stdout)
    assert (told["path"], told["was"], told["now"], told["differs"]) == ("account/acme/licensing", 6, 7, True)
    (change,) = told["changes"]
    assert (change["was"]["verdict"], change["now"]["verdict"]) == ("remove", "alert")
    assert "FR" in change["where"]["place"]["countries"]
    assert told["rules"] == [{"id": "elsewhere", "what": "changed", "details": ["then remove → alert"]}]


def test_a_revision_alone_is_no_difference(tmp_path: Path) -> None:
    result = diff(write(tmp_path, "a.yaml", 6), write(tmp_path, "b.yaml", 7))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no difference\n")


def test_what_changes_nobodys_verdict_is_a_difference_all_the_same(tmp_path: Path) -> None:
    new = write(tmp_path, "b.yaml")
    new.write_text(new.read_text() + "note: Telehealth licensing\n")
    result = diff(write(tmp_path, "a.yaml"), new)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == [
        "  for nobody: while in force, both decide alike",
        "  note: none → 'Telehealth licensing'",
    ]


def test_files_of_several_documents_are_compared_by_path(tmp_path: Path) -> None:
    one, two = write(tmp_path, "a.yaml"), write(tmp_path, "b.yaml", then="alert")
    one.write_text(f"{one.read_text()}---\n{LICENSING.format(name='rooms', revision=1, then='alert')}")
    result = diff(one, two)
    assert result.exit_code == 1
    heads = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert heads == ["account/acme/licensing: revision 1 → 1", "account/acme/rooms: revision 1 → none"]


def test_a_signed_file_is_read_as_what_it_says(tmp_path: Path) -> None:
    plain = write(tmp_path, "a.yaml")
    value = {"scope": "account", "account": "acme", "name": "licensing", "revision": 2, "default": "remove"}
    assert parse(value, vocabulary())
    signed = tmp_path / "b.jws.json"
    signed.write_bytes(jws.sign(value, [key("acme")], AUDIENCE))
    result = diff(plain, signed)
    assert result.exit_code == 1
    assert "default: admit → remove" in result.stdout


def test_where_it_is_too_large_the_rule_lists_must_do(tmp_path: Path) -> None:
    rules = [f"  - {{id: n{i}, when: {{network: [10.{i}.0.0/17]}}, then: remove}}\n" for i in range(60)]
    rules += [f"  - {{id: a{i}, when: {{asn: [{64500 + i}]}}, then: remove}}\n" for i in range(200)]
    new = write(tmp_path, "b.yaml")
    new.write_text(new.read_text().replace("default", "".join(rules) + "default"))
    result = diff(write(tmp_path, "a.yaml"), new)
    assert result.exit_code == 1
    assert "for whom is too large to work out (" in result.stdout
    assert "rule 'n59' added: as rule 61; when network in [10.59.0.0/17] then remove" in result.stdout


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        (["gone.yaml", "a.yaml"], 3, "there is no file"),
        (["a.yaml", "bad.yaml"], 2, "bad.yaml:1: default: must be one of"),
        (["a.yaml", "bad.jws.json"], 2, "[not-jws]"),
        (["a.yaml", "twice.yaml"], 2, "account/acme/licensing stands twice in the file"),
        (["a.yaml", "a.yaml", "a.yaml"], 2, "give two files, or one"),
        (["a.yaml"], 2, "--trust FILE (DOORWARD_TRUST) is required"),
    ],
)
def test_trouble(files: list[str], code: int, said: str, tmp_path: Path) -> None:
    good = write(tmp_path, "a.yaml")
    (tmp_path / "bad.yaml").write_text(good.read_text().replace("default: admit", "default: maybe"))
    (tmp_path / "bad.jws.json").write_text("{}")
    (tmp_path / "twice.yaml").write_text(f"{good.read_text()}---\n{good.read_text()}")
    result = diff(*(tmp_path / file for file in files))
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
