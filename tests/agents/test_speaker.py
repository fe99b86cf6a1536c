"""What one worker says for the group: announcements, again after a week, and answers that have changed."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.policytable import Meaning, PolicyTable
from streams.agents.speaker import SAY_AGAIN, Speaker
from streams.core import status
from streams.core.policy import Problem
from streams.wire.announced import KEY_AGE, Announced
from tests.agents.test_policies import Logged, Said
from tests.signing import trusting

NOW = time.time_ns() // 1_000_000
TRUST = trusting("ann", "bo")
EVENT = status.trust_announced(TRUST.digest, TRUST.announced(), NOW)
ANN = TRUST.keys["ann"]


class Stage:
    """A speaker that may speak."""

    def __init__(self, table: PolicyTable) -> None:
        self.said = Said()
        self.announced = Announced()
        self.speaker = Speaker(table=table, announced=self.announced, say=self.said)
        self.speaker.may_speak = True
        self.speaker.caught_up.set()

    def hear(self, *events: status.StatusEvent, at: int = NOW, first: int = 0, **more: Any) -> None:
        records = [Logged(first + i, b"", status.encode(event), at, **more) for i, event in enumerate(events)]
        asyncio.run(self.speaker.handle(records))  # type: ignore[arg-type]  # the fields that are read

    def speak(self) -> list[str]:
        before = len(self.said.records)
        asyncio.run(self.speaker.speak())
        return self.said.types()[before:]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    table = PolicyTable(tmp_path / "table", Meaning(vocabulary="v", audience="a", trust="t", contest=None))
    yield Stage(table)
    table.close()


def test_what_is_in_use_is_announced_once_and_again_after_a_week(stage: Stage) -> None:
    stage.speaker.use(EVENT)
    assert stage.speak() == [status.TRUST]
    assert stage.speak() == []
    stage.hear(EVENT, at=NOW - SAY_AGAIN - 1_000)
    assert stage.speak() == [status.TRUST]


def test_another_trust_set_is_announced_whoever_announced_it(stage: Stage) -> None:
    stage.speaker.use(EVENT)
    other = trusting("ann")
    stage.hear(EVENT, status.trust_announced(other.digest, other.announced(), NOW))
    assert stage.speak() == [status.TRUST]
    stage.speaker.use(status.trust_announced(other.digest, other.announced(), NOW))
    assert stage.speak() == [status.TRUST]


def test_a_file_with_another_digest_under_the_same_build_is_announced(stage: Stage) -> None:
    file = status.GeoFile(name="country", sha256="sha256:1a2b3c4d00", build="2026-06-17T00:00:00Z")
    stage.speaker.use(status.geo_announced("country-2026-06-17-1a2b3c4d", [file], NOW))
    assert stage.speak() == [status.GEO]
    other = status.GeoFile(name="country", sha256="sha256:1a2b3c4dff", build="2026-06-17T00:00:00Z")
    stage.speaker.use(status.geo_announced("country-2026-06-17-1a2b3c4d", [other], NOW))
    assert stage.speak() == [status.GEO]


def test_how_old_keys_are_is_learnt_from_what_others_announced(stage: Stage) -> None:
    stage.hear(EVENT)
    assert stage.announced.since(ANN, NOW) == NOW
    assert stage.announced.old_enough(ANN, NOW + KEY_AGE)


def test_an_announcement_that_its_writer_dated_makes_no_key_older(stage: Stage) -> None:
    stage.hear(EVENT, at=NOW - 30 * KEY_AGE, timestamp_type=0)
    assert stage.announced.since(ANN, NOW) is None


def test_where_the_log_lost_its_beginning_keys_of_then_are_not_refused(stage: Stage) -> None:
    stage.hear(EVENT, first=7)
    assert stage.announced.old_enough(ANN, NOW - 400 * KEY_AGE)


def test_answers_that_have_changed_are_said_once_this_worker_may_speak(stage: Stage) -> None:
    def refused(message: str) -> bytes:
        problem = Problem("untrusted", "", message)
        return status.encode(status.rejected("p", 1, [problem], offset=3, appended_at=NOW, sha256=None))

    stage.speaker.may_speak = False
    stage.speaker.correct({3: refused("first")})
    stage.speaker.correct({3: refused("at last")})
    assert stage.speak() == []
    stage.speaker.may_speak = True
    assert stage.speak() == [status.REJECTED]
    assert stage.said.records[0][1] == refused("at last")
    assert stage.speak() == []


def test_a_workers_own_affair_is_said_by_itself(stage: Stage) -> None:
    stage.speaker.may_speak = False
    stage.speaker.notice(status.trust_refused("w1", "is no JWK Set", TRUST.digest, NOW))
    assert stage.speak() == [status.TRUST_REFUSED]
    assert stage.speak() == []
