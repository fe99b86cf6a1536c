"""Which anonymity files service documents may rely on (charter C4, ruling 33).

A service document removes only joins known not to come through tor, a VPN or a proxy, and mostly that is known by an
anonymity database *not* listing the address. So a stale, cut or empty one would have people removed. The worker counts
such a file only while it is younger than a set age, at least of a set size, and lists its canaries: addresses that the
operator knows to be anonymised. What does not count still answers owners' documents.

Canaries come from the manifest (those that name ``tor``, ``vpn``, ``proxy`` or ``relay``; a file that lacks one is not
even opened) and from a setting: each of the setting's is listed by some file, and a file without any in the manifest
lists at least one of them. A file that has neither does not count: nothing would tell it from an empty one.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from streams.core.facts import ANONYMISED, RELAY

VOUCHED: Final = "vouched"
UNASKED: Final = "unasked"
COUNTING: Final = frozenset((VOUCHED, UNASKED))
"""The verdicts of files that service documents may rely on."""
REASONS: Final = ("aged", "small", "no-canaries", "canaries")
"""The verdicts of all others: why they don't count."""


class Standards(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an anonymity file.

    Attributes:
        max_age: ms since its build; None: any.
        min_size: bytes.
        canaries: addresses, of which each must be listed; None: no canaries are asked for.
    """

    max_age: int | None
    min_size: int
    canaries: tuple[str, ...] | None = ()


ANY_FILE: Final = Standards(max_age=None, min_size=0, canaries=None)
"""What the sandbox asks: nothing, and its verdict says so."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An anonymity file in use.

    Attributes:
        epoch: its build time, Unix seconds.
        size: in bytes.
        has_canaries: whether the manifest has canaries of anonymised connections for it.
        lists: those of the setting's canaries that it lists.
    """

    epoch: int
    size: int
    has_canaries: bool
    lists: frozenset[str]


def verdicts(standards: Standards, files: Sequence[Candidate], at: int) -> list[str]:
    """What each file is worth at an instant, ms since the epoch: ``vouched``, or why it does not count.

    Where nothing is asked it is ``unasked``, and counts. The reasons are ``aged``, ``small``, ``no-canaries`` (none are
    known for it) and ``canaries`` (some are not found).
    """
    wanted = frozenset(standards.canaries or ())
    is_complete = wanted <= frozenset().union(*(file.lists for file in files))
    return [_verdict(standards, file, at, is_complete=is_complete) for file in files]


def _verdict(standards: Standards, file: Candidate, at: int, *, is_complete: bool) -> str:
    if standards == ANY_FILE:
        return UNASKED
    if standards.max_age is not None and at - file.epoch * 1000 > standards.max_age:
        return "aged"
    if file.size < standards.min_size:
        return "small"
    if standards.canaries is None or (file.has_canaries and is_complete):
        return VOUCHED
    if not standards.canaries:
        return "no-canaries"
    return VOUCHED if is_complete and file.lists else "canaries"


def is_listed(connection: int) -> bool:
    """Whether a file says of an address that it is anonymised; ``connection`` as in ``layouts.Finding``."""
    return connection != 0 and not connection & ~(ANONYMISED | RELAY)
