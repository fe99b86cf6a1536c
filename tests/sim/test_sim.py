"""Seeded runs of workers against simulated brokers: nothing lost, nothing contradicted; and planted faults are seen."""

import pytest

from tests.sim.planted import PLANTED
from tests.sim.script import Script
from tests.sim.worker import Worker
from tests.sim.world import Violated, World, run

SEEDS = [range(begin, begin + 100) for begin in range(0, 1_000, 100)]
MANY = 300
"""Seeds within which a planted fault shows, from the one named with it."""


def history(world: World) -> tuple[object, ...]:
    logs = {tp: log.rows for tp, log in world.brokers.logs.items()}
    return logs, world.brokers.committed, world.ends, world.now()


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_whatever_goes_wrong_nothing_is_lost_or_contradicted(seeds: range) -> None:
    for seed in seeds:
        try:
            run(seed)
        except Violated as exc:
            pytest.fail(f"seed {seed}: {exc}")


@pytest.mark.parametrize("seed", [3, 41, 106])
def test_a_seed_says_all_that_happens(seed: int) -> None:
    assert history(run(seed)) == history(run(seed))
    assert Script(seed).events != Script(seed + 1).events


@pytest.mark.parametrize("seed", [2031, 3094])
def test_a_join_answered_late_does_not_make_a_lease(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize(("planted", "first"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_worker_that_fails_is_found_out(planted: type[Worker], first: int) -> None:
    assert any(violates(seed, planted) for seed in range(first, first + MANY))


def violates(seed: int, planted: type[Worker]) -> bool:
    try:
        run(seed, planted)
    except Violated:
        return True
    return False
