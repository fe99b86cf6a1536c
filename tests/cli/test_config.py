"""The settings in force are shown with their meaning, and what is secret stays so."""

from __future__ import annotations

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from streams.adapters.seal import new_key
from streams.cli.config import app


def show(*arguments: str, **settings: str) -> str:
    environment = {f"DOORWARD_{name.upper()}": value for name, value in settings.items()}
    result = CliRunner().invoke(app, ["show", *arguments], env=environment)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_files_of_sealing_keys_are_named_and_their_keys_are_not_shown(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("new.json", "old.json")]
    for file in files:
        new_key(file)
    named = os.pathsep.join(map(str, files))
    lines, parsed = show(seal_keys=named), show("--json", seal_keys=named)
    assert f"DOORWARD_SEAL_KEYS={named}  # Key files" in lines
    assert json.loads(parsed)["seal_keys"] == [str(file) for file in files]
    for file in files:
        assert json.loads(file.read_text())["k"] not in lines + parsed


def test_without_a_sealing_key_it_says_what_that_costs() -> None:
    (line,) = [line for line in show().splitlines() if line.startswith("DOORWARD_SEAL_KEYS=")]
    assert line.startswith("DOORWARD_SEAL_KEYS=  # ")
    assert "`network`" in line
    assert json.loads(show("--json"))["seal_keys"] == []


def test_where_top_and_status_look_is_shown_as_all_settings_are() -> None:
    urls = "http://worker-1:9108/metrics, http://worker-2:9108/metrics"
    assert json.loads(show("--json", metrics_urls=urls))["metrics_urls"] == urls.split(", ")
    assert f"DOORWARD_METRICS_URLS={urls.replace(' ', '')}  # For `doorward top`" in show(metrics_urls=urls)


def test_a_list_is_shown_as_it_is_given() -> None:
    assert "DOORWARD_ANONYMITY_CANARIES=2001:db8::1,198.51.100.7  # " in show(
        anonymity_canaries="2001:db8::1, 198.51.100.7"
    )


def test_a_password_is_masked() -> None:
    for shown in (show(kafka_password="correct-horse"), show("--json", kafka_password="correct-horse")):
        assert "correct-horse" not in shown
        assert "***" in shown
