"""The latency benchmark: a schedule that answers can't move, joins told apart, and rows that leave bad runs out."""

import asyncio
import random
from itertools import pairwise

import msgspec
import pytest
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks import latency, openloop, schedule
from streams.adapters.geo import shipped
from streams.core.events import LeaveEvent
from streams.dev.demo import ACCOUNTS
from streams.dev.traffic import Addresses, Traffic
from streams.wire import cloudevents

PARTITIONS = 4


def test_joins_come_due_at_the_rate_asked_for_with_gaps_of_a_poisson_process():
    due = schedule.arrivals(1_000, 50, random.Random(1))
    gaps = [after - before for before, after in pairwise(due)]
    assert due == sorted(due)
    assert due[-1] < 50
    assert len(due) == pytest.approx(50_000, rel=0.02)
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.05)  # exponential


def test_each_join_is_looked_at_once_it_is_due_and_no_more_than_a_grain_later():
    due = schedule.arrivals(5_000, 2, random.Random(2))
    plan = schedule.looks(due, 0.001)
    assert plan[-1][1] == len(due)
    assert all(after[0] - before[0] >= 0.001 - 1e-12 for before, after in pairwise(plan))
    sent = 0
    for at, upto in plan:
        assert upto > sent
        assert all(0 <= at - each <= 0.001 for each in due[sent:upto])
        assert upto == len(due) or due[upto] > at
        sent = upto


def test_a_lone_join_is_looked_at_the_moment_it_is_due():
    assert schedule.looks([0.5, 2.0], 0.001) == [(0.5, 1), (2.0, 2)]


@pytest.fixture(scope="module")
def templates() -> schedule.Templates:
    rng = random.Random(3)
    made = Traffic(Addresses(shipped(), rng, networks=20), rng, ACCOUNTS).batch(20, "2026-11-21T09:30:00Z")
    return schedule.Templates([(each.key, each.value) for each in made if each.kind == "join"], PARTITIONS)


def test_a_template_gives_a_join_of_its_own_for_each_number(templates):
    joins = [cloudevents.decode(templates.join(number)[2]) for number in range(1_000, 1_100)]
    assert len({event.id for event in joins}) == len({event.data.participation for event in joins}) == 100


def test_the_leave_of_a_number_is_of_whoever_joined_with_it(templates):
    partition, key, value = templates.join(123_456)
    leaving = templates.leave(123_456)
    join, leave = cloudevents.decode(value), cloudevents.decode(leaving[2])
    assert isinstance(leave, LeaveEvent)
    assert (leave.data.account, leave.data.meeting) == (join.data.account, join.data.meeting)
    assert leave.data.participation == join.data.participation
    assert leaving[:2] == (partition, key)
    assert key == join.data.meeting.encode()


def test_an_answer_is_found_by_the_number_of_its_join(templates):
    event = cloudevents.decode(templates.join(987_654_321)[2])
    decision = {
        "id": "0" * 32,
        "data": {"participation": event.data.participation, "event": {"source": event.source, "id": event.id}},
    }
    assert schedule.number_in(msgspec.json.encode(decision)) == 987_654_321
    assert schedule.number_in(templates.join(7)[2]) == 7
    assert schedule.number_in(templates.leave(7)[2]) == -1


class OneAtATime:
    """A producer that acknowledges when told to, and takes one batch at a time, as aiokafka does for a partition."""

    def __init__(self) -> None:
        self.sent: list[asyncio.Future[None]] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1 << 20, 0, is_transactional=False, key_serializer=None, value_serializer=None)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> "asyncio.Future[None]":
        assert not self.sent or self.sent[-1].done()
        assert batch.closed()
        self.sent.append(asyncio.get_running_loop().create_future())
        return self.sent[-1]


def test_what_comes_due_while_a_batch_is_in_flight_goes_with_the_next_one():
    async def scene() -> None:
        producer, had = OneAtATime(), []
        lane = openloop.Lane(producer, 0)
        for place in range(3):  # in one turn of the loop: nothing has been sent yet
            lane.add(place, b"m", b"{}")
            lane.flush(had.extend)
        await asyncio.sleep(0)
        lane.add(3, b"m", b"{}")
        lane.add(-1, b"m", b"{}")
        lane.flush(had.extend)
        await asyncio.sleep(0)
        assert (len(producer.sent), had) == (1, [])
        producer.sent[0].set_result(None)
        await asyncio.sleep(0.01)
        assert (len(producer.sent), had) == (2, [0, 1, 2])
        producer.sent[1].set_result(None)
        await lane.empty()
        assert had == [0, 1, 2, 3]

    asyncio.run(scene())


def test_a_batch_that_brokers_did_not_take_is_not_passed_over():
    async def scene() -> None:
        producer = OneAtATime()
        lane = openloop.Lane(producer, 0)
        lane.add(0, b"m", b"{}")
        lane.flush(lambda places: None)
        await asyncio.sleep(0)
        producer.sent[0].set_exception(KafkaTimeoutError())
        with pytest.raises(KafkaTimeoutError):
            await lane.empty()

    asyncio.run(scene())


def ran(program: str, load: str, latencies: list[float], late: float = 0.0001, **shares: float) -> latency.Run:
    # It is in requirements-bench.lock only: what keeps and merges latencies is no part of the product.
    pytest.importorskip("hdrh", reason="needs requirements-bench.lock")
    found, handed = schedule.histogram(latencies), schedule.histogram([late])
    taken = {"program": 0.2, "brokers": 0.3, "client": 0.1, "others": 0.0, "stolen": 0.0} | shares
    return latency.Run(program, load, 200.0, found, handed, handed, taken, 0)


def test_a_row_is_of_the_rounds_in_which_the_client_kept_its_schedule():
    good = ran(latency.DOORWARD, "200", [0.002] * 99 + [0.010])
    bad = ran(latency.DOORWARD, "200", [0.002] * 99 + [0.010], late=0.009)
    assert latency.row(latency.DOORWARD, "200", [good, bad])[2:4] == ["2.0", "2.0"]
    assert latency.row(latency.DOORWARD, "200", [good, bad])[-1] == "1 of 2"
    assert latency.row(latency.DOORWARD, "200", [bad])[2:] == ["-"] * 8 + ["0 of 1"]
    assert any("could not keep its schedule" in line for line in latency.notes([good, bad], {}))


def test_ratios_are_of_runs_of_the_same_round():
    runs = [
        ran(latency.DOORWARD, "200", [0.004]),
        ran(latency.RAW, "200", [0.002]),
        ran(latency.DOORWARD, "200", [0.030]),
        ran(latency.RAW, "200", [0.010]),
    ]
    (line,) = latency.ratios(runs)
    assert "p50 2.50 (2.00 to 3.00)" in line


def test_a_busy_machine_is_told_of():
    (line,) = latency.notes([ran(latency.DOORWARD, "200", [0.004], others=0.4)], {})
    assert "40 % of a core" in line


def test_a_curve_is_of_all_rounds_of_a_load():
    runs = [ran(latency.DOORWARD, "50 %", [0.001] * 50), ran(latency.DOORWARD, "50 %", [0.009] * 50)]
    lines = latency.lines_of(runs)
    assert dict(lines["50 % of the most"])[98] == pytest.approx(9.0, rel=0.01)
    assert dict(lines["50 % of the most"])[2] == pytest.approx(1.0, rel=0.01)
