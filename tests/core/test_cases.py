"""A case of a policy test is decided as a join with its facts would be, and says what came otherwise."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from streams.core.address import BadAddress
from streams.core.address import parse as parse_address
from streams.core.cases import (
    ANY_MEETING,
    FACTS,
    UNLISTED,
    Answer,
    Case,
    Connection,
    Difference,
    Expected,
    Join,
    facts_of,
    faults,
    join_data,
    timed,
    try_out,
)
from streams.core.facts import ANY_CONNECTION, CONNECTIONS, NOTHING_KNOWN, OTHER, Facts, connection_bits
from tests.samples import NOON, VOCABULARY, account, index, meeting, rule, service

FRANCE = Facts(address=b"\x05\x27\x00\x01", country="FR", continent="EU")
DATA = join_data(Join(), "acme", ANY_MEETING)


def look_up(text: str) -> Facts:
    parse_address(text)
    return FRANCE


def known(**facts: object) -> Facts:
    return facts_of(Join(**facts), VOCABULARY, look_up)  # type: ignore[arg-type]  # what a file would hold


def tried(*documents: dict[str, object], facts: Facts = FRANCE, **expected: object) -> list[Difference]:
    return try_out(index(*documents), DATA, facts, NOON, Expected(**expected))  # type: ignore[arg-type]  # likewise


# -- what is known -----------------------------------------------------------------------------------------------


def test_facts_given_are_settled_as_those_of_a_file_are() -> None:
    assert known(country="FR") == Facts(country="FR", continent="EU")
    assert known(subdivision="US-CA") == Facts(country="US", subdivision="US-CA", continent="NA")
    assert known(continent="EU", asn=0) == Facts(continent="EU", asn=0)
    assert known(country="FR", connection="vpn") == Facts(connection=connection_bits(["vpn"]))
    assert known(country="FR", address="192.0.2.9").address == bytes([192, 0, 2, 9])


def test_a_connection_is_one_or_some_of_all() -> None:
    assert known(country="FR").connection == ANY_CONNECTION
    for name in CONNECTIONS:
        assert known(connection=name).connection == connection_bits([name])
    assert known(connection="other").connection == OTHER
    assert known(connection=["other", "mobile"]).connection == OTHER | connection_bits(["mobile"])
    assert known(connection=["tor", "vpn", "proxy"], country="FR").country is None
    assert known(connection="unlisted").connection == UNLISTED == connection_bits(CONNECTIONS[4:]) | OTHER
    assert get_args(Connection) == (*CONNECTIONS, "other")


def test_an_address_alone_is_looked_up_and_one_that_is_none_is_an_unknown_fact() -> None:
    assert known(address="192.0.2.9", role="guest") == FRANCE
    assert known(address="192.0.2") == NOTHING_KNOWN == known(role="host")
    with pytest.raises(BadAddress):
        look_up("192.0.2")


def test_facts_that_cannot_be_are_named() -> None:
    assert set(FACTS) < set(Join.__struct_fields__)
    for fields, wanted in (
        ({"country": "FR", "subdivision": "FR-75", "continent": "EU", "address": "192.0.2.9"}, []),
        ({"country": "XX"}, ["country"]),
        ({"country": "XX", "subdivision": "US-ZZ", "continent": "EX"}, ["country", "subdivision", "continent"]),
        ({"country": "DE", "subdivision": "FR-75"}, ["subdivision"]),
        ({"address": "192.0.2"}, []),  # an unknown fact, as a case may want
        ({"address": "192.0.2", "country": "FR"}, ["address"]),
    ):
        assert [key for key, _ in faults(Join(**fields), VOCABULARY)] == wanted  # type: ignore[arg-type]  # likewise


def test_a_join_is_to_the_meeting_it_names_or_to_the_file_s() -> None:
    data = join_data(Join(role="guest", stage="lobby"), "acme", "m-1")
    assert (data.account, data.meeting, data.role, data.stage) == ("acme", "m-1", "guest", "lobby")
    data = join_data(Join(account="other", meeting="m-2"), "acme", "m-1")
    assert (data.account, data.meeting) == ("other", "m-2")


# -- what is expected --------------------------------------------------------------------------------------------

HERE = account(rules=[rule("remove", {"country": ["FR"]}, "here")])


def test_all_is_well_or_the_difference_is_told() -> None:
    path = "account/acme/licensing"
    assert tried(HERE, verdict="remove", document=path, rule="here", outcome="rule", report="none") == []
    assert tried(HERE, verdict="admit", document="account/acme/x", rule="none", outcome="default") == [
        Difference("verdict", "admit", "remove"),
        Difference("document", "account/acme/x", path),
        Difference("rule", "none", "here"),
        Difference("outcome", "default", "rule"),
    ]
    assert tried(HERE, facts=NOTHING_KNOWN, verdict="alert", rule="none", outcome="unknown") == []
    assert tried(verdict="admit", document="none", rule="none", outcome="none") == []
    assert tried(verdict="alert") == [Difference("verdict", "alert", "admit")]


def test_report_mode_is_asked_apart_and_a_service_document_s_too() -> None:
    trial = {**HERE, "name": "trial", "mode": "report"}
    assert tried(trial, verdict="admit", document="none") == []
    assert tried(trial, verdict="admit", report="remove") == []
    assert tried(trial, verdict="admit", report="none") == [Difference("report", "none", "remove")]
    assert tried(HERE, verdict="remove", report="admit") == [Difference("report", "admit", "none")]
    wanted = Answer(verdict="alert", rule="here")
    assert tried(trial, verdict="admit", report=wanted) == [Difference("report.verdict", "alert", "remove")]
    general = service(mode="report", rules=[rule("alert", {"country": ["FR"]})])
    assert tried(general, verdict="admit", report="alert") == []


def test_a_verdict_alone_and_one_join_alone_are_the_short_forms() -> None:
    short = msgspec.convert({"case": "c", "join": {}, "expect": "alert"}, Case)
    long = msgspec.convert({"case": "c", "join": [{}], "expect": {"verdict": "alert"}}, Case)
    assert short.joins == long.joins == [Join()]
    assert short.expected == long.expected == Expected(verdict="alert")


def test_documents_with_windows_ask_for_the_time_and_only_they() -> None:
    document, gone = account(not_after="2027-01-01T00:00:00Z"), account(name="gone", retracted=True, default=...)
    assert timed(index(HERE), DATA) == []
    assert timed(index(document), DATA) == ["account/acme/licensing"]
    assert timed(index({**gone, "not_before": "2027-01-01T00:00:00Z"}), DATA) == []
    assert timed(index(service(), meeting(not_before="2027-01-01T00:00:00Z")), DATA) == ["service/export"]
