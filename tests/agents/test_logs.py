"""Logs: one line a happening, never one an event, whatever the events are; and no address in any (charter C7)."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from tests.agents.test_joins import Rig, joined, record

CANARY = "5.39.77.201"


def chunk(count: int) -> list[Any]:
    """As many events again of each kind: fine, failing within, with a bad address, not JSON, under another key."""
    made: list[Any] = []
    for number in range(count):
        wrong_key = joined(5 * number + 4, CANARY)
        wrong_key.key = CANARY.encode()
        made += [
            joined(5 * number, CANARY),
            joined(5 * number + 1, "127.0.0.1"),
            joined(5 * number + 2, f"{CANARY}.1"),
            record(5 * number + 3, f'{{"address": "{CANARY}", '.encode()),
            wrong_key,
        ]
    return made


def test_a_chunks_events_make_as_few_lines_however_many_they_are() -> None:
    lines: dict[int, list[Any]] = {}
    for count in (1, 200):
        with capture_logs() as lines[count]:
            Rig(share=1.0, sample=10_000).answer(*chunk(count))
    assert [line["event"] for line in lines[1]] == ["events failed"], "only what is a fault of our own is said"
    assert [line["event"] for line in lines[200]] == ["events failed"]
    assert (lines[200][0]["failed"], len(lines[200][0]["first"])) == (200, 3)
    assert "5.39" not in repr(lines)
