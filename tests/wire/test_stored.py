"""A document out of the policy table is the one that went in: it says the same and decides the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.conditions import Condition
from streams.core.decide import evaluate
from streams.core.facts import Facts
from streams.core.policy import ROLES, STAGES, Document, Invalid
from streams.wire import stored
from tests.samples import PROPERTY, VOCABULARY, account, facts, join, offers, parse, rule

decode = stored.decoder(VOCABULARY)
WINDOW = {"not_before": "2026-11-20T00:00:00Z", "not_after": "2027-01-20T00:00:00+01:00"}


def said(document: Document) -> Any:
    """Everything a document says, conditions by what they name."""

    def plain(condition: Condition) -> Any:
        return condition.field, condition.values, condition.negated

    return msgspec.to_builtins(document, enc_hook=plain)


@PROPERTY
@given(
    st.one_of(
        *(
            offers(scope, mode=mode, **WINDOW)
            for scope in ("service", "account", "meeting")
            for mode in ("report", "enforce")
        )
    ),
    facts,
    st.sampled_from(ROLES),
    st.sampled_from(STAGES),
)
def test_what_is_read_says_and_decides_what_was_written(
    offered: dict[str, Any], known: Facts, role: Any, stage: Any
) -> None:
    try:
        document = parse(offered)
    except Invalid:
        return
    back = decode(stored.encode(document))
    assert said(back) == said(document)
    who = join(role=role, stage=stage)
    was, now = evaluate(document, who, known), evaluate(back, who, known)
    assert (was.verdict, was.outcome, was.rule and was.rule.id) == (now.verdict, now.outcome, now.rule and now.rule.id)


@pytest.mark.parametrize(
    "fields",
    [
        {"retracted": True, "default": ...},
        {"revision": 2**63 - 1, "note": "Ünïcode", "contest": "https://clinic.example"},
        {"rules": [rule("remove", {"network": {"not": ["192.0.2.0/24", "2001:db8::/32"]}, "asn": [2**32 - 1]})]},
    ],
)
def test_corners_of_a_document_come_back(fields: dict[str, Any]) -> None:
    document = parse(account(**fields))
    back = decode(stored.encode(document))
    assert said(back) == said(document)
    assert back.reads_addresses == document.reads_addresses
    assert back.can_remove == document.can_remove


def test_bytes_that_are_no_document_are_refused() -> None:
    raw = stored.encode(parse(account(rules=[rule("alert", {"country": ["FR"]})])))
    for other in (b"", raw[:-1], b"\xc1" + raw[1:], msgspec.msgpack.encode({"scope": "account"})):
        with pytest.raises(msgspec.MsgspecError):
            decode(other)
