"""Live sessions decided again: what is said of them, how much at a time, and what trials count."""

import asyncio

import msgspec
import pytest

from streams.agents import sweeps
from streams.agents.decider import Decider
from streams.agents.sessions import REREAD
from streams.core import address, instants
from streams.core.events import Provenance
from streams.core.facts import Facts, settle
from streams.core.index import Revision
from streams.core.policy import path_of
from tests.agents.test_sessions import ALLOWED, NETWORK, REFUSED, REMIND, Rig, event
from tests.samples import NOON, VOCABULARY, account, revision, rule

EVERYONE = rule("remove", {"country": ["FR"]})


def push(rig: Rig, *documents: dict[str, object]) -> None:
    """Documents come into force, as the policy follower tells it."""
    offset = rig.decider.provenance.policy_offset
    revisions: list[Revision] = []
    for document in documents:
        offset += 1
        revisions.append(revision(document, offset=offset, appended_at=rig.now))
        rig.decider.index.put(revisions[-1])
    rig.decider.provenance = msgspec.structs.replace(rig.decider.provenance, policy_offset=offset)
    rig.sweeper.accepted(revisions, offset)


def relocate(rig: Rig, country: str) -> None:
    """New geo files find everybody in another country."""
    rig.decider.locate = lambda text: settle(VOCABULARY, address=address.parse(text), country=country)
    provenance = rig.decider.provenance
    rig.decider.provenance = msgspec.structs.replace(provenance, geo_build=f"in-{country}", geo_time=2_000_000_000)
    rig.sweeper.relocated()


def full(rig: Rig, count: int, owner: str = "acme") -> None:
    """Let people in, ten to a meeting."""
    names = [(f"{owner}-p-{n}", f"{owner}-m-{n // 10}") for n in range(count)]
    rig.take(*(event(participation=name, meeting=meeting, account=owner) for name, meeting in names))


def test_a_document_and_its_retraction_are_each_said_once() -> None:
    rig = Rig()
    assert rig.take(event()) == ["admit"]
    push(rig, account(rules=[EVERYONE]))
    [removed] = rig.turns()
    assert (removed["data"]["verdict"], removed["data"]["cause"]) == ("remove", "policy")
    push(rig, account(revision=2, retracted=True))
    [admitted] = rig.turns()
    assert (admitted["data"]["verdict"], admitted["data"]["cause"]) == ("admit", "policy")
    assert removed["data"]["order"] < admitted["data"]["order"]
    assert rig.finished
    assert rig.keeper.unconfirmed == 0
    rig.sweeper.recovered()
    assert rig.turns() == [], "nothing has changed since"


def test_what_was_written_down_before_a_crash_is_said_again() -> None:
    rig = Rig()
    rig.take(event(), event(participation="p-2"))
    push(rig, account(rules=[EVERYONE]))
    before = rig.turns()
    rig.start()
    after = rig.turns()
    assert [d["id"] for d in after] == [d["id"] for d in before]
    assert len(after) == 2
    rig.take(event("update", n=1), event("update", participation="p-2", n=1))
    rig.start()
    assert rig.turns() == [], "an answer needs no repetition: its event is read again"


def test_two_sweeps_before_a_crash_are_both_said_again() -> None:
    """What a turn says is on its way while the next one speaks of the same session."""
    rig = Rig()
    rig.take(event())
    push(rig, account(rules=[EVERYONE]))
    rig.take()
    push(rig, account(name="trial", rules=[EVERYONE], mode="report"))
    rig.take()
    rig.start()
    rig.take()
    assert {(topic, d["data"]["verdict"]) for topic, d in rig.sent} == {
        ("decisions", "remove"),
        ("decisions.report", "remove"),
    }


def test_what_has_changed_since_a_crash_is_said_before_it_can_change_back() -> None:
    rig = Rig()
    rig.take(event())
    push(rig, account(rules=[EVERYONE]))
    rig.turns()  # nobody heard of this removal, say
    rig.start()
    push(rig, account(revision=2, retracted=True))
    rig.sweeper.forgotten()  # no sweep comes for now
    [said] = rig.turns()
    assert (said["data"]["verdict"], said["data"]["cause"]) == ("admit", "policy")
    rig.start()
    [again] = rig.turns()
    assert again["id"] == said["id"], "nor may it be lost in a second crash"


def test_a_window_opens_and_closes() -> None:
    rig = Rig()
    opens, closes = NOON + 5_000, NOON + 9_000
    push(rig, account(rules=[EVERYONE], not_before=instants.render(opens), not_after=instants.render(closes)))
    assert rig.take(event()) == ["admit"]
    assert rig.tick(after=4_999) == []
    said = rig.tick(after=1) + rig.tick(after=3_999) + rig.tick(after=1)
    assert [(d["data"]["verdict"], d["data"]["cause"]) for d in said] == [("remove", "clock"), ("admit", "clock")]


def test_a_network_rule_is_decided_on_the_unsealed_address() -> None:
    rig = Rig()
    rig.take(event(), event(participation="p-2", text=ALLOWED))
    rig.start()
    push(rig, account(rules=[NETWORK]))
    [said] = rig.turns()
    assert (said["data"]["participation"], said["data"]["reason"]["matched"]) == ("p-1", {"network": True})
    assert all(session.facts.address is None for session in rig.keeper.views[0])
    assert not any(address.parse(REFUSED) in row for row in rig.table.kept[0].values())


def test_a_new_geo_build_is_asked_about_addresses_that_are_sealed() -> None:
    rig = Rig(account(rules=[rule("alert", {"country": ["DE"]})]))
    assert rig.take(event()) == ["admit"]
    other = Decider(rig.decider.index, lambda text: _in_germany(text), _of(rig, "in-DE"))
    assert asyncio.run(rig.sweeper.survey(other)) == (1, 1)
    assert rig.turns() == [], "a survey changes nothing"
    relocate(rig, "DE")
    [said] = rig.turns()
    assert (said["data"]["verdict"], said["data"]["cause"], said["data"]["geo_build"]) == ("alert", "geo", "in-DE")
    assert all(session.facts.address is None for session in rig.keeper.views[0])


def _in_germany(text: str) -> Facts:
    return settle(VOCABULARY, address=address.parse(text), country="DE")


def _of(rig: Rig, build: str) -> Provenance:
    return msgspec.structs.replace(rig.decider.provenance, geo_build=build)


def test_a_document_in_report_mode_is_reported_on_and_counted() -> None:
    rig = Rig()
    rig.take(event(), event(participation="p-2", text=ALLOWED), event(participation="p-3", meeting="m-2"))
    rig.turns()
    rig.sweeper.report()
    push(rig, account(rules=[NETWORK], mode="report"))
    rig.take()
    assert {(topic, d["data"]["participation"], d["data"]["verdict"]) for topic, d in rig.sent} == {
        ("decisions.report", "p-1", "remove"),
        ("decisions.report", "p-3", "remove"),
    }
    report = rig.sweeper.report()
    assert report is not None
    assert (report.sessions, report.decided, report.admit, report.alert, report.remove) == (3, 3, 0, 0, 0)
    [trial] = report.trials
    assert (trial.path, trial.sessions, trial.admit, trial.remove) == ("account/acme/licensing", 3, 1, 2)
    assert (trial.would_remove, trial.would_alert, trial.meetings) == (2, 0, 2)
    assert rig.sweeper.report() is None, "each trial is told once"
    assert rig.keeper.unconfirmed == 0
    assert rig.tick(after=REMIND) == [], "nobody was removed"


def test_what_a_report_last_said_is_taken_back_whatever_comes_first() -> None:
    rig = Rig()
    push(rig, account(rules=[NETWORK], mode="report"))
    rig.take(event())
    assert [topic for topic, _ in rig.sent] == ["decisions", "decisions.report"]
    push(rig, account(revision=2, retracted=True))
    rig.take(event("update", n=1))
    said = [(d["data"]["verdict"], d["data"]["cause"]) for topic, d in rig.sent if topic == "decisions.report"]
    assert said == [("admit", "update")], "an update that comes before the sweep says so itself"
    assert rig.turns() == []


def test_an_event_read_again_takes_back_what_an_owner_before_may_have_reported() -> None:
    """The owner before us reported on the join and wrote nothing down; since then the document was retracted."""
    rig = Rig(account(rules=[NETWORK], mode="report"), account(revision=2, retracted=True))
    rig.take(event())
    assert [(topic, d["data"]["verdict"]) for topic, d in rig.sent] == [
        ("decisions", "admit"),
        ("decisions.report", "admit"),
    ]
    rig.now += REREAD + 1
    rig.take(event(participation="p-2"))
    assert [topic for topic, _ in rig.sent] == ["decisions"], "by now no event is one that was answered before"


def test_a_trial_that_was_retracted_before_its_sweep_was_over_is_not_told() -> None:
    rig = Rig()
    full(rig, 3)
    rig.turns()
    rig.sweeper.report()
    push(rig, account(rules=[NETWORK], mode="report"), account(name="other", rules=[NETWORK], mode="report"))
    push(rig, account(revision=2, retracted=True))
    rig.turns()
    report = rig.sweeper.report()
    assert report is not None
    assert [trial.path for trial in report.trials] == ["account/acme/other"]


def test_a_reminder_does_not_hide_why_something_else_has_changed() -> None:
    rig = Rig(account(rules=[EVERYONE]))
    rig.take(event())
    push(rig, account(name="trial", rules=[EVERYONE], mode="report"))
    rig.now += REMIND
    rig.sweeper.tick()
    rig.take()
    assert [(topic, d["data"]["verdict"], d["data"]["cause"]) for topic, d in rig.sent] == [
        ("decisions.report", "remove", "policy"),
        ("decisions", "remove", "join"),
    ]
    assert rig.turns() == []


def test_a_clock_that_steps_back_over_an_edge_changes_nothing() -> None:
    rig = Rig()
    opens = NOON + 5_000
    push(rig, account(rules=[EVERYONE], not_before=instants.render(opens)))
    rig.take(event())
    [removed] = rig.tick(after=6_000)
    assert rig.tick(after=-3_000) == []
    assert rig.take(event("update", n=1)) == ["remove"]
    [(_, updated)] = rig.sent
    assert removed["data"]["order"] < updated["data"]["order"]
    assert removed["data"]["decided_at"] < updated["data"]["decided_at"], "time was held still"
    rig.start()
    assert rig.tick(after=1) == [], "for the partition's next owner too"
    assert rig.tick(after=3_000) == [], "the edge is passed once"


HOUR = 3_600_000


def test_what_a_clock_an_hour_ahead_said_is_not_taken_back_by_words_nobody_would_hear() -> None:
    rig = Rig()
    push(rig, account(rules=[EVERYONE], not_before=instants.render(NOON + 60_000)))
    assert rig.take(event()) == ["admit"]
    rig.now += HOUR
    ahead = rig.tick()
    assert [decision["data"]["verdict"] for decision in ahead] == ["remove"]
    rig.now -= HOUR
    rig.start()
    [again] = rig.tick()
    assert again["id"] == ahead[0]["id"], "as after every crash; what a clock that is right says would rank below"
    assert again["data"]["order"] > ahead[0]["data"]["order"]
    rig.offset -= 1
    assert rig.take(event()) == ["remove"], "the same record read again"
    assert rig.sent[0][1]["data"]["order"] > again["data"]["order"]
    assert rig.take(event("update", n=1)) == ["admit"], "a newer event ranks above"
    assert rig.sent[0][1]["data"]["order"][3] < NOON + 60_000


def test_a_window_that_opens_is_seen_by_whom_a_turn_after_the_clock_went_back_decided() -> None:
    rig = Rig()
    push(rig, account(rules=[EVERYONE], not_before=instants.render(NOON + 60_000)))
    assert rig.take(event()) == ["admit"]
    rig.now += HOUR
    rig.sweeper.tick()
    rig.now -= HOUR
    assert rig.turns() == []
    assert [decision["data"]["verdict"] for decision in rig.tick(after=61_000)] == ["remove"]


def test_a_turn_is_bounded_and_many_sessions_take_several(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    full(rig, 200)
    rig.turns()
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    push(rig, account(rules=[EVERYONE]))
    said = []
    while rig.asked or not said:
        said.append(len(rig.take()))
    assert sum(said) == 200
    assert max(said) <= sweeps.LOOK


def test_many_small_sweeps_take_several_turns_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    owners = [f"office-{n}" for n in range(40)]
    for owner in owners:
        full(rig, 5, owner)
    rig.turns()
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    push(rig, *(account(account=owner, rules=[EVERYONE]) for owner in owners))
    first = len(rig.take())
    assert rig.asked
    assert first + len(rig.turns()) == 200
    assert first <= sweeps.LOOK, "time is looked at between sweeps as well"


def test_no_account_waits_for_another_s_many_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    full(rig, 500, "large")
    full(rig, 5, "small")
    rig.turns()
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    push(rig, account(account="large", rules=[EVERYONE]), account(account="small", rules=[EVERYONE]))
    rig.take()
    rig.take()
    assert rig.sweeper.backlog
    assert {d["data"]["account"] for _, d in rig.sent} >= {"small"}


def test_many_documents_at_once_are_one_walk() -> None:
    rig = Rig()
    full(rig, 50)
    rig.turns()
    rig.sweeper.report()
    push(rig, *(account(name=f"rule-{n}", rules=[EVERYONE]) for n in range(100)))
    assert len(rig.turns()) == 50
    report = rig.sweeper.report()
    assert report is not None
    assert (report.decided, report.remove) == (50, 50)


def test_many_removals_due_are_all_said_again_after_one_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(account(rules=[EVERYONE]))
    full(rig, 200)
    rig.turns()
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    assert len(rig.tick(after=REMIND)) == 200


def test_removals_that_were_due_and_left_are_passed_over_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(account(rules=[EVERYONE]))
    full(rig, 200)
    rig.turns()
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    everyone = list(rig.keeper.views[0])
    rig.take(*(event("leave", participation=s.participation, meeting=s.meeting) for s in everyone))
    rig.now += REMIND
    rig.sweeper.tick()
    turns = 1
    while not rig.take() and rig.asked:
        turns += 1
    assert turns >= 200 // sweeps.LOOK


def test_a_removal_whose_document_has_gone_is_not_said_again() -> None:
    rig = Rig(account(rules=[EVERYONE]))
    rig.take(event())
    push(rig, account(revision=2, retracted=True))
    assert [d["data"]["verdict"] for d in rig.tick(after=REMIND)] == ["admit"]


def test_who_leaves_in_the_midst_of_a_sweep_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    full(rig, 100)
    rig.turns()
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    push(rig, account(rules=[EVERYONE]))
    rig.take()
    spoken = {d["subject"] for _, d in rig.sent}
    everyone = {f"acme-p-{n}": f"acme-m-{n // 10}" for n in range(100)}
    left = {name: meeting for name, meeting in everyone.items() if path_of("acme", meeting, name) not in spoken}
    rig.take(*(event("leave", participation=name, meeting=meeting) for name, meeting in left.items()))
    assert len(left) == 100 - len(spoken)
    assert [d for _, d in rig.sent] + rig.turns() == []


def test_a_session_of_which_nothing_can_be_said_keeps_its_verdict_and_holds_nobody_up() -> None:
    """A decision names every document that applied: it may be larger than a record, and no start would mend that."""
    rig = Rig()
    rig.take(event(), event(participation="p-2"), event(participation="p-3"))
    rig.turns()
    rig.sayable = lambda decision: decision["data"]["participation"] != "p-2"
    push(rig, account(rules=[EVERYONE]))
    assert {d["data"]["participation"] for d in rig.turns()} == {"p-1", "p-3"}
    assert rig.faults("internal") == 1
    session = rig.session("p-2")
    assert session is not None
    assert session.verdict == 0
    assert rig.finished
    rig.sayable = lambda decision: True
    rig.start()
    assert "p-2" in {d["data"]["participation"] for d in rig.turns()}


def test_nothing_counts_as_swept_while_partitions_change_hands() -> None:
    rig = Rig()
    rig.take(event())
    push(rig, account(rules=[EVERYONE]))
    offset = rig.decider.provenance.policy_offset
    assert not rig.sweeper.has_swept(offset)
    rig.sweeper.forgotten()
    assert not rig.sweeper.has_swept(offset), "what comes next may have people this document reaches"
    rig.sweeper.recovered()
    rig.turns()
    assert rig.sweeper.has_swept(offset)


def test_a_turn_that_comes_during_a_rest_changes_nothing_and_the_next_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    monkeypatch.setattr(sweeps, "LOOK", 10)
    rig = Rig()
    full(rig, 40)
    asked: list[str] = []

    async def go() -> None:
        rig.sweeper._ask_turn = lambda: asked.append("turn")
        rig.sweeper._rest = 0.001
        push(rig, account(rules=[EVERYONE]))
        said: list[object] = []
        for turn in range(1, 5):
            asked.clear()
            rig.sweeper.turn(lambda *made: said.append(made), {}, rig.now)
            rig.sweeper.turn(lambda *made: said.append(made), {}, rig.now)
            assert len(said) == 10 * turn
            assert not asked
            await asyncio.sleep(0.05)
            assert asked

    asyncio.run(go())
