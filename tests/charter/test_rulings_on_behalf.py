"""Ruling 30, tried: what somebody may do who signs for owners without being one, and what they may not.

Here ``settings`` is the key of a settings service, trusted for every account that has no key of its own.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import instants, status
from streams.core.decide import decision, decision_again, judge, judge_by
from streams.core.facts import NOTHING_KNOWN, Facts
from streams.core.index import Index
from streams.core.sessions import begin
from streams.core.sweep import decide_again
from streams.wire.trust import TrustSet
from tests.samples import (
    ADMIT,
    ALERT,
    DAY,
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
    revision,
    rule,
    service,
)
from tests.signing import Worker, entry, in_use, trusting

ROLES = st.sampled_from(["host", "cohost", "participant", "guest"])
HOSTS = ("host", "cohost")
THROW_OUT: dict[str, dict[str, Any]] = {
    "by default": account(default="remove"),
    "by a rule": account(rules=[rule("remove")]),
    "by a rule for hosts": account(rules=[rule("remove", {"role": ["host", "cohost"]})]),
    "by a rule for all but guests": account(rules=[rule("remove", {"role": {"not": ["guest"]}})]),
    "by a rule for everybody in the lobby": account(rules=[rule("remove", {"stage": ["lobby", "live"]})]),
    "for too little known": account(rules=[rule("admit", {"country": ["US"]})], default="alert", unknown="remove"),
    "from one meeting": meeting(default="remove"),
    "as legal matters go": account(default="remove", ground="A court order", reference="https://law.example/1"),
}  # fmt: skip


def holder_of(*keys: tuple[str, str, list[str]], **marked: Any) -> Worker:
    """A worker that trusts some keys: name, holder, scopes."""
    return Worker(trusting(*(entry(name, holder=holder, scopes=scopes, **marked) for name, holder, scopes in keys)))


# -- which keys these are ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "worker",
    [
        pytest.param(holder_of(("k", "ops", ["account/*"])), id="a wildcard, not marked"),
        pytest.param(holder_of(("k", "ops", ["account/*"]), on_behalf=False), id="a wildcard, marked as none"),
        pytest.param(holder_of(("k", "ops", ["account/acme"]), on_behalf=True), id="an exact scope, marked"),
        pytest.param(holder_of(("k", "ops", ["account/acme", "account/*"])), id="both"),
        pytest.param(holder_of(("k", "ops", ["account/acme", "service"])), id="an approver too"),
        pytest.param(
            holder_of(("k", "ops", ["account/acme"]), ("other", "ops", ["service"])), id="an approver by another key"
        ),
        pytest.param(
            holder_of(("k", "ops", ["account/acme"]), ("other", "ops", ["account/*"])), id="a wildcard by another key"
        ),
    ],
)
@pytest.mark.parametrize("role", HOSTS)
def test_however_the_trust_set_puts_it_they_are_told_apart(worker: Worker, role: str) -> None:
    made = worker.takes(account(default="remove"), "k")
    assert made.on_behalf
    found, _ = judge(index(made), join(role=role), located(), NOON)
    assert found.verdict == ALERT


def test_an_approver_gains_no_account_by_a_key_for_everything() -> None:
    """A holder of both kinds approves nothing: else one person could sign as two kinds of people."""
    worker = holder_of(("k", "ops", ["service", "account/*"]), ("bo", "bo", ["service"]), ("w", "ops", ["service"]))
    assert worker.refuses(service(), "k", "bo") == {"C5-approvers"}
    assert worker.refuses(service(), "w", "bo") == {"C5-approvers"}


# -- accounts that have a key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", THROW_OUT)
def test_nothing_is_signed_for_an_account_that_has_a_key(what: str) -> None:
    assert Worker().refuses(THROW_OUT[what], "settings") == {"C1-owner"}
    assert Worker().refuses(THROW_OUT[what] | {"mode": "report"}, "settings", "ann", "bo") == {"C1-owner"}


def test_nor_by_a_key_marked_for_this_very_account() -> None:
    helper = entry("helper", holder="settings-service", scopes=["account/acme"], on_behalf=True)
    assert Worker(trusting("acme", helper)).refuses(account(), "helper") == {"C1-owner"}


def test_what_the_owner_last_signed_stays_the_owners_when_the_key_goes() -> None:
    """Whoever edits the trust set cannot speak in the owner's place by dropping the owner's key."""
    worker = Worker(trusting("acme", "settings"))
    worker.takes(account(revision=3, default="alert"), "acme")
    for without in (trusting("settings"), trusting("settings", entry("acme", revoked=instants.render(NOON)))):
        worker.trust = without
        for value in (account(revision=4, default="remove"), account(revision=4, retracted=True)):
            assert worker.refuses(value, "settings", at=NOON + DAY) == {"C1-on-behalf"}
    assert judge(worker.index, join(), located(), NOON)[0].verdict == ALERT


def test_an_owners_retraction_is_not_undone_on_the_owners_behalf() -> None:
    worker = Worker(trusting("acme", "settings"))
    worker.takes(account(default="remove"), "acme")
    worker.takes(account(revision=2, retracted=True), "acme")
    worker.trust = trusting("settings")
    assert worker.refuses(account(revision=3, default="remove"), "settings") == {"C1-on-behalf"}


def test_the_owner_takes_over_and_keeps_it() -> None:
    worker = Worker(trusting("settings"))
    worker.takes(account(default="remove"), "settings")
    worker.trust = trusting("acme", "settings")
    assert worker.refuses(account(revision=2), "settings") == {"C1-owner"}
    assert not worker.takes(account(revision=2, default="remove"), "acme", "settings").on_behalf
    worker.trust = trusting("settings")
    assert worker.refuses(account(revision=3), "settings") == {"C1-on-behalf"}


def test_saying_the_owners_words_again_does_not_make_them_ones_own() -> None:
    worker = Worker(trusting("acme", "settings"))
    mine = worker.takes(account(default="remove"), "acme")
    assert worker.refuses(account(default="remove"), "settings") == {"C1-owner"}
    worker.trust = trusting("settings")
    assert worker.refuses(account(default="remove"), "settings") == {"C1-on-behalf"}
    assert (mine.holder, mine.on_behalf) == ("acme", False)


# -- hosts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize("stage", ["lobby", "live"])
@pytest.mark.parametrize("what", THROW_OUT)
def test_no_host_is_removed_on_the_owners_behalf(what: str, stage: str, role: str) -> None:
    documents = index(revision(THROW_OUT[what], on_behalf=True))
    found, _ = judge(documents, join(role=role, stage=stage), NOTHING_KNOWN, NOON)
    assert found.verdict == ALERT
    own, _ = judge(index(THROW_OUT[what]), join(role=role, stage=stage), NOTHING_KNOWN, NOON)
    assert own.verdict == REMOVE, "the owner may"


@settings(PROPERTY, max_examples=100)
@given(st.lists(st.sampled_from(["account", "meeting"]).flatmap(offers), min_size=1, max_size=3), ROLES, facts)
def test_however_many_documents_are_signed_for_an_owner_no_host_is_removed(
    values: list[dict[str, Any]], role: str, known: Facts
) -> None:
    documents = Index()
    for i, value in enumerate(values):
        documents.put(revision({**value, "name": str(i)}, on_behalf=True))
    found, _ = judge(documents, join(role=role), known, NOON)
    assert found.verdict != REMOVE or role not in HOSTS


@pytest.mark.parametrize("what", THROW_OUT)
def test_nor_by_a_sweep_of_live_meetings(what: str) -> None:
    """The document comes in while the host is in the call: they are flagged, a participant is removed."""
    said = {}
    for role in ("host", "participant"):
        session = begin(event(join(role=role)), NOTHING_KNOWN, None, 1, PROVENANCE.geo_build)
        documents = index(revision(THROW_OUT[what], on_behalf=True, offset=PROVENANCE.policy_offset, appended_at=NOON))
        change = decide_again(session, documents.reaching("acme", "m-1"), NOTHING_KNOWN, PROVENANCE, NOON)
        said[role] = change.enforced.verdict if change and change.enforced else ADMIT
        if change and change.enforced:
            cause, trigger = change.trigger
            made = decision_again(
                session,
                NOTHING_KNOWN,
                change.enforced,
                PROVENANCE,
                mode="enforce",
                at=NOON,
                cause=cause,
                trigger=trigger,
            )
            assert made.type == ("doorward.alert.v1" if role == "host" else "doorward.remove.v1")
    assert said["host"] == ALERT
    assert said["participant"] == (ADMIT if what == "by a rule for hosts" else REMOVE)


def test_whoever_is_made_a_host_is_let_in_again() -> None:
    documents = index(revision(account(default="remove"), on_behalf=True))
    slots = documents.reaching("acme", "m-1")
    session = begin(event(join(role="guest")), NOTHING_KNOWN, None, 1, PROVENANCE.geo_build)
    session.verdict = judge_by(slots, session, NOTHING_KNOWN, NOON)[0].verdict
    assert session.verdict == REMOVE
    session.role = "cohost"
    change = decide_again(session, slots, NOTHING_KNOWN, PROVENANCE, NOON)
    assert change is not None
    assert change.enforced is not None
    assert change.enforced.verdict == ALERT


def test_a_host_who_is_flagged_is_not_told_off_with_a_place() -> None:
    documents = index(revision(account(rules=[rule("remove", {"country": ["FR"]})]), on_behalf=True))
    known = located(country="FR")
    found, _ = judge(documents, join(role="host"), known, NOON)
    made = decision(event(join(role="host")), known, found, PROVENANCE, mode="enforce", offset=1, at=NOON)
    assert made.data.verdict == "alert"
    assert made.data.reason is not None
    assert made.data.reason.matched == {}


# -- said, before it bites ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [account(default="remove"), meeting(default="remove")])
def test_its_acceptance_names_account_meeting_and_holder(value: dict[str, Any]) -> None:
    worker = Worker(trusting("settings"))
    worker.takes(value, "settings")
    (said,) = worker.said
    assert isinstance(said, status.AcceptedEvent)
    assert (said.data.account, said.data.meeting) == ("acme", value.get("meeting"))
    assert (said.data.holder, said.data.on_behalf) == ("settings-service", True)


def test_the_receipt_says_so() -> None:
    worker = Worker(trusting("settings"))
    made = worker.takes(account(default="remove"), "settings")
    found, _ = judge(worker.index, join(), NOTHING_KNOWN, NOON)
    said = decision(event(), NOTHING_KNOWN, found, PROVENANCE, mode="enforce", offset=1, at=NOON).data.receipt
    assert said
    assert said.document == made.sha256
    for copy in (said.person, said.host):
        assert "settings-service on the owner's behalf" in copy


# -- the owner's key taken away ----------------------------------------------------------------------------------------

OWNED = trusting("acme", "settings")


@pytest.mark.parametrize(
    "offered",
    [
        pytest.param(trusting("settings"), id="deleted"),
        pytest.param(
            trusting("settings", entry("acme", revoked=instants.render(NOON - DAY))), id="revoked, dated back"
        ),
        pytest.param(trusting("settings", entry("acme", scopes=["account/globex"])), id="for another account"),
        pytest.param(trusting("settings", entry("acme", on_behalf=True)), id="made to work on behalf"),
        pytest.param(
            trusting("settings", "acme", entry("bo", holder="acme", scopes=["service"])), id="an approver by name"
        ),
        pytest.param(trusting("settings", entry("acme", kid="acme-1")), id="under another kid"),
        pytest.param(trusting("settings", entry("acme", x=entry("bo")["x"])), id="exchanged"),
        pytest.param(trusting("settings", entry("acme", revoked=instants.render(NOON + DAY))), id="revoked then"),
    ],
)
def test_whoever_keeps_the_trust_set_cannot_hand_a_path_over(offered: TrustSet) -> None:
    """The log is judged by the set there is now: without the owner's key the path would never have been theirs."""
    worker = Worker(in_use(OWNED, offered, at=NOON + DAY))
    worker.takes(account(default="alert"), "acme")
    removing = account(default="remove", revision=2)
    assert worker.refuses(removing, "settings", at=NOON + DAY) & {"C1-owner", "C1-on-behalf"}
    assert worker.refuses(account(default="remove"), "settings", at=NOON + DAY)


def test_an_owner_comes_into_a_key_of_their_own_all_the_same() -> None:
    worker = Worker(in_use(trusting("settings"), OWNED, at=NOON))
    worker.takes(account(default="alert"), "acme")
    assert worker.refuses(account(default="remove", revision=2), "settings") == {"C1-owner"}
