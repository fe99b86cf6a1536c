"""What must hold, asked of the brokers alone: at each commit, and when all is quiet.

At a commit every output of what it covers must lie on the brokers already. At the end the ledger of `doorward verify`
(I1 to I5) must find nothing, and the changelog must say of every participation what a worker says that answers the same
events in one go.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

from aiokafka.structs import TopicPartition

from streams import __version__
from streams.agents.decider import Decider
from streams.agents.joins import DEAD_LETTERS, DECISIONS, REPORTS
from streams.agents.sessions import SessionKeeper
from streams.core.asof import AsOf
from streams.core.events import JoinEvent, LeaveEvent
from streams.core.evidence import Bounds, Input, Said, World, said_at
from streams.core.index import Index
from streams.core.ledger import BY_ADDRESS, BY_FORM, BY_STATE, Ledger, Span
from streams.core.policy import Mode, path_of
from streams.core.sessions import Ended, Session, Sessions
from streams.runtime.frames import unframe
from streams.wire import cloudevents, sessionrecord
from streams.wire.cloudevents import Malformed
from tests.agents.rig import HOUR
from tests.core.ledgerworld import BUILDS
from tests.samples import PROVENANCE
from tests.sim.brokers import Brokers, Row
from tests.sim.worker import CHANGELOG, METRICS, POLICY, SEALER

MODES: Mapping[str, Mode] = {DECISIONS: "enforce", REPORTS: "report"}
BITS = {b"bad_address": BY_ADDRESS, b"account_mismatch": BY_STATE, b"internal": BY_STATE}
JOINS = "joins"

Essences: TypeAlias = dict[str, tuple[Any, ...]]


class Violated(AssertionError):
    """Something that must hold does not."""


class Oracle:
    """Watches the brokers."""

    def __init__(self) -> None:
        self.said: dict[int, dict[str, list[Said]]] = defaultdict(lambda: defaultdict(list))
        self.letters: dict[tuple[int, int], int] = defaultdict(int)
        self.found: list[str] = []
        self._inputs: dict[int, dict[int, Input | None]] = defaultdict(dict)
        self._answers: Counter[tuple[int, str, str]] = Counter()
        self._ended: set[str] = set()

    # -- as it happens -------------------------------------------------------------------------------------------

    def sent(self, row: Row) -> None:
        """A record got onto ``joins``."""
        try:
            event = cloudevents.decode(row.value, row.headers, max_bytes=1 << 20)
        except Malformed:
            self._inputs[row.partition][row.offset] = None
        else:
            self._inputs[row.partition][row.offset] = Input(row.offset, event)

    def appended(self, row: Row) -> None:
        """A worker's record got onto the brokers."""
        if row.topic in MODES:
            said = said_at(row.offset, MODES[row.topic], row.value or b"")
            self.said[row.partition][said.decision.subject].append(said)
            if said.is_answer and said.mode == "enforce":
                self._answers[row.partition, said.decision.data.event.source, said.decision.data.event.id] += 1
        elif row.topic == DEAD_LETTERS:
            told = dict(row.headers)
            reason = told["doorward-reason"]
            self.letters[row.partition, int(told["doorward-offset"])] |= BITS.get(reason, BY_FORM)
            if reason == b"internal":
                self.found.append(f"a fault of our own at joins[{row.partition}] {told}")
        elif row.topic == CHANGELOG and row.key is not None:
            _, payload = unframe(row) or (0, None)
            if payload is not None and payload[1:2] == b"E":
                self._ended.add(row.key.decode())

    def committing(self, tp: TopicPartition, before: int, offset: int) -> None:
        """A commit is about to count."""
        if offset < before:
            self.found.append(f"{tp} was committed up to {before}, and then up to {offset}")
        inputs = [each for at, each in self._inputs[tp.partition].items() if at < offset]
        owed = Counter(
            (tp.partition, each.event.source, each.event.id)
            for each in inputs
            if each is not None and isinstance(each.event, JoinEvent)
        )
        if lacking := owed - self._answers:
            self.found.append(f"{tp} is committed up to {offset}, and no decision answers {sorted(lacking)}")
        for at, each in self._inputs[tp.partition].items():
            if not before <= at < offset:
                continue
            if each is None and not self.letters[tp.partition, at]:
                self.found.append(f"{tp} is committed up to {offset}, and {at} has no dead letter")
            elif each is not None and isinstance(each.event, LeaveEvent) and _subject(each.event) not in self._ended:
                self.found.append(f"{tp} is committed up to {offset}, and the leave at {at} is on no changelog")

    # -- at the end ----------------------------------------------------------------------------------------------

    def close(self, brokers: Brokers, policies: Any, now: int) -> None:
        """Everything was read, and nothing is under way."""
        index = Index()
        for revision in policies:
            index.put(revision)
        world = World(AsOf(index), BUILDS.get, __version__, contest=PROVENANCE.contest, builds={"build-0"})
        for partition, inputs in self._inputs.items():
            tp = TopicPartition(JOINS, partition)
            end, committed = brokers.log(*tp).end, brokers.committed.get(tp, 0)
            span = Span(partition, Bounds(0, end, True), committed, 0, now + 61_000, now + 1_000, 24 * HOUR)
            ledger = Ledger(span, world)
            ledger.builds.add("build-0")
            by_subject: dict[str, list[Input]] = defaultdict(list)
            for offset, each in inputs.items():
                letters = self.letters[partition, offset]
                if each is None:
                    ledger.malformed(offset, letters, owed=offset < committed)
                else:
                    each.letters, each.owed = letters, offset < committed
                    by_subject[_subject(each.event)].append(each)
            for subject in sorted(by_subject.keys() | self.said[partition].keys()):
                ledger.check(subject, by_subject.get(subject, []), self.said[partition].get(subject, []))
            ledger.close()
            self.found += [str(each) for told in ledger.first.values() for each in told]
            self.found += [f"neither proven nor refuted: {why}" for why in ledger.unprovable]

    def compare(self, rows: Mapping[bytes, bytes], wanted: Essences, whose: str) -> None:
        """Rows of a partition against those of `uninterrupted`."""
        held = {key.decode(): _essence(sessionrecord.decode(row)) for key, row in rows.items()}
        for subject in sorted(held.keys() | wanted.keys()):
            if held.get(subject) != wanted.get(subject):
                self.found.append(f"{subject} is {held.get(subject)} {whose}, not {wanted.get(subject)}")

    def uninterrupted(self, partition: int, policies: Any, now: int) -> Essences:
        """What a worker remembers that knows every document and answers a partition's events in one go."""
        index = Index()
        for revision in policies:
            index.put(revision)
        decider = Decider(index, BUILDS["build-0"].facts, POLICY)
        keeper = SessionKeeper(decider, SEALER, METRICS, lateness=6 * HOUR, ttl=24 * HOUR, remind=30_000)
        view = keeper.views[partition] = Sessions()
        for each in self._inputs[partition].values():
            if each is None:
                continue
            if isinstance(each.event, LeaveEvent):
                keeper.leave(partition, each.event, each.offset, now, {})
            else:
                keeper.join(partition, each.event, each.offset, now, {})
        found = {path_of(s.account, s.meeting, s.participation): _essence(s) for s in view}
        return found | {subject.decode(): _essence(ended) for subject, ended in view.ended.items()}


def _essence(state: Session | Ended) -> tuple[Any, ...]:
    """What must be the same whenever it was decided."""
    if isinstance(state, Ended):
        return "ended", state.offset
    return "live", state.offset, state.verdict, state.reported, state.sealed is not None


def _subject(event: JoinEvent | LeaveEvent) -> str:
    return path_of(event.data.account, event.data.meeting, event.data.participation)
