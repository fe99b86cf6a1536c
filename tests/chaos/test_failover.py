"""Brokers that die and come back: three of them, two workers, and all of them with the settings users have.

Kafka's group coordinator answers no heartbeat while anything written to its partition of `__consumer_offsets` lacks a
replica: so from a broker's death until the cluster does without it no worker knows whether it still belongs to its
group. None may end for that, whichever broker it was; and nobody waits much longer for an answer than a plain client.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from streams.app import SESSIONS
from streams.dev.kafka import EmbeddedKafka, Node
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox
from tests.chaos.cluster import BROKERS, busiest, coordinator, neither, whole
from tests.chaos.control import controlled
from tests.chaos.table import note
from tests.chaos.trials import ACCOUNTS, Outcome, Storm, deployed, long_form, trial

pytestmark = [pytest.mark.broker, pytest.mark.timeout(400), long_form]

RATE = 600
DOWN_SECONDS = 20.0
ALLOWED_SECONDS = 2.0
"""What Doorward may add to the brokers' own fail-over (the fault matrix)."""


class Patient(EmbeddedKafka):
    """Brokers that believe in a silent one for as long as Kafka's defaults have it, 9 s; the sandbox's are quicker."""

    def _settings(self, node: Node) -> dict[str, str | int]:
        quicker = ("broker.session.timeout.ms", "broker.heartbeat.interval.ms")
        return {name: value for name, value in super()._settings(node).items() if name not in quicker}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(workers=2, accounts=ACCOUNTS, brokers=BROKERS, say=print)
    made.kafka = Patient(BROKERS, made.data / "kafka", remove=made._remove)
    with deployed(made) as started:
        yield started


def killed(whose: Callable[[str], Awaitable[int]], sandbox: Sandbox) -> Callable[[Client], Awaitable[int]]:
    async def inflict(client: Client) -> int:
        node = await whose(sandbox.bootstrap)
        await asyncio.to_thread(sandbox.kafka.kill, node)
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(sandbox.kafka.restart, node)
        await whole(sandbox.bootstrap)
        return 1

    return inflict


def restarted_in_turn(sandbox: Sandbox) -> Callable[[Client], Awaitable[int]]:
    async def inflict(client: Client) -> int:
        for node in range(1, BROKERS + 1):
            await asyncio.to_thread(sandbox.kafka.stop_node, node)
            await asyncio.to_thread(sandbox.kafka.restart, node)
            await whole(sandbox.bootstrap)
        return BROKERS

    return inflict


FAULTS: dict[str, Callable[[Sandbox], Callable[[Client], Awaitable[int]]]] = {
    "broker killed: leader of most partitions": lambda sandbox: killed(busiest, sandbox),
    "broker killed: the group's coordinator": lambda sandbox: killed(coordinator, sandbox),
    "broker killed: not the coordinator": lambda sandbox: killed(neither, sandbox),
    "brokers restarted one after the other": restarted_in_turn,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_brokers_failover_is_ours_and_ends_no_worker(sandbox: Sandbox, storm: Storm, fault: str) -> None:
    async def run() -> tuple[float, Outcome]:
        async with controlled(sandbox.bootstrap, ["joins", "decisions", SESSIONS]) as control:
            outcome = await trial(sandbox, storm, fault, FAULTS[fault](sandbox), rate=RATE, after=5, patience=60)
        return control.gap, outcome

    control, outcome = asyncio.run(run())
    print(f"{fault}: a plain client waited for {control:.1f} s")
    outcome.check()
    assert outcome.restarts == 0
    assert outcome.gap <= control + ALLOWED_SECONDS
    note(outcome)
