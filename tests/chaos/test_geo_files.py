"""What is done to the geo file in use, on disk and under load: cut, rotted, replaced, deleted. Workers keep theirs.

Whatever is refused is said by each worker, with why; and the next good file is taken up by all of them as they run.
"""

import asyncio
import dataclasses
import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.adapters.geomanifest import place_of, read
from streams.adapters.iso import vocabulary
from streams.dev.load import Client
from streams.dev.sandbox import Sandbox
from tests.chaos.table import note
from tests.chaos.trials import Storm, long_form, trial
from tests.chaos.workers import await_that
from tests.geofiles import BUILD, write_geo
from tests.integration.backend import Backend

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300), long_form]

RATE = 600
DAY = 86_400
ROT = 2_000
"""Bytes that turn over in a file's middle."""
TOLD = 2
"""Times that a worker may tell one and the same thing: it may look while something is written."""
KNOWN, THERE, ELSEWHERE = "8.8.8.8", "US", "FR"
"""An address, the country that every build has it in, and another one."""


# -- files -------------------------------------------------------------------------------------------------------


def build(folder: Path, day: int) -> Path:
    """A country file that was built so many days after the first one, and says otherwise of a part of the world."""
    folder.mkdir()
    rng = random.Random(day)
    networks: dict[str, Any] = {f"{n}.0.0.0/8": rng.choice(["US", "US", "FR"]) for n in range(256)}
    networks |= {f"{n:x}00::/8": rng.choice(["US", "FR"]) for n in range(0x20, 0x40)}
    networks |= {f"{n}.{m}.0.0/16": rng.choice(["US", "FR", "CA"]) for n in range(60, 90) for m in range(0, 256, 2)}
    networks[f"{KNOWN}/32"] = THERE
    return write_geo(folder / "country.mmdb", {"layout": "country", "build": BUILD + day * DAY, "networks": networks})


def flip(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        content = stream.read(ROT)
        stream.seek(-len(content), 1)
        stream.write(bytes(byte ^ 0xFF for byte in content))


def cut(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def replace(file: Path, other: Path) -> None:
    beside = file.with_name("beside")
    beside.write_bytes(other.read_bytes())
    beside.replace(file)


@dataclasses.dataclass(frozen=True)
class Files:
    """The manifest and the builds at hand, the oldest first."""

    manifest: Path
    builds: list[Path]

    @property
    def in_use(self) -> Path:
        """Where the file is that the manifest names."""
        [entry] = read(self.manifest, vocabulary()).files
        return place_of(entry, self.manifest)

    def adopt(self, number: int, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streams.cli.main", "geo", "adopt", str(self.builds[number]), *options]
        command += ["--manifest", str(self.manifest)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def expect_otherwise(files: Files) -> None:
    """Have the manifest name the newest build, whole and rightly described, with a canary that the file contradicts."""
    other = dataclasses.replace(files, manifest=files.manifest.with_name("other.json"))
    assert other.adopt(2, "--canary", f"{KNOWN}=country:{THERE}").returncode == 0
    other.manifest.write_text(other.manifest.read_text().replace(f'"{THERE}"', f'"{ELSEWHERE}"'))
    other.manifest.replace(files.manifest)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("geo")
    found = Files(folder / "geo.json", [build(folder / str(day), day) for day in range(3)])
    assert found.adopt(1).returncode == 0
    return found


@pytest.fixture(scope="module")
def options(files: Files) -> dict[str, Any]:
    return {"environment": {"DOORWARD_GEO_MANIFEST": str(files.manifest), "DOORWARD_GEO_MAX_CHANGE": "1"}}


# -- what workers say --------------------------------------------------------------------------------------------


def refusals(sandbox: Sandbox) -> list[dict[str, Any]]:
    found = Backend(sandbox.bootstrap).statuses(lambda events: True)
    return [event["data"] for event in found if event["type"] == "doorward.geo.refused.v1"]


def refused_by_all(sandbox: Sandbox, place: Path, inflict: Callable[[], object], why: str | None = None) -> None:
    """Do something to the file; then each worker says that it stays with what it has, and why.

    Args:
        sandbox: whose workers.
        place: the file in use.
        inflict: does it.
        why: what is said; None: that the file is another one by its digest, or is not there.
    """
    inflict()
    found = why or (hashlib.sha256(place.read_bytes()).hexdigest() if place.exists() else "No such file")
    workers = {worker.id for worker in sandbox.workers}

    def said() -> list[dict[str, Any]]:
        return [data for data in refusals(sandbox) if found in data["reason"]]

    await_that(lambda: {data["worker"] for data in said()} == workers, lambda: f"{found}: {refusals(sandbox)}")
    assert {data["in_use"] for data in said()} == {place.stem}


def builds_in_use(sandbox: Sandbox) -> set[float | None]:
    return {worker.scrape().get("doorward_geo_build_timestamp_seconds") for worker in sandbox.workers}


def taken_up(sandbox: Sandbox, day: int) -> None:
    await_that(lambda: builds_in_use(sandbox) == {BUILD + day * DAY}, lambda: f"{day}: {builds_in_use(sandbox)}")


def test_a_geo_file_that_goes_bad_is_refused_and_a_good_one_taken_up(
    sandbox: Sandbox, storm: Storm, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOORWARD_GEO", ":".join(map(str, files.builds)))  # the oracle's
    place, pids = files.in_use, [worker.pid for worker in sandbox.workers]
    whole, manifest = place.read_bytes(), files.manifest.read_bytes()

    def go_wrong() -> int:
        contradicted = f"country is {THERE}, expected was {ELSEWHERE}"
        refused_by_all(sandbox, place, lambda: expect_otherwise(files), contradicted)
        files.manifest.write_bytes(manifest)
        refused_by_all(sandbox, place, lambda: cut(place))
        place.write_bytes(whole)  # in place as well
        refused_by_all(sandbox, place, lambda: flip(place))
        refused_by_all(sandbox, place, lambda: replace(place, files.builds[2]))
        refused_by_all(sandbox, place, lambda: replace(place, files.builds[0]))
        refused_by_all(sandbox, place, place.unlink)
        assert builds_in_use(sandbox) == {BUILD + DAY}
        assert files.adopt(0).returncode == 1, "older than what is in use"
        assert files.adopt(2).returncode == 0
        taken_up(sandbox, 2)
        assert files.adopt(0, "--allow-older").returncode == 0
        taken_up(sandbox, 0)
        return 6

    async def inflict(client: Client) -> int:
        return await asyncio.to_thread(go_wrong)

    outcome = asyncio.run(trial(sandbox, storm, "geo file cut, rotted, replaced, deleted", inflict, rate=RATE, after=5))
    outcome.check()
    # A last word by files of before is in doubt, not wrong: an address that does not open cannot be looked up again.
    assert not outcome.account["unprovable"], "whoever is in a meeting is decided again by new files"
    assert outcome.restarts == 0
    assert [worker.pid for worker in sandbox.workers] == pids
    assert outcome.gap < 5.0
    said = Counter((data["worker"], data["reason"]) for data in refusals(sandbox))
    assert max(said.values()) <= TOLD, "what is refused is told when it comes, not each second"
    made = [json.loads(record.value)["data"] for record in Backend(sandbox.bootstrap).read("decisions")]
    assert len({data["geo_build"] for data in made}) == 3
    assert {data["cause"] for data in made} >= {"join", "geo"}
    note(outcome)
