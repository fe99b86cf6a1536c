"""Any order and repetition of a participation's events ends in the same state; and whose a live meeting is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.core.events import Cause, JoinEvent, Role, Stage
from streams.core.facts import NOTHING_KNOWN, Facts
from streams.core.policy import path_of
from streams.core.sessions import AccountMismatch, Ended, Meeting, Session, Sessions, begin, moment, renew
from tests.samples import HOUR, NOON, PROPERTY, event, join, located

BUILD = "country-2026-06-17-1a2b3c4d"
LATENESS = 6 * HOUR
PLACES = {"203.0.113.9": located(country="US"), "2001:db8::9": located(country="FR", asn=7), "here": NOTHING_KNOWN}
"""Addresses and the facts of them; the last is none."""
SEALED = {"203.0.113.9": b"\x01\x09", "2001:db8::9": b"\x02\x09", "here": None}


class Whose(NamedTuple):
    """A participation."""

    account: str = "acme"
    meeting: str = "m-1"
    participation: str = "p-1"

    @property
    def subject(self) -> bytes:
        return path_of(*self).encode()


class Said(NamedTuple):
    """What a join or update says; None for what it leaves out."""

    id: str
    source: str
    sequence: int | None
    time: int | None
    address: str
    role: Role
    stage: Stage

    @property
    def newness(self) -> tuple[Any, ...]:
        """Design §5, read aloud: by sequence; without one by time and id. The rest only makes it total."""
        by_sequence = (0, 0) if self.sequence is None else (1, self.sequence)
        by_time = (0, 0) if self.time is None else (1, self.time)
        return (*by_sequence, *by_time, self.id, self.source)

    def event(self, whose: Whose, cause: Cause = "join") -> JoinEvent:
        data = join(**whose._asdict(), address=self.address, role=self.role, stage=self.stage, sequence=self.sequence)
        at = None if self.time is None else datetime.fromtimestamp(NOON // 1000, UTC) + timedelta(hours=self.time)
        return event(data, type=f"doorward.{cause}.v1", source=self.source, id=self.id, time=at)


class Record(NamedTuple):
    """An event where it stands in ``joins``; one that is sent twice stands there twice."""

    offset: int
    whose: Whose
    said: Said | None
    """None: a leave."""


def deliver(view: Sessions, record: Record) -> None:
    """What a worker does with a record (``streams.agents.sessions``), but for deciding it."""
    whose, said = record.whose, record.said
    if said is None:
        try:
            session = view.find(*whose)
        except AccountMismatch:
            session = None
        view.end(whose.subject, session, Ended(record.offset, NOON + record.offset + LATENESS))
    elif whose.subject not in view.ended:
        known, event = view.find(*whose), said.event(whose)
        facts, sealed = PLACES[said.address], SEALED[said.address]
        if known is None:
            view.add(begin(event, facts, sealed, record.offset, BUILD))
        else:
            session = msgspec.structs.replace(known)
            renew(session, event, facts, sealed, record.offset, BUILD)
            view.add(session)


State = tuple[Any, ...] | Ended | None


def state(view: Sessions, whose: Whose) -> State:
    ended = view.ended.get(whose.subject)
    session = view.find(*whose)
    if ended is not None:
        assert session is None
        return ended
    if session is None:
        return None
    return (session.role, session.stage, session.facts, session.sealed, session.moment, session.offset)


def naive(records: Iterable[Record]) -> State:
    """The state by design §5, from the whole set of a participation's records at once."""
    records = list(records)
    leaves = [r.offset for r in records if r.said is None]
    if leaves:
        return Ended(max(leaves), NOON + max(leaves) + LATENESS)
    said = [(r.said, r.offset) for r in records if r.said is not None]
    if not said:
        return None
    newest = max(s.newness for s, _ in said)
    ones = [(s, offset) for s, offset in said if s.newness == newest]
    # the same event has the same content, unless a backend broke the rule: then any choice does that all workers make
    one = max((s for s, _ in ones), key=lambda s: (s.role, s.stage, SEALED[s.address] or b""))
    place = moment(one.event(Whose()))
    return (one.role, one.stage, PLACES[one.address], SEALED[one.address], place, max(offset for _, offset in ones))


says = st.builds(
    Said,
    id=st.sampled_from("abé"),
    source=st.sampled_from(["/edge/eu-1", "/edge/us-1"]),
    sequence=st.none() | st.integers(-2, 2),
    time=st.none() | st.integers(-1, 1),
    address=st.sampled_from(sorted(PLACES)),
    role=st.sampled_from(["host", "cohost", "participant", "guest"]),
    stage=st.sampled_from(["lobby", "live"]),
)


@st.composite
def deliveries(draw: st.DrawFn, whose: list[Whose], leave: st.SearchStrategy[bool]) -> list[list[Record]]:
    """Two orders in which the same records come, each with some of them once more."""
    sent = draw(st.lists(st.tuples(st.sampled_from(whose), says), min_size=1, max_size=6))
    sent += [(w, None) for w in whose if draw(leave)]
    sent += draw(st.lists(st.sampled_from(sent), max_size=3))  # sent again: another record of the same event
    records = [Record(offset, w, said) for offset, (w, said) in enumerate(draw(st.permutations(sent)))]
    again = st.lists(st.sampled_from(records), max_size=4)
    return [draw(st.permutations(records + draw(again))) for _ in range(2)]


@settings(PROPERTY, max_examples=400)
@given(deliveries([Whose()], st.booleans()))
def test_every_order_and_repetition_of_a_participations_events_ends_in_the_same_state(
    orders: list[list[Record]],
) -> None:
    views = [Sessions() for _ in orders]
    for view, records in zip(views, orders, strict=True):
        for record in records:
            deliver(view, record)
    assert state(views[0], Whose()) == state(views[1], Whose()) == naive(orders[0])


ROOMS = [Whose(a, m, p) for a, m in (("acme", "m-1"), ("acme", "m/2"), ("campus", "m 3")) for p in ("p-1", "p-2")]


@PROPERTY
@given(deliveries(ROOMS, st.integers(0, 2).map(lambda n: n == 0)))
def test_participations_do_not_touch_each_other_whatever_comes_between(orders: list[list[Record]]) -> None:
    for records in orders:
        view = Sessions()
        for record in records:
            deliver(view, record)
        assert {w: state(view, w) for w in ROOMS} == {w: naive(r for r in records if r.whose == w) for w in ROOMS}
        live = {(s.account, s.meeting, s.participation) for s in view}
        assert live == {w for w in ROOMS if isinstance(state(view, w), tuple)}
        assert len(view) == len(live)


def test_a_sequence_outranks_every_time() -> None:
    """By sequence where both have one, by time where neither has: three events must not go round in a circle."""
    late_first = Said("a", "/edge", 1, 9, "here", "host", "live")
    early_second = Said("b", "/edge", 2, 1, "here", "host", "live")
    between = Said("c", "/edge", None, 5, "here", "host", "live")
    ordered = sorted((late_first, early_second, between), key=lambda said: moment(said.event(Whose())))
    assert ordered == [between, late_first, early_second]


def test_an_event_with_no_time_is_older_than_any_of_1970() -> None:
    old = datetime(1960, 1, 1, tzinfo=UTC)
    assert moment(event(time=None, id="z")) < moment(event(time=old, id="a"))


def test_an_older_update_changes_nothing() -> None:
    newest = Said("b", "/edge", 5, None, "203.0.113.9", "host", "live").event(Whose())
    session = begin(newest, PLACES["203.0.113.9"], b"\x01\x09", 7, BUILD)
    before = msgspec.structs.replace(session)
    older = Said("c", "/edge", 4, None, "here", "guest", "lobby").event(Whose(), "update")
    assert renew(session, older, NOTHING_KNOWN, None, 8, "newer") is False
    assert session == before


def test_a_newer_update_is_what_counts_and_leaves_what_was_said() -> None:
    first = Said("a", "/edge", 1, None, "203.0.113.9", "guest", "lobby").event(Whose())
    session = begin(first, PLACES["203.0.113.9"], b"\x01\x09", 7, BUILD)
    assert (session.cause, session.policy_offset, session.verdict, session.removed_at) == ("join", -1, 0, 0)
    session.verdict, session.removed_at, session.reminders = 2, NOON, 3
    later = Said("b", "/edge/2", 2, 1, "2001:db8::9", "host", "live").event(Whose(), "update")
    assert renew(session, later, PLACES["2001:db8::9"], b"\x02\x09", 5, "newer") is True
    assert (session.role, session.stage, session.sealed, session.geo_build) == ("host", "live", b"\x02\x09", "newer")
    assert (session.offset, session.id, session.source, session.time) == (5, "b", "/edge/2", NOON + HOUR)
    assert session.moment == moment(later)
    assert (session.verdict, session.removed_at, session.reminders) == (2, NOON, 3)


def test_the_same_event_sent_again_counts_once_at_its_last_place() -> None:
    said = Said("a", "/edge", 1, None, "203.0.113.9", "guest", "lobby").event(Whose())
    session = begin(said, PLACES["203.0.113.9"], b"\x01\x09", 7, BUILD)
    for offset, wanted in ((9, 9), (8, 9)):
        assert renew(session, said, PLACES["203.0.113.9"], b"\x01\x09", offset, "newer") is False
        assert (session.offset, session.geo_build) == (wanted, BUILD)


# -- the view against a set that forgets nothing -----------------------------------------------------------------

anybody = st.builds(Whose, st.sampled_from(["acme", "campus"]), st.sampled_from(["m-1", "m-2"]), st.sampled_from("pq"))


class Remembering(RuleBasedStateMachine):
    """A view beside the set of all records it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.view = Sessions()
        self.records: list[Record] = []
        self.model: defaultdict[Whose, list[Record]] = defaultdict(list)

    def live(self) -> dict[Whose, list[Record]]:
        return {w: records for w, records in self.model.items() if isinstance(naive(records), tuple)}

    def owner(self, meeting: str) -> str | None:
        return next((w.account for w in self.live() if w.meeting == meeting), None)

    def give(self, record: Record) -> None:
        whose = record.whose
        ended = isinstance(naive(self.model[whose]), Ended)
        if record.said is not None and not ended and self.owner(whose.meeting) not in (None, whose.account):
            with pytest.raises(AccountMismatch, match="another account's"):
                deliver(self.view, record)
            return
        deliver(self.view, record)
        self.model[whose].append(record)

    @rule(whose=anybody, said=says)
    def joins(self, whose: Whose, said: Said) -> None:
        self.records.append(Record(len(self.records), whose, said))
        self.give(self.records[-1])

    @rule(whose=anybody)
    def leaves(self, whose: Whose) -> None:
        self.records.append(Record(len(self.records), whose, None))
        self.give(self.records[-1])

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def comes_again(self, data: st.DataObject) -> None:
        self.give(data.draw(st.sampled_from(self.records)))

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def outlives_its_time(self, data: st.DataObject) -> None:
        whose = data.draw(st.sampled_from(sorted(self.live())))
        session = self.view.find(*whose)
        assert session is not None
        self.view.drop(session)
        assert not self.view.holds(session)
        del self.model[whose]

    @invariant()
    def remembers_what_the_set_says(self) -> None:
        live = self.live()
        assert len(self.view) == len(live)
        seen = [Whose(s.account, s.meeting, s.participation) for s in self.view]
        assert sorted(seen) == sorted(live)
        assert {w: state(self.view, w) for w in live} == {w: naive(records) for w, records in live.items()}
        ended = {w.subject: naive(r) for w, r in self.model.items() if isinstance(naive(r), Ended)}
        assert self.view.ended == ended
        assert sorted(self.view.accounts) == sorted({w.account for w in live})
        for account in ("acme", "campus"):
            rooms = {m.id: set(m.sessions) for m in self.view.meetings(account)}
            wanted: defaultdict[str, set[str]] = defaultdict(set)
            for w in live:
                if w.account == account:
                    wanted[w.meeting].add(w.participation)
            assert rooms == wanted


TestRemembering = Remembering.TestCase
TestRemembering.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)


# -- looking -----------------------------------------------------------------------------------------------------


def begun(
    account: str = "acme", meeting: str = "m-1", participation: str = "p-1", facts: Facts | None = None
) -> Session:
    data = join(account=account, meeting=meeting, participation=participation)
    return begin(event(data), facts or PLACES["203.0.113.9"], None, 0, BUILD)


def view_of(*sessions: Session) -> Sessions:
    view = Sessions()
    for session in sessions:
        view.add(session)
    return view


def test_find() -> None:
    one = begun()
    view = view_of(one)
    assert view.find("acme", "m-1", "p-1") is one
    assert view.find("acme", "m-1", "p-2") is None
    assert view.find("acme", "m-2", "p-1") is None
    assert view.find("campus", "m-2", "p-1") is None


def test_a_live_meeting_is_one_accounts_and_free_again_once_all_have_left() -> None:
    one, two = begun(), begun(participation="p-2")
    view, theirs = view_of(one, two), begun("campus")
    view.drop(one)
    for refused in (lambda: view.find("campus", "m-1", "p-9"), lambda: view.add(theirs)):
        with pytest.raises(AccountMismatch, match="another account's"):
            refused()
    assert (list(view), view.accounts) == ([two], ["acme"])
    view.drop(two)
    view.add(theirs)
    assert (list(view), view.accounts, view.meetings("acme")) == ([theirs], ["campus"], [])


def test_a_session_is_held_until_another_takes_its_place_or_it_ends() -> None:
    one, again, other = begun(), begun(), begun(participation="p-2")
    view = view_of(one, other)
    assert view.holds(one)
    assert not view.holds(again)
    view.add(again)
    assert (view.holds(one), view.holds(again), len(view)) == (False, True, 2)
    view.end(Whose().subject, again, Ended(1, NOON))
    assert (view.holds(again), view.holds(other), len(view)) == (False, True, 1)
    assert not view.holds(begun(meeting="m-2"))


def test_meetings_of_an_account() -> None:
    view = view_of(begun(), begun(meeting="m-2"), begun(meeting="m-2", participation="p-2"), begun("campus", "m-3"))
    assert view.accounts == ["acme", "campus"]
    assert [(m.id, m.account, len(m.sessions)) for m in view.meetings("acme")] == [
        ("m-1", "acme", 1),
        ("m-2", "acme", 2),
    ]
    assert [m.id for m in view.meetings("acme", "m-2")] == ["m-2"]
    assert view.meetings("acme", "m-3") == view.meetings("nobody") == view.meetings("nobody", "m-1") == []
    assert [type(m) for m in view.meetings("campus", "m-3")] == [Meeting]


def test_everything_may_be_gone_through_while_events_come_in() -> None:
    sessions = [begun(f"a-{a}", f"m-{a}-{m}", f"p-{p}") for a in range(3) for m in range(3) for p in range(3)]
    view = view_of(*sessions)
    seen = 0
    for seen, session in enumerate(view, 1):
        view.drop(session)
        view.add(begun(f"b-{seen}", f"n-{seen}"))
    assert seen == len(sessions) == len(view)


def test_a_leave_seen_twice_keeps_what_lasts_longest_and_the_oldest_stay_first() -> None:
    view = Sessions()
    view.end(b"acme/m-1/p-1", None, Ended(4, NOON + 4))
    view.end(b"acme/m-1/p-2", None, Ended(5, NOON + 5))
    view.end(b"acme/m-1/p-1", None, Ended(3, NOON + 6))
    assert list(view.ended.items()) == [
        (b"acme/m-1/p-2", Ended(5, NOON + 5)),
        (b"acme/m-1/p-1", Ended(4, NOON + 6)),
    ]


def test_sessions_of_a_place_share_one_object_and_none_keeps_an_address() -> None:
    facts = located(country="US", address=bytes(4))
    one, two = begun(facts=facts), begun(participation="p-2", facts=located(country="US", address=bytes(16)))
    view_of(one, two)
    assert one.facts is two.facts
    assert one.facts == msgspec.structs.replace(facts, address=None)
    assert (one.account is two.account, one.meeting is two.meeting) == (True, True)


def test_places_are_not_collected_without_end() -> None:
    view, first = Sessions(), Facts(asn=0)
    assert view.place(first) is first
    assert view.place(Facts(asn=0)) is first
    for asn in range(1, 70_000):
        view.place(Facts(asn=asn))
    assert view.place(Facts(asn=0)) is not first
    assert len(view._places) < 65_540
