"""Small MMDB files for tests, in the layouts Doorward reads.

A spec is plain data, so that a case in `tests/cases` can hold one:

    {layout: city, build: 1781654400, networks: {192.0.2.0/24: US-CA, 198.51.100.0/24: {country: {iso_code: FR}}}}

`layout` is `country`, `city`, `asn`, `anonymous` (MaxMind's four) or `flat`; `type` is the database type written into
the metadata (default: that of the layout), `ip_version` 4 or 6 (default 6; a file of version 6 holds IPv4 networks
too), `build` the build epoch in seconds. A record written as a mapping goes into the file as it is. Anything else is
short for a record of the layout:

    country    FR               {"country": {"iso_code": "FR"}}
    city       US-CA            country US and one subdivision CA; a bare FR is a country alone
    asn        64500            {"autonomous_system_number": 64500}
    anonymous  [tor, hosting]   MaxMind's flags, with `is_anonymous` set beside them; [] sets `is_anonymous` alone
    flat       FR               {"country_code": "FR"}
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

BUILD = 1781654400
"""Build epoch of a file whose spec names none: 2026-06-17T00:00:00Z, in seconds."""

TYPES = {
    "country": "GeoLite2-Country",
    "city": "GeoLite2-City",
    "asn": "GeoLite2-ASN",
    "anonymous": "GeoIP2-Anonymous-IP",
    "flat": "flat",
}

# Names of MaxMind's Anonymous IP fields: https://dev.maxmind.com/geoip/docs/databases/anonymous-ip
FLAGS = {
    "vpn": "is_anonymous_vpn",
    "hosting": "is_hosting_provider",
    "proxy": "is_public_proxy",
    "residential_proxy": "is_residential_proxy",
    "tor": "is_tor_exit_node",
}


class _Writer(MMDBWriter):
    """A writer that dates its file as told; the library's own always takes the clock."""

    build = BUILD

    def _build_meta(self) -> dict[str, Any]:
        return {**super()._build_meta(), "build_epoch": self.build}


def record_of(layout: str, value: Any) -> dict[str, Any]:
    """The record a spec's value stands for (see the table above).

    Raises:
        ValueError: no short form is known for this layout.
    """
    if isinstance(value, dict):
        return value
    if layout == "country":
        return {"country": {"iso_code": value}}
    if layout == "city":
        country, _, subdivision = value.partition("-")
        place: dict[str, Any] = {"country": {"iso_code": country}}
        return {**place, "subdivisions": [{"iso_code": subdivision}]} if subdivision else place
    if layout == "asn":
        return {"autonomous_system_number": value}
    if layout == "anonymous":
        return {"is_anonymous": True, **{FLAGS[flag]: True for flag in value}}
    if layout == "flat":
        return {"country_code": value}
    raise ValueError(f"unknown layout {layout!r}")


def write_geo(path: Path, spec: dict[str, Any]) -> Path:
    """Writes the MMDB file a spec describes to `path` and returns that path.

    Raises:
        ValueError: the spec has a key or a layout this module does not know.
    """
    unknown = spec.keys() - {"layout", "type", "ip_version", "build", "networks"}
    if unknown:
        raise ValueError(f"unknown keys in a geo spec: {sorted(unknown)}")
    layout = spec["layout"]
    version = spec.get("ip_version", 6)
    writer = _Writer(
        ip_version=version,
        database_type=spec.get("type", TYPES[layout]),
        languages=["en"],
        description="Doorward test data",
        ipv4_compatible=version == 6,
    )
    writer.build = spec.get("build", BUILD)
    # Wider networks first: the writer lets a later network cut a hole into an earlier one, not the other way round.
    for network in sorted(spec["networks"], key=lambda cidr: ipaddress.ip_network(cidr).prefixlen):
        writer.insert_network(IPSet([network]), record_of(layout, spec["networks"][network]))
    writer.to_db_file(str(path))
    return path
