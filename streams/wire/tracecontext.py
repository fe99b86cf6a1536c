"""W3C Trace Context of a record: the trace it belongs to, and the headers that carry that on. No OpenTelemetry here.

It stands in the Kafka headers ``traceparent`` and ``tracestate``, where tracing clients put it, or in the attributes
of the same names that CloudEvents' distributed-tracing extension defines: as ``ce_`` headers in binary mode, in the
envelope in structured mode. A header of the record is the nearer hop and wins.

Whoever writes ``joins`` writes these, so they are read strictly and never complained of: what is malformed, too long or
there twice is as if it were absent (Trace Context §3.2.2, §3.3.1). A ``tracestate`` goes on into other topics and to a
collector; one with something like an address in it stays behind (charter C7).
"""

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from streams.wire.cloudevents import Header

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
LONGEST: Final = 512
"""Bytes of either that are looked at; what a tracestate must at least be allowed (Trace Context §3.3.1.5)."""
MOST_MEMBERS: Final = 32

_IDS: Final = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_PARENT: Final = re.compile(b"00" + _IDS)
_LATER_PARENT: Final = re.compile(rb"(?!00|ff)[0-9a-f]{2}(" + _IDS + rb")(-.*)?")
_MEMBER: Final = re.compile(
    rb"([a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_LIKE_AN_ADDRESS: Final = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:")


class TraceContext(NamedTuple):
    """The trace a record belongs to.

    Attributes:
        traceparent: valid, in the form of version 00.
        tracestate: valid; empty without one.
    """

    traceparent: bytes
    tracestate: bytes

    @property
    def is_sampled(self) -> bool:
        """Whether who sent it records it."""
        return self.traceparent[-1] in b"13579bdf"

    def headers(self) -> list[Header]:
        """The headers that carry it on."""
        parent: Header = (TRACEPARENT, self.traceparent)
        return [parent, (TRACESTATE, self.tracestate)] if self.tracestate else [parent]


class _Extension(msgspec.Struct):
    """What CloudEvents' distributed-tracing extension adds to an envelope."""

    traceparent: str | None = None
    tracestate: str | None = None


_extension = msgspec.json.Decoder(_Extension).decode


def read(headers: Collection[Header], value: bytes | None) -> TraceContext | None:
    """The trace of one record; None for one that belongs to none. Never raises."""
    if headers:
        parents, states, is_binary = [], [], False
        for name, raw in headers:
            if name == TRACEPARENT:
                parents.append(raw)
            elif name == TRACESTATE:
                states.append(raw)
            elif name.startswith("ce_"):
                is_binary = True
        if parents:
            return _context(parents, states)
        if is_binary:
            attributes = [(name[3:], raw) for name, raw in headers if name.startswith("ce_trace")]
            return read(attributes, None)
    return _in_envelope(value) if value is not None and b'"traceparent"' in value else None


def _in_envelope(value: bytes) -> TraceContext | None:
    try:
        extension = _extension(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):  # the decoder of events says what is wrong with it
        return None
    if extension.traceparent is None:
        return None
    states = [] if extension.tracestate is None else [extension.tracestate.encode()]
    return _context([extension.traceparent.encode()], states)


def _context(parents: Sequence[bytes | None], states: Sequence[bytes | None]) -> TraceContext | None:
    parent = parents[0]
    if len(parents) != 1 or parent is None or len(parent) > LONGEST:
        return None
    if not _PARENT.fullmatch(parent):
        matched = _LATER_PARENT.fullmatch(parent)
        if matched is None:
            return None
        parent = b"00" + matched[1]
    return TraceContext(parent, _state(states) if states else b"")


def _state(states: Sequence[bytes | None]) -> bytes:
    """A valid tracestate, or nothing."""
    state = b",".join(state for state in states if state is not None)
    if len(state) > LONGEST or _LIKE_AN_ADDRESS.search(state):
        return b""
    members = [member for part in state.split(b",") if (member := part.strip(b" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {matched[1] for matched in matches if matched is not None}
    return b",".join(members) if len(keys) == len(members) <= MOST_MEMBERS else b""
