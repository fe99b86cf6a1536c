"""The table of tests/chaos/README.md: a row a fault, replaced by each long run of it and kept by every other."""

from pathlib import Path

from tests.chaos.trials import LONG, Outcome

README = Path(__file__).with_name("README.md")
HEAD = """# What the chaos suite found

Written by `make chaos`: each row by the latest long run of its fault. Load all the while; afterwards a client's account
of its own records and `doorward verify` must both find nothing lost and nothing wrong, or the run fails and writes no
row.

- gap: the longest time without an answer on one of the partitions;
- p99: from sending a record to reading its answer;
- memory: by how much the largest worker grew;
- restarts: of workers, whoever ended them.

| fault | times | events | dead letters | duplicates | lost | gap | p99 | memory | restarts |
|---|---|---|---|---|---|---|---|---|---|
"""


def note(outcome: Outcome) -> None:
    """Print an outcome's row; of a long run, keep it."""
    row = (
        f"| {outcome.fault} | {outcome.times:,} | {outcome.events:,} | {outcome.dead_letters:,} "
        f"| {outcome.duplicates:,} | {outcome.lost:,} | {outcome.gap:.1f} s | {outcome.p99:.3f} s "
        f"| {outcome.memory:.0f} MiB | {outcome.restarts} |"
    )
    print(row)
    if LONG:
        kept = README.read_text(encoding="utf-8").removeprefix(HEAD).splitlines() if README.exists() else []
        others = [line for line in kept if line.startswith("| ") and not line.startswith(f"| {outcome.fault} |")]
        README.write_text(HEAD + "\n".join(sorted([*others, row])) + "\n", encoding="utf-8")
