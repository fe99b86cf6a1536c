"""An earlier head, or an earlier export, held against the policy log as it is now.

A head tells that something up to it is not as it was; an export tells what, record by record.
"""

from collections.abc import Mapping

from streams.wire.chain import Head


class Earlier:
    """What was known of the log before.

    Args:
        head: the chain's, at that time.
        links: offset to that record's part in the chain, from an export; without, only the head is compared.
    """

    def __init__(self, head: Head, links: Mapping[int, bytes] | None = None) -> None:
        self._head, self._links = head, links
        self._last = -1
        self._met = head.offset < 0
        self._told = False  # with an export, what broke the chain is told where it broke

    @property
    def offset(self) -> int:
        """Of the last record that the earlier head stands for; -1 where there was none."""
        return self._head.offset

    def see(self, offset: int, linked: bytes, head: Head) -> list[str]:
        """Compare the next record: its part in the chain, and the chain after it. Returns findings, one line each."""
        found = []
        if self._links is not None and offset <= self._head.offset:
            found += self._missing(offset)
            if offset not in self._links:
                found.append(f"offset {offset}: this record was not there")
            elif self._links[offset] != linked:
                found.append(f"offset {offset}: the record was altered")
        self._last, self._told = offset, self._told or bool(found)
        if offset == self._head.offset:
            self._met = True
            if head.digest != self._head.digest and not self._told:
                found.append(
                    f"offset {offset}: the chain is {head}, not {self._head}: an earlier record is not as it was"
                )
        return found

    def end(self) -> list[str]:
        """What is still missing when the log has ended."""
        found = self._missing(self._head.offset + 1)
        if not self._met and not found:
            found.append(f"offset {self._head.offset}: the record that the earlier head stands for is missing")
        return found

    def _missing(self, before: int) -> list[str]:
        if self._links is None:
            return []
        return [f"offset {at}: the record is missing" for at in range(self._last + 1, before) if at in self._links]
