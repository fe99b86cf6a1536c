"""What counts as a decision, the sums, and which of them may be published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.counts import MOST_REMINDERS, Counts, Ids, Key, Recorded, Sieve, is_reminder, published
from streams.core.decide import decision_id
from streams.core.events import EventRef
from streams.core.trials import FEWEST
from tests.recorded import made
from tests.samples import PROPERTY


def said_again(original: Recorded, trigger: tuple[str, ...], **fields: object) -> Recorded:
    """The same removal under another trigger's id."""
    parts = {name: getattr(original.data, name) for name in original.data.__struct_fields__}
    data = type(original.data)(**parts | fields)
    return Recorded(decision_id("enforce", data, trigger, data.verdict), data)  # type: ignore[arg-type]


# -- what counts -------------------------------------------------------------------------------------------------


def test_an_id_counts_once() -> None:
    sieve = Sieve()
    assert [sieve.passes(made(id_)) for id_ in ("1", "2", "1")] == [True, True, False]
    assert (sieve.decisions, sieve.repeats, sieve.reminders, sieve.forgetful) == (2, 1, 0, False)


@pytest.mark.parametrize("cause", ["join", "update", "policy", "geo", "clock"])
def test_a_removal_said_again_counts_once_whatever_caused_it(cause: str) -> None:
    sieve = Sieve()
    triggers = {
        "policy": ("policy", "42"),
        "geo": ("geo", "g"),
        "clock": ("clock", "1795219200000"),
    }
    removal = made("1", policy="account/acme/licensing", cause=cause)
    first = said_again(removal, triggers.get(cause, ("event", "/edge/eu-1", "1")))
    again = [said_again(removal, ("reminder", str(number))) for number in (1, 2, MOST_REMINDERS)]
    assert [sieve.passes(each) for each in (first, *again)] == [True, False, False, False]
    assert sieve.reminders == 3


def test_a_sweep_for_an_older_record_of_the_policy_log_is_no_reminder() -> None:
    removal = made("1", policy="account/acme/licensing", cause="policy")
    assert not is_reminder(said_again(removal, ("policy", "41")))


def test_an_admit_is_no_reminder() -> None:
    assert not is_reminder(said_again(made("1"), ("reminder", "1")))


def test_ids_are_forgotten_a_generation_at_a_time() -> None:
    ids = Ids(most=3)
    assert all(ids.add(str(n)) for n in range(6))
    assert not any(ids.add(str(n)) for n in range(6))  # both generations are remembered
    assert not ids.forgot
    assert ids.add("6")
    assert ids.forgot
    assert not any(ids.add(str(n)) for n in (3, 4, 5, 6))
    assert ids.add("0")


@PROPERTY
@given(st.lists(st.text(max_size=3)))
def test_ids_are_a_set(several: list[str]) -> None:
    ids = Ids()
    seen: set[str] = set()
    for id_ in several:
        assert ids.add(id_) == (id_ not in seen)
        seen.add(id_)


def test_many_ids() -> None:
    ids = Ids()
    assert all(ids.add(f"{n:x}") for n in range(12_000))  # its table grows twice
    assert not any(ids.add(f"{n:x}") for n in range(12_000))


# -- adding up ---------------------------------------------------------------------------------------------------


def test_sums_by_all_aspects_the_greatest_first() -> None:
    counts = Counts()
    for n in range(3):
        counts.add(made(str(n)).data)
    for n, country in enumerate(("FR", "FR", "DE", None)):
        counts.add(made(f"r{n}", policy="account/acme/licensing", matched={"country": country}).data)
    assert counts.columns == ("policy", "rule", "outcome", "class", "verdict", "country", "holder")
    licensing = ("account/acme/licensing", "listed", "rule", "owner", "remove")
    assert counts.rows() == [
        ((None, None, None, None, "admit", None, None), 3),
        ((*licensing, "FR", "acme"), 2),
        ((*licensing, None, "acme"), 1),
        ((*licensing, "DE", "acme"), 1),
    ]


def test_fewer_aspects_make_fewer_rows() -> None:
    counts = Counts(["verdict", "class"])
    for n, account in enumerate(("acme", "clinic")):
        counts.add(made(str(n), policy=f"account/{account}/licensing", account=account).data)
    assert (counts.columns, counts.rows()) == (("class", "verdict"), [(("owner", "remove"), 2)])


def test_rows_are_limited_and_no_decision_is_lost() -> None:
    counts = Counts(["rule"], most=2)
    for n, name in enumerate(("a", "b", "c", "a", "d")):
        counts.add(made(str(n), policy=f"account/acme/{name}").data)
    assert (len(counts.sums), sum(counts.sums.values()), counts.unlisted) == (2, 3, 2)


def test_a_fact_that_is_no_text_is_no_country() -> None:
    counts = Counts(["country"])
    counts.add(made("1", policy="account/acme/a", matched={"country": ["FR"]}).data)
    assert counts.rows() == [((None,), 1)]


# -- publishing --------------------------------------------------------------------------------------------------


def rows_of(counts: list[int]) -> list[tuple[Key, int]]:
    return sorted(((str(n),), count) for n, count in enumerate(counts))


@PROPERTY
@given(st.lists(st.integers(1, 30), max_size=8), st.integers(0, 12))
def test_no_number_below_ten_is_published_nor_follows_from_others(counts: list[int], unlisted: int) -> None:
    rows = sorted(rows_of(counts), key=lambda row: -row[1])
    told = published(rows, unlisted)
    assert all(row in rows and row[1] >= FEWEST for row in told.rows)
    if told.decisions is None:
        assert (list(told.rows), told.others) == ([], None)
        assert sum(counts) + unlisted < FEWEST
    else:
        assert told.decisions == sum(counts) + unlisted
        assert told.others == told.decisions - sum(count for _, count in told.rows)
        assert told.others == 0 or told.others >= FEWEST


def test_rows_are_published_whole_where_nothing_is_withheld() -> None:
    told = published([(("a",), 30), (("b",), 10)])
    assert (told.decisions, told.rows, told.others) == (40, [(("a",), 30), (("b",), 10)], 0)


def test_the_smallest_row_is_given_up_where_the_total_would_tell_a_small_one() -> None:
    told = published([(("a",), 30), (("b",), 11), (("c",), 1)])
    assert (told.decisions, told.rows, told.others) == (42, [(("a",), 30)], 12)


def test_an_event_of_another_source_is_a_decision_of_its_own() -> None:
    sieve = Sieve()
    assert sieve.passes(made("1"))
    other = made("1", event=EventRef("/edge/eu-2", "1"))
    other.id = decision_id("enforce", other.data, ("event", "/edge/eu-2", "1"), "admit")  # type: ignore[arg-type]
    assert sieve.passes(other)
