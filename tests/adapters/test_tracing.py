"""Spans reach a collector by OTLP over HTTP; one that is slow, refuses or is away costs spans and a line, no more."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from streams.adapters import tracing
from streams.adapters.tracing import Followed, Tracing, Turn
from streams.agents import needs
from streams.settings import Settings
from tests.collector import attributes, collecting

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-{SPAN}-{flags}".encode() for flags in ("01", "00"))
AT_ONCE = 3.0
"""Seconds, on a busy machine. Whoever waits for a collector that doesn't answer waits for 5."""
SAID: Any = SimpleNamespace(
    data=SimpleNamespace(verdict="remove", cause="join", policy_offset=42, geo_build="country-2026-06-17-1a2b3c4d")
)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "EXPORT_SECONDS", 0.1)


def record(*headers: tuple[str, bytes], offset: int = 7) -> Any:
    return SimpleNamespace(value=b"{}", headers=headers, topic="joins", partition=3, offset=offset)


def sampled(offset: int = 7) -> Any:
    return record(("traceparent", SAMPLED), offset=offset)


@contextmanager
def opened(endpoint: str, *, ratio: float = 0.0, cap: int = 1_000) -> Iterator[Tracing]:
    opened = Tracing.to(endpoint, ratio=ratio, cap=cap, worker="worker-1", version="0.1.0")
    try:
        yield opened
    finally:
        opened.close()


def answer(turn: Turn, each: Any) -> Followed | None:
    followed = turn.follow(each)
    if followed is not None:
        turn.answered(followed, SAID, None)
    return followed


def decide(traces: Tracing, *records: Any) -> list[Followed | None]:
    turn = traces.turn(len(records))
    followed = [answer(turn, each) for each in records]
    turn.acknowledged(deciding=0.002, writing=0.003)
    return followed


def test_a_span_says_what_was_decided_and_when() -> None:
    before = time.time_ns()
    with collecting() as collector, opened(collector.endpoint) as traces:
        [followed] = decide(traces, sampled())
        collector.wait_for(lambda: len(collector.spans()) == 1)
        [span], [request] = collector.spans(), collector.requests()
    assert followed is not None
    assert (span.name, span.kind) == ("doorward decide", span.SPAN_KIND_CONSUMER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(span) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "decide",
        "messaging.operation.type": "process",
        "messaging.destination.name": "joins",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
        "doorward.chunk.events": 1,
        "doorward.verdict": "remove",
        "doorward.cause": "join",
        "doorward.policy_offset": 42,
        "doorward.geo_build": "country-2026-06-17-1a2b3c4d",
    }
    assert before <= span.start_time_unix_nano <= time.time_ns()
    since = {event.name: event.time_unix_nano - span.start_time_unix_nano for event in span.events}
    assert since == {"chunk decided": 2_000_000, "chunk acknowledged": 5_000_000}
    assert span.end_time_unix_nano - span.start_time_unix_nano == 5_000_000
    resource = attributes(request.resource_spans[0].resource)
    assert (resource["service.name"], resource["service.instance.id"]) == ("doorward", "worker-1")
    carried = dict(followed.headers)
    assert carried["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01".encode(), "consumers go on from our span"
    assert carried["content-type"] == b"application/cloudevents+json"


@contextmanager
def remembering(**options: Any) -> Iterator[tuple[Tracing, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    made = Tracing(exporter, **({"ratio": 0.0, "cap": 1_000, "worker": "worker-1", "version": "0.1.0"} | options))
    try:
        yield made, exporter
    finally:
        made.close()


def finished(traces: Tracing, exporter: InMemorySpanExporter) -> tuple[Any, ...]:
    traces.close()
    return exporter.get_finished_spans()


def test_a_parent_that_is_not_recorded_is_passed_on_as_it_is() -> None:
    with remembering(ratio=1.0) as (traces, exporter):
        [followed] = decide(traces, record(("traceparent", UNSAMPLED), ("tracestate", b"vendor=1")))
        assert finished(traces, exporter) == ()
    assert followed is not None
    assert followed.headers[1:] == [("traceparent", UNSAMPLED), ("tracestate", b"vendor=1")]


def test_a_join_in_no_trace_begins_one_at_the_ratio() -> None:
    with remembering(ratio=0.25, cap=10_000) as (traces, exporter):
        followed = [each for each in decide(traces, *[record()] * 2_000) if each is not None]
        assert 350 <= len(followed) <= 650, "500 but for chance"
        spans = finished(traces, exporter)
    assert len(spans) == len(followed)
    assert {span.parent for span in spans} == {None}
    assert len({span.context.trace_id for span in spans}) == len(spans)
    with remembering(ratio=0.0) as (traces, _):
        assert decide(traces, *[record()] * 2_000) == [None] * 2_000


def test_whoever_sends_joins_makes_no_more_spans_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(tracing.time, "monotonic", lambda: now)
    with remembering(cap=5) as (traces, _), capture_logs() as lines:
        followed = decide(traces, *[sampled()] * 100)
        now += 1.0
        followed += decide(traces, *[sampled()] * 100)
    recorded = [each.span is not None for each in followed if each is not None]
    assert len(recorded) == 200
    assert sum(recorded) == 10
    [line] = lines
    assert "DOORWARD_TRACING_CAP" in line["event"]
    beyond = [each for each in followed if each is not None and each.span is None]
    assert {dict(each.headers)["traceparent"] for each in beyond} == {SAMPLED}, "the trace goes on without us"


def test_a_chunk_that_is_not_finished_and_a_leave_leave_no_span() -> None:
    with remembering() as (traces, exporter):
        assert answer(traces.turn(1), sampled()) is not None
        turn = traces.turn(1)
        leave = turn.follow(sampled())
        assert leave is not None
        turn.answered(leave, None, None)
        turn.acknowledged(deciding=0.0, writing=0.0)
        assert finished(traces, exporter) == ()


@contextmanager
def nobody() -> Iterator[str]:
    """An endpoint that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_a_collector_that_is_away_is_one_line_and_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "QUEUED", 64)
    with nobody() as endpoint, capture_logs() as lines:
        with opened(endpoint, cap=1_000_000) as traces:
            started = time.monotonic()
            for offset in range(3 * tracing.QUEUED):
                decide(traces, sampled(offset))
            took = time.monotonic() - started
            until = time.monotonic() + 10
            while not lines and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(1.2)  # it tries again, and again in vain
            began = time.monotonic()
        assert time.monotonic() - began < AT_ONCE
    assert took < AT_ONCE
    [line] = lines
    assert (line["log_level"], line["endpoint"]) == ("warning", endpoint)
    assert "joins are decided as ever" in line["event"]


@pytest.mark.parametrize("trouble", [{"delay": 30.0}, {"status": 503}, {"status": 400}])
def test_one_that_is_slow_or_refuses_holds_up_neither_answers_nor_the_stop(trouble: dict[str, Any]) -> None:
    with collecting(**trouble) as collector, capture_logs() as lines:
        with opened(collector.endpoint) as traces:
            decide(traces, sampled())
            collector.wait_for(lambda: bool(lines if "status" in trouble else collector.posts))
            started = time.monotonic()
            decide(traces, *map(sampled, range(500)))
            assert time.monotonic() - started < AT_ONCE
            began = time.monotonic()
        assert time.monotonic() - began < AT_ONCE
    assert {line["event"] for line in lines} <= {"traces are not taken and get lost; joins are decided as ever"}
    assert len(lines) <= 1


def test_the_last_spans_are_sent_at_the_stop() -> None:
    with collecting() as collector:
        with opened(collector.endpoint) as traces:
            decide(traces, *map(sampled, range(10)))
        assert len(collector.spans()) == 10


def test_without_the_packages_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs.tracing(None, ratio=0.01, cap=100, worker="w") is None
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "streams.adapters.tracing")
    with pytest.raises(needs.Unavailable, match=r"DOORWARD_TRACING_ENDPOINT: .*doorward\[otel\]"):
        needs.tracing("http://127.0.0.1:4318", ratio=0.01, cap=100, worker="w")


def test_nonsense_in_a_variable_of_opentelemetrys_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(needs.Unavailable, match="OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"):
        needs.tracing("http://127.0.0.1:4318", ratio=0.01, cap=100, worker="w")


@pytest.mark.parametrize(
    "endpoint",
    ["", "collector:4318", "grpc://collector:4317", "http://", "http://user:secret@collector:4318", "http://c:x"],
)
def test_a_bad_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="tracing_endpoint") as refused:
        Settings(tracing_endpoint=endpoint)
    assert "secret" not in refused.value.errors()[0]["msg"]  # type: ignore[attr-defined]  # pydantic's error


def test_what_is_sampled_is_never_text_of_a_sender() -> None:
    canary = "192.0.2.77"
    hostile = record(("traceparent", SAMPLED), ("tracestate", f"edge={canary}".encode()))
    malformed = record(("traceparent", SAMPLED), ("tracestate", f"no member {canary}".encode()))
    with collecting() as collector, capture_logs() as lines:
        with opened(collector.endpoint) as traces:
            followed = decide(traces, hostile, malformed, record(("traceparent", canary.encode())))
        assert len(collector.spans()) == 2
    assert canary not in repr([each.headers for each in followed if each is not None])
    assert canary.encode() not in b"".join(collector.posts)
    assert lines == []
