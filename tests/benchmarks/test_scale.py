"""What ``benchmarks.scale`` rests on and a look at its figures would not show: its events, and its word for growth."""

import os
from collections import Counter

import msgspec
import pytest

from benchmarks import scaling, scaling_events
from streams.core.events import JoinEvent, LeaveEvent
from streams.wire import cloudevents


def people(count):
    return [(number, f"practice-{number % 3}", f"m-{number % 7}") for number in range(count)]


def test_who_comes_goes_after_others_have_come(monkeypatch):
    monkeypatch.setattr(scaling_events, "STAY", 10)
    present, most, left = set(), 0, Counter()
    for made in scaling_events.visits(people(100)):
        event = cloudevents.decode(made.value, [])
        assert made.key == event.data.meeting.encode()
        who = event.data.participation
        if isinstance(event, LeaveEvent):
            present.remove(who)
            left[who] += 1
            assert not made.decided
        else:
            assert isinstance(event, JoinEvent)
            assert made.decided
            present.add(who)
        most = max(most, len(present))
    assert not present
    assert most == 11
    assert len(left) == 100


def test_no_two_events_are_the_same():
    made = list(scaling_events.visits(people(2_000)))
    ids = {msgspec.json.decode(each.value)["id"] for each in made}
    assert len(ids) == len(made) == 4_000
    assert scaling_events.decided(made) == 2_000


def test_traffic_is_the_same_each_time_but_for_the_clock():
    first, second = scaling_events.traffic(600), scaling_events.traffic(600)
    assert len(first) == 600
    assert [each.key for each in first] == [each.key for each in second]
    assert 400 < scaling_events.decided(first) < 600


@pytest.mark.parametrize(
    ("points", "growth"),
    [
        ([(1, [5.0]), (100, [5.0])], 1.0),
        ([(1_000, [2.0]), (10_000, [20.0])], 10.0),
        ([(10, [1.0]), (100, [9.0]), (100_000, [3.0, 16.0, 17.0])], 2.0),
    ],
)
def test_growth_is_told_by_tens(points, growth):
    assert scaling_events.tenfold(points) == pytest.approx(growth)


def test_what_is_started_meanwhile_is_elsewhere_and_what_follows_is_not():
    before = os.sched_getaffinity(0)
    with scaling.on({min(before)}):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_a_folder_is_as_large_as_its_files(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "within").mkdir()
    (tmp_path / "within" / "b").write_bytes(b"x" * 23)
    assert scaling.on_disk(tmp_path) == 123


def test_seen_is_a_second_and_a_decision():
    seen = scaling.Seen(1_000, 2.0, [0.01, 0.03])
    assert seen.rate == 500
    assert seen.cost(0) == pytest.approx(10)
    assert seen.cost(0, 1) == pytest.approx(40)
