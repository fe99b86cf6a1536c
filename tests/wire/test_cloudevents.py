"""Records to events: the quick way equals the slow one, binary mode equals structured mode, faults come in order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.events import Event, JoinEvent, LeaveEvent
from streams.wire import cloudevents
from streams.wire.cloudevents import CONTENT_TYPE, Header, Malformed, decode, decode_data

PROPERTY = settings(deadline=None, max_examples=500)
DATA = {"meeting": "m-1", "account": "acme", "participation": "p-77", "address": "203.0.113.9"}
FULL = {**DATA, "role": "guest", "stage": "lobby", "sequence": 1}
EVENT = {
    "specversion": "1.0",
    "type": "doorward.join.v1",
    "source": "/edge/eu-1",
    "id": "01J",
    "time": "2026-11-21T09:30:00.123Z",
    "data": FULL,
}


def raw_of(value: Any, *, ascii_: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_).encode()


def but(value: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The value with fields replaced; ``...`` leaves one out."""
    return {key: item for key, item in (value | fields).items() if item is not ...}


def joined(**fields: Any) -> dict[str, Any]:
    return EVENT | {"data": but(FULL, **fields)}


def outcome(decoded: Any) -> Event | tuple[str, str]:
    try:
        return decoded()
    except Malformed as exc:
        return exc.fault, exc.detail


def fault(value: bytes | None, headers: list[Header] = []) -> str | None:  # noqa: B006 nobody changes it
    found = outcome(lambda: decode(value, headers))
    return found[0] if isinstance(found, tuple) else None


# -- what is taken -------------------------------------------------------------------------------------------------


def test_a_join_as_the_design_shows_it() -> None:
    event = decode(raw_of(EVENT))
    assert isinstance(event, JoinEvent)
    assert (event.type, event.source, event.id, event.data.role, event.data.stage, event.data.sequence) == (
        "doorward.join.v1", "/edge/eu-1", "01J", "guest", "lobby", 1,
    )  # fmt: skip


def test_an_update_and_a_leave() -> None:
    assert isinstance(decode(raw_of(EVENT | {"type": "doorward.update.v1"})), JoinEvent)
    left = decode(raw_of(EVENT | {"type": "doorward.leave.v1", "data": but(DATA, address=...)}))
    assert isinstance(left, LeaveEvent)
    assert left.data.participation == "p-77"


@pytest.mark.parametrize("optional", ["role", "stage", "sequence"])
def test_null_counts_as_absent(optional: str) -> None:
    assert decode(raw_of(joined(**{optional: None}))) == decode(raw_of(joined(**{optional: ...})))


def test_a_null_time_counts_as_absent() -> None:
    assert decode(raw_of(EVENT | {"time": None})) == decode(raw_of(but(EVENT, time=...)))


@pytest.mark.parametrize("value", ["", "nonsense", "fe80::1%eth0"])
def test_an_address_that_is_none_is_for_the_decider_to_say(value: str) -> None:
    event = decode(raw_of(joined(address=value)))
    assert isinstance(event, JoinEvent)
    assert event.data.address == value


DUPLICATES = [
    (b'{"id":"first",', b"01J"),
    (b'{"id":5,', b"01J"),
    (b'{"data":{"meeting":"other"},', b"01J"),
    (b'{"data":null,"type":"doorward.leave.v1",', b"01J"),
]


@pytest.mark.parametrize("start", [start for start, _ in DUPLICATES])
def test_of_duplicate_keys_the_last_wins(start: bytes) -> None:
    assert decode(start + raw_of(EVENT)[1:]) == decode(raw_of(EVENT))


def test_of_duplicate_keys_the_last_wins_beside_a_number_beyond_a_double() -> None:
    assert decode(b'{"x":1e999,"id":5,' + raw_of(EVENT)[1:]) == decode(raw_of(EVENT))


# -- the quick way and the slow ------------------------------------------------------------------------------------

words = st.sampled_from(
    ["", "m-1", "1.0", "host", "live", "doorward.join.v1", "2026-11-21T09:30:00Z", "203.0.113.9", "é", "\0"]
)
texts = words | st.text(max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
names = st.sampled_from([*EVENT, *FULL, "extra"]) | texts


def dumped(pairs: Any) -> str:
    """JSON of nested lists of pairs: unlike a dict they can say a key twice."""
    return (
        "{"
        + ",".join(f"{json.dumps(k)}:{dumped(v) if isinstance(v, tuple) else json.dumps(v)}" for k, v in pairs)
        + "}"
    )


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """An event with fields added, said twice or replaced, in any order; perhaps a byte of it changed."""

    def meddled(pairs: list[tuple[str, Any]]) -> tuple[Any, ...]:
        for _ in range(draw(st.integers(0, 2))):
            pairs.insert(draw(st.integers(0, len(pairs))), (draw(names), draw(json_values)))
        return tuple(pairs)

    data = meddled(list(draw(st.sampled_from([FULL, DATA])).items()))
    whole = meddled([*((key, value) for key, value in EVENT.items() if key != "data"), ("data", data)])
    raw = dumped(whole).encode(errors="surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(raw)))
        new = draw(st.sampled_from([b"", *(bytes([c]) for c in b'[]{},:"\\0159.eN\n\x00\x7f\xff')]))
        raw = raw[:at] + new + raw[at + draw(st.integers(0, 1)) :]
    return raw


@PROPERTY
@given(records())
@example(raw_of(EVENT))
@example(raw_of(joined(role=None)))
@example(raw_of(EVENT)[:-1] + b',"x":01}')
@example(raw_of(EVENT)[:-1] + b',"x":"\n"}')
@example(raw_of(EVENT)[:-1] + b',"x":"\\q"}')
@example(raw_of(EVENT)[:-1] + b',"x":[1,]}')
@example(raw_of(EVENT)[:-1] + b',"x":-}')
@example(raw_of(EVENT)[:-1] + b',"x":1.e5}')
@example(raw_of(EVENT)[:-1] + b',"id":"last"}')
@example(raw_of(EVENT)[:-1] + b"}x")
def test_the_quick_way_is_the_slow_one(raw: bytes) -> None:
    assert outcome(lambda: decode(raw)) == outcome(lambda: cloudevents._decode_slowly(raw))


@settings(deadline=None)
@given(
    st.binary(max_size=40)
    | st.text(max_size=40).map(lambda t: t.encode(errors="surrogatepass"))
    | json_values.map(lambda v: json.dumps(v).encode())
)
def test_whatever_the_bytes_there_is_an_event_or_a_fault(raw: bytes) -> None:
    for headers in ([], [("ce_id", raw)], binary(EVENT)[1]):
        found = outcome(lambda: decode(raw, headers))  # noqa: B023 called at once
        assert isinstance(found, tuple)
    assert not isinstance(outcome(lambda: decode_data(raw)), JoinEvent)


# -- binary mode (CloudEvents Kafka binding 1.0.2, 3.2) ----------------------------------------------------------------


def binary(event: dict[str, Any], *more: Header) -> tuple[bytes, list[Header]]:
    """The same event in binary mode: attributes as UTF-8 in ce_ headers, the data as the value."""
    headers: list[Header] = [(f"ce_{key}", str(value).encode()) for key, value in event.items() if key != "data"]
    return raw_of(event.get("data")), [("content-type", b"application/json"), *headers, *more]


events = st.builds(
    lambda type_, source, id_, data: EVENT | {"type": type_, "source": source, "id": id_, "data": data},
    st.sampled_from(["doorward.join.v1", "doorward.update.v1", "doorward.leave.v1", "doorward.join.v2", ""]),
    texts,
    texts,
    st.sampled_from([FULL, DATA, but(DATA, meeting=...), but(FULL, role="admin"), {}]) | json_values,
)


@PROPERTY
@given(events.filter(lambda e: "\ud800" not in str(e)))
def test_binary_mode_is_structured_mode(event: dict[str, Any]) -> None:
    try:
        value, headers = binary(event)
    except UnicodeEncodeError:  # a lone surrogate is no header
        return
    structured, found = outcome(lambda: decode(raw_of(event, ascii_=True))), outcome(lambda: decode(value, headers))
    if isinstance(structured, tuple):
        assert isinstance(found, tuple)
        assert found[0] == structured[0]
    else:
        assert found == structured


@pytest.mark.parametrize("content_type", [CONTENT_TYPE, f"{CONTENT_TYPE}; charset=utf-8", CONTENT_TYPE.upper()])
def test_the_content_type_decides_for_structured_mode(content_type: str) -> None:
    headers: list[Header] = [("ce_id", b"other"), ("Content-Type", content_type.encode())]
    for order in (headers, headers[::-1]):
        assert decode(raw_of(EVENT), order) == decode(raw_of(EVENT))


def test_other_headers_leave_a_record_structured() -> None:
    assert decode(raw_of(EVENT), [("traceparent", b"00-"), ("content-type", None), ("ce_id", None)]) == decode(
        raw_of(EVENT)
    )


def test_header_names_are_case_insensitive_and_extensions_are_ignored() -> None:
    value, headers = binary(EVENT, ("ce_extension", b"x"))
    assert decode(value, [(name.upper(), raw) for name, raw in headers]) == decode(raw_of(EVENT))


@pytest.mark.parametrize("name", ["specversion", "type", "source", "id"])
def test_binary_mode_wants_every_required_attribute(name: str) -> None:
    value, headers = binary(but(EVENT, **{name: ...}))
    assert fault(value, headers) == "schema"
    value, headers = binary(EVENT | {name: ""})
    assert fault(value, headers) == "schema"


def test_a_header_that_is_not_utf8() -> None:
    value, headers = binary(EVENT, ("ce_extension", b"\xff"))
    assert fault(value, headers) == "schema"


@pytest.mark.parametrize(("value", "wanted"), [(b"nope", "not_json"), (b"[" * 65 + b"]" * 65, "too_deep")])
def test_json_and_depth_come_before_a_header_that_is_not_utf8(value: bytes, wanted: str) -> None:
    assert fault(value, [*binary(EVENT)[1], ("ce_extension", b"\xff")]) == wanted


def test_a_structured_record_may_carry_any_header_in_any_order() -> None:
    headers: list[Header] = [("ce_extension", b"\xff"), ("content-type", CONTENT_TYPE.encode())]
    assert decode(raw_of(EVENT), headers[::-1]) == decode(raw_of(EVENT), headers)


# -- faults, in the order of ruling 26 -----------------------------------------------------------------------------

DEEP = b"[" * 65 + b"]" * 65


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(None, "not_json", id="no value"),
        pytest.param(b"", "not_json", id="empty"),
        pytest.param(b"x" * (2**20 + 1), "too_large", id="size before JSON"),
        pytest.param(b'"' + b"x" * (2**20 - 2) + b'"', "schema", id="a mebibyte is not too large"),
        pytest.param(DEEP + b"x", "not_json", id="JSON before depth"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, "too_deep", id="10,000 deep"),
        pytest.param(b'{"specversion":"2.0","data":' + DEEP + b"}", "too_deep", id="depth before envelope"),
        pytest.param(b"[]", "schema", id="a list"),
        pytest.param(b"null", "schema", id="null"),
        pytest.param(b"1e999", "schema", id="a number beyond a double"),
        pytest.param(raw_of([EVENT]), "schema", id="a batch"),
        pytest.param(raw_of(EVENT | {"specversion": "0.3"}), "schema", id="another specversion"),
        pytest.param(raw_of(EVENT | {"specversion": "2.0", "type": "x"}), "schema", id="specversion before type"),
        pytest.param(raw_of(but(EVENT, id=..., type="x")), "schema", id="envelope before type"),
        pytest.param(raw_of(EVENT | {"id": "", "type": "x"}), "schema", id="an empty id"),
        pytest.param(raw_of(EVENT | {"time": "yesterday", "type": "x"}), "schema", id="time before type"),
        pytest.param(raw_of(EVENT | {"time": "2026-11-21T09:30:00"}), "schema", id="a time without offset"),
        pytest.param(raw_of(EVENT | {"type": None}), "schema", id="no type"),
        pytest.param(
            raw_of(EVENT | {"type": "doorward.join.v2", "data": 5}), "unknown_type", id="type before its data"
        ),
        pytest.param(raw_of(but(EVENT, type="x", data=...)), "unknown_type", id="type before data is missed"),
        pytest.param(raw_of(EVENT | {"type": "doorward.remove.v1"}), "unknown_type", id="a type of ours, going out"),
        pytest.param(raw_of(but(EVENT, data=...)), "schema", id="no data"),
        pytest.param(raw_of(EVENT | {"data": None}), "schema", id="null data"),
        pytest.param(raw_of(joined(address=...)), "schema", id="no address"),
        pytest.param(raw_of(joined(address=None)), "schema", id="null address"),
        pytest.param(raw_of(joined(meeting="")), "schema", id="an empty meeting"),
        pytest.param(raw_of(joined(meeting="x" * 129)), "schema", id="a long meeting"),
        pytest.param(raw_of(joined(role="admin")), "schema", id="an unknown role"),
        pytest.param(raw_of(joined(stage="gone")), "schema", id="an unknown stage"),
        pytest.param(raw_of(joined(sequence=1.5)), "schema", id="half a sequence"),
        pytest.param(raw_of(joined(sequence=2**63)), "schema", id="a sequence too great"),
        pytest.param(raw_of(joined(sequence="1")), "schema", id="a sequence as text"),
        pytest.param(raw_of(joined(x=float("nan"))), "not_json", id="NaN in a field nobody reads"),
        pytest.param(
            raw_of(joined(x="\ud800"), ascii_=True), "not_json", id="a lone surrogate in a field nobody reads"
        ),
        pytest.param(b"\xef\xbb\xbf" + raw_of(EVENT), "not_json", id="a byte order mark"),
        pytest.param(raw_of(joined(x="?")).replace(b"?", b"\xff"), "not_json", id="bytes that are no UTF-8"),
    ],
)
def test_the_first_fault_is_the_reason(value: bytes | None, wanted: str) -> None:
    assert fault(value) == wanted


def test_the_greatest_size_is_a_setting() -> None:
    raw = raw_of(EVENT)
    assert decode(raw, max_bytes=len(raw))
    for small in (lambda: decode(raw, max_bytes=len(raw) - 1), lambda: decode_data(raw_of(FULL), max_bytes=9)):
        found = outcome(small)
        assert isinstance(found, tuple)
        assert found[0] == "too_large"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(b"x", "not_json"), (DEEP, "too_deep"), (b"[]", "schema"), (raw_of(but(DATA, meeting=...)), "schema")],
)
def test_a_bare_data_object_has_faults_too(value: bytes, wanted: str) -> None:
    found = outcome(lambda: decode_data(value))
    assert isinstance(found, tuple)
    assert found[0] == wanted


def test_a_bare_data_object() -> None:
    event = decode(raw_of(EVENT))
    assert isinstance(event, JoinEvent)
    assert decode_data(b'{"meeting":7,' + raw_of(FULL)[1:]) == event.data


# -- charter C7: no detail repeats a value -------------------------------------------------------------------------

CANARY = "203.0.113.77"


@pytest.mark.parametrize("form", [CANARY, [CANARY], {CANARY: CANARY}, f"{CANARY}\ud800"])
@pytest.mark.parametrize("field", [*EVENT, *FULL])
def test_no_detail_repeats_a_value(field: str, form: Any) -> None:
    event = EVENT | {field: form} if field in EVENT else joined(**{field: form})
    values: list[tuple[bytes, list[Header]]] = [(raw_of(event, ascii_=True), [])]
    values += [(raw_of(event, ascii_=True)[:-1], [])]
    if not isinstance(form, str) or form == CANARY:
        values.append(binary(event))
    for value, headers in values:
        found = outcome(lambda: decode(value, headers))  # noqa: B023 called at once
        if isinstance(found, tuple):
            assert CANARY not in found[1]
    found = outcome(lambda: decode_data(raw_of(event["data"], ascii_=True)))  # type: ignore[arg-type]
    assert not isinstance(found, tuple) or CANARY not in found[1]


@pytest.mark.parametrize("field", ["role", "stage", "specversion"])
def test_no_detail_repeats_a_value_dressed_as_a_path(field: str) -> None:
    form = f"x - at `{CANARY}"
    event = EVENT | {field: form} if field in EVENT else joined(**{field: form})
    found = outcome(lambda: decode(raw_of(event)))
    assert isinstance(found, tuple)
    assert CANARY not in found[1]
