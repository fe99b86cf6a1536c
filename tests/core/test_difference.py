"""What changes for whom: held against deciding with both documents, for everybody there is in a small world."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import address, difference
from streams.core.decide import find
from streams.core.difference import CONNECTION_STATES, UNNAMED, Block, Change, Place, TooLarge, Way, changes
from streams.core.differencewords import data, place_words, sentence
from streams.core.facts import NOTHING_KNOWN, Vocabulary
from streams.core.index import Revision
from streams.core.policy import VERDICTS, Document, parse

CONTINENTS = "AF:EG,KE AN:AQ,TF AS:JP,SG EU:DE,FR NA:CA,US OC:FJ,NZ SA:AR,PE"
CONTINENT_OF = {code: each[:2] for each in CONTINENTS.split() for code in each[3:].split(",")}
SUBDIVISIONS = ("US-CA", "US-NV", "US-OR", "FR-IDF", "FR-PAC")
SMALL = Vocabulary("small", CONTINENT_OF, SUBDIVISIONS, CONTINENT_OF)
NETWORKS = ("192.0.2.0/24", "192.0.2.0/25", "0.0.0.0/0", "2001:db8::/48")
ADDRESSES = ("192.0.2.9", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:db9::1")
ASNS = (64500, 64501)
PLACES = (
    *(Place(CONTINENT_OF[country], country) for country in CONTINENT_OF),
    *(Place(CONTINENT_OF[code[:2]], code[:2], code) for code in SUBDIVISIONS),
    *(Place(continent) for continent in sorted(set(CONTINENT_OF.values()))),
    Place(),
)


def document(value: dict[str, Any], vocabulary: Vocabulary = SMALL) -> Document:
    return parse(
        {"scope": "account", "account": "acme", "name": "n", "revision": 1, "default": "admit", **value}, vocabulary
    )


def service(*rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "scope": "service", "name": "n", "revision": 1, "default": "admit", "class": "legal", "ground": "Export Act",
        "reference": "https://acts.example/4", "not_before": "2030-01-01T00:00:00Z",
        "not_after": "2030-02-01T00:00:00Z", "rules": list(rules),
    }  # fmt: skip


def some_of(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    listed = st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)
    return listed | listed.map(lambda each: {"not": each})


FIELDS = {
    "country": some_of(tuple(CONTINENT_OF)),
    "subdivision": some_of(SUBDIVISIONS),
    "continent": some_of(tuple(sorted(set(CONTINENT_OF.values())))),
    "connection": some_of(("tor", "vpn", "relay", "hosting", "residential")),
    "asn": some_of(ASNS),
    "network": some_of(NETWORKS),
    "role": some_of(("host", "guest")),
    "stage": some_of(("lobby", "live")),
}
WHENS = st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
VERDICT = st.sampled_from(VERDICTS)


def rules(whens: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    made = st.lists(st.fixed_dictionaries({"when": whens, "then": VERDICT}), max_size=3)
    return made.map(lambda listed: [{"id": f"r{i}", **rule} for i, rule in enumerate(listed)])


OWNERS = st.fixed_dictionaries({"rules": rules(WHENS), "default": VERDICT, "unknown": VERDICT}).map(document)
TERRITORIES = st.fixed_dictionaries({"country": st.lists(st.sampled_from(("FR", "US")), min_size=1, unique=True)})
SERVICES = rules(TERRITORIES).map(lambda made: parse(service(*made), SMALL))


def everybody() -> list[dict[Way, Any]]:
    """A person of every kind there is."""
    blocks = [Block(packed, packed) for packed in map(address.parse, ADDRESSES)]
    ways = (("host", "guest"), ("lobby", "live"), PLACES, CONNECTION_STATES, (*blocks, None), (*ASNS, UNNAMED, None))
    return [dict(zip(difference.WAYS, each, strict=True)) for each in product(*ways)]


EVERYBODY = everybody()


def says(document: Document, person: dict[Way, Any]) -> tuple[str, str | None]:
    if person["network"] is None:
        someone, _ = difference.decided_on({**person, "network": Block(bytes(4), bytes(4))}, SMALL)
        facts = NOTHING_KNOWN
    else:
        someone, facts = difference.decided_on(person, SMALL)
    finding = find(Revision(document=document, content=b""), someone, facts)
    return VERDICTS[finding.verdict], finding.rule.id if finding.rule else None


def looks_at(field: str, *documents: Document) -> bool:
    return any(c.field == field for document in documents for rule in document.rules for c in rule.conditions)


def is_one_of_many(person: dict[Way, Any], *documents: Document) -> bool:
    """Whether somebody is, for these documents, the same as somebody else of whom less is known."""
    if person["network"] is None and not looks_at("network", *documents):
        return True
    capped = any(each.scope == "service" and each.can_remove for each in documents)
    return person["connection"] != "not known" and not capped and not looks_at("connection", *documents)


def among_named(person: dict[Way, Any], *documents: Document) -> dict[Way, Any]:
    conditions = [c for document in documents for rule in document.rules for c in rule.conditions if c.field == "asn"]
    named = {value for condition in conditions for value in condition.values}
    return person if person["asn"] is None or person["asn"] in named else {**person, "asn": UNNAMED}


@settings(max_examples=25, deadline=None)
@given(st.tuples(OWNERS, OWNERS) | st.tuples(SERVICES, SERVICES), st.integers(0, 52))
def test_everybody_is_told_what_changes_for_them(pair: tuple[Document, Document], start: int) -> None:
    found = changes(*pair, SMALL)
    for person in EVERYBODY[start::53]:
        if is_one_of_many(person, *pair):
            continue
        (was, by), (now, now_by) = says(pair[0], person), says(pair[1], person)
        told = [change for change in found if change.covers(among_named(person, *pair))]
        if was == now:
            assert told == [], person
        else:
            assert [(c.was.verdict, c.was.rule, c.now.verdict, c.now.rule) for c in told] == [(was, by, now, now_by)]


@settings(max_examples=25, deadline=None)
@given(OWNERS, OWNERS)
def test_every_change_can_be_said(old: Document, new: Document) -> None:
    for change in changes(old, new, SMALL):
        assert ": were " in sentence(change, SMALL)
        assert data(change, SMALL)["was"]["verdict"] != data(change, SMALL)["now"]["verdict"]


# -- in words ----------------------------------------------------------------------------------------------------

ELSEWHERE = {"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove"}
SOME = {"id": "some", "when": {"country": ["FR", "JP"]}, "then": "alert"}
GUESTS = {"id": "staff", "when": {"role": {"not": ["guest"]}}, "then": "admit"}


def told(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[str]:
    pair = [None if value is None else document(value) for value in (old, new)]
    return [sentence(change, SMALL) for change in changes(*pair, SMALL)]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"rules": [ELSEWHERE]}, {"rules": [ELSEWHERE], "note": "x", "revision": 2}, []),
        (
            {"rules": [GUESTS, ELSEWHERE], "unknown": "admit"},
            {"rules": [GUESTS, SOME, ELSEWHERE], "unknown": "admit"},
            [
                "guests from FR or JP: were removed by rule 'elsewhere', now admitted with an alert by rule 'some'",
                "guests of whom only the continent is known (AS or EU): were removed by rule 'elsewhere', "
                "now admitted because not enough is known",
            ],
        ),
        (
            {"rules": [ELSEWHERE]},
            {"rules": [ELSEWHERE], "retracted": True},
            [
                "everyone of whom only the continent is known (NA) or whose place is not known: were admitted "
                "with an alert because not enough is known, now admitted",
                "everyone from any country but US or of whom only the continent is known (AF, AN, AS, EU, OC or SA): "
                "were removed by rule 'elsewhere', now admitted",
            ],
        ),
        (
            None,
            {"rules": [{"id": "tor", "when": {"connection": ["tor", "vpn", "proxy"]}, "then": "remove"}]},
            [
                "everyone (over tor, vpn or proxy): were admitted, now removed by rule 'tor'",
                "everyone (connection not known): were admitted, "
                "now admitted with an alert because not enough is known",
            ],
        ),
        (
            {},
            {"rules": [{"id": "cloud", "when": {"connection": ["hosting"]}, "then": "remove"}], "unknown": "admit"},
            ["everyone (connection hosting): were admitted by default, now removed by rule 'cloud'"],
        ),
        (
            {},
            {"rules": [{"id": "office", "when": {"network": {"not": ["192.0.2.0/24"]}}, "then": "remove"}]},
            [
                "everyone at any address but 192.0.2.0/24: were admitted by default, now removed by rule 'office'",
                "everyone with an unreadable address: were admitted by default, now admitted with an alert because "
                "not enough is known",
            ],
        ),
        (
            {},
            {"rules": [{"id": "x", "when": {"network": ["192.0.2.0/31", "192.0.2.2/32"]}, "then": "alert"}],
             "unknown": "admit"},
            ["everyone at 192.0.2.0-192.0.2.2: were admitted by default, now admitted with an alert by rule 'x'"],
        ),
        (
            {},
            {"rules": [{"id": "x", "when": {"asn": [64500], "stage": ["lobby"]}, "then": "remove"}],
             "unknown": "admit"},
            ["everyone of AS 64500 in the lobby: were admitted by default, now removed by rule 'x'"],
        ),
        (
            {},
            {"rules": [{"id": "x", "when": {"asn": {"not": [64500]}, "stage": ["live"]}, "then": "remove"}]},
            [
                "everyone of an AS that neither document names already live: were admitted by default, "
                "now removed by rule 'x'",
                "everyone whose AS is not known already live: were admitted by default, now admitted with an alert "
                "because not enough is known",
            ],
        ),
        (
            {"mode": "report", "rules": [ELSEWHERE]},
            {"mode": "enforce", "default": "alert"},
            ["everyone: were admitted, now admitted with an alert by default"],
        ),
        (
            {"mode": "report"},
            {"mode": "report", "default": "alert"},
            ["everyone: were admitted by default, now admitted with an alert by default"],
        ),
    ],
)  # fmt: skip
def test_what_is_said(old: dict[str, Any] | None, new: dict[str, Any] | None, lines: list[str]) -> None:
    assert told(old, new) == lines


def test_a_service_document_removes_only_where_the_place_and_the_connection_are_known() -> None:
    one, two = (
        parse(service({"id": "embargo", "when": {"country": countries}, "then": "remove"}), SMALL)
        for countries in (["FR"], ["FR", "JP"])
    )
    assert [sentence(change, SMALL) for change in changes(one, two, SMALL)] == [
        "everyone from JP (connection known not to be tor, vpn or proxy): were admitted by default, "
        "now removed by rule 'embargo'",
        "everyone from JP (connection not known): were admitted by default, "
        "now admitted with an alert by rule 'embargo'",
    ]


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([p for p in PLACES if p.country], ["from any known country"]),
        ([p for p in PLACES if p.country not in ("US", None)], ["from any country but US"]),
        ([p for p in PLACES if p.continent == "EU" and p.country], ["from EU (continent)"]),
        ([p for p in PLACES if p.country in ("DE", "FR", "JP")], ["from EU (continent)", "from JP"]),
        ([Place("NA", "US", "US-CA"), Place("EU", "FR", "FR-IDF")], ["from FR-IDF or US-CA"]),
        ([p for p in PLACES if p.subdivision and p.country == "US"], ["from a known subdivision of US"]),
        (
            [Place("NA", "US", code) for code in ("US-CA", "US-NV")],
            ["from a subdivision of US other than US-OR"],
        ),
        ([Place("NA", "US")], ["from US with the subdivision not known"]),
        ([p for p in PLACES if p.country is None], ["whose country is not known"]),
    ],
)  # fmt: skip
def test_places_in_words(places: list[Place], words: list[str]) -> None:
    assert place_words(places, SMALL) == words


def test_as_data_nothing_is_left_out() -> None:
    when = {"country": ["FR"], "asn": [64500], "network": ["192.0.2.0/24"], "role": ["guest"]}
    old, new = (
        document({"unknown": "admit"}),
        document({"rules": [{"id": "x", "when": when, "then": "remove"}], "unknown": "admit"}),
    )
    (change,) = changes(old, new, SMALL)
    assert data(change, SMALL) == {
        "where": {
            "role": ["guest"],
            "place": {
                "countries": ["FR"], "country_only": [], "subdivisions": [], "continent_only": [], "unknown": False,
            },
            "network": {"ranges": ["192.0.2.0-192.0.2.255"], "unreadable": False},
            "asn": {"named": [64500], "other": False, "unknown": False},
        },
        "was": {"verdict": "admit", "outcome": "default", "rule": None},
        "now": {"verdict": "remove", "outcome": "rule", "rule": "x"},
    }  # fmt: skip


def test_long_lists_are_cut_in_words() -> None:
    networks = [f"10.0.{n}.0/24" for n in range(0, 60, 2)]
    new = document({"rules": [{"id": "x", "when": {"network": networks}, "then": "remove"}], "unknown": "admit"})
    (change,) = changes(document({}), new, SMALL)
    assert sentence(change, SMALL).startswith("everyone at 10.0.0.0/24, 10.0.2.0/24, ")
    assert " or 18 more: were admitted" in sentence(change, SMALL)
    assert len(data(change, SMALL)["where"]["network"]["ranges"]) == 30


def test_too_much_work_is_refused_before_it_is_done() -> None:
    many = [f"10.{n // 256}.{n % 256}.0/24" for n in range(2_000)]
    new = document({"rules": [{"id": f"r{i}", "when": {"network": many[i::2]}, "then": "remove"} for i in range(2)]})
    with pytest.raises(TooLarge, match=r"2,003 values of network by 2 conditions"):
        changes(None, new, SMALL, budget=5_000)
    ways = {"role": ["guest"], "stage": ["live"], "asn": [64500], "country": ["FR"]}
    new = document({"rules": [{"id": "x", "when": ways, "then": "remove"}]})
    with pytest.raises(TooLarge, match="kinds of people by 6 conditions"):
        changes(None, new, SMALL, budget=100)
    assert all(isinstance(change, Change) for change in changes(None, new, SMALL))
