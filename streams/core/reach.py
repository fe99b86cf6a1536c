"""Which rules of a document can ever decide, and which can count at all: lint's exact part.

A join meets a document in one *state* of knowledge: its role and stage, and of its address, its number, its place and
its connection what is known (design §4, rule 2). A rule **decides** in a state where it is true and no rule before it
is; it **counts** where it is at least open and no rule before it is true, since its verdict is then a possible one.

*Counting* is simple. Every test that is true or false of a join with nothing known is so of every join, so a rule
counts somewhere exactly if it does where nothing is known, for some role and stage.

*Deciding* is a question of cover: a rule is a product of sets, one an axis (role, stage, number, address, connection,
place), and so is each rule before it; does some state lie in the rule's product and in none of theirs? States that no
condition of the document tells apart are one *cell* with a *mask*, the rules whose conditions on that axis all hold
there. A rule can decide if cells can be chosen, one an axis, whose masks have the rule's bit and no earlier one in
common. Of the masks an axis offers only the least matter, which keeps the choice small; it is exponential in the worst
case, so it has a budget, and where that is spent the answer is that there is none.

Axes are independent but for one thing: a connection known to be anonymised hides the place, and a relay's hides the
subdivision (rulings 1, 7). So the question is asked three times: of anonymised joins, of relays, and of all others.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from streams.core import cidrs
from streams.core.conditions import TERRITORIES, Condition
from streams.core.facts import (
    ANONYMISED,
    ANY_CONNECTION,
    CONNECTIONS,
    CONTINENTS,
    HOSTING,
    NOTHING_KNOWN,
    RELAY,
    Facts,
    Vocabulary,
)
from streams.core.policy import ROLES, STAGES, Document

BUDGET: Final = 2_000_000
"""Steps of the analysis of one document: about a second."""

CONNECTION_STATES: Final = (
    *(1 << i for i in range(len(CONNECTIONS))),
    ANONYMISED,
    ANY_CONNECTION,
    ANY_CONNECTION & ~(ANONYMISED | RELAY),
    ANY_CONNECTION & ~(ANONYMISED | RELAY | HOSTING),
)
"""Every set of possible connections that geo files can lead to (rulings 5 and 6)."""


class Person(msgspec.Struct, frozen=True):
    """Who joins, as far as a rule may ask."""

    role: str
    stage: str


PEOPLE: Final = tuple(Person(role, stage) for role in ROLES for stage in STAGES)
_ANYBODY: Final = PEOPLE[0]
_AXIS: Final = dict.fromkeys(TERRITORIES, "place")
"""Fields that are not an axis of their own."""


class Cell(NamedTuple):
    """States of one axis that no condition tells apart.

    Attributes:
        person: who joins, where the axis is role or stage; anybody elsewhere.
        facts: what is known, on the other axes.
        mask: the rules whose conditions on this axis hold.
    """

    person: Person
    facts: Facts
    mask: int


class Spent(Exception):
    """The budget is used up: there is no answer."""


def places(document: Document, vocabulary: Vocabulary, own_continents: bool = False) -> list[Facts]:
    """Facts for each place state that the document's conditions could tell from others.

    Args:
        document: whose conditions.
        vocabulary: the places there are.
        own_continents: whether a geo file may put a country on another continent than the table does (ruling 2).
    """
    named: dict[str, set[str]] = {field: set() for field in TERRITORIES}
    for rule in document.rules:
        for condition in rule.conditions:
            if condition.field in named:
                named[condition.field].update(map(str, condition.values))
    if not any(named.values()):
        return [NOTHING_KNOWN]
    touched = {code[:2] for code in named["subdivision"]} & vocabulary.countries
    countries = named["country"] | touched
    subdivisions = set(named["subdivision"])
    for country in touched:  # one stands for all that the document doesn't name
        if unnamed := vocabulary.subdivisions_of(country) - named["subdivision"]:
            subdivisions.add(min(unnamed))
    for continent in CONTINENTS:
        if others := vocabulary.countries_of(continent) - countries:
            countries.add(min(others))
    found = [NOTHING_KNOWN, *(Facts(continent=each) for each in sorted(CONTINENTS) if vocabulary.countries_of(each))]
    for country in sorted(countries):
        for continent in sorted(CONTINENTS) if own_continents else [vocabulary.continent_of[country]]:
            found.append(Facts(country=country, continent=continent))
            found += [
                Facts(country=country, continent=continent, subdivision=code)
                for code in sorted(subdivisions)
                if code[:2] == country
            ]
    return found


class Dead(NamedTuple):
    """A value of a list that never decides by itself: a rule with this value alone in the list would not.

    Attributes:
        field: of the condition.
        at: its index in the list.
        covered: whether it can be true, but only where an earlier rule is; else it never is true.
    """

    field: str
    at: int
    covered: bool


class Bottom(NamedTuple):
    """What a document makes of one kind of person of whom nothing else is known.

    Attributes:
        tried: the rules that count: at least open, and no true one before.
        ended: whether the last of them is true, so that the default is not asked.
    """

    tried: tuple[int, ...]
    ended: bool


def bottom(document: Document) -> dict[Person, Bottom]:
    """What counts where nothing is known; every rule that counts anywhere counts here for somebody."""
    found = {}
    for person in PEOPLE:
        tried, ended = list[int](), False
        for i, rule in enumerate(document.rules):
            truths = {condition.test(person, NOTHING_KNOWN) for condition in rule.conditions}
            if False not in truths:
                tried.append(i)
                if None not in truths:
                    ended = True
                    break
        found[person] = Bottom(tuple(tried), ended)
    return found


class Reach:
    """The states of one document's joins, cut into cells, and what the rules can do there.

    Args:
        document: a parsed one.
        vocabulary: the places there are.
        own_continents: see ``places``.
        budget: steps, for making one and for all its answers together.

    Raises:
        Spent: by making one, and by every answer.
    """

    def __init__(
        self, document: Document, vocabulary: Vocabulary, *, own_continents: bool = False, budget: int = BUDGET
    ) -> None:
        self.document = document
        self._left = budget
        self._everyone = (1 << len(document.rules)) - 1
        self._conditions: dict[str, list[tuple[int, Condition]]] = {}
        for i, rule in enumerate(document.rules):
            for condition in rule.conditions:
                self._conditions.setdefault(condition.field, []).append((i, condition))
        self._line = self._cut()
        self._offered: dict[int, list[dict[str, list[int]]]] = {}
        self._kinds = self._kinds_of_join(
            self._cells(TERRITORIES, ((_ANYBODY, at) for at in places(document, vocabulary, own_continents)))
        )

    def holds(self, rule: int) -> bool:
        """Whether a rule is true of any join at all, whatever stands before it."""
        return any(all(axes.values()) for axes in self._axes(rule))

    def decides(self, rule: int, role: str | None = None) -> bool:
        """Whether a rule is true of any join (of one role) that no earlier rule is true of."""
        return any(self._common(axes.values(), rule) == [0] for axes in self._axes(rule, role))

    def covering(self, rule: int) -> list[int]:
        """Earlier rules that between them are true wherever this one is, where it holds and never decides."""
        left = [mask for axes in self._axes(rule) for mask in self._common(axes.values(), rule)]
        found = []
        while left:
            self._spend(len(left) * rule)
            best = max(range(rule), key=lambda i: sum(mask >> i & 1 for mask in left))
            found.append(best)
            left = [mask for mask in left if not mask >> best & 1]
        return sorted(found)

    def dead_values(self, rule: int) -> Iterator[Dead]:
        """The listed values of a rule that never decide by themselves.

        Networks that another one of the list covers are passed over (``cidrs.repeated``).
        """
        for condition in self.document.rules[rule].conditions:
            if condition.negated:
                continue
            axis = _AXIS.get(condition.field, condition.field)
            chances = []
            for kind, axes in zip(self._kinds, self._axes(rule), strict=True):
                others = self._common((masks for name, masks in axes.items() if name != axis), rule)
                if others:
                    chances.append((kind[axis], others))
            if self._alive(rule, axis, chances):
                continue
            offering = [(self._offers(condition, cells), others) for cells, others in chances]
            passed = cidrs.repeated(_blocks(condition)) if axis == "network" else {}
            for index in range(len(condition.values)):
                if index in passed:
                    continue
                holds = decides = False
                for offers, others in offering:
                    masks = [mask for mask in offers(index) if mask >> rule & 1]
                    self._spend(1 + len(masks) * len(others))
                    holds = holds or bool(masks)
                    decides = decides or any(not mask & other for mask in masks for other in others)
                if not decides:
                    yield Dead(condition.field, index, holds)

    def _alive(self, rule: int, axis: str, chances: list[tuple[list[Cell], list[int]]]) -> bool:
        """Whether every value on an axis decides, told without looking at them: the quick way for most rules.

        On the axes named here each value has a cell among those of other joins, the last kind; and the rule holds there
        where it has no other condition on the axis. Where it decides whatever the cell, it does so in these.
        """
        alone = sum(_AXIS.get(each.field, each.field) == axis for each in self.document.rules[rule].conditions) == 1
        others = chances[-1][1] if len(chances) and chances[-1][0] is self._kinds[-1].get(axis) else []
        return alone and axis in ("role", "stage", "asn", "place") and others == [0]

    # -- cells -------------------------------------------------------------------------------------------------

    def _cells(self, fields: Iterable[str], states: Iterable[tuple[Person, Facts]]) -> list[Cell]:
        tests = [(1 << i, each.test) for field in fields for i, each in self._conditions.get(field, ())]
        cells = []
        for person, facts in states:
            self._spend(1 + len(tests))
            mask = self._everyone
            for bit, test in tests:
                if test(person, facts) is not True:
                    mask &= ~bit
            cells.append(Cell(person, facts, mask))
        return cells

    def _numbers(self) -> list[int | None]:
        """The numbers that are named, one that isn't, and none."""
        named = {int(value) for _, condition in self._conditions.get("asn", ()) for value in condition.values}
        other = next(number for number in range(len(named) + 1) if number not in named)
        return [None, other, *sorted(named)] if named else [None]

    def _cut(self) -> cidrs.Line:
        asked = self._conditions.get("network", [])
        self._spend(sum(len(condition.values) for _, condition in asked))
        return cidrs.line({i: (_blocks(condition), condition.negated) for i, condition in asked}, self._everyone)

    def _addresses(self) -> list[Cell]:
        unknown = self._everyone
        for i, _ in self._conditions.get("network", ()):
            unknown &= ~(1 << i)
        return [Cell(_ANYBODY, NOTHING_KNOWN, mask) for mask in dict.fromkeys([unknown, *self._line.masks])]

    def _kinds_of_join(self, located: list[Cell]) -> list[dict[str, list[Cell]]]:
        """Anonymised joins, relays and all others: axis to cells; within each the axes are independent."""
        same = {
            "role": self._cells(["role"], ((Person(role, STAGES[0]), NOTHING_KNOWN) for role in ROLES)),
            "stage": self._cells(["stage"], ((Person(ROLES[0], stage), NOTHING_KNOWN) for stage in STAGES)),
            "asn": self._cells(["asn"], ((_ANYBODY, Facts(asn=asn)) for asn in self._numbers())),
            "network": self._addresses(),
        }
        # An axis that no rule asks for has one cell, and every rule holds there.
        same = {axis: cells for axis, cells in same.items() if axis in self._conditions}
        if "connection" not in self._conditions:
            return [{**same, "place": located}]
        states = ((_ANYBODY, Facts(connection=bits)) for bits in CONNECTION_STATES)
        connections = self._cells(["connection"], states)
        hidden = [cell for cell in connections if not cell.facts.connection & ~ANONYMISED]
        relay = [cell for cell in connections if cell.facts.connection == RELAY]
        others = [cell for cell in connections if cell not in hidden and cell not in relay]
        return [
            {**same, "connection": hidden, "place": [cell for cell in located if cell.facts == NOTHING_KNOWN]},
            {**same, "connection": relay, "place": [cell for cell in located if cell.facts.subdivision is None]},
            {**same, "connection": others, "place": located},
        ]

    def _offers(self, condition: Condition, cells: list[Cell]) -> Callable[[int], Iterable[int]]:
        """From a value's index to the masks of the cells where the fact is known to be that value."""
        if condition.field == "network":
            blocks = _blocks(condition)
            return lambda index: self._line.masks_in(blocks[index])
        masks: dict[object, list[int]] = {}
        for cell in cells:
            masks.setdefault(_known(condition.field, cell), []).append(cell.mask)
        return lambda index: masks.get(condition.values[index], ())

    # -- choices -----------------------------------------------------------------------------------------------

    def _axes(self, rule: int, role: str | None = None) -> list[dict[str, list[int]]]:
        """For each kind of join, what each axis offers a rule: the least sets of earlier rules that hold with it."""
        offered = self._offered.get(rule)
        if offered is None:
            offered = self._offered[rule] = [
                {axis: self._offer(rule, cells) for axis, cells in kind.items()} for kind in self._kinds
            ]
        if role is None or "role" not in self._conditions:
            return offered
        cells = [cell for cell in self._kinds[0]["role"] if cell.person.role == role]
        return [{**axes, "role": self._offer(rule, cells)} for axes in offered]

    def _offer(self, rule: int, cells: list[Cell]) -> list[int]:
        earlier = (1 << rule) - 1
        self._spend(len(cells))
        return self._least({cell.mask & earlier for cell in cells if cell.mask >> rule & 1})

    def _common(self, axes: Iterable[list[int]], rule: int) -> list[int]:
        """The least sets of earlier rules that are true where the rule is; ``[0]``: it decides; empty: never true."""
        axes = list(axes)
        if not all(axes):
            return []
        if [0] in axes:
            return [0]
        common = [(1 << rule) - 1]
        for masks in sorted(axes, key=len):
            self._spend(len(common) * len(masks))
            common = self._least({one & other for one in common for other in masks})
        return common

    def _least(self, masks: set[int]) -> list[int]:
        """Those of some sets that hold no other one of them."""
        if 0 in masks or len(masks) < 2:
            return [0] if 0 in masks else list(masks)
        least: list[int] = []
        for mask in sorted(masks, key=int.bit_count):
            self._spend(len(least))
            if not any(mask & other == other for other in least):
                least.append(mask)
        return least

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise Spent


def _blocks(condition: Condition) -> list[cidrs.Block]:
    return [cidrs.block_of(str(value)) for value in condition.values]


def _known(field: str, cell: Cell) -> object:
    if field in ("role", "stage"):
        return getattr(cell.person, field)
    return cell.facts.known_connection if field == "connection" else getattr(cell.facts, field)
