# ruff: noqa: PT017  # what is refused is an answer here, and is looked at where it comes
"""What comes in records: events and their headers, plain JSON, addresses, times, rows of the session table."""

from __future__ import annotations

import ipaddress
import json
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.adapters import decisionlog
from streams.adapters.seal import KEY_BYTES, LostKey, Sealer
from streams.cli.decide import read_event
from streams.core import address, events, instants, status
from streams.core.address import BadAddress
from streams.core.events import JoinEvent
from streams.core.facts import Facts
from streams.core.sessions import Ended, Session
from streams.runtime import frames
from streams.wire import cloudevents, deadletter, sessionrecord, strictjson
from streams.wire.cloudevents import Header, Malformed
from tests.fuzz.engine import Target, corpus_of

EXAMPLES: Final = Path(__file__).parents[2] / "schemas" / "examples"
CANARY: Final = "203.0.113.77"
"""The address in the corpus that no message may repeat (charter C7)."""


def examples(*folders: str) -> list[bytes]:
    """Golden examples, by folder and name."""
    return [file.read_bytes() for folder in folders for file in sorted((EXAMPLES / folder).glob("*.json"))]


def record_of(data: bytes) -> tuple[list[Header], bytes | None]:
    """The headers and value in an input: ``name: value`` lines, an empty one, the value; without one there is none."""
    head, blank, value = data.partition(b"\n\n")
    found: list[Header] = []
    for line in head.split(b"\n") if head else ():
        name, colon, raw = line.partition(b": ")
        found.append((name.decode(errors="backslashreplace"), raw if colon else None))  # as runtime.lenient has them
    return found, value if blank else None


def record(data: bytes) -> None:
    """A record is an event, or a dead letter that says why: whatever its value and headers."""
    headers, value = record_of(data)
    try:
        event = cloudevents.decode(value, headers)
    except Malformed as exc:
        assert CANARY not in exc.detail or any(CANARY in name for name, _ in headers), "the message repeats a value"
        place: dict[str, Any] = {"topic": "joins", "partition": 3, "offset": 7, "version": "0"}
        letter = deadletter.headers(headers, exc.fault, exc.detail, **place)
        ours = [(name, raw) for name, raw in letter if name.startswith(deadletter.PREFIX)]
        assert ours[0] == ("doorward-reason", exc.fault.encode())
        assert len(ours) == 6, "a header of the record passes for one of ours"
        assert letter[:-6] == [each for each in headers if not each[0].startswith(deadletter.PREFIX)]
        key, kept = deadletter.stub(data, value, letter)
        assert len(kept) == 8
        assert key is None or len(key) <= deadletter.LONGEST_KEY
        return
    if isinstance(event, JoinEvent):
        assert event.data.role in events.Role.__args__  # type: ignore[attr-defined]  # a Literal has them
        with suppress(BadAddress):
            address.parse(event.data.address)
    assert value is not None
    if cloudevents._binary(headers) is None:
        assert cloudevents._decode_slowly(value) == event, "the quick way and the slow one differ"
    msgspec.json.encode(event)  # what is decoded can be said again


def bare(data: bytes) -> None:
    """A bare data object, offline."""
    try:
        found = cloudevents.decode_data(data)
    except Malformed as exc:
        assert CANARY not in exc.detail
    else:
        msgspec.json.encode(found)


def line(data: bytes) -> None:
    """A line given to ``doorward decide`` is an event or a dead letter, as a record would be."""
    with suppress(Malformed):
        msgspec.json.encode(read_event(data, 7, cloudevents.MAX_BYTES))


def decision(data: bytes) -> None:
    """A line of decisions, which reports read, is one, a dead letter or refused."""
    try:
        found = decisionlog.decode_line(data)
    except decisionlog.Unreadable:
        return
    assert found is None or found.id is not None


def _number(digits: str) -> float:
    return float(digits)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _by_stdlib(data: bytes) -> Any:
    """What the standard library makes of strict JSON. Raises ValueError; RecursionError where it gives up."""
    # As pairs, so that nothing is hidden by a key that stands twice.
    value = json.loads(data.decode(), parse_constant=_no_constant, parse_int=_number, object_pairs_hook=list)
    json.dumps(value, ensure_ascii=False).encode()  # lone surrogates
    return value


def strict(data: bytes) -> None:
    """Our own reader of JSON and the standard library's agree on what it is; what counts of it is not too deep."""
    depth: int | None
    try:
        depth = strictjson.inspect(data)
    except strictjson.NotJson:
        depth = None
    try:
        strictjson.check(data)
    except strictjson.NotJson:
        assert depth is None, "one of our own readers takes it"
    except strictjson.TooDeep:
        assert depth is not None, "one of our own readers refuses it"
        assert depth > strictjson.MAX_DEPTH, "it is not too deep"
    else:
        assert depth is not None, "one of our own readers refuses it"
        # A value that the same key's last one replaces is not counted by the quick reader (ruling 27).
        assert depth <= strictjson.MAX_DEPTH or strictjson.inspect(cloudevents._last_wins(data)) <= strictjson.MAX_DEPTH
    try:
        _by_stdlib(data)
    except RecursionError:
        return
    except ValueError:
        assert depth is None, "the standard library refuses it"
    else:
        assert depth is not None, "the standard library takes it"


def _theirs(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def literal(data: bytes) -> None:
    """An address is what ``ipaddress`` takes for one, but for zones (ruling 11), and is unwrapped as it would be."""
    text = data.decode(errors="replace")
    theirs = _theirs(text)
    try:
        packed = address.parse(text)
    except BadAddress as exc:
        assert theirs is None, "ipaddress takes it"
        assert len(text) < 4 or text not in str(exc), "the message repeats the address"
        return
    assert theirs is not None, "ipaddress refuses it"
    inside = None
    if isinstance(theirs, ipaddress.IPv6Address):
        nat64 = theirs in ipaddress.ip_network("64:ff9b::/96")
        inside = theirs.ipv4_mapped or (ipaddress.IPv4Address(theirs.packed[12:]) if nat64 else theirs.sixtofour)
    assert packed == (inside or theirs).packed
    assert address.parse_literal(address.text(packed)) == packed


def network(data: bytes) -> None:
    """A block is what ``ipaddress`` takes for one, written with its one prefix length."""
    text = data.decode(errors="replace")
    base, slash, digits = text.partition("/")
    theirs: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    if slash and digits == (digits.lstrip("0") or "0") and digits.isascii() and digits.isdigit() and "%" not in base:
        with suppress(ValueError):
            theirs = ipaddress.ip_network(text)
    try:
        first, last = address.parse_network(text)
    except BadAddress:
        assert theirs is None, "ipaddress takes it"
        return
    assert theirs is not None, "ipaddress refuses it"
    ends = (theirs.network_address.packed, theirs.broadcast_address.packed)
    if ends[0].startswith(bytes(10) + b"\xff\xff") and theirs.prefixlen >= 96:
        ends = (ends[0][12:], ends[1][12:])
    assert (first, last) == ends


def time(data: bytes) -> None:
    """A time is refused, or the instant that the standard library reads, rounded up; and comes back as it was said."""
    text = data.decode(errors="replace")
    try:
        found = instants.parse(text)
    except ValueError:
        return
    assert instants.parse(instants.render(found)) == found
    fraction = text[19:].lstrip(".").partition("+")[0].partition("-")[0].rstrip("Zz")
    plain = text[:10] + "T" + text[11:19] + text[19:].replace(f".{fraction}", "", 1).upper()
    if plain[17:19] == "60" or len(fraction) > 4000:  # which the standard library has no int for
        return
    try:
        whole = datetime.fromisoformat(plain)
        theirs = (whole - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) // timedelta(milliseconds=1)
    except OverflowError:
        return
    assert found == theirs + -(-int(fraction or "0") * 1000 // 10 ** len(fraction))


_KEY: Final = b"k"
_STAMPS: Final = Sealer([bytes(KEY_BYTES)])
_PACKED: Final = (bytes([192, 0, 2, 1]), bytes(range(16)))
_SEALED: Final = [_STAMPS.seal(packed, key) for packed in _PACKED for key in (_KEY, b"another")]
_GONE: Final = (7).to_bytes(8) + _STAMPS.stamp(frames.said(0, 7, _KEY, None))


class _Changelog(msgspec.Struct):
    value: bytes | None
    headers: list[Header]
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = _KEY


def row(data: bytes) -> None:
    """A row of the session table is a state, or refused; what is read can be written and is the same again.

    And nothing that a worker did not write bears its stamp.
    """
    record = _Changelog(data, [])
    framed = frames.unframe(record)
    assert framed is None or frames.is_genuine(_STAMPS, 0, record, framed) == (data in _STAMPED)
    gone = _Changelog(None, [(frames.NUMBER_HEADER, data[:8]), (frames.STAMP_HEADER, data[8:])])
    tombstone = frames.unframe(gone)
    assert (tombstone is None) == (len(data) < 8)
    assert tombstone is None or frames.is_genuine(_STAMPS, 0, gone, tombstone) == (data == _GONE)
    payload = data if framed is None or framed[1] is None else framed[1]
    try:
        state = sessionrecord.decode(payload)
    except sessionrecord.BadRecord:
        return
    assert isinstance(state, Session | Ended)
    assert sessionrecord.decode(sessionrecord.encode(state)) == state


def sealed(data: bytes) -> None:
    """A sealed address opens for its own participation, as it was sealed; nothing else does."""
    try:
        packed = _STAMPS.unseal(data, _KEY)
    except LostKey:
        return
    assert packed in _PACKED
    assert _STAMPS.seal(packed, _KEY) == data


def said(data: bytes) -> None:
    """An event of ``policies.status``, which workers and the command line read, is one or is refused."""
    try:
        event = status.decode(data)
    except msgspec.MsgspecError:
        return
    assert status.decode(status.encode(event)) == event


def _rows() -> list[bytes]:
    """Records as a worker writes them: no file could hold them readably."""
    fields: dict[str, Any] = {"account": "acme", "meeting": "m-1", "participation": "p-1", "role": "guest"}
    fields |= {"stage": "live", "facts": Facts(None), "sealed": b"\x01" * 28, "verdict": 1, "reported": 0}
    fields |= {"cause": "join", "offset": 991, "policy_offset": 42, "geo_time": 1_781_654_400, "id": "01J"}
    fields |= {"decided_at": 1_795_253_400_123, "geo_build": "none", "sequence": 1, "time": None, "source": "/edge"}
    live = sessionrecord.encode(Session(**fields, seen_at=1, removed_at=0, reminders=0))
    ended = sessionrecord.encode(Ended(1, 2))
    stamped = [frames.frame(7, row, _STAMPS.stamp(frames.said(0, 7, _KEY, row))) for row in (live, ended)]
    return [live, ended, frames.frame(7, live), frames.frame(7, ended), (7).to_bytes(8), *stamped, _GONE]


_JSON: Final = (b'"meeting":', b'"data":{}', b'"type":"doorward.leave.v1"', b'"address":""', b'"role":null')
_HEADERS: Final = (
    b"ce_type: ",
    b"\nce_id: ",
    b"\nCE_SOURCE: x",
    b"content-type: application/cloudevents+json\n",
    *_JSON,
)
_ROWS: Final = _rows()
_STAMPED: Final = {each for each in _ROWS if each[0] == frames.STAMPED}
_MSGPACK: Final = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\x91" * 2000)
_ADDRESS: Final = (b"::", b"::ffff:", b"64:ff9b::", b"2002:", b".0", b"%1", b"0x")
_LENGTH: Final = (b"/", b"/0", b"/128", b"/32", b"/08", b"::ffff:")
_TIME: Final = (b"Z", b"+23:59", b"-00:00", b"T24:00:00", b":60", b".000000001", b"0001")
_EVENTS: Final = [*corpus_of("join"), *examples("join", "leave", "update")]
_STATUS: Final = examples("policy.accepted", "policy.applied", "policy.rejected", "trust.announced", "geo.announced")

TARGETS: Final = [
    Target("structured", lambda data: record(b"\n\n" + data), "json", _EVENTS, _JSON),
    Target("binary", record, "bytes", corpus_of("binary"), _HEADERS),
    Target("bare", bare, "json", corpus_of("bare"), _JSON),
    Target("line", line, "json", [*corpus_of("bare"), *corpus_of("join")], _JSON, share=0.5),
    Target("decision", decision, "json", examples("admit", "alert", "remove"), share=0.5),
    Target("strictjson", strict, "json", [*corpus_of("join"), *corpus_of("json")]),
    Target("address", literal, "text", corpus_of("address"), _ADDRESS),
    Target("network", network, "text", corpus_of("network"), _LENGTH),
    Target("time", time, "text", corpus_of("time"), _TIME),
    Target("sealed", sealed, "bytes", _SEALED, share=0.2),
    Target("row", row, "bytes", _ROWS, _MSGPACK),
    Target("status", said, "json", _STATUS, share=0.5),
]
