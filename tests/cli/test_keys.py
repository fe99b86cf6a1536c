"""Keys are made for their holders alone, and the trust set says whom a deployment trusts without showing a secret."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.seal import Sealer, SealUnavailable
from streams.cli.keys import app
from streams.core import instants
from streams.wire.jws import sign, verify
from streams.wire.keys import KeyUnavailable, generate, read_private
from streams.wire.trust import read_trust


def doorward(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def new(folder: Path, name: str, *scopes: str, holder: str | None = None, more: tuple[str, ...] = ()) -> Result:
    asked = [part for scope in scopes for part in ("--scope", scope)]
    files = ("--out", folder / f"{name}.jwk", "--trust", folder / "trust.json")
    return doorward("new", "--holder", holder or name, *asked, *files, *more)


def test_a_new_key_signs_what_the_trust_set_verifies(tmp_path: Path) -> None:
    assert new(tmp_path, "acme", "account/acme").exit_code == 0
    assert new(tmp_path, "ops", "account/*", "account/b").exit_code == 0
    trust = read_trust(tmp_path / "trust.json")
    raw = sign({"a": 1}, [read_private(tmp_path / "acme.jwk")], "doorward")
    (key,) = verify(raw, trust, "doorward").keys
    assert (key.signer.holder, key.signer.scopes, key.signer.on_behalf) == ("acme", ("account/acme",), False)
    assert "d" not in json.loads((tmp_path / "trust.json").read_text())["keys"][0]


def test_a_private_key_is_never_readable_by_others_nor_overwritten(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        assert new(tmp_path, "acme", "account/acme").exit_code == 0
    finally:
        os.umask(mask)
    made = (tmp_path / "acme.jwk").read_bytes()
    trust = (tmp_path / "trust.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "acme.jwk").stat().st_mode) == 0o600
    again = new(tmp_path, "acme", "account/acme")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "never overwritten" in again.stderr
    assert (tmp_path / "acme.jwk").read_bytes() == made
    assert (tmp_path / "trust.json").read_bytes() == trust, "a key without its holder is not trusted"


def test_without_a_trust_set_the_public_part_is_printed(tmp_path: Path) -> None:
    result = doorward("new", "--holder", "ann", "--scope", "service", "--out", tmp_path / "ann.jwk")
    assert result.exit_code == 0
    entry = json.loads(result.stdout)
    assert entry["kid"] == read_private(tmp_path / "ann.jwk").kid
    assert "d" not in entry


def test_no_output_shows_a_private_part(tmp_path: Path) -> None:
    made = new(tmp_path, "ann", "service")
    secret = json.loads((tmp_path / "ann.jwk").read_text())["d"]
    listed = doorward("list", "--trust", tmp_path / "trust.json")
    as_json = doorward("list", "--json", env={"DOORWARD_TRUST": str(tmp_path / "trust.json")})
    for result in (made, listed, as_json):
        assert result.exit_code == 0
        assert secret not in result.output
    wrong = doorward("list", "--trust", tmp_path / "ann.jwk")
    assert wrong.exit_code == 3
    assert secret not in wrong.output


def test_the_list_says_what_ruling_30_makes_of_keys(tmp_path: Path) -> None:
    new(tmp_path, "acme", "account/acme")
    second = new(tmp_path, "acme-2", "service", holder="acme")
    assert "now signs on behalf only, because of the other keys of acme" in second.stderr
    result = doorward("list", "--json", "--trust", tmp_path / "trust.json")
    found = json.loads(result.stdout)
    assert found["digest"] == read_trust(tmp_path / "trust.json").digest
    assert {(row["holder"], *row["scopes"], row["on_behalf"]) for row in found["keys"]} == {
        ("acme", "account/acme", True),
        ("acme", "service", False),
    }
    assert "on behalf" in doorward("list", "--trust", tmp_path / "trust.json").stdout


@pytest.mark.parametrize(
    ("scopes", "holder", "more", "wanted"),
    [
        (["account"], "a", (), "has the scope 'account'"),
        (["account/"], "a", (), "has the scope 'account/'"),
        (["service", "account/acme"], "a", (), "make two keys"),
        (["service"], "a", ("--on-behalf",), "make two keys"),
        (["service"], "a, b", (), "a comma"),
        (["service"], "", (), "has no holder"),
    ],
)
def test_a_key_that_would_be_of_no_use_is_not_made(
    scopes: list[str], holder: str, more: tuple[str, ...], wanted: str, tmp_path: Path
) -> None:
    asked = [part for scope in scopes for part in ("--scope", scope)]
    result = doorward("new", "--holder", holder, *asked, "--out", tmp_path / "a.jwk", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert wanted in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{}", '{"keys": [1]}'])
def test_a_trust_set_that_is_none_is_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text(content)
    result = new(tmp_path, "ann", "service")
    assert (result.exit_code, result.stdout) == (3, "")
    assert (tmp_path / "trust.json").read_text() == content
    assert not (tmp_path / "ann.jwk").exists()


def test_a_missing_trust_set_is_one_line(tmp_path: Path) -> None:
    result = doorward("list", "--trust", tmp_path / "gone")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    result = doorward(
        "new", "--holder", "a", "--scope", "service", "--out", tmp_path / "a", "--trust", tmp_path / "b/c"
    )
    assert result.exit_code == 3
    assert not (tmp_path / "a").exists()


def test_keys_made_at_the_same_time_are_all_in_the_trust_set(tmp_path: Path) -> None:
    code = "from streams.cli.keys import app; app()"

    def make(number: int) -> int:
        arguments = ["new", "--holder", f"h{number}", "--scope", "service", "--out", str(tmp_path / f"{number}.jwk")]
        command = [sys.executable, "-c", code, *arguments, "--trust", str(tmp_path / "trust.json")]
        return subprocess.run(command, check=False, timeout=60, capture_output=True).returncode

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(make, range(6))) == {0}
    assert {k.signer.holder for k in read_trust(tmp_path / "trust.json").keys.values()} == {f"h{n}" for n in range(6)}
    assert sorted(file.name for file in tmp_path.iterdir()) == [*(f"{n}.jwk" for n in range(6)), "trust.json"]


def test_a_sealing_key_seals_and_is_never_shown_nor_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "seal.json"
    mask = os.umask(0)
    try:
        made = doorward("seal", "--out", file)
    finally:
        os.umask(mask)
    jwk = json.loads(file.read_text())
    assert (made.exit_code, made.stdout) == (0, "")
    assert jwk["kid"] in made.stderr
    assert jwk["k"] not in made.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    sealed = Sealer.read([file]).seal(bytes(4), b"acme/m-1/p-77")
    again = doorward("seal", "--out", file)
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr.splitlines() == [f"doorward: --out: {file} exists; a key is never overwritten"]
    assert Sealer.read([file]).unseal(sealed, b"acme/m-1/p-77") == bytes(4)


def test_a_sealing_key_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = doorward("seal", "--out", tmp_path / "gone" / "seal.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"doorward: --out: {tmp_path / 'gone' / 'seal.json'} cannot be written: No such file or directory"
    ]


def test_a_signing_key_and_a_sealing_key_are_not_taken_for_each_other(tmp_path: Path) -> None:
    assert new(tmp_path, "acme", "account/acme").exit_code == 0
    assert doorward("seal", "--out", tmp_path / "seal.json").exit_code == 0
    with pytest.raises(SealUnavailable, match="is no sealing key"):
        Sealer.read([tmp_path / "acme.jwk"])
    with pytest.raises(KeyUnavailable, match="is no private Ed25519 key"):
        read_private(tmp_path / "seal.json")


def states(folder: Path) -> dict[str, str]:
    listed = doorward("list", "--trust", folder / "trust.json", "--json")
    assert listed.exit_code == 0
    return {key["holder"]: key["state"] for key in json.loads(listed.stdout)["keys"]}


def test_a_revoked_key_stays_in_the_trust_set(tmp_path: Path) -> None:
    new(tmp_path, "ann", "service")
    new(tmp_path, "bo", "service")
    kid = read_private(tmp_path / "ann.jwk").kid
    revoked = doorward("revoke", kid, "--trust", tmp_path / "trust.json", "--at", "2026-01-01T00:00:00Z")
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    assert f"{kid} of ann is revoked since 2026-01-01T00:00:00.000Z" in revoked.stderr
    assert states(tmp_path) == {"ann": "revoked", "bo": "active"}
    trust = read_trust(tmp_path / "trust.json")
    assert trust.keys[kid].stands(instants.parse("2025-12-31T23:59:59Z"))
    assert not trust.keys[kid].stands(instants.parse("2026-01-01T00:00:00Z"))
    assert "revoked since 2026-01-01T00:00:00.000Z" in doorward("list", "--trust", tmp_path / "trust.json").stdout


def test_a_key_is_revoked_now_unless_it_was_earlier(tmp_path: Path) -> None:
    new(tmp_path, "ann", "service")
    kid = read_private(tmp_path / "ann.jwk").kid
    at = ("revoke", kid, "--trust", tmp_path / "trust.json")
    assert doorward(*at).exit_code == 0
    first = read_trust(tmp_path / "trust.json").keys[kid].revoked_at
    assert first is not None
    assert abs(first - time.time() * 1000) < 60_000
    assert doorward(*at).exit_code == 2, "it is revoked already, and later is no change"
    assert doorward(*at, "--at", "2026-01-01T00:00:00Z").exit_code == 0, "it was stolen before anyone noticed"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("nobody",), "KID: nobody is not in"),
        (("KID", "--at", "2999-01-01T00:00:00Z"), "lies in the future"),
        (("KID", "--at", "yesterday"), "--at: "),
    ],
)
def test_what_cannot_be_revoked_changes_nothing(tmp_path: Path, arguments: tuple[str, ...], wanted: str) -> None:
    new(tmp_path, "ann", "service")
    before = (tmp_path / "trust.json").read_bytes()
    kid = read_private(tmp_path / "ann.jwk").kid
    result = doorward("revoke", *(kid if a == "KID" else a for a in arguments), "--trust", tmp_path / "trust.json")
    assert result.exit_code == 2
    assert wanted in result.stderr
    assert (tmp_path / "trust.json").read_bytes() == before


def test_where_no_broker_answers_the_list_says_so(tmp_path: Path) -> None:
    new(tmp_path, "ann", "service")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    result = doorward("list", "--trust", tmp_path / "trust.json", "--bootstrap", nobody)
    assert result.exit_code == 3
    assert nobody in result.stderr


def test_no_key_id_looks_like_an_option() -> None:
    assert not [key for key in (generate() for _ in range(300)) if key.kid.startswith("-")]
