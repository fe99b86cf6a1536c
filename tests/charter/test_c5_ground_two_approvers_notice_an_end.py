"""C5 and ruling 31: two holders, a day's notice, an end; and what one holder may do alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.agents.decider import Decider
from streams.core import instants
from streams.core.charter import (
    ALERT,
    REMOVE,
    TERRITORIES,
    Signer,
    c5_notice,
    c5_two_approvers,
    c5_window,
    takes_away_only,
)
from streams.core.decide import judge
from streams.core.facts import Facts
from tests.samples import (
    DAY,
    EU,
    HOUR,
    NOON,
    PROPERTY,
    PROVENANCE,
    account,
    event,
    facts,
    index,
    join,
    located,
    offers,
    parse,
    problems,
    rule,
    service,
)
from tests.signing import Worker

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
        *(
            pytest.param([ONE, Signer(like, ("service",))], False, id=f"one by two names, {like!a}")
            for like in ("One", "one\u200b", "\uff4f\uff4e\uff45", "o\u0301ne", "ón\u00ade", "\u3164one\ufe0f")
        ),
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


# -- the same, aimed at one evening ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opens", "closes", "code"),
    [
        # an hour, an evening, a week that only looks like one
        ("2026-12-01T18:00:00Z", "2026-12-01T19:00:00Z", "C5-window"),
        ("2026-12-01T18:00:00Z", "2026-12-08T17:59:59.999Z", "C5-window"),
        ("2026-12-01T18:00:00-12:00", "2026-12-08T18:00:00+14:00", "C5-window"),
        ("2026-12-01T18:00:00Z", "2026-12-08T18:00:00+00:01", "C5-window"),
        ("2026-12-01T18:00:00.0001Z", "2026-12-08T18:00:00Z", "C5-window"),
        # for ever, or nearly
        ("2026-12-01T18:00:00Z", "2076-12-01T18:00:00Z", "C5-window"),
        ("2026-12-01T18:00:00Z", "9999-12-31T23:59:59Z", "C5-window"),
        ("2026-12-01T18:00:00Z", "2027-12-03T18:00:00Z", "C5-window"),  # 367 days
        ("2026-12-01T18:00:00Z", "2027-12-02T18:00:00-00:01", "C5-window"),
        ("2026-12-01T18:00:00+14:00", "2027-12-02T18:00:00-12:00", "C5-window"),
        ("0001-01-01T00:00:00Z", "2027-12-02T18:00:00Z", "C5-window"),
        # the other way round, or none
        ("2026-12-08T18:00:00Z", "2026-12-01T18:00:00Z", "window"),
        ("2026-12-01T18:00:00Z", "2026-12-01T18:00:00Z", "window"),
        ("2026-12-01T18:00:00Z", "2026-12-01T20:00:00+02:00", "window"),
        # what is no time
        ("2026-12-01T18:00:00", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01 18:00:00Z", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01T18:00Z", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01T18:00:00+0100", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01T18:00:00+24:00", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01T18:00:00 Z", "2026-12-20T18:00:00Z", "time"),
        ("2026-12-01T18:00:00Z\n", "2026-12-20T18:00:00Z", "time"),
        ("+2026-12-01T18:00:00Z", "2026-12-20T18:00:00Z", "time"),
        ("２０２６-12-01T18:00:00Z", "2026-12-20T18:00:00Z", "time"),
        ("2026-W49-2T18:00:00Z", "2026-12-20T18:00:00Z", "time"),
        ("2026-11-31T18:00:00Z", "2026-12-20T18:00:00Z", "time"),
        ("now", "2026-12-20T18:00:00Z", "time"),
        ("", "2026-12-20T18:00:00Z", "time"),
        (1_796_148_000, "2026-12-20T18:00:00Z", "type"),
        (None, "2026-12-20T18:00:00Z", "required"),
    ],
)
def test_no_window_is_shorter_longer_or_otherwise_than_it_looks(opens: Any, closes: Any, code: str) -> None:
    offered = service(not_before=opens, not_after=closes, rules=REMOVES)
    assert code in {found for found, _ in problems(offered)}
    assert code in Worker().refuses(offered, "ann", "bo")


@pytest.mark.parametrize(
    ("opens", "heard"),
    [
        ("2026-11-22T12:00:00Z", True),
        ("2026-11-22T12:00:00.000000Z", True),
        ("2026-11-23T11:59:00+23:59", True),
        ("2026-11-21T12:01:00-23:59", True),
        ("2026-11-22T11:59:59.999Z", False),
        ("2026-11-22T12:00:00+00:01", False),
        ("2026-11-23T11:58:00+23:59", False),
        ("2026-11-22T23:59:59+14:00", False),
        ("2026-11-21T12:00:00Z", False),
        ("2026-06-01T00:00:00Z", False),
        ("1970-01-01T00:00:00Z", False),
    ],
)
def test_notice_is_counted_from_the_logs_own_time(opens: str, heard: bool) -> None:
    """Whatever offset the document gives, and though it was signed long before."""
    begins = instants.parse(opens)
    offered = windowed(begins, begins + 20 * DAY, rules=REMOVES, contest="https://x.example") | {"not_before": opens}
    for mode in ("enforce", "report"):
        worker = Worker()
        if heard:
            worker.takes({**offered, "mode": mode}, "ann", "bo")
        else:
            assert worker.refuses({**offered, "mode": mode}, "ann", "bo") == {"C5-notice"}


def test_what_was_announced_as_harmless_gives_no_notice_of_what_removes() -> None:
    """An alerting document may open at once; the revision that makes it remove, or remove more, may not."""
    worker = Worker()
    window = {"not_before": "2026-11-20T00:00:00Z", "not_after": "2026-12-20T00:00:00Z"}
    offered = service(contest="https://x.example", **window)
    worker.takes({**offered, "rules": [rule("alert", {"country": ["FR"]})]}, "ann", "bo")
    for rules in ([rule("remove", {"country": ["FR"]})], [rule("alert"), rule("remove", {"country": ["FR"]}, "b")]):
        assert worker.refuses({**offered, "revision": 2, "rules": rules}, "ann", "bo") == {"C5-notice"}
    later = windowed(NOON + DAY, NOON + 20 * DAY, revision=2, rules=REMOVES, contest="https://x.example")
    worker.takes(later, "ann", "bo")
    for at, verdict in ((NOON + DAY - 1, ALERT), (NOON + DAY, REMOVE)):
        found, _ = judge(worker.index, join(), located(country="FR"), at)
        assert found.verdict == verdict, "until its window opens the earlier one stays"


@pytest.mark.parametrize("missing", ["class", "ground", "reference", "not_before", "not_after"])
@pytest.mark.parametrize("value", [None, "", " ", "\t\n", ..., [], 0])
def test_nothing_it_must_say_is_left_out_or_left_empty(missing: str, value: Any) -> None:
    found = problems(service(**{missing: value}))
    assert found
    assert {path for _, path in found} == {missing}


@pytest.mark.parametrize("field", ["ground", "reference"])
@pytest.mark.parametrize("value", ["\u200b", "\u2060\u2060", "\u00ad", "\u0000", "\u3164", "\u2800 \u00a0\U000e0020"])
def test_a_ground_can_be_read(field: str, value: str) -> None:
    assert Worker().refuses(service(**{field: value}), "ann", "bo") == {"required"}
    assert problems(service(**{field: f"{value}§"})) == set()


@pytest.mark.parametrize("class_", ["owner", "Legal", "law", "legal ", "other", ["legal"], "legal,safety"])
def test_there_are_two_classes(class_: Any) -> None:
    assert problems(service(**{"class": class_})) == {("choice", "class")}


@pytest.mark.parametrize("class_", ["legal", "safety"])
def test_an_owner_cannot_pass_for_the_law(class_: str) -> None:
    assert problems(account(**{"class": class_})) == {("choice", "class")}


def test_a_removal_that_cannot_be_contested_is_refused() -> None:
    silent = windowed(NOON + 2 * DAY, NOON + 20 * DAY, rules=REMOVES)
    assert Worker().refuses(silent, "ann", "bo") == {"contest"}
    assert Worker().refuses({**silent, "contest": None}, "ann", "bo") == {"contest"}
    assert Worker().refuses({**silent, "contest": ""}, "ann", "bo") == {"required"}
    Worker(contest="https://contest.example").takes(silent, "ann", "bo")


def test_an_event_cannot_date_itself_into_or_out_of_a_window() -> None:
    """What a join says of its own time decides nothing: the worker's clock does."""
    documents = index(windowed(NOON, NOON + 20 * DAY, rules=REMOVES))
    for dated in (None, "1999-01-01T00:00:00Z", "2026-11-22T00:00:00Z", "2099-01-01T00:00:00Z"):
        who = event(time=None if dated is None else datetime.fromisoformat(dated))
        for at, verdict in ((NOON - 1, "admit"), (NOON, "remove")):
            answer = Decider(documents, lambda _: located(country="FR"), PROVENANCE).answer(who, 1, at)
            assert answer.decision.data.verdict == verdict


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


def narrowed(value: dict[str, Any], cuts: list[slice | None]) -> dict[str, Any]:
    """The next revision, from which rules, or territories that they name, have been taken."""
    fewer = []
    for one, cut in zip(value["rules"], cuts, strict=False):
        if cut is None:
            continue
        when = {
            field: values[cut] if field in TERRITORIES and isinstance(values, list) and values[cut] else values
            for field, values in one["when"].items()
        }
        fewer.append({**one, "when": when})
    return {**value, "revision": 2, "rules": fewer}


CUTS = st.sampled_from([None, slice(None), slice(1, None), slice(1), slice(None, None, 2)])
# True of an unknown country, so the first rule decides and C4 caps it; without it the second one removes.
SHIELD, BEHIND = rule("remove", {"country": EU}, "a"), rule("remove", {"continent": ["EU"]}, "b")


@settings(PROPERTY, max_examples=200)
@given(offers("service").filter(lambda value: not problems(value)), st.lists(CUTS, min_size=3, max_size=3), facts)
@example(service(rules=[SHIELD, BEHIND]), [None, slice(None)], located(continent="EU"))
def test_what_one_holder_does_alone_removes_nobody_new(
    present: dict[str, Any], cuts: list[slice | None], known: Facts
) -> None:
    new = narrowed(present, cuts)
    if takes_away_only(parse(new), parse(present)):
        assert not removes(new, known) or removes(present, known)


def test_a_document_without_a_window_has_no_window_to_judge() -> None:
    assert c5_window(parse(service(retracted=True, not_before=..., not_after=...))) == []


def test_what_has_no_window_cannot_shorten_it() -> None:
    owners = parse(account())
    assert not takes_away_only(owners, owners)
