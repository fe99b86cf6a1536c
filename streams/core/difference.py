"""What changes for whom between two documents, found by deciding with both rather than by comparing their texts.

How it works. Whoever joins differs, for a document, in six ways: role, stage, place, connection, network and asn. Each
way is a list of values; values that no condition of either document tells apart are one class, and a way that neither
looks at has one class only. Every combination of classes is decided by both documents, with the evaluator that
workers use (``core.decide.find``, so with the charter's caps). Combinations whose verdict differs are grouped by what
was said and what is said now, and each group is written as boxes: a set of values a way, all of them together.

A place is what is known of it: where neither document looks at connections, what an anonymised one hides counts as
not known. Places are all countries and subdivisions of the vocabulary, the continents where nothing finer is known, and
nowhere; so the answer is exact for them. Not told apart are files that put a country on another continent than the
table does, and connections known in unusual part (``CONNECTION_STATES`` lists the states there are).

The work is bounded: where it would be too much, ``changes`` is None and the two rule lists must do
(``core.rulelists``). ``core.differencewords`` puts all of it into words.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from streams.core import address
from streams.core.conditions import TERRITORIES, Condition, Truth
from streams.core.decide import find
from streams.core.events import OutcomeName, Role, Stage
from streams.core.facts import (
    ANONYMISED,
    ANY_CONNECTION,
    CONNECTIONS,
    CONTINENTS,
    HOSTING,
    NOTHING_KNOWN,
    OTHER,
    RELAY,
    Facts,
    Vocabulary,
    connection_bits,
    settle,
)
from streams.core.index import Revision
from streams.core.policy import ROLES, STAGES, VERDICTS, Document, Verdict

Way: TypeAlias = Literal["role", "stage", "place", "connection", "network", "asn"]
WAYS: Final[tuple[Way, ...]] = ("role", "stage", "place", "connection", "network", "asn")
BUDGET: Final = 2_000_000
"""Conditions tested in the worst case: about half a second."""

CONNECTION_STATES: Final[dict[str, int]] = {
    **{name: connection_bits([name]) for name in CONNECTIONS},
    "other": OTHER,
    "tor, vpn or proxy": ANONYMISED,
    "none of tor, vpn, proxy, relay": ANY_CONNECTION & ~(ANONYMISED | RELAY),
    "none of tor, vpn, proxy, relay, hosting": ANY_CONNECTION & ~(ANONYMISED | RELAY | HOSTING),
    "not known": ANY_CONNECTION,
}
"""What a connection can be known to be: the states that geo files give (rulings 5 and 6)."""


class Place(NamedTuple):
    """As much as is known of where somebody is; None is not known."""

    continent: str | None = None
    country: str | None = None
    subdivision: str | None = None


class Block(NamedTuple):
    """Addresses from first to last, packed."""

    first: bytes
    last: bytes

    def __str__(self) -> str:
        return f"{address.text(self.first)}-{address.text(self.last)}"


UNNAMED: Final = -1
"""The asn that stands for all that neither document names."""
Value: TypeAlias = str | Place | Block | int | None
"""A role, a stage, a place, a connection's state, addresses (None: not readable), an asn (None: not known)."""


class Says(msgspec.Struct, frozen=True, order=True):
    """What a document says of somebody.

    Attributes:
        verdict: its word.
        outcome: how it comes about; None where there is no document, or only one in report mode.
        rule: the deciding rule's id, where the outcome is ``rule``.
    """

    verdict: Verdict
    outcome: OutcomeName | None
    rule: str | None


class Change(msgspec.Struct, frozen=True):
    """Some people, what was said of them and what is said now.

    Attributes:
        where: way to the values that are meant; a way that is left out does not matter. All hold together. Where the
            documents look at addresses, people without a readable one are meant only where ``network`` says None.
        was: what the old document says.
        now: what the new one says.
    """

    where: dict[Way, frozenset[Value]]
    was: Says
    now: Says

    def covers(self, person: dict[Way, Value]) -> bool:
        """Whether somebody is meant; an address is given as a block of one, an asn nobody names as ``UNNAMED``."""
        if person["network"] is None and None not in self.where.get("network", ()):
            return False
        return all(_meets(person[way], values) for way, values in self.where.items())


class TooLarge(Exception):
    """Comparing what is decided would take more work than allowed; the message says what of."""


class _Someone(msgspec.Struct, frozen=True):
    """Who is decided about; documents look at role and stage only."""

    role: Role
    stage: Stage
    account: str = ""
    meeting: str = ""
    participation: str = ""


class _Axis(msgspec.Struct, frozen=True):
    """One way in which people differ: its classes, each a tuple of values of which the first stands for all."""

    way: Way
    classes: tuple[tuple[Value, ...], ...]


def changes(old: Document | None, new: Document | None, vocabulary: Vocabulary, budget: int = BUDGET) -> list[Change]:
    """For whom the verdict differs, strictest new verdict first.

    None and a retraction say nothing, which admits. So does, for whoever is on the call, a document in report mode:
    of two that are both in it the verdicts they report are compared.

    Raises:
        TooLarge: more than ``budget`` conditions would have to be tested.
    """
    both_report = all(document is not None and document.mode == "report" for document in (old, new))
    was, now = (_speaker(document, report_counts=both_report) for document in (old, new))
    speaking = [each for each in (was, now) if each is not None]
    conditions = _distinct(speaking)
    axes = [_axis(way, conditions, speaking, vocabulary, budget) for way in WAYS]
    cells = 1
    for axis in axes:
        cells *= len(axis.classes)
    rules = sum(1 + sum(1 + len(rule.conditions) for rule in each.document.rules) for each in speaking)
    if cells * rules > budget:
        raise TooLarge(f"{cells:,} kinds of people by {rules:,} conditions")
    found = _grouped(axes, was, now, lambda person: decided_on(person, vocabulary), {})
    if any(condition.field == "network" for condition in conditions):
        # An address that cannot be read tells nothing else either (design §4, rule 7): who and at what stage is left.
        unread: dict[Way, frozenset[Value]] = {"network": frozenset([None])}
        found += _grouped(
            axes[:2], was, now, lambda person: (_Someone(person["role"], person["stage"]), NOTHING_KNOWN), unread
        )
    return sorted(found, key=_by_strictness)


def _grouped(
    axes: Sequence[_Axis],
    was: Revision | None,
    now: Revision | None,
    decided_on: Callable[[dict[Way, Any]], tuple[_Someone, Facts]],
    besides: dict[Way, frozenset[Value]],
) -> list[Change]:
    """The changes among all combinations of the axes' classes."""
    groups: dict[tuple[Says, Says], list[tuple[int, ...]]] = {}
    for at in _combinations([len(axis.classes) for axis in axes]):
        someone, facts = decided_on({axis.way: axis.classes[i][0] for axis, i in zip(axes, at, strict=True)})
        pair = _says(was, someone, facts), _says(now, someone, facts)
        if pair[0].verdict != pair[1].verdict:
            groups.setdefault(pair, []).append(at)
    return [
        Change(_where(box, axes) | besides, *pair)
        for pair, cells in groups.items()
        for box in _fewest_boxes(cells, len(axes))
    ]


def _by_strictness(change: Change) -> tuple[int, int, str, str]:
    was, now = change.was, change.now
    return -VERDICTS.index(now.verdict), VERDICTS.index(was.verdict), was.rule or "", now.rule or ""


def _speaker(document: Document | None, *, report_counts: bool) -> Revision | None:
    if document is None or document.retracted or (document.mode == "report" and not report_counts):
        return None
    return Revision(document=document, content=b"")


def _says(revision: Revision | None, someone: _Someone, facts: Facts) -> Says:
    if revision is None:
        return Says("admit", None, None)
    finding = find(revision, someone, facts)
    return Says(VERDICTS[finding.verdict], finding.outcome, finding.rule.id if finding.rule else None)


# -- classes -----------------------------------------------------------------------------------------------------


def _distinct(revisions: Iterable[Revision]) -> list[Condition]:
    """Conditions that ask the same, once."""
    found: dict[tuple[object, ...], Condition] = {}
    for revision in revisions:
        for rule in revision.document.rules:
            for condition in rule.conditions:
                found.setdefault((condition.field, frozenset(condition.values)), condition)
    return list(found.values())


_FIELDS: Final[dict[Way, tuple[str, ...]]] = {
    "role": ("role",), "stage": ("stage",), "place": TERRITORIES, "connection": ("connection",),
    "network": ("network",), "asn": ("asn",),
}  # fmt: skip


def _axis(
    way: Way, conditions: Sequence[Condition], speaking: Sequence[Revision], vocabulary: Vocabulary, budget: int
) -> _Axis:
    asked = [condition for condition in conditions if condition.field in _FIELDS[way]]
    located = any(each.document.scope == "service" and each.document.can_remove for each in speaking)
    capping = located and way in ("place", "connection")  # C4 looks at both
    if not asked and not capping:
        return _Axis(way, ((_ANYONE[way],),))
    values = _values(way, asked, vocabulary)
    if len(values) * (len(asked) + 1) > budget:
        raise TooLarge(f"{len(values):,} values of {way} by {len(asked):,} conditions")
    hidden = any(condition.field == "connection" for condition in conditions) or located
    classes: dict[object, list[Value]] = {}
    for value in values:
        classes.setdefault(_signature(way, value, asked, capping=capping, hidden=hidden), []).append(value)
    return _Axis(way, tuple(tuple(members) for members in classes.values()))


_ANYONE: Final[dict[Way, Value]] = {
    "role": "guest", "stage": "live", "place": Place(), "connection": "not known",
    "network": Block(bytes(4), bytes(4)), "asn": UNNAMED,
}  # fmt: skip
"""Who stands for all where a way does not matter."""


def _values(way: Way, asked: Sequence[Condition], vocabulary: Vocabulary) -> Sequence[Value]:
    if way == "role":
        return ROLES
    if way == "stage":
        return STAGES
    if way == "connection":
        return tuple(CONNECTION_STATES)
    if way == "asn":
        return (*sorted({int(value) for condition in asked for value in condition.values}), UNNAMED, None)
    if way == "network":
        return _elementary(str(value) for condition in asked for value in condition.values)
    of = vocabulary.continent_of
    return (
        *(Place(of[country], country) for country in sorted(vocabulary.countries)),
        *(Place(of[code[:2]], code[:2], code) for code in sorted(vocabulary.subdivisions) if code[:2] in of),
        *(Place(continent) for continent in sorted(CONTINENTS)),
        Place(),
    )


def _elementary(networks: Iterable[str]) -> list[Block]:
    """All addresses, cut wherever a network begins or ends."""
    cuts: dict[int, set[int]] = {4: {0}, 16: {0}}
    for network in networks:
        first, last = address.parse_network(network)
        cuts[len(first)].add(int.from_bytes(first))
        cuts[len(first)].add(int.from_bytes(last) + 1)
    blocks = []
    for width, starts in cuts.items():
        ordered = sorted(starts - {1 << 8 * width})
        ends = [*ordered[1:], 1 << 8 * width]
        blocks += [Block(a.to_bytes(width), (b - 1).to_bytes(width)) for a, b in zip(ordered, ends, strict=True)]
    return blocks


def _signature(way: Way, value: Value, asked: Sequence[Condition], *, capping: bool, hidden: bool) -> object:
    """What the documents can tell of a value. With ``hidden`` a relay may take the subdivision from a place."""
    someone, facts = _alone(way, value)
    told: list[Truth] = [condition.test(someone, facts) for condition in asked]
    if isinstance(value, Place):
        if hidden and value.subdivision is not None:
            coarser = value._replace(subdivision=None)
            told += [condition.test(someone, _alone(way, coarser)[1]) for condition in asked]
        known = tuple(part is None for part in value) if capping else ()
        return tuple(told) if not hidden or value.subdivision is not None else (*told, *told), known
    return tuple(told), capping and (facts.connection & ANONYMISED, facts.connection == RELAY), _hides(facts)


def _hides(facts: Facts) -> tuple[bool, bool]:
    """Whether a connection hides the whole place, or the subdivision (``core.facts.settle``)."""
    return not facts.connection & ~ANONYMISED, facts.connection == RELAY


def _alone(way: Way, value: Value) -> tuple[_Someone, Facts]:
    """Somebody of whom only one thing is known."""
    someone, facts = _Someone("guest", "live"), NOTHING_KNOWN
    if way == "role":
        someone = _Someone(value, "live")  # type: ignore[arg-type]  # one of ROLES
    elif way == "stage":
        someone = _Someone("guest", value)  # type: ignore[arg-type]  # one of STAGES
    elif isinstance(value, Place):
        facts = Facts(country=value.country, subdivision=value.subdivision, continent=value.continent)
    elif isinstance(value, Block):
        facts = Facts(address=value.first)
    elif way == "connection":
        facts = Facts(connection=CONNECTION_STATES[str(value)])
    else:
        facts = Facts(asn=None if value is None else int(value))
    return someone, facts


def decided_on(person: dict[Way, Any], vocabulary: Vocabulary) -> tuple[_Someone, Facts]:
    """Who and what is judged where somebody has these values: a connection may hide a place (ruling 7)."""
    someone = _Someone(person["role"], person["stage"])
    place = person["place"]
    facts = settle(
        vocabulary,
        address=person["network"].first,
        country=place.country,
        subdivision=place.subdivision,
        continent=place.continent,
        asn=person["asn"],
        connection=CONNECTION_STATES[person["connection"]],
    )
    return someone, facts


# -- boxes -------------------------------------------------------------------------------------------------------

Cell: TypeAlias = tuple[int, ...]
Box: TypeAlias = tuple[frozenset[int], ...]


def _combinations(sizes: Sequence[int]) -> Iterable[Cell]:
    if not sizes:
        yield ()
        return
    for rest in _combinations(sizes[:-1]):
        for i in range(sizes[-1]):
            yield (*rest, i)


def _fewest_boxes(cells: Sequence[Cell], ways: int) -> list[Box]:
    """Disjoint boxes that hold just these cells: the fewest, of those found with each way looked at first."""
    best: list[Box] = []
    for first in range(ways):
        order = [first, *(i for i in range(ways) if i != first)]
        back = [order.index(i) for i in range(ways)]
        made = _boxes([tuple(cell[i] for i in order) for cell in cells])
        if not best or len(made) < len(best):
            best = [tuple(box[i] for i in back) for box in made]
    return best


def _boxes(cells: Iterable[Cell]) -> list[Box]:
    by_first: dict[int, list[Cell]] = {}
    for cell in cells:
        if not cell:
            return [()]
        by_first.setdefault(cell[0], []).append(cell[1:])
    together: dict[frozenset[Cell], set[int]] = {}
    for i, rest in by_first.items():
        together.setdefault(frozenset(rest), set()).add(i)
    return [(frozenset(heads), *box) for rest, heads in together.items() for box in _boxes(sorted(rest))]


def _where(box: Box, axes: Sequence[_Axis]) -> dict[Way, frozenset[Value]]:
    return {
        axis.way: frozenset(value for i in chosen for value in axis.classes[i])
        for axis, chosen in zip(axes, box, strict=True)
        if len(chosen) < len(axis.classes)
    }


def _meets(value: Value, values: frozenset[Value]) -> bool:
    if isinstance(value, Block):
        blocks = (each for each in values if isinstance(each, Block))
        return any(len(b.first) == len(value.first) and b.first <= value.first and value.last <= b.last for b in blocks)
    return value in values
