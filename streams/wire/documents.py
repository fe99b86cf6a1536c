"""The text of policy files to plain JSON values, each with its place; nothing here knows what a document means.

YAML is read by ``plainyaml`` where it is plain, else by ``yaml12``; JSON here, just as strictly (ruling 18). Reading
goes on after a mistake and collects every one (ruling 19). Files come from strangers, so size and depth are bounded
before anything recurses.
"""

import os
import re
import stat
from collections.abc import Callable
from functools import partial
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import orjson

from streams.wire import plainyaml, yaml12
from streams.wire.spans import Spans, json_spans
from streams.wire.yaml12 import MAX_DEPTH, MAX_NODES

MAX_FILE: Final = 16 * 2**20
"""Bytes in a file: a hundred thousand documents of the usual size, and still read at once without harm."""

MAX_DOCUMENT: Final = 4 * 2**20
"""Characters in one document, comments too: over twice what a hundred thousand networks take. A deployment that takes
larger signed documents (``core.policy.Limits``) takes as many characters as those have bytes."""

SIGNED: Final = ".jws.json"
TESTS: Final = ".test.yaml"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


class Place(msgspec.Struct, frozen=True):
    """Where a document begins: its file, and its line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Unreadable(msgspec.Struct, frozen=True):
    """One thing that keeps a file, or a document in it, from being read.

    Attributes:
        file: as the user named it.
        line: from 1, or None where the trouble has no place in the text.
        column: in characters from 1, or None.
        message: what is wrong.
        code: stable and searchable, such as ``duplicate-key``.
    """

    file: str
    line: int | None
    column: int | None
    message: str
    code: str = "unreadable"

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None) + (
            f": {self.message}"
        )


class FolderUnavailable(Exception):
    """There is no such folder, or it cannot be listed. The message is one line for people."""


class NotJson(ValueError):
    """Not the strict JSON that documents are made of.

    Attributes:
        line: from 1, or None.
        column: from 1, or None.
        code: stable: ``syntax``, ``too-deep`` or ``duplicate-key``.
    """

    def __init__(
        self, message: str, line: int | None = None, column: int | None = None, *, code: str = "syntax"
    ) -> None:
        super().__init__(message)
        self.line, self.column, self.code = line, column, code


Placed: TypeAlias = tuple[Any, Place]
"""A plain JSON value and where it stands."""


# -- files and folders -------------------------------------------------------------------------------------------


def read_folder(folder: str | Path, max_bytes: int = 0) -> tuple[list[Placed], list[Unreadable]]:
    """The unsigned documents of a folder and its subfolders, in the order of their names (ruling 19).

    Hidden files and folders are left out, as are ``*.test.yaml`` and signed documents. ``max_bytes`` as for ``read``.

    Raises:
        FolderUnavailable: no such folder, or no right to list it.
    """
    documents: list[Placed] = []
    files, problems = find_files(folder, signed=False)
    for file in files:
        found, wrong = read_file(file, max_bytes)
        documents += found
        problems += wrong
    return documents, sorted(problems, key=lambda problem: problem.file)


def read_signed_folder(folder: str | Path) -> tuple[list[tuple[bytes, Place]], list[Unreadable]]:
    """The bytes of every signed document (``*.jws.json``) of a folder and its subfolders.

    Raises:
        FolderUnavailable: no such folder, or no right to list it.
    """
    documents: list[tuple[bytes, Place]] = []
    files, problems = find_files(folder, signed=True)
    for file in files:
        data = read_bytes(file)
        if isinstance(data, Unreadable):
            problems.append(data)
        else:
            documents.append((data, Place(str(file), 1)))
    return documents, problems


def read_file(path: str | Path, max_bytes: int = 0) -> tuple[list[Placed], list[Unreadable]]:
    """The documents of one file: JSON if its name ends in ``.json``, else YAML; ``max_bytes`` as for ``read``."""
    data = read_bytes(path)
    if isinstance(data, Unreadable):
        return [], [data]
    return read(data, str(path), max_bytes=max_bytes)


def read_bytes(path: str | Path) -> bytes | Unreadable:
    """What a file holds, or why it cannot be had; never more than ``MAX_FILE``."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as exc:
        return Unreadable(str(path), None, None, f"cannot be read: {exc.strerror or exc}")
    if len(data) > MAX_FILE:
        return Unreadable(str(path), None, None, f"is larger than {MAX_FILE // 2**20} MiB", "too-large")
    return data


def find_files(folder: str | Path, *, signed: bool) -> tuple[list[Path], list[Unreadable]]:
    """The policy files of a folder and its subfolders in the order of their names: signed ones, or all others.

    Raises:
        FolderUnavailable: no such folder, or no right to list it.
    """
    files: list[Path] = []
    problems: list[Unreadable] = []
    seen: set[str] = set()  # folders may be linked, even in a circle

    def walk(directory: Path) -> None:
        real = os.path.realpath(directory)
        if real in seen:
            return
        seen.add(real)
        for entry in sorted(directory.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                try:
                    walk(entry)
                except OSError as exc:
                    problems.append(Unreadable(str(entry), None, None, f"cannot be listed: {exc.strerror}"))
            elif _wanted(entry.name, signed=signed):
                if entry.exists() and not stat.S_ISREG(entry.stat().st_mode):  # a pipe would be waited on for ever
                    problems.append(Unreadable(str(entry), None, None, "is not a regular file"))
                else:
                    files.append(entry)

    try:
        walk(Path(folder))
    except OSError as exc:
        raise FolderUnavailable(f"{folder}: {exc.strerror or exc}") from None
    return files, problems


def _wanted(name: str, *, signed: bool) -> bool:
    if signed or name.endswith(SIGNED):
        return signed and name.endswith(SIGNED)
    return name.endswith(_SUFFIXES) and not name.endswith(TESTS)


def read(
    data: bytes, file: str, spans: list[Callable[[], Spans]] | None = None, *, max_bytes: int = 0
) -> tuple[list[Placed], list[Unreadable]]:
    """The documents in a file's bytes, and everything that keeps others from being read.

    UTF-8, with or without a byte order mark. A JSON file holds one document or an array of them, a YAML file one or
    more documents.

    Args:
        data: the file's bytes.
        file: its name, whose ending says which of the two it is.
        spans: if given, takes for each document that is returned a function that gives its spans, in offsets into the
            text without a byte order mark.
        max_bytes: the deployment's largest signed document, where that is larger than ``MAX_DOCUMENT``.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        return [], [Unreadable(file, line, None, f"is not UTF-8 (byte 0x{data[exc.start]:02x})", "encoding")]
    read_text = _read_json if file.endswith(".json") else _read_yaml
    documents, problems = read_text(text, file, spans, max(max_bytes, MAX_DOCUMENT))
    if not documents and not problems and text.strip() != "[]":
        problems.append(Unreadable(file, None, None, "holds no document", "no-document"))
    return documents, problems


# -- JSON --------------------------------------------------------------------------------------------------------


class _Duplicate(ValueError):
    """A key stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add() is for its effect
        raise _Duplicate(f"the key {twice!r} stands twice in one object")
    return value


_DECODER: Final = JSONDecoder(object_pairs_hook=_once)
_CONTAINERS: Final = (dict, list)
_MARKS: Final = b'"\\[]{}'
_OTHERS: Final = bytes(set(range(256)) - set(_MARKS))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_MARKER: Final = re.compile(r"^---(?=\s)", re.MULTILINE)
_TOO_LONG: Final = "a document has at most {:g} MiB of text, and {:,} nodes in YAML"


def strict_json(data: bytes) -> Any:
    """One JSON value, read so that no two readers can differ.

    Invalid UTF-8, lone surrogates, NaN, numbers beyond a double, duplicate keys and more than ``MAX_DEPTH``
    containers in one another are refused.

    Raises:
        NotJson: any of these.
    """
    value = _loads(data)
    if _is_compact(data, value):
        return value
    _check_depth(value)
    try:
        return _DECODER.decode(data.decode())
    except _Duplicate as exc:
        raise NotJson(str(exc), code="duplicate-key") from None
    except RecursionError:  # under a key that stands twice, where ``_check_depth`` did not see it
        raise NotJson(f"more than {MAX_DEPTH} containers in one another", code="too-deep") from None


def _loads(data: bytes) -> Any:
    """The value, of keys that stand twice the last; nothing that recurses may see it yet. Raises NotJson."""
    try:
        return orjson.loads(data)
    except JSONDecodeError as exc:
        if "depth" in exc.msg or "recursion" in exc.msg:  # orjson's own bound, 1024
            raise NotJson(f"more than {MAX_DEPTH} containers in one another", code="too-deep") from None
        raise NotJson(f"not JSON: {exc.msg}", exc.lineno, exc.colno) from None


def _is_compact(data: bytes, value: Any) -> bool:
    """Whether the text is the very one that is made of the value, not too deep: so none of its keys stands twice.

    Of the text the brackets are kept, all of one kind, and what strings are made of. Where quotation marks then come
    in pairs, no bracket was inside a string; and as often as empty pairs of brackets can be taken out, so deep it is.
    """
    marks = data.translate(_ONE_KIND, _OTHERS).replace(b'""', b"")
    if b'"' in marks or b"\\" in marks:
        return False
    for _ in range(MAX_DEPTH):
        if not marks:
            break
        marks = marks.replace(b"[]", b"")
    return not marks and orjson.dumps(value) == data


def _check_depth(value: Any) -> None:
    """Raises NotJson."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        outer = [item for item in level if isinstance(item, _CONTAINERS)]
        if not outer:
            return
        level = []
        for item in outer:
            level += item.values() if isinstance(item, dict) else item
    raise NotJson(f"more than {MAX_DEPTH} containers in one another", code="too-deep")


def _read_json(
    text: str, file: str, spans: list[Callable[[], Spans]] | None, longest: int
) -> tuple[list[Placed], list[Unreadable]]:
    documents: list[Placed] = []
    problems: list[Unreadable] = []
    if not text.strip():
        return documents, problems
    try:
        _check_depth(_loads(text.encode()))
    except NotJson as exc:
        return [], [Unreadable(file, exc.line, exc.column, str(exc), exc.code)]
    at = _skip(text, 0)
    array = text[at] == "["
    if array:
        at = _skip(text, at + 1)
    line, counted = 1, 0
    while at < len(text) and text[at] != "]":
        line, counted, begin = line + text.count("\n", counted, at), at, at
        try:
            value, at = _DECODER.raw_decode(text, at)
        except _Duplicate as exc:
            problems.append(Unreadable(file, line, None, str(exc), "duplicate-key"))
            break  # where the next document begins is not known
        except RecursionError:  # under a key that stands twice, where ``_check_depth`` did not see it
            message = f"more than {MAX_DEPTH} containers in one another"
            problems.append(Unreadable(file, line, None, message, "too-deep"))
            break
        if at - begin > longest:
            problems.append(_too_long(file, line, longest))
        else:
            documents.append((value, Place(file, line)))
            if spans is not None:
                spans.append(partial(_json_spans, text, begin))
        at = _skip(text, at)
        if array and text[at] == ",":
            at = _skip(text, at + 1)
    return documents, problems


def _json_spans(text: str, begin: int) -> Spans:
    return json_spans(text, begin)[0]


def _read_yaml(
    text: str, file: str, spans: list[Callable[[], Spans]] | None, longest: int
) -> tuple[list[Placed], list[Unreadable]]:
    begin = 0
    for mark in [*(match.start() for match in _MARKER.finditer(text)), len(text)]:
        # Before the parser, which is slow, sees any of it. Nodes are parted by commas and line ends.
        parts = text.count(",", begin, mark) + text.count("\n", begin, mark)
        if mark - begin > longest or parts > 2 * MAX_NODES:
            return [], [_too_long(file, text.count("\n", 0, begin) + 1, longest)]
        begin = mark
    found: list[Spans] | None = None if spans is None else []
    documents, faults = plainyaml.load(text, found), list[yaml12.Fault]()
    if documents is None:
        documents, faults = yaml12.load(text, found)
    if spans is not None and found is not None:
        spans += [partial(_same, each) for each in found]
    return [(value, Place(file, line)) for value, line in documents], [Unreadable(file, *fault) for fault in faults]


def _too_long(file: str, line: int, longest: int) -> Unreadable:
    return Unreadable(file, line, None, _TOO_LONG.format(longest / 2**20, MAX_NODES), "too-large")


def _same(spans: Spans) -> Spans:
    return spans


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
