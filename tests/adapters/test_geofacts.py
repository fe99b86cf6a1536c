"""What geo files can give at all, held to what look-ups in them do give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.adapters import geo
from streams.adapters.geofacts import given_by
from streams.adapters.iso import vocabulary
from streams.core.facts import ANONYMISED, ANY_CONNECTION, HOSTING, RELAY, connection_bits
from tests.geofiles import write_geo

TOR, VPN = connection_bits(["tor"]), connection_bits(["vpn"])
UNLISTED = ANY_CONNECTION & ~(ANONYMISED | RELAY | HOSTING)
COUNTRY = {"layout": "country", "networks": {"192.0.2.0/24": "FR"}}
CITY = {"layout": "city", "networks": {"192.0.2.0/24": "US-CA"}}
ASN = {"layout": "asn", "networks": {"192.0.2.0/24": 64500}}
ANONYMOUS = {"layout": "anonymous", "networks": {"192.0.2.0/24": ["tor"], "198.51.100.0/24": []}}
CONTINENT = {"layout": "flat", "networks": {"192.0.2.0/24": {"continent_code": "EU"}}}
HOSTED = {"layout": "flat", "networks": {"192.0.2.0/24": {"hosting": True}}}


def given(folder: Path, *specs: dict[str, Any]) -> tuple[set[str], set[int]]:
    paths = [write_geo(folder / f"{i}.mmdb", spec) for i, spec in enumerate(specs)]
    facts, connections = given_by(paths, vocabulary())
    looked_up = geo.Geo.open(paths, vocabulary())
    for address in ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"):
        found = looked_up.facts(address)
        assert found.connection in connections, "what look-ups give is given"
        assert all(fact in facts for fact in ("country", "subdivision", "asn") if getattr(found, fact) is not None)
    return set(facts), set(connections)


@pytest.mark.parametrize(
    ("specs", "facts", "connections"),
    [
        ((), set(), set()),
        ((COUNTRY,), {"country"}, set()),
        ((CITY,), {"country", "subdivision"}, set()),
        ((ASN,), {"asn"}, set()),
        ((CONTINENT,), {"continent"}, set()),
        ((HOSTED,), set(), {HOSTING}),
        ((ANONYMOUS,), set(), {TOR, ANONYMISED, UNLISTED}),
        ((COUNTRY, ASN, ANONYMOUS), {"country", "asn"}, {TOR, ANONYMISED, UNLISTED}),
    ],
    ids=["none", "country", "city", "asn", "continent", "hosting", "anonymous", "three"],
)
def test_what_files_give(tmp_path: Path, specs: Any, facts: set[str], connections: set[int]) -> None:
    made, found = given(tmp_path, *specs)
    assert made == facts
    assert found == connections | {ANY_CONNECTION}


def test_the_shipped_snapshot_gives_countries() -> None:
    assert given_by([geo.shipped()], vocabulary()) == ({"country"}, (ANY_CONNECTION,))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.mmdb").write_bytes(b"none")
    with pytest.raises(geo.GeoUnavailable):
        given_by([tmp_path / "none.mmdb"], vocabulary())
