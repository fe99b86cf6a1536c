"""Dead letters: the record's own headers untouched and in order, then ours."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.wire import deadletter

WHERE = {"topic": "joins", "partition": 3, "offset": 991, "version": "0.1.0"}
OURS = [
    ("doorward-reason", b"schema"),
    ("doorward-detail", b"why"),
    ("doorward-topic", b"joins"),
    ("doorward-partition", b"3"),
    ("doorward-offset", b"991"),
    ("doorward-version", b"0.1.0"),
]
header = st.tuples(st.text(max_size=6).filter(lambda name: not name.startswith("doorward-")), st.none() | st.binary())


@given(st.lists(header, max_size=5))
def test_the_records_own_headers_stay_as_they_came(original: list[tuple[str, bytes | None]]) -> None:
    assert deadletter.headers(original, "schema", "why", **WHERE) == original + OURS


def test_a_letter_that_comes_back_says_only_the_last_reason() -> None:
    once = deadletter.headers([("ce_id", b"1")], "internal", "then", **(WHERE | {"offset": 1}))
    assert deadletter.headers(once, "schema", "why", **WHERE) == [("ce_id", b"1"), *OURS]


@pytest.mark.parametrize(
    ("key", "kept"), [(None, None), (b"m-1", b"m-1"), (b"k" * 65_536, b"k" * 65_536), (b"k" * 65_537, None)]
)
@pytest.mark.parametrize("value", [None, b"", b"x" * 100])
def test_a_stub_says_what_it_stands_for(key: bytes | None, kept: bytes | None, value: bytes | None) -> None:
    sha256 = hashlib.sha256(value or b"").hexdigest().encode()
    size = str(len(value or b"")).encode()
    made = deadletter.stub(key, value, [("ce_id", b"1" * 10_000), *OURS])
    assert made == (kept, [*OURS, ("doorward-size", size), ("doorward-sha256", sha256)])
