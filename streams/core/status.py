"""What is said on ``policies.status``, as msgspec Structs: the only source of its schemas.

CloudEvents 1.0, told apart by ``type``: whether a record of the policy log was accepted or rejected, how far each
worker has got and what that changed on live calls, which keys and geo files are in use, and which of them were
offered and not taken. ``subject`` is the document's path, the worker, the digest of the trust set or the geo build.
Like all of the core this asks no clock: times come in.

An id is made of what the event says, never drawn: saying the same again is the same event. It is BLAKE2b-128 in hex
over the type and the named fields, each as UTF-8 with its length in bytes as 8 big-endian bytes before it.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

import msgspec

from streams.core import instants
from streams.core.index import Revision
from streams.core.policy import Problem

ACCEPTED: Final = "doorward.policy.accepted.v1"
REJECTED: Final = "doorward.policy.rejected.v1"
APPLIED: Final = "doorward.policy.applied.v1"
TRUST: Final = "doorward.trust.announced.v1"
TRUST_REFUSED: Final = "doorward.trust.refused.v1"
GEO: Final = "doorward.geo.announced.v1"
GEO_HELD: Final = "doorward.geo.held.v1"
GEO_REFUSED: Final = "doorward.geo.refused.v1"
SOURCE: Final = "doorward"
MOST_KEYS: Final = 2_000
"""Announced in one event, some 0.5 MB: those that approve service documents first."""
MOST_PROBLEMS: Final = 50
"""Told of one rejected record; the rest is counted."""
LONGEST_MESSAGE: Final = 300
LONGEST_PATH: Final = 8 * 1024
"""Characters: more than any document's path has, three ids of 128 characters percent-encoded."""


class AcceptedData(msgspec.Struct, kw_only=True, frozen=True):
    """A document that counts from here on. With ``on_behalf`` its owner is to be shown it (ruling 30).

    Attributes:
        offset: of the record in the policy log.
        appended_at: when the log took it in, ms since the epoch.
        sha256: of the signed document, ``sha256:`` and hex digits.
        holder: who signed; two approvers are written ``A, B``.
    """

    path: str
    revision: int
    offset: int
    appended_at: int
    sha256: str
    holder: str
    on_behalf: bool
    account: str | None
    meeting: str | None


class RejectedData(msgspec.Struct, kw_only=True, frozen=True):
    """A record that changes nothing, and every reason why.

    Attributes:
        path: the document's, or the record's key where the document could not be read that far.
        sha256: of the record's value; null for a tombstone.
    """

    path: str
    revision: int | None
    offset: int
    sha256: str | None
    problems: list[Problem]


class Trial(msgspec.Struct, kw_only=True, frozen=True):
    """What a document in report mode would do to the live sessions it reaches, on this worker.

    Of a service document, and of one signed on an owner's behalf, no count is told that is below 10 or from which
    such a count could be worked out (ruling 34): ``admit`` is null, the others are told down to whole tens, null
    where there are none, and one of them as 10 less where fewer than 10 sessions would be left. ``core.trials``
    makes these.

    Attributes:
        sessions: live sessions that it reaches.
        admit: of these it admits.
        alert: of these it flags.
        remove: of these it removes.
        would_alert: it flags them, and they are admitted now.
        would_remove: it removes them, and they are not removed now.
        meetings: in how many meetings ``would_remove`` falls.
    """

    path: str
    revision: int
    sessions: int | None
    admit: int | None
    alert: int | None
    remove: int | None
    would_alert: int | None
    would_remove: int | None
    meetings: int | None


class Sweep(msgspec.Struct, kw_only=True, frozen=True):
    """The live sessions of a worker that were decided again, and what changed.

    Attributes:
        sessions: live sessions on this worker's partitions.
        decided: of these were decided again.
        admit: verdicts that changed to admit.
        alert: verdicts that changed to alert.
        remove: verdicts that changed to remove.
        trials: one for each document in report mode that this worker took up with this sweep.
    """

    sessions: int
    decided: int
    admit: int
    alert: int
    remove: int
    trials: list[Trial] = []


class AppliedData(msgspec.Struct, kw_only=True, frozen=True):
    """A worker decides by the policy log up to an offset. Said once for an offset, when the sweep it caused is done.

    Attributes:
        worker: its id, which is its client id in the consumer group.
        offset: the last one applied, -1 for an empty log.
        digest: names the set of accepted revisions (``core.index``); equal on workers that agree.
        documents: how many paths are in the index.
        appended_at: when the log took in the record at ``offset``, ms since the epoch; null for an empty log.
        applied_at: ms since the epoch.
        timings: step to seconds. `judge`: verifying the records; `in_force`: from the append until new joins are
            decided by it; `swept`: from then until the last changed verdict was acknowledged; `start`: reading the
            whole log, at a worker's start.
        sweep: what was decided again; null where no session had to be.
    """

    worker: str
    offset: int
    digest: str
    documents: int
    appended_at: int | None
    applied_at: int
    timings: dict[str, float]
    sweep: Sweep | None = None


class AnnouncedKey(msgspec.Struct, kw_only=True, frozen=True):
    """A trusted key: which it is, who holds it and what for.

    Attributes:
        kid: what signatures call it.
        thumbprint: of the public key itself (RFC 7638): another key under the same kid is another.
        on_behalf: by ruling 30.
        revoked: from when on nothing new counts, RFC 3339; null while it stands.
    """

    kid: str
    thumbprint: str
    holder: str
    scopes: list[str]
    on_behalf: bool
    revoked: str | None = None


class TrustData(msgspec.Struct, kw_only=True, frozen=True):
    """The trust set in use (ruling 32): a key approves service documents from 24 h after it was first said here.

    Attributes:
        digest: names the set.
        keys: those for service documents first.
        left_out: keys of accounts that there was no room for.
    """

    digest: str
    keys: list[AnnouncedKey]
    left_out: int = 0


class TrustRefusedData(msgspec.Struct, kw_only=True, frozen=True):
    """A trust set that a worker does not use: it cannot be read, or says something else of the past.

    Attributes:
        worker: which worker refuses it.
        reason: why, in one line.
        in_use: the digest of the set that goes on counting; ``none`` of a worker that does not start.
    """

    worker: str
    reason: str
    in_use: str


class GeoFile(msgspec.Struct, kw_only=True, frozen=True):
    """A geo file in use.

    Attributes:
        name: without folder.
        sha256: ``sha256:`` and hex digits.
        build: when it was built.
        anonymity: ``vouched`` where service documents may rely on its not listing an address (C4, ruling 33), else
            why not: ``aged``, ``small``, ``no-canaries`` or ``canaries``; ``unasked`` in the sandbox; null for a file
            that lists no anonymised connections.
    """

    name: str
    sha256: str
    build: str
    anonymity: str | None = None


class GeoData(msgspec.Struct, kw_only=True, frozen=True):
    """The geo files in use, in the order they are asked (ruling 33); ``build`` is what decisions name."""

    build: str
    files: list[GeoFile]


class GeoHeldData(msgspec.Struct, kw_only=True, frozen=True):
    """Geo files that a worker did not take up, because they would change too many live verdicts at once.

    Attributes:
        build: the build offered.
        in_use: the build that decisions go on naming.
        worker: which worker holds it back.
        sessions: live sessions on its partitions.
        changed: of these would get another verdict.
        share: ``changed`` of ``sessions``, 0 to 1.
        limit: the greatest share that is taken up, 0 to 1.
    """

    build: str
    in_use: str
    worker: str
    sessions: int
    changed: int
    share: float
    limit: float


class GeoRefusedData(msgspec.Struct, kw_only=True, frozen=True):
    """Geo files that a worker cannot use.

    Attributes:
        worker: which worker refuses them.
        reason: why, in one line.
        in_use: the build that decisions go on naming.
    """

    worker: str
    reason: str
    in_use: str


class _Envelope(msgspec.Struct, kw_only=True, frozen=True, tag_field="type"):
    specversion: Literal["1.0"] = "1.0"
    source: str = SOURCE
    id: str
    time: str
    subject: str


class AcceptedEvent(_Envelope, tag=ACCEPTED, kw_only=True, frozen=True):
    """A record of the policy log was accepted; ``time`` is when the log took it in."""

    data: AcceptedData


class RejectedEvent(_Envelope, tag=REJECTED, kw_only=True, frozen=True):
    """A record of the policy log was rejected; ``time`` is when the log took it in."""

    data: RejectedData


class AppliedEvent(_Envelope, tag=APPLIED, kw_only=True, frozen=True):
    """A worker applied the log up to an offset."""

    data: AppliedData


class TrustEvent(_Envelope, tag=TRUST, kw_only=True, frozen=True):
    """The trust set in use was announced."""

    data: TrustData


class TrustRefusedEvent(_Envelope, tag=TRUST_REFUSED, kw_only=True, frozen=True):
    """A trust set was refused."""

    data: TrustRefusedData


class GeoEvent(_Envelope, tag=GEO, kw_only=True, frozen=True):
    """The geo files in use were announced."""

    data: GeoData


class GeoHeldEvent(_Envelope, tag=GEO_HELD, kw_only=True, frozen=True):
    """New geo files were held back: they would change the verdict of too many live sessions."""

    data: GeoHeldData


class GeoRefusedEvent(_Envelope, tag=GEO_REFUSED, kw_only=True, frozen=True):
    """New geo files were refused: they cannot be used."""

    data: GeoRefusedData


StatusEvent: TypeAlias = (
    AcceptedEvent
    | RejectedEvent
    | AppliedEvent
    | TrustEvent
    | TrustRefusedEvent
    | GeoEvent
    | GeoHeldEvent
    | GeoRefusedEvent
)

_decode: Callable[[bytes], StatusEvent] = msgspec.json.Decoder(StatusEvent).decode
_encoder = msgspec.json.Encoder()


def encode(event: StatusEvent) -> bytes:
    """The value of a structured-mode record."""
    return _encoder.encode(event)


def decode(value: bytes) -> StatusEvent:
    """Read a record of ``policies.status``. Raises msgspec.MsgspecError, for a type of a later version too."""
    try:
        return _decode(value)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(str(exc)) from None


def accepted(revision: Revision, *, offset: int, appended_at: int) -> AcceptedEvent:
    """Say that the record at an offset counts. A repeat is said with the revision that stands and its own offset."""
    document = revision.document
    data = AcceptedData(
        path=document.path,
        revision=document.revision,
        offset=offset,
        appended_at=appended_at,
        sha256=revision.sha256 or "",
        holder=revision.holder or "",
        on_behalf=revision.on_behalf,
        account=document.account,
        meeting=document.meeting,
    )
    identity = _identity(ACCEPTED, offset, data.sha256)
    return AcceptedEvent(id=identity, time=instants.render(appended_at), subject=data.path, data=data)


def rejected(
    path: str, revision: int | None, problems: Sequence[Problem], *, offset: int, appended_at: int, sha256: str | None
) -> RejectedEvent:
    """Say that the record at an offset changes nothing. ``path``: the document's, or the record's key as text.

    What a record can make us repeat is cut: whoever writes one may not keep the answer from fitting a record.
    """
    path = _cut(path, LONGEST_PATH)
    told = [
        Problem(problem.code, _cut(problem.path, LONGEST_MESSAGE), _cut(problem.message, LONGEST_MESSAGE))
        for problem in problems[:MOST_PROBLEMS]
    ]
    if len(problems) > MOST_PROBLEMS:
        told.append(Problem("more", "", f"and {len(problems) - MOST_PROBLEMS} more"))
    data = RejectedData(path=path, revision=revision, offset=offset, sha256=sha256, problems=told)
    identity = _identity(REJECTED, offset, sha256 or "")
    return RejectedEvent(id=identity, time=instants.render(appended_at), subject=path, data=data)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _line(text: str) -> str:
    return _cut(" ".join(text.split()), LONGEST_MESSAGE)


def applied(data: AppliedData) -> AppliedEvent:
    """Say how far a worker has got."""
    identity = _identity(APPLIED, data.worker, data.offset, data.digest)
    return AppliedEvent(id=identity, time=instants.render(data.applied_at), subject=data.worker, data=data)


def trust_announced(digest: str, keys: Sequence[AnnouncedKey], at: int) -> TrustEvent:
    """Say which keys are trusted, at an instant in ms. Keys of accounts past ``MOST_KEYS`` are counted only."""
    ordered = sorted(keys, key=lambda key: ("service" not in key.scopes, key.kid))
    data = TrustData(digest=digest, keys=ordered[:MOST_KEYS], left_out=max(0, len(ordered) - MOST_KEYS))
    return TrustEvent(id=_identity(TRUST, digest), time=instants.render(at), subject=digest, data=data)


def trust_refused(worker: str, reason: str, in_use: str, at: int) -> TrustRefusedEvent:
    """Say that a worker cannot use a new trust set, at an instant in ms. The reason is cut and put on one line."""
    reason = _line(reason)
    data = TrustRefusedData(worker=worker, reason=reason, in_use=in_use)
    identity = _identity(TRUST_REFUSED, worker, reason, in_use)
    return TrustRefusedEvent(id=identity, time=instants.render(at), subject=worker, data=data)


def geo_announced(build: str, files: Sequence[GeoFile], at: int) -> GeoEvent:
    """Say which geo files are in use, at an instant in ms."""
    data = GeoData(build=build, files=list(files))
    parts = (part for file in files for part in (file.name, file.sha256, file.build, file.anonymity or ""))
    return GeoEvent(id=_identity(GEO, build, *parts), time=instants.render(at), subject=build, data=data)


def geo_held(data: GeoHeldData, at: int) -> GeoHeldEvent:
    """Say that a worker held new geo files back, at an instant in ms."""
    counts = (data.sessions, data.changed, data.limit)
    identity = _identity(GEO_HELD, data.worker, data.build, data.in_use, *counts)
    return GeoHeldEvent(id=identity, time=instants.render(at), subject=data.build, data=data)


def geo_refused(worker: str, reason: str, in_use: str, at: int) -> GeoRefusedEvent:
    """Say that a worker cannot use new geo files, at an instant in ms. The reason is cut and put on one line."""
    reason = _line(reason)
    data = GeoRefusedData(worker=worker, reason=reason, in_use=in_use)
    identity = _identity(GEO_REFUSED, worker, reason, in_use)
    return GeoRefusedEvent(id=identity, time=instants.render(at), subject=worker, data=data)


def _identity(*parts: str | float) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = str(part).encode()
        digest.update(len(encoded).to_bytes(8))
        digest.update(encoded)
    return digest.hexdigest()
