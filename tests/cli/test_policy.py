"""`policy sign` writes what workers verify; `policy push` tells what became of every document on every worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner, Result

from streams.cli.policy import app
from streams.dev.sandbox import Sandbox
from streams.wire import keys
from streams.wire.jws import verify
from streams.wire.trust import written
from tests.signing import HELD, entry, key, trusting

OWNER = """\
scope: account
account: acme
name: {name}
revision: {revision}
rules:
  - {{id: nordic, when: {{country: [NO, SE]}}, then: {then}}}
default: admit
"""
EXAM = "scope: meeting\naccount: acme\nmeeting: m-1\nname: exam\nrevision: 1\ndefault: admit\n"


def doorward(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with everybody's private keys and the trust set."""
    for name in HELD:
        keys.write_private(key(name), tmp_path / f"{name}.jwk")
    (tmp_path / "trust.json").write_bytes(written([entry(name) for name in HELD]))
    return tmp_path


# -- sign --------------------------------------------------------------------------------------------------------


def test_each_document_is_signed_into_a_file_of_its_own(desk: Path) -> None:
    (desk / "rooms.yaml").write_text(OWNER.format(name="rooms", revision=3, then="remove"))
    (desk / "two.yaml").write_text(f"{EXAM}---\n{OWNER.format(name='a', revision=1, then='alert')}")
    result = doorward("sign", desk / "rooms.yaml", desk / "two.yaml", "--key", desk / "acme.jwk", "--out", desk / "out")
    assert result.exit_code == 0, result.stderr
    files = [desk / "out" / name for name in ("rooms.jws.json", "two-1.jws.json", "two-2.jws.json")]
    assert result.stdout.split() == [str(file) for file in files]
    found = [verify(file.read_bytes(), trusting(), "doorward") for file in files]
    assert [v.payload["name"] for v in found] == ["rooms", "exam", "a"]
    assert found[0].payload["rules"][0]["when"] == {"country": ["NO", "SE"]}
    assert {s.holder for v in found for s in v.signers} == {"acme"}


def test_a_signed_file_gets_one_more_signature(desk: Path) -> None:
    (desk / "a.yaml").write_text(EXAM)
    assert doorward("sign", desk / "a.yaml", "--key", desk / "ann.jwk").exit_code == 0
    result = doorward("sign", desk / "a.jws.json", "--key", desk / "bo.jwk")
    assert result.exit_code == 0
    assert "signed meeting/acme/m-1/exam revision 1" in result.stderr, "whoever signs is told what"
    found = verify((desk / "a.jws.json").read_bytes(), trusting(), "doorward")
    assert [s.holder for s in found.signers] == ["ann", "bo"]
    again = doorward("sign", desk / "a.jws.json", "--key", desk / "bo.jwk")
    assert again.exit_code == 2
    assert "bo has signed it already" in again.stderr


def test_the_audience_is_the_deployments(desk: Path) -> None:
    (desk / "a.yaml").write_text(EXAM)
    sign = ("sign", desk / "a.yaml", "--key", desk / "acme.jwk")
    assert doorward(*sign, env={"DOORWARD_AUDIENCE": "campus"}).exit_code == 0
    assert verify((desk / "a.jws.json").read_bytes(), trusting(), "campus")
    assert doorward(*sign, "--audience", "clinic", env={"DOORWARD_AUDIENCE": "campus"}).exit_code == 0
    assert verify((desk / "a.jws.json").read_bytes(), trusting(), "clinic")


def test_one_bad_document_refuses_all_after_every_problem_is_said(desk: Path) -> None:
    (desk / "good.yaml").write_text(EXAM)
    (desk / "bad.yaml").write_text(EXAM.replace("admit", "maybe") + "---\na: !x 1\n")
    (desk / "bad.json").write_text('{"a": 1, "a": 2}')
    (desk / "bad.jws.json").write_text("{}")
    names = ("good.yaml", "bad.yaml", "bad.json", "bad.jws.json", "gone.yaml")
    result = doorward("sign", *(desk / name for name in names), "--key", desk / "acme.jwk", "--out", desk / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    for said in ("bad.yaml:1: default: must be", "bad.yaml:8:4: tags", "bad.json:1: the key", "[not-jws]", "gone.yaml"):
        assert said in result.stderr
    assert not (desk / "out").exists()


def test_no_document_is_written_over_another_of_the_run(desk: Path) -> None:
    (desk / "a.yaml").write_text(EXAM)
    (desk / "a.json").write_text('{"scope": "account", "account": "a", "name": "n", "revision": 1, "default": "admit"}')
    result = doorward("sign", desk / "a.yaml", desk / "a.json", "--key", desk / "acme.jwk")
    assert result.exit_code == 2
    assert "another document of this run goes to" in result.stderr


@pytest.mark.parametrize(("name", "code"), [("gone.jwk", 3), ("trust.json", 3)])
def test_a_key_that_cannot_be_had_is_one_line(name: str, code: int, desk: Path) -> None:
    (desk / "a.yaml").write_text(EXAM)
    result = doorward("sign", desk / "a.yaml", "--key", desk / name)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1


# -- push, as far as it gets without a broker --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signer", "trust", "code", "said"),
    [
        ("ann.jwk", "trust.json", 2, "[C1-owner]"),
        ("settings.jwk", "trust.json", 2, "[C1-owner]"),
        (None, "trust.json", 2, "--key KEYFILE is required"),
        ("acme.jwk", "gone.json", 3, "trust set"),
        ("acme.jwk", None, 2, "--trust FILE (DOORWARD_TRUST) is required"),
        ("acme.jwk", "trust.json", 3, "not pushed: meeting/acme/m-1/exam"),
    ],
)
def test_what_cannot_be_pushed_is_said_and_not_pushed(
    signer: str | None, trust: str | None, code: int, said: str, desk: Path
) -> None:
    (desk / "a.yaml").write_text(EXAM)
    arguments: list[str | Path] = ["push", desk / "a.yaml", "--bootstrap", "127.0.0.1:1", "--yes"]
    arguments += ["--key", desk / signer] if signer else []
    arguments += ["--trust", desk / trust] if trust else []
    result = doorward(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


# -- push, with real workers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(accounts=["acme"], workers=2) as running:
        yield running


def push(sandbox: Sandbox, *arguments: str | Path) -> list[str | Path]:
    where = ("--bootstrap", sandbox.bootstrap, "--trust", sandbox.authority.trust)
    return ["push", *arguments, *where, "--key", sandbox.authority.files["owner"]]


def log_end(sandbox: Sandbox) -> int:
    async def end() -> int:
        partition = TopicPartition("policies", 0)
        async with AIOKafkaConsumer(bootstrap_servers=sandbox.bootstrap) as consumer:
            return (await consumer.end_offsets([partition]))[partition]

    return asyncio.run(end())


@pytest.mark.broker
def test_a_push_waits_until_every_worker_has_applied_it(sandbox: Sandbox, desk: Path) -> None:
    (desk / "a.yaml").write_text(f"{OWNER.format(name='first', revision=1, then='remove')}---\n{EXAM}")
    result = doorward(*push(sandbox, desk / "a.yaml", "--json"))
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    assert told["complete"]
    assert [(d["path"], d["answer"], d["problems"]) for d in told["documents"]] == [
        ("account/acme/first", "accepted", []),
        ("meeting/acme/m-1/exam", "accepted", []),
    ]
    last = told["documents"][-1]["offset"]
    assert [(w["worker"], w["applied"], w["offset"] >= last) for w in told["workers"]] == [
        ("sandbox-1", True, True),
        ("sandbox-2", True, True),
    ]
    assert all(0 < each["ms"] < 10_000 for each in (*told["documents"], *told["workers"]))
    lines = doorward(*push(sandbox, desk / "a.yaml")).stdout.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "accepted: account/acme/first revision 1",  # a repeat: ignored, and no mistake
        "accepted: meeting/acme/m-1/exam revision 1",
        "applied: sandbox-1",
        "applied: sandbox-2",
    ]


@pytest.mark.broker
def test_a_rejection_is_shown_with_its_problems_and_the_rest_goes_on(sandbox: Sandbox, desk: Path) -> None:
    (desk / "a.yaml").write_text(OWNER.format(name="second", revision=2, then="alert"))
    sign = ("sign", desk / "a.yaml", "--key", sandbox.authority.files["owner"])
    assert doorward(*sign).exit_code == 0
    assert doorward(*push(sandbox, desk / "a.jws.json")).exit_code == 0, "signed documents are pushed as they are"
    (desk / "b.yaml").write_text(
        f"{OWNER.format(name='second', revision=1, then='alert')}---\n"
        f"{OWNER.format(name='third', revision=1, then='alert')}"
    )
    result = doorward(*push(sandbox, desk / "b.yaml"))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("rejected: account/acme/second revision 1 (")
    assert lines[1].endswith("[revision-falls]")
    assert lines[2].startswith("accepted: account/acme/third revision 1 (")


@pytest.mark.broker
def test_one_bad_document_keeps_all_out_of_the_log(sandbox: Sandbox, desk: Path) -> None:
    (desk / "a.yaml").write_text(f"{OWNER.format(name='fourth', revision=1, then='alert')}---\n{EXAM}more: 1\n")
    before = log_end(sandbox)
    result = doorward(*push(sandbox, desk / "a.yaml"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown-key" in result.stderr
    assert log_end(sandbox) == before


@pytest.mark.broker
def test_without_live_workers_it_says_so_and_that_the_documents_stay(sandbox: Sandbox, desk: Path) -> None:
    (desk / "a.yaml").write_text(OWNER.format(name="fifth", revision=1, then="alert"))
    result = doorward(*push(sandbox, desk / "a.yaml", "--group", "nobody", "--timeout", "1"))
    assert result.exit_code == 3
    assert "the consumer group nobody has no live worker; the documents stay in the log" in result.stderr


@pytest.mark.broker
def test_ctrl_c_says_what_was_pushed(sandbox: Sandbox, desk: Path) -> None:
    (desk / "a.yaml").write_text(OWNER.format(name="sixth", revision=1, then="alert"))
    arguments = [str(a) for a in push(sandbox, desk / "a.yaml", "--group", "nobody", "--timeout", "60")]
    before = log_end(sandbox)
    command = [sys.executable, "-c", "from streams.cli.policy import app; app()", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    deadline = time.monotonic() + 30
    while log_end(sandbox) == before and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "pushed: account/acme/sixth r1" in stderr
    assert "interrupted; 1 of 1 documents are in the log" in stderr
    assert "Traceback" not in stderr
