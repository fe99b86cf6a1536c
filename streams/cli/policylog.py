"""`doorward policy show` and `log`: what the policy log holds, who signed it, and whether it is as it was."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from streams.adapters.iso import vocabulary
from streams.cli import console, history, pushing, trial
from streams.core import instants
from streams.core.standing import Standing, present, standings
from streams.settings import Settings
from streams.wire import chain, jws, publication
from streams.wire.chain import Head
from streams.wire.comparison import Earlier
from streams.wire.history import NOT_CHECKED, Entry
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust

# -- show --------------------------------------------------------------------------------------------------------


def show(
    path: Annotated[str | None, typer.Argument(help="A document's path; without, all documents are listed.")] = None,
    revision: Annotated[int | None, typer.Option(min=1, help="This revision. [default: the one in force]")] = None,
    bootstrap: history.Bootstrap = None,
    trust_file: history.Trust = None,
    audience: history.Audience = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a document.")] = False,
) -> None:
    """Show a document as it was accepted, all its revisions, who signed them and where they stand.

    Reads the log from its beginning and verifies what it shows. A revision is in force, waiting, expired, retracted
    (it is the retraction) or superseded.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience)
    raws: dict[int, bytes] = {}

    def keep(entry: Entry) -> None:
        if entry.path == path and entry.outcome == "accepted" and entry.record.value is not None:
            raws[entry.record.offset] = entry.record.value

    made, _ = history.read(settings, pushing.trusted(settings), keep)
    now = trial.now()
    with console.quiet_pipe():
        if path is None:
            for slot in sorted(made.index, key=lambda slot: slot.path):
                told = _standing(present(slot, now))
                console.out(json.dumps({"path": slot.path, **told}) if as_json else f"{slot.path}: {_words(told)}")
            return
        found = made.index.get(path)
        if found is None:
            console.fail(f"{path}: the policy log has no such document", console.BAD_INPUT)
        shown = present(found, now).revision.document.revision if revision is None else revision
        listed = [each for each in standings(found, now) if revision in (None, each.revision.document.revision)]
        if not listed:
            console.fail(f"{path}: has no accepted revision {revision}", console.BAD_INPUT)
        payloads = {each.revision.offset: jws.payload_of(raws[each.revision.offset], jws.MAX_SIGNED) for each in listed}
        if as_json:
            rows = [_standing(each) | {"document": json.loads(payloads[each.revision.offset])} for each in listed]
            console.out(json.dumps({"path": path, "revisions": rows}))
            return
        for each in listed:
            console.out(f"{path}: {_words(_standing(each))}")
            console.out(f"  offset {each.revision.offset}, {each.revision.sha256}")
        payload = next(payloads[e.revision.offset] for e in listed if e.revision.document.revision == shown)
        console.out(json.dumps(json.loads(payload), indent=2, ensure_ascii=False))


def _standing(standing: Standing) -> dict[str, Any]:
    revision = standing.revision
    return {
        "revision": revision.document.revision,
        "state": standing.state,
        "until": None if standing.until is None else instants.render(standing.until),
        "mode": revision.document.mode,
        "holder": revision.holder,
        "on_behalf": revision.on_behalf,
        "offset": revision.offset,
        "appended_at": instants.render(revision.appended_at),
        "sha256": revision.sha256,
    }


def _words(told: dict[str, Any]) -> str:
    until = f" until {told['until']}" if told["until"] else ""
    report = ", report mode" if told["mode"] == "report" else ""
    behalf = " on the owner's behalf" if told["on_behalf"] else ""
    signed = f"signed by {told['holder']}{behalf}, in the log since {told['appended_at']}"
    return f"revision {told['revision']} {told['state']}{until}{report}; {signed}"


# -- log ---------------------------------------------------------------------------------------------------------


def log(
    path: Annotated[str | None, typer.Argument(help="Print this document's records only; all are verified.")] = None,
    bootstrap: history.Bootstrap = None,
    trust_file: history.Trust = None,
    audience: history.Audience = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a record.")] = False,
    head: Annotated[bool, typer.Option("--chain", help="Print the chain's head, HASH@OFFSET, at the end.")] = False,
    since: Annotated[
        str | None, typer.Option("--since-head", help="An earlier head HASH@OFFSET, or an earlier export's file.")
    ] = None,
    known: Annotated[
        bool, typer.Option("--known", help="What is wrong up to --since-head has been looked into: told, no finding.")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="Write the public export instead (JSON lines).")] = False,
    verify: Annotated[Path | None, typer.Option(help="Verify an export's file; asks no broker.")] = None,
    key_age: Annotated[
        bool, typer.Option("--key-age", help="Also hold approvers' keys to their 24 h (a sandbox's workers do not).")
    ] = False,
) -> None:
    """Read the policy log from its beginning: who signed what and when, what it changed, and whether all of it holds.

    Every signature is verified and every record judged again by today's trust set, as a worker does from a cold start;
    since when approvers' keys have been announced (ruling 32) only with --key-age. Exit code 1: a signature that does
    not hold, a revision that falls, a record that is missing, or one that is not as --since-head remembers it.

    --chain prints a digest over every record's offset, append time, key and content. Who keeps it elsewhere can show
    later, with --since-head, that nothing up to it was altered, removed or put in; with a whole export, what was.
    Without an older head it proves nothing about a log that was rewritten from its start.

    The log keeps a bad record for ever. Once it has been looked into, keep the head behind it: --since-head HEAD
    --known tells of that record still, but ends with 1 only for what came later, or where HEAD does not hold any more.

    --public exports service documents whole, and of private ones the hash, whether they are signed on the owner's
    behalf and whether they can remove, with the chain; and texts that ten accounts or more have on their behalf.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience)
    if verify is not None:
        if path or public or known:
            console.fail("--verify takes no path, and neither --public nor --known", console.BAD_INPUT)
        _verify(verify, trust_file, since, settings, head=head, as_json=as_json)
    if known and since is None:
        console.fail("--known goes with --since-head, up to which it is meant", console.BAD_INPUT)
    if public and (path or as_json):
        console.fail("--public takes neither a path nor --json: it is JSON lines, and whole", console.BAD_INPUT)
    trusted = pushing.trusted(settings)
    reading = _Reading(settings, trusted, path, _earlier(since, settings), known=known, public=public, as_json=as_json)
    with console.quiet_pipe():
        made, extent = history.read(settings, trusted, reading.take, bar=not sys.stdout.isatty(), key_age=key_age)
        reading.end(made.head, extent.end, show_head=head, key_age=key_age)
    if reading.findings:
        raise typer.Exit(console.FINDING)


class _Reading:
    """Prints the log as it is read, and counts what is wrong with it."""

    def __init__(
        self,
        settings: Settings,
        trusted: TrustSet,
        path: str | None,
        earlier: Earlier | None,
        *,
        known: bool,
        public: bool,
        as_json: bool,
    ) -> None:
        self.findings = self.known = 0
        self._known_to = earlier.offset if earlier is not None and known else -1
        self._path, self._earlier, self._as_json = path, earlier, as_json
        self._export = publication.Publication(trusted, settings.audience, settings.contest) if public else None
        self._outcomes = {"accepted": 0, "repeated": 0, "refused": 0}
        self._last = -1
        if self._export is not None:
            console.out(self._export.header())

    def take(self, entry: Entry) -> None:
        """Print a record."""
        record = entry.record
        if record.offset > self._last + 1:
            self._find(_gap(self._last + 1, record.offset - 1), record.offset - 1)
        self._last = record.offset
        self._outcomes[entry.outcome] += 1
        if entry.is_finding:
            self._count(record.offset)
        if self._earlier is not None:
            linked = chain.link(record.offset, record.appended_at, entry.sealed)
            for line in self._earlier.see(record.offset, linked, entry.head):
                self._find(line)
        if self._export is not None:
            console.out(self._export.record(entry))
        elif self._path in (None, entry.path):
            console.out(json.dumps(_told(entry)) if self._as_json else _line(entry))

    def end(self, head: Head, end: int, *, show_head: bool, key_age: bool) -> None:
        """Print what can only be said of the whole."""
        if self._last < end - 1:
            self._find(_gap(self._last + 1, end - 1))
        for line in self._earlier.end() if self._earlier is not None else ():
            self._find(line)
        if self._export is not None:
            console.out(self._export.footer())
        elif show_head:
            console.out(json.dumps({"head": str(head)}) if self._as_json else str(head))
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self._outcomes.items())
        console.say(f"{sum(self._outcomes.values())} records: {counts}{'' if key_age else f'; {NOT_CHECKED}'}")
        for count, which in ((self.known, f", known up to offset {self._known_to}"), (self.findings, "")):
            if count:
                console.say(f"doorward: {count} finding{'' if count == 1 else 's'}{which}")

    def _find(self, line: str, offset: int | None = None) -> None:
        self._count(offset)
        console.say(line)

    def _count(self, offset: int | None) -> None:
        """Count a finding: up to which offset it is about records; None where it is about the whole chain."""
        if offset is not None and offset <= self._known_to:
            self.known += 1
        else:
            self.findings += 1


def _gap(first: int, last: int) -> str:
    where = f"offset {first}" if first == last else f"offsets {first} to {last}"
    return f"{where}: no record (deleted, or the mark of a transaction)"


def _told(entry: Entry) -> dict[str, Any]:
    accepted = entry.accepted
    return {
        "offset": entry.record.offset,
        "appended_at": instants.render(entry.record.appended_at),
        "path": entry.path,
        "revision": entry.revision,
        "outcome": entry.outcome,
        "holder": accepted.holder if accepted else None,
        "on_behalf": accepted.on_behalf if accepted else None,
        "change": entry.change,
        "problems": [{"code": p.code, "path": p.path, "message": p.message} for p in entry.problems],
        "sha256": entry.sha256,
        "finding": entry.is_finding,
        "head": str(entry.head),
    }


def _line(entry: Entry) -> str:
    when = instants.render(entry.record.appended_at)
    number = "" if entry.revision is None else f" r{entry.revision}"
    accepted = entry.accepted
    by = "" if accepted is None else f", {accepted.holder}{' on the owner’s behalf' if accepted.on_behalf else ''}"
    said = entry.change or "the same again"
    if entry.problems:
        said = "; ".join(map(str, entry.problems))
    return f"{when} {entry.record.offset} {entry.path}{number}{by}: {entry.outcome}: {said}"


# -- exports and earlier heads -----------------------------------------------------------------------------------


def _earlier(since: str | None, settings: Settings) -> Earlier | None:
    """What ``--since-head`` remembers. Ends the command where it cannot be read, or contradicts itself."""
    if since is None:
        return None
    if Path(since).is_file():
        found = _read_export(Path(since), None, settings)
        for problem in found.problems:
            console.say(f"{since}: {problem}")
        if found.problems:
            console.fail(f"--since-head: {since} does not hold in itself", console.FINDING)
        return Earlier(found.head, found.links)
    try:
        return Earlier(chain.parse_head(since))
    except ValueError as exc:
        console.fail(f"--since-head: {exc}, nor a file", console.BAD_INPUT)


def _verify(
    file: Path, trust_file: Path | None, since: str | None, settings: Settings, *, head: bool, as_json: bool
) -> NoReturn:
    try:
        trusted = None if trust_file is None else read_trust(trust_file)
    except TrustUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)
    earlier = _earlier(since, settings)
    found = _read_export(file, trusted, settings)
    problems = [*found.problems, *(_gap(*gap) for gap in found.gaps)]
    if earlier is not None:
        for offset, digest in found.heads.items():
            problems += earlier.see(offset, found.links[offset], Head(digest, offset))
        problems += earlier.end()
    if as_json:
        told = {"head": str(found.head), "records": found.records, "service": found.service, "own_keys": found.own_keys}
        console.out(json.dumps(told | {"problems": problems}))
    else:
        for problem in problems:
            console.out(problem)
        if head:
            console.out(str(found.head))
    keys = "the export's own keys: compare them with ones you have from elsewhere" if found.own_keys else "your keys"
    console.say(f"{found.records} records, {found.service} of service documents, judged by {keys}")
    console.say(f"{NOT_CHECKED}; private documents, of which only hashes are told")
    raise typer.Exit(console.FINDING if problems else 0)


def _read_export(file: Path, trusted: TrustSet | None, settings: Settings) -> publication.Verified:
    def lines() -> Iterator[bytes]:
        with open(file, "rb") as stream:
            while line := stream.readline(publication.MAX_LINE + 1):
                yield line.rstrip(b"\n")

    try:
        return publication.verify(lines(), vocabulary(), trusted, settings.limits())
    except OSError as exc:
        console.fail(f"{file}: {exc.strerror}", console.UNAVAILABLE)
    except publication.Unverifiable as exc:
        console.fail(f"{file}: {exc}", console.BAD_INPUT)
