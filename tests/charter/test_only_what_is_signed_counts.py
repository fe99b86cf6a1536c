"""Forged records of the policy log: each is refused for its own reason, and joins are decided as before.

All would remove everyone from acme's meetings, or everybody in a continent, if they were believed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from streams.core.decide import judge
from streams.core.policy import MAX_REVISION
from streams.wire.jws import MAX_SIGNATURES, TYP, sign, verify
from streams.wire.trust import parse_trust, written
from tests.samples import ALERT, NOON, account, join, located, rule, service
from tests.signing import AUDIENCE, Worker, b64, entry, key, signature, trusting, wrapped

PATH = "account/acme/licensing"
EVIL = account(revision=2, default="remove")
PAYLOAD = json.dumps(EVIL).encode()
TRUE = signature(PAYLOAD, "acme")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PUBLIC = key("acme").key.as_dict(private=False)


def loose(text: str) -> str:
    """The same bytes to a reader that drops the last character's loose bits, as many a base64 reader does."""
    return text[:-1] + ALPHABET[ALPHABET.index(text[-1]) ^ 1]


def edited(**members: Any) -> bytes:
    """acme's own true signature, with members of the signature's object changed or added."""
    return wrapped(PAYLOAD, {**TRUE, **members})


def under(header: dict[str, Any]) -> dict[str, str]:
    """A signature whose protected header is empty but for what is given: the rest stands outside."""
    return signature(PAYLOAD, "acme", json.dumps(header))


def mac(secret: bytes, **header: Any) -> bytes:
    """An HMAC with what everybody has as its secret."""
    protected = b64(json.dumps({"alg": "HS256", "kid": "acme", "typ": TYP, "aud": AUDIENCE, **header}))
    made = hmac.new(secret, f"{protected}.{b64(PAYLOAD)}".encode(), hashlib.sha256).digest()
    return wrapped(PAYLOAD, {"protected": protected, "signature": b64(made)})


def flattened(**beside: Any) -> bytes:
    return json.dumps({"payload": b64(PAYLOAD), **TRUE, **beside}).encode()


def owned(payload: bytes) -> bytes:
    """Any bytes, truly signed by acme."""
    return wrapped(payload, signature(payload, "acme"))


OUTSIDE = {"alg": "Ed25519", "kid": "acme", "typ": TYP, "aud": AUDIENCE}
STRANGE = signature(PAYLOAD, "stranger")
BROKEN = {**TRUE, "signature": b64(bytes(64))}

FORGED: dict[str, tuple[str, bytes]] = {
    # the algorithm
    "alg none": ("alg", wrapped(PAYLOAD, signature(PAYLOAD, "acme", alg="none"))),
    "alg none and nothing signed": ("alg", wrapped(
        PAYLOAD, {**signature(PAYLOAD, "acme", alg="none"), "signature": ""})),
    "alg None": ("alg", wrapped(PAYLOAD, signature(PAYLOAD, "acme", alg="None"))),
    "no alg": ("alg", wrapped(PAYLOAD, signature(PAYLOAD, "acme", alg=None))),
    "HS256 with the public key": ("alg", mac(key("acme").key.public_key.public_bytes_raw())),
    "HS256 with the public JWK": ("alg", mac(json.dumps(PUBLIC).encode())),
    "HS256 with x": ("alg", mac(str(PUBLIC["x"]).encode())),
    "HS256 called Ed25519": ("signature", mac(key("acme").key.public_key.public_bytes_raw(), alg="Ed25519")),
    "a stranger's alg none beside the owner's": (
        "alg", wrapped(PAYLOAD, TRUE, signature(PAYLOAD, "stranger", alg="none"))),
    # what was signed for something else
    "another audience": ("audience", sign(EVIL, [key("acme")], "doorward-staging")),
    "another audience in capitals": ("audience", sign(EVIL, [key("acme")], AUDIENCE.upper())),
    "a list of audiences": ("audience", wrapped(PAYLOAD, signature(PAYLOAD, "acme", aud=[AUDIENCE]))),
    "no audience": ("audience", wrapped(PAYLOAD, signature(PAYLOAD, "acme", aud=None))),
    "another typ": ("typ", wrapped(PAYLOAD, signature(PAYLOAD, "acme", typ="doorward-trust+jws"))),
    "typ JWT": ("typ", wrapped(PAYLOAD, signature(PAYLOAD, "acme", typ="JWT"))),
    "typ with its media type's prefix": ("typ", wrapped(PAYLOAD, signature(PAYLOAD, "acme", typ=f"application/{TYP}"))),
    "no typ": ("typ", wrapped(PAYLOAD, signature(PAYLOAD, "acme", typ=None))),
    # the protected header
    "no kid": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", kid=None))),
    "kid a list": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", kid=["acme"]))),
    "jwk embedded": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "stranger", kid="acme", jwk=PUBLIC))),
    "jku": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "stranger", kid="acme", jku="https://keys.example/1"))),
    "x5c": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "stranger", kid="acme", x5c=["MIIB"]))),
    "x5u": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", x5u="https://keys.example/1"))),
    "crit of nothing": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", crit=[]))),
    "crit of a known member": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", crit=["aud"]))),
    "b64 false": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", b64=False, crit=["b64"]))),
    "b64 true": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", b64=True))),
    "zip": ("header", wrapped(PAYLOAD, signature(PAYLOAD, "acme", zip="DEF"))),
    "a member twice": ("header", wrapped(
        PAYLOAD, signature(PAYLOAD, "acme", json.dumps(OUTSIDE)[:-1] + ', "kid": "bo"}'))),
    "a member twice, once escaped": ("header", wrapped(
        PAYLOAD, signature(PAYLOAD, "acme", json.dumps(OUTSIDE)[:-1] + r', "\u006bid": "bo"}'))),
    # moved out of it
    **{f"{name} unprotected": (code, wrapped(
        PAYLOAD, {**under({k: v for k, v in OUTSIDE.items() if k != name}), "header": {name: OUTSIDE[name]}}))
        for name, code in (("alg", "header"), ("kid", "header"), ("typ", "header"), ("aud", "header"))},
    "everything unprotected": ("header", wrapped(PAYLOAD, {**under({}), "header": OUTSIDE})),
    "nothing protected": ("header", wrapped(PAYLOAD, {"header": OUTSIDE, "signature": TRUE["signature"]})),
    "the same once more, unprotected": ("header", edited(header={"kid": "acme"})),
    "crit unprotected": ("header", edited(header={"crit": ["b64"]})),
    "b64 unprotected": ("header", edited(header={"b64": False})),
    "jwk unprotected": ("header", edited(header={"jwk": PUBLIC})),
    "an empty unprotected header": ("header", edited(header={})),
    "a null unprotected header": ("header", edited(header=None)),
    "an unprotected header beside all": ("not-jws", wrapped(PAYLOAD, TRUE, header={"kid": "acme"})),
    # the serialization
    "flattened": ("not-jws", flattened()),
    "flattened and general": ("not-jws", flattened(signatures=[TRUE])),
    "general with a flattened signature": ("not-jws", wrapped(PAYLOAD, TRUE, signature=TRUE["signature"])),
    "general with a flattened header": ("not-jws", wrapped(PAYLOAD, TRUE, protected=TRUE["protected"])),
    "compact": ("not-jws", f"{TRUE['protected']}.{b64(PAYLOAD)}.{TRUE['signature']}".encode()),
    "detached": ("not-jws", json.dumps({"signatures": [TRUE]}).encode()),
    "no signature": ("not-jws", wrapped(PAYLOAD)),
    "signatures twice": ("not-jws", wrapped(PAYLOAD, TRUE)[:-1] + b', "signatures": []}'),
    "payload twice": ("not-jws", b'{"payload": "e30", ' + wrapped(PAYLOAD, TRUE)[1:]),
    "more signatures than are looked at": ("not-jws", wrapped(PAYLOAD, *[STRANGE] * MAX_SIGNATURES, TRUE)),
    "a byte order mark": ("not-jws", b"\xef\xbb\xbf" + wrapped(PAYLOAD, TRUE)),
    "a plain document": ("not-jws", PAYLOAD),
    # base64url has one form
    "a padded payload": ("payload", json.dumps({"payload": b64(PAYLOAD) + "=", "signatures": [TRUE]}).encode()),
    "a padded signature": ("signature", edited(signature=TRUE["signature"] + "==")),
    "a signature with loose bits": ("signature", edited(signature=loose(TRUE["signature"]))),
    "a header with loose bits": ("header", edited(protected=loose(TRUE["protected"]))),
    "a payload with loose bits": ("payload", json.dumps(
        {"payload": loose(b64(PAYLOAD + b" ")), "signatures": [signature(PAYLOAD + b" ", "acme")]}).encode()),
    "a padded header": ("header", edited(protected=TRUE["protected"] + "=")),
    "base64 with plus and slash": ("signature", edited(signature="+/" + TRUE["signature"][2:])),
    "a signature with a line break": ("signature", edited(
        signature=TRUE["signature"][:40] + "\n" + TRUE["signature"][40:])),
    "a payload in other letters": ("payload", json.dumps(
        {"payload": "Ａ" + b64(PAYLOAD), "signatures": [TRUE]}).encode()),
    # who signed
    "a stranger": ("untrusted", wrapped(PAYLOAD, STRANGE)),
    "many strangers": ("untrusted", wrapped(PAYLOAD, *(signature(PAYLOAD, f"stranger-{i}") for i in range(16)))),
    "a stranger under the owner's kid": ("signature", wrapped(PAYLOAD, signature(PAYLOAD, "stranger", kid="acme"))),
    "the owner's kid in capitals": ("untrusted", wrapped(PAYLOAD, signature(PAYLOAD, "acme", kid="ACME"))),
    "the owner's kid with a space": ("untrusted", wrapped(PAYLOAD, signature(PAYLOAD, "acme", kid="acme "))),
    "one true and one broken": ("signature", wrapped(PAYLOAD, TRUE, BROKEN)),
    "one broken and one true": ("signature", wrapped(PAYLOAD, BROKEN, TRUE)),
    "the owner's, and an approver's broken one": (
        "signature", wrapped(PAYLOAD, TRUE, {**signature(PAYLOAD, "ann"), "signature": b64(bytes(64))})),
    "a signature of another document": (
        "signature", wrapped(PAYLOAD, signature(json.dumps(account()).encode(), "acme"))),
    "two signatures changed places": ("signature", wrapped(
        PAYLOAD, {**TRUE, "signature": signature(PAYLOAD, "ann")["signature"]},
        {**signature(PAYLOAD, "ann"), "signature": TRUE["signature"]})),
    "a settings service where the owner has a key": ("C1-owner", sign(EVIL, [key("settings")], AUDIENCE)),
    # the payload
    "a key twice": ("payload", owned(PAYLOAD[:-1] + b', "default": "admit"}')),
    "a key twice, once escaped": ("payload", owned(
        PAYLOAD[:-1] + rb', "def\u0061ult": "admit"}')),
    "a key twice in a rule": ("payload", owned(
        PAYLOAD[:-1] + b', "rules": [{"id": "a", "then": "admit", "then": "remove"}]}')),
    "two documents": ("payload", owned(b"[" + PAYLOAD + b"]")),
    "YAML": ("payload", owned(b"scope: account")),
    "a payload with a byte order mark": ("payload", owned(
        b"\xef\xbb\xbf" + PAYLOAD)),
    "a payload in UTF-16": ("payload", owned(PAYLOAD.decode().encode("utf-16"))),
    "a lone surrogate": ("payload", owned(
        PAYLOAD[:-1] + rb', "note": "\ud800"}')),
    "a signed document as payload": ("required", sign(json.loads(wrapped(PAYLOAD, TRUE)), [key("acme")], AUDIENCE)),
    "a revision of 2^63": ("number", sign({**EVIL, "revision": MAX_REVISION + 1}, [key("acme")], AUDIENCE)),
    "a revision of 0": ("number", sign({**EVIL, "revision": 0}, [key("acme")], AUDIENCE)),
    "a revision with a point": ("number", sign({**EVIL, "revision": 2.0}, [key("acme")], AUDIENCE)),
    "a revision that is true": ("number", sign({**EVIL, "revision": True}, [key("acme")], AUDIENCE)),
    "a revision in quotes": ("number", sign({**EVIL, "revision": "2"}, [key("acme")], AUDIENCE)),
    "another language": ("language", sign({**EVIL, "language": 2}, [key("acme")], AUDIENCE)),
    "the language in quotes": ("language", sign({**EVIL, "language": "1"}, [key("acme")], AUDIENCE)),
    "the language with a point": ("language", sign({**EVIL, "language": 1.0}, [key("acme")], AUDIENCE)),
}  # fmt: skip


@pytest.fixture
def worker() -> Worker:
    """It decides by one document of acme's, which flags people."""
    made = Worker()
    made.takes(account(default="alert"), "acme")
    return made


def verdict(worker: Worker) -> int:
    found, _ = judge(worker.index, join(), located(country="FR"), NOON)
    return found.verdict


@pytest.mark.parametrize("what", FORGED)
def test_what_is_forged_is_refused_for_its_own_reason(worker: Worker, what: str) -> None:
    code, raw = FORGED[what]
    assert worker.reads(raw, PATH) == {code}
    assert verdict(worker) == ALERT


def test_and_none_of_them_together(worker: Worker) -> None:
    before = worker.index.digest
    for _, raw in FORGED.values():
        assert worker.reads(raw, PATH)
    assert (worker.index.digest, len(worker.index)) == (before, 1)


def test_a_record_without_a_value_is_reported_and_retracts_nothing(worker: Worker) -> None:
    assert worker.reads(None, PATH) == {"tombstone"}
    assert worker.reads(b"", PATH) == {"not-jws"}
    assert verdict(worker) == ALERT


@pytest.mark.parametrize(
    "path",
    [
        None, b"", "account/acme", "account/acme/licensing/", "/account/acme/licensing", "account/acme//licensing",
        "account/ACME/licensing", "account/acme/Licensing", "account/%61cme/licensing", "account/globex/licensing",
        "meeting/acme/m-1/licensing", "service/licensing", "account/acme/licensing ", b"\xff",
        "account/acme/licensing\0",
    ],
)  # fmt: skip
def test_a_document_stands_under_its_own_path_only(worker: Worker, path: str | bytes | None) -> None:
    assert worker.reads(sign(EVIL, [key("acme")], AUDIENCE), path) == {"key-mismatch"}


def test_nothing_moves_to_another_scope_under_its_old_path(worker: Worker) -> None:
    moved = service(name="licensing", revision=2, rules=[rule("alert")])
    assert worker.refuses(moved, "ann", "bo", path=PATH) == {"key-mismatch"}
    narrowed = account(scope="meeting", meeting="m-1", revision=2, default="remove")
    assert worker.refuses(narrowed, "acme", path=PATH) == {"key-mismatch"}
    assert worker.refuses({**narrowed, "scope": "account"}, "acme", path=PATH) == {"unknown-key"}


def test_what_was_signed_once_is_not_believed_again(worker: Worker) -> None:
    old = sign(account(default="alert"), [key("acme")], AUDIENCE)
    worker.takes(account(revision=MAX_REVISION - 1), "acme")
    before = worker.index.digest
    assert worker.reads(old, PATH) == set(), "the same content again is a repeat (ruling 17)"
    assert worker.index.digest == before
    assert verdict(worker) == 0
    assert worker.refuses(EVIL, "acme") == {"revision-falls"}
    assert worker.refuses(account(revision=2, retracted=True), "acme") == {"revision-falls"}
    assert worker.refuses(account(revision=MAX_REVISION - 1, default="remove"), "acme") == {"revision-conflict"}


def test_a_known_signature_counts_whatever_strangers_add(worker: Worker) -> None:
    """What nobody here can check is passed over: keys may be on their way into or out of the trust set."""
    raw = wrapped(PAYLOAD, STRANGE, {**STRANGE, "signature": b64(bytes(64))}, TRUE)
    assert [k.kid for k in verify(raw, worker.trust, AUDIENCE).keys] == ["acme"]


# -- a trust set that says one thing and means another -----------------------------------------------------------------


LOOSE = {
    "signature": TRUE["signature"],
    "header": TRUE["protected"],
    "payload": b64(PAYLOAD + b" "),
    "key": entry("ann")["x"],
}


@pytest.mark.parametrize("text", LOOSE.values(), ids=LOOSE)
def test_loose_bits_are_loose(text: str) -> None:
    """What the tests above forge with them would be read as the true bytes by a reader that is not strict."""
    assert loose(text) != text
    assert len({base64.urlsafe_b64decode(spelt + "==") for spelt in (text, loose(text))}) == 1


@pytest.mark.parametrize("spelt", [str, lambda x: f"{x}=", loose])
def test_one_public_key_cannot_stand_for_two_holders(spelt: Callable[[str], str]) -> None:
    members = [entry("ann"), entry("bo", x=spelt(entry("ann")["x"]))]
    with pytest.raises(ValueError, match=r"same public key|readable public key"):
        parse_trust(written(members))


def test_one_kid_cannot_stand_for_two_keys() -> None:
    with pytest.raises(ValueError, match="same kid"):
        trusting(entry("ann"), entry("bo", kid="ann"))


@pytest.mark.parametrize("scope", ["account/**", "account/acme*", "account/*/m-1", "account/.*", "account/acm?"])
def test_no_pattern_but_the_one_wildcard_reaches_other_accounts(scope: str) -> None:
    worker = Worker(trusting(entry("wide", scopes=[scope])))
    assert worker.refuses(EVIL, "wide") == {"C1-owner"}


@pytest.mark.parametrize(
    "scope", ["*", "account", "account/", "meeting/acme/m-1", "Service", "service/*", "service ", ""]
)
def test_a_scope_that_is_none_spoils_the_trust_set(scope: str) -> None:
    with pytest.raises(ValueError, match="has the scope"):
        trusting(entry("wide", scopes=[scope]))
