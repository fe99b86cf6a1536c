"""What do events, session records and documents cost to read and to write, beside the plain JSON codecs?

    python -m benchmarks.codec [--events 5000] [--rounds 15] [--record]

Each kind is read (or written) by the function that the worker uses, with every check that is in it: size, UTF-8,
depth, envelope, types, ranges, times; for signed documents the signature. Beside it, in the same round, ``json`` and
``orjson`` read the very same bytes into plain dictionaries, unchecked, or write the same values from them. That is less
than the job, and the least that anybody's consumer does. Session records are MessagePack; the plain codecs have the
same values as JSON. CPU time of this process, each kind in a row for all its events; ratios are of one round each.
"""

import argparse
import json
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
import orjson

from benchmarks import report
from benchmarks.start import AUDIENCE, licensing, signer
from benchmarks.world import NOW, World, regions, visitors
from streams.adapters.iso import vocabulary
from streams.core.policy import VERDICTS, parse
from streams.core.sessions import Ended, Session
from streams.runtime.process import settle
from streams.wire import cloudevents, deadletter, sessionrecord
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Header, Malformed
from streams.wire.documents import strict_json
from streams.wire.jws import sign, verify

DOCUMENTS: Final = 100
"""Of telehealth, and as many of exams and offices."""


REFERENCES: Final = ("json", "orjson")


@dataclass
class Kind:
    """One kind of thing that is read or written.

    Attributes:
        name: what it is.
        ours: what the worker does with one.
        items: what that is called with.
        raws: their bytes, or, where something is written, what it comes to.
        plain: what each of ``REFERENCES`` does with one, and what that is called with; none for what is no JSON.
        microseconds: ours, by round.
        beside: ours over theirs, by reference and round.
    """

    name: str
    ours: Callable[[Any], object]
    items: Sequence[Any]
    raws: Sequence[bytes]
    plain: Sequence[tuple[Callable[[Any], object], Sequence[Any]]] = ()
    microseconds: list[float] = field(default_factory=list)
    beside: list[list[float]] = field(default_factory=lambda: [[] for _ in REFERENCES])

    def measure(self) -> None:
        """One round."""
        taken = cpu(self.ours, self.items)
        self.microseconds.append(taken)
        for ratios, (theirs, items) in zip(self.beside, self.plain, strict=False):
            ratios.append(taken / cpu(theirs, items))

    @property
    def size(self) -> float:
        """Bytes of one, on average."""
        return statistics.fmean(map(len, self.raws))

    def row(self) -> list[str]:
        """The cells of the table."""
        rate = self.size / statistics.median(self.microseconds)
        cells = [self.name, report.spread(self.microseconds), f"{self.size:,.0f}", f"{rate:,.0f}"]
        return cells + [report.spread(ratios) if ratios else "" for ratios in self.beside]


def cpu(function: Callable[[Any], object], items: Sequence[Any]) -> float:
    """CPU µs an item."""
    before = time.process_time_ns()
    deque(map(function, items), maxlen=0)
    return (time.process_time_ns() - before) / 1e3 / len(items)


def reading(
    name: str, ours: Callable[[Any], object], raws: Sequence[bytes], items: Sequence[Any] | None = None
) -> Kind:
    """Something that is read; ``items`` where it is not from the bytes alone."""
    return Kind(name, ours, raws if items is None else items, raws, [(json.loads, raws), (orjson.loads, raws)])


def writing(name: str, ours: Callable[[Any], bytes], items: Sequence[Any]) -> Kind:
    """Something that is written."""
    values = [msgspec.to_builtins(item) for item in items]
    return Kind(name, ours, items, list(map(ours, items)), [(json.dumps, values), (orjson.dumps, values)])


# -- what is read and written ----------------------------------------------------------------------------------------


def binary(raw: bytes) -> tuple[bytes, list[Header]]:
    """The same event in binary mode: the value and headers."""
    event = orjson.loads(raw)
    data = event.pop("data")
    headers: list[Header] = [("content-type", b"application/json")]
    return orjson.dumps(data), [*headers, *((f"ce_{name}", text.encode()) for name, text in event.items())]


def accented(raw: bytes) -> bytes:
    """The same event at an edge with a name outside ASCII."""
    return orjson.dumps({**orjson.loads(raw), "source": "/edge/zürich-1"})


def events(world: World) -> list[Kind]:
    """Records of ``joins``, as they come in."""
    raws = {kind: [each.value for each in world.stream if each.kind == kind] for kind in ("join", "update", "leave")}
    joins = raws["join"]
    apart = [binary(raw) for raw in joins]
    cut = [raw[:-1] for raw in joins]

    def refused(raw: bytes) -> None:
        try:
            cloudevents.decode(raw, ())
        except Malformed:
            return
        raise AssertionError("taken")

    def with_headers(item: tuple[bytes, Sequence[Header]]) -> object:
        return cloudevents.decode(*item)

    return [
        *(reading(f"read: {kind}", cloudevents.decode, found) for kind, found in raws.items()),
        reading("read: join with a content type", with_headers, joins, [(raw, CONTENT_TYPE_HEADERS) for raw in joins]),
        reading("read: join in binary mode", with_headers, [value for value, _ in apart], apart),
        reading("read: join, not all ASCII", cloudevents.decode, list(map(accented, joins))),
        Kind("refuse: join cut short", refused, cut, cut),
    ]


def decisions(world: World) -> list[Kind]:
    """Records of ``decisions``, as they go out."""
    made = [[a.decision for a in world.answers if a.verdict == place] for place in range(len(VERDICTS))]
    return [writing(f"write: {word}", cloudevents.encode, each) for word, each in zip(VERDICTS, made, strict=True)]


def sessions(world: World) -> list[Kind]:
    """Records of the sessions' changelog."""
    keeper, draft = world.keeper(), {}
    for offset, event in enumerate(world.events):
        keeper.join(0, event, offset, NOW, draft)
    live = [state for state in draft.values() if isinstance(state, Session)]
    ended = [Ended(offset, NOW + offset) for offset in range(len(live))]
    kinds = [
        writing("write: session", sessionrecord.encode, live),
        writing("write: its end", sessionrecord.encode, ended),
    ]
    back = reading("read: session", sessionrecord.decode, kinds[0].raws)
    texts = [orjson.dumps(msgspec.to_builtins(each)) for each in live]
    back.plain = [(json.loads, texts), (orjson.loads, texts)]
    return [*kinds, back]


def letters(world: World) -> Kind:
    """What is written of a record that goes to the dead letters; its key and value stay as they are."""
    place = {"topic": "joins", "partition": 0, "version": "0.1.0"}
    offsets = range(len(world.values))
    detail = "the record's key is not the meeting's id"

    def headers(offset: int) -> list[Header]:
        return deadletter.headers([], "key_mismatch", detail, offset=offset, **place)

    raws = [b"".join(name.encode() + (raw or b"") for name, raw in headers(offset)) for offset in offsets]
    return Kind("write: headers of a dead letter", headers, offsets, raws)


def documents() -> list[Kind]:
    """Policy documents of three rules: their JSON, and signed as they are in the policy log."""
    key, trust = signer()
    rng = random.Random(8)
    clinics = [licensing(f"clinic-{i}", rng) for i in range(DOCUMENTS)]
    offices = [(regions, visitors)[i % 2](f"office-{i}") for i in range(DOCUMENTS)]
    values = [*clinics, *offices]
    texts = [orjson.dumps(value) for value in values]
    signed = [sign(value, [key], AUDIENCE) for value in values]
    return [
        reading("read: policy document", lambda raw: parse(strict_json(raw), vocabulary()), texts),
        reading("read: signed document, verified", partial(verify, trust=trust, audience=AUDIENCE), signed),
        writing("write: signed document", lambda value: sign(value, [key], AUDIENCE), values),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    world = World(10, given.events)
    hot = [*events(world), *decisions(world), *sessions(world)]
    kinds = [*hot, letters(world), *documents()]
    settle()
    for number in range(given.rounds):
        for kind in kinds:
            kind.measure()
        print(f"round {number + 1} of {given.rounds}", flush=True)
    columns = ["", "µs CPU", "bytes", "MB/s", *(f"beside {name}" for name in REFERENCES)]
    rows = [kind.row() for kind in kinds]
    print(report.table(columns, rows))
    if given.record:
        from benchmarks import plots  # needs matplotlib, which nothing else here does

        ratios = {kind.name: kind.beside[0] for kind in hot if kind.plain}
        report.record(
            "codec",
            f"What reading and writing cost; {given.events:,} events, {given.rounds} rounds; below 1 is quicker.",
            columns,
            rows,
            figures={k.name: {"microseconds": k.microseconds, "bytes": k.size, "beside": k.beside} for k in kinds},
            plot=plots.bars(ratios, "times the CPU of json on the same bytes", target=1.0),
        )


if __name__ == "__main__":
    main()
