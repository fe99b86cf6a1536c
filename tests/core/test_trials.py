"""What a trial counts, and that nobody can work out from it how many fewer than ten there are (ruling 34)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.iso import vocabulary
from streams.core.index import Revision
from streams.core.policy import MAX_NAME, Document, parse
from streams.core.status import Trial
from streams.core.trials import FEWEST, Span, Tally, alerted, meetings, reached, removed, retraction_of, trial_of
from tests.samples import PROPERTY

OWN = Revision(
    document=Document(scope="account", account="acme", meeting=None, name="n", revision=3, path="account/acme/n"),
    content=b"",
)
ON_BEHALF = msgspec.structs.replace(OWN, on_behalf=True)
SERVICE = msgspec.structs.replace(
    OWN, document=Document(scope="service", account=None, meeting=None, name="n", revision=3, path="service/n")
)
ADMIT, ALERT, REMOVE = 0, 1, 2


def counted(admit: int, alert: int, remove: int, now: int = ADMIT, together: int = 2) -> Tally:
    """A tally of sessions, so many to a meeting, all under one verdict now."""
    tally = Tally()
    for verdict, count in ((ADMIT, admit), (ALERT, alert), (REMOVE, remove)):
        for i in range(count):
            tally.add("acme", f"m-{i // together}", verdict, now)
    return tally


def test_an_owners_trial_is_told_exactly() -> None:
    assert counted(2, 1, 5).trial(OWN) == Trial(
        path="account/acme/n", revision=3, sessions=8, admit=2, alert=1, remove=5, would_alert=1, would_remove=5,
        meetings=3,
    )  # fmt: skip
    assert counted(0, 0, 0).trial(OWN).would_remove == 0


def test_what_is_so_already_would_not_change() -> None:
    tally = Tally()
    for says in (ADMIT, ALERT, REMOVE):
        for now in (ADMIT, ALERT, REMOVE):
            tally.add("acme", f"{says}{now}", says, now)
    trial = tally.trial(OWN)
    assert (trial.admit, trial.alert, trial.remove) == (3, 3, 3)
    assert (trial.would_alert, trial.would_remove, trial.meetings) == (1, 2, 2)


def test_the_same_meeting_id_of_two_accounts_is_two_meetings() -> None:
    tally = Tally()
    tally.add("acme", "m", REMOVE, ADMIT)
    tally.add("campus", "m", REMOVE, ADMIT)
    assert tally.trial(OWN).meetings == 2


@pytest.mark.parametrize("revision", [ON_BEHALF, SERVICE])
@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((900, 50, 40), (990, None, 50, 40, 50, 40, 20)),
        ((903, 57, 49), (1009, None, 50, 40, 50, 40, 20)),
        ((900, 50, 12), (962, None, 50, 10, 50, 10, None)),
        ((900, 0, 40), (940, None, None, 40, None, 40, 20)),
        ((900, 9, 9), (918, None, None, None, None, None, None)),
        ((10, 50, 40), (100, None, 50, 40, 50, 40, 20)),
        ((9, 50, 40), (99, None, 40, 40, 40, 40, 20)),
        ((3, 12, 40), (55, None, 10, 30, 10, 30, 20)),
        ((0, 20, 20), (40, None, 10, 20, 10, 20, 10)),
        ((3, 900, 0), (903, None, 890, None, 890, None, None)),
        ((0, 0, 10), (10, None, None, None, None, None, None)),
        ((9, 0, 0), (None, None, None, None, None, None, None)),
        ((0, 0, 0), (None, None, None, None, None, None, None)),
    ],
)
def test_what_is_told_of_documents_that_are_not_the_owners(
    revision: Revision, counts: tuple[int, int, int], told: tuple[int | None, ...]
) -> None:
    trial = counted(*counts).trial(revision)
    assert (
        trial.sessions,
        trial.admit,
        trial.alert,
        trial.remove,
        trial.would_alert,
        trial.would_remove,
        trial.meetings,
    ) == told


CELLS = ((ADMIT, ADMIT), (ALERT, ADMIT), (REMOVE, ADMIT), (REMOVE, REMOVE))
"""What a document says and what holds already, of sessions that have none in common."""


def in_cells(counts: Iterable[int]) -> Tally:
    """A tally of so many sessions in each cell, all in one meeting."""
    tally = Tally()
    for (says, now), count in zip(CELLS, counts, strict=True):
        for _ in range(count):
            tally.add("acme", "m", says, now)
    return tally


@pytest.mark.parametrize("sessions", [7, 10, 19, 20, 29, 30])
def test_nobody_who_knows_the_rule_can_work_out_a_count_below_ten(sessions: int) -> None:
    """Whatever is told, of every count and every sum of counts: it may be ten or more, or any number below ten."""
    by_words: dict[Trial, list[tuple[int, ...]]] = defaultdict(list)
    for bars in combinations(range(sessions + 3), 3):
        counts = tuple(b - a - 1 for a, b in pairwise((-1, *bars, sessions + 3)))
        by_words[in_cells(counts).trial(SERVICE)].append(counts)
    groups = [group for size in (1, 2, 3) for group in combinations(range(4), size)]
    any_below = set(range(min(FEWEST, sessions + 1)))
    for words, possible in by_words.items():
        for group in groups:
            sums = {sum(counts[i] for i in group) for counts in possible}
            assert max(sums) >= FEWEST or sums == any_below, (words, group)
            assert len(sums) > 1


@PROPERTY
@given(st.lists(st.integers(0, 60) | st.integers(0, 12), min_size=4, max_size=4))
def test_no_two_numbers_of_a_trial_are_fewer_than_ten_apart(counts: list[int]) -> None:
    told = in_cells(counts).trial(SERVICE)
    sessions, alert, remove = told.sessions or 0, told.alert or 0, told.remove or 0
    alike = (alert - (told.would_alert or 0), remove - (told.would_remove or 0))
    numbers = (sessions, alert, remove, told.would_alert or 0, told.would_remove or 0, told.meetings or 0)
    others = (sessions - alert, sessions - remove, sessions - alert - remove)
    assert all(number == 0 or number >= FEWEST for number in (*alike, *numbers, *others))


@pytest.mark.parametrize("together", [1, 2])
def test_what_a_reader_takes_from_it_holds_the_true_numbers(together: int) -> None:
    sizes = (0, 1, 2, 9, 10, 11, 12, 19, 20, 21, 30)
    for admit in sizes:
        for alert in sizes:
            for remove in sizes:
                trial = counted(admit, alert, remove, together=together).trial(SERVICE)
                spans = (reached(trial), alerted(trial), removed(trial), meetings(trial))
                true = (admit + alert + remove, alert, remove, -(-remove // together))
                for span, count in zip(spans, true, strict=True):
                    assert span.least <= count <= span.most, trial
                    assert span.most - span.least < 2 * FEWEST
                own = counted(admit, alert, remove, together=together).trial(OWN)
                assert (reached(own), alerted(own), removed(own), meetings(own)) == tuple(Span(n, n) for n in true)


def test_one_territory_more_shows_as_tens_or_not_at_all() -> None:
    told = [counted(400 - removed, 0, removed).trial(SERVICE) for removed in (100, 103, 109, 110)]
    assert told[0] == told[1] == told[2]
    assert (told[0].remove, told[3].remove) == (100, 110)


def test_what_is_removed_already_is_not_counted_as_would_be() -> None:
    trial = counted(0, 0, 500, now=REMOVE).trial(SERVICE)
    assert removed(trial) == Span(0, 10), "490 are told of 500, and any of the ten others may be new"


def test_spans_are_said_in_words() -> None:
    assert str(removed(counted(500, 0, 3).trial(SERVICE))) == "fewer than 10"
    assert str(removed(counted(500, 0, 3_000).trial(OWN))) == "3,000"
    assert str(removed(counted(500, 0, 3_000).trial(SERVICE))) == "3,000 to 3,009"
    assert str(removed(counted(0, 0, 3_000).trial(SERVICE))) == "2,990 to 3,000"
    assert str(Span() + Span(0, 9) + Span(0, 9)) == "fewer than 19"


# -- the document of a trial -------------------------------------------------------------------------------------

EXAM = {
    "scope": "meeting", "account": "acme", "meeting": "m-1", "name": "exam", "revision": 7, "default": "remove",
    "not_before": "2030-01-01T00:00:00Z", "not_after": "2031-01-01T00:00:00Z",
}  # fmt: skip
EXPORT = {
    "scope": "service", "name": "export", "revision": 1, "class": "legal", "ground": "§ 4", "reference": "https://x.example",
    "not_before": "2030-01-01T00:00:00Z", "not_after": "2030-02-01T00:00:00Z", "default": "admit", "unknown": "admit",
    "rules": [{"id": "a", "when": {"country": ["BV"]}, "then": "alert"}],
}  # fmt: skip
NOW = 1_795_253_400_123


def test_a_trial_is_the_same_document_in_report_mode_beside_it_and_in_force_at_once() -> None:
    trial = parse(trial_of(EXAM, NOW, NOW), vocabulary())
    assert (trial.path, trial.mode, trial.revision) == ("meeting/acme/m-1/exam~trial", "report", NOW)
    assert (trial.default, trial.not_before) == (REMOVE, None)
    assert EXAM["name"] == "exam"


def test_a_trial_of_a_service_document_has_a_window_that_is_open() -> None:
    trial = parse(trial_of(EXPORT, 3, NOW), vocabulary())
    assert trial.not_before is not None
    assert trial.not_after is not None
    assert trial.not_before < NOW < trial.not_after
    assert (trial.class_, trial.ground) == ("legal", "§ 4")


@pytest.mark.parametrize("value", [EXAM, EXPORT])
def test_a_retraction_ends_it(value: dict[str, Any]) -> None:
    trial = trial_of(value, 3, NOW)
    ended = parse(retraction_of(trial), vocabulary())
    assert (ended.path, ended.revision, ended.retracted) == (parse(trial, vocabulary()).path, 4, True)


def test_long_names_stay_apart_and_within_what_a_name_may_be() -> None:
    names = {trial_of({**EXAM, "name": "n" * 127 + end}, 1, NOW)["name"] for end in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {MAX_NAME}
    assert trial_of({**EXAM, "name": "n" * 122}, 1, NOW)["name"] == "n" * 122 + "~trial"
