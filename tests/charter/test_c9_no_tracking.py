"""C9: nothing asks who somebody is, and nothing that is sent or counted could link one person across meetings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

from streams.adapters.metrics import Metrics
from streams.adapters.schemas import EVENTS, event_schema
from streams.core.decide import decision, judge, matched
from streams.core.facts import Facts
from streams.core.policy import ROLES
from streams.wire import cloudevents
from tests.samples import NOON, PROPERTY, PROVENANCE, account, event, facts, index, join, rule

PERSON = re.compile(
    r"user|mail|phone|login|account_?name|full_?name|first_?name|last_?name|display|nick|person_?(id|name)|identity|birth"
    r"|device|finger|cookie|browser|agent|mac|serial|session_?id|token|hash|language|locale|gender|photo|avatar|invite",
    re.IGNORECASE,
)
"""What a field for a person might be called. ``language`` is of a receipt's text; documents' hashes are sha256."""
RECEIPT_LANGUAGE = "language"


def fields(schema: Any) -> Iterator[str]:
    """The names of all properties in a JSON Schema, however deep."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        for value in schema.values():
            yield from fields(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from fields(value)


@PROPERTY
@given(facts)
def test_two_people_behind_one_rule_get_the_same_words(known: Facts) -> None:
    documents = index(account(rules=[rule("alert", {"country": ["FR"], "network": ["::/0"], "role": ["guest"]})]))
    for who in (join(), join(participation="p-2", meeting="m-2")):
        enforced, _ = judge(documents, who, known, NOON)
        made = decision(event(who), known, enforced, PROVENANCE, mode="enforce", offset=1, at=NOON)
        if made.data.reason is not None and made.data.reason.rule is not None:
            assert set(made.data.reason.matched) == {"country", "network", "role"}
            assert made.data.reason.matched["network"] is True
        assert enforced.finding is not None
        assert enforced.revision is not None
        assert "address" not in matched(enforced.finding, enforced.revision, who, known)


def test_ids_of_one_connection_in_two_meetings_have_nothing_in_common() -> None:
    made = []
    for meeting in ("m-1", "m-2"):
        who = event(join(meeting=meeting))
        enforced, _ = judge(index(), who.data, Facts(), NOON)
        made.append(decision(who, Facts(), enforced, PROVENANCE, mode="enforce", offset=1, at=NOON))
    assert made[0].id[:16] != made[1].id[:16]


# -- what is asked and what is said ------------------------------------------------------------------------------------

ENVELOPE = {"specversion", "type", "source", "id", "time", "data"}
ASKED = {
    "doorward.join.v1": {"meeting", "account", "participation", "address", "role", "stage", "sequence"},
    "doorward.update.v1": {"meeting", "account", "participation", "address", "role", "stage", "sequence"},
    "doorward.leave.v1": {"meeting", "account", "participation", "sequence"},
}


@pytest.mark.parametrize("type_", ASKED)
def test_of_a_join_nothing_is_asked_but_where_and_in_what_role(type_: str) -> None:
    assert set(fields(event_schema(type_))) == ENVELOPE | ASKED[type_]


@pytest.mark.parametrize("type_", sorted(set(EVENTS) - set(ASKED)))
def test_no_event_has_a_field_for_a_person(type_: str) -> None:
    named = set(fields(event_schema(type_)))
    assert named > {"specversion", "data"}
    assert {name for name in named if PERSON.search(name)} <= {RECEIPT_LANGUAGE}


def test_a_role_is_a_part_in_a_meeting() -> None:
    assert ROLES == ("host", "cohost", "participant", "guest")


@pytest.mark.parametrize("extra", ["user_id", "email", "display_name", "device", "cookie", "fingerprint", "invited_by"])
def test_what_a_backend_says_of_a_person_unasked_goes_no_further(extra: str) -> None:
    data = {"meeting": "m-1", "account": "acme", "participation": "p-1", "address": "203.0.113.9", extra: "Canary-7"}
    sent = {
        "specversion": "1.0",
        "type": "doorward.join.v1",
        "source": "/e",
        "id": "1",
        "data": data,
        extra: "Canary-7",
    }
    read = cloudevents.decode(json.dumps(sent).encode())
    assert "Canary-7" not in repr(read)


def test_metrics_are_labelled_by_what_happened_and_not_to_whom() -> None:
    labels = {label for metric in vars(Metrics()).values() for label in getattr(metric, "_labelnames", ())}
    assert {"verdict", "reason"} <= labels
    assert labels <= {"type", "verdict", "mode", "reason", "result", "kind", "cause"}
