"""C5 and ruling 31: two holders, a day's notice, an end; and what one holder may do alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core import instants
from streams.core.charter import REMOVE, Signer, c5_notice, c5_two_approvers, c5_window, takes_away_only
from streams.core.decide import judge
from streams.core.facts import Facts
from tests.charter.test_c4_a_territorys_rule_stays_in_it import service_rules
from tests.samples import (
    DAY,
    EU,
    HOUR,
    NOON,
    PROPERTY,
    account,
    facts,
    index,
    join,
    located,
    parse,
    problems,
    rule,
    service,
)

ONE, TWO = Signer("one", ("service",)), Signer("two", ("service",))
REMOVES = [rule("remove", {"country": ["FR", "DE"]}, "a"), rule("alert", {"connection": ["tor"]}, "b")]


def windowed(opens: int, closes: int, **fields: Any) -> dict[str, Any]:
    return service(not_before=instants.render(opens), not_after=instants.render(closes), **fields)


@pytest.mark.parametrize(
    ("length", "taken"),
    [(7 * DAY, True), (7 * DAY - 1, False), (366 * DAY, True), (366 * DAY + 1, False), (HOUR, False)],
)
def test_the_window_is_7_to_366_days(length: int, taken: bool) -> None:
    assert problems(windowed(NOON, NOON + length)) == (set() if taken else {("C5-window", "not_after")})


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    assert ("window", "not_after") in problems(windowed(NOON, NOON - DAY))


@pytest.mark.parametrize("key", ["class", "ground", "reference", "not_before", "not_after"])
def test_ground_and_window_are_required(key: str) -> None:
    assert problems(service(**{key: ...})) == {("required", key)}


@pytest.mark.parametrize(
    ("signers", "enough"),
    [
        pytest.param([ONE, TWO], True, id="two holders"),
        pytest.param([], False, id="nobody"),
        pytest.param([ONE], False, id="one"),
        pytest.param([ONE, Signer("one", ("service", "account/acme"))], False, id="two keys of one"),
        pytest.param([ONE, Signer("two", ("account/acme",))], False, id="one without service scope"),
        pytest.param([ONE, Signer("two", ("account/*",))], False, id="one with a wildcard"),
        pytest.param([ONE, Signer("two", ("service",), on_behalf=True)], False, id="one on behalf"),
        pytest.param([ONE, Signer("two", ("service/export",))], False, id="one with a narrower scope"),
        pytest.param([ONE, TWO, Signer("three", ("account/acme",))], True, id="one more does no harm"),
    ],
)
def test_two_distinct_holders_approve(signers: list[Signer], enough: bool) -> None:
    assert bool(c5_two_approvers(parse(service()), signers, one_suffices=False)) is not enough


def test_one_may_take_away_but_not_nobody() -> None:
    assert not c5_two_approvers(parse(service()), [ONE], one_suffices=True)
    assert c5_two_approvers(parse(service()), [Signer("two", ("account/*",))], one_suffices=True)


@pytest.mark.parametrize(
    ("document", "after", "heard"),
    [
        (windowed(NOON, NOON + 7 * DAY, rules=REMOVES), DAY, True),
        (windowed(NOON, NOON + 7 * DAY, rules=REMOVES), DAY - 1, False),
        (windowed(NOON, NOON + 7 * DAY, rules=REMOVES), -DAY, False),
        (windowed(NOON, NOON + 7 * DAY, rules=REMOVES[1:]), -DAY, True),
        (windowed(NOON, NOON + 7 * DAY, rules=REMOVES, mode="report"), 0, False),
        (service(rules=REMOVES, retracted=True), -DAY, True),
        (service(rules=REMOVES, retracted=True, not_before=..., not_after=...), -DAY, True),
    ],
)
def test_a_removing_document_stands_in_public_for_a_day(document: Any, after: int, heard: bool) -> None:
    found = c5_notice(parse(document), NOON - after)
    assert [code for code, _, _ in found] == ([] if heard else ["C5-notice"])


def test_the_refusal_says_the_earliest_opening() -> None:
    ((_, path, message),) = c5_notice(parse(windowed(NOON, NOON + 7 * DAY, rules=REMOVES)), NOON)
    assert path == "not_before"
    assert "2026-11-22T12:00:00.000Z" in message


# -- what one holder may do alone, without notice (ruling 31) ----------------------------------------------------------

PRESENT = windowed(NOON, NOON + 30 * DAY, rules=REMOVES)
FRANCE = rule("remove", {"country": ["FR"]}, "a")
TOR = REMOVES[1]


@pytest.mark.parametrize(
    ("change", "alone"),
    [
        pytest.param({}, True, id="nothing changed"),
        pytest.param({"rules": [FRANCE, TOR]}, True, id="a territory fewer"),
        pytest.param({"rules": [TOR]}, True, id="a removing rule fewer"),
        pytest.param({"not_before": instants.render(NOON + DAY)}, True, id="opens later"),
        pytest.param({"not_after": instants.render(NOON + 29 * DAY)}, True, id="closes sooner"),
        pytest.param({"not_before": instants.render(NOON - 1)}, False, id="opens sooner"),
        pytest.param({"not_after": instants.render(NOON + 31 * DAY)}, False, id="closes later"),
        pytest.param({"rules": [rule("remove", {"country": ["FR", "US"]}, "a"), TOR]}, False, id="another territory"),
        pytest.param({"rules": [rule("remove", {"continent": ["EU"]}, "a"), TOR]}, False, id="another kind"),
        pytest.param({"rules": [*REMOVES, rule("remove", {"country": ["US"]}, "c")]}, False, id="another rule"),
        pytest.param({"rules": [rule("remove", {"country": ["FR"]}, "c"), TOR]}, False, id="a new name"),
        pytest.param({"rules": [TOR, FRANCE]}, False, id="another order"),
        pytest.param({"rules": REMOVES[:1]}, False, id="an alerting rule fewer"),
        pytest.param(
            {"rules": [REMOVES[0], rule("alert", {"connection": ["vpn"]}, "b")]}, False, id="an alert changed"
        ),
        pytest.param(
            {"rules": [REMOVES[0], rule("alert", {"connection": ["tor", "vpn"]}, "b")]}, False, id="an alert widened"
        ),
        pytest.param({"rules": [rule("alert", {"country": ["FR", "DE"]}, "a"), TOR]}, False, id="another verdict"),
        pytest.param(
            {"rules": [rule("remove", {"country": ["FR"], "connection": ["mobile"]}, "a"), TOR]},
            False,
            id="a condition more",
        ),
        pytest.param({"class": "safety"}, False, id="another class"),
        pytest.param({"mode": "report"}, False, id="another mode"),
        pytest.param(
            {"retracted": True, "not_before": ..., "not_after": ...}, False, id="a retraction is not a revision"
        ),
    ],
)
def test_one_holder_alone_may_only_take_away(change: dict[str, Any], alone: bool) -> None:
    assert takes_away_only(parse(service(**(PRESENT | {"revision": 2} | change))), parse(PRESENT)) is alone


@pytest.mark.parametrize("negated", [{"continent": {"not": ["OC", "AS"]}}, {"connection": {"not": ["relay"]}}])
def test_excepting_less_or_more_is_not_taking_away(negated: dict[str, Any]) -> None:
    present = service(rules=[rule("remove", {"country": ["FR"], **negated})])
    (field,) = negated
    for values in (["OC"], ["OC", "AS", "AF"]) if field == "continent" else (["hosting"], ["relay", "hosting"]):
        changed = service(revision=2, rules=[rule("remove", {"country": ["FR"], field: {"not": values}})])
        assert not takes_away_only(parse(changed), parse(present))


def test_the_same_values_in_another_order_are_the_same() -> None:
    present = service(rules=[rule("alert", {"country": ["FR", "DE"], "connection": ["tor", "vpn"]})])
    turned = service(revision=2, rules=[rule("alert", {"connection": ["vpn", "tor"], "country": ["DE", "FR"]})])
    assert takes_away_only(parse(turned), parse(present))


@pytest.mark.parametrize("key", ["ground", "reference", "contest", "note", "rule"])
def test_one_holder_alone_may_not_change_what_people_are_told(key: str) -> None:
    change = {"rules": [{**REMOVES[0], "note": "new"}, TOR]} if key == "rule" else {key: "new"}
    assert not takes_away_only(parse(service(**(PRESENT | {"revision": 2} | change))), parse(PRESENT))


def removes(value: dict[str, Any], known: Facts) -> bool:
    found, _ = judge(index(value), join(), known, NOON)
    return found.verdict == REMOVE


@st.composite
def narrowed(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A service document, and one from which rules or territories may have been taken."""
    rules = draw(service_rules)
    fewer = []
    for one in rules:
        when = dict(one.get("when", {}))
        for field in set(when) & {"country", "subdivision", "continent"}:
            when[field] = draw(st.lists(st.sampled_from(when[field]), min_size=1, unique=True))
        if draw(st.integers(0, 2)):
            fewer.append({**one, "when": when} if when else one)
    return service(rules=rules), service(revision=2, rules=fewer)


# True of an unknown country, so the first rule decides and C4 caps it; without it the second one removes.
SHIELD, BEHIND = rule("remove", {"country": EU}, "a"), rule("remove", {"continent": ["EU"]}, "b")


@settings(PROPERTY, max_examples=600)
@given(narrowed(), facts)
@example((service(rules=[SHIELD, BEHIND]), service(revision=2, rules=[BEHIND])), located(continent="EU"))
def test_what_one_holder_does_alone_removes_nobody_new(
    pair: tuple[dict[str, Any], dict[str, Any]], known: Facts
) -> None:
    present, new = pair
    if takes_away_only(parse(new), parse(present)):
        assert not removes(new, known) or removes(present, known)


def test_a_document_without_a_window_has_no_window_to_judge() -> None:
    assert c5_window(parse(service(retracted=True, not_before=..., not_after=...))) == []


def test_what_has_no_window_cannot_shorten_it() -> None:
    owners = parse(account())
    assert not takes_away_only(owners, owners)
