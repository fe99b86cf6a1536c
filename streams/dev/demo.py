"""The demo: the whole main job on this machine, and the proof that it was done right.

Kafka, two workers, starter documents signed and pushed, a stream of joins, a stricter document half way. At the end
every record sent must have its answer, and every decision must equal, byte for byte, what the same code decides
offline with the documents that the policy log held at the offset the decision names.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams import __version__
from streams.adapters import policylog
from streams.adapters.geo import Geo, shipped
from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Offer, Push
from streams.agents.decider import Answer, Decider
from streams.core.charter import REMOVE
from streams.core.decide import decision_again, judge_by
from streams.core.events import Cause, LeaveEvent, Provenance
from streams.core.index import Index
from streams.core.policy import VERDICTS, Mode, Verdict
from streams.core.sessions import begin
from streams.core.sweep import decide_again
from streams.dev.authority import AUDIENCE
from streams.dev.load import ANSWERS, Client, Ledger, Place, percentile
from streams.dev.sandbox import GROUP, PUSH_SECONDS, Sandbox, rejections
from streams.dev.traffic import Addresses, Traffic
from streams.wire import cloudevents, signed
from streams.wire.signed import Record, Rejected, Repeat
from streams.wire.trust import read_trust

SETTLE_SECONDS: Final = 30.0
WINDOW_SECONDS: Final = 3.0
"""What the live view calls now."""

ACCOUNTS: Final = (
    *(f"clinic-{i}" for i in range(1, 9)),
    *(f"campus-{i}" for i in range(1, 5)),
    *(f"office-{i}" for i in range(1, 5)),
    *(f"studio-{i}" for i in range(1, 13)),
)
"""Who owns the meetings; documents speak of some of them."""


@dataclass
class Progress:
    """What the live view shows.

    Attributes:
        ledger: of the client.
        rate: joins a second asked for.
        seconds: the stream's length.
        started: when it began, monotonic seconds; 0 before.
        stage: what is going on.
        push: the document pushed half way, once it is.
    """

    ledger: Ledger
    rate: float
    seconds: float
    started: float = 0.0
    stage: str = "streaming"
    push: Push | None = None

    def figures(self) -> dict[str, Any]:
        """The present figures."""
        ledger, now = self.ledger, time.monotonic()
        elapsed = min(max(now - self.started, 0.001), self.seconds)
        recent = sorted(latency for read, latency in ledger.recent if read >= now - WINDOW_SECONDS)
        answered = len(ledger.decisions) + sum(1 for place in ledger.dead_letters if place not in ledger.decisions)
        return {
            "stage": self.stage,
            "share": elapsed / self.seconds,
            "events_per_second": len(ledger.sent) / (ledger.seconds or elapsed),
            "verdicts": dict(ledger.verdicts),
            "dead_letters": len(ledger.dead_letters),
            "lag": max(ledger.wanted() - answered, 0),
            "p50_ms": percentile(recent, 0.5) * 1000,
            "p99_ms": percentile(recent, 0.99) * 1000,
        }


@dataclass
class Summary:
    """What the demo came to; ``ok`` decides the exit code."""

    joins: int
    updates: int
    leaves: int
    malformed: int
    events_per_second: float
    joins_per_second: float
    admits: int
    alerts: int
    removes: int
    dead_letters: dict[str, int]
    reports: int
    repeats: int
    unanswered: int
    later: int
    checked: int
    different: int
    p50_ms: float
    p99_ms: float
    pushed_applied_ms: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was sent, every join got its decision and each is the right one."""
        return not self.problems and self.unanswered == 0 and self.different == 0 and self.checked > 0


async def stream(
    sandbox: Sandbox,
    stricter: Sequence[Offer],
    *,
    rate: float,
    seconds: float,
    seed: int,
    watch: Callable[[Progress], Any],
) -> Summary:
    """Offer the stream, push the stricter documents half way, and check everything that came back.

    Args:
        sandbox: running, with its starter documents pushed.
        stricter: pushed half way.
        rate: joins a second.
        seconds: how long.
        seed: of the traffic.
        watch: given the progress before the stream begins; for the live view.
    """
    rng = random.Random(seed)  # noqa: S311  # traffic, not secrets
    traffic = Traffic(Addresses(shipped(), rng), rng, ACCOUNTS)
    async with Client(sandbox.bootstrap, traffic, sandbox.partitions) as client:
        progress = Progress(client.ledger, rate, seconds, started=time.monotonic())
        watch(progress)
        sending = asyncio.create_task(client.send(rate, seconds))
        await asyncio.sleep(seconds / 2)
        if stricter:
            progress.push = Push(stricter)
            await policylog.push(progress.push, sandbox.bootstrap, group=GROUP, patience=PUSH_SECONDS)
        await sending
        progress.stage = "waiting for the last answers"
        await client.settle(SETTLE_SECONDS)
        progress.stage = "checking every decision"
        checked, different, problems = await check(sandbox, client.ledger)
    return _summary(client.ledger, progress, checked, different, problems)


def _summary(ledger: Ledger, progress: Progress, checked: int, different: int, problems: list[str]) -> Summary:
    push = progress.push
    if push is not None and not push.complete:
        problems.append("the stricter document was not applied by every worker")
    problems += rejections(push) if push is not None else []
    problems += ledger.shortcomings(progress.rate)
    latencies = ledger.latencies()
    reasons: dict[str, int] = {}
    for reason in ledger.dead_letters.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    return Summary(
        joins=ledger.kinds["join"],
        updates=ledger.kinds["update"],
        leaves=ledger.kinds["leave"],
        malformed=ledger.kinds["malformed"],
        events_per_second=ledger.per_second(len(ledger.sent)),
        joins_per_second=ledger.per_second(ledger.kinds["join"]),
        admits=ledger.verdicts["admit"],
        alerts=ledger.verdicts["alert"],
        removes=ledger.verdicts["remove"],
        dead_letters=dict(sorted(reasons.items())),
        reports=sum(map(len, ledger.reports.values())),
        repeats=sum(len(made) - 1 for made in ledger.decisions.values()),
        unanswered=len(ledger.missing()),
        later=sum(map(len, ledger.later.values())),
        checked=checked,
        different=different,
        p50_ms=percentile(latencies, 0.5) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        pushed_applied_ms={worker: ms for worker, (_, ms) in sorted(push.applied.items())} if push else {},
        problems=problems,
    )


# -- the proof ---------------------------------------------------------------------------------------------------


class _Named(msgspec.Struct):
    """What a decision names of how it was made."""

    verdict: Verdict
    cause: Cause
    policy_offset: int
    geo_build: str
    order: list[int]


class _Decided(msgspec.Struct):
    data: _Named


_named = msgspec.json.Decoder(_Decided).decode


async def check(sandbox: Sandbox, ledger: Ledger) -> tuple[int, int, list[str]]:
    """Decide every record again offline and compare, what was said in report mode included.

    Returns:
        Decisions checked (report mode not counted), answers that differ, and the first few differences in words.
    """
    offline = _Offline(sandbox, await _policy_log(sandbox.bootstrap), Geo.open([shipped()], vocabulary()))
    said: list[tuple[Place, bytes, Mode]]
    said = [(place, value, "enforce") for place, values in ledger.decisions.items() for value, _ in values]
    checked = len(said)
    said += [(place, value, "report") for place, values in ledger.reports.items() for value in values]
    said += [(place, value, mode) for place, values in ledger.later.items() for mode, value in values]
    made = sorted(
        ((_named(value).data, place, mode, value) for place, value, mode in said),
        key=lambda each: (each[0].policy_offset, each[1], each[2]),
    )
    different = 0
    problems: list[str] = []
    for named, place, mode, value in made:
        wrong = _compare(offline, ledger, named, place, mode, value)
        if wrong is not None:
            different += 1
            if len(problems) < 5:
                problems.append(f"joins[{place[0]}]@{place[1]}: {wrong}")
    return checked, different, problems


def _compare(offline: "_Offline", ledger: Ledger, named: _Named, place: Place, mode: Mode, value: bytes) -> str | None:
    """What is wrong with one decision that was read; None if nothing."""
    if place not in ledger.sent:
        return "a decision for a record that was never sent"
    event = cloudevents.decode(ledger.sent[place][0].value)
    if isinstance(event, LeaveEvent):
        return "a decision for a leave"
    if named.cause not in ANSWERS or _is_reminder(ledger, place, mode, value):
        wanted = offline.answer_again(event, named, mode, _before(ledger, place, named))
        return None if value in wanted else f"offline it is one of {wanted!r}; it was {value!r}"
    answer = offline.answer(event, named)
    again = answer.decision if mode == "enforce" else answer.report
    if again is None:
        return f"nothing applies in report mode offline; it was {value!r}"
    if cloudevents.encode(again) != value:
        return f"offline it is {again.data.verdict}, {again.data.policies}; it was {value!r}"
    if mode == "enforce" and answer.report is not None and place not in ledger.reports:
        return f"no decision in report mode; offline it is {answer.report.data.verdict}"
    return None


def _before(ledger: Ledger, place: Place, named: _Named) -> dict[str, _Named]:
    """By mode, what was last said of a record's participation before a decision."""
    said: list[tuple[Mode, bytes]] = [("enforce", value) for value, _ in ledger.decisions.get(place, [])]
    said += [("report", value) for value in ledger.reports.get(place, [])]
    said += ledger.later.get(place, [])
    last: dict[str, _Named] = {}
    for mode, value in said:
        other = _named(value).data
        if other.order < named.order and (mode not in last or last[mode].order < other.order):
            last[mode] = other
    return last


def _is_reminder(ledger: Ledger, place: Place, mode: str, value: bytes) -> bool:
    """Whether a removal that answered a record is said again: another id, where a repeat has the same."""
    others = [other for other, _ in ledger.decisions.get(place, []) if mode == "enforce"]
    return len(others) > 1 and _named(value).data.order > min(_named(other).data.order for other in others)


class _Offline:
    """The documents in force at any offset of the policy log, which may only rise between calls."""

    def __init__(self, sandbox: Sandbox, log: list[Any], geography: Geo) -> None:
        self._log = log
        self._next = 0
        self._trust = read_trust(sandbox.authority.trust)
        provenance = Provenance(-1, geography.build, geography.time, None, __version__)
        self._decider = Decider(Index(), geography.facts, provenance)

    def answer(self, event: Any, named: _Named) -> Answer:
        return self._decider_at(named).answer(event, named.order[0], named.order[3])

    def answer_again(self, event: Any, named: _Named, mode: Mode, before: dict[str, _Named]) -> list[bytes]:
        """What may be said of the session of an event, given what was said of it before: a change, or a reminder."""
        decider = self._decider_at(named)
        facts, _ = decider.look_up(event.data.address)
        session = begin(event, facts, None, named.order[0], decider.provenance.geo_build)
        words = [VERDICTS.index(before[each].verdict) if each in before else 0 for each in ("enforce", "report")]
        session.verdict, session.reported = words
        last = max(before.values(), key=lambda each: each.order)
        session.policy_offset, session.decided_at = last.order[1], last.order[3]
        at, slots = named.order[3], decider.index.reaching(session.account, session.meeting)
        wanted = []
        change = decide_again(session, slots, facts, decider.provenance, at)
        if change is not None and (judgement := change.enforced if mode == "enforce" else change.reported) is not None:
            wanted.append((judgement, *change.trigger))
        if mode == "enforce" and session.verdict == REMOVE:
            judgement, _ = judge_by(slots, session, facts, at)
            wanted += [(judgement, before[mode].cause, ("reminder", str(number))) for number in range(1, 20)]
        return [
            cloudevents.encode(
                decision_again(
                    session, facts, judgement, decider.provenance, mode=mode, at=at, cause=cause, trigger=trigger
                )
            )
            for judgement, cause, trigger in wanted
        ]

    def _decider_at(self, named: _Named) -> Decider:
        """The decider as it was at an offset of the policy log."""
        decider = self._decider
        while self._next < len(self._log) and self._log[self._next].offset <= named.policy_offset:
            self._take(self._log[self._next])
            self._next += 1
        if decider.provenance.policy_offset != named.policy_offset:
            decider.provenance = msgspec.structs.replace(decider.provenance, policy_offset=named.policy_offset)
        return decider

    def _take(self, record: Any) -> None:
        index = self._decider.index
        with suppress(Rejected, Repeat):  # the workers took it for nothing as well
            index.put(
                signed.accept(
                    record.value,
                    trust=self._trust,
                    audience=AUDIENCE,
                    vocabulary=vocabulary(),
                    index=index,
                    record=Record(record.key, record.offset, record.timestamp),
                )
            )


async def _policy_log(bootstrap: str) -> list[Any]:
    """Every record of the policy log, in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition("policies", 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        log: list[Any] = []
        # By position, not by the last record: a log may end in a transaction's marker, which is never handed out.
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                log.extend(records)
        return log
    finally:
        await consumer.stop()


def starter_policies() -> Path:
    """The folder of starter documents: inside an installed package, else of the source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_policies"
    return installed if installed.is_dir() else package.parent / "deploy" / "policies"
