"""Every metric, declared once: name, type, labels with all they can say, help, and who looks at it.

``metrics`` and ``watchmetrics`` make what is declared here and can make nothing else; ``deploy/METRICS.md`` is made of
it (``python -m streams.adapters.metricmanifest``). Names are Prometheus': base units, ``_total`` on counters (added by
the client), one prefix. A label says one of the few words given here; none carries a meeting, an account, a
participation, an address or a rule's text.
"""

import sys
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from streams.adapters.anonymity import REASONS
from streams.core.events import JOIN, LEAVE, UPDATE, Cause
from streams.core.policy import VERDICTS, Mode
from streams.wire.cloudevents import Fault

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Process: TypeAlias = Literal["worker", "watch"]
"""Who serves it: a worker, or ``doorward report --watch``."""
Viewer: TypeAlias = Literal["alert", "overview", "policy", "runtime", "detail"]
"""An alert or a dashboard (deploy/mixin), or nobody until something has to be looked into."""

QUICK: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets, seconds: of what a join waits for."""
SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Buckets, seconds: of what waits for people, their clients, or much work."""
ANY_PATH: Final = ("service/NAME",)
"""What a label ``policy`` says: the path of a service document. Those are public and few (charter C5)."""


class Metric(NamedTuple):
    """A metric's declaration.

    Attributes:
        name: with its prefix, without a counter's ``_total``.
        kind: its type.
        help: a sentence.
        viewers: who looks at it.
        labels: by name, the words it can say.
        buckets: a histogram's upper bounds, in its unit.
        process: who serves it.
    """

    name: str
    kind: Kind
    help: str
    viewers: tuple[Viewer, ...]
    labels: Mapping[str, tuple[str, ...]] = {}
    buckets: tuple[float, ...] = ()
    process: Process = "worker"

    @property
    def exposed(self) -> str:
        """The name in queries."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


_VERDICT: Final = {"verdict": VERDICTS}
_CAUSE: Final = {"cause": get_args(Cause)}
EVENTS: Final = (JOIN, UPDATE, LEAVE)
SESSION_FAULTS: Final = (
    "bad_record",
    "expired",
    "forged",
    "internal",
    "late",
    "lost_key",
    "undecodable",
    "unknown_leave",
)
STAGES: Final = ("wait", "decide", "write")
LOOKUPS: Final = ("found", "unknown", "error")
RESULTS: Final = ("accepted", "rejected", "repeated")

MANIFEST: Final[tuple[Metric, ...]] = (
    Metric(
        "doorward_build_info", "gauge", "1, with the version that runs.", ("alert", "runtime"), {"version": ("X.Y.Z",)}
    ),
    Metric(
        "doorward_ready",
        "gauge",
        "1 while joins are consumed, or would be if there were partitions for all.",
        ("alert", "overview"),
    ),
    Metric("doorward_partitions", "gauge", "Partitions of joins owned.", ("alert", "overview")),
    Metric(
        "doorward_joins_partitions",
        "gauge",
        "Partitions that joins had when the worker started.",
        ("alert", "overview"),
    ),
    # joins and decisions
    Metric("doorward_events", "counter", "Events read from joins.", ("alert", "overview"), {"type": EVENTS}),
    Metric(
        "doorward_decisions",
        "counter",
        "Decisions acknowledged by the brokers.",
        ("alert", "overview"),
        {**_VERDICT, **_CAUSE, "mode": get_args(Mode)},
    ),
    Metric("doorward_dead_letters", "counter", "Dead letters.", ("alert", "overview"), {"reason": get_args(Fault)}),
    Metric("doorward_misrouted_events", "counter", "Events not on the default partitioner's partition.", ("alert",)),
    Metric(
        "doorward_decision_latency_seconds",
        "histogram",
        "From an event record's timestamp to its decision's acknowledgement.",
        ("alert", "overview"),
        buckets=QUICK,
    ),
    Metric(
        "doorward_stage_seconds",
        "histogram",
        "Of each chunk: its oldest event's wait until it was taken, deciding, and writing until all was acknowledged.",
        ("runtime",),
        {"stage": STAGES},
        QUICK,
    ),
    Metric(
        "doorward_lag_records",
        "gauge",
        "Events waiting in owned partitions, as of the latest fetch.",
        ("alert", "overview"),
    ),
    Metric(
        "doorward_lag_seconds",
        "gauge",
        "Age of the latest event answered in the partition furthest behind; 0 where none waits.",
        ("alert", "overview"),
    ),
    # policy
    Metric("doorward_policy_offset", "gauge", "Last offset of policies in force.", ("alert", "policy")),
    Metric("doorward_policy_applied_offset", "gauge", "Last offset said to be applied, sweeps and all.", ("policy",)),
    Metric("doorward_policy_documents", "gauge", "Paths with an accepted document.", ("policy",)),
    Metric(
        "doorward_policy_index_hash",
        "gauge",
        "The first 48 bits of the index hash: one number on all workers that are at one offset.",
        ("alert", "policy"),
    ),
    Metric("doorward_policy_records", "counter", "Policy records judged.", ("alert", "policy"), {"result": RESULTS}),
    Metric(
        "doorward_policy_in_force_seconds",
        "histogram",
        "From a policy record's append to joins being decided by it.",
        ("policy",),
        buckets=QUICK,
    ),
    Metric(
        "doorward_policy_swept_seconds",
        "histogram",
        "From a policy record's coming into force to the last changed live verdict's acknowledgement.",
        ("policy",),
        buckets=SLOW,
    ),
    Metric(
        "doorward_document_expiry_timestamp_seconds",
        "gauge",
        "When the next of the documents in force ends; 0 where none does.",
        ("alert", "policy"),
    ),
    # geography
    Metric(
        "doorward_geo_build_timestamp_seconds",
        "gauge",
        "Build time of the newest geo file; 0 without one.",
        ("alert", "policy"),
    ),
    Metric(
        "doorward_geo_lookups",
        "counter",
        "Addresses of events looked up: a country found, none known, or a look-up that failed.",
        ("alert", "overview"),
        {"result": LOOKUPS},
    ),
    Metric("doorward_geo_held", "gauge", "1 while a new geo build is held back.", ("alert", "policy")),
    Metric(
        "doorward_anonymity_files_discounted",
        "gauge",
        "Anonymity files in use that do not count for service documents, by why; those then alert at most.",
        ("alert",),
        {"reason": REASONS},
    ),
    Metric("doorward_geo_refused", "counter", "Geo builds that could not be used.", ("alert", "policy")),
    # live sessions
    Metric("doorward_sessions", "gauge", "Live sessions of owned partitions.", ("overview",)),
    Metric("doorward_ended_sessions", "gauge", "Ended participations kept for events that are late.", ("detail",)),
    Metric(
        "doorward_session_faults",
        "counter",
        "Events and records that found their session otherwise than expected; each has a defined outcome.",
        ("runtime",),
        {"kind": SESSION_FAULTS},
    ),
    Metric(
        "doorward_unconfirmed_removals",
        "gauge",
        "Removed sessions whose leave has not been seen.",
        ("alert", "overview"),
    ),
    Metric("doorward_reminders", "counter", "Removals said again.", ("overview",)),
    Metric(
        "doorward_removal_confirmed_seconds",
        "histogram",
        "From a removal to the participation's leave.",
        ("overview",),
        buckets=SLOW,
    ),
    Metric("doorward_swept_sessions", "counter", "Live sessions decided again.", ("policy",)),
    Metric(
        "doorward_sweep_changes",
        "counter",
        "Live verdicts changed by a sweep.",
        ("policy",),
        {**_VERDICT, **_CAUSE},
    ),
    Metric("doorward_sweeps_due", "gauge", "Sweeps due or under way.", ("policy",)),
    Metric(
        "doorward_sweep_age_seconds",
        "gauge",
        "For how long a sweep has been due or under way without a break; 0 while none is.",
        ("alert", "policy"),
    ),
    # the runtime
    Metric("doorward_commits", "counter", "Commits of joins.", ("alert", "runtime")),
    Metric(
        "doorward_commit_failures",
        "counter",
        "Commits that failed; what they were for is repeated.",
        ("alert", "runtime"),
    ),
    Metric("doorward_rebalances", "counter", "Times that partitions were taken on.", ("alert", "runtime")),
    Metric("doorward_fenced_chunks", "counter", "Chunks given up because partitions had changed hands.", ("runtime",)),
    Metric("doorward_repeated_records", "counter", "Records fetched again and passed over.", ("detail",)),
    Metric("doorward_produce_retries", "counter", "Batches sent again after a refusal.", ("runtime",)),
    Metric("doorward_recovering", "gauge", "1 while there are partitions to be taken on.", ("alert", "runtime")),
    Metric(
        "doorward_recovery_seconds",
        "histogram",
        "From losing partitions, or the start, to having taken on those that came.",
        ("runtime",),
        buckets=SLOW,
    ),
    Metric(
        "doorward_fuse_blown",
        "gauge",
        "1 while the worker holds because too many events failed.",
        ("alert", "overview", "runtime"),
    ),
    Metric(
        "doorward_loop_lag_seconds",
        "gauge",
        "By how much the event loop was late, at worst, in the last half minute.",
        ("alert", "runtime"),
    ),
    Metric(
        "doorward_stalled_seconds",
        "gauge",
        "For how long, at the scrape, the event loop has not turned, or nothing was done although there is work.",
        ("alert", "overview", "runtime"),
    ),
    Metric(
        "doorward_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the first of the certificates in use ends; 0 without any.",
        ("alert", "runtime"),
    ),
    # doorward report --watch
    Metric(
        "doorward_charter_removals_concentration",
        "gauge",
        "Share of a service document's removals of a day that fall on one meeting or account; from 10 removals on.",
        ("policy",),
        {"policy": ANY_PATH, "scope": ("account", "meeting")},
        process="watch",
    ),
    Metric(
        "doorward_charter_alarm",
        "gauge",
        "1 while a service document's removals fall on one meeting or account (charter C2).",
        ("alert", "policy"),
        {"policy": ANY_PATH, "scope": ("account", "meeting")},
        process="watch",
    ),
    Metric("doorward_charter_decisions", "counter", "Decisions looked at.", ("detail",), process="watch"),
    Metric(
        "doorward_charter_unreadable_records",
        "counter",
        "Records that are no decisions.",
        ("detail",),
        process="watch",
    ),
    Metric("doorward_charter_lag_records", "gauge", "Decisions waiting to be looked at.", ("detail",), process="watch"),
    Metric(
        "doorward_charter_checked_timestamp_seconds",
        "gauge",
        "When the last day was last looked at.",
        ("alert", "policy"),
        process="watch",
    ),
)

BY_NAME: Final = {metric.name: metric for metric in MANIFEST}


def page() -> str:
    """``deploy/METRICS.md``."""
    lines = [
        "# Metrics",
        "",
        "Made by `python -m streams.adapters.metricmanifest`. Every worker serves the first table at `/metrics`, with",
        "`process_*` and `python_*` of the client library; `doorward report --watch --metrics PORT` serves the second.",
        "Seconds and bytes are the units. No label carries a meeting, an account, a participation, an address or a",
        "rule's text.",
    ]
    for process, title in (("worker", "Workers"), ("watch", "The watch")):
        lines += ["", f"## {title}", "", "| metric | type | labels | says | looked at by |", "|---|---|---|---|---|"]
        lines += [_row(metric) for metric in MANIFEST if metric.process == process]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = "<br>".join(f"`{name}`: {', '.join(words)}" for name, words in metric.labels.items())
    buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)} s." if metric.buckets else ""
    return f"| `{metric.exposed}` | {metric.kind} | {labels} | {metric.help}{buckets} | {', '.join(metric.viewers)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
