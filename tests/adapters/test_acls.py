"""The table of rights says what the design says of each part, and a cluster's rules are held against it truthfully."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from streams.adapters import acls
from streams.adapters.acls import Operation, RoleUnknown, Rule, Thing, compare
from streams.adapters.topics import load_manifest
from streams.cli.main import app
from streams.dev.kafka import EmbeddedKafka

TABLE = acls.load_table()
WANTED = TABLE.rules("doorward")
TOPICS = {topic.name for topic in load_manifest().topics}


def may(user: str, operation: Operation) -> set[str]:
    return {rule.name for rule in WANTED if (rule.user, rule.operation, rule.thing) == (user, operation, Thing.TOPIC)}


def who_may(operation: Operation, topic: str) -> set[str]:
    return {each.role for each in TABLE.roles if topic in may(each.user, operation)}


def test_each_topic_is_written_by_those_alone_who_answer_for_it() -> None:
    assert {topic: who_may(Operation.WRITE, topic) for topic in TOPICS} == {
        "joins": {"gateway"},
        "policies": {"publisher"},
        "policies.status": {"worker"},
        "decisions": {"worker"},
        "decisions.report": {"worker"},
        "joins.dlq": {"worker"},
        "doorward-sessions-changelog": {"worker"},
    }


def test_addresses_are_read_by_workers_and_examiners_alone() -> None:
    assert who_may(Operation.READ, "joins") == {"worker", "examiner"}
    assert who_may(Operation.READ, "joins.dlq") == {"examiner"}


def test_the_admin_alone_makes_and_alters_and_no_table_deletes() -> None:
    able = {Operation.CREATE, Operation.ALTER, Operation.ALTER_CONFIGS}
    assert {rule.user for rule in WANTED if rule.operation in able} == {"doorward-admin"}
    assert may("doorward-admin", Operation.CREATE) == TOPICS
    assert not {rule for rule in WANTED if rule.operation in (Operation.ALL, Operation.DELETE)}


def test_the_worker_may_check_every_topic() -> None:
    assert may("doorward-worker", Operation.DESCRIBE_CONFIGS) == TOPICS


def test_no_rule_is_of_a_name_with_a_star_or_a_beginning() -> None:
    assert not {rule for rule in WANTED if rule.prefixed or "*" in rule.name}


def test_the_workers_group_and_who_has_a_role_are_chosen() -> None:
    rules = TABLE.rules("eu", {"publisher": ["ci", "ops"], "auditor": ["ops"]})
    groups = {(rule.user, rule.name) for rule in rules if rule.thing is Thing.GROUP}
    assert {("doorward-worker", "eu"), ("ci", "eu"), ("doorward-actuator", "doorward-actuator")} <= groups
    of_ops = {(rule.name, rule.operation) for rule in rules if rule.user == "ops" and rule.thing is Thing.TOPIC}
    assert {("policies", Operation.WRITE), ("policies", Operation.READ), ("decisions", Operation.READ)} <= of_ops
    assert not {rule for rule in rules if rule.user == "doorward-publisher"}
    with pytest.raises(RoleUnknown, match="no role operator; there are gateway, worker, publisher"):
        TABLE.rules("eu", {"operator": ["ops"]})


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("roles: [{role: a, user: b, topics: {joins: [Raed]}}]", msgspec.ValidationError, "Raed"),
        ("roles: [{role: a, user: b, topics: {joins: [Read]}, host: x}]", msgspec.ValidationError, "host"),
        ("roles: [{role: a, user: b, topics: {join: [Read]}}]", KeyError, "join"),
    ],
)
def test_a_slip_in_the_table_is_refused(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    file = tmp_path / "acls.yaml"
    file.write_text(text)
    with pytest.raises(error, match=says):
        acls.load_table(file)


def test_a_cluster_like_the_table_is_met() -> None:
    assert compare(WANTED, WANTED).is_met


def test_what_lacks_is_named() -> None:
    one = Rule("doorward-worker", Thing.TOPIC, "joins", Operation.READ)
    plan = compare(WANTED, WANTED - {one})
    assert (plan.lacking, plan.beyond, plan.forbidden) == ([one], [], [])
    assert str(one) == "doorward-worker may Read topic joins"


@pytest.mark.parametrize(
    "rule",
    [
        Rule("somebody", Thing.TOPIC, "decisions", Operation.WRITE),
        Rule("somebody", Thing.TOPIC, "*", Operation.READ),
        Rule("somebody", Thing.TOPIC, "dec", Operation.ALL, prefixed=True),
        Rule("*", Thing.TOPIC, "joins", Operation.READ, host="10.0.0.1"),
        Rule("doorward-worker", Thing.TOPIC, "policies", Operation.WRITE),
        Rule("doorward-worker", Thing.TOPIC, "elsewhere", Operation.READ),
        Rule("doorward-publisher", Thing.GROUP, "doorward", Operation.READ),
        Rule("doorward-gateway", Thing.CLUSTER, "kafka-cluster", Operation.ALTER),
    ],
    ids=str,
)
def test_a_right_beyond_the_table_is_found(rule: Rule) -> None:
    plan = compare(WANTED, WANTED | {rule})
    assert (plan.lacking, plan.beyond, plan.forbidden) == ([], [rule], [])


@pytest.mark.parametrize(
    "rule",
    [
        Rule("somebody", Thing.TOPIC, "invoices", Operation.WRITE),
        Rule("somebody", Thing.TOPIC, "inv", Operation.WRITE, prefixed=True),
        Rule("somebody", Thing.GROUP, "doorward-actuator", Operation.READ),
        Rule("doorward-worker", Thing.TOPIC, "joins", Operation.DESCRIBE),
        Rule("doorward-admin", Thing.TOPIC, "joins", Operation.DESCRIBE_CONFIGS),
        Rule("somebody", Thing.TOPIC, "joins", Operation.ALL, denied=True),
    ],
    ids=str,
)
def test_what_is_others_or_goes_without_saying_is_not(rule: Rule) -> None:
    assert compare(WANTED, WANTED | {rule}).is_met


@pytest.mark.parametrize(
    "rule",
    [
        Rule("doorward-worker", Thing.TOPIC, "joins", Operation.READ, denied=True),
        Rule("*", Thing.TOPIC, "joins", Operation.ALL, denied=True),
        Rule("doorward-worker", Thing.TOPIC, "join", Operation.DESCRIBE, prefixed=True, denied=True),
        Rule("doorward-worker", Thing.GROUP, "*", Operation.READ, denied=True),
    ],
    ids=str,
)
def test_a_rule_that_forbids_what_the_table_allows_is_found(rule: Rule) -> None:
    plan = compare(WANTED, WANTED | {rule})
    assert (plan.lacking, plan.beyond, plan.forbidden) == ([], [], [rule])
    assert compare(WANTED, WANTED | {replace(rule, user="somebody")}).is_met


@pytest.mark.parametrize(
    ("user", "says"),
    [("ops", "should be ROLE=USER"), ("worker=", "should be ROLE=USER"), ("operator=ops", "no role operator")],
)
def test_a_role_that_is_none_ends_with_2(user: str, says: str) -> None:
    ended = CliRunner().invoke(app, ["acls", "plan", "--user", user])
    assert ended.exit_code == 2
    assert says in ended.stderr
    assert ended.stdout == ""


def test_brokers_that_let_everybody_do_everything_are_told_of(kafka: EmbeddedKafka) -> None:
    ended = CliRunner().invoke(app, ["acls", "plan", "--bootstrap", kafka.bootstrap])
    assert ended.exit_code == 3
    [line] = ended.stderr.splitlines()
    assert "the brokers have no authoriser (authorizer.class.name)" in line


@pytest.mark.parametrize("security", ["SSL", "SASL_SSL", "SASL_PLAINTEXT"])
def test_brokers_that_speak_otherwise_are_told_of_by_the_setting(kafka: EmbeddedKafka, security: str) -> None:
    env = {"DOORWARD_KAFKA_SECURITY": security, "DOORWARD_KAFKA_USERNAME": "u", "DOORWARD_KAFKA_PASSWORD": "secret"}
    ended = CliRunner().invoke(app, ["acls", "plan", "--bootstrap", kafka.bootstrap], env=env)
    assert ended.exit_code == 3
    [line] = ended.stderr.splitlines()
    assert line == f"doorward: DOORWARD_KAFKA_SECURITY is {security}: Kafka at {kafka.bootstrap} hangs up on that"
