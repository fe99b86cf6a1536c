"""Ruling 33: what service documents may rely on, and where they may not trust a place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.anonymity import ANY_FILE, Standards
from streams.adapters.geo import Geo
from streams.adapters.geomanifest import ManifestSource
from streams.adapters.iso import vocabulary
from streams.core.facts import DOUBTS, UNVOUCHED
from tests.adapters.test_geomanifest import entry, manifest
from tests.geofiles import BUILD, write_geo

DAY = 86_400_000
FRESH = BUILD * 1000 + DAY
CANARY, OTHER = "198.51.100.7", "198.51.100.8"
STANDARDS = Standards(max_age=45 * DAY, min_size=100, canaries=(CANARY,))
VPNS = {"layout": "anonymous", "networks": {f"{CANARY}/32": ["vpn"], f"{OTHER}/32": ["tor"]}}
COUNTRY = {"layout": "country", "networks": {"192.0.2.0/24": "FR"}}
HERE = "192.0.2.9"

Open = Callable[..., Geo]


@pytest.fixture
def geo(tmp_path: Path) -> Open:
    """Opens a reviewed Geo over files given as specs of tests/geofiles.py."""

    def opened(*specs: dict[str, Any], standards: Standards = STANDARDS, at: int = FRESH) -> Geo:
        paths = [write_geo(tmp_path / f"{number}.mmdb", spec) for number, spec in enumerate(specs)]
        made = Geo.open(paths, vocabulary(), standards)
        made.review(at)
        return made

    return opened


def asking(**changed: Any) -> Standards:
    return Standards(**{"max_age": 45 * DAY, "min_size": 100, "canaries": (CANARY,), **changed})


@pytest.mark.parametrize(
    ("standards", "age", "verdict"),
    [
        pytest.param(asking(), 0, "vouched", id="all is well"),
        pytest.param(asking(), 45 * DAY, "vouched", id="45 days old"),
        pytest.param(asking(), 45 * DAY + 1, "aged", id="older"),
        pytest.param(asking(min_size=1 << 20), 0, "small", id="small"),
        pytest.param(asking(canaries=()), 0, "no-canaries", id="nobody knows a canary"),
        pytest.param(asking(canaries=(CANARY, HERE)), 0, "canaries", id="one of the canaries is not listed"),
        pytest.param(asking(canaries=("2001:db8::1",)), 0, "canaries", id="a canary of the other kind of address"),
        pytest.param(asking(canaries=(f"::ffff:{CANARY}",)), 0, "vouched", id="a canary written otherwise"),
        pytest.param(ANY_FILE, 900 * DAY, "unasked", id="the sandbox asks nothing"),
    ],
)
def test_an_anonymity_file_counts_for_service_documents_only_when(
    geo: Open, standards: Standards, age: int, verdict: str
) -> None:
    opened = geo(VPNS, COUNTRY, standards=standards, at=BUILD * 1000 + age)
    assert [file.verdict for file in opened.files] == [verdict, None]
    facts = opened.facts(HERE)
    counts = verdict in ("vouched", "unasked")
    assert (facts.country, facts.doubts) == ("FR", 0 if counts else UNVOUCHED)
    build, _ = opened.build.split("+")
    assert build.endswith("" if counts else f"!{verdict}"), "decisions say what they were made with"


def test_without_anonymity_data_nothing_is_vouched_for(geo: Open) -> None:
    assert geo(COUNTRY).facts(HERE).doubts == UNVOUCHED
    assert geo(COUNTRY, standards=ANY_FILE).facts(HERE).doubts == UNVOUCHED


def test_one_stale_file_of_two_is_enough_to_doubt(geo: Open) -> None:
    stale = {**VPNS, "build": BUILD - 60 * 86_400}
    assert geo(stale, VPNS, COUNTRY).facts(HERE).doubts == UNVOUCHED


def test_each_of_several_files_lists_some_canary_and_every_canary_is_listed(geo: Open) -> None:
    vpn = {"layout": "anonymous", "networks": {f"{CANARY}/32": ["vpn"]}}
    tor = {"layout": "anonymous", "networks": {f"{OTHER}/32": ["tor"]}}
    assert geo(vpn, tor, COUNTRY, standards=asking(canaries=(CANARY, OTHER))).facts(HERE).doubts == 0
    assert geo(vpn, tor, COUNTRY, standards=asking(canaries=(CANARY,))).facts(HERE).doubts == UNVOUCHED


def test_a_file_comes_of_age_while_it_is_in_use(geo: Open) -> None:
    opened = geo(VPNS, COUNTRY)
    before = opened.build
    assert opened.facts(HERE).doubts == 0
    assert not opened.review(FRESH + DAY), "nothing has changed"
    assert opened.review(FRESH + 45 * DAY)
    assert opened.facts(HERE).doubts == UNVOUCHED, "what was cached is asked anew"
    assert opened.build != before
    assert opened.review(FRESH), "a clock may go back"
    assert (opened.build, opened.facts(HERE).doubts) == (before, 0)


def test_offline_nothing_is_doubted(tmp_path: Path) -> None:
    paths = [write_geo(tmp_path / "overlay.mmdb", {"layout": "country", "networks": {f"{HERE}/32": "DE"}})]
    opened = Geo.open(paths, vocabulary())
    assert not opened.review(BUILD * 1000 + 900 * DAY)
    assert (opened.facts(HERE).country, opened.facts(HERE).doubts) == ("DE", 0)


# -- one line among its neighbours -------------------------------------------------------------------------------


def doubted(facts: Any) -> set[str]:
    return {place for place, bit in DOUBTS.items() if facts.doubts & bit}


@pytest.mark.parametrize(
    ("networks", "place", "wanted"),
    [
        pytest.param({f"{HERE}/32": "DE"}, "DE", {"country"}, id="one line elsewhere"),
        pytest.param({"192.0.2.0/28": "DE"}, "DE", {"country"}, id="a few lines"),
        pytest.param({"192.0.2.0/24": "DE"}, "DE", set(), id="the whole block"),
        pytest.param({"192.0.0.0/16": "DE"}, "DE", set(), id="more than the block"),
        pytest.param({f"{HERE}/32": "US"}, "US", {"country", "continent"}, id="on another continent"),
        pytest.param({f"{HERE}/32": "FR-IDF"}, "FR", {"subdivision"}, id="a subdivision for one line"),
        pytest.param({f"{HERE}/32": "FR"}, "FR", set(), id="the same as around it"),
        pytest.param({"192.0.2.255/32": "DE"}, "FR", {"country"}, id="the last address elsewhere"),
        pytest.param({"192.0.2.0/32": "DE"}, "FR", {"country"}, id="the first address elsewhere"),
        pytest.param({"192.0.2.77/32": "DE"}, "FR", set(), id="a neighbour in the middle elsewhere"),
    ],
)
def test_a_place_is_in_doubt_where_the_ends_of_its_block_differ(
    geo: Open, networks: dict[str, str], place: str, wanted: set[str]
) -> None:
    around = {"layout": "country", "networks": {"192.0.0.0/16": "FR"}}
    facts = geo({"layout": "city", "networks": networks}, VPNS, around).facts(HERE)
    assert (facts.country, doubted(facts)) == (place, wanted)


def test_a_block_is_gone_through_once_for_all_its_addresses(geo: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = {"layout": "city", "networks": {"192.0.2.0/25": "FR-IDF", "192.0.2.128/25": "FR-ARA"}}
    opened = geo(halves, VPNS, COUNTRY)
    assert doubted(opened.facts(HERE)) == {"subdivision"}
    monkeypatch.setattr(opened, "_share", None)
    assert doubted(opened.facts("192.0.2.200")) == {"subdivision"}


def test_two_files_that_cut_a_block_differently_are_merged_line_by_line(geo: Open) -> None:
    """The first gives France for a quarter and says nothing of the rest, the second Germany but for a line."""
    first = {"layout": "city", "networks": {"192.0.2.0/26": "FR"}}
    second = {"layout": "country", "networks": {"192.0.2.0/24": "DE", "192.0.2.100/32": "FR"}}
    opened = geo(first, VPNS, second)
    assert doubted(opened.facts("192.0.2.70")) == {"country"}, "the first end is in France"
    first["networks"] = {"192.0.2.64/26": "FR"}
    opened = geo(first, VPNS, second)
    assert (opened.facts("192.0.2.10").country, doubted(opened.facts("192.0.2.10"))) == ("DE", set())
    assert (opened.facts("192.0.2.70").country, doubted(opened.facts("192.0.2.70"))) == ("FR", {"country"})


def test_an_ends_own_connection_hides_no_geography(geo: Open) -> None:
    exits = {"layout": "anonymous", "networks": {**VPNS["networks"], "192.0.2.255/32": ["vpn"]}}
    facts = geo(exits, COUNTRY).facts(HERE)
    assert (facts.country, facts.doubts) == ("FR", 0)


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ("2001:db8:7:1::/64", {"country", "continent"}),
        ("2001:db8:7::/48", set()),
        ("2001:db8::/32", set()),
    ],
)
def test_an_ipv6_block_is_a_48(geo: Open, network: str, wanted: set[str]) -> None:
    overlay = {"layout": "country", "networks": {network: "US"}}
    facts = geo(overlay, VPNS, {"layout": "country", "networks": {"2001:db8::/29": "FR"}}).facts("2001:db8:7:1::9")
    assert (facts.country, doubted(facts)) == ("US", wanted)


def test_a_wrapped_address_is_looked_at_among_its_ipv4_neighbours(geo: Open) -> None:
    opened = geo({"layout": "country", "networks": {f"{HERE}/32": "US"}}, VPNS, COUNTRY)
    assert doubted(opened.facts(f"::ffff:{HERE}")) == {"country", "continent"}


@pytest.mark.parametrize(
    ("canaries", "verdict"),
    [
        ({CANARY: {"connection": "vpn"}}, "vouched"),
        ({CANARY: {"country": None}}, "no-canaries"),
    ],
)
def test_a_manifests_canaries_are_canaries_where_they_name_an_anonymised_connection(
    tmp_path: Path, canaries: dict[str, Any], verdict: str
) -> None:
    path = write_geo(tmp_path / "vpns.mmdb", VPNS)
    opened = ManifestSource(
        manifest(tmp_path, entry(path, canaries=canaries)), vocabulary(), asking(canaries=())
    ).open()
    opened.review(FRESH)
    assert [file.verdict for file in opened.files] == [verdict]
