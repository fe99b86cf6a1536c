# ruff: noqa: PT017  # what is refused is an answer here, and is looked at where it comes
"""Geo files that rotted, were cut short or were made to harm: refused, or they give known codes or nothing.

The C reader trusts what it maps, so these run in a process of their own. Every lookup is tried twice: with the plain
facts and with the doubts that service documents ask for (ruling 33).
"""

from __future__ import annotations

import tempfile
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from streams.adapters.anonymity import Standards
from streams.adapters.geo import Geo, open_file
from streams.adapters.iso import vocabulary
from streams.adapters.mmdb import GeoUnavailable
from streams.core import address
from streams.core.facts import ANY_CONNECTION, CONTINENTS, Facts
from tests.fuzz.engine import Target
from tests.geofiles import write_geo

ADDRESSES: Final = (
    *("192.0.2.1", "198.51.100.1", "203.0.113.9", "8.8.8.8", "133.11.0.1", "0.0.0.0", "255.255.255.255", "10.0.0.1"),
    *("2001:4860:4860::8888", "2001:67c:2e8:22::c100:68b", "2001:db8::1", "::", "::1", "ffff::1"),
    *("::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1"),
)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="doorward-fuzz-")


def geo_file(data: bytes) -> None:
    """Bytes are a geo file or refused; what it says of addresses is made of codes that exist."""
    path = Path(_folder().name) / "country.mmdb"
    path.write_bytes(data)
    try:
        database = open_file(path, count=True)
    except GeoUnavailable as exc:
        assert str(path) in str(exc)
        return
    plain = Geo([database], vocabulary())
    strict = Geo([database], vocabulary(), Standards(max_age=None, min_size=0))
    strict.review(1_795_262_400_000)
    try:
        for text in ADDRESSES:
            for geo in (plain, strict):
                _declared(geo.facts(text), text)
    finally:
        plain.close()


def _declared(facts: Facts, text: str) -> None:
    known: Any = vocabulary()
    assert facts.address == address.parse(text)
    assert facts.country is None or facts.country in known.countries
    assert facts.subdivision is None or facts.subdivision in known.subdivisions
    assert facts.continent is None or facts.continent in CONTINENTS
    assert facts.asn is None or 0 <= facts.asn < 2**32
    assert 0 < facts.connection <= ANY_CONNECTION


@cache
def _shipped() -> bytes:
    return (resources.files("streams.adapters") / "data" / "country.mmdb").read_bytes()


def snapshot(data: bytes) -> None:
    """The shipped snapshot with a few hundred bytes of it replaced, or cut short."""
    whole = bytearray(_shipped())
    chance = int.from_bytes(data[:8].ljust(8, b"\0"))
    near_end = data[8:9] < b"\x80"  # the data section and the metadata are the last ten thousandth
    at = len(whole) - 1 - chance % 4096 if near_end else chance % len(whole)
    if data[9:10] < b"\x20":
        del whole[at:]
    else:
        whole[at : at + len(data) - 10] = data[10 : 10 + len(whole) - at]
    geo_file(bytes(whole))


_TOKENS: Final = (
    b"\xab\xcd\xefMaxMind.com", b"node_count", b"record_size", b"\xa1\x1c", b"\xa1\x20", b"\xa1\x18",
    b"\xc4\xff\xff\xff\xff",
    b"\x20\x00", b"\x20\x01", b"\x28\x00\x00", b"\x38\x00\x00\x00\x00", b"\x3f\xff\xff\xff\xff", b"\xe1",
    b"\xff\xff\xff\xff",
    b"\x5f\xff\xff\xff", b"\x1f\x04\xff\xff\xff", b"\x00\x04", b"\x02\x07", b"\x68\x7f\xf8" + bytes(6),
    b"\x44" + b"\xff" * 4,
)  # fmt: skip

_SPECS: Final = (
    {"layout": "country", "networks": {"192.0.2.0/24": "US", "203.0.113.0/25": "FR", "2001:db8::/32": "DE"}},
    {"layout": "city", "ip_version": 4, "networks": {"192.0.2.0/24": "US-CA", "198.51.100.0/24": "FR"}},
    {"layout": "asn", "networks": {"192.0.2.0/24": 64500, "2001:db8::/48": 64501}},
    {"layout": "anonymous", "networks": {"192.0.2.0/24": ["vpn"], "198.51.100.0/28": ["tor", "hosting"]}},
    {"layout": "flat", "networks": {"192.0.2.0/24": "US", "203.0.113.9/32": "FR"}},
)


def _databases() -> list[bytes]:
    """One of each layout; and two whose metadata once ended the process: a member more, a key that is no text."""
    found = [write_geo(Path(_folder().name) / "made.mmdb", dict(spec)).read_bytes() for spec in _SPECS]
    more = found[0].replace(b"MaxMind.com\xe9", b"MaxMind.com\xea")
    assert more != found[0]
    return [*found, more + b"BzzBFR", more + b"\xa1\x01\xa1\x01"]


# Some hundred milliseconds a snapshot: eight megabytes are copied and their tree counted.
_PATCHES: Final = (bytes(10), bytes(range(64)), b"\x01" * 400)
TARGETS: Final = [
    Target("geo-file", geo_file, "mmdb", _databases(), _TOKENS, share=0.2, apart=True),
    Target("snapshot", snapshot, "bytes", _PATCHES, _TOKENS, share=0.002, seconds=15, apart=True),
]
