"""How far this worker has got with the policy log: the ``applied`` status, and the times that go with it.

Said once for an offset, when everything that it changed on live calls has been said and acknowledged; and again where
another trust set made another index of the same log. Deciding never waits for it.
"""

import time
from collections.abc import Callable

from streams.adapters.metrics import Metrics
from streams.agents.speaker import Say
from streams.agents.sweeps import Sweeper
from streams.core import status
from streams.core.index import Index


class Progress:
    """Keeps the times and says them.

    Args:
        worker: its id.
        sweeper: asked what is done.
        metrics: where times are counted.
        clock: ms since the epoch.
        clock_shift: ms by which that clock is ahead of the brokers' on purpose.

    Attributes:
        offset: the last one in force, -1 for an empty log, None before the log was read.
    """

    def __init__(
        self, *, worker: str, sweeper: Sweeper, metrics: Metrics, clock: Callable[[], int], clock_shift: int
    ) -> None:
        self.offset: int | None = None
        self._worker = worker
        self._sweeper = sweeper
        self._metrics = metrics
        self._clock = clock
        self._clock_shift = clock_shift
        self._index = Index()
        self._appended_at: int | None = None
        self._at = 0  # in force since, ms since the epoch
        self._since: float | None = None  # when the earliest offset not yet said came into force, monotonic seconds
        self._swept_at: float | None = None  # monotonic seconds
        self._timings: dict[str, float] = {}
        self._said: tuple[int, str] | None = None
        self._unsaid: status.AppliedEvent | None = None  # made, and not acknowledged yet

    def judged(self, seconds: float) -> None:
        """A batch of the log was judged."""
        self._timings = {"judge": seconds}

    def read_whole(self, seconds: float) -> None:
        """The whole log was read."""
        self._timings = {"start": seconds}

    def applied(self, index: Index, offset: int, appended_at: int | None, *, is_deciding: bool) -> None:
        """Joins are decided by the log up to an offset from now on.

        Args:
            index: what it comes to.
            offset: -1 for an empty log.
            appended_at: when the log took in the record there, ms since the epoch.
            is_deciding: whether joins were being decided before, so that the time it took is one to count.
        """
        self._index, self.offset, self._appended_at = index, offset, appended_at
        self._at = self._clock()
        self._since = time.monotonic() if self._since is None else self._since
        self._metrics.show_index(index.digest, len(index), offset)
        if is_deciding and appended_at is not None:
            self._metrics.policy_in_force.observe_all([self._in_force()])

    def swept(self) -> None:
        """A sweep has got to its end, and what it said is acknowledged."""
        self._swept_at = time.monotonic()

    async def say(self, say: Say) -> None:
        """Say how far this worker has got, where that is new and swept. What could not be said is said as it was."""
        if self.offset is None or not self._sweeper.has_swept(self.offset):
            return
        reached = self.offset, self._index.digest
        if self._unsaid is None and reached == self._said:
            return
        event = self._unsaid = self._unsaid or self._event(self.offset)
        await say([(event.subject.encode(), status.encode(event))])
        self._unsaid, self._said = None, (event.data.offset, event.data.digest)
        self._metrics.policy_applied.set(event.data.offset)

    def _in_force(self) -> float:
        """Seconds from the latest record's append until joins were decided by it."""
        return max(0.0, (self._at - self._clock_shift - (self._appended_at or 0)) / 1000)

    def _event(self, offset: int) -> status.AppliedEvent:
        timings = dict(self._timings)
        if self._appended_at is not None and "start" not in timings:
            timings["in_force"] = self._in_force()
        swept = self._sweeper.report()
        if swept is not None and self._swept_at is not None and self._since is not None:
            timings["swept"] = max(0.0, self._swept_at - self._since)
            self._metrics.policy_swept.observe_all([timings["swept"]])
        self._since = None
        return status.applied(
            status.AppliedData(
                worker=self._worker,
                offset=offset,
                digest=self._index.digest,
                documents=len(self._index),
                appended_at=self._appended_at,
                applied_at=self._at - self._clock_shift,
                timings=timings,
                sweep=swept,
            )
        )
