"""What was read back of a participation, and what it is held against: the material of proofs and of the ledger.

What may live here: values, and how a record on a topic of decisions becomes one. Judging them is for
``streams.core.proof`` (one decision) and ``streams.core.ledger`` (all of it).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from streams.core import instants
from streams.core.address import BadAddress
from streams.core.asof import AsOf
from streams.core.decide import decision_id
from streams.core.events import DecisionEvent, EventRef, JoinEvent, LeaveEvent
from streams.core.facts import NOTHING_KNOWN, Facts
from streams.core.messages import Language
from streams.core.policy import Mode

_decode = msgspec.json.Decoder(DecisionEvent).decode


class Atlas(Protocol):
    """The geo files of one build."""

    time: int
    """The newest build epoch among them, Unix seconds."""

    facts: Callable[[str], Facts]
    """Of an address; raises BadAddress."""


class World(msgspec.Struct):
    """What all decisions are held against.

    Attributes:
        documents: every accepted one.
        refused: by offset, path and revision of records that are refused by the trust set at hand, which workers may
            have taken by another.
        atlas: gives a build's files by its name; None where they are not at hand.
        builds: geo builds that were in use, as far as is known.
        contest: the deployment's contest address.
        written_in: the language of its receipts.
        engine: the version that decides again.
    """

    documents: AsOf
    atlas: Callable[[str], Atlas | None]
    engine: str
    contest: str | None = None
    written_in: Language = "en"
    refused: Mapping[int, tuple[str, int]] = {}
    builds: set[str] = set()


class Input(msgspec.Struct):
    """An event on ``joins``.

    Attributes:
        offset: where.
        event: normalised.
        letters: what its dead letters said, as ``streams.core.ledger`` has it.
        owed: whether an answer must be there: it is committed, and of the time looked at.
    """

    offset: int
    event: JoinEvent | LeaveEvent
    letters: int = 0
    owed: bool = True

    @property
    def ref(self) -> EventRef:
        """What a decision calls it."""
        return EventRef(self.event.source, self.event.id)


class Said(msgspec.Struct):
    """A decision as it lies on a topic.

    Attributes:
        offset: on its topic.
        mode: which topic that is.
        value: the record's.
        decision: the same, decoded.
        is_answer: whether its id is that of an answer to the event it names.
    """

    offset: int
    mode: Mode
    value: bytes
    decision: DecisionEvent
    is_answer: bool


class NoDecision(ValueError):
    """Bytes that are no decision that anybody could have made."""


def said_at(offset: int, mode: Mode, value: bytes) -> Said:
    """A record on a topic of decisions. Raises NoDecision."""
    try:
        decision = _decode(value)
        instants.render(decision.data.order[3])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as exc:
        raise NoDecision(str(exc)) from None
    data = decision.data
    if not all(-(2**63) <= number < 2**63 for number in (data.policy_offset, *data.order)):
        raise NoDecision("a number beyond 64 bits")
    answer = id_of(mode, decision, ("event", data.event.source, data.event.id))
    return Said(offset, mode, value, decision, answer == decision.id)


class Bounds(NamedTuple):
    """Which part of a partition of ``joins`` was read: from an offset up to another, not included.

    ``is_end``: whether that was the log's end when the decisions had been read, so that nothing can lie behind it.
    """

    first: int
    stop: int
    is_end: bool


def id_of(mode: Mode, decision: DecisionEvent, trigger: tuple[str, ...]) -> str:
    """What a decision's id would be if a trigger had called for it (``decide.decision_id``)."""
    data = decision.data
    return decision_id(mode, data, trigger, data.verdict)  # type: ignore[arg-type]  # only its three ids are read


def located(atlas: Atlas, address: str) -> Facts:
    """What a build says of an address; nothing of one that is none (design §4, rule 7)."""
    try:
        return atlas.facts(address)
    except BadAddress:
        return NOTHING_KNOWN
