"""C8: decisions are counted, and neither how they are sent nor who publishes them changes the counts.

And the alarm of C2 that is drawn from the same decisions (ruling 38): the ways to aim a service document at one meeting
and not be seen.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.concentration import Day, Finding
from streams.core.counts import Counts, Recorded, Sieve, published
from streams.core.decide import decision_again, judge
from streams.core.events import DecisionEvent
from streams.core.facts import Facts
from streams.core.sessions import begin
from streams.core.sweep import reminder
from tests.recorded import decided, recorded
from tests.samples import NOON, PROPERTY, PROVENANCE, account, event, facts, index, join, located, rule, service

FRANCE, GERMANY, AMERICA = located(country="FR"), located(country="DE"), located(country="US")
LICENSING = account(rules=[rule("remove", {"country": {"not": ["US"]}}, "elsewhere")])
EXPORT = service(rules=[rule("remove", {"country": ["FR", "DE"]}, "listed")])


def reminders(known: Facts, id_: str, count: int) -> list[DecisionEvent]:
    """A removal as its worker says it again while nobody confirms it."""
    documents = index(LICENSING)
    session = begin(event(join(participation=id_), id=id_), known, None, 1, PROVENANCE.geo_build)
    said = []
    for n in range(count):
        judgement, _ = judge(documents, session, known, NOON)
        cause, trigger = reminder(session)
        session.reminders += 1
        at = NOON + 30_000 * (n + 1)
        said.append(
            decision_again(
                session, known, judgement, PROVENANCE, mode="enforce", at=at, cause=cause, trigger=trigger
            )
        )  # fmt: skip
    return said


def counted(events: list[Recorded], *, public: bool = False) -> Counts:
    sieve, counts = Sieve(), Counts(public=public)
    for each in events:
        if sieve.passes(each):
            counts.add(each.data)
    return counts


# -- the counts --------------------------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(facts, max_size=12), st.lists(st.integers(0, 11), max_size=12))
def test_every_decision_is_counted_once_by_what_it_says(crowd: list[Facts], twice: list[int]) -> None:
    documents = index(LICENSING, EXPORT)
    events = [decided(documents, known, str(n)) for n, known in enumerate(crowd)]
    repeated = events + [events[n] for n in twice if n < len(events)]
    expected: Counter[tuple[str | None, ...]] = Counter()
    for made in events:
        why = made.data.reason
        told = (None,) * 4 if why is None else (why.policy, why.rule, why.outcome, why.class_)
        country = None if why is None else why.matched.get("country")
        expected[*told, made.data.verdict, country, None if why is None else why.holder] += 1
    assert counted([recorded(made) for made in repeated]).sums == expected


def test_a_removal_that_is_said_a_hundred_times_is_one() -> None:
    first = decided(index(LICENSING), FRANCE, "p-1")
    events = [first, *reminders(FRANCE, "p-1", 100)]
    assert len({each.id for each in events}) == 101
    assert {each.data.verdict for each in events} == {"remove"}
    assert sum(counted([recorded(each) for each in events]).sums.values()) == 1


def test_no_country_is_counted_where_a_service_document_let_somebody_in() -> None:
    documents = index(service(rules=[rule("alert", {"country": ["FR"]})]))
    ((key, _),) = counted([recorded(decided(documents, FRANCE, "1"))]).rows()
    assert key == ("service/export", "r", "rule", "legal", "alert", None, None)


def test_the_public_counts_name_no_owner_no_meeting_and_nobody() -> None:
    events = [recorded(decided(index(LICENSING), FRANCE, f"p-{n}")) for n in range(30)]
    events += [recorded(decided(index(EXPORT), GERMANY, f"q-{n}")) for n in range(20)]
    counts = counted(events, public=True)
    assert published(counts.rows()).rows == [
        (("account", None, "rule", "owner", "remove", "FR", None), 30),
        (("service/export", "listed", "rule", "legal", "remove", "DE", None), 20),
    ]


def test_the_public_counts_single_nobody_out() -> None:
    events = [recorded(decided(index(EXPORT), FRANCE, f"p-{n}")) for n in range(30)]
    alone = recorded(decided(index(EXPORT), GERMANY, "q"))
    with_one = published(counted([*events, alone], public=True).rows())
    assert (with_one.rows, with_one.others) == ([], 31)


# -- the alarm ---------------------------------------------------------------------------------------------------


def day(events: list[DecisionEvent]) -> list[Finding]:
    sieve, seen = Sieve(), Day()
    for each in map(recorded, events):
        if sieve.passes(each):
            seen.add(each.data, NOON)
    return seen.findings(NOON)


def crowd(known: Facts, count: int, *, document: object = EXPORT, **where: str) -> list[DecisionEvent]:
    """People of one place, who join one meeting or else a meeting each."""
    documents = index(document)  # type: ignore[arg-type]
    some = "-".join(str(part) for part in (known.country, *where.values()))
    return [
        decided(documents, known, f"{some}-{n}", **{"meeting": f"m-{some}-{n}", "account": f"a-{n % 50}"} | where)
        for n in range(count)
    ]


AIMED = crowd(FRANCE, 14, meeting="seminar", account="acme")
ORDINARY = crowd(AMERICA, 400)
NARROW = service(rules=[rule("remove", {"country": ["FR"]}, "narrow"), rule("remove", {"country": ["DE"]}, "broad")])
RENEWED = {**EXPORT, "revision": 2}


@pytest.mark.parametrize(
    "attempt",
    [
        AIMED + ORDINARY,
        AIMED + ORDINARY + crowd(GERMANY, 300),  # many more in another territory of the rule
        crowd(FRANCE, 14, document=NARROW, meeting="seminar", account="acme")
        + crowd(GERMANY, 300, document=NARROW)
        + ORDINARY,  # or by another rule
        AIMED[:7] + crowd(FRANCE, 14, document=RENEWED, meeting="seminar", account="acme")[7:] + ORDINARY,
        AIMED + ORDINARY + crowd(FRANCE, 13),  # nearly as many of the same place elsewhere
        AIMED + AIMED[:1] * 300 + ORDINARY + crowd(FRANCE, 2) * 300,  # a few others, said again and again
    ],
)
def test_a_document_aimed_at_one_meeting_alarms(attempt: list[DecisionEvent]) -> None:
    alarms = [finding for finding in day(attempt) if finding.alarm]
    assert {finding.scope for finding in alarms} == {"meeting", "account"}
    assert {finding.cut.policy for finding in alarms} == {"service/export"}


def test_an_alarm_does_not_say_whose_meeting_it_is() -> None:
    words = msgspec.json.encode([finding for finding in day(AIMED + ORDINARY) if finding.alarm]).decode()
    assert words.count("service/export") == 2
    assert not any(name in words for name in ("seminar", "acme", "p-"))


def test_one_person_whose_removal_is_said_again_raises_no_alarm() -> None:
    first = crowd(FRANCE, 1, meeting="m-1", account="acme")
    assert day(first * 50 + ORDINARY) == []


def test_a_document_that_falls_on_a_territory_alarms_nobody() -> None:
    assert not any(finding.alarm for finding in day(crowd(FRANCE, 60) + crowd(GERMANY, 40) + ORDINARY))
