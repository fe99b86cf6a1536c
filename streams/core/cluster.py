"""A running cluster, as the metrics of its workers show it: how each does, how all do together, and what is wrong.

What may live here: what the numbers mean; ``exposition`` is the arithmetic beneath. A *look* is what one worker
answered when it was asked. Two looks at a worker make a ``Worker``, all of them a ``Cluster``; one look at each is
enough for ``findings``. Nothing here is about a meeting, an account or a person: workers don't expose such things.

Workers that have read the policy log up to the same offset hold the same index, so their index hashes are equal; if
they are not, the same join is decided differently by one and the other. Only workers that are ready are compared: what
the others have read decides nothing yet.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from streams.core.exposition import Increase, Page, quantile, together
from streams.core.policy import VERDICTS

READY: Final = "doorward_ready"
_LATENCY: Final = "doorward_decision_latency_seconds"


class Look(msgspec.Struct, frozen=True):
    """What a worker answered.

    Attributes:
        name: of the worker.
        page: its metrics; None: no answer.
        error: why there is none.
        not_live: names of the checks of ``/livez`` that failed.
        not_ready: of ``/readyz``.
    """

    name: str
    page: Page | None = None
    error: str | None = None
    not_live: tuple[str, ...] = ()
    not_ready: tuple[str, ...] = ()


class Traffic(msgspec.Struct, frozen=True):
    """What went through in an interval.

    Attributes:
        events: a second.
        decisions: by verdict, a second; those in force, not those of report mode.
        dead_letters: a second.
        p50: of the time from an event's record to its decision's acknowledgement, seconds; None where there were none.
        p99: likewise.
    """

    events: float
    decisions: dict[str, float]
    dead_letters: float
    p50: float | None
    p99: float | None


class State(msgspec.Struct, frozen=True):
    """How a worker stands. Attributes are the metrics of the same names."""

    ready: bool
    recovering: bool
    fuse_blown: bool
    geo_held: bool
    partitions: int
    joins_partitions: int
    lag_records: int
    lag_seconds: float
    policy_offset: int
    policy_documents: int
    policy_index_hash: str
    geo_build_timestamp_seconds: float
    sessions: int
    sweeps_due: int
    sweep_age_seconds: float
    unconfirmed_removals: int

    @property
    def serves(self) -> bool:
        """Whether it answers joins: ready, and neither taking partitions on nor holding them."""
        return self.ready and not self.recovering and not self.fuse_blown


class Worker(msgspec.Struct, frozen=True):
    """A worker.

    Attributes:
        name: see ``Look``.
        error: why it does not answer.
        restarted: whether it was started anew within the interval.
        agrees: whether its index hash is that of all others that are ready and at the same offset; None: not compared.
        state: None where it does not answer.
        traffic: None until it has answered twice.
    """

    name: str
    error: str | None
    restarted: bool
    agrees: bool | None
    state: State | None
    traffic: Traffic | None


class Cluster(msgspec.Struct, frozen=True):
    """All workers together.

    Attributes:
        workers: asked.
        answering: of these.
        ready: of these, and they serve.
        fuses_blown: of these that answer.
        agrees: whether no two workers at one offset have different index hashes; None where none could be compared.
        policy_offset: the lowest and the highest of those that are ready; None without any.
        lag_seconds: of the worker furthest behind.
        traffic: of all that answered twice.
    """

    workers: int
    answering: int
    ready: int
    fuses_blown: int
    agrees: bool | None
    policy_offset: tuple[int, int] | None
    partitions: int
    lag_records: int
    lag_seconds: float
    sessions: int
    sweeps_due: int
    unconfirmed_removals: int
    traffic: Traffic | None


def state(page: Page) -> State:
    """How a worker stands by its page."""

    def whole(name: str) -> int:
        return round(page.gauge(f"doorward_{name}"))

    return State(
        ready=page.gauge(READY) == 1,
        recovering=page.gauge("doorward_recovering") == 1,
        fuse_blown=page.gauge("doorward_fuse_blown") == 1,
        geo_held=page.gauge("doorward_geo_held") == 1,
        partitions=whole("partitions"),
        joins_partitions=whole("joins_partitions"),
        lag_records=whole("lag_records"),
        lag_seconds=page.gauge("doorward_lag_seconds"),
        policy_offset=whole("policy_offset"),
        policy_documents=whole("policy_documents"),
        policy_index_hash=f"{whole('policy_index_hash'):012x}",
        geo_build_timestamp_seconds=page.gauge("doorward_geo_build_timestamp_seconds"),
        sessions=whole("sessions"),
        sweeps_due=whole("sweeps_due"),
        sweep_age_seconds=page.gauge("doorward_sweep_age_seconds"),
        unconfirmed_removals=whole("unconfirmed_removals"),
    )


def traffic(increases: Sequence[Increase]) -> Traffic | None:
    """What went through some workers; None without any."""
    if not increases:
        return None
    latency = together(each.buckets(_LATENCY) for each in increases)
    return Traffic(
        events=sum(each.rate("doorward_events_total") for each in increases),
        decisions={
            verdict: sum(each.rate("doorward_decisions_total", verdict=verdict, mode="enforce") for each in increases)
            for verdict in VERDICTS
        },
        dead_letters=sum(each.rate("doorward_dead_letters_total") for each in increases),
        p50=quantile(0.5, latency),
        p99=quantile(0.99, latency),
    )


def survey(looks: Sequence[Look], increases: Mapping[str, Increase]) -> tuple[Cluster, list[Worker]]:
    """The cluster, and each worker in the order of its look.

    Args:
        looks: the latest at each worker, by different names.
        increases: since the one before, by name, of workers that answered both times.
    """
    states = {look.name: state(look.page) for look in looks if look.page is not None}
    agrees = agreement(states)
    workers = [
        Worker(
            name=look.name,
            error=look.error,
            restarted=look.name in increases and increases[look.name].restarted,
            agrees=agrees.get(look.name),
            state=states.get(look.name),
            traffic=traffic([increases[look.name]]) if look.name in increases else None,
        )
        for look in looks
    ]
    ready = [each for each in states.values() if each.ready]
    offsets = [each.policy_offset for each in ready]
    return Cluster(
        workers=len(looks),
        answering=len(states),
        ready=sum(each.serves for each in states.values()),
        fuses_blown=sum(each.fuse_blown for each in states.values()),
        agrees=all(agrees.values()) if agrees else None,
        policy_offset=(min(offsets), max(offsets)) if offsets else None,
        partitions=sum(each.partitions for each in states.values()),
        lag_records=sum(each.lag_records for each in states.values()),
        lag_seconds=max((each.lag_seconds for each in states.values()), default=0.0),
        sessions=sum(each.sessions for each in states.values()),
        sweeps_due=sum(each.sweeps_due for each in states.values()),
        unconfirmed_removals=sum(each.unconfirmed_removals for each in states.values()),
        traffic=traffic(list(increases.values())),
    ), workers


def agreement(states: Mapping[str, State]) -> dict[str, bool]:
    """Whether each worker's index hash is that of all others at its offset; those that are alone there are left out.

    Who of those that differ is right nobody can tell from their hashes: none of them agrees.
    """
    hashes: dict[int, list[str]] = {}
    for each in states.values():
        if each.ready:
            hashes.setdefault(each.policy_offset, []).append(each.policy_index_hash)
    return {
        name: len(set(hashes[each.policy_offset])) == 1
        for name, each in states.items()
        if each.ready and len(hashes[each.policy_offset]) > 1
    }
