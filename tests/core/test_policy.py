"""What a document may say: every refusal with its code and place, and nothing but refusals for nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import policy
from tests.samples import NOON, PROPERTY, VOCABULARY, account, meeting, parse, problems, rule, service

LONG = "x" * 129


def ruled(when: Any) -> dict[str, Any]:
    return account(rules=[{"id": "r", "then": "remove", "when": when}])


REFUSED: list[tuple[str, Any, set[tuple[str, str]]]] = [
    ("no object", [], {("type", "")}),
    ("null", None, {("type", "")}),
    ("a string", "service", {("type", "")}),
    ("no scope", account(scope=...), {("required", "scope")}),
    ("a scope of another kind", account(scope="person"), {("choice", "scope")}),
    ("a scope that is no word", account(scope=["service"]), {("choice", "scope")}),
    ("scope null", account(scope=None), {("choice", "scope")}),
    ("a later language", account(language=2), {("language", "language")}),
    ("language true", account(language=True), {("language", "language")}),
    ("language 1.0", account(language=1.0), {("language", "language")}),
    ("language null", account(language=None), {("language", "language")}),
    ("another language is all that is said", account(language=2, colour="red"), {("language", "language")}),
    ("an unknown key", account(colour="red"), {("unknown-key", "colour")}),
    ("an id the scope does not take", account(meeting="m-1"), {("unknown-key", "meeting")}),
    ("an account in a service document", service(account="acme"), {("unknown-key", "account")}),
    ("a null account in a service document", service(account=None), {("unknown-key", "account")}),
    ("no account", account(account=...), {("required", "account")}),
    ("account null", account(account=None), {("null", "account")}),
    ("account empty", account(account=""), {("name", "account")}),
    ("account a number", account(account=7), {("name", "account")}),
    ("account too long", account(account=LONG), {("name", "account")}),
    ("no meeting", meeting(meeting=...), {("required", "meeting")}),
    ("meeting too long", meeting(meeting=LONG), {("name", "meeting")}),
    ("no name", account(name=...), {("required", "name")}),
    ("name null", account(name=None), {("null", "name")}),
    ("name empty", account(name=""), {("name", "name")}),
    ("name too long", account(name=LONG), {("name", "name")}),
    ("no revision", account(revision=...), {("required", "revision")}),
    ("revision null", account(revision=None), {("null", "revision")}),
    ("revision 0", account(revision=0), {("number", "revision")}),
    ("revision 2^63", account(revision=2**63), {("number", "revision")}),
    ("revision true", account(revision=True), {("number", "revision")}),
    ("revision 1.0", account(revision=1.0), {("number", "revision")}),
    ("revision a string", account(revision="1"), {("number", "revision")}),
    ("no default", account(default=...), {("required", "default")}),
    ("default null", account(default=None), {("null", "default")}),
    ("a verdict that ends the meeting", account(default="end"), {("choice", "default")}),
    ("a verdict in capitals", account(default="Admit"), {("choice", "default")}),
    ("a verdict that is a number", account(default=2), {("choice", "default")}),
    ("unknown no verdict", account(unknown="maybe"), {("choice", "unknown")}),
    ("unknown null", account(unknown=None), {("null", "unknown")}),
    ("mode shadow", account(mode="shadow"), {("choice", "mode")}),
    ("mode null", account(mode=None), {("null", "mode")}),
    ("retracted a word", account(retracted="yes"), {("type", "retracted")}),
    ("retracted 1", account(retracted=1), {("type", "retracted")}),
    ("retracted null", account(retracted=None), {("null", "retracted")}),
    ("not_before no time", account(not_before="tomorrow"), {("time", "not_before")}),
    ("not_before without offset", account(not_before="2026-11-21T09:30:00"), {("time", "not_before")}),
    ("not_before a number", account(not_before=NOON), {("type", "not_before")}),
    (
        "a window that ends as it begins",
        account(not_before="2026-11-21T09:30:00Z", not_after="2026-11-21T10:30:00+01:00"),
        {("window", "not_after")},
    ),
    ("class legal in an owner document", account(**{"class": "legal"}), {("choice", "class")}),
    ("class null", account(**{"class": None}), {("null", "class")}),
    ("class owner in a service document", service(**{"class": "owner"}), {("choice", "class")}),
    ("ground null", account(ground=None), {("null", "ground")}),
    ("ground a list", account(ground=[]), {("type", "ground")}),
    ("contest a number", account(contest=1), {("type", "contest")}),
    ("note an object", account(note={}), {("type", "note")}),
    ("no class in a service document", service(**{"class": ...}), {("required", "class")}),
    ("no ground in a service document", service(ground=...), {("required", "ground")}),
    ("a blank ground in a service document", service(ground=" \t"), {("required", "ground")}),
    ("a blank ground in an owner document", account(ground=""), {("required", "ground")}),
    ("a blank contest", account(contest=" "), {("required", "contest")}),
    ("a blank note of a rule", account(rules=[rule("admit", note="\n")]), {("required", "rules[0].note")}),
    ("a blank time", account(not_before=""), {("time", "not_before")}),
    ("ground null in a service document", service(ground=None), {("null", "ground")}),
    ("no reference in a service document", service(reference=...), {("required", "reference")}),
    ("reference null in a service document", service(reference=None), {("required", "reference")}),
    ("no not_before in a service document", service(not_before=...), {("required", "not_before")}),
    ("not_before null in a service document", service(not_before=None), {("required", "not_before")}),
    ("no not_after in a service document", service(not_after=...), {("required", "not_after")}),
    ("rules null", account(rules=None), {("null", "rules")}),
    ("rules an object", account(rules={}), {("type", "rules")}),
    ("a rule that is a word", account(rules=["deny"]), {("type", "rules[0]")}),
    ("a rule that is null", account(rules=[None]), {("type", "rules[0]")}),
    ("a rule without id", account(rules=[{"then": "admit"}]), {("required", "rules[0].id")}),
    ("a rule with id null", account(rules=[{"id": None, "then": "admit"}]), {("name", "rules[0].id")}),
    ("a rule with an id too long", account(rules=[rule("admit", id_=LONG)]), {("name", "rules[0].id")}),
    ("a rule without then", account(rules=[{"id": "r"}]), {("required", "rules[0].then")}),
    ("a rule with then null", account(rules=[{"id": "r", "then": None}]), {("choice", "rules[0].then")}),
    ("a rule with then block", account(rules=[rule("block")]), {("choice", "rules[0].then")}),
    ("a rule with a number for a note", account(rules=[rule("admit", note=1)]), {("type", "rules[0].note")}),
    ("a rule with an unknown key", account(rules=[rule("admit", If={})]), {("unknown-key", "rules[0].If")}),
    ("two rules of one id", account(rules=[rule("admit"), rule("alert")]), {("duplicate-id", "rules[1].id")}),
    ("when null", ruled(None), {("empty-when", "rules[0].when")}),
    ("when empty", ruled({}), {("empty-when", "rules[0].when")}),
    ("when a list", ruled([]), {("empty-when", "rules[0].when")}),
    ("a person in when", ruled({"person": ["p-1"]}), {("unknown-key", "rules[0].when.person")}),
    ("a number as condition", ruled({"asn": 64500}), {("condition", "rules[0].when.asn")}),
    ("a bare code as condition", ruled({"country": "FR"}), {("condition", "rules[0].when.country")}),
    ("null as condition", ruled({"country": None}), {("condition", "rules[0].when.country")}),
    ("an empty list", ruled({"country": []}), {("empty-list", "rules[0].when.country")}),
    ("an empty negated list", ruled({"country": {"not": []}}), {("empty-list", "rules[0].when.country.not")}),
    ("an empty object as condition", ruled({"country": {}}), {("condition", "rules[0].when.country")}),
    ("not beside more", ruled({"country": {"not": ["FR"], "any": []}}), {("condition", "rules[0].when.country")}),
    ("not of not", ruled({"country": {"not": {"not": ["FR"]}}}), {("condition", "rules[0].when.country.not")}),
    ("an unknown country", ruled({"country": ["FR", "ZZ"]}), {("unknown-code", "rules[0].when.country[1]")}),
    ("a country in lower case", ruled({"country": ["fr"]}), {("unknown-code", "rules[0].when.country[0]")}),
    ("YAML 1.1's Norway", ruled({"country": [False]}), {("unknown-code", "rules[0].when.country[0]")}),
    ("a list in a list", ruled({"country": [["FR"]]}), {("unknown-code", "rules[0].when.country[0]")}),
    (
        "an unknown subdivision",
        ruled({"subdivision": {"not": ["FR"]}}),
        {("unknown-code", "rules[0].when.subdivision.not[0]")},
    ),
    ("an unknown continent", ruled({"continent": ["Europe"]}), {("unknown-code", "rules[0].when.continent[0]")}),
    (
        "the connection no list can name",
        ruled({"connection": ["other"]}),
        {("unknown-code", "rules[0].when.connection[0]")},
    ),
    ("an unknown role", ruled({"role": ["admin"]}), {("unknown-code", "rules[0].when.role[0]")}),
    ("an unknown stage", ruled({"stage": ["gone"]}), {("unknown-code", "rules[0].when.stage[0]")}),
    ("an asn as text", ruled({"asn": ["AS64500"]}), {("number", "rules[0].when.asn[0]")}),
    ("an asn of 33 bits", ruled({"asn": [2**32]}), {("number", "rules[0].when.asn[0]")}),
    ("an asn of 1.0", ruled({"asn": [1.0]}), {("number", "rules[0].when.asn[0]")}),
    ("an asn that is null", ruled({"asn": [None]}), {("number", "rules[0].when.asn[0]")}),
    ("an asn that is true", ruled({"asn": [True]}), {("number", "rules[0].when.asn[0]")}),
    ("a network that is a number", ruled({"network": [1]}), {("network", "rules[0].when.network[0]")}),
    ("a bare address", ruled({"network": ["192.0.2.1"]}), {("network", "rules[0].when.network[0]")}),
    ("host bits", ruled({"network": ["192.0.2.1/24"]}), {("network", "rules[0].when.network[0]")}),
]


@pytest.mark.parametrize(("value", "wanted"), [pytest.param(v, w, id=name) for name, v, w in REFUSED])
def test_refused(value: Any, wanted: set[tuple[str, str]]) -> None:
    assert problems(value) == wanted


def test_every_problem_is_reported_at_once() -> None:
    value = account(
        revision=0,
        colour="red",
        mode="shadow",
        contest=1,
        rules=[{"id": "", "then": "end", "when": {"asn": [-1, "x"]}}, 1],
    )
    assert problems(value) == {
        ("number", "revision"),
        ("unknown-key", "colour"),
        ("choice", "mode"),
        ("type", "contest"),
        ("name", "rules[0].id"),
        ("choice", "rules[0].then"),
        ("number", "rules[0].when.asn[0]"),
        ("number", "rules[0].when.asn[1]"),
        ("type", "rules[1]"),
    }


def test_what_the_charter_refuses_is_reported_beside_the_rest() -> None:
    value = service(revision=0, default="remove", rules=[rule("remove", {"role": ["guest"]})])
    assert {"number", "C2-general", "C4-territory"} <= {code for code, _ in problems(value)}


def test_an_id_given_twice_is_reported_beside_the_rest() -> None:
    assert ("duplicate-id", "rules[1].id") in problems(account(rules=[rule("admit"), {"id": "r"}]))


def test_problems_read_well() -> None:
    with pytest.raises(policy.Invalid, match=r"revision: is required \[required\]; rules\[0\]: a rule is an object"):
        parse(account(revision=..., rules=[1]))
    with pytest.raises(policy.Invalid, match=r"document: a document is an object, not null \[type\]"):
        parse(None)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(account(), id="the least"),
        pytest.param(account(language=1, mode="enforce", unknown="alert", rules=[]), id="defaults said"),
        pytest.param(account(name="x" * 128, account="é" * 128), id="names of 128 characters, not bytes"),
        pytest.param(account(name=" / %\x00?"), id="any characters"),
        pytest.param(account(revision=2**63 - 1), id="the last revision"),
        pytest.param(account(not_before=None, not_after=None, contest=None, note=None, reference=None), id="nulls"),
        pytest.param(account(**{"class": "owner", "ground": "g", "reference": "r"}), id="class owner said"),
        pytest.param(account(retracted=False), id="not retracted, said"),
        pytest.param(account(rules=[rule("admit", note=None)]), id="a rule's note null"),
        pytest.param(ruled({"country": ["XK", "XK"]}), id="Kosovo, twice"),
        pytest.param(ruled({"asn": [0, 2**32 - 1], "network": ["::/0"], "stage": {"not": ["live"]}}), id="many fields"),
        pytest.param(service(), id="service"),
        pytest.param(service(unknown="admit", contest=None, note=None, rules=[]), id="service, said"),
        pytest.param({"scope": "service", "name": "x", "revision": 2, "retracted": True}, id="service retraction"),
        pytest.param(account(default=..., retracted=True), id="account retraction"),
        pytest.param(
            account(retracted=True, not_before="2027-01-01T00:00:00Z", not_after="2026-01-01T00:00:00Z"),
            id="a window in a retraction means nothing",
        ),
    ],
)
def test_taken(value: Any) -> None:
    assert problems(value) == set()


def test_defaults() -> None:
    owner, general = parse(account()), parse(service())
    assert (owner.mode, owner.unknown, owner.rules, owner.class_, owner.retracted) == ("enforce", 1, (), "owner", False)
    assert (general.unknown, general.class_, general.account) == (0, "legal", None)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (service(name="a b/c"), "service/a%20b%2Fc"),
        (account(account="ac/me", name="Az-._~09"), "account/ac%2Fme/Az-._~09"),
        (meeting(meeting="é"), "meeting/acme/%C3%A9/licensing"),
        (account(account=".."), "account/../licensing"),
    ],
)
def test_a_path_is_percent_encoded_but_for_unreserved_characters(value: Any, path: str) -> None:
    assert parse(value).path == path


@PROPERTY
@given(*[st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)] * 4)
def test_two_documents_share_a_path_only_if_they_share_scope_ids_and_name(a: str, b: str, c: str, d: str) -> None:
    paths = [
        policy.path_of(*parts) for parts in [("account", a, b), ("meeting", a, b, c), ("account", c, d), ("service", a)]
    ]
    assert len(set(paths)) == (3 if (a, b) == (c, d) else 4)
    assert all(path.isascii() and " " not in path for path in paths)


@pytest.mark.parametrize(
    ("value", "can"),
    [
        (account(), False),
        (account(default="remove"), True),
        (account(unknown="remove"), True),
        (ruled({"country": ["FR"]}), True),
        (account(default="remove", retracted=True), False),
    ],
)
def test_can_remove(value: Any, can: bool) -> None:
    assert parse(value).can_remove is can


# -- nothing but Invalid ---------------------------------------------------------------------------------------------

WORDS = [
    *(
        "language",
        "scope",
        "account",
        "meeting",
        "name",
        "revision",
        "rules",
        "default",
        "unknown",
        "mode",
        "not_before",
    ),
    *(
        "not_after",
        "class",
        "ground",
        "reference",
        "contest",
        "note",
        "retracted",
        "id",
        "when",
        "then",
        "not",
        "country",
    ),
    *("service", "admit", "remove", "report", "FR", "FR-75", "EU", "tor", "192.0.2.0/24", "2026-11-21T09:30:00Z"),
]
texts = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)
WHOLE = {
    "country": ["FR"],
    "subdivision": {"not": ["FR-75"]},
    "continent": ["EU"],
    "asn": [1],
    "network": ["::/0"],
    "connection": ["tor"],
    "role": ["guest"],
    "stage": ["live"],
}
VALID = [account(rules=[rule("remove", WHOLE)]), meeting(), service(rules=[rule("remove", {"country": ["FR"]})])]


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, child in inner for place in places(child, (*here, key)))]


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document with one or two of its parts replaced by anything, and perhaps one key more."""
    value = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 2))):
        value = replaced(value, draw(st.sampled_from(places(value))), draw(json_values))
    return {**value, draw(texts): draw(json_values)} if isinstance(value, dict) and draw(st.booleans()) else value


@settings(PROPERTY, max_examples=300)
@given(json_values | mutated())
def test_whatever_the_value_parse_takes_it_or_says_why(value: Any) -> None:
    if not problems(value):
        document = parse(value)
        assert document.path.split("/")[0] == value["scope"]
        assert len(document.rules) == len(value.get("rules", []))


@pytest.mark.parametrize("member", ["name", "account"])
def test_a_lone_surrogate_in_an_id_is_refused(member: str) -> None:
    assert problems(account(**{member: "\ud800"})) == {("name", member)}


def test_a_prefix_length_of_thousands_of_digits_is_refused() -> None:
    assert problems(ruled({"network": ["::/" + "9" * 5000]})) == {("network", "rules[0].when.network[0]")}


def test_hostile_sizes_are_walked_not_recursed() -> None:
    deep: Any = "FR"
    for _ in range(100_000):
        deep = [deep]
    assert problems(ruled({"country": deep})) == {("unknown-code", "rules[0].when.country[0]")}
    assert problems(account(rules=deep)) == {("type", "rules[0]")}
    nots: Any = ["FR"]
    for _ in range(100_000):
        nots = {"not": nots}
    assert problems(ruled({"country": nots})) == {("condition", "rules[0].when.country.not")}
    many = parse(account(rules=[rule("admit", {"asn": [i]}, str(i)) for i in range(5_000)]))
    assert len(many.rules) == 5_000
    assert len(parse(ruled({"asn": list(range(100_000))})).rules[0].conditions[0].values) == 100_000


def test_the_vocabulary_is_an_argument() -> None:
    with pytest.raises(policy.Invalid, match="is not an ISO 3166-1"):
        policy.parse(ruled({"country": ["GB"]}), VOCABULARY)


@pytest.mark.parametrize("field", ["note", "ground", "reference", "contest"])
def test_a_text_is_no_longer_than_receipts_can_repeat(field: str) -> None:
    assert problems(account(**{field: "x" * policy.MAX_TEXT})) == set()
    assert problems(account(**{field: "x" * (policy.MAX_TEXT + 1)})) == {("too-long", field)}


def test_of_very_many_problems_a_thousand_are_told() -> None:
    wrong = account(rules=[rule("admit", {"country": ["??"] * 600}, id_=str(n)) for n in range(3)])
    with pytest.raises(policy.Invalid) as caught:
        parse(wrong)
    assert len(caught.value.problems) == 1_001
    assert caught.value.problems[-1].code == "too-many"


@pytest.mark.parametrize("limits", [policy.Limits(rules=1), policy.Limits(values=1)])
def test_the_greatest_sizes_are_set_by_the_deployment(limits: policy.Limits) -> None:
    document = account(rules=[rule("admit", {"country": ["US", "CA"]}, id_=str(n)) for n in range(2)])
    assert parse(document).rules
    with pytest.raises(policy.Invalid) as caught:
        policy.parse(document, VOCABULARY, limits)
    assert {problem.code for problem in caught.value.problems} == {"too-many"}


def test_a_lone_surrogate_is_no_character_in_any_text() -> None:
    assert problems(account(note="\ud800 visits")) == {("type", "note")}
