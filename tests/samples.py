"""A small world for tests of the core: ten countries on seven continents, plain documents, one join."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from streams.core import policy
from streams.core.events import JoinData, JoinEvent, Provenance
from streams.core.facts import ANONYMISED, ANY_CONNECTION, CONTINENTS, Facts, Vocabulary, settle
from streams.core.index import Index, Revision

VOCABULARY = Vocabulary(
    "ten countries",
    ["US", "CA", "FR", "DE", "VA", "JP", "BR", "ZA", "AU", "AQ"],
    ["US-CA", "US-NV", "CA-ON", "FR-75", "FR-13", "DE-BE", "JP-13", "BR-SP", "ZA-GP", "AU-VIC"],
)
"""VA, AQ and XK (which is always there) have no subdivisions."""

EU = sorted(VOCABULARY.countries_of("EU"))
NOON = 1_795_262_400_000  # 2026-11-21T12:00:00Z
HOUR = 3_600_000
DAY = 24 * HOUR
ADMIT, ALERT, REMOVE = 0, 1, 2
CLEAN = ANY_CONNECTION & ~ANONYMISED
"""Possible connections where an anonymity database is loaded and does not list the address."""

PROPERTY = settings(deadline=None, max_examples=200)


def account(**fields: Any) -> dict[str, Any]:
    """An account document, valid unless ``fields`` make it not so; ``...`` leaves a field out."""
    return _without(
        {"scope": "account", "account": "acme", "name": "licensing", "revision": 1, "default": "admit"}, fields
    )


def meeting(**fields: Any) -> dict[str, Any]:
    return account(**{"scope": "meeting", "meeting": "m-1", **fields})


def service(**fields: Any) -> dict[str, Any]:
    base = {"scope": "service", "name": "export", "revision": 1, "default": "admit", "class": "legal"}
    base |= {"ground": "Export control", "reference": "Gazette 12", "not_before": "2026-11-20T00:00:00Z"}
    return _without(base | {"not_after": "2027-01-20T00:00:00Z"}, fields)


def _without(base: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (base | fields).items() if value is not ...}


def rule(then: str, when: dict[str, Any] | None = None, id_: str = "r", **fields: Any) -> dict[str, Any]:
    return {"id": id_, "then": then, **({} if when is None else {"when": when}), **fields}


def parse(value: object) -> policy.Document:
    return policy.parse(value, VOCABULARY)


def problems(value: object) -> set[tuple[str, str]]:
    """The (code, path) pairs a value is refused with; empty for one that is taken."""
    try:
        parse(value)
    except policy.Invalid as exc:
        found = exc.problems
    else:
        return set()
    assert found
    assert all(problem.code and problem.message for problem in found)
    return {(problem.code, problem.path) for problem in found}


def revision(value: dict[str, Any], **fields: Any) -> Revision:
    return Revision(document=parse(value), **{"content": repr(sorted(value.items())).encode(), **fields})


def index(*values: dict[str, Any] | Revision) -> Index:
    made = Index()
    for value in values:
        made.put(value if isinstance(value, Revision) else revision(value))
    return made


def join(**fields: Any) -> JoinData:
    base = {"meeting": "m-1", "account": "acme", "participation": "p-1", "address": "203.0.113.9"}
    return JoinData(**(base | fields))


def event(data: JoinData | None = None, **fields: Any) -> JoinEvent:
    base: dict[str, Any] = {"specversion": "1.0", "type": "doorward.join.v1", "source": "/edge/eu-1", "id": "01J"}
    return JoinEvent(data=data or join(), **(base | fields))


def located(**known: Any) -> Facts:
    """Facts with a connection that is known not to be anonymised, unless given."""
    return settle(VOCABULARY, **{"connection": CLEAN, **known})


PROVENANCE = Provenance(42, "country-2026-06-17-1a2b3c4d", 1_781_654_400, "https://contest.example", "0.1.0")

facts = st.builds(
    lambda **given: settle(VOCABULARY, **given),
    address=st.none() | st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    country=st.none() | st.sampled_from(sorted(VOCABULARY.countries)),
    subdivision=st.none() | st.sampled_from(sorted(VOCABULARY.subdivisions)),
    continent=st.none() | st.sampled_from(sorted(CONTINENTS)),
    asn=st.none() | st.integers(0, 5),
    connection=st.integers(1, ANY_CONNECTION),
)
"""Any facts that ``settle`` can make."""


_ASKED: dict[str, list[list[Any]]] = {
    "country": [EU, sorted(VOCABULARY.countries), ["FR"]],
    "subdivision": [["FR-75", "FR-13"], sorted(VOCABULARY.subdivisions)],
    "continent": [["EU"], sorted(CONTINENTS)],
    "connection": [["tor", "vpn", "proxy"], ["residential"]],
}
_OWNERS: dict[str, list[list[Any]]] = {
    "role": [["guest"]],
    "stage": [["lobby"]],
    "asn": [[1, 2]],
    "network": [["0.0.0.0/1"]],
}


def _whens(fields: dict[str, list[list[Any]]]) -> list[dict[str, Any]]:
    """Every pair of conditions on these fields, and each alone."""
    one = [{field: v} for field, lists in fields.items() for values in lists for v in (values, {"not": values})]
    return one + [a | b for a, b in combinations(one, 2) if a.keys() != b.keys()]


def _rules(whens: list[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    made = st.builds(rule, st.sampled_from(["remove", "remove", "alert", "admit"]), st.sampled_from(whens))
    return st.lists(made, min_size=1, max_size=3).map(lambda rules: [{**r, "id": str(i)} for i, r in enumerate(rules)])


def offers(scope: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a scope as somebody who probes would offer them.

    They remove, name whole continents, and except nearly everything. Owners' ask for roles and networks too; of service
    documents few do, since those are refused, as are those that remove without naming a territory.
    """
    verdicts = st.sampled_from(["admit", "alert", "remove"])
    if scope != "service":
        base = {"account": account, "meeting": meeting}[scope]
        rules = _rules(_whens({**_ASKED, **_OWNERS}))
        return st.builds(lambda **drawn: base(**drawn, **fields), rules=rules, default=verdicts, unknown=verdicts)
    plain = st.builds(lambda rules: service(rules=rules, **fields), _rules(_whens(_ASKED)))
    refused = st.builds(lambda rules, v: service(rules=rules, default=v, **fields), _rules(_whens(_OWNERS)), verdicts)
    return plain | plain | plain | refused
