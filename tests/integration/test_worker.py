"""The real worker on a real broker, as backends, policy teams and auditors see it."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.adapters.metricmanifest import MANIFEST
from streams.adapters.policylog import Offer
from streams.dev.sandbox import Sandbox, rejections
from streams.wire import jws
from tests.collector import Collector, collecting
from tests.integration.backend import Backend, join

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas" / "events"
FRANCE, AMERICA = "5.39.0.1", "8.8.8.8"

LICENSING = {
    "scope": "account",
    "account": "acme",
    "name": "licensing",
    "revision": 1,
    "rules": [
        {"id": "licensed", "when": {"country": ["US"]}, "then": "admit"},
        {"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove"},
    ],
    "default": "remove",
    "contest": "https://acme.example/contest",
}


def push(sandbox: Sandbox, *offers: Offer) -> None:
    assert rejections(sandbox.push(offers)) == []


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


@pytest.fixture(scope="module")
def sandbox(collector: Collector) -> Iterator[Sandbox]:
    tracing = {"DOORWARD_TRACING_ENDPOINT": collector.endpoint, "DOORWARD_TRACING_RATIO": "0"}
    with Sandbox(workers=2, accounts=["acme", "clinic", "trial"], environment=tracing) as started:
        push(started, started.authority.offer(LICENSING))
        yield started


@pytest.fixture(scope="module")
def backend(sandbox: Sandbox) -> Backend:
    return Backend(sandbox.bootstrap)


pytestmark = pytest.mark.broker


def test_a_join_is_answered_with_its_reason_and_receipt(backend: Backend) -> None:
    (partition, offset), _ = backend.send_events(join("m-1", FRANCE, id="fr"), join("m-1", AMERICA, id="us"))
    made = backend.decisions("fr", "us")
    removed = made["fr"]
    assert removed["type"] == "doorward.remove.v1"
    assert removed["data"]["reason"]["rule"] == "elsewhere"
    assert removed["data"]["reason"]["holder"] == "owner"
    assert removed["data"]["reason"]["matched"] == {"country": "FR"}
    assert removed["data"]["receipt"]["status"] == 403
    assert removed["data"]["receipt"]["document"].startswith("sha256:")
    assert removed["data"]["order"][:2] == [offset, removed["data"]["policy_offset"]]
    assert made["us"]["type"] == "doorward.admit.v1"
    record = next(r for r in backend.read("decisions") if json.loads(r.value)["id"] == removed["id"])
    assert (record.key, record.partition) == (b"m-1", partition)
    assert dict(record.headers) == {"content-type": b"application/cloudevents+json"}


def test_binary_mode_decides_as_structured_mode_does(backend: Backend) -> None:
    event = join("m-2", FRANCE, id="structured")
    headers = [(f"ce_{name}", event[name].encode()) for name in ("specversion", "type", "source", "time")]
    headers += [("ce_id", b"binary"), ("content-type", b"application/json")]
    backend.send([(b"m-2", json.dumps(event).encode(), []), (b"m-2", json.dumps(event["data"]).encode(), headers)])
    made = backend.decisions("structured", "binary")
    assert made["binary"]["data"]["reason"] == made["structured"]["data"]["reason"]


GOOD = json.dumps(join("m-3", FRANCE)).encode()
MALFORMED = [
    ("not_json", b"m-3", b"{"),
    ("not_json", b"m-3", None),
    ("not_json", b"m-3", GOOD.replace(b'"m-3"', b'"\\ud800"')),
    ("not_json", b"m-3", GOOD.replace(b'"m-3"', b"NaN")),
    ("too_deep", b"m-3", b"[" * 10_000 + b"]" * 10_000),
    ("too_large", b"m-3", b'{"x": "' + b"a" * 2_000_000 + b'"}'),
    ("schema", b"m-3", b"[]"),
    ("schema", b"m-3", GOOD.replace(b'"account"', b'"acount"')),
    ("schema", b"m-3", GOOD.replace(b'"acme"', b"7")),
    ("unknown_type", b"m-3", GOOD.replace(b"join.v1", b"join.v9")),
    ("key_mismatch", b"m-4", GOOD),
    ("key_mismatch", None, GOOD),
    ("bad_address", b"m-3", GOOD.replace(FRANCE.encode(), b"010.8.8.8")),
    ("bad_address", b"m-3", GOOD.replace(FRANCE.encode(), b"fe80::1%eth0")),
]


def test_what_is_malformed_becomes_a_dead_letter_and_the_rest_goes_on(backend: Backend) -> None:
    places = backend.send(
        [(key, value, [("trace", b"t")]) for _, key, value in MALFORMED],
        max_request_size=4 << 20,
        compression_type="gzip",
    )
    backend.send_events(join("m-3", FRANCE, id="after"))
    backend.decisions("after")

    def letters(records: list) -> dict[tuple[int, int], list]:
        found: dict[tuple[int, int], list] = {}
        for record in records:
            headers = dict(record.headers)
            place = int(headers["doorward-partition"]), int(headers["doorward-offset"])
            found.setdefault(place, []).append(record)
        return found

    found = letters(backend.read("joins.dlq", lambda records: set(places) <= letters(records).keys()))
    for (reason, key, value), place in zip(MALFORMED, places, strict=True):
        [letter] = found[place]
        headers = dict(letter.headers)
        assert headers["doorward-reason"].decode() == reason
        assert (letter.key, letter.value) == (key, value), "the original record, untouched"
        assert headers["trace"] == b"t"
        assert headers["doorward-topic"] == b"joins"
    placed = {(r.partition, json.loads(r.value)["data"]["order"][0]) for r in backend.read("decisions")}
    for (reason, _, _), place in zip(MALFORMED, places, strict=True):
        assert (place in placed) == (reason == "bad_address"), "only a join whose address is none is decided as well"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_backends_compress_as_they_like(backend: Backend, codec: str) -> None:
    event = join("m-4", FRANCE, id=f"compressed-{codec}")
    backend.send([(b"m-4", json.dumps(event).encode(), [])], compression_type=codec)
    assert backend.decisions(event["id"])[event["id"]]["data"]["verdict"] == "remove"


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"])
def test_wrapped_addresses_are_looked_up_unwrapped(backend: Backend, address: str) -> None:
    backend.send_events(join("m-5", address, id=address))
    assert backend.decisions(address)[address]["data"]["reason"]["matched"] == {"country": "US"}


def test_a_leave_gets_no_decision(backend: Backend) -> None:
    [place] = backend.send_events(join("m-6", FRANCE, id="gone", type="doorward.leave.v1"))
    backend.send_events(join("m-6", FRANCE, id="stays"))
    backend.decisions("stays")
    places = {(r.partition, json.loads(r.value)["data"]["order"][0]) for r in backend.read("decisions")}
    assert place not in places


def test_report_mode_publishes_beside_and_changes_nothing(sandbox: Sandbox, backend: Backend) -> None:
    trial = {**LICENSING, "account": "trial", "mode": "report"}
    push(sandbox, sandbox.authority.offer(trial))
    backend.send_events(join("m-7", FRANCE, "trial", id="tried"))
    assert backend.decisions("tried")["tried"]["data"]["verdict"] == "admit"
    reported = backend.decisions("tried", topic="decisions.report")["tried"]
    assert reported["data"]["verdict"] == "remove"
    assert reported["data"]["policies"] == {"account/trial/licensing": 1}


def test_the_life_of_a_document(sandbox: Sandbox, backend: Backend) -> None:
    clinic = {**LICENSING, "account": "clinic"}
    push(sandbox, sandbox.authority.offer(clinic))
    path = b"account/clinic/licensing"
    second = sandbox.authority.offer({**clinic, "revision": 2, "rules": [], "default": "admit"}).raw
    forged = jws.sign({**clinic, "revision": 9}, [sandbox.authority.private["approver-1"]], "doorward")
    elsewhere = jws.sign({**clinic, "revision": 9}, [sandbox.authority.private["owner"]], "another-deployment")
    first = sandbox.authority.offer(clinic).raw
    offsets = {
        name: backend.append("policies", key, value)
        for name, key, value in [
            ("accepted", path, second),
            ("revision-falls", path, sandbox.authority.offer({**clinic, "note": "other"} | {"revision": 1}).raw),
            ("repeat", path, second),
            ("C1-owner", path, forged),
            ("audience", path, elsewhere),
            ("tombstone", path, None),
            ("not-jws", path, b"{}"),
            ("key-mismatch", b"account/acme/licensing", sandbox.authority.offer({**clinic, "revision": 3}).raw),
            ("repeat of an old one", path, first),
        ]
    }
    last = max(offsets.values())

    def answered(events: list[dict]) -> bool:
        return {e["data"].get("offset") for e in events if "applied" not in e["type"]} >= set(offsets.values())

    said = {
        e["data"]["offset"]: e
        for e in backend.statuses(answered)
        if "policy" in e["type"] and "applied" not in e["type"]
    }
    for name, offset in offsets.items():
        event = said[offset]
        if name in ("accepted", "repeat", "repeat of an old one"):
            assert event["type"] == "doorward.policy.accepted.v1"
            continue
        assert event["type"] == "doorward.policy.rejected.v1", name
        codes = [problem["code"] for problem in event["data"]["problems"]]
        assert name in codes or (name == "revision-falls" and "revision-conflict" in codes), codes

    def applied(events: list[dict]) -> bool:
        return len({e["data"]["worker"] for e in events if "applied" in e["type"] and e["data"]["offset"] >= last}) == 2

    newest = {e["data"]["worker"]: e["data"] for e in backend.statuses(applied) if "applied" in e["type"]}
    assert len({data["digest"] for data in newest.values()}) == 1, "all workers hold the same documents"
    backend.send_events(join("m-8", FRANCE, "clinic", id="relaxed"))
    made = backend.decisions("relaxed")["relaxed"]["data"]
    assert (made["verdict"], made["policies"]) == ("admit", {"account/clinic/licensing": 2})
    retraction = {"scope": "account", "account": "clinic", "name": "licensing", "revision": 10, "retracted": True}
    push(sandbox, sandbox.authority.offer(retraction))
    backend.send_events(join("m-8", FRANCE, "clinic", id="retracted"))
    assert backend.decisions("retracted")["retracted"]["data"]["policies"] == {}


def test_a_killed_worker_comes_back_warm_and_agrees(sandbox: Sandbox, backend: Backend) -> None:
    worker = sandbox.workers[0]
    before, killed = worker.restarts, worker.pid
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while not (worker.restarts > before and sandbox.is_ready()):
        assert time.monotonic() < deadline, worker.last_line()
        time.sleep(0.2)
    assert worker.pid != killed
    text = urllib.request.urlopen(worker.metrics, timeout=5).read().decode()
    assert 'doorward_policy_records_total{result="accepted"} 0.0' in text, "it verified no document again"
    digests = {
        e["data"]["worker"]: e["data"]["digest"]
        for e in backend.statuses(lambda events: True)
        if "applied" in e["type"]
    }
    assert len(digests) == 2
    assert len(set(digests.values())) == 1
    ids = [f"again-{i}" for i in range(20)]
    backend.send_events(*(join(f"m-again-{i}", FRANCE, id=id_) for i, id_ in enumerate(ids)))
    assert {made["data"]["verdict"] for made in backend.decisions(*ids).values()} == {"remove"}


def test_addresses_stay_out_of_everything_but_joins_and_dead_letters(
    sandbox: Sandbox, backend: Backend, collector: Collector
) -> None:
    canaries = ["5.39.77.201", "2a01:e0a:77::201", "010.77.77.201", "77.77.77.300"]
    ids = [f"canary-{i}" for i in range(len(canaries))]
    trace = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    traced = {address: [trace, ("tracestate", f"edge={address}".encode())] for address in canaries}
    events = {address: join("m-9", address, id=id_) for address, id_ in zip(canaries, ids, strict=True)}
    backend.send([(b"m-9", json.dumps(events[address]).encode(), traced[address]) for address in canaries])
    backend.send([(b"m-9", f'{{"address": "{address}", '.encode(), traced[address]) for address in canaries])
    backend.decisions(*ids)
    collector.wait_for(lambda: len(collector.spans()) >= 2 * len(canaries))
    sinks = {
        topic: b"".join((r.key or b"") + (r.value or b"") + repr(r.headers).encode() for r in backend.read(topic))
        for topic in ("decisions", "decisions.report", "policies", "policies.status", "joins", "joins.dlq")
    }
    sinks["traces"] = b"".join(collector.posts)
    for worker in sandbox.workers:
        sinks[worker.metrics] = urllib.request.urlopen(worker.metrics, timeout=5).read()
        sinks[str(worker.log)] = worker.log.read_bytes()
        for file in Path(worker.folder).rglob("*"):
            if file.is_file():
                sinks[str(file)] = file.read_bytes()
    for canary in canaries:
        holding = {name for name, content in sinks.items() if canary.encode() in content}
        assert holding <= {"joins", "joins.dlq"}, f"{canary} is in {holding}"
        assert "joins" in holding, "the canary was planted"


@pytest.mark.parametrize("topic", ["decisions", "decisions.report", "policies.status"])
def test_every_event_is_as_its_schema_says(backend: Backend, topic: str) -> None:
    records = backend.read(topic, lambda found: len(found) > 0)
    for record in records:
        event = json.loads(record.value)
        name = event["type"].removeprefix("doorward.").removesuffix(".v1")
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
        jsonschema.validate(event, schema, format_checker=jsonschema.FormatChecker())
        if topic == "policies.status":
            assert record.key.decode() == event["subject"]
        if name == "geo.announced":
            [file] = event["data"]["files"]
            assert file["sha256"].startswith("sha256:")
            assert datetime.fromisoformat(file["build"]) == datetime(2026, 6, 17, 19, 51, 40, tzinfo=UTC)


def test_a_misrouted_join_is_decided_and_counted(sandbox: Sandbox, backend: Backend) -> None:
    other = Backend(sandbox.bootstrap, partitions=1)  # puts everything on partition 0
    meeting = next(f"m-lost-{i}" for i in range(99) if _home(f"m-lost-{i}") != 0)
    other.send_events(join(meeting, FRANCE, id="misrouted"))
    assert backend.decisions("misrouted")["misrouted"]["data"]["verdict"] == "remove"
    counted = 0.0
    for worker in sandbox.workers:
        text = urllib.request.urlopen(worker.metrics, timeout=5).read().decode()
        counted += sum(
            float(line.split()[1]) for line in text.splitlines() if line.startswith("doorward_misrouted_events_total")
        )
    assert counted >= 1


def test_metrics_say_what_their_manifest_says_in_its_words_alone(sandbox: Sandbox) -> None:
    declared = {metric.name: metric for metric in MANIFEST if metric.process == "worker"}
    for worker in sandbox.workers:
        text = urllib.request.urlopen(worker.metrics, timeout=5).read().decode()
        families = {f.name: f for f in text_string_to_metric_families(text) if f.name.startswith("doorward_")}
        served = {name: family for name, family in families.items() if not name.endswith("_created")}  # the client's
        assert {name: family.type for name, family in served.items()} == {n: m.kind for n, m in declared.items()}
        for name, family in served.items():
            for sample in family.samples:
                said = {label: word for label, word in sample.labels.items() if label not in ("le", "version")}
                assert said.keys() <= declared[name].labels.keys()
                assert all(word in declared[name].labels[label] for label, word in said.items()), sample


def test_health_pages_of_a_worker_at_work(sandbox: Sandbox) -> None:
    for worker in sandbox.workers:
        for page in ("livez", "readyz"):
            with urllib.request.urlopen(worker.metrics.replace("metrics", page), timeout=5) as answer:
                assert (answer.status, answer.read()) == (200, b"ok\n")


def _home(meeting: str) -> int:
    from aiokafka.partitioner import murmur2

    return (murmur2(meeting.encode()) & 0x7FFFFFFF) % 4


def test_a_shifted_clock_opens_a_service_document_and_decisions_say_so() -> None:
    """Notice counts from the broker's append time, windows from the worker's clock (rulings 29 and 36)."""
    opens = datetime.now(UTC) + timedelta(hours=24, minutes=10)
    export = {
        "scope": "service",
        "name": "export",
        "revision": 1,
        "class": "legal",
        "ground": "Export control list 7",
        "reference": "https://register.example/7",
        "contest": "https://doorward.example/contest",
        "not_before": opens.isoformat(),
        "not_after": (opens + timedelta(days=30)).isoformat(),
        "rules": [{"id": "listed", "when": {"country": ["FR"]}, "then": "remove"}],
        "default": "admit",
    }
    with Sandbox(workers=1, accounts=["acme"], clock_shift=25 * 3_600_000) as shifted:
        push(shifted, shifted.authority.offer(export))
        backend = Backend(shifted.bootstrap)
        backend.send_events(join("m-1", FRANCE, id="fr"))
        made = backend.decisions("fr")["fr"]["data"]
    assert made["verdict"] == "alert", "no anonymity data is loaded: service rules alert at most (C4)"
    assert made["reason"]["rule"] == "listed"
    assert made["reason"]["matched"] == {}, "alerts of a service document are no roster (ruling 34)"
    assert made["reason"]["holder"] == "approver-1, approver-2"
    assert made["engine"].endswith("(clock +25h)")
    assert datetime.fromisoformat(made["decided_at"]) > datetime.now(UTC) + timedelta(hours=24)
