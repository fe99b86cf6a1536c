"""A network that fails on request: a TCP proxy before each broker, for tests of what clients make of a bad one.

What may live here: the proxy and the embedded Kafka that stands behind it. Clients know brokers only by the proxies'
addresses, so all they say goes through; brokers talk to each other directly. Whatever the network does to a client, no
broker thinks another one dead: nothing fails over, and the client has to cope.

    with ProxiedKafka(nodes=3) as kafka:
        kafka.network(2).delay = 0.2      # seconds, each way
        kafka.network(2).drop()           # connections are reset, and new ones too
        kafka.network(2).half_open()      # connections stay and carry nothing, and new ones too
        kafka.network(2).heal()           # new connections work; those lost half-open stay lost

The last is what a firewall does that forgot a connection: neither end is ever told, and only a time-out of its own
gets a client out. All proxies share a thread with an event loop; their methods may be called from any thread.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

from streams.dev.kafka import EmbeddedKafka, Node, _free_ports

_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 1 << 16
_IN_FLIGHT: Final = 256
"""Reads under way in one direction of a connection; more wait in their sender's socket."""

State = Literal["whole", "dropping", "half-open"]


class _Link:
    """One connection of a client and ours to the broker. `lost`: nothing passes any more, and neither end knows."""

    def __init__(self, client: asyncio.StreamWriter, *, lost: bool) -> None:
        self.writers = [client]
        self.lost = lost

    def reset(self) -> None:
        """Close both at once, unread bytes or not, and say so by RST (SO_LINGER of no seconds, socket(7))."""
        for writer in self.writers:
            with contextlib.suppress(OSError):  # closed already
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """The way to one broker.

    Args:
        loop: runs in a thread of its own.

    Attributes:
        delay: seconds that everything takes, each way. Order is kept.
        target: the broker's port.
        port: where clients connect; 0 before `open`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.delay = 0.0
        self.target = 0
        self.port = 0
        self._loop = loop
        self._state: State = "whole"
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def open(self) -> None:
        """Take connections, on a port that stays ours. Raises OSError when there is none."""

        async def listen() -> None:
            self._server = await asyncio.start_server(self._begin, _HOST, 0)
            self.port = self._server.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result()

    def drop(self) -> None:
        """Reset all connections, and new ones as they come."""
        self._run(lambda: self._become("dropping"))

    def half_open(self) -> None:
        """Let all connections stand, and new ones too, and carry nothing over them ever again."""
        self._run(lambda: self._become("half-open"))

    def heal(self) -> None:
        """Carry new connections at once; the lost ones stay lost."""
        self.delay = 0.0
        self._run(lambda: self._become("whole"))

    def close(self) -> None:
        """Reset everything and take no more. Blocks until that is done."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
            self._become("dropping")
            if self._tasks:
                await asyncio.wait(self._tasks)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()

    def _run(self, act: Callable[[], None]) -> None:
        async def run() -> None:
            act()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _become(self, state: State) -> None:
        self._state = state
        for link in self._links:
            if state == "dropping":
                link.reset()
            elif state == "half-open":
                link.lost = True

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, lost=self._state == "half-open")
        self._links.add(link)
        try:
            if self._state == "dropping":
                link.reset()
            elif link.lost:
                await self._swallow(reader)
            else:
                await self._join(link, reader, writer)
        finally:
            self._links.discard(link)
            link.reset()

    async def _join(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(_HOST, self.target)
        except OSError:  # the broker is down, which the client sees as a connection reset
            return
        link.writers.append(far_writer)
        await asyncio.gather(self._carry(link, reader, far_writer), self._carry(link, far_reader, writer))

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while await reader.read(_READ_BYTES):
                pass

    async def _carry(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction until its sender has closed, in order and as late as `delay` says."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        delivering = asyncio.create_task(self._deliver(link, queue, writer))
        data = b"."
        while data:
            try:
                data = await reader.read(_READ_BYTES)
            except OSError:
                data = b""
            await queue.put((self._loop.time() + self.delay, data))
        await delivering

    async def _deliver(
        self, link: _Link, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await queue.get()
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            if link.lost:
                if not data:
                    return  # the other end is not told
                continue
            if not data:
                writer.close()
                return
            with contextlib.suppress(OSError):  # it has gone; its own reader finds out
                writer.write(data)
                await writer.drain()


class ProxiedKafka(EmbeddedKafka):
    """Brokers that clients reach only through proxies; see the module. Arguments as `EmbeddedKafka`'s."""

    def __init__(
        self, nodes: int = 1, data: Path | None = None, log: Path | None = None, remove: Path | None = None
    ) -> None:
        super().__init__(nodes, data, log, remove)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies = {number: Proxy(self._loop) for number in range(1, nodes + 1)}

    def __enter__(self) -> Self:
        self.start()
        return self

    @property
    def bootstrap(self) -> str:
        """The proxies' addresses."""
        return ",".join(f"{_HOST}:{proxy.port}" for proxy in self._proxies.values())

    @property
    def direct(self) -> str:
        """The brokers' own addresses, for whoever is not to be disturbed."""
        return super().bootstrap

    def network(self, node: int) -> Proxy:
        """The way to a node."""
        return self._proxies[node]

    def start(self, timeout: float = 60.0) -> None:
        """Opens the proxies, then as `EmbeddedKafka.start`."""
        self._thread.start()
        for proxy in self._proxies.values():
            proxy.open()
        super().start(timeout)

    def stop(self) -> None:
        """Ends all nodes, then the proxies. May be called again."""
        super().stop()
        if self._thread.is_alive():
            for proxy in self._proxies.values():
                proxy.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _configure(self, node: Node) -> None:
        [self._proxies[node.number].target] = _free_ports(1)
        super()._configure(node)

    def _settings(self, node: Node) -> dict[str, str | int]:
        proxy = self._proxies[node.number]
        settings = super()._settings(node)
        return settings | {
            "listeners": f"{settings['listeners']},CLIENTS://{_HOST}:{proxy.target}",
            "advertised.listeners": f"{settings['advertised.listeners']},CLIENTS://{_HOST}:{proxy.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
