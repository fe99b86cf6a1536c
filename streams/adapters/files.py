"""Whether a file is still what it was: one ``stat``, some microseconds."""

import os
from pathlib import Path
from typing import TypeAlias

Look: TypeAlias = tuple[int, ...] | int
"""What tells one state of a file from another, or the error number where there is none."""


def look(path: Path) -> Look:
    """What a file is like now; links are followed."""
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno or 0
    # ctime too: it also moves when a file's rights do, or when its mtime was set back
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
