"""What lint says of a document, code by code; the words are in tests/golden/lint, the exact part in test_reach."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from streams.core import lint as module
from streams.core.diagnostics import CODES
from streams.core.facts import ANONYMISED, ANY_CONNECTION, RELAY
from streams.core.lint import MOST, Diagnostic, Given, across, lint
from streams.core.policy import LIMITS
from streams.core.reach import Reach
from tests.core.test_reach import VOCABULARY as SMALL
from tests.core.test_reach import brute, parse, rules
from tests.samples import NOON, VOCABULARY, account, rule, service

GIVEN = Given(now=NOON)


def said(value: Any, given: Given = GIVEN) -> list[Diagnostic]:
    return lint(value, VOCABULARY, given)[0]


def codes(*rules: dict[str, Any], given: Given = GIVEN, **fields: Any) -> set[tuple[str, str]]:
    """(code, path) of everything said of an account document with some rules, which alerts by default."""
    found = said(account(**{"rules": list(rules), "default": "alert", **fields}), given)
    return {(diagnostic.code, diagnostic.path) for diagnostic in found}


def test_a_document_nothing_is_wrong_with() -> None:
    found, document = lint(account(rules=[rule("remove", {"country": ["FR"]})]), VOCABULARY, GIVEN)
    assert found == []
    assert document is not None


def test_what_the_language_refuses_is_said_with_its_place_and_a_fix() -> None:
    found, document = lint(account(rules=[rule("admit", {"country": ["fr"]})], mode=None), VOCABULARY, GIVEN)
    assert document is None
    assert {(d.code, d.severity, d.path, d.fix) for d in found} == {
        ("unknown-code", "error", "rules[0].when.country[0]", "write FR"),
        ("null", "error", "mode", CODES["null"].fix),
    }


def test_a_retraction_is_asked_for_nothing_else() -> None:
    assert said(account(retracted=True, not_after="2020-01-01T00:00:00Z", default="remove")) == []


# -- rules that never decide ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "code", "path"),
    [
        ({"role": {"not": ["host", "cohost", "participant", "guest"]}}, "contradiction", "role"),
        ({"country": {"not": ["US"]}, "subdivision": ["US-CA"]}, "contradiction", "subdivision"),
        ({"country": ["CA"], "subdivision": ["US-CA"]}, "subdivision-outside", "subdivision"),
        ({"continent": ["EU"], "subdivision": ["US-CA"]}, "subdivision-outside", "subdivision"),
        ({"continent": ["EU"], "country": ["JP"]}, "country-outside", "country"),
        ({"connection": ["tor", "vpn"], "country": ["FR"]}, "hidden-place", "country"),
        ({"connection": ["tor"], "continent": {"not": ["EU"]}}, "hidden-place", "continent"),
        ({"connection": ["relay"], "subdivision": ["US-CA"]}, "hidden-place", "subdivision"),
    ],
)
def test_a_rule_that_is_true_of_nobody(when: dict[str, Any], code: str, path: str) -> None:
    assert codes(rule("remove", when), rule("admit", {"asn": [7]}, "b")) == {(code, f"rules[0].when.{path}")}


def test_conditions_that_exclude_one_another_only_together() -> None:
    """Any two of these can be true at once; but of the countries only FR is in EU, and has no third subdivision."""
    when = {"continent": ["EU"], "country": ["FR", "US"], "subdivision": {"not": ["FR-75", "FR-13"]}}
    assert codes(rule("remove", when)) == {("contradiction", "rules[0].when")}


def test_rules_behind_one_that_is_true_of_everyone() -> None:
    everyone, tor = rule("admit", id_="everyone"), rule("remove", {"connection": ["tor"]}, "tor")
    (found,) = said(account(rules=[rule("alert", {"country": ["FR"]}), everyone, tor], default="admit"))
    assert (found.code, found.path, found.related) == ("unreachable", "rules[2].id", ("rules[1].id",))
    assert found.message == "rule 'everyone' is true wherever this rule is"


def test_rules_that_earlier_ones_cover_between_them() -> None:
    halves = [rule("admit", {"network": [f"192.0.2.{at}/26"]}, f"q{at}") for at in (0, 64, 128, 192)]
    found = said(account(rules=[*halves, rule("remove", {"network": ["192.0.2.0/24"]}, "all")], default="alert"))
    assert [(d.code, d.path) for d in found] == [("shadowed", "rules[4].id")]
    assert found[0].message == "rules 'q0', 'q64', 'q128' and 1 more are true wherever this rule is"
    assert found[0].related == ("rules[0].id", "rules[1].id", "rules[2].id")


def test_a_finding_that_rests_on_the_table_of_continents_says_so() -> None:
    def message(first: dict[str, Any]) -> str:
        found = said(account(rules=[rule("admit", first), rule("remove", {"country": ["FR"]}, "r2")], default="alert"))
        return next(d.message for d in found if d.code == "shadowed")

    assert message({"continent": ["EU"]}).endswith("by the table of continents")
    assert not message({"country": ["FR", "DE"]}).endswith("continents")


def test_values_that_never_decide() -> None:
    assert codes(
        rule("admit", {"country": ["FR"]}, "a"), rule("remove", {"country": ["FR", "DE"]}, "b")
    ) == {("covered-value", "rules[1].when.country[0]")}  # fmt: skip
    assert codes(rule("admit", {"network": ["2002::/16", "192.0.2.0/24"]})) == {
        ("idle-value", "rules[0].when.network[0]")
    }
    assert codes(rule("admit", {"country": ["US", "CA"], "subdivision": ["US-CA"]})) == {
        ("idle-value", "rules[0].when.country[1]")
    }
    assert codes(rule("admit", {"country": ["US"], "subdivision": ["US-CA", "CA-ON"]})) == {
        ("subdivision-outside", "rules[0].when.subdivision[1]")
    }
    assert codes(rule("admit", {"continent": ["NA"], "subdivision": ["US-CA", "FR-75"]})) == {
        ("subdivision-outside", "rules[0].when.subdivision[1]")
    }
    assert codes(rule("admit", {"connection": ["vpn", "mobile"], "country": ["FR"]})) == {
        ("hidden-place", "rules[0].when.connection[0]")
    }


def test_of_very_many_values_only_the_first_are_pointed_out() -> None:
    numbers = list(range(1000, 1000 + MOST + 20))
    found = said(
        account(
            rules=[rule("admit", {"asn": numbers}, "a"), rule("alert", {"asn": [*numbers, 7]}, "b")], default="remove"
        )
    )
    assert len(found) == MOST + 1
    assert "20 values" in found[-1].message
    found = said(account(rules=[rule("alert", {"asn": [7, *numbers, *numbers]}, "a")]))
    assert len(found) == MOST + 1
    assert "20 values" in found[-1].message


def test_values_that_are_named_twice() -> None:
    found = said(account(rules=[rule("alert", {"country": {"not": ["FR", "DE", "FR"]}})]))
    assert [(d.code, d.path, d.related) for d in found] == [
        ("repeated-value", "rules[0].when.country.not[2]", ("rules[0].when.country.not[0]",))
    ]
    found = said(account(rules=[rule("alert", {"network": ["192.0.2.128/25", "192.0.2.0/24", "192.0.2.0/24"]})]))
    assert [(d.path, d.message) for d in found] == [
        ("rules[0].when.network[0]", "it lies in 192.0.2.0/24"),
        ("rules[0].when.network[2]", "192.0.2.0/24 is named twice"),
    ]


def test_what_cannot_be_analysed_in_time_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Reach", lambda *given, **more: Reach(*given, **more, budget=2))
    assert codes(rule("remove", {"country": ["FR"]}), not_after="2020-01-01T00:00:00Z") == {
        ("not-analysed", "rules"),
        ("expired", "not_after"),
    }


# -- verdicts ----------------------------------------------------------------------------------------------------


def test_a_default_that_is_never_asked() -> None:
    everyone = rule("admit", id_="everyone")
    assert codes(everyone, default="remove") == {
        ("pointless-rules", "rules"),
        ("unreachable-default", "default"),
    }
    assert codes(rule("alert", {"country": ["FR"]}), everyone, default="admit") == set(), "they say the same"
    by_role = [rule("alert", {"role": ["host"]}, "a"), rule("admit", {"role": {"not": ["host"]}}, "b")]
    (found,) = said(account(rules=by_role, default="remove"))
    assert (found.code, found.message[:18]) == ("unreachable-default", "rules 'a', 'b' are")


def test_rules_that_make_no_difference() -> None:
    assert codes(rule("alert", {"country": ["FR"]})) == {("pointless-rules", "rules")}
    assert codes() == set(), "a document without rules has no pointless ones"


def test_an_unknown_that_is_never_used() -> None:
    hosts = rule("admit", {"role": ["host"]})
    assert codes(hosts, unknown="remove") == {("unused-unknown", "unknown")}
    assert codes(hosts, unknown="alert") == set(), "it says what the default says"
    assert codes(hosts) == set(), "nobody wrote it"
    assert codes(rule("admit", {"country": ["FR"]}), unknown="remove") == set()


@pytest.mark.parametrize(
    ("rules", "default", "wanted"),
    [
        ([], "remove", "removes-everyone"),
        ([rule("remove", {"country": ["FR"]})], "remove", "removes-everyone"),
        ([rule("admit", {"country": ["FR"]}), rule("remove", id_="all")], "remove", None),
        ([rule("remove", id_="all")], "remove", "removes-everyone"),
        ([rule("admit", {"role": ["guest"]})], "remove", "removes-hosts"),
        ([rule("admit", {"role": ["host"]})], "remove", None),
        ([rule("remove", {"role": ["host"]})], "admit", "removes-hosts"),
        ([rule("remove", {"role": ["host"], "country": ["FR"]})], "admit", None),
        ([rule("remove", {"role": ["host"]}), rule("admit", {"country": ["FR"]}, "b")], "remove", "removes-hosts"),
    ],
)
def test_documents_that_remove_everyone_or_every_host(
    rules: list[dict[str, Any]], default: str, wanted: str | None
) -> None:
    found = {code for code, _ in codes(*rules, default=default)}
    assert found & {"removes-everyone", "removes-hosts"} == ({wanted} if wanted else set())


def test_that_unknown_joins_may_come_in_is_said() -> None:
    contradiction = rule("admit", {"country": ["CA"], "subdivision": ["US-CA"]})
    found = said(account(rules=[contradiction], default="remove", unknown="admit"))
    (everyone,) = [d for d in found if d.code == "removes-everyone"]
    assert "`unknown` says admit" in everyone.message


@settings(deadline=None, max_examples=60)
@each(rules())
def test_removing_everyone_is_held_to_brute_force(made: list[dict[str, Any]]) -> None:
    value = account(rules=made, default="remove", unknown="remove")
    found = {d.code for d in lint(value, SMALL, GIVEN)[0]}
    _, decides, _ = brute(parse(made))
    spared = any(made[i]["then"] != "remove" for i in decides)
    assert ("removes-everyone" in found) == (not spared)


# -- what the deployment gives -----------------------------------------------------------------------------------


def given(*facts: str, connections: tuple[int, ...] = (ANY_CONNECTION,), **more: Any) -> Given:
    return Given(NOON, frozenset(facts), connections, **more)


@pytest.mark.parametrize(
    ("when", "facts", "words"),
    [
        ({"subdivision": ["US-CA"]}, ("country",), "subdivisions: the condition is never true"),
        ({"subdivision": {"not": ["US-CA"]}}, ("country",), "subdivisions: the condition is never false"),
        ({"subdivision": ["US-CA"]}, (), "subdivisions: the condition is always open"),
        ({"subdivision": ["US-CA"]}, ("subdivision",), None),
        ({"country": ["FR"]}, ("subdivision",), None),
        ({"country": ["FR"]}, ("continent",), "countries: the condition is never true"),
        ({"country": ["FR"]}, ("asn",), "countries: the condition is always open"),
        ({"continent": ["EU"]}, ("country",), None),
        ({"continent": ["EU"]}, (), "continents: the condition is always open"),
        ({"asn": [7]}, ("country",), "autonomous system numbers: the condition is always open"),
        ({"asn": [7]}, ("asn",), None),
        ({"connection": ["tor"]}, (), "such connections: the condition is always open"),
        ({"role": ["host"]}, (), None),
        ({"network": ["192.0.2.0/24"]}, (), None),
    ],
)
def test_facts_that_no_geo_file_gives(when: dict[str, Any], facts: tuple[str, ...], words: str | None) -> None:
    found = said(account(rules=[rule("alert", when)]), given(*facts))
    assert [d.message for d in found] == ([f"no geo file in use gives {words}"] if words else [])


def test_connections_that_the_files_do_tell() -> None:
    clean = ANY_CONNECTION & ~(ANONYMISED | RELAY)
    with_anonymity = given(connections=(ANY_CONNECTION, clean, 1))
    assert said(account(rules=[rule("alert", {"connection": ["tor"]})]), with_anonymity) == []
    (found,) = said(account(rules=[rule("alert", {"connection": ["mobile"]})]), with_anonymity)
    assert found.message.endswith("never true")


def test_one_word_is_said_for_all_alike() -> None:
    made = [rule("alert", {"asn": [number]}, f"r{number}") for number in range(6)]
    (found,) = said(account(rules=made), given("country"))
    assert found.message.endswith("always open, as in 5 more")
    assert (found.path, len(found.related)) == ("rules[0].when.asn", 3)


def test_a_service_document_without_anonymity_data_alerts_at_most() -> None:
    document = service(
        rules=[rule("remove", {"country": ["FR"]}), rule("alert", {"country": ["DE"]}, "b")],
        not_before="2026-12-01T00:00:00Z",
        contest="https://doorward.example",
    )
    assert [(d.code, d.path) for d in said(document, given("country"))] == [("C4-capped", "rules[0].then")]
    assert said(document) == []


def test_windows() -> None:
    assert codes(not_after="2026-11-21T12:00:00Z") == {("expired", "not_after")}
    assert codes(not_after="2026-11-21T12:00:00.001Z") == set()
    tonight = service(rules=[rule("remove", {"country": ["FR"]})], not_before="2026-11-21T20:00:00Z")
    assert [(d.code, d.path, d.severity) for d in said(tonight)] == [("C5-notice", "not_before", "warning")]


def test_a_way_to_contest() -> None:
    removes = account(rules=[rule("remove", {"country": ["FR"]})])
    without = given("country", contest=False)
    assert [(d.code, d.severity) for d in said(removes, without)] == [("contest", "warning")]
    assert said({**removes, "contest": "https://acme.example"}, without) == []
    of_service = service(rules=[rule("remove", {"country": ["FR"]})], not_before="2026-12-01T00:00:00Z")
    assert ("contest", "error") in {(d.code, d.severity) for d in said(of_service, without)}


def test_several_documents_together() -> None:
    found = [("a", 1, b"x"), ("a", 2, b"x"), ("b", 1, b"x"), ("a", 1, b"x"), ("a", 1, b"y")]
    assert list(across(found)) == [(3, 0, "repeat"), (4, 0, "revision-conflict")]


@settings(deadline=None, max_examples=60)
@each(rules(), st.sampled_from(["admit", "alert", "remove"]))
def test_whatever_is_said_has_an_entry_and_a_place(made: list[dict[str, Any]], default: str) -> None:
    value = account(rules=made, default=default, unknown="admit")
    for found in lint(value, SMALL, given("country", contest=False))[0]:
        assert found.message
        assert found.fix
        assert found.severity == CODES[found.code].severity


def test_the_greatest_sizes_are_refused_before_they_are_looked_at() -> None:
    million = account(rules=[{}] * 1_000_000)
    assert [(d.code, d.path) for d in said(million)] == [("too-many", "rules")]
    copies = account(rules=[rule("admit", {"network": ["0.0.0.0/0"] * (LIMITS.values + 1)})])
    assert [(d.code, d.path) for d in said(copies)] == [("too-many", "rules[0].when.network")]
