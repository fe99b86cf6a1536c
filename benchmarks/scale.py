"""How do cost and memory grow: with workers, partitions, documents, live sessions?

    python -m benchmarks.scale [workers|partitions|documents|sessions] [--rounds N] [--record] [...]

Without a name all four; ``--help`` behind a name says its options.

``workers``     one and two on one core, and two on both
``partitions``  4 to 64, one worker that has them all: joins waiting, and 2,000 events a second
``documents``   1,000 to 1,000,000 accounts' documents: started cold and warm, a decision beside them, memory, disk
``sessions``    1,000 to 1,000,000 people in meetings: loaded, kept, come and gone beside them, started again

The real worker on a real broker, one core each unless said otherwise, on two cores altogether. CPU from /proc,
decisions from the end offsets of their topic, from 20 % of a load on; memory is resident memory, RocksDB's own
included. Rounds go through all sizes one after the other, so that a slow minute of the machine falls on all of them;
median (least to most). Each size of each round has a broker of its own, and each worker begins with nothing.

What it doesn't say: how latency grows (``latency``), what standbys or several brokers cost, and how workers scale on
more cores than two.
"""

import argparse
from types import ModuleType
from typing import Final

from benchmarks import scaling_documents, scaling_partitions, scaling_sessions, scaling_workers
from benchmarks.report import commit, machine

QUESTIONS: Final[dict[str, ModuleType]] = {
    "workers": scaling_workers,
    "partitions": scaling_partitions,
    "documents": scaling_documents,
    "sessions": scaling_sessions,
}


def parsed(words: list[str] | None = None) -> list[tuple[str, argparse.Namespace]]:
    """The questions asked and their options: one, or all with their defaults."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    named = parser.add_subparsers(dest="question", metavar="workers|partitions|documents|sessions")
    for name, module in QUESTIONS.items():
        options = named.add_parser(name, help=module.QUESTION, description=module.__doc__)
        options.add_argument("--record", action="store_true", help="keep the result (benchmarks.report)")
        module.options(options)
    given = parser.parse_args(words)
    if given.question:
        return [(given.question, given)]
    return [(name, parser.parse_args([name])) for name in QUESTIONS]


def main() -> None:
    questions = parsed()
    print(f"commit {commit()}, {machine()}")
    for name, given in questions:
        print(f"{name}: {QUESTIONS[name].QUESTION}", flush=True)
        QUESTIONS[name].run(given)


if __name__ == "__main__":
    main()
