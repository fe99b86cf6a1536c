"""What is counted: the parts of an event's way through core and codec, each on the same event and documents every time.

A part is a function that prepares a job and returns it. Where it is there twice, beside few documents and beside many,
that must make no difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import msgspec
from prometheus_client import CollectorRegistry

from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.sessions import Draft, SessionKeeper
from streams.core import decide, policy
from streams.core.events import DecisionEvent, Provenance
from streams.core.index import Index, Revision
from streams.core.sessions import Ended, Session, Sessions
from streams.runtime import frames
from streams.wire import cloudevents, deadletter, jws, keys, sessionrecord
from streams.wire.trust import TrustSet, parse_trust, written
from tests.gate.counting import Job

FEW, MANY = 10, 10_000
"""Documents; what is done beside many must not be more than beside few."""
NOW = 1_795_253_400_000
LONG_AGO = NOW - 600_000
"""When a worker took its partition on: its first minute is dearer."""
ACCOUNT = "clinic-7"
HERE, THERE = "8.8.8.8", "5.39.0.1"
"""Addresses in a country where the document admits, and in one where it removes; by the shipped geo file."""
PROVENANCE = Provenance(42, "country-2026-06-17-1a2b3c4d", 1_781_654_400, "https://contest.example", "0.1.0")
AUDIENCE = "gate"
SUBJECT = b"clinic-7/m-1/p-77"
"""Of the participation that all events are of."""

Part: TypeAlias = Callable[[], Job]
"""Prepares a job; what that takes is not counted."""


def licensing(account: str) -> dict[str, Any]:
    rules = [
        {"id": "hosts", "when": {"role": ["host", "cohost"]}, "then": "admit"},
        {"id": "at-home", "when": {"country": ["US", "CA"]}, "then": "admit"},
        {"id": "elsewhere", "when": {"country": {"not": ["US", "CA"]}}, "then": "remove", "note": "Licensed at home."},
    ]
    scope = {"scope": "account", "account": account, "name": "licensing", "revision": 7}
    contest = "https://clinic.example/contest"
    return {**scope, "rules": rules, "default": "remove", "unknown": "alert", "contest": contest}


def value(kind: str, **changed: Any) -> bytes:
    """The record of an event; ``changed`` are fields of its data."""
    data = {"meeting": "m-1", "account": ACCOUNT, "participation": "p-77", **changed}
    if kind != "leave":
        data = {"address": HERE, "role": "guest", "stage": "lobby", "sequence": 1, **data}
    event = {"specversion": "1.0", "type": f"doorward.{kind}.v1", "source": "/edge/eu-1", "id": "01JD6"}
    return json.dumps({**event, "time": "2026-11-21T09:30:00.123Z", "data": data}, separators=(",", ":")).encode()


class World:
    """So many documents in force, and what decides by them."""

    def __init__(self, documents: int) -> None:
        self.index = Index()
        document = policy.parse(licensing(ACCOUNT), vocabulary())
        for i in range(documents):
            account = f"clinic-{i}"
            path = policy.path_of("account", account, "licensing")
            named = msgspec.structs.replace(document, account=account, path=path)
            self.index.put(Revision(document=named, content=bytes(32), holder=account, sha256="sha256:00", offset=i))
        self.geo = Geo.open([shipped()], vocabulary())
        self.decider = Decider(self.index, self.geo.facts, PROVENANCE)

    def full(self, raw: bytes) -> bytes:
        """From the record to the decision's bytes, as a join that stands alone is answered."""
        answer = self.decider.answer(cloudevents.decode(raw, ()), 991, NOW)
        return cloudevents.encode(answer.decision)

    def judged(self, address: str) -> tuple[Any, ...]:
        """What a decision on this address is put into words from."""
        event = cloudevents.decode(value("join", address=address), ())
        facts = self.geo.facts(address)
        return event, facts, decide.judge(self.index, event.data, facts, NOW)[0], PROVENANCE

    def worded(self, address: str) -> DecisionEvent:
        return decide.decision(*self.judged(address), mode="enforce", offset=991, at=NOW)

    def keeper(self, *before: bytes) -> SessionKeeper:
        """One that has answered these records, and has had its partition for a while."""
        options = {"lateness": 21_600_000, "ttl": 86_400_000, "remind": 30_000}
        keeper = SessionKeeper(self.decider, sealer(), metrics(), **options)
        keeper.views[0] = Sessions()
        for raw in (value("join", participation="first"), *before):
            keeper.join(0, cloudevents.decode(raw, ()), 990, LONG_AGO, {})
        return keeper

    def remembered(self) -> Session:
        """What is kept of a participation that joined."""
        draft: Draft = {}
        self.keeper().join(0, cloudevents.decode(value("join"), ()), 991, NOW, draft)
        session = draft[0, SUBJECT]
        assert isinstance(session, Session)
        return session


@cache
def world(documents: int) -> World:
    return World(documents)


@cache
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@cache
def sealer() -> Sealer:
    return Sealer([bytes(range(64))])


# -- parts -----------------------------------------------------------------------------------------------------------
# Jobs ask modules for their functions when they run, not before: a test puts others in their place.


def decoding(kind: str) -> Part:
    raw = value(kind)
    return lambda: lambda: cloudevents.decode(raw, ())


def looking_up(*, cold: bool) -> Part:
    def prepared() -> Job:
        if cold:
            world(FEW).geo.facts.cache_clear()
        return lambda: world(FEW).decider.look_up(HERE)

    return prepared


def judging(documents: int) -> Part:
    def prepared() -> Job:
        there = world(documents)
        event, facts, *_ = there.judged(THERE)
        return lambda: decide.judge(there.index, event.data, facts, NOW)

    return prepared


def wording(address: str) -> Part:
    def prepared() -> Job:
        judged = world(FEW).judged(address)
        return lambda: decide.decision(*judged, mode="enforce", offset=991, at=NOW)

    return prepared


def encoding(address: str) -> Part:
    def prepared() -> Job:
        made = world(FEW).worded(address)
        return lambda: cloudevents.encode(made)

    return prepared


def answering(documents: int, address: str) -> Part:
    raw = value("join", address=address)
    return lambda: lambda: world(documents).full(raw)


def remembering(kind: str, *before: bytes, **changed: Any) -> Part:
    """What the keeper does with an event after others; each time one that knows nothing of it yet."""

    def prepared() -> Job:
        keeper, event = world(FEW).keeper(*before), cloudevents.decode(value(kind, **changed), ())
        verb: Any = keeper.leave if kind == "leave" else keeper.join
        return lambda: verb(0, event, 991, NOW, {})

    return prepared


def recording(state: Ended | None = None) -> Part:
    def prepared() -> Job:
        kept = state or world(FEW).remembered()
        return lambda: sessionrecord.encode(kept)

    return prepared


def recalling() -> Job:
    raw = sessionrecord.encode(world(FEW).remembered())
    return lambda: sessionrecord.decode(raw)


def stamping() -> Job:
    raw = sessionrecord.encode(world(FEW).remembered())
    return lambda: frames.frame(7, raw, sealer().stamp(frames.said(0, 7, SUBJECT, raw)))


def burying() -> Job:
    detail = "the record's key is not the meeting's id"
    return lambda: deadletter.headers(
        [], "key_mismatch", detail, topic="joins", partition=0, offset=991, version="0.1.0"
    )


def parsing() -> Job:
    document = licensing(ACCOUNT)
    return lambda: policy.parse(document, vocabulary())


@cache
def signed() -> tuple[bytes, TrustSet]:
    """A signed document, and whom to trust."""
    key = keys.PrivateKey("acme", keys.generate().key)
    trust = parse_trust(written([keys.public_jwk(key, ACCOUNT, [f"account/{ACCOUNT}"])]))
    return jws.sign(licensing(ACCOUNT), [key], AUDIENCE), trust


def verifying() -> Job:
    raw, trust = signed()
    return lambda: jws.verify(raw, trust, AUDIENCE)


PARTS: dict[str, Part] = {
    "decode a join": decoding("join"),
    "decode an update": decoding("update"),
    "decode a leave": decoding("leave"),
    "look up an address seen before": looking_up(cold=False),
    "look up an address": looking_up(cold=True),
    f"judge beside {FEW:,} documents": judging(FEW),
    f"judge beside {MANY:,} documents": judging(MANY),
    "word an admit": wording(HERE),
    "word a removal": wording(THERE),
    "encode an admit": encoding(HERE),
    "encode a removal": encoding(THERE),
    f"full decide beside {FEW:,} documents": answering(FEW, HERE),
    f"full decide beside {MANY:,} documents": answering(MANY, HERE),
    f"full decide, a removal, beside {FEW:,} documents": answering(FEW, THERE),
    "session: join": remembering("join"),
    "session: update": remembering("update", value("join"), sequence=2),
    "session: late join": remembering("join", value("update", sequence=2)),
    "session: leave": remembering("leave", value("join")),
    "encode a session": recording(),
    "encode an ended session": recording(Ended(991, NOW)),
    "decode a session": recalling,
    "stamp and frame a session record": stamping,
    "headers of a dead letter": burying,
    "parse a policy document": parsing,
    "verify a signed document": verifying,
}
FLAT = {
    f"judge beside {MANY:,} documents": f"judge beside {FEW:,} documents",
    f"full decide beside {MANY:,} documents": f"full decide beside {FEW:,} documents",
}
"""Which part must not be more work than which."""
