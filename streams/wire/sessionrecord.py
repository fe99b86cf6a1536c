"""Sessions to bytes and back: the rows of the session table and of its changelog.

A record is a byte for the format's version, a byte for what it holds, and the fields in order as a MessagePack array.
The key is the participation's subject, ``ACCOUNT/MEETING/PARTICIPATION`` percent-encoded. No record holds an address
but a sealed one (charter C7). A worker reads this version; the one before it there is none yet (design §11).
"""

from sys import intern
from typing import Final

import msgspec

from streams.core.sessions import Ended, Session

VERSION: Final = 1
_LIVE: Final = bytes([VERSION, ord("L")])
_ENDED: Final = bytes([VERSION, ord("E")])

_encode = msgspec.msgpack.Encoder().encode
_session = msgspec.msgpack.Decoder(Session).decode
_ended = msgspec.msgpack.Decoder(Ended).decode


class BadRecord(ValueError):
    """Bytes that are no record of a version this worker reads."""


def encode(state: Session | Ended) -> bytes:
    """The record of a participation's state."""
    return (_LIVE if isinstance(state, Session) else _ENDED) + _encode(state)


def decode(record: bytes) -> Session | Ended:
    """The state in a record.

    Raises:
        BadRecord: see there.
    """
    kind, body = record[:2], memoryview(record)[2:]
    try:
        if kind == _LIVE:
            session = _session(body)
            session.geo_build, session.source = intern(session.geo_build), intern(session.source)
            return session
        if kind == _ENDED:
            return _ended(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRecord(str(exc)) from None
    raise BadRecord(f"version and kind {kind!r}, not {_LIVE!r} or {_ENDED!r}")
