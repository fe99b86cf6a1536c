"""The hash chain over the policy log: one digest that stands for every record up to an offset.

    mark  = SHA-256("doorward-mark-1"  ‖ SHA-256("doorward-blind-1" ‖ value) ‖ key)
    link  = SHA-256("doorward-link-1"  ‖ offset ‖ append time ‖ SHA-256(value) ‖ mark)
    place = SHA-256("doorward-place-1" ‖ offset ‖ append time)
    head  = SHA-256("doorward-chain-1" ‖ head before ‖ link or place); before the first record 32 zero bytes

Offset and append time (ms since the epoch) are 8 bytes, signed, big-endian; every other part but the key has a fixed
length, and the key stands last.

A record in signed form is a link. The chain can then be published without what is private: of such a record its
digest and its mark are told. The mark blinds the key, which could be guessed, with the value, which ends in a
signature and could not. A record that is not in signed form (a tombstone, a text), or has no key, is no document to
any worker and has nothing that could not be guessed: the chain holds its place and not its bytes. Headers are not
covered.

What it proves: whoever kept an earlier head knows that up to its offset no record was altered, removed or put in,
and no append time changed, if the chain still leads through it. What it doesn't: a log rewritten from its start gives
a chain as good as any, unless an older head was kept where the rewriter could not reach it. Records missing before
the first one there is show as a gap, not as what they were. That a record was ever applied it does not say either.
"""

import hashlib
import re
from typing import Final

import msgspec

from streams.wire.jws import MAX_SIGNED, BadSignature, payload_of

_HEAD: Final = re.compile(r"([0-9a-f]{64})@(-1|[0-9]{1,18})", re.ASCII)


class LogRecord(msgspec.Struct, frozen=True):
    """One record of the policy log, as Kafka has it.

    Attributes:
        offset: where it stands.
        appended_at: its time stamp, ms since the epoch.
        key: its key.
        value: its value; None is a tombstone.
        stamped: whether the broker stamped it (LogAppendTime), not the producer.
    """

    offset: int
    appended_at: int
    key: bytes | None
    value: bytes | None
    stamped: bool = True


class Sealed(msgspec.Struct, frozen=True):
    """What the chain takes of a record in signed form: 32 bytes each.

    Attributes:
        digest: SHA-256 of its value.
        mark: its key, blinded with its value.
    """

    digest: bytes
    mark: bytes


class Head(msgspec.Struct, frozen=True):
    """A chain's digest after the record at an offset; written ``HEX@OFFSET``."""

    digest: bytes = bytes(32)
    offset: int = -1

    def __str__(self) -> str:
        return f"{self.digest.hex()}@{self.offset}"


def parse_head(text: str) -> Head:
    """Read a head as it is written. Raises ValueError."""
    match = _HEAD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no head of a chain: 64 hex digits, @ and an offset")
    return Head(bytes.fromhex(match[1]), int(match[2]))


def seal(key: bytes | None, value: bytes | None) -> Sealed | None:
    """What the chain takes of a record's key and value; None where it only takes its place."""
    if value is None or key is None:
        return None
    try:
        payload_of(value, MAX_SIGNED)  # not the deployment's limit: a head must be the same to every reader
    except BadSignature:
        return None
    blind = hashlib.sha256(b"doorward-blind-1" + value).digest()
    return Sealed(hashlib.sha256(value).digest(), hashlib.sha256(b"doorward-mark-1" + blind + key).digest())


def link(offset: int, appended_at: int, sealed: Sealed | None) -> bytes:
    """One record's part in the chain, 32 bytes."""
    where = offset.to_bytes(8, signed=True) + appended_at.to_bytes(8, signed=True)
    if sealed is None:
        return hashlib.sha256(b"doorward-place-1" + where).digest()
    return hashlib.sha256(b"doorward-link-1" + where + sealed.digest + sealed.mark).digest()


def after(head: Head, offset: int, linked: bytes) -> Head:
    """The chain one record further."""
    return Head(hashlib.sha256(b"doorward-chain-1" + head.digest + linked).digest(), offset)
