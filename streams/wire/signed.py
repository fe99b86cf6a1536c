"""From a signed document to an accepted revision, or every reason why not. The worker and offline ``decide`` share it.

Accepting asks, in this order: is it signed for this deployment by keys we know (``jws``); is it a document at all
(``core.policy``); does it stand under its own path; may these holders say this (charter C1, C5; rulings 30-32); is it
news (rulings 17, 31); was there notice (C5) and can it be contested (ruling 39). What depends on when the log took a
document in is asked of records only: a file has no such time.

An index is read here, never written: what ``accept`` returns is put there by the caller.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson

from streams.core import charter, instants
from streams.core.facts import Vocabulary
from streams.core.index import Index, Revision, Slot
from streams.core.policy import LIMITS, Document, Invalid, Limits, Problem, parse
from streams.wire.announced import KEY_AGE, Announced
from streams.wire.documents import Place, Placed
from streams.wire.jws import BadSignature, Verified, digest_of, verify
from streams.wire.trust import SERVICE, TrustSet


class Record(msgspec.Struct, frozen=True):
    """What the policy log says of a document besides its bytes.

    Attributes:
        key: the record's key.
        offset: where it stands.
        appended_at: the broker's append time, ms since the epoch.
    """

    key: bytes | None
    offset: int
    appended_at: int


class Rejected(Exception):
    """A document that is not taken.

    Attributes:
        problems: never empty.
        sha256: of the signed document; None for an unsigned or missing one.
        path: the document's, or None where it could not be read that far.
        revision: likewise.
    """

    def __init__(self, problems: list[Problem], sha256: str | None, document: Document | None = None) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems, self.sha256 = problems, sha256
        self.path = document.path if document else None
        self.revision = document.revision if document else None


class Repeat(Exception):
    """The same path, revision and content again: nothing to do, nothing wrong (ruling 17).

    Attributes:
        accepted: the revision that stands already.
    """

    def __init__(self, accepted: Revision) -> None:
        super().__init__(f"{accepted.document.path} revision {accepted.document.revision} is accepted already")
        self.accepted = accepted


class Finding(msgspec.Struct, frozen=True):
    """A problem and the file it is in."""

    place: Place
    problem: Problem

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


def content_of(value: Any) -> bytes:
    """Identifies a document's content, however it was written or signed: 32 bytes over its canonical JSON."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()


def accept(
    raw: bytes | None,
    *,
    trust: TrustSet,
    audience: str,
    vocabulary: Vocabulary,
    index: Index,
    contest: str | None = None,
    record: Record | None = None,
    announced: Announced | None = None,
    limits: Limits = LIMITS,
) -> Revision:
    """Decide whether a signed document becomes a revision.

    Args:
        raw: the signed document; None is a tombstone, which changes nothing.
        trust: whose signatures count.
        audience: the deployment's.
        vocabulary: the codes a document may name.
        index: what is accepted so far.
        contest: the deployment's own way to contest, for documents that name none (ruling 39).
        record: its place in the policy log, or None for a file.
        announced: what ``policies.status`` says of keys and their age (ruling 32); None: not asked.
        limits: the deployment's greatest sizes.

    Raises:
        Rejected: with every problem found.
        Repeat: it is accepted already.
    """
    if raw is None:
        raise Rejected([Problem("tombstone", "", "a record without a value changes nothing; retract instead")], None)
    verified, document = _read(raw, trust, audience, vocabulary, record, limits)
    return _judge(verified, document, trust, index, contest, record, announced)


def check(raw: bytes, *, trust: TrustSet, audience: str, vocabulary: Vocabulary, limits: Limits = LIMITS) -> Document:
    """Whether a signed document has any prospect, as far as can be said without the log: for whoever pushes it.

    Raises:
        Rejected: no worker with this trust set would take it, whatever was accepted before.
    """
    verified, document = _read(raw, trust, audience, vocabulary, None, limits)
    if document.scope == "service":
        signers, _ = _approving(verified, None, None)
        found = charter.c5_two_approvers(document, signers, one_suffices=True)
    else:
        exact = trust.exact_accounts(of=(document.account or "",))
        found = charter.c1_owners_only(document, verified.signers, exact)
    if found:
        raise Rejected([Problem(*violation) for violation in found], verified.sha256, document)
    return document


def too_large(value: Any, limits: Limits) -> Problem | None:
    """What a worker would say of a plain document once it is signed, where its payload alone takes too many bytes."""
    least = len(orjson.dumps(value)) * 4 // 3  # base64url
    if least <= limits.signed:
        return None
    message = f"signed it has over {least:,} bytes; a signed document has at most {limits.signed:,}"
    return Problem("too-large", "", message)


def plain(value: Any, vocabulary: Vocabulary, limits: Limits = LIMITS) -> Document:
    """Check and compile a plain document, of which a worker will see the signed form. Raises Invalid."""
    document = parse(value, vocabulary, limits)
    if problem := too_large(value, limits):
        raise Invalid([problem])
    return document


def accept_unsigned(value: Any, vocabulary: Vocabulary, index: Index, limits: Limits = LIMITS) -> Revision:
    """The same for a plain document, which answers for its text alone (``doorward decide --unsigned``).

    Raises:
        Rejected: with every problem found.
        Repeat: it is accepted already.
    """
    try:
        document = plain(value, vocabulary, limits)
    except Invalid as exc:
        raise Rejected(exc.problems, None) from None
    revision = Revision(document=document, content=content_of(value))
    if problem := _not_news(revision, index.get(document.path), None):
        raise Rejected([problem], None, document)
    return revision


def index_of_signed(
    files: Iterable[tuple[bytes, Place]],
    *,
    trust: TrustSet,
    audience: str,
    vocabulary: Vocabulary,
    contest: str | None = None,
    limits: Limits = LIMITS,
) -> tuple[Index, list[Finding]]:
    """All signed documents of a folder, lower revisions first whatever their files are called."""
    index, findings = Index(), []
    offers = []
    for raw, place in files:
        try:
            offers.append((place, *_read(raw, trust, audience, vocabulary, None, limits)))
        except Rejected as exc:
            findings += [Finding(place, problem) for problem in exc.problems]
    for place, verified, document in sorted(offers, key=lambda offer: (offer[2].path, offer[2].revision)):
        try:
            index.put(_judge(verified, document, trust, index, contest, None, None))
        except Repeat:
            continue
        except Rejected as exc:
            findings += [Finding(place, problem) for problem in exc.problems]
    return index, findings


def index_of_unsigned(
    documents: Iterable[Placed], vocabulary: Vocabulary, limits: Limits = LIMITS
) -> tuple[Index, list[Finding]]:
    """All unsigned documents of a folder."""
    index, findings = Index(), []
    for value, place in documents:
        try:
            index.put(accept_unsigned(value, vocabulary, index, limits))
        except Repeat:
            continue
        except Rejected as exc:
            findings += [Finding(place, problem) for problem in exc.problems]
    return index, findings


# -- what accepting asks -----------------------------------------------------------------------------------------


def _read(
    raw: bytes, trust: TrustSet, audience: str, vocabulary: Vocabulary, record: Record | None, limits: Limits
) -> tuple[Verified, Document]:
    try:
        at = record.appended_at if record else None
        verified = verify(raw, trust, audience, published_at=at, max_bytes=limits.signed)
        return verified, parse(verified.payload, vocabulary, limits)
    except BadSignature as exc:
        raise Rejected([Problem(exc.code, "", str(exc))], digest_of(raw)) from None
    except Invalid as exc:
        raise Rejected(exc.problems, digest_of(raw)) from None


def _judge(
    verified: Verified,
    document: Document,
    trust: TrustSet,
    index: Index,
    contest: str | None,
    record: Record | None,
    announced: Announced | None,
) -> Revision:
    slot = index.get(document.path)
    problems: list[Problem] = []
    if record and record.key != document.path.encode():
        problems.append(Problem("key-mismatch", "", f"the record's key is not the document's path {document.path}"))
    at = record.appended_at if record else None
    if document.scope == "service":
        signers, young = _approving(verified, announced, at)
        one = _one_suffices(document, slot, signers)
        found = charter.c5_two_approvers(document, signers, one_suffices=one)
        if found:
            found += young
        holder, on_behalf = ", ".join(sorted({signer.holder for signer in signers})), False
    else:
        exact = trust.exact_accounts(at, (document.account or "",))
        owner = charter.trusted_owner(document, verified.signers, exact)
        holder, on_behalf = (owner.holder, owner.on_behalf) if owner else ("", False)
        last = slot.revisions[0].on_behalf if slot else None
        found = charter.c1_owners_only(document, verified.signers, exact)
        found += charter.c1_exact_stays_exact(document, on_behalf, last)
    problems += [Problem(*violation) for violation in found]
    revision = Revision(
        document=document,
        content=content_of(verified.payload),
        holder=holder,
        on_behalf=on_behalf,
        sha256=verified.sha256,
        offset=record.offset if record else -1,
        appended_at=record.appended_at if record else 0,
    )
    if not problems and (problem := _not_news(revision, slot, record)):
        problems.append(problem)
    if record:
        problems += _published(document, slot, record, contest)
    if problems:
        raise Rejected(problems, verified.sha256, document)
    return revision


def _approving(
    verified: Verified, announced: Announced | None, at: int | None
) -> tuple[list[charter.Signer], list[charter.Violation]]:
    """The signers that may approve service documents, and why others are too new to (ruling 32)."""
    signers, young = [], []
    for key in verified.keys:
        if SERVICE not in key.signer.scopes or key.signer.on_behalf:
            continue
        if announced is None or at is None or announced.old_enough(key, at):
            signers.append(key.signer)
            continue
        since = announced.since(key, at)
        when = "was not announced yet"
        if since is not None:
            when = f"was announced at {instants.render(since)} and approves from {instants.render(since + KEY_AGE)} on"
        young.append(("C5-key-age", "", f"key {key.kid} of {key.signer.holder} {when}"))
    return signers, young


def _present(document: Document, slot: Slot | None) -> Revision | None:
    """The revision a document would follow."""
    if slot is None:
        return None
    return next((r for r in slot.revisions if r.document.revision < document.revision), None)


def _takes_away(document: Document, present: Revision | None) -> bool:
    """Whether a revision only takes from the present one. A retraction's text was never checked: nothing to take."""
    return (
        present is not None and not present.document.retracted and charter.takes_away_only(document, present.document)
    )


def _one_suffices(document: Document, slot: Slot | None, signers: Sequence[charter.Signer]) -> bool:
    """Ruling 31: one of its approvers may retract a service document or take from it."""
    present = _present(document, slot)
    if slot is None or present is None or not (document.retracted or _takes_away(document, present)):
        return False
    approvers: set[str] = set()
    for revision in slot.revisions:  # highest first: past what one approver alone took away, down to what two approved
        if revision.document.revision <= present.document.revision:
            holders = (revision.holder or "").split(", ")
            approvers.update(holders)
            if len(holders) > 1:
                break
    return any(signer.holder in approvers for signer in signers)


def _not_news(revision: Revision, slot: Slot | None, record: Record | None) -> Problem | None:
    """Why a revision number cannot be taken: rulings 17 and, in the log, that revisions only rise. Raises Repeat."""
    if slot is None:
        return None
    number = revision.document.revision
    for old in slot.revisions:
        if old.document.revision == number:
            if old.content == revision.content:
                raise Repeat(old)
            return Problem("revision-conflict", "revision", f"revision {number} is accepted with other content")
    highest = slot.revisions[0].document.revision
    if record and number < highest:
        return Problem("revision-falls", "revision", f"revision {highest} is accepted already; {number} is lower")
    return None


def _published(document: Document, slot: Slot | None, record: Record, contest: str | None) -> list[Problem]:
    """What is asked of a document in the log: notice, and a way to contest (C5; ruling 39)."""
    problems = []
    if document.scope == "service":
        if not _takes_away(document, _present(document, slot)):
            problems += [Problem(*v) for v in charter.c5_notice(document, record.appended_at)]
        if document.can_remove and not (document.contest or contest):
            message = "it can remove, so it or the deployment (DOORWARD_CONTEST) must say how to contest"
            problems.append(Problem("contest", "contest", message))
    return problems
