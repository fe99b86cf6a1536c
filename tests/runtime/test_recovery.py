"""Tables on a real broker: recovered in batches, moved between workers, killed, damaged, written to by the stale.

Whatever happens to a worker, three things must agree at the end: what the input asks for (the last value of each key),
what the changelog says to somebody who reads it from its beginning, and each partition's rows on disk and in memory.
"""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from streams.dev.kafka import EmbeddedKafka
from streams.runtime.frames import frame, unframe
from tests.runtime.test_tables import flip_bytes

Said = dict[str, Any]


class Worker:
    """A `table_worker` process, and what it said."""

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self.running = running
        self.said: list[Said] = []
        self.partitions = [0, 1]  # that it owns; for the test to set

    async def read(self) -> None:
        assert self.running.stdout is not None
        async for line in self.running.stdout:
            self.said.append(json.loads(line))

    async def until(self, event: str, **details: Any) -> Said:
        """Wait until it says something that was not waited for before; what came earlier is passed over."""
        async with asyncio.timeout(40):
            while True:
                while self.said:
                    said = self.said.pop(0)
                    if said["event"] == event and details.items() <= said.items():
                        return said
                if self.running.returncode is not None:
                    raise AssertionError(f"the worker ended with {self.running.returncode}")
                await asyncio.sleep(0.02)

    async def end(self, sig: signal.Signals = signal.SIGTERM) -> int:
        self.running.send_signal(sig)
        return await asyncio.wait_for(self.running.wait(), 30)


class Bench:
    """Topics of two partitions, the workers on them, and what the table should hold."""

    def __init__(self, kafka: EmbeddedKafka, name: str, folder: Path) -> None:
        self.kafka, self.name, self.folder = kafka, name, folder
        self.changelog = f"{name}-changelog"
        self.wanted: list[dict[bytes, bytes]] = [{}, {}]
        self._started: list[tuple[Worker, asyncio.Task[None]]] = []
        self._number = 0

    @asynccontextmanager
    async def set_up(self) -> AsyncIterator["Bench"]:
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        self.producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap, max_batch_size=1 << 20)
        await self.admin.start()
        await self.make_topics(f"{self.name}-in", self.changelog)
        await self.producer.start()
        try:
            yield self
        finally:
            for worker, reading in self._started:
                if worker.running.returncode is None:
                    worker.running.kill()
                await worker.running.wait()
                await reading
            await self.producer.stop()
            await self.admin.close()

    async def make_topics(self, *names: str) -> None:
        await self.admin.create_topics([NewTopic(name, 2, 1) for name in names])

    async def start(self, *options: str, data: str = "a") -> Worker:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("table_worker.py")), "--bootstrap", self.kafka.bootstrap),
            *("--name", self.name, "--data", str(self.folder / data), "--partitions", "2", *options),
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        worker = Worker(running)
        self._started.append((worker, asyncio.create_task(worker.read())))
        return worker

    async def put(self, count: int = 200) -> None:
        """Set and delete rows, the same keys again and again."""
        for number in range(self._number, self._number + count):
            partition, key = number % 2, b"k%d" % (number * 7 % 150)
            value = b"-" if number % 5 == 0 else b"v%d" % number
            await self.producer.send(f"{self.name}-in", value, key, partition)
            if value == b"-":
                self.wanted[partition].pop(key, None)
            else:
                self.wanted[partition][key] = value
        await self.producer.flush()
        self._number += count

    async def tell(self, key: bytes, partition: int = 0) -> None:
        await self.producer.send_and_wait(f"{self.name}-in", b"", key, partition)

    async def agree(self, *workers: Worker) -> list[Said]:
        """Wait until the workers' rows are what they should be, see that the changelog says so too."""
        for partition in (0, 1):
            await self.tell(b"dump", partition)
        dumps = [await worker.until("dump", partition=number) for worker in workers for number in worker.partitions]
        assert sorted(dump["partition"] for dump in dumps) == [0, 1]
        replayed = await self.replay()
        for dump in dumps:
            wanted = self.wanted[dump["partition"]]
            sha = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()[:16]
            assert replayed[dump["partition"]] == wanted
            assert (dump["view"], dump["disk"]) == (sha, sha), dump
        return dumps

    async def replay(self) -> list[dict[bytes, bytes]]:
        """The rows by the changelog alone."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        partitions = [TopicPartition(self.changelog, number) for number in (0, 1)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        tables: list[dict[bytes, bytes]] = [{}, {}]
        highest = [0, 0]
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    number, payload = unframe(record) or (-1, None)
                    if number < highest[partition.partition]:
                        continue
                    highest[partition.partition] = number
                    rows = tables[partition.partition]
                    rows.pop(record.key, None)
                    if payload is not None:
                        rows[record.key] = payload
        await consumer.stop()
        return tables

    async def fill(self, count: int) -> None:
        """Put rows straight into the changelog, as a worker before this one did."""
        sending = []
        for partition in (0, 1):
            batch = self.producer.create_batch()
            for number in range(count // 2):
                key, value = b"old%06d" % number, b"%0240d" % number
                self.wanted[partition][key] = value
                if batch.append(timestamp=None, key=key, value=frame(1, value)) is None:
                    sending.append(await self.producer.send_batch(batch, self.changelog, partition=partition))
                    batch = self.producer.create_batch()
                    batch.append(timestamp=None, key=key, value=frame(1, value))
            sending.append(await self.producer.send_batch(batch, self.changelog, partition=partition))
        await asyncio.gather(*sending)

    def files(self, partition: int, data: str = "a") -> Path:
        [path] = (self.folder / data).glob(f"**/rows-{partition}.db")
        return path


@pytest.fixture
def bench(kafka: EmbeddedKafka, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    name = request.node.originalname.removeprefix("test_")[:40]
    return Bench(kafka, name, tmp_path)


def test_a_table_is_recovered_in_batches_before_any_record_is_handed_on(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            await bench.fill(60_000)
            await bench.put()
            worker = await bench.start()
            assigned = await worker.until("assigned")
            assert (assigned["rows"], assigned["recovered"]) == (60_000, 60_000)
            assert assigned["recovering"] < 3  # Faust's own replay takes 7 s, on a good day
            await bench.agree(worker)
            assert await worker.end() == 0
            again = await bench.start()
            assert (await again.until("assigned"))["recovered"] == 0
            await bench.agree(again)

    asyncio.run(main())


@pytest.mark.parametrize("standbys", [0, 1])
def test_partitions_move_between_workers_with_their_rows(bench: Bench, standbys: int) -> None:
    bench.name = bench.changelog = f"moved-{standbys}"
    bench.changelog += "-changelog"
    options = "--standbys", str(standbys)

    async def main() -> None:
        async with bench.set_up():
            first = await bench.start(*options)
            await first.until("assigned", partitions=[0, 1])
            for _ in range(2):
                await bench.put()
                second = await bench.start(*options, data="b")
                theirs = await second.until("assigned")
                ours = await first.until("assigned")
                for said in (ours, theirs):
                    assert set(said["changelog"]) - set(said["standby"]) == set(said["partitions"]), said
                    assert len(said["standby"]) == standbys
                assert sorted(ours["partitions"] + theirs["partitions"]) == [0, 1]
                await bench.put()
                first.partitions, second.partitions = ours["partitions"], theirs["partitions"]
                await bench.agree(first, second)
                assert await second.end() == 0
                await first.until("assigned", partitions=[0, 1])
                first.partitions = [0, 1]
                await bench.put()
                [*_, dump] = await bench.agree(first)
            assert dump["rebuilt"] == dump["stale"] == 0

    asyncio.run(main())


def test_kill_9_between_acknowledgement_and_disk_loses_nothing(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            worker = await bench.start("--mortal")
            await worker.until("assigned")
            for _ in range(2):
                await bench.put()
                await bench.tell(b"die")
                await bench.put(20)
                assert await asyncio.wait_for(worker.running.wait(), 20) == -signal.SIGKILL
                worker = await bench.start()
                assert (await worker.until("assigned"))["recovered"] > 0
                [*_, dump] = await bench.agree(worker)
                assert dump["rebuilt"] == 0
                await worker.end()
                worker = await bench.start("--mortal")
                await worker.until("assigned")

    asyncio.run(main())


@pytest.mark.parametrize("damage", ["removed", "flipped", "old", "made anew", "cut"])
def test_local_files_that_are_of_no_use_are_rebuilt(bench: Bench, damage: str) -> None:
    bench.name = f"files-{damage}".replace(" ", "-")
    bench.changelog = f"{bench.name}-changelog"

    async def main() -> None:
        options: list[str] = []
        async with bench.set_up():
            await bench.fill(20_000)
            worker = await bench.start()
            await bench.put()
            await bench.agree(worker)
            await worker.end()
            if damage == "removed":
                shutil.rmtree(bench.files(0))
            elif damage == "flipped":
                flip_bytes(bench.files(0))
                broken = await bench.start()  # finds it while loading, and ends
                assert await asyncio.wait_for(broken.running.wait(), 30) == 1
                assert not (broken.said and broken.said[-1]["event"] == "assigned")
            elif damage == "old":
                await asyncio.sleep(1.1)
                options = ["--retention", "1"]
            elif damage == "made anew":
                await bench.admin.delete_topics([bench.changelog])
                await asyncio.sleep(1)
                await bench.make_topics(bench.changelog)
                bench.wanted = [{}, {}]
            else:  # the changelog's beginning goes, and with it rows that nobody has said again
                behind = {TopicPartition(bench.changelog, number): RecordsToDelete(10_050) for number in (0, 1)}
                await bench.admin.delete_records(behind)
                shutil.rmtree(bench.files(0))
            worker = await bench.start(*options)
            assigned = await worker.until("assigned")
            if damage == "cut":
                assert 0 < assigned["recovered"] < 10_000
                await bench.tell(b"dump")
                assert (await worker.until("dump", partition=0))["rows"] == len((await bench.replay())[0])
                return
            assert assigned["rebuilt"] == {"old": 2, "made anew": 2}.get(damage, 0)
            await bench.put()
            await bench.agree(worker)

    asyncio.run(main())


def test_a_stale_writer_before_a_recovery_is_ignored_and_said_over(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            worker = await bench.start()
            await bench.put()
            await bench.agree(worker)
            await worker.end()
            key = next(iter(bench.wanted[0]))
            for _ in range(2):
                await bench.producer.send_and_wait(bench.changelog, frame(0, b"stale"), key, 0)
            shutil.rmtree(bench.files(0))
            worker = await bench.start()
            assert (await worker.until("assigned"))["stale"] == 2
            await bench.agree(worker)
            assert await last_of(bench, key) == bench.wanted[0][key]  # what compaction would keep

    asyncio.run(main())


def test_a_stale_writer_beside_a_live_owner_is_noticed_and_said_over(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            worker = await bench.start()
            await bench.put()
            await bench.agree(worker)
            key = next(iter(bench.wanted[0]))
            await bench.producer.send_and_wait(bench.changelog, frame(0, b"stale"), key, 0)
            await bench.producer.send_and_wait(bench.changelog, b"no frame", b"stranger", 0)
            await bench.put(10)
            healed = await worker.until("healed")
            assert set(healed["keys"]) == {key.decode(), "stranger"}
            await bench.agree(worker)
            assert await last_of(bench, key) == bench.wanted[0].get(key)
            assert await last_of(bench, b"stranger") is None

    asyncio.run(main())


async def last_of(bench: Bench, key: bytes) -> bytes | None:
    """Payload of the last record of a key in partition 0 of the changelog."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bench.kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    log = TopicPartition(bench.changelog, 0)
    consumer.assign([log])
    end = (await consumer.end_offsets([log]))[log]
    last: Any = None
    while await consumer.position(log) < end:
        for record in (await consumer.getmany(timeout_ms=200)).get(log, ()):
            last = record if record.key == key else last
    await consumer.stop()
    content = unframe(last)
    assert content is not None
    return content[1]


def test_a_writer_with_a_higher_number_ends_the_owner(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            worker = await bench.start()
            await bench.put()
            await bench.agree(worker)
            await bench.producer.send_and_wait(bench.changelog, frame(99, b"newer"), b"k", 0)
            await bench.producer.send_and_wait(f"{bench.name}-in", b"x", b"y", 0)
            assert await asyncio.wait_for(worker.running.wait(), 30) == 1

    asyncio.run(main())


def test_an_application_that_can_not_load_ends_the_process(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            await bench.put()
            worker = await bench.start("--fail-load")
            assert await asyncio.wait_for(worker.running.wait(), 30) == 1
            assert (await bench.replay()) == [{}, {}]

    asyncio.run(main())


def test_a_long_load_keeps_its_membership_and_yields_to_a_rebalance(bench: Bench) -> None:
    async def main() -> None:
        async with bench.set_up():
            await bench.put()
            slow = await bench.start("--slow-load", "5", "--poll-interval", "3")
            await slow.until("assigned", partitions=[0, 1])
            await bench.agree(slow)
            # Another joins while partitions are being loaded: that load is given up, and both load their own.
            second = await bench.start("--slow-load", "4", data="b")
            await second.until("loading")
            third = await bench.start(data="c")
            await second.until("loading")
            await third.end()
            slow.said.clear()
            second.said.clear()
            ours, theirs = await slow.until("assigned"), await second.until("assigned")
            assert sorted(ours["partitions"] + theirs["partitions"]) == [0, 1]
            assert slow.running.returncode is second.running.returncode is None

    asyncio.run(main())
