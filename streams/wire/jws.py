"""Signed documents: JWS General JSON Serialization (RFC 7515 §7.2.1) with Ed25519 keys, through joserfc.

    {"payload": BASE64URL(document), "signatures": [{"protected": BASE64URL(header), "signature": BASE64URL}, ...]}

The profile is narrow on purpose. Of every signature, known or not, the protected header holds exactly ``alg``
(``Ed25519``; the older name ``EdDSA`` is read too, never written), ``kid``, ``typ`` (``TYP``) and ``aud``, the
deployment's audience, so that what was signed for another purpose or deployment counts for nothing here. There is no
unprotected header and no other member anywhere: all that is not signed is refused rather than ignored, so that no two
readers can differ on what a record of the policy log says. ``crit``, ``b64``, ``jwk``, ``jku`` and ``x5c`` fall with
the rest.

- A signature by a kid that the trust set does not know, or has revoked by then, is passed over; at least one must
  count. Where none does the refusal is ``revoked`` if a revoked key signed, else ``untrusted``.
- A signature by a known kid that does not verify refuses the whole: somebody tampered.
- Two signatures by one kid count once. Whether two *holders* signed is the charter's question, not this module's.

joserfc signs. Verifying asks all that joserfc would ask, and more, of shapes, duplicate keys, headers, sizes and depth,
here and once a header; so each signature is then cryptography's to check, over what RFC 7515 §5.2 says is signed.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from joserfc import jws
from joserfc.jwk import GuestProtocol, OKPKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from streams.core.charter import Signer
from streams.core.policy import LIMITS, MAX_NAME
from streams.wire.documents import NotJson, strict_json
from streams.wire.keys import PrivateKey
from streams.wire.trust import ALGORITHMS, TrustedKey, TrustSet

TYP: Final = "doorward-policy+jws"
MAX_SIGNED: Final = 16 * 2**20
"""Bytes in a signed document that are looked at in any case; deployments set less (``core.policy.Limits``)."""
MAX_SIGNATURES: Final = 16
"""A service document needs two; each costs a verification."""
MAX_AUDIENCE: Final = 128
"""Characters of an audience."""
MAX_HEADER: Final = 8192
"""Characters of an encoded protected header: more than the longest audience and kid, escaped, come to."""
_HEADER: Final = frozenset(("alg", "kid", "typ", "aud"))
_STANDARD: Final = bytes.maketrans(b"-_+/", b"+/!!")
"""Base64url's alphabet to base64's, of which the two signs that base64url lacks become none."""


class BadSignature(Exception):
    """Bytes that are no signed document of this deployment.

    Attributes:
        code: stable: ``too-large``, ``not-jws``, ``header``, ``alg``, ``typ``, ``audience``, ``untrusted``,
            ``revoked``, ``signature`` or ``payload``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Verified(msgspec.Struct, frozen=True):
    """A document whose every known signature holds.

    Attributes:
        payload: the document as plain JSON values.
        payload_bytes: as they were signed.
        keys: the trusted keys that signed, each once, by kid.
        sha256: ``sha256:`` and the hex digest of the signed document's bytes as they stood in the record or file.
    """

    payload: dict[str, Any]
    payload_bytes: bytes
    keys: tuple[TrustedKey, ...]
    sha256: str

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Who signed, for the charter."""
        return tuple(key.signer for key in self.keys)


_REGISTRY: Final = JWSRegistry({"aud": HeaderParameter("Audience", "str", True)}, algorithms=ALGORITHMS[:1])


def digest_of(raw: bytes) -> str:
    """How a signed document is named in receipts and status events (ruling 36): ``sha256:`` and hex digits."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


# -- signing -----------------------------------------------------------------------------------------------------


def sign(
    document: Mapping[str, Any], keys: Sequence[PrivateKey], audience: str, *, max_bytes: int = LIMITS.signed
) -> bytes:
    """Sign a document.

    Args:
        document: plain JSON values; the order of its keys is kept.
        keys: at least one; the signatures stand in this order.
        audience: the deployment's, 1 to ``MAX_AUDIENCE`` characters.
        max_bytes: the deployment's limit for the signed document, at most ``MAX_SIGNED``.

    Returns:
        The signed document. Ed25519 has no randomness: the same arguments give the same bytes.

    Raises:
        BadSignature: ``too-large``, or ``payload`` where a value has no place in JSON.
    """
    try:
        payload = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise BadSignature("payload", f"cannot be written as JSON: {exc}") from None
    return _serialised(_encode(payload), [], payload, keys, audience, max_bytes)


def countersign(raw: bytes, keys: Sequence[PrivateKey], audience: str, *, max_bytes: int = LIMITS.signed) -> bytes:
    """Add signatures to a signed document, so that approvers need not bring their keys to one place.

    The payload and the signatures that stand are kept as they are and not verified; ``verify`` does that.

    Raises:
        BadSignature: as ``verify`` would, but for trust and signatures; ``signature`` where a key has signed already.
    """
    payload, entries = _outer(raw, max_bytes)
    payload_bytes = _decoded(payload, "payload", "the payload")
    present = {_kid(entry["protected"], audience) for entry in entries}
    for key in keys:
        if key.kid in present:
            raise BadSignature("signature", f"{key.kid} has signed it already")
    return _serialised(payload, entries, payload_bytes, keys, audience, max_bytes)


def _serialised(
    payload: str,
    present: list[dict[str, str]],
    payload_bytes: bytes,
    keys: Sequence[PrivateKey],
    audience: str,
    max_bytes: int,
) -> bytes:
    if not 1 <= len(audience) <= MAX_AUDIENCE:
        raise BadSignature("audience", f"an audience has 1 to {MAX_AUDIENCE} characters")
    by_kid = {key.kid: key.key for key in keys}

    def key_of(member: GuestProtocol) -> OKPKey:
        return by_kid[member.headers()["kid"]]

    members: list[jws.HeaderDict] = [
        {"protected": {"alg": ALGORITHMS[0], "kid": kid, "typ": TYP, "aud": audience}} for kid in by_kid
    ]
    if len(payload_bytes) > max_bytes:
        raise BadSignature("too-large", f"a signed document has at most {max_bytes:,} bytes")
    made = jws.serialize_json(members, payload_bytes, key_of, registry=_REGISTRY)
    signatures = [*present, *({"protected": s["protected"], "signature": s["signature"]} for s in made["signatures"])]
    raw = json.dumps({"payload": payload, "signatures": signatures}, separators=(",", ":")).encode()
    if len(raw) > max_bytes:
        message = f"signed it has {len(raw):,} bytes; a signed document has at most {max_bytes:,}"
        raise BadSignature("too-large", message)
    return raw


# -- verifying ---------------------------------------------------------------------------------------------------


def verify(
    raw: bytes, trust: TrustSet, audience: str, *, published_at: int | None = None, max_bytes: int = LIMITS.signed
) -> Verified:
    """Check a signed document.

    Args:
        raw: as it stands in the record or file.
        trust: whose signatures count.
        audience: the deployment's.
        published_at: when the log took it in, ms since the epoch, or None for a file. A revoked key counts only for
            what was published before its revocation.
        max_bytes: the deployment's limit, at most ``MAX_SIGNED``.

    Raises:
        BadSignature: it is none of ours, or somebody tampered.
    """
    payload, entries = _outer(raw, max_bytes)
    found: dict[str, TrustedKey] = {}
    known: list[tuple[TrustedKey, dict[str, str]]] = []
    unknown: list[str] = []
    for entry in entries:
        kid = _kid(entry["protected"], audience)
        key = trust.keys.get(kid)
        if key is None or not key.stands(published_at):
            unknown.append(kid if key is None else f"{kid} (revoked)")
        else:
            found[kid] = key
            known.append((key, entry))
    if not found:
        code = "revoked" if any(_kid(entry["protected"], audience) in trust.keys for entry in entries) else "untrusted"
        raise BadSignature(code, f"no key that counts signed it, only {', '.join(unknown)}")

    payload_bytes = _decoded(payload, "payload", "the payload")
    for key, entry in known:  # each, even where one key signed twice
        signed = f"{entry['protected']}.{payload}".encode()
        try:
            key.verify(_decoded(entry["signature"], "signature", "a signature"), signed)
        except InvalidSignature:
            raise BadSignature("signature", f"a signature by {', '.join(found)} does not verify") from None
    return Verified(_document(payload_bytes), payload_bytes, tuple(found[kid] for kid in sorted(found)), digest_of(raw))


def payload_of(raw: bytes, max_bytes: int = LIMITS.signed) -> bytes:
    """The document inside a signed one, as it was signed; verifies nothing. Raises BadSignature."""
    return _decoded(_outer(raw, max_bytes)[0], "not-jws", "the payload")


def unverified(raw: bytes, audience: str, max_bytes: int = LIMITS.signed) -> dict[str, Any]:
    """The document that stands in a signed one, whoever signed it: for showing and checking, never for obeying.

    Raises:
        BadSignature: as ``verify`` would, but for trust and signatures.
    """
    payload, entries = _outer(raw, max_bytes)
    for entry in entries:
        _kid(entry["protected"], audience)
    return _document(_decoded(payload, "payload", "the payload"))


def _document(payload: bytes) -> dict[str, Any]:
    try:
        document = strict_json(payload)
    except NotJson as exc:
        raise BadSignature("payload", f"the payload is {exc}") from None
    if not isinstance(document, dict):
        raise BadSignature("payload", "the payload is not one JSON object")
    return document


def _outer(raw: bytes, max_bytes: int) -> tuple[str, list[dict[str, str]]]:
    """The payload as encoded, and the signatures' members. Raises BadSignature."""
    if len(raw) > max_bytes:
        raise BadSignature("too-large", f"has {len(raw):,} bytes; a signed document has at most {max_bytes:,}")
    try:
        value = strict_json(raw)
    except NotJson as exc:
        raise BadSignature("not-jws", str(exc)) from None
    if not isinstance(value, dict):
        raise BadSignature("not-jws", "is not a JSON object")
    if "signature" in value or "protected" in value:
        raise BadSignature("not-jws", "is the flattened serialization; the general one is wanted")
    if value.keys() != {"payload", "signatures"} or not isinstance(value["payload"], str):
        raise BadSignature("not-jws", "wants exactly payload, a string, and signatures")
    entries = value["signatures"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_SIGNATURES:
        raise BadSignature("not-jws", f"wants 1 to {MAX_SIGNATURES} signatures")
    for entry in entries:
        if isinstance(entry, dict) and "header" in entry:
            raise BadSignature("header", "has an unprotected header; what is not signed is not taken")
        if not isinstance(entry, dict) or entry.keys() != {"protected", "signature"}:
            raise BadSignature("not-jws", "a signature has exactly protected and signature")
        if not all(isinstance(part, str) for part in entry.values()):
            raise BadSignature("not-jws", "protected and signature are strings")
        _decoded(entry["signature"], "signature", "a signature")
    return value["payload"], entries


@lru_cache(maxsize=256)  # one a key: a log of fifty thousand documents has few
def _kid(protected: str, audience: str) -> str:
    """The key that a protected header names, once the header is held to the profile. Raises BadSignature."""
    if len(protected) > MAX_HEADER:
        raise BadSignature("header", f"a protected header has at most {MAX_HEADER} characters")
    try:
        header = strict_json(_decoded(protected, "header", "a protected header"))
    except NotJson as exc:
        raise BadSignature("header", f"a protected header is {exc}") from None
    if not isinstance(header, dict):
        raise BadSignature("header", "a protected header is not a JSON object")
    # the algorithm first: "none" or a shared secret is what a reader of the log should be told of
    if header.get("alg") not in ALGORITHMS:
        raise BadSignature("alg", f"alg must be {ALGORITHMS[0]}, not {header.get('alg')!r}")
    if strangers := header.keys() - _HEADER:
        raise BadSignature("header", f"a protected header may not have {min(strangers)!r}")
    if header.get("typ") != TYP:
        raise BadSignature("typ", f"typ must be {TYP}, not {header.get('typ')!r}")
    if header.get("aud") != audience:
        raise BadSignature("audience", f"signed for the audience {header.get('aud')!r}, not {audience!r}")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_NAME:
        raise BadSignature("header", f"a protected header has no kid of 1 to {MAX_NAME} characters")
    return kid


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str, code: str, what: str) -> bytes:
    """The bytes of unpadded base64url in its one canonical form: no two texts of a signature are the same bytes."""
    data = None
    try:
        standard = text.encode("ascii").translate(_STANDARD)
        data = binascii.a2b_base64(standard + b"==")  # passes over what is no base64
    except ValueError:  # a character beyond ASCII, or one too many
        pass
    if data is None or binascii.b2a_base64(data, newline=False).rstrip(b"=") != standard:
        raise BadSignature(code, f"{what} is not base64url without padding")
    return data
