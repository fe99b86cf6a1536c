"""The policy document's schema takes and refuses what the engine does, but for what `policyschema.BEYOND` lists."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from streams.adapters.iso import vocabulary
from streams.adapters.policyschema import BEYOND, policy_schema
from streams.core import policy
from tests.golden import scenario
from tests.test_cases import load

VALIDATOR = Draft202012Validator(policy_schema())


def problems(document: object) -> set[str]:
    """The codes of what the engine finds wrong; none when it takes the document."""
    try:
        policy.parse(document, vocabulary())
    except policy.Invalid as invalid:
        return {problem.code for problem in invalid.problems}
    return set()


def check(document: object) -> None:
    """Both take it or both refuse it, unless what the engine finds is beyond any schema."""
    found = problems(document)
    valid = VALIDATOR.is_valid(document)
    if not found:
        assert valid, [error.message for error in VALIDATOR.iter_errors(document)]
    elif found - BEYOND.keys():
        assert not valid, found


def case_documents() -> list[Any]:
    return [document for parameter in load() for document in parameter.values[0]["documents"]]


def test_it_agrees_with_the_engine_on_every_document_of_the_cases() -> None:
    documents = case_documents()
    taken = [document for document in documents if not problems(document)]
    assert len(taken) > 100
    assert len(documents) - len(taken) > 30
    for document in documents:
        check(document)


LICENSING = json.loads((scenario.EXAMPLES / "policy" / "licensing.json").read_bytes())
EXPORT = json.loads((scenario.EXAMPLES / "policy" / "export.json").read_bytes())
MEETING = {
    "scope": "meeting",
    "account": "campus-1",
    "meeting": "exam",
    "name": "exam",
    "revision": 1,
    "default": "admit",
}

REFUSED: list[tuple[str, Any]] = [
    ("no object", []),
    ("no scope", {key: value for key, value in LICENSING.items() if key != "scope"}),
    ("another language", LICENSING | {"language": 2}),
    ("null language", LICENSING | {"language": None}),
    ("an unknown key", LICENSING | {"defaults": "admit"}),
    ("a meeting in an account document", LICENSING | {"meeting": "m-1"}),
    ("an account in a service document", EXPORT | {"account": "acme"}),
    ("no meeting", {key: value for key, value in MEETING.items() if key != "meeting"}),
    ("no default", {key: value for key, value in MEETING.items() if key != "default"}),
    ("revision 0", MEETING | {"revision": 0}),
    ("revision beyond 63 bits", MEETING | {"revision": 2**63}),
    ("a boolean revision", MEETING | {"revision": True}),
    ("a revision as text", MEETING | {"revision": "1"}),
    ("null mode", MEETING | {"mode": None}),
    ("null ground", MEETING | {"ground": None}),
    ("an unknown verdict", MEETING | {"default": "expel"}),
    ("class legal of an owner", MEETING | {"class": "legal"}),
    ("a time without offset", MEETING | {"not_before": "2026-11-21T09:30:00"}),
    ("a date", MEETING | {"not_after": "2026-11-21"}),
    ("retracted as text", MEETING | {"retracted": "true"}),
    ("null rules", MEETING | {"rules": None}),
    ("a long name", MEETING | {"name": "x" * 129}),
    ("an empty account", MEETING | {"account": ""}),
    ("service: no ground", {key: value for key, value in EXPORT.items() if key != "ground"}),
    ("service: blank ground", EXPORT | {"ground": " "}),
    ("service: null reference", EXPORT | {"reference": None}),
    ("service: no end", EXPORT | {"not_after": None}),
    ("service: class owner", EXPORT | {"class": "owner"}),
    ("service: default remove", EXPORT | {"default": "remove"}),
    ("service: unknown alert", EXPORT | {"unknown": "alert"}),
    *(
        (f"rule {rule}", MEETING | {"rules": [rule]})
        for rule in (
            {"id": "r"},
            {"then": "admit"},
            {"id": "", "then": "admit"},
            {"id": "r", "then": None},
            {"id": "r", "then": "admit", "note": 7},
            {"id": "r", "then": "admit", "if": {}},
            {"id": "r", "then": "admit", "when": {}},
            {"id": "r", "then": "admit", "when": None},
            {"id": "r", "then": "admit", "when": {"country": []}},
            {"id": "r", "then": "admit", "when": {"country": "FR"}},
            {"id": "r", "then": "admit", "when": {"country": ["fr"]}},
            {"id": "r", "then": "admit", "when": {"country": {"not": []}}},
            {"id": "r", "then": "admit", "when": {"country": {"not": ["FR"], "any": ["DE"]}}},
            {"id": "r", "then": "admit", "when": {"city": ["Lyon"]}},
            {"id": "r", "then": "admit", "when": {"subdivision": ["CA"]}},
            {"id": "r", "then": "admit", "when": {"continent": ["XX"]}},
            {"id": "r", "then": "admit", "when": {"connection": ["other"]}},
            {"id": "r", "then": "admit", "when": {"asn": [-1]}},
            {"id": "r", "then": "admit", "when": {"asn": [2**32]}},
            {"id": "r", "then": "admit", "when": {"asn": ["64500"]}},
            {"id": "r", "then": "admit", "when": {"network": ["192.0.2.1"]}},
            {"id": "r", "then": "admit", "when": {"role": ["owner"]}},
            {"id": "r", "then": "admit", "when": {"stage": ["gone"]}},
        )
    ),
    *(
        (f"service rule {when}", EXPORT | {"rules": [{"id": "r", "then": "remove", "when": when}]})
        for when in (
            {"role": ["guest"]},
            {"asn": [64500]},
            {"network": ["192.0.2.0/24"]},
            {"stage": ["lobby"]},
            {"connection": ["tor"]},
            {"country": {"not": ["FR"]}},
        )
    ),
    ("service rule for all", EXPORT | {"rules": [{"id": "r", "then": "remove"}]}),
]


@pytest.mark.parametrize("document", [pytest.param(document, id=what) for what, document in REFUSED])
def test_a_wrong_shape_is_refused_by_both(document: object) -> None:
    assert problems(document)
    assert not VALIDATOR.is_valid(document)


def without_items(schema: Any) -> Any:
    """The same schema for lists whose items are known to be right: looking at each of many takes seconds."""
    if isinstance(schema, list):
        return [without_items(each) for each in schema]
    if isinstance(schema, dict):
        return {key: without_items(value) for key, value in schema.items() if key != "items"}
    return schema


def test_both_take_as_many_rules() -> None:
    validator = Draft202012Validator(without_items(policy_schema()))
    for more in (0, 1):
        listed = [{"id": str(i), "then": "admit"} for i in range(policy.LIMITS.rules + more)]
        for document in (MEETING | {"rules": listed}, MEETING | {"rules": listed, "retracted": True}):
            assert bool(problems(document)) == bool(more)
            assert validator.is_valid(document) == (not more)


@pytest.mark.parametrize(
    ("field", "value"),
    [("asn", 64500), ("connection", "tor"), ("country", "FR"), ("subdivision", "US-CA")],
)
def test_both_take_as_many_values(field: str, value: object) -> None:
    schema = without_items(policy_schema())
    validator = Draft202012Validator({"$ref": "#/$defs/when", "$defs": schema["$defs"]})
    for more in (0, 1):
        values = [value] * (policy.LIMITS.values + more)
        for when in ({field: values}, {field: {"not": values}}):
            assert bool(problems(MEETING | {"rules": [{"id": "r", "then": "alert", "when": when}]})) == bool(more)
            assert validator.is_valid(when) == (not more)


BEYOND_SHAPE: dict[str, dict[str, Any]] = {
    "unknown-code": MEETING | {"rules": [{"id": "r", "then": "alert", "when": {"country": ["ZZ"]}}]},
    "network": MEETING | {"rules": [{"id": "r", "then": "alert", "when": {"network": ["192.0.2.1/24"]}}]},
    "time": MEETING | {"not_before": "2026-02-30T00:00:00Z"},
    "duplicate-id": MEETING | {"rules": [{"id": "r", "then": "alert"}, {"id": "r", "then": "admit"}]},
    "window": MEETING | {"not_before": "2026-02-02T00:00:00Z", "not_after": "2026-02-01T00:00:00Z"},
    "C5-window": EXPORT | {"not_after": "2026-11-21T00:00:00Z"},
}


@pytest.mark.parametrize("code", BEYOND)
def test_what_only_the_engine_refuses(code: str) -> None:
    assert problems(BEYOND_SHAPE[code]) == {code}
    assert VALIDATOR.is_valid(BEYOND_SHAPE[code])


def test_codes_of_the_vocabulary_have_the_shape_the_schema_wants() -> None:
    codes = vocabulary()
    when = {"country": sorted(codes.countries), "subdivision": sorted(codes.subdivisions)}
    assert VALIDATOR.is_valid(MEETING | {"rules": [{"id": "r", "then": "alert", "when": when}]})


# Values for any field, right and wrong, from which whole documents are drawn. Numbers are whole: JSON Schema cannot
# tell 1.0 from 1, while the engine takes only the latter.
_WORD = st.sampled_from(
    [None, "admit", "alert", "remove", "report", "enforce", "owner", "legal", "x", "", True, 1, 0, []]
)
_TIMES = st.sampled_from([None, "2026-11-20T00:00:00Z", "2027-03-01T00:00:00+01:00", "soon", 7])
_LISTS = st.sampled_from(
    [[], ["FR"], ["US-CA"], ["EU"], ["tor"], ["guest"], ["lobby"], [64500], ["192.0.2.0/24"], "FR"]
)
_CONDITIONS = st.one_of(_LISTS, st.fixed_dictionaries({"not": _LISTS}), st.just({}))
_WHENS = st.dictionaries(st.sampled_from([*policy.FIELDS, "city"]), _CONDITIONS, max_size=2)
_RULES = st.fixed_dictionaries(
    {"id": st.sampled_from(["r", "r", "r", "", 7]), "then": _WORD},
    optional={"when": _WHENS, "note": st.sampled_from([None, "n", 7]), "else": st.just(1)},
)
_CHANGES = st.dictionaries(
    st.sampled_from(
        [
            *("scope", "account", "meeting", "name", "revision", "language", "rules", "default", "unknown", "mode"),
            *("not_before", "not_after", "class", "ground", "reference", "contest", "note", "retracted", "colour"),
        ]
    ),
    st.one_of(_WORD, _TIMES, st.lists(_RULES, max_size=2)),
    max_size=3,
)


@settings(max_examples=600, deadline=None)
@example(base=EXPORT, changes={"retracted": True, "default": "remove", "ground": ""}, left_out=set())
@given(
    base=st.sampled_from([LICENSING, EXPORT, MEETING]),
    changes=_CHANGES,
    left_out=st.sets(st.sampled_from(["default", "class", "ground", "not_after", "account", "name"]), max_size=1),
)
def test_they_agree_on_any_document(base: dict[str, Any], changes: dict[str, Any], left_out: set[str]) -> None:
    document = copy.deepcopy(base) | changes
    check({key: value for key, value in document.items() if key not in left_out})
