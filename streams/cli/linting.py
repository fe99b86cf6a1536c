"""Linting files: from paths to findings with their places, several processes at once where there are many files.

A finding carries all that any way of writing it down needs, so that no file is opened again. Files are looked at one by
one, and what several documents say together is found at the end, over all of them.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from streams.adapters.iso import vocabulary
from streams.core.diagnostics import CODES, Severity
from streams.core.lint import Diagnostic, Given, across, diagnostic, lint
from streams.core.policy import Limits
from streams.wire import documents, jws, signed
from streams.wire.documents import SIGNED, TESTS, FolderUnavailable, Unreadable
from streams.wire.spans import Span, Spans, json_spans

_MANY: Final = 64
"""Files from which further processes pay."""
_CHUNK: Final = 16
"""Files handed to a process at a time."""
_WIDTH: Final = 100
"""Characters of a source line that are shown; a signed payload is one line of any length."""

_BREAK: Final = re.compile(r"\n")
_REST: Final = re.compile(r".*\S")
_WORD: Final = re.compile(r"[^\s,:\]}]+|.")

Tick: TypeAlias = Callable[[int], None]
"""Is told how many files more are done."""


class Position(msgspec.Struct, frozen=True):
    """Where something stands.

    Attributes:
        file: as the user named it.
        line: from 1; 0 where only the file is meant.
        column: in characters, from 1; 0 where only the line is.
        end_line: where it ends; so for the next.
        end_column: the column behind the last character.
        payload: whether line and column are those of a signed document's payload.
    """

    file: str
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    payload: bool = False

    def __str__(self) -> str:
        where = f"{self.file} (payload)" if self.payload else self.file
        return ":".join([where, *(str(part) for part in (self.line, self.column) if part)])


class Finding(msgspec.Struct, frozen=True):
    """One thing to say, and where.

    Attributes:
        code: of ``streams.core.diagnostics.CODES``.
        severity: error, warning or note.
        at: its place.
        path: into the document; empty for a whole file or document.
        message: the reason.
        fix: what to do.
        source: the line of text, or a piece of a long one; empty where there is none to show.
        underline: where in ``source`` the offending text begins, and how long it is.
        related: other places, each with a word about it.
    """

    code: str
    severity: Severity
    at: Position
    path: str
    message: str
    fix: str
    source: str = ""
    underline: tuple[int, int] = (0, 0)
    related: tuple[tuple[Position, str], ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """A document that can be taken, as far as other documents are concerned.

    Attributes:
        path: the document's.
        revision: its.
        content: identifies what it says.
        file: where it stands.
        number: which of the file's documents it is, from 0.
    """

    path: str
    revision: int
    content: bytes
    file: str
    number: int


class Report(msgspec.Struct):
    """What was found.

    Attributes:
        findings: by file in the order given, by place within a file.
        documents: how many there were, good and bad.
        files: how many there were.
        missing: paths that are not there.
    """

    findings: list[Finding]
    documents: int = 0
    files: int = 0
    missing: list[str] = []


def files_of(paths: Iterable[Path]) -> tuple[list[Path], list[Unreadable], list[str]]:
    """The policy files that are meant, each once: files as they are, folders with all that is in them (ruling 19)."""
    files: dict[Path, None] = {}
    problems: list[Unreadable] = []
    missing = []
    for path in paths:
        if path.is_dir():
            try:
                plain, wrong = documents.find_files(path, signed=False)
                sealed, more = documents.find_files(path, signed=True)
            except FolderUnavailable as exc:
                missing.append(str(exc))
                continue
            files.update(dict.fromkeys(sorted([*plain, *sealed])))
            problems += [*wrong, *(each for each in more if each not in wrong)]
        elif not path.exists():
            missing.append(f"{path}: there is no such file or folder")
        elif not path.name.endswith(TESTS):
            files[path] = None
    return list(files), problems, missing


def lint_files(paths: Iterable[Path], given: Given, started: Callable[[int], Tick]) -> Report:
    """Look at files and folders.

    Args:
        paths: what the user named.
        given: the deployment the documents are for.
        started: told the number of files when all are handed out; returns what is told of progress.
    """
    files, problems, missing = files_of(paths)
    report = Report([_unreadable(problem) for problem in problems], 0, len(files), missing)
    seen: list[Seen] = []
    for findings, good, documents_there in _each(files, given, started):
        report.findings += findings
        report.documents += documents_there
        seen += good
    order = {str(file): number for number, file in enumerate(files)}
    report.findings += _together(seen, given.limits)
    report.findings.sort(key=lambda f: (order.get(f.at.file, -1), f.at.line, f.at.column))
    return report


_Looked: TypeAlias = tuple[list[Finding], list[Seen], int]


def _each(files: list[Path], given: Given, started: Callable[[int], Tick]) -> Iterator[_Looked]:
    workers = min(len(os.sched_getaffinity(0)), len(files) // _CHUNK)
    if len(files) < _MANY or workers < 2:
        tick = started(len(files))
        for file in files:
            yield lint_file(file, given)
            tick(1)
        return
    vocabulary()  # before the processes part, so that each has it
    with ProcessPoolExecutor(workers) as pool:
        chunks = [files[at : at + _CHUNK] for at in range(0, len(files), _CHUNK)]
        futures = [pool.submit(_chunk, chunk, given) for chunk in chunks]
        tick = started(len(files))
        for chunk, future in zip(chunks, futures, strict=True):
            yield from future.result()
            tick(len(chunk))


def _chunk(files: list[Path], given: Given) -> list[_Looked]:
    return [lint_file(file, given) for file in files]


def lint_file(file: Path, given: Given) -> _Looked:
    """The findings of one file, its good documents, and how many documents it holds."""
    opened = _open(file, given.limits)
    if isinstance(opened, Finding):
        return [opened], [], 0
    findings: list[Finding] = []
    for problem in opened.problems:
        if problem.code == "duplicate-key" and problem.column is None:
            findings += [_twice(problem, opened.lines, span) for _, span in json_spans(opened.lines.text)[1]]
        else:
            findings.append(_unreadable(problem, opened.lines))
    good = []
    for number, value in enumerate(opened.values):
        said, document = lint(value, vocabulary(), given)
        if document is not None and (large := signed.too_large(value, given.limits)):
            said, document = [diagnostic(large.code, large.path, large.message, at_key=True)], None
        if said:
            spans = opened.spans[number]()
            findings += [_finding(each, spans, opened.lines) for each in said]
        if document is not None:
            good.append(Seen(document.path, document.revision, signed.content_of(value), str(file), number))
    return findings, good, len(opened.values) + len(opened.problems)


class _Opened(NamedTuple):
    """A file, read."""

    values: list[Any]
    spans: list[Callable[[], Spans]]
    problems: list[Unreadable]
    lines: "_Lines"


def _open(file: Path, limits: Limits) -> _Opened | Finding:
    """Read a file; of a signed document the payload."""
    name = str(file)
    if file.exists() and not file.is_file():  # a pipe would be waited on for ever
        return _unreadable(Unreadable(name, None, None, "is not a regular file"))
    data = documents.read_bytes(file)
    if isinstance(data, Unreadable):
        return _unreadable(data)
    sealed = name.endswith(SIGNED)
    if sealed:
        try:
            data = jws.payload_of(data, limits.signed)
        except jws.BadSignature as exc:
            return _unreadable(Unreadable(name, None, None, str(exc), exc.code))
    spans: list[Callable[[], Spans]] = []
    placed, problems = documents.read(data, name, spans, max_bytes=limits.signed)
    lines = _Lines(data.decode("utf-8-sig", errors="replace"), name, sealed)
    return _Opened([value for value, _ in placed], spans, problems, lines)


def _together(seen: list[Seen], limits: Limits) -> Iterator[Finding]:
    for index, first, code in across((each.path, each.revision, each.content) for each in seen):
        each = seen[index]
        what = "with the same content" if code == "repeat" else "with other content"
        said = diagnostic(code, "revision", f"{each.path} revision {each.revision} is there already, {what}")
        found, before = _again(each, said, limits), _again(seen[first], said, limits)
        yield msgspec.structs.replace(found, related=((before.at, "the first"),))


def _again(seen: Seen, said: Diagnostic, limits: Limits) -> Finding:
    """Something to say of a document that was fine by itself, so that its places were not kept."""
    opened = _open(Path(seen.file), limits)
    if isinstance(opened, Finding) or len(opened.spans) <= seen.number:  # changed since it was looked at
        return Finding(said.code, said.severity, Position(seen.file), said.path, said.message, said.fix)
    return _finding(said, opened.spans[seen.number](), opened.lines)


# -- places --------------------------------------------------------------------------------------------------------


class _Lines:
    """A text as lines."""

    def __init__(self, text: str, file: str, payload: bool) -> None:
        self.text, self.file, self.payload = text, file, payload
        self._starts: list[int] = []

    def position(self, span: Span) -> Position:
        """A span as lines and columns."""
        (line, column), (end_line, end_column) = self._of(span[0]), self._of(max(span))
        return Position(self.file, line, column, end_line, end_column, self.payload)

    def offset(self, line: int, column: int) -> int:
        self._of(0)
        return min(self._starts[min(line, len(self._starts)) - 1] + column - 1, len(self.text))

    def _of(self, offset: int) -> tuple[int, int]:
        if not self._starts:
            self._starts = [0, *(match.end() for match in _BREAK.finditer(self.text))]
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def excerpt(self, span: Span) -> tuple[str, tuple[int, int]]:
        """The line a span begins on, or the piece of a long one around it, and the span within that."""
        begin = self.text.rfind("\n", 0, span[0]) + 1
        end = self.text.find("\n", span[0])
        end = len(self.text) if end < 0 else end
        left = max(begin, span[0] - _WIDTH // 2) if end - begin > _WIDTH else begin
        right = min(end, left + _WIDTH)
        lead, tail = "…" if left > begin else "", "…" if right < end else ""
        shown = self.text[left:right].rstrip()
        length = max(1, min(max(span), left + len(shown)) - span[0])
        # What could move a terminal's cursor, or is wider or narrower than one column, would shift the underline.
        clean = "".join(c if c.isprintable() else " " for c in shown)
        return lead + clean + tail, (len(lead) + span[0] - left, length)


def _finding(said: Diagnostic, spans: Spans, lines: _Lines) -> Finding:
    span = spans.find(said.path, key=said.at_key)
    span = (span[0], span[0] + len(lines.text[span[0] : span[1]].rstrip()))
    source, underline = lines.excerpt(span)
    related = tuple((lines.position(spans.find(path)), path) for path in said.related)
    return Finding(
        said.code,
        said.severity,
        lines.position(span),
        said.path,
        said.message,
        said.fix,
        source,
        underline,
        related,
    )


def _unreadable(problem: Unreadable, lines: _Lines | None = None) -> Finding:
    """What keeps a file or a document from being read, as a finding."""
    code = problem.code if problem.code in CODES else "unreadable"
    entry = CODES[code]
    plain = Finding(code, entry.severity, Position(problem.file), "", problem.message, entry.fix)
    if lines is None or problem.line is None:
        return plain
    begin = lines.offset(problem.line, problem.column or 1)
    found = (_REST if problem.column is None else _WORD).match(lines.text, begin)
    return _at(plain, lines, (begin, found.end() if found else begin))


def _twice(problem: Unreadable, lines: _Lines, span: Span) -> Finding:
    entry = CODES[problem.code]
    key = lines.text[slice(*span)]
    message = f"the key {key} stands twice in one object"
    return _at(Finding(problem.code, entry.severity, Position(problem.file), "", message, entry.fix), lines, span)


def _at(finding: Finding, lines: _Lines, span: Span) -> Finding:
    source, underline = lines.excerpt(span)
    return msgspec.structs.replace(finding, at=lines.position(span), source=source, underline=underline)
