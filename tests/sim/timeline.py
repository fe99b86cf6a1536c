"""Time of the simulation: an event loop whose clock jumps to whatever is due next.

Nothing waits and nothing is read from the machine, so that a run is a function of its script: the same calls in the
same order, and the same instants to the last bit.
"""

import asyncio
from heapq import heappop

STEP_SECONDS = 1e-5
"""What a turn of the loop takes when something is ready, so that crashes and rebalances can fall between two of them.
"""


class Stalled(Exception):
    """Nothing is ready and nothing is due: everybody waits for somebody else."""


class Timeline(asyncio.BaseEventLoop):
    """An event loop in simulated time, seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0
        self.set_exception_handler(lambda loop, context: None)  # answers to those who died

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        """A turn: asyncio's own, less the machine, and a third of its cost."""
        ready, due = self._ready, self._scheduled
        if ready:
            self._now += STEP_SECONDS
        elif due:
            self._now = max(self._now, due[0]._when)
        else:
            raise Stalled
        while due and due[0]._when <= self._now:
            handle = heappop(due)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _write_to_self(self) -> None:
        pass
