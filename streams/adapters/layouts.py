"""The layouts of geo records: MaxMind's (country, city, enterprise, ASN, anonymous IP) and flat ones, mixed at will.

Field names: dev.maxmind.com/geoip/docs/databases for MaxMind, ruling 3 for flat files. A record becomes a ``Finding``:
what this file gives of each fact. A code outside the vocabulary, or a value of another type than its field has, gives
nothing. Nothing here merges files or settles facts.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from streams.core.facts import ANONYMISED, CONNECTIONS, CONTINENTS, HOSTING, RELAY, Vocabulary, connection_bits


class Finding(NamedTuple):
    """What one file gives of an address.

    Attributes:
        country: a code of the vocabulary, or None where the file gives none; so for the next two.
        subdivision: ``CC-CODE``.
        continent: two letters.
        asn: autonomous system number, or None.
        connection: the possible connections as bits, or 0 where the file gives none.
        excluded: the connections it excludes by not listing the address, as bits.
    """

    country: str | None = None
    subdivision: str | None = None
    continent: str | None = None
    asn: int | None = None
    connection: int = 0
    excluded: int = 0


# The connection a flag stands for. MaxMind's flags begin with "is_"; flat files name the connection itself.
_FLAGS: Final = {
    "is_tor_exit_node": "tor",
    "is_anonymous_vpn": "vpn",
    "is_public_proxy": "proxy",
    "is_residential_proxy": "proxy",
    "is_hosting_provider": "hosting",
} | {connection: connection for connection in CONNECTIONS}
_SET: Final = frozenset({True, "true", "1"})  # True equals 1
_FINER: Final = frozenset({"tor", "vpn", "proxy", "relay", "hosting"})
_LISTED: Final = ANONYMISED | RELAY
_MAX_ASN: Final = 2**32 - 1

ANONYMITY_WORDS: Final = frozenset(
    {"is_anonymous", *(flag for flag, connection in _FLAGS.items() if connection in {"tor", "vpn", "proxy", "relay"})}
)
"""Keys, or values of ``connection``, that make a file an anonymity database.

A list of hosting or mobile networks is none: an address that is not on it may well be a VPN's.
"""
HOSTING_WORDS: Final = frozenset(flag for flag, connection in _FLAGS.items() if connection == "hosting")
"""Those that show that an anonymity database flags hosting too."""
_MAXMIND_ANONYMITY: Final = ("Anonymous-IP", "Anonymous-Plus")  # products whose schema flags all of them, hosting too


def exclusions(database_type: str, anonymity: bool, hosting: bool) -> int:
    """The connections, as bits, that a file excludes for an address it does not list (ruling 5): 0 for most files.

    Args:
        database_type: as the file's metadata says it.
        anonymity: whether its records have ``ANONYMITY_WORDS``.
        hosting: whether they have ``HOSTING_WORDS``.
    """
    if any(name in database_type for name in _MAXMIND_ANONYMITY):
        anonymity = hosting = True
    if not anonymity:
        return 0
    return _LISTED | HOSTING if hosting else _LISTED


def finding_of(record: Mapping[str, Any], vocabulary: Vocabulary, excluded: int) -> Finding:
    """Read one record.

    Args:
        record: as the reader gives it.
        vocabulary: the codes that count.
        excluded: the file's ``exclusions``, which hold where the record finds nothing about the connection.
    """
    country = _country(record, vocabulary)
    connection = _connection(record)
    return Finding(
        country,
        _subdivision(record, country, vocabulary),
        _continent(record),
        _asn(record),
        connection or 0,
        excluded if connection == 0 else 0,
    )


def _country(record: Mapping[str, Any], vocabulary: Vocabulary) -> str | None:
    """Where the address is used, so never ``registered_country`` or ``represented_country`` (ruling 3)."""
    return _first(vocabulary.countries, _inner(record.get("country"), "iso_code"), record.get("country_code"))


def _subdivision(record: Mapping[str, Any], country: str | None, vocabulary: Vocabulary) -> str | None:
    """The first of MaxMind's list, which is the widest, or a flat one: as it is, or with the country before it."""
    listed = record.get("subdivisions")
    widest = _inner(listed[0], "iso_code") if isinstance(listed, list) and listed else None
    for code in (widest, record.get("state1"), record.get("region"), record.get("subdivision")):
        if code and (found := _first(vocabulary.subdivisions, code, f"{country}-{code}")):
            return found
    return None


def _continent(record: Mapping[str, Any]) -> str | None:
    continent = record.get("continent")
    return _first(CONTINENTS, _inner(continent, "code"), record.get("continent_code"), continent)


def _asn(record: Mapping[str, Any]) -> int | None:
    """A number, its digits, or (under ``asn`` only) its digits behind ``AS``."""
    number = record.get("autonomous_system_number")
    if number is None:
        number = record.get("asn")
        if isinstance(number, str):
            number = number.removeprefix("AS")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= len(str(_MAX_ASN)):
        number = int(number)
    return number if type(number) is int and 0 < number <= _MAX_ASN else None


def _connection(record: Mapping[str, Any]) -> int | None:
    """The possible connections as bits; 0 where the record finds nothing; None where it says what we can't read."""
    said = record.get("connection")
    held = {_FLAGS[flag] for flag in _FLAGS.keys() & record.keys() if _is_set(record[flag])}
    if isinstance(said, str):
        held.add(said)
    if _is_set(record.get("is_anonymous")) and not held & _FINER:
        return ANONYMISED  # beside finer flags it adds nothing; alone it is any of three (ruling 6)
    for connection in CONNECTIONS:
        if connection in held:
            return connection_bits([connection])
    return None if said else 0


def _is_set(flag: object) -> bool:
    return isinstance(flag, bool | int | str) and flag in _SET


def _inner(place: object, key: str) -> object:
    return place.get(key) if isinstance(place, dict) else None


def _first(codes: frozenset[str], *values: object) -> str | None:
    """The first of some values that is one of the codes."""
    return next((value for value in values if isinstance(value, str) and value in codes), None)
