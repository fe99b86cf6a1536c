"""`doorward policy retract`: take documents back, whatever their windows, by signed documents that say so.

A retraction names a document and a revision higher than any before (ruling 15). It is held against the log before it
is sent, so whoever may not retract a document is told so at once: an ``on_behalf`` key over an owner's own, or a key
that approved no revision of a service document (rulings 30, 31; of those who did, one suffices).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import unquote

import typer

from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Offer, Push
from streams.cli import console, history, pushing, trial
from streams.cli.policydiff import for_whom
from streams.core import instants
from streams.core.policy import MAX_REVISION, Invalid, parse, path_of
from streams.core.standing import present, standings
from streams.settings import Settings
from streams.wire import documents, jws, signed
from streams.wire.documents import SIGNED, Unreadable
from streams.wire.history import History
from streams.wire.keys import PrivateKey
from streams.wire.signed import Record
from streams.wire.trust import TrustSet

_IDS: Final = {"service": ("name",), "account": ("account", "name"), "meeting": ("account", "meeting", "name")}


def retract(
    what: Annotated[
        list[str], typer.Argument(help="Documents' paths, such as account/acme/licensing, or files of documents.")
    ],
    bootstrap: history.Bootstrap = None,
    key_files: Annotated[list[Path] | None, typer.Option("--key", help="Private key file; repeatable.")] = None,
    trust_file: history.Trust = None,
    audience: history.Audience = None,
    group: Annotated[str | None, typer.Option(help="The workers' consumer group. [env: DOORWARD_GROUP]")] = None,
    revision: Annotated[
        int | None, typer.Option(min=1, max=MAX_REVISION, help="[default: one more than the highest in the log]")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the workers.")] = 30.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before pushing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Retract documents; wait until that is accepted and applied by every live worker.

    It takes effect at once, on live calls too. A higher revision may issue the document again. What is retracted
    already is left as it is.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience, group=group)
    if not key_files:
        console.fail("--key KEYFILE is required to sign retractions", console.BAD_INPUT)
    signing, trusted = pushing.signing_keys(key_files), pushing.trusted(settings)
    named = _named(what, settings)
    log, extent = history.read(settings, trusted)
    problems: list[object] = []
    offers: list[Offer] = []
    for path, ids in named.items():
        slot = log.index.get(path)
        if slot is None:
            problems.append(f"{path}: the policy log has no such document")
        elif slot.revisions[0].document.retracted:
            console.say(f"{path}: is retracted already, by revision {slot.revisions[0].document.revision}")
        else:
            number = revision or slot.revisions[0].document.revision + 1
            value = {**ids, "revision": number, "retracted": True}
            offers += _offer(value, signing, trusted, settings, log, extent.end, problems)
    pushing.stop_if(problems)
    for offer in offers:
        for line in _effect(log, offer.path):
            console.say(line)
    if not offers:
        raise typer.Exit(0)
    if (
        not yes
        and sys.stdin.isatty()
        and not typer.confirm(f"Push {_several(offers)} to {settings.kafka_bootstrap}?", err=True)
    ):
        console.fail("nothing was pushed", console.FINDING)
    pushing.carry_out(Push(offers), None, settings, pushing.security(settings), timeout, as_json=as_json)


def _several(offers: list[Offer]) -> str:
    return "the retraction" if len(offers) == 1 else f"{len(offers)} retractions"


def _named(what: list[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """Path to scope and ids of each document that is meant. Ends the command where one cannot be told."""
    found: dict[str, dict[str, Any]] = {}
    problems: list[object] = []
    for text in what:
        if Path(text).is_file():
            found |= _of_file(Path(text), settings, problems)
        elif (ids := ids_of(text)) is not None:
            found[text] = ids
        else:
            problems.append(f"{text}: is neither a file nor a document's path (service/NAME, account/ACCOUNT/NAME, …)")
    pushing.stop_if(problems)
    return found


def ids_of(path: str) -> dict[str, Any] | None:
    """The scope and ids that a path stands for; None for a text that is none."""
    scope, *parts = path.split("/")
    names = _IDS.get(scope)
    if names is None:
        return None
    ids = dict(zip(names, map(unquote, parts), strict=False))
    if len(parts) != len(names) or not all(parts) or path_of(scope, *ids.values()) != path:
        return None
    return {"scope": scope, **ids}


def _of_file(file: Path, settings: Settings, problems: list[object]) -> dict[str, dict[str, Any]]:
    limits = settings.limits()
    if file.name.endswith(SIGNED):
        raw = documents.read_bytes(file)
        try:
            if isinstance(raw, Unreadable):
                problems.append(raw)
                return {}
            values: list[Any] = [jws.unverified(raw, settings.audience, limits.signed)]
        except jws.BadSignature as exc:
            problems.append(f"{file}: {exc} [{exc.code}]")
            return {}
    else:
        placed, wrong = documents.read_file(file, limits.signed)
        problems += wrong
        values = [value for value, _ in placed]
    found = {}
    for value in values:
        try:
            path = signed.plain(value, vocabulary(), limits).path
        except Invalid as exc:
            problems += [f"{file}: {problem}" for problem in exc.problems]
        else:
            found[path] = {key: value[key] for key in ("scope", *_IDS[value["scope"]])}
    return found


def _offer(
    value: dict[str, Any],
    signing: list[PrivateKey],
    trusted: TrustSet,
    settings: Settings,
    log: History,
    end: int,
    problems: list[object],
) -> Iterator[Offer]:
    """The signed retraction, if the log as it is would take it."""
    limits = settings.limits()
    try:
        raw = jws.sign(value, signing, settings.audience, max_bytes=limits.signed)
        path = parse(value, vocabulary(), limits).path
        signed.accept(
            raw,
            trust=trusted,
            audience=settings.audience,
            vocabulary=vocabulary(),
            index=log.index,
            contest=settings.contest,
            record=Record(path.encode(), end, trial.now()),
            limits=limits,
        )
    except (signed.Rejected, Invalid) as exc:
        named = "/".join(str(value[key]) for key in ("scope", *_IDS[value["scope"]]))
        problems += [f"{named}: {problem}" for problem in exc.problems]
    except jws.BadSignature as exc:
        problems.append(f"{exc} [{exc.code}]")
    else:
        yield Offer(path, value["revision"], raw)


def _effect(log: History, path: str) -> Iterator[str]:
    """What retracting a document changes, in words."""
    slot = log.index.get(path)
    if slot is None:
        return
    at = trial.now()
    now = present(slot, at)
    document = now.revision.document
    yield f"{path}: revision {document.revision} is {now.state}"
    if now.state == "in force":
        yield from (f"  {line}" for line in for_whom(document, None))
    for waiting in standings(slot, at):
        if waiting.state == "waiting" and waiting.revision is not now.revision and waiting.until is not None:
            due = instants.render(waiting.until)
            yield f"  revision {waiting.revision.document.revision}, due at {due}, goes with it"
