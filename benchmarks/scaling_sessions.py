"""More people in meetings at once on one worker: what does each cost, and a visit beside them? See ``scale``.

At each size, on an empty worker: so many people join; memory and disk are looked at. The worker is ended in order and
started again twice, with its files deleted (it reads the changelog) and with them. Then people come and go, each
leaving after some others have come, so that as many are live afterwards: this is the cost of a join beside so many
sessions, its leave included. What is kept of those who left, against late events, is forgotten after a second here
(six hours by default), or the sizes would not be what they are called; what it takes is measured by itself at the end.

All are admitted: a removal is said again until its leave comes, which here it doesn't.
"""

import argparse
import shutil
import time
from collections.abc import Iterator
from typing import Final

from benchmarks import plots
from benchmarks.report import spread
from benchmarks.scaling import PROGRAM, Crew, burst, on_disk, tell
from benchmarks.scaling_events import JOIN, Event, event, tenfold, visits
from benchmarks.stage import Stage, cpu_seconds
from streams.dev.sandbox import SandboxWorker

QUESTION: Final = "What do live sessions cost one worker?"
ACCOUNTS: Final = 400
SEATS: Final = 8
"""People a meeting."""
ENOUGH: Final = 50_000
"""Joins that take a second of CPU or more, of which the kernel counts hundredths."""


def people(first: int, count: int) -> Iterator[tuple[int, str, str]]:
    """Of so many accounts in turn, and of each as many in a meeting as it has seats. None has a document."""
    for number in range(first, first + count):
        account = f"studio-{100 + number % ACCOUNTS}"
        yield number, account, f"m-{account}-{number // (SEATS * ACCOUNTS)}"


def joins(count: int) -> Iterator[Event]:
    return (event(JOIN, *person) for person in people(0, count))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--visits", type=int, default=40_000, help="people who come and go beside them")
    parser.add_argument(
        "--left", type=int, default=100_000, help="people of whom only that is kept, then twice as many"
    )
    parser.add_argument("--rounds", type=int, default=2)


def one(sessions: int, count: int) -> dict[str, float]:
    """So many live sessions once, on a broker of their own."""
    with Stage() as stage, Crew(stage, PROGRAM, DOORWARD_LATENESS="1") as crew:
        [worker], [empty] = crew.workers, crew.resident
        loading = burst(stage, joins(sessions), sessions, crew.pids)
        await_sessions(worker, sessions)
        figures = {"loading": loading.cost(0), "empty": empty, "resident": crew.resident[0]}
        figures["replayed"], figures["replayed cpu"] = crew.again(forget), cpu_seconds(crew.pids[0])
        await_sessions(worker, sessions)
        figures["loaded"] = crew.resident[0]
        figures["read"] = crew.again(lambda it: figures.update(disk=on_disk(it.folder / "faust")))
        figures["read cpu"] = cpu_seconds(crew.pids[0])
        await_sessions(worker, sessions)
        beside = burst(stage, visits(people(sessions, count)), count, crew.pids)
        return {**figures, "rate": beside.rate, "cost": beside.cost(0), "after": crew.resident[0]}


def left(count: int) -> float:
    """Bytes of memory for each who left and is remembered, once what they are written to has its full size."""
    with Stage() as stage, Crew(stage, PROGRAM) as crew:
        burst(stage, visits(people(0, count)), count, crew.pids)
        await_sessions(crew.workers[0], 0)
        [before] = crew.resident
        burst(stage, visits(people(count, 2 * count)), 2 * count, crew.pids)
        await_sessions(crew.workers[0], 0)
        return (crew.resident[0] - before) / (2 * count)


def forget(worker: SandboxWorker) -> None:
    """A machine that lost its disk."""
    shutil.rmtree(worker.folder / "faust")


def await_sessions(worker: SandboxWorker, sessions: int) -> None:
    """Wait until its gauges, set once a second, say that so many are live and none has to be decided again.

    Raises:
        SystemExit: it doesn't come to say so.
    """
    deadline = time.monotonic() + 60
    while True:
        said = worker.scrape()
        live, due = said.get("doorward_sessions"), said.get("doorward_sweeps_due")
        if (live, due) == (sessions, 0):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{live} sessions instead of {sessions}, {due} sweeps due")
        time.sleep(0.2)


def told(each: dict[str, float], sessions: int) -> str:
    return (
        f"loaded at {each['loading']:.1f} µs CPU a join; {each['resident'] / 2**20:,.0f} MiB resident "
        f"({each['empty'] / 2**20:,.0f} empty, {each['loaded'] / 2**20:,.0f} when replayed, "
        f"{each['after'] / 2**20:,.0f} at the end), disk {each['disk'] / sessions:,.0f} B a session; ready again in "
        f"{each['replayed']:.2f} s from the changelog ({each['replayed cpu']:.2f} s CPU), "
        f"{each['read']:.2f} s from disk ({each['read cpu']:.2f} s); "
        f"{each['cost']:.1f} µs CPU a visit beside them, {each['rate']:,.0f}/s"
    )


def run(given: argparse.Namespace) -> None:
    found: dict[int, list[dict[str, float]]] = {sessions: [] for sessions in given.sessions}
    kept = []
    for number in range(given.rounds):
        for sessions in given.sessions:
            found[sessions].append(one(sessions, given.visits))
            print(f"round {number + 1}, {sessions:,} sessions: {told(found[sessions][-1], sessions)}", flush=True)
        kept.append(left(given.left))
        print(f"round {number + 1}: {kept[-1]:,.0f} B for each who left", flush=True)
    summed_up(given, found, kept)


def summed_up(given: argparse.Namespace, found: dict[int, list[dict[str, float]]], kept: list[float]) -> None:
    values = {at: {key: [each[key] for each in rounds] for key in rounds[0]} for at, rounds in found.items()}
    rows = [
        [
            f"{at:,}",
            spread(each["loading"], ".1f") if at >= ENOUGH else "",
            spread(each["cost"], ".1f"),
            spread([value / 2**20 for value in each["resident"]], ",.0f"),
            spread([value / 2**20 for value in each["loaded"]], ",.0f"),
            spread([value / 2**20 for value in each["disk"]], ",.1f"),
            spread(each["replayed"], ".1f"),
            spread(each["replayed cpu"], ".1f"),
            spread(each["read"], ".1f"),
            spread(each["read cpu"], ".1f"),
        ]
        for at, each in values.items()
    ]
    heads = [
        "sessions",
        "µs CPU a join, loading",
        "µs CPU a visit beside them",
        "MiB resident, loaded by joins",
        "by the changelog",
        "MiB on disk",
        "s until ready again, from the changelog",
        "of CPU",
        "from disk",
        "of CPU",
    ]
    notes = [f"Each who left takes {spread(kept, ',.0f')} B of memory for as long as late events may come."]
    if len(values) > 1:
        (*_, (few, less), (many, more)) = values.items()
        each = {key: [(b - a) / (many - few) for a, b in zip(less[key], more[key], strict=True)] for key in less}
        notes.append(
            f"From {few:,} sessions to {many:,}, each takes {spread(each['resident'], ',.0f')} B of memory loaded "
            f"by joins, {spread(each['loaded'], ',.0f')} B by the changelog, {spread(each['disk'], ',.0f')} B on disk, "
            f"and {spread([value * 1e6 for value in each['replayed']], '.1f')} µs until ready again from the changelog "
            f"or {spread([value * 1e6 for value in each['read']], '.1f')} µs from disk. A visit beside ten times the "
            f"sessions costs {tenfold([(at, figures['cost']) for at, figures in values.items()]):.2f} times the CPU."
        )
    curves = {
        "µs CPU a visit beside them": [(at, each["cost"]) for at, each in values.items()],
        "µs CPU a join, loading": [(at, each["loading"]) for at, each in values.items() if at >= ENOUGH],
    }
    curves = {name: points for name, points in curves.items() if points}
    plot = plots.curves(curves, "live sessions", "µs CPU")
    tell(
        given,
        "scale-sessions",
        QUESTION,
        heads,
        rows,
        notes=[" ".join(notes)],
        figures={"left": kept, **values},
        plot=plot,
    )
