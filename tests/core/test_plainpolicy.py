"""A document is read quickly or at length, and says the same either way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from streams.core import plainpolicy, policy
from streams.core.conditions import FIELDS, SHARED, Condition
from streams.core.policy import LIMITS, MAX_TEXT, Document, Invalid, Limits
from tests.core.test_policy import REFUSED, VALID, WHOLE, json_values, places, replaced, ruled
from tests.samples import PROPERTY, VOCABULARY, account, meeting, rule, service

TIGHT = Limits(rules=2, values=2)
NETWORKS = ["::/0", "192.0.2.0/24", "192.0.2.0/25", "::ffff:192.0.2.0/120", "2001:db8::/32"]
LISTS: dict[str, st.SearchStrategy[Any]] = {
    "country": st.sampled_from(sorted(VOCABULARY.countries)),
    "subdivision": st.sampled_from(sorted(VOCABULARY.subdivisions)),
    "continent": st.sampled_from(["EU", "NA", "AN"]),
    "asn": st.integers(0, 2**32 - 1),
    "network": st.sampled_from(NETWORKS),
    "connection": st.sampled_from(["tor", "residential"]),
    "role": st.sampled_from(["host", "guest"]),
    "stage": st.sampled_from(["lobby", "live"]),
}
ALMOST: list[Any] = [
    *(
        "",
        " ",
        "\u200b",
        "x" * 129,
        "x" * (MAX_TEXT + 1),
        "\ud800",
        "é" * 128,
        "FR",
        "fr",
        "XK",
        "ZZ",
        "FR-75",
        "FR-99",
    ),
    *(0, 1, -1, True, 1.0, 2**32, 2**63, 2**70, None, [], {}, ["FR"], [1], [True], [1.0], ["FR", "FR"], [["FR"]]),
    *({"not": []}, {"not": ["FR"]}, {"not": ["FR"], "any": []}, {"not": {"not": ["FR"]}}, {"\ud800": ["FR"]}),
    *("192.0.2.1/24", "192.0.2.0/024", "::/129", "2026-11-21T09:30:00Z", "2026-11-21T09:30:00", "9999-99-99"),
    *("admit", "remove", "enforce", "report", "owner", "legal", "account", "meeting", "service", False),
]
"""What is right in one place and wrong in another, or nearly right."""


@st.composite
def whens(draw: st.DrawFn) -> dict[str, Any]:
    when: dict[str, Any] = {}
    for field in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)):
        listed = draw(st.lists(LISTS[field], min_size=1, max_size=3))
        when[field] = {"not": listed} if draw(st.booleans()) else listed
    return when


texts = st.none() | st.sampled_from(["Visits need a clinician licensed where you are.", "é", '"[{', "x" * MAX_TEXT])
windows = st.none() | st.sampled_from(
    ["2026-11-21T09:30:00Z", "2026-12-01T09:30:00.5+02:00", "2027-01-01T00:00:00-00:30"]
)
verdicts = st.sampled_from(["admit", "alert", "remove"])
rules = st.fixed_dictionaries({"id": st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), "then": verdicts})
further: dict[str, st.SearchStrategy[Any]] = {
    "language": st.just(1),
    "unknown": verdicts,
    "mode": st.sampled_from(["enforce", "report"]),
    "class": st.just("owner"),
    "ground": st.just("Office network only"),
    "retracted": st.booleans(),
    **dict.fromkeys(("reference", "contest", "note"), texts),
    **dict.fromkeys(("not_before", "not_after"), windows),
}


@st.composite
def owners(draw: st.DrawFn) -> Any:
    """Owners' documents, nearly all of them right."""
    value = draw(st.sampled_from([account, meeting]))(**draw(st.fixed_dictionaries({}, optional=further)))
    said = [
        {**each, **({"note": draw(texts)} if draw(st.booleans()) else {})} for each in draw(st.lists(rules, max_size=3))
    ]
    return value | {"rules": [each | ({"when": draw(whens())} if draw(st.booleans()) else {}) for each in said]}


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A document with one or two of its parts replaced, left out or added to."""
    value = draw(owners() | st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places(value)))
        value = replaced(value, place, draw(st.sampled_from(ALMOST) | json_values))
    if isinstance(value, dict) and draw(st.booleans()):
        left_out = draw(st.sampled_from([*value, ""]))
        value = {key: each for key, each in value.items() if key != left_out}
    return value


def plain(condition: Condition) -> tuple[Any, ...]:
    return condition.field, condition.negated, condition.values


def told(read: Callable[..., Document], value: Any, limits: Limits) -> Any:
    """What a document says, to the last byte, or what is wrong with it."""
    try:
        return msgspec.msgpack.encode(read(value, VOCABULARY, limits), enc_hook=plain)
    except Invalid as exc:
        return exc.problems


@settings(PROPERTY, max_examples=300)
@given(owners() | spoilt() | json_values, st.sampled_from([LIMITS, TIGHT]))
def test_whatever_the_value_both_ways_say_the_same(value: Any, limits: Limits) -> None:
    at_length = told(policy.examine, value, limits)
    event("a document" if isinstance(at_length, bytes) else "none")
    assert told(policy.parse, value, limits) == at_length


@pytest.mark.parametrize("value", [value for _, value, _ in REFUSED])
def test_nothing_that_is_refused_looks_plainly_fine(value: Any) -> None:
    assert told(policy.parse, value, LIMITS) == told(policy.examine, value, LIMITS)


@pytest.mark.parametrize(
    "value",
    [
        account(),
        meeting(rules=[rule("remove", WHOLE), rule("admit", id_="all", note="é")]),
        account(rules=[rule("remove", {"country": ["FR"] * (SHARED + 1)})], not_before="2026-11-21T09:30:00Z"),
        account(not_before="2026-11-21T09:30:00Z", not_after="2026-11-22T09:30:00Z", **{"class": "owner"}),
    ],
)
def test_owners_documents_with_nothing_wrong_are_read_the_short_way(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_length = told(policy.examine, value, LIMITS)
    monkeypatch.setattr(policy, "examine", lambda *_: pytest.fail("read the long way"))
    assert told(policy.parse, value, LIMITS) == at_length


@pytest.mark.parametrize("value", [service(), account(retracted=True), account(retracted=False)])
def test_what_concerns_everyone_or_withdraws_is_read_the_long_way(value: Any) -> None:
    assert isinstance(told(policy.examine, value, LIMITS), bytes)
    with pytest.raises(ValueError, match=r"scope|retracted"):
        plainpolicy.read(value, LIMITS)


def test_conditions_keep_their_order_and_their_values() -> None:
    when = {"stage": ["live"], "country": {"not": ["XK", "FR", "FR"]}, "asn": [7, 0]}
    (read,) = policy.parse(ruled(when), VOCABULARY).rules
    assert [plain(condition) for condition in read.conditions] == [
        ("stage", False, ("live",)),
        ("country", True, ("XK", "FR", "FR")),
        ("asn", False, (7, 0)),
    ]
