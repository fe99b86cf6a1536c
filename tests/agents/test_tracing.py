"""The joins agent carries a join's trace on to what it says of that join, and to nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from streams.adapters.metrics import Metrics
from streams.adapters.tracing import Tracing
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.core.index import Revision
from streams.runtime.source import FencedError
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS
from tests.agents.rig import remembering
from tests.agents.test_joins import Partition, joined, locate, record
from tests.samples import NOON, PROVENANCE, account, index, revision, rule

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()
REFUSED = account(rules=[rule("remove", {"country": ["FR"]}, "elsewhere", note="Visits need a licence where you are.")])


class Said(NamedTuple):
    topic: str
    value: Any
    headers: list[tuple[str, bytes]]


class Outbox:
    """Keeps what is added, for all of the agent's outboxes."""

    def __init__(self, said: list[Said]) -> None:
        self._said = said

    def add(self, topic: str, partition: int, key: Any, value: Any, timestamp: Any, headers: list[Any]) -> None:
        self._said.append(Said(topic, value, list(headers)))

    async def send(self, check: Any) -> Any:
        check()


class Chunk:
    def __init__(self, records: list[Any], *, is_fenced: bool) -> None:
        self.parts = {Partition(): records} if records else {}
        self._is_fenced = is_fenced

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def check(self) -> None:
        if self._is_fenced:
            raise FencedError


class Rig:
    def __init__(self, *documents: dict[str, Any], tracing: Tracing | None) -> None:
        metrics = Metrics(CollectorRegistry())
        self.decider = Decider(index(*documents), locate, PROVENANCE)
        memory = remembering(self.decider, metrics)
        self.sweeper = memory["sweeper"]
        self.said: list[Said] = []
        self.agent = JoinsAgent(
            **memory,
            outbox=lambda: Outbox(self.said),  # type: ignore[arg-type, return-value]
            clock=lambda: NOON,
            metrics=metrics,
            partitions=1,
            max_event_bytes=1 << 20,
            fuse=Fuse(0.5, 100),
            tracing=tracing,
        )

    def answer(self, *records: Any, is_fenced: bool = False) -> list[Said]:
        """What is said with one chunk."""
        self.said.clear()
        asyncio.run(self.agent.answer(Chunk(list(records), is_fenced=is_fenced)))  # type: ignore[arg-type]
        return list(self.said)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    made = Tracing(exporter, ratio=0.0, cap=1_000, worker="worker-1", version="0.1.0")
    yield made
    made.close()


def traced(each: Any, traceparent: bytes = SAMPLED) -> Any:
    each.headers = (("traceparent", traceparent), ("tracestate", b"vendor=1"))
    return each


def ended(tracing: Tracing, exporter: InMemorySpanExporter) -> list[Any]:
    tracing.close()
    return sorted(exporter.get_finished_spans(), key=lambda span: span.attributes["messaging.kafka.offset"])


def test_what_is_said_of_a_join_carries_its_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    trial = account(name="trial", mode="report", rules=[rule("alert", {"country": ["FR"]})])
    said = Rig(REFUSED, trial, tracing=tracing).answer(joined(1), traced(joined(2)), joined(3))
    [span] = ended(tracing, exporter)
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
    ours = f"00-{TRACE}-{span.context.span_id:016x}-01".encode()
    carried = [*CONTENT_TYPE_HEADERS, ("traceparent", ours), ("tracestate", b"vendor=1")]
    assert [(each.topic, each.headers) for each in said] == [
        ("decisions", CONTENT_TYPE_HEADERS),
        ("decisions.report", CONTENT_TYPE_HEADERS),
        ("decisions", carried),
        ("decisions.report", carried),
        ("decisions", CONTENT_TYPE_HEADERS),
        ("decisions.report", CONTENT_TYPE_HEADERS),
    ]
    of_it = json.loads(said[2].value)["data"]
    told = {name: span.attributes[f"doorward.{name}"] for name in ("verdict", "cause", "policy_offset", "geo_build")}
    assert told == {name: of_it[name] for name in told}
    assert told["verdict"] == "remove"


def test_the_bytes_of_a_decision_are_the_same_with_and_without(tracing: Tracing) -> None:
    with_it, without = Rig(REFUSED, tracing=tracing), Rig(REFUSED, tracing=None)
    assert [each.value for each in with_it.answer(traced(joined(1)))] == [
        each.value for each in without.answer(traced(joined(1)))
    ]


def test_without_tracing_no_trace_goes_on() -> None:
    [said] = Rig(REFUSED, tracing=None).answer(traced(joined(1)))
    assert said.headers == CONTENT_TYPE_HEADERS


def test_what_a_sweep_says_beside_is_in_no_trace(tracing: Tracing) -> None:
    rig = Rig(tracing=tracing)
    rig.answer(traced(joined(1)))
    pushed: Revision = revision(REFUSED, offset=1, appended_at=NOON)
    rig.decider.index.put(pushed)
    rig.sweeper.accepted([pushed], 1)
    said = [each for _ in range(3) for each in rig.answer(traced(joined(9)))]
    causes = {(json.loads(each.value)["data"]["cause"], len(each.headers)) for each in said}
    assert causes == {("join", 3), ("policy", 1)}


def test_a_dead_letter_is_untouched_and_its_span_names_the_reason(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    rig = Rig(REFUSED, tracing=tracing)
    said = rig.answer(traced(record(1, b"{")), traced(joined(2, "127.0.0.1")), traced(joined(3, "nonsense")))
    letters = [each for each in said if each.topic == "joins.dlq"]
    for letter in letters:
        assert [value for name, value in letter.headers if name == "traceparent"] == [SAMPLED], "its own, once"
    spans = ended(tracing, exporter)
    assert [span.attributes.get("doorward.dead_letter") for span in spans] == ["not_json", "internal", "bad_address"]
    assert [span.attributes.get("doorward.verdict") for span in spans] == [None, None, "alert"]
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET]


def test_a_chunk_that_is_fenced_leaves_no_span(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(FencedError):
        Rig(REFUSED, tracing=tracing).answer(traced(joined(1)), is_fenced=True)
    assert ended(tracing, exporter) == []


def test_a_span_says_nothing_of_who_joined_what_or_why(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """Charter C7 and C9: neither the address nor the ids, nor any text of the rule."""
    Rig(REFUSED, tracing=tracing).answer(traced(joined(1, "5.39.77.201", meeting="m-secret")))
    [span] = ended(tracing, exporter)
    told = span.to_json()
    assert '"doorward.verdict": "remove"' in told
    for word in ("5.39.77.201", "m-secret", "acme", "p-1", "elsewhere", "licensing", "Visits", "FR"):
        assert word not in told.replace(TRACE, ""), word
