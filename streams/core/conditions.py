"""Conditions: one field of a rule's ``when``, compiled to a test that is true, false or open (design §4, rule 3).

A test is a function of a subject (who joins) and facts (where from) that returns True when every possible value
satisfies the condition, False when none does and None (open) otherwise. What a test needs of the vocabulary is worked
out here, once, so that a decision never enumerates possible values: when the condition is first asked, since of a
hundred thousand accounts' documents a worker asks few. Lists of networks are worked out at once: they may be long, and
no join should wait for one.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Final, Literal, Protocol, TypeAlias

from streams.core import address
from streams.core.facts import ANY_CONNECTION, CONTINENTS, Facts, Vocabulary, connection_bits

Field: TypeAlias = Literal["country", "subdivision", "continent", "asn", "network", "connection", "role", "stage"]
FIELDS: Final[tuple[Field, ...]] = (
    "country", "subdivision", "continent", "asn", "network", "connection", "role", "stage",
)  # fmt: skip
TERRITORIES: Final = ("country", "subdivision", "continent")
SHARED: Final = 32
"""Values in the longest list that documents share: what is kept for whoever says the same next has to stay small."""
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


class Condition:
    """One field of a ``when``.

    Attributes:
        field: what is looked at.
        values: as the document wrote them.
        negated: ``{"not": [...]}``.
        test: the compiled form; asked for the first time, it is worked out.
    """

    __slots__ = ("_vocabulary", "field", "negated", "test", "values")
    test: Test

    def __init__(self, field: Field, values: tuple[str | int, ...], negated: bool, vocabulary: Vocabulary) -> None:
        self.field: Field = field
        self.values = values
        self.negated = negated
        self._vocabulary = vocabulary

    def __getattr__(self, name: str) -> Test:
        """The test, compiled; Python comes here only while the attribute is not set."""
        if name != "test":
            raise AttributeError(name, name=name, obj=self)
        return self.compile()

    def compile(self) -> Test:
        """Work the test out now."""
        test = _COMPILERS[self.field](self.values, self._vocabulary)
        self.test = _negate(test) if self.negated else test
        return self.test

    @property
    def names_territory(self) -> bool:
        """Whether the condition names a territory positively (charter C4)."""
        return self.field in TERRITORIES and not self.negated


def compile_condition(field: Field, values: tuple[str | int, ...], negated: bool, vocabulary: Vocabulary) -> Condition:
    """The condition of values that have been checked. Documents that say the same in a short list share one."""
    make = _shared if len(values) <= SHARED else _made
    return make(field, values, negated, vocabulary)


def _made(field: Field, values: tuple[str | int, ...], negated: bool, vocabulary: Vocabulary) -> Condition:
    condition = Condition(field, values, negated, vocabulary)
    if field == "network":
        condition.compile()
    return condition


_shared: Final = lru_cache(maxsize=4096)(_made)
"""Accounts say much the same. What they share is kept once, and is in the processor's caches when it is asked."""


def _negate(test: Test) -> Test:
    def negated(subject: Subject, facts: Facts) -> Truth:
        truth = test(subject, facts)
        return None if truth is None else not truth

    return negated


def _truth(possible: frozenset[str], named: frozenset[str]) -> Truth:
    """Rule 3 over possible values of which one at least is named."""
    return True if possible <= named else None


def _country(values: tuple[str | int, ...], vocabulary: Vocabulary) -> Test:
    named = frozenset(map(str, values))
    touched = {vocabulary.continent_of.get(country) for country in named}
    by_continent = {k: _truth(vocabulary.countries_of(k), named) for k in {None, *touched}}  # all others: False

    def test(_: Subject, facts: Facts) -> Truth:
        if (country := facts.country) is not None:
            return country in named
        return by_continent.get(facts.continent, False)

    return test


def _subdivision(values: tuple[str | int, ...], vocabulary: Vocabulary) -> Test:
    named = frozenset(map(str, values))
    touching = {code[:2] for code in named}
    of_country = {c: _truth(vocabulary.subdivisions_of(c), named) for c in touching}  # all others: False

    def over(continent: str | None) -> Truth:
        # Whichever country it may be: true only if true of each, false only if false of each.
        possible = vocabulary.countries_of(continent)
        truths = {of_country[c] for c in of_country.keys() & possible}
        if not possible <= of_country.keys():
            truths.add(False)
        return truths.pop() if len(truths) == 1 else None

    touched = {vocabulary.continent_of.get(country) for country in of_country}
    by_continent = {k: over(k) for k in {None, *touched}}  # all others: False

    def test(_: Subject, facts: Facts) -> Truth:
        if (subdivision := facts.subdivision) is not None:
            return subdivision in named
        if (country := facts.country) is not None:
            return of_country.get(country, False)
        return by_continent.get(facts.continent, False)

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
    ordered = sorted(blocks, key=itemgetter(1), reverse=True)
    ordered.sort(key=itemgetter(0))
    for first, last in ordered:
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
