"""The files of policy tests, ``*.test.yaml``: their text to cases, each with its place, or what is wrong with them.

A file is one YAML document, read as strictly as policy documents are (``streams.wire.yaml12``), with its keys held
to the Structs of ``streams.core.cases``. Whatever can be said of a file by itself is said here, of all its cases
together, with line and column; whether its documents exist is for whoever runs it.
"""

import os
import re
import stat
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streams.core import instants
from streams.core.cases import ANY_MEETING, NONE, Answer, Case, Connection, Expected, Join, Text, faults
from streams.core.events import Id, OutcomeName
from streams.core.facts import Vocabulary
from streams.core.policy import ROLES, STAGES, VERDICTS
from streams.wire import documents
from streams.wire.documents import TESTS, Unreadable
from streams.wire.spans import Spans, member


class CaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cases of a policy test, told in order, and what they share.

    Attributes:
        about: What the file shows, for those who read it.
        documents: The files and folders under test, from the folder of this file on; left out, that folder and those
            below it.
        account: Whose meetings the joins are to, where they don't say.
        meeting: Its id, where they don't say.
        now: When, RFC 3339, where the cases don't say.
        cases: The cases.
    """

    about: str | UnsetType = UNSET
    documents: Annotated[list[Text], Meta(min_length=1)] | UnsetType = UNSET
    account: Id | UnsetType = UNSET
    meeting: Id = ANY_MEETING
    now: str | UnsetType = UNSET
    cases: Annotated[list[Case], Meta(min_length=1)]


class Placed(msgspec.Struct, frozen=True):
    """A case and where it begins.

    Attributes:
        line: from 1.
        at: its time, ms since the epoch; None where neither it nor the file says.
    """

    case: Case
    line: int
    at: int | None


class Read(msgspec.Struct, frozen=True):
    """A file of cases.

    Attributes:
        file: as the user named it.
        head: the file but for its cases.
        cases: in order.
    """

    file: str
    head: CaseFile
    cases: tuple[Placed, ...]

    @property
    def selected(self) -> list[Path]:
        """The files and folders under test."""
        folder = Path(self.file).parent
        if self.head.documents is UNSET:
            return [folder]
        return [Path(os.path.normpath(folder / each)) for each in self.head.documents]


def find_files(folder: str | Path) -> list[Path]:
    """The test files of a folder and its subfolders, by name; hidden ones are left out, as policy folders do.

    Raises:
        FolderUnavailable: no such folder, or no right to list it.
    """
    try:
        os.scandir(folder).close()
    except OSError as exc:
        raise documents.FolderUnavailable(f"{folder}: {exc.strerror or exc}") from None
    found: list[Path] = []
    seen: set[str] = set()  # folders may be linked, even in a circle
    for directory, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            found += [Path(directory, name) for name in files if name.endswith(TESTS) and not name.startswith(".")]
        seen.add(real)
    return sorted(found)


def read_file(path: str | Path, vocabulary: Vocabulary) -> tuple[Read | None, list[Unreadable]]:
    """One file's cases, or everything that is wrong with it. Blocks no longer than reading a regular file takes."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError as exc:
        return None, [Unreadable(str(path), None, None, f"cannot be read: {exc.strerror}")]
    if not regular:  # a pipe would be waited on for ever
        return None, [Unreadable(str(path), None, None, "is not a regular file")]
    data = documents.read_bytes(path)
    if isinstance(data, Unreadable):
        return None, [data]
    return read(data, str(path), vocabulary)


def read(data: bytes, file: str, vocabulary: Vocabulary) -> tuple[Read | None, list[Unreadable]]:
    """The same for a file's bytes."""
    spans: list[Callable[[], Spans]] = []
    found, wrong = documents.read(data, file, spans)
    if wrong:
        return None, wrong
    if len(found) != 1:
        return None, [Unreadable(file, None, None, f"a test file is one YAML document, not {len(found)}")]
    return _Reader(file, data.decode("utf-8-sig"), found[0][0], spans[0](), vocabulary).read()


Where: TypeAlias = tuple[str | int, ...]
"""A path into the file's value."""
_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class _Reader:
    """Reads one file's value and collects what is wrong with it."""

    def __init__(self, file: str, text: str, value: Any, spans: Spans, vocabulary: Vocabulary) -> None:
        self.file, self.value, self.spans, self.vocabulary = file, value, spans, vocabulary
        self.lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self.problems: list[Unreadable] = []
        self.names: set[str] = set()

    def read(self) -> tuple[Read | None, list[Unreadable]]:
        if not isinstance(self.value, dict):
            self.bad((), "a test file is a mapping with `cases`, perhaps `documents`, `account`, `meeting`, `now`")
            return None, self.problems
        items = self.value.get("cases")
        head = self.head(items)
        cases = [self.case(i, item, head) for i, item in enumerate(items if isinstance(items, list) else [])]
        if head is None or self.problems:
            return None, sorted(self.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        return Read(self.file, head, tuple(case for case in cases if case is not None)), []

    def bad(self, path: Where, message: str) -> None:
        line, column = self.place(path)
        self.problems.append(Unreadable(self.file, line, column, message))

    def place(self, path: Where) -> tuple[int, int]:
        """Line and column, from 1, of the key or item at a path, or of what should hold it."""
        at = ""
        for step in path:
            at = member(at, step) if isinstance(step, str) else f"{at}[{step}]"
        offset = self.spans.find(at, key=True)[0]
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def head(self, items: object) -> CaseFile | None:
        """The file but for its cases, of which any list that is not empty will do here."""
        rest = dict(self.value)
        if isinstance(items, list) and items:
            rest["cases"] = [Case(case="-", join=Join(), expect="admit")]
        head = self.convert(rest, CaseFile, ())
        if head is not None:
            self.time(head.now, ("now",))
        return head

    def case(self, i: int, item: object, head: CaseFile | None) -> Placed | None:
        path: Where = ("cases", i)
        case = self.convert(item, Case, path)
        if case is None:
            return None
        if case.case in self.names:
            self.bad((*path, "case"), f"{case.case!r} is the name of an earlier case")
        self.names.add(case.case)
        for k, join in enumerate(case.joins):
            at = (*path, "join", k) if isinstance(case.join, list) else (*path, "join")
            for key, message in faults(join, self.vocabulary):
                self.bad((*at, key), message)
            if join.account is UNSET and "account" not in self.value:
                self.bad(at, "whose meeting? give `account` here, or at the top of the file for all cases")
        now = self.time(case.now, (*path, "now"))
        if now is None and head is not None:
            now = self.time(head.now, None)
        return Placed(case, self.place(path)[0], now)

    def time(self, text: str | UnsetType, path: Where | None) -> int | None:
        """The instant, or None; a bad one is noted where a path is given."""
        if text is UNSET:
            return None
        try:
            return instants.parse(text)
        except ValueError as exc:
            if path is not None:
                self.bad(path, str(exc))
            return None

    def convert(self, value: object, kind: type[_Kind], path: Where) -> _Kind | None:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as exc:
            found = _SAID.fullmatch(str(exc))
            said, where = (found[1], found[2] or "") if found else (str(exc), "")
            inner = tuple(int(i) if i else name for i, name in _STEP.findall(where))
            self.bad(*_in_words(said, path, inner, kind))
            return None


# -- what msgspec says, for people -------------------------------------------------------------------------------

_SAID: Final = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_STEP: Final = re.compile(r"\[(\d+)\]|\.(\w+)")
_UNKNOWN_KEY: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_KEY: Final = re.compile(r"Object missing required field `(.*)`")
_CONNECTIONS: Final = (*get_args(Connection), "unlisted")
_WORDS: Final[dict[str, Sequence[str]]] = {
    "expect": VERDICTS,
    "verdict": VERDICTS,
    "report": (*VERDICTS, NONE),
    "outcome": (*get_args(OutcomeName), NONE),
    "role": ROLES,
    "stage": STAGES,
    "connection": _CONNECTIONS,
}


def _in_words(said: str, outer: Where, inner: Where, kind: Any) -> tuple[Where, str]:
    """Where a problem is and what it is, for whoever wrote the file."""
    path = outer + inner
    names = [step for step in inner if isinstance(step, str)]
    if unknown := _UNKNOWN_KEY.fullmatch(said):
        struct = {"join": Join, "expect": Expected, "report": Answer}.get(names[-1], kind) if names else kind
        what = {CaseFile: "a test file", Case: "a case", Join: "a join"}.get(struct, "an expectation")
        keys = ", ".join(struct.__struct_fields__)
        return (*path, unknown[1]), f"{what} has no key {unknown[1]!r}; it has {keys}"
    if missing := _MISSING_KEY.fullmatch(said):
        return path, f"the key {missing[1]!r} is missing"
    if said.endswith("got `null`"):
        return path, "has no value; leave the key out for what is not known"
    if said.startswith("Invalid enum value") and names:
        return path, f"{said[len('Invalid enum value ') :]} is none of {', '.join(_WORDS[names[-1]])}"
    return path, said[:1].lower() + said[1:]
