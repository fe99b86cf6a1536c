"""Rulings 1-8: what settles, what hides, what is dropped."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.facts import (
    ANONYMISED,
    ANY_CONNECTION,
    CONNECTIONS,
    CONTINENT_OF,
    CONTINENTS,
    HOSTING,
    OTHER,
    RELAY,
    Facts,
    Vocabulary,
    connection_bits,
    settle,
)
from tests.samples import CLEAN, PROPERTY, VOCABULARY

TOR, VPN = connection_bits(["tor"]), connection_bits(["vpn"])
CALIFORNIA = {"country": "US", "subdivision": "US-CA", "continent": "NA"}


@pytest.mark.parametrize(
    ("given_", "known"),
    [
        pytest.param({}, {}, id="nothing gives nothing"),
        # Ruling 1: exclusion works both ways.
        pytest.param({"subdivision": "US-CA"}, CALIFORNIA, id="a subdivision settles country and continent"),
        pytest.param({"country": "US"}, {"country": "US", "continent": "NA"}, id="a country settles its continent"),
        pytest.param({"continent": "NA"}, {"continent": "NA"}, id="a continent settles nothing"),
        # Ruling 2: the file's own continent wins.
        pytest.param({"country": "US", "continent": "OC"}, {"country": "US", "continent": "OC"}, id="own continent"),
        pytest.param(
            {"subdivision": "US-CA", "continent": "OC"},
            CALIFORNIA | {"continent": "OC"},
            id="own continent, subdivision",
        ),
        # Ruling 4: codes outside the vocabulary, subdivisions of another country.
        pytest.param({"country": "ZZ"}, {}, id="unknown country"),
        pytest.param({"country": "us"}, {}, id="lower-case country"),
        pytest.param(
            {"country": "ZZ", "continent": "EU"}, {"continent": "EU"}, id="continent beside an unknown country"
        ),
        pytest.param({"subdivision": "US-ZZ"}, {}, id="unknown subdivision"),
        pytest.param(
            {"country": "US", "continent": "ZZ"}, {"country": "US", "continent": "NA"}, id="unknown continent"
        ),
        pytest.param(
            {"country": "FR", "subdivision": "US-CA"}, {"country": "FR", "continent": "EU"}, id="another's subdivision"
        ),
        # Ruling 7: a known tor, vpn or proxy hides the place but not the network.
        pytest.param(
            CALIFORNIA | {"connection": TOR, "asn": 5}, {"connection": TOR, "asn": 5}, id="tor hides the place"
        ),
        pytest.param(CALIFORNIA | {"connection": VPN}, {"connection": VPN}, id="vpn hides the place"),
        pytest.param(CALIFORNIA | {"connection": ANONYMISED}, {"connection": ANONYMISED}, id="one of three hides it"),
        pytest.param(
            {"continent": "NA", "connection": TOR}, {"connection": TOR}, id="tor hides a continent that stands alone"
        ),
        pytest.param(CALIFORNIA | {"connection": ANY_CONNECTION}, CALIFORNIA, id="an unknown connection hides nothing"),
        pytest.param(
            CALIFORNIA | {"connection": TOR | OTHER}, CALIFORNIA | {"connection": TOR | OTHER}, id="maybe tor"
        ),
        pytest.param(CALIFORNIA | {"connection": HOSTING}, CALIFORNIA | {"connection": HOSTING}, id="hosting keeps it"),
        pytest.param(CALIFORNIA | {"connection": CLEAN}, CALIFORNIA | {"connection": CLEAN}, id="excluded keeps it"),
        # Design §4, rule 2: a relay keeps country, loses subdivision.
        pytest.param(
            CALIFORNIA | {"connection": RELAY}, CALIFORNIA | {"subdivision": None, "connection": RELAY}, id="relay"
        ),
        pytest.param(
            {"subdivision": "US-CA", "connection": RELAY},
            {"country": "US", "continent": "NA", "connection": RELAY},
            id="relay keeps the country its subdivision settled",
        ),
        pytest.param({"country": "XK"}, {"country": "XK", "continent": "EU"}, id="XK is a country"),
        pytest.param({"country": "VA"}, {"country": "VA", "continent": "EU"}, id="a country without subdivisions"),
    ],
)
def test_settle(given_: dict[str, Any], known: dict[str, Any]) -> None:
    assert settle(VOCABULARY, address=b"\x01\x02\x03\x04", **given_) == Facts(address=b"\x01\x02\x03\x04", **known)


@PROPERTY
@given(
    country=st.none() | st.sampled_from([*sorted(VOCABULARY.countries), "ZZ", "", "GB"]),
    subdivision=st.none() | st.sampled_from([*sorted(VOCABULARY.subdivisions), "US-ZZ", "GB-ENG", "", "US"]),
    continent=st.none() | st.sampled_from([*sorted(CONTINENTS), "ZZ"]),
    asn=st.none() | st.integers(0, 2**32 - 1),
    connection=st.integers(1, ANY_CONNECTION),
)
def test_whatever_the_files_gave_the_facts_keep_their_promises(**given_: Any) -> None:
    facts = settle(VOCABULARY, **given_)
    assert facts.country is None or facts.country in VOCABULARY.countries
    assert facts.country is None or facts.continent is not None
    assert facts.subdivision is None or facts.subdivision in VOCABULARY.subdivisions_of(facts.country or "")
    assert facts.continent is None or facts.continent in CONTINENTS
    assert (facts.asn, facts.connection) == (given_["asn"], given_["connection"])
    if not facts.connection & ~ANONYMISED:
        assert (facts.country, facts.subdivision, facts.continent) == (None, None, None)
    if facts.connection == RELAY:
        assert facts.subdivision is None
    # What was given well is never changed into something else.
    assert facts.country in (None, given_["country"], (given_["subdivision"] or "")[:2])
    assert facts.subdivision in (None, given_["subdivision"])
    # Settling is done once and for all.
    again = {name: getattr(facts, name) for name in given_}
    assert settle(VOCABULARY, **again) == facts


@pytest.mark.parametrize(
    ("bits", "name"),
    [(connection_bits([name]), name) for name in CONNECTIONS]
    + [(OTHER, None), (ANY_CONNECTION, None), (TOR | VPN, None), (CLEAN, None)],
)
def test_a_connection_has_a_name_when_one_is_left(bits: int, name: str | None) -> None:
    assert Facts(connection=bits).known_connection == name


def test_connections_are_bits_in_order_of_strength() -> None:
    assert [connection_bits([name]) for name in CONNECTIONS] == [1, 2, 4, 8, 16, 32, 64]
    assert connection_bits([]) == 0
    assert OTHER == 128
    with pytest.raises(KeyError):
        connection_bits(["other"])


def test_a_vocabulary_wants_a_continent_for_each_country() -> None:
    with pytest.raises(ValueError, match="QQ, ZZ"):
        Vocabulary("made up", ["ZZ", "US", "QQ"], [])


def test_kosovo_is_added_where_the_continents_know_it() -> None:
    assert "XK" in Vocabulary("none", [], []).countries
    assert Vocabulary("none", [], [], continent_of={}).countries == frozenset()


def test_a_vocabulary_knows_what_lies_where() -> None:
    assert VOCABULARY.countries_of("EU") == {"FR", "DE", "VA", "XK"}
    assert VOCABULARY.countries_of(None) == VOCABULARY.countries
    assert VOCABULARY.subdivisions_of("FR") == {"FR-75", "FR-13"}
    assert VOCABULARY.subdivisions_of("VA") == frozenset()
    assert set(CONTINENT_OF.values()) == CONTINENTS


def test_a_subdivision_without_its_country_in_the_vocabulary_gives_nothing() -> None:
    orphaned = Vocabulary("no France", ["US"], ["FR-75"])
    assert settle(orphaned, subdivision="FR-75") == Facts()
    assert settle(orphaned, subdivision="FR-75", connection=RELAY) == Facts(connection=RELAY)


def test_facts_that_were_remembered_before_there_were_doubts_have_none() -> None:
    known = msgspec.msgpack.decode(msgspec.msgpack.encode([None, "US", None, "NA", 7, 248]), type=Facts)
    assert known == Facts(None, "US", None, "NA", 7, 248, doubts=0)
