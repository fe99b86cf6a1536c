"""How long does `policy lint` take over many documents, over very long lists, and to refuse what it must not read?

    python -m benchmarks.lint [--documents 10000] [--rounds 3]

``--documents`` documents with four rules each, no two alike, each in a file of its own: once as YAML, once as JSON, and
a tenth of each with a fault. Then one document with 100,000 networks, and the pathological files. Counted is the whole
command, start of Python included, in a process of its own.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from streams.core.facts import CONTINENT_OF

COUNTRIES = [code for code in sorted(CONTINENT_OF) if CONTINENT_OF[code] == "EU"]
STATES = ["US-CA", "US-NV", "US-OR", "US-WA", "US-NY", "CA-ON", "CA-QC", "AU-VIC", "DE-BE", "FR-75C"]


def document(number: int) -> dict[str, object]:
    chosen = random.Random(number)
    rules = [
        {"id": "hosts", "when": {"role": ["host", "cohost"]}, "then": "admit"},
        {"id": "licensed", "when": {"country": chosen.sample(COUNTRIES, 5)}, "then": "admit"},
        {"id": "states", "when": {"subdivision": chosen.sample(STATES, 3)}, "then": "admit"},
        {"id": "office", "when": {"network": [f"192.0.{number % 256}.0/24"]}, "then": "admit"},
    ]
    faulty = {"mode": "enforced"} if number % 10 == 0 else {}
    return {
        "scope": "account",
        "account": f"clinic-{number}",
        "name": "licensing",
        "revision": 1,
        "contest": "https://clinic.example/contest",
        "rules": rules,
        "default": "remove",
        "unknown": "alert",
        **faulty,
    }


def as_yaml(value: dict[str, object]) -> str:
    lines = [f"{key}: {json.dumps(item)}" for key, item in value.items() if key != "rules"]
    lines.append("rules:")
    for rule in value["rules"]:  # type: ignore[attr-defined]  # made above
        when = ", ".join(f"{field}: [{', '.join(values)}]" for field, values in rule["when"].items())
        lines += [f"  - id: {rule['id']}", f"    when: {{{when}}}", f"    then: {rule['then']}"]
    return "\n".join(lines) + "\n"


def many(folder: Path, documents: int, ending: str) -> None:
    write = as_yaml if ending == "yaml" else json.dumps
    for number in range(documents):
        below = folder / f"{number // 100:04}"
        below.mkdir(exist_ok=True)
        (below / f"{number:06}.{ending}").write_text(write(document(number)))


def networks(folder: Path, ending: str) -> None:
    blocks = [f"10.{i >> 8 & 255}.{i & 255}.{j}/25" for i in range(50_000) for j in (0, 128)]
    value = document(1) | {"rules": [{"id": "offices", "when": {"network": blocks}, "then": "admit"}]}
    (folder / f"networks.{ending}").write_text(as_yaml(value) if ending == "yaml" else json.dumps(value))


def pathological(folder: Path, which: str) -> None:
    content = {
        "deep nesting": "[" * 1_000_000,
        "a million rules": json.dumps(document(1) | {"rules": [{}] * 1_000_000}),
        "10^6 copies of 0.0.0.0/0": "rules:\n- when:\n    network:\n" + "    - 0.0.0.0/0\n" * 1_000_000,
        "a 100 MB file": "#" * 100_000_000,
    }[which]
    (folder / f"bad.{'json' if which == 'a million rules' else 'yaml'}").write_text(content)


def timed(make: Callable[[Path], None], rounds: int) -> tuple[list[float], float, int]:
    """Seconds of each round, processor seconds of all its processes on average, and the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder, taken, status = Path(name, "policies"), [], 0
        folder.mkdir()
        make(folder)
        command = [sys.executable, "-m", "streams.cli.main", "policy", "lint", "--json", str(folder)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(rounds):
            started = time.monotonic()
            status = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False).returncode
            taken.append(time.monotonic() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return taken, spent / rounds, status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    print(f"python -m benchmarks.lint --documents {given.documents} --rounds {given.rounds}")
    print(f"commit {commit.stdout.strip()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    cases: dict[str, Callable[[Path], None]] = {
        f"{given.documents:,} documents, YAML": lambda folder: many(folder, given.documents, "yaml"),
        f"{given.documents:,} documents, JSON": lambda folder: many(folder, given.documents, "json"),
        "one of 100,000 networks, YAML": lambda folder: networks(folder, "yaml"),
        "one of 100,000 networks, JSON": lambda folder: networks(folder, "json"),
    }
    for which in ("deep nesting", "a million rules", "10^6 copies of 0.0.0.0/0", "a 100 MB file"):
        cases[which] = lambda folder, which=which: pathological(folder, which)  # type: ignore[misc]  # a default binds it
    for name, make in cases.items():
        taken, spent, status = timed(make, given.rounds)
        spread = f"{min(taken):.2f} to {max(taken):.2f} s, {spent:.2f} s of processors"
        print(f"{name:>32}: median {statistics.median(taken):6.2f} s, n={len(taken)}, {spread}, exit {status}")


if __name__ == "__main__":
    main()
