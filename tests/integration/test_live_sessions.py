"""Calls under way on real workers and a real broker: what documents, clock, geography and crashes do to people in them.

Two workers share one sandbox. Each test has accounts of its own, so that none changes another's people; the last one
looks for the addresses that all of them used.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.adapters.policylog import Offer
from streams.adapters.seal import KEY_BYTES, Sealer
from streams.adapters.topics import connected
from streams.core.sessions import Ended, Session
from streams.dev.sandbox import Sandbox, SandboxWorker
from streams.runtime.frames import Headers, frame, tombstone_headers, unframe
from streams.runtime.frames import said as said_in
from streams.wire import sessionrecord
from tests.geofiles import BUILD, write_geo
from tests.integration.backend import Backend, join
from tests.integration.calls import (
    append,
    applied,
    document,
    enter,
    identity,
    leave,
    name,
    people,
    push,
    retraction,
    said,
    story,
    verdicts,
)

pytestmark = pytest.mark.broker

FRENCH = ["5.39.77.201", "5.39.114.222", "2a01:e0a:77::c4a1", "2a01:e0a:1c2d:3e4f:5a6b:7c8d:9eaf:b1c3"]
AMERICAN = ["8.8.231.147", "2001:4860:4860:1c2d::93f7"]
MOVED = ["80.12.213.167", "2a02:a46:9c3b::d5e8"]
"""French in the first geo file, American in the second."""
CANARIES = [*FRENCH, *AMERICAN, *MOVED]
FIRST = {"5.39.0.0/16": "FR", "2a01:e0a::/32": "FR", "8.8.0.0/16": "US", "2001:4860::/32": "US"}
FIRST |= {"80.12.0.0/16": "FR", "2a02:a46::/32": "FR"}
SECOND = {**FIRST, "80.12.0.0/16": "US", "2a02:a46::/32": "US"}
SESSIONS_CHANGELOG = "doorward-sessions-changelog"
SESSIONS = 6_000
"""Live in the tests that kill: a sweep over them takes some turns."""
DOORWARD = [sys.executable, "-m", "streams.cli.main"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("geo")


def adopt(folder: Path, file: Path) -> subprocess.CompletedProcess[str]:
    command = [*DOORWARD, "geo", "adopt", str(file), "--manifest", str(folder / "geo.json")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def country(folder: Path, networks: dict[str, str], build: int) -> Path:
    return write_geo(folder / "country.mmdb", {"layout": "country", "build": build, "networks": networks})


ACCOUNTS = ["visits", "trial", "proctor", "export", "office", "clock", "kill", "wipe", "geo", "canary"]


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[Sandbox]:
    done = adopt(folder, country(folder, FIRST, BUILD))
    assert done.returncode == 0, done.stderr
    environment = {"DOORWARD_GEO_MANIFEST": str(folder / "geo.json"), "DOORWARD_SESSION_TIMEOUT": "4"}
    with Sandbox(workers=2, accounts=ACCOUNTS, environment=environment) as started:
        yield started


@pytest.fixture(scope="module")
def backend(sandbox: Sandbox) -> Backend:
    return Backend(sandbox.bootstrap)


# -- documents ---------------------------------------------------------------------------------------------------


def test_a_document_reaches_people_already_in_and_its_retraction_lets_them_back(
    sandbox: Sandbox, backend: Backend
) -> None:
    crowd = people("visits", 24, [*FRENCH[:3], *AMERICAN, FRENCH[3]])
    hit = {name(event) for event in crowd if event["data"]["address"] in FRENCH}
    assert set(verdicts(enter(backend, crowd, "visits")).values()) == {"admit"}
    pushed = push(sandbox, document("visits"))
    repeated = append(sandbox, backend, document("visits"))  # the same content again changes nothing (ruling 17)
    applied(backend, repeated)
    first = applied(backend, pushed)
    assert sum(data["sweep"]["decided"] for data in first) == len(crowd)
    assert sum(data["sweep"]["sessions"] for data in first) == len(crowd)
    assert sum(data["sweep"]["remove"] for data in first) == len(hit)
    assert sum(data["sweep"]["admit"] + data["sweep"]["alert"] for data in first) == 0
    for data in first:
        assert 0 <= data["timings"]["in_force"] < 10
        assert 0 < data["timings"]["swept"] < 10
    retracted = push(sandbox, retraction("visits", 2))
    assert sum(data["sweep"]["admit"] for data in applied(backend, retracted)) == len(hit)
    told = said(backend, "visits", lambda found: True)
    for event in crowd:
        events = told[name(event)]
        if name(event) not in hit:
            assert story(events) == [("admit", "join")]
            continue
        assert story(events) == [("admit", "join"), ("remove", "policy"), ("admit", "policy")]
        answered, removed, let_in = events
        assert answered["data"]["order"] < removed["data"]["order"] < let_in["data"]["order"]
        assert removed["data"]["order"][:2] == [answered["data"]["order"][0], pushed]
        assert removed["id"] == identity(removed, "policy", str(pushed))
        assert let_in["id"] == identity(let_in, "policy", str(retracted))
        assert removed["data"]["event"] == {"source": event["source"], "id": event["id"]}
        assert removed["data"]["reason"]["rule"] == "elsewhere"
        assert removed["data"]["reason"]["matched"] == {"country": "FR"}
        assert removed["data"]["receipt"]["status"] == 403
        assert (let_in["data"]["reason"], let_in["data"]["policies"]) == (None, {})


def test_a_document_in_report_mode_is_tried_on_people_already_in_and_touches_nobody(
    sandbox: Sandbox, backend: Backend
) -> None:
    crowd = people("trial", 18, [FRENCH[0], AMERICAN[0], AMERICAN[1]], meetings=9)
    hit = {name(event) for event in crowd if event["data"]["address"] in FRENCH}
    enter(backend, crowd, "trial")
    offset = push(sandbox, document("trial", mode="report"))
    reports = said(backend, "trial", lambda found: found.keys() >= hit, topic="decisions.report")
    assert reports.keys() == hit
    for events in reports.values():
        assert story(events) == [("remove", "policy")]
        assert events[0]["id"] == identity(events[0], "policy", str(offset), mode="report")
    told = said(backend, "trial", lambda found: True)
    assert all(story(events) == [("admit", "join")] for events in told.values())
    sweeps = [data["sweep"] for data in applied(backend, offset)]
    assert all((sweep["admit"], sweep["alert"], sweep["remove"]) == (0, 0, 0) for sweep in sweeps)
    trials = [trial for sweep in sweeps for trial in sweep["trials"]]
    assert {(trial["path"], trial["revision"]) for trial in trials} == {("account/trial/licensing", 1)}
    counts = {key: sum(trial[key] for trial in trials) for key in ("sessions", "admit", "remove", "would_remove")}
    assert counts == {"sessions": 18, "admit": 12, "remove": len(hit), "would_remove": len(hit)}
    assert sum(trial["meetings"] for trial in trials) == len({e["data"]["meeting"] for e in crowd if name(e) in hit})


def test_nobody_slips_through_between_a_join_and_a_document(sandbox: Sandbox, backend: Backend) -> None:
    """Joins and documents at the same time. The last document names a network, which needs the sealed addresses."""
    crowd = people("proctor", 4_000, [*FRENCH, *AMERICAN], meetings=20)
    nets = [{"id": "room", "when": {"network": ["5.39.0.0/16", "2001:4860::/32"]}, "then": "remove"}]
    documents = [
        document("proctor", 1),
        document("proctor", 2, rules=[], default="remove"),
        document("proctor", 3, rules=[]),
        document("proctor", 4),
        document("proctor", 5, rules=nets),
    ]
    sent: list[dict[str, Any]] = []
    enough = threading.Event()

    def flow() -> None:
        for n in range(0, len(crowd), 8):
            if enough.is_set():
                return
            backend.send_events(*crowd[n : n + 8])
            sent.extend(crowd[n : n + 8])

    joins = threading.Thread(target=flow, daemon=True)
    joins.start()
    for value in documents:
        await_more(sent, 40)
        push(sandbox, value)
    await_more(sent, 40)
    enough.set()
    joins.join(30)
    assert 240 <= len(sent) < len(crowd), "joins flowed all the while"
    expected = {name(e): "remove" if e["data"]["address"] in (*FRENCH[:2], AMERICAN[1]) else "admit" for e in sent}
    told = said(backend, "proctor", lambda found: verdicts(found) == expected)
    assert verdicts(told) == expected
    at_join = {events[0]["data"]["policy_offset"] for events in told.values() if events[0]["data"]["cause"] == "join"}
    assert len(at_join) == len(documents) + 1, "some joined under each document, and some before the first"
    causes = {event["data"]["cause"] for events in told.values() for event in events}
    assert causes == {"join", "policy"}
    for events in told.values():
        changes = [event["data"]["verdict"] for event in events]
        assert all(a != b for a, b in pairwise(changes)), "a sweep speaks of changes only"


def await_more(sent: list[dict[str, Any]], count: int) -> None:
    """Until so many more joins were sent."""
    wanted, deadline = len(sent) + count, time.monotonic() + 20
    while len(sent) < wanted:
        assert time.monotonic() < deadline, "joins no longer flow"
        time.sleep(0.005)


# -- leaves ------------------------------------------------------------------------------------------------------


def test_a_meeting_has_one_account_until_all_have_left(sandbox: Sandbox, backend: Backend) -> None:
    owner = [join("shared", address, "export", id=f"export-{n}") for n, address in enumerate(FRENCH[:2])]
    other = join("shared", FRENCH[2], "office", id="office-early")
    enter(backend, owner, "export")
    backend.send_events(leave(owner[0]), other)

    def letters(records: list[Any]) -> list[Any]:
        return [r for r in records if b"office-early" in (r.value or b"")]

    [letter] = letters(backend.read("joins.dlq", lambda records: bool(letters(records))))
    headers = dict(letter.headers)
    assert (letter.key, json.loads(letter.value)) == (b"shared", other)
    assert headers["doorward-reason"] == b"account_mismatch"
    later = join("shared", FRENCH[2], "office", id="office-later")
    backend.send_events(leave(owner[1]), later)
    told = said(backend, "office", lambda found: name(later) in found)
    assert told.keys() == {name(later)}, "the one in the dead letters got no decision"
    assert story(told[name(later)]) == [("admit", "join")]


def test_a_join_that_comes_after_its_leave_starts_no_session(sandbox: Sandbox, backend: Backend) -> None:
    gone, stays = (join("ward", FRENCH[0], "export", id=f"export-{which}") for which in ("gone", "stays"))
    early = join("ward", FRENCH[1], "export", id="export-late")  # its leave overtakes it
    enter(backend, [gone, stays], "export")
    backend.send_events(leave(gone), leave(early))
    enter(backend, [early, {**gone, "id": "export-gone-again"}], "export")
    offset = push(sandbox, document("export"))
    told = said(backend, "export", lambda found: len(found[name(stays)]) == 2)
    assert story(told[name(stays)]) == [("admit", "join"), ("remove", "policy")]
    assert sum((data["sweep"] or {"remove": 0})["remove"] for data in applied(backend, offset)) == 1
    for who in (gone, early):
        assert set(story(told[name(who)])) == {("admit", "join")}


def test_a_removal_is_said_again_until_its_leave() -> None:
    with Sandbox(workers=2, accounts=["visits"], environment={"DOORWARD_REMIND": "1"}) as sandbox:
        backend = Backend(sandbox.bootstrap)
        push(sandbox, document("visits"))
        leaves, stays = (join("m-1", FRENCH[0], "visits", id=f"visits-{which}") for which in ("leaves", "stays"))
        after = join("m-1", AMERICAN[0], "visits", id="visits-after")  # answered behind the leave
        backend.send_events(leaves, stays)
        said(backend, "visits", lambda found: all(len(found.get(name(e), ())) > 1 for e in (leaves, stays)))
        backend.send_events(leave(leaves), after)
        told = said(backend, "visits", lambda found: name(after) in found)
        left_at = told[name(after)][0]["data"]["order"][3]
        told = said(backend, "visits", lambda found: found[name(stays)][-1]["data"]["order"][3] > left_at)
    events = told[name(stays)]
    assert len({event["id"] for event in events}) == len(events)
    assert all(event["data"]["reason"] == events[0]["data"]["reason"] for event in events)
    assert all(a["data"]["order"] < b["data"]["order"] for a, b in pairwise(events))
    assert events[1]["id"] == identity(events[1], "reminder", "1")
    assert events[1]["data"]["receipt"]["status"] == 403
    waits = [b["data"]["order"][3] - a["data"]["order"][3] for a, b in pairwise(events)]
    assert waits[0] >= 1_000
    assert waits[1] >= 2_000, "it is said again after ever longer waits"
    assert told[name(leaves)][-1]["data"]["order"][3] <= left_at, "nobody is told again of one who left"


# -- the clock ---------------------------------------------------------------------------------------------------


def test_a_window_that_opens_and_closes_is_a_cause_of_its_own(sandbox: Sandbox, backend: Backend) -> None:
    crowd = people("clock", 8, [FRENCH[0], AMERICAN[0]])
    enter(backend, crowd, "clock")
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    closes = opens + timedelta(seconds=2)
    push(sandbox, document("clock", not_before=opens.isoformat(), not_after=closes.isoformat()))
    told = said(backend, "clock", lambda found: all(len(found[name(event)]) >= 3 for event in crowd[::2]))
    edges = [str(round(edge.timestamp() * 1000)) for edge in (opens, closes)]
    for event in crowd[::2]:
        joined, removed, let_in = told[name(event)]
        assert story(told[name(event)]) == [("admit", "join"), ("remove", "clock"), ("admit", "clock")]
        assert datetime.fromisoformat(joined["data"]["decided_at"]) < opens
        assert opens <= datetime.fromisoformat(removed["data"]["decided_at"]) < closes
        assert closes <= datetime.fromisoformat(let_in["data"]["decided_at"])
        assert removed["id"] == identity(removed, "clock", edges[0])
        assert let_in["id"] == identity(let_in, "clock", edges[1])
    assert all(story(told[name(event)]) == [("admit", "join")] for event in crowd[1::2])
    retracted = push(sandbox, retraction("clock", 2))
    sweeps = [data["sweep"] for data in applied(backend, retracted) if data["sweep"]]
    assert sum(sweep["decided"] for sweep in sweeps) == len(crowd), "what the clock changed is not this document's"
    assert sum(sweep["admit"] + sweep["alert"] + sweep["remove"] for sweep in sweeps) == 0


# -- crashes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["kill", "wipe"])
def test_a_worker_killed_in_a_sweep_leaves_nobody_with_the_old_verdict(
    sandbox: Sandbox, backend: Backend, account: str
) -> None:
    """`kill` leaves the dead worker its folder; `wipe` does not, and somebody without a key forges sessions."""
    crowd = people(account, SESSIONS, [*FRENCH, *AMERICAN], meetings=200)
    expected = {name(e): "remove" if e["data"]["address"] in FRENCH else "admit" for e in crowd}
    enter(backend, crowd, account)
    worker = sandbox.workers[0]
    before = worker.restarts
    forged = forgeries(backend, account) if account == "wipe" else []
    offer = sandbox.authority.offer(document(account))
    offset, killed_at = asyncio.run(push_and_kill(sandbox.bootstrap, offer, worker))
    if account == "wipe":
        await_death(worker.pid)
        shutil.rmtree(worker.folder)
        asyncio.run(append_all(sandbox.bootstrap, forged))
    told = said(backend, account, lambda found: verdicts(found) == expected)
    assert verdicts(told) == expected
    for events in told.values():
        changes = {event["id"] for event in events if event["data"]["cause"] == "policy"}
        assert len(changes) <= 1, "what was said before the crash and after it is one decision"
        assert all(e["id"] == identity(e, "policy", str(offset)) for e in events if e["data"]["cause"] == "policy")
    policy = [e["data"]["order"][3] for events in told.values() for e in events if e["data"]["cause"] == "policy"]
    assert any(at < killed_at for at in policy), "it was killed in the sweep"
    assert any(at > killed_at + 500 for at in policy), "the sweep was not over"
    deadline = time.monotonic() + 40
    while not (worker.restarts > before and sandbox.is_ready()):
        assert time.monotonic() < deadline, worker.last_line()
        time.sleep(0.1)
    lifted = push(sandbox, document(account, 2, rules=[]))
    hit = [who for who, verdict in expected.items() if verdict == "remove"]
    assert sum(data["sweep"]["admit"] for data in applied(backend, lifted)) == len(hit), "each is still known, once"
    assert set(verdicts(said(backend, account, lambda found: True)).values()) == {"admit"}
    assert sum(counted_as_forged(each) for each in sandbox.workers) >= len(forged)


Forgery = tuple[int, bytes, bytes | None, Headers]
"""Partition, key, value and headers."""


def forgeries(backend: Backend, account: str) -> list[Forgery]:
    """What somebody with a worker's password and no key would have the changelog say of some of an account's people.

    By turns: that they are in the US and were admitted, that they left, nothing any more, and the first as if by an
    owner that comes after all others.
    """
    mark, written = f"{account}/".encode(), backend.read(SESSIONS_CHANGELOG)
    latest = {record.key: record for record in written if record.key is not None and record.key.startswith(mark)}
    assert len(latest) == SESSIONS
    stranger, forged = Sealer([bytes(KEY_BYTES)]), []
    for n, (key, record) in enumerate(list(latest.items())[::7]):
        number, payload = unframe(record) or (0, None)
        session = sessionrecord.decode(payload or b"")
        assert isinstance(session, Session)
        licensed = msgspec.structs.replace(session.facts, country="US", subdivision=None, continent="NA")
        elsewhere = sessionrecord.encode(msgspec.structs.replace(session, facts=licensed, verdict=0, swept=None))
        ended = sessionrecord.encode(Ended(session.offset + 1, session.decided_at + 86_400_000))
        number, new = [(number, elsewhere), (number, ended), (number, None), (2**64 - 1, elsewhere)][n % 4]
        stamp = stranger.stamp(said_in(record.partition, number, key, new)) if n % 8 < 4 else b""
        if new is None:
            forged.append((record.partition, key, None, tombstone_headers(number, stamp)))
        else:
            forged.append((record.partition, key, frame(number, new, stamp), []))
    return forged


async def append_all(bootstrap: str, records: list[Forgery]) -> None:
    """Append records to the sessions' changelog."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        sent = [
            await producer.send(SESSIONS_CHANGELOG, value, key=key, partition=partition, headers=headers)
            for partition, key, value, headers in records
        ]
        await asyncio.gather(*sent)


def counted_as_forged(worker: SandboxWorker) -> float:
    """How many session records a worker has found to be forged."""
    with urllib.request.urlopen(worker.metrics, timeout=5) as answer:
        text = answer.read().decode()
    name_ = 'doorward_session_faults_total{kind="forged"} '
    return sum(float(line.removeprefix(name_)) for line in text.splitlines() if line.startswith(name_))


async def push_and_kill(bootstrap: str, offer: Offer, worker: SandboxWorker) -> tuple[int, int]:
    """Append a document and kill a worker as soon as the sweep has said a first thing.

    Returns the document's offset and when the worker was killed, ms since the epoch.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, fetch_max_wait_ms=5)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    async with consumer, producer:
        partitions = [TopicPartition("decisions", partition) for partition in range(4)]
        consumer.assign(partitions)
        await consumer.seek_to_end()
        for partition in partitions:
            await consumer.position(partition)
        key = offer.path.encode()
        waiting = asyncio.ensure_future(consumer.getone())
        appending = await producer.send("policies", offer.raw, key=key, partition=0)
        first = await waiting  # before all else: the sweep is over in some tenths of a second
        os.kill(worker.pid, signal.SIGKILL)
        killed_at = time.time_ns() // 1_000_000
        assert json.loads(first.value)["data"]["cause"] == "policy"
        return (await appending).offset, killed_at


def await_death(pid: int) -> None:
    """Until a process has been killed and holds no file open."""
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/fd").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


# -- geography ---------------------------------------------------------------------------------------------------


def test_new_geo_files_decide_people_already_in_and_bad_ones_change_nothing(
    sandbox: Sandbox, backend: Backend, folder: Path
) -> None:
    crowd = people("geo", 9, [*MOVED, FRENCH[0]])
    moved = {name(event) for event in crowd if event["data"]["address"] in MOVED}
    push(sandbox, document("geo"))
    assert set(verdicts(enter(backend, crowd, "geo")).values()) == {"remove"}
    manifest = folder / "geo.json"
    done = adopt(folder, country(folder, SECOND, BUILD + 86_400))
    assert done.returncode == 0, done.stderr
    told = said(backend, "geo", lambda found: all(len(found[who]) > 1 for who in moved))
    for who, events in told.items():
        if who not in moved:
            assert story(events) == [("remove", "join")]
            continue
        assert story(events) == [("remove", "join"), ("admit", "geo")]
        assert events[1]["id"] == identity(events[1], "geo", events[1]["data"]["geo_build"])
        assert events[1]["data"]["order"][2] == BUILD + 86_400
        assert events[1]["data"]["geo_build"] != events[0]["data"]["geo_build"]
    in_use = next(told[who][1]["data"]["geo_build"] for who in moved)
    damaged = folder / "damaged.mmdb"
    damaged.write_bytes(b"no database" * 1000)
    assert adopt(folder, damaged).returncode == 1, "the command refuses it"
    good = manifest.read_text()
    replace(manifest, good.replace(json.loads(good)["files"][0]["path"], str(damaged)))

    def refused(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {e["data"]["worker"]: e["data"] for e in events if e["type"] == "doorward.geo.refused.v1"}

    data = refused(backend.statuses(lambda events: len(refused(events)) == 2))
    assert {each["in_use"] for each in data.values()} == {in_use}
    assert all("damaged.mmdb" in each["reason"] for each in data.values())
    after = join("geo-m0", MOVED[0], "geo", id="geo-after")
    later = enter(backend, [after], "geo")
    assert later[name(after)][0]["data"]["geo_build"] == in_use
    assert {who: events for who, events in later.items() if who != name(after)} == told
    replace(manifest, good)


def replace(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


# -- charter C7 --------------------------------------------------------------------------------------------------


def forms(address: str) -> dict[str, list[bytes]]:
    """How an address could stand in bytes."""
    ip = ip_address(address)
    texts = {address, str(ip), ip.exploded, str(int(ip))}
    hexes = {ip.packed.hex(), ip.packed[::-1].hex()}
    return {
        "text": [text.encode() for text in texts],
        "hex": [each.encode() for digits in hexes for each in (digits, digits.upper())],
        "packed": [ip.packed, ip.packed[::-1]],
    }


def found_in(content: bytes, form: str) -> list[str]:
    """The canaries that stand somewhere in a form."""
    return [canary for canary in CANARIES if any(each in content for each in forms(canary)[form])]


def test_addresses_of_live_sessions_stay_out_of_everything_but_joins_and_dead_letters(
    sandbox: Sandbox, backend: Backend
) -> None:
    crowd = people("canary", 64, CANARIES)
    enter(backend, crowd, "canary")
    rules = [{"id": "net", "when": {"network": ["5.39.0.0/16", "2a01:e0a::/32", "80.12.0.0/16"]}, "then": "remove"}]
    push(sandbox, document("canary", rules=rules))  # it has every address unsealed
    topics = {topic: contents(backend, topic) for topic in sorted(asyncio.run(all_topics(sandbox)))}
    assert {"decisions", "decisions.report", "policies.status", "doorward-sessions-changelog"} <= topics.keys()
    assert topics["doorward-sessions-changelog"].count(b"canary") >= len(crowd), "sessions are kept there"
    for allowed in ("joins", "joins.dlq"):
        assert found_in(topics.pop(allowed), "text"), f"the canaries were planted in {allowed}"
    sinks = dict(topics)
    for worker in sandbox.workers:
        sinks[worker.metrics] = urllib.request.urlopen(worker.metrics, timeout=5).read()
    with sandbox.unsupervised():
        for worker in sandbox.workers:  # its rows are in memory until there are many, or it ends
            worker.process.signal(signal.SIGTERM)
            worker.process.wait()
            sinks[worker.log.name] = worker.log.read_bytes()
            files = {f"{worker.id}: {file.name}": file for file in Path(worker.folder).rglob("*") if file.is_file()}
            assert any(b"canary" in file.read_bytes() for file in files.values()), "sessions are on its disk"
            sinks |= {label: file.read_bytes() for label, file in files.items()}
    for sink, content in sinks.items():
        assert found_in(content, "text") == [], sink
        for form in ("packed", "hex"):
            found = found_in(content, form)
            assert [canary for canary in found if ":" in canary] == [], (sink, form)
            # Four bytes stand somewhere in megabytes of ciphertext by chance, but hardly those of two canaries.
            assert len(found) < 2, (sink, form, found)


def contents(backend: Backend, topic: str) -> bytes:
    return b"\n".join((r.key or b"") + (r.value or b"") + repr(r.headers).encode() for r in backend.read(topic))


async def all_topics(sandbox: Sandbox) -> set[str]:
    async with connected(sandbox.bootstrap) as admin:
        return {topic for topic in await admin.list_topics() if not topic.startswith("__")}
