"""The committed schemas are the code's, and take and refuse what the decoder takes and refuses."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from streams.adapters.asyncapi import short_name
from streams.adapters.schemas import EVENTS, drifted, event_schema, schema_files
from streams.cli.schema import app
from streams.wire import cloudevents
from tests.golden import scenario

SCHEMAS = scenario.EXAMPLES.parent
DECISIONS = ("admit", "alert", "remove")


def example(name: str) -> Any:
    return json.loads((scenario.EXAMPLES / f"{name}.json").read_bytes())


def takes(type_: str, value: object) -> bool:
    return Draft202012Validator(event_schema(f"doorward.{type_}.v1")).is_valid(value)


def test_the_committed_files_are_as_the_code_says() -> None:
    assert drifted(SCHEMAS) == [], "run `doorward schema export`"


def test_check_names_each_file_that_drifted(tmp_path: Path) -> None:
    run = CliRunner()
    assert run.invoke(app, ["export", "--out", str(tmp_path)]).exit_code == 0
    assert run.invoke(app, ["check", "--out", str(tmp_path)]).exit_code == 0
    (tmp_path / "events" / "join.schema.json").write_text("{}")
    (tmp_path / "events" / "stranger.schema.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").unlink()
    checked = run.invoke(app, ["check", "--out", str(tmp_path)])
    assert checked.exit_code == 1
    assert [Path(line).name for line in checked.stdout.splitlines()] == [
        "asyncapi.yaml",
        "join.schema.json",
        "stranger.schema.json",
    ]
    assert run.invoke(app, ["check", "--out", str(tmp_path / "nowhere")]).exit_code == 3


@pytest.mark.parametrize("path", sorted(path for path in schema_files() if path.endswith(".schema.json")))
def test_each_file_is_a_schema_on_its_own(path: str) -> None:
    schema = json.loads((SCHEMAS / path).read_bytes())
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("urn:doorward:")
    assert schema["title"]
    assert schema["description"]
    assert all(ref.startswith("#/$defs/") for ref in re.findall(r'"\$ref": "([^"]*)"', json.dumps(schema)))
    # a misspelt keyword would be taken for an annotation and guard nothing
    assert not keywords(schema) - KEYWORDS


KEYWORDS = {
    *("$schema", "$id", "$ref", "$defs", "title", "description", "default", "type", "properties", "required"),
    *("additionalProperties", "enum", "const", "format", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("items", "minItems", "maxItems", "anyOf", "oneOf", "if", "then", "else", "minProperties"),
}


def keywords(schema: Any) -> set[str]:
    """Every keyword of a schema, at any depth."""
    if isinstance(schema, list):
        return {word for item in schema for word in keywords(item)}
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for word, inner in schema.items():
        if word in ("properties", "$defs"):  # these hold names, not keywords
            found |= keywords(list(inner.values()))
        elif word not in ("const", "enum", "default", "required"):
            found |= keywords(inner)
    return found


# -- input: schema and decoder agree -----------------------------------------------------------------------------


def without(*path: str) -> Callable[[Any], None]:
    def change(event: Any) -> None:
        for key in path[:-1]:
            event = event[key]
        del event[path[-1]]

    return change


def having(value: object, *path: str) -> Callable[[Any], None]:
    def change(event: Any) -> None:
        for key in path[:-1]:
            event = event[key]
        event[path[-1]] = value

    return change


FINE = {
    "an unknown field": having(1, "data", "colour"),
    "an unknown attribute": having("x", "traceparent"),
    "null sequence": having(None, "data", "sequence"),
    "no sequence": without("data", "sequence"),
    "null time": having(None, "time"),
    "no time": without("time"),
    "a negative sequence": having(-1, "data", "sequence"),
    "the longest meeting": having("é" * 128, "data", "meeting"),
}
FINE_OF_JOINS = {
    "null role": having(None, "data", "role"),
    "no role": without("data", "role"),
    "null stage": having(None, "data", "stage"),
    "an address that is none": having("", "data", "address"),  # decided, and a dead letter besides
}
WRONG = {
    **{f"no {key}": without(key) for key in ("specversion", "type", "source", "id", "data")},
    **{f"no {key}": without("data", key) for key in ("meeting", "account", "participation")},
    **{f"null {key}": having(None, "data", key) for key in ("meeting", "account", "participation")},
    "another specversion": having("0.3", "specversion"),
    "another type": having("doorward.join.v2", "type"),
    "an empty id": having("", "id"),
    "an empty source": having("", "source"),
    "an empty meeting": having("", "data", "meeting"),
    "too long a meeting": having("é" * 129, "data", "meeting"),
    "a number for an account": having(7, "data", "account"),
    "a sequence as text": having("7", "data", "sequence"),
    "a sequence with a fraction": having(1.5, "data", "sequence"),
    "a sequence beyond 64 bits": having(2**63, "data", "sequence"),
    "data that is a list": having([], "data"),
}
WRONG_OF_JOINS = {
    "no address": without("data", "address"),
    "null address": having(None, "data", "address"),
    "an address that is a number": having(1, "data", "address"),
    "an unknown role": having("owner", "data", "role"),
    "an unknown stage": having("waiting", "data", "stage"),
}
EXAMPLE_OF = {"join": "join/design", "update": "update/new-address", "leave": "leave/design"}


@pytest.mark.parametrize("type_", EXAMPLE_OF)
def test_input_is_taken_and_refused_by_both(type_: str) -> None:
    joins = type_ != "leave"
    for fine, changes in (
        (True, FINE | (FINE_OF_JOINS if joins else {})),
        (False, WRONG | (WRONG_OF_JOINS if joins else {})),
    ):
        for what, change in changes.items():
            event = copy.deepcopy(example(EXAMPLE_OF[type_]))
            change(event)
            assert takes(type_, event) is fine, what
            assert decodes(event) is fine, what


def decodes(event: object) -> bool:
    try:
        cloudevents.decode(json.dumps(event).encode())
    except cloudevents.Malformed:
        return False
    return True


def test_input_types_are_told_apart() -> None:
    for type_, name in EXAMPLE_OF.items():
        assert [other for other in EXAMPLE_OF if takes(other, example(name))] == [type_]


# -- output ------------------------------------------------------------------------------------------------------


def test_a_receipt_stands_in_every_remove_and_nowhere_else() -> None:
    remove = example("remove/design")
    receipt = remove["data"].pop("receipt")
    assert not takes("remove", remove)
    for verdict, name in (("admit", "admit/licensed"), ("alert", "alert/unknown-place")):
        event = example(name)
        assert takes(verdict, event)
        event["data"]["receipt"] = receipt
        assert not takes(verdict, event)


def test_type_and_verdict_say_the_same() -> None:
    event = example("admit/licensed")
    event["data"]["verdict"] = "alert"
    assert not takes("admit", event)
    assert not takes("alert", event)


def test_output_says_that_every_field_is_written() -> None:
    for type_ in EVENTS:
        name = short_name(type_)
        if name in EXAMPLE_OF:
            continue
        event = json.loads(next((scenario.EXAMPLES / name).glob("*.json")).read_bytes())
        for part in (event, event["data"]):
            for key in list(part):
                kept = part.pop(key)
                assert not takes(name, event), f"{name} without {key}"
                part[key] = kept
        assert takes(name, event)


def test_consumers_are_told_of_open_ends() -> None:
    """A later engine may add a field: nobody may refuse it."""
    for name in DECISIONS:
        event = json.loads(next((scenario.EXAMPLES / name).glob("*.json")).read_bytes())
        event["data"]["session"] = "s-1"
        assert takes(name, event)
