"""YAML 1.2's core schema, and nothing more (ruling 18).

ruamel.yaml's parser gives events, and the constructor here turns them into plain JSON values, so that ``NO``, ``on``,
``1_000`` and ``2026-01-01`` are the strings their authors wrote: no loader's schema is ever asked. What could make two
readers see two documents is an error with its line and column: duplicate keys, merge keys, tags, keys that are not
strings. Depth and the expansion of aliases are bounded as the events come, before the work they would cause is done.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from streams.wire.spans import Spans, member

MAX_DEPTH: Final = 64
"""Containers in one another. A document needs six; far more is a mistake or an attack on recursion."""
MAX_EXPANDED: Final = 100_000
"""Nodes in a document that uses aliases, each alias counted as all it stands for (ruling 18)."""

MAX_NODES: Final = 120_000
"""Nodes in any document: reading so many takes a few seconds. 100,000 networks fit."""

Fault: TypeAlias = tuple[int | None, int | None, str, str]
"""Line and column from 1, or None where the trouble has no place in the text; what is wrong; a stable code."""


def load(text: str, spans: list[Spans] | None = None) -> tuple[list[tuple[Any, int]], list[Fault]]:
    """Every document of a text with the line it begins on, and everything that keeps others from being read.

    Args:
        text: of the file.
        spans: if given, takes the spans of each document that is returned.
    """
    return _Reader(text, spans).read()


# YAML 1.2.2, section 10.3.2: what a plain scalar means. The empty one is null.
_NULL: Final = re.compile(r"|null|Null|NULL|~")
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_OLD_BREAK: Final = re.compile("[\x85\u2028\u2029]")
_LONGEST_NUMBER: Final = 64
"""Characters; a revision has at most 19. Keeps the cost of conversion small."""


_NOWHERE: Final = "\0"
"""The path of what has none: keys, and the values of keys that are no strings."""


class _Open:
    """What an anchor stands for while its node is still being read."""


class _GiveUp(Exception):
    """The document cannot be read any further."""

    def __init__(self, mark: StringMark, message: str, code: str) -> None:
        super().__init__(message)
        self.mark, self.code = mark, code


class _Reader:
    """Reads one text. ``node`` returns values and notes mistakes; it recurses no deeper than ``MAX_DEPTH``."""

    def __init__(self, text: str, all_spans: list[Spans] | None) -> None:
        self.text, self.all_spans = text, all_spans
        self.spans = Spans()
        self.problems: list[Fault] = []
        self.anchors: dict[str, tuple[Any, int]] = {}  # name -> value, nodes it expands to
        self.nodes = 0
        self.aliased = False
        self.depth = 0

    def read(self) -> tuple[list[tuple[Any, int]], list[Fault]]:
        documents: list[tuple[Any, int]] = []
        if found := _OLD_BREAK.search(self.text):
            at = found.start()
            line, column = self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)
            message = f"not YAML: U+{ord(found[0]):04X} ends a line in YAML 1.1 alone; write it as an escape"
            return [], [(line, column, message, "syntax")]
        yaml = YAML(typ="base", pure=True)
        yaml.version = (1, 2)
        events = iter(yaml.parse(self.text))
        try:
            for event in events:
                if isinstance(event, DocumentStartEvent):
                    before = len(self.problems)
                    value, line = self.document(event, events)
                    if len(self.problems) == before:
                        documents.append((value, line))
                        if self.all_spans is not None:
                            self.all_spans.append(self.spans)
        except _GiveUp as exc:
            self.note(exc.mark, str(exc), exc.code)
        except MarkedYAMLError as exc:
            self.note(exc.problem_mark or exc.context_mark, f"not YAML: {exc.problem or exc.context}", "syntax")
        except ReaderError as exc:
            at = exc.position
            line, column = self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)
            self.problems.append((line, column, f"not YAML: U+{exc.character:04X} is not allowed", "syntax"))
        except (YAMLError, ValueError, OverflowError, AssertionError):  # it converts escapes and directives unchecked
            message = "not YAML: an escape or a directive has a number beyond all bounds"
            self.problems.append((None, None, message, "syntax"))
        return documents, self.problems

    def note(self, mark: StringMark | None, message: str, code: str) -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        self.problems.append((line, column, message, code))

    def document(self, start: DocumentStartEvent, events: Iterator[Event]) -> tuple[Any, int]:
        if start.version not in (None, (1, 2)):
            raise _GiveUp(start.start_mark, "only YAML 1.2 is read here; leave out %YAML", "yaml-version")
        self.anchors, self.nodes, self.aliased = {}, 0, False
        self.spans = Spans()
        event = next(events)
        return self.node(event, events, ""), event.start_mark.line + 1

    def node(self, event: Event, events: Iterator[Event], path: str) -> Any:
        """The value of the node that begins with an event, taking its further events."""
        if isinstance(event, AliasEvent):
            self.span(path, event, event)
            return self.alias(event)
        # the parser's grammar: nothing else begins a node
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent), event  # noqa: S101
        if event.ctag is not None:
            self.note(event.start_mark, "tags are not allowed; quote what must be a string", "tag")
        self.count(event, 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = (_Open, 0)
        before = self.nodes - 1
        if isinstance(event, ScalarEvent):
            self.span(path, event, event)
            value = self.scalar(event)
        else:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _GiveUp(event.start_mark, f"more than {MAX_DEPTH} containers in one another", "too-deep")
            read = self.sequence if isinstance(event, SequenceStartEvent) else self.mapping
            value, end = read(events, path)
            self.span(path, event, end)
            self.depth -= 1
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def span(self, path: str, first: Event, last: Event) -> None:
        if self.all_spans is not None and not path.startswith(_NOWHERE):
            self.spans.values[path] = (first.start_mark.index, last.end_mark.index)

    def count(self, event: Event, nodes: int) -> None:
        self.nodes += nodes
        if self.aliased and self.nodes > MAX_EXPANDED:
            raise _GiveUp(event.start_mark, f"aliases expand to more than {MAX_EXPANDED:,} nodes", "alias")
        if self.nodes > MAX_NODES:
            raise _GiveUp(event.start_mark, f"a document has at most {MAX_NODES:,} nodes", "too-large")

    def alias(self, event: AliasEvent) -> Any:
        if event.anchor not in self.anchors:
            raise _GiveUp(event.start_mark, f"there is no anchor &{event.anchor} before this", "alias")
        value, nodes = self.anchors[event.anchor]
        if value is _Open:
            raise _GiveUp(event.start_mark, f"&{event.anchor} holds itself", "alias")
        self.aliased = True
        self.count(event, nodes)
        return value

    def sequence(self, events: Iterator[Event], path: str) -> tuple[list[Any], Event]:
        value: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            value.append(self.node(event, events, f"{path}[{len(value)}]"))
        return value, event

    def mapping(self, events: Iterator[Event], path: str) -> tuple[dict[str, Any], Event]:
        value: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            merge = isinstance(event, ScalarEvent) and event.value == "<<" and event.style is None
            key = self.node(event, events, _NOWHERE)
            inner = member(path, key) if isinstance(key, str) else _NOWHERE
            if self.all_spans is not None:
                self.spans.keys[inner] = (event.start_mark.index, event.end_mark.index)
            item = self.node(next(events), events, inner)
            if merge:
                self.note(event.start_mark, "merge keys (<<) are not allowed", "merge-key")
            elif not isinstance(key, str):
                self.note(event.start_mark, "a key must be a string; quote it", "key-type")
            elif key in value:
                self.note(event.start_mark, f"the key {key!r} stands twice in one mapping", "duplicate-key")
            else:
                value[key] = item
        return value, event

    def scalar(self, event: ScalarEvent) -> Any:
        text: str = event.value
        if event.style is None:  # plain: the only style the schema resolves
            return self.plain(event, text)
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.note(event.start_mark, "a lone surrogate is no character", "surrogate")
        return text

    def plain(self, event: ScalarEvent, text: str) -> Any:
        if _NULL.fullmatch(text):
            return None
        if text in _BOOL:
            return _BOOL[text]
        number = _FLOAT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEX.fullmatch(text)
        if number is None and not _NO_NUMBER.fullmatch(text):
            return text
        if number and len(text) <= _LONGEST_NUMBER:
            if _INT.fullmatch(text):
                return int(text)
            if text[:2] in ("0o", "0x"):
                return int(text, 0)
            if math.isfinite(value := float(text)):
                return value
        self.note(event.start_mark, f"{text[:20]} is no JSON number; quote it if a string is meant", "number-format")
        return None
