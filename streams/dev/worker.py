"""A worker of the sandbox: the real worker, with a clock that may be shifted (ruling 29). Started by ``sandbox``.

The sandbox's keys are made on the spot, and its anonymity files are whatever is at hand. So its workers let keys
approve and files count at once, unless told to be strict (rulings 32 and 33). Both are arguments, not settings: no
environment makes a deployment's worker do so. Decisions say ``(sandbox)`` once there is a service document.

Usage: ``python -m streams.dev.worker [CLOCK_SHIFT_MS [strict]]``; everything else comes from the environment.
"""

import sys

from pydantic import ValidationError

from streams import app
from streams.settings import Settings


def main() -> None:
    """Run until a signal; a bad setting ends it with a line and exit code 2, what cannot be had with 3."""
    try:
        app.run(
            Settings(),
            clock_shift=int(sys.argv[1]) if len(sys.argv) > 1 else 0,
            sandbox="strict" not in sys.argv[2:],
        )
    except ValidationError as exc:
        for error in exc.errors():
            name = "_".join(map(str, error["loc"])).upper()
            print(f"doorward: DOORWARD_{name}: {error['msg']}", file=sys.stderr)  # noqa: T201  # a program's last word
        sys.exit(2)
    except app.Unavailable as exc:
        print(f"doorward: {exc}", file=sys.stderr)  # noqa: T201  # a program's last word
        sys.exit(3)


if __name__ == "__main__":
    main()
