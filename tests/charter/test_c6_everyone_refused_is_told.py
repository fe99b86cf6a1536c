"""C6: a receipt on every removal, and a host's copy that does not say where the person is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from msgspec import UNSET

from streams.core.decide import decision, judge
from streams.core.facts import Facts
from tests.samples import NOON, PROPERTY, PROVENANCE, account, event, facts, index, located, meeting, rule, service

VALUES: list[dict[str, Any]] = [
    account(default="remove", contest="https://acme.example/contest"),
    account(rules=[rule("remove", {"country": {"not": ["US"]}}, note="Not from France: FR.")], unknown="remove"),
    meeting(rules=[rule("remove", {"subdivision": ["FR-75"]}, "paris")]),
    service(rules=[rule("remove", {"continent": ["EU"]}, "europe")]),
]


@PROPERTY
@given(facts)
def test_every_removal_carries_a_receipt_that_tells_who_decided(known: Facts) -> None:
    for value in VALUES:
        enforced, _ = judge(index(value), event().data, known, NOON)
        made = decision(event(), known, enforced, PROVENANCE, mode="enforce", offset=1, at=NOON)
        if made.data.verdict != "remove":
            assert made.data.receipt is UNSET
            continue
        receipt = made.data.receipt
        assert receipt is not UNSET
        assert made.data.reason is not None
        assert receipt.id == made.id
        assert receipt.contest
        for copy in (receipt.person, receipt.host):
            assert all(
                text in copy for text in (made.data.reason.policy, made.data.reason.class_, receipt.contest, made.id)
            )
        assert receipt.status == (451 if value["scope"] == "service" else 403)


@pytest.mark.parametrize("value", VALUES[1:])
def test_the_hosts_copy_says_nothing_of_the_place(value: dict[str, Any]) -> None:
    known = located(subdivision="FR-75", address=b"\x08\x08\x08\x08", asn=64500)
    enforced, _ = judge(index(value), event().data, known, NOON)
    made = decision(event(), known, enforced, PROVENANCE, mode="enforce", offset=1, at=NOON)
    assert made.data.receipt is not UNSET
    for word in ("FR", "France", "paris", "europe", "EU", "64500", "8.8.8.8"):
        assert word not in made.data.receipt.host
