"""``doorward decide``: decide recorded or made-up joins offline, with the worker's own code (design §9, ruling 28)."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import orjson
import typer

from streams import __version__
from streams.adapters import geo
from streams.adapters.iso import vocabulary
from streams.agents.decider import Decider
from streams.cli import console
from streams.core import instants
from streams.core.events import JOIN, Event, JoinEvent, LeaveEvent, Provenance
from streams.core.index import Index
from streams.settings import Settings
from streams.wire import cloudevents, documents, signed, trust
from streams.wire.cloudevents import Malformed

BARE_SOURCE = "doorward-decide"


def decide(
    policies: Annotated[Path, typer.Option(help="Folder of policy documents, read recursively.", show_default=False)],
    joins: Annotated[str, typer.Option(help="Joins as JSON lines; - is stdin.", show_default=False)],
    geo_files: Annotated[
        list[Path] | None,
        typer.Option("--geo", help="MMDB file, repeatable; the first that knows a fact wins. None: the snapshot."),
    ] = None,
    now: Annotated[str | None, typer.Option(help="Decide as of this RFC 3339 time instead of the clock.")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Read unsigned YAML and JSON documents.")] = False,
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="JWK Set to verify *.jws.json documents with.")
    ] = None,
    audience: Annotated[str | None, typer.Option(help="The deployment's name in signed documents.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Write report-mode decisions too.")] = False,
) -> None:
    """Decide joins offline: one decision event a line, in order, dead letters included."""
    settings = console.settings(trust=trust_file, audience=audience)
    fixed = parse_now(now)
    if not unsigned and settings.trust is None:
        console.fail("--trust FILE is required for signed documents, or --unsigned for others", console.BAD_INPUT)
    if unsigned and trust_file is not None:
        console.fail("--unsigned reads no signatures; leave out --trust", console.BAD_INPUT)
    index = read_index(policies, settings, unsigned=unsigned)
    geography = open_geo(geo_files)
    provenance = Provenance(0, geography.build, geography.time, settings.contest, __version__, settings.language)
    decider = Decider(index, geography.facts, provenance, rosters=True)
    with opened(joins) as lines, console.quiet_pipe():
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            at = time.time_ns() // 1_000_000 if fixed is None else fixed
            for written in answer(decider, line, number, at, report=report, max_bytes=settings.max_event_bytes):
                console.out(written)


def answer(
    decider: Decider, line: bytes, number: int, at: int, *, report: bool, max_bytes: int = cloudevents.MAX_BYTES
) -> Iterator[bytes]:
    """The lines written for one line read: a decision, perhaps its report, a dead letter, or nothing for a leave."""
    try:
        event = read_event(line.rstrip(b"\r\n"), number, max_bytes)
    except Malformed as exc:
        yield orjson.dumps({"dead_letter": exc.fault, "detail": exc.detail, "line": number})
        return
    if isinstance(event, LeaveEvent):
        return
    answered = decider.answer(event, number, at)
    made = cloudevents.encode(answered.decision)
    yield made if answered.bad_address is None else _with(made, b'"dead_letter":"bad_address"')
    if report and answered.report is not None:
        yield _with(cloudevents.encode(answered.report), b'"report":true')


class _Attributes(msgspec.Struct):
    """Just enough to tell a CloudEvent from a bare ``data`` object."""

    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_attributes = msgspec.json.Decoder(_Attributes).decode


def read_event(line: bytes, number: int, max_bytes: int) -> Event:
    """One line as an event; a bare ``data`` object is a join with the line number as its id. Raises Malformed."""
    try:
        bare = _attributes(line).specversion is msgspec.UNSET
    except (msgspec.MsgspecError, RecursionError):
        bare = False  # no object, or no JSON: the decoder says which
    if not bare:
        return cloudevents.decode(line, max_bytes=max_bytes)
    data = cloudevents.decode_data(line, max_bytes=max_bytes)
    return JoinEvent("1.0", JOIN, BARE_SOURCE, str(number), data)


def _with(encoded: bytes, member: bytes) -> bytes:
    return encoded[:-1] + b"," + member + b"}"


def parse_now(now: str | None, option: str = "--now") -> int | None:
    """The instant that an option names, in ms; None where it wasn't given. Ends the command on a bad one."""
    if now is None:
        return None
    try:
        return instants.parse(now)
    except ValueError as exc:
        console.fail(f"{option}: {exc}", console.BAD_INPUT)


def open_geo(files: list[Path] | None) -> geo.Geo:
    """The geo files named, or the shipped snapshot. Ends the command when one cannot be used."""
    try:
        return geo.Geo.open(files or [geo.shipped()], vocabulary())
    except geo.GeoUnavailable as exc:
        console.fail(f"--geo: {exc}", console.UNAVAILABLE)


def read_index(folder: Path, settings: Settings, *, unsigned: bool) -> Index:
    """All documents of a folder as an index; every bad one is reported, then the command ends (ruling 19)."""
    limits = settings.limits()
    try:
        if unsigned or settings.trust is None:
            found, unreadable = documents.read_folder(folder, limits.signed)
            index, findings = signed.index_of_unsigned(found, vocabulary(), limits)
        else:
            raws, unreadable = documents.read_signed_folder(folder)
            index, findings = signed.index_of_signed(
                raws,
                trust=trust.read_trust(settings.trust),
                audience=settings.audience,
                vocabulary=vocabulary(),
                contest=settings.contest,
                limits=limits,
            )
    except documents.FolderUnavailable as exc:
        console.fail(f"--policies: {exc}", console.UNAVAILABLE)
    except trust.TrustUnavailable as exc:
        console.fail(f"--trust: {exc}", console.UNAVAILABLE)
    problems = [*unreadable, *findings]
    for problem in problems:
        console.say(str(problem))
    if problems:
        console.fail(f"{len(problems)} problem(s) in {folder}; nothing was decided", console.BAD_INPUT)
    if not len(index):
        kind = "unsigned documents" if unsigned else "signed documents (*.jws.json)"
        console.say(f"doorward: no {kind} in {folder}: every join is admitted")
    return index


@contextmanager
def opened(joins: str, option: str = "--joins") -> Iterator[BinaryIO]:
    """The file that an option names, or stdin for ``-``. Ends the command when it cannot be read."""
    if joins == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(joins).open("rb")  # noqa: SIM115  # closed below; what goes wrong inside is not about opening it
    except OSError as exc:
        console.fail(f"{option}: cannot read {joins}: {exc.strerror}", console.UNAVAILABLE)
    with file:
        yield file
