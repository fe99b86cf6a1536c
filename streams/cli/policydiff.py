"""`doorward policy diff`: what changes for whom between two documents, and what they write differently.

Exit codes are those of diff(1): 0 no difference, 1 differences, 2 trouble with what was given (3: a broker or file
that cannot be had). A revision's number alone is no difference.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from streams.adapters.iso import vocabulary
from streams.cli import console, history, pushing, trial
from streams.core import rulelists
from streams.core.difference import Change, TooLarge, changes
from streams.core.differencewords import data, sentence
from streams.core.policy import Document, Invalid
from streams.core.standing import present
from streams.settings import Settings
from streams.wire import documents, jws, signed
from streams.wire.documents import SIGNED, Place, Unreadable

MOST_LINES: Final = 40
"""Of one document's ``for whom``; ``--json`` tells all."""


def diff(
    files: Annotated[
        list[Path],
        typer.Argument(help="Two files; or one, which is held against the policy log's present revisions.", min=1),
    ],
    bootstrap: history.Bootstrap = None,
    trust_file: history.Trust = None,
    audience: history.Audience = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a document.")] = False,
) -> None:
    """Say what changes for whom from one document to another, by deciding with both.

    Files are YAML, JSON or signed (*.jws.json, whose signatures are not looked at); where they hold several documents,
    those with the same path are compared. With one file the old side is the revision in force in the log. Exit codes:
    0 no difference, 1 differences, 2 bad input, 3 a broker or file that cannot be had.
    """
    settings = console.settings(kafka_bootstrap=bootstrap, trust=trust_file, audience=audience)
    if len(files) > 2:
        console.fail("give two files, or one to be held against the log", console.BAD_INPUT)
    sides = [_documents(file, settings) for file in files]
    old, new = sides if len(sides) == 2 else (_present(sides[0], settings), sides[0])
    differs = False
    with console.quiet_pipe():
        for before, after in _pairs(old, new):
            told = _Comparison(before, after)
            differs = differs or told.differs
            for line in [json.dumps(told.summary())] if as_json else told.lines():
                console.out(line)
    if differs:
        raise typer.Exit(console.FINDING)
    console.say("no difference")


def _pairs(old: dict[str, Document], new: dict[str, Document]) -> list[tuple[Document | None, Document | None]]:
    """Documents to compare: those of one path, or the only two there are."""
    if len(old) == len(new) == 1:
        return list(zip(old.values(), new.values(), strict=True))
    return [(old.get(path), new.get(path)) for path in dict.fromkeys([*old, *new])]


def _documents(file: Path, settings: Settings) -> dict[str, Document]:
    """The documents of a file by path. Ends the command where it holds none, or one that is wrong."""
    if not file.is_file():
        console.fail(f"there is no file {file}", console.UNAVAILABLE)
    limits = settings.limits()
    problems: list[object] = []
    placed: list[tuple[Any, Place]] = []
    if file.name.endswith(SIGNED):
        raw = documents.read_bytes(file)
        try:
            if isinstance(raw, Unreadable):
                problems.append(raw)
            else:
                placed.append((jws.unverified(raw, settings.audience, limits.signed), Place(str(file), 1)))
        except jws.BadSignature as exc:
            problems.append(f"{file}: {exc} [{exc.code}]")
    else:
        placed, wrong = documents.read_file(file, limits.signed)
        problems += wrong
    found: dict[str, Document] = {}
    for value, place in placed:
        try:
            document = signed.plain(value, vocabulary(), limits)
        except Invalid as exc:
            problems += [signed.Finding(place, problem) for problem in exc.problems]
            continue
        if document.path in found:
            problems.append(f"{place}: {document.path} stands twice in the file")
        found[document.path] = document
    pushing.stop_if(problems)
    return found


def _present(wanted: dict[str, Document], settings: Settings) -> dict[str, Document]:
    """What the log has of these paths: the revision in force."""
    log, _ = history.read(settings, pushing.trusted(settings))
    found = {}
    for path in wanted:
        slot = log.index.get(path)
        if slot is None:
            console.say(f"{path}: the policy log has no such document")
            continue
        now = present(slot, trial.now())
        if now.state in ("in force", "retracted"):
            found[path] = now.revision.document
        else:
            console.say(f"{path}: revision {now.revision.document.revision} is {now.state}, so nothing is in force")
        for waiting in slot.revisions:
            if waiting.document.revision > now.revision.document.revision:
                console.say(f"{path}: revision {waiting.document.revision} waits; it is not what is compared")
    return found


class _Comparison:
    """What differs between two documents, of which at most one is None."""

    def __init__(self, old: Document | None, new: Document | None) -> None:
        self.old, self.new = old, new
        self.path = next(each.path for each in (new, old) if each is not None)
        self.fields = rulelists.fields(old, new) if old and new else []
        self.rules = rulelists.rules(old, new) if old and new else []
        self.changes, self.too_large = _changes(old, new)

    @property
    def differs(self) -> bool:
        return bool(self.changes or self.fields or self.rules or self.old is None or self.new is None)

    def summary(self) -> dict[str, Any]:
        """As plain JSON values; ``changes`` is null where it is too large, and ``too_large`` says of what."""
        return {
            "path": self.path,
            "was": self.old.revision if self.old else None,
            "now": self.new.revision if self.new else None,
            "differs": self.differs,
            "changes": None if self.changes is None else [data(each, vocabulary()) for each in self.changes],
            "too_large": self.too_large,
            "fields": [{"field": each.field, "was": each.was, "now": each.now} for each in self.fields],
            "rules": [{"id": each.id, "what": each.what, "details": list(each.details)} for each in self.rules],
        }

    def lines(self) -> list[str]:
        """For people; none where nothing differs."""
        if not self.differs:
            return []
        was, now = ("none" if each is None else str(each.revision) for each in (self.old, self.new))
        told = [*_in_words(self.changes, self.too_large), *map(str, self.fields), *map(str, self.rules)]
        return [f"{self.path}: revision {was} → {now}", *(f"  {line}" for line in told)]


def _changes(old: Document | None, new: Document | None) -> tuple[list[Change] | None, str | None]:
    try:
        return changes(old, new, vocabulary()), None
    except TooLarge as exc:
        return None, str(exc)


def for_whom(old: Document | None, new: Document | None) -> list[str]:
    """What changes for whom, in words, or why that cannot be said."""
    return _in_words(*_changes(old, new))


def _in_words(found: list[Change] | None, too_large: str | None) -> list[str]:
    if found is None:
        return [f"for whom is too large to work out ({too_large}); what the documents write must do"]
    if not found:
        return ["for nobody: while in force, both decide alike"]
    lines = [sentence(change, vocabulary()) for change in found[:MOST_LINES]]
    if len(found) > MOST_LINES:
        lines.append(f"and {len(found) - MOST_LINES:,} more changes (--json tells all)")
    return lines
