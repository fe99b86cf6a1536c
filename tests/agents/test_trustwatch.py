"""The trust set's file while a worker runs: what is taken, what is refused, and what is not worth a word."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.policytable import Meaning, PolicyTable
from streams.agents.speaker import Speaker
from streams.agents.trustwatch import TrustWatch
from streams.core import status
from streams.wire.announced import Announced
from streams.wire.trust import TrustSet, read_trust, written
from tests.agents.test_policies import Said
from tests.signing import entry


class Watched:
    """A file that is watched, what was taken from it, and what was said of it."""

    def __init__(self, folder: Path, table: PolicyTable) -> None:
        self.file = folder / "trust.json"
        self.write("ann")
        self.taken: list[TrustSet] = []
        self.said = Said()
        self.speaker = Speaker(table=table, announced=Announced(), say=self.said)
        digest = read_trust(self.file).digest
        self.watch = TrustWatch(self.file, digest, taken=self.taken.append, speaker=self.speaker, worker="w1")

    def write(self, *names: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_bytes(written([entry(name) for name in names]))
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
