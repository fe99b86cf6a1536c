"""What is done to the policy log: everything appended again, as a mirror that doubles does, in order and out of order.

Nothing of it is news: a revision is accepted once, and from then on only a higher one of its document is. So no worker
may decide otherwise by it, nor may one that reads the log from its beginning, or from where it left off.
"""

import asyncio
import json
import random
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.core import instants
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox
from tests.chaos.table import note
from tests.chaos.trials import ACCOUNTS, Storm, long_form, trial
from tests.chaos.workers import await_ready, await_that, ended
from tests.integration.backend import Backend
from tests.integration.calls import document, push, retraction

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300), long_form]

RATE = 600
POLICIES = "policies"
REVISIONS = 4
HOUR = 3_600_000
SPARE = 10_000
"""By which the notice of a service document is longer than it must be, ms: the time there is for pushing it."""

Copies = list[tuple[bytes, bytes]]
"""Key and value of records, to be appended."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2, accounts=ACCOUNTS, environment={"DOORWARD_SESSION_TIMEOUT": "4"}) as started:
        fill(started)
        yield started


def fill(sandbox: Sandbox) -> None:
    """A log with a bit of everything: revisions, one taken back and given again, one rejected, one for everybody."""
    backend = Backend(sandbox.bootstrap)
    for account in ACCOUNTS:
        for revision in range(1, REVISIONS + 1):
            then = "remove" if revision % 2 else "alert"
            rules = [{"id": f"rule-{revision}", "when": {"country": {"not": ["US"]}}, "then": then}]
            push(sandbox, document(account, revision, rules=rules))
        rejected = sandbox.authority.offer(document(account, REVISIONS, default="remove"))
        backend.append(POLICIES, rejected.path.encode(), rejected.raw)  # the revision is another document already
    push(sandbox, retraction(ACCOUNTS[0], REVISIONS + 1))
    push(sandbox, document(ACCOUNTS[0], REVISIONS + 2))
    push(sandbox, document(ACCOUNTS[1], name="flag", rules=[], default="alert"))
    push(sandbox, everybodys(backend))


def everybodys(backend: Backend) -> dict[str, Any]:
    """A service document with only just the notice that it must have: a copy appended later has less."""
    appended = backend.read(POLICIES)[-1].timestamp
    opens = appended + 24 * HOUR + SPARE
    return {
        "scope": "service",
        "name": "export",
        "revision": 1,
        "class": "legal",
        "ground": "export control",
        "reference": "https://doorward.example/order",
        "contest": "https://doorward.example/contest",
        "rules": [{"id": "there", "when": {"country": ["FR"]}, "then": "remove"}],
        "default": "admit",
        "not_before": instants.render(opens),
        "not_after": instants.render(opens + 30 * 24 * HOUR),
    }


def copies_of(backend: Backend) -> Copies:
    return [(record.key, record.value) for record in backend.read(POLICIES)]


def mirrored(sandbox: Sandbox, copies: Copies) -> int:
    """Append records to the log in this order; returns the offset of the last one."""

    async def run() -> int:
        producer = AIOKafkaProducer(bootstrap_servers=sandbox.bootstrap, acks="all")
        await producer.start()
        try:
            sent = [await producer.send(POLICIES, value, key=key, partition=0) for key, value in copies]
            return max([(await each).offset for each in sent])
        finally:
            await producer.stop()

    return asyncio.run(run())


# -- what must hold ----------------------------------------------------------------------------------------------


def digests(sandbox: Sandbox, offset: int) -> set[str]:
    """What the log comes to up to an offset, by all workers, which have to have said so."""
    workers = {worker.id for worker in sandbox.workers}
    found: dict[str, str] = {}

    def told() -> bool:
        for event in Backend(sandbox.bootstrap).statuses(lambda events: True):
            if event["type"] == "doorward.policy.applied.v1" and event["data"]["offset"] >= offset:
                found[event["data"]["worker"]] = event["data"]["digest"]
        return found.keys() == workers

    await_that(told, lambda: f"applied up to {offset}: {found}")
    return set(found.values())


def check_revisions(decisions: Sequence[dict[str, Any]]) -> None:
    """By the order of the log that decisions say they go by, no document falls back to an earlier revision."""
    by_path: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for data in decisions:
        for path, revision in data["policies"].items():
            by_path[path][data["policy_offset"]].add(revision)
    assert by_path
    for path, by_offset in by_path.items():
        in_force = [revisions for _, revisions in sorted(by_offset.items())]
        assert all(len(revisions) == 1 for revisions in in_force), (path, in_force)
        assert sorted(map(min, in_force)) == list(map(min, in_force)), (path, in_force)


def answers(backend: Backend) -> dict[int, tuple[str, int | None]]:
    """What was said of each record of the log: accepted or rejected, and the revision."""
    found = {}
    for event in backend.statuses(lambda events: True):
        kind = event["type"].split(".")[2]
        if kind in ("accepted", "rejected"):
            found[event["data"]["offset"]] = kind, event["data"]["revision"]
    return found


def test_a_log_appended_to_itself_changes_nothing(sandbox: Sandbox, storm: Storm) -> None:
    backend, rng = Backend(sandbox.bootstrap), random.Random(6)
    log = copies_of(backend)
    [before] = digests(sandbox, len(log) - 1)
    late = backend.read(POLICIES)[-1].timestamp + SPARE
    await_that(lambda: time.time_ns() // 1_000_000 > late, lambda: "a copy now would have the notice as well")
    first, second = sandbox.workers
    found: list[set[str]] = []

    def append_again() -> int:
        found.append(digests(sandbox, mirrored(sandbox, log * 2)))
        found.append(digests(sandbox, mirrored(sandbox, rng.sample(log * 2, 2 * len(log)))))
        found.append(digests(sandbox, mirrored(sandbox, log[:REVISIONS])))
        with ended(sandbox, first, signal.SIGTERM):
            shutil.rmtree(first.folder / "policy-table")
        await_ready(sandbox)
        with ended(sandbox, second, signal.SIGTERM):
            """And one that goes on where it left off."""
        await_ready(sandbox)
        found.append(digests(sandbox, mirrored(sandbox, log)))
        return 6

    async def inflict(client: Client) -> int:
        return await asyncio.to_thread(append_again)

    fault = "policy log: all of it again twice, shuffled, old revisions, re-read"
    outcome = asyncio.run(trial(sandbox, storm, fault, inflict, rate=RATE))
    outcome.check()
    assert found == [{before}] * len(found)
    made = [json.loads(record.value)["data"] for record in backend.read("decisions")]
    check_revisions(made)
    said = answers(backend)
    copies = backend.read(POLICIES)
    assert said.keys() == set(range(len(copies)))
    truth = {record.value: said[record.offset] for record in copies[: len(log)]}
    assert {kind for kind, _ in truth.values()} == {"accepted", "rejected"}
    assert all(said[record.offset] == truth[record.value] for record in copies), "a copy is answered as its original"
    assert {(data["verdict"], data["policy_offset"] < len(log)) for data in made} == {
        (verdict, is_original) for verdict in ("admit", "alert", "remove") for is_original in (True, False)
    }
    note(outcome)
