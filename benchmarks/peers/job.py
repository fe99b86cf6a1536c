"""The job that every Python peer does, so that nothing but the engine around it differs: a record in, bytes out.

Strict decoding, the key's check, geography, judging, ids and encoding are Doorward's own core. With a folder in
``SESSIONS`` live participations are remembered too, as the worker does it: the events of each in order, addresses
sealed, and a stamped record for the changelog of each that an event touched. What a peer adds is what it is a peer in:
reading, sending, the changelog, RocksDB, commits.

Not here, and only the worker's: dead letters, report-mode decisions, metrics, traces, the policy log, sweeps, the
forgetting of what has ended.
"""

import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from streams import __version__
from streams.adapters.geo import Geo
from streams.adapters.iso import vocabulary
from streams.adapters.metrics import Metrics
from streams.adapters.seal import Sealer
from streams.agents.decider import Decider
from streams.agents.sessions import Draft, SessionKeeper
from streams.core.events import Event, LeaveEvent, Provenance
from streams.core.policy import path_of
from streams.core.sessions import AccountMismatch, Ended, Session, Sessions
from streams.runtime.frames import Stamps, frame, is_genuine, said, unframe
from streams.wire import cloudevents, documents, sessionrecord, signed
from streams.wire.cloudevents import Header, Malformed

LATENESS, TTL, REMIND = 21_600_000, 86_400_000, 30_000
"""The worker's own settings, ms."""


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def decider(policies: Path, geo: Path) -> Decider:
    """Decides by a folder of plain documents and one geo file."""
    placed, problems = documents.read_folder(policies)
    index, findings = signed.index_of_unsigned(placed, vocabulary())
    if problems or findings:
        raise SystemExit(f"the policies have problems: {problems} {findings}")
    located = Geo.open([geo], vocabulary())
    return Decider(index, located.facts, Provenance(0, located.build, located.time, None, __version__))


class Job:
    """Decides records, as the environment says.

    Attributes:
        sessions: the folder for state; None: nothing is remembered.
    """

    def __init__(self) -> None:
        self.sessions = Path(os.environ["SESSIONS"]) if "SESSIONS" in os.environ else None
        self._decider = decider(Path(os.environ["POLICIES"]), Path(os.environ["GEO"]))
        self._draft: Draft = {}
        self._number = now()  # rises with every owner of the partitions, as a frame's number has to
        if self.sessions is not None:
            self._sealer = Sealer.read([Path(os.environ["DOORWARD_SEAL_KEYS"])])
            self._keeper = SessionKeeper(
                self._decider, self._sealer, Metrics(), lateness=LATENESS, ttl=TTL, remind=REMIND
            )

    def event(self, key: bytes | None, value: bytes | None, headers: Iterable[Header] | None) -> Event | None:
        """The event in a record; None where it would be a dead letter."""
        try:
            event = cloudevents.decode(value, headers or ())
        except Malformed:
            return None
        return event if key == event.data.meeting.encode() else None

    def answer(self, event: Event, partition: int, offset: int, at: int) -> bytes | None:
        """The decision on an event, encoded; None on a leave."""
        if self.sessions is None:
            if isinstance(event, LeaveEvent):
                return None
            return cloudevents.encode(self._decider.answer(event, offset, at).decision)
        if partition not in self._keeper.views:
            self._keeper.views[partition] = Sessions()
        if isinstance(event, LeaveEvent):
            self._keeper.leave(partition, event, offset, at, self._draft)
            return None
        try:
            answer = self._keeper.join(partition, event, offset, at, self._draft)
        except Malformed:
            return None
        return cloudevents.encode(answer.decision)

    def touched(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Partition, key and stamped record of each participation touched since last asked."""
        draft, self._draft = self._draft, {}
        for (partition, subject), state in draft.items():
            assert state is not None, "nothing here forgets"
            payload = sessionrecord.encode(state)
            stamp = self._sealer.stamp(said(partition, self._number, subject, payload))
            yield partition, subject, frame(self._number, payload, stamp)

    def recall(self, event: Event, partition: int, stored: Callable[[bytes], bytes | None]) -> None:
        """Look a participation up in what the engine has stored, where this process knows nothing of it yet.

        For engines that hand out their state a key at a time, and so know only in this way after a restart.
        """
        view, data = self._keeper.views.setdefault(partition, Sessions()), event.data
        subject = path_of(data.account, data.meeting, data.participation).encode()
        try:
            if subject in view.ended or view.find(data.account, data.meeting, data.participation) is not None:
                return
        except AccountMismatch:  # which is for `answer` to say
            return
        value = stored(subject)
        state = None if value is None else opened(self._sealer, partition, subject, value)
        if isinstance(state, Ended):
            view.ended[subject] = state
        elif state is not None:
            view.add(state)


class Row(NamedTuple):
    """A stored row as `streams.runtime.frames` reads it: a record of the changelog."""

    key: bytes
    value: bytes
    headers: tuple[()] = ()
    offset: int = -1
    timestamp: int = -1


def opened(stamps: Stamps, partition: int, key: bytes, value: bytes) -> Session | Ended | None:
    """What a framed row says; None where it bears no genuine stamp."""
    row = Row(key, value)
    content = unframe(row)
    if content is None or content[1] is None or not is_genuine(stamps, partition, row, content):
        return None
    return sessionrecord.decode(content[1])


def settle() -> None:
    """As the worker does once it has started: what is alive is out of the garbage collector's sight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
