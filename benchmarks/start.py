"""How long until a worker decides by all documents: cold, verifying each, and warm, from its policy table?

    python -m benchmarks.start [--documents 50000] [--rounds 3]

The documents are as many accounts', three rules each, signed by one key on their behalf; a quarter have lists of their
own, the rest say what others say, as settings pages make them. Cold: the policy log's records, as a reader hands them
over, through ``PolicyFollower.handle`` into an empty policy table. Warm: the table opened again and read by
``PolicyFollower.warm``. Both end with the same index, which is checked. Reading the records from a broker is not in it.
CPU is this process's; beside it what Ed25519 alone takes for as many signatures.
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from benchmarks.sweeps import commit
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.policytable import Meaning, PolicyTable
from streams.agents.policies import PolicyFollower
from streams.core.index import Index
from streams.core.policy import LIMITS, path_of
from streams.runtime.process import settle
from streams.wire import keys
from streams.wire.jws import sign
from streams.wire.keys import PrivateKey
from streams.wire.trust import TrustSet, parse_trust, written

AUDIENCE: Final = "doorward"
BATCH: Final = 500
"""Records a reader hands over at a time."""
OWN_LISTS: Final = 0.25
"""Share of the documents with lists that no other has."""


@dataclass(frozen=True)
class Logged:
    """What the follower reads of a record of the policy log."""

    offset: int
    key: bytes
    value: bytes
    timestamp: int = 1_795_253_400_000
    timestamp_type: int = 1


def signer() -> tuple[PrivateKey, TrustSet]:
    """A key for all accounts, and the set that trusts it."""
    key = PrivateKey("settings", keys.generate().key)
    return key, parse_trust(written([keys.public_jwk(key, "settings-service", ["account/*"])]))


def licensing(account: str, rng: random.Random) -> dict[str, Any]:
    """A telehealth clinic's document: hosts, the states it is licensed in, nobody outside the country."""
    states = ["US-CA", "US-NV"]
    if rng.random() < OWN_LISTS:
        states = rng.sample(sorted(vocabulary().subdivisions_of("US")), 6)
    return {
        "scope": "account",
        "account": account,
        "name": "licensing",
        "revision": 1,
        "rules": [
            {"id": "hosts", "when": {"role": ["host", "cohost"]}, "then": "admit"},
            {"id": "licensed", "when": {"subdivision": states}, "then": "admit"},
            {"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove", "note": "Licensed in the US."},
        ],
        "default": "remove",
        "unknown": "alert",
        "contest": "https://clinic.example/contest",
    }


def policy_log(documents: int, key: PrivateKey) -> list[Logged]:
    """As many records as documents."""
    rng, made = random.Random(8), []
    for i in range(documents):
        account = f"clinic-{i}"
        raw = sign(licensing(account, rng), [key], AUDIENCE)
        made.append(Logged(i, path_of("account", account, "licensing").encode(), raw))
    return made


class Starts:
    """A worker's folder, and what a start does in it."""

    def __init__(self, folder: Path, records: Sequence[Logged], trust: TrustSet) -> None:
        self._folder, self._records, self._trust = folder, records, trust

    def cold(self) -> str:
        """Judge every record; returns the index's digest."""
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._start(lambda follower: asyncio.run(self._handle(follower)))

    def warm(self) -> str:
        """Read the table; returns the index's digest."""
        return self._start(lambda follower: follower.warm())

    def _start(self, fill: Callable[[PolicyFollower], Any]) -> str:
        trust = self._trust
        meaning = Meaning(vocabulary=vocabulary().edition, audience=AUDIENCE, trust=trust.digest, contest=None)
        table = PolicyTable(self._folder, meaning)
        follower = PolicyFollower(
            index=Index(),
            table=table,
            trust=trust,
            audience=AUDIENCE,
            vocabulary=vocabulary(),
            contest=None,
            metrics=Metrics(CollectorRegistry()),
            announced=None,
            limits=LIMITS,
            announcements_read=asyncio.Event(),
            applied=lambda _: None,
        )
        fill(follower)
        table.close()
        assert len(follower.index) == len(self._records)
        return follower.index.digest

    async def _handle(self, follower: PolicyFollower) -> None:
        for at in range(0, len(self._records), BATCH):
            await follower.handle(self._records[at : at + BATCH])  # type: ignore[arg-type]  # Logged has what it reads


def ed25519(records: Sequence[Logged], key: PrivateKey) -> None:
    """One verification a record, of as many bytes."""
    private = key.key.private_key
    message, public = records[0].value[:-100], private.public_key()
    signature = private.sign(message)
    for _ in records:
        public.verify(signature, message)


def timed(job: Callable[[], object]) -> tuple[Any, float, float]:
    """What a job returns; seconds by the clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = job()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def told(name: str, taken: Sequence[Sequence[float]]) -> Iterator[str]:
    for what, seconds in zip(("wall", "CPU"), zip(*taken, strict=True), strict=True):
        yield f"{name}, {what}: {statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    vocabulary()
    key, trust = signer()
    records = policy_log(given.documents, key)
    settle()  # as a worker does
    print(
        f"commit {commit()}, {os.cpu_count()} cores, {given.documents:,} documents, n = {given.rounds} rounds; "
        "median (least-most)"
    )
    taken: dict[str, list[list[float]]] = {"cold": [], "Ed25519 alone": [], "warm": []}
    with tempfile.TemporaryDirectory(prefix="doorward-start-") as folder:
        starts = Starts(Path(folder) / "table", records, trust)
        for _ in range(given.rounds):
            cold, *seconds = timed(starts.cold)
            taken["cold"].append(seconds)
            _, *seconds = timed(lambda: ed25519(records, key))
            taken["Ed25519 alone"].append(seconds)
            warm, *seconds = timed(starts.warm)
            taken["warm"].append(seconds)
            assert cold == warm, "a warm start comes to another index"
    for name, each in taken.items():
        for line in told(name, each):
            print(line)


if __name__ == "__main__":
    main()
