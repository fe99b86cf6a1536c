"""A worker of the sandbox: the real worker, with a clock that may be shifted (ruling 29). Started by ``sandbox``.

Usage: ``python -m streams.dev.worker [CLOCK_SHIFT_MS]``; everything else comes from the environment.
"""

import sys

from streams import app
from streams.settings import Settings


def main() -> None:
    """Run until a signal; what cannot be had ends it with one line and exit code 3."""
    try:
        app.run(Settings(), clock_shift=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    except app.Unavailable as exc:
        print(f"doorward: {exc}", file=sys.stderr)  # noqa: T201  # a program's last word
        sys.exit(3)


if __name__ == "__main__":
    main()
