"""What does the same job cost on other engines? The same decisions, events, broker and run; one core for the program.

    python -m benchmarks.peers.compare [--events 300000] [--warm-up 1400000] [--rounds 3] [--only NAME...]
                                       [--stateless | --stateful] [--record]

Two jobs. *Stateless*: strict decoding, the key's check, geography, judging, ids, encoding, acks of all replicas,
offsets committed every half second. *Stateful*: besides, what the worker does to remember participations: the events of
each in order, sealed addresses, a stamped record on a changelog, RocksDB. ``contestants`` names the peers; each one's
program says how it is set up and where it does less.

In each round every peer reads the same events, one after the other, beginning with another one each round. The program
has core 0; the broker, and this, core 1. Watched from outside: decisions from end offsets, CPU from /proc with all
threads, a virtual machine's included. All read ``--warm-up`` events first, so that just-in-time compilers are done, and
every peer has as many sessions when it is measured; then come ``--events``, and of those the first fifth doesn't count
either. A slow peer (stock Faust, at ten to fifteen times the cost) begins ``--few`` events before the end instead, of
which the first fifth doesn't count: it compiles nothing, and has fewer sessions, which does it no harm.

Then everything the peer said is read back and held to what Doorward's core decides offline (``verifier``), and with
sessions what its changelog holds. A peer that is wrong is not timed: its row says what was wrong.

Doorward's worker does more than its peers: report-mode decisions, dead letters, metrics, the lease and its fences,
sweeps; it reads signed policies. It is told to repeat no removal (the others don't), and runs once a round, stateful.

With all defaults this takes an hour, 4 GB of memory and 10 of disk; ``--warm-up 0 --events 60000 --rounds 1`` takes a
few minutes and is unfair to Java.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks import report
from benchmarks.peers import job
from benchmarks.peers.contestants import PEERS, RAW, ROOT, LeftOut, Peer, versions
from benchmarks.peers.traffic import Events
from benchmarks.peers.verifier import Decisions, Expectation, Record, Stated, States, stated
from benchmarks.stage import PARTITIONS, Stage, Usage, stop
from streams import __version__
from streams.adapters import topics
from streams.adapters.anonymity import ANY_FILE
from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.core.events import Provenance
from streams.core.sessions import Session
from streams.dev.authority import AUDIENCE
from streams.wire import signed
from streams.wire.documents import Place
from streams.wire.trust import read_trust

BEGIN: Final = 0.2
"""Share of the measured events that doesn't count."""
COMMIT_SECONDS: Final = 20.0
"""How long a peer may take to commit, once it has said all."""
SLOWEST: Final = 1.5e-3
"""Seconds an event that any peer may take."""


@dataclass(frozen=True)
class Turn:
    """What one peer did in one round.

    Attributes:
        usage: None where it was wrong or ended early.
        wrong: what the verifier found, or why it ended.
    """

    usage: Usage | None
    wrong: Sequence[str]


class Comparison:
    """All rounds.

    Args:
        events: how many are measured.
        warm_up: how many are read before.
        few: how many a slow peer gets.
    """

    def __init__(self, events: int, warm_up: int, few: int) -> None:
        started = time.monotonic()
        self.events = Events(warm_up + events, PARTITIONS)
        self._begin = (warm_up + BEGIN * events) / (warm_up + events)
        self._few = min(few, len(self.events))
        self._expected: dict[tuple[bool, bool], Expectation] = {}
        print(f"made {len(self.events):,} events in {time.monotonic() - started:.0f} s", flush=True)

    def first(self, peer: Peer) -> int:
        """The event a peer begins with."""
        return len(self.events) - self._few if peer.is_slow else 0

    def expected(self, stage: Stage, peer: Peer, *, sessions: bool) -> Expectation:
        """What a peer has to say; of the worker anew each round, as receipts name its signed documents."""
        if peer.is_worker:
            return self._expectation(_signed(stage), 0, sessions=True)
        kind = sessions, peer.is_slow
        if kind not in self._expected:
            decider = job.decider(stage.policies, shipped())
            self._expected[kind] = self._expectation(decider, self.first(peer), sessions=sessions)
        return self._expected[kind]

    def _expectation(self, decider: Decider, first: int, *, sessions: bool) -> Expectation:
        return Expectation(decider, self.events.records(first), sessions=sessions, at=job.now())

    def turn(self, stage: Stage, peer: Peer, command: Sequence[str], *, sessions: bool) -> Turn:
        """Let a peer have its turn, and look at what it said."""
        group = f"{peer.name.replace(' ', '-')}-{'stateful' if sessions else 'stateless'}"
        decisions, changelog = "decisions" if peer.is_worker else f"decisions-{group}", peer.changelog(group)
        environment = stage.environment(group, **_told(stage), DECISIONS=decisions)
        if not peer.is_worker:
            stage.create(decisions)
            if sessions:
                environment["SESSIONS"] = str(stage.folder / f"sessions-{group}")
                Path(environment["SESSIONS"]).mkdir()
        if sessions and peer.ours:
            stage.create(changelog, cleanup_policy="compact")
        if first := self.first(peer):
            self.events.begin(stage.bootstrap, group, first)
        expected = self.expected(stage, peer, sessions=sessions)
        begin, timeout = (BEGIN if peer.is_slow else self._begin), 120 + SLOWEST * (len(self.events) - first)
        usage, wrong = None, []
        program = stage.start(command, environment)
        try:
            usage = stage.watch(program, expected.count, begin=begin, topic=decisions, timeout=timeout)
            asyncio.run(_committed(stage.bootstrap, group, self.events.ends()))
        except (SystemExit, OSError) as exc:  # the program ended or stalled; it may be gone between two looks
            wrong = [f"it did not get through: {exc}"]
        finally:
            stop(program)
        holds = changelog if sessions and not wrong else None
        wrong += asyncio.run(_verified(stage, expected, decisions, holds, peer.subject))
        asyncio.run(_delete(stage.bootstrap, decisions))
        return Turn(None if wrong else usage, wrong)


def _told(stage: Stage) -> dict[str, str]:
    """What peers are told beside what the stage tells every program."""
    codes, file = vocabulary(), stage.folder / "vocabulary.json"
    countries = {country: codes.continent_of[country] for country in sorted(codes.countries)}
    file.write_text(json.dumps({"countries": countries, "subdivisions": sorted(codes.subdivisions)}))
    return {"VOCABULARY": str(file), "PYTHONPATH": str(ROOT), "DOORWARD_REMIND": "86400"}


# -- what a peer said --------------------------------------------------------------------------------------------


def _signed(stage: Stage) -> Decider:
    """Decides as the worker does, by what is in the policy log."""
    log = asyncio.run(_all(stage.bootstrap, "policies", 1))
    files = [(record.value or b"", Place("policies", record.offset)) for record in log]
    trust = read_trust(stage.authority.trust)
    index, findings = signed.index_of_signed(files, trust=trust, audience=AUDIENCE, vocabulary=vocabulary())
    if findings:
        raise SystemExit(f"the policy log has problems: {findings}")
    geo = Geo.open([shipped()], vocabulary(), ANY_FILE)
    geo.review(job.now())
    return Decider(index, geo.facts, Provenance(0, geo.build, geo.time, None, __version__))


async def _all(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[Record]:
    return [record async for record in _records(bootstrap, topic, partitions)]


async def _records(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> AsyncIterator[Record]:
    """Every record of a topic, those of a partition in order."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=1 << 20
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        unread = {place for place in places if ends[place]}
        while unread:
            for place, batch in (await consumer.getmany(*unread, timeout_ms=200)).items():
                for record in batch:
                    yield Record(place.partition, record.offset, record.key, record.value, record.headers)
            unread = {place for place in unread if await consumer.position(place) < ends[place]}
    finally:
        await consumer.stop()


async def _committed(bootstrap: str, group: str, ends: dict[int, int]) -> None:
    """Wait until a group has committed all of ``joins``; raises SystemExit where it doesn't."""
    deadline = time.monotonic() + COMMIT_SECONDS
    async with topics.connected(bootstrap) as admin:
        while True:
            found = await admin.list_consumer_group_offsets(group)
            held = {place.partition: said.offset for place, said in found.items() if place.topic == "joins"}
            if held == ends:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"it committed {held} and not {ends}")
            await asyncio.sleep(0.1)


async def _verified(
    stage: Stage, expected: Expectation, decisions: str, changelog: str | None, subject: Callable[[bytes], bytes]
) -> list[str]:
    """What is wrong with a peer's decisions, and with its changelog where there is one."""
    said = Decisions(expected)
    async for record in _records(stage.bootstrap, decisions):
        said.take(record)
    wrong = said.finish()
    if changelog is not None:
        states, sealer = States(expected), Sealer.read([stage.seal])
        async for record in _records(stage.bootstrap, changelog):
            if record.key is not None:
                key = subject(record.key)
                states.take(key, _stated(sealer, record._replace(key=key)))
        wrong += states.finish()
    return wrong


def _stated(sealer: Sealer, record: Record) -> Stated | None:
    """What a record of a changelog says; None where it bears no genuine stamp."""
    key, value = record.key or b"", record.value
    state = None if value is None else job.opened(sealer, record.partition, key, value)
    if isinstance(state, Session):
        return stated(state, None if state.sealed is None else sealer.unseal(state.sealed, key))
    return None if state is None else stated(state)


async def _delete(bootstrap: str, topic: str) -> None:
    """Make room: a peer's decisions take a gigabyte."""
    async with topics.connected(bootstrap) as admin:
        await admin.delete_topics([topic])


# -- all of it ---------------------------------------------------------------------------------------------------


def contestants(only: Sequence[str]) -> tuple[list[tuple[Peer, Sequence[str]]], list[str]]:
    """The peers that can be had, with their commands; and a line for each that cannot."""
    found, left_out = [], []
    for peer in PEERS:
        if only and peer.name not in only:
            continue
        try:
            found.append((peer, peer.command()))
        except LeftOut as exc:
            left_out.append(f"{peer.name} is left out: {exc}.")
            print(left_out[-1], flush=True)
    return found, left_out


def table(turns: dict[str, list[Turn]]) -> list[list[str]]:
    """Rows: a peer's name, rate, cost, cost beside the raw loop in the same round, memory."""
    rows = []
    for name, had in turns.items():
        if wrong := next((turn.wrong for turn in had if turn.usage is None), None):
            rows.append([name, f"not timed: {wrong[0]}", "", "", ""])
            continue
        usages = [turn.usage for turn in had if turn.usage is not None]
        beside = [
            usage.cost / raw.usage.cost
            for usage, raw in zip(usages, turns.get(RAW, []), strict=False)
            if raw.usage is not None
        ]
        rows.append(
            [
                name,
                report.spread([usage.rate for usage in usages], ",.0f"),
                report.spread([usage.cost for usage in usages]),
                report.spread(beside) if beside else "",
                report.spread([usage.resident / 2**20 for usage in usages], ",.0f"),
            ]
        )
    return rows


COLUMNS: Final = ("", "decisions/s", "µs CPU a decision", "beside raw aiokafka", "resident, MiB")


def tell(job_name: str, turns: dict[str, list[Turn]], notes: Sequence[str], *, record: bool) -> None:
    """Print the table of a job, and keep it."""
    rows = table(turns)
    print(f"\n{job_name}\n{report.table(COLUMNS, rows)}", *notes, sep="\n", flush=True)
    if not record:
        return
    from benchmarks import plots  # needs matplotlib

    costs = {name: [turn.usage.cost for turn in had if turn.usage] for name, had in turns.items()}
    report.record(
        f"peers-{job_name}",
        f"The same decisions on other engines, {job_name}; each verified, one core for the program.",
        COLUMNS,
        rows,
        notes=notes,
        figures={name: [_figures(turn) for turn in had] for name, had in turns.items()},
        plot=plots.bars({name: found for name, found in costs.items() if found}, "µs CPU a decision"),
    )


def _figures(turn: Turn) -> dict[str, Any]:
    if turn.usage is None:
        return {"wrong": list(turn.wrong)}
    return {"rate": turn.usage.rate, "cost": turn.usage.cost, "resident": turn.usage.resident}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000, help="measured")
    parser.add_argument("--warm-up", type=int, default=1_400_000, help="read before them")
    parser.add_argument("--few", type=int, default=40_000, help="for slow peers, all in all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], choices=[peer.name for peer in PEERS], metavar="NAME")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--stateless", action="store_true", help="only this job")
    kinds.add_argument("--stateful", action="store_true", help="only this job")
    parser.add_argument("--record", action="store_true", help="keep the result (benchmarks.report)")
    args = parser.parse_args()
    peers, left_out = contestants(args.only)
    jobs = {name: name == "stateful" for name in ("stateless", "stateful") if not (args.stateless or args.stateful)}
    jobs = jobs or {"stateful" if args.stateful else "stateless": args.stateful}
    taking_part = {
        name: [each for each in peers if (each[0].stateful if sessions else each[0].stateless)]
        for name, sessions in jobs.items()
    }
    turns = {name: {peer.name: list[Turn]() for peer, _ in part} for name, part in taking_part.items()}
    comparison = Comparison(args.events, args.warm_up, args.few)
    for number in range(args.rounds):
        with Stage() as stage:
            comparison.events.send(stage.bootstrap)
            for name, part in taking_part.items():
                for at in range(len(part)):
                    peer, command = part[(at + number) % len(part)]
                    turn = comparison.turn(stage, peer, command, sessions=jobs[name])
                    turns[name][peer.name].append(turn)
                    usage = turn.usage
                    said = f"{usage.rate:,.0f} decisions/s, {usage.cost:.2f} µs" if usage else "\n  ".join(turn.wrong)
                    print(f"round {number + 1}, {name}, {peer.name}: {said}", flush=True)
    sizes = f"{args.warm_up:,} events of warm-up, {args.events:,} measured, {args.rounds} rounds interleaved"
    few = f"stock faust {min(args.few, len(comparison.events)):,} events in all"
    notes = [f"{sizes}; {few}. {versions()}.", *left_out]
    for name, had in turns.items():
        tell(name, had, notes, record=args.record)


if __name__ == "__main__":
    main()
