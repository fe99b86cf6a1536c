"""RFC 3339 times: the standard library is the oracle where it is exact; rounding and offsets by table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import instants
from tests.samples import PROPERTY

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@PROPERTY
@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), offsets)
def test_a_time_is_what_the_standard_library_says_rounded_up(naive: datetime, offset: timezone) -> None:
    moment = naive.replace(tzinfo=offset)
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    assert instants.parse(moment.isoformat()) == -(-micros // 1000)


@PROPERTY
@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_rendering_and_parsing_are_inverse(milliseconds: int) -> None:
    text = instants.render(milliseconds)
    assert len(text) == 24
    assert instants.parse(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T22:30:00-01:30", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T00:00:00.1Z", 100),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T00:00:00.0010000Z", 1),
        ("1970-01-01T00:00:00.0010000001Z", 2),
        ("1970-01-01T00:00:00.9999Z", 1000),
        ("1969-12-31T23:59:59.9991Z", 0),
        ("1972-06-30T23:59:60Z", 78_796_800_000),
        ("1972-07-01T00:00:00Z", 78_796_800_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("1970-01-01T00:00:00." + "0" * 10_000 + "Z", 0),
    ],
)
def test_parse(text: str, milliseconds: int) -> None:
    assert instants.parse(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-21",
        "2026-11-21T09:30:00",
        "2026-11-21 09:30:00Z",
        "2026-11-21T09:30Z",
        "2026-11-21T09:30:00.Z",
        "2025-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T09:60:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-21T09:30:61Z",
        "2026-11-21T09:30:00+24:00",
        "2026-11-21T09:30:00+00:60",
        "2026-11-21T09:30:00+0100",
        "2026-11-21T09:30:00Z ",
        "2026-11-21T09:30:00Z\n",
        "٢026-11-21T09:30:00Z",
        "+2026-11-21T09:30:00Z",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.9999Z",
        "0001-01-01T00:00:59+00:01",
        "2026-11-21T09:30:00Z\x00",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|no such"):
        instants.parse(text)
