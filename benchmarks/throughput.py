"""How many events a second does one worker decide on one core, beside a raw aiokafka loop with the same core?

    python -m benchmarks.throughput [--events 300000] [--rounds 3] [--record]

Two jobs: deciding only, and remembering live participations too (view, sealed address, stamped changelog record,
RocksDB). The loop does either; the worker always remembers, and ``benchmarks.peers.stateless`` is its runtime around
the other job. ``benchmarks.peers.compare`` asks the same of other engines, and checks what they decided.

The broker has one core, the program under test the other. In each round the same events are read from the beginning by
one program after the other, in every second round the other way round. Counted from outside, between 20 % and 100 % of
the decisions: CPU from /proc, decisions from the end offsets of ``decisions``.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import Final

from benchmarks import report
from benchmarks.peers.raw_aiokafka import CHANGELOG
from benchmarks.stage import WORKER, Stage, Usage, stop

RAW, RUNTIME = "raw aiokafka, deciding only", "Doorward's runtime, deciding only"
RAW_SESSIONS, DOORWARD = "raw aiokafka, with sessions", "Doorward"
LOOP = [sys.executable, "-m", "benchmarks.peers.raw_aiokafka"]
PROGRAMS: Final = {
    RAW: LOOP,
    RUNTIME: [sys.executable, "-m", "benchmarks.peers.stateless"],
    RAW_SESSIONS: LOOP,
    DOORWARD: WORKER,
}
BESIDE: Final = {RUNTIME: RAW, DOORWARD: RAW_SESSIONS}
"""Who does the same job as who."""


def one_round(events: int, programs: Iterable[str]) -> dict[str, Usage]:
    """Each program once, on a broker of their own: sessions of an earlier round would be known already."""
    results = {}
    with Stage() as stage:
        stage.create(CHANGELOG, cleanup_policy="compact")
        wanted = stage.fill(events)
        for number, program in enumerate(programs):
            environment = stage.environment(f"program-{number}")
            if program == RAW_SESSIONS:
                environment["SESSIONS"] = str(stage.folder / "sessions")
            started = stage.start(PROGRAMS[program], environment)
            results[program] = stage.watch(started, wanted)
            stop(started)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="keep the result (benchmarks.report)")
    args = parser.parse_args()
    results: dict[str, list[Usage]] = {program: [] for program in PROGRAMS}
    for number in range(args.rounds):
        for program, usage in one_round(args.events, list(PROGRAMS)[:: -1 if number % 2 else 1]).items():
            results[program].append(usage)
            print(f"round {number + 1} {program}: {usage.rate:,.0f} decisions/s, {usage.cost:.2f} µs", flush=True)
    columns = ["", "decisions/s", "µs CPU a decision"]
    rows = [
        [program, report.spread([u.rate for u in usages], ",.0f"), report.spread([u.cost for u in usages])]
        for program, usages in results.items()
    ]
    notes = []
    for program, other in BESIDE.items():
        ratios = [own.cost / its.cost for own, its in zip(results[program], results[other], strict=True)]
        notes.append(f"CPU a decision, {program} / {other}: {report.spread(ratios)}.")
    print(report.table(columns, rows), *notes, sep="\n")
    if args.record:
        from benchmarks import plots  # needs matplotlib

        report.record(
            "throughput",
            "One worker on one core beside a raw aiokafka loop with the same core, the broker on the other core.",
            columns,
            rows,
            notes=[f"{args.events:,} events, {args.rounds} rounds interleaved.", *notes],
            figures={p: [{"rate": u.rate, "cost": u.cost} for u in usages] for p, usages in results.items()},
            plot=plots.bars({p: [u.cost for u in usages] for p, usages in results.items()}, "µs CPU a decision"),
        )


if __name__ == "__main__":
    main()
