# ruff: noqa: PT017  # what is refused is an answer here, and is looked at where it comes
"""What is signed: documents in the policy log, trust sets, and the public export of the log.

The keys here are made from their names, so that every run has the same inputs. Who mutates bytes holds none of them:
whatever still counts was signed by them as it stands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from streams.adapters.iso import vocabulary
from streams.core import instants, policy
from streams.core.index import Index
from streams.wire import chain, jws, publication, signed, trust
from streams.wire.history import History
from streams.wire.jws import BadSignature
from streams.wire.keys import PrivateKey, public_jwk
from streams.wire.publication import Publication, Unverifiable
from streams.wire.signed import Record, Rejected, Repeat
from tests.fuzz.engine import Target, corpus_of
from tests.signing import AUDIENCE, b64

START: Final = 1_795_253_400_000
HELD: Final = {"acme": ["account/acme"], "settings": ["account/*"], "ann": ["service"], "bo": ["service"]}


def _key(name: str) -> PrivateKey:
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    members = {"x": b64(private.public_key().public_bytes_raw()), "d": b64(private.private_bytes_raw())}
    return PrivateKey(name, OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", **members}))


KEYS: Final = {name: _key(name) for name in (*HELD, "old")}
ENTRIES: Final = [public_jwk(KEYS[name], name, scopes) for name, scopes in HELD.items()]
REVOKED: Final = public_jwk(KEYS["old"], "acme", ["account/acme"]) | {"revoked": instants.render(START)}
TRUST: Final = trust.parse_trust(trust.written([*ENTRIES, REVOKED]))


def _sign(document: dict[str, Any], *names: str, audience: str = AUDIENCE) -> bytes:
    return jws.sign(document, [KEYS[name] for name in names], audience)


OWNERS: Final = [json.loads(raw) for raw in corpus_of("policy")]
BY: Final = {"service": ("ann", "bo"), "account": ("acme",), "meeting": ("settings",)}
SIGNED: Final = [
    *(_sign(document, *BY[document["scope"]]) for document in OWNERS),
    _sign(OWNERS[0], "old"),
    _sign(OWNERS[0], "acme", audience="elsewhere"),
]
PAYLOADS: Final = {jws.payload_of(raw) for raw in SIGNED}


def envelope(data: bytes) -> None:
    """Bytes are a document just as one of ours signed it, or refused with a code."""
    try:
        found = jws.verify(data, TRUST, AUDIENCE, published_at=START)
    except BadSignature as exc:
        assert exc.code
    else:
        assert found.payload_bytes in PAYLOADS, "nobody signed this"
        assert all(key.kid in BY[found.payload["scope"]] for key in found.keys), "somebody else signed this"
        assert jws.unverified(data, AUDIENCE) == found.payload
    with suppress(BadSignature):
        again = jws.countersign(data, [KEYS["bo"]], AUDIENCE)
        assert jws.payload_of(again) == jws.payload_of(data)
        with suppress(BadSignature):  # what was countersigned need not have counted before
            jws.verify(again, TRUST, AUDIENCE)


def header(data: bytes) -> None:
    """The same for what stands inside: a protected header of any bytes, beside a true one."""
    true = json.loads(SIGNED[0])
    true["signatures"].append({"protected": b64(data), "signature": true["signatures"][0]["signature"]})
    envelope(json.dumps(true).encode())


def _wrapped(payload: bytes, names: Sequence[str]) -> bytes:
    """Any bytes as the payload of true signatures, which ``jws.sign`` would not make."""
    made = []
    for name in names:
        protected = b64(json.dumps({"alg": "Ed25519", "kid": name, "typ": jws.TYP, "aud": AUDIENCE}))
        signature = KEYS[name].key.private_key.sign(f"{protected}.{b64(payload)}".encode())  # type: ignore[union-attr]
        made.append({"protected": protected, "signature": b64(signature)})
    return json.dumps({"payload": b64(payload), "signatures": made}).encode()


def payload(data: bytes) -> None:
    """Any bytes, truly signed, become a revision or are refused with every reason, in the log and as a file."""
    raw = _wrapped(data, ("ann", "bo") if b'"service"' in data else ("acme", "settings"))
    accepting: dict[str, Any] = {"trust": TRUST, "audience": AUDIENCE, "vocabulary": vocabulary()}
    with suppress(Rejected):
        signed.check(raw, **accepting)
    path = b"account/acme/licensing" if b"licensing" in data else b"service/export"
    for record in (Record(path, 3, START), None):
        index = Index()
        try:
            revision = signed.accept(raw, index=index, record=record, **accepting)
        except Rejected as exc:
            assert exc.problems
            continue
        assert index.put(revision)
        assert revision.document.scope in BY
        try:
            signed.accept(raw, index=index, record=record, **accepting)
        except Repeat:
            continue
        raise AssertionError("the same again is no repeat")


def trust_set(data: bytes) -> None:
    """A trust set is one or a ValueError; one that is can be announced, and never rewrites itself."""
    try:
        found = trust.parse_trust(data)
    except ValueError as exc:
        assert str(exc)
        return
    said = found.announced()
    assert trust.rewritten(said, found, START) is None
    assert len(said) == len(found.keys)
    members = json.loads(data)["keys"]
    assert trust.parse_trust(trust.written(members)).digest == found.digest
    for key in found.keys.values():
        assert key.signer.holder.strip() == key.signer.holder
        assert all(scope == "service" or scope.startswith("account/") for scope in key.signer.scopes)


def export(data: bytes) -> None:
    """An export is refused, or has problems, or its chain leads through the very records that ours leads through."""
    lines = data.splitlines()
    for keys in (TRUST, None):
        try:
            found = publication.verify(lines, vocabulary(), keys)
        except Unverifiable as exc:
            assert str(exc)
            continue
        assert found.records == len(found.links) == len(found.heads)
        if not found.problems and found.head == WHOLE.head:
            assert found.links == WHOLE.links, "other records have the same head"
            assert found.service == WHOLE.service or b'"value"' not in data


def head(data: bytes) -> None:
    """A chain's head, as it is written, or a ValueError."""
    text = data.decode(errors="replace")
    with suppress(ValueError):
        assert str(chain.parse_head(text)).startswith(text[:64])


def _exported() -> bytes:
    """The export of a small log: service documents, owners', a tombstone, a text, one by a key that does not count."""
    history, made = History(TRUST, AUDIENCE, vocabulary(), None), Publication(TRUST, AUDIENCE, None)
    window = {
        "not_before": instants.render(START + 3 * instants.DAY),
        "not_after": instants.render(START + 30 * instants.DAY),
    }
    values = [_sign(each | (window if each["scope"] == "service" else {}), *BY[each["scope"]]) for each in OWNERS]
    values += [values[0], b"no document", b"", SIGNED[-2]]
    paths = [json.loads(jws.payload_of(raw)) for raw in values[: len(OWNERS)]]
    keys = [_path(document) for document in paths]
    lines = [made.header()]
    for offset, raw in enumerate(values):
        key = keys[offset] if offset < len(keys) else keys[0]
        record = chain.LogRecord(offset + 2, START + offset, key, raw or None)
        lines.append(made.record(history.take(record)))
    return b"\n".join([*lines, made.footer()])


def _path(document: dict[str, Any]) -> bytes:
    return policy.parse(document, vocabulary()).path.encode()


EXPORT: Final = _exported()
WHOLE: Final = publication.verify(EXPORT.splitlines(), vocabulary(), TRUST)
_PROTECTED: Final = [
    json.dumps({"alg": alg, "kid": "acme", "typ": jws.TYP, "aud": AUDIENCE}).encode() for alg in ("Ed25519", "EdDSA")
]
_JWS: Final = (
    b'"header":{}',
    b'"signatures":[]',
    b'"payload":""',
    b"=",
    b'"alg":"none"',
    b'"crit":["exp"]',
    b'"b64":false',
)
_TRUST: Final = (
    b'"scopes":["service"]',
    b'"account/*"',
    b'"on_behalf":true',
    b'"revoked":',
    b'"d":"AA"',
    b'"kty":"oct"',
)
_EXPORT: Final = (b'"offset":', b'"mark":', b'"chain":', b'"head":"', b'"value":"', b'"approvers":[]', b"\n{}\n")

# A verification costs 0.1 ms, an export a dozen of them.
TARGETS: Final = [
    Target("jws", envelope, "json", SIGNED, _JWS, share=0.6),
    Target("header", header, "json", _PROTECTED, _JWS, share=0.4),
    Target("payload", payload, "json", [*corpus_of("policy"), *SIGNED[:1]], (), share=0.2),
    Target("trust", trust_set, "json", [trust.written([*ENTRIES, REVOKED]), *corpus_of("trust")], _TRUST, share=0.4),
    Target("export", export, "lines", [EXPORT], _EXPORT, share=0.05),
    Target("head", head, "text", [str(WHOLE.head).encode()], (b"@-1", b"@0")),
]
