"""`doorward verify` and `replay` on a real broker: a worker's account holds, and what is put beside it is found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from typer.testing import CliRunner, Result

from streams.adapters.topics import connected
from streams.cli.main import app
from streams.core import instants
from streams.dev.authority import AUDIENCE
from streams.dev.sandbox import Sandbox
from tests.integration.backend import Backend, join
from tests.integration.calls import document, enter, leave, push, said

pytestmark = pytest.mark.broker

FRANCE, AMERICA = "5.39.77.201", "8.8.231.147"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, accounts=["visits"]) as started:
        yield started


@pytest.fixture(scope="module")
def backend(sandbox: Sandbox) -> Backend:
    return Backend(sandbox.bootstrap)


def run(sandbox: Sandbox, *command: str) -> Result:
    at = ["--bootstrap", sandbox.bootstrap, "--trust", str(sandbox.authority.trust), "--audience", AUDIENCE]
    result = CliRunner().invoke(app, [*command, *at])
    assert FRANCE not in result.output
    return result


def verified(sandbox: Sandbox, *more: str) -> dict[str, Any]:
    result = run(sandbox, "verify", "--json", *more)
    account = json.loads(result.stdout)
    assert result.exit_code == bool(account["violations"]), result.output
    return account


def committed(sandbox: Sandbox, backend: Backend) -> dict[str, Any]:
    """The account once the worker has committed all there is, as it does some seconds after the last event."""
    for _ in range(100):
        account = verified(sandbox, "--grace", "1")
        if not account["waiting"]:
            return account
    raise AssertionError(account)


def put(sandbox: Sandbox, topic: str, partition: int, value: bytes) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap)
        await producer.start()
        await producer.send_and_wait(topic, value, partition=partition)
        await producer.stop()

    asyncio.run(send())


def commit_as(sandbox: Sandbox, group: str, offsets: dict[int, int]) -> None:
    async def commit() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=sandbox.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        consumer.assign([TopicPartition("joins", partition) for partition in offsets])
        await consumer.commit({TopicPartition("joins", partition): offset for partition, offset in offsets.items()})
        await consumer.stop()

    asyncio.run(commit())


def test_a_workers_account_holds_and_what_is_planted_is_found(sandbox: Sandbox, backend: Backend) -> None:
    push(sandbox, document("visits", default="alert", rules=[]))
    push(sandbox, document("visits", name="trial", mode="report"))
    events = [
        join("visits-m", FRANCE, "visits", id="fr", sequence=2),
        join("visits-m", AMERICA, "visits", id="us"),
        join("visits-m", "no address", "visits", id="bad"),
    ]
    enter(backend, [*events, leave(events[1])], "visits")
    late = join("visits-m", AMERICA, "visits", id="late", participation="p-fr", sequence=1)
    [(partition, _)] = backend.send_events(late)
    backend.send([(b"visits-m", b"{", [])])
    push(sandbox, document("visits", 2))
    removed = said(backend, "visits", lambda found: len(found["p-fr"]) == 3)["p-fr"][-1]
    account = committed(sandbox, backend)
    assert account["violations"] == account["unprovable"] == {}
    assert account["events"] == 6
    assert account["decisions"] == account["proven"] >= 8
    assert run(sandbox, "replay").exit_code == 0
    result = run(sandbox, "replay", removed["id"])
    assert result.stdout == "decided again to the same bytes: 1 of 1 decisions\n"

    def plant(topic: str, value: Any) -> None:
        put(sandbox, topic, partition, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())

    plant("decisions", {**removed, "data": {**removed["data"], "stage": "lobby"}})
    plant("decisions", {**removed, "id": "0" * 32})
    plant("decisions", "no decision")
    plant("joins.dlq", "no dead letter")
    account = verified(sandbox)
    assert account["violations"] == {"I2": 3, "I3": 1, "I4": 1}
    result = run(sandbox, "replay", removed["id"])
    assert result.exit_code == 1
    assert '    data.stage: recorded "lobby", again "live"' in result.stdout.splitlines()
    assert run(sandbox, "replay", "f" * 32).exit_code == 1


def test_what_is_committed_without_an_answer_is_found(sandbox: Sandbox, backend: Backend) -> None:
    before = committed(sandbox, backend)
    [worker] = sandbox.workers
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        [(partition, offset), _] = backend.send_events(
            join("visits-m", FRANCE, "visits"), join("visits-m", "x", "visits")
        )
        commit_as(sandbox, "ahead", {partition: offset + 2})
        account = verified(sandbox, "--group", "ahead")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    found = [each for each in account["first"] if each["invariant"] in ("I1", "I5")]
    assert [(each["invariant"], each["offset"]) for each in found] == [
        ("I1", offset),
        ("I1", offset + 1),
        ("I5", offset),
    ]
    after = committed(sandbox, backend)
    assert after["violations"] == before["violations"]
    assert after["events"] == before["events"] + 2


def test_what_is_gone_or_of_another_time_is_named_and_accuses_nobody(sandbox: Sandbox, backend: Backend) -> None:
    [(partition, offset)] = backend.send_events(join("cut-m", FRANCE, "visits"))
    everything = committed(sandbox, backend)["events"]
    now = instants.render(time.time_ns() // 1_000_000)
    assert verified(sandbox, "--since", now)["events"] == 0
    assert verified(sandbox, "--until", now)["events"] == everything
    assert verified(sandbox, "--until", "2020-01-01T00:00:00Z")["decisions"] == 0

    async def cut() -> None:
        async with connected(sandbox.bootstrap) as admin:
            await admin.delete_records({TopicPartition("joins", partition): RecordsToDelete(offset + 1)})

    asyncio.run(cut())
    after = verified(sandbox)
    assert not {"I1", "I5"} & after["violations"].keys()
    assert after["unprovable"]["its event lies before what was read of joins, or is past its retention"] > 0
    assert after["events"] < everything
