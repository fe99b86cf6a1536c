"""What was counted between two pages of metrics, and quantiles of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.exposition import Page, Series, increase, quantile, together
from tests.samples import PROPERTY


def series(text: str) -> Series:
    name, _, labels = text.rstrip("}").partition("{")
    pairs = (label.split("=") for label in labels.split(",") if label)
    return name, frozenset((key, value) for key, value in pairs)


def page(at: float, counts: Mapping[str, float], started: float = 1.0) -> Page:
    gauges = {series("process_start_time_seconds"): started}
    return Page(at, gauges, {series(name): count for name, count in counts.items()})


@pytest.mark.parametrize(
    ("earlier", "later", "rose", "restarted"),
    [
        ({"a": 5}, {"a": 8}, {"a": 3}, False),
        ({"a": 5}, {"a": 5}, {"a": 0}, False),
        ({"a": 5}, {"a": 5, "b{x=1}": 2}, {"a": 0, "b{x=1}": 2}, False),  # a label's first word
        ({"a": 5, "b": 1}, {"a": 4, "b": 9}, {"a": 4, "b": 9}, True),  # b too goes on from nothing
        ({"a": 5, "b{x=1}": 1}, {"a": 7}, {"a": 7}, True),
        ({"a": 5, "b{x=1}": 0}, {"a": 7}, {"a": 2}, False),
        ({}, {"a": 7}, {"a": 7}, False),
    ],
)
def test_what_rose_and_who_was_started_anew(
    earlier: dict[str, float], later: dict[str, float], rose: dict[str, float], restarted: bool
) -> None:
    found = increase(page(10, earlier), page(14, later))
    assert (found.seconds, found.restarted) == (4, restarted)
    assert found.counts == {series(name): count for name, count in rose.items()}


def test_another_start_is_another_process_even_if_it_counted_more() -> None:
    found = increase(page(0, {"a": 5}, started=1), page(1, {"a": 8}, started=2))
    assert (found.counts, found.restarted) == ({series("a"): 8}, True)


def test_rates_are_summed_over_the_labels_that_are_not_asked_for() -> None:
    counts = {
        "d{verdict=admit,mode=enforce}": 8,
        "d{verdict=admit,mode=report}": 2,
        "d{verdict=remove,mode=enforce}": 1,
    }
    found = increase(page(0, {}), page(4, {**counts, "dd": 100}))
    assert found.rate("d") == 11 / 4
    assert found.rate("d", verdict="admit") == 10 / 4
    assert found.rate("d", verdict="admit", mode="enforce") == 8 / 4
    assert found.rate("nothing") == 0


def test_a_gauge_that_is_not_there_is_0() -> None:
    found = page(0, {})
    assert (found.has("process_start_time_seconds"), found.gauge("process_start_time_seconds")) == (True, 1.0)
    assert (found.has("other"), found.gauge("other")) == (False, 0.0)


def test_a_histograms_buckets_by_their_bounds() -> None:
    names = {"h_bucket{le=0.1}": 3, "h_bucket{le=+Inf}": 4, "h_count": 4, "hh_bucket{le=0.1}": 9}
    assert increase(page(0, {}), page(1, names)).buckets("h") == {0.1: 3, inf: 4}


@pytest.mark.parametrize(
    ("share", "counts", "value"),
    [
        # bounds 1, 2, 4, infinity
        (0.5, (0, 0, 0, 0), None),
        (0.5, (10, 10, 10, 10), 0.5),  # evenly from 0
        (1.0, (10, 10, 10, 10), 1.0),
        (0.5, (0, 10, 10, 10), 1.5),
        (0.5, (0, 0, 10, 10), 3.0),
        (0.99, (50, 90, 100, 100), 3.8),
        (0.9, (50, 90, 100, 100), 2.0),
        (0.5, (5, 5, 5, 10), 1.0),  # the empty buckets between are not reached
        (0.51, (5, 5, 5, 10), 4.0),  # beyond the last bound: all that is known is where that is
        (0.5, (0, 0, 0, 10), 4.0),
        (0.25, (0.5, 0.5, 1.5, 2.0), 1.0),
    ],
)
def test_quantiles_are_prometheus_own(share: float, counts: tuple[float, ...], value: float | None) -> None:
    found = quantile(share, dict(zip((1.0, 2.0, 4.0, inf), counts, strict=True)))
    assert found == (value if value is None else pytest.approx(value))


def test_a_histogram_without_bounds_says_nothing() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {inf: 3}) == 0.0


observations = st.lists(st.floats(0, 10), min_size=1, max_size=30)
BOUNDS = (0.5, 1.0, 2.5, 5.0, 7.5, 10.0)


def histogram(values: list[float]) -> dict[float, float]:
    return {bound: sum(value <= bound for value in values) for bound in (*BOUNDS, inf)}


@PROPERTY
@given(observations, observations, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_in_the_true_ones_bucket(one: list[float], other: list[float], share: float) -> None:
    found = quantile(share, together([histogram(one), histogram(other)]))
    assert found is not None
    values = sorted(one + other)
    true = next(value for place, value in enumerate(values, 1) if place >= share * len(values))
    upper = next(bound for bound in BOUNDS if true <= bound)
    lower = max((bound for bound in BOUNDS if bound < true), default=0.0)
    assert lower <= found <= upper
