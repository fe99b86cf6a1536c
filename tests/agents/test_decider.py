"""One join answered: what the worker and `doorward decide` share; and the fuse for faults of our own."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.metrics import Metrics
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.core import address
from streams.core.facts import Facts, settle
from tests.agents.rig import remembering
from tests.samples import NOON, PROPERTY, PROVENANCE, VOCABULARY, account, event, index, join, rule, service


def locate(text: str) -> Facts:
    return settle(VOCABULARY, address=address.parse(text), country="FR")


FRANCE_OUT = account(rules=[rule("remove", {"country": ["FR"]})], unknown="alert")


def test_a_join_gets_its_decision() -> None:
    answer = Decider(index(FRANCE_OUT), locate, PROVENANCE).answer(event(), 991, NOON)
    assert (answer.decision.data.verdict, answer.report, answer.bad_address) == ("remove", None, None)
    assert answer.decision.data.order == [991, 42, PROVENANCE.geo_time, NOON]


@pytest.mark.parametrize("text", ["", "nonsense", "010.8.8.8"])
def test_an_address_that_is_none_is_decided_with_nothing_known(text: str) -> None:
    answer = Decider(index(FRANCE_OUT), locate, PROVENANCE).answer(event(join(address=text)), 1, NOON)
    assert answer.decision.data.reason is not None
    assert (answer.decision.data.verdict, answer.decision.data.reason.outcome) == ("alert", "unknown")
    assert answer.bad_address


def test_a_fault_of_the_geography_is_not_hidden() -> None:
    def broken(_: str) -> Facts:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        Decider(index(), broken, PROVENANCE).answer(event(), 1, NOON)


def test_a_report_goes_beside() -> None:
    answer = Decider(index(account(mode="report", default="remove")), locate, PROVENANCE).answer(event(), 1, NOON)
    assert answer.report is not None
    assert (answer.decision.data.verdict, answer.report.data.verdict) == ("admit", "remove")
    assert answer.decision.id != answer.report.id


@pytest.mark.parametrize("rosters", [False, True])
def test_rosters_are_for_the_readers_own_data(rosters: bool) -> None:
    documents = index(service(mode="report", rules=[rule("alert", {"country": ["FR"]})]))
    answer = Decider(documents, locate, PROVENANCE, rosters=rosters).answer(event(), 1, NOON)
    assert (answer.report is not None) is rosters


def test_documents_accepted_between_two_answers_count_for_the_second() -> None:
    documents = index()
    decider = Decider(documents, locate, PROVENANCE)
    before = decider.answer(event(), 1, NOON)
    for slot in index(FRANCE_OUT):
        documents.put(slot.revisions[0])
    assert (before.decision.data.verdict, decider.answer(event(), 2, NOON).decision.data.verdict) == ("admit", "remove")


# -- the fuse --------------------------------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(st.lists(st.booleans(), max_size=8), max_size=8), st.floats(0.01, 1.0), st.integers(1, 6))
def test_the_fuse_blows_when_the_latest_sample_has_too_large_a_share(
    chunks: list[list[bool]], share: float, sample: int
) -> None:
    fuse, seen = Fuse(share, sample), []
    for chunk in chunks:
        wanted = False
        for failed in chunk:
            seen.append(failed)
            latest = seen[-sample:]
            if failed and len(latest) == sample and sum(latest) > share * sample:
                wanted = True
                break  # what follows is not counted: the chunk is held
        assert fuse.blown_by(chunk) is wanted


def test_few_events_never_blow_it() -> None:
    assert not Fuse(0.05, 100).blown_by([True] * 99)
    assert Fuse(0.05, 100).blown_by([True] * 100)


def test_a_share_of_one_never_blows() -> None:
    assert not Fuse(1.0, 1).blown_by([True] * 10)


class Home(NamedTuple):
    partition: int


class Discarded:
    """An outbox whose records go nowhere: only the fuse is looked at."""

    def add(self, *_: Any) -> None:
        pass

    async def send(self, check: Any) -> None:
        check()


def test_events_that_went_well_count_for_the_share_in_whatever_chunk_they_came() -> None:
    def locate_or_fail(text: str) -> Facts:
        if text == "203.0.113.66":
            raise RuntimeError("a bug")
        return locate(text)

    def record(offset: int, address_: str) -> Any:
        value = json.dumps({"specversion": "1.0", "type": "doorward.join.v1", "source": "/edge", "id": str(offset)})
        data = {"meeting": "m-1", "account": "acme", "participation": "p", "address": address_}
        value = value[:-1] + f', "data": {json.dumps(data)}}}'
        fields: dict[str, Any] = {"key": b"m-1", "value": value.encode(), "headers": (), "topic": "joins"}
        return SimpleNamespace(**fields, partition=0, offset=offset, timestamp=NOON)

    metrics = Metrics()
    agent = JoinsAgent(
        **remembering(Decider(index(), locate_or_fail, PROVENANCE), metrics),
        outbox=Discarded,  # type: ignore[arg-type]
        clock=lambda: NOON,
        metrics=metrics,
        partitions=1,
        max_event_bytes=2**20,
        fuse=Fuse(0.05, 100),
    )

    async def one_in_a_hundred() -> None:
        for first in range(0, 2000, 10):
            records = [
                record(first + i, "203.0.113.66" if (first + i) % 100 == 0 else "203.0.113.9") for i in range(10)
            ]
            await agent.answer(SimpleNamespace(parts={Home(0): records}, check=lambda: None))  # type: ignore[arg-type]

    asyncio.run(asyncio.wait_for(one_in_a_hundred(), 2))
