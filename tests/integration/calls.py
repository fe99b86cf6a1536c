"""Words for tests of calls under way: documents, people who come and leave, and what was said of them."""

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from streams.adapters.policylog import Offer
from streams.dev.sandbox import Sandbox, rejections
from tests.integration.backend import Backend, join

Decisions = dict[str, list[dict[str, Any]]]
"""By participation, the lowest order first."""


def document(account: str, revision: int = 1, **more: Any) -> dict[str, Any]:
    """An account's document that removes whoever is not in the US."""
    rules = [{"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove"}]
    told = {"scope": "account", "account": account, "name": "licensing", "revision": revision, "rules": rules}
    return {**told, "default": "admit", "contest": "https://doorward.example/contest", **more}


def retraction(account: str, revision: int) -> dict[str, Any]:
    return {"scope": "account", "account": account, "name": "licensing", "revision": revision, "retracted": True}


def push(sandbox: Sandbox, value: dict[str, Any]) -> int:
    """Push a document and wait until all workers have applied it and swept; returns its offset in the log."""
    offer: Offer = sandbox.authority.offer(value)
    assert rejections(sandbox.push([offer])) == []
    assert offer.offset is not None
    return offer.offset


def append(sandbox: Sandbox, backend: Backend, value: dict[str, Any]) -> int:
    """Append a document to the log and wait for nothing."""
    offer = sandbox.authority.offer(value)
    return backend.append("policies", offer.path.encode(), offer.raw)


def leave(event: dict[str, Any]) -> dict[str, Any]:
    """The leave of a join's participation."""
    told = {key: event["data"][key] for key in ("meeting", "account", "participation")}
    return {**event, "id": f"{event['id']}-left", "type": "doorward.leave.v1", "data": told}


def people(account: str, count: int, addresses: Iterable[str], meetings: int = 8) -> list[dict[str, Any]]:
    """Joins of an account, `ACCOUNT-N` each, with the addresses in turn."""
    addresses = list(addresses)
    return [
        join(f"{account}-m{n % meetings}", addresses[n % len(addresses)], account, id=f"{account}-{n}")
        for n in range(count)
    ]


def said(backend: Backend, account: str, until: Callable[[Decisions], bool], topic: str = "decisions") -> Decisions:
    """All that was said of an account's people, read on until something holds of it."""
    mark = f'"subject":"{account}/'.encode()

    def sorted_out(records: list[Any]) -> Decisions:
        found: Decisions = {}
        for record in records:
            if mark in record.value:
                event = json.loads(record.value)
                found.setdefault(event["data"]["participation"], []).append(event)
        return {whose: sorted(events, key=lambda event: event["data"]["order"]) for whose, events in found.items()}

    return sorted_out(backend.read(topic, lambda records: until(sorted_out(records)), seconds=40))


def name(event: dict[str, Any]) -> str:
    return event["data"]["participation"]


def verdicts(decisions: Decisions) -> dict[str, str]:
    """The highest-order verdict on everybody."""
    return {whose: events[-1]["data"]["verdict"] for whose, events in decisions.items()}


def story(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Verdict and cause of each thing that was said of somebody."""
    return [(event["data"]["verdict"], event["data"]["cause"]) for event in events]


def identity(event: dict[str, Any], *trigger: str, mode: str = "enforce") -> str:
    """A decision's id as the design defines it: anybody can work it out, and a repetition has the same."""
    data, digest = event["data"], blake2b(digest_size=16)
    for part in (mode, data["account"], data["meeting"], data["participation"], *trigger, data["verdict"]):
        digest.update(len(part.encode()).to_bytes(4) + part.encode())
    return digest.hexdigest()


def applied(backend: Backend, offset: int) -> list[dict[str, Any]]:
    """What both workers said when they had applied the log up to an offset."""

    def of_it(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = [event["data"] for event in events if event["type"] == "doorward.policy.applied.v1"]
        return [data for data in found if data["offset"] == offset]

    return of_it(backend.statuses(lambda events: len({data["worker"] for data in of_it(events)}) == 2))


def enter(backend: Backend, events: list[dict[str, Any]], account: str) -> Decisions:
    """Have people join and wait for their answers."""
    backend.send_events(*events)
    return said(backend, account, lambda found: found.keys() >= {name(event) for event in events})
