"""Nothing is lost, whatever dies: the ledger under kill -9, rebalances, a freeze, a failing agent, a dead broker.

The real worker goes through all that can be done to it from outside. What needs a program that misbehaves on request
(slow, poisoned) is done to an echo on the same runtime. The faults run side by side, each real one on a broker of its
own, because most of their time is spent waiting for the session time-out (6 s, the least a broker allows).
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streams.adapters import topics
from streams.dev.authority import establish
from streams.dev.kafka import EmbeddedKafka
from tests.integration.backend import join
from tests.integration.ledger import Ledger, Program, Report

PADDING = b"." * 200
RATE = 1_000
"""Events a second of each fault; six run at once on two cores."""

pytestmark = pytest.mark.broker


def _command(ledger: Ledger, number: int) -> list[str]:
    return [
        sys.executable,
        str(Path(__file__).with_name("echo_worker.py")),
        *("--bootstrap", ledger.bootstrap, "--group", ledger.group, "--client-id", f"worker-{number}"),
        *(
            "--input",
            ledger.input,
            "--output",
            ledger.output,
            "--data",
            str(ledger.folder / f"{ledger.group}-{number}"),
        ),
    ]


ECHO = Program(
    command=_command,
    encode=lambda number: (b"m-%d" % (number % 997), b"%d %s" % (number, PADDING)),
    decode=lambda record: int(record.value.split(b" ", 1)[0]),
)


def real(trust: Path) -> Program:
    """The worker itself, on its own topics; a decision names the event it answers."""

    def command(ledger: Ledger, number: int) -> list[str]:
        settings = {
            "KAFKA_BOOTSTRAP": ledger.bootstrap,
            "GROUP": ledger.group,
            "WORKER": f"worker-{number}",
            "DATA": ledger.folder / f"{ledger.group}-{number}",
            "TRUST": trust,
            "SESSION_TIMEOUT": 6,
        }
        named = [f"DOORWARD_{name}={value}" for name, value in settings.items()]
        return ["env", *named, sys.executable, "-m", "streams.dev.worker"]

    def encode(number: int) -> tuple[bytes, bytes]:
        event = join(f"m-{number % 997}", f"5.39.{number % 256}.{number // 256 % 256}", id=str(number))
        return event["data"]["meeting"].encode(), json.dumps(event).encode()

    return Program(command, encode, lambda record: int(json.loads(record.value)["data"]["event"]["id"]))


class Rig(NamedTuple):
    """A broker and a program with its topics."""

    broker: EmbeddedKafka
    program: Program
    folder: Path
    topics: tuple[str, str] | None = None

    def ledger(self, name: str) -> Ledger:
        return Ledger(self.broker.bootstrap, name, self.program, self.folder, topics=self.topics, rate=RATE)


async def killed(rig: Rig) -> Report:
    """kill -9, again and again, mostly while catching up on what waited for the session time-out."""
    dice = random.Random(7)
    async with rig.ledger("killed") as ledger:
        worker = ledger.start()
        load = ledger.offer(40)
        for _ in range(4):
            await ledger.answers(1_000)
            await asyncio.sleep(dice.uniform(0.05, 1.0))
            await ledger.kill(worker)
            worker = ledger.start()
        await load
        return await ledger.finish()


async def rebalanced(rig: Rig) -> tuple[int, Report]:
    """Workers come, go by SIGTERM (no repeats at all), and go by kill -9."""
    async with rig.ledger("rebalanced") as ledger:
        ledger.start()
        load = ledger.offer(40)
        await ledger.answers(2_000)
        for _ in range(2):
            second = ledger.start()
            await ledger.joined(second)
            await asyncio.sleep(1)
            code, took = await ledger.end(second)
            assert code == 0
            assert took < 5
            await asyncio.sleep(1)
        gentle_repeats = ledger.repeats()
        second = ledger.start()
        await ledger.joined(second)
        await asyncio.sleep(1)
        await ledger.kill(second)
        await load
        return gentle_repeats, await ledger.finish()


async def frozen(rig: Rig, *extra: str) -> tuple[Report, int | None, str]:
    """A worker is stopped past its session and wakes up when its partitions have gone to another."""
    async with rig.ledger("frozen") as ledger:
        stopped = ledger.start(*extra)
        load = ledger.offer(35)
        await ledger.answers(1_000)
        ledger.start()
        await asyncio.sleep(6)
        if extra:
            await ledger.says(stopped, "slow\n")  # it has a chunk in hand for a second from now
        ledger.workers[stopped].send_signal(signal.SIGSTOP)
        ledger.report.allowed_repeats += await ledger.exposed()
        await asyncio.sleep(9)
        ledger.workers[stopped].send_signal(signal.SIGCONT)
        # With a chunk in hand it must end; without, it may join again.
        code = await ledger.ended(stopped) if extra else None
        words = ledger.log(stopped)
        await load
        return await ledger.finish(), code, words


async def poisoned(rig: Rig) -> tuple[Report, int, int, int]:
    """The agent raises: the process ends by 1, and neither the record nor what follows it is committed."""
    async with rig.ledger("poisoned") as ledger:
        worker = ledger.start("--poison")
        load = ledger.offer(12)
        await ledger.answers(2_000)
        partition, offset = await ledger.offer_one(b" poison")
        code = await ledger.ended(worker)
        ledger.report.allowed_repeats += await ledger.exposed()
        committed = (await ledger.commits())[partition]
        ledger.start("--most", "50")  # this one doesn't mind, and takes what waited in small pieces
        await load
        return await ledger.finish(), code, committed, offset


async def stranded(rig: Rig) -> tuple[Report, tuple[int, float]]:
    """The only broker dies for longer than a session and than a stop may take, and comes back."""
    async with rig.ledger("stranded") as ledger:
        left_alone, stopped = ledger.start(), ledger.start()
        load = ledger.offer(45)
        await ledger.answers(2_000)
        await ledger.joined(left_alone)
        await ledger.joined(stopped)
        await asyncio.sleep(3)  # both have answered since
        await asyncio.to_thread(rig.broker.kill, 1)
        end = await ledger.end(stopped)
        await asyncio.to_thread(rig.broker.restart, 1)
        ledger.report.allowed_repeats += await ledger.exposed()
        if ledger.workers[left_alone].poll() is not None:  # a chunk was in hand when its lease lapsed
            assert await ledger.ended(left_alone) == 70
            ledger.start()
        await load
        return await ledger.finish(), end


Outcomes = dict[str, Any]


@pytest.fixture(scope="module")
def brokers() -> Iterator[dict[str, EmbeddedKafka]]:
    """A broker for each fault that the real worker goes through: its topics have one name everywhere."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(EmbeddedKafka()) for name in ("killed", "rebalanced", "frozen", "stranded")}


async def make_topics(broker: EmbeddedKafka) -> None:
    async with topics.connected(broker.bootstrap) as admin:
        await topics.apply(admin, topics.load_manifest(), replication=1, partitions=4)


@pytest.fixture(scope="module")
def outcomes(
    kafka: EmbeddedKafka, brokers: dict[str, EmbeddedKafka], tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    """Every fault's outcome; a fault whose course itself failed is reported by its own test."""
    folder = tmp_path_factory.mktemp("ledger")
    worker = real(establish(folder / "keys", ["acme"]).trust)
    rigs = {name: Rig(broker, worker, folder, ("joins", "decisions")) for name, broker in brokers.items()}
    echo_folder = folder / "echo"
    echo_folder.mkdir()
    echo = Rig(kafka, ECHO, echo_folder)

    async def run() -> Outcomes:
        await asyncio.gather(*map(make_topics, brokers.values()))
        runs = {
            "killed": killed(rigs["killed"]),
            "rebalanced": rebalanced(rigs["rebalanced"]),
            "frozen": frozen(rigs["frozen"]),
            "stranded": stranded(rigs["stranded"]),
            "frozen in hand": frozen(echo, "--slow", "1.0"),
            "poisoned": poisoned(echo),
        }
        done = await asyncio.gather(*runs.values(), return_exceptions=True)
        return dict(zip(runs, done, strict=True))

    return asyncio.run(run())


def outcome(outcomes: Outcomes, fault: str) -> Any:
    if isinstance(outcomes[fault], BaseException):
        raise outcomes[fault]
    return outcomes[fault]


def test_kill_9_loses_nothing_and_repeats_only_what_was_not_committed(outcomes: Outcomes) -> None:
    report = outcome(outcomes, "killed")
    report.check()
    assert report.exits.count(-signal.SIGKILL) == 4
    assert report.exits[-1] == 0


def test_a_rebalance_by_sigterm_repeats_nothing(outcomes: Outcomes) -> None:
    gentle_repeats, report = outcome(outcomes, "rebalanced")
    assert gentle_repeats == 0
    report.check()
    assert report.exits == [0, 0, -signal.SIGKILL, 0]


def test_a_frozen_worker_ends_on_waking_and_says_nothing_stale(outcomes: Outcomes) -> None:
    report, code, words = outcome(outcomes, "frozen in hand")
    report.check()
    assert code == 70
    assert "the group lease has lapsed" in words


def test_a_frozen_worker_with_nothing_in_hand_repeats_nothing_beyond_its_last_commit(outcomes: Outcomes) -> None:
    report, _, _ = outcome(outcomes, "frozen")
    report.check()


def test_a_failed_agent_ends_the_process_and_its_chunk_is_not_committed(outcomes: Outcomes) -> None:
    report, code, committed, poison = outcome(outcomes, "poisoned")
    report.check()
    assert code == 1
    assert committed <= poison


def test_a_broker_gone_for_long_loses_nothing_and_a_stop_does_not_wait_for_it(outcomes: Outcomes) -> None:
    report, (code, took) = outcome(outcomes, "stranded")
    report.check()
    assert code in (0, 70), "in order where nothing was in hand any more, else by the stop's limit"
    assert took < 22
