"""Did a peer make the decisions that Doorward's core makes? Pure: records in, what is wrong out.

``Expectation`` decides the events offline by the worker's own ``Decider`` and, with sessions, ``SessionKeeper``.
``Decisions`` then takes what a peer said, record by record, and ``States`` what its changelog holds.

A decision is right when all of it is what the core says, but for what no two runs have in common: the instants
(``time``, ``decided_at``, the last of ``order``; they have to agree with each other) and what it was made with
(``policy_offset`` and the second of ``order``, ``geo_build``, ``engine``). So id, subject, type, source, verdict,
cause, stage, event, reason with its facts, receipt, the documents that applied, and the event's offset and the geo
files' time in ``order`` are compared; a field too many or too few is a difference like any other. A meeting's decisions
have to come in the order of its events, on its events' partition, each once.

A state is right when it says of a participation what it last was: that it has ended, and by which event; or that it is
live, by which event, and what was decided.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.sessions import SessionKeeper
from streams.core import instants
from streams.core.events import LeaveEvent
from streams.core.policy import path_of
from streams.core.sessions import Ended, Session, Sessions
from streams.wire import cloudevents
from streams.wire.cloudevents import CONTENT_TYPE_HEADERS, Header, Malformed

DAY: Final = 86_400_000
MOST_TOLD: Final = 5
"""Faults of a kind that are told one by one; all are counted."""

WINDOW: Final = 1_000
"""How far from its turn a decision is looked for among its meeting's."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_canonical = msgspec.msgpack.Encoder(order="sorted").encode


class Record(NamedTuple):
    """A record of Kafka's, as far as it is looked at."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()


class Unreadable(ValueError):
    """Not a decision's bytes. The message says why."""


def digest(value: bytes | None) -> bytes:
    """Of a decision, without what no two runs have in common.

    Raises:
        Unreadable: it has not the shape, or its instants do not agree.
    """
    try:
        event = _decode(value or b"")
        data = event["data"]
        offset, policy_offset, geo_time, at = data["order"]
        if not event["time"] == data["decided_at"] == instants.render(at):
            raise Unreadable(f"time {event['time']}, decided_at {data['decided_at']}, order ends with {at}")
        if policy_offset != data["policy_offset"]:
            raise Unreadable(f"policy_offset {data['policy_offset']}, but {policy_offset} in order")
        del event["time"], data["decided_at"], data["policy_offset"], data["geo_build"], data["engine"]
        data["order"] = offset, geo_time
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as exc:
        raise Unreadable(repr(exc)) from None
    return blake2b(_canonical(event), digest_size=16).digest()


class Stated(NamedTuple):
    """What a participation is said to be.

    Attributes:
        offset: in ``joins``, of its newest event; of one that has ended, of its leave.
        verdict: of the decision last said, a place in ``VERDICTS``; None of one that has ended.
        rest: what else Doorward's records hold that is the same in every run; empty where a peer's format holds less.
    """

    offset: int
    verdict: int | None
    rest: bytes = b""


def stated(state: Session | Ended, address: bytes | None = None) -> Stated:
    """What a record of Doorward's format says; the address unsealed, as each run has a key of its own."""
    if isinstance(state, Ended):
        return Stated(state.offset, None)
    facts = msgspec.structs.replace(state.facts, address=address)
    who = state.account, state.meeting, state.participation, state.role, state.stage, facts
    last = state.reported, state.cause, state.sequence, state.time, state.id, state.source
    return Stated(state.offset, state.verdict, blake2b(_canonical((who, last)), digest_size=16).digest())


class Expectation:
    """What deciding the events offline comes to.

    Args:
        decider: decides by the policies and the geography that the peer has.
        records: of ``joins``, those of a partition in order.
        sessions: whether participations are remembered.
        at: the instant to decide at, ms since the epoch.

    Attributes:
        decisions: by key, digests of a meeting's decisions in the order of its events.
        partitions: by key, where they are.
        count: of decisions.
        states: by subject, what each participation is in the end; empty without sessions.
    """

    def __init__(self, decider: Decider, records: Iterable[Record], *, sessions: bool, at: int) -> None:
        self.decisions: dict[bytes, list[bytes]] = {}
        self.partitions: dict[bytes, int] = {}
        self.count = 0
        self.states: dict[bytes, Stated] = {}
        keeper = SessionKeeper(decider, Sealer([bytes(64)]), Metrics(), lateness=DAY, ttl=DAY, remind=DAY)
        for partition, key, value in _answers(decider, keeper if sessions else None, records, at):
            self.decisions.setdefault(key, []).append(digest(value))
            self.partitions[key] = partition
            self.count += 1
        for view in keeper.views.values():
            self.states.update((subject, stated(marker)) for subject, marker in view.ended.items())
            for each in view:
                subject = path_of(each.account, each.meeting, each.participation).encode()
                self.states[subject] = stated(each, keeper.unseal(each))


def _answers(
    decider: Decider, keeper: SessionKeeper | None, records: Iterable[Record], at: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """Partition, key and value of the decisions on events, in their order."""
    for partition, offset, key, value, headers in records:
        if keeper is not None and partition not in keeper.views:
            keeper.views[partition] = Sessions()
        try:
            event = cloudevents.decode(value, headers)
            if key is None or key != event.data.meeting.encode():
                continue
            if isinstance(event, LeaveEvent):
                if keeper is not None:
                    keeper.leave(partition, event, offset, at, {})
                continue
            if keeper is None:
                answer = decider.answer(event, offset, at)
            else:
                answer = keeper.join(partition, event, offset, at, {})
        except Malformed:
            continue
        yield partition, key, cloudevents.encode(answer.decision)


class Faults:
    """What was found wrong, by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._told: list[str] = []

    def add(self, kind: str, what: str, count: int = 1) -> None:
        """Note a fault; ``what`` says which."""
        self.counts[kind] += count
        if self.counts[kind] <= MOST_TOLD:
            self._told.append(f"{kind}: {what}")

    def lines(self) -> list[str]:
        """None where nothing is wrong; else the counts first, then the first of each kind."""
        counts = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.items() if count)
        return [counts, *self._told] if counts else []


class Decisions:
    """Looks at a peer's decisions, those of a partition in order.

    Args:
        expected: what they have to be.
    """

    def __init__(self, expected: Expectation) -> None:
        self.faults = Faults()
        self._expected = expected
        self._next = dict.fromkeys(expected.decisions, 0)
        self._passed: set[tuple[bytes, int]] = set()  # places whose decision may yet come late

    def take(self, record: Record) -> None:
        """Look at the next one."""
        partition, _, key, value, headers = record
        where = f"partition {partition}, offset {record.offset}"
        sequence = self._expected.decisions.get(key or b"")
        if key is None or sequence is None:
            self.faults.add("unexpected", f"{where}: nothing is to be said of the meeting {key!r}")
            return
        if partition != self._expected.partitions[key]:
            self.faults.add("misplaced", f"{where}: its events are in partition {self._expected.partitions[key]}")
        if CONTENT_TYPE_HEADERS[0] not in headers:
            self.faults.add("without content-type", where)
        try:
            found = digest(value)
        except Unreadable as exc:
            self.faults.add("unreadable", f"{where}: {exc}")
            return
        at = self._next[key]
        if at < len(sequence) and sequence[at] == found:
            self._next[key] = at + 1
        else:
            self._strange(key, sequence, at, found, f"{where}, number {at + 1} of its meeting: {value!r:.600}")

    def _strange(self, key: bytes, sequence: list[bytes], at: int, found: bytes, where: str) -> None:
        """Not the one whose turn it is."""
        if found in (ahead := sequence[at : at + WINDOW]):  # those before it were left out, or come late
            there = at + ahead.index(found)
            self._passed.update((key, place) for place in range(at, there))
            self._next[key] = there + 1
            return
        behind = [place for place in range(max(0, at - WINDOW), at) if sequence[place] == found]
        late = [place for place in behind if (key, place) in self._passed]
        if late:
            self._passed.remove((key, late[0]))
            self.faults.add("out of order", where)
        elif behind:
            self.faults.add("repeated", where)
        else:
            self.faults.add("wrong", where)
            self._next[key] = min(at + 1, len(sequence))  # it stands in the place of the right one

    def finish(self) -> list[str]:
        """What is wrong, all in all, once there are no more; empty where nothing is."""
        for key, place in self._passed:
            self.faults.add("missing", f"number {place + 1} of the meeting {key!r}")
        for key, at in self._next.items():
            if left := len(self._expected.decisions[key]) - at:
                self.faults.add("missing", f"the last {left} of the meeting {key!r}", left)
        return self.faults.lines()


class States:
    """Looks at what a peer's changelog holds, once all of it was read.

    Args:
        expected: what participations have to be in the end.
    """

    def __init__(self, expected: Expectation) -> None:
        self._expected = expected
        self._held: dict[bytes, Stated | None] = {}

    def take(self, subject: bytes, state: Stated | None) -> None:
        """The next record of a participation, in the order of a partition: the last counts. None: it says nothing."""
        self._held[subject] = state

    def finish(self) -> list[str]:
        """What is wrong; empty where nothing is."""
        faults, expected = Faults(), self._expected.states
        for subject, wanted in expected.items():
            held = self._held.get(subject)
            if held is None:
                faults.add("state missing", repr(subject))
            elif held != (wanted if held.rest else wanted._replace(rest=b"")):
                faults.add("state wrong", f"{subject!r}: {held}, should be {wanted}")
        for subject in self._held.keys() - expected.keys():
            faults.add("state of nobody", repr(subject))
        return faults.lines()
