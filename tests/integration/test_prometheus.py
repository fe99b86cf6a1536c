"""The mixin's rules and dashboards in a real Prometheus that scrapes real workers under load.

What alerts are for is done to the workers, and each is seen firing, then resolving. One sandbox bears it all, in the
order of this file, while a backend goes on sending joins; at the end everybody has an answer, and every query of every
dashboard has data. The short form does what takes seconds; ``CHAOS=long`` does the rest.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import maxminddb
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from streams.cli.main import app
from streams.core import instants
from streams.dev.sandbox import Sandbox
from tests.chaos.hang import hang_until_it_ends
from tests.chaos.laboured import lay_on
from tests.chaos.trials import ACCOUNTS, LONG
from tests.chaos.workers import await_ready, await_that, ended
from tests.geofiles import BUILD, write_geo
from tests.integration.backend import join
from tests.integration.calls import append, document, enter, leave, people, push
from tests.integration.odd_worker import BROKEN
from tests.integration.prometheus import Prometheus, free_port, needs_prometheus, rendered
from tests.integration.scene import PARTITIONS, Load, Scene
from tests.mixin.mixin import ALERTS, Query, queries
from tests.recorded import made

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300), needs_prometheus]

long_form = pytest.mark.skipif(not LONG, reason="two minutes in all, mostly of waiting; CHAOS=long runs it")

OFFICE = "office"
FRENCH, AMERICAN = "5.39.0.1", "8.8.8.8"
ELSEWHERE = {"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "alert"}
DAY = 86_400
CONFIG = """
  lagSeconds: 3, hungSeconds: 3, sweepSeconds: 2, rebalances: 2, restarts: 1, slo+: { latency+: { le: '0.5' } },
"""
"""What a test cannot wait for, how long joins lie or how often a worker starts; and a latency for busy machines."""

NOT_PROVOKED = {"DoorwardCommitsFailing"}
"""A commit that the only broker there is cannot take would need a broker that takes all else; promtool provokes it."""


# -- what is watched ---------------------------------------------------------------------------------------------


def places(sandbox: Sandbox) -> list[str]:
    """Where workers serve their metrics."""
    return [urlsplit(worker.metrics).netloc for worker in sandbox.workers]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("watched")
    adopt(folder, geo_file(folder, BUILD if LONG else int(time.time()) - DAY))
    environment = {
        "DOORWARD_SESSION_TIMEOUT": "4",
        "DOORWARD_REMIND": "2",
        "DOORWARD_GEO_MANIFEST": str(folder / "geo.json"),
        "ODD_DEFECT": str(folder / "defect"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    program, port = "tests.integration.odd_worker", free_port()
    with ExitStack() as opened:
        sandbox = opened.enter_context(
            Sandbox(accounts=[*ACCOUNTS, OFFICE], partitions=PARTITIONS, environment=environment, program=program)
        )
        scraped = places(sandbox)
        if LONG:  # each worker under two names
            scraped += [place.replace("127.0.0.1", "localhost") for place in scraped]
        targets = {"doorward": scraped, "doorward-watch": [f"127.0.0.1:{port}"]}
        prometheus = opened.enter_context(Prometheus(folder, targets, rendered(folder, CONFIG)))
        for account in ACCOUNTS:
            push(sandbox, document(account, rules=[ELSEWHERE]))
        load = opened.enter_context(Load(sandbox.bootstrap))
        found = Scene(folder, sandbox, prometheus, load, port)
        opened.callback(found.end_watch)
        if not LONG:
            found.begin_watch()
        # What rises before that, did not rise for Prometheus.
        seen_twice = f"count(count_over_time(up[10s]) >= 2) == {len(scraped) + 1}"
        await_that(lambda: bool(prometheus.query(seen_twice)), lambda: str(prometheus.query("up")))
        yield found


@pytest.fixture
def since() -> float:
    """When the test began: what fired before does not count."""
    return time.time()


# -- what is done ------------------------------------------------------------------------------------------------


def geo_file(folder: Path, built: int, *, moved: bool = False) -> Path:
    """A country file of an age (Unix seconds); `moved`: half of the world is elsewhere than it was."""
    networks = {f"{n}.0.0.0/8": "US" if n % 2 == (moved and n > 100) else "FR" for n in range(1, 200)}
    networks |= {f"{n}.0.0.0/8": "CA" for n in range(200, 224)}
    return write_geo(folder / "country.mmdb", {"layout": "country", "build": built, "networks": networks})


def damage(file: Path) -> None:
    """Have the search tree lead nowhere for all of CA: no check of a file looks that far, and look-ups there fail."""
    metadata = maxminddb.open_database(file).metadata()
    assert metadata.record_size == 24
    raw = bytearray(file.read_bytes())
    places = range(0, metadata.node_count * 6, 3)
    last = max(raw[place : place + 3] for place in places)  # of the records, CA's is written last
    for place in places:
        if raw[place : place + 3] == last:
            raw[place : place + 3] = b"\xff\xff\xff"
    file.write_bytes(raw)


def adopt(folder: Path, file: Path, *options: str) -> None:
    done = CliRunner().invoke(app, ["geo", "adopt", str(file), "--manifest", str(folder / "geo.json"), *options])
    assert done.exit_code == 0, done.stderr


@contextmanager
def laboured(sandbox: Sandbox, seconds: float) -> Iterator[None]:
    """Each event takes every worker so long meanwhile."""
    for worker in sandbox.workers:
        lay_on(worker.folder, seconds)
    try:
        yield
    finally:  # or all tests after this one would fail, too
        for worker in sandbox.workers:
            lay_on(worker.folder, 0.0)


def removals(scene: Scene, meetings: list[str]) -> None:
    """Write removals by a service document by hand: no such document is in force within a day of its push (C5)."""
    now = time.time_ns() // 1_000_000
    fields: dict[str, Any] = {"policy": "service/export", "matched": {"country": "BV"}, "at": now}
    for n, meeting in enumerate(meetings):
        each = made(f"{meeting}-{n}-{now}", meeting=meeting, account=f"of-{meeting}", **fields)
        scene.backend.append("decisions", None, msgspec.json.encode(each))


def certificate(file: Path, days: float) -> Path:
    """One that ends in so many days."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "brokers")])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = built.not_valid_before(now).not_valid_after(now + timedelta(days=days)).sign(key, hashes.SHA256())
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return file


# -- provoked ----------------------------------------------------------------------------------------------------


@long_form
def test_workers_that_are_scraped_twice_and_a_watch_that_is_not_there(scene: Scene, since: float) -> None:
    prometheus = scene.prometheus
    prometheus.fires("PartitionsMiscounted", since)
    prometheus.fires("CharterUnwatched", since)
    prometheus.watch(prometheus.targets | {"doorward": places(scene.sandbox)})
    scene.begin_watch()
    prometheus.resolves("PartitionsMiscounted", "CharterUnwatched")


def test_what_backends_and_owners_do(scene: Scene, since: float) -> None:
    prometheus, backend, sandbox = scene.prometheus, scene.backend, scene.sandbox
    scene.load.storm.owed = 2_000
    backend.append("policies", b"account/office/nothing", b"no document")
    removals(scene, ["seminar"] * 12)
    tomorrow = instants.render(time.time_ns() // 1_000_000 + DAY * 1000)
    push(sandbox, document(OFFICE, name="seminar", rules=[], not_after=tomorrow))
    push(sandbox, document(OFFICE))
    crowd = people(OFFICE, 120, [FRENCH])
    enter(backend, crowd, OFFICE)
    for alert in ("DeadLetters", "PolicyRejected", "DocumentExpiring", "RemovalsUnconfirmed", "ConcentratedRemovals"):
        prometheus.fires(alert, since)
    backend.send_events(*map(leave, crowd))
    removals(scene, [f"course-{n}" for n in range(30)])
    push(sandbox, document(OFFICE, 2, name="seminar", rules=[]))
    push(sandbox, document(ACCOUNTS[0], 2, rules=[ELSEWHERE], default="alert"))  # of whoever is in a call
    prometheus.resolves("DocumentExpiring", "RemovalsUnconfirmed", "ConcentratedRemovals")


def test_a_worker_dies_and_comes_back(scene: Scene, since: float) -> None:
    prometheus = scene.prometheus
    with ended(scene.sandbox, scene.sandbox.workers[1], signal.SIGKILL):
        for alert in ("WorkerDown", "TooFewReady", "PartitionsUnowned"):
            prometheus.fires(alert, since)
    await_ready(scene.sandbox)
    prometheus.fires("RecoveryStuck", since)
    prometheus.fires("AnswersBudgetBurn", since, long="1h")
    prometheus.resolves("WorkerDown", "TooFewReady", "PartitionsUnowned", "RecoveryStuck")


@long_form
def test_a_worker_stands_still_for_a_moment_and_a_backend_has_a_partitioner_of_its_own(
    scene: Scene, since: float
) -> None:
    victim = scene.sandbox.workers[1]
    victim.process.signal(signal.SIGSTOP)
    time.sleep(1.5)
    victim.process.signal(signal.SIGCONT)
    event = join("strays", AMERICAN, OFFICE)
    home = (murmur2(b"strays") & 0x7FFFFFFF) % PARTITIONS

    async def stray() -> None:
        async with AIOKafkaProducer(bootstrap_servers=scene.sandbox.bootstrap) as producer:
            await producer.send_and_wait("joins", json.dumps(event).encode(), b"strays", (home + 1) % PARTITIONS)

    asyncio.run(stray())
    scene.prometheus.fires("Misrouted", since)
    scene.prometheus.fires("LoopLag", since)


@long_form
def test_more_joins_come_than_workers_can_take(scene: Scene, since: float) -> None:
    prometheus = scene.prometheus
    with laboured(scene.sandbox, 0.3):
        for alert in ("LagOld", "NoDecisions"):
            prometheus.fires(alert, since)
        # A sweep takes its turn after the chunk in hand; chunks get longer and longer, but which one is long enough?
        for revision in range(3, 10):
            append(scene.sandbox, scene.backend, document(ACCOUNTS[0], revision, rules=[ELSEWHERE]))
            with suppress(AssertionError):
                prometheus.fires("SweepSlow", since, 5)
                break
        prometheus.fires("SweepSlow", since, 1)
    prometheus.fires("LatencyBudgetBurn", since, long="1h")
    prometheus.resolves("LagOld", "NoDecisions", "SweepSlow")


@long_form
def test_a_worker_hangs_while_policy_changes(scene: Scene, since: float) -> None:
    victim = scene.sandbox.workers[1]

    def change() -> None:
        append(scene.sandbox, scene.backend, document(ACCOUNTS[1], 2, rules=[], default="alert"))

    changing = threading.Thread(target=change)

    def others_live() -> bool:
        if victim.scrape() == {}:
            return False
        changing.start()  # now that it hangs for good
        return True

    hang_until_it_ends(victim.pid, others_live, 8.0)
    changing.join()
    scene.prometheus.fires("WorkerHung", since)
    scene.prometheus.fires("PolicyBehind", since)
    await_ready(scene.sandbox)
    scene.prometheus.resolves("PolicyBehind", "WorkerHung")


@long_form
def test_geo_files_old_held_refused_and_damaged(scene: Scene, since: float) -> None:
    prometheus, folder, now = scene.prometheus, scene.folder, int(time.time())
    prometheus.fires("GeoStale", prometheus.began)
    adopt(folder, geo_file(folder, now - 3, moved=True))
    prometheus.fires("GeoHeld", since)
    manifest = folder / "geo.json"
    manifest.write_text(re.sub(r'"sha256": "\w+"', f'"sha256": "{"0" * 64}"', manifest.read_text()))
    prometheus.fires("GeoRefused", since)
    file = geo_file(folder, now - 2, moved=True)
    damage(file)
    adopt(folder, file, "--accept-change", "1")
    prometheus.resolves("GeoHeld", "GeoStale")
    prometheus.fires("GeoErrors", since)
    adopt(folder, geo_file(folder, now - 1, moved=True), "--accept-change", "1")
    prometheus.resolves("GeoErrors")


@long_form
def test_a_worker_that_is_not_as_the_others(scene: Scene, since: float) -> None:
    prometheus, folder, odd = scene.prometheus, scene.folder, scene.sandbox.workers[1]
    soon, sooner = certificate(folder / "soon.pem", 10), certificate(folder / "sooner.pem", 1)
    scene.restart(odd, DOORWARD_AUDIENCE="another", DOORWARD_KAFKA_CA=str(soon), ODD_VERSION="0.0.1")
    prometheus.fires("IndexHashDiffers", since)
    prometheus.fires("VersionsDiffer", since)
    prometheus.fires("CertificateExpiring", since, severity="warning")
    (folder / "aged").mkdir()
    networks = {"9.9.9.0/24": ["vpn"]}
    anonymous = write_geo(folder / "aged" / "anonymous.mmdb", {"layout": "anonymous", "networks": networks})
    files = os.pathsep.join(map(str, (geo_file(folder / "aged", BUILD), anonymous)))
    scene.restart(odd, strict=True, DOORWARD_GEO_MANIFEST="", DOORWARD_GEO=files, DOORWARD_KAFKA_CA=str(sooner))
    prometheus.fires("CertificateExpiring", since, severity="critical")
    prometheus.fires("AnonymityDiscounted", since)
    prometheus.fires("GeoDiffers", since)
    scene.restart(odd)
    with ended(scene.sandbox, odd, signal.SIGKILL):
        pass  # right after that start: on a slow machine the earlier ones are half an hour ago, as it is counted here
    prometheus.fires("WorkerRestarting", since)
    prometheus.fires("Rebalancing", since)
    await_ready(scene.sandbox)
    prometheus.resolves(
        *("IndexHashDiffers", "VersionsDiffer", "CertificateExpiring", "AnonymityDiscounted", "GeoDiffers")
    )


@long_form
def test_a_release_with_a_defect_and_the_one_that_mends_it(scene: Scene, since: float) -> None:
    prometheus, defect = scene.prometheus, scene.folder / "defect"

    def release() -> None:
        with ExitStack() as stopped:
            for worker in scene.sandbox.workers:
                stopped.enter_context(ended(scene.sandbox, worker, signal.SIGTERM))
            prometheus.fires("NoWorker", since)

    defect.touch()
    release()
    await_ready(scene.sandbox)
    crowd = [join(f"{BROKEN}{n % 8}", AMERICAN, OFFICE, id=f"broken-{n}") for n in range(400)]
    scene.backend.send_events(*crowd[:3])
    prometheus.fires("InternalErrors", since)
    scene.backend.send_events(*crowd[3:])
    prometheus.fires("FuseBlown", since)
    defect.unlink()
    release()
    await_ready(scene.sandbox)
    scene.backend.decisions(crowd[-1]["id"])
    prometheus.resolves("NoWorker", "FuseBlown")


# -- the end -----------------------------------------------------------------------------------------------------


def test_every_query_of_every_dashboard_has_data(scene: Scene) -> None:
    def bare() -> list[Query]:
        return [query for query in queries() if not any(map(_is_a_number, scene.prometheus.query(query.filled())))]

    await_that(lambda: not bare(), lambda: str(bare()), 10)


def _is_a_number(series: dict[str, Any]) -> bool:
    return math.isfinite(float(series["value"][1]))


def test_all_is_quiet_again_and_everybody_was_answered(scene: Scene) -> None:
    scene.load.end()
    assert scene.load.unanswered == 0
    # Budgets are also measured over what is hours elsewhere and minutes here: longer than this takes.
    long_ones = {"6h", "1d", "3d"}

    def loud() -> set[tuple[str, str, str]]:
        return {alert for alert in scene.prometheus.firing() if alert[2] not in long_ones}

    await_that(lambda: not loud(), lambda: str(loud()), 60)
    if LONG:
        known = {(rule["alert"], rule["labels"]["severity"], rule["labels"].get("long", "")) for rule in ALERTS}
        unseen = {alert for alert in known - scene.prometheus.fired() if alert[2] not in long_ones}
        assert {name for name, *_ in unseen} == NOT_PROVOKED
