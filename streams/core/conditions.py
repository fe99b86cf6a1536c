"""Conditions: one field of a rule's ``when``, compiled to a test that is true, false or open (design §4, rule 3).

A test is a function of a subject (who joins) and facts (where from) that returns True when every possible value
satisfies the condition, False when none does and None (open) otherwise. What a test needs of the vocabulary is worked
out here, once, so that a decision never enumerates possible values.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from streams.core import address
from streams.core.facts import ANY_CONNECTION, CONTINENTS, Facts, Vocabulary, connection_bits

Field: TypeAlias = Literal["country", "subdivision", "continent", "asn", "network", "connection", "role", "stage"]
FIELDS: Final[tuple[Field, ...]] = (
    "country", "subdivision", "continent", "asn", "network", "connection", "role", "stage",
)  # fmt: skip
TERRITORIES: Final = ("country", "subdivision", "continent")
Truth: TypeAlias = bool | None


class Subject(Protocol):
    """Who joins, as far as a rule may ask."""

    @property
    def role(self) -> str:
        """``host``, ``cohost``, ``participant`` or ``guest``."""

    @property
    def stage(self) -> str:
        """``lobby`` or ``live``."""


Test: TypeAlias = Callable[[Subject, Facts], Truth]


class Condition(msgspec.Struct, frozen=True):
    """One field of a ``when``.

    Attributes:
        field: what is looked at.
        values: as the document wrote them.
        negated: ``{"not": [...]}``.
        test: the compiled form.
    """

    field: Field
    values: tuple[str | int, ...]
    negated: bool
    test: Test

    @property
    def names_territory(self) -> bool:
        """Whether the condition names a territory positively (charter C4)."""
        return self.field in TERRITORIES and not self.negated


def compile_condition(field: Field, values: tuple[str | int, ...], negated: bool, vocabulary: Vocabulary) -> Condition:
    """Compile one condition whose values have been checked (``streams.core.policy``)."""
    test = _COMPILERS[field](values, vocabulary)
    return Condition(field, values, negated, _negate(test) if negated else test)


def _negate(test: Test) -> Test:
    def negated(subject: Subject, facts: Facts) -> Truth:
        truth = test(subject, facts)
        return None if truth is None else not truth

    return negated


def _truth(possible: frozenset[str], named: frozenset[str]) -> Truth:
    """Rule 3 over a set of possible values; an empty set has the one value that no list can name."""
    if not possible or possible.isdisjoint(named):
        return False
    return True if possible <= named else None


def _country(values: tuple[str | int, ...], vocabulary: Vocabulary) -> Test:
    named = frozenset(map(str, values))
    by_continent = {k: _truth(vocabulary.countries_of(k), named) for k in (*CONTINENTS, None)}

    def test(_: Subject, facts: Facts) -> Truth:
        if (country := facts.country) is not None:
            return country in named
        return by_continent[facts.continent]

    return test


def _subdivision(values: tuple[str | int, ...], vocabulary: Vocabulary) -> Test:
    named = frozenset(map(str, values))
    touched = {code[:2] for code in named}
    of_country = {c: _truth(vocabulary.subdivisions_of(c), named) for c in touched}  # all others: False

    def over(continent: str | None) -> Truth:
        # Whichever country it may be: true only if true of each, false only if false of each.
        possible = vocabulary.countries_of(continent)
        truths = {of_country[c] for c in touched & possible}
        if not possible <= touched:
            truths.add(False)
        return truths.pop() if len(truths) == 1 else None

    by_continent = {k: over(k) for k in (*CONTINENTS, None)}

    def test(_: Subject, facts: Facts) -> Truth:
        if (subdivision := facts.subdivision) is not None:
            return subdivision in named
        if (country := facts.country) is not None:
            return of_country.get(country, False)
        return by_continent[facts.continent]

    return test


def _continent(values: tuple[str | int, ...], _: Vocabulary) -> Test:
    named = frozenset(map(str, values))
    unknown = _truth(CONTINENTS, named)

    def test(_: Subject, facts: Facts) -> Truth:
        return unknown if facts.continent is None else facts.continent in named

    return test


def _asn(values: tuple[str | int, ...], _: Vocabulary) -> Test:
    named = frozenset(values)

    def test(_: Subject, facts: Facts) -> Truth:
        return None if facts.asn is None else facts.asn in named

    return test


def _connection(values: tuple[str | int, ...], _: Vocabulary) -> Test:
    named = connection_bits(map(str, values))
    unnamed = ANY_CONNECTION & ~named

    def test(_: Subject, facts: Facts) -> Truth:
        possible = facts.connection
        if not possible & unnamed:
            return True
        return None if possible & named else False

    return test


def _role(values: tuple[str | int, ...], _: Vocabulary) -> Test:
    named = frozenset(values)
    return lambda subject, _: subject.role in named


def _stage(values: tuple[str | int, ...], _: Vocabulary) -> Test:
    named = frozenset(values)
    return lambda subject, _: subject.stage in named


def _network(values: tuple[str | int, ...], _: Vocabulary) -> Test:
    blocks = [address.parse_network(str(value)) for value in values]
    starts4, ends4 = _merge(b for b in blocks if len(b[0]) == 4)
    starts6, ends6 = _merge(b for b in blocks if len(b[0]) == 16)

    def test(_: Subject, facts: Facts) -> Truth:
        packed = facts.address
        if packed is None:
            return None
        starts, ends = (starts4, ends4) if len(packed) == 4 else (starts6, ends6)
        at = bisect_right(starts, packed) - 1
        return at >= 0 and packed <= ends[at]

    return test


def _merge(blocks: Iterable[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Sorted, disjoint ranges: CIDR blocks only nest, so a block that starts inside the last one adds nothing."""
    starts: list[bytes] = []
    ends: list[bytes] = []
    # The widest block first among those with one start, so that the others fall inside it.
    for first, last in sorted(blocks, key=lambda block: (block[0], bytes(255 - b for b in block[1]))):
        if not ends or first > ends[-1]:
            starts.append(first)
            ends.append(last)
    return starts, ends


_COMPILERS: Final[dict[str, Callable[[tuple[str | int, ...], Vocabulary], Test]]] = {
    "country": _country,
    "subdivision": _subdivision,
    "continent": _continent,
    "asn": _asn,
    "network": _network,
    "connection": _connection,
    "role": _role,
    "stage": _stage,
}
