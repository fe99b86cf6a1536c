"""People with keys, for tests of signed documents: each holder's keys are made once and are the same in every test.

A ``Worker`` reads a policy log that such people write, and says what came of each record.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from streams.core import policy, status
from streams.core.index import Index, Revision
from streams.wire import keys
from streams.wire.announced import Announced
from streams.wire.jws import TYP, sign
from streams.wire.keys import PrivateKey
from streams.wire.signed import Record, Rejected, Repeat, accept
from streams.wire.trust import TrustSet, parse_trust, rewritten, written
from tests.samples import NOON, VOCABULARY

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


def in_use(before: TrustSet, offered: TrustSet, *, at: int) -> TrustSet:
    """The set that workers judge by where one has been announced and another is put into their file at an instant."""
    announced = Announced()
    announced.note(before.announced(), at - 1)
    running, starting = (rewritten(keys, offered, at) for keys in (before.announced(), announced.keys))
    assert (running is None) == (starting is None)
    return before if running else offered


# -- signatures of any shape, for those who would rather not use ``sign`` ----------------------------------------------


def b64(data: bytes | str) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def signature(payload: bytes, name: str, header: str | None = None, **changed: Any) -> dict[str, Any]:
    """A true Ed25519 signature under whatever protected header is asked for; ``None`` leaves a member out."""
    members = {"alg": "Ed25519", "kid": name, "typ": TYP, "aud": AUDIENCE, **changed}
    text = json.dumps({k: v for k, v in members.items() if v is not None}) if header is None else header
    made = key(name).key.private_key.sign(f"{b64(text)}.{b64(payload)}".encode())  # type: ignore[union-attr]
    return {"protected": b64(text), "signature": b64(made)}


def wrapped(payload: bytes, *signatures: Mapping[str, Any], **beside: Any) -> bytes:
    """The general serialization of a payload and signatures."""
    return json.dumps({"payload": b64(payload), "signatures": signatures, **beside}).encode()


# -- a worker at the policy log ----------------------------------------------------------------------------------------


class Worker:
    """What one worker makes of a policy log in the ten-country world: what it refuses changes nothing."""

    def __init__(self, trust: TrustSet | None = None, **asked: Any) -> None:
        self.trust, self.asked = trust or trusting(), asked
        self.index, self.offset = Index(), -1
        self.said: list[status.StatusEvent] = []

    def reads(self, raw: bytes | None, path: bytes | str | None, *, at: int = NOON) -> set[str]:
        """Read a record; the codes it is refused with on ``policies.status``, none where it is accepted."""
        self.offset += 1
        before = self.index.digest
        record = Record(path.encode() if isinstance(path, str) else path, self.offset, at)
        accepting: dict[str, Any] = {"trust": self.trust, "audience": AUDIENCE, "vocabulary": VOCABULARY, **self.asked}
        try:
            revision = accept(raw, index=self.index, record=record, **accepting)
        except Rejected as exc:
            place = {"offset": self.offset, "appended_at": at, "sha256": exc.sha256}
            event = status.rejected(exc.path or "", exc.revision, exc.problems, **place)  # type: ignore[arg-type]
            self.said.append(event)
            assert self.index.digest == before
            assert status.decode(status.encode(event)) == event
            return {problem.code for problem in event.data.problems}
        except Repeat as exc:
            revision = exc.accepted
        self.index.put(revision)
        self.said.append(status.accepted(revision, offset=self.offset, appended_at=at))
        return set()

    def takes(self, document: dict[str, Any], *signers: str, **when: int) -> Revision:
        """Read a document that must be accepted."""
        path = policy.parse(document, VOCABULARY).path
        assert self.reads(sign(document, [key(name) for name in signers], AUDIENCE), path, **when) == set()
        slot = self.index.get(path)
        assert slot
        return next(r for r in slot.revisions if r.document.revision == document["revision"])

    def refuses(
        self, document: dict[str, Any], *signers: str, path: bytes | str | None = None, **when: int
    ) -> set[str]:
        """Read a document that must be refused, and say for what; under the path it would have unless given."""
        if path is None:
            ids = (document[key] for key in ("scope", "account", "meeting", "name") if key in document)
            path = policy.path_of(*map(str, ids))
        found = self.reads(sign(document, [key(name) for name in signers], AUDIENCE), path, **when)
        assert found
        return found
