"""The failing network: what it carries, delays, drops and swallows, and that half-open connections stay lost."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from streams.dev.proxy import Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """The way to a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(echo, "127.0.0.1", 0), loop).result()
    made = Proxy(loop)
    made.target = server.sockets[0].getsockname()[1]
    made.open()
    yield made
    made.close()
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def says_back(client: socket.socket, data: bytes) -> bool:
    client.sendall(data)
    received = b""
    while len(received) < len(data) and (part := client.recv(1 << 16)):
        received += part
    return received == data


def test_bytes_come_through_in_order_and_late(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert says_back(client, bytes(range(256)) * 1_000)
        proxy.delay = 0.1
        began = time.monotonic()
        assert says_back(client, b"late")
        assert 0.2 <= time.monotonic() - began < 2


def test_dropped_connections_are_reset_and_new_ones_work_once_healed(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert says_back(client, b"before")
        proxy.drop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(proxy) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    proxy.heal()
    with connect(proxy) as client:
        assert says_back(client, b"after")


def unanswered(client: socket.socket) -> None:
    client.settimeout(0.2)
    client.sendall(b"anybody?")
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_half_open_connections_carry_nothing_and_stay_lost(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert says_back(old, b"before")
        proxy.half_open()
        with connect(proxy) as new:
            unanswered(old)
            unanswered(new)
            proxy.heal()
            unanswered(old)
            unanswered(new)
        with connect(proxy) as later:
            assert says_back(later, b"after")
