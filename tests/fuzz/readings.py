"""What is read around events: Kafka's batches, the traces records belong to, workers' pages, recorded decisions."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import msgspec
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry, generate_latest

from streams.adapters.metrics import Metrics
from streams.adapters.scrape import NoAnswer, read_page
from streams.agents.joins import DECISIONS
from streams.cli import verifying
from streams.core import checkup, cluster
from streams.core.cluster import Look
from streams.core.evidence import NoDecision, Said, said_at
from streams.core.exposition import Page, increase
from streams.core.ledger import Ledger
from streams.core.policy import Mode
from streams.runtime.lenient import Batches
from streams.wire import cloudevents, tracecontext
from tests.core.ledgerworld import Worker
from tests.fuzz.engine import Target
from tests.fuzz.records import CANARY, record_of
from tests.samples import account, rule

# -- traces ------------------------------------------------------------------------------------------------------

_PARENT: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.DOTALL)


def trace(data: bytes) -> None:
    """A record's trace is none, or one that the next reader takes as it stands; no address goes on in it."""
    headers, value = record_of(data)
    found = tracecontext.read(headers, value)
    if found is None:
        return
    assert _PARENT.fullmatch(found.traceparent)
    assert bytes(32).hex().encode() not in (found.traceparent[3:35], found.traceparent[36:52] * 2)
    assert found.is_sampled == bool(int(found.traceparent[-2:], 16) & 1)
    assert len(found.tracestate) <= tracecontext.LONGEST
    assert found.tracestate.count(b",") < tracecontext.MOST_MEMBERS
    assert CANARY.encode() not in found.tracestate
    assert tracecontext.read(found.headers(), None) == found


_TRACED: Final = b'{"specversion": "1.0", "traceparent": "%s", "tracestate": "%s", "data": {}}'
_PARENT_ID: Final = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_STATE: Final = b"congo=t61rcWkgMzE,rojo@vendor=00f067aa0ba902b7"
_TRACES: Final = (
    b"traceparent: " + _PARENT_ID + b"\ntracestate: " + _STATE + b"\n\n{}",
    b"ce_traceparent: " + _PARENT_ID + b"\nce_tracestate: " + _STATE + b"\nce_id: 1\n\n{}",
    b"\n\n" + _TRACED % (_PARENT_ID, _STATE),
    b"traceparent: 01-" + _PARENT_ID[3:] + b"-what-comes-later\ntracestate: a=1\ntracestate: b=2\n\n",
    b"traceparent: " + _PARENT_ID + b"\ntracestate: from=" + CANARY.encode() + b"\n\n{}",
)
_TRACING: Final = (
    b"\ntracestate: ",
    b"traceparent",
    b"ff-",
    b"cc-",
    b"-00",
    b"0" * 32,
    b"a=1,",
    b" \t",
    b"@",
    b"2001:db8::1",
)

# -- batches -----------------------------------------------------------------------------------------------------


class _Name(str):
    """A header's name that goes onto the wire as other bytes."""

    raw = b""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


def batch(data: bytes) -> None:
    """Records whose headers have any names and values are read, each once and in order, with those around them."""
    names = data.split(b"\n")
    builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 1 << 20)
    for number, raw in enumerate(names):
        name = _Name()
        name.raw = raw
        builder.append(number, 1_000, b"k", raw, [("before", None), (name, raw)])
    place = TopicPartition("joins", 0)
    read = list(PartitionRecords(place, Batches(bytes(builder.build())), [], 0, None, None, True, 0))
    assert [(record.offset, record.value) for record in read] == list(enumerate(names))
    told = [raw.decode(errors="backslashreplace") for raw in names]
    assert [record.headers for record in read] == [
        (("before", None), (n, raw)) for n, raw in zip(told, names, strict=True)
    ]


_NAMES: Final = (b"plain", b"caf\xe9", b"ce_id\nce_type\n\xff\xfe\nx", b"\xed\xa0\x80\n" + "\u00e9".encode(), b"")

# -- pages -------------------------------------------------------------------------------------------------------


@cache
def _page() -> bytes:
    """A worker's page, as far as it is looked at, with something in a histogram."""
    metrics = Metrics(CollectorRegistry())
    metrics.ready.set(1)
    metrics.latency.observe_all([0.001, 0.02, 3.0])
    text = generate_latest(metrics.registry).decode()
    kept = (
        "ready",
        "policy_offset",
        "policy_index_hash",
        "decision_latency",
        "events",
        "decisions",
        "lag",
        "geo_build",
    )
    names = tuple(f"doorward_{name}" for name in kept)
    lines = [line for line in text.splitlines() if line.split(" ")[line.startswith("#") * 2].startswith(names)]
    return ("\n".join(lines) + "\n").encode()


def page(data: bytes) -> None:
    """A page is one, of which everything can be worked out that `top` and `status` tell; or no answer."""
    try:
        found = read_page(data.decode(errors="replace"), 2.0)
    except NoAnswer:
        return
    before = read_page(_page().decode(), 1.0)
    looks = [Look("one", before), Look("other", found)]
    for rose in (increase(Page(1.0, {}, {}), found), increase(before, found)):
        cluster.survey(looks, {"other": rose})
    checkup.findings(looks, 1_795_253_400.0, checkup.Limits(), checkup.newest_policy(looks))


_EXPOSED: Final = (
    *(
        b"doorward_ready 1\n",
        b"doorward_decision_latency_seconds_bucket",
        b'{le="+Inf"} 1\n',
        b'le="',
        b"NaN",
        b"+Inf",
        b"-1",
    ),
    *(b"# TYPE x histogram\n", b"x_bucket 1\n", b'\\"', b"{", b"}", b"1e308", b" 1 2 3\n", b"# HELP x \\"),
)

# -- recorded decisions ------------------------------------------------------------------------------------------


@cache
def _worker() -> Worker:
    """Somebody who joined, was removed by a document and reminded; who changed places; and who left."""
    worker = Worker()
    worker.publish(account(rules=[rule("alert", {"country": {"not": ["US"]}}, "elsewhere")]))
    for who, place in (("p-1", "5.39.0.1"), ("p-2", "8.8.8.8"), ("p-3", "no address")):
        worker.join(who, address=place)
    worker.publish(account(revision=2, rules=[rule("remove", {"country": {"not": ["US"]}}, "elsewhere")]))
    worker.sweep()
    worker.remind()
    worker.join("p-2", address="5.39.0.1", type="doorward.update.v1", sequence=2)
    worker.leave("p-3")
    return worker


def _genuine() -> list[tuple[str, Said]]:
    return [(who, said) for who, words in sorted(_worker().said.items()) for said in words]


def _by(engine: str, said: Said) -> bytes:
    """A decision as another engine would have made it: its name is taken as it stands."""
    data = msgspec.structs.replace(said.decision.data, engine=engine)
    return cloudevents.encode(msgspec.structs.replace(said.decision, data=data))


def recorded(data: bytes) -> None:
    """A decision is looked into without harm, by itself and beside others; what nobody said is not proven."""
    verifying._peeked(_Record(data))
    for mode in _MODES:
        try:
            said = said_at(10**6, mode, data)
        except NoDecision:
            continue
        worker = _worker()
        who = next((who for who in worker.said if said.decision.subject == f"acme/m-1/{who}"), "p-1")
        ledger = Ledger(worker.span(), worker.world())
        ledger.prove("acme/m-1/" + who, worker.inputs[who], [said])
        is_genuine = any(each.mode == mode and _by(said.decision.data.engine, each) == data for _, each in _genuine())
        assert ledger.proven == 0 or is_genuine, "what nobody said is proven"
        beside = Ledger(worker.span(), worker.world())
        beside.check("acme/m-1/" + who, worker.inputs[who], [*worker.said[who], said])
        beside.close()


class _Record:
    """What is read of a record on a topic of decisions."""

    def __init__(self, value: bytes) -> None:
        self.value = value


_MODES: Final[tuple[Mode, ...]] = ("enforce", "report")
_DECIDED: Final = (
    b'"cause":"geo"',
    b'"order":[0,0,0,0]',
    b'"verdict":"remove"',
    b'"mode"',
    b'"policies":{}',
    DECISIONS.encode(),
)

TARGETS: Final = [
    Target("trace", trace, "bytes", _TRACES, _TRACING),
    Target("batch", batch, "bytes", _NAMES, (b"\n", b"\xff\n"), share=0.2),
    Target("page", page, "text", [_page()], _EXPOSED, share=0.1, seconds=1, largest=16_384),
    Target("recorded", recorded, "json", [said.value for _, said in _genuine()], _DECIDED, share=0.3),
]
