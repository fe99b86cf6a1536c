"""Commands as a user runs them: what is missing is one clear line and exit code 3, and nothing is left running."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.adapters import topics
from streams.dev.authority import establish
from streams.dev.kafka import EmbeddedKafka
from tests.integration.backend import Backend, join

DOORWARD = [sys.executable, "-m", "streams.cli.main"]


def environment(**settings: object) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DOORWARD_") or k == "DOORWARD_CACHE"}
    return {**kept, **{f"DOORWARD_{name.upper()}": str(value) for name, value in settings.items()}}


def run(*arguments: str, timeout: float = 60, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOORWARD, *arguments], env=environment(**settings), capture_output=True, text=True, timeout=timeout
    )


def processes_of(group: int) -> list[str]:
    """Commands of the processes whose environment carries a mark: ours and all their descendants."""
    mark = f"DOORWARD_TEST_MARK={group}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    return establish(tmp_path / "keys", ["acme"]).trust


def says(result: subprocess.CompletedProcess[str], *words: str) -> None:
    refuses(result, 3, *words)


def refuses(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    lines = result.stderr.splitlines()
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("doorward: ")
    for word in words:
        assert word in lines[0], result.stderr


@pytest.mark.broker
class TestWhatIsMissing:
    def test_no_trust_set_named(self, tmp_path: Path) -> None:
        says(run("run", data=tmp_path), "DOORWARD_TRUST")

    def test_no_such_trust_set(self, tmp_path: Path) -> None:
        says(run("run", data=tmp_path, trust=tmp_path / "none.json"), "DOORWARD_TRUST", "none.json")

    def test_an_unreadable_geo_file(self, tmp_path: Path, trust: Path) -> None:
        (tmp_path / "bad.mmdb").write_text("not an MMDB")
        says(run("run", data=tmp_path, trust=trust, geo=tmp_path / "bad.mmdb"), "DOORWARD_GEO", "bad.mmdb")

    def test_no_broker(self, tmp_path: Path, trust: Path) -> None:
        result = run("run", data=tmp_path, trust=trust, kafka_bootstrap="127.0.0.1:1")
        says(result, "DOORWARD_KAFKA_BOOTSTRAP", "127.0.0.1:1")

    def test_a_topic_with_the_wrong_number_of_partitions(self, tmp_path: Path, trust: Path) -> None:
        async def spoil(bootstrap: str) -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic("decisions", 3, 1)])
            await admin.close()
            async with topics.connected(bootstrap) as connected:
                await topics.apply(connected, topics.load_manifest(), replication=1, partitions=4)

        with EmbeddedKafka() as kafka:
            asyncio.run(spoil(kafka.bootstrap))
            result = run("run", data=tmp_path, trust=trust, kafka_bootstrap=kafka.bootstrap)
            load = run("load", "--bootstrap", kafka.bootstrap)
        says(result, "DOORWARD_KAFKA_BOOTSTRAP", "topic decisions: partitions is 3, should be 4")
        says(load, "DOORWARD_KAFKA_BOOTSTRAP", "topic decisions: partitions is 3, should be 4")

    @pytest.mark.parametrize("command", [("load",), ("topics", "check")])
    def test_brokers_named_badly_or_not_there(self, command: tuple[str, ...]) -> None:
        for malformed in ("foo:bar", ""):
            refuses(run(*command, "--bootstrap", malformed), 2, "DOORWARD_KAFKA_BOOTSTRAP", repr(malformed))
        says(run(*command, "--bootstrap", "127.0.0.1:1"), "DOORWARD_KAFKA_BOOTSTRAP", "127.0.0.1:1")

    @pytest.mark.parametrize("command", [("load",), ("topics", "plan"), ("topics", "apply"), ("topics", "check")])
    def test_the_security_settings_are_heeded(self, command: tuple[str, ...], tmp_path: Path) -> None:
        says(run(*command, kafka_security="SSL", kafka_ca=tmp_path / "none.pem"), "DOORWARD_KAFKA_CA", "none.pem")

    def test_a_sandbox_without_its_files(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder, and not an MMDB")
        for option, name in (("data", "file"), ("geo", "file"), ("geo", "none"), ("policies", "none")):
            says(run("dev", f"--{option}", str(tmp_path / name)), f"--{option}", name)
        says(run("dev", "--data", "/proc/sandbox"), "--data", "/proc/sandbox")

    def test_a_bad_setting_of_a_sandboxs_worker(self) -> None:
        command = [sys.executable, "-m", "streams.dev.worker"]
        result = subprocess.run(
            command, env=environment(session_timeout="soon"), capture_output=True, text=True, timeout=30
        )
        refuses(result, 2, "doorward: DOORWARD_SESSION_TIMEOUT: ")

    def test_decide_without_its_files(self, tmp_path: Path) -> None:
        joins = tmp_path / "joins.jsonl"
        joins.write_text("")
        (tmp_path / "clinic.yaml").write_text(POLICY)
        says(run("decide", "--unsigned", "--policies", str(tmp_path / "none"), "--joins", str(joins)), "--policies")
        says(run("decide", "--unsigned", "--policies", str(tmp_path), "--joins", str(tmp_path / "none")), "--joins")
        geo = run("decide", "--unsigned", "--policies", str(tmp_path), "--joins", str(joins), "--geo", str(joins))
        says(geo, "--geo", "joins.jsonl")
        trust = run("decide", "--policies", str(tmp_path), "--joins", str(joins), "--trust", str(tmp_path / "none"))
        says(trust, "--trust")

    def test_a_bad_setting_is_named(self, tmp_path: Path) -> None:
        result = run("run", session_timeout="soon")
        assert result.returncode == 2
        assert "DOORWARD_SESSION_TIMEOUT" in result.stderr
        assert "Traceback" not in result.stderr


POLICY = """
scope: account
account: clinic
name: licensing
revision: 1
rules: [{id: here, when: {country: [US]}, then: admit}]
default: remove
"""


def test_what_nobody_decides_by_stops_nothing(tmp_path: Path, trust: Path, kafka: EmbeddedKafka) -> None:
    """A metrics port in use, a collector that is away: a line of each, and joins are decided."""

    async def prepare() -> None:
        async with topics.connected(kafka.bootstrap) as connected:
            await topics.apply(connected, topics.load_manifest(), replication=1, partitions=4)

    asyncio.run(prepare())
    broker = {"trust": trust, "kafka_bootstrap": kafka.bootstrap, "metrics_port": kafka.bootstrap.split(":")[1]}
    (tmp_path / "file").touch()
    says(run("run", data=tmp_path / "file" / "data", **broker), "DOORWARD_DATA", "Not a directory")
    tracing = {"tracing_endpoint": "http://127.0.0.1:1", "tracing_ratio": 1}
    with subprocess.Popen(
        [*DOORWARD, "run"],
        env=environment(data=tmp_path / "data", **broker, **tracing),
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            backend = Backend(kafka.bootstrap)
            backend.send_events(join("m-1", "5.39.0.1", id="unseen"))
            assert backend.decisions("unseen")["unseen"]["data"]["verdict"] == "admit"
            worker.send_signal(signal.SIGTERM)
            _, said = worker.communicate(timeout=30)
        finally:
            worker.kill()
    assert worker.returncode == 0
    events = [json.loads(line)["event"] for line in said.splitlines()]
    for words in ("the port is in use", "traces are not taken"):
        assert len([event for event in events if words in event]) == 1, events


@pytest.mark.broker
@pytest.mark.parametrize(("end", "workers"), [(signal.SIGTERM, 2), (signal.SIGINT, 1), (signal.SIGKILL, 1)])
def test_dev_is_ready_restarts_the_dead_and_leaves_nothing(tmp_path: Path, end: signal.Signals, workers: int) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "clinic.yaml").write_text(POLICY)
    mark = time.monotonic_ns()
    dev = subprocess.Popen(
        [*DOORWARD, "dev", "--workers", str(workers), "--policies", str(tmp_path / "policies"), "--json"],
        env={**environment(), "DOORWARD_TEST_MARK": str(mark), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert dev.stdout is not None
        ready = json.loads(dev.stdout.readline())
        assert ready["ready"] is True
        assert len(ready["workers"]) == len(ready["metrics"]) == workers
        assert set(ready["keys"]) == {"owner", "approver-1", "approver-2"}
        backend = Backend(ready["bootstrap"])
        backend.send_events(join("m-1", "5.39.0.1", "clinic", id="first"))
        made = backend.decisions("first")["first"]["data"]
        assert (made["verdict"], made["policies"]) == ("remove", {"account/clinic/licensing": 1})
        if end is signal.SIGTERM:
            self_healing(backend, ready)
            pushing(tmp_path, ready)
        dev.send_signal(end)
        code = dev.wait(30)
        assert code == (0 if end is not signal.SIGKILL else -signal.SIGKILL)
    finally:
        dev.kill()
        dev.wait()
    nothing_is_left(mark, tmp_path, 15)


def nothing_is_left(mark: int, temporary: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_of(mark) or [str(folder) for folder in temporary.glob("doorward-*")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def self_healing(backend: Backend, ready: dict) -> None:
    for pid in ready["workers"]:
        os.kill(pid, signal.SIGKILL)
    backend.send_events(*(join(f"m-{i}", "5.39.0.1", "clinic", id=f"healed-{i}") for i in range(8)))
    made = backend.decisions(*(f"healed-{i}" for i in range(8)))
    assert {each["data"]["verdict"] for each in made.values()} == {"remove"}, "none was decided before policy was read"


def pushing(tmp_path: Path, ready: dict) -> None:
    file = tmp_path / "next.yaml"
    file.write_text(POLICY.replace("revision: 1", "revision: 2"))
    common = ["--bootstrap", ready["bootstrap"], "--trust", ready["trust"], "--yes", "--json"]
    pushed = run("policy", "push", str(file), "--key", ready["keys"]["owner"], *common)
    assert pushed.returncode == 0, pushed.stderr
    said = json.loads(pushed.stdout)
    assert [document["answer"] for document in said["documents"]] == ["accepted"]
    assert {worker["worker"] for worker in said["workers"] if worker["applied"]} == {"sandbox-1", "sandbox-2"}


@pytest.mark.broker
def test_the_demo_answers_every_join_and_checks_every_answer() -> None:
    mark = time.monotonic_ns()
    result = subprocess.run(
        [*DOORWARD, "demo", "--seconds", "4", "--rate", "500", "--json"],
        env={**environment(), "DOORWARD_TEST_MARK": str(mark)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["ok"]
    assert summary["unanswered"] == summary["different"] == 0
    assert summary["checked"] == summary["admits"] + summary["alerts"] + summary["removes"] > 1500
    assert min(summary[verdict] for verdict in ("admits", "alerts", "removes")) > 0
    assert summary["reports"] > 0
    assert 450 < summary["joins_per_second"] < summary["events_per_second"]
    assert len(summary["pushed_applied_ms"]) == 2
    assert processes_of(mark) == []


@pytest.mark.broker
def test_a_demo_cut_short_says_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    mark = time.monotonic_ns()
    with subprocess.Popen(
        [*DOORWARD, "demo", "--seconds", "60", "--rate", "300"],
        env={**environment(), "DOORWARD_TEST_MARK": str(mark), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            assert demo.stderr is not None
            said = [demo.stderr.readline()]
            while said[-1] and not said[-1].startswith("streaming"):
                said.append(demo.stderr.readline())
            assert list(tmp_path.glob("doorward-*")), "its folder is below TMPDIR"
            demo.send_signal(signal.SIGINT)
            out, rest = demo.communicate(timeout=30)
        finally:
            demo.kill()
    assert demo.returncode == 130
    assert rest == "doorward: interrupted; nothing is left running\n"
    assert out == ""
    nothing_is_left(mark, tmp_path, 0)
