"""People with keys, for tests of signed documents: each holder's keys are made once and are the same in every test."""

from __future__ import annotations

from functools import cache
from typing import Any

from streams.wire import keys
from streams.wire.keys import PrivateKey
from streams.wire.trust import TrustSet, parse_trust, written

AUDIENCE = "doorward"
HELD = {
    "acme": ("acme", ["account/acme"]),
    "settings": ("settings-service", ["account/*"]),
    "ann": ("ann", ["service"]),
    "ann-2": ("ann", ["service"]),
    "bo": ("bo", ["service"]),
    "cleo": ("cleo", ["service"]),
}
"""Name to holder and scopes."""


@cache
def key(name: str) -> PrivateKey:
    made = keys.generate()
    return PrivateKey(name, made.key)


def entry(name: str, **changed: Any) -> dict[str, Any]:
    """A trust set's entry for a key, with members changed; ``None`` leaves one out."""
    holder, scopes = HELD.get(name, (name, [f"account/{name}"]))
    members = {**keys.public_jwk(key(name), holder, scopes), **changed}
    return {member: value for member, value in members.items() if value is not None}


def trusting(*entries: dict[str, Any] | str) -> TrustSet:
    """A trust set of entries, or of names from ``HELD``; of all of them without any."""
    return parse_trust(written([entry(e) if isinstance(e, str) else e for e in entries or HELD]))
