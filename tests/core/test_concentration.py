"""Where a service document's removals of a day fall, and the rule that calls it an alarm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.concentration import CHANCE, COUNTERS, HOUR, TOGETHER, Cut, Day, Finding, Summary, concentrated
from streams.core.trials import FEWEST
from tests.recorded import made
from tests.samples import DAY, NOON, PROPERTY

EXPORT = "service/export"
shares = st.floats(0, 1)
removals = st.integers(0, 3000)


# -- the rule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fallen", "of", "usual", "alarm"),
    [
        (10, 10, 0.0, True),
        (9, 9, 0.0, False),  # too few to judge
        (10, 20, 0.0, True),  # as many others as are meant
        (11, 20, 0.001, True),
        (9, 20, 0.001, False),
        (90, 100, 0.9, False),  # a large account, hit as it is used
        (100, 100, 0.9, True),  # a large account, and nobody else in a hundred
        (10, 10, 0.9, False),  # which may be chance among ten
        (10, 10, 0.5, True),
        (500, 500, 1.0, False),  # there is only this one
        (2_000_000, 2_000_000, 0.001, True),
        (1_999_999, 2_000_000, 0.999, True),
    ],
)
def test_what_alarms(fallen: int, of: int, usual: float, alarm: bool) -> None:
    assert concentrated(fallen, of, usual) is alarm


@PROPERTY
@given(removals, removals, shares, shares)
def test_more_of_them_or_a_smaller_place_never_ends_an_alarm(fallen: int, of: int, usual: float, less: float) -> None:
    fallen, of = sorted((fallen, of))
    if concentrated(fallen, of, usual):
        assert concentrated(fallen + 1, of + 1, usual)
        assert concentrated(min(fallen + 1, of), of, usual)
        assert concentrated(fallen, of, usual * less)


@PROPERTY
@given(st.integers(FEWEST, 3000), st.floats(0, 0.1), st.data())
def test_whoever_hides_a_meeting_removes_as_many_others(aimed: int, usual: float, data: st.DataObject) -> None:
    others = data.draw(st.integers(0, int(aimed * (1 - 2 * usual))))
    share = aimed / (aimed + others)
    if share >= (1 + usual) / 2 and aimed >= 20:
        assert concentrated(aimed, aimed + others, usual)
    assert not concentrated(aimed, 2 * aimed + 1, usual)


@PROPERTY
@given(st.integers(FEWEST, 80), st.floats(0.001, 0.999))
def test_chance_alone_alarms_once_in_a_thousand(of: int, usual: float) -> None:
    alarming = (k for k in range(of + 1) if concentrated(k, of, usual))
    assert sum(comb(of, k) * usual**k * (1 - usual) ** (of - k) for k in alarming) <= CHANCE


# -- counting in a bounded space ---------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(st.integers(0, 40), max_size=300))
def test_a_summary_of_few_things_is_exact(things: list[int]) -> None:
    summary = Summary()
    for thing in things:
        summary.add(thing)
    assert (summary.counts, summary.total, summary.error) == (Counter(things), len(things), 0)


def test_a_summary_of_many_things_is_small_and_short_by_its_error_at_most() -> None:
    summary, exact = Summary(), Counter[int]()
    for n in range(20_000):
        thing = 0 if n % 4 == 0 else n
        summary.add(thing)
        exact[thing] += 1
    assert len(summary.counts) <= COUNTERS
    assert 0 < summary.error <= 20_000 // COUNTERS
    assert all(exact[thing] - summary.error <= count <= exact[thing] for thing, count in summary.counts.items())
    assert summary.counts[0] >= exact[0] - summary.error


# -- a day -------------------------------------------------------------------------------------------------------


class Told:
    """Decisions handed to a day; without names each is in a meeting of its own, in one of a hundred accounts."""

    def __init__(self) -> None:
        self.day = Day()
        self.ids: Iterator[int] = iter(range(10**9))

    def joins(self, count: int, *, meeting: str = "", account: str = "", at: int = NOON) -> None:
        for _ in range(count):
            n, where = self._where(meeting, account)
            self.day.add(made(str(n), at=at, **where).data, NOON)

    def removes(
        self, count: int, policy: str = EXPORT, rule: str = "listed", *, meeting: str = "", account: str = "",
        country: str = "BV", at: int = NOON,
    ) -> None:  # fmt: skip
        for _ in range(count):
            n, where = self._where(meeting, account)
            told = made(str(n), policy=policy, rule=rule, matched={"country": country, "asn": None}, at=at, **where)
            told.data.cause = "clock"
            self.day.add(told.data, NOON)

    def _where(self, meeting: str, account: str) -> tuple[int, dict[str, str]]:
        n = next(self.ids)
        return n, {"meeting": meeting or f"m-{n}", "account": account or ("acme" if meeting else f"a-{n % 100}")}

    def alarms(self, now: int = NOON) -> list[tuple[str, Cut]]:
        return [(finding.scope, finding.cut) for finding in self.day.findings(now) if finding.alarm]


def test_removals_on_one_meeting_alarm_and_so_does_its_account() -> None:
    told = Told()
    told.joins(1000)
    told.removes(12, meeting="lab")
    told.removes(3)
    assert told.day.findings(NOON) == [
        Finding(Cut(EXPORT), "account", 15, 12, 0.0, True),
        Finding(Cut(EXPORT), "meeting", 15, 12, 0.0, True),
    ]
    assert told.day.findings(NOON)[0].share == 0.8


def test_removals_over_many_meetings_of_one_account_alarm_for_the_account() -> None:
    told = Told()
    told.joins(1000)
    told.removes(30, account="acme")
    assert told.alarms() == [("account", Cut(EXPORT))]
    assert [(finding.scope, finding.fallen) for finding in told.day.findings(NOON)] == [("account", 30), ("meeting", 1)]


def test_an_account_with_most_joins_has_most_removals_and_nobody_is_alarmed() -> None:
    told = Told()
    told.joins(900, account="acme")
    told.joins(100)
    told.removes(180, account="acme")
    told.removes(20)
    assert told.alarms() == []


def test_removals_by_another_rule_hide_nothing() -> None:
    told = Told()
    told.joins(1000)
    told.removes(500, rule="broad")
    told.removes(20, rule="narrow", meeting="lab")
    assert told.alarms() == [("account", Cut(EXPORT, "narrow")), ("meeting", Cut(EXPORT, "narrow"))]


def test_removals_in_another_territory_of_the_same_rule_hide_nothing() -> None:
    told = Told()
    told.joins(1000)
    told.removes(500, country="BV")
    told.removes(20, country="HM", meeting="lab")
    aimed = Cut(EXPORT, "listed", ("country", "HM"))
    assert told.alarms() == [("account", aimed), ("meeting", aimed)]


def test_a_purpose_split_over_many_documents_is_seen() -> None:
    told = Told()
    told.joins(1000)
    for n in range(6):
        told.removes(FEWEST - 1, policy=f"service/part-{n}", meeting="lab")
    assert told.alarms() == [("account", Cut(TOGETHER)), ("meeting", Cut(TOGETHER))]


def test_documents_together_are_not_told_where_one_alone_alarms_or_none_does() -> None:
    told = Told()
    told.joins(1000)
    told.removes(20, meeting="lab")
    told.removes(5, policy="service/other", meeting="lab")
    assert told.alarms() == [("account", Cut(EXPORT)), ("meeting", Cut(EXPORT))]


def test_owners_removals_are_their_own_business() -> None:
    told = Told()
    told.removes(50, policy="account/acme/licensing", meeting="lab")
    assert told.day.findings(NOON) == []


def test_a_day_is_the_present_hour_and_24_before() -> None:
    told = Told()
    told.removes(20, meeting="lab", at=NOON - DAY)
    told.removes(5, meeting="lab", at=NOON - DAY - 1)  # of an hour that is over
    told.removes(3, meeting="lab", at=NOON + 2 * DAY)  # a clock ahead of ours: it counts now
    assert [finding.removals for finding in told.day.findings(NOON)] == [23, 23]
    assert [finding.removals for finding in told.day.findings(NOON + HOUR - 1)] == [23, 23]
    assert told.day.findings(NOON + HOUR) == []


def test_what_is_over_is_forgotten_as_new_hours_come() -> None:
    told = Told()
    told.removes(20, meeting="lab")
    later = NOON + 25 * HOUR
    for n in range(FEWEST):
        told.day.add(made(f"later-{n}", policy=EXPORT, meeting=f"l-{n}", at=later).data, later)
    assert {finding.removals for finding in told.day.findings(later)} == {FEWEST}


def test_without_joins_every_place_is_one_of_many() -> None:
    told = Told()
    told.removes(FEWEST, meeting="lab")
    assert [finding.usual for finding in told.day.findings(NOON)] == [0.0, 0.0]


def test_more_meetings_than_a_summary_holds_alarm_nobody() -> None:
    told = Told()
    told.removes(COUNTERS + 1)  # one each: none is left in the summary
    found = {finding.scope: finding for finding in told.day.findings(NOON)}
    assert (found["meeting"].fallen, found["meeting"].alarm) == (0, False)
