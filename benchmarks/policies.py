"""What do policy documents cost: to take in, to ask, and to keep by the hundred thousand?

    python -m benchmarks.policies [accept|networks|many] [--rounds 5] [--documents 100000]

``accept``    a signed account document of 100 rules, from its bytes to an accepted revision with all of it compiled
``networks``  a document with 100,000 CIDR blocks: to parse and compile it, and to ask it once
``many``      the memory of 100,000 account documents, and a full decision beside them (judged, made, encoded) against
              one beside 10, in turns; joins are spread over all accounts, and each had one before

Without a name all three. CPU time of this process, median (least-most) over the rounds; no broker, no geo look-up.
"""

import argparse
import ipaddress
import json
import os
import random
import re
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.start import AUDIENCE, licensing, signer
from benchmarks.sweeps import commit
from streams.adapters.iso import vocabulary
from streams.core.decide import decision, evaluate, judge
from streams.core.events import JoinData, JoinEvent, Provenance
from streams.core.facts import ANONYMISED, ANY_CONNECTION, Facts, settle
from streams.core.index import Index, Revision
from streams.core.policy import Document, parse
from streams.runtime.process import settle as settle_collector
from streams.wire import cloudevents
from streams.wire.jws import sign
from streams.wire.signed import Record, accept

NOW: Final = 1_795_253_400_000
PROVENANCE: Final = Provenance(42, "country-2026-06-17-1a2b3c4d", 1_781_654_400, "https://contest.example", "0.1.0")
SMALL: Final = 10
JOINS: Final = 20_000
SCOPE: Final = {"scope": "account", "account": "acme", "name": "licensing", "revision": 1, "default": "admit"}


def cpu(job: Callable[[], object]) -> float:
    """Seconds of CPU."""
    before = time.process_time()
    job()
    return time.process_time() - before


def told(what: str, seconds: Sequence[float], unit: float, name: str) -> None:
    scaled = [each / unit for each in seconds]
    print(f"  {what}: {statistics.median(scaled):,.2f} {name} ({min(scaled):,.2f}-{max(scaled):,.2f})", flush=True)


def compiled(document: Document) -> Document:
    for rule in document.rules:
        for condition in rule.conditions:
            condition.test  # noqa: B018  # being asked for, it is compiled
    return document


# -- accept ------------------------------------------------------------------------------------------------------


def hundred_rules(rng: random.Random, values: int) -> dict[str, Any]:
    """Rules of an examination board: where it may be sat, from which networks, by whom; so many values a list."""
    countries, subdivisions = sorted(vocabulary().countries), sorted(vocabulary().subdivisions)
    whens: list[Callable[[], dict[str, Any]]] = [
        lambda: {"country": rng.sample(countries, values), "role": ["participant", "guest"]},
        lambda: {"subdivision": rng.sample(subdivisions, values)},
        lambda: {"network": [f"10.{rng.randrange(256)}.{rng.randrange(256)}.0/24" for _ in range(values)]},
        lambda: {"country": {"not": rng.sample(countries, values)}, "connection": ["tor", "vpn"]},
    ]
    rules = [{"id": f"r{i}", "when": whens[i % 4](), "then": ("admit", "alert", "remove")[i % 3]} for i in range(100)]
    return {**SCOPE, "rules": rules, "contest": "https://exams.example/contest"}


def accepting(rounds: int, values: int, times: int = 50) -> None:
    key, trust = signer()
    rng, record = random.Random(8), Record(b"account/acme/licensing", 0, NOW)
    taken, size = [], 0

    def take(signed: Sequence[bytes]) -> None:
        asked: dict[str, Any] = {"trust": trust, "audience": AUDIENCE, "vocabulary": vocabulary(), "record": record}
        for raw in signed:
            compiled(accept(raw, index=Index(), **asked).document)

    for _ in range(rounds):  # documents that no round had before: tests are shared by those who say the same
        signed = [sign(hundred_rules(rng, values), [key], AUDIENCE) for _ in range(times)]
        taken.append(cpu(partial(take, signed)) / times)
        size = len(signed[0])
    print(f"accept: 100 rules, {values} values a list, {size:,} B signed; n = {times} documents a round")
    told("verified, parsed, judged, compiled", taken, 1e-3, "ms")


# -- networks ----------------------------------------------------------------------------------------------------


def blocks(count: int) -> list[str]:
    """Distinct blocks: three of IPv4 for each of IPv6."""
    rng = random.Random(8)
    fourth = count // 4
    v4 = rng.sample(range(1 << 24), count - fourth)
    v6 = rng.sample(range(1 << 32), fourth)
    found = [f"{ipaddress.IPv4Address(n << 8)}/24" for n in v4]
    found += [f"{ipaddress.IPv6Address((0x2A00 << 112) + (n << 80))}/48" for n in v6]
    rng.shuffle(found)
    return found


def asking(rounds: int, count: int = 100_000, times: int = 50_000) -> None:
    named = blocks(count)
    value = {**SCOPE, "rules": [{"id": "offices", "when": {"network": named}, "then": "alert"}]}
    text = json.dumps(value).encode()
    print(f"networks: {count:,} blocks, {len(text):,} B of JSON; n = {times:,} questions a round")
    made: list[Document] = []
    told("parsed and compiled", [cpu(lambda: made.append(parse(value, vocabulary()))) for _ in range(rounds)], 1, "s")
    del made[1:]
    inside = [ipaddress.ip_network(each)[1] for each in random.Random(9).sample(named, times)]
    outside = {4: [ipaddress.IPv4Address(n) for n in range(0xF0000000, 0xF0000000 + times)]}
    outside[6] = [ipaddress.IPv6Address((0x2C00 << 112) + (n << 90)) for n in range(times)]
    who = JoinData("m-1", "acme", "p-1", "203.0.113.9", "guest", "live")
    for name, addresses in (
        ("IPv4 hits", [each for each in inside if each.version == 4]),
        ("IPv6 hits", [each for each in inside if each.version == 6]),
        ("IPv4 misses", outside[4]),
        ("IPv6 misses", outside[6]),
    ):
        facts = [Facts(address=each.packed) for each in addresses]
        assert {evaluate(made[-1], who, each).verdict for each in facts} == {1 if "hits" in name else 0}

        def ask(facts: Sequence[Facts] = facts) -> None:
            for each in facts:
                evaluate(made[-1], who, each)

        told(name, [cpu(ask) / len(facts) for _ in range(rounds)], 1e-6, "µs")


# -- many --------------------------------------------------------------------------------------------------------


def resident() -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def indexed(count: int) -> Index:
    """An index of as many accounts' documents, each from its own bytes, as a worker has them."""
    rng, index = random.Random(8), Index()
    for i in range(count):
        document = parse(msgspec.json.decode(json.dumps(licensing(f"clinic-{i}", rng))), vocabulary())
        index.put(
            Revision(
                document=document,
                content=os.urandom(32),
                holder="settings-service",
                on_behalf=True,
                sha256=f"sha256:{os.urandom(32).hex()}",
                offset=i,
                appended_at=NOW,
            )
        )
    return index


def joins(accounts: int) -> list[tuple[JoinEvent, Facts]]:
    rng, places = random.Random(9), [("US", "US-CA"), ("US", "US-NY"), ("FR", None), (None, None)]
    clean, made = ANY_CONNECTION & ~ANONYMISED, []
    facts = [settle(vocabulary(), country=country, subdivision=state, connection=clean) for country, state in places]
    for i in range(JOINS):
        account = rng.randrange(accounts)
        data = JoinData(
            f"m-{account}", f"clinic-{account}", f"p-{i}", "203.0.113.9", rng.choice(["host", "guest"]), "live"
        )
        event = JoinEvent("1.0", "doorward.join.v1", "/edge/eu-1", f"01J{i:023d}", data=data)
        made.append((event, rng.choice(facts)))
    return made


def decide_all(index: Index, events: Sequence[tuple[JoinEvent, Facts]]) -> None:
    for offset, (event, facts) in enumerate(events):
        judgement, _ = judge(index, event.data, facts, NOW)
        cloudevents.encode(decision(event, facts, judgement, PROVENANCE, mode="enforce", offset=offset, at=NOW))


def keeping(rounds: int, count: int) -> None:
    before = resident()
    large = indexed(count)
    kept = resident() - before
    print(f"many: {count:,} account documents, three rules each; n = {JOINS:,} joins a round")
    print(f"  resident memory: {kept / 2**20:,.0f} MiB, {kept / count:,.0f} B a document")
    small = indexed(SMALL)
    beside = {SMALL: (small, joins(SMALL)), count: (large, joins(count))}
    decide_all(*beside[SMALL])
    first = cpu(partial(decide_all, *beside[count]))
    taken: dict[int, list[float]] = {SMALL: [], count: []}
    for _ in range(rounds):
        for documents_, (index, events) in beside.items():
            taken[documents_].append(cpu(partial(decide_all, index, events)) / JOINS)
    for documents_, seconds in taken.items():
        told(f"a decision beside {documents_:,}", seconds, 1e-6, "µs")
    told("ratio", [many / few for few, many in zip(*taken.values(), strict=True)], 1, "times")
    print(f"  an account's first join: {first / JOINS * 1e6:,.2f} µs")
    for slot in large:
        for revision in slot.revisions:
            compiled(revision.document)
    print(f"  resident with every condition compiled: {(resident() - before) / count:,.0f} B a document")
    large, beside = Index(), {}
    tracemalloc.start()
    again = indexed(count)
    print(f"  allocated, as tracemalloc has it: {tracemalloc.get_traced_memory()[0] / len(again):,.0f} B a document")
    tracemalloc.stop()


def main() -> None:
    questions = ("accept", "networks", "many")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", nargs="?", choices=questions)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=100_000)
    given = parser.parse_args()
    vocabulary()
    settle_collector()
    print(f"commit {commit()}, {os.cpu_count()} cores, {given.rounds} rounds")
    for question in [given.question] if given.question else questions:
        if question == "accept":
            for values in (2, 8):
                accepting(given.rounds, values)
        elif question == "networks":
            asking(given.rounds)
        else:
            keeping(given.rounds, given.documents)


if __name__ == "__main__":
    main()
