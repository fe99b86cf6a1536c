"""Private keys as files: a JWK (RFC 8037) with its ``kid``, for its holder's eyes only.

The ``kid`` is the key's RFC 7638 thumbprint: it names the key wherever it goes and needs no registry. What a key is
trusted for is not in its file but in the trust set (``streams.wire.trust``); ``public_jwk`` makes the entry.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from streams.core.policy import MAX_NAME
from streams.wire.documents import NotJson, Unreadable, read_bytes, strict_json


class KeyUnavailable(Exception):
    """No private key can be had from a file, or written to it. The message is one line that names the file."""


class PrivateKey(msgspec.Struct, frozen=True):
    """A key that signs, and the id the trust set knows it by. Its repr shows no private part."""

    kid: str
    key: OKPKey

    def __repr__(self) -> str:
        return f"PrivateKey({self.kid!r})"


def generate() -> PrivateKey:
    """A new Ed25519 key. Its id is no option of a command line: one in 64 would begin with a dash."""
    while True:
        key = OKPKey.generate_key("Ed25519")
        if not key.thumbprint().startswith("-"):
            return PrivateKey(key.thumbprint(), key)


def public_jwk(key: PrivateKey, holder: str, scopes: Sequence[str], *, on_behalf: bool = False) -> dict[str, Any]:
    """The key's entry in a trust set."""
    entry = {"kty": "OKP", "crv": "Ed25519", "x": key.key.as_dict(private=False)["x"], "kid": key.kid}
    entry |= {"alg": "Ed25519", "use": "sig", "holder": holder, "scopes": list(scopes)}
    return entry | {"on_behalf": True} if on_behalf else entry


def write_private(key: PrivateKey, path: str | Path) -> None:
    """Write a key where no file is yet. It is its owner's alone from the first instant, whatever the umask.

    Raises:
        KeyUnavailable: there is a file, or none can be made.
    """
    members = key.key.as_dict(private=True)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": members["x"], "d": members["d"], "kid": key.kid}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(jwk, stream)
            stream.write("\n")
    except FileExistsError:
        raise KeyUnavailable(f"{path} exists; a key is never overwritten") from None
    except OSError as exc:
        raise KeyUnavailable(f"{path} cannot be written: {exc.strerror}") from None


def read_private(path: str | Path) -> PrivateKey:
    """Read a key.

    Raises:
        KeyUnavailable: the file cannot be read, or holds no private Ed25519 key with a ``kid``.
    """
    data = read_bytes(path)
    if isinstance(data, Unreadable):
        raise KeyUnavailable(str(data))
    try:
        value = strict_json(data)
    except NotJson:
        value = None
    if not isinstance(value, dict) or (value.get("kty"), value.get("crv")) != ("OKP", "Ed25519") or "d" not in value:
        raise KeyUnavailable(f"{path} is no private Ed25519 key (a JWK with kty OKP, crv Ed25519, x, d and kid)")
    kid = value.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_NAME:
        raise KeyUnavailable(f"{path} has no kid of 1 to {MAX_NAME} characters")
    try:
        key = OKPKey.import_key({name: value[name] for name in ("kty", "crv", "x", "d")})
        whole = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": value["x"]})
        if not _belong(key, whole):
            raise ValueError
    except (JoseError, KeyError, ValueError, TypeError):
        raise KeyUnavailable(f"{path} has no readable key: x and d are not one pair") from None
    return PrivateKey(kid, key)


def _belong(private: OKPKey, public: OKPKey) -> bool:
    """Whether two halves are one pair; a signature by a torn one would verify nowhere."""
    derived = private.private_key
    return derived is not None and derived.public_key().public_bytes_raw() == public.public_key.public_bytes_raw()
