"""An owner's document that is plainly fine, read quickly; nothing here says what is wrong with one that is not.

Nearly every document is fine, and that it has the right shape msgspec sees in a fraction of the time it takes to look
for all that may be wrong. So ``core.policy`` asks here first. Whatever is not plainly fine raises ValueError, no matter
which, and is read the long way, which finds every problem or, now and then, none. What is taken here is taken there
too, as the same document: never less strict, only quicker. Service documents go the long way, past the charter.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from streams.core.characters import says_something
from streams.core.conditions import Condition, Field, compile_condition
from streams.core.facts import CONNECTIONS, CONTINENTS, Vocabulary
from streams.core.fields import MAX_ASN, MAX_NAME, MAX_REVISION, MAX_TEXT, ROLES, STAGES, Limits, Mode, Verdict

_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Values: TypeAlias = Annotated[tuple[str | int, ...], msgspec.Meta(min_length=1)]

_CODES: Final[dict[Field, frozenset[str]]] = {
    "continent": CONTINENTS,
    "connection": frozenset(CONNECTIONS),
    "role": frozenset(ROLES),
    "stage": frozenset(STAGES),
}


class _Not(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    values: _Values = msgspec.field(name="not")


_When: TypeAlias = Annotated[dict[Field, _Values | _Not], msgspec.Meta(min_length=1)]


class Rule(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A rule as it is written."""

    id: _Name
    then: Verdict
    when: _When = {}
    note: _Text | None = None


class _Owners(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    account: _Name
    name: _Name
    revision: Annotated[int, msgspec.Meta(ge=1, le=MAX_REVISION)]
    default: Verdict
    rules: list[Rule] = []
    unknown: Verdict = "alert"
    mode: Mode = "enforce"
    not_before: _Text | None = None
    not_after: _Text | None = None
    class_: Literal["owner"] = msgspec.field(name="class", default="owner")
    ground: _Text | msgspec.UnsetType = msgspec.UNSET
    reference: _Text | None = None
    contest: _Text | None = None
    note: _Text | None = None
    language: Literal[1] = 1


class Account(_Owners, kw_only=True):
    """An account's document as it is written; one that says whether it is retracted goes the long way."""

    scope: Literal["account"]

    @property
    def parts(self) -> tuple[str, ...]:
        """What its path is made of."""
        return self.scope, self.account, self.name


class Meeting(_Owners, kw_only=True):
    """A meeting's document, likewise."""

    scope: Literal["meeting"]
    meeting: _Name

    @property
    def parts(self) -> tuple[str, ...]:
        """What its path is made of."""
        return self.scope, self.account, self.meeting, self.name


def read(value: object, limits: Limits) -> Account | Meeting:
    """The shape of a document, its texts checked; codes, networks and times are not.

    Args:
        value: plain JSON values.
        limits: the greatest sizes.

    Raises:
        ValueError: it is not plainly fine.
    """
    if not isinstance(value, dict):
        raise ValueError("no object")
    written = value.get("rules")
    if isinstance(written, list) and len(written) > limits.rules:  # before anything is made of them
        raise ValueError("too many rules")
    is_meeting = value.get("scope") == "meeting"
    document = msgspec.convert(value, Meeting) if is_meeting else msgspec.convert(value, Account)
    ids = [rule.id for rule in document.rules]
    if len(set(ids)) < len(ids):
        raise ValueError("two rules of one id")
    texts = [rule.note for rule in document.rules if rule.note is not None]
    said = (document.ground, document.reference, document.contest, document.note)
    texts += [text for text in said if isinstance(text, str)]
    if not all(map(says_something, texts)):
        raise ValueError("a blank text")
    "".join((*document.parts, *ids, *texts)).encode()  # a lone surrogate is a UnicodeEncodeError
    return document


def conditions(rules: Iterable[Rule], vocabulary: Vocabulary, limits: Limits) -> Iterator[tuple[Condition, ...]]:
    """The conditions of each rule, in its order.

    Raises:
        ValueError: a list is too long, or names what is no known code or no network.
    """
    known: dict[Field, frozenset[str]] = _CODES | {
        "country": vocabulary.countries,
        "subdivision": vocabulary.subdivisions,
    }
    for rule in rules:
        made = []
        for field, listed in rule.when.items():
            values, negated = (listed.values, True) if isinstance(listed, _Not) else (listed, False)
            codes = known.get(field)
            if len(values) > limits.values:
                raise ValueError("too many values")
            if not (_are_numbers(field, values) if codes is None else codes.issuperset(values)):
                raise ValueError("a value that is not known")
            made.append(compile_condition(field, values, negated, vocabulary))  # BadAddress of what is no network
        yield tuple(made)


def _are_numbers(field: Field, values: Iterable[str | int]) -> bool:
    """Whether values are of systems, where the field is theirs."""
    return field == "network" or all(isinstance(value, int) and 0 <= value <= MAX_ASN for value in values)
