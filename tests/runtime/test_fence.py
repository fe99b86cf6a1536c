"""The fence: what was handed over while the lease held does not leave once it is out, however long brokers are away."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from streams.dev.kafka import EmbeddedKafka
from streams.runtime import fence
from streams.runtime.produce import Outbox
from streams.runtime.source import Chunk, LapsedError, Lease, Source
from streams.runtime.watchdog import Vitals, diagnose
from tests.runtime.test_produce import everything
from tests.runtime.test_reader import create

PATIENCE = 1.0
AWAY_SECONDS = 1.8


def test_once_refused_all_that_follow_are() -> None:
    answers = iter([None, LapsedError(), None])

    def check() -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    guard = fence.Guard(check)
    guard()
    for _ in range(2):
        with pytest.raises(LapsedError):
            guard()
    assert next(answers) is None, "it did not ask again"


class Desk:
    """A source with a chunk of one record in hand."""

    def __init__(self) -> None:
        self.lease = Lease(6.0)
        self.lease.renew(monotonic())
        self.source = Source({"joins"}, self.lease, lapsed=lambda: None)
        self.source.open()

    async def take(self) -> Chunk:
        async def stay() -> None: ...

        joins = TopicPartition("joins", 0)
        await self.source.begin({joins: (0, True)}, stay)
        self.source.offer({joins: [SimpleNamespace(offset=0)]}, {joins: 1})
        chunk = await self.source.take()
        assert chunk is not None
        return chunk

    def diagnosis(self) -> str | None:
        """What a watchdog would say now, of a worker whose loops turn."""
        now, source = monotonic(), self.source
        vitals = Vitals(source.hand is not None, 1, self.lease.left(), source.progress_at, now, now)
        return diagnose(vitals, now, ran_since=0.0, work_since=0.0, patience=PATIENCE)


async def watched(desk: Desk, seconds: float) -> list[str]:
    """What a watchdog says meanwhile."""
    found, until = [], monotonic() + seconds
    while monotonic() < until:
        found += filter(None, [desk.diagnosis()])
        await asyncio.sleep(0.05)
    return found


@pytest.mark.broker
def test_while_a_broker_is_away_the_lease_decides_what_may_still_leave(caplog: pytest.LogCaptureFixture) -> None:
    async def main(broker: EmbeddedKafka) -> None:
        for topic in ("fence-waits", "fence-goes"):
            await create(broker.bootstrap, topic)
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", request_timeout_ms=15_000)
        await producer.start()
        fence.install(producer)
        waiting, going = Desk(), Desk()

        async def send(desk: Desk, topic: str) -> None:
            outbox = Outbox(producer)
            with await desk.take() as chunk:
                outbox.add(topic, 0, None, b"said")
                await outbox.send(chunk.check)

        for topic in ("fence-waits", "fence-goes"):
            await producer.send_and_wait(topic, b"before", partition=0)  # so that the producer knows them
        await asyncio.to_thread(broker.kill, 1)
        tasks = [asyncio.create_task(send(waiting, "fence-waits")), asyncio.create_task(send(going, "fence-goes"))]
        assert await watched(waiting, AWAY_SECONDS) == [], "it tries: it is not hung"
        waiting.lease.renew(monotonic() - 60)
        going.source.forget()  # another owns its partition now
        await asyncio.to_thread(broker.restart, 1)
        await asyncio.wait_for(tasks[1], 10)
        assert going.source.counts.fenced == 1
        assert await watched(waiting, AWAY_SECONDS) == [], "it waits for the lease, and knows that it does"
        assert [record.value for record in await everything(broker.bootstrap, "fence-waits", 0)] == [b"before"]
        assert waiting.source.hand is not None
        waiting.lease.renew(monotonic())
        await asyncio.wait_for(tasks[0], 10)
        assert [record.value for record in await everything(broker.bootstrap, "fence-waits", 0)] == [b"before", b"said"]
        assert [record.value for record in await everything(broker.bootstrap, "fence-goes", 0)] == [b"before"]
        await producer.stop()

    with EmbeddedKafka() as broker:
        asyncio.run(main(broker))
    assert caplog.text.count("the group lease is out") == 1


async def never(chunk: Chunk) -> None:
    await asyncio.Event().wait()


async def unanswered(chunk: Chunk) -> None:
    """In the outbox, but its producer has lost the batch."""

    async def lose(*args: object, **more: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    builder = SimpleNamespace(append=lambda **row: row, size=lambda: 1, close=lambda: None)
    producer = SimpleNamespace(create_batch=lambda: builder, send_batch=lose)
    outbox = Outbox(producer)  # type: ignore[arg-type]  # one that real brokers can't be made to be
    outbox.add("decisions", 0, None, b"said")
    await outbox.send(chunk.check)


def test_an_agent_that_only_waits_is_hung_in_the_outbox_or_outside() -> None:
    async def said_of(work: Callable[[Chunk], Awaitable[None]]) -> list[str]:
        desk = Desk()

        async def agent() -> None:
            with await desk.take() as chunk:
                await work(chunk)

        task = asyncio.create_task(agent())
        said = await watched(desk, PATIENCE + 0.5)
        task.cancel()
        return said

    async def main() -> None:
        for said in await asyncio.gather(said_of(never), said_of(unanswered)):
            assert said
            assert "nothing was finished" in said[0]

    asyncio.run(main())
