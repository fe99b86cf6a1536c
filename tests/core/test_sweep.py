"""Which live sessions are decided again, when, in whose turn, and why: the same why whatever sweep comes by."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import instants
from streams.core.decide import decision_again, judge_by
from streams.core.events import Provenance
from streams.core.facts import Facts
from streams.core.index import Index, Revision
from streams.core.policy import Document, Mode
from streams.core.sessions import Session, begin
from streams.core.sweep import (
    EVERYTHING,
    NOTHING,
    Alike,
    Backlog,
    Change,
    Job,
    Reach,
    Timetable,
    Trigger,
    decide_again,
    due,
    reach_of,
    reminder,
)
from streams.core.trials import Tally
from tests.samples import (
    ADMIT,
    ALERT,
    HOUR,
    NOON,
    PROPERTY,
    PROVENANCE,
    REMOVE,
    account,
    event,
    index,
    join,
    located,
    meeting,
    parse,
    revision,
    rule,
    service,
)

HERE, THERE = located(country="US"), located(country="FR")
OLD = PROVENANCE
NEW = msgspec.structs.replace(PROVENANCE, geo_build="country-2026-11-20-0f0f0f0f", geo_time=PROVENANCE.geo_time + 1)
KNOWN = OLD.policy_offset


def hour(n: float) -> int:
    return NOON + int(n * HOUR)


def accepted(value: dict[str, Any], offset: int, at: float = -1, **window: float) -> Revision:
    """A document at an offset, appended at an hour after noon; its window likewise."""
    times = {key: instants.render(hour(n)) for key, n in window.items()}
    return revision({**value, **times}, offset=offset, appended_at=hour(at))


def said(documents: Index, facts: Facts = HERE, at: int = NOON, provenance: Provenance = OLD) -> Session:
    """A session of which a decision was said at noon."""
    session = begin(event(join()), facts, None, 7, provenance.geo_build)
    enforced, reported = judge_by(documents.reaching("acme", "m-1"), session, facts, at)
    session.verdict, session.reported = enforced.verdict, (reported or NOTHING).verdict
    session.policy_offset, session.geo_time, session.decided_at = provenance.policy_offset, provenance.geo_time, at
    return session


def again(
    session: Session, documents: Index, at: int, facts: Facts = HERE, provenance: Provenance = OLD
) -> Change | None:
    return decide_again(session, documents.reaching("acme", "m-1"), facts, provenance, at)


def verdicts(change: Change | None) -> tuple[int | None, int | None] | None:
    if change is None:
        return None
    return change.enforced and change.enforced.verdict, change.reported and change.reported.verdict


def policy(offset: int) -> Trigger:
    return "policy", ("policy", str(offset))


def clock(at: float) -> Trigger:
    return "clock", ("clock", str(hour(at)))


GEO: Trigger = ("geo", ("geo", NEW.geo_build))
CLOSED = account(name="closed", default="remove")
OPEN = account(name="open")
EXPORT = service(rules=[rule("alert", {"country": ["US"]})])
NOT_FR = account(name="licensing", rules=[rule("remove", {"country": ["FR"]})])


# -- sessions that are alike ---------------------------------------------------------------------------------------


def test_sessions_that_are_alike_stand_or_fall_alike() -> None:
    """`stands` says what deciding each on its own says, whoever was asked about before."""
    documents, alike = index(accepted(NOT_FR, 43)), Alike(OLD.geo_build)
    slots = documents.reaching("acme", "m-1")
    host = account(name="hosts", rules=[rule("admit", {"role": ["host"]})], default="remove")
    of_hosts = index(accepted(host, 44)).reaching("acme", "m-2")
    sessions = [said(index(), facts) for facts in (HERE, THERE, HERE, THERE)]
    sessions[2].role = "host"
    for session, with_slots in [(s, w) for w in (slots, of_hosts, slots) for s in (*sessions, *sessions)]:
        expected = decide_again(session, with_slots, session.facts, OLD, NOON) is None
        assert alike.stands(session, with_slots, NOON) == expected


def test_a_session_whose_facts_are_outdated_is_like_no_other() -> None:
    session = said(index())
    assert Alike(OLD.geo_build).stands(session, (), NOON)
    assert not Alike(NEW.geo_build).stands(session, (), NOON)


# -- one session -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "since", "wanted"),
    [
        pytest.param([], [accepted(CLOSED, 50, 1)], policy(50), id="a document"),
        pytest.param([accepted(CLOSED, 40, not_before=1)], [], clock(1), id="a window opens"),
        pytest.param([accepted(CLOSED, 40, not_after=1)], [], clock(1), id="a window closes"),
        pytest.param([accepted(CLOSED, 40, not_before=3, not_after=4)], [accepted(CLOSED | {"name": "b"}, 50, 1)],
                     policy(50), id="one that still waits has no say"),
        pytest.param([accepted(CLOSED, 40)], [accepted(account(name="closed", revision=2, retracted=True), 50, 1)],
                     policy(50), id="retracted"),
        pytest.param([], [accepted(CLOSED, 50, 1, not_before=1.5)], clock(1.5), id="one that waited opens"),
        pytest.param([], [accepted(CLOSED, 50, 1, not_before=-3)], policy(50), id="accepted within its window"),
        pytest.param([], [accepted(CLOSED, 50, 1, not_before=1)], policy(50), id="accepted as its window opens"),
        pytest.param([accepted(CLOSED, 40)], [accepted(CLOSED | {"revision": 2}, 50, 1, not_after=1.5)], clock(1.5),
                     id="accepted, then closed"),
        pytest.param([accepted(CLOSED, 40)], [accepted(CLOSED | {"revision": 2}, 50, 1, not_after=0.5)], policy(50),
                     id="accepted when it was over already"),
        pytest.param([accepted(CLOSED, 40)], [accepted(CLOSED | {"revision": 2, "default": "alert"}, 50, 1)],
                     policy(50), id="another verdict"),
        pytest.param([], [accepted(CLOSED, 50, 1), accepted(OPEN, 51, 1.5)], policy(51), id="the later of two"),
        pytest.param([], [accepted(CLOSED, 51, 1), accepted(OPEN, 50, 1)], policy(51), id="the later of one moment"),
        pytest.param([accepted(OPEN, 40, not_before=1.5)], [accepted(CLOSED, 50, 1)], clock(1.5),
                     id="policy, then clock"),
        pytest.param([accepted(OPEN, 40, not_before=1)], [accepted(CLOSED, 50, 1.5)], policy(50),
                     id="clock, then policy"),
        pytest.param([accepted(CLOSED, 40, not_before=1, not_after=1.5)], [accepted(CLOSED | {"name": "b"}, 50, 1.2)],
                     clock(1.5), id="a window that opened and closed in between"),
        pytest.param([], [accepted(EXPORT, 50, 1)], policy(50), id="of the service"),
        pytest.param([], [accepted(meeting(default="remove"), 50, 1)], policy(50), id="of the meeting"),
    ],
)  # fmt: skip
def test_what_changed_a_verdict(before: list[Revision], since: list[Revision], wanted: Trigger) -> None:
    session = said(index(*before))
    now = index(*before, *since)
    change = again(session, now, hour(2))
    assert change is not None
    assert change.enforced is not None
    assert (change.enforced.verdict, change.reported) == (
        judge_by(now.reaching("acme", "m-1"), session, HERE, hour(2))[0].verdict,
        None,
    )
    assert change.trigger == wanted


@pytest.mark.parametrize("before", [[], [accepted(CLOSED, 40)], [accepted(OPEN, 40, not_before=1)]])
def test_nothing_is_said_where_the_verdict_is_the_same(before: list[Revision]) -> None:
    session = said(index(*before))
    assert again(session, index(*before), hour(2)) is None
    assert again(session, index(*before), hour(2), THERE, NEW) is None
    assert again(session, index(*before, accepted(OPEN | {"name": "new"}, 50, 1)), hour(2)) is None


def test_a_document_of_another_meeting_is_no_cause() -> None:
    session = said(Index())
    theirs = [accepted(meeting(meeting="m-2", default="remove"), 50, 1), accepted(account(account="campus"), 51, 1)]
    assert again(session, index(*theirs), hour(2)) is None
    change = again(session, index(accepted(CLOSED, 49, 1), *theirs), hour(2))
    assert change is not None
    assert change.trigger == policy(49)


def test_an_edge_counts_from_its_own_millisecond() -> None:
    documents = index(accepted(CLOSED, 40, not_before=1))
    session = said(documents)
    assert again(session, documents, hour(1) - 1) is None
    change = again(session, documents, hour(1))
    assert change is not None
    assert (verdicts(change), change.trigger) == ((REMOVE, None), clock(1))
    assert again(said(documents, at=hour(1)), documents, hour(1)) is None


def test_a_new_geo_build() -> None:
    documents = index(accepted(NOT_FR, 40))
    session = said(documents)
    change = again(session, documents, hour(2), THERE, NEW)
    assert change is not None
    assert (verdicts(change), change.trigger) == ((REMOVE, None), GEO)
    assert session == said(documents)


def test_facts_of_the_same_build_that_changed_are_its_cause() -> None:
    """An address that opens again, with a key that came back, say."""
    documents = index(accepted(NOT_FR, 40))
    change = again(said(documents), documents, hour(2), THERE, OLD)
    assert change is not None
    assert change.trigger == ("geo", ("geo", OLD.geo_build))


def test_other_documents_of_the_same_log_are_policy_and_no_two_such_changes_share_an_id() -> None:
    """A trust set that adds a key has a document count that did not, though the log is no longer than it was."""
    without, brought = index(accepted(OPEN, 30)), index(accepted(OPEN, 30), accepted(NOT_FR, 40))
    session = said(without, THERE)
    change = again(session, brought, hour(2), THERE)
    assert change is not None
    assert (verdicts(change), change.trigger) == ((REMOVE, None), ("policy", ("trust", str(NOON))))
    session = said(brought, THERE, at=hour(2))
    change = again(session, without, hour(3), THERE)
    assert change is not None
    assert (verdicts(change), change.trigger) == ((ADMIT, None), ("policy", ("trust", str(hour(2)))))


def test_so_they_are_where_a_rule_reads_the_address() -> None:
    office = account(name="office", rules=[rule("remove", {"network": ["203.0.113.0/24"]})], unknown="admit")
    at_office = msgspec.structs.replace(HERE, address=bytes([203, 0, 113, 9]))
    change = again(said(Index()), index(accepted(office, 40)), hour(2), at_office)
    assert change is not None
    assert (verdicts(change), change.trigger[0]) == ((REMOVE, None), "policy")


def test_a_geo_build_beside_documents_is_the_cause_only_where_they_would_have_left_the_session_as_it_was() -> None:
    before = [accepted(NOT_FR, 40)]
    session = said(index(*before))
    harmless, harsh = accepted(OPEN, 50, 1), accepted(CLOSED, 51, 1)
    for since, wanted in (([harmless], GEO), ([harsh], policy(51)), ([harmless, harsh], policy(51))):
        change = again(session, index(*before, *since), hour(2), THERE, NEW)
        assert change is not None
        assert (verdicts(change), change.trigger) == ((REMOVE, None), wanted)


def test_a_new_build_is_the_cause_where_nothing_else_is_new() -> None:
    """Not even the documents as they are would have left the session as it was, yet none of them changed."""
    documents = index(accepted(NOT_FR, 40, not_before=-1))
    session = said(documents)
    session.verdict = ALERT
    change = again(session, documents, hour(2), HERE, NEW)
    assert change is not None
    assert (verdicts(change), change.trigger) == ((ADMIT, None), GEO)


def test_report_mode_is_decided_again_too() -> None:
    trial = accepted(CLOSED | {"mode": "report"}, 50, 1)
    session = said(Index())
    change = again(session, index(trial), hour(2))
    assert change is not None
    assert (verdicts(change), change.trigger) == ((None, REMOVE), policy(50))
    session = said(index(trial), provenance=msgspec.structs.replace(OLD, policy_offset=50))
    assert session.reported == REMOVE
    ended = accepted(CLOSED | {"revision": 2, "retracted": True}, 60, 1)
    change = again(session, index(trial, ended), hour(2))
    assert change is not None
    assert (verdicts(change), change.trigger) == ((None, ADMIT), policy(60))
    assert change.reported == NOTHING


def test_a_new_build_that_changes_only_a_trial_is_its_cause() -> None:
    trial = accepted(NOT_FR | {"mode": "report"}, 40)
    change = again(said(index(trial)), index(trial), hour(2), THERE, NEW)
    assert change is not None
    assert (verdicts(change), change.trigger) == ((None, REMOVE), GEO)
    later = accepted(CLOSED | {"mode": "report"}, 50, 1)
    change = again(said(index(trial)), index(trial, later), hour(2), THERE, NEW)
    assert change is not None
    assert change.trigger == policy(50)


def test_a_trial_that_is_nobodys_guest_list_is_not_reported() -> None:
    trial = accepted(EXPORT | {"mode": "report"}, 50, 1)
    assert again(said(Index()), index(trial), hour(2)) is None


# -- the same whatever sweep comes by ----------------------------------------------------------------------------


@st.composite
def documents(draw: st.DrawFn) -> list[Revision]:
    """Some revisions of a few paths, one after another in the log from two hours before noon to two after."""
    base = st.sampled_from([CLOSED, OPEN, NOT_FR, meeting(default="alert"), NOT_FR | {"mode": "report", "name": "t"}])
    edge = st.none() | st.integers(-3, 3)
    found, numbers = [], Counter[str]()
    hours = sorted(draw(st.lists(st.sampled_from([-2, -1.5, -1, 0.5, 1, 1.5]), max_size=6)))
    for n, at in enumerate(hours):
        value = draw(base)
        numbers[value["name"] + value["scope"]] += 1
        opens, closes = draw(st.tuples(edge, edge).filter(lambda w: None in w or w[0] < w[1]))
        window = {k: v for k, v in (("not_before", opens), ("not_after", closes)) if v is not None}
        number = {"revision": numbers[value["name"] + value["scope"]]}
        gone = {"retracted": True} if draw(st.integers(0, 4)) == 0 else {}
        first = KNOWN - sum(h < 0 for h in hours) + 1  # those before noon are known at noon, the others not
        found.append(accepted(value | number | gone, first + n, at, **window))
    return found


def ids(session: Session, change: Change | None, facts: Facts, provenance: Provenance, at: int) -> list[str]:
    """Of the decisions that a change puts into words (``streams.agents.sweeps``)."""
    found = []
    modes: tuple[tuple[Mode, Any], ...] = ()
    if change is not None:
        modes = (("enforce", change.enforced), ("report", change.reported))
    for mode, judgement in modes:
        if judgement is not None:
            assert change is not None
            cause, trigger = change.trigger
            made = decision_again(session, facts, judgement, provenance, mode=mode, at=at, cause=cause, trigger=trigger)
            assert made.data.cause == cause == trigger[0]
            found.append(made.id)
    return found


@settings(PROPERTY, max_examples=300)
@given(documents(), st.randoms(use_true_random=False), st.sampled_from([0, 1, 2, 3, 4]), st.booleans())
def test_a_sweep_run_again_or_late_gives_the_same_ids_whatever_order_documents_came_in(
    revisions: list[Revision], chance: Any, n: int, moved: bool
) -> None:
    session = said(index(*(r for r in revisions if r.offset <= KNOWN)))
    facts, provenance = (THERE, NEW) if moved else (HERE, OLD)
    at, before = hour(n), msgspec.structs.replace(session)
    shuffled = list(revisions)
    chance.shuffle(shuffled)
    one, other = index(*revisions), index(*shuffled)
    for asked in (hour(-4), hour(9), hour(0)):  # a slot remembers its last answer
        again(session, other, asked, facts, provenance)
    first = again(session, one, at, facts, provenance)
    assert again(session, other, at, facts, provenance) == first
    crashed = again(session, other, at + HOUR - 1, facts, provenance)  # no window has an edge within
    assert ids(session, crashed, facts, provenance, at + HOUR - 1) == ids(session, first, facts, provenance, at)
    assert session == before


@PROPERTY
@given(documents(), st.sampled_from([2, 3]), st.booleans())
def test_a_session_that_was_spoken_of_is_left_alone_by_the_next_sweep(
    revisions: list[Revision], n: int, moved: bool
) -> None:
    session = said(index(*(r for r in revisions if r.offset <= KNOWN)))
    facts, provenance = (THERE, NEW) if moved else (HERE, OLD)
    change = again(session, index(*revisions), hour(n), facts, provenance)
    found = verdicts(change) or (None, None)
    session.verdict = session.verdict if found[0] is None else found[0]
    session.reported = session.reported if found[1] is None else found[1]
    assert again(session, index(*revisions), hour(n), facts, provenance) is None
    fresh = said(index(*revisions), facts, hour(n), provenance)
    assert (session.verdict, session.reported) == (fresh.verdict, fresh.reported)


def test_several_documents_in_one_sweep_have_the_id_of_the_one_that_did_it() -> None:
    """One after another, only the last changes the verdict; all at once, it is the last too."""
    session = said(Index())
    values = [accepted(OPEN, 50, 1), accepted(NOT_FR, 51, 1), accepted(CLOSED, 52, 1)]
    prompt = [again(session, index(*values[:n]), hour(1.5)) for n in (1, 2, 3)]
    assert prompt[:2] == [None, None]
    assert ids(session, prompt[2], HERE, OLD, hour(1.5)) == ids(
        session, again(session, index(*values), hour(2)), HERE, OLD, hour(2)
    )


def test_a_reminder_never_has_the_number_of_another() -> None:
    session = said(index(accepted(CLOSED, 40)))
    numbers = []
    for cause in ("join", "policy", "clock"):
        session.cause = cause
        assert reminder(session) == reminder(session)
        assert reminder(session)[0] == cause
        numbers.append(reminder(session)[1])
        session.reminders += 1
        session.verdict, session.removed_at = ADMIT, 0  # let back in, and removed once more
        session.verdict, session.removed_at = REMOVE, NOON
    assert numbers == [("reminder", "1"), ("reminder", "2"), ("reminder", "3")]


# -- the clock ---------------------------------------------------------------------------------------------------


def waiting(opens: int | None, closes: int | None, who: str | None, where: str | None = None) -> Document:
    path = "/".join(filter(None, [who, where])) or "service"
    return msgspec.structs.replace(
        parse(account()), account=who, meeting=where, path=path, not_before=opens, not_after=closes
    )


names = st.text(st.characters(exclude_characters="\U0010ffff"), min_size=1, max_size=3) | st.sampled_from(
    ["ä", "\U0001f6aa", "\uffff", "z", "é/ü"]
)
waits = st.builds(
    waiting, st.none() | st.integers(-5, 5), st.none() | st.integers(-5, 5), st.none() | names, st.none() | names
).filter(lambda d: d.meeting is None or d.account is not None)


@settings(PROPERTY, max_examples=400)
@given(st.lists(waits, max_size=8), st.integers(-6, 6), st.integers(-6, 6))
def test_a_clock_that_went_from_one_instant_to_another_passes_the_edges_between(
    documents: list[Document], then: int, now: int
) -> None:
    timetable = Timetable()
    for document in documents:
        timetable.add(document)
    # A window [opens, closes) looks different at two instants where just one of them is at or past an edge.
    passed = {
        reach_of(d)
        for d in documents
        for edge in (d.not_before, d.not_after)
        if edge is not None and (edge <= then) != (edge <= now)
    }
    found = timetable.between(then, now)
    assert timetable.between(now, then) == found
    assert len(found) == len(passed)
    assert set(found) == passed


def test_an_account_named_by_the_last_code_point_waits_no_longer_than_others() -> None:
    timetable = Timetable()
    timetable.add(waiting(NOON, None, "\U0010ffff"))
    assert timetable.between(NOON - 1, NOON) == [Reach("\U0010ffff")]
    assert timetable.between(NOON, NOON + 1) == []


def test_every_edge_is_passed_once_however_time_is_cut() -> None:
    timetable = Timetable()
    for document in (
        waiting(NOON, NOON + 5, "acme"),
        waiting(NOON, None, "campus", "m-1"),
        waiting(None, NOON + 5, None),
    ):
        timetable.add(document)
    ticks = [NOON - 2, NOON - 1, NOON, NOON, NOON + 1, NOON + 4, NOON + 5, NOON + 9]
    found = [timetable.between(then, now) for then, now in pairwise(ticks)]
    assert found == [
        *([], [Reach("acme"), Reach("campus", "m-1")], [], [], []),
        *([EVERYTHING, Reach("acme")], []),
    ]


def test_a_retraction_has_no_edges() -> None:
    timetable = Timetable()
    timetable.add(accepted(account(retracted=True), 1, not_before=1, not_after=2).document)
    assert timetable.between(hour(-9), hour(9)) == []


def test_the_next_end_is_that_of_a_document_in_force() -> None:
    timetable, index = Timetable(), Index()
    first = accepted(account(name="a"), 1, not_after=2)
    superseded = accepted(account(name="b"), 2, not_after=1)
    latest = accepted(account(name="b", revision=2), 3, not_after=3)
    for each in (first, superseded, latest):
        timetable.add(each.document)
        index.put(each)
    assert [timetable.next_end(hour(n), index) for n in (0, 1, 2, 3)] == [hour(2), hour(2), hour(3), None]
    timetable.add(superseded.document)
    timetable.add(accepted(account(name="c"), 4, not_after=9).document)
    assert timetable.next_end(hour(0), index) is None, "none that the index has"


# -- what is due -------------------------------------------------------------------------------------------------


def test_what_a_document_reaches() -> None:
    assert reach_of(parse(service())) == EVERYTHING == Reach(None, None)
    assert reach_of(parse(account())) == Reach("acme")
    assert reach_of(parse(meeting())) == Reach("acme", "m-1")


def test_what_is_due_for_a_batch_of_documents() -> None:
    enforced, trial = revision(account()), revision(account(name="t", mode="report"))
    ended = revision(meeting(mode="report", revision=2, retracted=True))
    other = revision(service(mode="report"))
    assert due([enforced, trial, ended, other]) == {
        Reach("acme"): [trial],
        Reach("acme", "m-1"): [],
        EVERYTHING: [other],
    }
    assert due([]) == {}


def test_an_empty_backlog() -> None:
    backlog = Backlog()
    assert (len(backlog), backlog.next(), backlog.swept(2**62)) == (0, None, True)


def finish(backlog: Backlog) -> list[Reach]:
    """Work it off; each job is done in one turn."""
    found = []
    while (job := backlog.next()) is not None:
        found.append(job.reach)
        backlog.done(job)
    return found


def test_an_account_with_a_thousand_meetings_takes_one_turn_in_each_round() -> None:
    backlog = Backlog()
    for n in range(1_000):
        backlog.add(Reach("acme", f"m-{n}"), n)
    backlog.add(Reach("campus"), 1_000)
    backlog.add(EVERYTHING, 1_001)
    order = finish(backlog)
    assert order[:3] == [Reach("acme", "m-0"), Reach("campus"), EVERYTHING]
    assert order[3:] == [Reach("acme", f"m-{n}") for n in range(1, 1_000)]


reaches = st.builds(Reach, st.sampled_from("abc"), st.none() | st.sampled_from("xyz")) | st.just(EVERYTHING)


@PROPERTY
@given(st.lists(reaches | st.integers(1, 3), max_size=60))
def test_between_two_turns_of_an_account_no_other_has_more_than_one(steps: list[Reach | int]) -> None:
    """A number is a turn that leaves as many slices to do as it says; a reach is asked for."""
    backlog = Backlog()
    since: dict[str | None, Counter[str | None]] = {}
    left: dict[Reach, int] = {}
    for offset, step in enumerate(steps):
        if isinstance(step, Reach):
            backlog.add(step, offset)
            since.setdefault(step.account, Counter())
            left.setdefault(step, 1 + offset % 3)
            continue
        job = backlog.next()
        assert (job is None) == (not left)
        if job is None:
            continue
        del since[job.reach.account]
        for turns in since.values():
            turns[job.reach.account] += 1
            assert turns[job.reach.account] == 1
        left[job.reach] -= 1
        if not left[job.reach]:
            del left[job.reach]
            backlog.done(job)
        if any(reach.account == job.reach.account for reach in left):
            since[job.reach.account] = Counter()
        assert len(backlog) == len(left)
    assert len(set(finish(backlog))) == len(left)


def test_the_sweeps_of_an_account_take_turns_among_themselves() -> None:
    backlog = Backlog()
    for where in ("m-1", "m-2", None):
        backlog.add(Reach("acme", where), 1)
    turns = [backlog.next() for _ in range(6)]
    assert [job and job.reach.meeting for job in turns] == ["m-1", "m-2", None] * 2


def next_of(backlog: Backlog) -> Job:
    job = backlog.next()
    assert job is not None
    return job


def test_what_reaches_the_same_sessions_is_one_walk() -> None:
    backlog = Backlog()
    for offset in (9, 7, 8):
        backlog.add(Reach("acme"), offset)
    assert len(backlog) == 1
    assert next_of(backlog).offset == 7
    assert finish(backlog) == [Reach("acme")]


def test_one_that_is_asked_for_while_under_way_starts_anew() -> None:
    backlog = Backlog()
    backlog.add(Reach("acme"), 7)
    job = next_of(backlog)
    job.walk = iter("sessions")
    backlog.add(Reach("acme"), 8)
    assert job.again
    backlog.done(job)
    assert (len(backlog), job.again, job.walk, job.offset) == (1, False, None, 7)
    assert next_of(backlog) is job
    job.walk = iter("sessions")
    backlog.done(job)
    assert (len(backlog), backlog.next()) == (0, None)


def test_a_document_counts_as_swept_once_nothing_up_to_it_is_due() -> None:
    backlog = Backlog()
    backlog.add(Reach("acme"), 7)
    backlog.add(Reach("campus"), 9)
    assert [backlog.swept(n) for n in (6, 7, 8, 9)] == [True, False, False, False]
    backlog.done(next_of(backlog))
    assert [backlog.swept(n) for n in (6, 7, 8, 9)] == [True, True, True, False]
    backlog.done(next_of(backlog))
    assert backlog.swept(9)


def told(job: Job) -> dict[str, tuple[int, int | None]]:
    """Each trial's revision and how many sessions it counted."""
    return {path: (trial.document.revision, tally.trial(trial).sessions) for path, (trial, tally) in job.trials.items()}


def test_a_trial_is_counted_from_the_start_of_a_walk() -> None:
    one, two = (revision(account(name=name, mode="report")) for name in ("one", "two"))
    second = revision(account(name="two", mode="report", revision=2))
    backlog = Backlog()
    backlog.add(Reach("acme"), 7, [one])
    job = next_of(backlog)
    job.walk = iter("sessions")
    count(job.trials["account/acme/one"][1])
    backlog.add(Reach("acme"), 8, [two])
    for _, tally in job.trials.values():
        count(tally)
    assert told(job) == {"account/acme/one": (1, 2), "account/acme/two": (1, 1)}
    backlog.add(Reach("acme"), 9, [second])
    assert told(job) == {"account/acme/one": (1, 2), "account/acme/two": (2, 0)}
    backlog.done(job)
    assert told(job) == {"account/acme/one": (1, 0), "account/acme/two": (2, 0)}


def count(tally: Tally) -> None:
    tally.add("acme", "m-1", REMOVE, ADMIT)
