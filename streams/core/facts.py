"""What is known of an address, and how far: a fact is a set of possible values (design §4, rule 2).

A known fact has one possible value, an unknown one all of them, and knowing one fact narrows others: a subdivision
settles its country and continent, a country its continent, a continent excludes every other continent's countries
and, with them, their subdivisions. ``Facts`` stores only what is known; the sets it stands for are worked out against
a ``Vocabulary`` when a document is compiled (``streams.core.policy``), so deciding costs a dictionary look-up.

Rulings 1-8 are settled here, in ``settle``: which place survives which connection.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

CONNECTIONS: Final = ("tor", "vpn", "proxy", "relay", "hosting", "mobile", "residential")
"""What a rule can name, strongest first: a connection is the first of these that holds."""

_BIT: Final = {name: 1 << i for i, name in enumerate(CONNECTIONS)}
OTHER: Final = 1 << len(CONNECTIONS)
"""The eighth value, which no list can name (ruling 5)."""
ANY_CONNECTION: Final = 2 * OTHER - 1
ANONYMISED: Final = _BIT["tor"] | _BIT["vpn"] | _BIT["proxy"]
RELAY: Final = _BIT["relay"]
HOSTING: Final = _BIT["hosting"]

# GeoNames' continent of each country (geonames.org countryInfo, CC BY 4.0); used where a file gives no continent.
_CONTINENTS: Final = {
    "AF": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ "
    "NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "AN": "AQ BV GS HM TF",
    "AS": "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP "
    "OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    "EU": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD "
    "ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    "NA": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX "
    "TC TT US VC VG VI",
    "OC": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    "SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}
CONTINENT_OF: Final[Mapping[str, str]] = {
    country: continent for continent, countries in _CONTINENTS.items() for country in countries.split()
}
CONTINENTS: Final = frozenset(_CONTINENTS)

DOUBTS: Final[Mapping[str, int]] = {"country": 1, "subdivision": 2, "continent": 4}
"""The bit of ``Facts.doubts`` for each territory."""
UNVOUCHED: Final = 8
"""The bit for anonymity data that are not good enough for charter C4: they do not count, or contradict each other."""


class Vocabulary:
    """The codes that documents may name and data may give: one edition of ISO 3166.

    Args:
        edition: what ``doorward --version`` names, such as ``ISO 3166 (pycountry 26.2.16)``.
        countries: ISO 3166-1 alpha-2 codes; ``XK`` is added (ruling 8). Each must have a continent.
        subdivisions: ISO 3166-2 codes, ``CC-CODE``.
        continent_of: country to continent.

    Raises:
        ValueError: a country without a continent.
    """

    __slots__ = ("_by_continent", "_of_country", "continent_of", "countries", "edition", "subdivisions")

    def __init__(
        self,
        edition: str,
        countries: Iterable[str],
        subdivisions: Iterable[str],
        continent_of: Mapping[str, str] = CONTINENT_OF,
    ) -> None:
        self.edition = edition
        self.countries = frozenset(countries) | ({"XK"} if "XK" in continent_of else frozenset())
        self.subdivisions = frozenset(subdivisions)
        self.continent_of = continent_of
        if homeless := self.countries - continent_of.keys():
            raise ValueError(f"no continent is known for {', '.join(sorted(homeless))}")
        self._by_continent: dict[str | None, frozenset[str]] = {
            k: frozenset(c for c in self.countries if continent_of[c] == k) for k in CONTINENTS
        }
        self._by_continent[None] = self.countries
        by_country: dict[str, set[str]] = {}
        for code in self.subdivisions:
            by_country.setdefault(code[:2], set()).add(code)
        self._of_country = {country: frozenset(codes) for country, codes in by_country.items()}

    def countries_of(self, continent: str | None) -> frozenset[str]:
        """The possible countries where the continent is known, or (None) where nothing is."""
        return self._by_continent[continent]

    def subdivisions_of(self, country: str) -> frozenset[str]:
        """A country's subdivisions; empty for a country that has none."""
        return self._of_country.get(country, frozenset())


class Facts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What enrichment knows of one address.

    Attributes:
        address: the packed, unwrapped address; None where the event's text was none. In memory only (charter C7).
        country: ISO 3166-1 alpha-2, or None where not known. Known implies that ``continent`` is known.
        subdivision: ISO 3166-2, or None. Known implies that ``country`` is known.
        continent: two letters, or None.
        asn: autonomous system number, or None.
        connection: the possible connections, a set of bits (``CONNECTIONS`` in order, then ``OTHER``); never empty.
        doubts: what may not be held against anyone by a service document (ruling 33), a set of bits: the territories
            (``DOUBTS``) that are not those of the whole /24 or /48, and ``UNVOUCHED``. Owners' documents know no
            doubts. Offline there are none.
    """

    address: bytes | None = None
    country: str | None = None
    subdivision: str | None = None
    continent: str | None = None
    asn: int | None = None
    connection: int = ANY_CONNECTION
    doubts: int = 0

    @property
    def known_connection(self) -> str | None:
        """The connection's name where exactly one that has a name is possible."""
        bits = self.connection
        return CONNECTIONS[bits.bit_length() - 1] if bits & (bits - 1) == 0 and bits != OTHER else None


NOTHING_KNOWN: Final = Facts()


def connection_bits(names: Iterable[str]) -> int:
    """The set of bits for some of ``CONNECTIONS``. Raises KeyError for any other name."""
    bits = 0
    for name in names:
        bits |= _BIT[name]
    return bits


def settle(
    vocabulary: Vocabulary,
    *,
    address: bytes | None = None,
    country: str | None = None,
    subdivision: str | None = None,
    continent: str | None = None,
    asn: int | None = None,
    connection: int = ANY_CONNECTION,
) -> Facts:
    """Make facts of what the files gave, by rulings 1-8.

    Codes outside the vocabulary give nothing; a subdivision of another country than the given one is dropped; a
    connection known to be tor, vpn or proxy hides the place, and one known to be a relay hides the subdivision.
    """
    if country not in vocabulary.countries:
        country = None
    if continent not in CONTINENTS:
        continent = None
    if subdivision not in vocabulary.subdivisions:
        subdivision = None
    if subdivision is not None:
        if country is None and subdivision[:2] in vocabulary.countries:
            country = subdivision[:2]
        if country != subdivision[:2]:
            subdivision = None
    if not connection & ~ANONYMISED:
        country = subdivision = continent = None
    elif connection == RELAY:
        subdivision = None
    if country is not None and continent is None:
        continent = vocabulary.continent_of[country]
    return Facts(address, country, subdivision, continent, asn, connection)
