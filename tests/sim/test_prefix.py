"""What a long run of seeds showed, made small: local files are a prefix of the changelog whenever the process ends."""

from pathlib import Path

from tests.runtime.test_tables import changed, opened, put, rows, table_at, written


def test_a_late_write_does_not_hide_the_next_owners_rows(tmp_path: Path) -> None:
    table = opened(table_at(tmp_path))
    table.recover(0, [put(0, b"a", b"old", 1)])
    table.own(0, 1)
    # Cut off: the next owner writes offsets 1 to 13, and what we had sent before lies behind them and is acknowledged.
    assert written(table, changed(b=b"late"), base=14) == {0: (1, 14)}
    table.local.keep(())  # the process ends before it has read who wrote there

    again = opened(table_at(tmp_path), 0, 15)
    again.recover(0, [*(put(n, b"a", b"new", 5) for n in range(1, 14)), put(14, b"b", b"late", 2)])
    assert rows(again)[b"a"] == b"new"
