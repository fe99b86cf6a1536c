"""The trust set's file, watched while a worker runs: keys are added and revoked without a restart.

A file that cannot be used changes nothing: the set in use goes on counting, and that is said, once for each state of
the file. A file that says the same in other words changes nothing either.

Nor is a set of use that says something else of the past (``streams.wire.trust.rewritten``): the log would be judged by
it from its beginning, and one editor of the file could have documents count no longer that were accepted, or that were
retracted count again. A running worker holds it against the set in use and against all that was ever announced on
``policies.status``. One that starts knows no set but the file's, so it holds that against the announcements alone, and
where they contradict it ends before it has judged or said anything else: those that run go on by the set they have.

Where nothing was announced, at the very first start or because ``policies.status`` was lost, there is nothing to hold a
set against: it is taken as it is, and that is logged. So whoever may delete that topic may take keys out of the set;
that is seen, since every key's day (ruling 32) begins anew. Announced are ``streams.core.status.MOST_KEYS`` keys at
most, those for service documents first: of more, only a running worker misses all.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from streams.adapters.files import Look, look
from streams.agents.speaker import Speaker
from streams.core import status
from streams.wire.announced import Announced
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust, rewritten

log = structlog.get_logger(__name__)


class TrustContradicted(Exception):
    """The trust set that a worker was started with contradicts what was announced; one line that says how."""


class TrustWatch:
    """Watches the file.

    Args:
        path: of the trust set.
        trust: the set in use.
        taken: given each new set.
        announced: what ``policies.status`` says of keys; None: sets may say what they like, as in the sandbox.
        speaker: told of files that cannot be used.
        worker: its id.
    """

    def __init__(
        self,
        path: Path,
        trust: TrustSet,
        *,
        taken: Callable[[TrustSet], None],
        announced: Announced | None,
        speaker: Speaker,
        worker: str,
    ) -> None:
        self._path = path
        self._trust = trust
        self._taken = taken
        self._announced = announced
        self._speaker = speaker
        self._worker = worker
        self._seen: Look | None = None  # whatever it was at the start, it is read once more
        self._offered: TrustSet | None = None  # the file's, while it is refused
        self._refused = ""  # for this reason

    async def begin(self) -> None:
        """Call once ``policies.status`` was read, before anything is judged by the set that the worker started with.

        Raises:
            TrustContradicted: see there. It has been said.
        """
        if self._announced is None:
            return
        if not self._announced.keys:
            log.warning("no trust set was ever announced: this one is taken as it is", digest=self._trust.digest)
        # Revoked while no worker ran: nothing has been answered since then, so nothing is taken back.
        if problem := rewritten(self._announced.keys, self._trust, self._announced.spoken_at):
            self._refuse(f"{self._path}: {problem}", in_use="none")
            await self._speaker.speak()
            raise TrustContradicted(f"trust set {self._path}: {problem}")

    async def look(self) -> None:
        """Call once a second. A large file is read and checked in a thread."""
        seen = look(self._path)
        if seen != self._seen:
            self._seen, self._offered, self._refused = seen, None, ""
            try:
                self._offered = await asyncio.to_thread(read_trust, self._path)
            except TrustUnavailable as exc:
                self._refuse(str(exc), in_use=self._trust.digest)
        trust = self._offered
        if trust is None:
            return
        # Asked again each time: another worker may have taken it, and said so, where this one came too late.
        if trust.digest != self._trust.digest:
            if problem := self._rewritten(trust):
                if problem != self._refused:
                    self._refused = problem
                    self._refuse(f"{self._path}: {problem}", in_use=self._trust.digest)
                return
            log.info("trust set changed; judging the policy log by it", digest=trust.digest, keys=len(trust.keys))
            self._trust = trust
            self._taken(trust)
        self._offered = None

    def _rewritten(self, trust: TrustSet) -> str | None:
        if self._announced is None:
            return None
        before = {(key.kid, key.thumbprint): key for key in (*self._trust.announced(), *self._announced.keys)}
        return rewritten(before.values(), trust, _now())

    def _refuse(self, reason: str, *, in_use: str) -> None:
        log.error("trust set refused", reason=reason, in_use=in_use)
        self._speaker.notice(status.trust_refused(self._worker, reason, in_use, _now()))


def _now() -> int:
    return time.time_ns() // 1_000_000
