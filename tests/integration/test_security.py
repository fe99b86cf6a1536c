"""A broker that lets in nobody without a password, and then to nothing that the table of rights does not grant.

One secured broker for all: TLS, SCRAM-SHA-512, Kafka's own authoriser. The rights are those of `schemas/acls.yaml`,
made as an administrator makes them. What each user may and may not do is written down here once more.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.fetch import FetchRequest
from typer.testing import CliRunner, Result

from streams.adapters import acls
from streams.adapters.topics import connected, load_manifest
from streams.agents.needs import Unavailable, partitions_of_joins
from streams.cli.main import app
from streams.dev.authority import Authority as Signers
from streams.dev.authority import establish
from streams.dev.guardian import Guarded
from streams.dev.secure import ADMIN, Authority, SecureKafka
from streams.runtime.frames import frame
from tests.integration.backend import Backend, join

pytestmark = pytest.mark.broker

TOPICS = [topic.name for topic in load_manifest().topics]
SESSIONS = "doorward-sessions-changelog"
RUN = [sys.executable, "-m", "streams.cli.main", "run"]
FRANCE, AMERICA = "5.39.0.1", "8.8.8.8"
REFUSED = 29
"""Kafka error code TOPIC_AUTHORIZATION_FAILED."""

LICENSING = {
    "scope": "account",
    "account": "acme",
    "name": "licensing",
    "revision": 1,
    "rules": [{"id": "licensed", "when": {"country": ["US"]}, "then": "admit"}],
    "default": "remove",
    "contest": "https://acme.example/contest",
}


class Deployment:
    """A secured broker with rights and topics, and a worker that runs with no more than its own."""

    def __init__(self, kafka: SecureKafka, folder: Path) -> None:
        self.kafka = kafka
        self.signers: Signers = establish(folder / "keys", ["acme"])
        self.log = folder / "worker.log"
        self.folder = folder
        self.worker: Guarded | None = None

    def backend(self, user: str) -> Backend:
        return Backend(self.kafka.bootstrap, **self.kafka.connection(user).security_options())

    def environment(self, user: str) -> dict[str, str]:
        own = {"DOORWARD_TRUST": str(self.signers.trust), "DOORWARD_DATA": str(self.folder / "data")}
        return self.kafka.environment(user) | own

    def doorward(self, user: str, *arguments: str, **other: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self.environment(user) | other)

    def start_worker(self) -> None:
        own = {"DOORWARD_WORKER": "w-1", "DOORWARD_LOG_LEVEL": "DEBUG"}
        environment = {**os.environ, **self.environment("doorward-worker"), **own}
        self.worker = Guarded(RUN, log=self.log, env=environment)

    def metrics(self) -> str:
        """The worker's metrics, once it is ready."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            assert self.worker is not None
            said = self.log.read_text()
            assert self.worker.poll() is None, said
            at = next((json.loads(line)["metrics"] for line in said.splitlines() if '"metrics"' in line), None)
            if at is not None:
                with urllib.request.urlopen(at, timeout=5) as answer:
                    text = answer.read().decode()
                if "doorward_ready 1.0" in text:
                    return text
            time.sleep(0.05)
        raise AssertionError(f"the worker was not ready: {self.log.read_text()}")

    def ask(self, user: str, question: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        async def asking() -> Any:
            options = self.kafka.connection(user).security_options()
            async with connected(self.kafka.bootstrap, **options) as admin:
                return await question(admin)

        return asyncio.run(asking())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The broker, with rights made by the super user and topics by who has the admin's role. No worker yet."""
    with SecureKafka(role.user for role in acls.load_table().roles) as kafka:
        deployment = Deployment(kafka, tmp_path_factory.mktemp("secured"))
        made = deployment.doorward(ADMIN, "acls", "apply")
        assert (made.exit_code, made.stderr) == (0, "rights are as the table says\n")
        made = deployment.doorward("doorward-admin", "topics", "apply", "--replication", "1")
        assert (made.exit_code, made.stderr) == (0, "topics are as they should be\n")
        yield deployment
        if deployment.worker is not None:
            deployment.worker.release()
            deployment.worker.wait()


@pytest.fixture(scope="module")
def running(secured: Deployment) -> Deployment:
    """A worker that recovered its sessions from a changelog with garbage in it."""
    admin = secured.backend(ADMIN)
    for key, value in GARBAGE:
        admin.append(SESSIONS, key, value)
    secured.start_worker()
    secured.metrics()
    return secured


GARBAGE = [
    (b"acme/m-1/p-1", b"garbage"),
    (b"acme/m-1/p-2", frame(0, b"\x01Lgarbage")),
    (b"acme/m-1/p-3", frame(0, b"\x63L\x90")),
    (b"acme/m-1/p-4", None),
]


@dataclass
class Call:
    """What became of a call: somebody is let in, a document comes, two more want in."""

    before: dict[str, Any]
    pushed: Result
    after: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def call(running: Deployment) -> Call:
    """A call in which everybody has just the rights of the role they act in."""
    gateway, actuator = running.backend("doorward-gateway"), running.backend("doorward-actuator")
    gateway.send_events(join("m-1", FRANCE, id="before"))
    before = actuator.decisions("before")["before"]
    document = running.folder / "licensing.json"
    document.write_text(json.dumps(LICENSING))
    signed_by = ["--key", str(running.signers.files["owner"])]
    pushed = running.doorward("doorward-publisher", "policy", "push", str(document), *signed_by, "--yes")
    gateway.send_events(join("m-1", FRANCE, id="after"), join("m-1", AMERICA, id="licensed"))
    gateway.send([(b"m-1", b"{", [])])
    return Call(before, pushed, actuator.decisions("after", "licensed", "before"))


def test_a_worker_decides_and_applies_a_document_with_no_right_but_its_own(running: Deployment, call: Call) -> None:
    assert call.before["data"]["verdict"] == "admit"
    assert (call.pushed.exit_code, call.pushed.stderr) == (0, "")
    assert "removed 1, alerted 0, admitted 0 of 1 live participants" in call.pushed.stdout
    assert {id_: each["data"]["verdict"] for id_, each in call.after.items()} == {
        "before": "remove",
        "after": "remove",
        "licensed": "admit",
    }
    running.backend("doorward-examiner").read("joins.dlq", lambda found: b"{" in [each.value for each in found])


@pytest.mark.usefixtures("call")
def test_an_auditor_sees_what_was_decided_and_by_what(running: Deployment) -> None:
    reported = running.doorward("doorward-auditor", "report")
    assert (reported.exit_code, "account/acme/licensing" in reported.stdout) == (0, True), reported.output
    logged = running.doorward("doorward-auditor", "policy", "log", "account/acme/licensing")
    assert "accepted: new: 1 rule" in logged.stdout, logged.output
    known = running.doorward("doorward-auditor", "keys", "list", "--bootstrap", running.kafka.bootstrap)
    assert known.exit_code == 0, known.output


def test_an_examiner_and_no_auditor_sees_whence_somebody_joined(running: Deployment, call: Call) -> None:
    asked = ["policy", "explain", "--decision", call.after["after"]["id"]]
    explained = running.doorward("doorward-examiner", *asked)
    assert (explained.exit_code, "decided again it is the same" in explained.stdout) == (0, True), explained.output
    refused = running.doorward("doorward-auditor", *asked)
    assert (refused.exit_code, refused.stdout) == (3, "")


@pytest.mark.usefixtures("call")
def test_whoever_retracts_must_read_the_log_as_well(running: Deployment) -> None:
    signed_by = ["--key", str(running.signers.files["owner"])]
    refused = running.doorward("doorward-publisher", "policy", "retract", "account/acme/licensing", *signed_by, "--yes")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "doorward-publisher lacks a right on topic policies" in refused.stderr


def test_garbage_in_the_sessions_changelog_is_counted_and_passed_over(running: Deployment) -> None:
    assert 'doorward_session_faults_total{kind="bad_record"} 2.0' in running.metrics()
    assert running.log.read_text().count("session record passed over") == 2


def test_secrets_are_nowhere_to_be_read(running: Deployment, call: Call) -> None:
    """Neither in what a worker says, at the level that says most, nor by `config show`, nor by `ps`."""
    password = running.kafka.environment("doorward-worker")["DOORWARD_KAFKA_PASSWORD"]
    secrets = [password, *(json.loads(file.read_text())["d"] for file in running.signers.files.values())]
    assert running.worker is not None
    assert running.kafka.data is not None
    [node] = running.kafka.pids.values()
    shown = running.doorward("doorward-worker", "config", "show")
    assert "DOORWARD_KAFKA_PASSWORD=**********" in shown.stdout
    places = [running.log, running.kafka.data / "broker-1.log"]
    places += [Path(f"/proc/{pid}/cmdline") for pid in (running.worker.pid, node)]
    told = [*(place.read_text() for place in places), shown.output, call.pushed.output]
    assert '"level":"debug"' in told[0]
    assert not [secret for secret in secrets for text in told if secret in text]


def listening(pid: int) -> list[str]:
    """The addresses at which a process listens, as the kernel writes them."""
    process = Path(f"/proc/{pid}")
    own = {os.readlink(each) for each in (process / "fd").iterdir()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in (process / "net" / name).read_text().splitlines()]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]


def test_a_worker_listens_on_loopback_alone(running: Deployment) -> None:
    assert running.worker is not None
    assert listening(running.worker.pid) == ["0100007F"], "the metrics' port, at 127.0.0.1"


@pytest.mark.parametrize(("told", "at"), [({}, "0100007F"), ({"DOORWARD_METRICS_HOST": "127.0.0.2"}, "0200007F")])
def test_a_watch_listens_on_loopback_unless_told_otherwise(
    running: Deployment, tmp_path: Path, told: dict[str, str], at: str
) -> None:
    environment = {**os.environ, **running.environment("doorward-auditor"), **told}
    log, command = tmp_path / "watch.log", [*RUN[:-1], "report", "--watch", "--metrics", "0"]
    watch = Guarded(command, log=log, env=environment)
    try:
        deadline = time.monotonic() + 20
        while "metrics: " not in log.read_text():
            assert watch.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        assert listening(watch.pid) == [at]
    finally:
        watch.release()
        watch.wait()


# -- what each may do, and may not ---------------------------------------------------------------------------------

MAY = {
    "doorward-gateway": ({"joins"}, set()),
    "doorward-worker": (
        {"decisions", "decisions.report", "joins.dlq", "policies.status", SESSIONS},
        {"joins", "policies", "policies.status", SESSIONS},
    ),
    "doorward-publisher": ({"policies"}, {"policies.status"}),
    "doorward-actuator": (set(), {"decisions"}),
    "doorward-auditor": (set(), {"decisions", "decisions.report", "policies", "policies.status"}),
    "doorward-examiner": (
        set(),
        {"joins", "joins.dlq", "decisions", "decisions.report", "policies", "policies.status"},
    ),
    "doorward-admin": (set(), set()),
}
"""By user: the topics it may write to, and those it may read from."""


def test_nobody_else_has_a_role() -> None:
    assert MAY.keys() == {role.user for role in acls.load_table().roles}


# So nobody but a worker can forge a session, a decision or a dead letter, and no worker a policy.
@pytest.mark.parametrize("user", MAY)
def test_each_writes_where_it_may_and_nowhere_else(secured: Deployment, user: str) -> None:
    harmless = json.dumps({"data": {"event": {"id": user}}}).encode()

    async def may_write(producer: AIOKafkaProducer, topic: str) -> bool:
        try:
            await producer.send_and_wait(topic, harmless, key=b"elsewhere", partition=0)
        except TopicAuthorizationFailedError:
            return False
        return True

    async def asking() -> set[str]:
        options = secured.kafka.connection(user).security_options()
        async with AIOKafkaProducer(bootstrap_servers=secured.kafka.bootstrap, **options) as producer:
            return {topic for topic in TOPICS if await may_write(producer, topic)}

    assert asyncio.run(asking()) == MAY[user][0]


@pytest.mark.parametrize("user", MAY)
def test_each_reads_where_it_may_and_nowhere_else(secured: Deployment, user: str) -> None:
    async def reading(admin: AIOKafkaAdminClient) -> dict[str, int]:
        # The request itself: a consumer waits for the leader of a topic that it may not even describe.
        request = FetchRequest(0, 0, 1 << 20, 0, [(topic, [(0, 0, 1 << 16)]) for topic in TOPICS])
        answer = await admin._send_request(request)
        return {topic: partitions[0][1] for topic, partitions in answer.topics}

    codes = secured.ask(user, reading)
    assert codes.keys() == set(TOPICS)
    assert {topic for topic, code in codes.items() if code == 0} == MAY[user][1]
    assert {codes[topic] for topic in set(TOPICS) - MAY[user][1]} <= {REFUSED}


@pytest.mark.parametrize("user", [user for user in MAY if user != "doorward-admin"])
def test_none_but_the_admin_makes_topics_and_grants_rights(secured: Deployment, user: str) -> None:
    async def making(admin: AIOKafkaAdminClient) -> list[int]:
        made = await admin.create_topics([NewTopic(name, 1, 1) for name in ("joins", "invoices")])
        return [code for _, code, _ in made.topic_errors]

    assert secured.ask(user, making) == [REFUSED, REFUSED]
    refused = secured.doorward(user, "acls", "plan")
    assert refused.exit_code == 3
    assert "can't read rights: Describe on the cluster is wanted" in refused.stderr


def test_the_admin_makes_no_topic_but_ours_and_deletes_none(secured: Deployment) -> None:
    async def making(admin: AIOKafkaAdminClient) -> list[int]:
        made = await admin.create_topics([NewTopic("invoices", 1, 1)])
        deleted = await admin.delete_topics(["policies"])
        return [made.topic_errors[0][1], deleted.topic_error_codes[0][1]]

    assert secured.ask("doorward-admin", making) == [REFUSED, REFUSED]


def test_a_right_granted_beyond_the_table_is_found_and_left(secured: Deployment) -> None:
    rogue = acls.Rule("mallory", acls.Thing.TOPIC, "decisions", acls.Operation.WRITE)
    table = acls.load_table().rules("doorward")
    secured.ask("doorward-admin", lambda admin: acls.apply(admin, {rogue}))
    for command in ("plan", "apply"):
        found = secured.doorward("doorward-admin", "acls", command)
        assert (found.exit_code, found.stdout) == (1, "beyond the table: mallory may Write topic decisions\n")
    assert rogue in secured.ask("doorward-admin", acls.found)
    assert secured.ask("doorward-admin", acls.found) - {rogue} == table


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("doorward-actuator", "decisions"),
        ("doorward-publisher", "policies.status"),
        ("doorward-auditor", "decisions"),
        ("doorward-examiner", "joins"),
    ],
)
def test_none_but_workers_joins_their_group(secured: Deployment, user: str, topic: str) -> None:
    async def joining() -> None:
        options = secured.kafka.connection(user).security_options()
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=secured.kafka.bootstrap, group_id="doorward", **options)
        try:
            await consumer.start()
            async with asyncio.timeout(10):
                await consumer.getone()
        finally:
            await consumer.stop()

    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(joining())


def test_an_actuator_follows_decisions_in_a_group_of_its_own(secured: Deployment) -> None:
    async def following() -> list[Any]:
        options = secured.kafka.connection("doorward-actuator").security_options()
        async with AIOKafkaConsumer(
            "decisions",
            bootstrap_servers=secured.kafka.bootstrap,
            group_id="doorward-actuator",
            auto_offset_reset="earliest",
            **options,
        ) as consumer:
            record = await asyncio.wait_for(consumer.getone(), 10)
            await consumer.commit()
            return [record.topic, await consumer.committed(next(iter(consumer.assignment())))]

    secured.backend(ADMIN).append("decisions", b"elsewhere", json.dumps({"data": {"event": {"id": "own"}}}).encode())
    topic, _ = asyncio.run(following())
    assert topic == "decisions"


# -- who is turned away says so in one line ------------------------------------------------------------------------


def test_a_wrong_password_ends_a_worker_before_it_starts(secured: Deployment) -> None:
    environment = {**os.environ, **secured.environment("doorward-worker"), "DOORWARD_KAFKA_PASSWORD": "let-me-in"}
    ended = subprocess.run(RUN, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == (
        f"doorward: DOORWARD_KAFKA_USERNAME, DOORWARD_KAFKA_PASSWORD: Kafka at {secured.kafka.bootstrap} does not let "
        "doorward-worker in with that password\n"
    )


def test_a_worker_that_may_not_see_its_topics_says_which(secured: Deployment) -> None:
    with pytest.raises(Unavailable, match="topic decisions: is missing, or this user has no right to describe it"):
        partitions_of_joins(secured.kafka.connection("doorward-gateway"))


def test_brokers_that_another_authority_vouches_for_are_not_believed(secured: Deployment, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(Authority().certificate)
    ended = secured.doorward("doorward-worker", "topics", "check", DOORWARD_KAFKA_CA=str(stranger))
    assert ended.exit_code == 3
    assert ended.stderr == (
        f"doorward: DOORWARD_KAFKA_CA: Kafka at {secured.kafka.bootstrap} shows a certificate that can't be trusted: "
        "unable to get local issuer certificate\n"
    )


def test_brokers_are_believed_only_where_their_certificate_is_for(secured: Deployment) -> None:
    elsewhere = secured.kafka.bootstrap.replace("127.0.0.1", "localhost")
    ended = secured.doorward("doorward-worker", "topics", "check", DOORWARD_KAFKA_BOOTSTRAP=elsewhere)
    assert ended.exit_code == 3
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"doorward: DOORWARD_KAFKA_BOOTSTRAP: Kafka at {elsewhere} shows a certificate")
    assert "not valid for 'localhost'" in line


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"DOORWARD_KAFKA_PASSWORD": "let-me-in"}, "DOORWARD_KAFKA_USERNAME, DOORWARD_KAFKA_PASSWORD: "),
        ({"DOORWARD_KAFKA_USERNAME": "nobody"}, "does not let nobody in with that password"),
        ({"DOORWARD_KAFKA_MECHANISM": "SCRAM-SHA-256"}, "DOORWARD_KAFKA_MECHANISM: "),
        ({"DOORWARD_KAFKA_SECURITY": "PLAINTEXT"}, "DOORWARD_KAFKA_SECURITY is PLAINTEXT: "),
        ({"DOORWARD_KAFKA_SECURITY": "SSL"}, "DOORWARD_KAFKA_SECURITY is SSL: "),
        ({"DOORWARD_KAFKA_SECURITY": "SASL_PLAINTEXT"}, "DOORWARD_KAFKA_SECURITY is SASL_PLAINTEXT: "),
    ],
    ids=str,
)
def test_whoever_is_turned_away_is_told_by_the_setting(secured: Deployment, other: dict[str, str], says: str) -> None:
    ended = secured.doorward("doorward-auditor", "topics", "check", **other)
    assert ended.exit_code == 3
    [line] = ended.stderr.splitlines()
    assert says in line
    assert "let-me-in" not in ended.output


MISSING = (
    "(`doorward topics apply` makes it), or doorward-gateway has no right to see it (DOORWARD_KAFKA_USERNAME; see "
)


@pytest.mark.parametrize(
    ("command", "lacks"),
    [
        ("policy show", ["policies"]),
        ("policy push", ["policies", "policies.status"]),
        ("keys list", ["policies.status"]),
        ("report", ["decisions"]),
        ("verify", ["decisions", "decisions.report", "joins.dlq", "policies", "policies.status"]),
        (f"policy explain --decision {'0' * 32}", ["decisions"]),
    ],
)
def test_where_a_topic_cannot_be_seen_both_reasons_are_named(
    secured: Deployment, command: str, lacks: list[str]
) -> None:
    ended = secured.doorward("doorward-gateway", *command.split(), *given(secured, command))
    assert ended.exit_code == 3
    line = ended.stderr.splitlines()[-1]
    assert line.startswith(f"doorward: Kafka at {secured.kafka.bootstrap} has no topic {', '.join(lacks)} {MISSING}")


@pytest.mark.parametrize(
    ("user", "command", "on"),
    [
        ("doorward-publisher", "policy log", "topic policies"),
        ("doorward-publisher", "policy diff", "topic policies"),
        ("doorward-worker", "policy push", "topic policies"),
        ("doorward-auditor", "policy push", "the cluster"),
        ("doorward-gateway", "policy push --max-removed 0", "the consumer group (DOORWARD_GROUP)"),
    ],
)
def test_where_a_right_is_missing_the_line_says_whose_and_on_what(
    secured: Deployment, user: str, command: str, on: str
) -> None:
    ended = secured.doorward(user, *command.split(), *given(secured, command))
    assert ended.exit_code == 3
    lacks = f"Kafka at {secured.kafka.bootstrap}: {user} lacks a right on {on}; see `doorward acls plan`"
    assert f"doorward: DOORWARD_KAFKA_USERNAME: {lacks}" in ended.stderr.splitlines()[-1]
    assert "Error" not in ended.output


def test_the_list_of_keys_says_why_it_does_not_know_their_age(secured: Deployment) -> None:
    ended = secured.doorward(
        "doorward-auditor", "keys", "list", *given(secured, "keys list"), DOORWARD_KAFKA_PASSWORD="let-me-in"
    )
    assert ended.exit_code == 3
    [line] = ended.stderr.splitlines()
    assert line.startswith("doorward: DOORWARD_KAFKA_USERNAME, DOORWARD_KAFKA_PASSWORD: ")


def given(secured: Deployment, command: str) -> list[str]:
    """What else a command has to be told."""
    if command == "keys list":
        return ["--bootstrap", secured.kafka.bootstrap]
    document = secured.folder / "rooms.json"
    document.write_text(json.dumps({**LICENSING, "name": "rooms"}))
    if command == "policy diff":
        return [str(document)]
    return [str(document), "--key", str(secured.signers.files["owner"]), "--yes"] if "push" in command else []
