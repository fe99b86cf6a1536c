"""`policy push` tries first: what it asks, what it leaves in the log, and what it does when workers answer in part.

Workers that answer late, wrongly or not at all cannot be had on order, so a stand-in speaks for them here: members of
a consumer group that say on ``policies.status`` what they are told to, about records of a real policy log.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.adapters import topics
from streams.core import status
from streams.dev.authority import AUDIENCE, Authority, establish
from streams.dev.kafka import EmbeddedKafka
from streams.wire import jws

POLICIES = TopicPartition("policies", 0)
LICENSING = """\
scope: account
account: acme
name: {name}
revision: 1
rules: [{{id: elsewhere, when: {{country: {{not: [US]}}}}, then: remove}}]
default: admit
"""


class StandIn:
    """Workers of one group. ``says`` maps a worker to whom a trial would remove there; None says nothing at all."""

    def __init__(self, bootstrap: str, group: str, says: dict[str, int | None]) -> None:
        self.bootstrap, self.group, self.says = bootstrap, group, says
        self.seen: list[dict[str, Any]] = []
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            members = [
                await stack.enter_async_context(
                    AIOKafkaConsumer("joins", bootstrap_servers=self.bootstrap, group_id=self.group, client_id=worker)
                )
                for worker in self.says
            ]
            producer = await stack.enter_async_context(AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all"))
            log = await stack.enter_async_context(AIOKafkaConsumer(bootstrap_servers=self.bootstrap))
            log.assign([POLICIES])
            await log.seek_to_end(POLICIES)
            await log.position(POLICIES)
            self._ready.set()
            while not self._stop.is_set():
                for member in members:
                    await member.getmany(timeout_ms=0)
                for records in (await log.getmany(timeout_ms=100)).values():
                    for record in records:
                        for event in self._answers(record):
                            await producer.send("policies.status", status.encode(event), partition=0)

    def _answers(self, record: Any) -> Iterator[status.StatusEvent]:
        value = jws.unverified(record.value, AUDIENCE)
        path, revision = record.key.decode(), value["revision"]
        self.seen.append(value)
        data = status.AcceptedData(
            path=path, revision=revision, offset=record.offset, appended_at=record.timestamp, sha256="", holder="owner",
            on_behalf=False, account="acme", meeting=None,
        )  # fmt: skip
        if any(said is not None for said in self.says.values()):
            yield status.AcceptedEvent(id=f"{record.offset}", time="", subject=path, data=data)
        for worker, would_remove in self.says.items():
            if would_remove is not None:
                yield status.applied(self._applied(worker, would_remove, path, value, record))

    def _applied(
        self, worker: str, would_remove: int, path: str, value: dict[str, Any], record: Any
    ) -> status.AppliedData:
        sweep = status.Sweep(sessions=500, decided=300, admit=0, alert=0, remove=would_remove)
        if value.get("mode") == "report":
            trial = status.Trial(
                path=path, revision=value["revision"], sessions=300, admit=300 - would_remove, alert=0,
                remove=would_remove, would_alert=0, would_remove=would_remove, meetings=2,
            )  # fmt: skip
            sweep = status.Sweep(sessions=500, decided=300, admit=0, alert=0, remove=0, trials=[trial])
        return status.AppliedData(
            worker=worker,
            offset=record.offset,
            digest="",
            documents=1,
            appended_at=record.timestamp,
            applied_at=record.timestamp,
            timings={"judge": 0.004, "in_force": 0.02, "swept": 0.3},
            sweep=None if value.get("retracted") else sweep,
        )


@pytest.fixture(scope="module")
def bootstrap(kafka: EmbeddedKafka) -> str:
    async def prepare() -> None:
        async with topics.connected(kafka.bootstrap) as connected:
            await topics.apply(connected, topics.load_manifest(), replication=1, partitions=4)

    asyncio.run(prepare())
    return kafka.bootstrap


class Desk:
    """Somebody who pushes a document named after the test, and what of it came into the log."""

    def __init__(self, bootstrap: str, folder: Path, name: str) -> None:
        self.bootstrap, self.name, self.group = bootstrap, name, f"push-trial-{name}"
        self.authority: Authority = establish(folder / "keys", ["acme"])
        self.file = folder / f"{name}.yaml"
        self.file.write_text(LICENSING.format(name=name))

    @contextmanager
    def workers(self, **says: int | None) -> Iterator[StandIn]:
        standing_in = StandIn(self.bootstrap, self.group, says)
        standing_in.start()
        try:
            yield standing_in
        finally:
            standing_in.stop()

    def command(self, *more: str) -> list[str]:
        where = ["--bootstrap", self.bootstrap, "--group", self.group, "--trust", str(self.authority.trust)]
        key = ["--key", str(self.authority.files["owner"])]
        return [sys.executable, "-m", "streams.cli.main", "policy", "push", str(self.file), *where, *key, *more]

    def push(self, *more: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*more)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def begin(self, *more: str) -> tuple[subprocess.Popen[str], int]:
        """Start it with a terminal to ask at; returns the process and the terminal's other end."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.command(*more), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        os.close(theirs)
        return process, ours

    def answer(self, text: str) -> subprocess.CompletedProcess[str]:
        process, terminal = self.begin()
        try:
            os.write(terminal, f"{text}\n".encode())
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
        return subprocess.CompletedProcess([], process.returncode, out, err)

    def log(self) -> list[tuple[str, str]]:
        """What the policy log holds of this document and its trial: name, and its mode or ``retracted``."""

        async def read() -> list[tuple[str, str]]:
            async with AIOKafkaConsumer(bootstrap_servers=self.bootstrap) as consumer:
                consumer.assign([POLICIES])
                await consumer.seek_to_beginning(POLICIES)
                end, values = (await consumer.end_offsets([POLICIES]))[POLICIES], []
                while await consumer.position(POLICIES) < end:
                    for records in (await consumer.getmany(timeout_ms=1000)).values():
                        values += [jws.unverified(record.value, AUDIENCE) for record in records]
                ours = [value for value in values if value["name"].partition("~")[0] == self.name]
                return [
                    (value["name"], "retracted" if value.get("retracted") else value.get("mode", "enforce"))
                    for value in ours
                ]

        return asyncio.run(read())


@pytest.fixture
def desk(bootstrap: str, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    return Desk(bootstrap, tmp_path, request.node.name.replace("test_", "").replace("_", "-"))


def tried(desk: Desk) -> list[tuple[str, str]]:
    return [(f"{desk.name}~trial", "report"), (f"{desk.name}~trial", "retracted")]


def test_yes_pushes_what_was_shown(desk: Desk) -> None:
    with desk.workers(w1=40, w2=2):
        result = desk.answer("y")
    assert result.returncode == 0, result.stderr
    would = "would remove 42 of 600 live participants in 4 meetings; would alert 0"
    assert f"account/acme/{desk.name} revision 1: {would}" in result.stderr
    lines = result.stdout.splitlines()
    steps = "verified in 4 ms, in force after 20 ms, live sessions swept in 300 ms"
    assert [line.partition("ms), ")[2] for line in lines[1:3]] == [
        f"{steps}, 40 verdicts changed",
        f"{steps}, 2 verdicts changed",
    ]
    assert lines[3] == "removed 42, alerted 0, admitted 0 of 1,000 live participants"
    assert desk.log() == [*tried(desk), (desk.name, "enforce")]


def test_no_leaves_nothing_but_a_retracted_trial(desk: Desk) -> None:
    with desk.workers(w1=40):
        result = desk.answer("n")
    assert (result.returncode, result.stdout.strip()) == (1, "")  # click asks with a blank on stdout
    assert result.stderr.endswith("doorward: nothing was pushed\n")
    assert desk.log() == tried(desk)


def test_a_limit_is_kept_without_a_terminal(desk: Desk) -> None:
    with desk.workers(w1=40, w2=2):
        refused = desk.push("--max-removed", "41", "--json")
        assert desk.log() == tried(desk)
        allowed = desk.push("--max-removed", "42", "--json")
    assert refused.returncode == 1
    assert "up to 42 live participants would be removed, more than 41; nothing was pushed" in refused.stderr
    said = json.loads(refused.stdout)
    assert (said["complete"], said["documents"][0]["offset"]) == (False, None)
    assert said["trial"]["documents"][0]["would_remove"] == {"least": 42, "most": 42}
    assert allowed.returncode == 0, allowed.stderr
    said = json.loads(allowed.stdout)
    assert said["swept"] == {"sessions": 1000, "decided": 600, "admit": 0, "alert": 0, "remove": 42}
    assert said["workers"][0]["timings"] == {"judge": 0.004, "in_force": 0.02, "swept": 0.3}
    assert desk.log() == [*tried(desk), *tried(desk), (desk.name, "enforce")]


def test_a_worker_that_does_not_answer_is_named_and_no_limit_is_kept_by_guessing(desk: Desk) -> None:
    with desk.workers(w1=1, w2=None):
        result = desk.push("--max-removed", "100", "--timeout", "2")
    assert result.returncode == 3
    assert "not counted: what w2 has; it did not answer" in result.stderr
    assert "not every live participant was counted; nothing was pushed" in result.stderr
    assert desk.log() == tried(desk)


def test_no_worker_that_answers(desk: Desk) -> None:
    with desk.workers(w1=None):
        result = desk.push("--max-removed", "100", "--timeout", "1")
    assert result.returncode == 3
    assert f"no trial of account/acme/{desk.name}: no worker answered" in result.stderr
    assert desk.log() == tried(desk)


def test_no_live_worker_is_said_and_nothing_is_tried(desk: Desk) -> None:
    result = desk.push("--max-removed", "100")
    assert result.returncode == 3
    assert f"the consumer group {desk.group} has no live worker" in result.stderr
    assert desk.log() == []


def test_yes_alone_tries_nothing(desk: Desk) -> None:
    with desk.workers(w1=40):
        result = desk.push("--yes")
    assert result.returncode == 0, result.stderr
    assert desk.log() == [(desk.name, "enforce")]


def test_ctrl_c_during_the_trial_retracts_it(desk: Desk) -> None:
    with desk.workers(w1=None):
        process, terminal = desk.begin("--timeout", "60")
        try:
            deadline = time.monotonic() + 30
            while not desk.log() and time.monotonic() < deadline:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
    assert (process.returncode, stderr) == (3, "doorward: interrupted; no document was pushed\n")
    assert desk.log() == tried(desk)
