"""How a cluster does, by what its workers expose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.adapters.metricmanifest import MANIFEST
from streams.core import checkup, cluster
from streams.core.cluster import Look, agreement, state, survey, traffic
from streams.core.exposition import Page, increase
from tests.core.test_exposition import series


def page(at: float = 0.0, counts: dict[str, float] | None = None, **gauges: float) -> Page:
    named = {series(f"doorward_{name}"): value for name, value in {"ready": 1.0, **gauges}.items()}
    return Page(at, named, {series(f"doorward_{name}"): count for name, count in (counts or {}).items()})


EARLIER = {
    "events_total{type=join}": 100,
    "decisions_total{verdict=admit,cause=join,mode=enforce}": 90,
    "dead_letters_total{reason=schema}": 10,
    "decision_latency_seconds_bucket{le=0.01}": 50,
    "decision_latency_seconds_bucket{le=0.1}": 90,
    "decision_latency_seconds_bucket{le=+Inf}": 90,
}
LATER = {
    "events_total{type=join}": 120,
    "events_total{type=leave}": 20,
    "decisions_total{verdict=admit,cause=join,mode=enforce}": 100,
    "decisions_total{verdict=remove,cause=join,mode=enforce}": 6,
    "decisions_total{verdict=remove,cause=policy,mode=enforce}": 2,
    "decisions_total{verdict=remove,cause=join,mode=report}": 50,
    "dead_letters_total{reason=schema}": 12,
    "decision_latency_seconds_bucket{le=0.01}": 60,
    "decision_latency_seconds_bucket{le=0.1}": 110,
    "decision_latency_seconds_bucket{le=+Inf}": 110,
}


def test_traffic_is_of_the_interval_and_of_what_is_in_force() -> None:
    found = traffic([increase(page(10, EARLIER), page(14, LATER))])
    assert found is not None
    assert (found.events, found.dead_letters) == (10, 0.5)
    assert found.decisions == {"admit": 2.5, "alert": 0, "remove": 2}
    assert found.p50 == pytest.approx(0.01)
    assert found.p99 == pytest.approx(0.01 + 0.09 * 0.98)
    assert traffic([]) is None


def test_workers_are_added_up_whatever_their_intervals() -> None:
    one, other = increase(page(10, EARLIER), page(14, LATER)), increase(page(0), page(2, EARLIER))
    found = traffic([one, other])
    assert found is not None
    assert found.events == 10 + 50
    assert found.decisions["admit"] == 2.5 + 45
    assert found.p50 == pytest.approx(0.01 * 55 / 60)


def test_who_agrees_with_whom() -> None:
    def at(offset: int, digest: int, ready: int = 1) -> cluster.State:
        return state(page(policy_offset=offset, policy_index_hash=digest, ready=ready))

    assert agreement({"a": at(7, 1), "b": at(7, 1), "c": at(9, 5)}) == {"a": True, "b": True}
    assert agreement({"a": at(7, 1), "b": at(7, 2), "c": at(7, 1)}) == dict.fromkeys("abc", False)
    assert agreement({"a": at(7, 1), "b": at(7, 2, ready=0)}) == {}


def test_a_hash_is_told_as_status_events_begin_it() -> None:
    assert state(page(policy_index_hash=0x0A2C19D00AA1)).policy_index_hash == "0a2c19d00aa1"


def test_the_whole_and_its_workers() -> None:
    looks = [
        Look("a", page(14, LATER, partitions=3, lag_records=5, lag_seconds=0.5, policy_offset=7, sessions=10)),
        Look("b", error="connection refused"),
        Look("c", page(policy_offset=9, partitions=1, lag_records=2, lag_seconds=1.5, sweeps_due=1, fuse_blown=1)),
        Look("d", page(ready=0, unconfirmed_removals=4)),
    ]
    whole, workers = survey(looks, {"a": increase(page(10, EARLIER), page(14, LATER))})
    assert (whole.workers, whole.answering, whole.ready, whole.fuses_blown) == (4, 3, 1, 1)
    assert (whole.partitions, whole.lag_records, whole.lag_seconds) == (4, 7, 1.5)
    assert (whole.sessions, whole.sweeps_due, whole.unconfirmed_removals) == (10, 1, 4)
    assert (whole.policy_offset, whole.agrees) == ((7, 9), None)
    assert [worker.name for worker in workers] == ["a", "b", "c", "d"]
    assert [worker.traffic is None for worker in workers] == [False, True, True, True]
    assert workers[0].traffic == whole.traffic
    assert (workers[1].state, workers[1].error) == (None, "connection refused")
    assert [worker.restarted for worker in workers] == [False] * 4


def test_who_serves() -> None:
    assert state(page()).serves
    for gauges in ({"ready": 0}, {"recovering": 1}, {"fuse_blown": 1}):
        assert not state(page(**gauges)).serves


def test_agreement_of_the_whole_and_restarts() -> None:
    same = dict.fromkeys("ab", page(14, EARLIER, policy_offset=3, policy_index_hash=1))
    looks = [Look(name, each) for name, each in same.items()]
    whole, workers = survey(looks, {"b": increase(page(10, LATER), page(14, EARLIER))})
    assert whole.agrees is True
    assert [(worker.agrees, worker.restarted) for worker in workers] == [(True, False), (True, True)]
    looks.append(Look("c", page(policy_offset=3, policy_index_hash=2)))
    assert survey(looks, {})[0].agrees is False


def test_nobody_answers() -> None:
    whole, _ = survey([Look("a", error="gone")], {})
    assert (whole.answering, whole.policy_offset, whole.traffic, whole.lag_seconds) == (0, None, None, 0.0)


def test_all_that_is_looked_at_is_exposed_by_workers() -> None:
    exposed = {metric.exposed for metric in MANIFEST if metric.process == "worker"}
    for module in (cluster, checkup):
        source = Path(module.__file__).read_text()
        assert set(re.findall(r'"(doorward_\w+)"', source)) <= exposed
        assert {f"doorward_{name}" for name in re.findall(r'whole\("(\w+)"\)', source)} <= exposed
