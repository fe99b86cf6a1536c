"""Session records come back as they went; anything else is refused as one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.events import Cause, Role, Stage
from streams.core.sessions import Ended, Session
from streams.wire import sessionrecord
from streams.wire.sessionrecord import BadRecord, decode, encode
from tests.samples import NOON, PROPERTY, facts, located

integers = st.integers(-(2**63), 2**63 - 1)
sessions = st.builds(
    Session,
    account=st.text(min_size=1),
    meeting=st.text(min_size=1),
    participation=st.text(min_size=1),
    role=st.sampled_from(get_args(Role)),
    stage=st.sampled_from(get_args(Stage)),
    facts=facts.map(lambda known: msgspec.structs.replace(known, address=None)),
    sealed=st.none() | st.binary(max_size=40),
    verdict=st.integers(0, 2),
    reported=st.integers(0, 2),
    cause=st.sampled_from(get_args(Cause)),
    offset=integers,
    policy_offset=integers,
    geo_time=integers,
    decided_at=integers,
    geo_build=st.text(),
    sequence=st.none() | integers,
    time=st.none() | integers,
    id=st.text(min_size=1),
    source=st.text(min_size=1),
    seen_at=integers,
    removed_at=integers,
    reminders=st.integers(0, 2**31),
)
states: st.SearchStrategy[Session | Ended] = sessions | st.builds(Ended, integers, integers)
SESSION = Session(
    account="acme",
    meeting="m-1",
    participation="p-1",
    role="guest",
    stage="lobby",
    facts=located(country="US", subdivision="US-CA", asn=7),
    sealed=bytes(range(37)),
    verdict=2,
    reported=1,
    cause="policy",
    offset=991,
    policy_offset=42,
    geo_time=1_781_654_400,
    decided_at=NOON,
    geo_build="country-2026-06-17-1a2b3c4d",
    sequence=None,
    time=NOON - 1,
    id="01J",
    source="/edge/eu-1",
    seen_at=NOON,
    removed_at=NOON,
    reminders=3,
)


@PROPERTY
@given(states)
def test_a_state_comes_back_as_it_went(state: Session | Ended) -> None:
    record = encode(state)
    found = decode(record)
    assert (type(found), found) == (type(state), state)
    assert encode(found) == record


def test_the_bytes_of_version_1() -> None:
    """What a worker of this version wrote, one of this version must read: changing this calls for another version."""
    assert encode(Ended(7, 300)) == b"\x01E\x92\x07\xcd\x01\x2c"
    record = encode(SESSION)
    assert record[:2] == b"\x01L"
    assert msgspec.msgpack.decode(record[2:]) == [
        *("acme", "m-1", "p-1", "guest", "lobby"),
        [None, "US", "US-CA", "NA", 7, 248, 0],  # records without the last, the doubts, are read as well
        *(bytes(range(37)), 2, 1, "policy", 991, 42, 1_781_654_400, NOON, "country-2026-06-17-1a2b3c4d"),
        *(None, NOON - 1, "01J", "/edge/eu-1", NOON, NOON, 3, None),
    ]


def test_sources_and_builds_are_not_kept_once_for_each_session() -> None:
    one, two = decode(encode(SESSION)), decode(encode(SESSION))
    assert isinstance(one, Session)
    assert isinstance(two, Session)
    assert one is not two
    assert (one.source is two.source, one.geo_build is two.geo_build) == (True, True)


@PROPERTY
@given(st.binary(max_size=80) | st.binary(max_size=80).flatmap(lambda b: st.sampled_from([b"\x01L" + b, b"\x01E" + b])))
def test_bytes_that_are_no_record_raise_only_that(record: bytes) -> None:
    try:
        state = decode(record)
    except BadRecord:
        return
    assert isinstance(state, Session | Ended)


@PROPERTY
@given(states, st.data())
def test_a_record_that_was_cut_or_changed_raises_only_that(state: Session | Ended, data: st.DataObject) -> None:
    record = encode(state)
    with pytest.raises(BadRecord):
        decode(record[: data.draw(st.integers(0, len(record) - 1))])
    at = data.draw(st.integers(0, len(record) - 1))
    changed = record[:at] + bytes([data.draw(st.integers(0, 255))]) + record[at + 1 :]
    try:
        found = decode(changed)
    except BadRecord:
        return
    assert type(found) is type(state)


@pytest.mark.parametrize(
    "record",
    [encode(SESSION).replace(b"acme", b"acm\xff"), b"\x01E\x93\x01\x02" + 10_000 * b"\x91" + b"\xc0"],
    ids=["not UTF-8", "too deep"],
)
def test_what_only_its_text_or_depth_shows_to_be_none_is_refused(record: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(record)


def test_anything_after_a_record_is_refused() -> None:
    for state in (SESSION, Ended(1, 2)):
        with pytest.raises(BadRecord):
            decode(encode(state) + b"\xc0")


@pytest.mark.parametrize("version", [0, 2, 255])
@pytest.mark.parametrize("state", [SESSION, Ended(1, 2)], ids=["live", "ended"])
def test_another_version_is_refused(version: int, state: Session | Ended) -> None:
    assert encode(state)[0] == sessionrecord.VERSION == 1
    with pytest.raises(BadRecord, match="version and kind"):
        decode(bytes([version]) + encode(state)[1:])


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x01X\x92\x01\x02", b"L\x01"])
def test_another_kind_is_refused(record: bytes) -> None:
    with pytest.raises(BadRecord, match="version and kind"):
        decode(record)


@pytest.mark.parametrize(
    "change", [{"role": "owner"}, {"stage": "hall"}, {"cause": "whim"}, {"offset": "7"}, {"id": None}]
)
def test_a_session_that_none_can_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRecord):
        decode(encode(msgspec.structs.replace(SESSION, **change)))
