"""Two workers instead of one: what does sharing the partitions cost, and how much more is decided? See ``scale``."""

import argparse
from collections.abc import Collection
from typing import Final

from benchmarks import plots
from benchmarks.report import spread
from benchmarks.scaling import ALL_CORES, PROGRAM, Crew, burst, paced, release, tell, warm_up
from benchmarks.scaling_events import Load, decided
from benchmarks.stage import Stage

QUESTION: Final = "What do two workers do that one doesn't, on two cores?"
LAYOUTS: Final[dict[str, tuple[Collection[int], ...]]] = {
    "one worker, a core to itself": (PROGRAM,),
    "two workers, that core between them": (PROGRAM, PROGRAM),
    "two workers, both cores, the broker's too": (ALL_CORES, ALL_CORES),
}
"""By name, the cores of each worker. The broker has the other one, and in the last both."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=200_000, help="poured in at once")
    parser.add_argument("--rate", type=float, default=2_000, help="events a second where load is paced")
    parser.add_argument("--seconds", type=float, default=8, help="of paced load")
    parser.add_argument("--rounds", type=int, default=3)


def one(cores: tuple[Collection[int], ...], load: Load, rate: float) -> dict[str, float]:
    """One layout once, on a broker of its own: sessions of an earlier run would be known already."""
    with Stage() as stage, Crew(stage, *cores) as crew:
        broker = stage.broker_pids
        if ALL_CORES in cores:
            release(broker)
        workers = range(len(crew.pids))
        warm_up(stage, load)
        gentle = paced(stage, load.slow, crew.pids, rate)
        full = burst(stage, load.fast, decided(load.fast), [*crew.pids, *broker])
        return {
            "rate": full.rate,
            "cost": full.cost(*workers),
            "broker": full.cost(len(crew.pids)),
            "busy": sum(full.cpu) / full.seconds,
            "paced": gentle.cost(*workers),
            "resident": sum(crew.resident),
        }


def run(given: argparse.Namespace) -> None:
    load = Load.of(given.rate, given.seconds, given.events)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in LAYOUTS}
    for number in range(given.rounds):
        for name, cores in LAYOUTS.items():
            found[name].append(one(cores, load, given.rate))
            print(f"round {number + 1}, {name}: {told(found[name][-1])}", flush=True)
    values = {name: {key: [each[key] for each in rounds] for key in rounds[0]} for name, rounds in found.items()}
    alone, beside, both = (values[name] for name in LAYOUTS)
    times = [two / one for one, two in zip(alone["rate"], both["rate"], strict=True)]
    more = [two / one for one, two in zip(alone["cost"], beside["cost"], strict=True)]
    rows = [
        [
            name,
            spread(each["rate"], ",.0f"),
            spread(each["cost"], ".1f"),
            spread(each["broker"], ".1f"),
            spread(each["busy"], ".2f"),
            spread(each["paced"], ".0f"),
            spread([value / 2**20 for value in each["resident"]], ",.0f"),
        ]
        for name, each in values.items()
    ]
    heads = [
        "",
        "decisions/s",
        "µs CPU a decision, workers",
        "the broker's",
        "cores busy",
        f"µs at {given.rate:,.0f} events/s",
        "MiB resident, workers",
    ]
    notes = [
        f"On one core, two workers take {spread(more)} times the CPU of one for a decision: what sharing costs. "
        f"On both cores they decide {spread(times)} times as much as one on its own; the broker, which has a core to "
        "itself beside one worker, shares these two, so this machine cannot show more. What carries over to a core for "
        "each is the CPU a decision.",
    ]
    tell(
        given,
        "scale-workers",
        QUESTION,
        heads,
        rows,
        notes=notes,
        figures=values,
        plot=plots.bars({name: each["rate"] for name, each in values.items()}, "decisions a second"),
    )


def told(each: dict[str, float]) -> str:
    return (
        f"{each['rate']:,.0f} decisions/s, {each['cost']:.1f} µs CPU a decision, the broker {each['broker']:.1f}, "
        f"{each['busy']:.2f} cores busy; paced {each['paced']:.0f} µs; {each['resident'] / 2**20:,.0f} MiB"
    )
