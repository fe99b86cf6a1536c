"""Which facts geo files can give at all, whatever the address: so that lint can say which conditions stay open.

A file that gives a fact has the fact's key in some record, and MMDB writes a text of fewer than 29 bytes as one control
byte and itself. So a key whose encoding occurs nowhere in the file is in none of its records. One that does occur may
stand in another text: then the fact is taken as given, and lint says nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from streams.adapters import geo
from streams.adapters.layouts import ANONYMITY_WORDS, HOSTING_WORDS, exclusions, finding_of
from streams.core.facts import ANY_CONNECTION, CONNECTIONS, Vocabulary

_KEYS: Final = {
    "country": ({"country_code"}, {"country", "iso_code"}),
    "subdivision": ({"subdivisions"}, {"state1"}, {"region"}, {"subdivision"}),
    "continent": ({"continent"}, {"continent_code"}),
    "asn": ({"asn"}, {"autonomous_system_number"}),
}
"""For each fact the keys that give it: any of these sets, whole (``streams.adapters.layouts``)."""
_WORDS: Final = ANONYMITY_WORDS | HOSTING_WORDS | frozenset(CONNECTIONS)
_STRING: Final = 0x40
"""The control byte of a text, but for its length."""


def given_by(paths: Sequence[Path], vocabulary: Vocabulary) -> tuple[frozenset[str], tuple[int, ...]]:
    """What files give between them.

    Args:
        paths: MMDB files.
        vocabulary: the codes that count.

    Returns:
        Those of country, subdivision, continent and asn that some file gives; and the sets of possible connections
        that the files can lead to, as bits, among them always all eight.

    Raises:
        streams.adapters.mmdb.GeoUnavailable: a file is unreadable, not an MMDB file, or damaged.
    """
    facts, connections, excluded = set[str](), {ANY_CONNECTION}, 0
    for path in paths:
        database = geo.open_file(path)
        database.close()
        content = path.read_bytes()
        facts.update(fact for fact, ways in _KEYS.items() if any(_has(content, *way) for way in ways))
        for word in _WORDS:
            if _has(content, word):
                connections.add(finding_of({word: True}, vocabulary, 0).connection or ANY_CONNECTION)
        excludes = exclusions(database.database_type, database.has_words, database.has_further)
        excluded |= excludes
        connections |= {ANY_CONNECTION & ~excludes, ANY_CONNECTION & ~excluded}
    return frozenset(facts), tuple(sorted(connections))


def _has(content: bytes, *keys: str) -> bool:
    return all(bytes([_STRING | len(key)]) + key.encode() in content for key in keys)
