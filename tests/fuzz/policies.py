# ruff: noqa: PT017  # what is refused is an answer here, and is looked at where it comes
"""What people write: policy documents in YAML and JSON, and the files of policy tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from streams.adapters import geomanifest
from streams.adapters.iso import vocabulary
from streams.core import policy
from streams.wire import documents, plainyaml, stored, testfiles, yaml12
from streams.wire.documents import Unreadable
from streams.wire.spans import Spans
from tests.fuzz.engine import Target, corpus_of
from tests.fuzz.records import examples

DEPLOYED: Final = Path(__file__).parents[2] / "deploy" / "policies"
_stored = stored.decoder(vocabulary())


def _told(problems: list[Unreadable], lines: int) -> None:
    """Every problem says something, in one place that exists."""
    for problem in problems:
        assert problem.message
        assert problem.code
        assert problem.line is None or 1 <= problem.line <= lines + 1, f"line {problem.line} of {lines}"
        assert problem.column is None or problem.column >= 1


def _documents(data: bytes, name: str) -> list[Any]:
    spans: list[Callable[[], Spans]] = []
    found, problems = documents.read(data, name, spans)
    lines = data.count(b"\n") + 1
    _told(problems, 10 * lines + 10)  # YAML knows line ends that bytes do not show
    assert len(spans) == len(found)
    text = data.decode("utf-8-sig", "replace")
    for (value, place), get in zip(found, spans, strict=True):
        assert place.line >= 1
        for begin, end in get().values.values():
            assert 0 <= begin <= end <= len(text)
        json.dumps(value, allow_nan=False).encode()
        if isinstance(value, dict):
            document(value)
    return [value for value, _ in found]


def yaml(data: bytes) -> None:
    """A YAML file is read or refused; the quick reader takes only what the full one reads likewise, place by place."""
    values = _documents(data, "p.yaml")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        assert values == []
        return
    mine: list[Spans] = []
    quick = plainyaml.load(text, mine)
    if quick is None:
        return
    theirs: list[Spans] = []
    full, faults = yaml12.load(text, theirs)
    assert faults == [], "the full reader refuses what the quick one takes"
    assert repr(quick) == repr(full), "the two readers differ"
    for one, other in zip(mine, theirs, strict=True):
        assert one.keys == other.keys
        assert {path: begin for path, (begin, _) in one.values.items()} == {
            path: begin for path, (begin, _) in other.values.items()
        }


def json_file(data: bytes) -> None:
    """A JSON file holds what strict JSON holds, or is refused; YAML, of which JSON is a subset, reads nothing else."""
    values = _documents(data, "p.json")
    try:
        whole = documents.strict_json(data.removeprefix(b"\xef\xbb\xbf"))
    except documents.NotJson:
        return
    # Of numbers beyond 64 bits, which no field takes, one reader makes floats.
    assert orjson.loads(json.dumps(values)) == orjson.loads(json.dumps(whole if isinstance(whole, list) else [whole]))
    again, problems = documents.read(data, "p.yaml")
    read = orjson.loads(json.dumps(whole))
    assert problems or orjson.loads(json.dumps(again[0][0])) == read, "YAML reads something else"


def document(value: object) -> None:
    """A value is a document, or refused with all that is wrong; a document is stored and read back the same."""
    try:
        found = policy.parse(value, vocabulary())
    except policy.Invalid as exc:
        assert exc.problems
        assert all(problem.code and problem.message for problem in exc.problems)
        str(exc)
        return
    assert found.path.isascii()
    assert found.path.count("/") == {"service": 1, "account": 2, "meeting": 3}[found.scope]
    kept = stored.encode(found)
    assert stored.encode(policy.examine(value, vocabulary())) == kept, "read quickly it is another document"
    assert stored.encode(_stored(kept)) == kept
    assert stored.encode(policy.parse(json.loads(json.dumps(value)), vocabulary())) == kept


def _policy(data: bytes) -> None:
    try:
        value = json.loads(data)  # NaN, lone surrogates and repeats included: parse takes any value
    except (ValueError, RecursionError):
        return
    document(value)


def cases(data: bytes) -> None:
    """A test file is read whole, or every mistake has a place."""
    found, problems = testfiles.read(data, "x.test.yaml", vocabulary())
    assert (found is None) == bool(problems)
    _told(problems, 10 * data.count(b"\n") + 20)
    if found is not None:
        assert found.cases
        assert found.selected


def manifest(data: bytes) -> None:
    """A manifest of geo files is one, or a ValueError of one line that names no canary's address (charter C7)."""
    try:
        geomanifest.parse(data, vocabulary())
    except ValueError as exc:
        assert "8.8.8.8" not in re.findall(r"[\w.:]+", str(exc)), "the message repeats a canary's address"


_FILES: Final = sorted(DEPLOYED.glob("**/*.yaml"))
_TESTS: Final = [file.read_bytes() for file in _FILES if file.name.endswith(".test.yaml")]
_STARTERS: Final = [file.read_bytes() for file in _FILES if not file.name.endswith(".test.yaml")]
_YAML: Final = (
    *(b"\n  - ", b"\n- ", b"\n    ", b": ", b"{a: ", b"[a, ", b"'", b'"\\x41"', b"0o7", b".inf", b"~", b"\r\n"),
    *(b"? ", b"k" * 1025, b"&a ", b"*a", b"!t "),
)
_FIELDS: Final = (b'"retracted": true', b'"on_behalf": true', b'"when": {}', b'{"not": []}', b'"language": 2')
_CASES: Final = (b"join: []", b"expect: none", b"report: {", b"cases: ", b"now: 2026-11-21", b"documents: ..", *_YAML)
_DOCUMENTS: Final = [*corpus_of("policy"), *examples("policy")]

# Reading YAML in full costs some 0.1 ms a node, and 0.4 s for a thousand brackets.
TARGETS: Final = [
    Target("yaml", yaml, "text", [*corpus_of("yaml"), *_STARTERS], _YAML, share=0.25, seconds=1, largest=8192),
    Target("json-file", json_file, "json", _DOCUMENTS, _FIELDS, share=0.25, seconds=1, largest=8192),
    Target("policy", _policy, "json", _DOCUMENTS, _FIELDS),
    Target("cases", cases, "text", [*corpus_of("cases"), *_TESTS], _CASES, share=0.1, seconds=1, largest=8192),
    Target("manifest", manifest, "json", corpus_of("manifest"), (b'"canaries": {}', b'"../x"')),
]
