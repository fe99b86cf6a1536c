"""New geo files that would change more live verdicts than they may: held back until somebody says that they may."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.dev.sandbox import Sandbox
from tests.geofiles import BUILD, write_geo
from tests.integration.backend import Backend, join
from tests.integration.calls import document, enter, identity, name, people, push, said, story

pytestmark = pytest.mark.broker

HOME, AWAY, NEAR = "8.8.231.147", "5.39.77.201", "80.12.213.167"
FIRST = {"8.8.0.0/16": "US", "5.39.0.0/16": "FR", "80.12.0.0/16": "FR"}
MOVES_MANY = FIRST | {"5.39.0.0/16": "US"}
MOVES_FEW = FIRST | {"80.12.0.0/16": "US"}
MOVES_BOTH = MOVES_FEW | {"5.39.0.0/16": "US"}
CROWD = [HOME, *[AWAY] * 6, *[NEAR] * 3]
"""Where people join from, in turn."""
DAY = 86_400


def adopt(folder: Path, networks: dict[str, str], days: int, *options: str) -> None:
    """Hand a file built so many days after the first one over to the workers."""
    file = write_geo(folder / "country.mmdb", {"layout": "country", "build": BUILD + days * DAY, "networks": networks})
    command = [sys.executable, "-m", "streams.cli.main", "geo", "adopt", str(file), *options]
    command += ["--manifest", str(folder / "geo.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    adopt(tmp_path, FIRST, 0)
    environment = {"DOORWARD_GEO_MANIFEST": str(tmp_path / "geo.json"), "DOORWARD_GEO_MAX_CHANGE": "0.5"}
    with Sandbox(workers=1, accounts=["office"], environment=environment) as started:
        yield started


def test_geo_files_that_would_change_too_many_live_verdicts_wait_for_a_word(sandbox: Sandbox, tmp_path: Path) -> None:
    backend = Backend(sandbox.bootstrap)
    crowd = people("office", 40, CROWD)
    push(sandbox, document("office"))
    first = next(iter(enter(backend, crowd, "office").values()))[0]["data"]["geo_build"]

    adopt(tmp_path, MOVES_MANY, 1)
    [data] = held(backend.statuses(lambda events: bool(held(events))))
    assert held_gauge(sandbox) == 1
    assert (data["sessions"], data["changed"], data["share"], data["limit"]) == (40, 24, 0.6, 0.5)
    assert (data["worker"], data["in_use"]) == (sandbox.workers[0].id, first)
    assert data["build"] != first
    late = join("office-m0", AWAY, "office", id="office-late")
    told = enter(backend, [late], "office")
    [answer] = told[name(late)]
    assert (answer["data"]["verdict"], answer["data"]["geo_build"]) == ("remove", first), "the old files stay in use"
    assert all(len(events) == 1 for events in told.values()), "nobody else was spoken of"

    adopt(tmp_path, MOVES_FEW, 2)
    let_in(backend, [e for e in crowd if e["data"]["address"] == NEAR], 2)
    assert held_gauge(sandbox) == 0

    adopt(tmp_path, MOVES_BOTH, 3, "--accept-change", "0.7")
    told = let_in(backend, [e for e in [*crowd, late] if e["data"]["address"] == AWAY], 3)
    stayed = {name(event) for event in crowd if event["data"]["address"] == HOME}
    assert {len(events) for who, events in told.items() if who in stayed} == {1}
    assert {len(events) for who, events in told.items() if who not in stayed} == {2}, "what was held was never used"
    assert len(held(backend.statuses(lambda events: True))) == 1


def held(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was said of files that were held back."""
    return [event["data"] for event in events if event["type"] == "doorward.geo.held.v1"]


def held_gauge(sandbox: Sandbox) -> float:
    with urllib.request.urlopen(sandbox.workers[0].metrics, timeout=5) as answer:
        [line] = [line for line in answer.read().decode().splitlines() if line.startswith("doorward_geo_held ")]
    return float(line.split()[1])


def let_in(backend: Backend, events: list[dict[str, Any]], days: int) -> dict[str, list[dict[str, Any]]]:
    """Wait until people are let in because of the build of a day; returns all that was said."""
    names = {name(event) for event in events}
    told = said(backend, "office", lambda found: all(len(found[who]) > 1 for who in names))
    for who in names:
        assert story(told[who]) == [("remove", "join"), ("admit", "geo")]
        admitted = told[who][1]
        assert admitted["id"] == identity(admitted, "geo", admitted["data"]["geo_build"])
        assert admitted["data"]["order"][2] == BUILD + days * DAY
    return told
