"""What do metrics cost on the hot path, an event?

    python -m benchmarks.instruments [--events 10000] [--rounds 7]

One process, no broker: real events (``streams.dev.traffic``, with their updates, leaves, repeats and malformed ones)
go through the real joins agent, keeper, decider and shipped geo file in chunks of several sizes, since part of the cost
is one of chunks. Two figures of each size, CPU time of this thread:

* *counted*: what is there for metrics alone, of each chunk right after it was answered, again and again for a clock
  that ticks slowly: ``JoinsAgent._count``, and what deciding notes down for it. The processor's caches are warm then;
  the first time costs up to twice as much. This figure is held to the target of 0.3 µs an event.
* *whole*: the agent's ``answer`` with metrics as they are, and with metrics whose observations do nothing, in turns.
  So small a difference drowns in what else differs from run to run; nothing large can hide from it.

Not measured: what is looked at once a second (``agents.instruments``), and scraping; both cost the same whatever the
load. No broker, and an outbox that keeps nothing: the whole is smaller than a worker's, so the share of metrics in it
is larger than in a worker.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from aiokafka.structs import ConsumerRecord, TopicPartition
from prometheus_client import CollectorRegistry

from benchmarks import report
from benchmarks.standins import Parts, Unkept, no_garbage_collected
from streams.adapters import geo
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core import instants
from streams.core.events import Provenance
from streams.core.index import Index, Revision
from streams.core.policy import parse
from streams.core.sessions import Sessions
from streams.dev.demo import ACCOUNTS
from streams.dev.traffic import Addresses, Traffic

SIZES: Final = (1, 10, 100, 1000)
"""Events a chunk; under load a poll brings tens to hundreds, and one at a time is a worker with nothing to do."""
TARGET: Final = 0.3
"""µs an event."""
AGAIN: Final = 10
"""Times that a chunk is counted."""
COLUMNS: Final = ("events a chunk", "counted", f"target {TARGET}", "whole, with", "whole, without", "ratio")
LATEST_MS: Final = 40
"""Events of a chunk are up to so many ms old when they are answered."""


class Still(Metrics):
    """Metrics of the same names whose observations do nothing."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())
        for name in vars(self).keys() - {"registry"}:
            setattr(self, name, _NOTHING)


class _Nothing:
    def labels(self, *words: str) -> "_Nothing":
        return self

    def inc(self, amount: float = 1) -> None: ...

    def set(self, value: float) -> None: ...

    def observe(self, value: float, word: str = "") -> None: ...

    def observe_all(self, values: Iterable[float], word: str = "", *, shift: float = 0.0) -> None: ...

    def count_all(self, words: Iterable[object]) -> None: ...


_NOTHING: Final = _Nothing()


class Swallow(Unkept):
    """An outbox too: everything is acknowledged, nothing kept."""

    def add(self, *record: object) -> None: ...

    async def send(self, check: Callable[[], None]) -> None: ...


PARTITION: Final = TopicPartition("joins", 0)


class Rig:
    """An agent with an empty memory.

    Args:
        metrics: that it counts into.
        facts: the geo file.
        index: the documents in force.
    """

    def __init__(self, metrics: Metrics, facts: geo.Geo, index: Index) -> None:
        provenance = Provenance(0, facts.build, facts.time, None, "0", "en")
        decider = Decider(index, facts.facts, provenance)
        keeper = SessionKeeper(
            decider, Sealer([bytes(range(64))]), metrics, lateness=21_600_000, ttl=86_400_000, remind=30_000
        )
        keeper.views[0] = Sessions()
        sweeper = Sweeper(decider, keeper, metrics, clock=now, ask_turn=lambda: None, finished=lambda: None)
        self.agent: Any = JoinsAgent(
            keeper=keeper,
            sweeper=sweeper,
            table=Swallow(),
            outbox=Swallow,
            clock=now,
            metrics=metrics,
            partitions=1,
            max_event_bytes=1 << 20,
            fuse=Fuse(0.05, 100),
        )

    async def answer(self, chunks: Sequence[Parts]) -> None:
        for chunk in chunks:
            await self.agent.answer(chunk)


def now() -> int:
    return time.time_ns() // 1_000_000


def documents() -> Index:
    """Hosts in, then by country, for one of the accounts; the others have no document."""
    rules = [
        {"id": "hosts", "when": {"role": ["host", "cohost"]}, "then": "admit"},
        {"id": "elsewhere", "when": {"country": {"not": ["US", "CA", "DE", "FR", "JP"]}}, "then": "remove"},
    ]
    fields = {"scope": "account", "account": ACCOUNTS[0], "name": "licensing", "revision": 1, "default": "admit"}
    index = Index()
    index.put(Revision(document=parse({**fields, "rules": rules}, vocabulary()), content=b"licensing"))
    return index


def drawn(events: int, rng: random.Random) -> list[tuple[bytes, bytes]]:
    """Keys and values of events, as many as asked for."""
    traffic = Traffic(Addresses(geo.shipped(), rng), rng, ACCOUNTS)
    made = traffic.batch(events, instants.render(now()))[:events]
    return [(each.key, each.value) for each in made]


def chunked(values: Sequence[tuple[bytes, bytes]], size: int, rng: random.Random) -> list[Parts]:
    """Chunks of records that were appended just now."""
    at = now()
    chunks = []
    for start in range(0, len(values), size):
        ages = sorted((rng.randrange(LATEST_MS) for _ in values[start : start + size]), reverse=True)
        records = [
            ConsumerRecord("joins", 0, start + place, at - age, 0, key, value, None, len(key), len(value), ())
            for place, ((key, value), age) in enumerate(zip(values[start:], ages, strict=False))
        ]
        chunks.append(Parts({PARTITION: records}))
    return chunks


def spent(job: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    started = time.thread_time()
    job()
    return time.thread_time() - started


def cpu(job: Callable[[], object]) -> float:
    """The same, while no garbage is collected."""
    with no_garbage_collected():
        return spent(job)


class Notes:
    """What deciding notes down as it goes, in the words of ``agents.joins``: of one chunk, again and again.

    All is found in the processor's caches, as it is there: an event and its decision have just been made, and of a
    record deciding reads more right afterwards.

    Args:
        work: what the chunk came to.
        chunk: that was answered.
    """

    __slots__ = ("_records", "_said", "_types", "types", "verdicts", "waits")

    def __init__(self, work: Any, chunk: Parts) -> None:
        self._records = chunk.parts[PARTITION]
        self._types = [Said(type_) for type_ in work.types]
        self._said = [Said(*words) for words in work.verdicts]

    def kept(self) -> None:
        for _ in range(AGAIN):
            self.types: list[str] = []
            self.verdicts: list[tuple[str, str, str]] = []
            self.waits: list[int] = []
            taken = now()
            self.waits += [taken - at for record in self._records if (at := record.timestamp) >= 0]
            for event in self._types:
                self.types.append(event.type)
            for made in self._said:
                self.verdicts.append((made.type, made.cause, "enforce"))

    def left_out(self) -> None:
        for _ in range(AGAIN):
            for _ in self._types:
                pass
            for _ in self._said:
                pass


class Said:
    """An event's type, or a decision's words."""

    __slots__ = ("cause", "mode", "type")

    def __init__(self, type_: str, cause: str = "", mode: str = "") -> None:
        self.type, self.cause, self.mode = type_, cause, mode


async def counted(rig: Rig, chunks: Sequence[Parts]) -> tuple[float, float]:
    """CPU seconds an event of counting chunks, and of what deciding notes down for that."""
    count, taken = rig.agent._count, []  # noqa: SLF001 - what is measured
    rig.agent._count = lambda chunk, work, **seconds: taken.append((work, seconds))  # noqa: SLF001 - likewise
    counting = noting = 0.0
    for chunk in chunks:
        await rig.agent.answer(chunk)
        [(work, seconds)] = taken
        taken.clear()
        counting += spent(lambda work=work, chunk=chunk, seconds=seconds: repeat(count, chunk, work, **seconds))
        notes = Notes(work, chunk)
        noting += spent(notes.kept) - spent(notes.left_out)
    events = AGAIN * sum(map(len, chunks))
    return counting / events, noting / events


def repeat(count: Callable[..., None], chunk: Parts, work: Any, **seconds: float) -> None:
    for _ in range(AGAIN):
        count(chunk, work, **seconds)


def whole(given: argparse.Namespace, facts: geo.Geo, index: Index, size: int) -> tuple[list[float], list[float]]:
    """CPU seconds an event of answering, with metrics and without, round by round and in turns."""
    taken: dict[type[Metrics], list[float]] = {Real: [], Still: []}
    for number in range(given.rounds):
        values = drawn(given.events, random.Random(number))
        for kind in (Real, Still) if number % 2 else (Still, Real):
            rig, chunks = Rig(kind(), facts, index), chunked(values, size, random.Random(number))
            taken[kind].append(cpu(lambda rig=rig, chunks=chunks: asyncio.run(rig.answer(chunks))) / len(values))
    return taken[Real], taken[Still]


class Real(Metrics):
    """Those of a worker, in a registry of their own."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())


def told(seconds: Sequence[float]) -> str:
    """µs."""
    return report.spread([1e6 * each for each in seconds], ",.3f")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--record", action="store_true", help="keep the result in results/ and RESULTS.md")
    given = parser.parse_args()
    facts, index = geo.Geo.open([geo.shipped()], vocabulary()), documents()
    print(
        f"commit {report.commit()}, {given.events} events, {given.rounds} rounds; µs an event, median (least to most)"
    )
    rows, figures = [], {}
    for size in SIZES:
        parts = []
        for number in range(given.rounds):
            rng = random.Random(number)
            chunks = chunked(drawn(given.events, rng), size, rng)
            with no_garbage_collected():
                parts.append(asyncio.run(counted(Rig(Real(), facts, index), chunks)))
        together = [sum(each) for each in parts]
        real, still = whole(given, facts, index, size)
        ratio = statistics.median(one / other for one, other in zip(real, still, strict=True))
        is_met = statistics.median(together) * 1e6 <= TARGET
        rows.append(
            [f"{size:,}", told(together), "met" if is_met else "missed", told(real), told(still), f"{ratio:.3f}"]
        )
        figures[size] = {"counted": parts, "with": real, "without": still}
        print("  ".join(f"{head}: {cell};" for head, cell in zip(COLUMNS, rows[-1], strict=True)), flush=True)
    if given.record:
        question = "What do metrics cost on the hot path, in CPU microseconds an event (no broker)?"
        report.record("instruments", question, COLUMNS, rows, figures=figures)


if __name__ == "__main__":
    main()
