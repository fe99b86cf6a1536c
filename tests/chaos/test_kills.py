"""Workers that die, are stopped and woken, come and go. One broker, two workers, load all the while.

Deaths and stops come at chosen points of a chunk's way (`tests.chaos.doomed`). For each, what the worker may have
answered beyond what the broker holds as committed is noted: an event may be answered again only where one of these
accounts for it.
"""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from streams.adapters import topics
from streams.dev.load import ANSWERS, Client, Ledger
from streams.dev.sandbox import GROUP, Sandbox, SandboxWorker
from tests.chaos.doomed import POINTS, last_words, pronounce
from tests.chaos.table import note
from tests.chaos.trials import LONG, SteadyStorm, Storm, long_form, silence, trial
from tests.integration.backend import Backend

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600)]

RATE = 250
SESSION_SECONDS = 4
KILLS, WORKERS = (100, 2) if LONG else (3, 3)
LIVE = 5_000
LATENESS_SECONDS = 30
"""Until a worker forgets who left; far longer than any gap."""
PATIENCE_SECONDS = 15.0
"""For answers after the load: an event that is answered as an older one is not known to its place (`trials`)."""
MEET_SECONDS = 20.0
"""Within which a worker passes any point: it commits twice a second."""
READY_SECONDS = 40.0
ON_ITS_WAY_SECONDS = 0.3
"""What a worker handed to the kernel before it ended arrives within this."""


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    environment = {
        "DOORWARD_SESSION_TIMEOUT": str(SESSION_SECONDS),
        "DOORWARD_LATENESS": str(LATENESS_SECONDS),
        "DOORWARD_REMIND": "3600",  # a removal said again looks like an answer given again
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return {"workers": WORKERS, "environment": environment, "program": "tests.chaos.doomed"}


@pytest.fixture(scope="module")
def storm() -> Storm:
    return SteadyStorm(LIVE)


@dataclass(frozen=True)
class Exposure:
    """What an end or a stop of a worker may make others answer again.

    Attributes:
        point: where it came.
        spans: by partition, the offsets [committed, end) that it had in hand or had finished.
    """

    point: str
    spans: dict[int, tuple[int, int]]

    def __len__(self) -> int:
        return sum(end - begin for begin, end in self.spans.values())

    def covers(self, place: tuple[int, int]) -> bool:
        partition, offset = place
        begin, end = self.spans.get(partition, (0, 0))
        return begin <= offset < end


async def until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds that may take a while to look at."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def committed_offsets(sandbox: Sandbox) -> dict[int, int]:
    """By partition of joins, what the broker holds."""
    async with topics.connected(sandbox.bootstrap) as admin:
        offsets = await admin.list_consumer_group_offsets(GROUP)
    return {place.partition: found.offset for place, found in offsets.items()}


class Reaper:
    """Ends and stops workers of a sandbox at points of our choice, one or several at a time.

    Nobody else starts them again meanwhile: one that ends by itself is missed.

    Attributes:
        exposures: of each end and stop.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.exposures: list[Exposure] = []

    async def _meets(self, worker: SandboxWorker, point: str, how: signal.Signals) -> dict[int, int]:
        pronounce(worker.folder, point, how)
        await until(lambda: last_words(worker.folder) is not None, MEET_SECONDS, f"{worker.id} never was at {point}")
        words = last_words(worker.folder)
        assert words is not None
        return words

    async def _expose(self, point: str, words: dict[int, int]) -> None:
        """Nobody else commits for its partitions, nor decides their joins, before its session is over."""
        await asyncio.sleep(ON_ITS_WAY_SECONDS)
        committed = await committed_offsets(self._sandbox)
        spans = {partition: (committed.get(partition, 0), end) for partition, end in words.items()}
        self.exposures.append(Exposure(point, spans))

    async def kill(self, worker: SandboxWorker, point: str) -> None:
        """Have it die at a point, and start it again."""
        words = await self._meets(worker, point, signal.SIGKILL)
        code = await asyncio.to_thread(worker.process.wait, 5)
        assert code == 128 + signal.SIGKILL, worker.last_line()
        worker.restart()
        await self._expose(point, words)

    async def stop(self, worker: SandboxWorker, point: str) -> None:
        """Have it stop at a point, and leave it so."""
        await self._expose(point, await self._meets(worker, point, signal.SIGSTOP))

    async def remove(self, worker: SandboxWorker, point: str) -> None:
        """Have it die at a point, for good."""
        words = await self._meets(worker, point, signal.SIGKILL)
        await asyncio.to_thread(self._sandbox.remove_worker, worker, signal.SIGKILL)
        await self._expose(point, words)

    async def all_well(self) -> None:
        """Wait until every worker decides its share."""
        await until(
            self._sandbox.is_ready, READY_SECONDS, str([worker.last_line() for worker in self._sandbox.workers])
        )


def unexplained(sandbox: Sandbox, ledger: Ledger, exposures: list[Exposure]) -> list[str]:
    """Events answered more often than they were sent, and no end or stop accounts for it."""
    places: dict[str, list[tuple[int, int]]] = {}
    for place, (made, _) in ledger.sent.items():
        if made.expect in ("decision", "both"):
            places.setdefault(json.loads(made.value)["id"], []).append(place)
    answers: Counter[str] = Counter()
    for record in Backend(sandbox.bootstrap).read("decisions", seconds=60):
        data = json.loads(record.value)["data"]
        if data["cause"] in ANSWERS:
            answers[data["event"]["id"]] += 1
    found = []
    for event, sent in places.items():
        if answers[event] > len(sent):
            accounted = sum(exposure.covers(place) for exposure in exposures for place in sent)
            if answers[event] > len(sent) + accounted:
                found.append(f"{event} at {sent}: {answers[event]} answers, {accounted} accounted for")
    return found


# -- killed ------------------------------------------------------------------------------------------------------


def deaths() -> Iterator[list[tuple[int, str]]]:
    """Rounds of (worker, point): all at once, then one alone, each in turn; each goes through the points."""
    names = POINTS if LONG else ("handed", "acked", "committed")
    points = [cycle(names[number:] + names[:number]) for number in range(WORKERS)]
    left = KILLS
    for number in cycle(range(WORKERS)):
        for who in (range(WORKERS), [number]):
            together = [(worker, next(points[worker])) for worker in who[:left]]
            yield together
            left -= len(together)
            if left == 0:
                return


def test_workers_killed_between_send_ack_and_commit_lose_nothing(sandbox: Sandbox, storm: Storm) -> None:
    reaper, ledgers, dice = Reaper(sandbox), [], random.Random(6)
    unwell: list[float] = []  # seconds from a round's last death until all is well; the gap counts from its first

    async def die(worker: SandboxWorker, point: str) -> None:
        await asyncio.sleep(dice.uniform(0, 0.5))  # somewhere between two commits
        await reaper.kill(worker, point)

    async def inflict(client: Client) -> int:
        ledgers.append(client.ledger)
        with sandbox.unsupervised():
            for together in deaths():
                await asyncio.gather(*(die(sandbox.workers[number], point) for number, point in together))
                died = time.monotonic()
                await reaper.all_well()
                unwell.append(time.monotonic() - died)
        return KILLS

    outcome = asyncio.run(
        trial(
            sandbox,
            storm,
            "kill -9 of workers between send, ack and commit",
            inflict,
            rate=RATE,
            patience=PATIENCE_SECONDS,
        )
    )
    sizes = {point: [len(each) for each in reaper.exposures if each.point == point] for point in POINTS}
    print(sizes, outcome)
    print(f"all well {max(unwell):.1f} s after the last death of a round, at most")
    outcome.check()
    assert outcome.restarts == KILLS, "nobody ended but those we killed"
    assert unexplained(sandbox, ledgers[0], reaper.exposures) == []
    assert not any(sizes["committed"]), "all that was answered was committed"
    note(outcome)


# -- stopped and woken -------------------------------------------------------------------------------------------


async def commits_that_went_back(sandbox: Sandbox, found: list[str]) -> None:
    """Look at the committed offsets all the while, and note each that is lower than it was."""
    before: dict[int, int] = {}
    while True:
        now = await committed_offsets(sandbox)
        found += [
            f"partition {place}: {before[place]} to {now[place]}" for place in now if now[place] < before.get(place, 0)
        ]
        before = now
        await asyncio.sleep(0.1)


async def stop_and_wake(reaper: Reaper, sandbox: Sandbox, worker: SandboxWorker, point: str) -> int | None:
    """Stop a worker at a point and wake it when its partitions are another's.

    Returns its exit code, or None if it joined again.
    """
    (other,) = [each for each in sandbox.workers if each is not worker]
    await reaper.stop(worker, point)
    await until(lambda: other.owned() == sandbox.partitions, 20, f"{other.id} took nothing over")
    await asyncio.sleep(1)  # in which it decides and commits
    worker.process.signal(signal.SIGCONT)
    await until(
        lambda: worker.process.poll() is not None or (worker.owned() and sandbox.is_ready()),
        READY_SECONDS,
        worker.last_line(),
    )
    code = worker.process.poll()
    if code is not None:
        worker.restart()
    await reaper.all_well()
    return code


@long_form
def test_a_worker_stopped_past_its_session_says_and_commits_nothing_stale(sandbox: Sandbox, storm: Storm) -> None:
    """When it wakes its partitions are another's, which has decided and committed since."""
    reaper, ledgers, went_back = Reaper(sandbox), [], []
    ends: list[tuple[str, int | None]] = []

    async def inflict(client: Client) -> int:
        ledgers.append(client.ledger)
        looking = asyncio.create_task(commits_that_went_back(sandbox, went_back))
        with sandbox.unsupervised():
            ends.extend(
                [
                    (point, await stop_and_wake(reaper, sandbox, worker, point))
                    for worker in sandbox.workers
                    for point in POINTS
                ]
            )
        looking.cancel()
        return len(ends)

    outcome = asyncio.run(
        trial(
            sandbox,
            storm,
            "SIGSTOP of a worker past its session, then CONT",
            inflict,
            rate=RATE,
            patience=PATIENCE_SECONDS,
        )
    )
    print(Counter(ends), outcome)
    outcome.check()
    assert went_back == []
    assert {code for _, code in ends} <= {None, 70}
    assert unexplained(sandbox, ledgers[0], reaper.exposures) == []
    note(outcome)


# -- coming and going --------------------------------------------------------------------------------------------

TURN_SECONDS = 5.0
TURNS = 12
UNNOTICED_SECONDS = SESSION_SECONDS
"""For which the group waits for one that was killed. One that ends in an orderly way says so."""
HEARD_SECONDS = SESSION_SECONDS / 4
"""Until the others hear of a rebalance, with their next heartbeat."""
TAKEN_OVER_SECONDS = 2.0
"""To finish what is in hand, commit, join, and load what was given."""


def longest(ledger: Ledger, sandbox: Sandbox, began: float, ended: float) -> float:
    """The longest time without an answer on any partition that began in a span of time."""
    return max(silence(ledger, partition, began, ended) for partition in range(sandbox.partitions))


@long_form
def test_workers_that_come_and_go_every_five_seconds_lose_nothing(sandbox: Sandbox, storm: Storm) -> None:
    """One comes; the one that has been there longest goes, by SIGTERM and by SIGKILL in turn."""
    reaper, ledgers, dice = Reaper(sandbox), [], random.Random(6)
    turns: list[tuple[float, str]] = []

    async def change(turn: int) -> str:
        oldest = sandbox.workers[0]
        if turn % 2 == 0:
            return sandbox.add_worker().id
        if turn % 4 == 1:
            assert await asyncio.to_thread(sandbox.remove_worker, oldest) == 0
            return "SIGTERM"
        await reaper.remove(oldest, dice.choice(POINTS))
        return "SIGKILL"

    async def inflict(client: Client) -> int:
        ledgers.append(client.ledger)
        with sandbox.unsupervised():
            for turn in range(TURNS):
                began = time.monotonic()
                turns.append((began, await change(turn)))
                await asyncio.sleep(began + TURN_SECONDS - time.monotonic())
            await reaper.all_well()
        return TURNS

    outcome = asyncio.run(
        trial(
            sandbox,
            storm,
            "workers added and removed every 5 s, by SIGTERM and by kill -9",
            inflict,
            rate=RATE,
            patience=PATIENCE_SECONDS,
        )
    )
    gaps = [(kind, longest(ledgers[0], sandbox, at - 0.5, at + TURN_SECONDS - 0.5)) for at, kind in turns]
    print(gaps, outcome)
    outcome.check()
    assert unexplained(sandbox, ledgers[0], reaper.exposures) == []
    for kind, gap in gaps:
        assert gap < (UNNOTICED_SECONDS if kind == "SIGKILL" else 0) + HEARD_SECONDS + TAKEN_OVER_SECONDS, gaps
    assert outcome.p99 < UNNOTICED_SECONDS + HEARD_SECONDS + TAKEN_OVER_SECONDS
    note(outcome)
