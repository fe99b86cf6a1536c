"""`policy explain` on a document and joins, as its author reads it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli.main import app

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
