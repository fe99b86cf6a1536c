"""No window between a join and a document: a seeded simulation that lets anything happen at any point, crashes too.

A ``Script`` is what happens to a partition: events of participations (out of order, repeated), documents, windows,
geo builds, trust sets, the clock (back, too), turns, crashes and rebalances; also while a chunk is on its way to the
brokers, and while nobody owns the partition. A ``World`` plays it on the real agent, keeper, sweeper and decider. What
was said last of everyone still in must then be what deciding afresh gives, and what the same script without crashes
says.

In a long script what one sweep misses a later one often finds. So there is ``Single`` too: one document and nothing
else, at every point at which a worker lets anything happen, with every kind of crash.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents import sweeps
from streams.agents.decider import Decider
from streams.agents.joins import Fuse, JoinsAgent
from streams.agents.sessions import SessionKeeper
from streams.agents.sweeps import Sweeper
from streams.core import address, instants
from streams.core.decide import decision_id
from streams.core.events import JoinEvent, LeaveEvent, Provenance
from streams.core.facts import Facts, settle
from streams.core.index import Index, Revision
from streams.core.policy import path_of
from streams.core.sessions import Session, moment
from streams.core.sweep import Reach
from streams.runtime.produce import Acks
from streams.runtime.tables import Changes
from streams.wire import cloudevents
from tests import samples, stories
from tests.agents.rig import HOUR, KEY, MemoryTable
from tests.agents.test_joins import Chunk, Partition, record
from tests.samples import DAY, NOON, PROVENANCE, VOCABULARY, rule

SEEDS = range(300)
PLACES = [("acme", "m-1"), ("acme", "m-2"), ("globex", "m-3")]
ADDRESSES = ["203.0.113.1", "203.0.113.2", "203.0.113.130", "2001:db8::1", "none"]
CRASHES: tuple[str, ...] = ("nothing", "half", "silent", "part", "unwritten", "after")
"""What of the sending has arrived: nothing; some sessions, but no decision; all sessions, but no decision; some
decisions; all of them, but no session; everything, and yet the events are read again. Where a sweep spoke, the sessions
arrive all or none: those that it changed fit a batch."""

METRICS = Metrics(CollectorRegistry())


class Op(NamedTuple):
    """One thing that happens: its name, and what with."""

    what: str
    value: Any = None


class Step(NamedTuple):
    """A chunk (of no events: a turn), what happens while it is sent, and how it ends."""

    events: int
    during: list[Op]
    crash: str | None
    down: list[Op]
    new_process: bool
    log_first: bool


class Script:
    """What happens, drawn from a seed; the events of the joins topic, and the steps."""

    WRONG: tuple[int, ...] = (0, 0, 0, 1, 1_500, 30_000)
    """By how much clocks are behind, ms."""
    CRASHES = CRASHES

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._now = NOON
        self._offset = self._geo = self._newest = self._trust = 0
        self._revisions: dict[tuple[str, ...], list[int]] = {}
        self.events = self._events()
        self.steps = [self._step() for _ in range(30)]
        self.end = self._now + 1_000

    def _events(self) -> list[dict[str, Any]]:
        random, found = self._random, []
        for number in range(8):
            account, meeting = random.choice(PLACES)
            whose = {"meeting": meeting, "account": account, "participation": f"p-{number}"}
            events = stories.events(random, number, whose, ADDRESSES, most=4, chance=0.4)
            found += zip(sorted(random.random() for _ in events), events, strict=True)
        return [event for _, event in sorted(found, key=lambda item: item[0])]

    def _step(self) -> Step:
        random = self._random
        events = random.choice([0, 0, 1, 1, 2, 3])
        crash = random.choice(self.CRASHES) if random.random() < 0.2 else None
        return Step(events, self._ops(), crash, self._ops(), random.random() < 0.5, random.random() < 0.5)

    def _ops(self) -> list[Op]:
        return [self._op() for _ in range(self._random.choice([0, 0, 1, 2]))]

    def _op(self) -> Op:
        match self._random.choice(["document", "document", "clock", "clock", "geo", "trust", "tick"]):
            case "document":
                return Op("document", self._document())
            case "clock":
                self._now += self._random.choice([1, 1_000, 10_000, 40_000])
                return Op("clock", self._now - self._random.choice(self.WRONG))
            case "geo":
                self._newest += 1  # or back to an older build
                self._geo = self._newest if self._random.random() < 0.8 else self._random.randrange(self._newest)
                return Op("geo", self._geo)
            case "trust":
                self._trust += 1
                return Op("trust", self._trust)
            case _:
                return Op("tick")

    def _document(self) -> Revision:
        random = self._random
        account, meeting = random.choice(PLACES)
        fields: dict[str, Any] = {"name": random.choice(["a", "b"])}
        make = random.choice([samples.account, samples.meeting, samples.service])
        if make is not samples.service:
            fields |= {"account": account} | ({"meeting": meeting} if make is samples.meeting else {})
        used = self._revisions.setdefault((make.__name__, *sorted(fields.values())), [])
        number = max(used, default=0) + random.choice([1, 1, 2])
        if len(used) > 1 and random.random() < 0.1:
            number = next(n for n in range(1, max(used) + 2) if n not in used)
        used.append(number)
        fields["revision"] = number
        if random.random() < 0.15:
            fields["retracted"] = True
        fields["mode"] = random.choice(["enforce", "enforce", "report"])
        if make is samples.service or random.random() < 0.4:
            opens = self._now // 1000 * 1000 + random.randint(-30, 60) * 1000
            closes = opens + random.randint(1, 90) * 1000
            if make is samples.service:  # its window is a week or longer (charter C5)
                opens, closes = random.choice([(opens, opens + 8 * DAY), (closes - 8 * DAY, closes)])
            fields |= {"not_before": instants.render(opens), "not_after": instants.render(closes)}
        conditions = [{"country": [random.choice(["FR", "DE"])]}, {"network": ["203.0.113.0/25"]}, {"role": ["guest"]}]
        if make is samples.service:  # it may not ask for more (charter C2, C3)
            del conditions[1:]
        fields["rules"] = [rule(random.choice(["remove", "remove", "alert", "admit"]), random.choice(conditions))]
        fields["default"] = "admit" if make is samples.service else random.choice(["admit", "admit", "alert"])
        self._offset += 1
        return samples.revision(make(**fields), offset=self._offset, appended_at=self._now)


class Wild(Script):
    """Clocks are wrong by more than what time can be held still for, before and behind."""

    WRONG = (0, 0, 100_000, -100_000, HOUR, -HOUR)
    CRASHES = tuple(sorted({*CRASHES} - {"part", "unwritten"}))
    """What was said in the future, by somebody who ended before it was written down, nobody knows of to outrank it."""


class Single(Script):
    """Everybody joins once, and one document asks for one sweep: nothing makes up for whom that sweep misses.

    Args:
        seed: for who joins where, and the document's mode.
        step: the chunk with which it comes into force.
        point: when, one of ``POINTS``.
        crash: how the chunk ends.
    """

    STEPS = 4

    def __init__(self, seed: int, step: int, point: str, crash: str | None) -> None:
        super().__init__(seed)
        self.point = point
        self.end = NOON + 1_000
        joins = (event for event in self.events if event["type"] == "doorward.join.v1")
        self.events = list({_subject(event): event for event in joins}.values())
        mode = "report" if seed % 2 else "enforce"
        document = samples.revision(samples.account(mode=mode, default="remove"), offset=0, appended_at=NOON)
        now, later = Op("document", document), Op("nothing")
        during = {"on its way": [now, later], "arrived": [later, now]}.get(point, [])
        there = Step(2, during, crash, [] if during else [now], seed % 2 == 0, step % 2 == 0)
        calm = there._replace(during=[], crash=None, down=[])
        self.steps = [there if n == step else calm for n in range(self.STEPS)]


POINTS = ["on its way", "arrived", "after"]
"""A chunk's outputs: on their way, with the brokers but not on disk (where a sweep said nothing), on disk."""


def singles(crashes: Iterable[str | None]) -> Iterator[Single]:
    for crash in crashes:
        yield from (Single(seed, n, point, crash) for seed in range(2) for n in range(Single.STEPS) for point in POINTS)


class Crash(Exception):
    """The worker is gone, or its partition is."""


class Table(MemoryTable):
    """Things happen while its rows are read: a recovery lets other tasks run."""

    def __init__(self) -> None:
        super().__init__()
        self.happen: Callable[[], None] = lambda: None
        self.changes = Changes()  # last on their way

    def add_to(self, outbox: Any, changes: Changes) -> None:
        self.changes = changes

    def arrive(self, *, half: bool = False) -> None:
        """The brokers have what is on its way, all or half of it, though nobody here will hear of that."""
        for partition, rows in self.changes.partitions():
            arrived = Changes()
            for key, value in list(rows.items())[:: 2 if half else 1]:
                arrived.put(partition, key, value)
            self.persist(arrived, Acks())

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        yield from super().rows(partition)
        self.happen()


class Outbox:
    """Of one chunk; sends what the step allows."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._added: list[tuple[str, Any]] = []
        world.newest = self  # of a chunk, that for what its sweep says

    def add(self, topic: str, partition: int, key: Any, value: Any, *rest: Any) -> None:
        self._added.append((topic, value))

    async def send(self, check: Callable[[], None]) -> None:
        world, step = self._world, self._world.step
        check()
        half = len(step.during) // 2
        world.happen(step.during[:half])
        if step.crash in ("nothing", "half", "silent"):
            if step.crash == "silent" or (step.crash == "half" and not world.newest._added):
                world.table.arrive(half=step.crash == "half")
            world.happen(step.during[half:])
            raise Crash
        sent = self._added[: len(self._added) // 2] if step.crash == "part" else self._added
        world.say(sent)
        world.happen(step.during[half:])
        if step.crash in ("part", "unwritten"):
            raise Crash


class World:
    """Plays a script."""

    def __init__(self, script: Script, *, crashes: bool, sweeper: type[Sweeper] = Sweeper) -> None:
        self.script = script
        self.crashes = crashes
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.now, self.geo, self.trust, self.position, self.asked = NOON, 0, 0, 0, False
        self.log: list[Revision] = []
        self.newest: Outbox
        self.again = 0  # events of a chunk that was given up
        self.owners = 0
        self.table = Table()
        self.left: dict[str, int] = {}  # subject to how much had been said when its leave was done with
        self.step = Step(0, [], None, [], new_process=False, log_first=False)
        self._sweeper = sweeper
        self._start()

    # -- the worker ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """A new process, which knows nothing yet."""
        provenance = msgspec.structs.replace(PROVENANCE, policy_offset=-1)
        self.decider = Decider(Index(), self.locate, self._located(provenance))
        self.keeper = SessionKeeper(
            self.decider, Sealer([KEY]), METRICS, lateness=6 * HOUR, ttl=24 * HOUR, remind=30_000
        )
        self.sweeper = self._sweeper(
            self.decider, self.keeper, METRICS, clock=self.clock, ask_turn=self._ask, finished=lambda: None
        )
        self.sweeper.world = self  # type: ignore[attr-defined]  # for those below that are made to fail
        self.agent = JoinsAgent(
            keeper=self.keeper,
            sweeper=self.sweeper,
            table=self.table,
            outbox=lambda: Outbox(self),  # type: ignore[arg-type, return-value]
            clock=self.clock,
            metrics=METRICS,
            partitions=1,
            max_event_bytes=1 << 20,
            fuse=Fuse(0.05, 100),
        )
        self.followed = 0

    def clock(self) -> int:
        """Every owner's is a little off, or two might decide at the same millisecond."""
        return self.now + self.owners

    def _ask(self) -> None:
        self.asked = True

    def locate(self, text: str) -> Facts:
        packed = address.parse(text)
        return settle(VOCABULARY, address=packed, country=Random(f"{text} {self.geo}").choice(["FR", "DE", "US", None]))

    def _located(self, provenance: Provenance) -> Provenance:
        return msgspec.structs.replace(provenance, geo_build=f"country-{self.geo}", geo_time=self.geo)

    def _follow(self) -> None:
        """Read the policy log on, as `app.Worker` does."""
        accepted = self.log[self.followed :]
        if not accepted:
            return
        self.followed = len(self.log)
        offset = accepted[-1].offset
        self.decider.provenance = msgspec.structs.replace(self.decider.provenance, policy_offset=offset)
        self._take_up(accepted)

    def _take_up(self, revisions: Iterable[Revision]) -> None:
        """Of some revisions those count whose key is trusted yet: a trust set only grows (`wire.trust.rewritten`)."""
        counting = [r for r in revisions if r.offset % 8 - 3 <= self.trust]
        for revision in counting:
            self.decider.index.put(revision)
        self.sweeper.accepted(counting, self.decider.provenance.policy_offset)

    def _judge_anew(self) -> None:
        """Judge the log so far by another trust set, as `app.Worker` does."""
        self.decider.index = Index()
        self._take_up(self.log[: self.followed])
        self.sweeper.relocated()

    def say(self, added: Iterable[tuple[str, Any]]) -> None:
        """Decisions have got to the brokers."""
        self.sent += [(topic, msgspec.json.decode(value)) for topic, value in added if topic != "joins.dlq"]

    def happen(self, ops: Iterable[Op], *, alive: bool = True) -> None:
        for what, value in ops:
            if what == "document":
                self.log.append(value)
            elif what == "clock":
                self.now = value
            elif what == "geo":
                self.geo = value
            elif what == "trust":
                self.trust = value
            if not alive:
                continue
            self._follow()
            if what == "geo":
                self.decider.provenance = self._located(self.decider.provenance)
                self.sweeper.relocated()
            elif what == "trust":
                self._judge_anew()
            elif what == "tick":
                self.sweeper.tick()

    # -- playing -------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        await self._take_on()
        for step in self.script.steps:
            await self._take(step if self.crashes else step._replace(crash=None))
        calm = self.step._replace(events=3, during=[], crash=None, down=[])
        while self.position < len(self.script.events):
            await self._take(calm)
        self.now = self.script.end + 101 * len(self.script.steps) - self.owners
        self.sweeper.tick()
        await self.finish()

    async def finish(self) -> None:
        """Give turns for as long as they are asked for."""
        calm = Step(0, [], None, [], new_process=False, log_first=False)
        for _ in range(1_000):
            if not self.asked:
                break
            await self._take(calm)
        assert not self.asked
        assert not len(self.sweeper.backlog)

    async def _take(self, step: Step) -> None:
        self.step = step
        end = min(len(self.script.events), self.position + max(step.events, self.again))
        events = self.script.events[self.position : end]
        records = [
            record(self.position + n, json.dumps(event).encode(), event["data"]["meeting"].encode())
            for n, event in enumerate(events)
        ]
        self.asked = False
        try:
            await self.agent.answer(Chunk(parts={Partition(): records} if records else {}))  # type: ignore[arg-type]
            if step.crash == "after":
                raise Crash
        except Crash:
            self.again = len(events)  # the next owner reads them again before long
            await self._recover(step)
            return
        self.position, self.again = end, 0
        for event in events:
            if event["type"] == "doorward.leave.v1":
                self.left.setdefault(_subject(event), len(self.sent))
        self.happen(step.down)

    async def _recover(self, step: Step) -> None:
        self.owners += 101
        if step.new_process:
            self.happen(step.down, alive=False)
            self._start()
            if step.log_first:
                self._follow()
            await self._take_on()
            self._follow()
            return
        self.keeper.forget()
        self.agent.forget()
        self.sweeper.forgotten()
        half = len(step.down) // 2
        self.happen(step.down[:half])
        self.table.happen = lambda: self.happen(step.down[half:])
        await self._take_on()
        self.table.happen = lambda: None

    async def _take_on(self) -> None:
        await self.keeper.load({0}, self.table)
        self.sweeper.recovered()

    # -- what came of it -----------------------------------------------------------------------------------------

    def last_said(self, topic: str, live: Iterable[str]) -> dict[str, str]:
        """By subject, the verdict of the greatest `order`; a tie must be one verdict. Without: admit."""
        return {subject: verdict for subject, (_, verdict) in self.last_words(topic, live).items()}

    def last_words(self, topic: str, live: Iterable[str]) -> dict[str, tuple[list[int], str]]:
        """The same, with that `order`."""
        found: dict[str, tuple[list[int], str]] = {subject: ([], "admit") for subject in live}
        for on, decision in self.sent:
            said = decision["data"]["order"], decision["data"]["verdict"]
            before = found.get(decision["subject"])
            if on == topic and before is not None and said[0] >= before[0]:
                assert said[0] > before[0] or said[1] == before[1], decision
                found[decision["subject"]] = said
        return found

    def afresh(self, instants: Mapping[str, int] | None = None) -> dict[str, tuple[str, str]]:
        """What everyone still in would get now (or by subject then), and of documents in report mode."""
        at = defaultdict(self.clock, instants or {})
        newest: dict[str, JoinEvent] = {}
        gone = set()
        for event in self.script.events:
            decoded = cloudevents.decode(json.dumps(event).encode(), (), max_bytes=1 << 20)
            if isinstance(decoded, LeaveEvent):
                gone.add(_subject(event))
            elif (subject := _subject(event)) not in newest or moment(decoded) > moment(newest[subject]):
                newest[subject] = decoded
        answers = {s: self.decider.answer(event, 0, at[s]) for s, event in newest.items() if s not in gone}
        return {
            subject: (answer.decision.data.verdict, answer.report.data.verdict if answer.report else "admit")
            for subject, answer in answers.items()
        }


def _subject(event: dict[str, Any]) -> str:
    data = event["data"]
    return path_of(data["account"], data["meeting"], data["participation"])


# -- what must hold ----------------------------------------------------------------------------------------------


async def check(script: Script, sweeper: type[Sweeper] = Sweeper) -> None:
    world = World(script, crashes=True, sweeper=sweeper)
    await world.play()
    prompt = world
    if any(step.crash for step in script.steps):
        prompt = World(script, crashes=False)
        await prompt.play()
    fresh = world.afresh()
    assert fresh == prompt.afresh()
    for each in (world, prompt):
        enforced, reported = each.last_said("decisions", fresh), each.last_said("decisions.report", fresh)
        assert enforced == {subject: verdict for subject, (verdict, _) in fresh.items()}
        assert reported == {subject: verdict for subject, (_, verdict) in fresh.items()}
    _check_ids(world)
    _check_leaves(world)
    said = len(world.sent)
    world.sweeper.relocated()
    await world.finish()
    assert len(world.sent) == said, "a sweep without changes says nothing"


async def check_wild(script: Wild) -> None:
    """Of whom something was said by a clock ahead, the last word may be what deciding at the instant it declares gives.

    The clocks say nothing that ranks below what was said before; only who crashes may say that again.
    """
    for crashes in (True, False):
        world = World(script, crashes=crashes)
        await world.play()
        world.now += world.keeper.instant(world.clock()) - world.clock()  # where that is held still
        fresh = world.afresh()
        enforced, reported = (world.last_words(topic, fresh) for topic in ("decisions", "decisions.report"))
        declared = {s: max(enforced[s][0], reported[s][0])[3] for s in fresh}
        then = world.afresh(declared)
        for subject in fresh:
            assert (enforced[subject][1], reported[subject][1]) in (fresh[subject], then[subject]), subject
        _check_ids(world)
        _check_leaves(world)
    latest: dict[tuple[str, str], list[int]] = {}
    for topic, decision in world.sent:
        subject, order = decision["subject"], decision["data"]["order"]
        if subject in fresh:
            assert order >= latest.get((topic, subject), []), decision
            latest[topic, subject] = order


def _check_ids(world: World) -> None:
    meaning: dict[str, tuple[str, str, str]] = {}
    for topic, decision in world.sent:
        means = topic, decision["subject"], decision["data"]["verdict"]
        assert meaning.setdefault(decision["id"], means) == means


def _check_leaves(world: World) -> None:
    """Once a leave is done with, only late events are answered."""
    for subject, count in world.left.items():
        for topic, decision in world.sent[count:]:
            if decision["subject"] == subject:
                data, mode = decision["data"], "enforce" if topic == "decisions" else "report"
                trigger = "event", data["event"]["source"], data["event"]["id"]
                assert decision["id"] == decision_id(mode, SimpleNamespace(**data), trigger, data["verdict"])  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _small_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn looks at two sessions, so that everything happens in the midst of sweeps."""
    monkeypatch.setattr(sweeps, "TURN_SECONDS", -1)
    monkeypatch.setattr(sweeps, "LOOK", 2)
    monkeypatch.setattr(sweeps, "SLICE", 3)


def failing(scripts: Iterable[Script], sweeper: type[Sweeper] = Sweeper) -> Iterator[tuple[Script, AssertionError]]:
    for script in scripts:
        try:
            asyncio.run(check(script, sweeper))
        except AssertionError as exc:
            yield script, exc


def test_what_was_said_last_is_what_deciding_afresh_gives() -> None:
    for seed in SEEDS:
        for _, exc in failing([Script(seed)]):
            pytest.fail(f"seed {seed}: {exc}")


def test_clocks_that_are_wrong_by_an_hour_say_nothing_that_is_not_heard() -> None:
    for seed in SEEDS:
        try:
            asyncio.run(check_wild(Wild(seed)))
        except AssertionError as exc:
            pytest.fail(f"seed {seed}: {exc}")


def test_one_document_at_every_point_misses_nobody() -> None:
    for script, exc in failing(singles([None, *CRASHES])):
        pytest.fail(f"{script.steps}: {exc}")


# -- and that it would be seen if it did not -----------------------------------------------------------------------


class Deaf(Sweeper):
    """Doesn't hear of documents."""

    def accepted(self, revisions: Iterable[Revision], offset: int) -> None:
        return


class Forgetful(Sweeper):
    """Doesn't make up for what happened before it took a partition on."""

    def recovered(self) -> None:
        return


class Hasty(Sweeper):
    """When a document comes into force it sees those only whose sessions have been written down by then."""

    missed: Collection[bytes] = ()

    def accepted(self, revisions: Iterable[Revision], offset: int) -> None:
        self.missed = {_row(session) for session in self._keeper.views[0]} - self.world.table.kept.get(0, {}).keys()
        super().accepted(revisions, offset)

    def _walk(self, reach: Reach) -> Iterator[Any]:
        return (found for found in super()._walk(reach) if _row(found[3]) not in self.missed)


def _row(session: Session) -> bytes:
    return path_of(session.account, session.meeting, session.participation).encode()


@pytest.mark.parametrize("sweeper", [Deaf, Forgetful])
def test_a_sweeper_that_misses_something_is_found_out(sweeper: type[Sweeper]) -> None:
    assert next(failing(map(Script, SEEDS), sweeper), None) is not None


@pytest.mark.parametrize(("sweeper", "points"), [(Deaf, POINTS), (Hasty, POINTS[:2])])
def test_a_sweeper_that_misses_someone_is_found_out_wherever_it_does(sweeper: type[Sweeper], points: list[str]) -> None:
    assert {script.point for script, _ in failing(singles([None]), sweeper)} == set(points)
