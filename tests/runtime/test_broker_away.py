"""What the runtime's parts do while their broker is away: wait, and go on where they were."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer

from streams.dev.kafka import EmbeddedKafka
from streams.runtime.produce import Outbox
from streams.runtime.source import Counts
from tests.runtime.test_produce import everything
from tests.runtime.test_reader import append, create, reading


@pytest.fixture
def own_broker() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka() as broker:
        yield broker


class StaleError(Exception):
    pass


def test_the_outbox_tries_again_until_there_is_room(own_broker: EmbeddedKafka) -> None:
    counts = Counts()

    def check() -> None:
        if counts.resent:
            own_broker.resume(1)

    async def main() -> None:
        await create(own_broker.bootstrap, "away-room")
        producer = AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap, acks="all", request_timeout_ms=1_000)
        await producer.start()
        outbox = Outbox(producer, counts=counts)
        outbox.add("away-room", 0, None, b"before")
        await outbox.send(check)
        own_broker.pause(1)
        outbox.add("away-room", 0, None, b"0")
        assert (await asyncio.wait_for(outbox.send(check), 30)).records == {"away-room": 1}
        await producer.stop()

    asyncio.run(main())
    assert counts.resent >= 1


def test_a_partition_that_takes_no_second_batch_is_waited_for_and_keeps_its_order(own_broker: EmbeddedKafka) -> None:
    """aiokafka refuses a second batch while the first is still unsent: it raises where it should have said wait."""
    tries = 0

    def check() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            own_broker.resume(1)

    async def main() -> list[int]:
        await create(own_broker.bootstrap, "away-many")
        producer = AIOKafkaProducer(
            bootstrap_servers=own_broker.bootstrap, acks="all", request_timeout_ms=1_000, max_batch_size=512
        )
        await producer.start()
        outbox = Outbox(producer, {"away-many": 512})
        await producer.send_and_wait("away-many", b"before", partition=0)
        own_broker.pause(1)
        for number in range(20):
            outbox.add("away-many", 0, None, b"%d " % number + b"." * 100)
        assert (await asyncio.wait_for(outbox.send(check), 40)).records == {"away-many": 20}
        await producer.stop()
        records = await everything(own_broker.bootstrap, "away-many", 0)
        return [int(record.value.split()[0]) for record in records[1:]]

    numbers = asyncio.run(main())
    assert tries >= 2
    assert list(dict.fromkeys(numbers)) == list(range(20))  # a batch that timed out may have been written all the same


def test_a_topic_nobody_has_made_yet_is_waited_for(own_broker: EmbeddedKafka, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap, acks="all", request_timeout_ms=1_000)
        await producer.start()
        await create(own_broker.bootstrap, "away-made")
        outbox = Outbox(producer)
        outbox.add("away-made", 0, None, b"0")
        outbox.add("away-late", 0, None, b"1")
        sending = asyncio.create_task(outbox.send(lambda: None))
        async with asyncio.timeout(30):
            while "sending them again" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.05)
        await create(own_broker.bootstrap, "away-late")
        assert (await asyncio.wait_for(sending, 30)).records == {"away-made": 1, "away-late": 1}
        await producer.stop()
        assert len(await everything(own_broker.bootstrap, "away-made", 0)) == 1  # acknowledged, so not sent again

    asyncio.run(main())


def test_the_outbox_stops_trying_when_the_check_fails(own_broker: EmbeddedKafka) -> None:
    tries = 0

    def check() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            own_broker.resume(1)
            raise StaleError

    async def main() -> None:
        await create(own_broker.bootstrap, "away-stale")
        producer = AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap, acks="all", request_timeout_ms=1_000)
        await producer.start()
        outbox = Outbox(producer)
        outbox.add("away-stale", 0, None, b"before")
        await outbox.send(check)
        own_broker.pause(1)
        outbox.add("away-stale", 0, None, b"late")
        with pytest.raises(StaleError):
            await asyncio.wait_for(outbox.send(check), 30)
        await producer.stop()

    asyncio.run(main())


def test_a_reader_survives_a_broker_that_restarts(own_broker: EmbeddedKafka) -> None:
    async def main() -> None:
        await create(own_broker.bootstrap, "away-log")
        await append(own_broker.bootstrap, "away-log", range(20))
        async with reading(own_broker.bootstrap, "away-log", 0) as work:
            await work.until(20)
            await asyncio.to_thread(own_broker.kill, 1)
            await asyncio.sleep(1)
            await asyncio.to_thread(own_broker.restart, 1)
            await append(own_broker.bootstrap, "away-log", range(20, 25))
            await work.until(25, timeout=30)
            assert work.values == work.offsets == list(range(25))

    asyncio.run(main())
