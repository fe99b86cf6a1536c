"""The Quix Streams peer has a lock file of its own: the parts that Doorward's core spends its time in must be ours."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def versions(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_quix_streams_decides_with_the_same_parts_as_the_worker() -> None:
    ours, theirs = versions("requirements.lock"), versions("benchmarks/peers/quix/requirements.lock")
    parts = {"msgspec", "orjson", "maxminddb", "cryptography", "pycountry", "rocksdict"}
    assert {part: theirs[part] for part in parts} == {part: ours[part] for part in parts}


def test_its_lock_file_has_a_hash_for_each_and_names_no_host() -> None:
    text = (ROOT / "benchmarks/peers/quix/requirements.lock").read_text()
    hashed = re.findall(r"^([a-z0-9-]+)==.*\\\n +--hash", text, re.MULTILINE)
    assert hashed == list(versions("benchmarks/peers/quix/requirements.lock"))
    assert "//" not in text
