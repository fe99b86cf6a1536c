"""C7, as far as the core goes: a planted address comes out nowhere, whatever the documents ask about it."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.agents.decider import Decider
from streams.core import address
from streams.core.facts import Facts, settle
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
