"""Geo files on a running worker: what they come to for people who are in a meeting, and what is announced."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.adapters.anonymity import Standards
from streams.adapters.geo import Geo
from streams.adapters.iso import vocabulary
from streams.adapters.policytable import Meaning, PolicyTable
from streams.agents.geography import Geography
from streams.agents.speaker import Speaker
from streams.core import status
from streams.core.index import Revision
from streams.wire.announced import Announced
from tests.agents.test_sessions import Rig, event
from tests.geofiles import write_geo
from tests.samples import DAY, NOON, revision, rule, service

CANARY, HERE, BLOCK = "198.51.100.7", "192.0.2.9", "192.0.2.0/24"
STANDARDS = Standards(max_age=45 * DAY, min_size=0, canaries=(CANARY,))
EXPORT: Revision = revision(service(rules=[rule("remove", {"country": ["FR"]})]), holder="ann, bo")


class Place:
    """A worker with geo files, and what it says on the status log."""

    def __init__(self, folder: Path, *specs: dict[str, Any], standards: Standards = STANDARDS) -> None:
        self.rig = Rig(EXPORT)
        paths = [write_geo(folder / f"{number}.mmdb", spec) for number, spec in enumerate(specs)]
        geo = Geo.open(paths, vocabulary(), standards)
        geo.review(NOON)
        decider = self.rig.decider
        decider.locate = geo.facts
        decider.provenance = msgspec.structs.replace(decider.provenance, geo_build=geo.build, geo_time=geo.time)
        self.said: list[status.StatusEvent] = []
        meaning = Meaning(vocabulary="v", audience="a", trust="t", contest=None)
        self.table = PolicyTable(folder / "table", meaning)
        self.speaker = Speaker(table=self.table, announced=Announced(), say=self.say)
        self.speaker.may_speak = True
        self.speaker.caught_up.set()
        self.geography = Geography(
            geo,
            None,
            max_change=0.05,
            decider=decider,
            sweeper=self.rig.sweeper,
            speaker=self.speaker,
            metrics=self.rig.metrics,
            worker="w1",
            clock=lambda: self.rig.now,
        )

    async def say(self, records: Any) -> None:
        self.said += [status.decode(value) for _, value in records]

    def discounted(self) -> dict[str, float]:
        """The anonymity files that do not count, by why."""
        [family] = self.rig.metrics.anonymity_discounted.collect()
        return {sample.labels["reason"]: sample.value for sample in family.samples}

    def look(self, after: int = 0) -> list[status.StatusEvent]:
        """Let time pass (ms), then look; returns what is said of it."""
        self.rig.now += after
        self.said = []
        asyncio.run(self.geography.look())
        asyncio.run(self.speaker.speak())
        return self.said


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Standards(max_age=45 * DAY, min_size=1 << 20, canaries=(CANARY,)), "small"),
        (Standards(max_age=45 * DAY, min_size=0), "no-canaries"),
        (Standards(max_age=45 * DAY, min_size=0, canaries=(HERE,)), "canaries"),
    ],
)
def test_an_anonymity_file_that_does_not_count_is_counted_by_why(tmp_path: Path, asked: Standards, reason: str) -> None:
    place = Place(tmp_path, *files(built=NOON), standards=asked)
    assert place.discounted() == {**dict.fromkeys(("aged", "small", "no-canaries", "canaries"), 0), reason: 1}
    place.table.close()


def files(*, built: int, line: str = BLOCK) -> tuple[dict[str, Any], ...]:
    vpns = {"layout": "anonymous", "networks": {f"{CANARY}/32": ["vpn"]}, "build": built // 1000}
    return vpns, {"layout": "country", "networks": {line: "FR"}}


def test_anonymity_data_that_come_of_age_let_everybody_back_in(tmp_path: Path) -> None:
    place = Place(tmp_path, *files(built=NOON - 44 * DAY))
    assert place.discounted() == {"aged": 0, "small": 0, "no-canaries": 0, "canaries": 0}
    [event_] = place.look()
    assert isinstance(event_, status.GeoEvent)
    assert [file.anonymity for file in event_.data.files] == ["vouched", None]
    assert place.rig.take(event(text=HERE)) == ["remove"]
    assert place.look(DAY - 1) == []
    [aged] = place.look(2)
    assert isinstance(aged, status.GeoEvent)
    assert [file.anonymity for file in aged.data.files] == ["aged", None]
    [again] = place.rig.turns()
    assert (again["data"]["verdict"], again["data"]["cause"]) == ("alert", "geo")
    assert again["data"]["geo_build"] == aged.data.build
    assert "!aged" in aged.data.build
    assert place.discounted()["aged"] == 1
    place.table.close()


@pytest.mark.parametrize(("line", "verdict"), [(f"{HERE}/32", "alert"), (BLOCK, "remove")])
def test_an_overlay_for_one_line_singles_out_nobody_in_a_sweep_either(tmp_path: Path, line: str, verdict: str) -> None:
    place = Place(tmp_path, *files(built=NOON, line=line))
    assert place.rig.take(event(text=HERE)) == [verdict]
    place.rig.start()
    place.rig.turns()
    session = place.rig.session()
    assert session is not None
    assert session.facts.address is None
    place.rig.decider.index.put(revision(service(name="second", rules=[rule("remove", {"country": ["FR"]})])))
    place.rig.sweeper.recovered()
    assert place.rig.turns() == [], "what is remembered of the session says the same"
    place.table.close()
