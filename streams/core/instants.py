"""RFC 3339 times and the milliseconds since the Unix epoch that everything is compared in.

Decisions state their time in milliseconds and must be reproducible from it, so a document's window is rounded up to
the millisecond: ``not_before <= t`` and ``t < not_after`` then hold exactly for every whole-millisecond t.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
DAY: Final = 86_400_000
"""Milliseconds in a day."""
_FIRST: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1000
LATEST: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1000 + 999


def parse(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time, rounded up.

    Raises:
        ValueError: another format, no offset, or no such instant, or one that ``render`` could not say: in UTC and
            rounded up it is not within the years 1 to 9999. A leap second counts as the second after it.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-11-21T09:30:00Z")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    leap = second == 60
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError as exc:
        raise ValueError(f"no such time: {exc}") from None
    milliseconds = int(moment.timestamp() + leap) * 1000
    if match[9] is not None:
        hours, minutes = int(match[10]), int(match[11])
        if hours > 23 or minutes > 59:
            raise ValueError("no such offset")
        milliseconds -= (1 if match[9] == "+" else -1) * (hours * 60 + minutes) * 60_000
    if fraction := match[7]:
        whole, rest = int(fraction[:3].ljust(3, "0")), fraction[3:]
        milliseconds += whole + (1 if rest.strip("0") else 0)
    if not _FIRST <= milliseconds <= LATEST:
        raise ValueError("no such time in UTC: it has no year from 1 to 9999")
    return milliseconds


@lru_cache(maxsize=64)  # a chunk's events are decided at one instant
def render(milliseconds: int) -> str:
    """The RFC 3339 text of an instant, in UTC with three digits: ``2026-11-21T09:30:00.123Z``.

    Raises:
        ValueError: an instant outside the years 1 to 9999; ``parse`` returns none.
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:03d}Z"
