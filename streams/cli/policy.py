"""`doorward policy sign` and `push`: documents from files to signed ones, and onto the policy log.

Every document is checked before the first is written or sent, and all that is wrong is said together. What a push
would do to live calls is tried first where somebody is there to be told (``cli.trial``).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Offer, Push
from streams.cli import console, pushing, trial
from streams.cli.trial import Outcome, Prepared
from streams.core.policy import Invalid, parse
from streams.settings import Settings
from streams.wire import documents, jws, keys, signed, trust
from streams.wire.documents import SIGNED, Place, Unreadable

app = typer.Typer(
    help="Policy documents: check, try, sign, push, compare, take back, and read their log.", no_args_is_help=True
)

Files = Annotated[list[Path], typer.Argument(help="YAML or JSON documents, or signed ones (*.jws.json).")]
Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="Private key file; repeatable (a service document needs two).")
]
Audience = Annotated[
    str | None, typer.Option(help="The deployment's name in signed documents. [env: DOORWARD_AUDIENCE]")
]


@app.command()
def sign(
    files: Files,
    key_files: Annotated[list[Path], typer.Option("--key", help="Private key file; repeatable.")],
    audience: Audience = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the signed files. [default: beside each]")] = None,
) -> None:
    """Sign documents: NAME.jws.json for each NAME.yaml, numbered where a file holds several.

    Given a *.jws.json, its signatures are kept and yours are added: approvers need not meet.
    """
    settings = console.settings(audience=audience)
    limits = settings.limits()
    signing = pushing.signing_keys(key_files)
    _there(files)
    targets: dict[Path, bytes] = {}
    said: list[str] = []
    problems: list[object] = []
    for file in files:
        for target, value, place, present in _to_sign(file, out or file.parent, settings, problems):
            if target in targets:
                problems.append(f"{place}: another document of this run goes to {target}")
            try:
                document = parse(value, vocabulary(), limits)
                if present is None:
                    targets[target] = jws.sign(value, signing, settings.audience, max_bytes=limits.signed)
                else:
                    given = present, signing, settings.audience
                    targets[target] = jws.countersign(*given, max_bytes=limits.signed)
            except Invalid as exc:
                problems += [signed.Finding(place, problem) for problem in exc.problems]
            except jws.BadSignature as exc:
                problems.append(f"{place}: {exc} [{exc.code}]")
            else:
                said.append(f"signed {document.path} revision {document.revision}")
    pushing.stop_if(problems)
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        for target, data in targets.items():
            target.write_bytes(data)
            console.out(str(target))
    except OSError as exc:
        console.fail(f"cannot write {exc.filename}: {exc.strerror}", console.UNAVAILABLE)
    for line in said:
        console.say(line)


def _to_sign(
    file: Path, folder: Path, settings: Settings, problems: list[object]
) -> Iterator[tuple[Path, Any, Place, bytes | None]]:
    """Of each document in a file: where it goes signed, its value, its place, and its bytes if it is signed already."""
    limits = settings.limits()
    if not file.name.endswith(SIGNED):
        found, wrong = documents.read_file(file, limits.signed)
        problems += wrong
        for number, (value, place) in enumerate(found, 1):
            name = f"{file.stem}-{number}" if len(found) > 1 else file.stem
            yield folder / (name + SIGNED), value, place, None
        return
    raw = documents.read_bytes(file)
    if isinstance(raw, Unreadable):
        problems.append(raw)
        return
    try:
        yield folder / file.name, jws.unverified(raw, settings.audience, limits.signed), Place(str(file), 1), raw
    except jws.BadSignature as exc:
        problems.append(f"{file}: {exc} [{exc.code}]")


@app.command("push")
def push_documents(
    files: Files,
    bootstrap: Annotated[str | None, typer.Option(help="Brokers: host:port. [env: DOORWARD_KAFKA_BOOTSTRAP]")] = None,
    key_files: Keys = None,
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="The workers' JWK Set. [env: DOORWARD_TRUST]")
    ] = None,
    audience: Audience = None,
    group: Annotated[str | None, typer.Option(help="The workers' consumer group. [env: DOORWARD_GROUP]")] = None,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the workers.")] = 30.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before pushing, and try nothing first.")] = False,
    max_removed: Annotated[
        int | None, typer.Option(min=0, help="Try first; push nothing if more live participants would be removed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Push documents onto the policy log; wait until they are accepted and applied by every live worker.

    Before it asks, and with --max-removed, it tries them: a copy of each in report mode tells what would happen to
    live calls, and is retracted at once.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience, group=group)
    security = pushing.security(settings)
    signing, trusted = pushing.signing_keys(key_files or []), pushing.trusted(settings)
    prepared = _prepared(files, signing, trusted, settings)
    pushed = Push([each.offer for each in prepared])
    pushing.quiet_client()
    asked, tried = not yes and sys.stdin.isatty(), None
    if asked or max_removed is not None:
        attempts, untried = trial.plan(prepared, signing, trusted, settings.audience, trial.now(), settings.limits())
        tried = trial.run(attempts, untried, settings, security, timeout, must_count=max_removed is not None)
        _allow(tried, max_removed, pushed, as_json)
    if asked:
        for offer in pushed.offers:
            console.say(f"{offer.path} revision {offer.revision}")
        if not typer.confirm(f"Push to {settings.kafka_bootstrap}?", err=True):
            console.fail("nothing was pushed", console.FINDING)
    pushing.carry_out(pushed, tried, settings, security, timeout, as_json=as_json)


def _allow(tried: Outcome, max_removed: int | None, pushed: Push, as_json: bool) -> None:
    """Say what the trial told; end the command where it tells of too many, or of some cannot tell."""
    for line in tried.lines:
        console.say(line)
    if max_removed is None:
        return
    most = tried.most_removed
    if most > max_removed:
        why, code = f"up to {most:,} live participants would be removed, more than {max_removed:,}", console.FINDING
    elif any(each.rejected for each in tried.untried):
        why, code = "a trial was rejected", console.FINDING
    elif tried.unheard or any(each.document.can_remove for each in tried.untried):
        why, code = "not every live participant was counted", console.UNAVAILABLE
    else:
        return
    if as_json:
        console.out(json.dumps(pushing.summary(pushed, tried)))
    console.fail(f"--max-removed: {why}; nothing was pushed", code)


# -- documents, checked ------------------------------------------------------------------------------------------


def _prepared(
    files: list[Path], signing: list[keys.PrivateKey], trusted: trust.TrustSet, settings: Settings
) -> list[Prepared]:
    """The documents of files, signed and held against the trust set; every bad one is reported, then it ends."""
    plain = [file for file in files if not file.name.endswith(SIGNED)]
    if plain and not signing:
        console.fail(f"--key KEYFILE is required to sign {plain[0]}", console.BAD_INPUT)
    limits, prepared = settings.limits(), list[Prepared]()
    problems: list[object] = []
    _there(files)

    def prepare(raw: bytes, place: Place) -> None:
        try:
            document = signed.check(
                raw, trust=trusted, audience=settings.audience, vocabulary=vocabulary(), limits=limits
            )
            value = jws.unverified(raw, settings.audience, limits.signed)
        except signed.Rejected as exc:
            problems.extend(signed.Finding(place, problem) for problem in exc.problems)
        else:
            prepared.append(Prepared(Offer(document.path, document.revision, raw), document, value))

    for file in files:
        if file not in plain:
            raw = documents.read_bytes(file)
            if isinstance(raw, Unreadable):
                problems.append(raw)
            else:
                prepare(raw, Place(str(file), 1))
            continue
        found, wrong = documents.read_file(file, limits.signed)
        problems += wrong
        for value, place in found:
            try:
                parse(value, vocabulary(), limits)
                prepare(jws.sign(value, signing, settings.audience, max_bytes=limits.signed), place)
            except Invalid as exc:
                problems += [signed.Finding(place, problem) for problem in exc.problems]
            except jws.BadSignature as exc:
                problems.append(f"{place}: {exc} [{exc.code}]")
    pushing.stop_if(problems)
    if not prepared:
        console.fail("no document to push", console.BAD_INPUT)
    return prepared


def _there(files: list[Path]) -> None:
    """End the command when not one file is there; one that is missing among others is reported beside what is wrong."""
    if not any(file.is_file() for file in files):
        console.fail(f"there is no file {', '.join(map(str, files))}", console.UNAVAILABLE)
