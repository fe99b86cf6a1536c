"""What is wrapped around calls that aiokafka makes to itself.

Each function takes a bound method of the pinned aiokafka and returns what takes its place; `ConsumerThread.on_start`
puts it there. `install` is for all of the process's clients, on whichever loop.
"""
# ruff: noqa: SLF001 - reaching into the pinned aiokafka is what this file is for

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, client
from aiokafka.client import ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest

log = logging.getLogger(__name__)


CONNECT_SECONDS: Final = 5.0
"""How long a broker may take to accept a connection, to log us in and to say what it speaks."""


def install() -> None:
    """Let no client of this process trust a connection too long. Calling it again changes nothing.

    One that was just reset counts as standing for a turn or two of the loop, until aiokafka's reader has seen the
    error. uvloop raises RuntimeError at a write then (asyncio doesn't), which aiokafka does not expect: the producer's
    routine, or the fetcher's, would end.

    One that is being made may take as long as a request, and a client makes one at a time: a broker behind a network
    that swallows everything would keep it from all others.
    """
    AIOKafkaConnection.connected = _is_connected
    client.create_conn = _connect


async def _connect(*args: Any, **options: Any) -> AIOKafkaConnection:
    async with asyncio.timeout(CONNECT_SECONDS):  # `_get_conn` takes TimeoutError for what it is
        return await create_conn(*args, **options)


def _is_connected(self: AIOKafkaConnection) -> bool:
    return self._reader is not None and not self._reader.at_eof() and not self._writer.transport.is_closing()


def bounded(
    heartbeat: Callable[[], Awaitable[bool]], consumer: AIOKafkaConsumer, limit: float
) -> Callable[[], Awaitable[bool]]:
    """Ask over a new connection when the answer to a heartbeat is overdue.

    A connection that a network has forgotten carries nothing and never breaks, and aiokafka would wait for its request
    time-out, which is longer than a session. What else was asked over it is asked again.

    Args:
        heartbeat: `GroupCoordinator._do_heartbeat`.
        consumer: Whose it is.
        limit: Seconds.
    """
    coordinator = consumer._coordinator

    async def bounded_heartbeat() -> bool:
        node = coordinator.coordinator_id
        try:
            async with asyncio.timeout(limit):
                return await heartbeat()
        except TimeoutError:
            log.warning("no answer to a heartbeat for %.0f s; asking over a new connection", limit)
            connection = consumer._client._conns.get((node, ConnectionGroup.COORDINATION))
            if connection is not None:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            coordinator.coordinator_dead()
            return False

    return bounded_heartbeat


def noted(send: Callable[..., Awaitable[Any]], starved: Callable[[], None]) -> Callable[..., Awaitable[Any]]:
    """Tell of fetches that reach no broker; aiokafka logs them and tries again.

    Args:
        send: `AIOKafkaClient.send`.
        starved: Told.
    """

    async def noted_send(node: int, request: Any, **options: Any) -> Any:
        try:
            return await send(node, request, **options)
        except KafkaError:
            if isinstance(request, FetchRequest):
                starved()
            raise

    return noted_send


def paced(fetch: Callable[[Any, int, Any], Awaitable[bool]], pace: float) -> Callable[[Any, int, Any], Any]:
    """At most one fetch per broker every `pace` seconds, and a cancelled fetch is no error.

    aiokafka cancels pending fetches when partitions go, and expects them to return False. After a failed request it
    sleeps outside its own guard; the CancelledError from there would end the fetch routine, and mode would then
    wait for the thread for ever.
    """
    started: dict[int, float] = {}

    async def paced_fetch(assignment: Any, node: int, request: Any) -> bool:
        try:
            early = started.get(node, 0.0) + pace - monotonic()
            if early > 0:
                await asyncio.sleep(early)
            started[node] = monotonic()
            return await fetch(assignment, node, request)
        except asyncio.CancelledError:
            return False

    return paced_fetch
