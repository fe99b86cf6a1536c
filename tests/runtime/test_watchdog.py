"""The watchdog: when it ends a process, and that it does so while the main loop hangs."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from streams.runtime.watchdog import EXIT_CODE, Vitals, Watchdog, diagnose

NOW = 1_000.0
PATIENCE = 60.0


def vitals(**changes: object) -> Vitals:
    healthy = {
        "in_hand": True,
        "lag": 10,
        "lease_left": 4.0,
        "progress_at": NOW - 1,
        "main_beat_at": NOW,
        "consumer_beat_at": NOW,
    }
    return Vitals(**{**healthy, **changes})  # type: ignore[arg-type]  # a table of changes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"lease_left": -9.0}, None),  # it knows, and writes nothing
        ({"lease_left": -9.0, "in_hand": False}, None),
        ({"dead_part": "fetcher"}, "the consumer's fetcher has died"),
        ({"progress_at": NOW - 61}, "nothing was finished for 60 s though 10 records"),
        ({"progress_at": NOW - 61, "in_hand": False}, "nothing was finished"),
        ({"progress_at": NOW - 61, "lag": 0}, "nothing was finished"),
        ({"progress_at": NOW - 59}, None),
        ({"progress_at": NOW - 999, "held": True}, None),  # somebody is to look at it
        ({"held": True, "lease_left": -9.0}, None),
        ({"held": True, "dead_part": "coordinator"}, "the consumer's coordinator has died"),
        ({"held": True, "main_beat_at": NOW - 61}, "main loop stood still"),
        ({"held": True, "consumer_beat_at": NOW - 61}, "consumer's loop stood still"),
        ({"main_beat_at": NOW - 61}, "main loop stood still"),
        ({"consumer_beat_at": NOW - 61}, "consumer's loop stood still"),
        ({"consumer_beat_at": 0.0}, None),  # not started yet
    ],
)
def test_rules(changes: dict[str, object], reason: str | None) -> None:
    verdict = diagnose(vitals(**changes), NOW, ran_since=0.0, work_since=0.0, patience=PATIENCE)
    assert (verdict is None) if reason is None else (verdict is not None and reason in verdict)


def test_silence_is_counted_from_when_there_was_work() -> None:
    quiet = vitals(progress_at=0.0)
    assert diagnose(quiet, NOW, ran_since=0.0, work_since=NOW - 5, patience=PATIENCE) is None
    assert diagnose(quiet, NOW, ran_since=0.0, work_since=NOW - 61, patience=PATIENCE)


def test_a_process_that_was_stopped_is_not_blamed_for_its_silence_but_for_its_lease() -> None:
    awake = vitals(progress_at=NOW - 600, main_beat_at=NOW - 600, consumer_beat_at=NOW - 600)
    assert diagnose(awake, NOW, ran_since=NOW, work_since=0.0, patience=PATIENCE) is None
    lapsed = vitals(lease_left=-595.0)
    assert "lease has lapsed unseen" in str(diagnose(lapsed, NOW, ran_since=NOW, work_since=0.0, patience=PATIENCE))
    held = vitals(lease_left=-595.0, held=True)
    assert diagnose(held, NOW, ran_since=NOW, work_since=0.0, patience=PATIENCE)
    idle = vitals(lease_left=-595.0, in_hand=False)
    assert diagnose(idle, NOW, ran_since=NOW, work_since=0.0, patience=PATIENCE) is None  # it may join again


def test_vitals_that_can_not_be_read_are_no_news_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    looks = 0
    reasons: list[str] = []
    ended = threading.Event()

    def read(main_beat_at: float) -> Vitals:
        nonlocal looks
        looks += 1
        if looks <= 3:
            raise AttributeError("a part is being stopped")
        return vitals(main_beat_at=main_beat_at, dead_part="fetcher")

    def end(reason: str) -> None:
        reasons.append(reason)
        ended.set()

    async def main() -> None:
        watchdog = Watchdog(read, patience=PATIENCE, end=end)
        await watchdog.start()
        assert await asyncio.to_thread(ended.wait, 10)
        await watchdog.stop()

    asyncio.run(main())
    assert reasons == ["the consumer's fetcher has died"]
    assert caplog.text.count("could not read the vitals") == 1


def test_a_blocked_main_loop_is_ended_from_outside_it() -> None:
    program = textwrap.dedent("""
        import asyncio, time
        from streams.runtime.watchdog import Vitals, Watchdog

        def read(main_beat_at):
            now = time.monotonic()
            return Vitals(in_hand=False, lag=0, lease_left=5.0, progress_at=now, main_beat_at=main_beat_at,
                          consumer_beat_at=now)

        async def main():
            watchdog = Watchdog(read, patience=1.0)
            await watchdog.start()
            await asyncio.sleep(2.0)    # healthy for longer than its patience
            print("still here", watchdog.loop_lag < 1.0, flush=True)
            time.sleep(30)

        asyncio.run(main())
    """)
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout == "still here True\n"
    assert ended.returncode == EXIT_CODE
    assert "main loop stood still" in ended.stderr
    assert time.monotonic() - began < 15
