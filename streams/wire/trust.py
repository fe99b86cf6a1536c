"""The trust set: whose signatures count, and for what. A JWK Set (RFC 7517) of Ed25519 public keys (RFC 8037).

Besides the JWK's own members each key carries

``holder``     who holds it, 1-128 characters, no comma (approvers are written ``A, B``); two holders differ in more
               than case, accents, spaces or what cannot be seen
``scopes``     what it may sign: ``service``, ``account/ACCOUNT`` or ``account/*``. ACCOUNT stands as in documents, not
               percent-encoded; an account named ``*`` therefore cannot have a key of its own
``on_behalf``  true where it signs for owners who have no key of their own
``revoked``    RFC 3339, where it has been withdrawn: what the policy log took in before then stands (ruling 32)

A key that is withdrawn stays in the set, marked so. Since workers judge the whole log by the set they have, a set that
says something else of the past would undo what counted then: an owner's document, or a retraction. So one that lacks a
key announced before, or has it revoked before anybody could know, is refused (``rewritten``): trust sets only grow.

Any other member is an error, since a mistyped ``on_behalf`` would otherwise widen what a key may do. A private part
(``d``) is an error too: such a file is copied to every worker.

Ruling 30 makes more keys ``on_behalf`` than are marked so; ``_works_on_behalf`` is the one place that says which.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from streams.core import instants
from streams.core.characters import likeness, says_something
from streams.core.charter import Signer
from streams.core.policy import MAX_NAME
from streams.core.status import AnnouncedKey
from streams.wire.documents import NotJson, Unreadable, read_bytes, strict_json

SERVICE: Final = "service"
EVERY_ACCOUNT: Final = "account/*"
_ACCOUNT: Final = "account/"
BACKDATED: Final = instants.DAY // 96
"""How long ago a key may have been revoked when the set that says so comes to a worker: 15 minutes, in ms."""
_MEMBERS: Final = frozenset(
    ("kty", "crv", "x", "kid", "use", "key_ops", "alg", "holder", "scopes", "on_behalf", "revoked")
)
ALGORITHMS: Final = ("Ed25519", "EdDSA")
"""RFC 9864's name and the older one of RFC 8037; with an Ed25519 key both mean the same. The first is written."""


class TrustUnavailable(Exception):
    """No trust set can be had from a file. The message is one line that names the file and what is wrong."""


class TrustedKey(msgspec.Struct, frozen=True):
    """One key of the set.

    Attributes:
        kid: its id, unique in the set.
        signer: its holder, scopes and whether it works on owners' behalf, by ruling 30.
        public: the key that verifies.
        revoked_at: from when on nothing new counts, in ms since the epoch; None while it stands.
    """

    kid: str
    signer: Signer
    public: OKPKey
    revoked_at: int | None = None

    def stands(self, at: int | None) -> bool:
        """Whether the key counts for what was published at an instant (ms); None: now, so never once revoked."""
        return _stands(self.revoked_at, at)

    def verify(self, signature: bytes, signed: bytes) -> None:
        """Raises ``cryptography.exceptions.InvalidSignature`` unless the key has signed these bytes with Ed25519."""
        public = self.public.public_key
        if not isinstance(public, Ed25519PublicKey):  # OKP keys are of other curves too
            raise InvalidSignature
        public.verify(signature, signed)

    @property
    def thumbprint(self) -> str:
        """Of the public key (RFC 7638): names the key whatever the set calls it."""
        return self.public.thumbprint()


def _stands(revoked_at: int | None, at: int | None) -> bool:
    return revoked_at is None or (at is not None and at < revoked_at)


class TrustSet:
    """All trusted keys.

    Attributes:
        keys: by kid.
        digest: ``sha256:`` and hex digits; names the set on ``policies.status``. Over what counts (keys, holders,
            scopes, on_behalf, revocations), so reordering or reformatting the file leaves it as it is.
    """

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        self.keys: Mapping[str, TrustedKey] = {key.kid: key for key in keys}
        self._exact: dict[str, int | None] = {}
        """Accounts with a key of their own, and until when one stands; a deployment may have a hundred thousand."""
        for key in self.keys.values():
            for scope in () if key.signer.on_behalf else key.signer.scopes:
                if scope.startswith(_ACCOUNT):
                    account, until = scope.removeprefix(_ACCOUNT), key.revoked_at
                    before = self._exact.get(account, until)
                    self._exact[account] = None if before is None or until is None else max(before, until)
        canonical = json.dumps([_described(self.keys[kid]) for kid in sorted(self.keys)], sort_keys=True)
        self.digest = f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    def exact_accounts(self, at: int | None = None, of: Iterable[str] | None = None) -> frozenset[str]:
        """The accounts, of some or of all, that have a key of their own at an instant (ms; None: now), by ruling 30."""
        known = self._exact
        asked = known if of is None else known.keys() & of
        return frozenset([account for account in asked if _stands(known[account], at)])

    def announced(self) -> list[AnnouncedKey]:
        """The keys as they are said on ``policies.status``, by kid."""
        return [
            AnnouncedKey(
                kid=kid,
                thumbprint=key.thumbprint,
                holder=key.signer.holder,
                scopes=list(key.signer.scopes),
                on_behalf=key.signer.on_behalf,
                revoked=None if key.revoked_at is None else instants.render(key.revoked_at),
            )
            for kid, key in sorted(self.keys.items())
        ]


def rewritten(before: Iterable[AnnouncedKey], trust: TrustSet, at: int) -> str | None:
    """What a trust set says otherwise of the past than was said before; None where it may take over.

    Each key of before is there under its kid, with its holder and all its scopes (it may gain some), and works on
    owners' behalf if it did. Whether it had been revoked is the same for every instant until ``BACKDATED`` ago: what
    the log took in before a revocation stands (ruling 32), so a revocation begins when it is made known. For a key that
    was stolen earlier, what it signed is retracted or superseded, where everybody sees it.

    Args:
        before: keys as they were announced, or are in use.
        trust: the set offered.
        at: ms since the epoch: now, or when documents were answered last.

    Returns:
        One line, which says what to do.
    """
    for old in before:
        key, name = trust.keys.get(old.kid), f"key {old.kid} of {old.holder}"
        if key is None or key.thumbprint != old.thumbprint:
            return f"{name} is gone, though it was announced: a key is revoked, never deleted or exchanged"
        if key.signer.holder != old.holder:
            return f"{name} is held by {key.signer.holder} now: a key keeps its holder; revoke it and add another"
        if lost := sorted(set(old.scopes) - set(key.signer.scopes)):
            return f"{name} has lost the scope {lost[0]}: a key keeps its scopes; revoke it and add another"
        if key.signer.on_behalf != old.on_behalf:
            now = "now" if key.signer.on_behalf else "no longer"
            return f"{name} works on owners' behalf {now} (ruling 30): a key keeps to that; revoke it and add another"
        if problem := _redated(old.revoked, key.revoked_at, at - BACKDATED):
            return f"{name} {problem}"
    return None


def _redated(said: str | None, now: int | None, earliest: int) -> str | None:
    """What is wrong with a revocation that was said otherwise or not at all; instants before ``earliest`` are past."""
    before = None if said is None else instants.parse(said)
    if now == before:
        return None
    if before is not None and before < earliest:
        return f"was revoked as of {said} and stays so"
    if now is not None and now < earliest:
        return (
            f"is revoked as of {instants.render(now)}, long before workers were told: what the log took in until "
            "then stands (ruling 32), so let it be revoked from now on"
        )
    return None


def _described(key: TrustedKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "x": key.public.as_dict(private=False)["x"],
        "holder": key.signer.holder,
        "scopes": sorted(key.signer.scopes),
        "on_behalf": key.signer.on_behalf,
        "revoked_at": key.revoked_at,
    }


def read_trust(path: str | Path) -> TrustSet:
    """The trust set of a file.

    Raises:
        TrustUnavailable: the file cannot be read or is no trust set.
    """
    data = read_bytes(path)
    if isinstance(data, Unreadable):
        raise TrustUnavailable(f"trust set {data}")
    try:
        return parse_trust(data)
    except ValueError as exc:
        raise TrustUnavailable(f"trust set {os.fspath(path)}: {exc}") from None


def parse_trust(data: bytes) -> TrustSet:
    """The trust set in the bytes of a JWK Set.

    Raises:
        ValueError: with one line that says what is wrong.
    """
    value = members_of(data)
    entries = [_entry(member, f"keys[{i}]") for i, member in enumerate(value)]
    seen: dict[str, str] = {}
    for i, (kid, _, public, _) in enumerate(entries):
        # one public key under two holders would let one person approve as two
        for what in (f"kid {kid!r}", f"public key {public.as_dict(private=False)['x']}"):
            if what in seen:
                raise ValueError(f"keys[{i}] and {seen[what]} have the same {what}")
            seen[what] = f"keys[{i}]"
    _tell_apart(signer.holder for _, signer, _, _ in entries)
    held: dict[str, set[str]] = {}
    for _, signer, _, _ in entries:
        held.setdefault(signer.holder, set()).update(signer.scopes)
    return TrustSet(
        TrustedKey(kid, Signer(signer.holder, signer.scopes, _works_on_behalf(signer, held[signer.holder])), public, at)
        for kid, signer, public, at in entries
    )


def _tell_apart(holders: Iterable[str]) -> None:
    """One person by two names that look the same would approve as two. Raises ValueError."""
    known: dict[str, str] = {}
    for holder in holders:
        other = known.setdefault(likeness(holder), holder)
        if other != holder:
            raise ValueError(
                f"holders {other!a} and {holder!a} differ in nothing but case, accents, spaces or characters "
                "that cannot be seen: write one person's name in one way, and two people's names further apart"
            )


def written(members: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a JWK Set of these entries (``streams.wire.keys.public_jwk`` makes them)."""
    return json.dumps({"keys": list(members)}, indent=2, ensure_ascii=False).encode() + b"\n"


def members_of(data: bytes) -> list[Any]:
    """The ``keys`` of a JWK Set, unchecked. Raises ValueError."""
    try:
        value = strict_json(data)
    except NotJson as exc:
        at = f" (line {exc.line}, column {exc.column})" if exc.line else ""
        raise ValueError(f"{exc}{at}") from None
    if not isinstance(value, dict) or list(value) != ["keys"] or not isinstance(value["keys"], list):
        raise ValueError('is no JWK Set, {"keys": [...]}')
    return value["keys"]


def _works_on_behalf(signer: Signer, held: set[str]) -> bool:
    """Ruling 30, given the scopes of all keys of the same holder.

    Marked so; a wildcard scope; any key of a holder of a wildcard key; an account key of a holder of a service key.
    A key for service documents alone is not made ``on_behalf`` by another such key of its holder, nor by an exact
    account key: it would otherwise be of no use at all. A key for both is, so it approves nothing.
    """
    accounts = any(scope != SERVICE for scope in signer.scopes)
    return signer.on_behalf or EVERY_ACCOUNT in held or (accounts and SERVICE in held)


def _entry(member: Any, at: str) -> tuple[str, Signer, OKPKey, int | None]:
    if not isinstance(member, dict):
        raise ValueError(f"{at} is no JWK")
    if "d" in member:
        raise ValueError(f"{at} holds a private key; a trust set holds public keys only")
    if strangers := member.keys() - _MEMBERS:
        raise ValueError(f"{at} has an unknown member {min(strangers)!r}")
    kid = _text(member, "kid", at)
    at = f"{at} ({kid})"
    if (member.get("kty"), member.get("crv")) != ("OKP", "Ed25519"):
        raise ValueError(f"{at} is no Ed25519 key (kty OKP, crv Ed25519)")
    for name, allowed in (("alg", ALGORITHMS), ("use", ("sig",)), ("key_ops", (["verify"],))):
        if name in member and member[name] not in allowed:
            raise ValueError(f"{at} has {name} {member[name]!r}, which is not for verifying Ed25519 signatures")
    try:
        public = OKPKey.import_key({name: member[name] for name in ("kty", "crv", "x")})
    except (JoseError, KeyError, ValueError, TypeError):
        raise ValueError(f"{at} has no readable public key x") from None
    holder = _text(member, "holder", at)
    if "," in holder or holder != holder.strip() or not says_something(holder):
        raise ValueError(f"{at} has a holder with a comma, a space at an end, or nothing that can be seen")
    on_behalf = member.get("on_behalf", False)
    if not isinstance(on_behalf, bool):
        raise ValueError(f"{at} has an on_behalf that is neither true nor false")
    try:
        revoked = instants.parse(_text(member, "revoked", at)) if "revoked" in member else None
    except ValueError as exc:
        raise ValueError(f"{at} revoked: {exc}") from None
    return kid, Signer(holder, _scopes(member, at), on_behalf), public, revoked


def _text(member: dict[str, Any], name: str, at: str) -> str:
    value = member.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME:
        raise ValueError(f"{at} has no {name}, a string of 1 to {MAX_NAME} characters")
    return value


def _scopes(member: dict[str, Any], at: str) -> tuple[str, ...]:
    scopes = member.get("scopes")
    if not isinstance(scopes, list) or not scopes:
        raise ValueError(f'{at} has no scopes, a list such as ["account/acme"]')
    for scope in scopes:
        check_scope(scope, at)
    return tuple(sorted(set(scopes)))


def check_scope(scope: Any, at: str) -> None:
    """Raises ValueError unless a scope is ``service``, ``account/ACCOUNT`` or ``account/*``."""
    fine = isinstance(scope, str) and (
        scope == SERVICE or (scope.startswith(_ACCOUNT) and 1 <= len(scope) - len(_ACCOUNT) <= MAX_NAME)
    )
    if not fine:
        raise ValueError(f"{at} has the scope {scope!r}; there are service, account/ACCOUNT and account/*")
