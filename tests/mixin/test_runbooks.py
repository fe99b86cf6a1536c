"""Runbooks: one an alert, in one shape, and every command, setting and panel that they name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from streams.cli.main import app
from streams.settings import Settings
from tests.mixin.mixin import ALERTS, DASHBOARDS, RUNBOOKS

FILES = sorted(RUNBOOKS.glob("*.md"))
NAMES = {rule["alert"] for rule in ALERTS}
SECTIONS = ["What it means", "What people feel", "Look here", "Do this", "How to know it worked"]
SETTINGS = {f"DOORWARD_{name.upper()}" for name in Settings.model_fields}


def _spans(text: str) -> list[str]:
    """What is between backticks, or a line of a block."""
    return [*re.findall(r"`([^`]+)`", text), *re.findall(r"^    (.+)$", text, re.MULTILINE)]


def _commands(text: str) -> Iterator[list[str]]:
    for span in _spans(text):
        words = span.split("#")[0].split()
        if words[0] == "doorward" and words != ["doorward"]:
            yield words[1:]


def _check(words: list[str]) -> None:
    """Raises AssertionError for a command or an option that there is not."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, words[0]
        command, words = command.commands[words[0]], words[1:]
    options = {name for each in command.params if each.param_type_name == "option" for name in each.opts}
    assert {word for word in words if word.startswith("--")} <= options, (command.name, words)
    assert hasattr(command, "commands") is (words == ["--version"]), "a group, not a command"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {file.stem for file in FILES} == NAMES | {"README"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_runbook_answers_what_somebody_woken_asks(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == [name, *SECTIONS]
    assert all(part.strip() for part in re.split(r"^#+ .*$", text, flags=re.MULTILINE)[2:])
    assert len(text.splitlines()) <= 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_runbook_names_exists(file: Path) -> None:
    text = file.read_text()
    for words in _commands(text):
        _check(words)
    assert set(re.findall(r"\bDoorward[A-Z]\w+", text)) <= NAMES
    assert set(re.findall(r"\bDOORWARD_[A-Z_]*[A-Z]\b", text)) <= SETTINGS
    titles = [panel["title"] for dashboard in DASHBOARDS.values() for panel in dashboard["panels"]]
    titles += [
        column
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        if panel["type"] == "table"
        for column in panel["transformations"][1]["options"]["renameByName"].values()
    ]
    for quoted in re.findall(r'"([A-Z][^"]+)"', text.replace("\n", " ")):
        assert any(title.startswith(quoted) for title in titles), quoted
