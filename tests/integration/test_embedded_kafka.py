"""The embedded Kafka is a real one, survives what it should, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import streams.dev.kafka as embedded
from streams.dev import jars
from streams.dev.guardian import Guarded
from streams.dev.kafka import EmbeddedKafka, KafkaUnavailable

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]


def create(bootstrap: str, topic: str, replication: int) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        settings = {"min.insync.replicas": str(min(2, replication))}
        await admin.create_topics([NewTopic(topic, 2, replication, topic_configs=settings)])
        await admin.close()

    asyncio.run(run())


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", retry_backoff_ms=50) as producer:
            for number, value in enumerate(values):
                await producer.send_and_wait(topic, value, partition=number % 2)

    asyncio.run(asyncio.wait_for(run(), 30))


def consume(bootstrap: str, topic: str, count: int) -> set[bytes]:
    async def run() -> set[bytes]:
        # A group, so that the brokers' own offsets topic is shown to work as well.
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=topic, auto_offset_reset="earliest")
        async with consumer:
            values = {(await consumer.getone()).value for _ in range(count)}
            await consumer.commit()
            return values

    return asyncio.run(asyncio.wait_for(run(), 30))


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that nobody has reaped yet is dead too.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_one_node_takes_and_gives_records(kafka: EmbeddedKafka) -> None:
    create(kafka.bootstrap, "one-node", 1)
    sent = [b"%d" % number for number in range(20)]
    produce(kafka.bootstrap, "one-node", sent)
    assert consume(kafka.bootstrap, "one-node", 20) == set(sent)


def test_a_topic_nobody_created_is_not_made_by_asking_for_it(kafka: EmbeddedKafka) -> None:
    async def topics() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.describe_topics(["asked-for"])
        names = set(await admin.list_topics())
        await admin.close()
        return names

    assert "asked-for" not in asyncio.run(topics())


def test_three_nodes_lose_one_and_go_on(kafka3: EmbeddedKafka) -> None:
    create(kafka3.bootstrap, "cluster", 3)
    before = [b"before %d" % number for number in range(10)]
    during = [b"during %d" % number for number in range(10)]
    produce(kafka3.bootstrap, "cluster", before)
    ports, killed = kafka3.bootstrap, kafka3.pids[2]

    kafka3.kill(2)
    assert not alive(killed)
    assert set(kafka3.pids) == {1, 3}
    produce(kafka3.bootstrap, "cluster", during)

    kafka3.restart(2)
    assert set(kafka3.pids) == {1, 2, 3}
    assert kafka3.bootstrap == ports
    assert consume(kafka3.bootstrap, "cluster", 20) == {*before, *during}


def test_a_node_stopped_in_order_comes_back_and_can_be_paused(kafka3: EmbeddedKafka) -> None:
    stopped = kafka3.pids[1]
    kafka3.stop_node(1)
    assert not alive(stopped)
    kafka3.restart(1)
    kafka3.pause(3)
    assert embedded._brokers_known(int(kafka3.bootstrap.rsplit(":", 1)[1])) == 0
    kafka3.resume(3)
    assert wait_until(lambda: embedded._brokers_known(int(kafka3.bootstrap.rsplit(":", 1)[1])) == 3, 15)


def test_two_side_by_side_know_nothing_of_each_other_and_leave_nothing(kafka: EmbeddedKafka) -> None:
    with EmbeddedKafka() as other:
        create(other.bootstrap, "mine", 1)
        produce(other.bootstrap, "mine", [b"here"])
        create(kafka.bootstrap, "mine", 1)
        produce(kafka.bootstrap, "mine", [b"there"])
        assert consume(other.bootstrap, "mine", 1) == {b"here"}
        data, pid = other.data, other.pids[1]
        assert data is not None
        assert data.is_dir()
    assert not alive(pid)
    assert not data.exists()


def test_a_given_folder_is_kept_and_used_again_on_other_ports(tmp_path: Path) -> None:
    with EmbeddedKafka(data=tmp_path / "kept") as first:
        create(first.bootstrap, "kept", 1)
        produce(first.bootstrap, "kept", [b"from the first run"])
        with pytest.raises(KafkaUnavailable, match="another embedded Kafka uses"):
            EmbeddedKafka(data=tmp_path / "kept").start()
    with EmbeddedKafka(data=tmp_path / "kept") as second:
        assert consume(second.bootstrap, "kept", 1) == {b"from the first run"}


def test_a_broker_that_will_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "node-1" / "data").mkdir(parents=True)
    (tmp_path / "node-1" / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=x\n")
    with pytest.raises(KafkaUnavailable, match=r"node 1 ended while starting: .*node.*7") as refused:
        EmbeddedKafka(data=tmp_path).start()
    assert "\n" not in str(refused.value)


def test_a_port_taken_in_between_means_another_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as rival:
        rival.bind(("127.0.0.1", 0))
        rival.listen()
        taken = rival.getsockname()[1]
        draw, draws = embedded._free_ports, []

        def unlucky_once(count: int) -> list[int]:
            draws.append(count)
            return [*draw(count - 1), taken] if len(draws) == 1 else draw(count)

        monkeypatch.setattr(embedded, "_free_ports", unlucky_once)
        with EmbeddedKafka() as kafka:
            assert len(draws) == 2
            assert str(taken) not in kafka.bootstrap


def test_a_cluster_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, drawn = uuid.uuid4, []

    def unlucky_once() -> uuid.UUID:
        drawn.append(uuid.UUID(bytes=b"\xf8" * 16) if not drawn else draw())  # its base64 begins with "-"
        return drawn[-1]

    monkeypatch.setattr(uuid, "uuid4", unlucky_once)
    with EmbeddedKafka() as kafka:
        assert list(kafka.pids) == [1]
    assert len(drawn) == 2


PARENT = """
import json, sys, time
from streams.dev.kafka import EmbeddedKafka
kafka = EmbeddedKafka()
kafka.start()
print(json.dumps({"pid": kafka.pids[1], "data": str(kafka.data), "bootstrap": kafka.bootstrap}), flush=True)
time.sleep(120)
"""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_the_broker_goes_with_its_parent(death: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        broker = json.loads(parent.stdout.readline())
        assert alive(broker["pid"])
        parent.send_signal(death)
        parent.wait(10)
    assert wait_until(lambda: not alive(broker["pid"]), 5)
    assert wait_until(lambda: not Path(broker["data"]).exists(), 5)
    assert not listening(int(broker["bootstrap"].rsplit(":", 1)[1]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process whose parent was killed")
def test_a_killed_guardian_takes_its_command_along() -> None:
    command = Guarded(["sleep", "60"])
    os.kill(command._guardian.pid, signal.SIGKILL)
    assert wait_until(lambda: not alive(command.pid), 5)
    command.wait()
    command.release()


def test_a_guarded_command_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = Guarded(["sh", "-c", "trap '' TERM; sleep 60 & echo $!; wait; wait"], log=log, grace=0.2)
    assert wait_until(lambda: log.exists() and log.read_text().strip() != "", 5)
    command.release()
    assert command.wait(5) == 128 + signal.SIGKILL
    assert not alive(int(log.read_text()))


def test_a_guarded_commands_exit_code_passes_through(tmp_path: Path) -> None:
    command = Guarded(["sh", "-c", "exit 7"])
    assert command.wait(5) == 7
    command.release()
    with pytest.raises(OSError, match=r"cannot start .*nowhere \(exit code 127\)"):
        Guarded([str(tmp_path / "nowhere")], log=tmp_path / "log")


def test_a_jar_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = jars.cache_folder() / "jars"
    monkeypatch.setenv("DOORWARD_CACHE", str(tmp_path))
    (tmp_path / "jars").mkdir()
    for jar in jars.locked():
        (tmp_path / "jars" / jar.file_name).symlink_to(real / jar.file_name)
    forged = tmp_path / "jars" / jars.locked()[2].file_name
    forged.unlink()
    forged.write_bytes(b"not a jar")
    with pytest.raises(KafkaUnavailable, match=r"kafka-clients.*is not the locked .*delete it to fetch it again"):
        EmbeddedKafka().start()


def test_without_a_network_an_empty_cache_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("DOORWARD_CACHE", str(tmp_path))
    with pytest.raises(KafkaUnavailable) as refused:
        EmbeddedKafka().start()
    assert str(refused.value).startswith("cannot fetch org.")
    assert "DOORWARD_KAFKA_BOOTSTRAP" in str(refused.value)
    assert "\n" not in str(refused.value)
