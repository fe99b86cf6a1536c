"""The load generator's account of what was sent: what was not sent, or not fast enough, is a finding."""

import asyncio

import pytest

from streams.adapters import topics
from streams.dev.kafka import EmbeddedKafka
from streams.dev.load import Client, Ledger
from streams.dev.traffic import Made, Traffic


def test_sending_as_asked_has_no_shortcoming() -> None:
    assert Ledger(offered=920, seconds=2.0).shortcomings(500) == []


def test_a_rate_below_nine_tenths_is_one() -> None:
    assert Ledger(offered=880, seconds=2.0).shortcomings(500) == ["only 440 joins/s were offered, 500 were asked for"]


def test_records_that_were_not_sent_are_counted_by_reason() -> None:
    ledger = Ledger(offered=1000, seconds=2.0)
    ledger.failed.update(["NotLeader", "NotLeader", "Timeout"])
    assert ledger.shortcomings(500) == [
        "2 records were not sent: NotLeader",
        "1 records were not sent: Timeout",
    ]


class Oversized(Traffic):
    """Joins that no broker takes: each is twice the size a request may have."""

    def __init__(self) -> None:
        pass

    def batch(self, joins: int, now: str) -> list[Made]:
        return [Made(b"m-1", bytes(2 * 2**20), "join", "decision")] * joins


@pytest.mark.broker
def test_a_record_the_brokers_do_not_take_is_a_shortcoming(kafka: EmbeddedKafka) -> None:
    async def offer() -> Ledger:
        async with topics.connected(kafka.bootstrap) as admin:
            await topics.apply(admin, topics.load_manifest(), replication=1, partitions=4)
        async with Client(kafka.bootstrap, Oversized(), 4) as client:
            await client.send(10, 0.5)
            assert await client.settle(10)
            return client.ledger

    ledger = asyncio.run(offer())
    assert ledger.sent == {}
    (line,) = ledger.shortcomings(5)
    assert "records were not sent: MessageSizeTooLargeError" in line
