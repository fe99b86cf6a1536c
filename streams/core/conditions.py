"""Conditions: one field of a rule's ``when``, compiled to a test that is true, false or open (design §4, rule 3).

A test is a function of a subject (who joins) and facts (where from) that returns True when every possible value
satisfies the condition, False when none does and None (open) otherwise. What a test needs of the vocabulary is worked
out here, once, so that a decision never enumerates possible values: when the condition is first asked, since of a
hundred thousand accounts' documents a worker asks few. Lists of networks are worked out at once: they may be long, and
no join should wait for one.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Set
from functools import lru_cache
from typing import Any, Final, Literal, Protocol, TypeAlias

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


_shared: Final = lru_cache(maxsize=512)(_made)
"""Accounts say much the same. What they share is kept once, and is in the processor's caches when it is asked."""


_Checked: TypeAlias = tuple[Any, ...]
"""Values of the kind that a field has."""


def _negate(test: Test) -> Test:
    def negated(subject: Subject, facts: Facts) -> Truth:
        truth = test(subject, facts)
        return None if truth is None else not truth

    return negated


def _by_continent(whole: Set[str], touched: Iterable[str], vocabulary: Vocabulary) -> dict[str | None, Truth]:
    """Rule 3 where the continent is known or (None) nothing is: true only if true of each country, false if of none.

    Args:
        whole: the countries that it is true of.
        touched: those and the ones that it is open for.
        vocabulary: what there is.

    Returns:
        By continent; False of all that are not there.
    """
    found: dict[str | None, Truth] = dict.fromkeys([vocabulary.continent_of[country] for country in touched])
    if found:
        found[None] = None
    if whole:
        for continent in found:
            if vocabulary.countries_of(continent) <= whole:
                found[continent] = True
    return found


def _country(values: _Checked, vocabulary: Vocabulary) -> Test:
    named: frozenset[str] = frozenset(values)
    by_continent = _by_continent(named, named, vocabulary)

    def test(_: Subject, facts: Facts) -> Truth:
        if (country := facts.country) is not None:
            return country in named
        return by_continent.get(facts.continent, False)

    return test


def _subdivision(values: _Checked, vocabulary: Vocabulary) -> Test:
    named: frozenset[str] = frozenset(values)
    touched = {code[:2] for code in named} & vocabulary.countries
    of_country = {c: vocabulary.subdivisions_of(c) <= named or None for c in touched}  # all others: False
    whole = {country for country, truth in of_country.items() if truth}
    by_continent = _by_continent(whole, touched, vocabulary)

    def test(_: Subject, facts: Facts) -> Truth:
        if (subdivision := facts.subdivision) is not None:
            return subdivision in named
        if (country := facts.country) is not None:
            return of_country.get(country, False)
        return by_continent.get(facts.continent, False)

    return test


def _continent(values: _Checked, _: Vocabulary) -> Test:
    named: frozenset[str] = frozenset(values)
    unknown = named >= CONTINENTS or None

    def test(_: Subject, facts: Facts) -> Truth:
        return unknown if facts.continent is None else facts.continent in named

    return test


def _asn(values: _Checked, _: Vocabulary) -> Test:
    named = frozenset(values)

    def test(_: Subject, facts: Facts) -> Truth:
        return None if facts.asn is None else facts.asn in named

    return test


def _connection(values: _Checked, _: Vocabulary) -> Test:
    named = connection_bits(values)
    unnamed = ANY_CONNECTION & ~named

    def test(_: Subject, facts: Facts) -> Truth:
        possible = facts.connection
        if not possible & unnamed:
            return True
        return None if possible & named else False

    return test


def _role(values: _Checked, _: Vocabulary) -> Test:
    named = frozenset(values)
    return lambda subject, _: subject.role in named


def _stage(values: _Checked, _: Vocabulary) -> Test:
    named = frozenset(values)
    return lambda subject, _: subject.stage in named


def _network(values: _Checked, _: Vocabulary) -> Test:
    four, six = _merged([address.parse_network(str(value)) for value in values])  # a number is none

    def test(_: Subject, facts: Facts) -> Truth:
        packed = facts.address
        if packed is None:
            return None
        starts, ends = four if len(packed) == 4 else six
        at = bisect_right(starts, packed) - 1
        return at >= 0 and packed <= ends[at]

    return test


_Ranges: TypeAlias = tuple[list[bytes], list[bytes]]
"""Where each range begins and ends; sorted and disjoint."""


def _merged(blocks: list[tuple[bytes, bytes]]) -> tuple[_Ranges, _Ranges]:
    """The ranges of IPv4 and of IPv6. CIDR blocks lie apart or nest."""
    four: _Ranges = [], []
    six: _Ranges = [], []
    for first, last in sorted(blocks):
        starts, ends = four if len(first) == 4 else six
        if not ends or first > ends[-1]:
            starts.append(first)
            ends.append(last)
        else:
            ends[-1] = max(last, ends[-1])  # wider only where both begin at one address
    return four, six


_COMPILERS: Final[dict[str, Callable[[_Checked, Vocabulary], Test]]] = {
    "country": _country,
    "subdivision": _subdivision,
    "continent": _continent,
    "asn": _asn,
    "network": _network,
    "connection": _connection,
    "role": _role,
    "stage": _stage,
}
