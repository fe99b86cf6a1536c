"""Traces through OpenTelemetry: one span for a sampled join, whose context goes on in its decision's headers.

The span lasts from the moment the join's chunk was taken until every answer in it was acknowledged; in between it says
when the chunk was decided. Its parent is whatever span the join was sent in (``streams.wire.tracecontext``). Attributes
say where the record is, the verdict and what it was decided by: no meeting, account, participation, address or text of
a rule (charter C7 and C9). A chunk that is not finished leaves no spans; its joins are answered again, and followed
again then.

Who is sampled: a join in a trace, if whoever sent it recorded it; of the others a share. Never more than a number a
second, so that whoever writes ``joins`` cannot flood the collector. The trace of a join that isn't recorded here goes
on in its decision's headers all the same.

Neither the instrumentation of aiokafka nor Faust's own fits: the one wraps ``send`` and ``getone``, the other streams'
events, and a chunk passes none of them: it comes out of one poll, and its answers are appended to batches
(``streams.runtime.produce``). So spans are made here, by hand, with OpenTelemetry's SDK, which samples nothing itself.

A collector that is slow or away costs spans, never a decision: they wait in a bounded queue, from which a thread sends
them once a second, and what it has to complain of is one line a minute.

This module needs the extra ``otel``; who imports it looks out for that. Further settings of the exporter (headers,
certificates) and of the resource are OpenTelemetry's own variables, ``OTEL_EXPORTER_OTLP_*`` and
``OTEL_RESOURCE_ATTRIBUTES``.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from random import random
from typing import Final, Protocol, Self

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from streams.core.events import DecisionEvent
from streams.wire import tracecontext
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Fault, Header
from streams.wire.tracecontext import TraceContext

SPAN_NAME: Final = "doorward decide"
EXPORT_SECONDS: Final = 1.0
"""Between two exports."""
EXPORT_TIMEOUT: Final = 5.0
"""Seconds a collector has for one export, tries again included."""
QUEUED: Final = 2_048
"""Spans that wait at most; then the oldest go."""
CLOSE_SECONDS: Final = 0.8
"""What a stop waits at most for the last spans to be taken."""
SELDOM_SECONDS: Final = 60.0
"""Between two lines on one trouble."""

log = structlog.get_logger(__name__)


class Record(Protocol):
    """What is read of an aiokafka ConsumerRecord."""

    value: bytes | None
    headers: Sequence[Header]
    topic: str
    partition: int
    offset: int


class Tracing:
    """Follows joins. One a process.

    Args:
        exporter: where spans go.
        ratio: share of the joins in no trace that begin one, 0 to 1.
        cap: most spans a second.
        worker: this worker's id; the service's instance.
        version: of the engine.
    """

    def __init__(self, exporter: SpanExporter, *, ratio: float, cap: int, worker: str, version: str) -> None:
        service: Mapping[str, AttributeValue] = {
            "service.name": "doorward",
            "service.instance.id": worker,
            "service.version": version,
        }
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # who is sampled is settled before a span is made
            resource=Resource.create(service),
            shutdown_on_exit=False,  # it would wait for half a minute
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=QUEUED,
                schedule_delay_millis=EXPORT_SECONDS * 1000,
                max_export_batch_size=QUEUED // 4,
            )
        )
        self.tracer = self._provider.get_tracer("doorward", version)
        self.ratio = ratio
        self._cap = cap
        self._second = 0  # of the monotonic clock
        self._made = 0  # spans in it
        self._left_out = _Seldom()

    @classmethod
    def to(cls, endpoint: str, *, ratio: float, cap: int, worker: str, version: str) -> Self:
        """Send spans to a collector by OTLP over HTTP; one that does not answer is no error, now or later.

        Args:
            endpoint: its base URL; ``/v1/traces`` is added (OTLP 1.x, "OTLP/HTTP Request").
            ratio: see the class.
            cap: see the class.
            worker: see the class.
            version: see the class.
        """
        _complain_seldom(endpoint)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT)
        return cls(exporter, ratio=ratio, cap=cap, worker=worker, version=version)

    def turn(self, events: int) -> "Turn":
        """Begin with a chunk of so many events."""
        return Turn(self, events)

    def may_record(self) -> bool:
        """Whether there may be one more span in this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._made = second, 0
        self._made += 1
        if self._made <= self._cap:
            return True
        if self._left_out.is_due():
            log.warning("more joins are sampled than DOORWARD_TRACING_CAP lets through", spans_a_second=self._cap)
        return False

    def close(self) -> None:
        """Send what waits, as far as the collector takes it at once; blocks for ``CLOSE_SECONDS`` at most."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)


class Followed:
    """One record whose trace goes on.

    Attributes:
        headers: of what is said of it.
        span: its span; None where it gets none here.
    """

    __slots__ = ("headers", "span")

    def __init__(self, headers: list[Header], span: Span | None) -> None:
        self.headers = headers
        self.span = span


class Turn:
    """The spans of one chunk.

    Args:
        tracing: whose they are.
        events: in the chunk.
    """

    __slots__ = ("_answered", "_events", "_started", "_tracing")

    def __init__(self, tracing: Tracing, events: int) -> None:
        self._tracing = tracing
        self._events = events
        self._started = time.time_ns()
        self._answered: list[Span] = []

    def follow(self, record: Record) -> Followed | None:
        """What a record's answers carry; None where no trace goes on: most of them. Never raises."""
        trace = tracecontext.read(record.headers, record.value)
        tracing = self._tracing
        is_sampled = random() < tracing.ratio if trace is None else trace.is_sampled  # noqa: S311 - no secret
        if is_sampled and tracing.may_record():
            span = self._begin(record, trace)
            return Followed([*CONTENT_TYPE_HEADERS, *_written(span.get_span_context()).headers()], span)
        return None if trace is None else Followed([*CONTENT_TYPE_HEADERS, *trace.headers()], None)

    def _begin(self, record: Record, trace: TraceContext | None) -> Span:
        return self._tracing.tracer.start_span(
            SPAN_NAME,
            # never the context in force: nothing else here makes spans, and a chunk has many parents
            context=Context() if trace is None else set_span_in_context(NonRecordingSpan(_parsed(trace)), Context()),
            kind=SpanKind.CONSUMER,
            attributes={  # named by OpenTelemetry's conventions for messaging
                "messaging.system": "kafka",
                "messaging.operation.name": "decide",
                "messaging.operation.type": "process",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
                "doorward.chunk.events": self._events,
            },
            start_time=self._started,
        )

    def answered(self, followed: Followed, said: DecisionEvent | None, fault: Fault | None) -> None:
        """Note what became of a record: its decision, the reason it is a dead letter for, or both.

        With neither, which is what a leave comes to, its span is forgotten.
        """
        span = followed.span
        if span is None or (said is None and fault is None):
            return
        if said is not None:
            data = said.data
            span.set_attributes(
                {
                    "doorward.verdict": data.verdict,
                    "doorward.cause": data.cause,
                    "doorward.policy_offset": data.policy_offset,
                    "doorward.geo_build": data.geo_build,
                }
            )
        if fault is not None:
            span.set_attribute("doorward.dead_letter", fault)
        if fault == "internal":
            span.set_status(Status(StatusCode.ERROR))
        self._answered.append(span)

    def acknowledged(self, *, deciding: float, writing: float) -> None:
        """End the spans: the brokers have all of the chunk; how many seconds it took to decide and to write."""
        decided = self._started + round(deciding * 1e9)
        written = decided + round(writing * 1e9)
        for span in self._answered:
            span.add_event("chunk decided", timestamp=decided)
            span.add_event("chunk acknowledged", timestamp=written)
            span.end(written)


def _parsed(trace: TraceContext) -> SpanContext:
    _, trace_id, span_id, flags = trace.traceparent.split(b"-")
    members = [member.partition("=") for member in trace.tracestate.decode().split(",") if member]
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState([(key, value) for key, _, value in members]),
    )


def _written(context: SpanContext) -> TraceContext:
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return TraceContext(parent.encode(), context.trace_state.to_header().encode())


# -- what OpenTelemetry has to complain of -----------------------------------------------------------------------


class _Seldom:
    """Says whether it is time for another line."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + SELDOM_SECONDS
        return True


class _Complaints(logging.Handler):
    """Makes one clear line of what the exporter and its queue log for each try and each span dropped."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(logging.WARNING)
        self._endpoint = endpoint
        self._seldom = _Seldom()

    def emit(self, record: logging.LogRecord) -> None:
        # Nothing but these two: other parts of OpenTelemetry repeat what a record's sender wrote.
        is_ours = record.name.startswith(("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"))
        if is_ours and self._seldom.is_due():
            log.warning(
                "traces are not taken and get lost; joins are decided as ever",
                endpoint=self._endpoint,
                problem=record.getMessage()[:300],
            )


def _complain_seldom(endpoint: str) -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers[:] = [_Complaints(endpoint)]
    logger.propagate = False
