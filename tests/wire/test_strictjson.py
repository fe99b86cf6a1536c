"""Is it JSON, and how deep: `json` is the oracle where it is strict, and hostile input costs time in proportion."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.wire import strictjson
from streams.wire.strictjson import MAX_DEPTH, NotJson, TooDeep, check, inspect, is_plain

PROPERTY = settings(deadline=None, max_examples=400)
texts = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def refuse(_: str) -> Any:
    raise ValueError


def oracle(raw: bytes) -> int | None:
    """The depth by the standard library, NaN and lone surrogates refused; None for what is no JSON."""
    try:
        value = json.loads(raw.decode(), parse_constant=refuse, parse_int=str, parse_float=str)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return None
    return depth_of(value)


def seen_by(look: Any, raw: bytes) -> int | None:
    try:
        return look(raw)
    except NotJson:
        return None


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    """A JSON text with up to three bytes put in, taken out or replaced."""
    dumps = {"allow_nan": True, "ensure_ascii": draw(st.booleans()), "indent": draw(st.sampled_from([None, 1]))}
    raw = json.dumps(draw(values), **dumps).encode(errors="surrogatepass")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        new = draw(
            st.sampled_from([b"", *(bytes([c]) for c in b'[]{},:"\\u0189.eE+-truNn \t\n\x00\x1f\x7f\xff\xc3\xa9')])
        )
        raw = raw[:at] + new + raw[at + draw(st.integers(0, 1)) :]
    return raw


@PROPERTY
@given(nearly_json())
@example(b"")
@example(b"-")
@example(b"01")
@example(b"1.")
@example(b".5")
@example(b"-0e-0")
@example(b'"\\ud83d\\ude00"')
@example(b'"\\ude00\\ud83d"')
@example(b'{"a":1,"a":[[]]}')
@example(b'"\x7f"')
def test_inspect_says_what_the_standard_library_says(raw: bytes) -> None:
    depth = oracle(raw)
    # Of duplicate keys the standard library shows one; what is nested in the others counts too.
    assert (seen_by(inspect, raw) is None) is (depth is None)
    assert depth is None or inspect(raw) >= depth


@PROPERTY
@given(values)
def test_the_depth_is_that_of_the_value(value: Any) -> None:
    try:
        raw = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:  # NaN or a lone surrogate
        return
    assert inspect(raw) == depth_of(value)


@PROPERTY
@given(nearly_json())
def test_the_quick_parser_and_the_walk_agree(raw: bytes) -> None:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return
    assert seen_by(inspect, raw) is not None, "orjson takes what the walk refuses"


@PROPERTY
@given(nearly_json(), st.integers(0, 3))
def test_check_is_the_walk_and_a_limit(raw: bytes, limit: int) -> None:
    depth = oracle(raw)
    wanted = NotJson if depth is None else TooDeep if depth > limit else None
    if wanted is None and b'"' in raw and inspect(raw) > limit:
        return  # nested in a duplicate that does not stand: either answer is right
    with nullcontext() if wanted is None else pytest.raises(wanted):
        check(raw, limit)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"{}x",
        b"[1,]",
        b'{"a":1,}',
        b"{1:2}",
        b"{'a':1}",
        b"[1 2]",
        b'{"a" 1}',
        b'{"a":}',
        b"[,1]",
        b"tru",
        b"01",
        b'"a\nb"',
        b'"\\q"',
        b'"\\u00g0"',
        b"+1",
        b"0x10",
        b"1e",
        b"]",
        b"[}",
        b'{"a":[}]',
        b"1,2",
        b"[1:2]",
        b'"a":1',
        b"/**/1",
        b"{}\x00",
        "[１]".encode(),
        "[1\u00a0]".encode(),
        b"[1e999",
        b"[1e999]]",
        b"\xff\xfe[\x00]\x00",
        b"[1e999 1]",
        b'{"a":1e999,1:2}',
        b'{"a":1e999 "b"}',
        b"[1e999 []]",
        b"[1e999 , , 1]",
        b"{1e999:1}",
        b'{"a",1e999}',
        b'["a":1e999]',
    ],
)
def test_what_is_no_json(raw: bytes) -> None:
    for look in (check, inspect):
        with pytest.raises(NotJson):
            look(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"1e999",
        b"-1E+999",
        b"9" * 5000,
        b"0." + b"1" * 5000,
        b'"\\u0000"',
        b'{"":{"":[]}}',
        b" \t\r\n1 \n",
        '"\U0010ffff"'.encode(),
        b'{"a":[1e999,{"b":[]},"c"],"d":null}',
    ],
)
def test_what_is_json_though_parsers_stumble(raw: bytes) -> None:
    check(raw)
    assert inspect(raw) == depth_of(json.loads(raw.replace(b"9" * 5000, b"9")))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize(
    ("depth", "taken"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (1_025, False), (10_000, False)]
)
def test_sixty_four_containers_the_outermost_counted(opening: bytes, depth: int, taken: bool) -> None:
    raw = opening * depth + b"1" + (b"]" if opening == b"[" else b"}") * depth
    assert inspect(raw) == depth
    if taken:
        check(raw)
    else:
        with pytest.raises(TooDeep, match=f"^{depth} nested"):
            check(raw)
    assert is_plain(raw) is taken


@pytest.mark.parametrize(
    "raw",
    [
        *(b"[" * 2**20, b'{"a":' * 2**17, b"[1," * 2**18, b'"' + b"a" * 2**20, b'"' + b"\\n" * 2**19, b" " * 2**20),
        *(
            b"1" * 2**20 + b"x",
            b"[" + b"1," * 2**19 + b"1e999",
            b'["' + b"\\" * 2**20,
            b"-" * 2**20,
            b'[1e999,"' + b"\\u0041" * 2**17,
        ),
    ],
)
def test_a_megabyte_of_malice_is_no_json_soon(raw: bytes) -> None:
    began = time.process_time()
    with pytest.raises(NotJson):
        check(raw)
    assert time.process_time() - began < 3.0


def test_no_message_repeats_the_text() -> None:
    for raw in (
        b'{"a": 203.0.113.9}',
        b'["203.0.113.9\xff"]',
        b'["203.0.113.9\\ud800"]',
        b'[1e999 "203.0.113.9"]',
        b'{}"203.0.113.9"',
    ):
        with pytest.raises(NotJson) as caught:
            check(raw)
        assert "203" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (b'{"a": 1}', True),
        ('"é"'.encode(), True),
        ('"é"'.encode("latin-1"), False),
        (b'"\\u0041"', False),
        (b'"\\\\u0041"', False),
        (b'"' + b"[" * 65 + b'"', False),
    ],
)
def test_only_what_is_plain_takes_the_quick_way(raw: bytes, plain: bool) -> None:
    assert strictjson.is_plain(raw) is plain
