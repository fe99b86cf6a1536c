"""C7, without a broker: a planted address comes out nowhere, whatever the documents ask about it.

What reaches logs, traces and a whole worker's disk is scanned where there is a worker (``tests/integration``).
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.schemas import EVENTS, event_schema
from streams.adapters.seal import SEALED_BYTES, Sealer
from streams.agents.decider import Decider
from streams.core import address
from streams.core.facts import Facts, settle
from streams.core.sessions import Sessions, begin
from streams.wire import sessionrecord
from tests.charter.test_c9_no_tracking import fields
from tests.samples import NOON, PROPERTY, PROVENANCE, VOCABULARY, account, event, index, join, meeting, rule

DOCUMENTS = index(
    account(rules=[rule("remove", {"network": {"not": ["192.0.2.0/24"]}})]),
    meeting(mode="report", rules=[rule("alert", {"network": ["::/0"]})]),
)


def locate(text: str) -> Facts:
    return settle(VOCABULARY, address=address.parse(text), country="FR")


@PROPERTY
@given(st.ip_addresses().filter(lambda a: len(str(a)) > 9))
def test_no_address_stands_in_a_decision(planted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    answer = Decider(DOCUMENTS, locate, PROVENANCE).answer(event(join(address=str(planted))), 1, NOON)
    assert answer.report is not None
    for made in (answer.decision, answer.report):
        sent = msgspec.json.encode(made)
        for form in (str(planted), planted.exploded, planted.packed.hex(), str(int(planted))):
            assert form.encode() not in sent


@pytest.mark.parametrize(
    "planted", ["203.0.113.9 ", "203.0.113.009", "fe80::203:113:9%eth0", "203.0.113.9/32", "me@203.0.113.9"]
)
def test_an_address_that_is_none_is_not_repeated_either(planted: str) -> None:
    answer = Decider(DOCUMENTS, locate, PROVENANCE).answer(event(join(address=planted)), 1, NOON)
    said: list[Any] = [answer.bad_address, msgspec.json.encode(answer.decision).decode()]
    assert all("203" not in text.replace(str(NOON), "") for text in said)


def forms(planted: str) -> list[bytes]:
    """How an address may stand in bytes: text, packed either way round, hex, number."""
    parsed = ipaddress.ip_address(planted)
    number = int(parsed)
    texts = {planted, parsed.exploded, parsed.packed.hex(), str(number), parsed.reverse_pointer}
    return [*(text.encode() for text in texts), parsed.packed, parsed.packed[::-1]]


@pytest.mark.parametrize("planted", ["203.0.113.251", "2001:db8:cafe:77:f00d:0:51:9"])
def test_no_address_stands_in_what_is_remembered_of_a_session(planted: str) -> None:
    """Neither the table's rows nor its changelog hold one, but sealed; nor is a sealed one the same twice."""
    sealer, view, records = Sealer([bytes(range(64))]), Sessions(), []
    for id_ in ("p-1", "p-2"):
        sealed = sealer.seal(address.parse(planted), f"acme/m-1/{id_}".encode())
        who = event(join(participation=id_, address=planted))
        session = begin(who, locate(planted), sealed, 1, PROVENANCE.geo_build)
        view.add(session)
        assert session.facts.address is None
        records.append(sessionrecord.encode(session))
        assert not [form for form in forms(planted) if form in records[-1]]
        assert sealed in records[-1]
        assert len(sealed) == SEALED_BYTES
    assert records[0].replace(b"p-1", b"p-2") != records[1]


@pytest.mark.parametrize("type_", EVENTS)
def test_only_a_join_and_an_update_have_a_field_for_an_address(type_: str) -> None:
    named = set(fields(event_schema(type_)))
    asks = type_ in ("doorward.join.v1", "doorward.update.v1")
    assert [name for name in named if name in ("address", "ip", "network", "networks")] == (["address"] if asks else [])


@pytest.mark.parametrize("what", [{"network": ["203.0.113.9/32"]}, {"network": {"not": ["198.51.100.0/24"]}}])
def test_a_rule_about_one_address_does_not_put_it_into_the_reason(what: dict[str, Any]) -> None:
    """The document itself holds it, and is its owner's; what is sent of the join says that it was looked at."""
    documents = index(account(rules=[rule("remove", what, "the office")]))
    answer = Decider(documents, locate, PROVENANCE).answer(event(join(address="203.0.113.9")), 1, NOON)
    assert answer.decision.data.reason is not None
    assert answer.decision.data.reason.matched == {"network": True}
    assert not [form for form in forms("203.0.113.9") if form in msgspec.json.encode(answer.decision)]
