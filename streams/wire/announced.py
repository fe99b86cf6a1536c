"""Which keys may approve service documents by their age (ruling 32), read off what workers announced.

A key approves what the policy log took in at an instant when the trust set announced last on ``policies.status``, 24 h
before that instant or earlier, names it, and every one announced since: this very key (its thumbprint, not its kid),
held by the same holder, with ``service`` scope, neither ``on_behalf`` nor revoked. So a key's time begins when it is
announced *with* that scope, and begins anew when an announcement without it came in between.

All instants are append times, stamped by the brokers, and announcements of the last hour (``SETTLED``) before the
record are left out. Hence all workers, today's and a year from now, come to the same answer: a worker has read
``policies.status`` to its end, as of its start, before it judges the first service document
(``streams.agents.policies``), and follows it from then on. For a record at R it would have to lack an announcement from
before R - 1 h: one that was there at its start, or one that its reader did not get to for an hour. Whatever is
announced later than that cannot matter to R. (A key withdrawn in that hour has still been in public for 23.)

What stands on ``policies.status`` was written by workers. One that is compromised may announce a key before it is in
anyone's trust set; that spares the key its 24 hours, and nothing else: it counts only once it is in the trust set of
whoever judges, and until then everybody can read its name here. One that announces a set *without* a key keeps it from
approving anything new until 24 h after the set was announced rightly again, which the worker that speaks for the group
does at once, unless it is the one. What was approved before stands.

What was announced is held against later trust sets, too (``keys``): see ``streams.wire.trust.rewritten``.

The log keeps a year. Workers announce again each week, so a year of it is always covered; for documents older than
all that is kept, the first announcement kept stands in, unless it is the log's very first.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from streams.core import instants
from streams.core.status import AnnouncedKey
from streams.wire.trust import SERVICE, TrustedKey

KEY_AGE: Final = instants.DAY
"""How long a key has been announced before it approves service documents, ms."""
SETTLED: Final = instants.DAY // 24
"""How far a worker's reading of announcements may be behind without its judging otherwise than others, ms."""


class _Approver(NamedTuple):
    thumbprint: str
    holder: str


class _Announcement(NamedTuple):
    at: int
    approvers: frozenset[_Approver]


class Announced:
    """The announcements read so far. Asks no clock.

    Attributes:
        spoken_at: when workers said anything last, ms since the epoch; 0 where they never did. What the policy log took
            in later has been answered by none.
    """

    def __init__(self) -> None:
        self.spoken_at = 0
        self._log: list[_Announcement] = []
        self._keys: dict[tuple[str, str], AnnouncedKey] = {}
        self._cut = False

    @property
    def keys(self) -> list[AnnouncedKey]:
        """Every key that was ever announced, as it was said last.

        One that was said to be revoked stays so: a worker whose file is an older one takes nothing back.
        """
        return list(self._keys.values())

    def begins_cut(self) -> None:
        """The log no longer holds its first records: what was announced before is not known."""
        self._cut = True

    def note(self, keys: Iterable[AnnouncedKey], at: int) -> None:
        """Take in an announcement, in the log's order; ``at`` is its append time, ms since the epoch.

        A key with a revocation that is no time is passed over: no worker of ours wrote that.
        """
        keys = [key for key in keys if _is_readable(key)]
        for key in keys:
            before = self._keys.get((key.kid, key.thumbprint))
            if before is None or key.revoked is not None or not _is_revoked(before, at):
                self._keys[key.kid, key.thumbprint] = key
        said = _Announcement(at, frozenset(_Approver(k.thumbprint, k.holder) for k in keys if _approves(k, at)))
        last = self._log[-1] if self._log else None
        if last is None or last.approvers != said.approvers or last.at > at:  # else it was said again
            self._log.append(said)

    def old_enough(self, key: TrustedKey, at: int) -> bool:
        """Whether a key of the trust set may approve what the policy log took in at an instant, ms."""
        approver = _Approver(key.thumbprint, key.signer.holder)
        # by place in the log, not by time: a broker whose clock is ahead must not hide what is said after it
        for said in reversed(self._log):
            if said.at > at - SETTLED:
                continue
            if approver not in said.approvers:
                return False
            if said.at <= at - KEY_AGE:
                return True
        return self._cut and bool(self._log) and approver in self._log[0].approvers

    def since(self, key: TrustedKey, at: int) -> int | None:
        """From when on, as said up to an instant, a key was announced without a break; None where it is not."""
        began = None
        for said in reversed(self._log):
            if said.at > at:
                continue
            if _Approver(key.thumbprint, key.signer.holder) not in said.approvers:
                break
            began = said.at
        return began


def _approves(key: AnnouncedKey, at: int) -> bool:
    if SERVICE not in key.scopes or key.on_behalf:
        return False
    return not _is_revoked(key, at)


def _is_revoked(key: AnnouncedKey, at: int) -> bool:
    return key.revoked is not None and instants.parse(key.revoked) <= at


def _is_readable(key: AnnouncedKey) -> bool:
    try:
        _is_revoked(key, 0)
    except ValueError:
        return False
    return True
