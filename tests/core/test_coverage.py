"""What tests have reached of the documents, and what there is to reach."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.core.coverage import Coverage, points
from streams.core.decide import evaluate
from streams.core.explain import explain
from streams.core.facts import NOTHING_KNOWN, Facts
from tests.samples import NOON, PROPERTY, account, facts, index, join, parse, revision, rule

FRANCE = Facts(country="FR", continent="EU")
GERMANY = Facts(country="DE", continent="EU")
HOSTS, HERE = rule("admit", {"role": ["host"]}, "hosts"), rule("remove", {"country": ["FR"]}, "here")


def covered(document: dict[str, Any], *known: Facts, role: str = "guest") -> Coverage:
    made, there = Coverage(), index(document)
    for slot in there:
        made.add(slot.revisions[0])
    for each in known:
        [step] = explain(there, join(role=role), each, NOON).documents
        made.take(next(iter(there)).revisions[0], step)
    return made


def states(made: Coverage) -> dict[str, str]:
    [document] = made.documents
    return {point.name: point.state for point in document.points}


def test_a_rule_is_decided_or_only_open_or_never_met() -> None:
    document = account(rules=[HOSTS, HERE])
    assert states(covered(document)) == dict.fromkeys(("hosts", "here", "default", "unknown"), "never")
    assert states(covered(document, NOTHING_KNOWN)) == {
        "hosts": "never", "here": "open", "default": "never", "unknown": "decided",
    }  # fmt: skip
    made = covered(document, FRANCE, GERMANY, NOTHING_KNOWN)
    assert states(made) == {"hosts": "never", "here": "decided", "default": "decided", "unknown": "decided"}
    assert (made.reached, made.total, made.tenths) == (3, 4, 750)
    [counted] = made.documents
    assert [(point.decided, point.open) for point in counted.points] == [(0, 0), (1, 1), (1, 0), (1, 0)]
    assert (counted.policy, counted.revision, counted.mode) == ("account/acme/licensing", 1, "enforce")


def test_a_true_rule_that_an_open_one_kept_from_deciding_counts_as_open() -> None:
    document = account(rules=[HERE, rule("admit", {"role": ["guest"]}, "guests")])
    assert states(covered(document, NOTHING_KNOWN))["guests"] == "open"


def test_a_rule_s_name_may_be_default_or_unknown() -> None:
    document = account(rules=[rule("remove", {"country": ["FR"]}, "unknown")], unknown="alert")
    [counted] = covered(document, NOTHING_KNOWN).documents
    assert [(point.kind, point.name, point.state) for point in counted.points] == [
        ("rule", "unknown", "open"),
        ("default", "default", "never"),
        ("unknown", "unknown", "decided"),
    ]


def names(*rules: dict[str, Any], default: str = "admit") -> list[str]:
    return [point.name for point in points(parse(account(rules=list(rules), default=default)))]


def test_what_no_join_can_reach_is_not_asked_for() -> None:
    assert names() == ["default"]
    assert names(HOSTS, default="remove") == ["hosts", "default"]  # a role is always known
    assert names(HERE) == ["here", "default", "unknown"]
    assert names(HERE, default="remove") == ["here", "default"]  # both ways the same
    # behind a rule that matches all there is nothing
    assert names(HERE, rule("admit", None, "all"), HOSTS) == ["here", "all", "unknown"]
    assert names(HERE, rule("remove", None, "all"), default="admit") == ["here", "all"]
    # an open rule that differs from none behind it, though from one before
    assert names(rule("remove", {"role": ["guest"]}, "guests"), rule("admit", {"country": ["FR"]}, "fr")) == [
        "guests", "fr", "default",
    ]  # fmt: skip


@PROPERTY
@given(st.data(), st.sampled_from(["host", "guest"]))
def test_nothing_is_left_out_that_a_join_reaches(data: st.DataObject, role: str) -> None:
    whens = [None, {"role": ["host"]}, {"country": ["FR"]}, {"country": {"not": ["FR"]}, "role": ["guest"]}]
    verdict = st.sampled_from(["admit", "alert", "remove"])
    rules = [
        rule(data.draw(verdict), when, f"r-{i}")
        for i, when in enumerate(data.draw(st.lists(st.sampled_from(whens), max_size=4)))
    ]
    document = parse(account(rules=rules, default=data.draw(verdict), unknown=data.draw(verdict)))
    found = evaluate(document, join(role=role), data.draw(facts))  # type: ignore[arg-type]  # normalised
    name = found.rule.id if found.rule else found.outcome
    assert name in [point.name for point in points(document)]


def test_documents_are_told_apart_by_content_and_retractions_ask_for_nothing() -> None:
    made = Coverage()
    for value in (account(), account(), account(default="remove"), account(name="b", retracted=True, default=...)):
        made.add(revision(value))
    assert [each.policy for each in made.documents] == ["account/acme/licensing"] * 2
    assert Coverage().tenths == 1000
