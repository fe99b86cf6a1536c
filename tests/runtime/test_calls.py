"""What is wrapped around aiokafka's own calls: connections that break, or don't and carry nothing all the same."""

import asyncio
import socket
import struct
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from aiokafka import client
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.fetch import FetchRequest

from streams.runtime import calls

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing says RST, socket(7)."""


def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install; undone after the test."""
    for owner, name in ((AIOKafkaConnection, "connected"), (client, "create_conn")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    calls.install()


def test_a_broker_that_swallows_everything_does_not_keep_a_client_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch)
    monkeypatch.setattr(calls, "CONNECT_SECONDS", 0.2)

    async def main() -> float:
        server = await asyncio.start_server(lambda *ends: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        asked = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=30_000)
        began = monotonic()
        with pytest.raises(KafkaConnectionError):
            await asked.bootstrap()
        server.close()
        return monotonic() - began

    assert 0.2 <= asyncio.run(main()) < 10


def test_a_connection_that_was_reset_this_instant_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)

    async def main() -> int:
        peers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: peers.append(writer), "127.0.0.1", 0)
        connection = AIOKafkaConnection("127.0.0.1", server.sockets[0].getsockname()[1])
        opening = asyncio.create_task(connection.connect())  # asks for versions, and is never told
        while not peers or connection._correlation_id == 0:  # noqa: ASYNC110 - neither end has an event for it
            await asyncio.sleep(0)
        peers[0].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peers[0].transport.abort()
        written = 0
        while connection.connected():  # in every turn of the loop, as long as it is said to stand
            connection.send(ApiVersionRequest()).close()
            written += 1
            await asyncio.sleep(0)
        with pytest.raises(KafkaConnectionError):
            await opening
        server.close()
        return written

    assert uvloop.run(main()) > 0


def test_a_heartbeat_that_is_not_answered_gets_a_new_connection() -> None:
    """The half-open network of the chaos suite, made small: the parts of a consumer that matter are its names."""
    done: list[object] = []
    old = SimpleNamespace(close=lambda reason: done.append(reason))
    coordinator = SimpleNamespace(coordinator_id=2, coordinator_dead=lambda: done.append("looked up anew"))
    conns = {(2, ConnectionGroup.COORDINATION): old, (2, ConnectionGroup.DEFAULT): None, (1, "other"): None}
    consumer: Any = SimpleNamespace(_coordinator=coordinator, _client=SimpleNamespace(_conns=conns))

    async def unanswered() -> bool:
        await asyncio.Event().wait()
        return True

    async def answered() -> bool:
        return True

    async def main() -> None:
        assert await calls.bounded(answered, consumer, 0.05)()
        assert done == []
        assert not await calls.bounded(unanswered, consumer, 0.05)()
        assert done == [CloseReason.CONNECTION_TIMEOUT, "looked up anew"]
        cancelled = asyncio.ensure_future(calls.bounded(unanswered, consumer, 5.0)())
        await asyncio.sleep(0.01)
        cancelled.cancel()  # as aiokafka does before it joins again
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    asyncio.run(main())


def test_only_fetches_that_reach_no_broker_are_told_of() -> None:
    told: list[None] = []

    async def main() -> None:
        async def refused(node: int, request: object, *, group: object = None) -> None:
            raise NodeNotReadyError

        async def fine(node: int, request: object) -> str:
            return "answer"

        fetch = FetchRequest(500, 1, 1, 0, [])
        assert await calls.noted(fine, lambda: told.append(None))(1, fetch) == "answer"
        with pytest.raises(NodeNotReadyError):
            await calls.noted(refused, lambda: told.append(None))(1, ApiVersionRequest(), group="coordination")
        assert told == []
        with pytest.raises(NodeNotReadyError):
            await calls.noted(refused, lambda: told.append(None))(1, fetch)
        assert len(told) == 1

    asyncio.run(main())
