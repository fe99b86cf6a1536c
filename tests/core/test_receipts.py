"""What a refused person and the host are told, and that it can be told in every language."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any, get_args

import msgspec
import pytest

from streams.core.messages import CATALOGUE, Language, render
from streams.core.receipts import receipt
from tests.samples import account, meeting, revision, rule, service

RULE = rule("remove", {"country": ["FR"]}, "elsewhere", note="Visits need a clinician licensed where you are.")
GOLDEN = Path(__file__).parents[1] / "golden" / "receipts"
LANGUAGES: tuple[Language, ...] = get_args(Language)


def told(
    value: Any, stage: str = "live", contest: str | None = None, outcome: Any = "rule", language: Any = "en", **by: Any
) -> Any:
    found = revision(value, **by)
    return receipt(
        "0123", found, found.document.rules[0] if outcome == "rule" else None, outcome, stage, contest, language
    )


CONTEST = "https://acme.example/contest"
TOLD: dict[str, dict[str, Any]] = {
    "a rule of an account": {"value": account(rules=[RULE], revision=7, contest=CONTEST), "holder": "acme"},
    "a rule without a note": {"value": account(rules=[rule("remove")], contest=CONTEST), "holder": "acme"},
    "no rule, in the lobby": {"value": account(default="remove"), "stage": "lobby", "outcome": "default"},
    "too little known": {"value": meeting(unknown="remove"), "contest": CONTEST, "outcome": "unknown"},
    "on the owner's behalf": {
        "value": account(rules=[RULE], contest=CONTEST),
        "holder": "settings",
        "on_behalf": True,
    },
    "a law": {"value": service(rules=[RULE], contest=CONTEST), "holder": "ann, bo", "stage": "lobby"},
    "safety": {"value": service(**{"class": "safety", "rules": [RULE]}), "holder": "ann, bo"},
}


def page(language: Language) -> str:
    """Every kind of receipt in a language, as the golden files hold them."""
    parts = []
    for name, given in TOLD.items():
        got = told(**given, language=language)
        parts.append(f"## {name} ({got.status})\nperson: {got.person}\nhost: {got.host}\n")
    return "\n".join(parts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_are_as_they_were_read_and_approved(language: Language) -> None:
    """Changed on purpose? ``python -m tests.core.test_receipts`` writes them again: read the difference."""
    assert page(language) == (GOLDEN / f"{language}.txt").read_text(encoding="utf-8")


def test_the_person_is_told_which_rule_whose_and_how_to_contest() -> None:
    got = told(account(rules=[RULE], revision=7, contest=CONTEST), holder="acme", sha256="sha256:aa")
    assert (got.id, got.status, got.contest, got.document) == ("0123", 403, CONTEST, "sha256:aa")
    for said in ("“elsewhere”", RULE["note"], "account/acme/licensing, revision 7", "by acme.", f"0123: {CONTEST}"):
        assert said in got.person
    assert "elsewhere" not in got.host
    assert RULE["note"] not in got.host


@pytest.mark.parametrize(
    ("value", "status"),
    [(service(), 451), (service(**{"class": "safety"}), 403), (account(), 403), (meeting(), 403)],
)
def test_451_is_for_legal_class_only(value: Any, status: int) -> None:
    assert told(value, outcome="default").status == status


@pytest.mark.parametrize("outcome", ["default", "unknown"])
def test_without_a_rule_the_person_is_told_why(outcome: str) -> None:
    person = told(account(), outcome=outcome).person
    assert ("No rule of the policy lets you in." in person) is (outcome == "default")
    assert ("Too little is known of your connection" in person) is (outcome == "unknown")


@pytest.mark.parametrize(
    ("own", "deployments", "wanted"),
    [
        ("https://own", "https://d", "https://own"),
        (None, "https://d", "https://d"),
        ("https://own", None, "https://own"),
    ],
)
def test_the_documents_contest_address_comes_before_the_deployments(own: Any, deployments: Any, wanted: str) -> None:
    got = told(account(contest=own), contest=deployments, outcome="default")
    assert got.contest == wanted
    assert got.person.endswith(f" quote decision 0123: {wanted}")
    assert got.host.endswith(f" quote decision 0123: {wanted}")


def test_no_way_to_contest_is_said() -> None:
    got = told(account(), outcome="default")
    assert got.contest is None
    for copy in (got.person, got.host):
        assert copy.endswith("No way to contest this was given. It is decision 0123.")


def test_ground_reference_and_who_signed_are_told_to_both() -> None:
    got = told(service(rules=[RULE]), holder="ann, bo")
    for copy in (got.person, got.host):
        assert "class legal" in copy
        assert "It is signed by ann, bo. Ground: “Export control”. Reference: “Gazette 12”." in copy
    for by, said in (
        ({}, "It is unsigned."),
        ({"holder": "settings", "on_behalf": True}, "It is signed by settings on the owner's behalf."),
    ):
        got = told(account(), outcome="default", **by)
        assert said in got.person
        assert said in got.host


# -- in every language -------------------------------------------------------------------------------------------


def parameters_of(text: str) -> list[str]:
    return sorted(field for _, field, _, _ in Formatter().parse(text) if field is not None)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_every_message_with_the_same_parameters(language: Language) -> None:
    assert CATALOGUE.keys() == set(LANGUAGES)
    assert list(CATALOGUE[language]) == list(CATALOGUE["en"])
    for id_, text in CATALOGUE[language].items():
        assert parameters_of(text) == parameters_of(CATALOGUE["en"][id_]), id_
        # plain {name}: what any language's simplest replacement can fill in
        assert not set("{}") & set(re.sub(r"\{[a-z]+\}", "", text)), id_


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("given", TOLD.values(), ids=TOLD)
def test_who_has_the_decision_can_say_it_in_any_language(given: dict[str, Any], language: Language) -> None:
    sent = msgspec.json.decode(msgspec.json.encode(told(**given)))
    wanted = told(**given, language=language)
    assert (sent["written_in"], wanted.written_in) == ("en", language)
    for copy in ("person", "host"):
        text = " ".join(CATALOGUE[language][id_] for id_ in sent["messages"][copy])
        for name, value in sent["parameters"].items():
            text = text.replace(f"{{{name}}}", value)
        assert text == getattr(wanted, copy)


def test_every_message_is_used() -> None:
    used = {
        id_ for given in TOLD.values() for copy in msgspec.to_builtins(told(**given).messages).values() for id_ in copy
    }
    assert used == CATALOGUE["en"].keys()


def test_no_message_of_the_hosts_copy_has_room_for_the_rule_or_its_note() -> None:
    for given in TOLD.values():
        for id_ in told(**given).messages.host:
            assert not {"rule", "note"} & set(parameters_of(CATALOGUE["en"][id_])), id_


def test_braces_in_an_authors_words_are_words() -> None:
    got = told(account(rules=[rule("remove", note="{decision} {0} {")]))
    assert "“{decision} {0} {”" in got.person
    with pytest.raises(KeyError):
        render("en", ("by.rule",), {})


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in LANGUAGES:
        (GOLDEN / f"{each}.txt").write_text(page(each), encoding="utf-8")
