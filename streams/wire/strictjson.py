r"""Is it JSON, and how deeply nested? A verdict for every input, however hostile, without recursion.

The quick parsers give up where they must not: msgspec skips the UTF-8 of fields it ignores and recurses, orjson
stops at 1,024 levels and at numbers beyond a double. So records take the quick way when they are plain (UTF-8, no
``\u`` escape, few brackets) and otherwise come here. ``inspect`` walks tokens of RFC 8259 with a stack of its own.
"""

import json
import re
from typing import Final

import orjson

MAX_DEPTH: Final = 64
"""Nested containers that are still accepted, the outermost counted (ruling 26)."""

_BACKSLASH: Final = ord("\\")
_BRACE: Final = ord("{")
_BRACKET: Final = ord("[")
_TOKEN: Final = re.compile(
    r'[ \t\n\r]*(?:([\[\]{},:])|("(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")'
    r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
)
_BLANK: Final = re.compile(r"[ \t\n\r]*")


class NotJson(ValueError):
    """The bytes are not one JSON text in UTF-8 (NaN and lone surrogates are not JSON either, ruling 27)."""


class TooDeep(ValueError):
    """Valid JSON with more than ``MAX_DEPTH`` nested containers."""


def is_plain(raw: bytes, max_depth: int = MAX_DEPTH) -> bool:
    """Whether a strict typed decoder sees in these bytes all that ``check`` would."""
    # Bytes are looked for by number, which takes a quarter of the time; lists and escapes are hardly ever there.
    if (_BACKSLASH in raw and b"\\u" in raw) or not (raw.isascii() or _is_utf8(raw)):
        return False
    return raw.count(_BRACE) + (raw.count(_BRACKET) if _BRACKET in raw else 0) <= max_depth


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def check(raw: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Check one JSON text. Raises NotJson, else TooDeep."""
    try:
        depth = _depth_of(orjson.loads(raw))
    except orjson.JSONDecodeError:  # deeper than orjson goes, a number beyond a double, or no JSON
        depth = inspect(raw)
    if depth > max_depth:
        raise TooDeep(f"{depth} nested containers, at most {max_depth} are accepted")


def _depth_of(value: object) -> int:
    depth, level = 0, [value]
    while containers := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [item for c in containers for item in (c.values() if isinstance(c, dict) else c)]
    return depth


def inspect(raw: bytes) -> int:
    """The depth of one JSON text: 0 for a scalar, 1 for a flat object. Raises NotJson."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise NotJson(f"not UTF-8 at byte {exc.start}") from None
    stack: list[str] = []
    depth, at, match_token = 0, 0, _TOKEN.match
    # What may come next: "value", "value]" (or the end of a list), "key", "key}", ":", "," (or a closing bracket).
    expected = "value"
    while True:
        match = match_token(text, at)
        if match is None:
            raise NotJson(f"no JSON token at character {at}")
        at = match.end()
        mark = match[1]
        if mark is None:
            string = match[2]
            if string is not None and "\\u" in string:
                _no_lone_surrogate(string, at)
            if expected in ("key", "key}"):
                if string is None:
                    raise NotJson(f"a key must be a string, before character {at}")
                expected = ":"
                continue
            if expected not in ("value", "value]"):
                raise NotJson(f"unexpected value before character {at}")
            expected = ","
        elif mark in "[{":
            if expected not in ("value", "value]"):
                raise NotJson(f"unexpected {mark!r} before character {at}")
            stack.append(mark)
            depth = max(depth, len(stack))
            expected = "value]" if mark == "[" else "key}"
            continue
        elif mark == ":":
            if expected != ":":
                raise NotJson(f"unexpected ':' before character {at}")
            expected = "value"
            continue
        elif mark == ",":
            if expected != "," or not stack:
                raise NotJson(f"unexpected ',' before character {at}")
            expected = "value" if stack[-1] == "[" else "key"
            continue
        else:
            opening = "[" if mark == "]" else "{"
            closable = (",", "value]") if mark == "]" else (",", "key}")
            if not stack or stack.pop() != opening or expected not in closable:
                raise NotJson(f"unexpected {mark!r} before character {at}")
            expected = ","
        if not stack:
            break
    end = _BLANK.match(text, at)
    if end is None or end.end() != len(text):
        raise NotJson(f"something follows the JSON text at character {at}")
    return depth


def _no_lone_surrogate(string: str, at: int) -> None:
    try:
        json.loads(string).encode()
    except UnicodeEncodeError:
        raise NotJson(f"a lone surrogate before character {at}") from None
