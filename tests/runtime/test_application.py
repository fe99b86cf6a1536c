"""The application in a process of its own, on a real broker: the gate, ordinary agents beside it, a topic made anew."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from streams.dev.kafka import EmbeddedKafka
from streams.runtime.watchdog import EXIT_CODE
from tests.runtime import test_lenient

PROGRAM = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from streams.runtime import process
    from streams.runtime.application import ChunkedApp
    from streams.runtime.config import faust_options

    bootstrap, name, data, patience = sys.argv[1:]

    async def assigned(partitions):
        print("assigned", len(partitions), flush=True)

    app = ChunkedApp(
        f"{name}-group",
        sources={f"{name}-in"},
        patience=float(patience),
        assigned=assigned,
        **faust_options(bootstrap=bootstrap, client_id=f"{name}-client", data_dir=Path(data)),
    )

    @app.agent(app.chunks)
    async def inputs(chunks):
        async for chunk in chunks:
            with chunk:
                for records in chunk.parts.values():
                    for record in records:
                        print("input", record.value.decode(), flush=True)

    @app.agent(app.topic(f"{name}-notes", value_type=bytes))
    async def notes(stream):
        async for note in stream:
            print("note", note.decode(), flush=True)
            {b"open": app.source.open, b"close": app.source.close}[note]()

    process.run(app)
""")


HOLDING = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from streams.runtime import process
    from streams.runtime.application import ChunkedApp
    from streams.runtime.config import faust_options

    bootstrap, name, data, patience = sys.argv[1:]
    app = ChunkedApp(
        f"{name}-group",
        sources={f"{name}-in"},
        forgotten=lambda: print("forgotten", flush=True),
        patience=float(patience),
        **faust_options(bootstrap=bootstrap, client_id=name, data_dir=Path(data), max_poll_interval=3.0),
    )

    @app.agent(app.chunks)
    async def inputs(chunks):
        async for chunk in chunks:
            with chunk:
                print("holding", flush=True)
                await asyncio.sleep(1)  # until another waits
                await chunk.hold()

    app.source.open()
    process.run(app)
""")


class Worker:
    """The program above, and what it has printed."""

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self.running = running
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self.running.stdout is not None
        async for line in self.running.stdout:
            self.lines.append(line.decode().strip())

    async def until(self, line: str) -> None:
        async with asyncio.timeout(30):
            while line not in self.lines:  # noqa: ASYNC110 - lines have no events
                await asyncio.sleep(0.02)

    def inputs(self) -> list[str]:
        return [line.split()[1] for line in self.lines if line.startswith("input")]


@asynccontextmanager
async def working(
    kafka: EmbeddedKafka, name: str, folder: Path, *, program: str = PROGRAM, patience: float = 60.0
) -> AsyncIterator[tuple[Worker, AIOKafkaAdminClient, AIOKafkaProducer]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{name}-in", 1, 1), NewTopic(f"{name}-notes", 1, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, kafka.bootstrap, name, str(folder), str(patience)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    worker = Worker(running)
    reading = asyncio.create_task(worker.read())
    try:
        yield worker, admin, producer
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await reading
        await running.wait()
        await producer.stop()
        await admin.close()


def test_nothing_is_handed_on_until_the_source_is_open_and_after_it_is_closed(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    async def main() -> None:
        async with working(kafka, "gate", tmp_path) as (worker, admin, producer):
            for number in range(3):
                await producer.send_and_wait("gate-in", b"%d" % number)
            await producer.send_and_wait("gate-notes", b"close")
            await worker.until("note close")  # an ordinary agent works while the source is closed
            await asyncio.sleep(1.5)
            assert worker.inputs() == []
            assert "assigned 1" not in worker.lines

            await producer.send_and_wait("gate-notes", b"open")
            await worker.until("input 2")
            assert worker.lines.index("assigned 1") < worker.lines.index("input 0")
            assert worker.inputs() == ["0", "1", "2"]
            [group] = (await admin.describe_consumer_groups(["gate-group"]))[0].groups
            assert "gate-client" in str(group)

            await producer.send_and_wait("gate-notes", b"close")
            await asyncio.sleep(1.5)
            await producer.send_and_wait("gate-in", b"3")
            await asyncio.sleep(1)
            assert worker.inputs() == ["0", "1", "2"]
            await producer.send_and_wait("gate-notes", b"open")
            await worker.until("input 3")
            worker.running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.running.wait(), 5) == 0

    asyncio.run(main())


def test_the_first_records_of_a_topic_made_anew_are_not_taken_for_repeats(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    async def main() -> None:
        async with working(kafka, "anew", tmp_path) as (worker, admin, producer):
            await producer.send_and_wait("anew-notes", b"open")
            for number in range(9):
                await producer.send_and_wait("anew-in", b"%d" % number)
            await worker.until("input 8")
            await admin.delete_topics(["anew-in"])
            await asyncio.sleep(1)
            await admin.create_topics([NewTopic("anew-in", 1, 1)])
            await producer.send_and_wait("anew-in", b"first")
            # Either the group rebalances in time and begins at the new topic's start, or the process ends over it;
            # its next start then begins there, for what it had committed lies outside the new log.
            ended = asyncio.create_task(worker.running.wait())
            answered = asyncio.create_task(worker.until("input first"))
            await asyncio.wait([ended, answered], timeout=40, return_when=asyncio.FIRST_COMPLETED)
            assert (answered.done() and not answered.exception()) or (ended.done() and ended.result() == 1)
            answered.cancel()

    asyncio.run(main())


def test_the_end_of_a_transaction_is_no_work_that_waits(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A commit marker counts in a log's end and is never a record; idle behind it, the worker must not be ended."""
    inputs = TopicPartition("marked-in", 0)

    async def committed(admin: AIOKafkaAdminClient) -> int:
        return (await admin.list_consumer_group_offsets("marked-group"))[inputs].offset

    async def main() -> None:
        async with working(kafka, "marked", tmp_path, patience=3) as (worker, admin, producer):
            await producer.send_and_wait("marked-notes", b"open")
            transactional = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="marked-sender")
            await transactional.start()
            for number in range(2):
                async with transactional.transaction():
                    await transactional.send_and_wait("marked-in", b"%d" % number, partition=0)
            await transactional.stop()
            await worker.until("input 1")
            await asyncio.sleep(6)  # twice its patience
            assert worker.running.returncode is None, f"exit {EXIT_CODE} is the watchdog's"
            assert await committed(admin) == 4  # two records, two markers
            await producer.send_and_wait("marked-in", b"2")
            await worker.until("input 2")
            worker.running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.running.wait(), 5) == 0
            assert worker.inputs() == ["0", "1", "2"]
            assert await committed(admin) == 5

    asyncio.run(main())


def test_a_record_with_an_unreadable_header_stops_nothing(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    async def main() -> None:
        async with working(kafka, "lenient", tmp_path) as (worker, _, producer):
            await producer.send_and_wait("lenient-notes", b"open")
            await test_lenient.send(producer, "lenient-in", test_lenient.batch(0, 5, bad=2))
            await producer.send_and_wait("lenient-in", b"behind")
            await worker.until("input behind")
            assert worker.inputs() == ["0", "1", "2", "3", "4", "behind"]
            worker.running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.running.wait(), 10) == 0

    asyncio.run(main())


def test_a_worker_that_holds_a_chunk_stays_in_the_group_and_alive(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Past its patience (2 s) and its longest poll interval (3 s), with more records waiting."""

    async def main() -> None:
        async with working(kafka, "held", tmp_path, program=HOLDING, patience=2) as (worker, admin, producer):
            await producer.send_and_wait("held-in", b"0")
            await worker.until("holding")
            ended_epochs = worker.lines.count("forgotten")
            for number in range(4):
                await producer.send_and_wait("held-in", b"%d" % number)
                await asyncio.sleep(2)
            assert worker.running.returncode is None
            assert worker.lines.count("forgotten") == ended_epochs
            assert worker.lines.count("holding") == 1
            offsets = await admin.list_consumer_group_offsets("held-group")
            assert offsets[TopicPartition("held-in", 0)].offset == 0
            worker.running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(worker.running.wait(), 10) == 0

    asyncio.run(main())
