"""The topics manifest says what the design says, and the cluster is compared with it, and made like it, truthfully."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import CliRunner, Result

from streams.adapters import topics
from streams.adapters.topics import BrokerUnavailable, Difference, TopicsDiffer
from streams.cli.topics import app
from streams.dev.kafka import EmbeddedKafka

HOURS = 3_600_000
NAMES = [
    "joins",
    "decisions",
    "decisions.report",
    "policies",
    "policies.status",
    "joins.dlq",
    "doorward-sessions-changelog",
]
MANIFEST = topics.load_manifest()


def asked(bootstrap: str, question: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with topics.connected(bootstrap) as admin:
            return await question(admin)

    return asyncio.run(run())


def planned_until(bootstrap: str, done: Callable[[list[Difference]], bool]) -> list[Difference]:
    """The plan once a change has reached every broker: an answered change may take a moment to be seen."""

    async def run(admin: AIOKafkaAdminClient) -> list[Difference]:
        for _ in range(200):
            if done(found := await topics.plan(admin, MANIFEST)):
                break
            await asyncio.sleep(0.05)
        return found

    return asked(bootstrap, run)


def doorward(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), env=env)


@pytest.fixture
def empty(kafka: EmbeddedKafka) -> Iterator[str]:
    """The broker's address, with none of Doorward's topics there before or after."""

    async def remove(admin: AIOKafkaAdminClient) -> None:
        if there := set(await admin.list_topics()) & set(NAMES):
            await admin.delete_topics(sorted(there))

    for moment in ("before", "after"):
        asked(kafka.bootstrap, remove)
        planned_until(kafka.bootstrap, lambda found: [each.setting for each in found] == ["topic"] * len(NAMES))
        if moment == "before":
            yield kafka.bootstrap


@pytest.fixture
def made(empty: str) -> str:
    """The broker's address, all topics applied with N = 4."""
    asked(empty, lambda admin: topics.apply(admin, MANIFEST, replication=1))
    return empty


@pytest.mark.parametrize(
    ("name", "key", "partitions", "hours"),
    [
        ("joins", "meeting", "N", 72),
        ("decisions", "meeting", "N", 30 * 24),
        ("decisions.report", "meeting", "N", 30 * 24),
        ("policies", "document path", 1, None),
        # The design says "document path"; of `applied` and announcements, which are about none, it is the subject.
        ("policies.status", "subject", 1, 365 * 24),
        ("joins.dlq", "as it came", "N", 72),
    ],
)
def test_the_manifest_is_the_designs_table(name: str, key: str, partitions: int | str, hours: int | None) -> None:
    topic = MANIFEST.topic(name)
    assert (topic.key, topic.partitions) == (key, partitions)
    assert topic.config["cleanup.policy"] == "delete"
    assert topic.config["retention.ms"] == (-1 if hours is None else hours * HOURS)


def test_the_sessions_changelog_is_compacted() -> None:
    topic = MANIFEST.topic("doorward-sessions-changelog")
    assert (topic.key, topic.partitions, topic.content) == ("session", "N", [])
    assert topic.config["cleanup.policy"] == "compact"


def test_the_manifest_has_those_topics_and_no_others() -> None:
    assert [topic.name for topic in MANIFEST.topics] == NAMES
    assert MANIFEST.topic("policies").config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "2"), (3, "2"), (5, "3")])
def test_a_majority_of_replicas_has_each_record(replication: int, in_sync: str) -> None:
    assert {t.settings(replication)["min.insync.replicas"] for t in MANIFEST.topics} == {in_sync}


def test_a_dead_letter_has_room_for_any_join_and_its_reason() -> None:
    largest = MANIFEST.topic("joins").config["max.message.bytes"]
    assert MANIFEST.topic("joins.dlq").config["max.message.bytes"] >= largest + 4096
    assert largest > 2**20


def test_a_key_the_manifest_does_not_know_is_refused(tmp_path: Any) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("partitions: 4\nreplication: 3\nprefix: x\ntopics: []\n")
    with pytest.raises(msgspec.ValidationError, match="prefix"):
        topics.load_manifest(file)


def test_an_empty_cluster_lacks_every_topic_and_looking_creates_none(empty: str) -> None:
    for _ in range(2):
        found = asked(empty, lambda admin: topics.plan(admin, MANIFEST, replication=1, partitions=6))
        assert [(each.topic, each.setting) for each in found] == [(name, "topic") for name in NAMES]
    assert found[0].wanted == "6 partitions, replication 1"
    assert found[3].wanted == "1 partitions, replication 1"


def test_apply_makes_what_check_accepts(empty: str) -> None:
    applied, left = asked(empty, lambda admin: topics.apply(admin, MANIFEST, replication=1, partitions=6))
    assert [each.topic for each in applied] == NAMES
    assert left == []
    # No number is given here: the cluster's own choice of six holds.
    asked(empty, lambda admin: topics.check(admin, MANIFEST))
    assert asked(empty, lambda admin: topics.apply(admin, MANIFEST)) == ([], [])


def test_a_changed_setting_is_named_and_put_right_and_other_settings_stay(made: str) -> None:
    async def spoil(admin: AIOKafkaAdminClient) -> None:
        settings = {"retention.ms": "1000", "cleanup.policy": "compact", "segment.ms": "600000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "policies", settings)])

    async def segment_ms(admin: AIOKafkaAdminClient) -> str:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "policies")])
        entries = answer.to_object()["resources"][0]["config_entries"]
        return next(entry["config_value"] for entry in entries if entry["config_names"] == "segment.ms")

    asked(made, spoil)
    planned_until(made, lambda found: len(found) == 4)
    with pytest.raises(TopicsDiffer) as refused:
        asked(made, lambda admin: topics.check(admin, MANIFEST))
    assert {(each.setting, each.found, each.wanted) for each in refused.value.differences} == {
        ("max.message.bytes", "1048588", "4259840"),
        ("cleanup.policy", "compact", "delete"),
        ("retention.ms", "1000", "-1"),
        ("message.timestamp.type", "CreateTime", "LogAppendTime"),
    }
    assert "topic policies: cleanup.policy is compact, should be delete" in str(refused.value)

    applied, left = asked(made, lambda admin: topics.apply(admin, MANIFEST))
    assert len(applied) == 4
    assert left == []
    assert asked(made, segment_ms) == "600000"


def test_more_replicas_in_sync_than_asked_for_are_reported_but_stop_no_worker(
    made: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def demand(admin: AIOKafkaAdminClient) -> None:
        settings = MANIFEST.topic("decisions").settings(1) | {"min.insync.replicas": "2"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "decisions", settings)])

    asked(made, demand)
    stricter = [Difference("decisions", "min.insync.replicas", "2", "1")]
    assert planned_until(made, lambda found: len(found) == 1) == stricter
    assert asked(made, lambda admin: topics.check(admin, MANIFEST)) == 4
    assert "topic decisions: min.insync.replicas is 2, should be 1" in caplog.text


@pytest.mark.parametrize(
    ("setting", "found", "is_harmless"),
    [
        ("min.insync.replicas", "3", True),
        ("min.insync.replicas", "1", False),
        ("min.insync.replicas", None, False),
        ("partitions", "3", False),
    ],
)
def test_only_stricter_is_harmless(setting: str, found: str | None, is_harmless: bool) -> None:
    assert Difference("joins", setting, found, "2").is_harmless is is_harmless


def test_partitions_unlike_those_of_joins_are_found_and_left_alone(made: str) -> None:
    async def widen(admin: AIOKafkaAdminClient) -> None:
        await admin.create_partitions({"decisions": NewPartitions(5), "policies.status": NewPartitions(2)})

    wrong = [
        Difference("decisions", "partitions", "5", "4 (as many as joins)"),
        Difference("policies.status", "partitions", "2", "1"),
    ]
    asked(made, widen)
    assert planned_until(made, lambda found: len(found) == 2) == wrong
    assert asked(made, lambda admin: topics.apply(admin, MANIFEST)) == ([], wrong)


def test_three_replicas_need_two_in_sync(kafka3: EmbeddedKafka) -> None:
    def new(name: str, replication: int) -> NewTopic:
        return NewTopic(name, 4, replication, topic_configs=MANIFEST.topic(name).settings(1))

    asked(kafka3.bootstrap, lambda admin: admin.create_topics([new("joins", 3), new("decisions", 1)]))
    seen = ["min.insync.replicas", "replication"]
    found = planned_until(kafka3.bootstrap, lambda found: [each.setting for each in found][:2] == seen)
    assert found[:2] == [
        Difference("joins", "min.insync.replicas", "1", "2"),
        Difference("decisions", "replication", "1", "3"),
    ]
    _, left = asked(kafka3.bootstrap, lambda admin: topics.apply(admin, MANIFEST))
    assert left == [Difference("decisions", "replication", "1", "3")]


def test_more_replicas_than_brokers_is_one_clear_line(empty: str) -> None:
    with pytest.raises(BrokerUnavailable, match=r"can't create topic joins: .*replication factor"):
        asked(empty, lambda admin: topics.apply(admin, MANIFEST, replication=3))


def test_the_command_plans_applies_and_checks(empty: str) -> None:
    env = {"DOORWARD_KAFKA_BOOTSTRAP": empty}
    planned = doorward("plan", "--replication", "1", "--partitions", "2", "--json", env=env)
    assert planned.exit_code == 1
    assert json.loads(planned.stdout)["differences"][0] == {
        "topic": "joins",
        "setting": "topic",
        "found": None,
        "wanted": "2 partitions, replication 1",
        "can_apply": True,
    }
    assert doorward("check", env=env).exit_code == 1

    applied = doorward("apply", "--replication", "1", "--partitions", "2", env=env)
    assert applied.exit_code == 0, applied.output
    assert applied.stdout.count("applied: ") == len(NAMES)
    assert applied.stderr == "topics are as they should be\n"
    for arguments in (["plan"], ["check"], ["plan", "--partitions", "2"]):
        fine = doorward(*arguments, env=env)
        assert (fine.exit_code, fine.stdout) == (0, ""), fine.output

    wider = doorward("apply", "--partitions", "3", env=env)
    assert wider.exit_code == 1
    assert "topic joins: partitions is 2, should be 3 (never changed by apply)\n" in wider.stdout


def test_without_a_broker_the_command_says_so_in_one_line() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        for command in ("plan", "apply", "check"):
            refused = doorward(command, "--bootstrap", address)
            assert refused.exit_code == 3
            assert refused.stdout == ""
            assert refused.stderr == f"doorward: no Kafka answers at {address} (DOORWARD_KAFKA_BOOTSTRAP)\n"


@pytest.mark.parametrize("address", ["", "here:there", "127.0.0.1:1,"])
def test_an_address_that_is_none_is_exit_code_two_and_one_line(address: str) -> None:
    refused = doorward("check", "--bootstrap", address)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"doorward: DOORWARD_KAFKA_BOOTSTRAP is {address!r}, should be host:port")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["plan", "--bootstrap", "127.0.0.1:1", "--partitions", "0"], ["check", "--partitions", "4"]]
)
def test_wrong_use_is_exit_code_two(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOORWARD_KAFKA_BOOTSTRAP", raising=False)
    assert doorward(*arguments).exit_code == 2
