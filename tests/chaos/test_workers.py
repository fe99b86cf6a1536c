"""What is done to a worker: malformed records, a hang, a wrong clock. One broker, two workers."""

import asyncio
import json
import signal
import time
from typing import Any

import pytest

from streams.core import instants
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox, SandboxWorker
from tests.chaos.hang import hang_until_it_ends
from tests.chaos.table import note
from tests.chaos.trials import ACCOUNTS, LONG, Storm, long_form, trial
from tests.chaos.workers import await_ready, ended
from tests.integration.backend import Backend
from tests.integration.calls import document, push

pytestmark = pytest.mark.broker

RATE = 1_000 if LONG else 400
MALFORMED = 10_000


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    return {"environment": {"DOORWARD_SESSION_TIMEOUT": "4", "DOORWARD_STANDBYS": "1"}}


# -- malformed ---------------------------------------------------------------------------------------------------


def test_a_burst_of_malformed_records_is_dead_letters_and_holds_nobody_up(sandbox: Sandbox, storm: Storm) -> None:
    async def inflict(client: Client) -> int:
        before = client.ledger.kinds["malformed"]
        storm.owed = MALFORMED
        while client.ledger.kinds["malformed"] - before < MALFORMED:  # noqa: ASYNC110 - counters have no events
            await asyncio.sleep(0.1)
        if LONG:
            await asyncio.sleep(20)
        return client.ledger.kinds["malformed"]

    outcome = asyncio.run(trial(sandbox, storm, "malformed: 1 in 1,000, and 10,000 at once", inflict, rate=RATE))
    outcome.check()
    assert outcome.dead_letters >= MALFORMED
    assert outcome.restarts == 0
    assert outcome.gap < 2.0
    assert outcome.p99 < 5.0
    note(outcome)


# -- hung --------------------------------------------------------------------------------------------------------


@long_form
def test_a_worker_that_hangs_is_ended_by_its_own_watchdog(sandbox: Sandbox, storm: Storm) -> None:
    victim = sandbox.workers[0]
    took = []

    async def inflict(client: Client) -> int:
        took.append(await asyncio.to_thread(hang_until_it_ends, victim.pid, lambda: victim.scrape() != {}, 60.0))
        await asyncio.to_thread(await_ready, sandbox)
        return 1

    outcome = asyncio.run(trial(sandbox, storm, "worker hung: its main thread stopped", inflict, rate=RATE, after=5))
    outcome.check()
    assert outcome.restarts == 1
    assert 25 < took[0] < 33, "the design's 30 s"
    assert outcome.gap < 45
    note(outcome)


# -- clocks ------------------------------------------------------------------------------------------------------

HOUR = 3_600_000


@long_form
def test_windows_go_by_the_clock_a_decision_declares_however_clocks_jump(sandbox: Sandbox, storm: Storm) -> None:
    """One worker's clock goes an hour ahead, then back by two; a document's window opens in half an hour."""
    victim = sandbox.workers[0]
    opens = time.time_ns() // 1_000_000 + HOUR // 2
    push(sandbox, document(ACCOUNTS[0], name="later", rules=[], default="alert", not_before=instants.render(opens)))

    async def inflict(client: Client) -> int:
        for shift in (HOUR, -HOUR, 0):
            await asyncio.to_thread(restart_with_clock, sandbox, victim, shift)
            await asyncio.sleep(8)
        return 3

    outcome = asyncio.run(trial(sandbox, storm, "clock of one worker: +1 h, -1 h, right again", inflict, rate=RATE))
    outcome.check()
    made = [json.loads(record.value)["data"] for record in Backend(sandbox.bootstrap).read("decisions")]
    path = f"account/{ACCOUNTS[0]}/later"
    found = {
        (decision["decided_at"] >= instants.render(opens), path in decision["policies"])
        for decision in made
        if decision["account"] == ACCOUNTS[0]
    }
    assert found == {(False, False), (True, True)}
    note(outcome)


def restart_with_clock(sandbox: Sandbox, worker: SandboxWorker, shift: int) -> None:
    with ended(sandbox, worker, signal.SIGTERM):
        worker._arguments[0] = str(shift)
    await_ready(sandbox)
