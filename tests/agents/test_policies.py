"""The follower of the policy log: warm starts, damage, and a log that is not the one it knew."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.policytable import Meaning, PolicyTable, Row, TableDamaged
from streams.agents.policies import LogReplaced, PolicyFollower
from streams.agents.speaker import Speaker
from streams.core import status
from streams.core.index import Index
from streams.core.policy import LIMITS
from streams.dev.authority import AUDIENCE, Authority, establish
from streams.wire import jws
from streams.wire.announced import KEY_AGE, Announced
from streams.wire.trust import TrustSet, read_trust


@dataclass
class Logged:
    """What the follower reads of a record of `policies`."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 1_795_253_400_000
    timestamp_type: int = 1


class World:
    """A table in a folder, an authority, and followers that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority: Authority = establish(folder / "keys", ["acme"])
        self.trust = read_trust(self.authority.trust)
        self.table = self.open()
        self.announced = Announced()
        self.announcements_read = asyncio.Event()

    def open(self) -> PolicyTable:
        meaning = Meaning(vocabulary=vocabulary().edition, audience=AUDIENCE, trust=self.trust.digest, contest=None)
        return PolicyTable(self.folder / "table", meaning)

    def restart(self) -> PolicyFollower:
        self.table.close()
        self.table = self.open()
        return self.follower()

    def follower(self) -> PolicyFollower:
        self.offsets: list[int] = []
        made = PolicyFollower(
            index=Index(),
            table=self.table,
            trust=self.trust,
            audience=AUDIENCE,
            vocabulary=vocabulary(),
            contest=None,
            metrics=Metrics(CollectorRegistry()),
            announced=self.announced,
            limits=LIMITS,
            announcements_read=self.announcements_read,
            applied=lambda revisions: self.offsets.append(made.offset),
        )
        return made

    def record(self, offset: int, revision: int = 1, name: str = "licensing", **more: Any) -> Logged:
        document = {"scope": "account", "account": "acme", "name": name, "revision": revision, "default": "admit"}
        offer = self.authority.offer(document)
        return Logged(offset, offer.path.encode(), offer.raw, **more)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.table.close()


def handle(follower: PolicyFollower, *records: Logged) -> None:
    asyncio.run(follower.handle(records))


def test_a_warm_start_knows_what_was_accepted_and_rejected_without_asking_again(world: World) -> None:
    cold = world.follower()
    assert cold.warm() is None
    handle(cold, world.record(0), world.record(1, 2), Logged(2, b"x", None), world.record(3, name="other"))
    assert world.offsets == [-1, 3]
    warm = world.restart()
    assert warm.warm() == 3, "reading goes on at the last record, to see that it is the same log"
    assert world.offsets == [3]
    assert (len(warm.index), warm.index.digest) == (2, cold.index.digest)
    handle(warm, world.record(3, name="other"), world.record(4, 3))
    assert warm.offset == 4
    assert [row.offset for row in world.table.rows()] == [0, 1, 2, 3, 4]


def test_another_record_at_the_last_offset_is_another_log(world: World) -> None:
    handle(world.follower(), world.record(0))
    warm = world.restart()
    warm.warm()
    with pytest.raises(LogReplaced):
        handle(warm, world.record(0, timestamp=1_795_253_400_001))


def test_a_row_that_is_none_is_noticed(world: World) -> None:
    world.table.put([Row(offset=0, appended_at=1, status=b"", document=b"{}")])
    with pytest.raises(TableDamaged):
        world.follower().warm()


def test_rows_missing_in_the_middle_are_noticed(world: World) -> None:
    """RocksDB may lose a file of rows and keep its journal of those after them."""
    handle(world.follower(), world.record(0), world.record(1, 2), world.record(2, 3))
    kept = [row for row in world.table.rows() if row.offset != 1]
    world.table.clear()
    world.table.put(kept)
    with pytest.raises(TableDamaged, match="records 1 to 1"):
        world.follower().warm()


def test_a_record_that_its_producer_dated_is_refused(world: World) -> None:
    follower = world.follower()
    handle(follower, world.record(0, timestamp_type=0))
    [row] = world.table.rows()
    said = json.loads(row.status)
    assert said["type"] == "doorward.policy.rejected.v1"
    assert said["data"]["problems"][0]["code"] == "C5-append-time"
    assert len(follower.index) == 0


SERVICE = {
    "scope": "service", "name": "export", "revision": 1, "class": "legal", "ground": "Export control",
    "reference": "Gazette 12", "contest": "https://c.example", "default": "admit",
    "not_before": "2026-11-25T00:00:00Z", "not_after": "2026-12-25T00:00:00Z",
    "rules": [{"id": "listed", "when": {"country": ["FR"]}, "then": "remove"}],
}  # fmt: skip


def codes(world: World, offset: int) -> list[str]:
    said = json.loads(world.table.status(offset) or b"")
    return [problem["code"] for problem in said["data"].get("problems", [])]


def test_a_service_document_waits_until_it_is_known_how_old_keys_are(world: World) -> None:
    """An owner's does not: whatever else is slow, it comes into force."""
    follower, offer = world.follower(), world.authority.offer(SERVICE)
    at = 1_795_253_400_000
    world.announced.note(world.trust.announced(), at - KEY_AGE)
    handle(follower, world.record(0))
    assert len(follower.index) == 1

    async def judge() -> None:
        judging = asyncio.ensure_future(follower.handle([Logged(1, offer.path.encode(), offer.raw, at)]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not judging.done()
        world.announcements_read.set()
        await judging

    asyncio.run(judge())
    assert (codes(world, 1), len(follower.index)) == ([], 2)


def test_a_key_that_was_announced_too_late_approves_nothing(world: World) -> None:
    follower, offer = world.follower(), world.authority.offer(SERVICE)
    world.announcements_read.set()
    world.announced.note(world.trust.announced(), 1_795_253_400_001 - KEY_AGE)
    before = follower.index.digest
    handle(follower, Logged(0, offer.path.encode(), offer.raw))
    assert codes(world, 0) == ["C5-approvers", "C5-key-age", "C5-key-age"]
    assert follower.index.digest == before


def test_judged_by_another_trust_set_the_log_has_other_answers_and_they_are_told(world: World) -> None:
    at = 1_795_253_400_000
    records = [world.record(0, timestamp=at - 1), world.record(1, 2), Logged(2, b"x", None), world.record(3, 3)]
    first = world.follower()
    handle(first, *records)
    assert first.changed == {}
    world.trust = TrustSet(msgspec.structs.replace(key, revoked_at=at) for key in world.trust.keys.values())
    again = world.follower()
    handle(again, *records)
    assert list(again.changed) == [1, 3], "what came before stands"
    assert {json.loads(said)["type"] for said in again.changed.values()} == {status.REJECTED}
    assert [slot.revisions[0].document.revision for slot in again.index] == [1]


class Said:
    """What a speaker wrote."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    async def __call__(self, records: Any) -> None:
        self.records += records

    def types(self) -> list[str]:
        return [json.loads(value)["type"] for _, value in self.records]


def speaker(world: World, said: Said) -> Speaker:
    made = Speaker(table=world.table, announced=world.announced, say=said)
    made.use(status.trust_announced(world.trust.digest, world.trust.announced(), 0))
    made.use(status.geo_announced("country", [], 0))
    made.caught_up.set()
    made.may_speak = True
    return made


def test_the_speaker_says_what_was_not_said_and_only_that(world: World) -> None:
    follower, said = world.follower(), Said()
    handle(follower, world.record(0), Logged(1, b"x", None))
    asyncio.run(speaker(world, said).speak())
    assert said.types() == [
        "doorward.trust.announced.v1",
        "doorward.geo.announced.v1",
        "doorward.policy.accepted.v1",
        "doorward.policy.rejected.v1",
    ]
    second = Said()
    successor = speaker(world, second)
    asyncio.run(successor.handle([Logged(i, key, value) for i, (key, value) in enumerate(said.records[:3])]))
    asyncio.run(successor.speak())
    assert second.records == said.records[3:], "the rest, as the first one would have said it"
    asyncio.run(successor.speak())
    assert len(second.records) == 1


@pytest.mark.parametrize("missing", ["caught_up", "may_speak"])
def test_who_may_not_speak_does_not(world: World, missing: str) -> None:
    handle(world.follower(), world.record(0))
    said = Said()
    silent = speaker(world, said)
    if missing == "may_speak":
        silent.may_speak = False
    else:
        silent.caught_up.clear()
    asyncio.run(silent.speak())
    assert said.records == []


def test_what_could_not_be_said_is_said_later(world: World) -> None:
    class Unlucky(Said):
        refusals = 2

        async def __call__(self, records: Any) -> None:
            if self.refusals:
                self.refusals -= 1
                raise KafkaError
            await super().__call__(records)

    handle(world.follower(), world.record(0))
    said = Unlucky()
    speaking = speaker(world, said)
    for _ in range(2):
        with pytest.raises(KafkaError):
            asyncio.run(speaking.speak())
    asyncio.run(speaking.speak())
    assert said.types() == ["doorward.trust.announced.v1", "doorward.geo.announced.v1", "doorward.policy.accepted.v1"]


def test_a_hostile_record_cannot_make_its_answer_too_large(world: World) -> None:
    follower = world.follower()
    document = {"scope": "account", "account": "acme", "name": "n", "revision": 1, "default": "admit"}
    many = document | {f"unknown-{i}" * 10: 1 for i in range(5_000)}
    signed = jws.sign(many, [world.authority.private["owner"]], AUDIENCE)
    handle(follower, Logged(0, b"k" * 600_000, b"{}"), Logged(1, b"account/acme/n", signed))
    for row in world.table.rows():
        assert len(row.status) < 50_000
        assert json.loads(row.status)["type"] == "doorward.policy.rejected.v1"
    assert json.loads(row.status)["data"]["problems"][-1]["message"] == "and 951 more"
