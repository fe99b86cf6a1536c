"""What a worker accepts from the policy log, and what offline ``decide`` accepts from a folder."""

from __future__ import annotations

from typing import Any

import pytest

from streams.adapters.iso import vocabulary
from streams.core import instants
from streams.core.index import Index, Revision
from streams.core.policy import parse
from streams.wire.announced import Announced
from streams.wire.documents import Place
from streams.wire.jws import countersign, digest_of, sign
from streams.wire.signed import (
    Record,
    Rejected,
    Repeat,
    accept,
    accept_unsigned,
    check,
    index_of_signed,
    index_of_unsigned,
)
from streams.wire.trust import TrustSet
from tests.signing import AUDIENCE, entry, key, trusting

DAY = instants.DAY
NOW = instants.parse("2026-11-21T09:30:00Z")
TRUST = trusting()  # acme has a key of its own; settings signs on behalf; ann, bo and cleo approve
OWNERLESS = trusting("settings", "ann", "bo")


def owner(revision: int = 1, account: str = "acme", **more: Any) -> dict[str, Any]:
    return {"scope": "account", "account": account, "name": "rooms", "revision": revision, "default": "admit", **more}


def service(revision: int = 1, countries: tuple[str, ...] = ("FR", "DE"), **more: Any) -> dict[str, Any]:
    rules = [{"id": "export", "when": {"country": list(countries)}, "then": "remove"}] if countries else []
    return {
        "scope": "service",
        "name": "export",
        "revision": revision,
        "class": "legal",
        "ground": "Export control",
        "reference": "https://law.example/1",
        "contest": "https://contest.example",
        "not_before": instants.render(NOW + 2 * DAY),
        "not_after": instants.render(NOW + 30 * DAY),
        "rules": rules,
        "default": "admit",
        **more,
    }


def retraction(of: dict[str, Any], revision: int) -> dict[str, Any]:
    ids = {name: of[name] for name in ("scope", "account", "meeting", "name") if name in of}
    return {**ids, "revision": revision, "retracted": True}


class Log:
    """A policy log and what a worker makes of it."""

    def __init__(self, trust: TrustSet = TRUST) -> None:
        self.trust, self.index, self.offset = trust, Index(), -1

    def append(self, document: dict[str, Any], *signers: str, at: int = NOW, **options: Any) -> Revision:
        self.offset += 1
        raw = sign(document, [key(name) for name in signers], AUDIENCE)
        path = parse(document, vocabulary()).path.encode()
        revision = accept(
            raw,
            vocabulary=vocabulary(),
            index=self.index,
            **{
                "trust": self.trust,
                "audience": AUDIENCE,
                "record": Record(options.pop("key", path), self.offset, at),
                **options,
            },
        )
        assert self.index.put(revision)
        return revision

    def refuses(self, document: dict[str, Any], *signers: str, **options: Any) -> set[str]:
        with pytest.raises(Rejected) as rejected:
            self.append(document, *signers, **options)
        assert rejected.value.sha256
        return {problem.code for problem in rejected.value.problems}


# -- owners' documents -------------------------------------------------------------------------------------------


def test_an_owners_document_is_accepted_with_what_is_known_of_it() -> None:
    log = Log()
    revision = log.append(owner(7), "acme")
    raw = sign(owner(7), [key("acme")], AUDIENCE)
    assert revision.document == parse(owner(7), vocabulary())
    assert (revision.holder, revision.on_behalf, revision.sha256) == ("acme", False, digest_of(raw))
    assert (revision.offset, revision.appended_at) == (0, NOW)


@pytest.mark.parametrize("signers", [("ann",), ("stranger-of-acme",), ("settings",), ("ann", "bo")])
def test_nobody_else_signs_for_an_account_with_a_key_of_its_own(signers: tuple[str, ...]) -> None:
    trust = trusting("acme", "settings", "ann", "bo", entry("stranger-of-acme", scopes=["account/acme-2"]))
    assert Log(trust).refuses(owner(), *signers) == {"C1-owner"}


def test_a_wildcard_key_signs_on_behalf_of_owners_without_one() -> None:
    revision = Log().append(owner(account="school"), "settings")
    assert (revision.holder, revision.on_behalf) == ("settings-service", True)
    assert not Log().append(owner(), "settings", "acme").on_behalf, "the owner's own signature counts first"


def test_on_behalf_never_follows_the_owners_own_key() -> None:
    log = Log()
    log.append(owner(1), "acme")
    log.trust = OWNERLESS  # the account's key is gone
    assert log.refuses(owner(2, default="remove"), "settings") == {"C1-on-behalf"}
    assert log.refuses(retraction(owner(), 2), "settings") == {"C1-on-behalf"}
    log.trust = TRUST
    log.append(retraction(owner(), 2), "acme")
    log.trust = OWNERLESS
    assert log.refuses(owner(3), "settings") == {"C1-on-behalf"}


def test_the_owner_follows_on_behalf() -> None:
    log = Log(OWNERLESS)
    assert log.append(owner(1), "settings").on_behalf
    log.trust = TRUST
    assert not log.append(owner(2), "acme").on_behalf


def test_what_a_key_signed_before_it_was_revoked_stands() -> None:
    log = Log(trusting("settings", entry("acme", revoked=instants.render(NOW))))
    assert log.refuses(owner(account="acme"), "settings", at=NOW - 1) == {"C1-owner"}, (
        "the account had its own key then"
    )
    log.append(owner(1), "acme", at=NOW - 1)
    assert log.refuses(owner(2), "acme") == {"revoked"}


# -- the log -----------------------------------------------------------------------------------------------------


def test_a_record_stands_under_its_documents_path() -> None:
    for wrong in (None, b"", b"account/acme/other", b"account/acme/rooms "):
        assert Log().refuses(owner(), "acme", key=wrong) == {"key-mismatch"}
    log = Log(trusting(entry("a/b", scopes=["account/a/b"])))
    log.append(owner(account="a/b"), "a/b", key=b"account/a%2Fb/rooms")


def test_revisions_only_rise() -> None:
    log = Log()
    log.append(owner(5), "acme")
    assert log.refuses(owner(4), "acme") == {"revision-falls"}
    assert log.refuses(retraction(owner(), 4), "acme") == {"revision-falls"}
    assert log.refuses(owner(5, note="other"), "acme") == {"revision-conflict"}
    log.append(owner(6), "acme")


def test_the_same_content_is_a_repeat_however_it_is_written_or_signed() -> None:
    log = Log()
    first = log.append(owner(1), "acme")
    log.append(owner(2), "acme")
    with pytest.raises(Repeat) as repeat:
        log.append(dict(reversed(owner(1).items())), "acme")
    assert repeat.value.accepted == first
    assert log.refuses(owner(1), "ann") == {"C1-owner"}, "a repeat by somebody who may not is no repeat"


def test_a_repeat_needs_no_notice() -> None:
    log = Log()
    log.append(service(), "ann", "bo")
    with pytest.raises(Repeat):
        log.append(service(), "bo", "cleo", at=NOW + 2 * DAY)


def test_a_tombstone_changes_nothing() -> None:
    with pytest.raises(Rejected) as rejected:
        accept(
            None, trust=TRUST, audience=AUDIENCE, vocabulary=vocabulary(), index=Index(), record=Record(b"k", 0, NOW)
        )
    assert [problem.code for problem in rejected.value.problems] == ["tombstone"]


def test_every_problem_is_said() -> None:
    with pytest.raises(Rejected) as rejected:
        Log().append(service(), "ann", at=NOW + 2 * DAY, key=b"service/other")
    assert {p.code for p in rejected.value.problems} == {"key-mismatch", "C5-approvers", "C5-notice"}
    assert (rejected.value.path, rejected.value.revision) == ("service/export", 1)
    raw = sign({**service(), "default": "remove", "more": 1}, [key("ann")], AUDIENCE)
    with pytest.raises(Rejected) as rejected:
        accept(raw, trust=TRUST, audience=AUDIENCE, vocabulary=vocabulary(), index=Index())
    assert {"unknown-key"} <= {p.code for p in rejected.value.problems}
    assert rejected.value.path is None


# -- service documents -------------------------------------------------------------------------------------------


def test_two_holders_approve_a_service_document() -> None:
    assert Log().append(service(), "bo", "ann").holder == "ann, bo"
    for signers in (("ann",), ("ann", "ann-2"), ("ann", "acme"), ("ann", "settings")):
        assert Log().refuses(service(), *signers) == {"C5-approvers"}


def test_a_key_that_works_on_behalf_approves_nothing() -> None:
    trust = trusting("ann", entry("bo", on_behalf=True), entry("cleo", scopes=["service", "account/*"]))
    assert Log(trust).refuses(service(), "ann", "bo", "cleo") == {"C5-approvers"}


def test_signatures_gathered_in_two_places_count_as_two() -> None:
    raw = countersign(sign(service(), [key("ann")], AUDIENCE), [key("cleo")], AUDIENCE)
    record = Record(b"service/export", 0, NOW)
    found = accept(raw, trust=TRUST, audience=AUDIENCE, vocabulary=vocabulary(), index=Index(), record=record)
    assert found.holder == "ann, cleo"


def test_what_removes_is_published_a_day_before() -> None:
    opens = NOW + 2 * DAY
    assert Log().refuses(service(), "ann", "bo", at=opens - DAY + 1) == {"C5-notice"}
    Log().append(service(), "ann", "bo", at=opens - DAY)
    alerts = [{"id": "a", "when": {"country": ["FR"]}, "then": "alert"}]
    Log().append(service(rules=alerts), "ann", "bo", at=opens)


def test_one_approver_retracts_or_takes_away() -> None:
    log = Log()
    log.append(service(1), "ann", "bo")
    late = NOW + 3 * DAY
    assert log.refuses(service(2, ("FR",)), "cleo", at=late) == {"C5-approvers"}, "she did not approve it"
    assert log.refuses(service(2, ("FR", "DE", "SE")), "ann", at=late) == {"C5-approvers", "C5-notice"}
    assert log.append(service(2, ("FR",)), "ann", at=late).holder == "ann"
    # the other approver of what stands may still act alone
    log.append(service(3, ("FR",), not_after=instants.render(NOW + 20 * DAY)), "bo", at=late)
    assert log.refuses(retraction(service(), 4), "cleo", at=late) == {"C5-approvers"}
    log.append(retraction(service(), 4), "ann", at=late)


def test_after_a_retraction_everything_is_asked_again() -> None:
    log = Log()
    log.append(service(1), "ann", "bo")
    # its text means nothing and is not held to the charter: nobody may "take away" from it
    log.append({**service(2), "retracted": True}, "ann")
    late = NOW + 3 * DAY
    assert log.refuses(service(3, ("FR",)), "ann", at=late) == {"C5-approvers", "C5-notice"}
    assert log.refuses(service(3, ("FR",)), "ann", "bo", at=late) == {"C5-notice"}


def test_one_approver_cannot_retract_what_is_not_there() -> None:
    assert Log().refuses(retraction(service(), 2), "ann") == {"C5-approvers"}


def announcing(*said: tuple[int, TrustSet]) -> Announced:
    made = Announced()
    for at, trust in said:
        made.note(trust.announced(), at)
    return made


def test_a_key_approves_a_day_after_it_was_announced() -> None:
    young = announcing((NOW - DAY, trusting("ann")), (NOW - DAY + 1, TRUST))
    assert Log().refuses(service(), "ann", "bo", announced=young) == {"C5-approvers", "C5-key-age"}
    assert Log().refuses(service(), "ann", "bo", announced=announcing()) == {"C5-approvers", "C5-key-age"}
    assert Log().append(service(), "ann", "bo", announced=announcing((NOW - DAY, TRUST))).holder == "ann, bo"
    two = announcing((0, trusting("ann", "bo")), (NOW - DAY + 1, TRUST))
    assert Log().append(service(), "ann", "bo", "cleo", announced=two).holder == "ann, bo", "cleo's comes too soon"
    Log().append(owner(), "acme", announced=announcing())


def test_a_refusal_says_from_when_a_key_approves() -> None:
    young = announcing((NOW - 3_600_000, TRUST))
    with pytest.raises(Rejected) as refused:
        Log().append(service(), "ann", "bo", announced=young)
    [_, ann, _] = [problem.message for problem in refused.value.problems]
    assert ann.startswith("key ann of ")
    assert ann.endswith(" was announced at 2026-11-21T08:30:00.000Z and approves from 2026-11-22T08:30:00.000Z on")
    with pytest.raises(Rejected, match="was not announced yet"):
        Log().append(service(), "ann", "bo", announced=announcing((NOW + 1, TRUST)))


def test_whoever_can_remove_says_how_to_contest() -> None:
    silent = service()
    del silent["contest"]
    assert Log().refuses(silent, "ann", "bo") == {"contest"}
    Log().append(silent, "ann", "bo", contest="https://contest.example")
    Log().append({**silent, "rules": []}, "ann", "bo")
    Log().append(owner(default="remove"), "acme")


# -- without a log -----------------------------------------------------------------------------------------------


def test_a_folder_of_signed_documents_needs_no_notice_but_all_signatures() -> None:
    def signed_as(document: dict[str, Any], *signers: str) -> bytes:
        return sign(document, [key(name) for name in signers], AUDIENCE)

    past = {"not_before": instants.render(NOW - 10 * DAY), "not_after": instants.render(NOW + 10 * DAY)}
    files = [
        (signed_as(service(2, ("FR",), **past), "ann"), Place("a.jws.json", 1)),  # takes away from what comes later
        (signed_as(service(1, **past), "ann", "bo"), Place("b.jws.json", 1)),
        (signed_as(owner(1), "acme"), Place("c.jws.json", 1)),
        (signed_as(owner(1), "acme"), Place("d.jws.json", 1)),
        (signed_as(owner(1, note="other"), "acme"), Place("e.jws.json", 1)),
        (signed_as(service(3, ("DE", "FR"), **past), "bo"), Place("f.jws.json", 1)),
        (b"{}", Place("g.jws.json", 1)),
    ]
    index, findings = index_of_signed(files, trust=TRUST, audience=AUDIENCE, vocabulary=vocabulary())
    assert [(f.place.file, f.problem.code) for f in findings] == [
        ("g.jws.json", "not-jws"),
        ("e.jws.json", "revision-conflict"),
        ("f.jws.json", "C5-approvers"),
    ]
    slot = index.get("service/export")
    assert slot
    assert [r.document.revision for r in slot.revisions] == [2, 1]


def test_a_folder_of_unsigned_documents_answers_for_its_text_alone() -> None:
    documents = [
        (owner(2), Place("a.yaml", 1)),
        (owner(1), Place("a.yaml", 9)),
        (dict(reversed(owner(1).items())), Place("b.yaml", 1)),
        (owner(1, note="other"), Place("c.yaml", 1)),
        (service(default="remove"), Place("d.yaml", 3)),
    ]
    index, findings = index_of_unsigned(documents, vocabulary())
    assert [str(finding) for finding in findings] == [
        "c.yaml:1: revision: revision 1 is accepted with other content [revision-conflict]",
        "d.yaml:3: default: must be admit in a service document [C2-general]",
    ]
    assert len(index) == 1
    revision = accept_unsigned(service(), vocabulary(), index)
    assert (revision.holder, revision.sha256, revision.offset) == (None, None, -1)


def test_whoever_pushes_learns_before_pushing_what_no_worker_would_take() -> None:
    def prospects(document: dict[str, Any], *signers: str) -> set[str]:
        raw = sign(document, [key(name) for name in signers], AUDIENCE)
        try:
            check(raw, trust=TRUST, audience=AUDIENCE, vocabulary=vocabulary())
        except Rejected as exc:
            return {problem.code for problem in exc.problems}
        return set()

    assert prospects(owner(), "acme") == set()
    assert prospects(owner(), "settings") == {"C1-owner"}
    assert prospects(owner(), "stranger") == {"untrusted"}
    assert prospects(service(), "acme") == {"C5-approvers"}
    assert prospects(retraction(service(), 2), "ann") == set(), "whether one suffices, the log knows"
    assert prospects(owner(default="maybe"), "acme") == {"choice"}
