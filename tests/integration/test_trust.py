"""Keys on a running worker: how old they must be, how they come and go, and that a restart agrees (ruling 32)."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli.keys import app
from streams.dev.authority import AUDIENCE
from streams.dev.sandbox import Sandbox
from streams.wire import jws
from streams.wire.keys import read_private
from streams.wire.trust import parse_trust, read_trust
from tests.integration.backend import Backend

pytestmark = pytest.mark.broker

OPENS = datetime.now(UTC) + timedelta(days=3)
EXPORT = {
    "scope": "service",
    "name": "export",
    "revision": 1,
    "class": "legal",
    "ground": "Export control list 7",
    "reference": "https://register.example/7",
    "contest": "https://doorward.example/contest",
    "not_before": OPENS.isoformat(),
    "not_after": (OPENS + timedelta(days=30)).isoformat(),
    "rules": [{"id": "listed", "when": {"country": ["FR"]}, "then": "remove"}],
    "default": "admit",
}


def office(revision: int, account: str = "clinic") -> dict[str, Any]:
    return {"scope": "account", "account": account, "name": "office", "revision": revision, "default": "admit"}


class Log:
    """The policy log and what is said of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.backend = Backend(sandbox.bootstrap)
        self.trust = sandbox.authority.trust

    def push(self, path: str, raw: bytes) -> int:
        return self.backend.append("policies", path.encode(), raw)

    def said(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The events of `policies.status`, once there are enough: a worker may have to be started twice for that."""

        def events(records: list[Any]) -> list[dict[str, Any]]:
            return [json.loads(record.value) for record in records]

        return events(self.backend.read("policies.status", lambda records: enough(events(records)), seconds=60))

    def answer(self, offset: int, outcome: str = "", times: int = 1) -> dict[str, Any]:
        """The latest answer of a kind to a record of the policy log, once there were so many."""

        def of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
            kinds = (f"doorward.policy.{outcome}.v1",) if outcome else ANSWERS
            return [event for event in events if event["type"] in kinds and event["data"]["offset"] == offset]

        return of(self.said(lambda events: len(of(events)) >= times))[-1]

    def announced(self, digest: str) -> dict[str, Any]:
        """The announcement of a trust set; waits for it."""

        def found(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [e for e in events if e["type"] == "doorward.trust.announced.v1" and e["subject"] == digest]

        return found(self.said(lambda events: bool(found(events))))[0]

    def applied(self, offset: int, digest: str | None = None, times: int = 1) -> dict[str, Any]:
        """The latest word on how far the worker has got, once it was said often enough for an offset."""

        def found(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
            of = [e["data"] for e in events if e["type"] == "doorward.policy.applied.v1"]
            return [data for data in of if data["offset"] == offset and digest in (None, data["digest"])]

        return found(self.said(lambda events: len(found(events)) >= times))[-1]

    def refused(self, reason: str, in_use: str | None = None) -> dict[str, Any]:
        """What was said of a trust set that was refused for a reason; waits for it."""

        def found(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
            of = [e["data"] for e in events if e["type"] == REFUSED]
            return [data for data in of if reason in data["reason"] and in_use in (None, data["in_use"])]

        return found(self.said(lambda events: bool(found(events))))[-1]


REFUSED = "doorward.trust.refused.v1"
ANSWERS = ("doorward.policy.accepted.v1", "doorward.policy.rejected.v1")


def read_digest(trust: str) -> str:
    return parse_trust(trust.encode()).digest


def keys(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, accounts=["acme"], strict=True) as started:
        yield started


@pytest.fixture(scope="module")
def log(sandbox: Sandbox) -> Log:
    return Log(sandbox)


def test_a_fresh_key_approves_nothing(sandbox: Sandbox, log: Log) -> None:
    offer = sandbox.authority.offer(EXPORT)
    before = log.applied(-1)
    offset = log.push(offer.path, offer.raw)
    problems = log.answer(offset, "rejected")["data"]["problems"]
    assert [problem["code"] for problem in problems] == ["C5-approvers", "C5-key-age", "C5-key-age"]
    assert all("was announced at " in problem["message"] for problem in problems[1:])
    assert log.applied(offset)["digest"] == before["digest"], "nothing is accepted, so nothing has changed"
    announced = log.announced(read_trust(log.trust).digest)["data"]["keys"]
    assert {(key["holder"], *key["scopes"]) for key in announced} >= {
        ("approver-1", "service"),
        ("approver-2", "service"),
    }
    listed = keys("list", "--trust", log.trust, "--bootstrap", sandbox.bootstrap, "--json")
    assert listed.exit_code == 0, listed.stderr
    states = {key["holder"]: key["state"] for key in json.loads(listed.stdout)["keys"]}
    assert states == {"owner": "active", "approver-1": "young", "approver-2": "young"}


def test_a_key_comes_is_revoked_and_what_it_signed_before_stands(sandbox: Sandbox, log: Log, tmp_path: Path) -> None:
    private = tmp_path / "clinic.jwk"
    made = keys("new", "--holder", "clinic", "--scope", "account/clinic", "--out", private)
    assert made.exit_code == 0, made.stderr
    entry, key = json.loads(made.stdout), read_private(private)

    def push(revision: int) -> int:
        return log.push("account/clinic/office", jws.sign(office(revision), [key], AUDIENCE))

    early = push(1)
    assert log.answer(early, "rejected")["data"]["problems"][0]["code"] == "untrusted"
    empty = log.applied(early)["digest"]

    whole = json.loads(log.trust.read_text())
    log.trust.write_text(json.dumps({"keys": [*whole["keys"], entry]}))
    assert log.answer(early, "accepted")["data"]["holder"] == "clinic", "the log is judged by the set there is now"
    known = log.applied(early, times=2)
    assert known["digest"] != empty
    assert known["documents"] == 1

    assert keys("revoke", key.kid, "--trust", log.trust).exit_code == 0
    log.announced(read_trust(log.trust).digest)
    late = push(2)
    refused = log.answer(late, "rejected")["data"]["problems"]
    assert [problem["code"] for problem in refused] == ["revoked"]
    assert f"{key.kid} (revoked)" in refused[0]["message"]
    assert log.applied(late)["digest"] == known["digest"], "what was appended before the revocation stands"

    revoked = log.trust.read_text()
    log.trust.write_text("{")
    assert log.refused(log.trust.name)["in_use"] == read_digest(revoked)
    owner = sandbox.authority.offer(office(1, "acme"))
    offset = log.push(owner.path, owner.raw)
    assert log.answer(offset)["type"] == "doorward.policy.accepted.v1", "the keys in use go on counting"

    log.trust.write_text(json.dumps(whole))
    refused = log.refused(f"key {key.kid} of clinic is gone")
    assert refused["in_use"] == read_digest(revoked), "a key is never deleted: the set in use goes on counting"
    again = sandbox.authority.offer(office(2, "acme"))
    offset = log.push(again.path, again.raw)
    assert log.answer(offset)["type"] == "doorward.policy.accepted.v1"
    running = log.applied(offset)
    assert running["documents"] == 2

    worker = sandbox.workers[0]
    os.kill(worker.pid, signal.SIGKILL)
    assert log.refused(f"key {key.kid} of clinic is gone", in_use="none"), "a start is held to what was announced"
    log.trust.write_text(revoked)
    cold = log.applied(offset, digest=running["digest"], times=2)
    assert worker.restarts >= 2
    assert cold["timings"].keys() == {"start"}, "a start comes to what a worker came to that saw it all happen"
    assert log.answer(early, "accepted")["data"]["holder"] == "clinic"
    assert log.answer(early, "rejected")["data"]["problems"][0]["code"] == "untrusted", "as it was said at first"
