"""Ruling 33, tried: geography is policy too, so a file that says one thing of one line must remove nobody.

Somebody who may choose the geo files, but has no second approver, puts an overlay before the real ones, or sees to it
that nobody is listed as anonymised. The service document removes those in France.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.anonymity import Standards
from streams.adapters.geo import Geo
from streams.core.charter import c4_located
from streams.core.decide import judge
from streams.core.facts import DOUBTS, UNVOUCHED, Facts
from streams.core.policy import VERDICTS
from tests.geofiles import BUILD, write_geo
from tests.samples import CLEAN, DAY, NOON, VOCABULARY, account, index, join, located, parse, rule, service

REAL = {"203.0.113.0/24": "FR", "198.51.100.0/24": "DE-BE", "2001:db8::/32": "DE", "192.0.2.0/24": "US"}
LINE, FRENCH, SIX = "198.51.100.77", "203.0.113.9", "2001:db8:1:2::3"
CANARY = "192.0.2.1"
ANONYMOUS = {f"{CANARY}/32": ["tor"], "203.0.113.200/32": ["vpn"]}
RULES = [rule("remove", {"country": ["FR"]})]
STANDARDS = Standards(max_age=45 * DAY, min_size=100, canaries=(CANARY,))


Look = Callable[..., str]


@pytest.fixture
def verdict(tmp_path: Path) -> Look:
    """A function of an address, the networks of an overlay, and what else is special."""
    made = 0

    def write(layout: str, networks: dict[str, Any], **more: Any) -> Path:
        nonlocal made
        made += 1
        return write_geo(tmp_path / f"{made}.mmdb", {"layout": layout, "networks": networks, **more})

    def look(
        text: str,
        overlay: dict[str, Any] | None = None,
        *,
        layout: str = "city",
        when: dict[str, Any] | None = None,
        make: Any = service,
        anonymous: dict[str, Any] | None = ANONYMOUS,
        asked: Standards = STANDARDS,
        days: int = 1,
    ) -> str:
        files = [] if overlay is None else [write(layout, overlay)]
        files.append(write("city", REAL))
        if anonymous is not None:
            spec = anonymous if "networks" in anonymous else {"networks": anonymous}
            files.append(write("anonymous", **spec))
        geo = Geo.open(files, VOCABULARY, asked)
        geo.review(BUILD * 1000 + days * DAY)
        documents = index(make(rules=[rule("remove", when)] if when else RULES))
        found, _ = judge(documents, join(), geo.facts(text), NOON)
        geo.close()
        return VERDICTS[found.verdict]

    return look


def test_the_real_files_remove_whom_they_should(verdict: Look) -> None:
    assert verdict(FRENCH) == "remove"
    assert verdict(LINE) == verdict(SIX) == "admit"
    assert verdict("203.0.113.200") == "admit", "a VPN's exit is nowhere"


# -- an overlay for one line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "overlay"),
    [
        (LINE, {f"{LINE}/32": "FR"}),
        (LINE, {"198.51.100.76/30": "FR"}),
        (LINE, {"198.51.100.0/25": "FR"}),
        (LINE, {"198.51.100.64/26": "FR", "198.51.100.0/32": "FR"}),
        (LINE, {"198.51.100.64/26": "FR", "198.51.100.255/32": "FR"}),
        (LINE, dict.fromkeys((f"{LINE}/32", "198.51.100.0/32", "198.51.100.255/32"), "FR")),
        (LINE, {"198.51.100.64/26": "FR", "198.51.100.0/32": "FR", "198.51.100.255/32": "FR"}),
        (LINE, {f"198.51.100.{n}/32": "FR" for n in (*range(0, 250, 2), 77, 255)}),
        ("198.51.100.0", {"198.51.100.0/32": "FR"}),
        ("198.51.100.255", {"198.51.100.255/32": "FR"}),
        (SIX, {f"{SIX}/128": "FR"}),
        (SIX, {"2001:db8:1:2::/64": "FR"}),
        (SIX, {"2001:db8:1::/49": "FR"}),
        (SIX, dict.fromkeys((f"{SIX}/128", "2001:db8:1::/128", f"2001:db8:1{':ffff' * 5}/128"), "FR")),
        (SIX, {f"2001:db8:1:{n:x}::/64": "FR" for n in range(0, 1024, 2)} | {"2001:db8:1:8000::/49": "FR"}),
        (f"::ffff:{LINE}", {f"{LINE}/32": "FR"}),
        (f"64:ff9b::{LINE}", {f"{LINE}/32": "FR"}),
    ],
)
def test_a_file_for_one_line_removes_nobody(verdict: Look, line: str, overlay: dict[str, str]) -> None:
    assert verdict(line, overlay) == "alert"
    assert verdict(line, overlay, make=account) == "remove", "an owner may, for what is theirs"


@pytest.mark.parametrize(
    ("overlay", "when"),
    [
        ({f"{FRENCH}/32": "FR-75"}, {"subdivision": ["FR-75"]}),
        ({f"{FRENCH}/32": "FR-75"}, {"subdivision": ["FR-75"], "country": ["FR"]}),
        ({f"{FRENCH}/32": "US"}, {"country": ["US"]}),
        ({f"{FRENCH}/32": "US"}, {"continent": ["NA"]}),
        ({f"{FRENCH}/32": "DE-BE"}, {"country": ["DE"], "continent": ["EU"]}),
    ],
)
def test_whichever_territory_it_is_about(verdict: Look, overlay: dict[str, str], when: dict[str, Any]) -> None:
    assert verdict(FRENCH, overlay, when=when) == "alert"


@pytest.mark.parametrize(
    ("line", "overlay"),
    [
        (LINE, {"198.51.100.0/24": "FR"}),
        (LINE, {"198.51.100.0/25": "FR", "198.51.100.192/26": "FR"}),
        (LINE, {"198.51.100.64/26": "FR", "198.51.100.0/27": "FR", "198.51.100.224/27": "FR"}),
        (SIX, {"2001:db8:1::/48": "FR"}),
        (SIX, {"2001:db8:1::/49": "FR", f"2001:db8:1{':ffff' * 5}/128": "FR"}),
        (FRENCH, {"203.0.113.64/26": "DE", "203.0.113.128/29": "DE"}),
    ],
)
def test_a_record_of_less_than_a_block_counts_where_half_of_it_and_its_ends_agree(
    verdict: Look, line: str, overlay: dict[str, str]
) -> None:
    """Real files cut blocks up; they place many alike, and that singles out nobody."""
    assert verdict(line, overlay) == "remove"


def test_one_line_that_is_elsewhere_spares_the_rest_of_its_block_nothing(verdict: Look) -> None:
    """A file may except a line; the others of its /24 are where they were."""
    assert verdict(FRENCH, {"203.0.113.77/32": "DE"}) == "remove"
    assert verdict(FRENCH, {f"{FRENCH}/32": "DE"}) == "admit"


# -- anonymity data that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "special",
    [
        pytest.param({"anonymous": None}, id="none"),
        pytest.param({"anonymous": {"192.0.2.200/32": ["vpn"]}}, id="a canary is missing"),
        pytest.param({"anonymous": {"10.0.0.0/8": ["vpn"]}}, id="it lists next to nothing"),
        pytest.param({"days": 46}, id="old"),
        pytest.param({"asked": Standards(max_age=45 * DAY, min_size=10**6, canaries=(CANARY,))}, id="small"),
        pytest.param({"asked": Standards(max_age=45 * DAY, min_size=0, canaries=())}, id="no canaries are known"),
        pytest.param({"asked": Standards(max_age=45 * DAY, min_size=0, canaries=(CANARY, FRENCH))}, id="one of two"),
    ],
)
def test_who_is_not_known_to_be_clear_is_not_removed(verdict: Look, special: dict[str, Any]) -> None:
    assert verdict(FRENCH, **special) == "alert"
    assert verdict(FRENCH, make=account, **special) == "remove"


@pytest.mark.parametrize("said", [{"connection": "residential"}, {"connection": "mobile"}, {"hosting": True}])
@pytest.mark.parametrize("flags", [["vpn"], ["tor", "hosting"], {"is_anonymous": True}])
def test_an_overlay_does_not_clear_whom_an_anonymity_file_lists(verdict: Look, said: Any, flags: Any) -> None:
    """By ruling 4 the file placed first has the word on the connection, and so the person a place."""
    special = {"layout": "flat", "anonymous": {f"{CANARY}/32": ["tor"], f"{FRENCH}/32": flags}}
    assert verdict(FRENCH, {f"{FRENCH}/32": said}, **special) == "alert"
    assert verdict(FRENCH, {"203.0.113.0/24": said}, **special) == "alert"
    assert verdict(FRENCH, {f"{FRENCH}/32": said}, make=account, **special) == "remove"
    assert verdict(FRENCH, {f"{FRENCH}/32": said}, layout="flat") == "remove", "whom nobody lists is clear"


def test_an_overlay_does_not_clear_whom_no_anonymity_file_can_answer_for(verdict: Look) -> None:
    """The anonymity file knows IPv4 alone; a connection that another file names is no word from it."""
    when, four = {"country": ["DE"]}, {"ip_version": 4, "networks": ANONYMOUS}
    assert verdict(SIX, {f"{SIX}/128": {"connection": "residential"}}, layout="flat", when=when) == "remove"
    assert (
        verdict(SIX, {f"{SIX}/128": {"connection": "residential"}}, layout="flat", when=when, anonymous=four) == "alert"
    )


@pytest.mark.parametrize("doubt", [*DOUBTS.values(), UNVOUCHED, 15])
def test_any_doubt_about_what_a_rule_named_is_enough(doubt: int) -> None:
    known = Facts(country="FR", subdivision="FR-75", continent="EU", connection=CLEAN, doubts=doubt)
    when = {"country": ["FR"], "subdivision": ["FR-75"], "continent": ["EU"]}
    (named,) = parse(service(rules=[rule("remove", when)])).rules
    assert not c4_located(named, known)
    assert c4_located(named, Facts(country="FR", subdivision="FR-75", continent="EU", connection=CLEAN))


def test_offline_there_are_no_doubts() -> None:
    assert located(country="FR").doubts == 0
