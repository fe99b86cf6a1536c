"""`policy explain --decision` on a real broker: whoever quotes an id from a receipt is told why, as of then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.partitioner import murmur2
from typer.testing import CliRunner, Result

from streams.adapters.topics import connected
from streams.cli.main import app
from streams.dev.sandbox import Sandbox
from tests.geofiles import write_geo
from tests.integration.backend import Backend, join
from tests.integration.calls import document, enter, push, said

pytestmark = pytest.mark.broker

FRANCE, AMERICA = "5.39.77.201", "8.8.231.147"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, accounts=["visits", "late", "cut"]) as started:
        yield started


@pytest.fixture(scope="module")
def backend(sandbox: Sandbox) -> Backend:
    return Backend(sandbox.bootstrap)


def explained(sandbox: Sandbox, decision: dict[str, Any], *more: str) -> Result:
    at = ["--bootstrap", sandbox.bootstrap, "--trust", str(sandbox.authority.trust)]
    result = CliRunner().invoke(app, ["policy", "explain", "--decision", decision["id"], *at, *more])
    assert FRANCE not in result.output
    assert AMERICA not in result.output
    return result


def test_a_sweeps_decision_is_explained_by_the_revisions_and_facts_of_then(sandbox: Sandbox, backend: Backend) -> None:
    event = join("visits-m", FRANCE, "visits", id="fr")
    push(sandbox, document("visits", default="alert", rules=[]))
    trial = document("visits", name="trial", mode="report")
    push(sandbox, trial)
    enter(backend, [event], "visits")
    push(sandbox, document("visits", 2))
    push(sandbox, document("visits", 3, rules=[]))
    first, removed, let_in = said(backend, "visits", lambda found: len(found["p-fr"]) == 3)["p-fr"]
    told = {}
    for made in (first, removed, let_in):
        result = explained(sandbox, made, "--json", "--since", "2020-01-01T00:00:00Z")
        assert result.exit_code == 0, result.output
        told[made["data"]["cause"], made["data"]["verdict"]] = json.loads(result.stdout)
    assert {key: (each["again"]["same"], each["gone"]) for key, each in told.items()} == {
        ("join", "alert"): ("same", []),
        ("policy", "remove"): ("same", []),
        ("policy", "admit"): ("same", []),
    }
    assert [step["revision"] for each in told.values() for step in each["again"]["explanation"]["documents"]] == [
        1, 2, 3,
    ]  # fmt: skip
    assert explained(sandbox, removed).stdout.splitlines()[3:] == [
        "  rule 'elsewhere' of account/visits/licensing revision 2 (class owner, signed by owner), on country FR",
        "decided again it is the same, for the same reason:",
        "  account/visits/licensing revision 2: remove (rule 'elsewhere')",
        "    elsewhere: true, then remove",
        "      true: country not in [US]; it is FR",
    ]
    [reported] = said(backend, "visits", lambda found: bool(found), topic="decisions.report")["p-fr"]
    result = explained(sandbox, reported)
    assert result.exit_code == 0
    assert "in report mode" in result.stdout
    assert "account/visits/trial revision 1: remove (rule 'elsewhere', report mode)" in result.stdout


def test_a_late_event_is_explained_by_the_newest_one(sandbox: Sandbox, backend: Backend) -> None:
    push(sandbox, document("late"))
    newest = join("late-m", FRANCE, "late", id="new", participation="p", sequence=2)
    older = join("late-m", AMERICA, "late", id="old", participation="p", sequence=1)
    enter(backend, [newest], "late")
    enter(backend, [older], "late")
    _, made = said(backend, "late", lambda found: len(found["p"]) == 2)["p"]
    assert (made["data"]["event"]["id"], made["data"]["verdict"]) == ("old", "remove")
    result = explained(sandbox, made)
    assert result.exit_code == 0, result.output
    assert "the event was late: it was answered from the participation's newest one, new of /edge/test" in result.stdout
    assert "it is the same, for the same reason" in result.stdout


def test_the_join_is_found_on_the_wrong_partition_too(sandbox: Sandbox, backend: Backend) -> None:
    push(sandbox, document("late", 2))
    event = next(
        event
        for event in (join(f"astray-{n}", FRANCE, "late", id=f"astray-{n}") for n in range(9))
        if murmur2(event["data"]["meeting"].encode()) & 0x7FFFFFFF & 3  # of four partitions not the first
    )
    backend.append("joins", event["data"]["meeting"].encode(), json.dumps(event).encode())
    made = backend.decisions(event["id"])[event["id"]]
    result = explained(sandbox, made)
    assert result.exit_code == 0
    assert "it is the same, for the same reason" in result.stdout


def test_what_is_gone_is_named_and_the_reason_told(sandbox: Sandbox, backend: Backend, tmp_path: Path) -> None:
    push(sandbox, document("cut"))
    event = join("cut-m", FRANCE, "cut", id="gone")
    [(partition, offset)] = backend.send_events(event)
    [made] = said(backend, "cut", lambda found: "p-gone" in found)["p-gone"]
    geo = write_geo(tmp_path / "else.mmdb", {"layout": "country", "networks": {"5.39.0.0/16": "US"}})
    result = explained(sandbox, made, "--geo", str(geo))
    assert result.exit_code == 0
    assert f"gone: the geo build {made['data']['geo_build']}: at hand is else-" in result.stdout

    async def cut() -> None:
        async with connected(sandbox.bootstrap) as admin:
            await admin.delete_records({TopicPartition("joins", partition): RecordsToDelete(offset + 1)})

    asyncio.run(cut())
    result = explained(sandbox, made)
    assert result.exit_code == 0
    assert f"gone: the join: joins does not have its record (offset {offset}) any more" in result.stdout
    assert "rule 'elsewhere' of account/cut/licensing revision 1" in result.stdout
    assert result.stdout.splitlines()[-1] == "it cannot be decided again; the reason above is the decision's own"

    nobody = explained(sandbox, {"id": "0" * 32})
    assert nobody.exit_code == 1
    assert "no decision 0000" in nobody.stderr
