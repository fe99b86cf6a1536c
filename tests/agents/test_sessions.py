"""What a worker remembers of live participations, and what bad input comes to."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents import joins
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.agents.sessions import STEP_BACK, SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core import address
from streams.core.facts import Facts, settle
from streams.core.index import Revision
from streams.core.policy import path_of
from streams.core.sessions import Ended, Session
from streams.runtime.produce import RecordTooLargeError
from streams.wire import sessionrecord
from tests.agents.rig import HOUR, KEY, MemoryTable
from tests.agents.test_joins import Chunk, Partition, record
from tests.samples import NOON, PROVENANCE, VOCABULARY, account, index, rule

REMIND = 30_000
REFUSED, ALLOWED = "203.0.113.1", "198.51.100.1"
NETWORK = rule("remove", {"network": ["203.0.113.0/24"]})


class SpoiltTable(MemoryTable):
    """One into whose changelog a stale writer wrote ``foreign`` once."""

    foreign: Collection[bytes] = ()

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Mapping[bytes, bytes | None]] = []

    def persist(self, changes: Any, acks: Any) -> Mapping[int, tuple[int, int]]:
        self.written += [dict(rows) for _, rows in changes.partitions()]
        super().persist(changes, acks)
        return {0: (7, 9)} if self.foreign else {}

    async def foreign_keys(self, spoiled: Mapping[int, tuple[int, int]]) -> Mapping[int, Collection[bytes]]:
        assert spoiled == {0: (7, 9)}
        found, self.foreign = self.foreign, ()
        return {0: found}


class Rig:
    """A worker of partition 0 with its own clock; ``said`` is what it said last, ``buried`` its dead letters."""

    def __init__(self, *documents: dict[str, Any] | Revision, keys: tuple[bytes, ...] = (KEY,)) -> None:
        self.now = NOON
        self.offset = 0
        self.asked = False
        self.finished = 0
        self.table = SpoiltTable()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.buried: list[bytes] = []
        self.sayable: Callable[[dict[str, Any]], bool] = lambda decision: True
        self.decider = Decider(index(*documents), self.locate, PROVENANCE)
        self.start(keys)

    def start(self, keys: tuple[bytes, ...] = (KEY,)) -> None:
        """A new process, which takes the partition on."""
        self.metrics = Metrics(CollectorRegistry())
        sealer = Sealer(keys) if keys else None
        self.keeper = SessionKeeper(self.decider, sealer, self.metrics, lateness=6 * HOUR, ttl=24 * HOUR, remind=REMIND)
        self.sweeper = Sweeper(
            self.decider, self.keeper, self.metrics, clock=lambda: self.now, ask_turn=self._ask, finished=self._finish
        )
        self.agent = JoinsAgent(
            keeper=self.keeper,
            sweeper=self.sweeper,
            table=self.table,
            outbox=self._outbox,  # type: ignore[arg-type]
            clock=lambda: self.now,
            metrics=self.metrics,
            partitions=1,
            max_event_bytes=1 << 20,
            fuse=Fuse(0.05, 100),
        )
        asyncio.run(self.keeper.load({0}, self.table))
        self.sweeper.recovered()

    def locate(self, text: str) -> Facts:
        return settle(VOCABULARY, address=address.parse(text), country="FR")

    def _ask(self) -> None:
        self.asked = True

    def _finish(self) -> None:
        self.finished += 1

    def _outbox(self) -> Any:
        return SimpleNamespace(add=self._add, send=self._send)

    def _add(self, topic: str, partition: int, key: Any, value: Any, timestamp: Any, headers: Any) -> None:
        if topic == "joins.dlq":
            self.buried.append(dict(headers)["doorward-reason"])
            return
        decision = json.loads(value)
        if not self.sayable(decision):
            raise RecordTooLargeError(topic, partition, len(value), 0)
        self.sent.append((topic, decision))

    async def _send(self, check: Any) -> Counter[str]:
        check()
        return Counter()

    def take(self, *events: dict[str, Any]) -> list[str]:
        """Answer events in one chunk; returns the verdicts said."""
        records = []
        for event in events:
            self.offset += 1
            records.append(record(self.offset, json.dumps(event).encode(), event["data"]["meeting"].encode()))
        self.asked = False
        self.sent, self.buried = [], []
        asyncio.run(self.agent.answer(Chunk(parts={Partition(): records} if records else {})))  # type: ignore[arg-type]
        return [decision["data"]["verdict"] for _, decision in self.sent]

    def tick(self, after: int = 0) -> list[dict[str, Any]]:
        """Let time pass (ms), and turns be taken while they are asked for; returns the decisions said."""
        self.now += after
        self.sweeper.tick()
        return self.turns()

    def turns(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        for _ in range(1_000):
            self.take()
            said += [decision for _, decision in self.sent]
            if not self.asked:
                return said
        raise AssertionError("turns without end")

    def faults(self, kind: str) -> float:
        return self.metrics.session_faults.labels(kind)._value.get()

    def session(self, participation: str = "p-1", meeting: str = "m-1", owner: str = "acme") -> Session | None:
        return self.keeper.views[0].find(owner, meeting, participation)


def event(kind: str = "join", participation: str = "p-1", text: str = REFUSED, n: int = 0, **data: Any) -> Any:
    body = {"account": "acme", "meeting": "m-1", "participation": participation} | data
    body |= {} if kind == "leave" else {"address": text, "sequence": n}
    head = {"specversion": "1.0", "type": f"doorward.{kind}.v1", "source": "/edge"}
    return head | {"id": f"{participation}-{kind}-{n}", "data": body}


def test_a_late_join_after_its_leave_is_answered_and_begins_nothing() -> None:
    rig = Rig(account(rules=[NETWORK]))
    assert rig.take(event("leave")) == []
    assert rig.faults("unknown_leave") == 1
    assert rig.take(event()) == ["remove"]
    assert (len(rig.keeper), rig.keeper.unconfirmed, rig.faults("late")) == (0, 0, 1)
    assert rig.tick(after=4 * REMIND) == [], "nobody is there whose removal could be said again"


def test_late_events_are_answered_in_an_order_within_a_millisecond_too() -> None:
    rig = Rig()
    rig.take(event("leave"))
    orders = []
    for n in range(3):
        rig.take(event("update", n=n))
        orders.append(rig.sent[0][1]["data"]["order"])
    assert orders == sorted(orders)
    assert len({tuple(order) for order in orders}) == 3


def test_time_begins_anew_where_the_clock_steps_far_back() -> None:
    rig = Rig()
    assert [rig.keeper.instant(now) for now in (NOON, NOON, NOON - STEP_BACK + 2, NOON - 2 * STEP_BACK, NOON)] == [
        *(NOON, NOON + 1, NOON + 2),
        *(NOON - 2 * STEP_BACK, NOON),
    ]


def test_an_update_of_a_removed_participation_lets_it_back_in() -> None:
    rig = Rig(account(rules=[NETWORK]))
    assert rig.take(event()) == ["remove"]
    assert rig.keeper.unconfirmed == 1
    assert rig.take(event("update", text=ALLOWED, n=1)) == ["admit"]
    assert rig.keeper.unconfirmed == 0
    assert rig.tick(after=4 * REMIND) == []


def test_another_account_for_a_live_meeting_is_a_dead_letter() -> None:
    rig = Rig()
    assert rig.take(event(), event(participation="p-2", account="globex")) == ["admit"]
    assert rig.buried == [b"account_mismatch"]
    rig.take(event("leave", account="globex"))
    assert rig.session() is not None, "nor can it end the session of another account"
    rig.take(event("leave"))
    assert rig.take(event(participation="p-2", account="globex")) == ["admit"], "the meeting is over"


def test_removals_are_said_again_ever_more_rarely_until_the_leave() -> None:
    rig = Rig(account(rules=[NETWORK]))
    rig.take(event())
    ids, gaps, waited = {rig.sent[0][1]["id"]}, [], 0
    for _ in range(70):
        waited += REMIND
        for said in rig.tick(after=REMIND):
            assert (said["data"]["verdict"], said["data"]["cause"]) == ("remove", "join")
            ids.add(said["id"])
            gaps.append(waited // REMIND)
            waited = 0
    assert gaps == [1, 2, 4, 8, 16, 16, 16]
    assert len(ids) == 1 + len(gaps), "each has its own id"
    rig.take(event("leave"))
    assert rig.keeper.unconfirmed == 0
    assert rig.tick(after=64 * REMIND) == []


def test_reminders_survive_a_recovery() -> None:
    rig = Rig(account(rules=[NETWORK]))
    rig.take(event())
    [first] = rig.tick(after=REMIND)
    rig.start()
    assert rig.keeper.unconfirmed == 1
    assert [d["id"] for d in rig.turns()] == [first["id"]], "nobody may have heard it"
    assert rig.tick(after=REMIND) == [], "the second one is due after twice the interval"
    [second] = rig.tick(after=REMIND + 10)  # counted from when it was repeated
    assert first["id"] != second["id"]
    assert rig.session().reminders == 2  # type: ignore[union-attr]


def test_sessions_without_events_and_markers_of_ended_ones_are_forgotten() -> None:
    rig = Rig(account(rules=[NETWORK]))
    rig.take(event(), event(participation="p-2"), event("leave", participation="p-2"))
    rig.tick(after=6 * HOUR - 1)
    assert set(rig.table.kept[0]) == {b"acme/m-1/p-1", b"acme/m-1/p-2"}
    rig.tick(after=1)
    assert set(rig.table.kept[0]) == {b"acme/m-1/p-1"}
    rig.tick(after=18 * HOUR)
    rig.tick()
    assert rig.table.kept[0] == {}
    assert (len(rig.keeper), rig.keeper.unconfirmed, rig.faults("expired")) == (0, 0, 1)


def test_an_address_is_kept_only_sealed() -> None:
    rig = Rig(account(rules=[NETWORK]))
    rig.take(event())
    session = rig.session()
    assert session is not None
    assert session.facts.address is None
    packed = address.parse(REFUSED)
    [row] = rig.table.kept[0].values()
    assert packed not in row
    assert REFUSED.encode() not in row
    assert rig.keeper.unseal(session) == packed


@pytest.mark.parametrize("keys", [(bytes(64),), ()], ids=["another key", "no key"])
def test_a_session_whose_address_does_not_open_is_decided_without_it(keys: tuple[bytes, ...]) -> None:
    rig = Rig(account(rules=[NETWORK], unknown="alert"))
    assert rig.take(event()) == ["remove"]
    rig.start(keys)
    [said] = rig.turns()
    assert (said["data"]["verdict"], said["data"]["reason"]["outcome"]) == ("alert", "unknown")
    assert rig.faults("lost_key") == (1 if keys else 0)
    assert rig.turns() == []


def test_a_key_that_was_kept_second_still_opens() -> None:
    rig = Rig(account(rules=[NETWORK], unknown="alert"))
    rig.take(event())
    rig.start((bytes(64), KEY))
    assert rig.turns() == []


def test_a_row_that_is_none_is_passed_over() -> None:
    rig = Rig(account(rules=[NETWORK]))
    rig.take(event(), event(participation="p-2"))
    rig.table.kept[0][b"acme/m-1/p-1"] = b"\x01Lnonsense"
    rig.start()
    assert (len(rig.keeper), rig.faults("bad_record")) == (1, 1)
    assert rig.take(event("update", n=1)) == ["remove"], "its participation begins anew"
    assert isinstance(sessionrecord.decode(rig.table.kept[0][b"acme/m-1/p-1"]), Session)


def test_what_a_stale_worker_wrote_is_written_over() -> None:
    rig = Rig()
    rig.take(event(), event(participation="p-2"), event("leave", participation="p-2"))
    right = dict(rig.table.kept[0])
    stale = {b"acme/m-1/p-1", b"acme/m-1/p-2", b"acme/m-1/p-3", b"none of ours"}
    rig.table.kept[0] |= dict.fromkeys(stale, b"stale")
    rig.agent.write_over(0, stale)
    rig.take()
    assert rig.table.kept[0] == right
    written = len(rig.table.written)
    rig.take()
    assert len(rig.table.written) == written, "once is enough"


def test_of_much_that_was_spoilt_a_share_is_written_over_with_each_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "MOST_WRITTEN_OVER", 3)
    rig = Rig()
    rig.take(event())
    stale = {b"acme/m-1/p-1", *(b"acme/m-1/q-%d" % n for n in range(6))}
    rig.agent.write_over(0, stale)
    shares = []
    for _ in range(4):
        begin = len(rig.table.written)
        rig.take()
        shares.append({subject for rows in rig.table.written[begin:] for subject in rows})
    assert [len(share) for share in shares] == [3, 3, 1, 0]
    assert set().union(*shares) == stale


def test_what_can_be_nobodys_is_not_written_over() -> None:
    """Whoever writes garbage might have it a little shorter than a record may be, and what we say longer."""
    rig = Rig()
    longest = path_of(*3 * ["\N{GRINNING FACE}" * 128]).encode()
    rig.agent.write_over(0, [b"x" * 1_000_000, longest])
    rig.take()
    assert [set(rows) for rows in rig.table.written] == [{longest}]


def test_what_a_stale_worker_writes_in_between_is_written_over_at_once() -> None:
    rig = Rig()
    rig.take(event())
    rig.table.foreign = [b"acme/m-1/p-1", b"acme/m-1/p-9"]
    rig.take(event("leave", participation="p-2"))
    last = rig.table.written[-1]
    assert last[b"acme/m-1/p-9"] is None
    assert isinstance(sessionrecord.decode(last[b"acme/m-1/p-1"] or b""), Session)
    assert isinstance(sessionrecord.decode(rig.table.kept[0][b"acme/m-1/p-2"]), Ended)
