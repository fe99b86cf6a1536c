"""Recorded decisions for tests of counting: made by the engine's own code, or to measure."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.core.counts import Data, Reason, Recorded
from streams.core.decide import decision, decision_id, judge
from streams.core.events import DecisionEvent, EventRef
from streams.core.facts import Facts
from streams.core.index import Index
from tests.samples import NOON, PROVENANCE, event, join


def written(made: DecisionEvent) -> bytes:
    """A decision as a line or a record's value."""
    return msgspec.json.encode(made)


def recorded(made: DecisionEvent) -> Recorded:
    return msgspec.json.decode(written(made), type=Recorded)


def decided(documents: Index, known: Facts, id_: str, at: int = NOON, **fields: Any) -> DecisionEvent:
    """What the engine says of one join; the participation is called like the event."""
    joined = event(join(participation=fields.pop("participation", id_), **fields), id=id_)
    enforced, _ = judge(documents, joined.data, known, at)
    return decision(joined, known, enforced, PROVENANCE, mode="enforce", offset=1, at=at)


def made(
    id_: str,
    *,
    policy: str | None = None,
    rule: str | None = "listed",
    matched: dict[str, Any] | None = None,
    at: int = NOON,
    **fields: Any,
) -> Recorded:
    """A decision of given parts, with the id it would have. One with a ``policy`` is a removal."""
    data = Data(
        **{
            "meeting": "m-1",
            "account": "acme",
            "participation": f"p-{id_}",
            "verdict": "admit" if policy is None else "remove",
            "cause": "join",
            "event": EventRef("/edge/eu-1", id_),
            "reason": None,
            "policy_offset": 42,
            "geo_build": "g",
            "order": [1, 42, 0, at],
            **fields,
        }
    )
    if policy is not None:
        class_, holder = ("legal", "a, b") if policy.startswith("service/") else ("owner", "acme")
        data.reason = Reason(
            policy=policy, rule=rule, outcome="rule", class_=class_, holder=holder, matched=matched or {}
        )
    trigger = ("event", "/edge/eu-1", id_)
    return Recorded(decision_id("enforce", data, trigger, data.verdict), data)  # type: ignore[arg-type]  # its ids only
