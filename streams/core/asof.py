"""Documents as they were known up to any offset of the policy log, for whoever judges decisions that were made then.

An ``Index`` holds all that was accepted and answers for an instant, not for a state of the log: a revision that came
later is in force in it all the same. ``AsOf`` cuts a path's revisions at an offset. It keeps each state that a path had
once somebody asked for it, so that going through ten million decisions in any order costs a search in a short list.
"""

from bisect import bisect_right

from streams.core.index import Index, Slot


class AsOf:
    """The states of an index.

    Args:
        index: with every accepted revision; must not change any more.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._offsets: dict[str, list[int]] = {}  # by path, where its revisions are, in the log's order
        self._states: dict[tuple[str, int], Slot] = {}  # by path and how many of its revisions were known
        taken = sorted((r.appended_at, r.offset) for slot in index for r in slot.revisions)
        self._times = [at for at, _ in taken]
        self._latest = [-1]  # by how many revisions were appended, the highest offset among them
        for _, offset in taken:
            self._latest.append(max(self._latest[-1], offset))

    def reaching(self, account: str, meeting: str, offset: int) -> tuple[Slot, ...]:
        """The slots that reach a meeting, in the index's order, as they were with the log up to an offset."""
        states = (self._state(slot, offset) for slot in self._index.reaching(account, meeting))
        return tuple(state for state in states if state is not None)

    def offset_at(self, at: int) -> int:
        """How far the log had come at an instant (ms since the epoch) as far as accepted revisions go; -1: none yet."""
        return self._latest[bisect_right(self._times, at)]

    def _state(self, slot: Slot, offset: int) -> Slot | None:
        offsets = self._offsets.get(slot.path)
        if offsets is None:
            offsets = self._offsets[slot.path] = sorted(revision.offset for revision in slot.revisions)
        known = bisect_right(offsets, offset)
        if known == len(offsets):
            return slot
        if not known:
            return None
        state = self._states.get((slot.path, known))
        if state is None:
            state = self._states[slot.path, known] = Slot(slot.path)
            for revision in slot.revisions:
                if revision.offset <= offset:
                    state.put(revision)
        return state
