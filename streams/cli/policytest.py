"""``doorward policy test``: the cases beside the documents, tried with the worker's own code.

A run reads every test file and the documents under test, tries every case, and counts what the documents' rules came
to. Nothing runs unless everything could be read: one bad file among good ones is said, with all that is wrong with
the others too. With ``--watch`` it runs again whenever a file changed, until Ctrl-C.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from streams.adapters.iso import vocabulary
from streams.cli import console
from streams.cli.decide import open_geo
from streams.cli.explain import rendered
from streams.core import cases
from streams.core.cases import Difference
from streams.core.coverage import Coverage, Covered
from streams.core.explain import Explanation, explain
from streams.core.facts import Facts
from streams.core.index import Index
from streams.core.policy import LIMITS, Limits
from streams.wire import documents, signed, testfiles
from streams.wire.documents import TESTS, FolderUnavailable, Place

POLL_SECONDS: Final = 0.5
"""How often ``--watch`` looks for changes."""

LookUp = Callable[[str], Facts]


class Tried(msgspec.Struct, frozen=True):
    """One join of a case.

    Attributes:
        place: where the case stands.
        name: the case's; numbered where it has several joins.
        differences: what came otherwise; empty where all is well.
        explanation: how the decision came about.
    """

    place: Place
    name: str
    differences: list[Difference]
    explanation: Explanation


class Run(msgspec.Struct):
    """What a run came to.

    Attributes:
        files: test files found.
        tried: every join of every case, in order.
        problems: what kept it from running; then nothing was tried.
        nothing: what there was nothing of, so that nothing was tried.
        folders: where a change may change the result.
    """

    files: int = 0
    tried: list[Tried] = []
    problems: list[str] = []
    nothing: list[str] = []
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    folders: set[Path] = set()

    @property
    def failed(self) -> list[Tried]:
        """The joins that were not decided as expected."""
        return [each for each in self.tried if each.differences]


def try_cases(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help=f"Test files (*{TESTS}), and folders of them and of documents. None: this folder."),
    ] = None,
    geo_files: Annotated[
        list[Path] | None,
        typer.Option("--geo", help="MMDB file for cases that give an address only, repeatable. None: the snapshot."),
    ] = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="Show which rules and outcomes were reached.")] = False,
    min_coverage: Annotated[
        float | None, typer.Option(min=0, max=100, help="Exit code 1 if a smaller share is reached, in percent.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run again when a file changes, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run.")] = False,
) -> None:
    """Try the cases beside the documents: what came otherwise than expected, why, and what no case reached.

    Exit codes: 0 all as expected, 1 not so, 2 a file that is not right, 3 nothing to test.
    """
    geography = open_geo(geo_files)
    limits = console.settings().limits()
    given = paths or [Path()]

    def once() -> tuple[int, Run]:
        made = run(given, geography.facts, limits)
        with console.quiet_pipe():
            return _tell(made, coverage=coverage, least=min_coverage, as_json=as_json), made

    if not watch:
        raise typer.Exit(once()[0])
    try:
        folders = {path if path.is_dir() else path.parent for path in given}
        while True:
            before = {folder: _stamps(folder) for folder in folders}  # first: what changes during a run is not missed
            _, made = once()
            console.say("doorward: waiting for changes; Ctrl-C ends")
            folders |= made.folders
            _wait({folder: before.get(folder) or _stamps(folder) for folder in folders})
    except KeyboardInterrupt:
        raise typer.Exit from None


def run(paths: Iterable[Path], look_up: LookUp, limits: Limits = LIMITS) -> Run:
    """Read everything, and try every case if all of it could be read.

    Args:
        paths: test files and folders.
        look_up: address text to facts; may raise BadAddress.
        limits: the greatest sizes of documents.
    """
    made = Run()
    selected: list[tuple[testfiles.Read, Index]] = []
    for file in _test_files(paths, made, limits):
        read, wrong = testfiles.read_file(file, vocabulary())
        made.problems += map(str, wrong)
        if read is not None and (index := _index(read, made, limits)) is not None:
            selected.append((read, index))
    if made.problems or made.nothing:
        made.problems = list(dict.fromkeys(made.problems))
        return made
    for read, index in selected:
        for slot in index:
            for revision in slot.revisions:
                made.coverage.add(revision)
        made.tried += _try(read, index, look_up, made)
    if made.problems:
        made.tried = []
    return made


# -- what there is to read -----------------------------------------------------------------------------------------


def _test_files(paths: Iterable[Path], made: Run, limits: Limits) -> list[Path]:
    """The test files that paths mean, each once; notes what there is nothing of, and a folder's documents."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            made.folders.add(path)
            try:
                files = testfiles.find_files(path)
            except FolderUnavailable as exc:
                made.nothing.append(str(exc))
                continue
            if not files:
                made.nothing.append(f"no tests (*{TESTS}) in {path}")
            _ask_for_all(path, made, limits)
        elif not path.exists():
            made.nothing.append(f"{path}: there is no such file or folder")
            continue
        elif not path.name.endswith(TESTS):
            made.problems.append(f"{path}: is no test file; its name has to end in {TESTS}")
            continue
        else:
            files = [path]
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    made.files = len(found)
    return list(found.values())


def _ask_for_all(folder: Path, made: Run, limits: Limits) -> None:
    """A folder's documents count for coverage though no test selects them."""
    try:
        placed, unreadable = documents.read_folder(folder, limits.signed)
    except FolderUnavailable as exc:
        made.nothing.append(str(exc))
        return
    made.problems += map(str, unreadable)
    for value, place in placed:
        # An index each: folders below may hold one document twice, for tests that select one of them.
        index, findings = signed.index_of_unsigned([(value, place)], vocabulary(), limits)
        made.problems += map(str, findings)
        for slot in index:
            made.coverage.add(slot.revisions[0])


def _index(read: testfiles.Read, made: Run, limits: Limits) -> Index | None:
    """The documents that a test file is about; None where there is something wrong with them, or there are none."""
    placed: list[documents.Placed] = []
    problems: list[str] = []
    for path in read.selected:
        made.folders.add(path if path.is_dir() else path.parent)
        try:
            read_all = documents.read_folder if path.is_dir() else documents.read_file
            found, wrong = read_all(path, limits.signed)
        except FolderUnavailable as exc:
            problems.append(f"{read.file}: documents: {exc}")
            continue
        placed += found
        problems += [f"{read.file}: documents: {each}" if each.line is None else str(each) for each in wrong]
    index, findings = signed.index_of_unsigned(placed, vocabulary(), limits)
    problems += map(str, findings)
    made.problems += problems
    if problems:
        return None
    if not len(index):
        where = ", ".join(map(str, read.selected))
        made.nothing.append(f"{read.file}: no unsigned documents to test in {where}")
        return None
    return index


# -- trying --------------------------------------------------------------------------------------------------------


def _try(read: testfiles.Read, index: Index, look_up: LookUp, made: Run) -> Iterator[Tried]:
    account = read.head.account or ""  # where it is missing, each join has its own
    for placed in read.cases:
        case, place = placed.case, Place(read.file, placed.line)
        for number, join in enumerate(case.joins, 1):
            data = cases.join_data(join, account, read.head.meeting)
            if placed.at is None and (windows := cases.timed(index, data)):
                made.problems.append(f"{place}: {windows[0]} has a window: say with `now` at what time this is")
                break
            at = placed.at or 0  # where no document has a window, any time is as good
            facts = cases.facts_of(join, vocabulary(), look_up)
            explanation = explain(index, data, facts, at, rosters=True)
            for step in explanation.documents:
                slot = index.get(step.policy)
                revision = slot.in_force(at) if slot else None
                if revision is not None:
                    made.coverage.take(revision, step)
            name = f"{case.case} (join {number} of {len(case.joins)})" if len(case.joins) > 1 else case.case
            yield Tried(place, name, cases.try_out(index, data, facts, at, case.expected), explanation)


# -- telling -------------------------------------------------------------------------------------------------------


def _tell(made: Run, *, coverage: bool, least: float | None, as_json: bool) -> int:
    """Write what a run came to, and return the exit code."""
    code = _code(made, least)
    if as_json:
        console.out(msgspec.json.encode(_summary(made, code)))
        return code
    for line in [*made.problems, *made.nothing]:
        console.say(line if line in made.problems else f"doorward: {line}")
    if made.problems or made.nothing:
        console.say(f"doorward: {len(made.problems) + len(made.nothing)} problem(s); nothing was tested")
        return code
    for tried in made.failed:
        for line in _failure(tried):
            console.out(line)
    if coverage:
        for document in made.coverage.documents:
            for line in _covered(document):
                console.out(line)
    console.out(_last_line(made))
    if _too_little(made, least):
        console.say(f"doorward: less than {least:g} % of the rules and outcomes are reached")
    return code


def _code(made: Run, least: float | None) -> int:
    if made.problems:
        return console.BAD_INPUT
    if made.nothing:
        return console.UNAVAILABLE
    return console.FINDING if made.failed or _too_little(made, least) else 0


def _too_little(made: Run, least: float | None) -> bool:
    counted = made.coverage
    return least is not None and 100 * counted.reached < least * counted.total


def _failure(tried: Tried) -> Iterator[str]:
    yield f"FAILED {tried.place}: {tried.name}"
    for difference in tried.differences:
        yield f"  - {difference.what}: {difference.expected}"
        yield f"  + {difference.what}: {difference.came}"
    by = tried.explanation.decided_by
    yield f"    {tried.explanation.verdict} {f'by {by}' if by else 'as no document in force reaches this join'}"
    yield from (f"    {line}" for line in rendered(tried.explanation))


def _covered(document: Covered) -> Iterator[str]:
    report = ", report mode" if document.mode == "report" else ""
    yield (
        f"{document.policy} revision {document.revision}{report}: {document.reached} of {len(document.points)} reached"
    )
    for point in document.points:
        what = f"rule {point.name!r}" if point.kind == "rule" else point.kind
        counts = [f"{word} {count}x" for word, count in (("decided", point.decided), ("open", point.open)) if count]
        yield f"  {what}, {point.then}: {', '.join(counts) or 'never'}"


def _last_line(made: Run) -> str:
    total, failed, counted = len(made.tried), len(made.failed), made.coverage
    said = f"all {total} joins as expected" if not failed else f"{failed} of {total} joins NOT as expected"
    share = f"{counted.reached} of {counted.total} rules and outcomes reached ({counted.tenths / 10:g} %)"
    return f"{said}, in {made.files} test file{'s' if made.files != 1 else ''}; {share}"


def _summary(made: Run, code: int) -> dict[str, Any]:
    """A run for ``--json``; explanations only of what failed."""
    return {
        "ok": code == 0,
        "exit": code,
        "problems": made.problems + made.nothing,
        "files": made.files,
        "joins": [
            {
                "file": each.place.file,
                "line": each.place.line,
                "case": each.name,
                "ok": not each.differences,
                "differences": each.differences,
                **({"explanation": each.explanation} if each.differences else {}),
            }
            for each in made.tried
        ],
        "coverage": {
            "reached": made.coverage.reached,
            "total": made.coverage.total,
            "documents": [
                {
                    **msgspec.to_builtins(document),
                    "points": [{**msgspec.to_builtins(point), "state": point.state} for point in document.points],
                }
                for document in made.coverage.documents
            ],
        },
    }


# -- watching ------------------------------------------------------------------------------------------------------


def _wait(before: dict[Path, dict[str, tuple[int, int]]]) -> None:
    """Block until a file in one of the folders is changed, added or gone."""
    while all(_stamps(folder) == stamps for folder, stamps in before.items()):
        time.sleep(POLL_SECONDS)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Modification time (ns) and size of every file in a folder and below."""
    found: dict[str, tuple[int, int]] = {}
    for directory, below, files in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            try:
                state = os.stat(file := os.path.join(directory, name))
            except OSError:  # gone since it was listed
                continue
            found[file] = (state.st_mtime_ns, state.st_size)
    return found
