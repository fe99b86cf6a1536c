"""A signed document says what its signers signed, for this deployment, and nothing else gets through."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import warnings
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from streams.core.charter import Signer
from streams.wire.jws import MAX_SIGNED, TYP, BadSignature, countersign, payload_of, sign, unverified, verify
from streams.wire.trust import TrustedKey, TrustSet
from tests.signing import AUDIENCE, entry, key, trusting

DOCUMENT = {"scope": "account", "account": "acme", "name": "licensing", "revision": 7, "default": "admit", "note": "é"}
TRUST = trusting()


def b64(data: bytes | str) -> str:
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def forged(
    header: dict[str, Any] | str | None = None,
    payload: bytes = b'{"revision":1}',
    signer: str = "acme",
    **outer: Any,
) -> bytes:
    """A general JWS with a true Ed25519 signature over whatever header and payload are asked for."""
    if not isinstance(header, str):
        header = json.dumps({"alg": "Ed25519", "kid": signer, "typ": TYP, "aud": AUDIENCE, **(header or {})})
    signed = f"{b64(header)}.{b64(payload)}".encode()
    signature = key(signer).key.private_key.sign(signed)  # type: ignore[union-attr]
    entry = {"protected": b64(header), "signature": b64(signature)}
    return json.dumps({"payload": b64(payload), "signatures": [entry], **outer}).encode()


def changed(raw: bytes, change: Callable[[Any], None]) -> bytes:
    value = json.loads(raw)
    change(value)
    return json.dumps(value).encode()


def first(member: str, value: Any) -> Callable[[Any], None]:
    return lambda jws: jws["signatures"][0].__setitem__(member, value)


def test_what_is_signed_is_read_back_with_its_signers() -> None:
    raw = sign(DOCUMENT, [key("ann"), key("acme")], AUDIENCE)
    verified = verify(raw, TRUST, AUDIENCE)
    assert verified.payload == DOCUMENT
    assert json.loads(verified.payload_bytes) == DOCUMENT
    assert [(k.kid, k.signer.holder) for k in verified.keys] == [("acme", "acme"), ("ann", "ann")]
    assert verified.sha256 == f"sha256:{hashlib.sha256(raw).hexdigest()}"


def test_the_wire_form_is_the_general_serialization_of_rfc_7515() -> None:
    value = json.loads(sign(DOCUMENT, [key("ann"), key("bo")], AUDIENCE))
    assert value.keys() == {"payload", "signatures"}
    assert json.loads(unb64(value["payload"])) == DOCUMENT
    for kid, signature in zip(("ann", "bo"), value["signatures"], strict=True):
        assert signature.keys() == {"protected", "signature"}
        header = {"alg": "Ed25519", "kid": kid, "typ": "doorward-policy+jws", "aud": AUDIENCE}
        assert json.loads(unb64(signature["protected"])) == header
        signed = f"{signature['protected']}.{value['payload']}".encode()
        key(kid).key.public_key.verify(unb64(signature["signature"]), signed)  # type: ignore[union-attr]  # raises


def test_signing_again_gives_the_same_bytes() -> None:
    assert sign(DOCUMENT, [key("ann")], AUDIENCE) == sign(DOCUMENT, [key("ann")], AUDIENCE)


texts = st.text(st.characters(codec="utf-8"), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, json_values, max_size=4))
def test_any_document_survives_signing(document: dict[str, Any]) -> None:
    assert verify(sign(document, [key("ann")], AUDIENCE), TRUST, AUDIENCE).payload == document


def test_a_large_document_survives_signing() -> None:
    document = {"note": "x" * 700_000}
    assert verify(sign(document, [key("ann"), key("bo")], AUDIENCE), TRUST, AUDIENCE).payload == document


def test_the_older_name_of_the_algorithm_is_read_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verify(forged({"alg": "EdDSA"}), TRUST, AUDIENCE).payload == {"revision": 1}


def test_a_second_approver_signs_the_same_bytes_elsewhere() -> None:
    alone = sign(DOCUMENT, [key("ann")], AUDIENCE)
    both = countersign(alone, [key("bo")], AUDIENCE)
    assert [s.holder for s in verify(both, TRUST, AUDIENCE).signers] == ["ann", "bo"]
    assert both == sign(DOCUMENT, [key("ann"), key("bo")], AUDIENCE)
    with pytest.raises(BadSignature, match="ann has signed it already"):
        countersign(both, [key("ann")], AUDIENCE)


def test_a_key_counts_once_however_often_it_signs() -> None:
    raw = changed(sign(DOCUMENT, [key("ann")], AUDIENCE), lambda jws: jws["signatures"].append(jws["signatures"][0]))
    assert [k.kid for k in verify(raw, TRUST, AUDIENCE).keys] == ["ann"]


def test_a_stranger_beside_a_known_signer_is_passed_over() -> None:
    raw = sign(DOCUMENT, [key("stranger"), key("ann")], AUDIENCE)
    assert [k.kid for k in verify(raw, TRUST, AUDIENCE).keys] == ["ann"]
    broken = changed(raw, first("signature", b64(b"\0" * 64)))
    assert [k.kid for k in verify(broken, TRUST, AUDIENCE).keys] == ["ann"], "nobody here could check it"


def test_a_revoked_key_counts_for_what_was_published_before() -> None:
    trust = trusting(entry("acme", revoked="1970-01-01T00:00:10Z"))
    raw = sign(DOCUMENT, [key("acme")], AUDIENCE)
    assert verify(raw, trust, AUDIENCE, published_at=9_999).keys
    for when in (10_000, None):
        with pytest.raises(BadSignature, match="revoked") as bad:
            verify(raw, trust, AUDIENCE, published_at=when)
        assert bad.value.code == "revoked"


def hs256() -> bytes:
    """The algorithm confusion attack: the public key, which everybody has, as the secret of an HMAC."""
    header = b64(json.dumps({"alg": "HS256", "kid": "acme", "typ": TYP, "aud": AUDIENCE}))
    secret = unb64(key("acme").key.as_dict(private=False)["x"])
    mac = hmac.new(secret, f"{header}.{b64(b'{}')}".encode(), hashlib.sha256).digest()
    return json.dumps({"payload": b64(b"{}"), "signatures": [{"protected": header, "signature": b64(mac)}]}).encode()


GOOD = sign(DOCUMENT, [key("ann"), key("acme")], AUDIENCE)
ONE = json.loads(sign(DOCUMENT, [key("acme")], AUDIENCE))

HEADER = json.dumps({"alg": "Ed25519", "kid": "acme", "typ": TYP, "aud": AUDIENCE})

HOSTILE: dict[str, tuple[str, bytes]] = {
    "no algorithm": ("alg", forged({"alg": "none"})),
    "no algorithm, no signature": ("alg", changed(forged({"alg": "none"}), first("signature", ""))),
    "the public key as a shared secret": ("alg", hs256()),
    "an algorithm in capitals": ("alg", forged({"alg": "ED25519"})),
    "another curve": ("alg", forged({"alg": "Ed448"})),
    "an algorithm that is a list": ("alg", forged({"alg": ["Ed25519"]})),
    "for another deployment": ("audience", sign(DOCUMENT, [key("acme")], "doorward-staging")),
    "for several deployments": ("audience", forged({"aud": [AUDIENCE, "other"]})),
    "without audience": ("audience", forged(json.dumps({"alg": "Ed25519", "kid": "acme", "typ": TYP}))),
    "signed for another purpose": ("typ", forged({"typ": "JWT"})),
    "without purpose": ("typ", forged(json.dumps({"alg": "Ed25519", "kid": "acme", "aud": AUDIENCE}))),
    "without kid": ("header", forged(json.dumps({"alg": "Ed25519", "typ": TYP, "aud": AUDIENCE}))),
    "its own key in the header": ("header", forged({"jwk": key("acme").key.as_dict(private=False)})),
    "its own key at an address": ("header", forged({"jku": "https://keys.example/set"})),
    "its own certificate": ("header", forged({"x5c": ["MIIB"]})),
    "a critical extension": ("header", forged({"crit": ["b64"], "b64": True})),
    "an unencoded payload": ("header", forged({"b64": False, "crit": ["b64"]})),
    "a header twice": ("header", forged('{"kid":"bo",' + HEADER[1:])),
    "a header that is a list": ("header", forged("[]")),
    "a header that is no JSON": ("header", forged("{")),
    "a deep header": ("header", forged("[" * 4000)),
    "a huge header": ("header", forged({"kid": "k" * 100_000})),
    "an unprotected header": ("header", changed(GOOD, first("header", {"kid": "acme"}))),
    "an empty unprotected header": ("header", changed(GOOD, first("header", {}))),
    "nobody known": ("untrusted", sign(DOCUMENT, [key("stranger")], AUDIENCE)),
    "a known kid, a stranger's key": ("signature", forged({"kid": "acme"}, signer="stranger")),
    "one true and one false signature": ("signature", changed(GOOD, first("signature", b64(b"\0" * 64)))),
    "a signature cut short": ("signature", changed(GOOD, first("signature", b64(b"\0" * 63)))),
    "a signature with padding": ("signature", changed(GOOD, first("signature", b64(b"\0" * 64) + "=="))),
    "a signature in plain base64": ("signature", changed(GOOD, first("signature", "+/" * 43))),
    "a signature of another header": ("signature", changed(GOOD, lambda j: first(
        "protected", j["signatures"][1]["protected"])(j))),
    "another document under the signatures": ("signature", changed(GOOD, lambda j: j.update(
        payload=b64(json.dumps({**DOCUMENT, "default": "remove"}))))),
    "a payload with padding": ("payload", changed(GOOD, lambda j: j.update(payload=j["payload"] + "="))),
    "a payload with loose bits": ("payload", changed(forged(payload=b"{}"), lambda j: j.update(payload="e31"))),
    "a payload with a line break": ("payload", changed(GOOD, lambda j: j.update(payload=j["payload"] + "\n"))),
    "a key twice in the document": ("payload", forged(payload=b'{"revision":1,"revision":2}')),
    "a key twice, deep in the document": ("payload", forged(payload=b'{"a":[{"b":1,"\\u0062":2}]}')),
    "a document that is a list": ("payload", forged(payload=b"[{}]")),
    "a document that is no JSON": ("payload", forged(payload=b"default: admit")),
    "a document with NaN": ("payload", forged(payload=b'{"a":NaN}')),
    "an empty document": ("payload", forged(payload=b"")),
    "a deep document": ("payload", forged(payload=b'{"a":' * 10_000 + b"1" + b"}" * 10_000)),
    "not UTF-8": ("payload", forged(payload=b'{"a":"\xff"}')),
    "the flattened serialization": ("not-jws", json.dumps(
        {"payload": ONE["payload"], **ONE["signatures"][0]}).encode()),
    "both serializations": ("not-jws", json.dumps({**ONE, **ONE["signatures"][0]}).encode()),
    "the compact serialization": ("not-jws", ".".join(
        (ONE["signatures"][0]["protected"], ONE["payload"], ONE["signatures"][0]["signature"])).encode()),
    "no signature": ("not-jws", changed(GOOD, lambda j: j["signatures"].clear())),
    "seventeen signatures": ("not-jws", changed(GOOD, lambda j: j["signatures"].extend(j["signatures"][:1] * 15))),
    "signatures in an object": ("not-jws", changed(GOOD, lambda j: j.update(signatures={}))),
    "a signature that is a string": ("not-jws", changed(GOOD, lambda j: j.update(signatures=["x"]))),
    "a signature without protected header": ("not-jws", changed(GOOD, lambda j: j["signatures"][0].pop("protected"))),
    "a signature that is null": ("not-jws", changed(GOOD, first("signature", None))),
    "something beside": ("not-jws", forged(note="not signed")),
    "a payload that is an object": ("not-jws", changed(GOOD, lambda j: j.update(payload=DOCUMENT))),
    "two payloads": ("not-jws", b'{"payload":"e30",' + GOOD[1:]),
    "signatures twice": ("not-jws", GOOD[:-1] + b',"signatures":[]}'),
    "an array of documents": ("not-jws", b"[" + GOOD + b"]"),
    "a plain document": ("not-jws", json.dumps(DOCUMENT).encode()),
    "nothing": ("not-jws", b""),
    "deep nesting": ("not-jws", b"[" * 10_000),
    "not text": ("not-jws", b"\xff\xfe\0"),
    "two of them": ("not-jws", GOOD + GOOD),
    "too large": ("too-large", b" " * MAX_SIGNED + GOOD),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_hostile_is_refused_for_its_reason(what: str) -> None:
    code, raw = HOSTILE[what]
    with pytest.raises(BadSignature) as bad:
        verify(raw, TRUST, AUDIENCE)
    assert bad.value.code == code
    assert "\n" not in str(bad.value)
    assert len(str(bad.value)) < 300


@given(st.data())
def test_no_changed_character_goes_unnoticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    byte = data.draw(st.integers(32, 126).filter(lambda b: b != GOOD[at]))
    try:
        verified = verify(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :], TRUST, AUDIENCE)
    except BadSignature:
        return
    # all that stands outside the signatures is the JSON around them
    assert verified.payload == DOCUMENT


def altered(signature: bytes, other: bytes) -> st.SearchStrategy[bytes]:
    """A signature, or what somebody might put in its place."""
    order = 2**252 + 27742317777372353535851937790883648493  # of the group, RFC 8032 §5.1
    again = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    flipped = st.integers(0, 511).map(lambda bit: (int.from_bytes(signature) ^ (1 << bit)).to_bytes(64))
    cut = st.integers(0, 63).map(lambda length: signature[:length])
    whole = [signature, signature, other, signature * 2, signature + b"\0", signature[:32] + again, bytes(64), b""]
    return st.sampled_from(whole) | flipped | cut | st.binary(min_size=64, max_size=64)


def holds(raw: bytes) -> bool:
    try:
        return bool(verify(raw, TRUST, AUDIENCE).keys)
    except BadSignature:
        return False


def by_joserfc(raw: bytes) -> bool:
    """Whether every signature holds, by somebody else's whole reading of RFC 7515."""
    registry = JWSRegistry({"aud": HeaderParameter("Audience", "str", True)}, algorithms=["Ed25519"])
    try:
        jws.deserialize_json(json.loads(raw), lambda member: key(member.headers()["kid"]).key, registry=registry)
    except (JoseError, ValueError):
        return False
    return True


@given(st.data())
def test_a_signature_holds_exactly_where_joserfc_says_so(data: st.DataObject) -> None:
    first_, second = (unb64(each["signature"]) for each in json.loads(GOOD)["signatures"])
    for one, other in ((first_, second), (second, first_)):
        drawn = data.draw(altered(one, other))
        value = json.loads(GOOD)
        value["signatures"][one is second]["signature"] = b64(drawn)
        raw = json.dumps(value).encode()
        assert holds(raw) == by_joserfc(raw) == (drawn == one)


def test_a_key_of_another_curve_verifies_nothing() -> None:
    curves: tuple[Literal["Ed448", "X25519"], ...] = ("Ed448", "X25519")
    for curve in curves:
        stranger = TrustedKey("acme", Signer("acme", ("account/acme",)), OKPKey.generate_key(curve))
        with pytest.raises(BadSignature, match="does not verify"):
            verify(json.dumps(ONE).encode(), TrustSet([stranger]), AUDIENCE)


def test_a_header_that_was_read_for_one_deployment_is_read_again_for_another() -> None:
    assert verify(GOOD, TRUST, AUDIENCE).keys
    with pytest.raises(BadSignature) as bad:
        verify(GOOD, TRUST, "doorward-staging")
    assert bad.value.code == "audience"


@given(st.text(st.sampled_from("AQgwIE09-_+/=\n é\ud800"), max_size=10))
def test_bytes_have_one_text_in_base64url(text: str) -> None:
    raw = changed(GOOD, lambda j: j.update(payload=text))
    is_canonical = bool(re.fullmatch("[A-Za-z0-9_-]*", text)) and len(text) % 4 != 1 and b64(unb64(text)) == text
    try:
        found = payload_of(raw)
    except BadSignature:
        found = None
    assert found == (unb64(text) if is_canonical else None)


def test_looking_inside_needs_no_trust_but_the_same_form() -> None:
    assert unverified(sign(DOCUMENT, [key("stranger")], AUDIENCE), AUDIENCE) == DOCUMENT
    with pytest.raises(BadSignature):
        unverified(sign(DOCUMENT, [key("stranger")], "elsewhere"), AUDIENCE)


def test_what_cannot_be_signed_is_said() -> None:
    for document in ({"a": float("nan")}, {"a": {1, 2}}):
        with pytest.raises(BadSignature) as bad:
            sign(document, [key("ann")], AUDIENCE)
        assert bad.value.code == "payload"
    for size in (3_200_000, 5_000_000):
        with pytest.raises(BadSignature) as bad:
            sign({"note": "x" * size}, [key("ann")], AUDIENCE)
        assert bad.value.code == "too-large"
    for audience in ("", "a" * 129):
        with pytest.raises(BadSignature) as bad:
            sign(DOCUMENT, [key("ann")], audience)
        assert bad.value.code == "audience"
    longest = "\U0001f6aa" * 128
    assert verify(sign(DOCUMENT, [key("ann")], longest), TRUST, longest), "escaped, it still fits into the header"
