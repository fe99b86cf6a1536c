"""The ledger finds nothing wrong with what a worker says, whatever happens, and each wrong that is planted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streams.core import instants
from streams.core.asof import AsOf
from streams.core.decide import decision, judge_by
from streams.core.evidence import Bounds, NoDecision, Said
from streams.core.ledger import BY_ADDRESS, BY_FORM, BY_STATE, GONE, Ledger
from streams.wire import cloudevents
from tests.core.ledgerworld import BUILDS, SECOND, Worker, joining
from tests.samples import NOON, PROPERTY, account, index, meeting, revision, rule

ELSEWHERE = [rule("remove", {"country": {"not": ["US"]}}, "elsewhere")]
LINE = [rule("alert", {"network": ["5.39.0.0/16"]}, "line"), rule("remove", {"role": ["guest"]}, "guests")]


def later(seconds: int) -> str:
    return instants.render(NOON + seconds * SECOND)


# -- what is right -----------------------------------------------------------------------------------------------

WHO = st.sampled_from(["p-1", "p-2", "p-3"])
ADDRESS = st.sampled_from(["5.39.0.1", "8.8.8.8", "no address"])
JOINS = st.tuples(
    st.just("join"),
    WHO,
    st.fixed_dictionaries(
        {"address": ADDRESS, "sequence": st.none() | st.integers(1, 4)},
        optional={
            "role": st.sampled_from(["host", "guest"]),
            "type": st.just("doorward.update.v1"),
            "stage": st.just("lobby"),
        },
    ),
)
TEXTS = st.fixed_dictionaries(
    {"default": st.sampled_from(["admit", "alert", "remove"]), "rules": st.sampled_from([[], ELSEWHERE, LINE])},
    optional={"mode": st.just("report"), "not_before": st.integers(1, 40).map(later), "name": st.just("other")},
)
STEPS = st.lists(
    JOINS
    | st.tuples(st.just("publish"), st.sampled_from([account, meeting]), TEXTS)
    | st.tuples(st.sampled_from(["leave", "twice", "reread"]), WHO)
    | st.tuples(st.sampled_from(["sweep", "remind", "relocate"])),
    max_size=25,
)


def lived(steps: list[Any]) -> Worker:
    """A worker to whom these things happened."""
    worker, revisions = Worker(), Counter[str]()
    for name, *what in steps:
        if name == "join":
            worker.join(what[0], **what[1])
        elif name == "publish":
            written = what[0](**what[1])
            path = f"{written['scope']}/{written['name']}"
            revisions[path] += 1
            worker.publish({**written, "revision": revisions[path]})
        elif name == "leave":
            worker.leave(what[0])
        elif name == "relocate":
            worker.relocate()
            worker.sweep()
        elif name in ("sweep", "remind"):
            getattr(worker, name)()
        else:
            again(worker, name, what[0])
    worker.tick(60)
    worker.sweep()
    return worker


def again(worker: Worker, how: str, who: str) -> None:
    """An event is sent twice, or answered twice since the worker had died before it had committed."""
    answered = [each for each in worker.inputs.get(who, []) if "left" not in each.event.id]
    if answered and how == "twice":
        worker.answer(worker.send(answered[0].event))
    elif answered:
        worker.answer(answered[-1])


@PROPERTY
@given(STEPS)
def test_nothing_is_found_in_what_a_worker_says(steps: list[Any]) -> None:
    ledger = lived(steps).ledger()
    assert ledger.first == {}
    assert not ledger.unprovable
    assert ledger.proven == ledger.decisions


# -- what is planted ---------------------------------------------------------------------------------------------


def altered(said: Said, **data: Any) -> bytes:
    made = msgspec.json.decode(said.value)
    return msgspec.json.encode({**made, "data": {**made["data"], **data}})


def last(worker: Worker) -> Said:
    return worker.said["victim"][-1]


def unanswered(worker: Worker) -> None:
    worker.send(joining("victim", id="v"))


def unanswered_twin(worker: Worker) -> None:
    worker.send(worker.join("victim", id="v").event)


def unlettered(worker: Worker) -> None:
    worker.join("victim", address="no address", id="v").letters = 0


def unreported(worker: Worker) -> None:
    worker.publish(account(name="victims trial", mode="report", default="alert"))
    worker.join("victim", id="v")
    worker.said["victim"] = [said for said in worker.said["victim"] if said.mode == "enforce"]


def dead_letter_for_nothing(worker: Worker) -> None:
    worker.join("victim", id="v").letters |= BY_FORM


def bad_address_for_nothing(worker: Worker) -> None:
    worker.join("victim", id="v").letters |= BY_ADDRESS


def invented(worker: Worker) -> None:
    """A decision on an event that was never sent."""
    made = joining("victim", id="v")
    facts = worker.facts(made.data.address)
    enforced, _ = judge_by(worker.slots(), made.data, facts, worker.at)
    said = decision(made, facts, enforced, worker.provenance, mode="enforce", offset=worker.offset + 7, at=worker.at)
    worker.say("victim", said)


def other_event(worker: Worker) -> None:
    """An answer to an event of another name, at the offset of a real one."""
    worker.join("victim", id="v")
    made, facts = joining("victim", id="w"), worker.facts("5.39.0.1")
    enforced, _ = judge_by(worker.slots(), made.data, facts, worker.at)
    offset = worker.inputs["victim"][0].offset
    worker.say(
        "victim", decision(made, facts, enforced, worker.provenance, mode="enforce", offset=offset, at=worker.at)
    )


def uncalled(*trigger: str, cause: str) -> Callable[[Worker], None]:
    """A sweep's word that no document, window, build or removal calls for."""

    def plant(worker: Worker) -> None:
        worker.join("victim", id="v")
        worker.tick()
        session, facts = worker._sessions["victim"], worker.facts("5.39.0.1")
        enforced, _ = judge_by(worker.slots(), session, facts, worker.at)
        worker.again("victim", session, facts, enforced, "enforce", cause, trigger)

    return plant


def reminder_of_nothing(worker: Worker) -> None:
    worker.publish(account(name="strict", default="remove"))
    worker.join("victim", id="v")
    worker.sweep()
    worker.tick()
    session, facts = worker._sessions["victim"], worker.facts("5.39.0.1")
    enforced, _ = judge_by(worker.slots(), session, facts, worker.at)
    worker.again("victim", session, facts, enforced, "enforce", "policy", ("reminder", "1"))


def other_name(worker: Worker) -> None:
    """A sweep's word that names another event than its order does."""
    worker.join("victim", id="v")
    worker.join("victim", id="w", sequence=9)
    offset = worker.publish(account(name="swept", default="alert"))
    worker.tick()
    session, facts = msgspec.structs.replace(worker._sessions["victim"], id="v"), worker.facts("5.39.0.1")
    enforced, _ = judge_by(worker.slots(), session, facts, worker.at)
    worker.again("victim", session, facts, enforced, "enforce", "policy", ("policy", str(offset)))


def an_older_one(worker: Worker) -> None:
    """The last word answers an event by one that is older."""
    worker.join("victim", id="v", sequence=1)
    found = worker.send(joining("victim", id="w", sequence=2))
    worker.tick()
    facts = worker.facts("5.39.0.1")
    enforced, _ = judge_by(worker.slots(), found.event.data, facts, worker.at)
    offset = worker.inputs["victim"][0].offset
    worker.say(
        "victim",
        decision(found.event, facts, enforced, worker.provenance, mode="enforce", offset=offset, at=worker.at),
    )


def forged(worker: Worker) -> None:
    worker.join("victim", id="v")
    said = worker.said["victim"].pop()
    worker.say_bytes("victim", altered(said, policies={"account/acme/nobody": 3}), said.mode)


def respelled(worker: Worker) -> None:
    worker.join("victim", id="v")
    said = worker.said["victim"].pop()
    worker.say_bytes("victim", said.value + b" ", said.mode)


def garbled(worker: Worker) -> None:
    """A decision but for a member that none has, where there is no JSON."""
    worker.join("victim", id="v")
    said = worker.said["victim"].pop()
    worker.say_bytes("victim", said.value[:-1] + b',"more":"\xfe"}', said.mode)


def at_odds(worker: Worker) -> None:
    """Twice the same id, order, build and engine, and other bytes. Only one can be what deciding again gives."""
    worker.join("victim", id="v")
    said = last(worker)
    worker.say_bytes("victim", altered(said, policies={"account/acme/nobody": 3}), said.mode)


def same_id(worker: Worker) -> None:
    worker.join("victim", id="v")
    said = last(worker)
    made = msgspec.json.decode(said.value)
    other = {"admit": "alert", "alert": "admit", "remove": "admit"}[made["data"]["verdict"]]
    made["data"] = {**made["data"], "verdict": other, "order": [*made["data"]["order"][:3], worker.at - 1]}
    worker.say_bytes("victim", msgspec.json.encode({**made, "type": f"doorward.{other}.v1"}), said.mode)


PLANTS: list[tuple[Callable[[Worker], None], dict[str, int]]] = [
    (unanswered, {"I1": 1, "I5": 1}),
    (unanswered_twin, {"I1": 1, "I5": 1}),
    (unlettered, {"I5": 1}),
    (unreported, {"I5": 1}),
    (dead_letter_for_nothing, {"I2": 1}),
    (bad_address_for_nothing, {"I2": 1}),
    (invented, {"I2": 1}),
    (other_event, {"I2": 1}),
    (uncalled("policy", "999", cause="policy"), {"I2": 1}),
    (uncalled("clock", "12", cause="clock"), {"I2": 1}),
    (uncalled("geo", "another", cause="geo"), {"I2": 1}),
    (reminder_of_nothing, {"I2": 1}),
    (other_name, {"I2": 1}),
    (an_older_one, {"I1": 1, "I2": 1}),
    (forged, {"I3": 1}),
    (respelled, {"I3": 1}),
    (garbled, {"I3": 1}),
    (at_odds, {"I3": 1, "I4": 1}),
    (same_id, {"I2": 1, "I4": 1}),
]


@pytest.mark.parametrize(("plant", "found"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
@settings(PROPERTY, max_examples=30)
@given(steps=STEPS)
def test_what_is_planted_is_found_and_nothing_else(
    plant: Callable[[Worker], None], found: dict[str, int], steps: list[Any]
) -> None:
    worker = lived(steps)
    plant(worker)
    ledger = worker.ledger(worker.span(settled=0))
    assert ledger.violations == found
    for each in (each for all_ in ledger.first.values() for each in all_):
        assert "5.39.0.1" not in str(each)
        assert each.subject == "acme/m-1/victim" or each.invariant == "I5"


# -- the last word -----------------------------------------------------------------------------------------------


def unswept(worker: Worker, **document: Any) -> None:
    """A document that changes the victim's verdict, and a sweep that passes the victim over."""
    worker.join("victim", id="v", address="8.8.8.8", role="host")
    worker.tick(60)
    worker.publish(account(name="lost", **document))
    passed_over = worker._sessions.pop("victim")
    worker.sweep()
    worker._sessions["victim"] = passed_over


@PROPERTY
@given(STEPS)
def test_a_lost_sweep_is_a_wrong_last_word(steps: list[Any]) -> None:
    worker = lived(steps)
    unswept(worker, default="remove")
    assume(last_enforced(worker).decision.data.verdict != "remove")
    ledger = worker.ledger()
    assert ledger.violations == {"I1": 1}
    [found] = ledger.first["I1"]
    assert found.subject == "acme/m-1/victim"
    assert "it has been remove since" in found.what


def last_enforced(worker: Worker) -> Said:
    return [said for said in worker.said["victim"] if said.mode == "enforce"][-1]


@pytest.mark.parametrize(
    "span",
    [
        pytest.param({"settled": NOON + 60 * SECOND}, id="it may be on its way"),
        pytest.param({"committed": 0}, id="an event waits"),
        pytest.param({"ttl": SECOND}, id="forgotten by now"),
    ],
)
def test_no_last_word_is_owed_yet_or_any_more(span: dict[str, Any]) -> None:
    worker = Worker()
    unswept(worker, default="remove")
    assert worker.ledger(worker.span(**span)).violations == {}


def test_a_window_that_opened_long_ago_counts_and_one_that_opened_just_now_need_not() -> None:
    worker = Worker()
    unswept(worker, default="remove", not_before=later(70))
    assert worker.ledger(worker.span(settled=NOON + 80 * SECOND)).violations == {"I1": 1}
    assert worker.ledger(worker.span(settled=NOON + 69 * SECOND)).violations == {}


def ahead(worker: Worker) -> None:
    """A clock that is an hour ahead has everybody removed by a window that opens in half an hour."""
    worker.publish(account(default="remove", not_before=later(1800)))
    worker.join("victim", address="8.8.8.8", role="host")
    worker.tick(3600)
    worker.sweep()
    assert last_enforced(worker).decision.data.cause == "clock"
    worker.tick(-3540)


def test_what_a_clock_ahead_said_stands_until_then() -> None:
    worker = Worker()
    ahead(worker)
    assert worker.ledger().violations == {}
    stands = "a last word: a clock that ran ahead said it, and it stands until that instant"
    assert worker.ledger().unprovable == {stands: 1}
    assert worker.ledger(worker.span(end=NOON + 7200 * SECOND)).unprovable == {}, "it is what the window says"


def test_a_document_since_does_not_wait_for_a_clock_ahead() -> None:
    worker = Worker()
    ahead(worker)
    worker.publish(account(default="alert", revision=2))
    assert worker.ledger().violations == {"I1": 1}


def test_who_left_is_owed_nothing_more() -> None:
    worker = Worker()
    unswept(worker, default="remove")
    worker.leave("victim")
    assert worker.ledger().violations == {}


def test_a_geo_build_counts_for_people_already_in() -> None:
    worker = Worker()
    worker.publish(account(rules=ELSEWHERE))
    worker.join("victim", address="8.8.8.8")
    worker.relocate()
    worker.tick(60)
    assert worker.ledger().violations == {}
    assert worker.ledger().unprovable == {"a last word: it is right without the address, which may not have opened": 1}
    worker.join("victim", address="5.39.0.1")
    assert worker.ledger(atlas={}.get).unprovable == {
        "the geo build build-0 is not at hand": 1,
        "the geo build build-1 is not at hand": 1,
        "a last word: the geo build build-1 is not at hand": 1,
    }


def test_an_address_that_did_not_open_is_named() -> None:
    worker = Worker()
    worker.join("victim", address="8.8.8.8")
    session = worker._sessions["victim"]
    session.sealed = b"no address"
    worker.publish(account(rules=[rule("remove", {"network": ["8.0.0.0/8"]})], unknown="alert"))
    worker.sweep()  # open for want of an address: alert
    assert [said.decision.data.verdict for said in worker.said["victim"]] == ["admit", "alert"]
    worker.tick(60)
    assert worker.ledger().violations == {}
    assert worker.ledger().unprovable == {
        "it was decided without the address, which did not open": 1,
        "a last word: it is right without the address, which may not have opened": 1,
    }


# -- what cannot be proven ---------------------------------------------------------------------------------------


def swept() -> Worker:
    worker = Worker()
    worker.publish(account(rules=ELSEWHERE))
    worker.join("p-1")
    worker.publish(account(revision=2, default="alert"))
    worker.sweep()
    return worker


def test_a_geo_build_that_is_gone() -> None:
    ledger = swept().ledger(swept().span(settled=0), atlas={}.get)
    assert ledger.violations == {}
    assert ledger.unprovable == {"the geo build build-0 is not at hand": 2}


def test_joins_past_their_retention_and_behind_the_time() -> None:
    worker = swept()
    worker.join("p-1", sequence=3)
    worker.send(worker.inputs["p-1"][0].event)
    late = worker.inputs["p-1"][-1]
    worker.answer(late)  # by the session, whose newest event is there
    worker.inputs["p-1"] = [each for each in worker.inputs["p-1"] if each.offset == 1]
    ledger = worker.ledger(worker.span(bounds=Bounds(1, 2, False), settled=0))
    assert ledger.violations == {}
    assert ledger.unprovable == {
        "its event lies before what was read of joins, or is past its retention": 2,
        "the late event it answers lies before what was read of joins": 1,
    }
    worker.inputs["p-1"] = []
    ledger = worker.ledger(worker.span(bounds=Bounds(0, 0, False), settled=0))
    assert ledger.unprovable == {"its event lies behind the time that was read": 4}


def test_another_engine_may_have_decided_otherwise() -> None:
    worker = Worker()
    worker.join("p-1")
    said = worker.said["p-1"].pop()
    worker.say_bytes("p-1", altered(said, engine="0.0.9"))
    assert worker.ledger().proven == 1, "the same but for its own name"
    worker.said["p-1"] = []
    worker.say_bytes("p-1", altered(said, engine="0.0.9", stage="lobby"))
    ledger = worker.ledger()
    assert ledger.violations == {}
    assert ledger.unprovable == {"engine 0.0.9 decided it; this one, 0.1.0, decides otherwise": 1}


def test_a_document_that_this_trust_set_refuses() -> None:
    worker = swept()
    refused = {offset: ("account/acme/licensing", offset + 1) for offset in (0, 1)}
    worker.index = index()
    ledger = worker.ledger(worker.span(settled=0), refused=refused)
    assert ledger.violations == {}
    assert ledger.unprovable == {
        "account/acme/licensing revision 1 is on the policy log, but not by this trust set": 1,
        "account/acme/licensing revision 2 is on the policy log, but not by this trust set": 1,
    }


def test_what_is_forged_is_not_excused_by_what_else_is_missing() -> None:
    worker = Worker()
    worker.publish(account(rules=ELSEWHERE))
    worker.join("p-1")
    worker.relocate()
    worker.sweep()
    said = worker.said["p-1"].pop()
    worker.say_bytes("p-1", altered(said, stage="lobby"))
    known = {"build-1": BUILDS["build-1"]}
    ledger = worker.ledger(worker.span(settled=0), atlas=known.get, refused={9: ("account/acme/licensing", 9)})
    assert ledger.violations == {"I3": 1}
    assert ledger.unprovable == {"the geo build build-0 is not at hand": 1}


def test_an_event_that_is_not_committed_is_owed_nothing() -> None:
    worker = Worker()
    unanswered(worker)
    assert worker.ledger(worker.span(committed=0)).violations == {}


def test_an_id_used_for_two_events() -> None:
    worker = Worker()
    worker.publish(account(rules=LINE))
    worker.join("p-1", id="v", role="host", address="8.8.8.8")
    worker.send(joining("p-1", id="v", role="guest", address="8.8.8.8"))
    worker.answer(worker.inputs["p-1"][1])
    said = worker.said["p-1"].pop()
    worker.say_bytes("p-1", altered(said, stage="lobby"))
    assert worker.ledger(worker.span(settled=0)).unprovable == {
        "its event's id was used twice, for different content": 1
    }


def test_what_was_before_the_time_is_context() -> None:
    worker = Worker()
    forged(worker)
    worker.tick()
    assert worker.ledger(worker.span(since=worker.at)).decisions == 0


# -- the rest ----------------------------------------------------------------------------------------------------


def test_records_that_belong_to_nobody() -> None:
    ledger = Ledger(Worker().span(committed=4), Worker().world())
    for offset, letters in enumerate((BY_FORM, BY_STATE, 0, 0)):
        ledger.malformed(offset, letters, owed=offset < 3)
    ledger.stray_letter(5, "why")
    ledger.stray_word("report", 6, "why")
    assert ledger.violations == {"I1": 1, "I2": 2}
    ledger.close()
    assert [(v.topic, v.offset) for v in ledger.first["I2"]] == [("joins.dlq", 5), ("decisions.report", 6)]
    places = {v.what: v.offset for v in ledger.first["I5"]}
    assert places == {
        "4 is committed, and the log ends at 0": 4,
        "4 is committed, but of this offset there is no dead letter, and the record is no event": 2,
    }


def test_a_mismatch_of_accounts_needs_no_decision_and_only_so_many_are_told() -> None:
    worker = Worker()
    for number in range(30):
        worker.send(joining("p-1", id=f"m{number}"), BY_STATE)
        worker.send(joining("p-2", id=f"n{number}"))
    ledger = worker.ledger()
    assert ledger.violations == {"I1": 30, "I5": 1}
    assert len(ledger.first["I1"]) == 20
    assert [each.offset for each in ledger.first["I5"]] == [1]


def test_an_event_whose_outputs_came_in_halves_was_read_again() -> None:
    worker = Worker()
    worker.publish(account(mode="report", default="alert"))
    found = worker.join("p-1")
    worker.said["p-1"].pop()  # its worker died before this was acknowledged
    worker.answer(found)
    assert worker.ledger().violations == {}
    worker.said["p-1"].pop()
    assert worker.ledger().violations == {"I5": 1}


def test_dead_letters_past_their_retention_excuse_what_they_may_have_been() -> None:
    worker = Worker()
    worker.send(joining("p-1"), GONE)
    worker.join("p-2", address="no address").letters = GONE
    ledger = Ledger(worker.span(), worker.world())
    ledger.malformed(5, GONE, owed=True)
    for who in worker.inputs:
        ledger.check(who, worker.inputs[who], worker.said.get(who, []))
    ledger.close()
    assert ledger.violations == {}
    assert ledger.unprovable == {"an event without an answer, and dead letters of its time are past their retention": 2}


def test_what_was_forgotten_does_not_count_as_newer() -> None:
    worker = Worker()
    worker.join("p-1", sequence=5)
    worker._sessions.clear()  # its time-to-live is over
    worker.tick(100)
    worker.join("p-1", sequence=1)
    worker.tick(5)
    assert worker.ledger(worker.span(ttl=100 * SECOND)).violations == {}
    assert worker.ledger().violations == {"I1": 1}
    worker.leave("p-1")
    worker._ended.clear()
    worker.join("p-1", sequence=0)
    assert worker.ledger().violations == {}


@pytest.mark.parametrize("number", [10**18, 2**63, -(10**30), 10**30])
@pytest.mark.parametrize("place", range(4))
def test_no_number_is_too_large_to_be_told(place: int, number: int) -> None:
    worker = Worker()
    worker.join("p-1")
    made = json.loads(worker.said["p-1"][0].value)
    made["data"]["order"][place] = number
    with suppress(NoDecision):
        worker.say_bytes("p-1", json.dumps(made).encode())
        assert worker.ledger().violations
    made = json.loads(worker.said["p-1"].pop(0).value)
    worker.said["p-1"] = []
    worker.say_bytes("p-1", json.dumps({**made, "data": {**made["data"], "policies": {"a": number}}}).encode())
    [found] = worker.ledger().first["I3"]
    assert msgspec.json.encode(found)


def test_only_so_many_reasons_are_told() -> None:
    ledger = Worker().ledger()
    for number in range(100):
        ledger.doubt(f"reason {number % 30}")
    assert len(ledger.unprovable) == 21
    assert sum(ledger.unprovable.values()) == 100
    assert ledger.unprovable["for further reasons"] == 30


def test_one_decision_is_proven_alone() -> None:
    worker = swept()
    at_odds(worker)
    ledger = Ledger(worker.span(), worker.world())
    for who, said in worker.said.items():
        ledger.prove(who, worker.inputs[who], said, worker.said["p-1"][0].decision.id)
    assert (ledger.decisions, ledger.proven, ledger.violations) == (1, 1, {})


def test_the_fields_that_differ_are_told() -> None:
    worker = Worker()
    forged(worker)
    [found] = worker.ledger().first["I3"]
    assert found.what == "decided again it differs in data.policies and 1 more"
    assert [(f.path, f.recorded, f.again) for f in found.fields] == [
        ("data.policies", None, {}),
        ("data.policies.account/acme/nobody", 3, None),
    ]


@settings(PROPERTY, max_examples=30)
@given(STEPS)
def test_what_is_compared_is_what_workers_write(steps: list[Any]) -> None:
    for said in (each for everybody in lived(steps).said.values() for each in everybody):
        assert cloudevents.encode(said.decision) == said.value


def test_documents_as_they_were() -> None:
    known = index(
        revision(account(), offset=3, appended_at=NOON),
        revision(account(revision=3), offset=5, appended_at=NOON + 1),
        revision(account(revision=2), offset=9, appended_at=NOON + 2),
        revision(meeting(), offset=7, appended_at=NOON + 2),
    )
    documents = AsOf(known)

    def names(offset: int) -> list[list[int]]:
        return [[r.document.revision for r in slot.revisions] for slot in documents.reaching("acme", "m-1", offset)]

    assert [names(offset) for offset in (2, 3, 4, 5, 7, 9, 3)] == [
        [], [[1]], [[1]], [[3, 1]], [[3, 1], [1]], [[3, 2, 1], [1]], [[1]],
    ]  # fmt: skip
    assert [documents.offset_at(NOON + ms) for ms in (-1, 0, 1, 2, 3)] == [-1, 3, 5, 9, 9]
