"""What is done to a worker's own files: damaged while it is down and while it runs, deleted, and no room for more."""

import asyncio
import os
import shutil
import signal
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import rocksdict

from streams.app import SESSIONS
from streams.dev.guardian import Guarded
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox, SandboxWorker
from streams.runtime.frames import unframe
from streams.runtime.store import RESERVED
from tests.chaos.table import note
from tests.chaos.trials import ACCOUNTS, Storm, deployed, long_form, trial
from tests.chaos.workers import await_ready, await_that, ended
from tests.integration.backend import Backend
from tests.integration.calls import document, push

pytestmark = [pytest.mark.broker, pytest.mark.timeout(400), long_form]

RATE = 1_000
DAMAGED = "local files thrown away"
MARK = RESERVED + b"mark"
ENVIRONMENT = {"DOORWARD_SESSION_TIMEOUT": "4", "DOORWARD_STANDBYS": "1"}
LEAST_LIST = 50
"""Bytes of a list of files that end within its first entry."""


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    return {"environment": ENVIRONMENT}


# -- damages -----------------------------------------------------------------------------------------------------


def flip_tables(folder: Path) -> None:
    """Turn bytes in the middle of each file of rows over, without another file taking its place."""
    tables = sorted(folder.glob("*.sst"))
    assert tables, "nothing to flip"
    for table in tables:
        with table.open("r+b") as stream:
            stream.seek(table.stat().st_size // 2)
            content = stream.read(64)
            stream.seek(-len(content), os.SEEK_CUR)
            stream.write(bytes(byte ^ 0xFF for byte in content))


def cut_manifest(folder: Path) -> None:
    """Leave next to nothing of the list of files."""
    for manifest in folder.glob("MANIFEST-*"):
        os.truncate(manifest, LEAST_LIST)


def cut_manifest_by_one(folder: Path) -> None:
    """Take the end off the list of files' last entry: RocksDB believes what is left to be the whole of it."""
    for manifest in folder.glob("MANIFEST-*"):
        os.truncate(manifest, manifest.stat().st_size - 1)


DAMAGES: list[tuple[Callable[[Path], None], bool]] = [
    (flip_tables, True),
    (cut_manifest, True),
    (shutil.rmtree, False),
    (cut_manifest_by_one, False),
]
"""One for each of the partitions, and whether the log must say that files were thrown away.

Files that are not there are no damage: they are made anew. A list with its last entry missing is an earlier one: the
rows of then, and the mark of then, which says from where on the changelog is to be read.
"""


def partitions_of(worker: SandboxWorker) -> list[Path]:
    """The folders of the worker's partitions, active and standing by."""
    return sorted(worker.folder.rglob("sessions-[0-9].db"))


def noticed(worker: SandboxWorker) -> int:
    return worker.log.read_text(errors="replace").count(DAMAGED)


# -- what files hold ---------------------------------------------------------------------------------------------

Rows = dict[bytes, bytes]


def on_disk(folder: Path) -> tuple[int, Rows]:
    """The last offset of the changelog that a partition's files say they include, and their rows. Nobody has them open.

    Raises:
        Exception: They are damaged.
    """
    files = rocksdict.Rdict(str(folder), rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only())
    found, rows = {}, files.iter()
    rows.seek_to_first()
    while rows.valid():
        found[rows.key()] = rows.value()
        rows.next()
    rows.status()  # raises where it ended by damage
    files.close()
    _, offset = struct.unpack_from(">Bq", found[MARK])
    return offset, {key: value for key, value in found.items() if not key.startswith(RESERVED)}


def rows_of(changelog: list[Any], last: int) -> Rows:
    """A partition's rows up to an offset. Shares no code with recovery but the frame's layout."""
    rows: Rows = {}
    highest = 0
    for record in changelog:
        if record.offset > last:
            break
        content = unframe(record)
        assert content is not None
        number, payload = content
        if number < highest:
            continue
        highest = number
        if payload is None:
            rows.pop(record.key, None)
        else:
            rows[record.key] = payload
    return rows


def check_files(sandbox: Sandbox) -> None:
    """What each worker has of each partition is what the changelog says up to there, and that is nearly all of it."""
    with sandbox.unsupervised():
        for worker in sandbox.workers:  # all at once: whoever is left alone goes on writing, if only reminders
            worker.process.signal(signal.SIGTERM)
        for worker in sandbox.workers:
            worker.process.wait()
        changelogs: dict[int, list[Any]] = defaultdict(list)
        for record in Backend(sandbox.bootstrap).read(SESSIONS, seconds=60):
            changelogs[record.partition].append(record)
        for worker in sandbox.workers:
            folders = partitions_of(worker)
            assert len(folders) == sandbox.partitions
            for partition, folder in enumerate(folders):
                offset, held = on_disk(folder)
                truth = rows_of(changelogs[partition], offset)
                odd = {key for key in truth.keys() | held.keys() if truth.get(key) != held.get(key)}
                assert not odd, (worker.id, partition, offset, len(odd), len(truth), len(held))
                assert len(held) > 100, "something was there to be lost"
                last = changelogs[partition][-1].offset
                assert last - offset < RATE, (worker.id, partition, offset, last)
            worker.restart()
    await_ready(sandbox)


def take_over_all(sandbox: Sandbox, worker: SandboxWorker, peer: SandboxWorker) -> None:
    """Have a worker load the rows of every partition. Damage it finds in use ends it; its next start rebuilds."""
    with ended(sandbox, peer, signal.SIGTERM):

        def has_all() -> bool:
            if worker.process.poll() is not None:
                worker.restart()
            return worker.owned() == sandbox.partitions

        await_that(has_all, worker.last_line)
    await_ready(sandbox)


# -- the faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_files_damaged_while_a_worker_is_down_are_rebuilt(sandbox: Sandbox, storm: Storm, how: signal.Signals) -> None:
    victim, peer = sandbox.workers
    before = noticed(victim)

    def damage_and_return() -> None:
        with ended(sandbox, victim, signal.SIGTERM):
            """So that there are files of rows, also behind a kill."""
        await_ready(sandbox)
        with ended(sandbox, victim, how):
            for folder, (damage, _) in zip(partitions_of(victim), DAMAGES, strict=True):
                damage(folder)
        await_ready(sandbox)
        take_over_all(sandbox, victim, peer)

    async def inflict(client: Client) -> int:
        await asyncio.sleep(5)
        await asyncio.to_thread(damage_and_return)
        return len(DAMAGES)

    fault = f"RocksDB after {how.name}: SST flipped, MANIFEST cut, folder gone"
    outcome = asyncio.run(trial(sandbox, storm, fault, inflict, rate=RATE))
    outcome.check()
    assert noticed(victim) - before >= sum(said for _, said in DAMAGES)
    check_files(sandbox)
    note(outcome)


def test_files_flipped_under_a_worker_are_noticed_when_it_reads_them(sandbox: Sandbox, storm: Storm) -> None:
    """Until then nothing depends on them: decisions are made from memory, and rows are only added."""
    victim, peer = sandbox.workers
    before = noticed(victim)

    def flip_and_read() -> None:
        with ended(sandbox, victim, signal.SIGTERM):
            """So that there are files of rows, which nobody has read yet: at least those it stands by for."""
        await_ready(sandbox)
        for folder in partitions_of(victim):
            flip_tables(folder)
        take_over_all(sandbox, victim, peer)

    async def inflict(client: Client) -> int:
        await asyncio.sleep(5)
        await asyncio.to_thread(flip_and_read)
        return sandbox.partitions

    outcome = asyncio.run(trial(sandbox, storm, "RocksDB: SST flipped under a live worker", inflict, rate=RATE))
    outcome.check()
    assert noticed(victim) - before >= 1
    check_files(sandbox)
    note(outcome)


def agreed(sandbox: Sandbox) -> bool:
    """Whether the workers last said the same of the policy log, and each has said something since it started."""
    last: dict[str, tuple[int, str]] = {}
    for event in Backend(sandbox.bootstrap).statuses(lambda events: True):
        if event["type"] == "doorward.policy.applied.v1":
            data = event["data"]
            last[data["worker"]] = data["offset"], data["digest"]
    return len(last) == len(sandbox.workers) and len(set(last.values())) == 1


def test_a_policy_table_that_was_damaged_is_made_again_from_the_log(sandbox: Sandbox, storm: Storm) -> None:
    victim, _ = sandbox.workers
    damages = [flip_tables, cut_manifest, cut_manifest_by_one, shutil.rmtree]

    def damage_and_return() -> None:
        for revision, damage in enumerate(damages, 2):
            with ended(sandbox, victim, signal.SIGTERM):
                """So that what was in the journal is in tables."""
            await_ready(sandbox)
            push(sandbox, document(ACCOUNTS[0], revision))
            with ended(sandbox, victim, signal.SIGKILL):
                damage(victim.folder / "policy-table")
            await_ready(sandbox)
            push(sandbox, document(ACCOUNTS[1], revision))
            assert agreed(sandbox)

    async def inflict(client: Client) -> int:
        await asyncio.to_thread(damage_and_return)
        return len(damages)

    fault = "policy table: SST flipped, MANIFEST cut, folder gone"
    outcome = asyncio.run(trial(sandbox, storm, fault, inflict, rate=RATE))
    outcome.check()
    note(outcome)


# -- no room -----------------------------------------------------------------------------------------------------

ROOM = 96 << 20
"""Bytes of a small disk: enough for all that a worker keeps here."""
NO_ROOM = "cannot be kept on this machine"
NO_START = "DOORWARD_DATA: 0 MiB are free"
MOUNT = 'mount -t tmpfs -o "size=$0" none "$1" && exec sleep infinity'


class SmallDisk:
    """A disk of its own for a worker: a file system in memory, mounted where only one process sees it.

    Others reach it by way of that process. It and the mount are gone when it ends, and it ends with us.

    Attributes:
        folder: where it is, for everybody.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, str(ROOM), str(folder)]
        self._keeper = Guarded(command)
        self.folder = Path(f"/proc/{self._keeper.pid}/root") / folder.relative_to("/")
        await_that(self._is_settled, lambda: "neither mounted nor refused")
        if self._keeper.poll() is not None:
            pytest.skip("mounting a file system takes a right that this user lacks")

    def _is_settled(self) -> bool:
        if self._keeper.poll() is not None:
            return True
        with suppress(OSError):
            return shutil.disk_usage(self.folder).total == ROOM
        return False

    def fill(self) -> None:
        """Take all the room there is."""
        with (self.folder / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def empty(self) -> None:
        """Give it back."""
        (self.folder / "ballast").unlink()

    def end(self) -> None:
        """Unmount it."""
        self._keeper.release()
        self._keeper.wait()


@pytest.fixture
def lone() -> Iterator[Sandbox]:
    """Two workers for two partitions: so what a partition has in memory soon comes to what goes to disk at once."""
    with deployed(Sandbox(partitions=2, accounts=ACCOUNTS, environment=ENVIRONMENT)) as started:
        yield started


@pytest.fixture
def disks(lone: Sandbox, tmp_path: Path) -> Iterator[list[SmallDisk]]:
    """One for each worker, which moves there."""
    if shutil.which("unshare") is None:
        pytest.skip("private mounts are Linux's")
    made: list[SmallDisk] = []
    try:
        for worker in lone.workers:
            disk = SmallDisk(tmp_path / worker.id)
            made.append(disk)
            with ended(lone, worker, signal.SIGTERM):
                worker.folder = disk.folder / "data"
                worker._environment["DOORWARD_DATA"] = str(worker.folder)
        await_ready(lone)
        yield made
    finally:
        for disk in made:
            disk.end()


def test_no_room_on_the_disk_ends_a_worker_until_there_is(lone: Sandbox, disks: list[SmallDisk]) -> None:
    """First one of the workers finds no room, then the other one too, so that nobody is left; then both have it."""
    workers = lone.workers
    began = [worker.log.stat().st_size for worker in workers]

    def said(number: int) -> str:
        return workers[number].log.read_bytes()[began[number] :].decode(errors="replace")

    def run_out_and_recover() -> None:
        for number, disk in enumerate(disks):
            disk.fill()
            await_that(lambda: NO_START in said(number), lambda: said(number), seconds=120)  # noqa: B023 - called here
            assert NO_ROOM in said(number)
            time.sleep(5)
        for disk in disks:
            disk.empty()
        await_ready(lone)

    async def inflict(client: Client) -> int:
        await asyncio.to_thread(run_out_and_recover)
        return len(disks)

    outcome = asyncio.run(
        trial(lone, Storm(), "disk full: one worker's, then both", inflict, rate=2 * RATE, after=10, patience=120)
    )
    outcome.check()
    check_files(lone)
    note(outcome)
