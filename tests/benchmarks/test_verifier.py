"""Peers are timed only when the verifier finds nothing: so it has to find whatever a peer might get wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka.partitioner import murmur2

from benchmarks.peers.job import Job, decider, opened
from benchmarks.peers.verifier import Decisions, Expectation, Record, States, stated
from streams.adapters.geo import shipped
from streams.adapters.seal import Sealer, new_key
from streams.core import instants
from streams.core.sessions import Ended, Session
from streams.dev.demo import ACCOUNTS, starter_policies
from streams.dev.traffic import Addresses, Traffic
from streams.wire import documents
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS

PARTITIONS = 2
NOON = 1_795_262_400_000  # 2026-11-21T12:00:00Z


class Run(NamedTuple):
    """What a peer was to say, what it said, and its changelog's records."""

    expected: Expectation
    said: list[Record]
    rows: list[tuple[int, bytes, bytes]]
    sealer: Sealer


@pytest.fixture(scope="module")
def events() -> list[Record]:
    rng = random.Random(11)
    traffic = Traffic(Addresses(shipped(), rng, networks=100), rng, ACCOUNTS, meetings=60)
    counts = [0] * PARTITIONS
    records = []
    for made in traffic.batch(1_200, instants.render(NOON)):
        partition = (murmur2(made.key) & 0x7FFFFFFF) % PARTITIONS
        records.append(Record(partition, counts[partition], made.key, made.value))
        counts[partition] += 1
    return records


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    for number, (value, place) in enumerate(documents.read_folder(starter_policies())[0]):
        if Path(place.file).parent == starter_policies():
            (folder / f"{number}.json").write_bytes(orjson.dumps(value))
    return folder


def perform(events: list[Record], policies: Path, folder: Path, *, sessions: bool) -> Run:
    """A peer of ours that makes no mistake, a day later than the expectation, with a key of its own."""
    expected = Expectation(decider(policies, shipped()), events, sessions=sessions, at=NOON)
    new_key(folder / "seal.json")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("POLICIES", str(policies))
        environment.setenv("GEO", str(shipped()))
        environment.setenv("DOORWARD_SEAL_KEYS", str(folder / "seal.json"))
        environment.delenv("SESSIONS", raising=False)
        if sessions:
            environment.setenv("SESSIONS", str(folder))
        job = Job()
    said, rows = [], []
    for record in events:
        event = job.event(record.key, record.value, record.headers)
        value = event and job.answer(event, record.partition, record.offset, NOON + 86_400_000 + record.offset)
        rows += job.touched()
        if value:
            said.append(Record(record.partition, len(said), record.key, value, CONTENT_TYPE_HEADERS))
    return Run(expected, said, rows, Sealer.read([folder / "seal.json"]))


@pytest.fixture(scope="module")
def stateful(events: list[Record], policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return perform(events, policies, tmp_path_factory.mktemp("run"), sessions=True)


@pytest.fixture(scope="module")
def stateless(events: list[Record], policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return perform(events, policies, tmp_path_factory.mktemp("run"), sessions=False)


@pytest.fixture(params=["stateless", "stateful"])
def run(request: pytest.FixtureRequest) -> Run:
    made: Run = request.getfixturevalue(request.param)
    return made


def found(expected: Expectation, said: list[Record]) -> dict[str, int]:
    check = Decisions(expected)
    for record in said:
        check.take(record)
    assert bool(check.finish()) == bool(check.faults.counts)
    return dict(check.faults.counts)


def altered(record: Record, change: Callable[[dict[str, Any]], Any]) -> Record:
    event = orjson.loads(record.value or b"")
    change(event)
    return record._replace(value=orjson.dumps(event))


def first(run: Run, wanted: Callable[[dict[str, Any]], bool]) -> int:
    return next(at for at, record in enumerate(run.said) if wanted(orjson.loads(record.value or b"")))


def test_a_peer_that_says_what_the_core_says_is_right_whenever_it_says_it(run: Run) -> None:
    assert len(run.said) == run.expected.count > 1_000
    verdicts = {orjson.loads(record.value or b"")["data"]["verdict"] for record in run.said}
    assert verdicts == {"admit", "alert", "remove"}
    assert found(run.expected, run.said) == {}


@pytest.mark.parametrize("at", [0, 700, -1], ids=["first", "middle", "last"])
def test_a_decision_left_out_is_missed(run: Run, at: int) -> None:
    said = list(run.said)
    del said[at]
    assert found(run.expected, said) == {"missing": 1}


def test_nothing_said_at_all_is_all_missing(run: Run) -> None:
    assert found(run.expected, []) == {"missing": run.expected.count}


def test_a_decision_said_twice_is_noticed(run: Run) -> None:
    assert found(run.expected, [*run.said[:701], run.said[700], *run.said[701:]]) == {"repeated": 1}
    assert found(run.expected, [*run.said, run.said[700]]) == {"repeated": 1}


def test_two_decisions_of_a_meeting_the_wrong_way_round_are_noticed(run: Run) -> None:
    said = list(run.said)
    later = next(at for at in range(701, len(said)) if said[at].key == said[700].key)
    said[700], said[later] = said[later], said[700]
    assert found(run.expected, said) == {"out of order": 1}


def test_meetings_may_be_answered_in_any_order(run: Run) -> None:
    assert found(run.expected, sorted(run.said, key=lambda record: record.key or b"")) == {}


def _admit_instead(event: dict[str, Any]) -> None:
    event["type"] = "doorward.admit.v1"
    event["data"]["verdict"] = "admit"


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "verdict": _admit_instead,
    "type": lambda event: event.update(type="doorward.alert.v1"),
    "id": lambda event: event.update(id="0" * 32),
    "source": lambda event: event.update(source="elsewhere"),
    "subject": lambda event: event.update(subject="a/b/c"),
    "reason": lambda event: event["data"].update(reason=None),
    "rule": lambda event: event["data"]["reason"].update(rule="another"),
    "facts": lambda event: event["data"]["reason"].update(matched={"country": "AQ"}),
    "revision": lambda event: event["data"]["reason"].update(revision=2),
    "policies": lambda event: event["data"].update(policies={}),
    "event": lambda event: event["data"]["event"].update(id="another"),
    "stage": lambda event: event["data"].update(stage="elsewhere"),
    "the receipt's text": lambda event: event["data"]["receipt"].update(host=""),
    "no receipt": lambda event: event["data"].pop("receipt"),
    "a field too many": lambda event: event["data"].update(address="192.0.2.1"),
    "the event's offset": lambda event: event["data"]["order"].__setitem__(0, 10**6),
    "the geo files' time": lambda event: event["data"]["order"].__setitem__(2, 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_removal_with_anything_altered_is_wrong(run: Run, name: str) -> None:
    said = list(run.said)
    at = first(run, lambda event: event["data"]["verdict"] == "remove" and event["data"]["reason"]["rule"] is not None)
    said[at] = altered(said[at], CHANGES[name])
    assert said[at] != run.said[at]
    assert found(run.expected, said) == {"wrong": 1}


def test_instants_that_contradict_each_other_are_no_decision(run: Run) -> None:
    said = list(run.said)
    said[5] = altered(said[5], lambda event: event.update(time="2026-11-21T00:00:00.000Z"))
    said[6] = altered(said[6], lambda event: event["data"]["order"].append(1))
    said[7] = said[7]._replace(value=b"{")
    said[8] = said[8]._replace(value=None)
    counts = found(run.expected, said)
    assert counts == {"unreadable": 4, "missing": 4}


def test_another_key_partition_or_content_type_is_noticed(run: Run) -> None:
    said = list(run.said)
    said[5] = said[5]._replace(key=b"nobody's")
    said[6] = said[6]._replace(partition=1 - said[6].partition)
    said[7] = said[7]._replace(headers=())
    assert found(run.expected, said) == {"unexpected": 1, "missing": 1, "misplaced": 1, "without content-type": 1}


def test_a_peer_that_is_wrong_about_everything_is_told_so_in_a_few_lines(run: Run) -> None:
    check = Decisions(run.expected)
    for record in run.said:
        check.take(altered(record, lambda event: event.update(source="elsewhere")))
    lines = check.finish()
    assert lines[0] == f"wrong {run.expected.count:,}"
    assert len(lines) < 10


# -- states ------------------------------------------------------------------------------------------------------


def states(run: Run, rows: list[tuple[int, bytes, bytes]]) -> str:
    check = States(run.expected)
    for partition, subject, value in rows:
        state = opened(run.sealer, partition, subject, value)
        if isinstance(state, Session) and state.sealed is not None:
            check.take(subject, stated(state, run.sealer.unseal(state.sealed, subject)))
        else:
            check.take(subject, state and stated(state))
    return next(iter(check.finish()), "")


def test_what_the_core_remembers_is_right(stateful: Run) -> None:
    kinds = {type(opened(stateful.sealer, *row)) for row in stateful.rows}
    assert kinds == {Session, Ended}
    assert states(stateful, stateful.rows) == ""


def test_a_state_that_was_never_written_is_missed(stateful: Run) -> None:
    subject = stateful.rows[-1][1]
    assert states(stateful, [row for row in stateful.rows if row[1] != subject]) == "state missing 1"


def test_an_earlier_state_written_over_a_later_one_is_wrong(stateful: Run) -> None:
    by_subject: dict[bytes, list[tuple[int, bytes, bytes]]] = {}
    for row in stateful.rows:
        by_subject.setdefault(row[1], []).append(row)
    twice = next(rows for rows in by_subject.values() if len(rows) > 1 and rows[0][2] != rows[-1][2])
    assert states(stateful, [*stateful.rows, twice[0]]) == "state wrong 1"


def test_a_record_without_a_genuine_stamp_says_nothing(stateful: Run) -> None:
    partition, subject, value = stateful.rows[-1]
    forged = value[:10] + bytes([value[10] ^ 1]) + value[11:]
    assert states(stateful, [*stateful.rows, (partition, subject, forged)]) == "state missing 1"


def test_a_state_of_nobody_is_noticed(stateful: Run) -> None:
    check = States(stateful.expected)
    for subject, wanted in stateful.expected.states.items():
        check.take(subject, wanted._replace(rest=b""))  # as much as another peer's format holds
    assert check.finish() == []
    check.take(b"acme/m/nobody", stated(Ended(1, 1)))
    subject, wanted = next((s, w) for s, w in stateful.expected.states.items() if w.verdict is not None)
    check.take(subject, wanted._replace(verdict=(wanted.verdict or 0) + 1, rest=b""))
    assert check.finish()[0] == "state wrong 1, state of nobody 1"
