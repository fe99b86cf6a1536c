"""What does ``doorward verify`` cost on a ledger of ten million records, and does it find three faults among them?

    python -m benchmarks.ledger [--records 1000000 10000000]

An embedded broker is filled with a ledger that holds: events of the sandbox's traffic (``streams.dev.traffic``: joins,
updates, leaves, repeats, malformed ones) in chunks, each answered by the real joins agent, keeper, decider and sweeper
through the real outbox, so that decisions, reports, reminders and dead letters are a worker's own. Owners' documents
and one for everybody are signed and appended to the policy log; at each tenth of the way some get a new revision, and
live sessions are swept. Only the sessions' changelog is left out, which ``verify`` does not read. Counted as records:
those of ``joins``, ``decisions``, ``decisions.report`` and ``joins.dlq``.

At each size of ``--records`` (the ledger grows from one to the next) ``doorward verify`` is run as a user runs it, and
watched from outside: CPU and wall time, the largest resident size, the largest its temporary file became. Before the
last run three faults are added: an event that is committed and has no answer, a decision that nothing calls for, and a
decision from the middle of the log said again with another revision in it. Of these ``verify`` has to find each, and of
everything else it has to say that it holds.

Not measured: filling, which is told so that nobody takes it for hung. Ten million records take some 6 GB below TMPDIR
and half an hour; all is removed at the end.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2
from aiokafka.structs import ConsumerRecord
from prometheus_client import CollectorRegistry

from benchmarks import report
from benchmarks.stage import TICK
from benchmarks.standins import Parts, Unkept
from streams import __version__
from streams.adapters import topics
from streams.adapters.anonymity import ANY_FILE
from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core import instants
from streams.core.events import Provenance
from streams.core.index import Index
from streams.core.sessions import Sessions
from streams.dev.authority import AUDIENCE, establish
from streams.dev.kafka import EmbeddedKafka
from streams.dev.traffic import Addresses, Made, Traffic
from streams.runtime.config import MAX_BATCH_BYTES
from streams.runtime.produce import Outbox
from streams.wire import cloudevents, signed
from streams.wire.trust import read_trust

PARTITIONS: Final = 4
GROUP: Final = "doorward"
CHUNK: Final = 2_000
"""Joins offered at a time."""
LIVE: Final = 20_000
"""People in meetings."""
LATENESS_MS: Final = 5_000
"""How long a leave is remembered; the traffic has nothing later than the next record."""
ACCOUNTS: Final = [f"clinic-{number}" for number in range(40)]
CHANGES: Final = 10
"""How often documents change on the way to a size."""
REVISED: Final = 3
"""Documents that change at once."""
COUNTED: Final = ("joins", "decisions", "decisions.report", "joins.dlq")
DAY_MS: Final = 86_400_000
LOOK_SECONDS: Final = 0.05


class Steady(Traffic):
    """Traffic in which people leave as fast as others come, once there are enough."""

    def batch(self, joins: int, now: str) -> list[Made]:
        """As the sandbox's, and the leaves that keep to ``LIVE``."""
        made = super().batch(joins, now)
        return made + [self._leave() for _ in range(len(self._live) - LIVE)]


class Counting(Outbox):
    """An outbox that counts what it sent."""

    def __init__(self, producer: AIOKafkaProducer, sent: Counter[str]) -> None:
        super().__init__(producer)
        self._sent = sent

    async def send(self, check: Callable[[], None]) -> Any:
        """As any outbox."""
        acks = await super().send(check)
        self._sent.update(acks.records)
        return acks


def now() -> int:
    return time.time_ns() // 1_000_000


def partition_of(key: bytes) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def licensing(account: str, revision: int) -> dict[str, Any]:
    """A clinic's document: who is elsewhere is removed or looked at, in turns."""
    then = "remove" if revision % 2 else "alert"
    rules = [
        {"id": "hosts", "when": {"role": ["host", "cohost"]}, "then": "admit"},
        {"id": "elsewhere", "when": {"country": {"not": ["US", "CA", "DE", "JP"]}}, "then": then},
    ]
    scope = {"scope": "account", "account": account, "name": "licensing", "revision": revision}
    return {**scope, "rules": rules, "default": "admit", "contest": "https://clinic.example/contest"}


def trial(account: str) -> dict[str, Any]:
    """What a clinic tries in report mode."""
    scope = {"scope": "account", "account": account, "name": "stricter", "revision": 1, "mode": "report"}
    return {**scope, "rules": [{"id": "here", "when": {"country": ["US"]}, "then": "admit"}], "default": "alert"}


def everybodys() -> dict[str, Any]:
    """A service document that looks at some territories; it removes nobody, so it needs no notice."""
    return {
        "scope": "service",
        "name": "export",
        "revision": 1,
        "class": "legal",
        "ground": "export control",
        "reference": "https://doorward.example/order",
        "contest": "https://doorward.example/contest",
        "rules": [{"id": "there", "when": {"country": ["SG", "BR"]}, "then": "alert"}],
        "default": "admit",
        "not_before": instants.render(now()),
        "not_after": instants.render(now() + 30 * DAY_MS),
    }


# -- filling -----------------------------------------------------------------------------------------------------


class Filler:
    """Fills the topics as workers and backends would.

    Args:
        producer: started.
        folder: for keys.

    Attributes:
        sent: records, by topic.
        offsets: the next of each partition of ``joins``.
    """

    def __init__(self, producer: AIOKafkaProducer, folder: Path) -> None:
        self.sent: Counter[str] = Counter()
        self.offsets = [0] * PARTITIONS
        self.authority = establish(folder / "keys", ACCOUNTS)
        self._producer = producer
        self._rng = random.Random(6)
        self._traffic = Steady(Addresses(shipped(), self._rng), self._rng, ACCOUNTS)
        self._revisions = dict.fromkeys(ACCOUNTS, 0)
        geo = Geo.open([shipped()], vocabulary(), ANY_FILE)
        geo.review(now())
        metrics = Metrics(CollectorRegistry())
        self.decider = Decider(Index(), geo.facts, Provenance(-1, geo.build, geo.time, None, __version__, "en"))
        keeper = SessionKeeper(
            self.decider, Sealer([bytes(range(64))]), metrics, lateness=LATENESS_MS, ttl=DAY_MS, remind=30_000
        )
        for partition in range(PARTITIONS):
            keeper.views[partition] = Sessions()
        self._sweeper = Sweeper(self.decider, keeper, metrics, clock=now, ask_turn=lambda: None, finished=lambda: None)
        self._agent: Any = JoinsAgent(
            keeper=keeper,
            sweeper=self._sweeper,
            table=Unkept(),
            outbox=self.outbox,
            clock=now,
            metrics=metrics,
            partitions=PARTITIONS,
            max_event_bytes=1 << 20,
            fuse=Fuse(0.05, 100),
        )

    def outbox(self) -> Outbox:
        """An empty one."""
        return Counting(self._producer, self.sent)

    def count(self) -> int:
        """Records there are."""
        return sum(self.sent[topic] for topic in COUNTED)

    def draw(self) -> Made:
        """One more join."""
        return self._traffic.batch(1, instants.render(now()))[0]

    async def publish(self, value: dict[str, Any]) -> None:
        """Append a document to the policy log and go by it from now on."""
        offer = self.authority.offer(value)
        key = offer.path.encode()
        found = await self._producer.send_and_wait("policies", offer.raw, key=key, partition=0)
        index = self.decider.index
        revision = signed.accept(
            offer.raw,
            trust=read_trust(self.authority.trust),
            audience=AUDIENCE,
            vocabulary=vocabulary(),
            index=index,
            record=signed.Record(key, found.offset, found.timestamp),
        )
        index.put(revision)
        provenance = msgspec.structs.replace(self.decider.provenance, policy_offset=found.offset)
        self.decider.provenance = provenance
        self._sweeper.accepted([revision], found.offset)

    async def begin(self) -> None:
        """The documents there are from the start."""
        await self.publish(everybodys())
        for account in ACCOUNTS:
            await self._revise(account)
        for account in ACCOUNTS[::4]:
            await self.publish(trial(account))

    async def _revise(self, account: str) -> None:
        self._revisions[account] += 1
        await self.publish(licensing(account, self._revisions[account]))

    async def grow(self, records: int) -> None:
        """Go on until there are so many records, and everything is answered, swept and committed."""
        first = self.count()
        for step in range(1, CHANGES + 1):
            until = first + (records - first) * step // CHANGES
            while self.count() < until:
                await self._chunk()
            told(f"  {self.count():,} of {records:,} records")
            if step < CHANGES:
                for account in self._rng.sample(ACCOUNTS, REVISED):
                    await self._revise(account)
        while not self._sweeper.has_swept(self.decider.provenance.policy_offset):
            await self._agent.answer(Parts({}))

    async def _chunk(self) -> None:
        made = self._traffic.batch(CHUNK, instants.render(now()))
        parts = await self.append(made)
        self._sweeper.tick()
        await self._agent.answer(Parts(parts))

    async def append(self, made: list[Made]) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Append records to ``joins``; returns them as a consumer would have them."""
        outbox, at = self.outbox(), now()
        parts: dict[TopicPartition, list[ConsumerRecord]] = {}
        for each in made:
            number, key, value = partition_of(each.key), each.key, each.value
            outbox.add("joins", number, key, value, at)
            record = ConsumerRecord(
                "joins", number, self.offsets[number], at, 0, key, value, None, len(key), len(value), ()
            )
            self.offsets[number] += 1
            parts.setdefault(TopicPartition("joins", number), []).append(record)
        acks = await outbox.send(lambda: None)
        for place, batches in acks.batches.items():
            offset, count = batches[-1]
            if offset + count != self.offsets[place.partition]:
                raise SystemExit(f"somebody else writes to {place}")
        return parts


async def commit(bootstrap: str, offsets: list[int]) -> None:
    """Commit as the workers' group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition("joins", partition) for partition in range(PARTITIONS)])
        await consumer.commit({TopicPartition("joins", n): offset for n, offset in enumerate(offsets)})
    finally:
        await consumer.stop()


# -- faults ------------------------------------------------------------------------------------------------------


@dataclass
class Planted:
    """Where faults are: topic, partition and offset, by what must be found there.

    Attributes:
        places: of the records.
        wanted: invariants broken, with how often.
    """

    places: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)


async def plant(filler: Filler, bootstrap: str, producer: AIOKafkaProducer) -> Planted:
    """Add three faults."""
    planted = Planted(wanted={"I1": 1, "I2": 1, "I3": 1, "I4": 1, "I5": 1})
    unanswered, unasked = filler.draw(), filler.draw()
    number = partition_of(unanswered.key)
    await filler.append([unanswered])
    planted.places["no answer (I1, I5)"] = "joins", number, filler.offsets[number] - 1

    event = cloudevents.decode(unasked.value)
    baseless, number = filler.decider.answer(event, 0, now()).decision, partition_of(unasked.key)
    sent = await producer.send_and_wait("decisions", cloudevents.encode(baseless), key=unasked.key, partition=number)
    planted.places["nothing calls for it (I2)"] = "decisions", number, sent.offset

    record = await _from_the_middle(bootstrap, number)
    altered = re.sub(rb'("policies":\{"[^"]+":)(\d+)', lambda m: m[1] + b"%d" % (int(m[2]) + 90), record.value, count=1)
    if altered == record.value:
        raise SystemExit("the decision in the middle is by no document")
    sent = await producer.send_and_wait("decisions", altered, key=record.key, partition=number)
    planted.places["not what deciding again gives (I3, I4)"] = "decisions", number, sent.offset
    return planted


async def _from_the_middle(bootstrap: str, partition: int) -> ConsumerRecord:
    place = TopicPartition("decisions", partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([place])
        ends = await consumer.end_offsets([place])
        consumer.seek(place, ends[place] // 2)
        return await consumer.getone(place)
    finally:
        await consumer.stop()


# -- verifying ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a run of ``doorward verify`` cost, and said.

    Attributes:
        records: in the ledger.
        cpu: seconds, user and system.
        wall: seconds.
        resident: the most memory it had, bytes.
        spilled: the largest its temporary file was, bytes.
        code: its exit code.
        account: what it said.
    """

    records: int
    cpu: float
    wall: float
    resident: int
    spilled: int
    code: int
    account: dict[str, Any]

    def row(self) -> list[str]:
        """Of the table."""
        violations = sum(self.account["violations"].values())
        return [
            f"{self.records:,}",
            f"{self.account['events']:,}",
            f"{self.account['decisions']:,}",
            f"{self.cpu:,.0f}",
            f"{self.wall:,.0f}",
            f"{self.records / self.cpu:,.0f}",
            f"{self.resident / 2**20:,.0f}",
            f"{self.spilled / 2**20:,.0f}",
            f"{violations}",
        ]


COLUMNS: Final = (
    "records", "events", "decisions", "CPU s", "wall s", "records per CPU s", "peak RSS, MiB", "temporary file, MiB",
    "violations",
)  # fmt: skip


def verify(bootstrap: str, trust: Path, records: int, folder: Path) -> Run:
    """Run it and watch it."""
    command = [sys.executable, "-m", "streams.cli.main", "verify", "--json", "--group", GROUP]
    command += ["--bootstrap", bootstrap, "--trust", str(trust), "--audience", AUDIENCE]
    said, began = folder / "said.json", time.monotonic()
    with said.open("wb") as out, subprocess.Popen(command, stdout=out) as process:
        cpu, resident, spilled = 0.0, 0, 0
        try:
            while process.poll() is None:
                cpu, resident, spilled = _looked_at(process.pid, cpu, resident, spilled)
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
    wall = time.monotonic() - began
    if process.returncode not in (0, 1):
        raise SystemExit(f"doorward verify ended with {process.returncode}")
    return Run(records, cpu, wall, resident, spilled, process.returncode, json.loads(said.read_bytes()))


def _looked_at(pid: int, cpu: float, resident: int, spilled: int) -> tuple[float, int, int]:
    """CPU seconds so far, the most memory, the largest deleted file it holds open; the old ones of a process gone."""
    proc = Path(f"/proc/{pid}")
    try:
        times = (proc / "stat").read_text().rsplit(")", 1)[1].split()
        high = re.search(r"VmHWM:\s+(\d+)", (proc / "status").read_text())
        held = [file.stat() for file in (proc / "fd").iterdir()]
    except OSError:
        return cpu, resident, spilled
    sizes = [each.st_blocks * 512 for each in held if each.st_nlink == 0]
    return (
        (int(times[11]) + int(times[12])) / TICK,
        max(resident, int(high[1]) * 1024 if high else 0),
        max([spilled, *sizes]),
    )


def told(line: str) -> None:
    print(line, flush=True)


def describe(run: Run) -> None:
    """A run, for whoever waits."""
    told("  " + "; ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, run.row(), strict=True)))
    if run.account["unprovable"] or run.account["waiting"]:
        told(f"  not provable {run.account['unprovable']}, waiting {run.account['waiting']}")


# -- all of it ---------------------------------------------------------------------------------------------------


async def filled(bootstrap: str, folder: Path, sizes: list[int]) -> list[Run]:
    """Fill and verify, size by size, at last with faults."""
    async with topics.connected(bootstrap) as admin:
        await topics.apply(admin, topics.load_manifest(), replication=1, partitions=PARTITIONS)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=MAX_BATCH_BYTES, max_request_size=4 * MAX_BATCH_BYTES
    )
    await producer.start()
    runs = []
    try:
        filler = Filler(producer, folder)
        await filler.begin()
        for size in sizes:
            at = time.monotonic()
            await filler.grow(size)
            on_disk = sum(file.stat().st_size for file in (folder / "kafka").rglob("*.log"))
            told(f"filled in {time.monotonic() - at:,.0f} s: {dict(filler.sent)}, {on_disk / 2**30:.1f} GiB of logs")
            planted = await plant(filler, bootstrap, producer) if size == sizes[-1] else Planted()
            await commit(bootstrap, filler.offsets)
            run = await asyncio.to_thread(verify, bootstrap, filler.authority.trust, filler.count(), folder)
            describe(run)
            check(run, planted)
            runs.append(run)
        return runs
    finally:
        await producer.stop()


def check(run: Run, planted: Planted) -> None:
    """Tell what was found of the faults. Ends the program where that is not what was planted."""
    places: dict[tuple[str, int, int], list[str]] = {}
    for each in run.account["first"]:
        place = each["topic"], each["partition"], each["offset"]
        places.setdefault(place, []).append(f"{each['invariant']} {each['what']}")
    for what, place in planted.places.items():
        told(f"  {what} at {place}: {'; '.join(places.get(place, ['NOT FOUND']))}")
    wanted = planted.wanted, {*planted.places.values()}, int(bool(planted.places))
    if (run.account["violations"], {*places}, run.code) != wanted:
        raise SystemExit(f"not what was planted: {run.account['violations']}, {run.account['first']}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="doorward-ledger-") as folder:
        os.environ["TMPDIR"] = folder  # of `verify`: its file is deleted and looked for among those it holds open
        with EmbeddedKafka(data=Path(folder) / "kafka") as kafka:
            runs = asyncio.run(filled(kafka.bootstrap, Path(folder), sorted(given.records)))
    rows = [run.row() for run in runs]
    told(report.table(COLUMNS, rows))
    if given.record:
        notes = [
            "The last row's ledger has three faults that break five invariants; they were found, and nothing else was."
        ]
        question = "What does `doorward verify` cost, and does its memory grow with the ledger?"
        report.record("ledger", question, COLUMNS, rows, notes=notes)


if __name__ == "__main__":
    main()
