"""The public export of the policy log (charter C5, ruling 37): JSON lines that a third party can verify without Kafka.

The first line is a header, the last a footer; between them stands one line a record, in the log's order:

service document   whole, as it was signed, with its key: ``{"offset", "appended_at", "key", "value", …, "chain"}``
private document   ``{"offset", "appended_at", "sha256", "mark", "accepted", "on_behalf", "can_remove", "chain"}``
anything else      ``{"offset", "appended_at", "chain"}``: it is no document, and its bytes could be guessed

``chain`` is the chain's digest after the record (``wire.chain``); a private line holds what its link is made of. A
service document that is refused is told as a private one: nobody vouches for its text, which may name anybody. So an
exporter could tell any service document as a private one; whoever has it finds its digest there.
``appended_at`` is in ms since the epoch.

The footer tells the head, the approvers' public keys, and what is said in owners' names to many: a text ``on_behalf``
that ten accounts or more have. A text is the document without account, meeting, name and revision. In its free texts
and rule ids the document's own account and meeting are replaced before texts are compared, and after that any other
id that the log knows, wherever it stands as a word.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from streams.core import instants
from streams.core.facts import Vocabulary
from streams.core.policy import LIMITS, Document, Limits
from streams.wire import chain, jws
from streams.wire.chain import Head, LogRecord, Sealed
from streams.wire.documents import NotJson, strict_json
from streams.wire.history import Entry, History
from streams.wire.trust import SERVICE, TrustSet, parse_trust, written

FORMAT: Final = 1
SHARED_BY: Final = 10
"""Accounts that must have a text before it is told (ruling 37)."""
MAX_LINE: Final = 2 * jws.MAX_SIGNED
"""Bytes in a line of an export: a signed document and what stands beside it."""
_IDENTITY: Final = ("account", "meeting", "name", "revision")
_FREE: Final = ("ground", "reference", "contest", "note")


class Unverifiable(ValueError):
    """A file that is no export, or one that contradicts itself; one line."""


# -- writing -----------------------------------------------------------------------------------------------------


class Publication:
    """Writes an export.

    Args:
        trust: whose signatures counted.
        audience: the deployment's.
        contest: the deployment's own way to contest, which service documents may rely on (ruling 39).
    """

    def __init__(self, trust: TrustSet, audience: str, contest: str | None) -> None:
        self._trust, self._audience, self._contest = trust, audience, contest
        self._texts = SharedTexts()
        self._holders: set[str] = set()
        self._head = Head()
        self._records = 0

    def header(self) -> bytes:
        """The first line."""
        return _line({"doorward_policy_export": FORMAT, "audience": self._audience, "contest": self._contest})

    def record(self, entry: Entry) -> bytes:
        """The line of the next record."""
        self._head, self._records = entry.head, self._records + 1
        record, accepted = entry.record, entry.accepted
        told: dict[str, Any] = {"offset": record.offset, "appended_at": record.appended_at}
        if entry.sealed is None or record.key is None or record.value is None:
            return _line(told | {"chain": entry.head.digest.hex()})
        if accepted is not None and accepted.document.scope == "service":
            self._holders.update((accepted.holder or "").split(", "))
            told |= {"key": record.key.decode(), "value": record.value.decode()}
            told |= {"revision": accepted.document.revision, "holder": accepted.holder}
        else:
            if accepted is not None:
                value = jws.unverified(record.value, self._audience, jws.MAX_SIGNED)  # accepted, so within limits
                self._texts.add(value, accepted.document, accepted.on_behalf)
            told |= {
                "sha256": entry.sha256,
                "mark": entry.sealed.mark.hex(),
                "accepted": accepted is not None,
                "on_behalf": accepted.on_behalf if accepted else None,
                "can_remove": accepted.document.can_remove if accepted else None,
            }
        return _line(told | {"chain": entry.head.digest.hex()})

    def footer(self) -> bytes:
        """The last line."""
        approvers = [
            {"kty": "OKP", "crv": "Ed25519", "x": key.public.as_dict(private=False)["x"], "kid": kid}
            | {"holder": key.signer.holder, "scopes": [SERVICE]}
            | ({} if key.revoked_at is None else {"revoked": instants.render(key.revoked_at)})
            for kid, key in sorted(self._trust.keys.items())
            if SERVICE in key.signer.scopes and not key.signer.on_behalf and key.signer.holder in self._holders
        ]
        texts = [{"accounts": accounts, "text": text} for text, accounts in self._texts.shared()]
        return _line({"head": str(self._head), "records": self._records, "approvers": approvers, "texts": texts})


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class SharedTexts:
    """What is said on behalf of many owners, without whom."""

    def __init__(self) -> None:
        self._accounts: dict[str, set[str]] = {}
        self._ids: set[str] = set()

    def add(self, value: Mapping[str, Any], document: Document, on_behalf: bool) -> None:
        """Take in an accepted private document, as plain JSON values and compiled."""
        own = [each for each in (document.account, document.meeting) if each]
        self._ids.update(own)
        if on_behalf and not document.retracted:
            text = without_ids(_stripped(value), own)
            canonical = json.dumps(text, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            self._accounts.setdefault(canonical, set()).add(document.account or "")

    def shared(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The texts that enough accounts have, and how many."""
        for canonical, accounts in sorted(self._accounts.items()):
            if len(accounts) >= SHARED_BY:
                yield without_ids(json.loads(canonical), self._ids), len(accounts)


def _stripped(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in _IDENTITY}


def without_ids(value: Mapping[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    """A document with ids replaced in its free texts and its rules' ids; what rules ask for is codes, and stays."""
    named = list(ids)
    rules = [
        {key: _masked(part, named) if key in ("id", "note") else part for key, part in rule.items()}
        for rule in value.get("rules", ())
    ]
    masked = {key: _masked(part, named) if key in _FREE else part for key, part in value.items()}
    return masked | ({"rules": rules} if "rules" in value else {})


def _masked(text: Any, ids: Iterable[str]) -> Any:
    if not isinstance(text, str):
        return text
    for id_ in sorted(ids, key=len, reverse=True):  # the longest first: one id may stand in another
        for written_as in {id_, quote(id_, safe="")}:
            if written_as in text:
                text = re.sub(rf"(?<!\w){re.escape(written_as)}(?!\w)", "…", text)
    return text


# -- reading -----------------------------------------------------------------------------------------------------


class Verified(msgspec.Struct, frozen=True):
    """What an export was found to say.

    Attributes:
        head: the chain's, worked out again.
        heads: offset to the chain's digest after it.
        links: offset to that record's part in the chain.
        records: how many.
        service: of these service documents, judged again.
        gaps: offsets that hold no record.
        own_keys: whether they were judged by the keys that the export itself names.
        problems: one line each.
    """

    head: Head
    heads: dict[int, bytes]
    links: dict[int, bytes]
    records: int
    service: int
    gaps: tuple[tuple[int, int], ...]
    own_keys: bool
    problems: tuple[str, ...]


def verify(
    lines: Iterable[bytes], vocabulary: Vocabulary, trust: TrustSet | None = None, limits: Limits = LIMITS
) -> Verified:
    """Work out an export's chain again and judge its service documents.

    Args:
        lines: of the file, with or without their ends.
        vocabulary: the codes documents may name.
        trust: whose signatures count; None: the keys that the export names, which proves nothing of whose they are.
        limits: the deployment's greatest sizes.

    Raises:
        Unverifiable: it is no export, or is cut off.
    """
    header, *records, footer = _values(lines)
    keys = trust if trust is not None else _named_keys(footer)
    contest, audience = header.get("contest"), header.get("audience")
    if not isinstance(audience, str) or not isinstance(contest, str | None):
        raise Unverifiable("line 1: the header names no audience")
    judge = History(keys, audience, vocabulary, contest, limits=limits)
    head, heads, links, gaps, problems, service = Head(), dict[int, bytes](), dict[int, bytes](), [], [], 0
    for number, value in enumerate(records, 2):
        offset, appended_at, sealed, record = _read(value, number)
        if offset <= head.offset:
            raise Unverifiable(f"line {number}: offset {offset} does not follow {head.offset}")
        if offset > head.offset + 1:
            gaps.append((head.offset + 1, offset - 1))
        links[offset] = chain.link(offset, appended_at, sealed)
        head = chain.after(head, offset, links[offset])
        heads[offset] = head.digest
        if value.get("chain") != head.digest.hex():
            problems.append(f"offset {offset}: the chain breaks here")
            head = Head(_bytes32(value.get("chain"), number), offset)  # go on from what it claims: say each break once
        if record is not None:
            service += 1
            problems += _disagreements(judge.take(record), value)
    if footer["head"] != str(head) or footer.get("records") != len(records):
        problems.append(f"the footer tells of head {footer['head']}; it is {head}")
    return Verified(head, heads, links, len(records), service, tuple(gaps), trust is None, tuple(problems))


def _disagreements(entry: Entry, value: Mapping[str, Any]) -> list[str]:
    where = f"offset {entry.record.offset}, {value['key']}"
    if entry.accepted is None:
        return [f"{where}: {problem}" for problem in entry.problems]
    found = (entry.accepted.document.revision, entry.accepted.holder)
    told = (value.get("revision"), value.get("holder"))
    return [] if found == told else [f"{where}: is revision {found[0]} by {found[1]}, not {told[0]} by {told[1]}"]


def _values(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise Unverifiable(f"line {number} has more than {MAX_LINE:,} bytes")
        try:
            value = strict_json(line)
        except NotJson as exc:
            raise Unverifiable(f"line {number}: {exc}") from None
        if not isinstance(value, dict):
            raise Unverifiable(f"line {number} is no JSON object")
        found.append(value)
        if number == 1 and value.get("doorward_policy_export") != FORMAT:
            raise Unverifiable(f"line 1 is not the header of a policy export of format {FORMAT}")
    if len(found) < 2 or not isinstance(found[-1].get("head"), str):
        raise Unverifiable("the last line is no footer: the export is cut off")
    return found


def _read(value: Mapping[str, Any], number: int) -> tuple[int, int, Sealed | None, LogRecord | None]:
    """A record's line: its place, what the chain takes of it, and the record itself where it is told whole."""
    offset, appended_at = (_whole(value.get(name), number) for name in ("offset", "appended_at"))
    if not 0 <= appended_at <= instants.LATEST:
        raise Unverifiable(f"line {number}: appended_at is no time")
    if "value" in value:
        if not isinstance(value["value"], str) or not isinstance(value.get("key"), str):
            raise Unverifiable(f"line {number}: key and value are texts")
        record = LogRecord(offset, appended_at, value["key"].encode(), value["value"].encode())
        return offset, appended_at, chain.seal(record.key, record.value), record
    if "sha256" in value:
        digest = str(value["sha256"]).removeprefix("sha256:")
        return offset, appended_at, Sealed(_bytes32(digest, number), _bytes32(value.get("mark"), number)), None
    return offset, appended_at, None, None


def _whole(value: Any, number: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise Unverifiable(f"line {number}: offset and appended_at are whole numbers")
    return value


def _bytes32(text: Any, number: int) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise Unverifiable(f"line {number}: a digest is 64 hex digits")
    return bytes.fromhex(text)


def _named_keys(footer: Mapping[str, Any]) -> TrustSet:
    try:
        return parse_trust(written(footer.get("approvers", [])))
    except (ValueError, TypeError) as exc:
        raise Unverifiable(f"the footer's approvers: {exc}") from None
