"""What is wrong with a running cluster, by one look at each of its workers (``cluster``).

What may live here: the rules, and a line of words for each. Most are a rule of ``deploy/mixin/alerts`` without its
waiting time, since somebody who asks wants to know of now; the runbook is that alert's. Where a rule holds for several
workers in the same words, it is one finding.

Some also hold for an instant while a document comes into force, as workers take it in one after the other, or while
partitions change hands: ``FLEETING``. They mean something when they still hold after a while.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from streams.core.cluster import Look, State, agreement, state
from streams.core.exposition import Page

Kind: TypeAlias = Literal[
    "no_answer",
    "not_live",
    "not_ready",
    "recovering",
    "fuse_blown",
    "partitions_unowned",
    "lag",
    "index_differs",
    "policy_behind",
    "sweep_old",
    "removals_unconfirmed",
    "geo_held",
    "geo_old",
    "document_ends",
    "certificate_ends",
]

RUNBOOKS: Final[Mapping[Kind, str]] = {
    "no_answer": "DoorwardWorkerDown",
    "not_live": "DoorwardWorkerHung",
    "not_ready": "DoorwardTooFewReady",
    "recovering": "DoorwardRecoveryStuck",
    "fuse_blown": "DoorwardFuseBlown",
    "partitions_unowned": "DoorwardPartitionsUnowned",
    "lag": "DoorwardLagOld",
    "index_differs": "DoorwardIndexHashDiffers",
    "policy_behind": "DoorwardPolicyBehind",
    "sweep_old": "DoorwardSweepSlow",
    "removals_unconfirmed": "DoorwardRemovalsUnconfirmed",
    "geo_held": "DoorwardGeoHeld",
    "geo_old": "DoorwardGeoStale",
    "document_ends": "DoorwardDocumentExpiring",
    "certificate_ends": "DoorwardCertificateExpiring",
}
"""The alert whose runbook says what to do: ``deploy/runbooks/NAME.md``."""
FLEETING: Final[frozenset[Kind]] = frozenset({"index_differs", "policy_behind", "partitions_unowned"})

SWEEP_SECONDS: Final = 60.0
"""For how long a sweep may be due or under way."""
ENDING_DAYS: Final = 7.0
"""How soon the end of a document or a certificate is worth a word."""
_DAY: Final = 86_400.0
"""Seconds."""
_Rule: TypeAlias = tuple[Kind, str]


class Limits(msgspec.Struct, frozen=True):
    """What is still well.

    Attributes:
        lag: seconds that answers may be behind.
        geo_age: days since the newest geo file's build; 0: for ever.
        unconfirmed: removed participations, of all workers, that have not left.
    """

    lag: float = 30.0
    geo_age: float = 45.0
    unconfirmed: int = 100


class Finding(msgspec.Struct, frozen=True):
    """Something wrong.

    Attributes:
        kind: of finding.
        says: what, in a line.
        workers: of which this is said, by name; none: of all together.
        runbook: see ``RUNBOOKS``.
    """

    kind: Kind
    says: str
    workers: tuple[str, ...]
    runbook: str


def newest_policy(looks: Sequence[Look]) -> int:
    """The highest offset of the policy log that any worker decides by; 0 where none is ready."""
    return max((each.policy_offset for each in _states(looks).values() if each.ready), default=0)


def findings(looks: Sequence[Look], now: float, limits: Limits, newest: int) -> list[Finding]:
    """What is wrong, in the order of ``RUNBOOKS``.

    Args:
        looks: at each worker.
        now: seconds since the epoch.
        limits: what is still well.
        newest: the offset of the policy log that workers should have reached: ``newest_policy`` of these looks, or of
            earlier ones.
    """
    states = _states(looks)
    found: dict[_Rule, list[str]] = {}
    for look in looks:
        for rule in _of_look(look, states.get(look.name), now, limits, newest):
            found.setdefault(rule, []).append(look.name)
    for name, agrees in agreement(states).items():
        if not agrees:
            says = f"index hashes differ at offset {states[name].policy_offset} of the policy log"
            found.setdefault(("index_differs", says), []).append(name)
    owned = sum(each.partitions for each in states.values())
    there = max((each.joins_partitions for each in states.values()), default=0)
    if owned < there:
        found["partitions_unowned", f"those asked own {owned} of the {there} partitions of joins"] = []
    unconfirmed = sum(each.unconfirmed_removals for each in states.values())
    if unconfirmed > limits.unconfirmed:
        found["removals_unconfirmed", f"{unconfirmed:,} participations were removed and have not left"] = []
    order = list(RUNBOOKS)
    return sorted(
        (Finding(kind, says, tuple(names), RUNBOOKS[kind]) for (kind, says), names in found.items()),
        key=lambda finding: order.index(finding.kind),
    )


def _states(looks: Sequence[Look]) -> dict[str, State]:
    return {look.name: state(look.page) for look in looks if look.page is not None}


def _of_look(look: Look, stands: State | None, now: float, limits: Limits, newest: int) -> Iterator[_Rule]:
    if look.page is None or stands is None:
        yield "no_answer", f"does not answer: {look.error}"
        return
    if look.not_live:
        yield "not_live", f"not live: {', '.join(look.not_live)}"
    if look.not_ready or not stands.ready:
        yield "not_ready", f"not ready: {', '.join(look.not_ready) or 'joins are not consumed yet'}"
    if stands.recovering:
        yield "recovering", "partitions are being taken on"
    if stands.fuse_blown:
        yield "fuse_blown", "holds its partitions: too many events failed in our own code"
    if stands.lag_seconds > limits.lag:
        yield "lag", f"answers are {stands.lag_seconds:,.0f} s behind; {stands.lag_records:,} events wait"
    if stands.ready and stands.policy_offset < newest:
        yield "policy_behind", f"decides by offset {stands.policy_offset} of the policy log; others are at {newest}"
    if stands.sweep_age_seconds > SWEEP_SECONDS:
        yield "sweep_old", f"a sweep has been due or under way for {stands.sweep_age_seconds:,.0f} s"
    if stands.geo_held:
        yield "geo_held", "a new geo build is held back"
    yield from _of_age(look.page, stands, now, limits)


def _of_age(page: Page, stands: State, now: float, limits: Limits) -> Iterator[_Rule]:
    built = stands.geo_build_timestamp_seconds
    if limits.geo_age and 0 < built < now - limits.geo_age * _DAY:
        yield "geo_old", f"the newest geo file was built {(now - built) / _DAY:,.0f} days ago"
    ends: tuple[tuple[Kind, str, str], ...] = (
        ("document_ends", "doorward_document_expiry_timestamp_seconds", "a policy document in force"),
        ("certificate_ends", "doorward_certificate_expiry_timestamp_seconds", "a certificate in use"),
    )
    for kind, gauge, what in ends:
        end = page.gauge(gauge)
        if 0 < end < now + ENDING_DAYS * _DAY:
            days = (end - now) / _DAY
            yield kind, f"{what} ends in {days:.1f} days" if days > 0 else f"{what} has ended"
