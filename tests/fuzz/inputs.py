"""Hostile inputs: what stands in the corpus, changed as chance has it. A seed and a number always give the same one.

A *kind* says how the parent is taken apart. ``bytes`` and ``text`` are cut, flipped and spliced; ``json`` is changed
as a value first (a member gone or there twice, another type, a number beyond bounds, a list in a thousand lists) and
is then perhaps cut as bytes too; ``lines`` is JSON line by line; of ``mmdb`` whole values become others. No coverage
steers this: an input depends on its number alone, so that any can be made again, and a run goes on where the last one
stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["bytes", "text", "json", "lines", "mmdb"]

_TWICE: Final = "\ue000"
"""Behind a key of a value that is being changed: it is left out at last, and the key then stands twice."""
_DEEP: Final = "\ue001"
"""Stands for as many lists in one another as some parsers take and others do not."""
LARGEST: Final = 64 * 1024
"""Bytes of an input: what the bound on a call's time is stated for."""

MARKS: Final = (*b'{}[]:,"\\/-+.%#&*!|>? \n\r\t\0\x7f\x80\xff', 0xC3, 0xED, 0xF0, 0xFE)
TOKENS: Final = (
    b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e999", b"-0", b"1E400", b"0x1F", b"9" * 30, b"9" * 5000,
    b"9223372036854775808", b"18446744073709551616", b"0.1", b"\\u0000", b"\\ud800", b"\\udfff\\ud800",
    b"\\ud83d\\ude00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"\xc2\x85",
    b"\xe2\x80\xae", b"[" * 65, b"]" * 65, b'{"a":' * 70, b"[" * 1100, b"{}", b"[]", b'""', b"---\n", b"...\n",
    b"<<: ", b"*a", b"&a ",
    b"!!binary ", b"%YAML 1.1\n---\n", b"? ", b"| \n", b">-\n", b"'", b"#", b": ", b"- ", b"203.0.113.77",
    b"::ffff:203.0.113.77", b"2001:db8::/32", b"0.0.0.0/0", b"::/0", b"fe80::1%eth0", b"2026-11-21T09:30:00Z",
    b"9999-12-31T23:59:60-23:59", b"0001-01-01T00:00:00+00:01", b"=", b"AA", b"not", b"retracted", b"on_behalf",
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 64, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**25, 0.5, -0.0, 1e308,
    "", " ", "\0", "\ud800", "\u202e", "*", "a" * 128, "a" * 129, "é" * 2001, "%2F", "a/b", "..", "1", "NO", "US",
    "US-CA", "EU", "tor", "192.0.2.0/24", "::ffff:192.0.2.0/120", "192.0.2.1/24", "remove", "admit", "service",
    "2026-11-21T09:30:00.1234Z", "2026-02-30T00:00:00Z", "9999-12-31T23:59:60-23:59", [], {}, [[]], [None], {"": {}},
    _DEEP, {"not": []}, {"not": ["US"]}, {"not": {"not": []}}, ["US", "US"],
)  # fmt: skip


def made(
    seed: str, number: int, kind: Kind, corpus: Sequence[bytes], tokens: Sequence[bytes], largest: int = LARGEST
) -> bytes:
    """Input ``number`` of a seed: a member of the corpus with one change, or a few."""
    chance = Random(f"{seed}/{number}")
    parent = chance.choice(corpus)
    if kind in ("json", "lines") and chance.random() < 0.75:
        parent = _changed_json(chance, parent, corpus) if kind == "json" else _changed_lines(chance, parent, corpus)
        if chance.random() < 0.8:
            return parent[:largest]
    data = bytearray(parent)
    if kind == "mmdb" and chance.random() < 0.5:
        _other_values(chance, data)
        return bytes(data[:largest])
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 12))):
        chance.choice(_CHANGES)(chance, data, corpus, tokens)
    return bytes(data[:largest])


# -- bytes -------------------------------------------------------------------------------------------------------


def _at(chance: Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def _piece(chance: Random, data: Sequence[Any]) -> slice:
    start = chance.randrange(len(data) + 1)
    return slice(start, start + chance.choice((1, 1, 2, 4, 9, 33, 200)))


def _flip(chance: Random, data: bytearray, *_: object) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _put(chance: Random, data: bytearray, *_: object) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice(MARKS) if chance.random() < 0.5 else chance.randrange(256)


def _insert(chance: Random, data: bytearray, *_: object) -> None:
    at = _at(chance, data)
    data[at:at] = bytes(chance.choices(MARKS, k=chance.choice((1, 1, 2, 6))))


def _token(chance: Random, data: bytearray, _: object, tokens: Sequence[bytes]) -> None:
    at = _at(chance, data)
    end = at + chance.choice((0, 0, 1, 4, 12))
    data[at:end] = chance.choice(tokens if tokens and chance.random() < 0.6 else TOKENS)


def _drop(chance: Random, data: bytearray, *_: object) -> None:
    del data[_piece(chance, data)]


def _cut(chance: Random, data: bytearray, *_: object) -> None:
    del data[_at(chance, data) :]


def _again(chance: Random, data: bytearray, *_: object) -> None:
    piece = data[_piece(chance, data)]
    at = _at(chance, data)
    data[at:at] = piece * chance.choice((1, 1, 1, 2, 3, 70, 1500 if len(piece) < 5 else 3))


def _splice(chance: Random, data: bytearray, corpus: Sequence[bytes], _: object) -> None:
    other = chance.choice(corpus)
    if chance.random() < 0.5:
        data[_at(chance, data) :] = other[chance.randrange(len(other) + 1) :]
    else:
        at = _at(chance, data)
        data[at:at] = other[_piece(chance, other)]


_CHANGES: Final[tuple[Callable[..., None], ...]] = (_flip, _put, _insert, _token, _token, _drop, _cut, _again, _splice)


_MMDB_TEXT: Final = re.compile(rb"[\x41-\x5c][A-Za-z0-9_ -]{1,28}")
_MMDB_VALUES: Final = (
    b"\xa1\x01", b"\xa0", b"\xc1\x07", b"\x20\x00", b"\x20\x01", b"\x27\xff", b"\x3f\xff\xff\xff\xff", b"\xe0",
    b"\xe1\x41a\xa1\x01",
    b"\xe1\xa1\x01\xa1\x01", b"\xe1\x20\x00\x20\x00", b"\x00\x04", b"\x02\x04\x41a\x20\x00", b"\x01\x07", b"\x42FR",
    b"\x42\xff\xfe",
    b"\x68\x7f\xf8" + bytes(6), b"\x04\x08\xff\xff\xff\xff", b"\x08\x02" + b"\xff" * 8, b"\x1f\x04\xff\xff\xff",
    b"\x5f\xff\xff\xff", b"\x81x",
)  # fmt: skip


def _other_values(chance: Random, data: bytearray) -> None:
    """Put other values where texts stand, keys among them, half of them in the metadata; or one more member there."""
    metadata = data.rfind(b"MaxMind.com") + len(b"MaxMind.com")
    if chance.random() < 0.2 and metadata < len(data):
        data[metadata] += data[metadata] & 31 < 28
        data += chance.choice((b"\x42zz", *_MMDB_VALUES)) + chance.choice(_MMDB_VALUES)
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        found = list(_MMDB_TEXT.finditer(data, chance.choice((0, metadata))))
        if found:
            at = chance.choice(found).start()
            data[at : at + 1 + (data[at] & 31)] = chance.choice(_MMDB_VALUES)


# -- JSON --------------------------------------------------------------------------------------------------------


@lru_cache(256)
def _value(raw: bytes) -> Any:
    """The value of a corpus member, to be read only; None where it is no JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every member and item, as its container and its key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found.append((value, key))
        _places(part, found)
    return found


def _changed_json(chance: Random, raw: bytes, corpus: Sequence[bytes]) -> bytes:
    value = changed(chance, _copied(_value(raw)), [_value(other) for other in corpus[:8]])
    return _written(chance, value)


def _changed_lines(chance: Random, raw: bytes, corpus: Sequence[bytes]) -> bytes:
    lines = raw.splitlines()
    at = chance.randrange(len(lines)) if lines else 0
    how = chance.random()
    if how < 0.7 and lines:
        lines[at] = _changed_json(chance, lines[at], corpus[:1])
    elif how < 0.8:
        lines[at : at + 1] = []
    elif how < 0.9:
        lines[at:at] = lines[at : at + 1] * chance.choice((1, 2))
    else:
        chance.shuffle(lines)
    return b"\n".join(lines)


def changed(chance: Random, value: Any, others: Sequence[Any]) -> Any:
    """A JSON value with one to three changes; ``value`` itself may change."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = _places(value, [])
        if not places or chance.random() < 0.02:
            value = _copied(chance.choice(VALUES))
            continue
        container, key = chance.choice(places)
        _change(chance, container, key, others)
    return value


def _change(chance: Random, container: Any, key: Any, others: Sequence[Any]) -> None:
    part, how = container[key], chance.random()
    if how < 0.35:
        container[key] = _copied(chance.choice(VALUES))
    elif how < 0.5:
        del container[key]
    elif how < 0.55 and isinstance(container, dict):
        container[_text(chance, key)] = part if chance.random() < 0.5 else container.pop(key)
    elif how < 0.6 and isinstance(container, dict):
        container[key + _TWICE] = _nested(chance, part) if chance.random() < 0.5 else _copied(chance.choice(VALUES))
    elif how < 0.6:
        container[key:key] = [_copied(part)] * chance.choice((1, 1, 2, 2, 70, 70, 1000))
    elif how < 0.75:
        container[key] = _scalar(chance, part)
    elif how < 0.85 and (places := _places(chance.choice(others), []) if others else []):
        other, name = chance.choice(places)
        container[name if isinstance(container, dict) and isinstance(name, str) else key] = _copied(other[name])
    else:
        container[key] = _nested(chance, part)


def _nested(chance: Random, part: Any) -> Any:
    for _ in range(chance.choice((1, 1, 2, 63, 64, 65, 300))):
        part = [part] if chance.random() < 0.5 else {"not": part}
    return part


def _scalar(chance: Random, part: Any) -> Any:
    if isinstance(part, str):
        return _text(chance, part)
    if isinstance(part, int | float):
        return chance.choice((part + 1, part - 1, -part, part * 2**40, float(part), str(part)))
    return part


def _text(chance: Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    how = chance.randrange(6)
    if how == 0:
        return text[:at] + chance.choice("/%:., \0\n\u00e9\u0130\u200b\u202e\ud800\U0001f600\x85*") + text[at:]
    if how == 1:
        return text[:at] + text[at + 1 :]
    if how == 2:
        return text[:at] + text[at : at + 1].swapcase() + text[at + 1 :]
    if how == 3:
        return (text * chance.choice((2, 2, 20, 300)))[:20_000]
    if how == 4:
        return text[:at] + chr(ord(text[at]) ^ 1 << chance.randrange(4)) + text[at + 1 :] if at < len(text) else text
    return text[at:]


def _written(chance: Random, value: Any) -> bytes:
    indent = 1 if chance.random() < 0.1 else None
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5, indent=indent)
    if _DEEP in text or "\\ue001" in text:
        depth = chance.choice((500, 990, 1010, 1023, 1030))
        text = text.replace("\\ue001", _DEEP).replace(f'"{_DEEP}"', "[" * depth + "]" * depth)
    return text.replace(_TWICE, "").replace("\\ue000", "").encode(errors="surrogatepass")
