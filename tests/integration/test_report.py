"""`doorward report` and its watch over what a real worker decided, reminders included."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from streams.dev.sandbox import Sandbox
from tests.integration.backend import Backend
from tests.integration.calls import document, people, push
from tests.recorded import made

pytestmark = pytest.mark.broker

FRENCH, AMERICAN = "5.39.0.1", "8.8.8.8"
REPORT = [sys.executable, "-m", "streams.cli.main", "report"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, accounts=["visits"], environment={"DOORWARD_REMIND": "0.2"}) as started:
        yield started


@pytest.fixture(scope="module")
def backend(sandbox: Sandbox) -> Backend:
    return Backend(sandbox.bootstrap)


def report(sandbox: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*REPORT, "--bootstrap", sandbox.bootstrap, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def append(sandbox: Sandbox, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap, acks="all") as producer:
        for n, value in enumerate(values):
            await producer.send("decisions", value, partition=n % sandbox.partitions)


def test_what_a_worker_decided_is_counted_and_what_it_said_again_is_not(sandbox: Sandbox, backend: Backend) -> None:
    push(sandbox, document("visits"))
    crowd = people("visits", 30, [FRENCH, AMERICAN, AMERICAN])
    backend.send_events(*crowd, crowd[0])  # one twice, as a producer's retry would
    again = backend.read("decisions", lambda records: len(records) >= 31 + 3 * 10, seconds=30)
    ids = {json.loads(record.value)["id"] for record in again}
    assert len(ids) > 30 + 2 * 10  # each of ten removals was said again, twice or more
    result = report(sandbox, "--json", "--by", "class,verdict,country,holder")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["rows"] == [
        {"class": None, "verdict": "admit", "country": None, "holder": None, "count": 20},
        {"class": "owner", "verdict": "remove", "country": "FR", "holder": "owner", "count": 10},
    ]
    assert (found["decisions"], found["unreadable"], found["complete"]) == (30, 0, True)
    assert found["repeats"] >= 1
    assert found["reminders"] >= 20
    assert json.loads(report(sandbox, "--json", "--until", "1h").stdout)["decisions"] == 0


def test_the_watch_sees_a_service_document_aimed_at_one_meeting(sandbox: Sandbox) -> None:
    # No service document can be in force within a day of its push (C5), so its removals are written by hand.
    quiet = report(sandbox, "--watch", "--once")
    assert (quiet.returncode, quiet.stdout) == (0, "")
    command = [*REPORT, "--bootstrap", sandbox.bootstrap, "--watch", "--json", "--metrics", "0"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert watching.stderr is not None
        assert watching.stdout is not None
        where = watching.stderr.readline().split()[1]
        assert "watching; 0 service documents with enough removals" in watching.stderr.readline()
        now = time.time_ns() // 1_000_000
        fields: dict[str, Any] = {"policy": "service/export", "matched": {"country": "BV"}, "at": now}
        aimed = [made(f"aimed-{n}", meeting="seminar", account="campus", **fields) for n in range(12)]
        asyncio.run(append(sandbox, [*map(msgspec.json.encode, aimed), b"no decision"]))
        alarms = [json.loads(watching.stdout.readline()) for _ in range(2)]
        shown = urllib.request.urlopen(where, timeout=10).read().decode()
        watching.send_signal(signal.SIGINT)
        _, stderr = watching.communicate(timeout=20)
    finally:
        watching.kill()
        watching.wait()
    assert [(alarm["scope"], alarm["alarm"]) for alarm in alarms] == [("account", "began"), ("meeting", "began")]
    assert {alarm["policy"] for alarm in alarms} == {"service/export"}
    assert 'doorward_charter_removals_concentration{policy="service/export",scope="meeting"}' in shown
    assert "seminar" not in shown + json.dumps(alarms)
    assert "campus" not in shown + json.dumps(alarms)
    assert (watching.returncode, stderr) == (0, "doorward: stopped watching\n")
    found = report(sandbox, "--watch", "--once")
    assert found.returncode == 1
    assert "ALARM service/export: 12 of 12 removals of a day fell on one meeting" in found.stdout
    assert "left out, no decisions: 1" in found.stderr
