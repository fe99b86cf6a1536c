"""What does one decision cost, part by part, beside ten documents, a thousand and a hundred thousand?

    python -m benchmarks.decide [--events 20000] [--rounds 9] [--documents 10 1000 100000] [--record]

The core and its codec alone: no broker, no event loop, no client. Events are those of ``streams.dev.traffic``. Of the
documents one is the service's, which every join meets, and the rest are accounts': exam regions, office visitors, and
one in ten telehealth licensing, which refuses most of this traffic. Every size has its own index, decider and events,
and all parts of all sizes are gone through in each round, so that a noisy minute falls on all of them. CPU time of this
process. A part is called in a row for all events, which is kinder to it than taking turns with the others, so the parts
come to less than the whole, and the whole is what counts.

* *full decide*: from a record's bytes to a decision's bytes, as the worker does it for a join that stands alone.
  Addresses were seen before, as nearly always. That is the figure held to the target.
* *cold*: no address was seen before, so each is looked up in the file.
* *spread evenly*: the same, but each event of another account at random, so that neither its documents nor its strings
  are in the processor's caches. The traffic's meetings are Zipf, as people's are; this is the worst there can be.
* *with sessions*: the stream in its order, leaves too, in chunks of 500: decided, remembered, sealed, and the session's
  changelog records written and stamped. The worker has had its partition for a while: its first minute, in which it
  looks for trials that an owner before it may have reported, is a row of its own.

Bytes are tracemalloc's, of a sample, in a run of their own: the most that was allocated at once beyond what was there
before the call, and what of it the result keeps. Small objects that Python takes from its free lists are not in it.
"""

import argparse
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice, starmap
from typing import Any, Final

from benchmarks import report
from benchmarks.world import NOW, OUTER, World
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.sessions import Draft, SessionKeeper
from streams.core import address
from streams.core.decide import decision, decision_id, judge
from streams.core.events import LeaveEvent
from streams.core.policy import VERDICTS, path_of
from streams.core.sessions import Session
from streams.runtime.frames import frame, said
from streams.runtime.process import settle
from streams.wire import cloudevents, sessionrecord

FULL: Final = "full decide"
EVEN: Final = "full decide, spread evenly"
PLOTTED: Final = ("decode", "judge", "decision", "encode", FULL, EVEN)
TARGET: Final = 5.0
"""µs of ``FULL``, warm."""
FLAT: Final = 1.5
"""Times what it may cost beside the most documents what it costs beside the fewest."""
CHUNK: Final = 500
SAMPLE: Final = 1_000
"""Events whose bytes are counted."""

Run = Callable[[], int]
"""Does a part for all its events; returns how many they were."""
Part = Callable[[], Run]
"""Prepares a part, which is not counted."""


# -- the parts -----------------------------------------------------------------------------------------------------


def ready(run: Run) -> Part:
    """A part that needs no preparation."""
    return lambda: run


def over(function: Callable[..., object], items: Sequence[tuple[Any, ...]]) -> Run:
    """Calls a function for all items, without a loop of Python's own around it."""

    def run() -> int:
        deque(starmap(function, items), maxlen=0)
        return len(items)

    return run


def single(items: Iterable[object]) -> list[tuple[object]]:
    return [(item,) for item in items]


def full(decider: Decider, value: bytes, offset: int) -> bytes:
    """A join that stands alone: from bytes to bytes."""
    answer = decider.answer(cloudevents.decode(value, ()), offset, NOW)  # type: ignore[arg-type]  # all are joins
    return cloudevents.encode(answer.decision)


def stateless(world: World) -> dict[str, Part]:
    """The parts of a decision that remembers nothing, and the whole."""
    events, answers = world.events, world.answers
    facts = [world.geo.facts(event.data.address) for event in events]
    judgements = [judge(world.index, event.data, each, NOW)[0] for event, each in zip(events, facts, strict=True)]
    texts = single(event.data.address for event in events)
    judged = [(event.data, each, NOW) for event, each in zip(events, facts, strict=True)]
    made = list(zip(events, facts, judgements, [OUTER] * len(events), strict=True))
    words = [("enforce", e.data, ("event", e.source, e.id), VERDICTS[j.verdict]) for e, _, j, _ in made]

    def cold() -> Run:
        world.geo.facts.cache_clear()
        return over(world.decider.look_up, list(dict.fromkeys(texts)))

    def all_of(values: Sequence[bytes]) -> Run:
        return over(partial(full, world.decider), [(value, offset) for offset, value in enumerate(values)])

    return {
        "decode": ready(over(cloudevents.decode, [(value, ()) for value in world.values])),
        "look up, address seen before": ready(over(world.decider.look_up, texts)),
        "judge": ready(over(partial(judge, world.index), judged)),
        "decision": ready(over(partial(decision, mode="enforce", offset=991, at=NOW), made)),
        "  of which its id": ready(over(decision_id, words)),
        "encode": ready(over(cloudevents.encode, single(answer.decision for answer in answers))),
        FULL: ready(all_of(world.values)),
        EVEN: ready(all_of(world.even)),
        "canonicalise an address": ready(over(address.parse, texts)),
        "look up, cold": cold,
        **{
            f"{FULL}: {word}": ready(all_of(values))
            for place, word in enumerate(VERDICTS)
            if (values := [value for value, a in zip(world.values, answers, strict=True) if a.verdict == place])
        },
    }


def stateful(world: World) -> dict[str, Part]:
    """What remembering adds, and the whole with it."""
    joins = [event for event in world.events if event.cause == "join"]
    updates = [event for event in world.events if event.cause == "update"]

    def joining(kept: dict[str, Any], since: int = 10) -> Run:
        keeper, draft = world.keeper(since=since), {}
        kept |= {"keeper": keeper, "draft": draft}
        return over(keeper.join, [(0, e, offset, NOW, draft) for offset, e in enumerate(joins)])

    def after(kept: dict[str, Any], events: Sequence[Any], verb: str) -> Run:
        function, draft = getattr(kept["keeper"], verb), kept["draft"]
        return over(function, [(0, event, 1_000_000 + i, NOW + 5_000, draft) for i, event in enumerate(events)])

    kept: dict[str, Any] = {}
    joining(kept)()
    sessions = [state for state in kept["draft"].values() if isinstance(state, Session)]
    subjects = [path_of(each.account, each.meeting, each.participation).encode() for each in sessions]
    packed = [(address.parse(e.data.address), subject) for e, subject in zip(joins, subjects, strict=False)]
    rows = [(subject, sessionrecord.encode(state)) for subject, state in zip(subjects, sessions, strict=True)]
    return {
        "session: join, in its first minute": lambda: joining({}, 0),
        "session: join": lambda: joining(kept),
        "session: update": lambda: after(kept, updates, "join"),
        "session: leave": lambda: after(kept, world.leaves, "leave"),
        "  of which sealing": ready(over(world.sealer.seal, packed)),
        "session record": ready(over(sessionrecord.encode, single(sessions))),
        "its stamp and frame": ready(over(partial(stamped, world.sealer), rows)),
        f"{FULL}, with sessions": lambda: partial(remembering, world, world.keeper()),
    }


def stamped(sealer: Sealer, subject: bytes, record: bytes) -> bytes:
    """The value of a changelog's record."""
    return frame(7, record, sealer.stamp(said(0, 7, subject, record)))


def remembering(world: World, keeper: SessionKeeper) -> int:
    """The stream as a worker goes through it, but for Kafka and RocksDB."""
    stream, at = iter(enumerate(world.stream)), NOW
    while chunk := list(islice(stream, CHUNK)):
        draft: Draft = {}
        at += 5
        for offset, made in chunk:
            event = cloudevents.decode(made.value, ())
            if isinstance(event, LeaveEvent):
                keeper.leave(0, event, offset, at, draft)
            else:
                cloudevents.encode(keeper.join(0, event, offset, at, draft).decision)
        for (_, subject), state in draft.items():
            if state is not None:
                stamped(world.sealer, subject, sessionrecord.encode(state))
    return len(world.stream)


# -- measuring -----------------------------------------------------------------------------------------------------


def measure(part: Part) -> float:
    """CPU µs an event."""
    run = part()
    before = time.process_time_ns()
    count = run()
    return (time.process_time_ns() - before) / 1e3 / count


def memory(function: Callable[..., object], items: Sequence[tuple[Any, ...]]) -> tuple[float, float]:
    """Bytes an event: the most at once, and what the result keeps; after a first run that fills caches."""
    for item in items:
        function(*item)
    tracemalloc.start()
    most, kept = [], []
    for item in items:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = function(*item)
        now, peak = tracemalloc.get_traced_memory()
        most.append(peak - before)
        kept.append(now - before)
        del result
    tracemalloc.stop()
    return statistics.fmean(most), statistics.fmean(kept)


def bytes_of(world: World) -> dict[str, tuple[float, float]]:
    """By part, ``memory``."""
    values, events, answers = world.values[:SAMPLE], world.events[:SAMPLE], world.answers[:SAMPLE]
    facts = [world.geo.facts(event.data.address) for event in events]
    judged = [(event.data, each, NOW) for event, each in zip(events, facts, strict=True)]
    judgements = [judge(world.index, *each)[0] for each in judged]
    made = list(zip(events, facts, judgements, [OUTER] * len(events), strict=True))
    return {
        "decode": memory(cloudevents.decode, [(value, ()) for value in values]),
        "judge": memory(partial(judge, world.index), judged),
        "decision": memory(partial(decision, mode="enforce", offset=991, at=NOW), made),
        "encode": memory(cloudevents.encode, single(answer.decision for answer in answers)),
        FULL: memory(partial(full, world.decider), [(value, i) for i, value in enumerate(values)]),
    }


def measured(worlds: Mapping[int, World], rounds: int) -> dict[int, dict[str, list[float]]]:
    """By documents and part, µs an event of each round."""
    parts = {documents: stateless(world) | stateful(world) for documents, world in worlds.items()}
    settle()
    taken: dict[int, dict[str, list[float]]] = {documents: {} for documents in worlds}
    for number in range(rounds):
        for documents, each in parts.items():
            for name, part in each.items():
                taken[documents].setdefault(name, []).append(measure(part))
        print(f"round {number + 1} of {rounds}", flush=True)
    return taken


def notes(worlds: Mapping[int, World], taken: Mapping[int, Mapping[str, Sequence[float]]]) -> list[str]:
    """What ratios and targets say, and whether they are met."""
    few, many = taken[min(taken)], taken[max(taken)]
    flat = [more / less for less, more in zip(few[FULL], many[FULL], strict=True)]
    even = [more / less for less, more in zip(few[EVEN], many[EVEN], strict=True)]
    median = statistics.median(few[FULL])
    largest = worlds[max(worlds)]
    told = [f"Full decide beside {min(taken):,} documents: {median:.2f} µs; target {TARGET:g}, {met(median, TARGET)}."]
    if len(taken) > 1:
        told.append(
            f"Beside {max(taken):,} it is {report.spread(flat)} times that, spread evenly over the accounts "
            f"{report.spread(even)} times; target {FLAT:g}, {met(statistics.median(flat), FLAT)} and "
            f"{met(statistics.median(even), FLAT)}."
        )
    return [
        *told,
        f"Verdicts, the same beside all: {largest.verdicts()}.",
        f"The index of {max(worlds):,} documents takes {largest.resident / 2**20:,.0f} MiB of resident memory, "
        f"{largest.resident / max(worlds):,.0f} B each.",
    ]


def met(figure: float, target: float) -> str:
    return "met" if figure <= target else "not met"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--documents", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    worlds = {}
    for documents in sorted(given.documents):
        print(f"making {documents:,} documents", flush=True)
        worlds[documents] = World(documents, given.events)
    taken = measured(worlds, given.rounds)
    sizes = {documents: bytes_of(world) for documents, world in worlds.items()}
    rows = [[name, *(report.spread(each[name]) for each in taken.values())] for name in taken[min(taken)]]
    rows += [
        [f"bytes: {name}", *(f"{each[name][0]:,.0f} B, {each[name][1]:,.0f} kept" for each in sizes.values())]
        for name in sizes[min(sizes)]
    ]
    columns = ["µs CPU an event", *(f"beside {documents:,} documents" for documents in taken)]
    told = notes(worlds, taken)
    print(report.table(columns, rows), *told, sep="\n")
    if given.record:
        from benchmarks import plots  # needs matplotlib, which nothing else here does

        drawn = {f"{name}, {documents:,}": taken[documents][name] for name in PLOTTED for documents in taken}
        report.record(
            "decide",
            f"What one decision costs, by part; {given.events:,} events, {given.rounds} rounds.",
            columns,
            rows,
            notes=told,
            figures={"microseconds": taken, "bytes": sizes},
            plot=plots.bars(drawn, "µs CPU an event, beside so many documents", target=TARGET),
        )


if __name__ == "__main__":
    main()
