"""What is done to a worker: malformed records, damaged files, a hang, a wrong clock. One broker, two workers."""

import asyncio
import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import pytest
import rocksdict

from streams.app import SESSIONS
from streams.core import instants
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox, SandboxWorker, Supervisor
from streams.runtime.frames import unframe
from streams.runtime.store import RESERVED
from tests.chaos.hang import hang_until_it_ends
from tests.chaos.table import note
from tests.chaos.trials import ACCOUNTS, LONG, Storm, long_form, trial
from tests.integration.backend import Backend
from tests.integration.calls import document, push

pytestmark = pytest.mark.broker

RATE = 1_000 if LONG else 400
MALFORMED = 10_000
DAMAGED = "local files thrown away"
READY_SECONDS = 40.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    environment = {"DOORWARD_SESSION_TIMEOUT": "4", "DOORWARD_STANDBYS": "1"}
    with Sandbox(workers=2, accounts=ACCOUNTS, environment=environment) as started:
        for account in ACCOUNTS:
            push(started, document(account))
        yield started


@pytest.fixture(scope="module")
def storm() -> Storm:
    return Storm()


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


# -- files -------------------------------------------------------------------------------------------------------


def flip(file: Path, count: int = 64) -> None:
    """Turn bytes in a file's middle over."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + count] = bytes(byte ^ 0xFF for byte in content[middle : middle + count])
    file.write_bytes(content)


def flip_tables(folder: Path) -> None:
    tables = sorted(folder.glob("*.sst"))
    assert tables, "nothing to flip"
    for table in tables:
        flip(table)


def flip_journal(folder: Path) -> None:
    journals = [journal for journal in folder.glob("*.log") if journal.stat().st_size]
    assert journals, "nothing to flip"
    for journal in journals:
        flip(journal)


def cut_manifest(folder: Path) -> None:
    for manifest in folder.glob("MANIFEST-*"):
        os.truncate(manifest, manifest.stat().st_size // 2)


Damages = list[tuple[Callable[[Path], None], bool]]
"""A damage for each of the partitions, and whether the log must say that files were thrown away.

Files that are not there are no damage; they are made anew. Of a flipped journal RocksDB keeps what stands before it,
which is an exact prefix of the changelog: the rest is read from there.
"""

CLOSED: Damages = [(flip_tables, True), (cut_manifest, True), (shutil.rmtree, False), (flip_tables, True)]
"""After an orderly end all rows are in tables."""
KILLED: Damages = [(flip_journal, False), (flip_journal, False), (shutil.rmtree, False), (cut_manifest, True)]
"""After kill -9 the latest, or all of them, are in the journal."""


def partitions_of(worker: SandboxWorker) -> list[Path]:
    """The folders of the worker's partitions, active and standing by."""
    return sorted(worker.folder.rglob("sessions-[0-9].db"))


def state_hash(rows: dict[bytes, bytes]) -> str:
    digest = blake2b(digest_size=16)
    for key, value in sorted(rows.items()):
        for part in (key, value):
            digest.update(len(part).to_bytes(4) + part)
    return digest.hexdigest()


def on_disk(worker: SandboxWorker) -> list[str]:
    """The hash of each partition's rows in a worker's files, which it may be using."""
    found = []
    for folder in partitions_of(worker):
        files = rocksdict.Rdict(
            str(folder), rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only()
        )
        rows = files.iter()
        rows.seek_to_first()
        held = {}
        while rows.valid():
            held[rows.key()] = rows.value()
            rows.next()
        rows.status()  # raises where it ended by damage
        files.close()
        found.append(state_hash({key: value for key, value in held.items() if not key.startswith(RESERVED)}))
    return found


def in_changelog(sandbox: Sandbox) -> list[str]:
    """The same, by a plain reader of the changelog that shares no code with recovery but the frame's layout."""
    tables: list[dict[bytes, bytes]] = [{} for _ in range(sandbox.partitions)]
    highest = [0] * sandbox.partitions
    for record in Backend(sandbox.bootstrap).read(SESSIONS):
        content = unframe(record)
        assert content is not None
        number, payload = content
        if number < highest[record.partition]:
            continue
        highest[record.partition] = number
        if payload is None:
            tables[record.partition].pop(record.key, None)
        else:
            tables[record.partition][record.key] = payload
    return [state_hash(table) for table in tables]


@contextmanager
def ended(sandbox: Sandbox, worker: SandboxWorker, how: signal.Signals) -> Iterator[None]:
    """End a worker, and start it again when the block is left; nobody else does meanwhile."""
    assert sandbox._supervisor is not None
    sandbox._supervisor.stop()
    worker.process.signal(how)
    worker.process.wait()
    yield
    worker.restart()
    sandbox._supervisor = Supervisor(sandbox.workers, lambda line: None)


def await_ready(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not all(worker.is_ready() for worker in sandbox.workers):
        assert time.monotonic() < deadline, [worker.last_line() for worker in sandbox.workers]
        time.sleep(0.1)


def same_everywhere(sandbox: Sandbox) -> None:
    """Both workers hold, of every partition, what the changelog says; a standby may be a moment behind."""
    deadline = time.monotonic() + 20
    while True:
        truth, held = in_changelog(sandbox), [on_disk(worker) for worker in sandbox.workers]
        if held == [truth, truth] or time.monotonic() > deadline:
            assert held == [truth, truth]
            assert len(set(truth)) == sandbox.partitions, "each has rows of its own"
            return
        time.sleep(0.5)


def damage_and_return(sandbox: Sandbox, victim: SandboxWorker, peer: SandboxWorker, how: signal.Signals) -> None:
    """Damage each of a worker's partitions in another way while it is down; then have it take over all of them."""
    with ended(sandbox, victim, how):
        folders = partitions_of(victim)
        damages = KILLED if how is signal.SIGKILL else CLOSED
        for folder, (damage, _) in zip(folders, damages, strict=True):
            damage(folder)
    await_ready(sandbox)
    with ended(sandbox, peer, signal.SIGTERM):
        deadline = time.monotonic() + READY_SECONDS
        while "doorward_partitions 4.0" not in metrics(victim):
            assert time.monotonic() < deadline, victim.last_line()
            if victim.process.poll() is not None:  # damage found in use ends the process; its next start rebuilds
                victim.restart()
            time.sleep(0.1)
    await_ready(sandbox)


def metrics(worker: SandboxWorker) -> str:
    try:
        with urllib.request.urlopen(worker.metrics, timeout=1) as answer:
            text: str = answer.read().decode()
            return text
    except (urllib.error.URLError, OSError):
        return ""


@long_form
@pytest.mark.timeout(400)
def test_damaged_files_are_noticed_and_rebuilt_to_what_a_peer_has(sandbox: Sandbox, storm: Storm) -> None:
    rounds = [signal.SIGTERM, signal.SIGKILL]
    victim, peer = sandbox.workers

    async def inflict(client: Client) -> int:
        for how in rounds:
            await asyncio.to_thread(damage_and_return, sandbox, victim, peer, how)
        return len(CLOSED) + len(KILLED)

    outcome = asyncio.run(
        trial(sandbox, storm, "RocksDB: SST and journal flipped, MANIFEST cut, folder gone", inflict, rate=RATE)
    )
    outcome.check()
    same_everywhere(sandbox)
    noticed = victim.log.read_text(errors="replace").count(DAMAGED)
    assert noticed >= sum(said for _, said in CLOSED + KILLED)
    note(outcome)


# -- hung --------------------------------------------------------------------------------------------------------


@long_form
def test_a_worker_that_hangs_is_ended_by_its_own_watchdog(sandbox: Sandbox, storm: Storm) -> None:
    victim = sandbox.workers[0]
    took = []

    async def inflict(client: Client) -> int:
        took.append(await asyncio.to_thread(hang_until_it_ends, victim.pid, lambda: metrics(victim) != "", 60.0))
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
@pytest.mark.xfail(
    strict=True,
    reason="a clock that went back: what corrects a decision of its future has a lower `order` than that one (I1), "
    "and is said with cause `policy` and a trigger that no document gives (I2)",
)
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
