"""What two documents write differently."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core.facts import CONTINENT_OF, Vocabulary
from streams.core.policy import Document, parse
from streams.core.rulelists import brief, fields, rules

VOCABULARY = Vocabulary("plain", CONTINENT_OF, ())
HOSTS = {"id": "hosts", "when": {"role": ["host"]}, "then": "admit"}
NORTH = {"id": "north", "when": {"country": ["NO", "SE"]}, "then": "remove", "note": "Exams are sat at home."}
CLOUD = {"id": "cloud", "when": {"connection": ["hosting"]}, "then": "alert"}


def document(*rules: dict[str, Any], **more: Any) -> Document:
    value = {"scope": "account", "account": "acme", "name": "n", "revision": 1, "rules": list(rules), **more}
    return parse(value if "default" in value or "retracted" in value else {**value, "default": "admit"}, VOCABULARY)


def test_fields_but_for_the_revision() -> None:
    old = document(not_before="2030-01-01T00:00:00Z", contest="https://acme.example/contest")
    new = document(revision=2, default="alert", mode="report", note="Trial", not_after="2031-01-01T00:00:00+01:00")
    assert list(map(str, fields(old, new))) == [
        "default: admit → alert",
        "mode: enforce → report",
        "not_before: 2030-01-01T00:00:00.000Z → none",
        "not_after: none → 2030-12-31T23:00:00.000Z",
        "contest: 'https://acme.example/contest' → none",
        "note: none → 'Trial'",
    ]
    assert fields(old, old) == []


def test_a_retraction_says_nothing_any_more() -> None:
    said = list(map(str, fields(document(), document(retracted=True))))
    assert said[:2] == ["retracted: no → yes", "default: admit → none"]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ([HOSTS, NORTH], [HOSTS, NORTH], []),
        ([HOSTS], [HOSTS, CLOUD], ["rule 'cloud' added: as rule 2; when connection in [hosting] then alert"]),
        ([HOSTS, {"id": "all", "then": "remove"}], [HOSTS], ["rule 'all' removed: then remove"]),
        ([HOSTS, NORTH, CLOUD], [NORTH, CLOUD, HOSTS], ["rule 'hosts' moved: from rule 1 to rule 3"]),
        (
            [NORTH],
            [{**NORTH, "when": {"country": ["NO", "FI"]}, "then": "alert", "note": "At home."}],
            [
                "rule 'north' changed: country +[FI] −[SE]; then remove → alert; "
                "note 'Exams are sat at home.' → 'At home.'"
            ],
        ),
        (
            [NORTH],
            [{**NORTH, "when": {"country": {"not": ["NO"]}, "role": ["guest"]}}],
            ["rule 'north' changed: country in [NO, SE] → country not in [NO]; asks for role in [guest]"],
        ),
        (
            [{**NORTH, "when": {"country": {"not": ["NO"]}, "role": ["guest"]}}],
            [{**NORTH, "when": {"country": {"not": ["NO", "SE"]}}}],
            ["rule 'north' changed: country not in +[SE]; no longer asks for role in [guest]"],
        ),
    ],
)
def test_rules_by_their_ids(old: list[dict[str, Any]], new: list[dict[str, Any]], lines: list[str]) -> None:
    assert list(map(str, rules(document(*old), document(*new)))) == lines


def test_long_lists_are_cut() -> None:
    asns = [64_500 + n for n in range(20)]
    (added,) = rules(document(), document({"id": "x", "when": {"asn": asns}, "then": "alert"}))
    assert added.details[1].endswith("64511 and 8 more] then alert")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (None, document(HOSTS, NORTH, default="remove"), "new: 2 rules, else remove"),
        (None, document(HOSTS, mode="report"), "new: 1 rule, else admit, report mode"),
        (document(retracted=True), document(), "issued again: 0 rules, else admit"),
        (document(), document(retracted=True), "retracted"),
        (document(NORTH), document(NORTH, revision=2), "says the same"),
        (
            document(HOSTS, NORTH, CLOUD),
            document({**NORTH, "then": "alert"}, {**HOSTS, "then": "alert"}, note="x", default="alert"),
            "default: admit → alert; note changed; rule removed: cloud; rule moved: north; rules changed: north, hosts",
        ),
    ],
)
def test_in_few_words(old: Document | None, new: Document, words: str) -> None:
    assert brief(old, new) == words
