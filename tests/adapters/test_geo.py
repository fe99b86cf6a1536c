"""What Doorward makes of geo files: layouts, several files at once, damage, and the snapshot it ships."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import maxminddb
import pytest

from streams.adapters.geo import Geo, GeoUnavailable, shipped
from streams.adapters.iso import vocabulary
from streams.core.address import BadAddress
from streams.core.facts import ANONYMISED, ANY_CONNECTION, HOSTING, NOTHING_KNOWN, RELAY, Facts, connection_bits
from tests.geofiles import BUILD, write_geo

A, B = "192.0.2.1", "198.51.100.1"
LISTED = ANONYMISED | RELAY

Open = Callable[..., Geo]


@pytest.fixture
def geo(tmp_path: Path) -> Open:
    """Opens a Geo over files given as specs of tests/geofiles.py, or as bare networks of a flat file."""

    def opened(*specs: dict[str, Any]) -> Geo:
        paths = []
        for number, spec in enumerate(specs):
            whole = spec if "layout" in spec else {"layout": "flat", "networks": spec}
            paths.append(write_geo(tmp_path / f"{number}.mmdb", whole))
        return Geo.open(paths, vocabulary())

    return opened


def place(facts: Facts) -> tuple[str | None, str | None, str | None]:
    return facts.country, facts.subdivision, facts.continent


def only(*names: str) -> int:
    return connection_bits(names)


# --- layouts


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        pytest.param({"country": {"iso_code": "FR"}}, ("FR", None, "EU"), id="MaxMind country"),
        pytest.param(
            {"country": {"iso_code": "FR"}, "continent": {"code": "AF"}}, ("FR", None, "AF"), id="its own continent"
        ),
        pytest.param(
            {"country": {"iso_code": "GB"}, "subdivisions": [{"iso_code": "ENG"}, {"iso_code": "LND"}]},
            ("GB", "GB-ENG", "EU"),
            id="MaxMind city: the widest subdivision",
        ),
        pytest.param(
            {"country": {"iso_code": "GB"}, "subdivisions": [{"iso_code": "ZZZ"}, {"iso_code": "LND"}]},
            ("GB", None, "EU"),
            id="an unknown widest subdivision is not replaced by the next",
        ),
        pytest.param(
            {
                "city": {"names": {"en": "Lyon"}},
                "continent": {"code": "EU", "geoname_id": 6255148},
                "country": {"iso_code": "FR", "confidence": 99},
                "registered_country": {"iso_code": "DE"},
                "subdivisions": [{"iso_code": "ARA", "confidence": 80}],
                "traits": {"user_type": "hosting", "is_anonymous_proxy": True},
            },
            ("FR", "FR-ARA", "EU"),
            id="MaxMind enterprise",
        ),
        pytest.param(
            {"registered_country": {"iso_code": "DE"}, "represented_country": {"iso_code": "US"}},
            (None, None, None),
            id="registered or represented is not used",
        ),
        pytest.param({"continent": {"code": "EU"}}, (None, None, "EU"), id="a continent alone"),
        pytest.param({"country_code": "FR"}, ("FR", None, "EU"), id="flat"),
        pytest.param({"country_code": "XK"}, ("XK", None, "EU"), id="XK"),
        pytest.param({"country_code": "FR", "continent_code": "AF"}, ("FR", None, "AF"), id="flat continent_code"),
        pytest.param({"country_code": "FR", "continent": "AF"}, ("FR", None, "AF"), id="flat continent"),
        pytest.param(
            {"country_code": "FR", "continent": "Europe"}, ("FR", None, "EU"), id="a continent's name is none"
        ),
        pytest.param({"country_code": "US", "state1": "CA"}, ("US", "US-CA", "NA"), id="flat state1, bare"),
        pytest.param({"country_code": "US", "region": "NV"}, ("US", "US-NV", "NA"), id="flat region, bare"),
        pytest.param({"country_code": "FR", "subdivision": "IDF"}, ("FR", "FR-IDF", "EU"), id="flat subdivision, bare"),
        pytest.param({"country_code": "US", "region": "US-CA"}, ("US", "US-CA", "NA"), id="flat region, whole"),
        pytest.param({"region": "US-CA"}, ("US", "US-CA", "NA"), id="a whole subdivision settles its country"),
        pytest.param({"region": "CA"}, (None, None, None), id="a bare one without a country is nothing"),
        pytest.param({"country_code": "US", "state1": "California"}, ("US", None, "NA"), id="a subdivision's name"),
        pytest.param({"country_code": "FR", "region": "US-CA"}, ("FR", None, "EU"), id="another country's subdivision"),
        pytest.param({"country_code": "fr"}, (None, None, None), id="lower case is no code"),
        pytest.param({"country_code": "EU"}, (None, None, None), id="EU is no country"),
        pytest.param({"country_code": ""}, (None, None, None), id="empty"),
        pytest.param({"country": {}, "subdivisions": [], "continent": {}}, (None, None, None), id="empty places"),
        pytest.param({"country": {"iso_code": ["FR"]}, "subdivisions": ["ENG"]}, (None, None, None), id="wrong types"),
        pytest.param(
            {"country": "FR", "subdivisions": {"iso_code": "ENG"}, "continent": 5}, (None,) * 3, id="wrong kinds"
        ),
        pytest.param({}, (None, None, None), id="nothing in it"),
    ],
)
def test_place_of_a_record(geo: Open, record: dict[str, Any], wanted: tuple[str | None, ...]) -> None:
    facts = geo({"192.0.2.0/24": record}).facts(A)
    assert place(facts) == wanted
    assert (facts.asn, facts.connection) == (None, ANY_CONNECTION)


@pytest.mark.parametrize(
    ("record", "asn"),
    [
        ({"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}, 64500),
        ({"asn": 64500}, 64500),
        ({"asn": "64500"}, 64500),
        ({"asn": "AS64500"}, 64500),
        ({"autonomous_system_number": "64500"}, 64500),
        ({"asn": 2**32 - 1}, 2**32 - 1),
        ({"autonomous_system_number": "AS64500"}, None),
        ({"asn": 2**32}, None),
        ({"asn": "9" * 5000}, None),
        ({"asn": 0}, None),
        ({"asn": True}, None),
        ({"asn": "AS"}, None),
        ({"asn": "²"}, None),
        ({"asn": [64500]}, None),
    ],
)
def test_asn_of_a_record(geo: Open, record: dict[str, Any], asn: int | None) -> None:
    assert geo({"192.0.2.0/24": record}).facts(A).asn == asn


@pytest.mark.parametrize(
    ("record", "connection"),
    [
        ({"is_anonymous": True, "is_tor_exit_node": True}, only("tor")),
        ({"is_anonymous": True, "is_anonymous_vpn": True}, only("vpn")),
        ({"is_anonymous": True, "is_public_proxy": True}, only("proxy")),
        ({"is_anonymous": True, "is_residential_proxy": True}, only("proxy")),
        ({"is_anonymous": True, "is_hosting_provider": True}, only("hosting")),
        ({"is_anonymous_vpn": True, "is_tor_exit_node": True, "is_hosting_provider": True}, only("tor")),
        ({"is_public_proxy": True, "is_hosting_provider": True}, only("proxy")),
        ({"is_anonymous": True}, ANONYMISED),
        ({"is_anonymous": True, "is_anonymous_vpn": False}, ANONYMISED),
        ({"is_anonymous": True, "mobile": True}, ANONYMISED),
        *(
            ({"connection": name}, only(name))
            for name in ("tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential")
        ),
        *(({name: True}, only(name)) for name in ("tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential")),
        ({"vpn": 1}, only("vpn")),
        ({"vpn": "true"}, only("vpn")),
        ({"hosting": True, "relay": True}, only("relay")),
        ({"connection": "mobile", "proxy": True}, only("proxy")),
    ],
)
def test_connection_of_a_record(geo: Open, record: dict[str, Any], connection: int) -> None:
    assert geo({"192.0.2.0/24": record}).facts(A).connection == connection


@pytest.mark.parametrize("flag", [False, 0, "", "false", "no", [True], {"x": True}, 2])
def test_a_flag_that_is_not_set_is_not_listed(geo: Open, flag: object) -> None:
    opened = geo({"192.0.2.0/24": {"tor": flag}, "198.51.100.0/24": {"tor": True}})
    assert opened.facts(A).connection == ANY_CONNECTION & ~LISTED


# --- what not being listed says (rulings 5 and 8)


def test_a_country_file_excludes_no_connection(geo: Open) -> None:
    opened = geo({"192.0.2.0/24": "FR"})
    assert opened.facts(A).connection == opened.facts(B).connection == ANY_CONNECTION
    assert not opened.files[0].anonymity


def test_maxminds_anonymous_ip_excludes_hosting_too_even_where_it_lists_none(geo: Open) -> None:
    opened = geo({"layout": "anonymous", "networks": {"203.0.113.0/24": ["tor"]}})
    assert opened.facts(A).connection == ANY_CONNECTION & ~LISTED & ~HOSTING
    assert opened.files[0].anonymity


@pytest.mark.parametrize(
    ("records", "excluded"),
    [
        pytest.param([{"tor": True}], LISTED, id="one flag"),
        pytest.param([{"relay": False}], LISTED, id="the schema counts, not the value"),
        pytest.param([{"tor": True, "hosting": False}], LISTED | HOSTING, id="hosting flagged beside it"),
        pytest.param([{"tor": True}, {"hosting": True}], LISTED | HOSTING, id="hosting flagged elsewhere in the file"),
        pytest.param([{"connection": "vpn"}, {"connection": "hosting"}], LISTED | HOSTING, id="connection names"),
        pytest.param([{"connection": "vpn"}, {"connection": "mobile"}], LISTED, id="no hosting among the names"),
        pytest.param([{"is_anonymous": True}], LISTED, id="a MaxMind field in another type of file"),
        pytest.param(
            [{"is_anonymous_vpn": True}, {"is_hosting_provider": True}], LISTED | HOSTING, id="MaxMind fields"
        ),
        pytest.param([{"hosting": True}], 0, id="a list of hosting networks knows no anonymity"),
        pytest.param([{"is_hosting_provider": True}], 0, id="MaxMind's hosting flag alone"),
        pytest.param([{"connection": "mobile"}, {"connection": "hosting"}], 0, id="a list of mobile networks"),
        pytest.param([{"organisation": "tor"}, {"x": {"vpn": True}}], 0, id="such words elsewhere in a record"),
        pytest.param([{"organisation": "DOCtor"}], 0, id="such bytes within another text"),
        pytest.param([{"organisation": "hosting"}, {"tor": True}], LISTED, id="the word hosting as another text"),
    ],
)
def test_what_not_being_listed_excludes(geo: Open, records: list[dict[str, Any]], excluded: int) -> None:
    opened = geo({f"203.0.113.{number}/32": record for number, record in enumerate(records)})
    assert opened.facts(A).connection == ANY_CONNECTION & ~excluded
    assert opened.files[0].anonymity == bool(excluded)


def test_listed_without_a_finding_is_not_listed(geo: Open) -> None:
    record = {"is_anonymous": False, "is_anonymous_vpn": False, "is_hosting_provider": False}
    opened = geo({"layout": "anonymous", "networks": {"192.0.2.0/24": record}})
    assert opened.facts(A).connection == ANY_CONNECTION & ~LISTED & ~HOSTING


def test_a_connection_we_cannot_read_is_unknown_and_excludes_nothing(geo: Open) -> None:
    opened = geo({"192.0.2.0/24": {"connection": "dialup"}, "198.51.100.0/24": {"connection": "tor"}})
    assert opened.facts(A).connection == ANY_CONNECTION


def test_an_ipv4_only_file_says_nothing_of_ipv6(geo: Open) -> None:
    opened = geo(
        {"layout": "anonymous", "ip_version": 4, "networks": {"203.0.113.0/24": ["tor"]}},
        {"layout": "country", "ip_version": 4, "networks": {"192.0.2.0/24": "FR"}},
    )
    wide = opened.facts("2001:db8::1")
    assert (place(wide), wide.connection) == ((None, None, None), ANY_CONNECTION)
    narrow = opened.facts("::ffff:192.0.2.1")
    assert (narrow.country, narrow.connection) == ("FR", ANY_CONNECTION & ~LISTED & ~HOSTING)
    assert opened.lookup_errors == 0


# --- several files (ruling 4)


def test_the_first_file_that_gives_a_fact_wins(geo: Open) -> None:
    opened = geo(
        {"192.0.2.0/24": "US", "198.51.100.0/24": "XX"},
        {"layout": "country", "networks": {"192.0.2.0/24": "FR", "198.51.100.0/24": "FR"}},
        {"layout": "city", "networks": {"192.0.2.0/24": "US-CA"}},
        {"layout": "city", "networks": {"192.0.2.0/24": "FR-IDF"}},
        {"layout": "asn", "networks": {"192.0.2.0/24": 64500}},
        {"layout": "asn", "networks": {"192.0.2.0/24": 64501, "198.51.100.0/24": 64501}},
    )
    assert (*place(opened.facts(A)), opened.facts(A).asn) == ("US", "US-CA", "NA", 64500)
    assert (*place(opened.facts(B)), opened.facts(B).asn) == ("FR", None, "EU", 64501)


def test_a_subdivision_of_a_country_that_lost_is_dropped(geo: Open) -> None:
    opened = geo(
        {"layout": "country", "networks": {"192.0.2.0/24": "FR"}},
        {"layout": "city", "networks": {"192.0.2.0/24": "US-CA"}},
        {"layout": "city", "networks": {"192.0.2.0/24": "FR-IDF"}},
    )
    assert place(opened.facts(A)) == ("FR", None, "EU")


def test_a_continent_in_a_later_file_beats_the_table(geo: Open) -> None:
    opened = geo({"192.0.2.0/24": "TR"}, {"192.0.2.0/24": {"continent_code": "EU"}, "198.51.100.0/24": "TR"})
    assert place(opened.facts(A)) == ("TR", None, "EU")
    assert place(opened.facts(B)) == ("TR", None, "AS")


def test_the_first_connection_wins_over_later_ones_and_over_exclusions(geo: Open) -> None:
    opened = geo(
        {"layout": "anonymous", "networks": {"192.0.2.0/24": ["vpn"]}},
        {"192.0.2.0/24": {"connection": "tor"}, "198.51.100.0/24": {"connection": "proxy"}},
    )
    assert opened.facts(A).connection == only("vpn")
    assert opened.facts(B).connection == only("proxy")


def test_exclusions_of_several_files_add_up(geo: Open) -> None:
    opened = geo({"203.0.113.1/32": {"tor": True}}, {"203.0.113.1/32": {"vpn": True, "hosting": True}})
    assert opened.facts(A).connection == ANY_CONNECTION & ~LISTED & ~HOSTING


# --- which place survives which connection (rulings 5 to 7)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["tor"], (None, None, None)),
        (["vpn"], (None, None, None)),
        (["proxy"], (None, None, None)),
        ([], (None, None, None)),
        (["hosting"], ("US", "US-CA", "NA")),
        ({"relay": True}, ("US", None, "NA")),
    ],
)
def test_what_a_connection_leaves_of_the_place(geo: Open, flags: Any, wanted: tuple[str | None, ...]) -> None:
    opened = geo(
        {"layout": "city", "networks": {"192.0.2.0/24": "US-CA"}},
        {"layout": "asn", "networks": {"192.0.2.0/24": 64500}},
        {"layout": "anonymous", "networks": {"192.0.2.0/25": flags}},
    )
    assert place(opened.facts(A)) == wanted
    assert opened.facts(A).asn == 64500
    assert place(opened.facts("192.0.2.200")) == ("US", "US-CA", "NA")


# --- names and times


def test_no_files_know_nothing(geo: Open) -> None:
    opened = geo()
    assert (opened.build, opened.time, opened.files) == ("none", 0, ())
    assert opened.facts(A) == Facts(address=bytes([192, 0, 2, 1]))
    assert opened.facts("2001:db8::1").connection == NOTHING_KNOWN.connection


def test_the_build_names_every_file_in_order_and_the_time_is_the_newest(tmp_path: Path) -> None:
    day = 86_400
    first = write_geo(
        tmp_path / "place.mmdb", {"layout": "flat", "build": BUILD + day, "networks": {"192.0.2.0/24": "FR"}}
    )
    second = write_geo(
        tmp_path / "asn.v2.mmdb", {"layout": "asn", "build": BUILD - 1, "networks": {"192.0.2.0/24": 64500}}
    )
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    opened = Geo.open([first, second], vocabulary())
    assert opened.build == f"place-2026-06-18-{digests[0][:8]}+asn.v2-2026-06-16-{digests[1][:8]}"
    assert opened.time == BUILD + day
    assert [(f.name, f.sha256, f.epoch, f.database_type) for f in opened.files] == [
        ("place", digests[0], BUILD + day, "flat"),
        ("asn.v2", digests[1], BUILD - 1, "GeoLite2-ASN"),
    ]


# --- addresses and the cache


@pytest.mark.parametrize("text", ["", "010.8.8.8", "0x08080808", "134744072", "8.8.8", "fe80::1%eth0", " 8.8.8.8", "x"])
def test_text_that_is_no_address_is_refused_every_time(geo: Open, text: str) -> None:
    opened = geo({"192.0.2.0/24": "FR"})
    for _ in range(2):
        with pytest.raises(BadAddress):
            opened.facts(text)
    assert opened.lookup_errors == 0


def test_a_repeated_address_is_answered_from_the_cache() -> None:
    opened = Geo.open([shipped()], vocabulary())
    assert opened.facts("8.8.8.8") is opened.facts("8.8.8.8")
    assert opened.facts.cache_info().maxsize == 65_536
    opened.close()


# --- bad files


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"country,US\n" * 1000, id="text"),
        pytest.param(bytes(100_000), id="zeros"),
        pytest.param(b"\xab\xcd\xefMaxMind.com", id="marker only"),
        pytest.param(shipped().read_bytes()[:4_000_000], id="cut short"),
        pytest.param(shipped().read_bytes()[:-40], id="metadata cut short"),
        pytest.param(shipped().read_bytes()[4_000_000:], id="beginning missing"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mmdb"
    path.write_bytes(content)
    with pytest.raises(GeoUnavailable) as refused:
        Geo.open([shipped(), path], vocabulary())
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "gone.mmdb", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(GeoUnavailable, match=why) as refused:
            Geo.open([path], vocabulary())
        assert str(path) in str(refused.value)


@pytest.mark.parametrize("key", [b"\x8ccountry_code", b"\x4ccountry_\xffode"], ids=["bytes", "no UTF-8"])
def test_a_map_key_that_is_no_text_is_refused_for_the_reader_would_crash_on_it(tmp_path: Path, key: bytes) -> None:
    path = write_geo(tmp_path / "key.mmdb", {"layout": "flat", "networks": {"192.0.2.0/24": "FR"}})
    path.write_bytes(path.read_bytes().replace(b"\x4ccountry_code", key))
    with pytest.raises(GeoUnavailable, match="damaged"):
        Geo.open([path], vocabulary())


def test_a_pointer_into_the_middle_of_a_value_is_refused_likewise(tmp_path: Path) -> None:
    # The bytes of this letter, read as a value, are a map whose key is no text.
    networks = {"192.0.2.0/24": {"note": "\u1040", "other": "ab"}}
    path = write_geo(tmp_path / "pointer.mmdb", {"layout": "flat", "networks": networks})
    whole = path.read_bytes()
    metadata = maxminddb.open_database(path).metadata()
    data_start = metadata.node_count * metadata.record_size // 4 + 16
    inside = whole.index("\u1040".encode()) - data_start
    path.write_bytes(whole.replace(b"\x42ab", bytes([0x20, inside, 0xE0])))  # a pointer, then an empty map
    with pytest.raises(GeoUnavailable, match="damaged"):
        Geo.open([path], vocabulary())


def test_a_look_up_that_meets_damage_is_counted_and_knows_nothing(tmp_path: Path) -> None:
    first = {"layout": "anonymous", "networks": {"192.0.2.0/24": {"note": "Lyon"}, "203.0.113.0/24": ["tor"]}}
    path = write_geo(tmp_path / "damaged.mmdb", first)
    path.write_bytes(path.read_bytes().replace(b"Lyon", b"L\xff\xfen"))
    country = write_geo(tmp_path / "country.mmdb", {"layout": "flat", "networks": {"192.0.2.0/24": "FR"}})
    opened = Geo.open([path, country], vocabulary())
    facts = opened.facts(A)
    assert (facts.country, facts.connection) == ("FR", ANY_CONNECTION)
    assert opened.lookup_errors == 1
    assert opened.facts("203.0.113.1").connection == only("tor")
    assert opened.lookup_errors == 1


def damaged_tree(path: Path, record: object, beyond: int) -> Path:
    """A file whose tree leads only to a place that many bytes behind the tree."""
    write_geo(path, {"layout": "flat", "networks": {"192.0.2.0/24": record}})
    metadata = maxminddb.open_database(path).metadata()
    tree = (metadata.node_count + beyond).to_bytes(3) * 2 * metadata.node_count
    assert len(tree) == metadata.node_count * metadata.record_size // 4
    path.write_bytes(tree + path.read_bytes()[len(tree) :])
    return path


def test_a_damaged_search_tree_is_counted(tmp_path: Path) -> None:
    opened = Geo.open([damaged_tree(tmp_path / "tree.mmdb", "FR", 5_000)], vocabulary())
    assert place(opened.facts(A)) == (None, None, None)
    assert opened.lookup_errors == 1


@pytest.mark.parametrize("beyond", [1, 5_000], ids=["before the data", "behind the data"])
def test_a_damaged_search_tree_is_refused_where_it_hides_what_the_file_lists(tmp_path: Path, beyond: int) -> None:
    with pytest.raises(GeoUnavailable, match=r"tree\.mmdb.*damaged"):
        Geo.open([damaged_tree(tmp_path / "tree.mmdb", {"tor": True, "note": "x" * 40}, beyond)], vocabulary())


def test_what_happens_to_the_file_afterwards_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "country.mmdb"
    path.write_bytes(shipped().read_bytes())
    opened = Geo.open([path], vocabulary())
    os.truncate(path, 0)  # kills a process that has mapped the file itself
    assert opened.facts("8.8.8.8").country == "US"
    path.unlink()
    assert opened.facts("193.0.6.139").country == "NL"
    assert opened.lookup_errors == 0
    opened.close()


# --- the snapshot


def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(shipped().with_suffix(".manifest.json").read_text())
    return content


def test_the_snapshot_is_the_one_its_manifest_names() -> None:
    said, path = manifest(), shipped()
    opened = Geo.open([path], vocabulary())
    (file,) = opened.files
    assert (said["name"], said["file"], said["bytes"]) == (path.stem, path.name, path.stat().st_size)
    assert (said["sha256"], datetime.fromisoformat(said["build"])) == (
        file.sha256,
        datetime.fromtimestamp(file.epoch, UTC),
    )
    assert opened.build == f"country-2026-06-17-{said['sha256'][:8]}"
    assert opened.time == file.epoch
    assert not file.anonymity


def test_the_snapshots_canaries_are_where_the_manifest_says() -> None:
    opened = Geo.open([shipped()], vocabulary())
    assert {text: opened.facts(text).country for text in manifest()["canaries"]} == manifest()["canaries"]


def test_the_snapshots_licence_lies_beside_it() -> None:
    licence = manifest()["licence"]
    notice = (shipped().parent / licence["notice"]).read_text()
    assert "Creative Commons Attribution 4.0" in notice
    assert "nro.net" in notice
    assert "nro.net" in licence["attribution"]


@pytest.mark.parametrize("text", ["8.8.8.8", "::ffff:8.8.8.8", "::ffff:808:808", "64:ff9b::808:808", "2002:808:808::1"])
def test_addresses_inside_ipv6_are_unwrapped_before_the_look_up(text: str) -> None:
    facts = Geo.open([shipped()], vocabulary()).facts(text)
    assert (facts.address, *place(facts)) == (bytes([8, 8, 8, 8]), "US", None, "NA")


def test_other_ipv6_addresses_are_looked_up_as_they_are() -> None:
    facts = Geo.open([shipped()], vocabulary()).facts("2001:4860:4860::8888")
    assert (facts.country, len(facts.address or b"")) == ("US", 16)
