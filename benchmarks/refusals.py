"""How long until input that was made to be expensive is refused, and what is the dearest that is taken?

    python -m benchmarks.refusals [--rounds 3]

Each is put the two ways that documents come: as a record of the policy log through what a worker does with it
(``streams.wire.signed.accept``), its signature true, as somebody trusted who means harm would write it; and as a file
through what commands do with it (read, and parsed where it can be read). CPU time of this process, median (least-most);
behind it what came of it: the first code, and how many problems were told.
"""

import argparse
import base64
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.policies import NOW, SCOPE, cpu, told
from benchmarks.start import AUDIENCE, signer
from benchmarks.sweeps import commit
from streams.adapters.iso import vocabulary
from streams.core.index import Index
from streams.core.policy import Invalid, parse
from streams.wire import documents
from streams.wire.jws import TYP
from streams.wire.keys import PrivateKey
from streams.wire.signed import Record, Rejected, accept
from streams.wire.trust import TrustSet

MILLION: Final = 10**6
HEAD: Final = json.dumps(SCOPE)[:-1].encode()
EVERYONE: Final = b'"0.0.0.0/0"'


def ruled(rules: bytes) -> bytes:
    return HEAD + b',"rules":' + rules + b"}"


def listed(*values: bytes) -> bytes:
    return ruled(b'[{"id":"r","then":"admit","when":{"network":[' + b",".join(values) + b"]}}]")


def rules(count: int) -> bytes:
    return ruled(b"[" + b",".join(b'{"id":"%d","then":"admit"}' % i for i in range(count)) + b"]")


def hostile() -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """Name, the file's ending, and the text."""
    yield "nested 300,000 deep", "json", lambda: ruled(b"[" * 300_000 + b"]" * 300_000)
    yield "nested 300,000 deep", "yaml", lambda: ruled(b"[" * 300_000 + b"]" * 300_000)
    yield "nested 900 deep", "json", lambda: ruled(b"[" * 900 + b"]" * 900)
    yield "a million rules", "json", lambda: rules(MILLION)
    yield "20,000 rules", "json", lambda: rules(20_000)
    yield "10,000 rules", "json", lambda: rules(10_000)
    yield "a million 0.0.0.0/0", "json", lambda: listed(*[EVERYONE] * MILLION)
    yield "a million 0.0.0.0/0", "yaml", lambda: listed(*[EVERYONE] * MILLION)
    yield "60,000 0.0.0.0/0", "json", lambda: listed(*[EVERYONE] * 60_000)
    yield "190,000 values, none a network", "json", lambda: listed(*[b"0"] * 190_000)
    yield "60,000 unknown keys", "json", lambda: HEAD + b"".join(b',"%d":0' % i for i in range(60_000)) + b"}"
    yield "a name of 500,000 characters", "json", lambda: ruled(b'[{"id":"' + b"x" * 500_000 + b'","then":"admit"}]')
    yield "100 MB of spaces", "json", lambda: b" " * 100 * MILLION + HEAD + b"}"


def signed(payload: bytes, key: PrivateKey) -> bytes:
    """A true signature; ``jws.sign`` would refuse some of these."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    header = encoded(json.dumps({"alg": "Ed25519", "kid": key.kid, "typ": TYP, "aud": AUDIENCE}).encode())
    text = encoded(payload)
    signature = key.key.private_key.sign(f"{header}.{text}".encode())
    return json.dumps(
        {"payload": text, "signatures": [{"protected": header, "signature": encoded(signature)}]}
    ).encode()


def as_record(raw: bytes, trust: TrustSet) -> str:
    record = Record(b"account/acme/licensing", 0, NOW)
    try:
        accept(raw, trust=trust, audience=AUDIENCE, vocabulary=vocabulary(), index=Index(), record=record)
    except Rejected as exc:
        return f"{exc.problems[0].code}, {len(exc.problems):,} told"
    return "taken"


def as_file(path: Path) -> str:
    found, unreadable = documents.read_file(path)
    if unreadable:
        return f"{unreadable[0].code}, {len(unreadable):,} told"
    try:
        parse(found[0][0], vocabulary())
    except Invalid as exc:
        return f"{exc.problems[0].code}, {len(exc.problems):,} told"
    return "taken"


def timed(name: str, job: Callable[[], str], rounds: int) -> None:
    answers: set[str] = set()
    taken = [cpu(lambda: answers.add(job())) for _ in range(rounds)]
    told(f"{name}: {', '.join(answers)}", taken, 1e-3, "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    key, trust = signer()
    vocabulary()
    print(f"commit {commit()}, {os.cpu_count()} cores, {given.rounds} rounds")
    with TemporaryDirectory(prefix="doorward-refusals-") as folder:
        for name, ending, make in hostile():
            text = make()
            print(f"{name}, {len(text):,} B")
            if ending == "json":
                raw = signed(text, key)
                timed(f"record of {len(raw):,} B", partial(as_record, raw, trust), given.rounds)
            path = Path(folder) / f"hostile.{ending}"
            path.write_bytes(text)
            timed(f"{ending} file", partial(as_file, path), given.rounds)


if __name__ == "__main__":
    main()
