"""`doorward geo`: what an operator sees of geo files, and that adopting them is all or nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.geo import shipped
from streams.adapters.geomanifest import ManifestSource
from streams.adapters.iso import vocabulary
from streams.cli.main import app
from tests.geofiles import BUILD, write_geo

A, B = "192.0.2.1", "198.51.100.1"
ROOT = Path(__file__).parents[2]


def doorward(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["geo", command, *map(str, arguments)])


def ago(days: float) -> int:
    return int((datetime.now(UTC) - timedelta(days=days)).timestamp())


def country(path: Path, code: str = "FR", build: int = BUILD) -> Path:
    return write_geo(path, {"layout": "country", "build": build, "networks": {"192.0.2.0/24": code}})


def anonymity(path: Path, build: int) -> Path:
    return write_geo(path, {"layout": "anonymous", "build": build, "networks": {"192.0.2.0/24": ["vpn"]}})


@pytest.fixture
def fr(tmp_path: Path) -> Path:
    return country(tmp_path / "country.mmdb")


# --- check


def test_check_says_what_a_file_is(tmp_path: Path, fr: Path) -> None:
    result = doorward("check", fr, "--canary", f"{A}=country:FR,asn:null")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == [str(fr), "  country: 'GeoLite2-Country', IPv4 and IPv6, no anonymity database"]
    assert lines[2].startswith("  built 2026-06-17T00:00:00.000Z, ")
    assert lines[3].startswith(f"  1 records, {fr.stat().st_size:,} bytes, SHA-256 ")
    assert lines[4:] == [f"  canary {A}: country is FR", f"  canary {A}: asn is not known"]


def test_check_in_json(tmp_path: Path, fr: Path) -> None:
    vpn = anonymity(tmp_path / "vpn.mmdb", ago(2.5))
    result = doorward("check", fr, vpn, "--json", "--canary", f"vpn@{A}=connection:tor")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    first, second = said["files"]
    assert said["build"].startswith("country-2026-06-17-")
    assert (first["name"], first["anonymity"], first["ip_version"], first["records"]) == ("country", False, 6, 1)
    assert (first["bytes"], first["build"]) == (fr.stat().st_size, "2026-06-17T00:00:00.000Z")
    assert (first["canaries"], first["problems"]) == ([], [])
    assert (second["age_days"], second["anonymity"], second["database_type"]) == (2, True, "GeoIP2-Anonymous-IP")
    assert second["canaries"] == [
        {"address": A, "fact": "connection", "expected": "tor", "found": "vpn", "holds": False}
    ]
    assert second["problems"] == [f"canary {A}: connection is vpn, expected was tor"]


def test_check_tells_all_problems_and_the_worst_is_the_exit_code(tmp_path: Path, fr: Path) -> None:
    (tmp_path / "text.mmdb").write_text("no database")
    result = doorward("check", tmp_path / "text.mmdb", fr, "--canary", f"{A}=country:US", "--max-age", "1")
    assert result.exit_code == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("  problem: ")]
    assert len(problems) == 3
    assert "not an MMDB file" in problems[0]
    assert problems[1] == f"  problem: canary {A}: country is FR, expected was US"
    assert problems[2].endswith("days ago, more than 1")
    assert result.stderr == "2 of 2 file(s) with problems\n"
    result = doorward("check", tmp_path / "text.mmdb", tmp_path / "gone.mmdb", "--json")
    assert result.exit_code == 3
    said = json.loads(result.stdout)
    assert said["build"] is None
    assert [set(file) for file in said["files"]] == [{"file", "problems"}] * 2


@pytest.mark.parametrize(
    ("days", "more", "code"),
    [(44, (), 0), (47, (), 1), (47, ("--max-age", "60"), 0), (3, ("--max-age", "2"), 1), (-2, (), 1)],
)
def test_an_anonymity_database_grows_old_in_45_days(
    tmp_path: Path, days: float, more: tuple[str, ...], code: int
) -> None:
    assert doorward("check", anonymity(tmp_path / "vpn.mmdb", ago(days)), *more).exit_code == code


def test_the_shipped_snapshot_passes_its_own_canaries() -> None:
    known = json.loads(shipped().with_suffix(".manifest.json").read_text())["canaries"]
    asked = [f"--canary={address}=country:{code or 'null'}" for address, code in known.items()]
    assert doorward("check", shipped(), *asked).exit_code == 0


@pytest.mark.parametrize(
    ("canary", "why"),
    [
        ("8.8.8.8", "is not ADDRESS=FACT:VALUE"),
        ("=country:FR", "not an IPv4 address"),
        ("8.8.8=country:FR", "not an IPv4 address"),
        ("8.8.8.8=FR", "'FR' is not FACT:VALUE"),
        ("8.8.8.8=", "is not FACT:VALUE"),
        ("8.8.8.8=country:", "is not FACT:VALUE"),
        ("8.8.8.8=country:UK", "is no ISO 3166-1 code"),
        ("8.8.8.8=land:FR", "unknown field `land`"),
        ("8.8.8.8=asn:AS1", "Expected `int | null`, got `str`"),
        ("8.8.8.8=connection:other", "Invalid enum value 'other'"),
        ("8.8.8.8=country:FR,country:US", "country stands twice"),
        ("nobody@8.8.8.8=country:FR", "no file is called so; there are country"),
    ],
)
@pytest.mark.parametrize("command", ["check", "adopt"])
def test_a_canary_that_is_none(tmp_path: Path, fr: Path, canary: str, why: str, command: str) -> None:
    more = ["--manifest", tmp_path / "geo.json"] if command == "adopt" else []
    result = doorward(command, fr, "--canary", canary, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "geo.json").exists()


def test_an_address_given_twice_for_one_file(fr: Path) -> None:
    for again in (A, f"::ffff:{A}"):
        result = doorward("check", fr, "--canary", f"{A}=country:FR", "--canary", f"{again}=country:US")
        assert result.exit_code == 2, again
    both = ("--canary", f"{A}=country:US", "--canary", f"country@{A}=country:FR")
    assert doorward("check", fr, *both).exit_code == 0, "the one that names the file wins"
    both = ("--canary", f"{A}=country:US", "--canary", f"country@::ffff:{A}=country:FR")
    assert doorward("check", fr, *both).exit_code == 0, "however its address is written"


def test_check_wants_files_or_a_manifest(tmp_path: Path, fr: Path) -> None:
    for arguments in ((), (fr, "--manifest", tmp_path), ("--manifest", tmp_path, "--canary", f"{A}=country:FR")):
        result = doorward("check", *arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1


def test_check_of_a_manifest_is_what_a_worker_would_find(tmp_path: Path, fr: Path) -> None:
    path = tmp_path / "geo.json"
    doorward(
        "adopt", fr, anonymity(tmp_path / "vpn.mmdb", ago(1)), "--manifest", path, "--canary", f"country@{A}=country:FR"
    )
    result = doorward("check", "--manifest", path, "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert said["build"] == ManifestSource(path, vocabulary()).open().build
    assert [len(file["canaries"]) for file in said["files"]] == [1, 0]
    os.truncate(said["files"][0]["file"], 100)
    result = doorward("check", "--manifest", path)
    assert result.exit_code == 1
    assert "its SHA-256 is" in result.stdout
    Path(said["files"][1]["file"]).unlink()
    assert doorward("check", "--manifest", path).exit_code == 3
    path.write_text("{")
    result = doorward("check", "--manifest", path)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    path.unlink()
    assert doorward("check", "--manifest", path).exit_code == 3


# --- adopt


def test_adopt_then_update_then_go_back(tmp_path: Path, fr: Path) -> None:
    path = tmp_path / "geo.json"
    canary = ("--canary", f"{A}=country:FR", "--accept-change", "0.2")
    result = doorward("adopt", fr, "--manifest", path, *canary)
    assert (result.exit_code, result.stderr) == (0, f"{path}: adopted\n")
    first = result.stdout.strip()
    assert (tmp_path / first).read_bytes() == fr.read_bytes()
    us = country(fr, "US", BUILD + 86_400)
    before = path.read_bytes()
    result = doorward("adopt", us, "--manifest", path)
    assert (result.exit_code, result.stdout, path.read_bytes()) == (1, "", before)
    assert result.stderr == (f"doorward: {us}: canary {A}: country is US, expected was FR\nnothing was adopted\n")
    result = doorward("adopt", us, "--manifest", path, "--canary", f"{A}=country:US", "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["changed"], said["dropped"], said["removed"]) == (0, True, [], [])
    assert said["files"] == json.loads(path.read_text())["files"]
    assert json.loads(path.read_text())["accept_change"] is None, "a share is for one adoption"
    back = ("adopt", tmp_path / first, "--manifest", path, "--canary", f"{A}=country:FR")
    assert "older than the one in use" in doorward(*back).stderr
    assert doorward(*back, "--allow-older").exit_code == 0
    assert ManifestSource(path, vocabulary()).open().facts(A).country == "FR"


def test_adopt_says_what_is_dropped_and_pruned(tmp_path: Path, fr: Path) -> None:
    path = tmp_path / "geo.json"
    vpn = anonymity(tmp_path / "vpn.mmdb", ago(1))
    doorward("adopt", fr, vpn, "--manifest", path)
    for day in (1, 2):
        doorward("adopt", country(fr, "FR", BUILD + day * 86_400), vpn, "--manifest", path)
    result = doorward("adopt", country(fr, "FR", BUILD + 3 * 86_400), "--manifest", path, "--prune")
    assert result.exit_code == 0
    said = result.stderr.splitlines()
    assert said[0] == "note: vpn is no longer in use, since it was not given"
    assert [line[:26] for line in said[1:3]] == ["removed country-2026-06-17", "removed country-2026-06-18"]
    assert len(list((tmp_path / "geo.json.d").iterdir())) == 3
    again = doorward("adopt", fr, "--manifest", path)
    assert again.stderr == f"{path}: all this was in use before\n"


@pytest.mark.parametrize(("name", "code"), [("text.mmdb", 1), ("gone.mmdb", 3), ("old.mmdb", 1)])
def test_one_bad_file_and_nothing_is_adopted(tmp_path: Path, fr: Path, name: str, code: int) -> None:
    (tmp_path / "text.mmdb").write_text("no database")
    anonymity(tmp_path / "old.mmdb", ago(50))
    result = doorward("adopt", fr, tmp_path / name, "--manifest", tmp_path / "geo.json")
    assert (result.exit_code, result.stdout) == (code, "")
    assert str(tmp_path / name) in result.stderr
    assert result.stderr.endswith("nothing was adopted\n")
    assert result.stderr.count("\n") == 2
    assert not list(tmp_path.glob("geo.json*"))


@pytest.mark.parametrize("share", ["1.5", "-1", "x", "nan"])
def test_a_share_is_between_0_and_1(tmp_path: Path, fr: Path, share: str) -> None:
    assert doorward("adopt", fr, "--manifest", tmp_path / "geo.json", "--accept-change", share).exit_code == 2
    assert not (tmp_path / "geo.json").exists()


def test_adopt_where_nothing_can_be_written_or_the_manifest_is_none(tmp_path: Path, fr: Path) -> None:
    result = doorward("adopt", fr, "--manifest", tmp_path / "no" / "geo.json")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    result = doorward("adopt", fr, "--manifest", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    (tmp_path / "geo.json").write_text("[]")
    result = doorward("adopt", fr, "--manifest", tmp_path / "geo.json")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert (tmp_path / "geo.json").read_text() == "[]"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_an_adoption_ends_a_worker_finds_one_build_whole(tmp_path: Path, ending: signal.Signals) -> None:
    path, file = tmp_path / "geo.json", tmp_path / "country.mmdb"
    builds = {"FR": country(file, "FR").read_bytes(), "US": b""}
    assert doorward("adopt", file, "--manifest", path).exit_code == 0
    builds["US"] = country(file, "US", BUILD + 86_400).read_bytes()
    # Ended at moments spread over a whole run; the first tells how long that is.
    command = [sys.executable, "-m", "streams.cli.main", "geo", "adopt", str(file), "--manifest", str(path)]
    started = time.monotonic()
    subprocess.run([*command, "--canary", f"{A}=country:FR"], cwd=ROOT, capture_output=True, timeout=60, check=False)
    whole = time.monotonic() - started
    for part in (0.5, 0.8, 0.9, 1.0):
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * part)
        running.send_signal(ending)
        running.wait(30)
        geo = ManifestSource(path, vocabulary()).open()
        assert geo.facts(A).country in ("FR", "US")
        if ending == signal.SIGINT:
            assert not list(tmp_path.glob("**/.*"))
        for copy in (tmp_path / "geo.json.d").glob("*.mmdb"):
            assert copy.read_bytes() in builds.values()
    assert doorward("adopt", file, "--manifest", path).exit_code == 0
    assert ManifestSource(path, vocabulary()).open().facts(A).country == "US"
    assert not list(tmp_path.glob("**/.*"))


# --- settings


def test_a_worker_has_files_or_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORWARD_GEO_MANIFEST", "geo.json")
    monkeypatch.setenv("DOORWARD_GEO", "")
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert (shown["geo_manifest"], shown["geo_max_change"]) == ("geo.json", 0.05)
    monkeypatch.setenv("DOORWARD_GEO", "a.mmdb")
    result = CliRunner().invoke(app, ["config", "show"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "DOORWARD_GEO_MANIFEST" in result.stderr
    assert "DOORWARD_GEO must be empty" in result.stderr


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "all"])
def test_a_setting_for_a_share_that_is_none(monkeypatch: pytest.MonkeyPatch, share: str) -> None:
    monkeypatch.setenv("DOORWARD_GEO_MAX_CHANGE", share)
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == 2
    assert "DOORWARD_GEO_MAX_CHANGE" in result.stderr
