"""Geo files by manifest: what is taken up, what is refused, and that nothing on disk hurts what is in use."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streams.adapters import geoadoption, geomanifest
from streams.adapters.geo import Geo, GeoUnavailable, open_file
from streams.adapters.geoadoption import Candidate, NotAdopted
from streams.adapters.geomanifest import Expected, GeoRefused, ManifestSource
from streams.adapters.iso import vocabulary
from tests.geofiles import BUILD, write_geo

A, B = "192.0.2.1", "198.51.100.1"
DAY = 86_400
ROOT = Path(__file__).parents[2]

Spec = dict[str, Any]


def entry(path: Path, /, **changes: Any) -> Spec:
    """What a manifest says of a file of tests/geofiles.py, with some of it changed."""
    database = open_file(path)
    told = {
        "path": path.name,
        "sha256": database.sha256,
        "build": database.built.isoformat(),
        "database_type": database.database_type,
    }
    database.close()
    return told | changes


def manifest(folder: Path, *entries: Spec, **more: Any) -> Path:
    path = folder / "geo.json"
    beside = folder / "geo.json.new"
    beside.write_text(json.dumps({"version": 1, "files": list(entries), **more}))
    beside.replace(path)
    return path


def country(path: Path, code: str = "FR", build: int = BUILD, **more: Any) -> Path:
    return write_geo(path, {"layout": "country", "build": build, "networks": {"192.0.2.0/24": code}, **more})


def source(path: Path) -> ManifestSource:
    return ManifestSource(path, vocabulary())


@pytest.fixture
def fr(tmp_path: Path) -> Path:
    return country(tmp_path / "country.mmdb")


# --- taking files up


def test_the_files_of_a_manifest_are_used_in_its_order(tmp_path: Path, fr: Path) -> None:
    (tmp_path / "other").mkdir()
    us = country(tmp_path / "other" / "overlay.mmdb", "US")
    asn = write_geo(tmp_path / "asn.mmdb", {"layout": "asn", "networks": {"192.0.2.0/24": 64500}})
    path = manifest(tmp_path, entry(us, path="other/overlay.mmdb"), entry(fr), entry(asn), accept_change=0.25)
    following = source(path)
    assert following.accept_change is None
    geo = following.open()
    assert (geo.facts(A).country, geo.facts(A).asn) == ("US", 64500)
    assert [file.name for file in geo.files] == ["overlay", "country", "asn"]
    assert geo.build == Geo.open([us, fr, asn], vocabulary()).build
    assert following.accept_change == 0.25


def test_a_manifests_own_folder_counts_even_behind_a_link(tmp_path: Path, fr: Path) -> None:
    manifest(tmp_path, entry(fr))
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "current.json"
    link.symlink_to(tmp_path / "geo.json")
    assert source(link).open().facts(A).country == "FR"


@pytest.mark.parametrize("how", ["absolute", "above", "link"])
def test_a_path_grants_nothing_so_any_will_do(tmp_path: Path, fr: Path, how: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "link.mmdb").symlink_to(fr)
    paths = {"absolute": str(fr), "above": "../country.mmdb", "link": "link.mmdb"}
    assert source(manifest(folder, entry(fr, path=paths[how]))).open().facts(A).country == "FR"


def test_an_adopted_file_is_still_called_by_its_own_name(tmp_path: Path, fr: Path) -> None:
    digest = hashlib.sha256(fr.read_bytes()).hexdigest()
    adopted = fr.rename(tmp_path / f"country-2026-06-17-{digest[:8]}.mmdb")
    assert source(manifest(tmp_path, entry(adopted))).open().build == f"country-2026-06-17-{digest[:8]}"


def test_a_build_may_be_written_with_any_offset(tmp_path: Path, fr: Path) -> None:
    assert source(manifest(tmp_path, entry(fr, build="2026-06-17T02:00:00+02:00"))).open().files[0].epoch == BUILD


# --- canaries


def canaried(tmp_path: Path, canaries: Any) -> ManifestSource:
    networks = {"192.0.2.0/24": {"country_code": "US", "region": "CA", "asn": 64500, "vpn": False}}
    networks["203.0.113.0/24"] = {"country_code": "US", "vpn": True}
    path = write_geo(tmp_path / "flat.mmdb", {"layout": "flat", "networks": networks})
    return source(manifest(tmp_path, entry(path, canaries=canaries)))


@pytest.mark.parametrize(
    "canaries",
    [
        {},
        {A: {"country": "US", "subdivision": "US-CA", "continent": "NA", "asn": 64500, "connection": None}},
        {A: {"asn": 64500}},
        {f"::ffff:{A}": {"country": "US"}, B: {"country": None, "subdivision": None, "continent": None, "asn": None}},
        {"203.0.113.9": {"connection": "vpn", "country": None}},
    ],
    ids=["none", "every fact", "what is not named may be anything", "not known", "a VPN hides the place, as ever"],
)
def test_canaries_that_hold(tmp_path: Path, canaries: Any) -> None:
    canaried(tmp_path, canaries).open()


@pytest.mark.parametrize(
    ("canaries", "wanted"),
    [
        ({A: {"country": "FR"}}, "canary 1: country is US, expected was FR"),
        ({A: {"country": None}}, "canary 1: country is US, expected was not known"),
        ({B: {"country": "FR"}}, "canary 1: country is not known, expected was FR"),
        ({A: {"country": "US"}, B: {"asn": 1}}, "canary 2: asn is not known, expected was 1"),
        ({"203.0.113.9": {"connection": "tor"}}, "canary 1: connection is vpn, expected was tor"),
        ({"203.0.113.9": {"country": "US"}}, "canary 1: country is not known, expected was US"),
        (
            {A: {"country": "FR"}, B: {"country": "FR"}},
            "canary 1: country is US, expected was FR; canary 2: country is not known, expected was FR",
        ),
    ],
)
def test_a_canary_that_does_not_hold_refuses_without_its_address(tmp_path: Path, canaries: Any, wanted: str) -> None:
    with pytest.raises(GeoRefused) as refused:
        canaried(tmp_path, canaries).open()
    assert str(refused.value) == f"geo file {tmp_path / 'flat.mmdb'}: {wanted}"


def test_a_canary_is_looked_up_in_its_own_file_alone(tmp_path: Path, fr: Path) -> None:
    us = country(tmp_path / "overlay.mmdb", "US")
    path = manifest(tmp_path, entry(us), entry(fr, canaries={A: {"country": "FR"}}))
    assert source(path).open().facts(A).country == "US"


# --- what is refused


def refused_by(path: Path, kind: type[Exception] = GeoRefused) -> str:
    """The message of a refusal: one line that names the file, and once refused there is nothing new."""
    following = source(path)
    with pytest.raises(kind) as refused:
        following.open()
    assert not following.changed()
    assert following.accept_change is None
    assert str(refused.value).isprintable()
    assert str(path.parent) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"sha256": "0" * 64}, f"expected was {'0' * 64}"),
        ({"build": "2026-06-17T00:00:01Z"}, "its build is '2026-06-17T00:00:00.000Z', expected was"),
        ({"database_type": "GeoLite2-City"}, "its database_type is 'GeoLite2-Country', expected was 'GeoLite2-City'"),
    ],
)
def test_a_file_that_is_not_the_one_described(tmp_path: Path, fr: Path, changes: Spec, wanted: str) -> None:
    assert wanted in refused_by(manifest(tmp_path, entry(fr, **changes)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"address,country\n" * 99,
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-20],
        lambda whole: whole.replace(b"\x47country", b"\x87country"),
    ],
    ids=["empty", "text", "cut in half", "its end missing", "a map key that would crash the reader"],
)
def test_a_damaged_file_even_with_the_right_digest(tmp_path: Path, fr: Path, damage: Callable[[bytes], bytes]) -> None:
    told = entry(fr)
    content = damage(fr.read_bytes())
    fr.write_bytes(content)
    path = manifest(tmp_path, told | {"sha256": hashlib.sha256(content).hexdigest()})
    assert "not an MMDB file, or a damaged one" in refused_by(path)


def test_a_file_that_was_cut_short_since(tmp_path: Path, fr: Path) -> None:
    path = manifest(tmp_path, entry(fr))
    os.truncate(fr, 100)
    assert "its SHA-256 is" in refused_by(path)


def mappings() -> int:
    """How many private copies this process has mapped."""
    return sum("(deleted)" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_one_bad_file_and_none_is_used(tmp_path: Path, fr: Path) -> None:
    us = country(tmp_path / "us.mmdb", "US")
    path = manifest(tmp_path, entry(fr), entry(us, canaries={A: {"country": "FR"}}))
    before = mappings()
    with pytest.raises(GeoRefused, match=r"us\.mmdb") as refused:
        source(path).open()
    assert refused.tb is not None, "which keeps alive what was opened"
    assert mappings() == before
    geo = Geo.open([fr], vocabulary())
    assert mappings() == before + 1, "such a mapping is seen here"
    geo.close()


def test_what_cannot_be_read_is_unavailable(tmp_path: Path, fr: Path) -> None:
    (tmp_path / "loop.mmdb").symlink_to("loop.mmdb")
    os.mkfifo(tmp_path / "pipe.mmdb")
    (tmp_path / "folder.mmdb").mkdir()
    for name, why in (
        ("gone.mmdb", "No such file"),
        ("folder.mmdb", "Is a directory"),
        ("loop.mmdb", "Too many levels of symbolic links"),
        ("pipe.mmdb", "not a regular file"),
        ("../" * 30 + "dev/zero", "not a regular file"),
        ("country.mmdb/x", "Not a directory"),
        ("x" * 300, "File name too long"),
    ):
        assert why in refused_by(manifest(tmp_path, entry(fr, path=name)), GeoUnavailable), name


def test_a_manifest_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for name, why in (
        ("gone.json", "No such file"),
        ("folder.json", "Is a directory"),
        ("loop.json", "Too many levels"),
        ("pipe.json", "not a regular file"),
    ):
        assert why in refused_by(tmp_path / name, GeoUnavailable), name


FILE = {"path": "a.mmdb", "sha256": "0" * 64, "build": "2026-06-17T00:00:00Z", "database_type": "x"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "not JSON"),
        ('{"version": 1, "files": [{"path": "a.mm', "not JSON"),
        ('{"version": 1, "version": 1, "files": []}', "'version' stands twice"),
        ("[]", "Expected `object`"),
        ("\ufeff{}", "not JSON"),
        ("[" * 10_000, "containers in one another"),
        (" " * 2**20 + "{}", "is larger than 1 MiB"),
        ({}, "missing required field `version`"),
        ({"version": 2, "files": [FILE]}, "$.version"),
        ({"version": "1", "files": [FILE]}, "$.version"),
        ({"version": True, "files": [FILE]}, "$.version"),
        ({"version": 1}, "missing required field `files`"),
        ({"version": 1, "files": []}, "$.files"),
        ({"version": 1, "files": {}}, "$.files"),
        ({"version": 1, "files": [FILE], "extra": 1}, "unknown field `extra`"),
        ({"version": 1, "files": [FILE], "a\nb": 1}, "unknown field `a?b`"),
        ({"version": 1, "files": [FILE | {"sha": "0"}]}, "unknown field `sha` - at `$.files[0]`"),
        ({"version": 1, "files": [FILE | {"sha256": "A" * 64}]}, "$.files[0].sha256"),
        ({"version": 1, "files": [FILE | {"sha256": "0" * 63}]}, "$.files[0].sha256"),
        ({"version": 1, "files": [FILE | {"path": ""}]}, "$.files[0].path"),
        ({"version": 1, "files": [FILE | {"path": None}]}, "$.files[0].path"),
        ({"version": 1, "files": [FILE | {"path": "a\0b"}]}, "files[0].path has characters"),
        ({"version": 1, "files": [FILE | {"path": "a\nb"}]}, "files[0].path has characters"),
        ({"version": 1, "files": [FILE | {"build": "2026-06-17"}]}, "files[0].build: not an RFC 3339 time"),
        ({"version": 1, "files": [FILE | {"database_type": 1}]}, "$.files[0].database_type"),
        ({"version": 1, "files": [FILE, FILE]}, "files[0] and files[1] have the same path, a.mmdb"),
        ({"version": 1, "files": [FILE, FILE | {"path": "./b/../a.mmdb"}]}, "have the same path, a.mmdb"),
        ({"version": 1, "files": [FILE, FILE | {"path": "b.mmdb"}]}, "have the same sha256"),
        (
            {"version": 1, "files": [FILE, FILE | {"path": "b/a.mmdb", "sha256": "1" * 64}]},
            "files[0] and files[1] have the same name, a",
        ),
        ({"version": 1, "files": [FILE], "accept_change": 1.5}, "$.accept_change"),
        ({"version": 1, "files": [FILE], "accept_change": -0.1}, "$.accept_change"),
        ({"version": 1, "files": [FILE], "accept_change": True}, "$.accept_change"),
        ({"version": 1, "files": [FILE], "adopted_at": "yesterday"}, "adopted_at: not an RFC 3339 time"),
        ({"version": 1, "files": [FILE], "adopted_at": 5}, "$.adopted_at"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, text: Any, wanted: str) -> None:
    path = tmp_path / "geo.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    assert wanted in refused_by(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "geo.json").write_bytes(b'{"version": 1, "files": "\xff"}')
    assert "not JSON" in refused_by(tmp_path / "geo.json")


@pytest.mark.parametrize(
    ("canaries", "wanted"),
    [
        ({"8.8.8": {"country": "US"}}, "files[0]: canary 1: not an IPv4 address"),
        ({A: {"country": "US"}, f"::ffff:{A}": {"country": "US"}}, "canary 2: the same address as canary 1"),
        ({A: {}}, "canary 1: names no fact"),
        ({A: {"country": "UK"}}, "canary 1: country 'UK' is no ISO 3166-1 code"),
        ({A: {"subdivision": "CA"}}, "canary 1: subdivision 'CA' is no ISO 3166-2 code"),
        ({A: {"continent": "Europe"}}, "canary 1: continent 'Europe' is no continent"),
        ({A: {"connection": "other"}}, "Invalid enum value 'other'"),
        ({A: {"asn": "64500"}}, "Expected `int | null`, got `str`"),
        ({A: {"asn": 2**32}}, "asn"),
        ({A: {"land": "US"}}, "unknown field `land`"),
        ({A: "US"}, "Expected `object`, got `str`"),
        ([A], "$.files[0].canaries"),
    ],
)
def test_what_is_no_canary(tmp_path: Path, canaries: Any, wanted: str) -> None:
    path = manifest(tmp_path, FILE | {"canaries": canaries})
    message = refused_by(path)
    assert wanted in message
    assert A not in message, "messages are logged, and addresses are not (charter C7)"


# --- following


def test_a_new_manifest_is_noticed_once_and_the_old_files_go_on(tmp_path: Path, fr: Path) -> None:
    path = manifest(tmp_path, entry(fr))
    following = source(path)
    assert following.changed()
    old = following.open()
    assert not following.changed()
    us = country(tmp_path / "us.mmdb", "US")
    manifest(tmp_path, entry(us))
    assert following.changed()
    new = following.open()
    assert not following.changed()
    assert (old.facts(A).country, new.facts(A).country) == ("FR", "US")


def test_a_refused_manifest_is_not_tried_again_but_the_next_one_is(tmp_path: Path, fr: Path) -> None:
    following = source(manifest(tmp_path, entry(fr), accept_change=0.5))
    following.open()
    manifest(tmp_path, entry(fr, sha256="0" * 64), accept_change=0.9)
    with pytest.raises(GeoRefused):
        following.open()
    assert not following.changed()
    assert following.accept_change == 0.5, "that of the manifest in use"
    manifest(tmp_path, entry(fr))
    assert following.changed()
    following.open()
    assert following.accept_change is None


def test_a_file_that_comes_later_than_its_manifest_is_found(tmp_path: Path, fr: Path) -> None:
    path = manifest(tmp_path, entry(fr))
    away = fr.rename(tmp_path / "away")
    following = source(path)
    with pytest.raises(GeoUnavailable):
        following.open()
    assert not following.changed()
    away.rename(fr)
    assert following.changed()
    assert following.open().facts(A).country == "FR"


@pytest.mark.parametrize("what", ["manifest", "file"])
def test_what_goes_or_comes_back_is_noticed(tmp_path: Path, fr: Path, what: str) -> None:
    following = source(manifest(tmp_path, entry(fr)))
    following.open()
    gone = fr if what == "file" else tmp_path / "geo.json"
    away = gone.rename(tmp_path / "away")
    assert following.changed()
    with pytest.raises(GeoUnavailable):
        following.open()
    assert not following.changed()
    away.rename(gone)
    assert following.changed()


def test_opening_leaves_the_other_threads_their_turn(tmp_path: Path) -> None:
    """Checking a file is Python code, which done here would hold all up for 5 ms at a time."""
    networks = {
        f"20.{b}.{c}.0/24": {"country": {"iso_code": "FR"}, "city": {"names": {"en": f"{b}-{c}", "de": f"{b}.{c}"}}}
        for b in range(100)
        for c in range(100)
    }
    path = write_geo(tmp_path / "city.mmdb", {"layout": "city", "networks": networks})
    following = source(manifest(tmp_path, entry(path)))
    spent: list[float] = []

    def timed(opening: Callable[[], object]) -> None:
        started = time.thread_time()
        opening()
        spent.append(time.thread_time() - started)

    for opening in (lambda: open_file(path), following.open):
        thread = threading.Thread(target=timed, args=[opening])
        thread.start()
        thread.join(60)
    here, apart = spent
    assert apart < here / 4


# --- what happens to files in use

HOSTILE = """
import os, random, sys, threading
from pathlib import Path
from streams.adapters.geomanifest import ManifestSource
from streams.adapters.iso import vocabulary

path, file = Path(sys.argv[1]), Path(sys.argv[2])
geo = ManifestSource(path, vocabulary()).open()
whole, stop, wrong = file.read_bytes(), threading.Event(), []

def look():
    n = 0
    while not stop.is_set():
        n += 1
        if geo.facts(f"192.0.{2 + n % 2}.{n % 256}").country != ("FR" if n % 2 == 0 else None):
            wrong.append(n)
        if n % 512 == 0:
            geo.facts.cache_clear()

thread = threading.Thread(target=look)
thread.start()
for _ in range(200):
    os.truncate(file, 0)
    with open(file, "r+b") as stream:
        stream.write(os.urandom(len(whole)))
os.truncate(file, 0)
geo.facts.cache_clear()
stop.set()
thread.join()
assert not wrong and not geo.lookup_errors, wrong[:3]
print(geo.facts("192.0.2.77").country)
"""


def test_a_file_in_use_may_be_cut_short_and_overwritten_in_place(tmp_path: Path, fr: Path) -> None:
    # In a process of its own: what this is about would kill it (SIGBUS).
    path = manifest(tmp_path, entry(fr))
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(path), str(fr)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "FR\n"), done.stderr


# --- adopting

Adopt = Callable[..., geoadoption.Adoption]


@pytest.fixture
def adopt(tmp_path: Path) -> Adopt:
    def adopted(*files: Path, canaries: Any = None, **options: Any) -> geoadoption.Adoption:
        candidates = [
            Candidate(file, open_file(file), {a: Expected(**e) for a, e in (canaries or {}).items()}) for file in files
        ]
        options.setdefault("at", 1_781_700_000_000)
        return geoadoption.adopt(tmp_path / "geo.json", candidates, vocabulary(), **options)

    return adopted


def test_what_was_adopted_is_what_a_worker_opens(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    asn = write_geo(tmp_path / "asn.mmdb", {"layout": "asn", "networks": {"192.0.2.0/24": 64500}})
    done = adopt(fr, asn, accept_change=0.5)
    digest = hashlib.sha256(fr.read_bytes()).hexdigest()
    assert done.changed
    assert done.manifest.files[0].path == f"geo.json.d/country-2026-06-17-{digest[:8]}.mmdb"
    assert done.manifest.adopted_at == "2026-06-17T12:40:00.000Z"
    fr.unlink()
    asn.unlink()
    following = source(tmp_path / "geo.json")
    geo = following.open()
    assert (geo.facts(A).country, geo.facts(A).asn, following.accept_change) == ("FR", 64500, 0.5)
    assert [file.name for file in geo.files] == ["country", "asn"]
    assert {file.name for file in tmp_path.iterdir()} == {"geo.json", "geo.json.d"}
    assert len(list((tmp_path / "geo.json.d").iterdir())) == 2


def test_adopting_what_is_in_use_changes_nothing(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    adopt(fr)
    following = source(tmp_path / "geo.json")
    following.open()
    again = adopt(fr, at=1_781_800_000_000)
    assert (again.changed, again.manifest.adopted_at) == (False, "2026-06-17T12:40:00.000Z")
    assert not following.changed()
    assert adopt(fr, accept_change=1.0).changed
    assert following.changed()


def test_an_older_build_needs_leave(tmp_path: Path, adopt: Adopt) -> None:
    new = country(tmp_path / "country.mmdb", "US", BUILD + DAY)
    adopt(new)
    before = (tmp_path / "geo.json").read_bytes()
    (tmp_path / "old").mkdir()
    old = country(tmp_path / "old" / "country.mmdb", "FR", BUILD)
    with pytest.raises(NotAdopted, match="older than the one in use, 2026-06-18") as refused:
        adopt(old)
    assert len(refused.value.problems) == 1
    assert (tmp_path / "geo.json").read_bytes() == before
    adopt(old, allow_older=True)
    assert source(tmp_path / "geo.json").open().facts(A).country == "FR"


def test_canaries_stay_with_a_name_until_given_anew(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    adopt(fr, canaries={A: {"country": "FR"}, B: {"country": None}})
    us = country(tmp_path / "country.mmdb", "US", BUILD + DAY)
    before = (tmp_path / "geo.json").read_bytes()
    with pytest.raises(NotAdopted, match=f"canary {A}: country is US, expected was FR"):
        adopt(us)
    assert (tmp_path / "geo.json").read_bytes() == before
    assert len(list((tmp_path / "geo.json.d").iterdir())) == 1
    done = adopt(us, canaries={f"::ffff:{A}": {"country": "US"}})
    assert list(done.manifest.files[0].canaries) == [B, f"::ffff:{A}"]


def test_what_is_not_given_is_dropped_and_said(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    asn = write_geo(tmp_path / "asn.mmdb", {"layout": "asn", "networks": {"192.0.2.0/24": 64500}})
    adopt(fr, asn)
    assert adopt(fr).dropped == ("asn",)


def test_two_files_of_one_name_are_not_adopted(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(NotAdopted, match="have the same name, country"):
        adopt(fr, country(tmp_path / "other" / "country.mmdb", "US"))
    assert not (tmp_path / "geo.json").exists()


def test_a_damaged_manifest_is_not_replaced(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    (tmp_path / "geo.json").write_text("{")
    with pytest.raises(GeoRefused, match="not JSON"):
        adopt(fr)
    assert (tmp_path / "geo.json").read_text() == "{"


def test_a_file_that_changes_between_check_and_copy_is_not_adopted(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    adopt(fr)
    before = (tmp_path / "geo.json").read_bytes()
    us = country(tmp_path / "us.mmdb", "US")
    candidate = Candidate(us, open_file(us), {})
    country(us, "DE")
    with pytest.raises(NotAdopted, match="was changed while it was adopted"):
        geoadoption.adopt(tmp_path / "geo.json", [candidate], vocabulary(), at=0)
    assert (tmp_path / "geo.json").read_bytes() == before
    assert [file.suffix for file in (tmp_path / "geo.json.d").iterdir()] == [".mmdb"]


def test_a_whole_copy_is_kept_and_a_damaged_one_replaced_never_rewritten(
    tmp_path: Path, fr: Path, adopt: Adopt
) -> None:
    place = tmp_path / adopt(fr).manifest.files[0].path
    kept = place.stat().st_ino
    adopt(fr)
    assert place.stat().st_ino == kept
    with open(place, "rb") as mapped:
        place.write_bytes(b"rot")
        adopt(fr)
        assert os.fstat(mapped.fileno()).st_nlink == 0, "another file took its name"
    assert place.read_bytes() == fr.read_bytes()


def test_the_leftovers_of_a_killed_adoption_are_in_nobodys_way(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    (tmp_path / "geo.json.d").mkdir()
    target = tmp_path / "elsewhere"
    target.write_text("untouched")
    (tmp_path / "geo.json.d" / ".geo.json.part").symlink_to(target)
    (tmp_path / ".geo.json.part").write_text("half")
    adopt(fr)
    assert source(tmp_path / "geo.json").open().facts(A).country == "FR"
    assert target.read_text() == "untouched"
    assert not list(tmp_path.glob("**/.*"))


def test_an_adoption_that_cannot_write_says_so_and_leaves_the_manifest(tmp_path: Path, fr: Path, adopt: Adopt) -> None:
    adopt(fr)
    before = (tmp_path / "geo.json").read_bytes()
    us = country(tmp_path / "country.mmdb", "US", BUILD + DAY)
    (tmp_path / "geo.json.d" / ".geo.json.part").mkdir()  # a folder: not even root can write a file here
    with pytest.raises(GeoUnavailable, match=r"cannot adopt: .*part: Is a directory"):
        adopt(us)
    assert (tmp_path / "geo.json").read_bytes() == before
    with pytest.raises(GeoUnavailable, match="No such file"):
        geoadoption.adopt(tmp_path / "no" / "geo.json", [], vocabulary(), at=0)


def test_a_manifest_keeps_its_mode_and_a_link_its_place(tmp_path: Path, fr: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "geo.json", tmp_path / "geo.json"
    link.symlink_to(real)
    for code, mode in (("FR", 0o600), ("US", 0o640)):
        file = country(fr, code)
        geoadoption.adopt(link, [Candidate(file, open_file(file), {})], vocabulary(), at=0)
        assert link.is_symlink()
        assert source(link).open().facts(A).country == code
        os.chmod(real, mode)
    file = country(fr, "DE")
    geoadoption.adopt(link, [Candidate(file, open_file(file), {})], vocabulary(), at=0)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


# --- pruning


def test_the_last_two_of_each_name_and_what_is_in_use_stay(tmp_path: Path, adopt: Adopt) -> None:
    path = tmp_path / "geo.json"
    files = (country(tmp_path / "country.mmdb", "FR", BUILD + day * DAY) for day in range(5))
    places = [adopt(file).manifest.files[0].path for file in files]
    adopt(country(tmp_path / "country.mmdb", "FR", BUILD), allow_older=True)
    write_geo(tmp_path / "asn.mmdb", {"layout": "asn", "networks": {"192.0.2.0/24": 64500}})
    adopt(tmp_path / "asn.mmdb", country(tmp_path / "country.mmdb", "FR", BUILD), allow_older=True)
    folder = tmp_path / "geo.json.d"
    (folder / "mine.txt").write_text("not adopted")
    (folder / f"link-2020-01-01-{'0' * 8}.mmdb").symlink_to(tmp_path / "asn.mmdb")
    following = source(path)
    following.open()
    assert geoadoption.prune(path, vocabulary()) == sorted(Path(places[day]).name for day in (1, 2))
    assert {f.name for f in folder.glob("country*")} == {Path(places[day]).name for day in (0, 3, 4)}
    assert len(list(folder.iterdir())) == 6
    assert not following.changed()
    assert geoadoption.prune(path, vocabulary()) == []


def test_pruning_needs_a_manifest_but_no_folder(tmp_path: Path, fr: Path) -> None:
    with pytest.raises(GeoUnavailable, match="No such file"):
        geoadoption.prune(tmp_path / "geo.json", vocabulary())
    assert geoadoption.prune(manifest(tmp_path, entry(fr)), vocabulary()) == []


# --- at the same time

RIVAL = """
import sys
from pathlib import Path
from streams.adapters import geoadoption
from streams.adapters.geo import open_file
from streams.adapters.iso import vocabulary

path, *files = map(Path, sys.argv[1:])
candidates = [geoadoption.Candidate(file, open_file(file), {}) for file in files]
print("ready", flush=True)
sys.stdin.readline()
for n in range(20):
    geoadoption.adopt(path, candidates, vocabulary(), at=n, accept_change=n / 20)
"""


def test_rivals_leave_one_manifest_or_the_other_and_a_worker_never_meets_a_mix(tmp_path: Path) -> None:
    sets = []
    for code in ("FR", "US"):
        folder = tmp_path / code
        folder.mkdir()
        networks = {"192.0.2.0/24": 64500 if code == "FR" else 64501}
        sets.append(
            [
                country(folder / "country.mmdb", code),
                write_geo(folder / "asn.mmdb", {"layout": "asn", "networks": networks}),
            ]
        )
    path = tmp_path / "geo.json"
    geoadoption.adopt(path, [Candidate(f, open_file(f), {}) for f in sets[0]], vocabulary(), at=0)
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, str(path), *map(str, files)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for files in sets
    ]
    seen = set()
    try:
        for rival in rivals:
            assert rival.stdout is not None
            assert rival.stdout.readline() == "ready\n"
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        following = source(path)
        while any(rival.poll() is None for rival in rivals) or not seen:
            facts = following.open().facts(A)
            seen.add((facts.country, facts.asn))
        assert [rival.wait(60) for rival in rivals] == [0, 0]
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()
    facts = following.open().facts(A)
    assert seen | {(facts.country, facts.asn)} <= {("FR", 64500), ("US", 64501)}
    assert len(list((tmp_path / "geo.json.d").iterdir())) == 4
    assert not list(tmp_path.glob("**/.*"))


# --- checking apart


def test_checked_apart_or_here_the_answer_is_the_same(tmp_path: Path) -> None:
    path = write_geo(
        tmp_path / "flat.mmdb",
        {"layout": "flat", "networks": {A + "/32": {"vpn": True, "hosting": False}, B + "/32": {"connection": "x"}}},
    )
    here, apart = (open_file(path, apart=apart, count=True) for apart in (False, True))
    for name in (
        "name",
        "sha256",
        "size",
        "built",
        "database_type",
        "ip_version",
        "has_words",
        "has_further",
        "records",
    ):
        assert getattr(here, name) == getattr(apart, name), name
    assert (here.records, here.size, here.has_words, here.has_further) == (2, path.stat().st_size, True, True)
    assert here.built == datetime.fromtimestamp(BUILD, UTC)
    assert open_file(path).records is None
    assert geomanifest.look_up(apart, {A: Expected(connection="vpn")}, vocabulary())[0].holds
