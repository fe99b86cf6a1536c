"""What is done to the brokers and to the network before them: three brokers, two workers, a proxy on the way to each.

The client and the oracle go around the proxies: the network fails the workers only, so the load comes on regardless.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from streams.dev.load import Client
from streams.dev.proxy import ProxiedKafka
from streams.dev.sandbox import Sandbox
from tests.chaos.cluster import BROKERS, busiest, coordinator, demand, neither
from tests.chaos.table import note
from tests.chaos.trials import ACCOUNTS, Storm, deployed, long_form, trial

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600), long_form]

RATE = 600
OUTAGE_SECONDS = 60.0
DELAY_SECONDS = 0.2
MEMORY_MIB = 256.0
"""By which a worker may grow: its buffers are bounded by settings, whatever waits in the topic."""


class Deployment(Sandbox):
    """A sandbox whose brokers stand behind proxies; its workers have the settings users have."""

    def __init__(self) -> None:
        super().__init__(workers=2, accounts=ACCOUNTS, brokers=BROKERS, say=print)
        self.kafka: ProxiedKafka = ProxiedKafka(BROKERS, self.data / "kafka", remove=self._remove)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Deployment]:
    with deployed(Deployment()) as started:
        yield started


def test_decisions_unavailable_for_a_minute_stops_answers_and_loses_none(sandbox: Deployment, storm: Storm) -> None:
    """A broker is down, and of `decisions` alone all three replicas are wanted: joins come in, no answer can go out.

    That is twice what the watchdog allows a worker that hangs; one that waits for room is none.
    """

    async def inflict(client: Client) -> int:
        # Not the group's coordinator, whose fail-over is another fault.
        node = await neither(sandbox.kafka.direct)
        await demand(sandbox.kafka.direct, "decisions", BROKERS)
        await asyncio.to_thread(sandbox.kafka.kill, node)
        await asyncio.sleep(10)
        stopped = len(client.ledger.decisions)
        await asyncio.sleep(OUTAGE_SECONDS - 10)
        assert len(client.ledger.decisions) == stopped, "no decision could be acknowledged"
        assert client.ledger.kinds["join"] > RATE * (OUTAGE_SECONDS - 30), "joins went on"
        await asyncio.to_thread(sandbox.kafka.restart, node)
        await demand(sandbox.kafka.direct, "decisions", None)
        return 1

    fault = f"decisions unavailable for {OUTAGE_SECONDS:.0f} s"
    outcome = asyncio.run(trial(sandbox, storm, fault, inflict, rate=RATE, around=sandbox.kafka.direct))
    outcome.check()
    assert outcome.restarts == 0
    assert outcome.memory < MEMORY_MIB
    assert outcome.gap < OUTAGE_SECONDS + 30
    note(outcome)


@pytest.mark.parametrize(
    ("fault", "seconds", "whose", "bound"),
    [
        ("delay", 15, busiest, 5.0),
        ("drop", 15, busiest, 60.0),
        ("half-open", 30, busiest, 90.0),
        ("half-open", 30, coordinator, 90.0),
    ],
)
def test_a_bad_network_to_one_broker_is_got_over(
    sandbox: Deployment,
    storm: Storm,
    fault: str,
    seconds: float,
    whose: Callable[[str], Awaitable[int]],
    bound: float,
) -> None:
    async def inflict(client: Client) -> int:
        way = sandbox.kafka.network(await whose(sandbox.kafka.direct))
        if fault == "delay":
            way.delay = DELAY_SECONDS
        elif fault == "drop":
            await asyncio.to_thread(way.drop)
        else:
            await asyncio.to_thread(way.half_open)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(way.heal)
        return 1

    outcome = asyncio.run(
        trial(
            sandbox,
            storm,
            f"network to the {whose.__name__} broker: {fault} for {seconds} s",
            inflict,
            rate=RATE,
            after=10,
            patience=90,
            around=sandbox.kafka.direct,
        )
    )
    outcome.check()
    assert outcome.restarts == 0
    assert outcome.memory < MEMORY_MIB
    assert outcome.gap < bound
    if fault == "delay":
        assert outcome.p99 > 2 * DELAY_SECONDS, "the way to and fro went through the proxy"
    elif whose is busiest:
        assert outcome.gap > 5.0, "a partition had no answers: the fault was felt"
    note(outcome)
