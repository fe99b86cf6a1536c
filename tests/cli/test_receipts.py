"""Receipts as a backend gets them: in the deployment's language, and shown to a person in another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli.main import app

MESSAGES = Path(__file__).parents[2] / "schemas" / "messages.json"
POLICY = """
scope: account
account: acme
name: licensing
revision: 3
rules: [{id: elsewhere, when: {country: {not: [US]}}, then: remove, note: "Visits need a clinician licensed there."}]
default: admit
"""
JOIN = {"meeting": "m-1", "account": "acme", "participation": "p-1", "address": "5.39.0.1"}


def decided(folder: Path, **environment: str) -> Result:
    (folder / "licensing.yaml").write_text(POLICY)
    command = ["decide", "--unsigned", "--policies", str(folder), "--joins", "-", "--now", "2026-11-21T09:30:00Z"]
    return CliRunner().invoke(app, command, input=json.dumps(JOIN), env=environment)


def receipt(folder: Path, **environment: str) -> dict[str, Any]:
    made = json.loads(decided(folder, **environment).stdout)
    return made["data"]["receipt"]


def shown(given: dict[str, Any], copy: str, language: str) -> str:
    """What ``schemas/README.md`` tells a backend to do."""
    sentences = json.loads(MESSAGES.read_text(encoding="utf-8"))[language]
    text = " ".join(sentences[id_] for id_ in given["messages"][copy])
    for name, value in given["parameters"].items():
        text = text.replace("{" + name + "}", value)
    return text


@pytest.mark.parametrize("copy", ["person", "host"])
def test_a_backend_shows_a_receipt_in_another_language(copy: str, tmp_path: Path) -> None:
    english, german = receipt(tmp_path), receipt(tmp_path, DOORWARD_LANGUAGE="de")
    assert (english["written_in"], german["written_in"]) == ("en", "de")
    assert english[copy] != german[copy]
    assert shown(english, copy, "de") == german[copy]
    assert shown(german, copy, "en") == english[copy]
    assert english["id"] == german["id"], "the language changes no decision"


def test_a_language_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    result = decided(tmp_path, DOORWARD_LANGUAGE="xx")
    assert result.exit_code == 2
    assert "DOORWARD_LANGUAGE" in result.stderr
