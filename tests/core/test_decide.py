"""Deciding a join: what a document says, which document has the last word, and what is sent about it."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import decide
from streams.core.conditions import Condition
from streams.core.decide import Finding, decision, decision_id, evaluate, judge, matched, reason
from streams.core.events import DecisionEvent, Provenance
from streams.core.facts import DOUBTS, NOTHING_KNOWN, UNVOUCHED, Facts, connection_bits
from streams.core.index import Index, Revision
from streams.core.policy import VERDICTS, Document, Rule
from streams.core.sessions import begin
from tests.samples import (
    ADMIT,
    ALERT,
    CLEAN,
    NOON,
    PROPERTY,
    PROVENANCE,
    REMOVE,
    VOCABULARY,
    account,
    event,
    facts,
    index,
    join,
    located,
    meeting,
    parse,
    revision,
    rule,
    service,
)

FRANCE, PARIS = located(country="FR"), located(subdivision="FR-75")
TRUTHS = [True, False, None]


# -- one document ------------------------------------------------------------------------------------------------


def scripted(
    rules: list[tuple[int, list[bool | None]]], default: int, unknown: int, asked: list[tuple[int, int]]
) -> Document:
    """A document whose conditions answer as told and note that they were asked."""

    def condition(i: int, j: int, truth: bool | None) -> Condition:
        def test(_: Any, __: Facts) -> bool | None:
            asked.append((i, j))
            return truth

        made = Condition("asn", (1,), False, VOCABULARY)
        made.test = test
        return made

    made = tuple(
        Rule(str(i), tuple(condition(i, j, truth) for j, truth in enumerate(truths)), then, None)
        for i, (then, truths) in enumerate(rules)
    )
    fields: dict[str, Any] = {"scope": "account", "account": "acme", "meeting": None, "name": "n", "revision": 1}
    return Document(**fields, path="account/acme/n", rules=made, default=default, unknown=unknown)


verdicts = st.integers(0, 2)
rule_lists = st.lists(st.tuples(verdicts, st.lists(st.sampled_from(TRUTHS), max_size=3)), max_size=5)


def read_aloud(rules: list[tuple[int, list[bool | None]]], default: int, unknown: int) -> tuple[int, str, str | None]:
    """Design §4, rules 3 and 4."""
    possible, ending = set(), (default, "default", None)
    for i, (then, truths) in enumerate(rules):
        if False in truths:
            continue
        possible.add(then)
        if None not in truths:
            ending = (then, "rule", str(i))
            break
    possible.add(ending[0])
    return ending if len(possible) == 1 else (unknown, "unknown", None)


@PROPERTY
@given(rule_lists, verdicts, verdicts)
def test_rules_are_read_in_order(rules: list[tuple[int, list[bool | None]]], default: int, unknown: int) -> None:
    found = evaluate(scripted(rules, default, unknown, []), join(), NOTHING_KNOWN)  # type: ignore[arg-type]
    assert (found.verdict, found.outcome, found.rule.id if found.rule else None) == read_aloud(rules, default, unknown)


@PROPERTY
@given(rule_lists)
def test_nothing_is_asked_after_what_settles_it(rules: list[tuple[int, list[bool | None]]]) -> None:
    asked: list[tuple[int, int]] = []
    evaluate(scripted(rules, 0, 0, asked), join(), NOTHING_KNOWN)  # type: ignore[arg-type]
    wanted = []
    for i, (_, truths) in enumerate(rules):
        upto = truths.index(False) + 1 if False in truths else len(truths)
        wanted += [(i, j) for j in range(upto)]
        if all(truth is True for truth in truths):
            break
    assert asked == wanted


# -- several documents -------------------------------------------------------------------------------------------


def judged(documents: Index, known: Facts = FRANCE, **who: Any) -> tuple[str, str | None, str | None]:
    """Verdict, deciding path and outcome."""
    found, _ = judge(documents, join(**who), known, NOON)
    return (
        VERDICTS[found.verdict],
        found.revision.document.path if found.revision else None,
        found.finding.outcome if found.finding else None,
    )


def test_no_document_admits() -> None:
    assert judged(Index()) == ("admit", None, None)
    assert judged(index(account(account="other"), meeting(meeting="m-2"))) == ("admit", None, None)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_strictest_has_the_last_word(order: tuple[int, ...]) -> None:
    values = [account(default="remove"), meeting(default="alert"), service()]
    assert judged(index(*(values[i] for i in order))) == ("remove", "account/acme/licensing", "default")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_ties_go_to_the_widest_scope_then_to_the_lowest_path(verdict: str) -> None:
    anyone = rule(verdict, {"continent": ["EU"]})
    general = service(name="z", rules=[anyone])
    owners = [account(name="b", default=verdict), account(name="a", default=verdict), meeting(default=verdict)]
    assert judged(index(*owners, general))[1] == "service/z"
    assert judged(index(*owners))[1] == "account/acme/a"
    assert judged(index(owners[2], owners[0]))[1] == "account/acme/b"


def test_every_document_that_applied_is_named_with_its_revision() -> None:
    found, reported = judge(
        index(
            service(revision=3),
            account(revision=7, default="remove"),
            meeting(),
            account(name="old", revision=2, retracted=True),
        ),
        join(),
        FRANCE,
        NOON,
    )
    assert found.policies == {"service/export": 3, "account/acme/licensing": 7, "meeting/acme/m-1/licensing": 1}
    assert reported is None


def test_report_mode_decides_beside_and_changes_nothing() -> None:
    documents = index(
        account(name="trial", mode="report", default="remove"), meeting(mode="report", revision=4), account()
    )
    found, reported = judge(documents, join(), FRANCE, NOON)
    assert reported is not None
    assert (found.verdict, found.policies) == (ADMIT, {"account/acme/licensing": 1})
    assert (reported.verdict, reported.policies) == (
        REMOVE,
        {"account/acme/trial": 1, "meeting/acme/m-1/licensing": 4},
    )


def test_a_report_that_admits_is_still_a_report() -> None:
    _, reported = judge(index(account(mode="report")), join(), FRANCE, NOON)
    assert reported is not None
    assert reported.verdict == ADMIT
    assert reported.finding is not None


def on_behalf(value: dict[str, Any]) -> Revision:
    return revision(value, holder="settings", on_behalf=True)


@pytest.mark.parametrize("rosters", [False, True])
@pytest.mark.parametrize("value", [service(mode="report"), on_behalf(account(mode="report", default="remove"))])
def test_nobody_elses_guests_are_listed_by_a_report(value: Any, rosters: bool) -> None:
    _, reported = judge(index(value), join(), FRANCE, NOON, rosters=rosters)
    assert (reported is not None) is rosters


def test_documents_that_do_not_reach_the_meeting_are_not_touched() -> None:
    indexed: list[bool] = []

    class Untouchable(Document, frozen=True, kw_only=True):
        def __getattribute__(self, name: str) -> Any:
            if indexed and name in ("rules", "mode", "default"):
                raise AssertionError(f"{name} was read")
            return super().__getattribute__(name)

    fields = msgspec.structs.asdict(parse(account(account="other")))
    documents = index(account(default="alert"), Revision(document=Untouchable(**fields), content=b""))
    indexed.append(True)
    assert judged(documents)[0] == "alert"
    with pytest.raises(AssertionError, match="was read"):
        judged(documents, account="other")


# -- why -----------------------------------------------------------------------------------------------------------


def reason_of(value: Any, known: Facts = FRANCE, **who: Any) -> Any:
    found, _ = judge(index(value), join(**who), known, NOON)
    why = reason(found, join(**who), known)
    return why and (why.rule, why.outcome)


@pytest.mark.parametrize(
    ("value", "known", "wanted"),
    [
        pytest.param(account(), FRANCE, None, id="admit by default"),
        pytest.param(account(rules=[rule("admit")]), FRANCE, ("r", "rule"), id="admit by a rule"),
        pytest.param(
            account(rules=[rule("remove", {"country": ["FR"]})], unknown="admit"),
            NOTHING_KNOWN,
            (None, "unknown"),
            id="admit by unknown",
        ),
        pytest.param(account(default="alert"), FRANCE, (None, "default"), id="alert by default"),
        pytest.param(account(default="remove"), FRANCE, (None, "default"), id="remove by default"),
    ],
)
def test_the_reason_is_null_only_when_nothing_was_said(value: Any, known: Facts, wanted: Any) -> None:
    assert reason_of(value, known) == wanted


def test_among_tied_admits_the_deciding_documents_outcome_counts() -> None:
    by_rule = meeting(rules=[rule("admit")])
    found, _ = judge(index(account(), by_rule), join(), FRANCE, NOON)
    assert reason(found, join(), FRANCE) is None
    found, _ = judge(index(account(rules=[rule("admit")]), meeting()), join(), FRANCE, NOON)
    why = reason(found, join(), FRANCE)
    assert why is not None
    assert why.policy == "account/acme/licensing"


def test_no_document_has_no_reason() -> None:
    assert reason(decide.Judgement(0, None, None, {}), join(), FRANCE) is None


ALL_FIELDS = {
    "country": ["FR"],
    "subdivision": {"not": ["FR-13"]},
    "continent": ["EU"],
    "asn": {"not": [1]},
    "network": {"not": ["192.0.2.0/24"]},
    "connection": {"not": ["tor"]},
    "role": ["guest"],
    "stage": ["lobby"],
}


def test_matched_holds_what_the_rule_named_and_nothing_else() -> None:
    who, known = join(role="guest", stage="lobby"), located(subdivision="FR-75", asn=64500, address=b"\x08\x08\x08\x08")

    def shown(when: dict[str, Any] | None, known: Facts = known) -> dict[str, object]:
        found = revision(account(rules=[rule("remove", when)]))
        return matched(Finding(REMOVE, "rule", found.document.rules[0]), found, who, known)

    place = {"country": "FR", "subdivision": "FR-75", "continent": "EU", "asn": 64500}
    assert shown(ALL_FIELDS) == {**place, "network": True, "connection": None, "role": "guest", "stage": "lobby"}
    assert shown({"country": ["FR"]}) == {"country": "FR"}
    assert shown({"connection": ["relay"]}, located(connection=connection_bits(["relay"]))) == {"connection": "relay"}
    assert shown({"country": {"not": ["US"]}}, located(continent="EU")) == {"country": None}
    assert shown(None) == {}


@pytest.mark.parametrize("outcome", ["default", "unknown"])
def test_matched_is_empty_where_no_rule_decided(outcome: Any) -> None:
    assert matched(Finding(REMOVE, outcome, None), revision(account(default="remove")), join(), FRANCE) == {}


@pytest.mark.parametrize(
    ("found", "verdict", "wanted"),
    [
        (revision(service(rules=[rule("alert", {"country": ["FR"]})])), ALERT, {}),
        (revision(service(rules=[rule("remove", {"country": ["FR"]})])), ALERT, {}),
        (revision(service(rules=[rule("remove", {"country": ["FR"]})])), REMOVE, {"country": "FR"}),
        (on_behalf(account(rules=[rule("remove", {"country": ["FR"]})])), ALERT, {}),
        (on_behalf(account(rules=[rule("remove", {"country": ["FR"]})])), REMOVE, {"country": "FR"}),
        (revision(account(rules=[rule("alert", {"country": ["FR"]})])), ALERT, {"country": "FR"}),
    ],
)
def test_what_is_no_removal_makes_no_roster(found: Revision, verdict: int, wanted: dict[str, object]) -> None:
    assert matched(Finding(verdict, "rule", found.document.rules[0]), found, join(), FRANCE) == wanted


IN_PARIS = located(subdivision="FR-75", connection=CLEAN)
COUNTRY, SUBDIVISION, CONTINENT = DOUBTS.values()


@pytest.mark.parametrize(
    ("when", "doubts", "verdict"),
    [
        ({"country": ["FR"]}, 0, REMOVE),
        ({"country": ["FR"]}, COUNTRY, ALERT),
        ({"country": ["FR"]}, SUBDIVISION, REMOVE),
        ({"subdivision": ["FR-75"]}, SUBDIVISION, ALERT),
        ({"continent": ["EU"]}, COUNTRY | SUBDIVISION, REMOVE),
        ({"continent": ["EU"]}, CONTINENT, ALERT),
        ({"country": ["FR"], "subdivision": ["FR-75"]}, SUBDIVISION, ALERT),
        ({"country": ["FR"]}, UNVOUCHED, ALERT),
    ],
)
def test_a_service_document_removes_nobody_by_facts_in_doubt(when: dict[str, Any], doubts: int, verdict: int) -> None:
    """Ruling 33: an overlay for one line, and anonymity data that do not count; owners' documents know no doubts."""
    known = msgspec.structs.replace(IN_PARIS, doubts=doubts)
    enforced, _ = judge(index(service(rules=[rule("remove", when)])), join(), known, NOON)
    assert enforced.verdict == verdict
    assert enforced.finding is not None
    assert enforced.finding.outcome == "rule"
    owners, _ = judge(index(account(rules=[rule("remove", when)])), join(), known, NOON)
    assert owners.verdict == REMOVE


# -- the event -----------------------------------------------------------------------------------------------------


def decided(documents: Index, known: Facts = FRANCE, *, mode: Any = "enforce", **given_: Any) -> DecisionEvent:
    happened = given_.get("happened", event())
    enforced, reported = judge(documents, happened.data, known, NOON)
    judgement = enforced if mode == "enforce" else reported
    assert judgement is not None
    return decision(happened, known, judgement, PROVENANCE, mode=mode, offset=991, at=given_.get("at", NOON))


def test_a_decision_says_what_it_was_made_from() -> None:
    made = decided(index(revision(account(revision=7, rules=[rule("remove", {"country": ["FR"]})]), holder="acme")))
    out = msgspec.to_builtins(made)
    receipt = out["data"].pop("receipt")
    assert receipt["id"] == out["id"]
    assert len(out.pop("id")) == 32
    assert out == {
        "specversion": "1.0",
        "type": "doorward.remove.v1",
        "source": "doorward",
        "time": "2026-11-21T12:00:00.000Z",
        "subject": "acme/m-1/p-1",
        "data": {
            "meeting": "m-1",
            "account": "acme",
            "participation": "p-1",
            "stage": "live",
            "verdict": "remove",
            "cause": "join",
            "event": {"source": "/edge/eu-1", "id": "01J"},
            "reason": {
                "policy": "account/acme/licensing",
                "revision": 7,
                "rule": "r",
                "outcome": "rule",
                "class": "owner",
                "holder": "acme",
                "matched": {"country": "FR"},
            },
            "policies": {"account/acme/licensing": 7},
            "policy_offset": 42,
            "geo_build": "country-2026-06-17-1a2b3c4d",
            "order": [991, 42, 1_781_654_400, NOON],
            "decided_at": "2026-11-21T12:00:00.000Z",
            "engine": "0.1.0",
        },
    }


@pytest.mark.parametrize("verdict", VERDICTS)
def test_only_a_removal_has_a_receipt(verdict: str) -> None:
    made = decided(index(account(default=verdict)))
    assert made.type == f"doorward.{verdict}.v1"
    assert (made.data.receipt is not msgspec.UNSET) is (verdict == "remove")
    assert b'"receipt"' not in msgspec.json.encode(decided(index(account(default="alert"))))


def test_an_update_is_its_own_cause_and_its_own_id() -> None:
    joined, updated = decided(Index()), decided(Index(), happened=event(type="doorward.update.v1", id="02J"))
    assert (joined.data.cause, updated.data.cause) == ("join", "update")
    assert joined.id != updated.id


def test_the_subject_is_percent_encoded() -> None:
    made = decided(Index(), happened=event(join(meeting="m/1", account="a c", participation="é")))
    assert made.subject == "a%20c/m%2F1/%C3%A9"


def test_whoever_has_the_subject_hands_it_over() -> None:
    happened = event(join(meeting="m/1", account="a c"))
    nothing, _ = judge(Index(), happened.data, FRANCE, NOON)
    one, other = (
        decision(happened, FRANCE, nothing, PROVENANCE, mode="enforce", offset=991, at=NOON, subject=subject)
        for subject in (None, "a%20c/m%2F1/p-1")
    )
    assert one == other


DOCUMENTS = [
    account(rules=[rule("remove", {"country": ["FR"]}), rule("alert", {"connection": ["vpn"]}, "v")]),
    meeting(default="alert", mode="report"),
    service(rules=[rule("remove", {"continent": ["EU"]})]),
    account(name="b", default="alert"),
]


@PROPERTY
@given(facts, st.permutations(DOCUMENTS), st.sampled_from(["enforce", "report"]))
def test_the_same_input_gives_the_same_bytes(known: Facts, values: list[dict[str, Any]], mode: str) -> None:
    first = msgspec.json.encode(decided(index(*DOCUMENTS), known, mode=mode))
    assert msgspec.json.encode(decided(index(*values), known, mode=mode)) == first


def test_the_id_does_not_hang_on_when_or_with_what_it_was_decided() -> None:
    other = Provenance(43, "else", 0, None, "0.2.0")
    enforced, _ = judge(Index(), join(), FRANCE, NOON)
    again = decision(event(), FRANCE, enforced, other, mode="enforce", offset=992, at=NOON + 1)
    assert again.id == decided(Index()).id
    assert again.data.order == [992, 43, 0, NOON + 1]


def test_older_geo_files_do_not_rank_what_is_said_of_a_session_below_what_was_said() -> None:
    happened = event()
    session = begin(happened, FRANCE, None, 991, "newer")
    nothing, _ = judge(Index(), session, FRANCE, NOON)
    for known, said in ((PROVENANCE.geo_time + 5, PROVENANCE.geo_time + 5), (0, PROVENANCE.geo_time)):
        session.geo_time = known
        made = decision(happened, FRANCE, nothing, PROVENANCE, mode="enforce", offset=991, at=NOON, of=session)
        assert made.data.order == [991, PROVENANCE.policy_offset, said, NOON]


parts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=4), min_size=7, max_size=7)


def id_of(pieces: list[str]) -> str:
    mode, account_, meeting_, participation, *trigger, verdict = pieces
    who = join(account=account_, meeting=meeting_, participation=participation)
    return decision_id(mode, who, tuple(trigger), verdict)  # type: ignore[arg-type]


@PROPERTY
@given(parts, parts)
def test_ids_are_distinct_unless_every_part_is_equal(one: list[str], other: list[str]) -> None:
    assert (id_of(one) == id_of(other)) is (one == other)


@PROPERTY
@given(parts, st.integers(0, 5), st.integers(0, 4))
def test_no_two_part_lists_collide_by_moving_a_boundary(pieces: list[str], at: int, by: int) -> None:
    joined = pieces[at] + pieces[at + 1]
    moved = [*pieces[:at], joined[:by], joined[by:], *pieces[at + 2 :]]
    assert (id_of(moved) == id_of(pieces)) is (moved == pieces)


@pytest.mark.parametrize("participation", ["p-1", "é", "p" * 127, "p" * 128, "é" * 127, ""])
@pytest.mark.parametrize("trigger", [("event", "/edge", "01J"), ("policy", "7"), ("event", "/é", "e" * 300)])
def test_the_id_is_the_stated_hash(participation: str, trigger: tuple[str, ...]) -> None:
    from hashlib import blake2b

    words = ["enforce", "acme", "m-1", participation, *trigger, "remove"]
    encoded = b"".join(len(w.encode()).to_bytes(4, "big") + w.encode() for w in words)
    assert id_of(words) == blake2b(encoded, digest_size=16).hexdigest()


def test_a_report_never_has_the_id_of_a_decision() -> None:
    documents = index(account(), account(name="trial", mode="report"))
    assert decided(documents).id != decided(documents, mode="report").id
