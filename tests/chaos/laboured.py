"""The sandbox's worker, except that each event takes it as long as a test says: what it can decide is ours to set.

The program is the real one, wrapped from outside, here. A chunk's time passes before it is answered, and all other work
of the process goes on meanwhile.
"""

import asyncio
import os
import time
from functools import wraps
from pathlib import Path

from streams.agents.joins import JoinsAgent
from streams.dev import worker
from streams.runtime.source import Chunk


def _load(folder: Path) -> Path:
    return folder.with_suffix(".load")


LOOK_SECONDS = 0.05


def _seconds(folder: Path) -> float:
    try:
        return float(_load(folder).read_text())
    except FileNotFoundError:
        return 0.0


def lay_on(folder: Path, seconds: float) -> None:
    """Have each event take the worker with this data folder so long from now on."""
    draft = folder.with_suffix(".draft")
    draft.write_text(str(seconds))
    draft.rename(_load(folder))


def wrap(folder: Path) -> None:
    """Wrap the agent's own method."""
    answer = JoinsAgent.answer

    @wraps(answer)
    async def laboured(self: JoinsAgent, chunk: Chunk) -> None:
        began = time.monotonic()
        while time.monotonic() - began < len(chunk) * _seconds(folder):  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(LOOK_SECONDS)
        await answer(self, chunk)

    JoinsAgent.answer = laboured


if __name__ == "__main__":
    wrap(Path(os.environ["DOORWARD_DATA"]))
    worker.main()
