"""The sandbox: an embedded Kafka, its topics, development keys, and workers that are started again when they die.

    with Sandbox(workers=2, accounts=["acme"]) as sandbox:
        sandbox.push([document])
        print(sandbox.ready())

Everything runs on loopback, below one data folder, and ends with us however we end (``guardian``). Keys are made on
the spot: those that sign (``authority``) and one that seals addresses. None of it is meant to be kept.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streams.adapters import topics
from streams.adapters.policylog import Offer, Push, push
from streams.adapters.seal import Sealer, SealUnavailable, new_key
from streams.dev.authority import AUDIENCE, establish
from streams.dev.guardian import Guarded
from streams.dev.kafka import EmbeddedKafka

READY_SECONDS = 60.0
"""How long workers may take to get ready."""
PUSH_SECONDS = 30.0
GROUP = "doorward"
LOOK_SECONDS = 0.2
"""Between two looks at whether a worker has died."""
RESTART_SECONDS = 0.5
"""Before a dead worker is started again; doubled each time while it keeps dying young, up to `RESTART_CAP_SECONDS`."""
RESTART_CAP_SECONDS = 8.0
STEADY_SECONDS = 30.0
"""A worker that lived so long is not in a crash loop."""
STOP_SECONDS = 5.0
PROGRAM = "streams.dev.worker"


class SandboxFailed(Exception):
    """The sandbox did not come up; one line."""


class SandboxWorker:
    """One worker process, started again when it dies.

    Attributes:
        id: its worker id, kept across restarts.
        pid: of the process that runs now.
        metrics: its metrics endpoint.
        folder: its data.
        log: what it says.
        restarts: how often it was started again.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        environment: dict[str, str],
        clock_shift: int,
        remove: Path | None = None,
        *,
        strict: bool = False,
        program: str = PROGRAM,
    ) -> None:
        self.id = f"sandbox-{number}"
        self.folder = folder / self.id
        self.log = folder / f"{self.id}.log"
        self._port = _free_port()
        self.metrics = f"http://127.0.0.1:{self._port}/metrics"
        self._program = program
        self._arguments = [str(clock_shift), *(["strict"] if strict else [])]
        self._remove = remove
        self._environment = {
            **environment,
            "DOORWARD_WORKER": self.id,
            "DOORWARD_DATA": str(self.folder),
            "DOORWARD_METRICS_PORT": str(self._port),
        }
        self.restarts = 0
        self.process = self._start()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self.process.pid

    def _start(self) -> Guarded:
        command = [sys.executable, "-m", self._program, *self._arguments]
        self.started = time.monotonic()
        return Guarded(command, log=self.log, env=self._environment, remove=self._remove)

    def restart(self) -> None:
        """Start it again after it has died."""
        self.process.release()
        self.process = self._start()
        self.restarts += 1

    def scrape(self, seconds: float = 1.0) -> dict[str, float]:
        """What its metrics endpoint says, by name and labels as written there; empty when it does not answer.

        Args:
            seconds: it may take; blocks so long.
        """
        try:
            with urllib.request.urlopen(self.metrics, timeout=seconds) as answer:  # noqa: S310  # our own loopback address
                lines = answer.read().decode().splitlines()
        except (OSError, HTTPException):  # URLError is an OSError; a worker that dies half way is neither
            return {}
        said = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in said}

    def owned(self) -> int | None:
        """How many partitions of joins it decides, 0 when there are more workers than partitions; None: not ready."""
        said = self.scrape()
        return int(said["doorward_partitions"]) if said.get("doorward_ready") else None

    def last_line(self) -> str:
        """The last thing it said, for an error message."""
        with suppress(OSError, IndexError):
            return self.log.read_text(errors="replace").strip().splitlines()[-1].removeprefix("doorward: ")
        return "it said nothing"


class Supervisor:
    """Starts dead workers again, in a thread of its own: soon when one dies now and then, ever later in a crash loop.

    Args:
        workers: whom to watch; read anew at each look, so more may come.
        say: told of every restart, once.
    """

    def __init__(self, workers: Sequence[SandboxWorker], say: Callable[[str], None]) -> None:
        self._workers = workers
        self._say = say
        self._delays: defaultdict[str, float] = defaultdict(lambda: RESTART_SECONDS)
        self._due: dict[str, float] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer. When this returns no worker is started any more. Blocks while one is being started."""
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            for worker in list(self._workers):
                code = worker.process.poll()
                if code is not None:
                    self._tend(worker, code, time.monotonic())

    def _tend(self, worker: SandboxWorker, code: int, now: float) -> None:
        """Plan a dead worker's restart, and carry it out when its time has come."""
        if worker.id not in self._due:
            if now - worker.started > STEADY_SECONDS:
                self._delays[worker.id] = RESTART_SECONDS
            delay = self._delays[worker.id]
            self._due[worker.id] = now + delay
            self._delays[worker.id] = min(2 * delay, RESTART_CAP_SECONDS)
            self._say(f"{worker.id} ended with code {code}; starting it again in {delay:g} s")
        elif now >= self._due[worker.id]:
            del self._due[worker.id]
            worker.restart()


def rejections(pushed: Push) -> list[str]:
    """One line for each document that the workers rejected."""
    return [
        f"{offer.path} revision {offer.revision} was rejected: {'; '.join(map(str, offer.problems))}"
        for offer in pushed.offers
        if offer.answer == "rejected"
    ]


class Sandbox:
    """A running deployment on this machine; see the module.

    Args:
        accounts: what the owner's development key is trusted for; none: every account, on owners' behalf.
        brokers: Kafka nodes, 1 or 3.
        workers: worker processes.
        geo: MMDB files for the workers; none: the shipped snapshot.
        data: where everything is kept; None: a temporary folder, removed at the end.
        clock_shift: ms added to the workers' clocks.
        strict: keys wait for a day before they approve service documents, and anonymity files are held to their age,
            size and canaries, as in a real deployment (rulings 32 and 33).
        partitions: of ``joins``.
        environment: more ``DOORWARD_`` variables for the workers.
        program: the module that workers run; tests have one that dies when told to.
        say: told what happens, for people.

    Attributes:
        workers: those that should be running.

    Raises:
        KafkaUnavailable: Kafka cannot be fetched or started.
        SandboxFailed: a worker does not get ready, or the kept sealing key is none.
    """

    def __init__(
        self,
        *,
        accounts: Iterable[str] = (),
        brokers: int = 1,
        workers: int = 2,
        geo: Sequence[Path] = (),
        data: Path | None = None,
        clock_shift: int = 0,
        strict: bool = False,
        partitions: int = 4,
        environment: dict[str, str] | None = None,
        program: str = PROGRAM,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.data = data or Path(tempfile.mkdtemp(prefix="doorward-"))
        # A folder of our making goes with whoever uses it last: private keys, addresses and tables are in it. The
        # keeper has it before any of them; every broker and worker that still writes when we are killed has it too.
        self._remove = self.data.resolve() if data is None else None
        self._keeper = Guarded(["tail", "-f", os.devnull], remove=self._remove) if self._remove else None
        self.authority = establish(self.data / "keys", accounts)
        self._brokers = brokers
        self.partitions = partitions
        self._wanted = workers
        self._clock_shift, self._strict, self._program = clock_shift, strict, program
        self._say = say
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DOORWARD_")},
            "DOORWARD_TRUST": str(self.authority.trust.resolve()),
            "DOORWARD_AUDIENCE": AUDIENCE,
            "DOORWARD_SEAL_KEYS": str(_sealing_key(self.data / "keys" / "seal.jwk.json").resolve()),
            "DOORWARD_GEO": os.pathsep.join(str(path.resolve()) for path in geo),
            **(environment or {}),
        }
        self.kafka = EmbeddedKafka(brokers, self.data / "kafka", remove=self._remove)
        self.workers: list[SandboxWorker] = []
        self._numbers = count(1)
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """Where the brokers listen."""
        return self.kafka.bootstrap

    def start(self) -> None:
        """Start Kafka, make the topics, start the workers and wait until they are ready."""
        self._say("starting Kafka")
        self.data.mkdir(parents=True, exist_ok=True)
        self.kafka.start()
        asyncio.run(self._make_topics())
        self._say(f"starting {self._wanted} workers")
        for _ in range(self._wanted):
            self.add_worker()
        self._await_ready()
        self._supervisor = Supervisor(self.workers, self._say)

    def add_worker(self) -> SandboxWorker:
        """Start one more worker. Returns at once: it takes seconds to get its share of the partitions."""
        worker = SandboxWorker(
            next(self._numbers),
            self.data,
            {**self._environment, "DOORWARD_KAFKA_BOOTSTRAP": self.bootstrap},
            self._clock_shift,
            self._remove,
            strict=self._strict,
            program=self._program,
        )
        self.workers.append(worker)
        return worker

    def remove_worker(self, worker: SandboxWorker, how: signal.Signals = signal.SIGTERM) -> int:
        """End a worker for good, by a signal that does; returns its exit code. Blocks until it has ended."""
        with self.unsupervised():
            self.workers.remove(worker)
            worker.process.signal(how)
            code = worker.process.wait()
            worker.process.release()
        return code

    @contextmanager
    def unsupervised(self) -> Iterator[None]:
        """Nobody starts dead workers again until the block is left; then whoever is dead is."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.stop()
        try:
            yield
        finally:
            if supervisor is not None:
                self._supervisor = Supervisor(self.workers, self._say)

    def is_ready(self) -> bool:
        """Whether every worker has found its place in the group and each partition of joins has its owner.

        In between, while a rebalance is under way, some partition has none.
        """
        owned = [worker.owned() for worker in self.workers]
        return None not in owned and sum(filter(None, owned)) == self.partitions

    async def _make_topics(self) -> None:
        async with topics.connected(self.bootstrap) as admin:
            await topics.apply(admin, topics.load_manifest(), replication=self._brokers, partitions=self.partitions)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            for worker in self.workers:
                if worker.process.poll() is not None:
                    raise SandboxFailed(f"{worker.id} ended: {worker.last_line()}")
            if time.monotonic() > deadline:
                late = next((worker for worker in self.workers if worker.owned() is None), self.workers[-1])
                raise SandboxFailed(f"{late.id} is not ready after {READY_SECONDS:.0f} s: {late.last_line()}")
            time.sleep(0.1)

    def push(self, offers: Sequence[Offer]) -> Push:
        """Push documents and wait for every worker to apply those that are accepted.

        Raises:
            SandboxFailed: a worker did not answer or apply them.
        """
        pushed = Push(offers)
        asyncio.run(push(pushed, self.bootstrap, group=GROUP, patience=PUSH_SECONDS))
        if not pushed.complete:
            raise SandboxFailed(f"documents are not applied by {', '.join(pushed.missing) or 'any worker'}")
        return pushed

    def ready(self) -> dict[str, Any]:
        """What ``doorward dev --json`` prints of this."""
        return {
            "bootstrap": self.bootstrap,
            "workers": [worker.pid for worker in self.workers],
            "metrics": [worker.metrics for worker in self.workers],
            "trust": str(self.authority.trust),
            "keys": {name: str(file) for name, file in self.authority.files.items()},
            "data": str(self.data),
        }

    def stop(self) -> None:
        """End workers, then brokers, then remove what we made."""
        if self._supervisor is not None:
            self._supervisor.stop()  # first: a worker started from here on would outlive us
        # A signal, not `release`: a guardian let go of removes the folder, under those who still write there.
        for worker in self.workers:
            worker.process.signal(signal.SIGTERM)
            worker.process.signal(signal.SIGCONT)
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(STOP_SECONDS)
            worker.process.signal(signal.SIGKILL)
            worker.process.wait()
            worker.process.release()
        self.kafka.stop()
        if self._keeper is not None:
            self._keeper.release()
            self._keeper.wait()


def _sealing_key(file: Path) -> Path:
    """The sealing key of a kept sandbox, whose sessions are sealed with it, or a new one. Raises SandboxFailed."""
    try:
        if file.exists():
            Sealer.read([file])
        else:
            new_key(file)
    except SealUnavailable as exc:
        raise SandboxFailed(str(exc)) from None
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
