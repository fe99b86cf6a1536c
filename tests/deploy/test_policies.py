"""The starter documents: the engine takes them, and each does what its comment says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streams.adapters.iso import vocabulary
from streams.adapters.policyschema import policy_schema
from streams.core.address import parse as parse_address
from streams.core.decide import Judgement, judge
from streams.core.events import JoinData
from streams.core.facts import ANY_CONNECTION, CONNECTIONS, Facts, connection_bits, settle
from streams.core.index import Index
from streams.core.policy import VERDICTS, parse
from streams.wire.documents import read_file
from streams.wire.signed import index_of_unsigned

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "policies"
FILES = sorted(FOLDER.rglob("*.yaml"))
STARTERS = sorted(FOLDER.glob("*.yaml"))
NOW = 1_795_253_400_000  # 2026-11-21T09:30:00Z
COUNTRIES = len(vocabulary().countries)
LISTED = connection_bits(CONNECTIONS[:4])
ORDINARY = ANY_CONNECTION & ~LISTED
"""What an anonymity database that does not list an address leaves possible."""


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


def verdict(judgement: Judgement) -> str:
    return VERDICTS[judgement.verdict]


def decided(made: Index, account: str, facts: Facts, *, role: str = "guest", meeting: str = "m-1") -> str:
    data = JoinData(meeting, account, "p-1", "-", role, "live")  # type: ignore[arg-type]  # roles are the tests' own
    return verdict(judge(made, data, facts, NOW)[0])


def place(country: str, subdivision: str | None = None, connection: int = ANY_CONNECTION) -> Facts:
    return settle(vocabulary(), country=country, subdivision=subdivision, connection=connection)


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


def test_clinic_1_licenses_by_state() -> None:
    made = index(*STARTERS)
    assert decided(made, "clinic-1", place("US", "US-CA")) == "admit"
    assert decided(made, "clinic-1", place("US", "US-NY")) == "remove"
    assert decided(made, "clinic-1", place("US")) == "alert"
    assert decided(made, "clinic-1", place("FR")) == "remove"


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


def test_campus_1_looks_at_hidden_connections_and_refuses_tor() -> None:
    made = index(*STARTERS)
    for name, wanted in (("tor", "remove"), ("vpn", "alert"), ("hosting", "alert"), ("residential", "admit")):
        assert decided(made, "campus-1", place("DE", connection=connection_bits([name])), role="participant") == wanted
    assert decided(made, "campus-1", place("DE", connection=ORDINARY), role="participant") == "admit"


def test_office_1_board_meets_on_the_office_network_only() -> None:
    made = index(*STARTERS)

    def board(address: str) -> str:
        facts = settle(vocabulary(), address=parse_address(address), country="DE")
        return decided(made, "office-1", facts, role="host", meeting="board")

    assert [board(a) for a in ("192.0.2.77", "198.51.100.127", "2001:db8:4f::1")] == ["admit"] * 3
    assert [board(a) for a in ("198.51.100.128", "203.0.113.9", "2001:db8:50::1")] == ["remove"] * 3
    assert decided(made, "office-1", Facts(), role="host", meeting="board") == "remove"


def test_the_trial_changes_nothing_and_reports() -> None:
    made = index(*STARTERS)
    data = JoinData("m-1", "office-1", "p-1", "-", "guest", "live")
    enforced, reported = judge(made, data, place("JP"), NOW)
    assert reported is not None
    assert (verdict(enforced), verdict(reported)) == ("alert", "remove")


def test_the_service_document_removes_only_the_located() -> None:
    made = index(FOLDER / "service" / "export-control.yaml")
    opened = next(iter(made)).revisions[0].document.not_before
    assert opened is not None
    data = JoinData("m-1", "any", "p-1", "-", "host", "live")
    for facts, wanted in (
        (place("BV", connection=ORDINARY), "remove"),
        (place("BV"), "alert"),
        (place("NO", connection=ORDINARY), "admit"),
    ):
        assert verdict(judge(made, data, facts, opened)[0]) == wanted
        assert verdict(judge(made, data, facts, opened - 1)[0]) == "admit"
