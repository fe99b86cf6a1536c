"""Records of ``joins`` to events, and decisions to records: CloudEvents 1.0 over Kafka.

In: structured mode (``content-type: application/cloudevents+json``, or no header at all) and binary mode (``ce_``
headers, the value being the data), per the CloudEvents Kafka protocol binding 1.0.2 §3. Out: structured mode.

``decode`` is the hot path: a typed decode of a plain record, as a join first. Anything else, and anything that fails,
takes the slow way, which finds the reason in ruling 26's order. No message repeats a value of the event (charter C7).
"""

import json
import math
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec
import orjson

from streams.core.events import (
    JOIN,
    LEAVE,
    UPDATE,
    DecisionEvent,
    Event,
    JoinData,
    JoinEvent,
    LeaveData,
    LeaveEvent,
    NonEmpty,
    Time,
    normalised,
)
from streams.wire import strictjson

Header: TypeAlias = tuple[str, bytes | None]
Fault: TypeAlias = Literal[
    "not_json", "too_deep", "too_large", "schema", "bad_address", "key_mismatch", "account_mismatch", "unknown_type",
    "internal",
]  # fmt: skip
"""Why a record is a dead letter (design §7)."""

CONTENT_TYPE: Final = "application/cloudevents+json"
CONTENT_TYPE_HEADERS: Final[list[Header]] = [("content-type", CONTENT_TYPE.encode())]
MAX_BYTES: Final = 1024 * 1024
"""The default greatest size of a record's value."""


_TYPE_BEFORE: Final = 128
"""Bytes of a record in which its type nearly always stands."""


class Malformed(Exception):
    """A record that is no event we take.

    Attributes:
        fault: the dead letter's reason.
        detail: one line for people, without any value of the event.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


class _Envelope(msgspec.Struct):
    """The attributes that are checked before the type is."""

    specversion: Literal["1.0"]
    type: NonEmpty
    source: NonEmpty
    id: NonEmpty
    time: Time | None = None


_join_event = msgspec.json.Decoder(JoinEvent).decode
_leave_event = msgspec.json.Decoder(LeaveEvent).decode
_envelope = msgspec.json.Decoder(_Envelope).decode
_join_data = msgspec.json.Decoder(JoinData).decode
_leave_data = msgspec.json.Decoder(LeaveData).decode
_encoder = msgspec.json.Encoder()


def decode(value: bytes | None, headers: Iterable[Header] = (), *, max_bytes: int = MAX_BYTES) -> Event:
    """Decode one record's value and headers.

    Raises:
        Malformed: with the first fault in the order of ruling 26, as far as the value and headers go.
    """
    if value is None:
        raise Malformed("not_json", "the record has no value")
    if len(value) > max_bytes:
        raise Malformed("too_large", f"{len(value)} bytes, at most {max_bytes} are accepted")
    if headers and (envelope := _binary(headers)) is not None:
        return _decode_binary(envelope, value)
    if strictjson.is_plain(value):
        try:
            if value.find(b".leave.", 0, _TYPE_BEFORE) >= 0:  # only a guess: whatever does not fit goes the slow way
                return _leave_event(value)
            event = _join_event(value)
        except msgspec.MsgspecError:
            return _decode_slowly(value)
        normalised(event.data)
        return event
    return _decode_slowly(value)


def _decode_slowly(value: bytes) -> Event:
    _check_json(value)
    value = _last_wins(value)
    try:
        envelope = _envelope(value)
        if envelope.type in (JOIN, UPDATE):
            event = _join_event(value)
            normalised(event.data)
            return event
        if envelope.type == LEAVE:
            return _leave_event(value)
    except msgspec.ValidationError as exc:
        raise Malformed("schema", _without_values(exc)) from None
    raise Malformed("unknown_type", "not a join, update or leave of version 1")


def decode_data(value: bytes, *, max_bytes: int = MAX_BYTES) -> JoinData:
    """Decode a bare ``data`` object (``doorward decide`` takes these). Raises Malformed."""
    if len(value) > max_bytes:
        raise Malformed("too_large", f"{len(value)} bytes, at most {max_bytes} are accepted")
    _check_json(value)
    try:
        return normalised(_join_data(_last_wins(value)))
    except msgspec.ValidationError as exc:
        raise Malformed("schema", _without_values(exc)) from None


def encode(decision: DecisionEvent) -> bytes:
    """A decision as the value of a structured-mode record."""
    return _encoder.encode(decision)


# -- binary mode -------------------------------------------------------------------------------------------------


def _binary(headers: Iterable[Header]) -> dict[str, bytes] | None:
    """The envelope in ``ce_`` headers, still as bytes, or None in structured mode."""
    found: dict[str, bytes] = {}
    for name, raw in headers:
        lower = name.lower()
        if lower == "content-type" and raw is not None and raw.lower().startswith(CONTENT_TYPE.encode()):
            return None
        if lower.startswith("ce_") and raw is not None:
            found[lower[3:]] = raw
    return found or None


def _decode_binary(attributes: dict[str, bytes], value: bytes) -> Event:
    _check_json(value)
    value = _last_wins(value)
    try:
        envelope = msgspec.convert({name: _text(name, raw) for name, raw in attributes.items()}, _Envelope)
        if envelope.type in (JOIN, UPDATE):
            data = normalised(_join_data(value))
            type_: Literal["doorward.join.v1", "doorward.update.v1"] = JOIN if envelope.type == JOIN else UPDATE
            return JoinEvent("1.0", type_, envelope.source, envelope.id, data, envelope.time)
        if envelope.type == LEAVE:
            return LeaveEvent("1.0", LEAVE, envelope.source, envelope.id, _leave_data(value), envelope.time)
    except msgspec.ValidationError as exc:
        raise Malformed("schema", _without_values(exc)) from None
    raise Malformed("unknown_type", "not a join, update or leave of version 1")


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("schema", f"header ce_{name} is not UTF-8") from None


# -- shared ------------------------------------------------------------------------------------------------------


def _check_json(value: bytes) -> None:
    try:
        strictjson.check(value)
    except strictjson.NotJson as exc:
        raise Malformed("not_json", str(exc)) from None
    except strictjson.TooDeep as exc:
        raise Malformed("too_deep", str(exc)) from None


def _last_wins(value: bytes) -> bytes:
    """Rewrite JSON that has been checked so that of duplicate keys only the last stands (ruling 27)."""
    try:
        return orjson.dumps(orjson.loads(value))
    except (
        orjson.JSONDecodeError
    ):  # a number beyond a double: an empty list stands for it, which no field of ours takes
        return json.dumps(json.loads(value, parse_float=_double, parse_int=_double)).encode()


def _double(number: str) -> int | float | list[object]:
    if len(number) < 20 and number.lstrip("-").isdigit():
        return int(number)
    double = float(number)
    return double if math.isfinite(double) else []


def _without_values(error: msgspec.ValidationError) -> str:
    message = str(error)
    if not message.startswith("Invalid enum value"):
        return message  # msgspec's other messages name types and limits only
    return f"Invalid value - at `{message.rpartition(' - at `')[2]}"
