"""The sandbox's worker, with oddities that no setting gives: an older version, a defect of our own, too much work.

The program is the real one; it is wrapped from outside, here and by `tests.chaos.laboured`. `ODD_VERSION` is the
version that it says it is. Where the file `ODD_DEFECT` is there as a worker starts, deciding raises for every meeting
whose name begins with `BROKEN`, as in a release that has a defect.
"""

import os
from pathlib import Path
from typing import Any, Final

import streams
from streams.wire import cloudevents

BROKEN: Final = "broken-"


def wrap() -> None:
    """Make the worker odd, before the modules that it is of are imported."""
    streams.__version__ = os.environ.get("ODD_VERSION", streams.__version__)
    if not Path(os.environ["ODD_DEFECT"]).exists():
        return
    decode = cloudevents.decode

    def defective(*arguments: Any, **options: Any) -> Any:
        event = decode(*arguments, **options)
        if event.data.meeting.startswith(BROKEN):
            raise ZeroDivisionError
        return event

    cloudevents.decode = defective


if __name__ == "__main__":
    wrap()
    from streams.dev import worker
    from tests.chaos import laboured

    laboured.wrap(Path(os.environ["DOORWARD_DATA"]))
    worker.main()
