"""What sweeps came to, as ``policy.applied`` tells it."""

from collections import Counter

from streams.core import status


class SweepTally:
    """Counts since it was last told.

    Attributes:
        decided: sessions decided again for a document.
        changed: of those, whose verdict changed, by what it became.
        trials: what documents in report mode would have done.
    """

    def __init__(self) -> None:
        self.decided = 0
        self.changed: Counter[str] = Counter()
        self.trials: list[status.Trial] = []

    def report(self, sessions: int) -> status.Sweep | None:
        """All of it, with how many sessions are live; None where none was decided again."""
        if not self.decided:
            return None
        return status.Sweep(
            sessions=sessions,
            decided=self.decided,
            admit=self.changed["admit"],
            alert=self.changed["alert"],
            remove=self.changed["remove"],
            trials=self.trials,
        )
