"""The golden examples, from both sides: they are what the schemas say, and what the code reads and writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from streams.adapters.asyncapi import short_name
from streams.adapters.iso import vocabulary
from streams.adapters.schemas import EVENTS
from streams.core import policy, status
from streams.core.events import DecisionEvent, JoinEvent
from streams.wire import cloudevents, jws
from tests.golden import scenario

SCHEMAS = scenario.EXAMPLES.parent
NAMES = sorted(str(file.relative_to(scenario.EXAMPLES).with_suffix("")) for file in scenario.EXAMPLES.glob("*/*.json"))
INPUT = [name for name in NAMES if name.startswith(("join/", "update/", "leave/"))]
DOCUMENTS = [name for name in NAMES if name.startswith("policy/")]
BESIDE = [name for name in NAMES if name.startswith("signed/")]
OUTPUT = [name for name in NAMES if name not in {*INPUT, *DOCUMENTS, *BESIDE}]


def content(name: str) -> Any:
    return json.loads((scenario.EXAMPLES / f"{name}.json").read_bytes())


def validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(
        json.loads((SCHEMAS / schema).read_bytes()), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def test_every_event_has_an_example() -> None:
    assert {short_name(type_) for type_ in EVENTS} == {Path(name).parent.name for name in INPUT + OUTPUT}


@pytest.mark.parametrize("name", INPUT + OUTPUT)
def test_it_is_what_its_schema_says(name: str) -> None:
    validator(f"events/{Path(name).parent.name}.schema.json").validate(content(name))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_what_its_schema_says_and_the_engine_takes_it(name: str) -> None:
    validator("policy.schema.json").validate(content(name))
    policy.parse(content(name), vocabulary())


@pytest.mark.parametrize("name", INPUT)
def test_input_is_read_as_it_stands(name: str) -> None:
    written, read = content(name), msgspec.to_builtins(scenario.event(name))
    assert {key: read[key] for key in written if key not in ("time", "data")} == {
        key: value for key, value in written.items() if key not in ("time", "data")
    }
    defaults = {"role": "participant", "stage": "live", "sequence": None}
    fields = JoinEvent.__annotations__["data"].__struct_fields__ if "address" in written["data"] else read["data"]
    said = {key: value for key, value in written["data"].items() if value is not None and key in fields}
    assert read["data"] == {key: value for key, value in defaults.items() if key in fields} | said


@pytest.mark.parametrize("name", INPUT)
def test_binary_mode_is_the_same_event(name: str) -> None:
    whole = content(name)
    headers = [(f"ce_{key}", value.encode()) for key, value in whole.items() if key != "data"]
    headers.append(("content-type", b"application/json"))
    assert cloudevents.decode(json.dumps(whole["data"]).encode(), headers) == scenario.event(name)


def test_output_is_byte_for_byte_what_the_engine_sends() -> None:
    made = {name: scenario.pretty(sent) for name, sent in scenario.output().items()}
    assert sorted(made) == OUTPUT
    there = {name: (scenario.EXAMPLES / f"{name}.json").read_bytes() for name in OUTPUT}
    differ = [name for name in OUTPUT if made[name] != there[name]]
    assert not differ, "changed on purpose? write them again: python -m tests.golden.scenario"


@pytest.mark.parametrize("name", OUTPUT)
def test_output_survives_reading_and_writing(name: str) -> None:
    raw = (scenario.EXAMPLES / f"{name}.json").read_bytes()
    if name.startswith(("admit/", "alert/", "remove/")):
        again = cloudevents.encode(msgspec.json.decode(raw, type=DecisionEvent))
    else:
        again = status.encode(status.decode(raw))
    assert scenario.pretty(again) == raw


def test_signed_documents_hold_the_plain_ones() -> None:
    for name in ("licensing", "export"):
        raw = (scenario.EXAMPLES / "signed" / f"{name}.jws.json").read_bytes()
        verified = jws.verify(raw, scenario.trusted(), "doorward")
        assert verified.payload == content(f"policy/{name}")


def test_no_example_of_output_holds_an_address() -> None:
    for name in OUTPUT:
        text = (scenario.EXAMPLES / f"{name}.json").read_text()
        assert not [address for address in scenario.PLACES if address in text], name
