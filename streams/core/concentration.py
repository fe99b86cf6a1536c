"""The alarm of charter C2: a service document's removals of a day fall on one meeting or one account (ruling 38).

What may live here: counting where removals fall, and the rule that calls a number of them too many. A document that
speaks only of territories can still be written for one meeting, if that is where the people of a territory are. Its
words don't show it; its effects do.

How it works. ``Day`` takes decisions and keeps, by the hour, where service documents removed people and where people
joined. ``findings`` looks at the last day in every cut that a document's author could have aimed with: the whole
document, each of its rules, each value of a fact that a rule looked at. So removals elsewhere, by another rule or in
another territory, don't hide what falls on one meeting here. Where no document stands out, all service documents are
looked at together, so a purpose split over many is seen too. ``concentrated`` is the rule.

What it can't see: fewer removals than ``FEWEST`` a day, and a place made to look usual by whoever can send joins. An
alarm calls for a look and proves nothing: the people of a small territory may all be guests of one account.

Nothing here says which meeting or account it is: that it is one is what has to be looked into, by people who may read
the decisions.

Memory is bounded by documents and hours, not by decisions: a ``Summary`` is exact for a thousand meetings (or accounts)
an hour, and short by a thousandth at most beyond.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from streams.core.counts import Data, Reason
from streams.core.trials import FEWEST

Scope: TypeAlias = Literal["meeting", "account"]

SCOPES: Final[tuple[Scope, ...]] = ("meeting", "account")
HOUR: Final = 3_600_000
"""Milliseconds."""
HOURS: Final = 24
COUNTERS: Final = 1000
CHANCE: Final = 0.001
"""How likely what is alarming may be by chance alone."""
TOGETHER: Final = "service/*"
"""In place of a path: all service documents. No path is like it, since ``*`` is percent-encoded there."""
_FACTS: Final = ("country", "subdivision", "continent", "connection")


def concentrated(fallen: int, removals: int, usual: float) -> bool:
    """Whether removals fall on one meeting or account.

    Three things must hold:

    - there are ``FEWEST`` removals at least: of fewer nobody can tell an aim from an accident, and an alarm would tell
      of a handful of people;
    - the share that falls on it is at least half way from its usual share to all. For a meeting that is one of many it
      is a half, so whoever wants to hide must remove as many others as are meant; for an account with nine tenths of
      all joins it is 95 %;
    - by chance, each removal falling on it as often as a join does, it would come to so many with a probability of at
      most ``CHANCE`` (by Chernoff's bound, which is never less than the exact tail of the binomial distribution).

    Args:
        fallen: removals that fall on it.
        removals: all of them.
        usual: its share of all joins, 0 to 1.
    """
    if removals < FEWEST:
        return False
    share = fallen / removals
    if share <= usual or share < (1 + usual) / 2:
        return False
    return _likely(share, usual) ** removals <= CHANCE


def _likely(share: float, usual: float) -> float:
    """Chernoff's bound for one of many trials: exp(-D), D the divergence of the two shares; ``share`` > ``usual``."""
    rest = 1.0 if share == 1.0 else ((1 - usual) / (1 - share)) ** (1 - share)
    bound: float = (usual / share) ** share * rest
    return bound


class Summary:
    """How often each of many things came, exactly while they are at most ``COUNTERS``, else short by ``error`` at most.

    Misra and Gries, "Finding repeated elements" (1982): with no counter free, all are lowered by one.

    Attributes:
        total: how many came.
        counts: what came most, and how often at least.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.total = 0
        self.counts: dict[Hashable, int] = {}

    def add(self, thing: Hashable) -> None:
        """Count one."""
        self.total += 1
        counts = self.counts
        if thing in counts or len(counts) < COUNTERS:
            counts[thing] = counts.get(thing, 0) + 1
        else:
            self.counts = {each: count - 1 for each, count in counts.items() if count > 1}

    @property
    def error(self) -> int:
        """How many more than ``counts`` says a thing may have come."""
        return self.total // (COUNTERS + 1)


class _Places:
    """Where decisions fell."""

    __slots__ = ("account", "meeting")

    def __init__(self) -> None:
        self.account, self.meeting = Summary(), Summary()

    def add(self, data: Data) -> None:
        self.account.add(data.account)
        self.meeting.add((data.account, data.meeting))

    def of(self, scope: Scope) -> Summary:
        return self.meeting if scope == "meeting" else self.account


class _Cell(NamedTuple):
    """Removals that no cut tells apart."""

    policy: str
    rule: str | None
    facts: tuple[tuple[str, str], ...]


class Cut(NamedTuple):
    """Some of the removals: a document's, one of its rules', or those where a fact that rule looked at had a value."""

    policy: str
    rule: str | None = None
    fact: tuple[str, str] | None = None


class Finding(msgspec.Struct, frozen=True):
    """Where most removals of a cut fall.

    Attributes:
        scope: whether on a meeting or on an account.
        removals: of the cut, in the last day.
        fallen: of these, on the one that most fall on; at least.
        usual: its share of all joins of the day; at most.
        alarm: whether they are ``concentrated``.
    """

    cut: Cut
    scope: Scope
    removals: int
    fallen: int
    usual: float
    alarm: bool

    @property
    def share(self) -> float:
        """Of the removals, 0 to 1."""
        return self.fallen / self.removals


class _Hour:
    __slots__ = ("joins", "removals")

    def __init__(self) -> None:
        self.joins = _Places()
        self.removals: dict[_Cell, _Places] = {}


class Day:
    """The removals and joins of the present hour and the 24 before."""

    def __init__(self) -> None:
        self._hours: dict[int, _Hour] = {}

    def add(self, data: Data, now: int) -> None:
        """Take a decision that counts (``counts.Sieve``).

        Args:
            data: one older than a day is passed over; one from the future, by a clock ahead of ours, is of now.
            now: ms since the epoch.
        """
        at = min(data.at, now) // HOUR
        if at < now // HOUR - HOURS:
            return
        hour = self._hours.get(at)
        if hour is None:
            self._forget(now)
            hour = self._hours[at] = _Hour()
        if data.cause == "join":
            hour.joins.add(data)
        if data.verdict == "remove" and data.reason is not None and data.reason.policy.startswith("service/"):
            cell = _Cell(data.reason.policy, data.reason.rule, _facts(data.reason))
            if cell not in hour.removals:
                hour.removals[cell] = _Places()
            hour.removals[cell].add(data)

    def findings(self, now: int) -> list[Finding]:
        """One a document and scope, of documents that removed ``FEWEST`` or more; sorted.

        It is about the cut with most removals among those that alarm, or else among all, which is the document.
        """
        self._forget(now)
        cuts = self._cuts()
        found: dict[tuple[str, Scope], Finding] = {}
        for cut, places in cuts.items():
            for scope in SCOPES:
                finding = self._finding(cut, places, scope)
                if finding is None:
                    continue
                present = found.get((cut.policy, scope))
                if present is None or (finding.alarm, finding.removals) > (present.alarm, present.removals):
                    found[cut.policy, scope] = finding
        for scope in SCOPES:
            together = found.pop((TOGETHER, scope), None)
            alone = any(finding.alarm for finding in found.values() if finding.scope == scope)
            if together is not None and together.alarm and not alone:
                found[TOGETHER, scope] = together
        return [found[name] for name in sorted(found)]

    def _forget(self, now: int) -> None:
        oldest = now // HOUR - HOURS
        self._hours = {at: hour for at, hour in self._hours.items() if at >= oldest}

    def _cuts(self) -> dict[Cut, list[_Places]]:
        cuts: dict[Cut, list[_Places]] = {}
        for hour in self._hours.values():
            for (policy, rule, facts), places in hour.removals.items():
                by_fact = [Cut(policy, rule, fact) for fact in facts]
                for cut in dict.fromkeys((Cut(TOGETHER), Cut(policy), Cut(policy, rule), *by_fact)):
                    cuts.setdefault(cut, []).append(places)
        return cuts

    def _finding(self, cut: Cut, places: Sequence[_Places], scope: Scope) -> Finding | None:
        summaries = [each.of(scope) for each in places]
        removals = sum(summary.total for summary in summaries)
        if removals < FEWEST:
            return None
        # Of more than COUNTERS things that all came as often, none may be left in the summary.
        (one, fallen), *_ = _merged(summaries).most_common(1) or [(None, 0)]
        usual = self._usual(one, scope)
        return Finding(cut, scope, removals, fallen, usual, concentrated(fallen, removals, usual))

    def _usual(self, one: Hashable, scope: Scope) -> float:
        joins = [hour.joins.of(scope) for hour in self._hours.values()]
        total = sum(summary.total for summary in joins)
        most = sum(summary.counts.get(one, 0) + summary.error for summary in joins)
        return min(1.0, most / total) if total else 0.0


def _facts(reason: Reason) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name in _FACTS if isinstance(value := reason.matched.get(name), str))


def _merged(summaries: Iterable[Summary]) -> Counter[Hashable]:
    merged: Counter[Hashable] = Counter()
    for summary in summaries:
        merged.update(summary.counts)
    return merged
