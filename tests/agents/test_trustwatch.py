"""The trust set's file while a worker runs: what is taken, what is refused, and what is not worth a word."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.policytable import Meaning, PolicyTable
from streams.agents.speaker import Speaker
from streams.agents.trustwatch import TrustContradicted, TrustWatch
from streams.core import instants, status
from streams.wire.announced import Announced
from streams.wire.trust import BACKDATED, TrustSet, read_trust, written
from tests.agents.test_policies import Said
from tests.samples import DAY
from tests.signing import entry, trusting


def ago(milliseconds: int) -> str:
    """An instant before now."""
    return instants.render(time.time_ns() // 1_000_000 - milliseconds)


class Watched:
    """A file that is watched, what was taken from it, and what was said of it."""

    def __init__(self, folder: Path, table: PolicyTable) -> None:
        self.file = folder / "trust.json"
        self.table = table
        self.taken: list[TrustSet] = []
        self.said = Said()
        self.announced = Announced()
        self.speaker = Speaker(table=table, announced=self.announced, say=self.said)
        self.write("ann")
        self.watch = self.started()

    def started(self, *, is_sandbox: bool = False) -> TrustWatch:
        return TrustWatch(
            self.file,
            read_trust(self.file),
            taken=self.taken.append,
            announced=None if is_sandbox else self.announced,
            speaker=self.speaker,
            worker="w1",
        )

    def write(self, *entries: str | dict[str, Any]) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_bytes(written([entry(e) if isinstance(e, str) else e for e in entries]))
        beside.replace(self.file)

    def look(self) -> int:
        """How many sets were taken so far."""
        asyncio.run(self.watch.look())
        asyncio.run(self.speaker.speak())
        return len(self.taken)

    def refusals(self) -> list[dict[str, Any]]:
        return [json.loads(value)["data"] for _, value in self.said.records]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    table = PolicyTable(tmp_path / "table", Meaning(vocabulary="v", audience="a", trust="t", contest=None))
    yield Watched(tmp_path, table)
    table.close()


def test_another_set_is_taken_once(watched: Watched) -> None:
    assert [watched.look(), watched.look()] == [0, 0]
    watched.write("ann", "bo")
    assert [watched.look(), watched.look()] == [1, 1]
    assert set(watched.taken[0].keys) == {"ann", "bo"}


def test_the_same_set_in_other_words_is_not(watched: Watched) -> None:
    watched.file.write_text(json.dumps(json.loads(watched.file.read_bytes())))
    assert watched.look() == 0


@pytest.mark.parametrize("what", ["broken", "gone", "private"])
def test_what_cannot_be_used_is_said_once_and_changes_nothing(watched: Watched, what: str) -> None:
    if what == "gone":
        watched.file.unlink()
    else:
        watched.file.write_text(
            "{" if what == "broken" else json.dumps({"keys": [{**entry("bo"), "d": "secret-part"}]})
        )
    assert [watched.look(), watched.look()] == [0, 0]
    [refused] = watched.refusals()
    assert refused["worker"] == "w1"
    assert "trust.json" in refused["reason"]
    assert "secret-part" not in json.dumps(refused)
    assert json.loads(watched.said.records[0][1])["type"] == status.TRUST_REFUSED
    watched.write("ann", "bo")
    assert watched.look() == 1, "the next one is taken"


# -- what was announced ------------------------------------------------------------------------------------------------


def test_a_set_without_a_key_that_is_in_use_is_refused_until_it_is_back(watched: Watched) -> None:
    in_use = read_trust(watched.file).digest
    watched.write("bo")
    assert [watched.look(), watched.look()] == [0, 0]
    [refused] = watched.refusals()
    assert refused["in_use"] == in_use
    assert "key ann of ann is gone" in refused["reason"]
    watched.write("bo", "ann")
    assert watched.look() == 1


def test_nor_is_one_without_a_key_that_only_others_have_announced(watched: Watched) -> None:
    watched.announced.note(trusting("ann", "cleo").announced(), 1)
    watched.write("ann", "bo")
    assert watched.look() == 0
    assert "key cleo of cleo is gone" in watched.refusals()[0]["reason"]


def test_a_key_is_revoked_from_now_on_and_not_from_yesterday(watched: Watched) -> None:
    watched.write(entry("ann", revoked=ago(DAY)))
    assert watched.look() == 0
    assert "let it be revoked from now on" in watched.refusals()[0]["reason"]
    watched.write(entry("ann", revoked=ago(BACKDATED // 2)))
    assert watched.look() == 1


def test_a_worker_that_comes_late_takes_what_another_one_took_in_time(watched: Watched) -> None:
    revoked = entry("ann", revoked=ago(DAY))
    watched.write(revoked)
    assert watched.look() == 0
    watched.announced.note(trusting(revoked).announced(), 1)
    assert watched.look() == 1, "though the file is as it was"


def test_a_start_with_what_was_announced_and_more(watched: Watched) -> None:
    watched.announced.note(trusting("ann").announced(), 1)
    watched.write("ann", "bo")
    asyncio.run(watched.started().begin())
    asyncio.run(watched.speaker.speak())
    assert watched.refusals() == []


def test_a_start_without_a_key_that_was_announced_ends_and_says_so(watched: Watched) -> None:
    watched.announced.note(trusting("ann", "bo").announced(), 1)
    with pytest.raises(TrustContradicted, match="key bo of bo is gone"):
        asyncio.run(watched.started().begin())
    [refused] = watched.refusals()
    assert refused["in_use"] == "none"
    assert "key bo of bo is gone" in refused["reason"]


def test_a_start_after_a_key_was_revoked_while_nobody_worked(watched: Watched) -> None:
    """What nobody has answered since is not taken back; what was answered since is."""
    now = time.time_ns() // 1_000_000
    watched.announced.note(trusting("ann").announced(), now - 9 * DAY)
    watched.write(entry("ann", revoked=ago(DAY)))
    watched.announced.spoken_at = now - 2 * DAY
    asyncio.run(watched.started().begin())
    watched.announced.spoken_at = now - DAY // 2
    with pytest.raises(TrustContradicted, match="let it be revoked from now on"):
        asyncio.run(watched.started().begin())


def test_where_nothing_was_announced_a_start_takes_the_set_as_it_is(watched: Watched) -> None:
    asyncio.run(watched.started().begin())
    asyncio.run(watched.speaker.speak())
    assert watched.refusals() == []


def test_in_the_sandbox_keys_come_and_go(watched: Watched) -> None:
    watched.announced.note(trusting("ann", "cleo").announced(), 1)
    watched.watch = watched.started(is_sandbox=True)
    asyncio.run(watched.watch.begin())
    watched.write("bo")
    assert watched.look() == 1
