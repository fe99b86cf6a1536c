"""Ruling 34, tried: learning who is where from documents that remove nobody, and from what is counted of them."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from streams.agents.decider import Decider
from streams.core import status
from streams.core.decide import decision, is_roster, judge, reason
from streams.core.facts import Facts
from streams.core.index import Revision
from streams.core.policy import VERDICTS
from streams.core.sessions import begin
from streams.core.sweep import decide_again
from streams.core.trials import FEWEST, Tally
from tests.samples import (
    EU,
    NOON,
    PROPERTY,
    PROVENANCE,
    REMOVE,
    account,
    event,
    facts,
    index,
    join,
    located,
    meeting,
    offers,
    problems,
    revision,
    rule,
    service,
)

PLACES = [rule("alert", {"subdivision": ["FR-75", "FR-13"], "connection": {"not": ["tor"]}})]
ASKED = [{"country": ["FR"]}, {"continent": ["EU"]}, {"subdivision": ["FR-75"]}, {"country": {"not": ["US"]}}]
HERE = located(subdivision="FR-75", asn=64500, address=b"\xcb\x00\x71\x09")


def others(value: dict[str, Any]) -> Revision:
    """A document by somebody who is not the owner."""
    return revision(value, on_behalf=value["scope"] != "service")


# -- what a decision says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["alert", "admit"])
@pytest.mark.parametrize("make", [service, account, meeting])
@pytest.mark.parametrize("when", ASKED)
def test_flagging_or_admitting_a_place_tells_no_place(make: Any, when: dict[str, Any], then: str) -> None:
    documents = index(others(make(rules=[rule(then, when)])))
    found, _ = judge(documents, join(), HERE, NOON)
    said = reason(found, join(), HERE)
    assert said is not None
    assert said.matched == {}


@pytest.mark.parametrize("known", [located(continent="EU"), msgspec.structs.replace(HERE, connection=1 | 128)])
def test_nor_does_a_removal_that_was_capped(known: Facts) -> None:
    """C4's cap makes it an alert, so it is one here too."""
    documents = index(service(rules=[rule("remove", {"country": EU})]))
    found, _ = judge(documents, join(), known, NOON)
    said = reason(found, join(), known)
    assert said is not None
    assert (VERDICTS[found.verdict], said.outcome, said.matched) == ("alert", "rule", {})


def test_an_owner_is_told_of_their_own_guests() -> None:
    found, _ = judge(index(account(rules=[rule("alert", {"country": ["FR"]})])), join(), HERE, NOON)
    said = reason(found, join(), HERE)
    assert said is not None
    assert said.matched == {"country": "FR"}


@settings(PROPERTY, max_examples=100)
@given(offers("service").filter(lambda value: not problems(value)), facts)
def test_only_the_removed_are_told_what_was_looked_at(value: dict[str, Any], known: Facts) -> None:
    found, _ = judge(index(value), join(), known, NOON)
    made = decision(event(), known, found, PROVENANCE, mode="enforce", offset=1, at=NOON)
    if made.data.verdict != "remove" and made.data.reason is not None:
        assert made.data.reason.matched == {}


# -- report mode -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["admit", "alert", "remove"])
@pytest.mark.parametrize("make", [service, account, meeting])
def test_a_report_on_others_guests_is_no_decision(make: Any, then: str) -> None:
    documents = index(others(make(mode="report", rules=[rule(then, {"country": ["FR"]})])))
    _, reported = judge(documents, join(), HERE, NOON)
    assert reported is None
    assert Decider(documents, lambda _: HERE, PROVENANCE).answer(event(), 1, NOON).report is None
    session = begin(event(), HERE, None, 1, PROVENANCE.geo_build)
    assert decide_again(session, documents.reaching("acme", "m-1"), HERE, PROVENANCE, NOON) is None


def test_an_owners_own_report_does_not_carry_anothers_along() -> None:
    own = account(name="own", mode="report", rules=[rule("alert", {"role": ["guest"]})])
    theirs = [service(mode="report", rules=PLACES), account(mode="report", rules=PLACES)]
    documents = index(own, *map(others, theirs))
    _, reported = judge(documents, join(), HERE, NOON)
    assert reported is not None
    assert set(reported.policies) == {"account/acme/own"}
    assert reported.verdict == 0


# -- what is counted of a report ---------------------------------------------------------------------------------------

COUNTED = ("sessions", "admit", "alert", "remove", "would_alert", "would_remove", "meetings")
TRIED = [
    others(service(mode="report", rules=PLACES)),
    others(account(mode="report", rules=PLACES)),
    others(meeting(mode="report", rules=PLACES)),
]


def tallied(counts: dict[tuple[int, int], int]) -> Tally:
    """So many sessions of each (what the document says, what holds now), two to a meeting."""
    tally, seen = Tally(), 0
    for (says, now), count in counts.items():
        for _ in range(count):
            tally.add("acme", f"m-{seen // 2}", says, now)
            seen += 1
    return tally


@pytest.mark.parametrize("tried", TRIED)
def test_no_number_below_ten_is_told(tried: Revision) -> None:
    assert is_roster(tried)
    for counts in product((0, 1, 9, 10, 11, 25), repeat=3):
        trial = tallied({(says, 0): count for says, count in enumerate(counts)}).trial(tried)
        told = {name: getattr(trial, name) for name in COUNTED}
        assert all(count is None or count >= FEWEST for count in told.values()), told
        for count, true in zip((trial.admit, trial.alert, trial.remove), counts, strict=True):
            assert true >= FEWEST or count is None


def test_a_reader_of_applied_learns_no_more_than_the_trial_says() -> None:
    """No other field of the status event is about a document in report mode."""
    sweep = {field.name for field in msgspec.structs.fields(status.Sweep)}
    assert sweep == {"sessions", "decided", "admit", "alert", "remove", "trials"}
    assert {field.name for field in msgspec.structs.fields(status.Trial)} == {"path", "revision", *COUNTED}


def test_two_trials_of_one_document_say_the_same() -> None:
    """Asking again, or on another worker with the same sessions, is no second measurement."""
    counts = {(0, 0): 3, (1, 0): 12, (2, 0): 40}
    assert len({tallied(counts).trial(TRIED[0]) for _ in range(3)}) == 1


@pytest.mark.parametrize("few", range(1, FEWEST))
def test_a_place_with_few_people_in_it_looks_like_one_with_nobody(few: int) -> None:
    alone = tallied({(0, 0): 500, (REMOVE, 0): few}).trial(TRIED[0])
    nobody = tallied({(0, 0): 500 + few}).trial(TRIED[0])
    assert alone == nobody


@pytest.mark.parametrize("tried", TRIED)
@pytest.mark.parametrize("says", [1, REMOVE])
def test_what_is_so_already_cannot_be_worked_out(tried: Revision, says: int) -> None:
    """Of 100 admitted, 20 flagged and 30 removed three are flagged or removed as it is: 20 - 17 or 30 - 27."""
    counts = {(0, 0): 100, (1, 0): 20, (REMOVE, 0): 30}
    counts[says, 0] -= 3
    trial = tallied({**counts, (says, says): 3}).trial(tried)
    for would, all_ in ((trial.would_alert, trial.alert), (trial.would_remove, trial.remove)):
        assert would is None or all_ is None or not 0 < all_ - would < FEWEST


@pytest.mark.parametrize("tried", TRIED)
@pytest.mark.parametrize("few", range(1, FEWEST))
def test_two_trials_do_not_tell_how_few_are_in_one_place(tried: Revision, few: int) -> None:
    """Whoever takes the answer to one document from that to another with one territory more."""
    for others_removed in (100, 103, 109):
        less, more = (
            tallied({(0, 0): 500 - removed, (REMOVE, 0): removed}).trial(tried)
            for removed in (others_removed, others_removed + few)
        )
        for name in COUNTED:
            one, other = getattr(less, name), getattr(more, name)
            assert one is None or other is None or not 0 < abs(other - one) < FEWEST, name


def test_a_trial_names_no_account_and_no_meeting() -> None:
    said = msgspec.json.encode(tallied({(REMOVE, 0): 40}).trial(TRIED[0]))
    assert b"service/export" in said
    assert b"acme" not in said
    assert b"m-1" not in said
