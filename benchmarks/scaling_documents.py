"""More documents in force on one worker: to start with, to decide beside, and to keep. See ``scale``.

As many accounts' documents, three rules each, signed by one key on their behalf, as a settings page makes them. They
lie in the policy log when the worker starts: *cold* it verifies each, *warm* it reads its own table of them. Then a
person comes to each account and leaves, so that each document was used once, and then people come and go, an account
drawn for each: the cost of a join, its leave included, beside so many documents that are in use.

The real worker has as many as ``--documents`` says; ``--whole`` adds the million, which takes minutes to sign and to
verify. Beside it, up to a million always, the same documents unsigned in the pure core of this process: a decision
judged, made and encoded, without geo look-up, sessions or Kafka. That is another figure than the worker's, and says
only how deciding itself grows.
"""

import argparse
import multiprocessing
import random
from collections.abc import Iterator
from functools import cache
from typing import Final

from benchmarks import plots
from benchmarks.policies import cpu, decide_all, indexed, resident
from benchmarks.report import spread
from benchmarks.scaling import PROGRAM, Crew, burst, on_disk, pour_all, tell
from benchmarks.scaling_events import tenfold, visits
from benchmarks.stage import Stage, cpu_seconds
from benchmarks.start import AUDIENCE, licensing
from streams.adapters.iso import vocabulary
from streams.core.events import JoinData, JoinEvent
from streams.core.facts import ANONYMISED, ANY_CONNECTION, Facts, settle
from streams.core.policy import path_of
from streams.runtime.process import settle as settle_collector
from streams.wire import keys
from streams.wire.jws import sign
from streams.wire.keys import PrivateKey
from streams.wire.trust import members_of, written

QUESTION: Final = "What do documents cost one worker?"
WHOLE: Final = 1_000_000
ASKED: Final = 100_000
"""Joins of a round in the pure core."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--whole", action="store_true", help="the worker with a million, too")
    parser.add_argument("--pure", type=int, nargs="*", default=[1_000, 10_000, 100_000, WHOLE])
    parser.add_argument("--visits", type=int, default=40_000, help="people who come and go beside them")
    parser.add_argument("--rounds", type=int, default=2)


# -- the worker --------------------------------------------------------------------------------------------------


@cache
def key() -> PrivateKey:
    return PrivateKey("settings", keys.generate().key)


def signed_document(number: int) -> tuple[bytes, bytes]:
    """Path and signed document of an account."""
    account = name(number)
    raw = sign(licensing(account, random.Random(number)), [key()], AUDIENCE)
    return path_of("account", account, "licensing").encode(), raw


def name(number: int) -> str:
    return f"practice-{number}"


def signed(count: int) -> list[tuple[bytes, bytes]]:
    key()  # before there are children, who are to have the same
    with multiprocessing.get_context("fork").Pool() as pool:
        return pool.map(signed_document, range(count), chunksize=500)


def people(first: int, accounts: Iterator[int]) -> Iterator[tuple[int, str, str]]:
    for number, account in enumerate(accounts, first):
        yield number, name(account), f"m-{account}"


def one(documents: list[tuple[bytes, bytes]], count: int) -> dict[str, float]:
    """So many documents once, on a broker of their own."""
    size, rng = len(documents), random.Random(8)
    with Stage() as stage:
        pour_all(stage, documents, "policies")
        trust = stage.folder / "trust.json"
        members = members_of(stage.authority.trust.read_bytes())
        trust.write_bytes(written([*members, keys.public_jwk(key(), "settings-service", ["account/*"])]))
        with Crew(stage, PROGRAM, DOORWARD_LATENESS="1", DOORWARD_TRUST=str(trust)) as crew:
            [worker], [pid] = crew.workers, crew.pids
            figures = {"cold": crew.start_seconds, "cold cpu": cpu_seconds(pid), "resident": crew.resident[0]}
            if (held := worker.scrape()["doorward_policy_documents"]) < size:
                raise SystemExit(f"{held:,.0f} documents of {size:,} in force")
            figures["disk"] = on_disk(worker.folder)
            used = burst(stage, visits(people(0, iter(range(size)))), size, crew.pids)
            beside = burst(stage, visits(people(size, drawn(rng, size, count))), count, crew.pids)
            figures |= {"first": used.cost(0), "cost": beside.cost(0), "rate": beside.rate, "used": crew.resident[0]}
            figures["warm"] = crew.again()
            return {**figures, "warm cpu": cpu_seconds(crew.pids[0]), "again": crew.resident[0]}


def drawn(rng: random.Random, accounts: int, count: int) -> Iterator[int]:
    return (rng.randrange(accounts) for _ in range(count))


def told(each: dict[str, float]) -> str:
    return (
        f"cold {each['cold']:.1f} s ({each['cold cpu']:.1f} s CPU), {each['resident'] / 2**20:,.0f} MiB resident, "
        f"{each['disk'] / 2**20:,.1f} MiB on disk; {each['first']:.1f} µs CPU an account's first visit, "
        f"{each['cost']:.1f} µs a later one ({each['rate']:,.0f}/s), then {each['used'] / 2**20:,.0f} MiB; warm "
        f"{each['warm']:.1f} s ({each['warm cpu']:.1f} s CPU), {each['again'] / 2**20:,.0f} MiB"
    )


# -- the pure core -----------------------------------------------------------------------------------------------


def asked(accounts: int) -> list[tuple[JoinEvent, Facts]]:
    """Joins, an account drawn for each."""
    rng, clean = random.Random(9), ANY_CONNECTION & ~ANONYMISED
    places = [("US", "US-CA"), ("US", "US-NY"), ("FR", None), (None, None)]
    facts = [settle(vocabulary(), country=country, subdivision=state, connection=clean) for country, state in places]
    made = []
    for number, account in enumerate(drawn(rng, accounts, ASKED)):
        data = JoinData(f"m-{account}", f"clinic-{account}", f"p-{number}", "203.0.113.9", "guest", "live")
        made.append((JoinEvent("1.0", "doorward.join.v1", "/edge/eu-1", f"e-{number}", data=data), rng.choice(facts)))
    return made


def pure(sizes: list[int], rounds: int) -> dict[int, dict[str, list[float]]]:
    """Bytes a document, and CPU µs a decision of an account's first joins and of later ones; by size."""
    found, beside = {}, {}
    vocabulary()
    settle_collector()
    for size in sizes:
        before = resident()
        index = indexed(size)
        found[size] = {"bytes": [(resident() - before) / size], "first": [], "later": []}
        beside[size] = index, asked(size)
        found[size]["first"].append(cpu(lambda of=beside[size]: decide_all(*of)) / ASKED * 1e6)
        print(f"pure core, {size:,} documents: {found[size]['bytes'][0]:,.0f} B each", flush=True)
    for _ in range(max(3, rounds)):
        for size, of in beside.items():
            found[size]["later"].append(cpu(lambda of=of: decide_all(*of)) / ASKED * 1e6)
    for size, each in found.items():
        print(f"pure core, {size:,} documents: {spread(each['later'])} µs CPU a decision", flush=True)
    return found


# -- both --------------------------------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> None:
    sizes = [*given.documents, *([WHOLE] if given.whole else [])]
    documents = signed(max(sizes, default=0))
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for number in range(given.rounds):
        for size in sizes:
            found[size].append(one(documents[:size], given.visits))
            print(f"round {number + 1}, {size:,} documents: {told(found[size][-1])}", flush=True)
    del documents
    values = {at: {each: [one[each] for one in rounds] for each in rounds[0]} for at, rounds in found.items()}
    summed_up(given, values, pure(given.pure, given.rounds))


def summed_up(
    given: argparse.Namespace, values: dict[int, dict[str, list[float]]], core: dict[int, dict[str, list[float]]]
) -> None:
    heads = [
        "documents",
        "s until ready, cold",
        "warm",
        "MiB resident, cold",
        "warm",
        "MiB on disk",
        "µs CPU a visit",
        "pure core: µs CPU a decision",
        "B a document",
    ]
    rows = []
    for size in sorted({*values, *core}):
        row = [f"{size:,}"]
        if size in values:
            each = values[size]
            row += [spread(each["cold"], ".1f"), spread(each["warm"], ".1f")]
            row += [spread([value / 2**20 for value in each[key]], ",.0f") for key in ("resident", "again", "disk")]
            row.append(spread(each["cost"], ".1f"))
        else:
            row += ["not run"] * 6
        row += [spread(core[size]["later"]), spread(core[size]["bytes"], ",.0f")] if size in core else ["not run"] * 2
        rows.append(row)
    curves = {}
    if values:
        curves["µs CPU a visit, the worker"] = [(at, each["cost"]) for at, each in values.items()]
    if core:
        curves["µs CPU a decision, pure core"] = [(at, each["later"]) for at, each in core.items()]
    notes = [f"{name}: {tenfold(points):.2f} times for ten times the documents." for name, points in curves.items()]
    if not values.keys() >= core.keys():
        notes.append(
            "What was not run with the worker was run with the pure core only: the same documents, unsigned, in one "
            "process without geo look-up, sessions or Kafka."
        )
    plot = plots.curves(curves, "documents", "µs CPU")
    tell(
        given,
        "scale-documents",
        QUESTION,
        heads,
        rows,
        notes=[" ".join(notes)],
        figures={"worker": values, "core": core},
        plot=plot,
    )
