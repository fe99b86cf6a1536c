"""Geo builds put together again from files at hand, by the name that decisions give them."""

from pathlib import Path

from streams.adapters.anonymity import ANY_FILE
from streams.adapters.geo import Geo
from streams.adapters.geoshelf import Shelf
from streams.adapters.iso import vocabulary
from streams.core.facts import UNVOUCHED
from tests.geofiles import write_geo

ADDRESS = "5.39.0.1"


def test_any_build_of_the_files_at_hand(tmp_path: Path) -> None:
    files = [
        write_geo(tmp_path / f"{name}.mmdb", {"layout": "country", "networks": {"5.39.0.0/16": country}})
        for name, country in (("first", "FR"), ("second", "US"))
    ]
    shelf = Shelf(files, vocabulary())
    for order, country in (([0], "FR"), ([1], "US"), ([0, 1], "FR"), ([1, 0], "US"), ([], None)):
        geography = Geo.open([files[number] for number in order], vocabulary(), ANY_FILE)
        geography.review(0)
        build = shelf(geography.build)
        assert build is not None
        assert build.time == geography.time
        assert build.facts(ADDRESS) == geography.facts(ADDRESS)
        assert build.facts(ADDRESS).country == country


def test_a_file_whose_anonymity_data_did_not_count_is_doubted_again(tmp_path: Path) -> None:
    networks = {"5.39.0.0/16": {"country_code": "FR", "vpn": False}}
    file = write_geo(tmp_path / "flat.mmdb", {"layout": "flat", "networks": networks})
    shelf = Shelf([file], vocabulary())
    [name] = shelf._files
    plain, doubted = shelf(name), shelf(f"{name}!aged")
    assert plain is not None
    assert doubted is not None
    assert doubted.facts(ADDRESS).doubts == plain.facts(ADDRESS).doubts | UNVOUCHED


def test_what_is_not_at_hand_is_none(tmp_path: Path) -> None:
    file = write_geo(tmp_path / "one.mmdb", {"layout": "country", "networks": {"5.39.0.0/16": "FR"}})
    shelf = Shelf([file], vocabulary())
    [name] = shelf._files
    assert shelf("another-2026-06-17-1a2b3c4d") is None
    assert shelf(f"{name}+another-2026-06-17-1a2b3c4d") is None
