"""Rulings 31 and 32, tried at the policy log: being two where two are asked for, and doing alone what takes two.

ann, bo and cleo hold keys for service documents, ann a second one; acme owns meetings; settings signs for owners.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.core import instants
from streams.core.decide import judge
from streams.core.facts import connection_bits
from streams.core.policy import MAX_REVISION
from streams.core.status import AnnouncedKey
from streams.wire.announced import Announced
from streams.wire.jws import sign
from streams.wire.trust import TrustSet
from tests.samples import DAY, EU, HOUR, NOON, REMOVE, account, join, located, rule, service
from tests.signing import AUDIENCE, HELD, Worker, b64, entry, in_use, key, signature, trusting, wrapped

OPENS, CLOSES = NOON + 2 * DAY, NOON + 60 * DAY
LATE = OPENS + DAY
MOBILE = connection_bits(["mobile"])
"""After the window has opened: no notice is possible any more."""
RULES = [
    rule("admit", {"subdivision": ["FR-75"]}, "shield"),
    rule("alert", {"connection": {"not": ["hosting", "mobile"]}}, "flag"),
    rule("remove", {"country": ["FR", "DE"], "connection": {"not": ["relay"]}}, "first"),
    rule("remove", {"continent": ["EU", "AF"]}, "second"),
]


def export(revision: int = 1, **fields: Any) -> dict[str, Any]:
    window = {"not_before": instants.render(OPENS), "not_after": instants.render(CLOSES)}
    return service(**{"revision": revision, "rules": RULES, "contest": "https://contest.example", **window, **fields})


def retraction(revision: int = 2, **fields: Any) -> dict[str, Any]:
    return {"scope": "service", "name": "export", "revision": revision, "retracted": True, **fields}


@pytest.fixture
def worker() -> Worker:
    """It has a document that ann and bo approved."""
    made = Worker()
    made.takes(export(), "ann", "bo")
    return made


# -- two who are one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signers",
    [
        pytest.param(("ann",), id="one"),
        pytest.param(("ann", "ann-2"), id="one holder by two key ids"),
        pytest.param(("ann", "settings"), id="one and a settings service"),
        pytest.param(("ann", "acme"), id="one and an owner"),
        pytest.param(("ann", "ann-2", "acme", "settings"), id="one and all who do not count"),
        pytest.param(("acme", "settings"), id="none who counts"),
    ],
)
def test_one_holder_is_one_however_many_sign(signers: tuple[str, ...]) -> None:
    worker = Worker()
    assert worker.refuses(export(), *signers) == {"C5-approvers"}
    assert worker.refuses(retraction(1), *signers) == {"C5-approvers"}


def test_one_key_that_signs_twice_is_one() -> None:
    payload = json.dumps(export()).encode()
    ann, again = signature(payload, "ann"), signature(payload, "ann", alg="EdDSA")
    assert ann != again
    assert Worker().reads(wrapped(payload, ann, ann, again), "service/export") == {"C5-approvers"}


def test_an_approver_and_a_signature_that_is_none() -> None:
    payload = json.dumps(export()).encode()
    ann, bo = signature(payload, "ann"), signature(payload, "bo")
    for second, code in (
        ({**bo, "signature": ann["signature"]}, "signature"),
        ({**bo, "signature": b64(bytes(64))}, "signature"),
        (signature(payload, "stranger", kid="bo"), "signature"),
        (signature(payload, "stranger"), "C5-approvers"),
        (signature(payload + b" ", "bo"), "signature"),
        (signature(payload, "bo", aud="doorward-staging"), "audience"),
        (signature(payload, "bo", typ="JWT"), "typ"),
    ):
        assert Worker().reads(wrapped(payload, ann, second), "service/export") == {code}
    assert Worker().reads(wrapped(payload, ann, bo), "service/export") == set()


@pytest.mark.parametrize(
    "second",
    [
        entry("bo", on_behalf=True),
        entry("bo", scopes=["service", "account/*"]),
        entry("bo", scopes=["service", "account/acme"]),
        entry("bo", revoked=instants.render(NOON)),
        entry("bo", holder="ann"),
        entry("bo", scopes=["account/service"]),
    ],
)
def test_a_second_key_that_may_not_approve(second: dict[str, Any]) -> None:
    assert Worker(trusting("ann", second)).refuses(export(), "ann", "bo") == {"C5-approvers"}


def test_revoking_is_immediate_and_looks_forward_only() -> None:
    worker = Worker(trusting("ann", "cleo", entry("bo", revoked=instants.render(NOON))))
    worker.takes(export(), "ann", "bo", at=NOON - 1)
    assert worker.refuses(export(2, note="New"), "ann", "bo", at=NOON) == {"C5-approvers"}
    assert worker.refuses(retraction(), "bo", at=NOON) == {"revoked"}


@pytest.mark.parametrize(
    "offered",
    [
        pytest.param(trusting("ann", "cleo"), id="deleted"),
        pytest.param(trusting("ann", "cleo", entry("bo", revoked=instants.render(NOON + DAY))), id="dated back"),
        pytest.param(trusting("ann", "cleo", entry("bo", scopes=["account/acme"])), id="another scope"),
        pytest.param(trusting("ann", "cleo", entry("bo", on_behalf=True)), id="on behalf"),
        pytest.param(trusting("ann", "cleo", "bo", entry("acme", holder="bo", scopes=["account/*"])), id="by wildcard"),
        pytest.param(trusting("ann", "cleo", entry("bo", holder="ann")), id="ann's"),
    ],
)
def test_a_retraction_outlives_the_key_that_signed_it(offered: TrustSet) -> None:
    """One who keeps the trust set would else bring a document back, without a notice and without approvers."""
    retracted_at = NOON + 3 * DAY
    worker = Worker(in_use(trusting("ann", "bo", "cleo"), offered, at=retracted_at + HOUR))
    worker.takes(export(), "ann", "bo", "cleo")
    worker.takes(retraction(), "bo", at=retracted_at)
    found, _ = judge(worker.index, join(), located(country="FR"), LATE)
    assert found.verdict != REMOVE


def test_the_key_that_signed_it_may_be_revoked_after_it() -> None:
    retracted_at = NOON + 3 * DAY
    later = trusting("ann", "cleo", entry("bo", revoked=instants.render(retracted_at + HOUR)))
    trust = in_use(trusting("ann", "bo", "cleo"), later, at=retracted_at + HOUR)
    assert trust is later
    worker = Worker(trust)
    worker.takes(export(), "ann", "bo", "cleo")
    assert worker.takes(retraction(), "bo", at=retracted_at)


# -- one who does what takes two ---------------------------------------------------------------------------------------


def changed(i: int, then: str | None = None, **when: Any) -> list[dict[str, Any]]:
    """The rules with one of them changed; ``None`` takes a condition out."""
    asked = {k: v for k, v in (RULES[i]["when"] | when).items() if v is not None}
    return [*RULES[:i], {**RULES[i], "when": asked, "then": then or RULES[i]["then"]}, *RULES[i + 1 :]]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"rules": RULES[1:]}, id="the rule that shields those in Paris goes"),
        pytest.param({"rules": changed(0, subdivision=["FR-13"])}, id="it shields others"),
        pytest.param({"rules": [RULES[0], *RULES[2:]]}, id="a flag goes, behind which nobody was removed"),
        pytest.param({"rules": [*RULES[1:], RULES[0]]}, id="the shield moves behind"),
        pytest.param({"rules": [RULES[0], RULES[2], RULES[1], RULES[3]]}, id="a removal moves before the flag"),
        pytest.param({"rules": changed(2, country=["FR"], subdivision=["DE-BE"])}, id="a subdivision under a country"),
        pytest.param(
            {"rules": changed(2, country=None, subdivision=["FR-75"])}, id="a country becomes its subdivision"
        ),
        pytest.param({"rules": changed(2, country=["FR", "US"])}, id="one out, one in"),
        pytest.param({"rules": changed(2, country=["FR", "DE", "VA"])}, id="one in"),
        pytest.param(
            {"rules": changed(2, country={"not": ["FR", "DE"]}, continent=["EU"])}, id="turned into exceptions"
        ),
        pytest.param({"rules": changed(2, connection=None)}, id="an exception goes"),
        pytest.param({"rules": changed(2, connection={"not": ["hosting"]})}, id="another exception"),
        pytest.param({"rules": changed(1, connection={"not": ["hosting"]})}, id="a flag excepts fewer"),
        pytest.param({"rules": changed(1, connection={"not": ["hosting", "mobile", "vpn"]})}, id="a flag excepts more"),
        pytest.param({"rules": changed(1, "remove", connection=None, continent=["EU"])}, id="a flag removes"),
        pytest.param({"rules": changed(0, "alert")}, id="an admission flags"),
        pytest.param({"rules": changed(2, "alert")}, id="a removal flags"),
        pytest.param({"rules": [*RULES[:2], RULES[3], RULES[2]]}, id="two removals change places"),
        pytest.param({"rules": [*RULES, rule("remove", {"country": ["US"]}, "third")]}, id="a rule more"),
        pytest.param({"rules": [*RULES[:3], {**RULES[3], "id": "third"}]}, id="another id"),
        pytest.param({"rules": [*RULES[:3], {**RULES[3], "note": "By order."}]}, id="other words"),
        pytest.param({"not_before": instants.render(OPENS - 1)}, id="opens a moment sooner"),
        pytest.param({"not_after": instants.render(CLOSES + 1)}, id="closes a moment later"),
        pytest.param({"not_before": "2026-11-23T12:00:00+00:01"}, id="opens a minute sooner, by its offset"),
        pytest.param({"mode": "report"}, id="another mode"),
        pytest.param({"class": "safety"}, id="another class"),
        pytest.param({"ground": "Another one"}, id="another ground"),
        pytest.param({"contest": "https://nobody.example"}, id="another way to contest"),
    ],
)
def test_a_revision_that_only_seems_to_take_away(worker: Worker, fields: dict[str, Any]) -> None:
    assert "C5-approvers" in worker.refuses(export(2, **fields), "ann", at=LATE)
    assert "C5-approvers" in worker.refuses(export(2, **fields), "ann", "ann-2")


def test_taking_away_is_for_those_who_approved_it(worker: Worker) -> None:
    less = export(2, rules=changed(2, country=["FR"]))
    for signers in (("cleo",), ("settings",), ("acme",)):
        assert worker.refuses(less, *signers, at=LATE) == {"C5-approvers"}
        assert worker.refuses(retraction(), *signers, at=LATE) == {"C5-approvers"}
    worker.takes(less, "ann", at=LATE)
    assert worker.refuses(export(3), "ann", at=LATE) == {"C5-approvers", "C5-notice"}, "back to what two approved"
    assert worker.refuses(export(3), "ann", "bo", at=LATE) == {"C5-notice"}


def test_who_approved_an_earlier_revision_did_not_approve_this_one(worker: Worker) -> None:
    worker.trust = trusting("ann", "bo", "cleo", entry("dan", holder="dan", scopes=["service"]))
    worker.takes(export(2), "cleo", "dan")
    assert worker.refuses(retraction(3), "ann", at=LATE) == {"C5-approvers"}
    worker.takes(retraction(3), "dan", at=LATE)


def test_a_narrower_window_is_still_a_window(worker: Worker) -> None:
    """Nobody narrows it to one evening, alone or together."""
    evening = {"not_before": instants.render(OPENS + DAY), "not_after": instants.render(OPENS + DAY + HOUR)}
    assert worker.refuses(export(2, **evening), "ann") == {"C5-window"}
    assert worker.refuses(export(2, **evening), "ann", "bo") == {"C5-window"}


# -- retraction --------------------------------------------------------------------------------------------------------


def removes(worker: Worker, at: int) -> bool:
    return judge(worker.index, join(), located(country="DE", connection=MOBILE), at)[0].verdict == REMOVE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"not_before": instants.render(CLOSES), "not_after": instants.render(CLOSES + 7 * DAY)},
        {"not_before": "2030-01-01T00:00:00Z"},
        {"not_after": "1999-01-01T00:00:00Z"},
        {"rules": RULES, "default": "admit", "class": "legal"},
        {"rules": [rule("remove", {"role": ["guest"]})], "default": "remove", "mode": "report"},
    ],
)
def test_a_retraction_ends_it_whatever_else_it_says(worker: Worker, fields: dict[str, Any]) -> None:
    assert removes(worker, LATE)
    worker.takes(retraction(**fields), "bo", at=LATE)
    for at in (LATE, CLOSES, CLOSES + DAY, instants.parse("2030-06-01T00:00:00Z")):
        assert not removes(worker, at)


@pytest.mark.parametrize("fields", [{"account": "acme"}, {"retracted": "true"}, {"retracted": 1}, {"retracted": None}])
def test_a_retraction_that_is_none(worker: Worker, fields: dict[str, Any]) -> None:
    assert worker.refuses(retraction(**fields), "ann", "bo", path="service/export")
    assert removes(worker, LATE)


def test_an_approver_of_one_document_does_not_retract_another(worker: Worker) -> None:
    worker.takes(export(name="other"), "bo", "cleo")
    assert worker.refuses(retraction(2, name="other"), "ann") == {"C5-approvers"}
    assert worker.refuses(retraction(2), "ann", path="service/other") == {"key-mismatch"}


def test_nobody_comes_back_below_a_retraction(worker: Worker) -> None:
    worker.takes(retraction(5), "ann")
    for number in (2, 4):
        assert worker.refuses(export(number), "ann", "bo") == {"revision-falls"}
    assert worker.refuses(export(5), "ann", "bo") == {"revision-conflict"}
    assert worker.refuses(export(6), "ann") == {"C5-approvers"}, "there is nothing left to take away from"
    assert worker.refuses(export(6), "ann", "bo", at=LATE) == {"C5-notice"}, "and the notice given is used up"
    assert worker.reads(sign(export(), [key("ann"), key("bo")], AUDIENCE), "service/export") == set(), "a repeat"
    assert not removes(worker, LATE)
    worker.takes(export(6), "ann", "bo")
    assert removes(worker, LATE)


def test_the_last_revision_is_the_last(worker: Worker) -> None:
    worker.takes(retraction(MAX_REVISION), "ann")
    assert worker.refuses(export(MAX_REVISION + 1), "ann", "bo") == {"number"}
    assert worker.refuses(export(MAX_REVISION), "ann", "bo") == {"revision-conflict"}
    worker.takes(export(name="export-2"), "ann", "bo")


# -- a fresh key -------------------------------------------------------------------------------------------------------


def announced(*said: tuple[int, TrustSet | list[AnnouncedKey]]) -> Announced:
    """What ``policies.status`` holds: instants, and the trust sets announced at them."""
    made = Announced()
    for at, keys in said:
        made.note(keys.announced() if isinstance(keys, TrustSet) else keys, at)
    return made


BOTH = trusting("ann", "bo")
FRESH = {"C5-approvers", "C5-key-age"}


@pytest.mark.parametrize(
    ("age", "codes"), [(DAY, set()), (DAY - 1, FRESH), (0, FRESH), (-HOUR, FRESH), (30 * DAY, set())]
)
def test_a_key_approves_a_day_after_it_was_announced(age: int, codes: set[str]) -> None:
    worker = Worker(BOTH, announced=announced((NOON - 40 * DAY, trusting("ann")), (NOON - age, BOTH)))
    assert worker.reads(sign(export(), [key("ann"), key("bo")], AUDIENCE), "service/export") == codes


def test_a_key_that_nobody_was_told_of_never_does() -> None:
    for said in ([], [(NOON - 9 * DAY, trusting("ann"))]):
        assert Worker(BOTH, announced=announced(*said)).refuses(export(), "ann", "bo") == FRESH


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(entry("bo", x=entry("cleo")["x"]), id="the same kid, another key"),
        pytest.param(entry("bo", holder="somebody"), id="the same key, another holder"),
        pytest.param(entry("bo", scopes=["account/globex"]), id="the same key, for an account"),
        pytest.param(entry("bo", on_behalf=True), id="the same key, on behalf"),
        pytest.param(entry("bo", scopes=["service", "account/*"]), id="the same key, for all accounts too"),
        pytest.param(entry("bo", revoked=instants.render(NOON - 90 * DAY)), id="the same key, revoked"),
        pytest.param(entry("bo-of-old", holder="bo", scopes=["service"]), id="the same holder, another key"),
    ],
)
def test_a_key_that_was_announced_as_something_else_is_fresh(before: dict[str, Any]) -> None:
    told = announced((NOON - 60 * DAY, trusting("ann", before)), (NOON - HOUR, BOTH))
    assert Worker(BOTH, announced=told).refuses(export(), "ann", "bo") == FRESH


def test_a_fresh_key_does_not_retract_or_take_away_either() -> None:
    """Else a key slipped into the trust set under an approver's name could at once undo what is in force."""
    newer = trusting("ann", "bo", entry("bo-2", holder="bo", scopes=["service"]))
    worker = Worker(newer, announced=announced((NOON - 30 * DAY, BOTH), (NOON - HOUR, newer)))
    worker.takes(export(), "ann", "bo")
    assert worker.refuses(retraction(), "bo-2") == FRESH
    assert worker.refuses(export(2, rules=changed(2, country=["FR"])), "bo-2") == FRESH


def test_a_fresh_key_beside_two_old_ones_does_no_harm() -> None:
    told = announced((NOON - 30 * DAY, BOTH), (NOON, trusting("ann", "bo", "cleo")))
    worker = Worker(trusting("ann", "bo", "cleo"), announced=told)
    assert worker.takes(export(), "ann", "bo", "cleo").holder == "ann, bo"


def test_owners_keys_need_no_announcement() -> None:
    Worker(announced=announced()).takes(account(default="remove"), "acme")


def test_a_key_taken_out_and_put_back_starts_anew() -> None:
    told = announced((NOON - 60 * DAY, BOTH), (NOON - 2 * DAY, trusting("ann")), (NOON - HOUR, BOTH))
    assert Worker(BOTH, announced=told).refuses(export(), "ann", "bo") == FRESH


@pytest.mark.parametrize("shown", [60_000, HOUR, 22 * HOUR])
def test_a_key_shown_for_a_while_a_day_ago_is_fresh(shown: int) -> None:
    """Put back in time to be found where it was a day before."""
    at = NOON + DAY + shown // 2
    told = announced((NOON, BOTH), (NOON + shown, trusting("ann")), (at - 1000, BOTH))
    document = sign(export(not_before=instants.render(NOON + 5 * DAY)), [key("ann"), key("bo")], AUDIENCE)
    assert Worker(BOTH, announced=told).reads(document, "service/export", at=at) == FRESH


def test_everybody_here_is_who_they_say() -> None:
    """The two keys of one holder are two keys: what these tests call one holder is not one key."""
    assert HELD["ann"][0] == HELD["ann-2"][0]
    assert entry("ann")["x"] != entry("ann-2")["x"]
    assert {"FR", "DE"} < set(EU)


@pytest.mark.parametrize("like", ["Ann", "ann\u200b", "\uff41nn", "a\u0301nn", "\u00e1nn", "an\u00adn"])
def test_one_holder_by_two_names_is_no_trust_set(like: str) -> None:
    with pytest.raises(ValueError, match=r"holders 'ann' and .* differ in nothing but") as refused:
        trusting("ann", entry("bo", holder=like))
    assert str(refused.value).isascii(), "what cannot be seen is spelt out"
    assert trusting("ann", entry("bo", holder="anna"))


def test_two_names_with_a_space_more_are_one_holder() -> None:
    for like in ("dr  bo", "dr\u00a0bo", "Dr bo"):
        with pytest.raises(ValueError, match="write one person's name in one way"):
            trusting(entry("bo", holder="dr bo"), entry("cleo", holder=like))


@pytest.mark.parametrize("holder", ["\u200b", "\u3164", "\u0000"])
def test_a_holder_can_be_read(holder: str) -> None:
    with pytest.raises(ValueError, match="nothing that can be seen"):
        trusting(entry("bo", holder=holder))


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60Z"])
def test_every_time_that_is_read_can_be_said(at: str) -> None:
    """A trust set or a document with one that cannot would stop the worker when it is announced."""
    with pytest.raises(ValueError, match="revoked: no such time"):
        trusting(entry("acme", revoked=at))
    worker = Worker()
    assert worker.refuses(account(not_after=at), "acme") == {"time"}
    assert worker.refuses(export(not_after=at), "ann", "bo") == {"time"}
