"""The starter documents: the engine takes them, their tests hold, and would not hold if a verdict were another.

What each document does for whom is told in the ``*.test.yaml`` files beside them, which `doorward policy test` runs;
here stands what no single case can say.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.policyschema import policy_schema
from streams.adapters.schemas import policy_test_schema
from streams.cli.policytest import run
from streams.core.decide import judge
from streams.core.events import JoinData
from streams.core.facts import Facts, settle
from streams.core.index import Index
from streams.core.policy import VERDICTS, parse
from streams.wire import testfiles
from streams.wire.documents import read_file
from streams.wire.signed import index_of_unsigned

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "policies"
TESTS = sorted(FOLDER.rglob("*.test.yaml"))
FILES = sorted(set(FOLDER.rglob("*.yaml")) - set(TESTS))
STARTERS = [file for file in FILES if file.parent == FOLDER]
NOW = 1_795_253_400_000  # 2026-11-21T09:30:00Z
LOOK_UP = Geo.open([shipped()], vocabulary()).facts
COUNTRIES = len(vocabulary().countries)


def documents(*files: Path) -> list[Any]:
    found = []
    for file in files:
        placed, wrong = read_file(file)
        assert not wrong, wrong
        found += placed
    return found


def index(*files: Path) -> Index:
    made, problems = index_of_unsigned(documents(*files), vocabulary())
    assert not problems, [str(problem) for problem in problems]
    return made


def decided(made: Index, account: str, facts: Facts, *, role: str = "guest") -> str:
    data = JoinData("m-1", account, "p-1", "-", role, "live")  # type: ignore[arg-type]  # roles are the tests' own
    return VERDICTS[judge(made, data, facts, NOW)[0].verdict]


def place(country: str) -> Facts:
    return settle(vocabulary(), country=country)


def world(made: Index, account: str, role: str = "participant") -> Counter[str]:
    """Verdicts by country alone, every country once."""
    return Counter(decided(made, account, place(country), role=role) for country in vocabulary().countries)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_engine_and_schema_take_it(file: Path) -> None:
    for value, _ in documents(file):
        parse(value, vocabulary())
        Draft202012Validator(policy_schema()).validate(value)


def test_there_is_a_document_of_each_scope_and_a_trial() -> None:
    values = [value for value, _ in documents(*FILES)]
    assert {value["scope"] for value in values} == {"service", "account", "meeting"}
    assert "report" in {value.get("mode") for value in values}
    assert {"clinic-1", "clinic-2", "campus-1", "office-1"} <= {value.get("account") for value in values}
    # the documents of the owners can be pushed with one key, at once
    assert all(value["scope"] != "service" for value, _ in documents(*STARTERS))


def test_by_country_alone_the_world_gets_a_mix_of_verdicts() -> None:
    made = index(*STARTERS)
    assert world(made, "clinic-1") == {"remove": COUNTRIES - 1, "alert": 1}
    assert world(made, "clinic-2").keys() == {"admit", "alert"}
    assert world(made, "campus-1").keys() == {"admit", "alert"}
    assert world(made, "campus-1", "guest").keys() == {"admit", "remove"}
    assert world(made, "office-1", "guest").keys() == {"admit", "alert"}
    assert world(made, "office-1") == {"admit": COUNTRIES}
    for account in ("clinic-1", "clinic-2", "campus-1", "office-1"):
        assert world(made, account, "host").keys() == {"admit"}
    assert world(made, "campus-2") == {"admit": COUNTRIES}  # an account without a document


def test_the_next_revision_of_clinic_2_is_stricter_and_never_milder() -> None:
    before, after = index(*STARTERS), index(*STARTERS, FOLDER / "next" / "clinic-2.yaml")
    strictness = []
    for country in vocabulary().countries:
        was, now = (VERDICTS.index(decided(made, "clinic-2", place(country))) for made in (before, after))
        strictness.append(now - was)
    assert min(strictness) == 0
    assert sum(change > 0 for change in strictness) > 200
    assert decided(after, "clinic-2", Facts()) == "alert"  # not known: nobody is refused for that
    assert decided(after, "clinic-2", place("JP")) == "remove"
    assert decided(before, "clinic-2", place("JP")) == "admit"


# -- their tests -------------------------------------------------------------------------------------------------

NO_JOIN_COMES_TO = {("next/clinic-2.yaml", "default")}
"""Its rules name every country between them, and where the country is not known they differ."""


def name_of(file: Path) -> str:
    return str(file.relative_to(FOLDER))


def test_every_file_has_tests_that_hold_and_reach_all_of_it() -> None:
    made = run([FOLDER], LOOK_UP)
    assert (made.problems, made.nothing, made.failed) == ([], [], [])
    assert {name_of(file).replace(".yaml", ".test.yaml") for file in FILES} == {name_of(file) for file in TESTS}
    never = [point.name for document in made.coverage.documents for point in document.points if not point.decided]
    assert never == [point for _, point in NO_JOIN_COMES_TO]


@pytest.mark.parametrize("file", TESTS, ids=name_of)
def test_the_schema_takes_them_and_no_key_that_is_none(file: Path) -> None:
    validator = Draft202012Validator(policy_test_schema())
    [value] = documents(file)[0][:1]
    assert validator.is_valid(value)
    for part in (value, value["cases"][0]):
        part["contry"] = "FR"
        assert not validator.is_valid(value)
        del part["contry"]


@pytest.mark.parametrize("file", TESTS, ids=name_of)
def test_each_shows_the_unknown_place_the_vpn_and_the_host(file: Path) -> None:
    read, wrong = testfiles.read_file(file, vocabulary())
    assert read is not None, wrong
    joins = [join for placed in read.cases for join in placed.case.joins]
    assert any(not join.states_facts and not join.address for join in joins)
    assert any(join.connection == "vpn" for join in joins)
    assert any(join.role == "host" for join in joins)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_with_another_verdict_anywhere_their_own_tests_fail_and_say_which(file: Path, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "policies")
    copy = tmp_path / "policies" / file.relative_to(FOLDER)
    text, caught = copy.read_text(), 0
    for found in re.finditer(r"^ *(then|default|unknown): (admit|alert|remove)\b", text, re.MULTILINE):
        key, verdict = found.groups()
        for other in set(VERDICTS) - {verdict}:
            copy.write_text(text[: found.start(2)] + other + text[found.end(2) :])
            made = run([copy.with_name(f"{copy.stem}.test.yaml")], LOOK_UP)
            where = f"{text.count(chr(10), 0, found.start(2)) + 1}: {found[0].strip()} -> {other}"
            if made.problems:  # the charter's: a service document lets everybody else in
                assert key != "then", where
                assert "C2-general" in made.problems[0], where
            elif (name_of(file), key) not in NO_JOIN_COMES_TO:
                told = {each.expected for tried in made.failed for each in tried.differences if "verdict" in each.what}
                assert verdict in told, where
                caught += 1
    assert caught >= 2
