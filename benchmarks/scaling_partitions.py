"""More partitions of the same joins on one worker: what does each cost? See ``scale``."""

import argparse
from typing import Final

from benchmarks import plots
from benchmarks.report import spread
from benchmarks.scaling import PROGRAM, Crew, burst, paced, tell, warm_up
from benchmarks.scaling_events import Load, decided, tenfold
from benchmarks.stage import Stage
from streams.dev.sandbox import SandboxWorker

QUESTION: Final = "What do more partitions cost one worker that has them all?"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partitions", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--events", type=int, default=150_000, help="poured in at once")
    parser.add_argument("--rate", type=float, default=2_000, help="events a second where load is paced")
    parser.add_argument("--seconds", type=float, default=8, help="of paced load")
    parser.add_argument("--rounds", type=int, default=2)


def one(partitions: int, load: Load, rate: float) -> dict[str, float]:
    """So many partitions once, on a broker of its own."""
    with Stage(partitions=partitions) as stage, Crew(stage, PROGRAM) as crew:
        empty, watched = sum(crew.resident), [*crew.pids, *stage.broker_pids]
        warm_up(stage, load)
        [worker] = crew.workers
        began = latency(worker)
        gentle = paced(stage, load.slow, watched, rate)
        late, before = mean(began, latency(worker)), chunks(worker)
        full = burst(stage, load.fast, decided(load.fast), watched)
        return {
            "rate": full.rate,
            "cost": full.cost(0),
            "broker": full.cost(1),
            "chunk": mean(before, chunks(worker)),
            "paced": gentle.cpu[0] / gentle.seconds * 100,
            "paced broker": gentle.cpu[1] / gentle.seconds * 100,
            "late": late,
            "empty": empty,
            "resident": sum(crew.resident),
            "start": crew.again(),
        }


def chunks(worker: SandboxWorker) -> tuple[float, float]:
    """How many chunks of joins a worker has answered, and the seconds that took it."""
    said = worker.scrape(5)
    seconds = sum(said[f'doorward_stage_seconds_sum{{stage="{stage}"}}'] for stage in ("decide", "write"))
    return said['doorward_stage_seconds_count{stage="write"}'], seconds


def latency(worker: SandboxWorker) -> tuple[float, float]:
    """How many events a worker has answered, and the seconds from their timestamps to the acknowledged answers."""
    said = worker.scrape(5)
    return said["doorward_decision_latency_seconds_count"], said["doorward_decision_latency_seconds_sum"]


def mean(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Milliseconds each, between two looks."""
    number, seconds = (b - a for a, b in zip(before, after, strict=True))
    return seconds / number * 1000


def told(each: dict[str, float], rate: float) -> str:
    return (
        f"{each['rate']:,.0f} decisions/s, {each['cost']:.1f} µs CPU a decision, the broker {each['broker']:.1f}, "
        f"{each['chunk']:.0f} ms a chunk; "
        f"{each['paced']:.1f} % of a core at {rate:,.0f}/s, the broker {each['paced broker']:.1f} %, answered in "
        f"{each['late']:.1f} ms; resident "
        f"{each['empty'] / 2**20:,.0f} MiB at the start, {each['resident'] / 2**20:,.0f} at the end; "
        f"started again in {each['start']:.2f} s"
    )


def run(given: argparse.Namespace) -> None:
    load = Load.of(given.rate, given.seconds, given.events)
    found: dict[int, list[dict[str, float]]] = {partitions: [] for partitions in given.partitions}
    for number in range(given.rounds):
        for partitions in given.partitions:
            found[partitions].append(one(partitions, load, given.rate))
            print(f"round {number + 1}, {partitions} partitions: {told(found[partitions][-1], given.rate)}", flush=True)
    values = {at: {key: [each[key] for each in rounds] for key in rounds[0]} for at, rounds in found.items()}
    heads = [
        "partitions",
        "decisions/s",
        "µs CPU a decision",
        "the broker's",
        "ms a chunk",
        f"% of a core at {given.rate:,.0f} events/s",
        "the broker's",
        "ms until answered, mean",
        "MiB resident, empty",
        "after the load",
        "s until ready again",
    ]
    rows = [
        [
            str(at),
            spread(each["rate"], ",.0f"),
            spread(each["cost"], ".1f"),
            spread(each["broker"], ".1f"),
            spread(each["chunk"], ",.0f"),
            spread(each["paced"], ".1f"),
            spread(each["paced broker"], ".1f"),
            spread(each["late"], ".1f"),
            spread([value / 2**20 for value in each["empty"]], ",.0f"),
            spread([value / 2**20 for value in each["resident"]], ",.0f"),
            spread(each["start"], ".2f"),
        ]
        for at, each in values.items()
    ]
    curves = {
        "µs CPU a decision, joins waiting": [(at, each["cost"]) for at, each in values.items()],
        f"% of a core at {given.rate:,.0f} events/s": [(at, each["paced"]) for at, each in values.items()],
    }
    notes = [
        f"{name}: {tenfold(points):.2f} times for ten times the partitions."
        for name, points in {
            "CPU a decision": curves["µs CPU a decision, joins waiting"],
            "CPU of the paced load": [(at, each["paced"]) for at, each in values.items()],
            "Memory": [(at, each["resident"]) for at, each in values.items()],
        }.items()
    ]
    plot = plots.curves(curves, "partitions", "µs, and %")
    tell(given, "scale-partitions", QUESTION, heads, rows, notes=[" ".join(notes)], figures=values, plot=plot)
