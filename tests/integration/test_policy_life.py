"""A document's life against a real worker: pushed, shown, compared, retracted, and read back with its chain.

And pushes that break in the middle: a broker that stops answering, Ctrl-C. One sandbox serves all; a later test reads
what earlier ones left in the log.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from typer.testing import CliRunner, Result

from streams.adapters import topics
from streams.cli.main import app
from streams.core import instants
from streams.dev.sandbox import Sandbox
from tests.integration.backend import Backend

pytestmark = pytest.mark.broker

LICENSING = """\
scope: account
account: {account}
name: licensing
revision: {revision}
rules: [{{id: elsewhere, when: {{country: {{not: [US{more}]}}}}, then: remove}}]
default: admit
contest: https://acme.example/contest
"""
EXPORT = """\
scope: service
name: export
revision: 1
class: legal
ground: Export Act § 4
reference: https://acts.example/4
rules: [{{id: embargo, when: {{country: [BV]}}, then: alert}}]
default: admit
not_before: {opens}
not_after: {closes}
"""


class Desk:
    """Somebody with the owner's key."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.where = ["--bootstrap", sandbox.bootstrap, "--trust", str(sandbox.authority.trust)]
        self.key = ["--key", str(sandbox.authority.files["owner"])]

    def write(self, revision: int, more: str = "", account: str = "acme") -> str:
        file = self.folder / f"{account}-{revision}.yaml"
        file.write_text(LICENSING.format(account=account, revision=revision, more=more))
        return str(file)

    def run(self, name: str, *arguments: str) -> Result:
        signing = self.key if name in ("push", "retract") else ()
        return CliRunner().invoke(app, ["policy", name, *arguments, *self.where, *signing])


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(accounts=["acme", "clinic"], workers=1) as running:
        yield running


@pytest.fixture
def desk(sandbox: Sandbox, tmp_path: Path) -> Desk:
    return Desk(sandbox, tmp_path)


def test_pushed_compared_shown_and_retracted(desk: Desk) -> None:
    assert desk.run("push", desk.write(3), "--yes").exit_code == 0
    same = desk.run("diff", desk.write(4))
    assert (same.exit_code, same.stdout) == (0, "")
    compared = desk.run("diff", desk.write(4, ", CA"))
    assert compared.exit_code == 1
    assert "everyone from CA: were removed by rule 'elsewhere', now admitted by default" in compared.stdout
    assert desk.run("push", desk.write(4, ", CA"), "--yes").exit_code == 0
    shown = json.loads(desk.run("show", "account/acme/licensing", "--json").stdout)
    assert [(row["revision"], row["state"], row["holder"]) for row in shown["revisions"]] == [
        (4, "in force", "owner"),
        (3, "superseded", "owner"),
    ]
    assert shown["revisions"][0]["document"]["rules"][0]["when"] == {"country": {"not": ["US", "CA"]}}
    later = Path(desk.write(5, ", MX"))
    later.write_text(later.read_text() + "not_before: '2040-01-01T00:00:00Z'\n")
    assert desk.run("push", str(later), "--yes").exit_code == 0
    unknown = desk.run("retract", "account/acme/nothing", "--yes")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "account/acme/nothing: the policy log has no such document" in unknown.stderr
    retracted = desk.run("retract", "account/acme/licensing")
    assert retracted.exit_code == 0, retracted.stderr
    assert "revision 4 is in force" in retracted.stderr
    assert "revision 5, due at 2040-01-01T00:00:00.000Z, goes with it" in retracted.stderr
    assert "were removed by rule 'elsewhere', now admitted" in retracted.stderr
    lines = retracted.stdout.splitlines()
    assert lines[0].startswith("accepted: account/acme/licensing revision 6 (")
    assert lines[1].startswith("applied: sandbox-1 (")
    again = desk.run("retract", "account/acme/licensing")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "is retracted already, by revision 6" in again.stderr
    assert "revision 6 retracted" in desk.run("show").stdout


def test_the_log_tells_it_all_and_its_chain_leads_on(desk: Desk, sandbox: Sandbox) -> None:
    first = desk.run("log", "--chain")
    assert first.exit_code == 0, first.stderr
    *records, head = first.stdout.splitlines()
    told = [line.partition("account/acme/licensing ")[2] for line in records]
    assert told == [
        "r3, owner: accepted: new: 1 rule, else admit",
        "r4, owner: accepted: rule changed: elsewhere",
        "r5, owner: accepted: not_before: none → 2040-01-01T00:00:00.000Z; rule changed: elsewhere",
        "r6, owner: accepted: retracted",
    ]
    backend = Backend(sandbox.bootstrap)
    offset = backend.append("policies", b"account/acme/licensing", b"no document")
    assert offset == 4
    bad = desk.run("log", "--since-head", head, "--json")
    assert bad.exit_code == 1, "a record whose signature does not hold"
    last = json.loads(bad.stdout.splitlines()[-1])
    assert (last["outcome"], [p["code"] for p in last["problems"]], last["finding"]) == ("refused", ["not-jws"], True)
    assert "the chain is" not in bad.stderr
    forged = f"{'0' * 64}@3"
    assert "offset 3: the chain is" in desk.run("log", "--since-head", forged).stderr
    *_, seen = desk.run("log", "--chain").stdout.splitlines()
    assert desk.run("log", "--since-head", head, "--known").exit_code == 1, "it came after that head"
    known = desk.run("log", "--since-head", seen, "--known")
    assert (known.exit_code, known.stderr.splitlines()[-1]) == (0, "doorward: 1 finding, known up to offset 4")
    assert known.stdout.splitlines()[-1].endswith("[not-jws]"), "it is told all the same"
    assert desk.run("log", "--since-head", f"{'0' * 64}@4", "--known").exit_code == 1, (
        "another log than was looked into"
    )
    export = desk.folder / "export.jsonl"
    export.write_text(desk.run("log", "--public").stdout)
    assert "acme" not in export.read_text(), "owners' documents are private"
    verified = CliRunner().invoke(app, ["policy", "log", "--verify", str(export), "--since-head", head])
    assert (verified.exit_code, verified.stdout) == (0, ""), verified.stderr


def test_one_approver_takes_back_what_two_approved(desk: Desk) -> None:
    now = time.time_ns() // 1_000_000
    document = desk.folder / "export.yaml"
    document.write_text(
        EXPORT.format(opens=instants.render(now - instants.DAY), closes=instants.render(now + 20 * instants.DAY))
    )
    approvers = [str(desk.sandbox.authority.files[name]) for name in ("approver-1", "approver-2")]
    desk.key = ["--key", approvers[0], "--key", approvers[1]]
    assert desk.run("push", str(document), "--yes").exit_code == 0
    desk.key = ["--key", str(desk.sandbox.authority.files["owner"])]
    refused = desk.run("retract", "service/export")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "service/export: document: signed by 0 approver(s) with service scope" in refused.stderr
    desk.key = ["--key", approvers[1]]
    retracted = desk.run("retract", str(document), "--json")
    assert retracted.exit_code == 0, retracted.stderr
    assert "everyone from BV: were admitted with an alert by rule 'embargo', now admitted" in retracted.stderr
    told = json.loads(retracted.stdout)
    assert (told["documents"][0]["answer"], told["complete"]) == ("accepted", True)
    records = [json.loads(line) for line in desk.run("log", "service/export", "--json").stdout.splitlines()]
    assert [(each["revision"], each["holder"], each["change"]) for each in records] == [
        (1, "approver-1, approver-2", "new: 1 rule, else admit"),
        (2, "approver-2", "retracted"),
    ]
    young = [json.loads(line) for line in desk.run("log", "service/export", "--json", "--key-age").stdout.splitlines()]
    assert {"C5-key-age"} <= {problem["code"] for problem in young[0]["problems"]}, "these keys are minutes old"
    public = [json.loads(line) for line in desk.run("log", "--public").stdout.splitlines()]
    assert [each["revision"] for each in public if each.get("key") == "service/export"] == [1, 2]


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        ("pass", "was not acknowledged within 1 s"),
        ("b'clinic' in named['key'] and os.kill(os.getpid(), signal.SIGINT)", "interrupted"),
        ("os.kill(os.getpid(), signal.SIGINT)", "interrupted"),  # Ctrl-C again and again
    ],
)
def test_a_broker_that_stops_answering_in_the_middle(meanwhile: str, why: str, desk: Desk, sandbox: Sandbox) -> None:
    program = f"""
import os, signal, sys
from aiokafka import AIOKafkaProducer
from streams.adapters import policylog
from streams.cli.main import main
policylog._SENDING = policylog._HURRIED = 1.0
policylog._CLOSING = 0.3
send = AIOKafkaProducer.send
async def stopping(self, *given, **named):
    os.kill({sandbox.kafka.pids[1]}, signal.SIGSTOP)
    handed_over = await send(self, *given, **named)
    {meanwhile}
    return handed_over
AIOKafkaProducer.send = stopping
main()
"""
    arguments = ["push", desk.write(7), desk.write(7, account="clinic"), "--yes", "--json"]
    command = [sys.executable, "-c", program, "policy", *arguments, *desk.where, *desk.key]
    try:
        broken = subprocess.run(command, capture_output=True, text=True, timeout=30)
    finally:
        sandbox.kafka.resume(1)
    assert broken.returncode == 3, broken.stderr
    standing = [each["standing"] for each in json.loads(broken.stdout)["documents"]]
    said = broken.stderr.splitlines()
    paths = ("account/acme/licensing r7", "account/clinic/licensing r7")
    assert said[:-1] == [f"{told}: {path}" for told, path in zip(standing, paths, strict=True)]
    assert why in said[-1]
    assert standing[0] == "not known", "the broker has been handed it, and has it or not"
    assert "0 of 2 documents are in the log, " in said[-1]
    assert "may be: `doorward policy show` tells once Kafka answers again" in said[-1]
    assert desk.run("show").exit_code == 0


def test_a_log_whose_beginning_was_deleted_is_a_finding(desk: Desk, sandbox: Sandbox) -> None:
    export = desk.folder / "export.jsonl"
    export.write_text(desk.run("log", "--public").stdout)

    async def delete() -> None:
        async with topics.connected(sandbox.bootstrap) as admin:
            await admin.delete_records({TopicPartition("policies", 0): RecordsToDelete(before_offset=2)})

    asyncio.run(delete())
    late = desk.run("log", "--since-head", str(export), "--json")
    assert late.exit_code == 1
    assert json.loads(late.stdout.splitlines()[0])["offset"] == 2
    said = late.stderr.splitlines()
    assert "offsets 0 to 1: no record (deleted, or the mark of a transaction)" in said
    assert {"offset 0: the record is missing", "offset 1: the record is missing"} <= set(said)


def test_a_list_of_a_hundred_thousand_networks_is_taken_and_more_than_the_deployment_takes_is_not(desk: Desk) -> None:
    networks = [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(0, 1_700_000, 17)]
    office = {"scope": "account", "account": "acme", "name": "office", "revision": 1, "default": "alert"}
    office["rules"] = [{"id": "lines", "when": {"network": [f"{n}/32" for n in networks]}, "then": "admit"}]
    file = desk.folder / "office.json"
    file.write_text(json.dumps(office))
    pushed = desk.run("push", str(file), "--yes")
    assert pushed.exit_code == 0, pushed.stderr
    assert "accepted: account/acme/office revision 1" in pushed.stdout
    office["revision"], office["rules"] = 2, [{**office["rules"][0], "id": f"r{n}"} for n in range(2)]
    file.write_text(json.dumps(office))
    refused = desk.run("push", str(file), "--yes")
    assert refused.exit_code == 2
    assert "too-large" in refused.stderr
