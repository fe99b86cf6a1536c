"""Differences in words, as ``doorward policy diff`` prints them: for whom, what was said, what is said now.

Long lists are cut to ``rulelists.MOST_VALUES``; ``data`` cuts nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from streams.core import address
from streams.core.difference import CONNECTION_STATES, UNNAMED, Block, Change, Place, Says, Value, Way
from streams.core.facts import ANONYMISED, CONTINENTS, HOSTING, RELAY, Vocabulary
from streams.core.policy import ROLES
from streams.core.rulelists import MOST_VALUES

_VERDICTS: Final = {"admit": "admitted", "alert": "admitted with an alert", "remove": "removed"}


def sentence(change: Change, vocabulary: Vocabulary) -> str:
    """One line: ``guests from FR or DE: were removed by rule 'elsewhere', now admitted with an alert by default``."""
    return f"{who(change, vocabulary)}: were {_verdict(change.was)}, now {_verdict(change.now)}"


def _verdict(says: Says) -> str:
    how = {
        None: "",
        "rule": f" by rule {says.rule!r}",
        "default": " by default",
        "unknown": " because not enough is known",
    }
    return _VERDICTS[says.verdict] + how[says.outcome]


def who(change: Change, vocabulary: Vocabulary) -> str:
    """Who is meant."""
    words = [_roles(change.where.get("role"))]
    for way, said in _SAID.items():
        if (values := change.where.get(way)) is not None:
            words.append(said(values))
    if (places := change.where.get("place")) is not None:
        words.insert(1, _or(place_words(places, vocabulary)))
    return " ".join(words)


def _roles(roles: frozenset[Value] | None) -> str:
    return "everyone" if roles is None else _or([f"{role}s" for role in ROLES if role in roles])


def _stages(stages: frozenset[Value]) -> str:
    return "in the lobby" if "lobby" in stages else "already live"


def _connections(states: frozenset[Value]) -> str:
    if phrase := _PHRASES.get(frozenset(map(str, states))):
        return f"({phrase})"
    left_out = [state for state in CONNECTION_STATES if state not in states]
    named = [state for state in CONNECTION_STATES if state in states]
    if len(left_out) < len(named):
        return f"(connection anything but {_or(left_out)})"
    return f"(connection {_or(named)})"


def _without(bits: int) -> frozenset[str]:
    return frozenset(state for state, possible in CONNECTION_STATES.items() if not possible & bits)


_PHRASES: Final = {
    frozenset(state for state, bits in CONNECTION_STATES.items() if not bits & ~ANONYMISED): "over tor, vpn or proxy",
    _without(ANONYMISED): "connection known not to be tor, vpn or proxy",
    _without(ANONYMISED | RELAY): "connection known not to be tor, vpn, proxy or relay",
    _without(ANONYMISED | RELAY | HOSTING): "connection known not to be tor, vpn, proxy, relay or hosting",
}
"""Sets of connection states that are better said than listed."""


def _networks(blocks: frozenset[Value]) -> str:
    if None in blocks:
        return "with an unreadable address"
    named = _merged(block for block in blocks if isinstance(block, Block))
    others = _gaps(named)
    if len(others) < len(named):
        return f"at any address but {_cut(map(range_words, others))}"
    return f"at {_cut(map(range_words, named))}"


def _merged(blocks: Iterable[Block]) -> list[Block]:
    merged: list[Block] = []
    for block in sorted(blocks, key=lambda b: (len(b.first), b.first)):
        last = merged[-1] if merged else None
        if last and len(last.first) == len(block.first) and _after(last) == int.from_bytes(block.first):
            merged[-1] = Block(last.first, block.last)
        else:
            merged.append(block)
    return merged


def _after(block: Block) -> int:
    return int.from_bytes(block.last) + 1


def _gaps(merged: list[Block]) -> list[Block]:
    """All addresses but these."""
    gaps = []
    for width in (4, 16):
        at, end = 0, 1 << 8 * width
        for block in (*(b for b in merged if len(b.first) == width), None):
            until = end if block is None else int.from_bytes(block.first)
            if at < until:
                gaps.append(Block(at.to_bytes(width), (until - 1).to_bytes(width)))
            at = at if block is None else _after(block)
    return gaps


def range_words(block: Block) -> str:
    """Addresses as a CIDR block where they are one, else from first to last."""
    first, last = int.from_bytes(block.first), int.from_bytes(block.last)
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return f"{address.text(block.first)}/{8 * len(block.first) - size.bit_length() + 1}"
    return str(block)


def _asns(asns: frozenset[Value]) -> str:
    named = sorted(asn for asn in asns if isinstance(asn, int) and asn != UNNAMED)
    words = [f"of AS {_cut(map(str, named))}"] if named else []
    words += ["of an AS that neither document names"] if UNNAMED in asns else []
    return _or([*words, "whose AS is not known"] if None in asns else words)


_SAID: Final[dict[Way, Callable[[frozenset[Value]], str]]] = {
    "connection": _connections,
    "network": _networks,
    "asn": _asns,
    "stage": _stages,
}


# -- places ------------------------------------------------------------------------------------------------------


class _Places:
    """A set of places, by how finely they are known."""

    def __init__(self, places: Iterable[Value], vocabulary: Vocabulary) -> None:
        known = [place for place in places if isinstance(place, Place)]
        self.nowhere = Place() in known
        self.continents = sorted(p.continent for p in known if p.continent and p.country is None)
        base = {p.country for p in known if p.country and p.subdivision is None}
        subdivisions = {p.subdivision for p in known if p.subdivision}
        self.whole: set[str] = set()
        self.base_only: list[str] = []
        self.parts: dict[str, set[str]] = {}
        """Country to its subdivisions, of countries that are not whole."""
        for country in sorted(vocabulary.countries):
            of = vocabulary.subdivisions_of(country)
            if country in base and of <= subdivisions:
                self.whole.add(country)
                continue
            if country in base:
                self.base_only.append(country)
            if some := of & subdivisions:
                self.parts[country] = set(some)


def place_words(places: Iterable[Value], vocabulary: Vocabulary) -> list[str]:
    """A set of places as alternatives, such as ``from FR or DE`` and ``whose place is not known``."""
    found = _Places(places, vocabulary)
    words = _countries(found, vocabulary)
    few: list[str] = []
    for country, some in found.parts.items():
        every = vocabulary.subdivisions_of(country)
        if some == every:
            words.append(f"from a known subdivision of {country}")
        elif len(some) > len(every) / 2:
            words.append(f"from a subdivision of {country} other than {_cut(sorted(every - some))}")
        else:
            few += sorted(some)
    if few:
        words.append(f"from {_cut(few)}")
    if found.base_only:
        words.append(f"from {_cut(found.base_only)} with the subdivision not known")
    if found.continents == sorted(CONTINENTS) and found.nowhere:
        return [*words, "whose country is not known"]
    if found.continents:
        words.append(f"of whom only the continent is known ({_cut(found.continents)})")
    return [*words, "whose place is not known"] if found.nowhere else words


def _countries(found: _Places, vocabulary: Vocabulary) -> list[str]:
    every, whole = vocabulary.countries, found.whole
    if whole == every:
        return ["from any known country"]
    if len(whole) > len(every) / 2:
        return [f"from any country but {_cut(sorted(every - whole))}"]
    words = []
    rest = set(whole)
    for continent in sorted(CONTINENTS):
        of = vocabulary.countries_of(continent)
        if len(of) > 1 and of <= rest:
            words.append(f"from {continent} (continent)")
            rest -= of
    if rest:
        words.append(f"from {_cut(sorted(rest))}")
    return words


# -- lists -------------------------------------------------------------------------------------------------------


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _cut(words: Iterable[str]) -> str:
    listed = list(words)
    if len(listed) <= MOST_VALUES:
        return _or(listed)
    return f"{', '.join(listed[:MOST_VALUES])} or {len(listed) - MOST_VALUES:,} more"


def data(change: Change, vocabulary: Vocabulary) -> dict[str, Any]:
    """The same as plain JSON values, nothing cut. A way that is left out does not matter.

    ``place.countries`` are meant with all their subdivisions, ``place.country_only`` where no subdivision is known.
    """
    where: dict[str, Any] = {}
    for way, values in change.where.items():
        if way == "place":
            found = _Places(values, vocabulary)
            where["place"] = {
                "countries": sorted(found.whole),
                "country_only": found.base_only,
                "subdivisions": sorted(code for some in found.parts.values() for code in some),
                "continent_only": found.continents,
                "unknown": found.nowhere,
            }
        elif way == "network":
            ranges = sorted((b for b in values if isinstance(b, Block)), key=lambda b: (len(b.first), b.first))
            where["network"] = {"ranges": list(map(str, ranges)), "unreadable": None in values}
        elif way == "asn":
            named = sorted(v for v in values if isinstance(v, int) and v != UNNAMED)
            where["asn"] = {"named": named, "other": UNNAMED in values, "unknown": None in values}
        else:
            where[way] = sorted(map(str, values))
    return {"where": where, "was": _says(change.was), "now": _says(change.now)}


def _says(says: Says) -> dict[str, Any]:
    return {"verdict": says.verdict, "outcome": says.outcome, "rule": says.rule}
