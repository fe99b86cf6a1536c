"""Counting decisions (charter C8): what counts as one, by what it is counted, and which counts may be published.

What may live here: values and functions over decisions that were made. ``Recorded`` is what of a decision counting
needs, so that decisions of earlier and later versions count too. A ``Sieve`` lets each through once, ``Counts`` adds
them up, ``published`` says what of the sums anybody may read.

What is counted is a decision: one distinct id. Delivery is at-least-once, so a *repeat* (an id that was seen) is left
out. So is a *reminder*: a removal is said again under a new id until the participation leaves, and one removal must
not look like many. A reminder is known by its id, which is a hash over its number. Decisions in report mode change
nothing; they lie on a topic of their own and are not counted here.

Memory is bounded. Ids are remembered as 64-bit marks, five and a half million at least and twice as many at most, in
128 MiB (160 MiB while a table grows); among ten million ids the odds that two share a mark are one in 370,000. Sums
are kept for up to ``MOST_ROWS`` rows, and what falls outside is counted together.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from streams.core.decide import decision_id
from streams.core.events import EventRef
from streams.core.policy import Verdict
from streams.core.trials import FEWEST

Aspect: TypeAlias = Literal["rule", "class", "verdict", "country", "holder"]
Key: TypeAlias = tuple[str | None, ...]

COLUMNS: Final[dict[Aspect, tuple[str, ...]]] = {
    "rule": ("policy", "rule", "outcome"),
    "class": ("class",),
    "verdict": ("verdict",),
    "country": ("country",),
    "holder": ("holder",),
}
"""What each aspect of a decision adds to a row, in a row's order."""
MOST_IDS: Final = 5_500_000
"""Ids remembered at least. With twice as many distinct ones none has been forgotten."""
MOST_ROWS: Final = 200_000
MOST_REMINDERS: Final = 256
"""Reminders recognised of one removal: more than a worker says in a session's longest life, as shipped."""
_FIRST_SLOTS: Final = 1 << 12


class Reason(msgspec.Struct, gc=False):
    """As ``events.Reason``."""

    policy: str
    rule: str | None
    outcome: str
    class_: str = msgspec.field(name="class")
    holder: str | None
    matched: dict[str, Any]


class Data(msgspec.Struct, gc=False):
    """As ``events.DecisionData``."""

    meeting: str
    account: str
    participation: str
    verdict: Verdict
    cause: str
    event: EventRef
    reason: Reason | None
    policy_offset: int
    geo_build: str
    order: Annotated[list[int], Meta(min_length=4, max_length=4)]

    @property
    def at(self) -> int:
        """When it was decided, ms since the epoch."""
        return self.order[3]


class Recorded(msgspec.Struct, gc=False):
    """A decision as it lies on a topic, or as ``doorward decide`` wrote it.

    Attributes:
        report: whether it is one in report mode; said offline only, since online these have a topic of their own.
    """

    id: str
    data: Data
    report: bool = False


# -- what counts -------------------------------------------------------------------------------------------------


class Sieve:
    """Lets each decision through once.

    Attributes:
        decisions: let through.
        repeats: held back, their id having been seen.
        reminders: held back as a removal said again.
    """

    def __init__(self, most_ids: int = MOST_IDS) -> None:
        self.decisions = self.repeats = self.reminders = 0
        self._ids = Ids(most_ids)

    @property
    def forgetful(self) -> bool:
        """Whether ids were forgotten, so that repeats far apart may have been counted twice."""
        return self._ids.forgot

    def passes(self, event: Recorded) -> bool:
        """Whether a decision counts."""
        if not self._ids.add(event.id):
            self.repeats += 1
        elif is_reminder(event):
            self.reminders += 1
        else:
            self.decisions += 1
            return True
        return False


def is_reminder(event: Recorded) -> bool:
    """Whether a removal was only said again.

    Its id is then that of the trigger ``reminder`` with some number (``sweep.reminder``). Which triggers a removal of
    its kind mostly has is tried first; it costs a hash each.
    """
    data = event.data
    if data.verdict != "remove":
        return False
    likely: dict[str, tuple[str, ...]] = {
        "join": ("event", data.event.source, data.event.id),
        "update": ("event", data.event.source, data.event.id),
        "geo": ("geo", data.geo_build),
        "policy": ("policy", str(data.policy_offset)),
    }
    trigger = likely.get(data.cause)
    if trigger is not None and _id(data, trigger) == event.id:
        return False
    return any(_id(data, ("reminder", str(number))) == event.id for number in range(1, MOST_REMINDERS + 1))


def _id(data: Data, trigger: tuple[str, ...]) -> str:
    return decision_id("enforce", data, trigger, "remove")  # type: ignore[arg-type]  # only its three ids are read


class Ids:
    """The ids seen lately: the last ``most`` distinct ones at least, the last twice ``most`` at most.

    Two generations: when the young one is full it becomes the old one, and the old one is forgotten.

    Attributes:
        forgot: whether any was forgotten.
    """

    def __init__(self, most: int = MOST_IDS) -> None:
        self.forgot = False
        self._most = most
        self._young, self._old = _Marks(), _Marks()

    def add(self, id_: str) -> bool:
        """Remember an id; False where it was known."""
        mark = int.from_bytes(blake2b(id_.encode(errors="surrogatepass"), digest_size=8).digest()) or 1
        if mark in self._young or mark in self._old:
            return False
        if self._young.size >= self._most:
            self.forgot = self.forgot or self._old.size > 0
            self._old, self._young = self._young, _Marks()
        self._young.add(mark)
        return True


class _Marks:
    """A set of positive 64-bit numbers in eight bytes a slot: open addressing, at most two thirds full."""

    __slots__ = ("_mask", "_slots", "size")

    def __init__(self) -> None:
        self.size = 0
        self._make(_FIRST_SLOTS)

    def __contains__(self, mark: int) -> bool:
        return self._slots[self._find(mark)] != 0

    def add(self, mark: int) -> None:
        if 3 * (self.size + 1) > 2 * len(self._slots):
            present = self._slots
            self._make(2 * len(present))
            for held in present:
                if held:
                    self._slots[self._find(held)] = held
        self._slots[self._find(mark)] = mark
        self.size += 1

    def _make(self, slots: int) -> None:
        self._slots = memoryview(bytearray(8 * slots)).cast("Q")
        self._mask = slots - 1

    def _find(self, mark: int) -> int:
        """The slot that holds a mark, or the empty one it belongs into."""
        slots, mask = self._slots, self._mask
        at = mark & mask
        while (held := slots[at]) and held != mark:
            at = (at + 1) & mask
        return at


# -- adding up ---------------------------------------------------------------------------------------------------


class Counts:
    """Decisions added up by some of their aspects.

    Args:
        by: the aspects; the fewer, the fewer rows.
        public: name no owner's document and no owner, since these are private (charter C5): of the policy only its
            scope is kept, of rule and holder nothing.
        most: rows to keep.

    Attributes:
        columns: the names of a key's parts.
        sums: key to decisions.
        unlisted: decisions of further keys, once ``most`` were there.
    """

    def __init__(self, by: Collection[Aspect] = tuple(COLUMNS), *, public: bool = False, most: int = MOST_ROWS) -> None:
        self.columns = tuple(name for aspect, names in COLUMNS.items() if aspect in by for name in names)
        self.sums: dict[Key, int] = {}
        self.unlisted = 0
        self._public = public
        self._most = most

    def add(self, data: Data) -> None:
        """Count a decision that counts (``Sieve``)."""
        aspects = _aspects(data, public=self._public)
        key = tuple([aspects[name] for name in self.columns])
        if key in self.sums or len(self.sums) < self._most:
            self.sums[key] = self.sums.get(key, 0) + 1
        else:
            self.unlisted += 1

    def rows(self) -> list[tuple[Key, int]]:
        """Keys and sums, the greatest first."""
        return ranked(self.sums.items())


def _aspects(data: Data, *, public: bool) -> dict[str, str | None]:
    """A decision by column; the country is the one its rule looked at, so mostly unknown (rulings 22, 34)."""
    reason = data.reason
    if reason is None:
        return dict.fromkeys(("policy", "rule", "outcome", "class", "country", "holder")) | {"verdict": data.verdict}
    country = reason.matched.get("country")
    scope = reason.policy.partition("/")[0]
    private = public and scope != "service"
    return {
        "policy": scope if private else reason.policy,
        "rule": None if private else reason.rule,
        "outcome": reason.outcome,
        "class": reason.class_,
        "verdict": data.verdict,
        "country": country if isinstance(country, str) else None,
        "holder": None if private else reason.holder,
    }


def ranked(sums: Iterable[tuple[Key, int]]) -> list[tuple[Key, int]]:
    """Keys and sums, the greatest first, then by key."""
    return sorted(sums, key=lambda row: (-row[1], tuple(part or "" for part in row[0])))


# -- publishing --------------------------------------------------------------------------------------------------


class Published(msgspec.Struct, frozen=True):
    """What anybody may read: every number is 0, or at least ``FEWEST``, or not told.

    Attributes:
        decisions: all; None where they are too few to tell.
        rows: those that may be told, the greatest first.
        others: decisions of the rows that may not; None where even these together are too few.
    """

    decisions: int | None
    rows: Sequence[tuple[Key, int]]
    others: int | None


def published(rows: Sequence[tuple[Key, int]], unlisted: int = 0) -> Published:
    """Withhold small counts, since a handful of people can be known by theirs.

    Rows below ``FEWEST`` are poured together. Where the sum is itself below it, the smallest row that could be told is
    poured in as well: else the total would tell what was withheld.

    Args:
        rows: from ``Counts.rows``.
        unlisted: decisions without a row.
    """
    told = [row for row in rows if row[1] >= FEWEST]
    others = unlisted + sum(count for _, count in rows if count < FEWEST)
    if 0 < others < FEWEST and told:
        others += told.pop()[1]
    if 0 < others < FEWEST:
        return Published(None, [], None)
    return Published(sum(count for _, count in told) + others, told, others)
