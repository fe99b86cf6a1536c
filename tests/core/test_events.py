"""Events as typed values: what is required, what null means, what has no field at all."""

from __future__ import annotations

import re

import msgspec
import pytest

from streams.core import events
from streams.core.events import DECISION_TYPES, Event, JoinData, LeaveEvent, normalised
from tests.samples import event, join


def test_null_for_an_optional_field_counts_as_absent() -> None:
    said = msgspec.convert({"role": None, "stage": None, "sequence": None, **ids(), "address": ""}, JoinData)
    left_out = msgspec.convert({**ids(), "address": ""}, JoinData)
    assert normalised(said) == normalised(left_out) == join(**ids(), address="", role="participant", stage="live")


def test_what_is_said_stays() -> None:
    assert normalised(join(role="host", stage="lobby", sequence=3)) == join(role="host", stage="lobby", sequence=3)


def ids(length: int = 1) -> dict[str, str]:
    return dict.fromkeys(("meeting", "account", "participation"), "é" * length)


@pytest.mark.parametrize(("length", "taken"), [(0, False), (1, True), (128, True), (129, False)])
def test_an_id_is_1_to_128_characters_not_bytes(length: int, taken: bool) -> None:
    if taken:
        msgspec.convert({**ids(length), "address": ""}, JoinData)
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**ids(length), "address": ""}, JoinData)


def test_join_and_update_are_their_decisions_cause() -> None:
    assert event().cause == "join"
    assert event(type="doorward.update.v1").cause == "update"


def test_each_verdict_has_its_type() -> None:
    assert {verdict: f"doorward.{verdict}.v1" for verdict in ("admit", "alert", "remove")} == DECISION_TYPES


def test_a_leave_asks_for_no_address() -> None:
    envelope = {"specversion": "1.0", "type": events.LEAVE, "source": "/edge", "id": "1"}
    assert isinstance(msgspec.convert(envelope | {"data": ids()}, LeaveEvent), LeaveEvent)


def test_unknown_fields_are_ignored() -> None:
    assert msgspec.convert({**ids(), "address": "", "colour": "red"}, JoinData) == join(**ids(), address="")


def test_no_field_names_a_person() -> None:
    fields = {
        field.name
        for struct in vars(events).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
        for field in msgspec.structs.fields(struct)
    }
    assert "participation" in fields
    assert not [name for name in fields if re.search(r"user|mail|name|phone|device|agent|cookie|language", name)]
    assert Event == events.JoinEvent | LeaveEvent
