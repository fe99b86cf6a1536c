"""The AsyncAPI 3 page: which events and documents are on which topic, who writes and who reads.

Made from ``topics.yaml`` and the list of events, so that it cannot say anything else than they do. Schemas are
referred to, never repeated. Channel and message bindings are Kafka's, version 0.5.0. What is said here of
``streams.wire`` (content types, the shape of a signed document, a dead letter's headers) is held to it by a test, since
this room does not know of that one.
"""

from collections.abc import Mapping
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

from streams import __version__
from streams.adapters.topics import Manifest, Topic

BINDING: Final = "0.5.0"
CONTENT_TYPE: Final = "application/cloudevents+json"
SCHEMA_FORMAT: Final = "application/schema+json;version=draft-2020-12"
_HEADER: Final = "# Made by `doorward schema export` from topics.yaml and the code; do not edit.\n"

# A topic that is not here, like the sessions' changelog, is between workers: nobody else may lean on it.
_ABOUT: Final = {
    "joins": "Who joins, changes and leaves. Structured mode, or binary mode (`ce_` headers, the value being `data`).",
    "decisions": "One decision a join or update, and further ones while the call is live, on the join's partition.",
    "decisions.report": "What documents in report mode would have decided. Nobody may enforce these.",
    "policies": "The policy log: signed documents, the truth about policy. Only the policy team may write here.",
    "policies.status": "What became of each record of the policy log, and what the workers use.",
    "joins.dlq": "Records of joins that could not be taken, untouched, with headers that say why.",
}
# Who does what: (operation, action, topic, who, summary).
_OPERATIONS: Final = (
    ("backendSendsJoins", "send", "joins", "backend", "Publish joins, updates and leaves; the key is the meeting."),
    ("backendReceivesDecisions", "receive", "decisions", "backend", "Act on the highest `order` of a participation."),
    ("policyTeamSendsDocuments", "send", "policies", "policy team", "Push signed documents."),
    ("policyTeamReceivesStatus", "receive", "policies.status", "policy team", "Accepted, rejected and why, applied."),
    ("policyTeamReceivesReports", "receive", "decisions.report", "policy team", "See what a trial would do."),
    ("workerReceivesJoins", "receive", "joins", "worker", "Read joins, one consumer group."),
    ("workerReceivesDocuments", "receive", "policies", "worker", "Every worker reads the whole log."),
    ("workerSendsDecisions", "send", "decisions", "worker", "Answer, acknowledged before the join's commit."),
    ("workerSendsReports", "send", "decisions.report", "worker", "Answer beside, for documents in report mode."),
    ("workerSendsStatus", "send", "policies.status", "worker", "Say what became of documents."),
    ("workerSendsDeadLetters", "send", "joins.dlq", "worker", "Put aside what cannot be taken."),
)
_KEYS: Final[dict[str, dict[str, Any]]] = {
    "meeting": {"type": "string", "minLength": 1, "maxLength": 128, "description": "The meeting's id."},
    "document path": {
        "type": "string",
        "description": "The document's path: service/NAME, account/ACCOUNT/NAME or meeting/ACCOUNT/MEETING/NAME, "
        "parts percent-encoded.",
    },
    "subject": {
        "type": "string",
        "description": "The event's subject: a document's path; a worker, a trust set or a geo build where it is about "
        "one of those.",
    },
}
_NOT_EVENTS: Final = {"policies": "signedDocument", "joins.dlq": "deadLetter"}


def asyncapi(manifest: Manifest, events: Mapping[str, str]) -> str:
    """The page as YAML.

    Args:
        manifest: the topics.
        events: short name (``join``, ``policy.accepted``) to description of every event that has a schema.

    Raises:
        KeyError: the manifest names an event without a schema, or a topic that is not described here.
    """
    page = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Doorward",
            "version": __version__,
            "description": "Decides, for every person joining an online meeting, admit, remove or alert. Operations "
            "are named for, and tagged with, who performs them: a conferencing backend, the policy team, a worker.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            _channel_id(topic.name): _channel(topic, manifest) for topic in manifest.topics if topic.name in _ABOUT
        },
        "operations": {name: _operation(action, topic, who, text) for name, action, topic, who, text in _OPERATIONS},
        "components": {"messages": _messages(manifest, events)},
    }
    text = StringIO()
    yaml = YAML()
    yaml.width = 1000  # never folded: a fold leaves blanks at line ends
    yaml.representer.ignore_aliases = lambda _: True  # repeated rather than anchored: many readers are not YAML's
    yaml.dump(page, text)
    return _HEADER + text.getvalue()


def short_name(type_: str) -> str:
    """``join`` for ``doorward.join.v1``: what files and messages are called."""
    return type_.removeprefix("doorward.").removesuffix(".v1")


def _channel_id(topic: str) -> str:
    return topic.replace(".", "-")


def _names(topic: Topic) -> list[str]:
    return [short_name(type_) for type_ in topic.content] or [_NOT_EVENTS[topic.name]]


def _channel(topic: Topic, manifest: Manifest) -> dict[str, Any]:
    partitions = manifest.partitions if topic.partitions == "N" else topic.partitions
    many = " As many partitions as the deployment chose for joins." if topic.partitions == "N" else ""
    settings: dict[str, Any] = {**topic.config, "min.insync.replicas": manifest.replication // 2 + 1}
    settings["cleanup.policy"] = str(settings["cleanup.policy"]).split(",")
    return {
        "address": topic.name,
        "description": _ABOUT[topic.name] + many,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": partitions,
                "replicas": manifest.replication,
                "topicConfiguration": settings,
                "bindingVersion": BINDING,
            }
        },
    }


def _operation(action: str, topic: str, who: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_channel_id(topic)}"},
        "summary": summary,
        "tags": [{"name": who}],
    }


def _messages(manifest: Manifest, events: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for topic in manifest.topics:
        for type_ in topic.content:
            name = short_name(type_)
            made[name] = {
                "name": type_,
                "title": name,
                "summary": events[name],
                "contentType": CONTENT_TYPE,
                "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"./events/{name}.schema.json"}},
                "bindings": _key(topic),
            }
    return made | {
        "signedDocument": _signed_document(manifest.topic("policies")),
        "deadLetter": _dead_letter(),
    }


def _key(topic: Topic) -> dict[str, Any]:
    return {"kafka": {"key": _KEYS[topic.key], "bindingVersion": BINDING}}


def _signed_document(topic: Topic) -> dict[str, Any]:
    encoded = {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"}
    signature = {
        "type": "object",
        "properties": {
            "protected": {
                **encoded,
                "description": "base64url of exactly alg (Ed25519 or EdDSA), kid, typ and aud.",
            },
            "signature": encoded,
        },
        "required": ["protected", "signature"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {
            "payload": {**encoded, "description": "base64url of a JSON document, see policy.schema.json."},
            "signatures": {"type": "array", "items": signature, "minItems": 1, "maxItems": 16},
        },
        "required": ["payload", "signatures"],
        "additionalProperties": False,
    }
    return {
        "name": "doorward-policy+jws",
        "title": "Signed policy document",
        "summary": "JWS General JSON Serialization (RFC 7515 section 7.2.1) of a policy document.",
        "contentType": "application/jose+json",
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": schema},
        "bindings": _key(topic),
    }


def _dead_letter() -> dict[str, Any]:
    ours = [f"doorward-{name}" for name in ("reason", "detail", "topic", "partition", "offset", "version")]
    return {
        "name": "doorward.dead-letter",
        "title": "Dead letter",
        "summary": "The original key, value and headers, and headers of ours. An oversized record is a stub without "
        "value: its size and SHA-256 are in headers.",
        "contentType": "application/octet-stream",
        "headers": {
            "schemaFormat": SCHEMA_FORMAT,
            "schema": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ours},
                "required": ours,
            },
        },
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"description": "Whatever came."}},
        "bindings": {"kafka": {"bindingVersion": BINDING}},
    }
