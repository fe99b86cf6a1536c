"""YAML as policy authors write it, read fast: a strict subset in which no two readers could differ.

Block mappings and sequences with simple keys, scalars and flow collections on one line, comments, ``---``. Whatever is
anything else, an anchor, an escape, a scalar over two lines, a key that stands twice, makes ``load`` return None, and
``yaml12`` reads the whole text instead: so every mistake is found and worded there, and only there. What is read here
is what is read there, twenty times sooner; ``tests/wire/test_plainyaml.py`` holds the two to each other.
"""

import re
from typing import Any, Final, NamedTuple

from streams.wire.spans import Spans, member
from streams.wire.yaml12 import MAX_NODES

_DEEPEST: Final = 16

_ODD_CHARACTER: Final = re.compile(r"[^\n -~\u00a1-\u1fff\u2010-\u2027\u2030-\ud7ff]")
_LINE: Final = re.compile(r"( *)([^\n]*)\n?")
_END: Final = re.compile(r"(?: +#.*| *)$")
_KEY: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_-]{0,127}):(?: +|$)")
_QUOTED: Final = re.compile(r"\"([^\"\\]*)\"|'([^']*)'")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/(](?:[^ :]|:(?=[^ ])| (?!#))*")
_FLOW_PLAIN: Final = re.compile(r"[A-Za-z0-9_/(](?:[A-Za-z0-9_/.+() -]|:(?=[A-Za-z0-9:/]))*")
_SPACES: Final = re.compile(r" *")
_VALUES: Final[dict[str, Any]] = {
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LIKE_A_NUMBER: Final = re.compile(r"0[ox].*|[0-9.]+(?:[eE][0-9+-]*)?")


class _Odd(Exception):
    """Not of the subset, or wrong: ``yaml12`` will tell."""


class _Line(NamedTuple):
    """A line with something on it: the column it begins at, its text from there, and the offset of that."""

    column: int
    text: str
    offset: int
    number: int


def load(text: str, spans: list[Spans] | None = None) -> list[tuple[Any, int]] | None:
    """Every document of a text with the line it begins on; None for a text that is not of the subset.

    Args:
        text: of the file.
        spans: if given, takes the spans of each document, where there are any.
    """
    if _ODD_CHARACTER.search(text):
        return None
    documents, found = [], []
    try:
        for lines in _split(text):
            reader = _Reader(lines)
            documents.append((reader.document(), lines[0].number))
            found.append(reader.spans)
    except _Odd:
        return None
    if spans is not None:
        spans += found
    return documents


def _split(text: str) -> list[list[_Line]]:
    """The lines of each document, but for blank ones and comments."""
    documents: list[list[_Line]] = [[]]
    at, number, marked = 0, 0, False
    while at < len(text):
        match = _LINE.match(text, at)
        assert match is not None  # noqa: S101  # it matches anything
        column, rest = match.end(1) - at, match[2]
        number += 1
        if column == 0 and rest[:3] in ("---", "..."):
            if rest.rstrip() != "---" or (marked and not documents[-1]):
                raise _Odd
            marked = True
            if documents[-1]:
                documents.append([])
        elif rest and rest[0] != "#":
            documents[-1].append(_Line(column, rest, match.start(2), number))
        at = match.end()
    if not documents[-1]:
        raise _Odd  # no document, or an empty one
    return documents


class _Reader:
    """Reads the lines of one document. A method takes what it reads; it raises _Odd at whatever is not plain."""

    def __init__(self, lines: list[_Line]) -> None:
        self.lines, self.at = lines, 0
        self.spans = Spans()
        self.depth = 0

    def document(self) -> Any:
        value = self.block("")
        nodes = len(self.spans.values) + len(self.spans.keys)
        if self.at < len(self.lines) or nodes > MAX_NODES:
            raise _Odd
        return value

    def column(self) -> int:
        """Of the next line; -1 behind the last."""
        return self.lines[self.at].column if self.at < len(self.lines) else -1

    def item_next(self) -> bool:
        """Whether the next line is an item of a sequence."""
        return self.at < len(self.lines) and self.lines[self.at].text.startswith("- ")

    def block(self, path: str) -> Any:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Odd
        begin = self.lines[self.at].offset
        value = self.sequence(path) if self.item_next() else self.mapping(path)
        last = self.lines[self.at - 1]
        self.spans.values[path] = (begin, last.offset + len(last.text.rstrip()))
        self.depth -= 1
        return value

    def mapping(self, path: str) -> dict[str, Any]:
        value: dict[str, Any] = {}
        column = self.column()
        while self.column() == column and not self.item_next():
            line = self.lines[self.at]
            match = _KEY.match(line.text)
            if match is None or match[1] in _VALUES or match[1] in value:
                raise _Odd
            inner = member(path, match[1])
            self.spans.keys[inner] = (line.offset, line.offset + match.end(1))
            self.at += 1
            rest = line.text[match.end() :]
            if rest and rest[0] != "#":
                value[match[1]] = self.whole(rest, line.offset + match.end(), inner)
                if self.column() > column:
                    raise _Odd  # it goes on in the next line
            elif self.column() > column or (self.column() == column and self.item_next()):
                value[match[1]] = self.block(inner)
            else:
                raise _Odd  # nothing is null
        if self.column() > column:
            raise _Odd
        return value

    def sequence(self, path: str) -> list[Any]:
        value: list[Any] = []
        column = self.column()
        while self.column() == column and self.item_next():
            line = self.lines[self.at]
            rest = line.text[2:].lstrip(" ")
            moved = len(line.text) - len(rest)
            inner = f"{path}[{len(value)}]"
            if not rest or rest[0] in "#-":
                raise _Odd
            if _KEY.match(rest):
                self.lines[self.at] = _Line(column + moved, rest, line.offset + moved, line.number)
                value.append(self.block(inner))
            else:
                self.at += 1
                value.append(self.whole(rest, line.offset + moved, inner))
            if self.column() > column:
                raise _Odd
        return value

    # -- one line ----------------------------------------------------------------------------------------------

    def whole(self, text: str, offset: int, path: str) -> Any:
        """A value that takes the rest of a line, but for a comment."""
        if text[0] in "[{":
            value, end = self.flow(text, 0, offset, path)
        elif match := _QUOTED.match(text):
            value, end = match[1] if match[1] is not None else match[2], match.end()
        elif match := _PLAIN.match(text):
            plain = match[0].rstrip(" ")
            value, end = _resolve(plain), len(plain)
        else:
            raise _Odd
        if not _END.match(text, end):
            raise _Odd
        self.spans.values[path] = (offset, offset + end)
        return value

    def flow(self, text: str, at: int, offset: int, path: str) -> tuple[Any, int]:
        """The value in a flow collection that begins somewhere in a line, and where it ends."""
        begin = at
        value: Any
        if text[at : at + 1] in ("[", "{"):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise _Odd
            value, at = self.collection(text, at, offset, path)
            self.depth -= 1
        elif match := _QUOTED.match(text, at):
            value, at = match[1] if match[1] is not None else match[2], match.end()
        elif match := _FLOW_PLAIN.match(text, at):
            plain = match[0].rstrip(" ")
            value, at = _resolve(plain), at + len(plain)
        else:
            raise _Odd
        self.spans.values[path] = (offset + begin, offset + at)
        return value, at

    def collection(self, text: str, at: int, offset: int, path: str) -> tuple[Any, int]:
        items: list[Any] = []
        members: dict[str, Any] = {}
        array = text[at] == "["
        closing = "]" if array else "}"
        at = _past_spaces(text, at + 1)
        if text[at : at + 1] == closing:
            return (items if array else members), at + 1
        while True:
            if array:
                item, at = self.flow(text, at, offset, f"{path}[{len(items)}]")
                items.append(item)
            else:
                match = _KEY.match(text, at)
                if match is None or match[1] in _VALUES or match[1] in members:
                    raise _Odd
                inner = member(path, match[1])
                self.spans.keys[inner] = (offset + at, offset + match.end(1))
                members[match[1]], at = self.flow(text, match.end(), offset, inner)
            at = _past_spaces(text, at)
            if text[at : at + 1] == closing:
                return (items if array else members), at + 1
            if text[at : at + 1] != ",":
                raise _Odd
            at = _past_spaces(text, at + 1)


def _past_spaces(text: str, at: int) -> int:
    match = _SPACES.match(text, at)
    return match.end() if match else at


def _resolve(plain: str) -> Any:
    """What a plain scalar means; raises _Odd where that takes more than a look."""
    if plain in _VALUES:
        return _VALUES[plain]
    if _DIGITS.fullmatch(plain):
        return int(plain)
    if _LIKE_A_NUMBER.fullmatch(plain):
        raise _Odd
    return plain
