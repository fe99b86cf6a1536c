"""Events in and out, as msgspec Structs: the shapes on the wire and the only source of ``schemas/events``.

In: CloudEvents 1.0 ``doorward.join.v1``, ``.update.v1`` and ``.leave.v1``. Out: ``doorward.admit.v1``, ``.alert.v1``
and ``.remove.v1``. Unknown fields are ignored, required ones enforced, and no field asks for a name, an e-mail
address or a user (charter C9). Turning bytes into these and back is ``streams.wire``.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streams.core.messages import Language
from streams.core.policy import Class, Verdict

JOIN: Final = "doorward.join.v1"
UPDATE: Final = "doorward.update.v1"
LEAVE: Final = "doorward.leave.v1"

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=128, description="Any 1 to 128 characters.")]
Role: TypeAlias = Literal["host", "cohost", "participant", "guest"]
Stage: TypeAlias = Literal["lobby", "live"]
Cause: TypeAlias = Literal["join", "update", "policy", "geo", "clock"]
OutcomeName: TypeAlias = Literal["rule", "default", "unknown"]
Sequence: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
NonEmpty: TypeAlias = Annotated[str, Meta(min_length=1)]


class JoinData(msgspec.Struct, gc=False):
    """Who joined, from where. ``null`` for an optional field counts as absent (ruling 27); see ``normalised``."""

    meeting: Id
    account: Id
    participation: Id
    address: Annotated[str, Meta(description="IPv4 or IPv6 as the backend's edge saw it.")]
    role: Role | None = "participant"
    stage: Stage | None = "live"
    sequence: Sequence | None = None


class LeaveData(msgspec.Struct, gc=False):
    """Who left."""

    meeting: Id
    account: Id
    participation: Id
    sequence: Sequence | None = None


class JoinEvent(msgspec.Struct, gc=False):
    """A join or an update: one connection of one person to one meeting began or changed."""

    specversion: Literal["1.0"]
    type: Literal["doorward.join.v1", "doorward.update.v1"]
    source: NonEmpty
    id: NonEmpty
    data: JoinData
    time: Time | None = None

    @property
    def cause(self) -> Cause:
        """What a decision on this event gives as its cause."""
        return "join" if self.type == JOIN else "update"


class LeaveEvent(msgspec.Struct, gc=False):
    """A participation ended."""

    specversion: Literal["1.0"]
    type: Literal["doorward.leave.v1"]
    source: NonEmpty
    id: NonEmpty
    data: LeaveData
    time: Time | None = None


Event: TypeAlias = JoinEvent | LeaveEvent


def normalised(data: JoinData) -> JoinData:
    """Put the defaults where the event said ``null``; changes and returns ``data``."""
    if data.role is None:
        data.role = "participant"
    if data.stage is None:
        data.stage = "live"
    return data


class EventRef(msgspec.Struct, gc=False):
    """The event a decision answers."""

    source: str
    id: str


class Reason(msgspec.Struct, gc=False):
    """Which document had the last word, and on what."""

    policy: str
    revision: int
    rule: str | None
    outcome: OutcomeName
    class_: Class = msgspec.field(name="class")
    holder: str | None
    matched: dict[str, Any]


class Copies(msgspec.Struct, gc=False):
    """The ids of the messages that each copy of a receipt is made of, in order."""

    person: tuple[str, ...]
    host: tuple[str, ...]


class Receipt(msgspec.Struct, gc=False):
    """What a refused person and the host are told (charter C6, ruling 36).

    ``status`` has HTTP semantics: 451 for legal class (RFC 7725), else 403. ``id`` is the decision's. ``document`` is
    the SHA-256 of the signed document, null when unsigned. ``person`` and ``host`` are in the language ``written_in``
    (BCP 47), which is the deployment's setting and says nothing of the person. To show one in another, put
    ``parameters`` into that language's texts of its ``messages``, which are in ``schemas/messages.json``, and join them
    with spaces; where an id is new to you, show the text. Only what its messages name is for the host: ``rule`` and
    ``note`` are not. Old records may lack the last three.
    """

    id: str
    person: str
    host: str
    status: Literal[403, 451]
    contest: str | None
    reference: str | None
    document: str | None
    written_in: str | UnsetType = UNSET
    messages: Copies | UnsetType = UNSET
    parameters: dict[str, str] | UnsetType = UNSET


class DecisionData(msgspec.Struct, kw_only=True, gc=False):
    """A decision with its reason and provenance; ``receipt`` stands only in a remove."""

    meeting: Id
    account: Id
    participation: Id
    stage: Stage
    verdict: Verdict
    cause: Cause
    event: EventRef
    reason: Reason | None
    receipt: Receipt | UnsetType = UNSET
    policies: dict[str, int]
    policy_offset: int
    geo_build: str
    order: Annotated[list[int], Meta(min_length=4, max_length=4)]
    decided_at: str
    engine: str


class DecisionEvent(msgspec.Struct, gc=False):
    """A decision as a CloudEvent."""

    specversion: Literal["1.0"]
    type: Literal["doorward.admit.v1", "doorward.remove.v1", "doorward.alert.v1"]
    source: str
    id: str
    time: str
    subject: str
    data: DecisionData


DECISION_TYPES: Final[dict[Verdict, Any]] = {
    "admit": "doorward.admit.v1",
    "alert": "doorward.alert.v1",
    "remove": "doorward.remove.v1",
}


class Provenance(msgspec.Struct, frozen=True, gc=False):
    """What a decision was made with: the same provenance and event give the same bytes.

    Attributes:
        policy_offset: the policy log's last offset in force, -1 before any, 0 offline.
        geo_build: names the geo files in use, ``none`` without.
        geo_time: the newest build epoch among them in seconds, 0 without.
        contest: the deployment's contest address, for documents that give none.
        engine: Doorward's version.
        written_in: the language of receipts' texts, a setting of the deployment.
    """

    policy_offset: int
    geo_build: str
    geo_time: int
    contest: str | None
    engine: str
    written_in: Language = "en"
