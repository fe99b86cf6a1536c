"""A record's trace context is found where its sender's tools put it; what is hostile or malformed is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.wire import cloudevents, tracecontext
from streams.wire.cloudevents import Header
from streams.wire.tracecontext import TraceContext

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
DATA = {"meeting": "m-1", "account": "acme", "participation": "p-1", "address": "192.0.2.9"}


def structured(**attributes: Any) -> bytes:
    event = {"specversion": "1.0", "type": "doorward.join.v1", "source": "/e", "id": "1", **attributes, "data": DATA}
    return json.dumps(event).encode()


def with_headers(*headers: Header) -> TraceContext | None:
    return tracecontext.read(headers, structured())


def test_headers_carry_it() -> None:
    found = with_headers(("traceparent", PARENT), ("tracestate", b"vendor=1, acme@shop=a/b"))
    assert found == TraceContext(PARENT, b"vendor=1,acme@shop=a/b")
    assert found.is_sampled
    assert found.headers() == [("traceparent", PARENT), ("tracestate", b"vendor=1,acme@shop=a/b")]
    assert TraceContext(OTHER, b"").headers() == [("traceparent", OTHER)]
    assert not TraceContext(OTHER, b"").is_sampled


def test_so_does_the_extension_of_cloudevents_in_either_mode() -> None:
    value = structured(traceparent=PARENT.decode(), tracestate="vendor=1")
    assert tracecontext.read([("content-type", b"application/cloudevents+json")], value) == (PARENT, b"vendor=1")
    assert tracecontext.read((), value) == (PARENT, b"vendor=1")
    binary = [("ce_type", b"doorward.join.v1"), ("ce_traceparent", PARENT), ("ce_tracestate", b"vendor=1")]
    assert tracecontext.read(binary, json.dumps(DATA).encode()) == (PARENT, b"vendor=1")


def test_an_event_with_the_extension_decodes_as_without() -> None:
    with_it, without = structured(traceparent=PARENT.decode(), tracestate="vendor=1"), structured()
    assert cloudevents.decode(with_it) == cloudevents.decode(without)


def test_the_records_header_is_nearer_than_the_extension() -> None:
    value = structured(traceparent=OTHER.decode())
    assert tracecontext.read([("traceparent", PARENT)], value) == (PARENT, b"")
    assert tracecontext.read([("traceparent", PARENT), ("ce_traceparent", OTHER)], b"{}") == (PARENT, b"")
    assert tracecontext.read([("traceparent", b"nonsense")], value) is None, "a broken nearer hop breaks the trace"


def test_in_binary_mode_the_value_is_data_and_no_envelope() -> None:
    assert tracecontext.read([("ce_type", b"doorward.join.v1")], structured(traceparent=PARENT.decode())) is None


def test_deep_within_the_data_it_is_no_attribute() -> None:
    value = json.dumps({"data": {"traceparent": PARENT.decode()}}).encode()
    assert tracecontext.read((), value) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        PARENT.upper(),
        PARENT + b"-more",
        b"ff" + PARENT[2:],
        PARENT[:-1],
        PARENT + b"\n",
        b" " + PARENT,
        PARENT.replace(b"7", "٧".encode(), 1),
        b"01" + PARENT[2:] + b"-" + b"x" * 600,
        b"x" * 1_000_000,
        None,
    ],
)
def test_a_malformed_traceparent_is_none(raw: bytes | None) -> None:
    assert with_headers(("traceparent", raw)) is None
    if raw is not None:
        assert tracecontext.read((), structured(traceparent=raw.decode())) is None


def test_one_of_a_later_version_is_read_as_the_first() -> None:
    assert with_headers(("traceparent", b"01" + PARENT[2:] + b"-more")) == (PARENT, b"")


def test_two_are_none() -> None:
    assert with_headers(("traceparent", PARENT), ("traceparent", PARENT)) is None
    assert with_headers(("traceparent", PARENT), ("traceparent", OTHER)) is None


@pytest.mark.parametrize(
    "value",
    [
        b'{"traceparent": 7}',
        b'{"traceparent": null}',
        b'{"traceparent": "\\ud800"}',
        b'{"traceparent"',
        b'["traceparent"]',
    ],
)
def test_an_envelope_that_holds_something_else_there_is_none(value: bytes) -> None:
    assert tracecontext.read((), value) is None
    assert tracecontext.read((), b'{"traceparent": ' + b"[" * 100_000) is None


@pytest.mark.parametrize(
    "state",
    [
        b"a=1,a=2",
        b"no member",
        b"A=1",
        b"a=caf\xc3\xa9",
        b"a=" + b"x" * 600,
        b",".join(b"a%d=1" % number for number in range(33)),
        b"edge=192.0.2.9",
        b"a=1,edge=from/192.0.2.9/x",
        b"edge=2001:db8::77",
        b"edge=::ffff:c000:209",
    ],
)
def test_a_tracestate_that_is_malformed_or_might_hold_an_address_stays_behind(state: bytes) -> None:
    assert with_headers(("traceparent", PARENT), ("tracestate", state)) == (PARENT, b"")


def test_vendors_values_with_colons_go_along() -> None:
    state = b"dd=s:2;o:rum;t.dm:-4,ot=th:8;rv:0123456789abcd"
    assert with_headers(("traceparent", PARENT), ("tracestate", state)) == (PARENT, state)


def test_several_tracestate_headers_are_one() -> None:
    states = [("tracestate", b"a=1"), ("tracestate", b" b=2 ,")]
    assert with_headers(("traceparent", PARENT), *states) == (PARENT, b"a=1,b=2")


@given(
    st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "ce_traceparent", "ce_x"]), st.binary())),
    st.binary(),
)
@example([], b'\x80"')
def test_no_bytes_make_it_raise(headers: list[tuple[str, bytes]], value: bytes) -> None:
    found = tracecontext.read(headers, b'{"traceparent": "' + value)
    assert found is None or len(found.traceparent) == len(PARENT)
