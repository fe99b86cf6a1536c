"""Ruling 32: how old a key is, as everybody reads it off the same announcements."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import instants
from streams.wire.announced import KEY_AGE, SETTLED, Announced
from streams.wire.trust import TrustSet
from tests.samples import NOON, PROPERTY
from tests.signing import entry, key, trusting

HOUR = instants.DAY // 24
ANN = trusting("ann").keys["ann"]
WITH, WITHOUT = trusting("ann", "bo"), trusting("bo")


def log(*said: tuple[int, TrustSet]) -> Announced:
    made = Announced()
    for at, trust in said:
        made.note(trust.announced(), at)
    return made


def test_a_key_is_old_enough_a_day_after_its_announcement_to_the_millisecond() -> None:
    announced = log((NOON, WITH))
    assert not announced.old_enough(ANN, NOON + KEY_AGE - 1)
    assert announced.old_enough(ANN, NOON + KEY_AGE)
    assert announced.since(ANN, NOON + HOUR) == NOON
    assert announced.since(ANN, NOON - 1) is None


def test_saying_it_again_does_not_make_a_key_younger() -> None:
    announced = log((NOON, WITH), (NOON + 20 * HOUR, WITH), (NOON + 22 * HOUR, trusting("ann", "cleo")))
    assert announced.since(ANN, NOON + 23 * HOUR) == NOON
    assert announced.old_enough(ANN, NOON + KEY_AGE)


def test_a_key_that_was_away_begins_anew() -> None:
    announced = log((NOON, WITH), (NOON + 30 * HOUR, WITHOUT), (NOON + 31 * HOUR, WITH))
    assert announced.old_enough(ANN, NOON + 30 * HOUR)
    assert announced.old_enough(ANN, NOON + 31 * HOUR - 1), "for want of an hour nobody judges otherwise"
    assert not announced.old_enough(ANN, NOON + 31 * HOUR)
    assert not announced.old_enough(ANN, NOON + 54 * HOUR), "a day ago it was away"
    assert not announced.old_enough(ANN, NOON + 55 * HOUR - 1)
    assert announced.old_enough(ANN, NOON + 55 * HOUR)
    assert announced.since(ANN, NOON + 40 * HOUR) == NOON + 31 * HOUR


@pytest.mark.parametrize(
    "before",
    [
        pytest.param({"scopes": ["account/acme"]}, id="without service scope"),
        pytest.param({"holder": "somebody"}, id="held by another"),
        pytest.param({"on_behalf": True}, id="on owners' behalf"),
        pytest.param({"x": key("bo").key.as_dict(private=False)["x"]}, id="another key under the same kid"),
        pytest.param({"revoked": instants.render(NOON)}, id="revoked"),
    ],
)
def test_what_was_announced_otherwise_was_not_announced(before: dict[str, Any]) -> None:
    announced = log((NOON, trusting(entry("ann", **before))), (NOON + 30 * HOUR, WITH))
    assert not announced.old_enough(ANN, NOON + 40 * HOUR)
    assert announced.since(ANN, NOON + 40 * HOUR) == NOON + 30 * HOUR


def test_a_key_that_is_to_end_later_is_announced_until_then() -> None:
    announced = log((NOON, trusting(entry("ann", revoked=instants.render(NOON + HOUR)))))
    assert announced.old_enough(ANN, NOON + KEY_AGE), "whether it stands at that instant is the trust set's to say"


def test_a_log_that_lost_its_beginning_begins_with_what_is_left() -> None:
    whole, cut = log((NOON, WITH)), log((NOON, WITH))
    cut.begins_cut()
    assert not whole.old_enough(ANN, NOON - HOUR)
    assert cut.old_enough(ANN, NOON - HOUR)
    empty = log()
    empty.begins_cut()
    assert not empty.old_enough(ANN, NOON)


@PROPERTY
@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from([WITH, WITHOUT, trusting("ann")])), max_size=8),
    st.integers(0, 150),
    st.integers(0, 8),
)
def test_what_is_announced_within_an_hour_of_a_record_cannot_matter_to_it(
    said: list[tuple[int, TrustSet]], at: int, missing: int
) -> None:
    """A worker that has not yet read the latest announcements judges as one that has."""
    hours = [(NOON + hour * HOUR, trust) for hour, trust in sorted(said, key=lambda each: each[0])]
    record = NOON + at * HOUR
    late = [each for each in hours if each[0] > record - SETTLED]
    read = hours[: len(hours) - min(missing, len(late))]
    assert log(*read).old_enough(ANN, record) == log(*hours).old_enough(ANN, record)


@PROPERTY
@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from([WITH, WITHOUT, trusting("ann")])), max_size=8),
    st.integers(0, 150),
)
def test_who_approves_was_named_by_every_announcement_of_23_hours(said: list[tuple[int, TrustSet]], at: int) -> None:
    hours = [(hour, trust) for hour, trust in sorted(said, key=lambda each: each[0])]
    before = [trust for hour, trust in hours if hour <= at - 24][-1:]
    within = [trust for hour, trust in hours if at - 24 < hour <= at - 1]
    wanted = bool(before) and all("ann" in trust.keys for trust in before + within)
    assert log(*((NOON + hour * HOUR, trust) for hour, trust in hours)).old_enough(ANN, NOON + at * HOUR) == wanted


# -- held against later sets -------------------------------------------------------------------------------------------


def test_every_key_that_was_announced_is_remembered_as_it_was_said_last() -> None:
    wider = trusting("ann", entry("bo", scopes=["service", "account/acme"]))
    announced = log((NOON, WITH), (NOON + 1, trusting("cleo")), (NOON + 2, wider))
    assert {key.kid: key.scopes for key in announced.keys} == {
        "ann": ["service"],
        "bo": ["account/acme", "service"],
        "cleo": ["service"],
    }


def test_a_key_said_to_be_revoked_stays_so_unless_that_had_not_come_to_pass() -> None:
    past, future = instants.render(NOON), instants.render(NOON + HOUR)
    for revoked, kept in ((past, past), (future, None)):
        announced = log((NOON, trusting(entry("ann", revoked=revoked))), (NOON + 1, WITH))
        assert next(key for key in announced.keys if key.kid == "ann").revoked == kept


def test_an_announcement_that_nobody_of_ours_made_harms_nobody() -> None:
    announced = log((NOON, WITH))
    announced.note([msgspec.structs.replace(key, revoked="never") for key in WITH.announced()], NOON + 1)
    assert [key.revoked for key in announced.keys] == [None, None]
