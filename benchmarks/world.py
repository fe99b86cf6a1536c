"""What ``decide`` and ``codec`` share: so many documents in force, the events of their accounts, and what decides them.

Nothing here talks to anybody. Of the documents one is the service's and the rest are accounts': exam regions, office
visitors, and one in ten telehealth licensing. Three in ten are signed on their owner's behalf.
"""

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final

import msgspec
import orjson
from prometheus_client import CollectorRegistry

from benchmarks.policies import resident
from benchmarks.start import licensing
from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Answer, Decider
from streams.agents.sessions import SessionKeeper
from streams.core import instants
from streams.core.events import JoinEvent, LeaveEvent, Provenance
from streams.core.index import Index, Revision
from streams.core.policy import VERDICTS, parse
from streams.core.sessions import Sessions
from streams.dev.traffic import Addresses, Made, Traffic
from streams.runtime.process import settle
from streams.wire import cloudevents

NOW: Final = 1_795_253_400_000
"""The instant of every decision, ms since the epoch."""
OUTER: Final = Provenance(42, "country-2026-06-17-1a2b3c4d", 1_781_654_400, "https://contest.example", "0.1.0")


def service() -> dict[str, Any]:
    return {
        "scope": "service", "name": "export-control", "revision": 1, "class": "legal", "default": "admit",
        "ground": "Export control of encryption services", "reference": "https://law.example/export-control/12",
        "not_before": "2026-11-20T00:00:00Z", "not_after": "2027-05-20T00:00:00Z",
        "rules": [{"id": "listed-territories", "when": {"country": ["BV", "HM"]}, "then": "remove"}],
    }  # fmt: skip


def regions(account: str) -> dict[str, Any]:
    rules = [
        {"id": "staff", "when": {"role": ["host", "cohost"]}, "then": "admit"},
        {"id": "regions", "when": {"continent": ["EU", "NA", "OC"]}, "then": "admit"},
        {"id": "observers", "when": {"role": ["guest"], "continent": ["AF", "AN", "AS", "SA"]}, "then": "remove"},
    ]
    contest = f"https://{account}.example/exams"
    scope = {"scope": "account", "account": account, "name": "regions", "revision": 3}
    return {**scope, "rules": rules, "default": "alert", "unknown": "alert", "contest": contest}


def visitors(account: str) -> dict[str, Any]:
    rules = [
        {"id": "offices", "when": {"country": ["CA", "DE", "GB", "IE", "US"]}, "then": "admit"},
        {"id": "visitors", "when": {"role": ["guest"]}, "then": "alert"},
    ]
    scope = {"scope": "account", "account": account, "name": "visitors", "revision": 2}
    return {**scope, "rules": rules, "default": "admit", "unknown": "alert"}


def account(number: int) -> str:
    """Whose the document of a number is: what it says hangs on the last digit alone."""
    return f"{'clinic' if number % 10 == 9 else ('campus', 'office')[number % 2]}-{number}"


def document(number: int, rng: random.Random) -> dict[str, Any]:
    """The document of a number; 0 is the service's."""
    if not number:
        return service()
    whose = account(number)
    if number % 10 == 9:
        return licensing(whose, rng)
    return visitors(whose) if number % 2 else regions(whose)


def indexed(documents: int) -> Index:
    """An index of so many documents, each from its own bytes as a worker has them."""
    rng, index = random.Random(8), Index()
    for number in range(documents):
        on_behalf = number % 10 in (3, 6, 9)
        index.put(
            Revision(
                document=parse(json.loads(json.dumps(document(number, rng))), vocabulary()),
                content=rng.randbytes(32),
                holder="settings-service" if on_behalf else account(number) if number else "approver-1, approver-2",
                on_behalf=on_behalf,
                sha256=f"sha256:{rng.randbytes(32).hex()}",
                offset=number,
                appended_at=NOW,
            )
        )
    return index


def moved(stream: Iterable[Made], documents: int, *, evenly: bool = False) -> Iterator[Made]:
    """The same events in meetings of as many accounts as there are documents, each like the one it had.

    Args:
        stream: of the accounts 1 to 9.
        documents: how many, in tens.
        evenly: each event in another account's meeting, at random; otherwise meetings stay together.
    """
    rng = random.Random(10)
    homes: dict[str, int] = {}
    for made in stream:
        event = orjson.loads(made.value)
        data = event["data"]
        tens = rng.randrange(documents // 10)
        if not evenly:
            tens = homes.setdefault(data["meeting"], tens)
        data["account"] = account(10 * tens + int(data["account"].rpartition("-")[2]))
        if evenly:
            data["meeting"] = f"m-{data['account']}"
        yield dataclasses.replace(made, key=data["meeting"].encode(), value=orjson.dumps(event))


class World:
    """So many documents, the events of their accounts, and what decides them.

    Whatever the number of documents, events are the same but for whose the meetings are, and so are their verdicts.

    Args:
        documents: how many, in tens.
        events: joins and updates, about.

    Attributes:
        resident: bytes of resident memory that the index takes.
        stream: joins, updates and leaves in their order.
        values: the joins' and updates' records.
        even: the same of another account each.
    """

    def __init__(self, documents: int, events: int) -> None:
        if documents < 10 or documents % 10:
            raise SystemExit(f"{documents} documents, but they come in tens")
        before = resident()
        self.index = indexed(documents)
        settle()
        self.resident = resident() - before
        rng = random.Random(9)
        traffic = Traffic(Addresses(shipped(), rng), rng, [account(number) for number in range(1, 10)])
        made = [each for each in traffic.batch(events, instants.render(NOW - 200)) if each.kind != "malformed"]
        self.stream = list(moved(made, documents))
        self.geo = Geo.open([shipped()], vocabulary())
        self.decider = Decider(self.index, self.geo.facts, OUTER)
        self.sealer = Sealer([bytes(range(64))])
        self._metrics = Metrics(CollectorRegistry())
        self.values = [each.value for each in self.stream if each.kind != "leave"]
        self.even = [each.value for each in moved(made, documents, evenly=True) if each.kind != "leave"]
        self.events = [event for event in map(cloudevents.decode, self.values) if isinstance(event, JoinEvent)]
        left = (cloudevents.decode(each.value) for each in self.stream if each.kind == "leave")
        self.leaves = [event for event in left if isinstance(event, LeaveEvent)]

    @cached_property
    def answers(self) -> list[Answer]:
        return [self.decider.answer(event, offset, NOW) for offset, event in enumerate(self.events)]

    def keeper(self, *, since: int = 10) -> SessionKeeper:
        """One that has had its partition for so many minutes, and remembers one who joined at their begin."""
        keeper = SessionKeeper(
            self.decider, self.sealer, self._metrics, lateness=21_600_000, ttl=86_400_000, remind=30_000
        )
        keeper.views[0] = Sessions()
        first = msgspec.structs.replace(self.events[0], data=msgspec.structs.replace(self.events[0].data))
        first.data.participation = "first"
        keeper.join(0, first, 0, NOW - since * 60_000, {})
        return keeper

    def verdicts(self) -> str:
        """Of the events, in per cent."""
        counted = Counter(VERDICTS[answer.verdict] for answer in self.answers)
        return ", ".join(f"{counted[word] / len(self.answers):.0%} {word}" for word in VERDICTS)
