"""More workers than partitions: one decides, the other stands by, and both count as ready and as having applied."""

import time
from collections.abc import Iterator

import pytest

from streams.dev.sandbox import Sandbox, SandboxWorker
from tests.integration.backend import Backend, join
from tests.integration.calls import applied, document, push, retraction

FRANCE = "5.39.0.1"

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    environment = {"DOORWARD_SESSION_TIMEOUT": "4"}
    with Sandbox(accounts=["acme"], workers=2, partitions=1, environment=environment) as started:
        yield started


def roles(sandbox: Sandbox) -> tuple[SandboxWorker, SandboxWorker]:
    """Who decides, and who is idle."""
    idle, busy = sorted(sandbox.workers, key=lambda worker: worker.owned() or 0)
    return busy, idle


def verdict(sandbox: Sandbox, id_: str) -> str:
    backend = Backend(sandbox.bootstrap, sandbox.partitions)
    backend.send_events(join("m-1", FRANCE, id=id_))
    said: str = backend.decisions(id_)[id_]["data"]["verdict"]
    return said


def test_a_worker_without_partitions_is_ready_and_applies_what_is_pushed(sandbox: Sandbox) -> None:
    assert [worker.owned() for worker in roles(sandbox)] == [1, 0]
    offset = push(sandbox, document("acme"))
    told = applied(Backend(sandbox.bootstrap), offset)
    assert {data["worker"] for data in told} == {worker.id for worker in sandbox.workers}
    assert verdict(sandbox, "in-force") == "remove"


def test_it_takes_over_and_whoever_is_left_without_is_still_heard(sandbox: Sandbox) -> None:
    """The one that owned the partition loses it for good, and applies the next document all the same."""
    busy, idle = roles(sandbox)
    third = sandbox.add_worker()
    sandbox.remove_worker(busy)
    deadline = time.monotonic() + 30
    while not sandbox.is_ready():
        assert time.monotonic() < deadline, [worker.last_line() for worker in sandbox.workers]
        time.sleep(0.1)
    assert sorted(worker.owned() or 0 for worker in (idle, third)) == [0, 1]
    offset = push(sandbox, retraction("acme", 2))
    assert {data["worker"] for data in applied(Backend(sandbox.bootstrap), offset)} == {idle.id, third.id}
    assert verdict(sandbox, "lifted") == "admit"
