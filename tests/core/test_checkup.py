"""What is found wrong with a cluster, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from streams.core.checkup import ENDING_DAYS, RUNBOOKS, SWEEP_SECONDS, Kind, Limits, findings, newest_policy
from streams.core.cluster import Look
from tests.core.test_cluster import page
from tests.samples import NOON

NOW = NOON / 1000
DAY = 86_400.0
RULES = Path(__file__).parents[2] / "deploy" / "mixin" / "rendered" / "alerts.yaml"


def found(*looks: Look, limits: Limits | None = None, newest: int | None = None) -> list[tuple[Any, ...]]:
    newest = newest_policy(looks) if newest is None else newest
    told = findings(looks, NOW, limits or Limits(), newest)
    return [(each.kind, each.says, each.workers) for each in told]


def look(name: str = "a", **gauges: float) -> Look:
    return Look(name, page(**gauges))


@pytest.mark.parametrize(
    ("gauges", "kind", "says"),
    [
        ({}, None, ""),
        ({"ready": 0}, "not_ready", "not ready: joins are not consumed yet"),
        ({"recovering": 1}, "recovering", "partitions are being taken on"),
        ({"fuse_blown": 1}, "fuse_blown", "holds its partitions: too many events failed in our own code"),
        ({"lag_seconds": 30, "lag_records": 9}, None, ""),
        ({"lag_seconds": 31, "lag_records": 1200}, "lag", "answers are 31 s behind; 1,200 events wait"),
        ({"sweep_age_seconds": SWEEP_SECONDS, "sweeps_due": 1}, None, ""),
        ({"sweep_age_seconds": 61}, "sweep_old", "a sweep has been due or under way for 61 s"),
        ({"geo_held": 1}, "geo_held", "a new geo build is held back"),
        ({"geo_build_timestamp_seconds": NOW - 45 * DAY}, None, ""),
        ({"geo_build_timestamp_seconds": NOW - 46 * DAY}, "geo_old", "the newest geo file was built 46 days ago"),
        ({"document_expiry_timestamp_seconds": NOW + ENDING_DAYS * DAY}, None, ""),
        (
            {"document_expiry_timestamp_seconds": NOW + 2.5 * DAY},
            "document_ends",
            "a policy document in force ends in 2.5 days",
        ),
        (
            {"certificate_expiry_timestamp_seconds": NOW + 6.9 * DAY},
            "certificate_ends",
            "a certificate in use ends in 6.9 days",
        ),
        ({"certificate_expiry_timestamp_seconds": NOW - DAY}, "certificate_ends", "a certificate in use has ended"),
    ],
)
def test_a_worker_by_its_gauges(gauges: dict[str, float], kind: str | None, says: str) -> None:
    assert found(look(**gauges)) == ([(kind, says, ("a",))] if kind else [])


def test_a_worker_by_its_answers() -> None:
    assert found(Look("a", error="connection refused")) == [
        ("no_answer", "does not answer: connection refused", ("a",))
    ]
    failing = Look("a", page(), not_live=("loop", "progress"), not_ready=("geo",))
    assert found(failing) == [
        ("not_live", "not live: loop, progress", ("a",)),
        ("not_ready", "not ready: geo", ("a",)),
    ]


def test_limits_are_the_askers() -> None:
    old = look(lag_seconds=4, unconfirmed_removals=3, geo_build_timestamp_seconds=NOW - 400 * DAY)
    kinds = [kind for kind, *_ in found(old, limits=Limits(lag=3.5, geo_age=399, unconfirmed=2))]
    assert kinds == ["lag", "removals_unconfirmed", "geo_old"]
    assert found(old, limits=Limits(geo_age=0)) == []


def test_removals_are_counted_over_all_workers() -> None:
    looks = [look("a", unconfirmed_removals=60), look("b", unconfirmed_removals=1000)]
    says = "1,060 participations were removed and have not left"
    assert found(*looks) == [("removals_unconfirmed", says, ())]


def test_partitions_that_nobody_owns_are_missed() -> None:
    looks = [look("a", partitions=2, joins_partitions=4), look("b", partitions=1, joins_partitions=4)]
    assert found(*looks) == [("partitions_unowned", "those asked own 3 of the 4 partitions of joins", ())]
    assert found(*looks, look("c", partitions=1, joins_partitions=4)) == []
    assert found(look("a", partitions=2)) == [], "one of a version that does not say how many there are"


def test_what_is_said_of_several_workers_is_said_once() -> None:
    stale = {"geo_build_timestamp_seconds": NOW - 90 * DAY}
    assert found(look("a", **stale), look("b"), look("c", **stale)) == [
        ("geo_old", "the newest geo file was built 90 days ago", ("a", "c"))
    ]


def test_workers_at_one_offset_hold_one_index() -> None:
    at = [look(name, policy_offset=7, policy_index_hash=digest) for name, digest in (("a", 1), ("b", 2), ("c", 1))]
    assert found(*at) == [("index_differs", "index hashes differ at offset 7 of the policy log", ("a", "b", "c"))]
    assert found(at[0], at[2]) == []


def test_who_is_behind_in_the_policy_log() -> None:
    at = [look("a", policy_offset=7), look("b", policy_offset=9), look("c", policy_offset=1, ready=0)]
    says = "decides by offset 7 of the policy log; others are at 9"
    behind = [each for each in found(*at) if each[0] == "policy_behind"]
    assert behind == [("policy_behind", says, ("a",))], "whoever is not ready decides nothing"
    assert newest_policy(at) == 9
    assert found(look("a", policy_offset=9), look("b", policy_offset=11), newest=9) == [], "a later look"
    assert newest_policy(at[2:]) == newest_policy([]) == 0


def test_every_runbook_is_an_alerts() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert set(RUNBOOKS.values()) <= alerts
    assert tuple(RUNBOOKS) == get_args(Kind)


def test_findings_are_json() -> None:
    told = findings([look(geo_held=1)], NOW, Limits(), 0)
    assert msgspec.json.decode(msgspec.json.encode(told)) == [
        {"kind": "geo_held", "says": "a new geo build is held back", "workers": ["a"], "runbook": "DoorwardGeoHeld"}
    ]
