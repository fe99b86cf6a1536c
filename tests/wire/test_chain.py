"""The hash chain: the same for whoever works it out, and another as soon as anything that counts is."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from streams.wire import chain, jws
from streams.wire.chain import Head, LogRecord, Sealed
from tests.signing import AUDIENCE, key


def signed(name: str) -> bytes:
    value = {"scope": "account", "account": "acme", "name": name, "revision": 1, "default": "admit"}
    return jws.sign(value, [key("acme")], AUDIENCE)


A = LogRecord(0, 1_795_253_400_000, b"account/acme/a", signed("a"))
B = LogRecord(1, 1_795_253_400_001, b"account/acme/b", signed("b"))
TOMBSTONE = LogRecord(2, 1_795_253_400_002, b"account/acme/a", None)


def chained(*records: LogRecord) -> Head:
    head = Head()
    for each in records:
        linked = chain.link(each.offset, each.appended_at, chain.seal(each.key, each.value))
        head = chain.after(head, each.offset, linked)
    return head


def changed(record: LogRecord, **members: Any) -> LogRecord:
    told = {name: getattr(record, name) for name in ("offset", "appended_at", "key", "value", "stamped")}
    return LogRecord(**{**told, **members})


def test_it_is_what_the_module_says_it_is() -> None:
    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    assert A.key is not None
    assert A.value is not None
    where = (0).to_bytes(8) + A.appended_at.to_bytes(8)
    mark = sha(b"doorward-mark-1", sha(b"doorward-blind-1", A.value), A.key)
    first = sha(b"doorward-chain-1", bytes(32), sha(b"doorward-link-1", where, sha(A.value), mark))
    where = (2).to_bytes(8) + TOMBSTONE.appended_at.to_bytes(8)
    second = sha(b"doorward-chain-1", first, sha(b"doorward-place-1", where))
    assert chained(A) == Head(first, 0)
    assert chained(A, TOMBSTONE) == Head(second, 2)
    assert str(chained(A)) == f"{first.hex()}@0"


@pytest.mark.parametrize(
    "records",
    [
        (changed(A, value=signed("c")), B),
        (changed(A, key=b"account/acme/c"), B),
        (changed(A, appended_at=A.appended_at + 1), B),
        (changed(A, value=None), B),
        (changed(B, offset=0), changed(A, offset=1)),
        (A, changed(B, offset=2)),
        (B,),
        (A,),
        (A, B, TOMBSTONE),
        (TOMBSTONE, B),
    ],
)
def test_a_record_altered_moved_removed_or_put_in_changes_it(records: tuple[LogRecord, ...]) -> None:
    assert chained(*records).digest != chained(A, B).digest


def test_of_what_is_no_document_only_the_place_counts() -> None:
    places = [
        changed(TOMBSTONE, **members)
        for members in ({}, {"key": b"x"}, {"value": b"text"}, {"value": b"{}"}, {"key": None, "value": A.value})
    ]
    assert len({chained(A, B, each) for each in places}) == 1


def test_the_mark_of_a_key_cannot_be_worked_out_without_the_value() -> None:
    assert A.value is not None
    sealed = chain.seal(b"account/acme/a", A.value)
    assert sealed == Sealed(hashlib.sha256(A.value).digest(), sealed.mark) if sealed else False
    guesses = {hashlib.sha256(b"doorward-mark-1" + part + b"account/acme/a").digest() for part in (b"", sealed.digest)}
    assert sealed.mark not in guesses


@pytest.mark.parametrize("text", ["", "x@1", f"{'a' * 63}@1", f"{'A' * 64}@1", f"{'a' * 64}", f"{'a' * 64}@-2"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no head of a chain"):
        chain.parse_head(text)


def test_a_head_is_read_as_it_is_written() -> None:
    for head in (Head(), chained(A, B)):
        assert chain.parse_head(str(head)) == head
