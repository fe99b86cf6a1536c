"""The files of ``schemas/`` made from code: the schemas of events and of policy documents, AsyncAPI, receipts' texts.

The msgspec Structs that the engine decodes and encodes with are the source (``core.events``, ``core.status``), with
``core.policy``'s constants and ``topics.yaml`` for the rest, so a file here is never edited: ``doorward schema export``
writes them and ``schema check`` says which differ. Every file stands alone and is JSON Schema 2020-12; ``$id``s are
URNs, since nobody needs a host to read them.

Each event's schema is its Struct's with the type fixed. Input stays open: unknown fields are allowed, and ``null`` for
an optional field counts as absent. Output says what is really written: all fields but ``receipt``, which a remove
always has and nothing else ever.
"""

import json
import re
from collections.abc import Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

import msgspec

from streams.adapters.asyncapi import asyncapi, short_name
from streams.adapters.policyschema import policy_schema
from streams.adapters.topics import load_manifest
from streams.core import events, status
from streams.core.messages import CATALOGUE
from streams.wire.testfiles import CaseFile

Schema: TypeAlias = dict[str, Any]

_DECISIONS: Final = {type_: verdict for verdict, type_ in events.DECISION_TYPES.items()}
_INPUT: Final = (events.JOIN, events.UPDATE, events.LEAVE)
_STATUS: Final[dict[str, Any]] = {str(struct.__struct_config__.tag): struct for struct in get_args(status.StatusEvent)}

EVENTS: Final[dict[str, Any]] = {
    events.JOIN: events.JoinEvent,
    events.UPDATE: events.JoinEvent,
    events.LEAVE: events.LeaveEvent,
    **dict.fromkeys(_DECISIONS, events.DecisionEvent),
    **_STATUS,
}
"""Every event type and the Struct it is read or written with."""

_ABOUT: Final = {
    events.JOIN: "A participation began: one connection of one person to one meeting. A decision answers it.",
    events.UPDATE: "A participation's address, role or stage changed. A decision answers it.",
    events.LEAVE: "A participation ended. Nothing answers it.",
    "doorward.admit.v1": "The participation is let in, or stays.",
    "doorward.alert.v1": "The participation is let in, or stays, and someone should look.",
    "doorward.remove.v1": "The participation is not let in, or ends. Nothing else does: no meeting, no account.",
}


def schema_files() -> dict[str, str]:
    """Every generated file: its path under ``schemas/`` and its text.

    Raises:
        OSError: ``topics.yaml`` cannot be read.
    """
    made = {f"events/{short_name(type_)}.schema.json": _json(event_schema(type_)) for type_ in EVENTS}
    made["policy.schema.json"] = _json(policy_schema())
    made["policy-test.schema.json"] = _json(policy_test_schema())
    made["messages.json"] = _json(CATALOGUE)
    about = {type_: event_schema(type_)["description"] for type_ in EVENTS}
    made["asyncapi.yaml"] = asyncapi(load_manifest(), {short_name(type_): text for type_, text in about.items()})
    return made


def drifted(folder: Path) -> list[str]:
    """The files under a folder that are missing, differ from the code, or are event schemas of no event."""
    wanted = schema_files()
    there = {f"events/{file.name}" for file in (folder / "events").glob("*")}
    different = {path for path, text in wanted.items() if _text(folder / path) != text}
    return sorted(different | (there - wanted.keys()))


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


# -- one event ---------------------------------------------------------------------------------------------------


def event_schema(type_: str) -> Schema:
    """The schema of one event type. Raises KeyError for a type that is none."""
    _, parts = msgspec.json.schema_components([EVENTS[type_]], ref_template="#/$defs/{name}")
    for part in parts.values():
        _describe(part)
        if type_ not in _INPUT:
            _require_written(part)
    if type_ in _DECISIONS:
        _fix_decision(parts["DecisionData"], _DECISIONS[type_])
    envelope = parts.pop(EVENTS[type_].__name__)
    envelope["properties"]["type"] = {"const": type_}
    defs = _used(parts, envelope)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:doorward:schema:event:{short_name(type_)}:v1",
        "title": type_,
        "description": _ABOUT.get(type_) or envelope["description"],
        **{key: value for key, value in envelope.items() if key != "description"},
        **({"$defs": defs} if defs else {}),
    }


def policy_test_schema() -> Schema:
    """The schema of the files of policy tests, for the editors of those who write them."""
    _, parts = msgspec.json.schema_components([CaseFile], ref_template="#/$defs/{name}")
    for part in parts.values():
        _describe(part)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:doorward:schema:policy-test",
        "title": "Policy tests",
        **parts.pop(CaseFile.__name__),
        "$defs": parts,
    }


def _used(parts: Mapping[str, Any], envelope: Schema) -> dict[str, Any]:
    """The parts that a schema refers to, directly or not (a remove's receipt is no part of an admit)."""
    used: dict[str, Any] = {}
    waiting = [envelope]
    while waiting:
        for name in re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop())):
            if name not in used:
                used[name] = parts[name]
                waiting.append(parts[name])
    return {name: used[name] for name in sorted(used)}


def _require_written(part: Schema) -> None:
    """The engine leaves no field out but an unset one, and such a one has no default."""
    for name, field in part["properties"].items():
        if "default" in field:
            del field["default"]
            part["required"].append(name)
    part["required"] = [name for name in part["properties"] if name in part["required"]]


def _fix_decision(data: Schema, verdict: str) -> None:
    data["properties"]["verdict"] = {"const": verdict}
    if verdict == "remove":
        data["required"].append("receipt")
    else:
        data["properties"]["receipt"] = False


_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def _describe(part: Schema) -> None:
    """Turn a Struct's docstring into descriptions: of the whole, and of the fields under ``Attributes:``."""
    about, _, attributes = cleandoc(part.pop("description", "")).partition("\n\nAttributes:\n")
    del part["title"]  # the Struct's name, which is ours alone
    part["description"] = _prose(about)
    for name, text in _ATTRIBUTE.findall(attributes):
        field = part["properties"].get(name)
        if field is not None:
            field["description"] = _prose(text)


def _prose(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")
