"""The Faust application whose agent is fed by the `Source`.

    app = ChunkedApp("doorward", sources={"joins"}, **faust_options(...))

    @app.agent(app.chunks)
    async def joins(chunks):
        async for chunk in chunks:
            with chunk:
                ...

    app.source.open()       # once the application is ready; until then nothing is fetched or handed on
    process.run(app)

An agent's exception ends the process with a code other than 0, and the chunk it had is not committed: whoever wants to
survive a bad record must answer for it inside the `with` block.
"""
# ruff: noqa: SLF001 - the watchdog's vitals and Faust's factory hooks are private to the pinned Faust

import logging
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from faust.channels import Channel
from faust.tables.manager import TableManager
from faust.transport.drivers.aiokafka import Producer

from streams.runtime import fence
from streams.runtime.frames import Stamps
from streams.runtime.recovery import Replay
from streams.runtime.source import Assigned, Chunk, Lease, Source, nothing_to_load
from streams.runtime.tables import ChunkedTable, changelogs
from streams.runtime.thread import FetchSettings
from streams.runtime.transport import Consumer, Transport
from streams.runtime.watchdog import Vitals, Watchdog, exit_later, exit_now

STOP_SECONDS: Final = 20.0
"""How long a stop may take. A commit to a broker that is away, and a thread that waits for it, have no limit."""


class ChunkChannel(Channel[Any]):
    """A channel whose stream pulls straight from the source.

    Faust clears the queues of its channels on every rebalance; this one keeps nothing in its queue but the exceptions
    by which Faust ends an agent.
    """

    app: "ChunkedApp"

    async def __anext__(self) -> Chunk:  # type: ignore[override]  # a stream takes bare values as well as events
        """Wait for the next chunk."""
        source = self.app.source
        while True:
            if not self.queue.empty():
                await self.queue.get()  # raises what was thrown
            chunk = await source.take()
            if chunk is not None:
                return chunk

    def _throw(self, exc: BaseException) -> None:
        super()._throw(exc)
        self.app.source.wake()


class ChunkedApp(faust.App):
    """A Faust application with source topics read in chunks.

    Args:
        group: Consumer group, and Faust's application id.
        sources: Topics handed on as chunks. All need the same owner: one agent reads `chunks`.
        assigned: See `Source`.
        forgotten: See `Source`.
        fetch: How to fetch.
        patience: Seconds without progress, while there is work, until the watchdog ends the process. Waiting for
            brokers that refuse is progress; see `Source`.
        options: Faust's settings; see `config.faust_options`.

    Attributes:
        source: The source. Closed at first.
        chunks: The channel for the agent.
        watchdog: Its `loop_lag` tells how late the event loop runs.
    """

    logger = logging.getLogger("faust")  # where Faust's own lines about the application go

    def __init__(
        self,
        group: str,
        *,
        sources: Collection[str],
        assigned: Assigned = nothing_to_load,
        forgotten: Callable[[], None] = lambda: None,
        fetch: FetchSettings = FetchSettings(),  # noqa: B008 - frozen
        patience: float = 60.0,
        **options: Any,
    ) -> None:
        super().__init__(group, **options)
        self.fetch = fetch
        self.source = Source(
            sources,
            Lease(options["broker_session_timeout"]),
            lapsed=lambda: exit_now("the group lease has lapsed before a write"),
            failed=lambda: exit_later(STOP_SECONDS, f"the stop took longer than {STOP_SECONDS:.0f} s"),
            assigned=assigned,
            forgotten=forgotten,
        )
        self.chunks = ChunkChannel(self)
        self.watchdog = Watchdog(self._vitals, patience=patience)

    @property
    def batches(self) -> AIOKafkaProducer:
        """The started producer, fenced, for `Outbox`. Faust's own send costs ten times as much and hides failures."""
        producer = cast("Producer", self.producer)._producer
        fence.install(producer)
        return producer

    def chunked_table(
        self, name: str, *, partitions: int, changelog: str, delete_retention: float, stamps: Stamps | None = None
    ) -> ChunkedTable:
        """Make a table (see `tables`), before the application starts.

        Args:
            name: Its name, and that of its local folders.
            partitions: As many as the source topics and the changelog have.
            changelog: Name of its topic, which exists and is compacted.
            delete_retention: Seconds for which that topic keeps tombstones (`delete.retention.ms`).
            stamps: What its records are stamped with and must bear; None: nothing.
        """
        table = ChunkedTable(
            self,
            name=name,
            partitions=partitions,
            changelog=changelog,
            delete_retention=delete_retention,
            stamps=stamps,
            beacon=self.tables.beacon,
        )
        return cast("ChunkedTable", self.tables.add(table))

    @cached_property
    def replay(self) -> Replay:
        """Recovers the chunked tables; made once they all are."""
        return Replay(changelogs(self.tables.values()), cast("TableManager", self.tables).recovery)

    @property
    def is_recovered(self) -> bool:
        """Whether the first rebalance is over, and what it gave us of tables recovered. Any thread may ask.

        Faust makes its recovery when it is first asked for, for the event loop of the thread that asks: one made for a
        probe's thread would never run. So it is only looked at here.
        """
        recovery = cast("TableManager", self.tables)._recovery
        return recovery is not None and recovery.completed.is_set()

    async def on_started(self) -> None:
        """Start the watchdog once everything else runs."""
        await self.add_runtime_dependency(self.watchdog)
        await super().on_started()

    async def on_stop(self) -> None:
        """Stop as Faust does (finish the chunk in hand, commit), within limits."""
        exit_later(STOP_SECONDS, f"the stop took longer than {STOP_SECONDS:.0f} s")
        await super().on_stop()  # the watchdog, stopped after this, still sees to the lease meanwhile

    def lag(self) -> dict[TopicPartition, int]:
        """Records waiting in each owned source partition, as far as known. Any thread may ask."""
        return cast("Consumer", self.consumer).lag() if self._consumer is not None else {}

    def _vitals(self, main_beat_at: float) -> Vitals:
        source = self.source
        thread = cast("Consumer", self.consumer)._thread
        return Vitals(
            in_hand=source.hand is not None,
            lag=sum(self.lag().values()) if source.is_open else 0,
            lease_left=source.lease.left(),
            progress_at=source.progress_at,
            main_beat_at=main_beat_at,
            consumer_beat_at=thread.beat_at,
            held=source.held,
            dead_part=thread.dead_part(),
        )

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)
