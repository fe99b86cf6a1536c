"""What the runtime leans on in the pinned Faust, aiokafka and mode: a check per row of `streams/runtime/__init__.py`.

A failure here after an upgrade means: read the changed code, decide anew whether the override is right, run the ledger.
Shapes are compared by signature and by the phrases the override depends on; where upstream can be run, it is.
"""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any, cast

import faust
import mode
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.structs import TopicPartition
from faust.agents.actor import Actor
from faust.stores import rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import conductor
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.supervisors import CrashingSupervisor, OneForOneSupervisor
from mode.threads import MethodQueue

from streams.runtime import calls, process
from streams.runtime.application import ChunkChannel, ChunkedApp
from streams.runtime.config import QuietMonitor, client_options, faust_options
from streams.runtime.store import PartitionStore
from streams.runtime.tables import ChunkedTable
from streams.runtime.thread import ConsumerThread, FetchSettings
from streams.runtime.transport import Consumer, Transport


@pytest.fixture
def app(tmp_path: Path) -> ChunkedApp:
    """An application that is never started."""
    options = faust_options(bootstrap="127.0.0.1:9,localhost:10", client_id="worker-1", data_dir=tmp_path)
    return ChunkedApp("doorward", sources={"joins"}, **options)


def squeezed(code: Callable[..., Any] | type) -> str:
    return " ".join(inspect.getsource(code).split())


@pytest.mark.parametrize(("package", "pinned"), [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0")])
def test_versions(package: str, pinned: str) -> None:
    assert version(package) == pinned


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        (ChunkedApp, faust.App, ["_new_transport", "on_started", "on_stop"]),
        (Transport, driver.Transport, ["Consumer"]),
        (
            Consumer,
            driver.Consumer,
            [
                *("_new_consumer_thread", "subscribe", "_getmany", "_wait_next_records", "wait_empty"),
                *("on_partitions_revoked", "force_commit"),
            ],
        ),
        (
            ConsumerThread,
            driver.AIOKafkaConsumerThread,
            ["on_start", "_create_worker_consumer", "on_partitions_assigned"],
        ),
        (ChunkChannel, faust.Channel, ["__anext__", "_throw"]),
        (ChunkedTable, faust.Table, ["_new_store", "on_rebalance"]),
        (
            PartitionStore,
            rocksdb.Store,
            ["_db_for_partition", "_open_for_partition", "persisted_offset", "stop"],
        ),
        (process.Worker, faust.Worker, ["_schedule_shutdown"]),
        (
            QuietMonitor,
            faust.Monitor,
            [
                *("on_stream_event_in", "on_stream_event_out", "on_message_in", "on_message_out"),
                *("on_table_get", "on_table_set", "on_table_del"),
            ],
        ),
    ],
)
def test_what_is_overridden_is_still_there_and_called_the_same(ours: type, theirs: type, names: list[str]) -> None:
    for name in names:
        assert name in vars(ours)
        mine, base = getattr(ours, name), getattr(theirs, name)
        if inspect.isfunction(base):
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(base).parameters), name
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(base), name


@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        (Fetcher._proc_fetch_request, ["self", "assignment", "node_id", "request"]),
        (GroupCoordinator._do_heartbeat, ["self"]),
        (
            driver.AIOKafkaConsumerThread._fetch_records,
            ["self", "consumer", "active_partitions", "timeout", "max_records"],
        ),
        (driver.Consumer._commit, ["self", "offsets"]),
        (BatchBuilder.append, ["self", "timestamp", "key", "value", "headers"]),
        (AIOKafkaProducer.send_batch, ["self", "batch", "topic", "partition"]),
    ],
)  # fmt: skip
def test_what_is_called_takes_what_it_took(code: Callable[..., Any], parameters: list[str]) -> None:
    assert list(inspect.signature(code).parameters) == parameters


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        # Wrapping works because these are looked up on the instance, at each call.
        (GroupCoordinator._heartbeat_routine, "await self._do_heartbeat()"),
        (CoordinatorGroupRebalance._send_sync_group_request, "await self._coordinator._send_req(request)"),
        (Fetcher._fetch_requests_routine, "self._proc_fetch_request(assignment, node_id, request)"),
        (Fetcher._proc_fetch_request, "response = await self._client.send(node_id, request)"),
        # The connection that is given up when a heartbeat is not answered.
        (GroupCoordinator._send_req, "await self._client.send( node_id, request, group=ConnectionGroup.COORDINATION )"),
        (AIOKafkaClient._get_conn, "conn_id = (node_id, group) if conn_id in self._conns:"),
        # The fence: nothing waits between the look and the writing, and what was not sent is counted as we count it.
        (Sender._sender_routine, "task = create_task(self._send_produce_req(node_id, node_batches))"),
        (
            Sender._send_produce_req,
            "await handler.do(node_id) self._in_flight.remove(node_id) for tp in batches: self._muted_partitions.rem",
        ),
        (SendProduceReqHandler.do, "try: response = await self._client.send(node_id, request)"),
        (AIOKafkaClient._get_conn, "if not conn.connected(): del self._conns[conn_id] else: return conn"),
        (AIOKafkaClient.send, "future = self._conns[(node_id, group)].send("),
        (MessageBatch.__init__, "self._builder = builder"),
        (AIOKafkaClient._get_conn, "self._conns[conn_id] = await create_conn("),
        (AIOKafkaClient._get_conn, "except (OSError, asyncio.TimeoutError, KafkaError) as err:"),
        (AIOKafkaConnection.send, "try: self._writer.write(size + message) except OSError as err:"),
        (AIOKafkaConsumer.start, "fetch_max_wait_ms=self._fetch_max_wait_ms"),
        # What we replace or guard against.
        (driver.AIOKafkaConsumerThread._create_worker_consumer, "fetch_max_wait_ms=1500"),
        (Fetcher._proc_fetch_request, "await asyncio.sleep(self._retry_backoff) return False"),
        (Fetcher.fetched_records, "if partitions and tp not in partitions:"),
        (AIOKafkaConsumer.seek_to_committed, "if offset and offset > 0: self._fetcher.seek_to(tp, offset)"),
        (GroupCoordinator.commit_offsets, "while True: await self.ensure_coordinator_known()"),
        (faust_consumer.Consumer._commit_offsets, "self._committed_offset.update(committable_offsets) self.app"),
        (mode.Worker.default_on_first_start, "if self.override_logging: self._setup_logging()"),
        # What calls us.
        (conductor.Conductor._subscriber.fun, "await self.app.consumer.subscribe(await self._update_indices())"),
        (faust_consumer.Consumer._wait_next_records, "await self._getmany( active_partitions=active_partitions,"),
        (faust.App._consumer_wait_empty, "if self.conf.stream_wait_empty:"),
        (faust.App._on_partitions_revoked, "await T(self._consumer_wait_empty)(consumer, on_timeout)"),
        (faust.App._stop_consumer, "await self._consumer_wait_empty(consumer, self.log)"),
        (faust_consumer.Consumer.commit, "return await self.force_commit("),
        (faust_consumer.ThreadDelegateConsumer.threadsafe_partitions_revoked, "self.on_partitions_revoked,"),
        (driver.ConsumerRebalanceListener.on_partitions_assigned, "await self._thread.on_partitions_assigned("),
        (Actor.cancel, "self.stream.channel)._throw(StopAsyncIteration())"),
        # Tables: who opens partitions and asks for offsets, in which order, and who waits for recovery's end.
        (TableManager.on_rebalance, "await T(table.on_rebalance)( assigned, revoked, newly_assigned, generation_id )"),
        (TableManager.on_rebalance, "await T(self.recovery.on_rebalance)("),
        (Recovery._add, "persisted_offset = table.persisted_offset(tp)"),
        (Recovery._restart_recovery.fun, "await self._wait(self.signal_recovery_end.wait())"),
        (Recovery._restart_recovery.fun, "if self.need_recovery(): self._set_recovery_started()"),
        (Recovery._set_recovery_started, "self.in_recovery = True"),
        (Recovery._restart_recovery.fun, "T(consumer.pause_partitions)(active_tps)"),
        (Recovery._build_offsets, "destination[tp] = max(last_value, new_value)"),
        (Recovery._build_highwaters, "tp: value - 1 if value is not None else -1"),
        (Recovery.need_recovery, "any(v > 0 for v in self.active_remaining().values())"),
        (Recovery.on_recovery_completed, "{tp for tp in assignment if not self._is_changelog_tp(tp)}"),
        (TableManager.add, "self._changelogs[table.changelog_topic.get_topic_name()] = table"),
        (faust.Table.on_key_set, "fut = self.send_changelog("),
        (faust.Table.on_key_del, "fut = self.send_changelog("),
        (driver.AIOKafkaConsumerThread._create_worker_consumer, "if self.app.conf.table_standby_replicas > 0 or has_c"),
        # Why nobody may stop polling.
        (faust_consumer.Consumer._wait_next_records, "await self.wait(self.can_resume_flow)"),
        (faust_consumer.Consumer._wait_next_records, "await self.sleep(1)"),
        (GroupCoordinator.ensure_active_group, "if prev_assignment is not None and idle_time >= self._max_poll_inter"),
        # What the watchdog and the outbox look at.
        (Fetcher.__init__, "self._fetch_task = create_task("),
        (GroupCoordinator.__init__, "self._coordination_task = create_task("),
        (Fetcher._proc_fetch_request, "records = MemoryRecords(part_data[-1])"),
        (_DefaultRecordBatchPy._read_msg, 'h_key = buffer[pos : pos + h_key_len].decode("utf-8")'),
        # Where markers and whatever else is no record are passed over.
        (FetchResult._update_position, "state.consumed_to(self._partition_records.next_fetch_offset)"),
        (PartitionRecords._unpack_records, "if next_batch.is_control_batch: self.next_fetch_offset = next_batch.next"),
        (driver.AIOKafkaConsumerThread.highwater, "return self._ensure_consumer().highwater(tp)"),
    ],
)  # fmt: skip
def test_the_code_leaned_on_reads_as_it_did(code: Callable[..., Any], phrase: str) -> None:
    assert phrase in squeezed(code)


def test_whether_it_has_recovered_may_be_asked_by_a_probes_thread_before_there_is_a_recovery(app: ChunkedApp) -> None:
    """Made there, it would have a loop that nobody runs, and the start would wait for it for ever."""
    tables = cast("TableManager", app.tables)
    with ThreadPoolExecutor(1) as probe:
        assert probe.submit(lambda: app.is_recovered).result() is False
    assert tables._recovery is None
    assert tables.recovery is tables._recovery
    tables.recovery.completed.set()
    assert app.is_recovered


def test_a_thread_still_has_two_call_workers() -> None:
    assert inspect.signature(MethodQueue.__init__).parameters["num_workers"].default == 2


def test_an_exception_still_leaves_aiokafkas_fetch_count_raised() -> None:
    """If this fails the guard in `ConsumerThread._seek_and_fetch` may go."""

    async def main() -> int:
        subscriptions = SubscriptionState()
        with pytest.raises(ZeroDivisionError), subscriptions.fetch_context():
            1 / 0  # noqa: B018 - the exception is the point
        return subscriptions._fetch_count

    assert asyncio.run(main()) == 1


def test_a_cancelled_fetch_is_no_error_and_fetches_are_paced() -> None:
    async def main() -> None:
        async def cancelled(assignment: Any, node: int, request: Any) -> bool:
            raise asyncio.CancelledError

        assert await calls.paced(cancelled, 0.0)(None, 1, None) is False

        starts: list[float] = []

        async def noted(assignment: Any, node: int, request: Any) -> bool:
            starts.append(monotonic())
            return True

        fetch = calls.paced(noted, 0.05)
        began = monotonic()
        assert await fetch(None, 1, None)
        assert await fetch(None, 2, None)
        assert monotonic() - began < 0.04  # each broker has a pace of its own
        assert await fetch(None, 1, None)
        assert starts[2] - starts[0] >= 0.05
        await asyncio.sleep(0.06)
        late = monotonic()
        await fetch(None, 1, None)
        assert monotonic() - late < 0.04  # one that waited is not held back further

    asyncio.run(main())


def test_faust_clears_its_channels_but_can_not_clear_ours(app: ChunkedApp) -> None:
    class Row:
        offset = 0

    async def stay() -> None:
        raise AssertionError("nothing is loaded")

    async def main() -> None:
        app.flow_control.resume()
        stock = app.channel().clone(is_iterator=True)
        await stock.queue.put("lost")
        joins = TopicPartition("joins", 0)
        app.source.open()
        app.source.lease.renew(monotonic())
        await app.source.begin({joins: (0, True)}, stay)
        app.source.offer({joins: [Row()]}, {joins: 1})
        app.flow_control.clear()
        assert stock.queue.empty()
        chunk = await app.chunks.clone(is_iterator=True).__anext__()
        assert len(chunk) == 1

    asyncio.run(main())


def test_plain_clients_get_the_same_credentials() -> None:
    login = faust.SASLCredentials(username="worker", password="secret", ssl_context=None)
    options = client_options(bootstrap="127.0.0.1:9", client_id="worker-1", credentials=login)
    assert (options["bootstrap_servers"], options["client_id"]) == ("127.0.0.1:9", "worker-1")
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("worker", "secret")


def test_an_agent_that_waits_for_a_chunk_can_be_ended(app: ChunkedApp) -> None:
    async def main() -> None:
        channel = app.chunks.clone(is_iterator=True)
        waiting = asyncio.ensure_future(channel.__anext__())
        await asyncio.sleep(0.01)
        channel._throw(StopAsyncIteration())
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, 1)

    asyncio.run(main())


def test_the_settings_arrive(app: ChunkedApp, tmp_path: Path) -> None:
    conf = app.conf
    assert [(url.host, url.port) for url in conf.broker] == [("127.0.0.1", 9), ("localhost", 10)]
    assert (conf.broker_client_id, conf.id, conf.datadir) == ("worker-1", "doorward", tmp_path)
    assert conf.web_enabled is False
    assert conf.topic_disable_leader is True
    assert conf.topic_allow_declare is False
    assert (conf.key_serializer, conf.value_serializer) == ("raw", "raw")
    assert (conf.producer_acks, conf.producer_linger, conf.producer_request_timeout) == (-1, 0.0, 15.0)
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (6.0, 1.5)
    assert conf.broker_session_timeout < conf.broker_request_timeout
    assert (conf.broker_commit_interval, conf.broker_max_poll_interval) == (0.5, 120.0)
    assert conf.agent_supervisor is CrashingSupervisor
    assert conf.stream_wait_empty is True
    assert conf.stream_buffer_maxsize == 4096
    assert conf.cython_optimizations is False  # else a stream would bypass `ChunkChannel.__anext__`
    assert isinstance(app.monitor, QuietMonitor)
    assert isinstance(app.transport, Transport)


def test_a_failed_agent_is_not_restarted() -> None:
    """Faust's default restarts it on the next event; the crashing one adopts nothing, so a crash reaches the top."""

    async def main() -> None:
        service = mode.Service()
        CrashingSupervisor(service)
        assert service.supervisor is None
        restarted = mode.Service()
        OneForOneSupervisor().add(restarted)
        assert restarted.supervisor is not None

    asyncio.run(main())


def test_the_quiet_monitor_keeps_what_the_livelock_detector_reads() -> None:
    monitor = QuietMonitor()
    joins = TP("joins", 0)
    monitor.on_stream_event_in(joins, 7, None, None)
    assert monitor.stream_inbound_time[joins] > 0
    assert monitor.on_rebalance_start(faust.App("x")) is not None


def test_pacing_and_short_chunks_are_on_by_default() -> None:
    assert FetchSettings().pace == 0.004
    assert FetchSettings().max_wait_ms == 500
    assert FetchSettings().most == 4_000
