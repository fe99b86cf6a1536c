"""Where the parts of a document stand in its file's text, by the paths that problems name them with.

A path is what ``streams.core.policy`` says: ``rules[2].when.country[0]``. A span is two offsets in characters. YAML's
are noted while it is read (``yaml12``); JSON, which is read by a parser that tells no places, is walked here once more
where there is something to say of a document. Nothing recurses: a stack of frames does.
"""

import json
import re
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
"""Where it begins, and where it ends: offsets in characters."""


class Spans:
    """The spans of one document. The document itself is the path ``""``.

    Attributes:
        values: path to the value's span.
        keys: path of an object's member to the span of its key.
    """

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.values: dict[str, Span] = {}
        self.keys: dict[str, Span] = {}

    def find(self, path: str, *, key: bool = False) -> Span:
        """The span of a path, of its key if wanted; where it isn't there, of the nearest part that holds it."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.values.get(path, (0, 0))


def member(path: str, key: str) -> str:
    """The path of an object's member."""
    return f"{path}.{key}" if path else key


_MOST: Final = 400_000
"""Brackets, commas, keys and values that are walked: what a hundred thousand networks need, in about a second."""
_MARK: Final = re.compile(r'[ \t\n\r]*([\[\]{},:]|"(?:[^"\\]|\\.)*"|[^ \t\n\r\[\]{},:"]+)')


def json_spans(text: str, start: int = 0) -> tuple[Spans, list[tuple[str, Span]]]:
    """The spans of the JSON value that begins at an offset, and every key that stands twice in one object.

    Args:
        text: JSON from the offset on, valid but perhaps for keys that stand twice.
        start: the offset.

    Returns:
        The spans, those of a very long value's end left out; and the keys with their spans.
    """
    spans, twice = Spans(), list[tuple[str, Span]]()
    stack: list[_Frame] = []
    path, at = "", start
    for _ in range(_MOST):
        if (match := _MARK.match(text, at)) is None:
            break
        at, mark, span = match.end(), match[1], match.span(1)
        frame = stack[-1] if stack else None
        if frame and frame.wants_key and mark[0] == '"':
            key, frame.wants_key = json.loads(mark) if "\\" in mark else mark[1:-1], False
            path = member(frame.path, key)
            if path in spans.keys:
                twice.append((key, span))
            spans.keys[path] = span
        elif mark in "{[":
            stack.append(_Frame(path, span[0], array=mark == "["))
            spans.values[path] = span  # until it ends
            path = f"{path}[0]"
        elif mark == "," and frame:
            path = frame.next()
        elif mark != ":":
            if frame and mark in "}]":
                path, span = frame.path, (frame.begin, span[1])
                stack.pop()
            spans.values[path] = span
            if not stack:
                break
    return spans, twice


class _Frame:
    """A container that is being walked."""

    __slots__ = ("array", "begin", "count", "path", "wants_key")

    def __init__(self, path: str, begin: int, *, array: bool) -> None:
        self.path, self.begin, self.array = path, begin, array
        self.wants_key, self.count = not array, 0

    def next(self) -> str:
        """The path after a comma: of the next item, or the object's own until its next key is read."""
        self.count += 1
        self.wants_key = not self.array
        return f"{self.path}[{self.count}]" if self.array else self.path
