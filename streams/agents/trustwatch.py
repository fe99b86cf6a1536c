"""The trust set's file, watched while a worker runs: keys are added, changed and revoked without a restart.

A file that cannot be used changes nothing: the set in use goes on counting, and that is said, once for each state of
the file. A file that says the same in other words changes nothing either.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from streams.adapters.files import Look, look
from streams.agents.speaker import Speaker
from streams.core import status
from streams.wire.trust import TrustSet, TrustUnavailable, read_trust

log = structlog.get_logger(__name__)


class TrustWatch:
    """Watches the file.

    Args:
        path: of the trust set.
        digest: of the set in use.
        taken: given each new set.
        speaker: told of files that cannot be used.
        worker: its id.
    """

    def __init__(
        self, path: Path, digest: str, *, taken: Callable[[TrustSet], None], speaker: Speaker, worker: str
    ) -> None:
        self._path = path
        self._digest = digest
        self._taken = taken
        self._speaker = speaker
        self._worker = worker
        self._seen: Look | None = None  # whatever it was at the start, it is read once more

    async def look(self) -> None:
        """Call once a second. A large file is read and checked in a thread."""
        seen = look(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            trust = await asyncio.to_thread(read_trust, self._path)
        except TrustUnavailable as exc:
            log.error("trust set refused; the one in use goes on counting", reason=str(exc), in_use=self._digest)
            now = time.time_ns() // 1_000_000
            self._speaker.notice(status.trust_refused(self._worker, str(exc), self._digest, now))
            return
        if trust.digest != self._digest:
            log.info("trust set changed; judging the policy log by it", digest=trust.digest, keys=len(trust.keys))
            self._digest = trust.digest
            self._taken(trust)
