"""A short run of every target, and that the engine notices what it is there for. ``make fuzz`` is the long run."""

from __future__ import annotations

from itertools import count

import pytest

from tests.fuzz import planted
from tests.fuzz.engine import SEED, Target, input_of
from tests.fuzz.inputs import LARGEST
from tests.fuzz.targets import TARGETS, failures, shared_out

SHORT = 10_000
"""Inputs of all targets together, besides the corpus itself: some five seconds."""


def name_of(target: Target) -> str:
    return target.name


@pytest.mark.parametrize(("target", "inputs"), shared_out(SHORT, TARGETS), ids=lambda value: getattr(value, "name", ""))
def test_only_what_is_declared_comes_out(target: Target, inputs: int) -> None:
    found = list(failures(target, SEED, range(len(target.corpus) + inputs), lambda _: None))
    assert not found, "\n\n".join(map(str, found))


FAULTS = {
    "forgets-a-case": "KeyError in planted.py, _forgets_a_case",
    "answers-wrongly": "AssertionError in planted.py, _answers_wrongly (wrong answer)",
    "never-ends": "_Endless in engine.py, _end",
    "is-slow": "slow: over 0.01 s",
}


@pytest.mark.parametrize("target", [target for target in planted.TARGETS if not target.apart], ids=name_of)
def test_a_planted_fault_is_found_and_told_with_its_input(target: Target) -> None:
    first = next(number for number in count() if b"?" in input_of(target, SEED, number))
    found = list(failures(target, SEED, range(first + 1), lambda _: None))
    assert [(each.number, each.where) for each in found] == [(first, FAULTS[target.name])]
    assert b"?" in found[0].data
    assert f"--only {target.name} --seed {SEED} --from {first} --inputs 1" in str(found[0])


def test_a_failing_input_is_told_as_small_as_it_could_be_made() -> None:
    target = planted.TARGETS[0]
    first = next(number for number in count() if b"?" in input_of(target, SEED, number))
    assert [each.data for each in failures(target, SEED, range(first, first + 1), lambda _: None)] == [b"?"]


def test_a_crash_does_not_keep_later_inputs_from_being_checked() -> None:
    target = next(target for target in planted.TARGETS if target.apart)
    wanted = [number for number in range(100) if b"?" in input_of(target, SEED, number)][:3]
    found = failures(target, SEED, range(wanted[-1] + 1), lambda _: None)
    assert [(each.number, each.where) for each in found] == [(n, "the process ended: SIGSEGV") for n in wanted]
    assert len(wanted) == 3


@pytest.mark.parametrize("target", TARGETS, ids=name_of)
def test_an_input_depends_on_its_seed_and_number_alone(target: Target) -> None:
    made = [input_of(target, SEED, number) for number in range(20, 120)]
    assert [input_of(target, SEED, number) for number in reversed(range(20, 120))] == made[::-1]
    assert made != [input_of(target, "another", number) for number in range(20, 120)]
    assert [input_of(target, SEED, number) for number in range(len(target.corpus))] == list(target.corpus)
    assert all(len(each) <= max(LARGEST, *map(len, target.corpus)) for each in made)
