"""A worker in small, for tests of the ledger: it answers, sweeps and reminds by the core's rules, or is made not to."""

from __future__ import annotations

from typing import Any

import msgspec

from streams.core import address
from streams.core.asof import AsOf
from streams.core.charter import REMOVE
from streams.core.decide import decision, decision_again, judge_by
from streams.core.events import DecisionEvent, JoinEvent, LeaveData, LeaveEvent, Provenance
from streams.core.evidence import Bounds, Input, Said, World, said_at
from streams.core.facts import NOTHING_KNOWN, Facts
from streams.core.index import Index
from streams.core.ledger import BY_ADDRESS, Ledger, Span
from streams.core.policy import Mode
from streams.core.sessions import Session, begin, renew
from streams.core.sweep import NOTHING, decide_again, reminder
from tests.samples import CLEAN, NOON, PROVENANCE, event, join, revision

SECOND = 1000
PLACES = {"5.39.0.1": "FR", "8.8.8.8": "US", "no address": None}
ENGINE = PROVENANCE.engine


class Build:
    """A geo build that knows three addresses; in every second one they have changed countries."""

    def __init__(self, number: int) -> None:
        self.time = PROVENANCE.geo_time + number
        self._places = PLACES if number % 2 == 0 else {"5.39.0.1": "US", "8.8.8.8": "FR"}

    def facts(self, text: str) -> Facts:
        packed = address.parse(text)
        country = self._places[text]
        continent = {"FR": "EU", "US": "NA"}[country or ""]
        return Facts(packed, country, None, continent, None, CLEAN)


BUILDS = {f"build-{number}": Build(number) for number in range(30)}
"""Each newer than the one before."""


class Worker:
    """One partition, its logs, and the one who answers.

    Attributes:
        inputs: ``joins``, by participation's name.
        said: what was said, likewise.
    """

    def __init__(self) -> None:
        self.index = Index()
        self.at = NOON
        self.provenance: Provenance = msgspec.structs.replace(PROVENANCE, policy_offset=-1, geo_build="build-0")
        self.inputs: dict[str, list[Input]] = {}
        self.said: dict[str, list[Said]] = {}
        self.offset = 0
        self._words = 0
        self._log = 0
        self._sessions: dict[str, Session] = {}
        self._ended: dict[str, int] = {}

    # -- what happens --------------------------------------------------------------------------------------------

    def tick(self, seconds: float = 1) -> None:
        self.at += int(seconds * SECOND)

    def publish(self, value: dict[str, Any]) -> int:
        """Append a document; it is in force for what is decided from now on."""
        self.tick()
        offset, self._log = self._log, self._log + 1
        self.index.put(revision(value, offset=offset, appended_at=self.at))
        self.provenance = msgspec.structs.replace(self.provenance, policy_offset=offset)
        return offset

    def relocate(self) -> None:
        """The next geo build is taken up."""
        build = f"build-{self.provenance.geo_time - PROVENANCE.geo_time + 1}"
        self.provenance = msgspec.structs.replace(self.provenance, geo_build=build, geo_time=BUILDS[build].time)

    def send(self, made: JoinEvent | LeaveEvent, letters: int = 0) -> Input:
        """Append an event to ``joins``."""
        found = Input(self.offset, made, letters)
        if isinstance(made, JoinEvent) and PLACES.get(made.data.address) is None:
            found.letters |= BY_ADDRESS
        self.offset += 1
        self.inputs.setdefault(made.data.participation, []).append(found)
        return found

    def join(self, who: str, **fields: Any) -> Input:
        """A join is sent and answered."""
        found = self.send(joining(who, number=self.offset, **fields))
        self.answer(found)
        return found

    def leave(self, who: str) -> None:
        data = LeaveData(meeting="m-1", account="acme", participation=who)
        found = self.send(LeaveEvent("1.0", "doorward.leave.v1", "/edge/eu-1", f"left-{self.offset}", data))
        self._sessions.pop(who, None)
        self._ended[who] = max(self._ended.get(who, 0), found.offset)

    # -- what is said --------------------------------------------------------------------------------------------

    def slots(self) -> Any:
        return self.index.reaching("acme", "m-1")

    def facts(self, text: str) -> Facts:
        try:
            return BUILDS[self.provenance.geo_build].facts(text)
        except address.BadAddress:
            return NOTHING_KNOWN

    def answer(self, found: Input) -> None:
        """As ``SessionKeeper.join`` does."""
        self.tick()
        made: Any = found.event
        who, facts, offset, build = (
            made.data.participation,
            self.facts(made.data.address),
            found.offset,
            self.provenance.geo_build,
        )
        whose: Any = made.data
        if who in self._ended:
            offset = self._ended[who]
        else:
            session = self._sessions.get(who)
            if session is None:
                session = begin(made, facts, made.data.address.encode(), offset, build)
            elif not renew(session, made, facts, made.data.address.encode(), offset, build):
                facts = self.facts((session.sealed or b"").decode())
            session.facts, session.geo_build, self._sessions[who] = facts, build, session
            whose, offset = session, session.offset
        enforced, reported = judge_by(self.slots(), whose, facts, self.at)
        for mode, judgement in (("enforce", enforced), ("report", reported)):
            if judgement is not None:
                self.say(
                    who,
                    decision(made, facts, judgement, self.provenance, mode=mode, offset=offset, at=self.at, of=whose),
                    mode,
                )
        if who not in self._ended:
            session = self._sessions[who]
            session.cause = made.cause
            self._spoken(session, enforced.verdict, reported.verdict if reported else 0)

    def sweep(self) -> None:
        """As ``Sweeper`` does, over everybody."""
        self.tick()
        for who, session in self._sessions.items():
            facts = self.facts((session.sealed or b"").decode())
            change = decide_again(session, self.slots(), facts, self.provenance, self.at)
            session.facts, session.geo_build = facts, self.provenance.geo_build
            if change is None:
                continue
            cause, trigger = change.trigger
            for mode, judgement in (("enforce", change.enforced), ("report", change.reported)):
                if judgement is not None:
                    self.again(who, session, facts, judgement, mode, cause, trigger)
            if change.enforced is not None:
                session.cause = cause
            verdicts = [
                now.verdict if now else then
                for now, then in ((change.enforced, session.verdict), (change.reported, session.reported))
            ]
            self._spoken(session, *verdicts)

    def remind(self) -> None:
        """Removals are said again."""
        self.sweep()
        self.tick()
        for who, session in self._sessions.items():
            if session.verdict == REMOVE:
                facts = self.facts((session.sealed or b"").decode())
                judgement, reported = judge_by(self.slots(), session, facts, self.at)
                self.again(who, session, facts, judgement, "enforce", *reminder(session))
                session.reminders += 1
                self._spoken(session, session.verdict, (reported or NOTHING).verdict)

    def again(
        self, who: str, session: Session, facts: Facts, judgement: Any, mode: Mode, cause: Any, trigger: Any
    ) -> None:
        made = decision_again(
            session, facts, judgement, self.provenance, mode=mode, at=self.at, cause=cause, trigger=trigger
        )
        self.say(who, made, mode)

    def say(self, who: str, made: DecisionEvent, mode: Mode = "enforce") -> Said:
        return self.say_bytes(who, msgspec.json.encode(made), mode)

    def say_bytes(self, who: str, value: bytes, mode: Mode = "enforce") -> Said:
        said = said_at(self._words, mode, value)
        self._words += 1
        self.said.setdefault(who, []).append(said)
        return said

    def _spoken(self, session: Session, verdict: int, reported: int) -> None:
        session.verdict, session.reported = verdict, reported
        session.policy_offset, session.decided_at = self.provenance.policy_offset, self.at

    # -- what is held against it ---------------------------------------------------------------------------------

    def world(self, **more: Any) -> World:
        known = {"atlas": BUILDS.get, "engine": ENGINE, "contest": PROVENANCE.contest, "builds": set(BUILDS)}
        return World(**{"documents": AsOf(self.index), **known, **more})

    def span(self, **more: Any) -> Span:
        usual = {"partition": 0, "bounds": Bounds(0, self.offset, True), "committed": self.offset, "since": 0}
        return Span(**{**usual, "end": self.at + 61 * SECOND, "settled": self.at + SECOND, "ttl": 10**8, **more})

    def ledger(self, span: Span | None = None, **world: Any) -> Ledger:
        """The ledger of all of it, closed."""
        span = span or self.span()
        for each in (each for inputs in self.inputs.values() for each in inputs):
            each.owed = each.offset < span.committed
        ledger = Ledger(span, self.world(**world))
        ledger.builds.add(self.provenance.geo_build)
        for who in self.inputs.keys() | self.said.keys():
            ledger.check(f"acme/m-1/{who}", self.inputs.get(who, []), self.said.get(who, []))
        ledger.close()
        return ledger


def joining(who: str, address: str = "5.39.0.1", number: int = 0, **fields: Any) -> JoinEvent:
    told = {name: fields.pop(name) for name in ("id", "type", "source") if name in fields}
    return event(join(**{"participation": who, "address": address, **fields}), **{"id": f"e{number}", **told})
