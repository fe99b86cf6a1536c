"""Rulings 35 and 36, tried: a second account on a live meeting, and evidence that somebody made up."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import instants
from streams.core.decide import decision, decision_id, judge
from streams.core.facts import NOTHING_KNOWN
from streams.core.policy import path_of
from streams.core.sessions import AccountMismatch, Ended, Session, Sessions, begin
from streams.wire.chain import LogRecord
from streams.wire.history import History
from streams.wire.jws import sign
from tests.samples import (
    DAY,
    HOUR,
    NOON,
    PROPERTY,
    PROVENANCE,
    REMOVE,
    VOCABULARY,
    account,
    event,
    index,
    join,
    located,
    meeting,
    revision,
    rule,
    service,
)
from tests.signing import AUDIENCE, Worker, entry, key, trusting


def session(**who: Any) -> Session:
    return begin(event(join(**who)), NOTHING_KNOWN, None, 1, PROVENANCE.geo_build)


# -- a meeting has one account -----------------------------------------------------------------------------------------

OTHERS = ["globex", "ACME", "acme ", "acme/m-1", "ac\u200bme", "*", "a%63me"]


@pytest.fixture
def live() -> Sessions:
    """Two people in acme's meeting m-1."""
    made = Sessions()
    for id_ in ("p-1", "p-2"):
        made.add(session(participation=id_))
    return made


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("participation", ["p-1", "p-3"])
def test_nobody_joins_a_live_meeting_under_another_account(live: Sessions, other: str, participation: str) -> None:
    with pytest.raises(AccountMismatch):
        live.find(other, "m-1", participation)
    with pytest.raises(AccountMismatch):
        live.add(session(account=other, participation=participation))
    assert (len(live), live.accounts) == (2, ["acme"])
    assert live.meetings(other) == []


def test_nor_while_all_who_are_in_it_have_been_removed(live: Sessions) -> None:
    for each in live:
        each.verdict = REMOVE
    with pytest.raises(AccountMismatch):
        live.add(session(account="globex"))


@pytest.mark.parametrize("other", OTHERS)
def test_a_leave_under_another_account_ends_nobody(live: Sessions, other: str) -> None:
    live.end(path_of(other, "m-1", "p-1").encode(), None, Ended(9, NOON))
    assert len(live) == 2
    assert path_of("acme", "m-1", "p-1").encode() not in live.ended


def test_the_same_id_is_another_meeting_once_this_one_is_over(live: Sessions) -> None:
    for id_ in ("p-1", "p-2"):
        live.end(path_of("acme", "m-1", id_).encode(), live.find("acme", "m-1", id_), Ended(2, NOON))
    live.add(session(account="globex"))
    assert live.accounts == ["globex"]


PART = st.sampled_from(["a", "b", "a/b", "b/c", "a%2Fb", "%", "é", "e\u0301", " ", "/"])


@settings(PROPERTY, max_examples=100)
@given(st.tuples(PART, PART, PART), st.tuples(PART, PART, PART))
def test_no_two_participations_share_a_subject_or_an_id(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    who = [join(account=a, meeting=m, participation=p) for a, m, p in (one, other)]
    made = [decision(event(w), NOTHING_KNOWN, judge(index(), w, NOTHING_KNOWN, NOON)[0], PROVENANCE,
            mode="enforce", offset=1, at=NOON) for w in who]  # fmt: skip
    assert (made[0].subject == made[1].subject) is (one == other)
    assert (made[0].id == made[1].id) is (one == other)
    assert all(made_.subject.count("/") == 2 for made_ in made)


def test_an_id_is_of_one_mode_one_trigger_and_one_verdict() -> None:
    triggers = [
        ("event", "a", "bc"),
        ("event", "ab", "c"),
        ("event", "abc", ""),
        ("policy", "a"),
        ("geo", "a"),
        ("reminder", "1"),
    ]
    ids = {
        decision_id(mode, join(), trigger, verdict)  # type: ignore[arg-type]  # the two modes
        for mode in ("enforce", "report")
        for trigger in triggers
        for verdict in ("admit", "alert", "remove")
    }
    assert len(ids) == 2 * len(triggers) * 3


# -- evidence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [account(default="remove"), meeting(default="remove")])
def test_a_receipt_names_the_very_bytes_that_were_signed(value: dict[str, Any]) -> None:
    worker = Worker(trusting("acme", entry("acme-2", holder="acme", scopes=["account/acme"])))
    made = worker.takes(value, "acme")
    raw = sign(value, [key("acme")], AUDIENCE)
    found, _ = judge(worker.index, join(), NOTHING_KNOWN, NOON)
    said = decision(event(), NOTHING_KNOWN, found, PROVENANCE, mode="enforce", offset=1, at=NOON)
    assert said.data.receipt
    assert said.data.receipt.id == said.id
    assert said.data.receipt.document == made.sha256 == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    again = sign(value, [key("acme-2")], AUDIENCE)
    assert worker.reads(again, made.document.path) == set()
    after, _ = judge(worker.index, join(), NOTHING_KNOWN, NOON)
    assert after.revision is made, "said again by another key, it is still the record that was accepted"


@pytest.mark.parametrize("dated", [NOON, NOON - 90 * DAY, 0])
def test_a_record_that_its_producer_dated_is_refused(dated: int) -> None:
    """Whoever may write the log could else date a removal back, and have given notice that nobody saw."""
    opens, closes = instants.render(NOON + HOUR), instants.render(NOON + 30 * DAY)
    rules = [rule("remove", {"country": ["FR"]})]
    value = service(not_before=opens, not_after=closes, rules=rules, contest="https://contest.example")
    raw = sign(value, [key("ann"), key("bo")], AUDIENCE)
    log = History(trusting(), AUDIENCE, VOCABULARY, None)
    before = log.index.digest
    unstamped = log.take(LogRecord(0, dated, b"service/export", raw, stamped=False))
    assert {problem.code for problem in unstamped.problems} == {"C5-append-time"}
    assert (unstamped.outcome, log.index.digest) == ("refused", before)
    stamped = log.take(LogRecord(1, NOON, b"service/export", raw, stamped=True))
    assert {problem.code for problem in stamped.problems} == {"C5-notice"}


def test_the_index_hash_names_what_was_accepted_in_whatever_order() -> None:
    values = [account(), account(revision=2), meeting(), service(rules=[rule("remove", {"country": ["FR"]})])]
    digests = set()
    for seed in range(6):
        shuffled = random.Random(seed).sample(values, len(values))
        digests.add(index(*shuffled).digest)
    assert len(digests) == 1
    for value in values:
        assert index(*values, {**value, "name": "more"}).digest not in digests
        assert index(*(v for v in values if v is not value)).digest not in digests
        changed = [v if v is not value else {**v, "note": "changed"} for v in values]
        assert index(*changed).digest not in digests


def test_the_index_hash_tells_workers_apart_that_judged_one_record_by_two_trust_sets() -> None:
    """The same document, by whom and on whose behalf: hosts are removed by the one and only flagged by the other."""
    by: list[dict[str, Any]] = [
        {},
        {"holder": "acme"},
        {"holder": "settings"},
        {"holder": "settings", "on_behalf": True},
        {"holder": ""},
    ]
    assert len({index(revision(account(), **signed)).digest for signed in by}) == len(by)


def test_deciding_again_gives_the_same_bytes() -> None:
    documents = index(account(rules=[rule("remove", {"country": ["FR"]})]))
    known = located(country="FR")
    made = [
        msgspec.json.encode(
            decision(
                event(), known, judge(documents, join(), known, NOON)[0], PROVENANCE, mode="enforce", offset=1, at=NOON
            )
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]
