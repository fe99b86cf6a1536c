"""A checked document as bytes and back: what the policy table keeps, so that a warm start neither checks nor compiles.

The bytes are MessagePack of ``Document`` as it stands, a condition as field, whether it is negated, and its values.
Reading them costs a tenth of ``core.policy.parse``: what may stand in a document is not asked again, and conditions
are compiled when a join asks them, lists of networks at once (``core.conditions``). So only bytes may be read that this
version of Doorward wrote, of documents that were checked against the same vocabulary; whoever keeps them sees to that.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from streams.core.conditions import Condition, compile_condition
from streams.core.facts import Vocabulary
from streams.core.policy import Document


def _plain(condition: Condition) -> tuple[Any, ...]:
    return condition.field, condition.negated, condition.values


encode: Final[Callable[[Document], bytes]] = msgspec.msgpack.Encoder(enc_hook=_plain).encode
"""The bytes of a document."""


def decoder(vocabulary: Vocabulary) -> Callable[[bytes], Document]:
    """What reads documents that were checked against a vocabulary; msgspec.MsgspecError is raised for other bytes."""

    def condition(_: type, plain: tuple[Any, ...]) -> Condition:
        field, negated, values = plain
        return compile_condition(field, tuple(values), negated, vocabulary)

    return msgspec.msgpack.Decoder(Document, dec_hook=condition).decode
