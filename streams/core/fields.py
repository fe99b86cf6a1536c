"""The scalars of a document: what each may be, and how they are read one by one.

A method of ``Fields`` returns the value, or None where it noted a problem or nothing stands there. ``core.policy`` says
which fields a document has.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from streams.core import instants
from streams.core.characters import says_something

Verdict: TypeAlias = Literal["admit", "alert", "remove"]
VERDICTS: Final[tuple[Verdict, ...]] = ("admit", "alert", "remove")
"""Least strict first; a verdict's place is its strictness."""
Scope: TypeAlias = Literal["service", "account", "meeting"]
Mode: TypeAlias = Literal["enforce", "report"]
Class: TypeAlias = Literal["legal", "safety", "owner"]

ROLES: Final = ("host", "cohost", "participant", "guest")
STAGES: Final = ("lobby", "live")
LANGUAGE: Final = 1
MAX_REVISION: Final = 2**63 - 1
MAX_ASN: Final = 2**32 - 1
MAX_NAME: Final = 128
"""Characters in an id or a name."""
MAX_TEXT: Final = 2000
"""Characters in a note, ground, reference or contest: receipts repeat them, and a decision has to fit a record."""
MAX_PROBLEMS: Final = 1_000
"""Told of one document: a status event has to fit a record."""
NULLABLE: Final = frozenset({"not_before", "not_after", "contest", "note", "reference"})
"""Fields that may be null, where they are not required."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Limits(msgspec.Struct, frozen=True):
    """The greatest sizes of a document. Every worker of a deployment must have the same, or they disagree.

    Attributes:
        signed: bytes of a signed one.
        rules: rules in one; a decision may walk them all, some 0.1 µs each.
        values: values in one list of a condition.
    """

    signed: int = 4 * 2**20
    rules: int = 10_000
    values: int = 200_000


LIMITS: Final = Limits()
"""Where nothing else is set."""


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a document.

    Attributes:
        code: stable and searchable, such as ``unknown-key`` or ``C4-territory``.
        path: where, such as ``rules[2].when.country[0]``; empty for the document as a whole.
        message: what is wrong and what would be right.
    """

    code: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'document'}: {self.message} [{self.code}]"


class Invalid(ValueError):
    """A document that cannot be taken. ``problems`` is never empty."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class Fields:
    """Reads fields of one document and collects what is wrong with them.

    Attributes:
        problems: in the order in which they were found.
        found: how many, told or not.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.found = 0

    def bad(self, code: str, path: str, message: str) -> None:
        """Note a problem; beyond ``MAX_PROBLEMS`` only that there are more."""
        self.found += 1
        if self.found <= MAX_PROBLEMS:
            self.problems.append(Problem(code, path, message))
        elif self.found == MAX_PROBLEMS + 1:
            self.problems.append(Problem("too-many", "", f"more than {MAX_PROBLEMS:,} problems; the rest is not told"))

    def name(self, value: Mapping[str, object], key: str, path: str = "") -> str | None:
        """An id or a name. A missing one is a problem."""
        at = f"{path}.{key}" if path else key
        if key not in value:
            self.bad("required", at, "is required")
            return None
        text = value[key]
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_NAME:
            if text is not None or path:  # null at the top is reported by its key
                self.bad("name", at, f"must be a string of 1 to {MAX_NAME} characters")
            return None
        if _LONE_SURROGATE.search(text):
            self.bad("name", at, "must not hold a lone surrogate, which is no character")
            return None
        return text

    def text(self, value: Mapping[str, object], key: str, *, path: str = "", required: bool = False) -> str | None:
        """Words for people: what stands there says something. A missing text is a problem only where it is required."""
        at = f"{path}.{key}" if path else key
        text = self._string(value, key, at, required=required)
        if text is not None and not says_something(text):
            self.bad("required", at, "must not be blank" if required else "must not be blank; leave it out")
        return text

    def _string(self, value: Mapping[str, object], key: str, at: str, *, required: bool) -> str | None:
        text = value.get(key)
        if text is None:
            if required and (key not in value or key in NULLABLE):
                self.bad("required", at, "is required of a service document")
            return None
        if not isinstance(text, str):
            self.bad("type", at, f"must be a string, not {kind(text)}")
            return None
        if _LONE_SURROGATE.search(text):
            self.bad("type", at, "must not hold a lone surrogate, which is no character")
            return None
        if len(text) > MAX_TEXT:
            self.bad("too-long", at, f"must have at most {MAX_TEXT} characters, not {len(text)}")
            return None
        return text

    def time(self, value: Mapping[str, object], key: str, *, required: bool) -> int | None:
        """An RFC 3339 time, as milliseconds since the epoch."""
        text = self._string(value, key, key, required=required)
        if text is None:
            return None
        try:
            return instants.parse(text)
        except ValueError as exc:
            self.bad("time", key, str(exc))
            return None

    def choice(
        self, value: Mapping[str, object], key: str, allowed: tuple[str, ...], path: str = "", *, required: bool = False
    ) -> str | None:
        """One of some words."""
        at = f"{path}.{key}" if path else key
        if key not in value:
            if required:
                self.bad("required", at, f"is required: one of {words(allowed)}")
            return None
        word = value[key]
        if isinstance(word, str) and word in allowed:
            return word
        if word is not None or path or key == "scope":  # null at the top is reported by its key
            self.bad("choice", at, f"must be one of {words(allowed)}")
        return None

    def integer(self, value: object, path: str, low: int, high: int, *, present: bool = True) -> int | None:
        """A whole number within bounds."""
        if not present:
            self.bad("required", path, "is required")
        elif isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        elif value is not None or path != "revision":  # null at the top is reported by its key
            self.bad("number", path, f"must be a whole number from {low} to {high}")
        return None


def kind(value: object) -> str:
    """JSON's word for a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def words(items: Any) -> str:
    """Some words as people list alternatives."""
    *most, last = items
    return f"{', '.join(most)} or {last}" if most else str(last)
