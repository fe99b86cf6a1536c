"""How long does a join wait for its decision, at a light load, at a heavy one, and near the worker's limit?

    python -m benchmarks.latency [--rounds 3] [--seconds 20] [--brokers 3] [--record]

An open loop (``benchmarks.openloop``): joins come due as a Poisson process at 200, 2,000 and 10,000 a second, and at
50 % and 80 % of what the worker can do at most, which a flood has just measured in the same round. The latency of a
join runs from when it was *due* to when its decision was read, so whatever stalls, the client too, counts for everyone
who came due meanwhile. Three in ten joins are followed by their leave, beside the rate. Three rounds take a quarter of
an hour, each on brokers of its own; the first seconds at each rate do not count.

What is asked is how long a worker takes that has one core. So it has core 0 and no other; brokers and the client, which
do twice its work together, run wherever there is room. Its share of the core is its own, then, and what the others cost
is in every figure still: three brokers alone can fill both cores. Brokers are JVMs, and several times slower until
they are compiled: joins warm them up first (``--brokers-warm``). Two more are measured beside it, in turns:

* *read back*: no worker at all; the same joins by the same client, which reads the joins themselves. It is the least
  that client and brokers cost here: one hop, where a decision takes two.
* *raw aiokafka*: the loop of ``benchmarks.peers.raw_aiokafka``, with sessions: the same decisions, changelog and
  RocksDB, without Faust, leases, metrics or sweeps. It fetches as fast as it can.

Ratios to these carry over to another machine; milliseconds don't. Of each run it is told how late the client handed
joins over. Where that is a large part of the tail, the run says nothing about the worker: it is left out and counted.

Nobody acts on removals here, so the worker is told not to repeat them: the thousands of a flood would be said again.

What a load leaves in the page cache is written to the disk before the next begins. Else the kernel does it some 30 s
later, and brokers answer nothing for 50 to 150 ms, in a run that is not to blame.

Not measured: brokers on machines of their own, their disks (nothing waits for fsync), a network.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks import report
from benchmarks.peers.raw_aiokafka import CHANGELOG
from benchmarks.schedule import histogram
from benchmarks.stage import WORKER, Stage, stop

if TYPE_CHECKING:  # in `requirements-bench.lock`; tests of what is pure here do without
    from hdrh.histogram import HdrHistogram

DOORWARD, RAW, BACK = "Doorward", "raw aiokafka, with sessions", "joins read back"
PROGRAMS: Final = {"doorward": DOORWARD, "raw": RAW, "back": BACK}
LOOP: Final = [sys.executable, "-m", "benchmarks.peers.raw_aiokafka"]
RATES: Final = (200, 2_000, 10_000)
ALL: Final = os.sched_getaffinity(0)
"""The cores there are, as of the start."""
SHARES: Final = (0.5, 0.8)
"""Of the greatest rate, at which the worker is measured too."""
PERCENTILES: Final = (50.0, 99.0, 99.9, 100.0)
LATE: Final = 0.5
"""Of a run's 99th percentile, as how much of it the client's lateness (its 99th) may be."""
WARM_RATE: Final = 3_000
"""Joins/s by which brokers are warmed up."""
DISTURBED: Final = 0.05
"""Of a core, what other programs, or the machine's host, may take in a run before a note says so."""
SHOWN: Final = (*range(0, 100, 2), 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99)
"""Percentiles of the plot."""


# -- pure ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One program at one rate for a while.

    Attributes:
        program: whose decisions were read.
        load: ``10,000`` joins/s, or ``50 %`` of the greatest rate.
        rate: joins/s.
        latency: from due to read, µs.
        lateness: from due to handed over by the client, µs.
        acknowledged: from due to acknowledged by brokers, µs.
        shares: of one core, what each group of processes used.
        missing: joins that were never answered.
    """

    program: str
    load: str
    rate: float
    latency: "HdrHistogram"
    lateness: "HdrHistogram"
    acknowledged: "HdrHistogram"
    shares: Mapping[str, float]
    missing: int

    @property
    def is_kept(self) -> bool:
        """Whether the client kept its schedule well enough."""
        return at(self.lateness, 99.0) <= LATE * at(self.latency, 99.0)


def at(found: "HdrHistogram", percentile: float) -> float:
    """The value at a percentile, ms."""
    return found.get_value_at_percentile(percentile) / 1000


def run_of(program: str, load: str, rate: float, said: Mapping[str, Any]) -> Run:
    """What the client said of a run."""
    from hdrh.histogram import HdrHistogram

    kept = {name: HdrHistogram.decode(said[name]) for name in ("latency", "lateness", "acknowledged")}
    return Run(program, load, rate, shares=said["shares"], missing=said["missing"], **kept)


def grouped(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """By program and load, in the order in which they first came."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.program, run.load), []).append(run)
    return groups


COLUMNS: Final = (
    "", "joins/s", "p50, ms", "p99, ms", "p99.9, ms", "most, ms", "core, %", "brokers' core, %", "client's core, %",
    "client late p99, ms", "rounds",
)  # fmt: skip


def row(program: str, load: str, runs: Sequence[Run]) -> list[str]:
    """Of the table: medians of the rounds that are kept, least and most."""
    kept = [run for run in runs if run.is_kept]
    rates = report.spread([run.rate for run in runs], ",.0f")
    head = [program, load if "%" not in load else f"{load}: {rates}"]
    if not kept:
        return [*head, *["-"] * 8, f"0 of {len(runs)}"]
    return [
        *head,
        *(report.spread([at(run.latency, share) for run in kept], ",.1f") for share in PERCENTILES),
        *(report.spread([run.shares.get(name, 0.0) * 100 for run in kept], ",.0f") for name in SHARED),
        report.spread([at(run.lateness, 99.0) for run in kept], ",.1f"),
        f"{len(kept)} of {len(runs)}",
    ]


SHARED: Final = ("program", "brokers", "client")


def ratios(runs: Sequence[Run]) -> list[str]:
    """Sentences: the worker's percentiles beside the others', round by round."""
    groups, lines = grouped(runs), []
    for (program, load), theirs in groups.items():
        ours = groups.get((DOORWARD, load))
        if program == DOORWARD or not ours:
            continue
        pairs = [(mine, other) for mine, other in zip(ours, theirs, strict=True) if mine.is_kept and other.is_kept]
        if pairs:
            said = ", ".join(
                f"p{share:g} {report.spread([at(a.latency, share) / at(b.latency, share) for a, b in pairs])}"
                for share in PERCENTILES[:2]
            )
            lines.append(f"At {load} joins/s, Doorward's latency / {program}: {said}.")
    return lines


def notes(runs: Sequence[Run], peaks: Mapping[str, Sequence[float]]) -> list[str]:
    """Sentences below the table."""
    lines = [f"Most joins/s, {name}: {report.spread(found, ',.0f')}." for name, found in peaks.items()]
    lines += ratios(runs)
    late = sum(not run.is_kept for run in runs)
    if late:
        lines.append(f"In {late} of {len(runs)} runs the client could not keep its schedule; they are left out.")
    for name, what in (("others", "Other programs used"), ("stolen", "The host kept back")):
        most = max((run.shares[name] for run in runs), default=0.0)
        if most > DISTURBED:
            lines.append(f"{what} up to {most * 100:.0f} % of a core in a run: milliseconds are not to be trusted.")
    return lines


def lines_of(runs: Sequence[Run], programs: Sequence[str] = (DOORWARD,)) -> dict[str, list[tuple[float, float]]]:
    """Of the plot: one for each load, its rounds together."""
    lines = {}
    for (program, load), found in grouped(runs).items():
        kept = [run.latency for run in found if run.is_kept]
        if program in programs and kept:
            whole = histogram()
            for each in kept:
                whole.add(each)
            name = f"{load} joins/s" if "%" not in load else f"{load} of the most"
            lines[name] = [(share, at(whole, share)) for share in SHOWN]
    return lines


# -- measuring -------------------------------------------------------------------------------------------------------


class LoadClient(AbstractContextManager["LoadClient"]):
    """``benchmarks.openloop``, on the brokers' core; it ends when its stdin does."""

    def __init__(self, stage: Stage) -> None:
        command = [sys.executable, "-m", "benchmarks.openloop", stage.bootstrap, "--partitions", str(stage.partitions)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def ask(self, do: str, **asked: Any) -> dict[str, Any]:
        """Have it do something, and wait.

        Raises:
            SystemExit: it has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **asked}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load client has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()


async def skip(stage: Stage, group: str) -> None:
    """Have a group begin where ``joins`` ends now: what earlier programs were asked is none of its business."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition("joins", partition) for partition in range(stage.partitions)]
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    rates: Sequence[float]
    shares: Sequence[float]
    warm: float
    seconds: float
    brokers_warm: float


class Round:
    """Every program once, on brokers of their own.

    Attributes:
        runs: what was measured.
        peaks: by program, the most joins/s.
    """

    def __init__(self, stage: Stage, client: LoadClient, asked: Asked) -> None:
        self.runs: list[Run] = []
        self.peaks: dict[str, float] = {}
        self._stage, self._client, self._asked = stage, client, asked
        self._is_warm = False  # its brokers

    def measure(self, program: str) -> None:
        """Start a program, flood it, then run it at each rate."""
        groups = {"brokers": self._stage.broker_pids, "client": [self._client.pid]}
        if program == BACK:
            for rate in self._asked.rates:
                self._run(program, f"{rate:,.0f}", rate, "joins", groups)
            return
        name = "doorward" if program == DOORWARD else "raw"
        asyncio.run(skip(self._stage, name))
        more = {"DOORWARD_METRICS_PORT": "0"} if program == DOORWARD else {"SESSIONS": str(self._stage.folder / "raw")}
        more |= {"DOORWARD_REMIND": "86400"}  # nobody here acts on removals: after a flood they would be said again
        running = self._stage.start(WORKER if program == DOORWARD else LOOP, self._stage.environment(name, **more))
        try:
            groups["program"] = [running.pid]
            if not self._client.ask("reach", topic="decisions")["reached"]:
                raise SystemExit(f"{program} answers nothing")
            if not self._is_warm:
                told(f"warming brokers up for {self._asked.brokers_warm:.0f} s")
                warm = self._asked.brokers_warm
                self._client.ask("run", topic="decisions", rate=WARM_RATE, warm=warm, seconds=1, groups=groups)
                self._is_warm = True
            said = self._client.ask("flood", topic="decisions", warm=4, seconds=6, groups=groups)
            if said["missing"]:
                raise SystemExit(f"{said['missing']} joins of the flood were never answered")
            self.peaks[program] = said["rate"]
            told(f"{program}: at most {said['rate']:,.0f} joins/s, with {shares(said['shares'])}")
            for rate in self._asked.rates:
                self._run(program, f"{rate:,.0f}", rate, "decisions", groups)
            for share in self._asked.shares if program == DOORWARD else ():
                self._run(program, f"{share * 100:.0f} %", share * said["rate"], "decisions", groups)
        finally:
            stop(running)

    def _run(self, program: str, load: str, rate: float, topic: str, groups: dict[str, list[int]]) -> None:
        asked = self._asked
        os.sync()  # what the load before left is not this one's: the kernel would write it some 30 s later, all at once
        said = self._client.ask("run", topic=topic, rate=rate, warm=asked.warm, seconds=asked.seconds, groups=groups)
        run = run_of(program, load, rate, said)
        found = ", ".join(f"p{share:g} {at(run.latency, share):.1f}" for share in PERCENTILES)
        told(
            f"{program} at {rate:,.0f}/s: {found} ms; acknowledged p50 {at(run.acknowledged, 50):.1f} p99 "
            f"{at(run.acknowledged, 99):.1f}, client late p50 {at(run.lateness, 50):.1f} p99 "
            f"{at(run.lateness, 99):.1f} ms{'' if run.is_kept else ' (NOT KEPT)'}; {shares(run.shares)}"
        )
        if run.missing:
            raise SystemExit(f"{run.missing} joins were never answered")
        self.runs.append(run)


def shares(found: Mapping[str, float]) -> str:
    """Of a core, for people."""
    return ", ".join(f"{name} {share * 100:.0f} %" for name, share in found.items())


def told(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", type=int, default=1, choices=[1, 3], help="three replicate threefold, acks=all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="at each rate, that count")
    parser.add_argument("--brokers-warm", type=float, default=30, help="seconds of joins before anything is measured")
    parser.add_argument("--warm", type=float, default=3, help="seconds before them, that don't")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES, help="of the most joins/s")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    asked = Asked(given.rates, given.shares, given.warm, given.seconds, given.brokers_warm)
    programs = [PROGRAMS[name] for name in given.programs]
    runs: list[Run] = []
    peaks: dict[str, list[float]] = {}
    for number in range(given.rounds):
        told(f"round {number + 1} of {given.rounds}")
        turned = number % len(programs)  # none is always first, or last, on its brokers
        with Stage(brokers=given.brokers, cores=ALL) as stage, LoadClient(stage) as client:
            stage.create(CHANGELOG, cleanup_policy="compact")
            done = Round(stage, client, asked)
            for program in programs[turned:] + programs[:turned]:
                done.measure(program)
        runs += done.runs
        for program, peak in done.peaks.items():
            peaks.setdefault(program, []).append(peak)
    groups = grouped(runs)
    ordered = [(key, groups[key]) for key in sorted(groups, key=lambda key: programs.index(key[0]))]
    rows = [row(program, load, found) for (program, load), found in ordered]
    told(report.table(COLUMNS, rows))
    told("\n".join(notes(runs, peaks)))
    if given.record:
        keep(given.brokers, runs, rows, notes(runs, peaks))


def keep(brokers: int, runs: Sequence[Run], rows: Sequence[Sequence[str]], said: Sequence[str]) -> None:
    """Record the result."""
    from benchmarks import plots  # it needs matplotlib, which nothing else here does

    where = "one broker" if brokers == 1 else f"{brokers} brokers, replication 3, two in-sync replicas at least"
    figures = [
        {
            "program": run.program,
            "load": run.load,
            "rate": run.rate,
            "kept": run.is_kept,
            "shares": dict(run.shares),
            "latency": run.latency.encode().decode(),
            "lateness": run.lateness.encode().decode(),
            "acknowledged": run.acknowledged.encode().decode(),
        }
        for run in runs
    ]
    report.record(
        "latency" if brokers == 1 else f"latency-{brokers}-brokers",
        f"How long from a join being due to its decision being read, {where}, acks=all?",
        COLUMNS,
        rows,
        notes=said,
        figures=figures,
        plot=plots.percentiles(lines_of(runs), "due → decision read, ms"),
    )


if __name__ == "__main__":
    main()
