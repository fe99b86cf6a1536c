"""The AsyncAPI page: every topic and event, and no reference into nothing."""

from __future__ import annotations

import json
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from streams.adapters.asyncapi import short_name
from streams.adapters.schemas import EVENTS
from streams.adapters.topics import load_manifest
from streams.wire import cloudevents, deadletter, jws
from tests.golden import scenario

SCHEMAS = scenario.EXAMPLES.parent
PAGE: Any = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for item in value for ref in references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if "$ref" in value else []
    return own + [ref for item in value.values() for ref in references(item)]


def test_references_lead_somewhere() -> None:
    for ref in references(PAGE):
        if ref.startswith("#/"):
            at = PAGE
            for part in ref[2:].split("/"):
                at = at[part]
        else:
            assert (SCHEMAS / ref).is_file(), ref


def test_channels_are_the_topics_of_the_manifest() -> None:
    manifest = load_manifest()
    channels = {channel["address"]: channel for channel in PAGE["channels"].values()}
    public = [topic for topic in manifest.topics if topic.key != "session"]  # the changelog is between workers
    assert channels.keys() == {topic.name for topic in public}
    for topic in public:
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert kafka["topic"] == topic.name
        assert kafka["partitions"] == (manifest.partitions if topic.partitions == "N" else topic.partitions)
        settings = kafka["topicConfiguration"]
        assert {key: settings[key] for key in topic.config if key != "cleanup.policy"} == {
            key: value for key, value in topic.config.items() if key != "cleanup.policy"
        }
        assert settings["min.insync.replicas"] == 2
        if topic.content:
            assert list(channels[topic.name]["messages"]) == [short_name(type_) for type_ in topic.content]


def test_every_event_is_on_a_topic() -> None:
    on_topics = {type_ for topic in load_manifest().topics for type_ in topic.content}
    assert on_topics == EVENTS.keys()


def test_every_channel_is_written_and_read_by_someone() -> None:
    done: dict[str, set[str]] = {}
    for name, operation in PAGE["operations"].items():
        who = operation["tags"][0]["name"]
        assert name.startswith({"policy team": "policyTeam"}.get(who, who))
        done.setdefault(operation["channel"]["$ref"].removeprefix("#/channels/"), set()).add(operation["action"])
    unread = {"joins-dlq"}  # by people, with `doorward dlq`
    assert {channel for channel, actions in done.items() if actions != {"send", "receive"}} == unread
    assert done.keys() == PAGE["channels"].keys()


def test_only_the_policy_team_writes_policy() -> None:
    senders = [
        operation["tags"][0]["name"]
        for operation in PAGE["operations"].values()
        if operation["action"] == "send" and operation["channel"]["$ref"] == "#/channels/policies"
    ]
    assert senders == ["policy team"]


def test_it_says_of_the_wire_what_the_wire_does() -> None:
    messages = PAGE["components"]["messages"]
    assert PAGE["defaultContentType"] == cloudevents.CONTENT_TYPE
    ours = deadletter.headers((), "schema", "", topic="", partition=0, offset=0, version="")
    assert messages["deadLetter"]["headers"]["schema"]["required"] == [name for name, _ in ours]
    document = messages["signedDocument"]
    assert document["name"] == jws.TYP
    assert document["payload"]["schema"]["properties"]["signatures"]["maxItems"] == jws.MAX_SIGNATURES
    signed = Draft202012Validator(document["payload"]["schema"])
    for file in (scenario.EXAMPLES / "signed").glob("*.jws.json"):
        signed.validate(json.loads(file.read_bytes()))
    assert not signed.is_valid({"payload": "e30", "signatures": []})
