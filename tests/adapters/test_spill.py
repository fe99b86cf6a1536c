"""Piles on disk: all that was put there comes back, what has the same key together, and nobody else can read it."""

from __future__ import annotations

import os
from collections import defaultdict

from streams.adapters.spill import BLOCK, PILES, SMALL, Spill

ADDRESS = b"203.0.113.77"


def test_all_comes_back_in_order_and_a_keys_entries_on_one_pile() -> None:
    spill = Spill(SMALL * PILES * 2)
    kept = defaultdict(list)
    for number in range(20_000):
        key = b"%d" % (number % 700)
        kept[key].append(b"%s %d " % (key, number) + ADDRESS * (number % 50))
        spill.add(key, kept[key][-1])
    found = defaultdict(list)
    piles = [list(pile) for pile in spill.piles()]
    for pile in piles:
        for key in {entry.split()[0] for entry in pile}:
            assert key not in found
            found[key] = [entry for entry in pile if entry.split()[0] == key]
    assert found == kept
    assert len(piles) == PILES
    spill.close()


def test_no_address_is_on_disk_and_neither_is_a_file_to_find() -> None:
    spill = Spill(1)
    for number in range(BLOCK // 4):
        spill.add(b"", ADDRESS + b"%d" % number)
    descriptor = spill._file.fileno()
    spill._file.flush()
    assert os.fstat(descriptor).st_size > 0
    assert os.fstat(descriptor).st_nlink == 0
    assert ADDRESS not in os.pread(descriptor, 1 << 24, 0)
    [pile] = spill.piles()
    assert sum(1 for _ in pile) == BLOCK // 4
    spill.close()
