"""Our reading of MaxMind's layouts held to MaxMind's own reader, geoip2, on databases that both open."""

from pathlib import Path
from typing import Any

import geoip2.database
import pytest

from streams.adapters.geo import Geo
from streams.adapters.iso import vocabulary
from tests.geofiles import write_geo

CITY: dict[str, dict[str, Any]] = {
    "203.0.113.0/25": {
        "country": {"iso_code": "US"},
        "continent": {"code": "NA"},
        "subdivisions": [{"iso_code": "CA"}, {"iso_code": "XYZ"}],
        "registered_country": {"iso_code": "FR"},
    },
    "203.0.113.128/25": {
        "country": {"iso_code": "VA"},
        "continent": {"code": "EU"},
        "represented_country": {"iso_code": "US"},
    },
    "198.51.100.0/24": {"continent": {"code": "AS"}},
    "2001:db8::/32": {
        "country": {"iso_code": "GB"},
        "continent": {"code": "EU"},
        "subdivisions": [{"iso_code": "SCT"}],
    },
}
ADDRESSES = ["203.0.113.9", "203.0.113.200", "198.51.100.1", "2001:db8::1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_city(tmp_path: Path, address: str) -> None:
    file = write_geo(tmp_path / "city.mmdb", {"layout": "city", "type": "GeoLite2-City", "networks": CITY})
    facts = Geo.open([file], vocabulary()).facts(address)
    with geoip2.database.Reader(file) as reader:
        city = reader.city(address)
    widest = city.subdivisions[0].iso_code if city.subdivisions else None
    assert facts.country == city.country.iso_code
    assert facts.continent == city.continent.code
    assert facts.subdivision == (f"{city.country.iso_code}-{widest}" if widest else None)


def test_asn_and_anonymous_ip(tmp_path: Path) -> None:
    number = {"203.0.113.0/24": {"autonomous_system_number": 64500}}
    tor = {"203.0.113.0/24": {"is_anonymous": True, "is_tor_exit_node": True}}
    asn = write_geo(tmp_path / "asn.mmdb", {"layout": "asn", "type": "GeoLite2-ASN", "networks": number})
    anonymous = write_geo(
        tmp_path / "anonymous.mmdb", {"layout": "anonymous", "type": "GeoIP2-Anonymous-IP", "networks": tor}
    )
    facts = Geo.open([asn, anonymous], vocabulary()).facts("203.0.113.9")
    with geoip2.database.Reader(asn) as numbers, geoip2.database.Reader(anonymous) as flags:
        assert facts.asn == numbers.asn("203.0.113.9").autonomous_system_number
        assert (facts.known_connection == "tor") == flags.anonymous_ip("203.0.113.9").is_tor_exit_node
