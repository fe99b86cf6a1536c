"""`doorward keys`: making signing and sealing keys, and showing whom a deployment trusts.

A private key goes into a file of its own; the trust set, which every worker reads, gets its public part. A sealing key
has no public part: its file goes to every worker. No command prints a private part or a sealing key.

Workers follow the trust set's file, so ``new`` and ``revoke`` take effect within seconds and without a restart. A key
is revoked, not deleted: what the policy log took in before its revocation stands. Workers refuse a set that lacks a key
they have announced, or has it revoked from long before they are told (``streams.wire.trust.rewritten``).
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.adapters import seal
from streams.cli import console
from streams.core import instants
from streams.wire import keys, trust
from streams.wire.announced import KEY_AGE, Announced
from streams.wire.documents import Unreadable, read_bytes

app = typer.Typer(help="Make and revoke keys, and show the trust set.", no_args_is_help=True)

Trust = typer.Option("--trust", envvar="DOORWARD_TRUST", help="JWK Set of the keys that may sign.")


@app.command("new")
def new(
    holder: Annotated[str, typer.Option(help="Who holds the key; receipts name them.", show_default=False)],
    scope: Annotated[
        list[str], typer.Option(help="service, account/ACCOUNT or account/*; repeatable.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Where the private key goes; must not exist.", show_default=False)],
    on_behalf: Annotated[
        bool, typer.Option("--on-behalf", help="It signs for owners who have no key of their own.")
    ] = False,
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="JWK Set to add the public key to; made if missing.")
    ] = None,
) -> None:
    """Make an Ed25519 key. Without --trust its public part is printed, for whoever keeps the trust set."""
    if trust.SERVICE in scope and (on_behalf or set(scope) != {trust.SERVICE}):
        message = "a key for service documents approves nothing if it also signs for accounts; make two keys"
        console.fail(message, console.BAD_INPUT)
    key = keys.generate()
    entry = keys.public_jwk(key, holder, list(dict.fromkeys(scope)), on_behalf=on_behalf)
    try:
        trust.parse_trust(trust.written([entry]))
    except ValueError as exc:
        console.fail(str(exc).replace("keys[0]", "the new key"), console.BAD_INPUT)
    try:
        if trust_file is None:
            keys.write_private(key, out)
            console.out(json.dumps(entry))
        else:
            _add(entry, trust_file, key, out)
    except keys.KeyUnavailable as exc:
        console.fail(f"--out: {exc}", console.BAD_INPUT)
    except trust.TrustUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)
    console.say(f"private key {out} (kid {key.kid}): keep it with {holder}")
    if trust.SERVICE in scope:
        console.say("it approves service documents from 24 h after workers have announced it (`doorward keys list`)")


@app.command("seal")
def new_seal(
    out: Annotated[Path, typer.Option(help="Where the key goes; must not exist.", show_default=False)],
) -> None:
    """Make a key that seals the addresses of live sessions. All workers of a deployment need the same."""
    try:
        kid = seal.new_key(out)
    except seal.SealUnavailable as exc:
        console.fail(f"--out: {exc}", console.BAD_INPUT)
    console.say(f"sealing key {out} (kid {kid}): give it to every worker and nobody else, in DOORWARD_SEAL_KEYS")


@app.command("revoke")
def revoke(
    kid: Annotated[str, typer.Argument(help="The key's id, as `doorward keys list` shows it.")],
    trust_file: Annotated[Path, Trust],
    at: Annotated[
        str | None, typer.Option(help="RFC 3339, not in the future: since when nothing counts. None: now.")
    ] = None,
) -> None:
    """Revoke a key: what the policy log took in before stands, whatever comes later is refused."""
    now = time.time_ns() // 1_000_000
    try:
        since = now if at is None else instants.parse(at)
    except ValueError as exc:
        console.fail(f"--at: {exc}", console.BAD_INPUT)
    if since > now:
        console.fail("--at: lies in the future; a key that is to end later is revoked then", console.BAD_INPUT)
    real = Path(os.path.realpath(trust_file))
    try:
        with _alone(real):
            known = trust.read_trust(real).keys.get(kid)
            if known is None:
                console.fail(f"KID: {kid} is not in {trust_file}", console.BAD_INPUT)
            if known.revoked_at is None and since < now - trust.BACKDATED:
                console.say("warning: workers that announced it refuse a revocation dated back by more than 15 minutes")
            if known.revoked_at is not None and known.revoked_at <= since:
                when = instants.render(known.revoked_at)
                console.fail(f"KID: {kid} has been revoked since {when}", console.BAD_INPUT)
            revoked = {"revoked": instants.render(since)}
            members = [{**m, **revoked} if m["kid"] == kid else m for m in _members(real)]
            _replace(real, trust.written(members))
    except trust.TrustUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)
    except OSError as exc:
        console.fail(f"trust set {trust_file} cannot be written: {exc.strerror}", console.UNAVAILABLE)
    console.say(f"{kid} of {known.signer.holder} is revoked since {instants.render(since)}; leave it in the trust set")


@app.command("list")
def show(
    trust_file: Annotated[Path, Trust],
    bootstrap: Annotated[
        str | None,
        typer.Option(help="Brokers, host:port: also say which keys were announced too lately to approve."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a line a key.")] = False,
) -> None:
    """Show the trusted keys, with what ruling 30 makes of them, and whether they count."""
    try:
        found = trust.read_trust(trust_file)
    except trust.TrustUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)
    announced = None if bootstrap is None else _announced(bootstrap)
    now = time.time_ns() // 1_000_000
    with console.quiet_pipe():
        if as_json:
            rows = [_row(found.keys[kid], announced, now) for kid in sorted(found.keys)]
            console.out(json.dumps({"digest": found.digest, "keys": rows}))
            return
        for key in sorted(found.keys.values(), key=lambda k: (k.signer.holder, k.kid)):
            marks = ["on behalf"] if key.signer.on_behalf else []
            marks.append(_state(key, announced, now)[1])
            console.out("  ".join([key.signer.holder, key.kid, " ".join(key.signer.scopes), *marks]))
    console.say(f"{len(found.keys)} key(s), {found.digest}")


def _row(key: trust.TrustedKey, announced: Announced | None, now: int) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "holder": key.signer.holder,
        "scopes": list(key.signer.scopes),
        "on_behalf": key.signer.on_behalf,
        "revoked": None if key.revoked_at is None else instants.render(key.revoked_at),
        "state": _state(key, announced, now)[0],
    }


def _state(key: trust.TrustedKey, announced: Announced | None, now: int) -> tuple[str, str]:
    """Whether a key counts, in a word and in words: ``active``, ``revoked``, or ``young`` for ruling 32."""
    if key.revoked_at is not None and key.revoked_at <= now:
        return "revoked", f"revoked since {instants.render(key.revoked_at)}"
    until = "" if key.revoked_at is None else f" until {instants.render(key.revoked_at)}"
    is_approver = trust.SERVICE in key.signer.scopes and not key.signer.on_behalf
    if announced is None or not is_approver or announced.old_enough(key, now):
        return "active", f"active{until}"
    since = announced.since(key, now)
    if since is None:
        return "young", "not announced yet"
    return "young", f"approves from {instants.render(since + KEY_AGE)} on{until}"


def _announced(bootstrap: str) -> Announced:
    """What workers announced on ``policies.status``; ends the command where that cannot be read."""
    from streams.cli import history, pushing  # here: slow to import, and few ask for it

    settings = console.settings(kafka_bootstrap=bootstrap)
    pushing.quiet_client()
    return history.announced(settings, pushing.security(settings))


def _add(entry: dict[str, Any], path: Path, key: keys.PrivateKey, out: Path) -> None:
    """Write the private key and add its public part to a trust set, or do neither.

    Raises:
        TrustUnavailable: the trust set cannot be read or written, or would be none with this entry.
        KeyUnavailable: the private key cannot be written.
    """
    real = Path(os.path.realpath(path))
    with _alone(real):
        before = trust.read_trust(real) if real.exists() else trust.TrustSet([])
        members = [*_members(real), entry] if real.exists() else [entry]
        try:
            after = trust.parse_trust(trust.written(members))
        except ValueError as exc:
            raise trust.TrustUnavailable(f"trust set {path}: {exc}") from None
        keys.write_private(key, out)
        try:
            _replace(real, trust.written(members))
        except OSError as exc:
            out.unlink()
            raise trust.TrustUnavailable(f"trust set {path} cannot be written: {exc.strerror}") from None
    for kid, known in before.keys.items():
        if after.keys[kid].signer.on_behalf and not known.signer.on_behalf:
            holder = known.signer.holder
            console.say(f"note: {kid} of {holder} now signs on behalf only, because of the other keys of {holder}")


def _members(path: Path) -> list[Any]:
    data = read_bytes(path)
    if isinstance(data, Unreadable):
        raise trust.TrustUnavailable(f"trust set {data}")
    return trust.members_of(data)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other ``keys new`` commands out of the folder, so that none loses what another adds."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY)
    except OSError as exc:
        raise trust.TrustUnavailable(f"trust set {path}: {exc.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # blocks; held for milliseconds
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a worker may read it at any instant. Keeps its mode. Raises OSError."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.chmod(mode)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
