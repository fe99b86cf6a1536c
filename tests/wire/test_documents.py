"""Policy files are read as YAML 1.2's core schema and strict JSON say, and every mistake is reported with its place."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from streams.wire import yaml12
from streams.wire.documents import (
    MAX_DOCUMENT,
    MAX_FILE,
    FolderUnavailable,
    NotJson,
    read,
    read_file,
    read_folder,
    read_signed_folder,
    strict_json,
)


def values(text: str | bytes, file: str = "p.yaml") -> list[Any]:
    found, problems = read(text.encode() if isinstance(text, str) else text, file)
    assert problems == []
    return [value for value, _ in found]


def problems(text: str | bytes, file: str = "p.yaml") -> list[str]:
    _, wrong = read(text.encode() if isinstance(text, str) else text, file)
    return [str(problem) for problem in wrong]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # strings that YAML 1.1 or eager readers take for something else
        ("NO", "NO"),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("1:20", "1:20"),
        ("0b11", "0b11"),
        ("-0o17", "-0o17"),
        ("+0x1F", "+0x1F"),
        ("0o18", "0o18"),
        ("=", "="),
        ("tRue", "tRue"),
        ("1.2.3", "1.2.3"),
        ("1e", "1e"),
        (".", "."),
        ("+", "+"),
        ("nan", "nan"),
        # what the core schema resolves
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("null", None),
        ("Null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("9223372036854775807", 2**63 - 1),
        ("99999999999999999999", 99999999999999999999),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e-1", -0.05),
        ("1e3", 1000.0),
        # quoted and block scalars are strings whatever they hold
        ("'true'", "true"),
        ('"1"', "1"),
        ("''", ""),
        ('"~"', "~"),
        ("|\n  12\n", "12\n"),
        (">\n  null\n", "null\n"),
    ],
)
def test_scalars_mean_what_the_core_schema_says(text: str, value: object) -> None:
    assert values(f"k: {text}\n") == [{"k": value}]
    assert type(values(f"k: {text}\n")[0]["k"]) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: 1\nb: 2\na: 3\n", ["p.yaml:3:1: the key 'a' stands twice in one mapping"]),
        ("a: 1\n'a': 2\n", ["p.yaml:2:1: the key 'a' stands twice in one mapping"]),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", ["p.yaml:3:3: merge keys (<<) are not allowed"]),
        ("a: !!str 1\n", ["p.yaml:1:4: tags are not allowed; quote what must be a string"]),
        ("a: ! b\n", ["p.yaml:1:4: tags are not allowed; quote what must be a string"]),
        ("a: !secret b\n", ["p.yaml:1:4: tags are not allowed; quote what must be a string"]),
        ("!!map {a: 1}\n", ["p.yaml:1:1: tags are not allowed; quote what must be a string"]),
        ("1: a\n", ["p.yaml:1:1: a key must be a string; quote it"]),
        ("true: a\n", ["p.yaml:1:1: a key must be a string; quote it"]),
        ("? [a]\n: b\n", ["p.yaml:1:3: a key must be a string; quote it"]),
        ("? {a: b}\n: b\n", ["p.yaml:1:3: a key must be a string; quote it"]),
        (": b\n", ["p.yaml:1:1: a key must be a string; quote it"]),
        ("a: .nan\n", ["p.yaml:1:4: .nan is no JSON number; quote it if a string is meant"]),
        ("a: -.inf\n", ["p.yaml:1:4: -.inf is no JSON number; quote it if a string is meant"]),
        ("a: 1e999\n", ["p.yaml:1:4: 1e999 is no JSON number; quote it if a string is meant"]),
        ("&a [*a]\n", ["p.yaml:1:5: &a holds itself"]),
        ("&a {b: {c: *a}}\n", ["p.yaml:1:12: &a holds itself"]),
        ("a: *b\n", ["p.yaml:1:4: there is no anchor &b before this"]),
        ("%YAML 1.1\n---\na: no\n", ["p.yaml:2:1: only YAML 1.2 is read here; leave out %YAML"]),
        ("a: '\n", ["p.yaml:2:1: not YAML: found unexpected end of stream"]),
        ("a: \0\n", ["p.yaml:1:4: not YAML: U+0000 is not allowed"]),
        ('a: "\\ud800"\n', ["p.yaml:1:4: a lone surrogate is no character"]),
        ('a: "\\UFFFFFFFF"\n', ["p.yaml: not YAML: an escape or a directive has a number beyond all bounds"]),
        ("", ["p.yaml: holds no document"]),
        ("# nothing\n", ["p.yaml: holds no document"]),
        ("a: 1\n  b: 2\n", ["p.yaml:2:4: not YAML: mapping values are not allowed here"]),
        # all of a file's mistakes are said at once, those of good documents between bad ones too
        ("1: a\n---\nok: 1\n---\nb: !x c\nb: d\n", [
            "p.yaml:1:1: a key must be a string; quote it",
            "p.yaml:5:4: tags are not allowed; quote what must be a string",
            "p.yaml:6:1: the key 'b' stands twice in one mapping",
        ]),
    ],
)  # fmt: skip
def test_yaml_that_is_refused_says_where_and_why(text: str, wanted: list[str]) -> None:
    assert problems(text) == wanted


def test_a_file_holds_several_documents_with_their_lines() -> None:
    found, wrong = read(b"# first\na: 1\n---\nb: 2\n...\n---\nc: 3\n", "p.yaml")
    assert wrong == []
    assert [(value, str(place)) for value, place in found] == [
        ({"a": 1}, "p.yaml:2"),
        ({"b": 2}, "p.yaml:4"),
        ({"c": 3}, "p.yaml:7"),
    ]


def test_good_documents_are_kept_beside_bad_ones() -> None:
    found, wrong = read(b"a: 1\n---\nb: !x 2\n---\nc: 3\n", "p.yaml")
    assert [value for value, _ in found] == [{"a": 1}, {"c": 3}]
    assert len(wrong) == 1


def test_anchors_stand_for_their_nodes() -> None:
    assert values("a: &x [NO, SE]\nb: *x\nc: &x 1\nd: *x\n&k e: 2\nf: *k\n") == [
        {"a": ["NO", "SE"], "b": ["NO", "SE"], "c": 1, "d": 1, "e": 2, "f": "e"}
    ]
    assert problems("a: &x 1\n---\nb: *x\n"), "anchors end with their document"


@pytest.mark.timeout(20)
def test_aliases_expand_to_a_hundred_thousand_nodes_and_no_further() -> None:
    def document(times: int) -> str:  # root, two keys, the anchor's 1,001, a list and its aliases
        return f"a: &a [{','.join(['x'] * 1000)}]\nb: [{','.join(['*a'] * times)}]\n"

    assert len(values(document(98))[0]["b"]) == 98  # 1 + 2 + 1001 + 1 + 98 * 1001 = 99,103
    assert problems(document(99)) == ["p.yaml:2:299: aliases expand to more than 100,000 nodes"]
    assert len(values("a: [" + "x," * 100_000 + "]\n")[0]["a"]) == 100_000, "without aliases there is no such bound"


@pytest.mark.timeout(20)
def test_a_billion_laughs_are_refused_before_they_are_laughed() -> None:
    lines = ["a0: &a0 lol"] + [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    (problem,) = problems("\n".join(lines))
    assert problem.endswith("aliases expand to more than 100,000 nodes")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, "? " * 10_000, "a:\n" + " - " * 5000])
def test_deep_yaml_is_a_clear_error(text: str) -> None:
    (problem,) = problems(text)
    assert "more than 64 containers in one another" in problem


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a: |\n" + f"  {'x' * 99}\n" * 45_000, "p.yaml"),
        ("ok: 1\n---\n" + "- 0.0.0.0/0\n" * 1_000_000, "p.yaml"),
        ("[" + "1," * 1_000_000 + "]", "p.yaml"),
        (json.dumps({"a": "x" * MAX_DOCUMENT}), "p.json"),
        (json.dumps([{"a": 1}, {"a": "x" * MAX_DOCUMENT}]), "p.json"),
    ],
    ids=["text", "networks", "flow", "json", "json array"],
)
def test_a_document_that_is_too_large_is_refused_before_it_is_parsed(text: str, file: str) -> None:
    _, (problem,) = read(text.encode(), file)
    assert problem.code == "too-large"
    assert problem.line == (2 if text.startswith("ok") else 1)


def test_a_yaml_document_has_so_many_nodes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "MAX_NODES", 5)
    assert values("[1, 2, 3, 4]\n---\n[1, 2, 3, 4]\n") == [[1, 2, 3, 4]] * 2
    assert problems("[1, 2, 3, 4, 5]\n") == ["p.yaml:1:14: a document has at most 5 nodes"]


@pytest.mark.parametrize(
    ("text", "file", "code"),
    [
        ("a: 1\na: 2\n", "p.yaml", "duplicate-key"),
        ("<<: {a: 1}\n", "p.yaml", "merge-key"),
        ("a: !x 1\n", "p.yaml", "tag"),
        ("1: a\n", "p.yaml", "key-type"),
        ("a: *x\n", "p.yaml", "alias"),
        ("%YAML 1.1\n---\na: 1\n", "p.yaml", "yaml-version"),
        ("a: .inf\n", "p.yaml", "number-format"),
        ('a: "\\ud800"\n', "p.yaml", "surrogate"),
        ("a: [\n", "p.yaml", "syntax"),
        ("a: \0\n", "p.yaml", "syntax"),
        ("[" * 70, "p.yaml", "too-deep"),
        ("[" * 70 + "]" * 70, "p.json", "too-deep"),
        ("[" * 2000 + "]" * 2000, "p.json", "too-deep"),
        ('{"a": 1, "a": 1}', "p.json", "duplicate-key"),
        ("{", "p.json", "syntax"),
        ("", "p.json", "no-document"),
    ],
)
def test_what_keeps_a_file_from_being_read_has_a_code(text: str, file: str, code: str) -> None:
    _, wrong = read(text.encode(), file)
    assert [problem.code for problem in wrong] == [code]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'{"a": 1, "a": 2}', "p.json:1: the key 'a' stands twice in one object"),
        (b'{"a": 1, "\\u0061": 2}', "p.json:1: the key 'a' stands twice in one object"),
        (b'[{"a": 1},\n\n{"b": {"c": 1, "c": 1}}]', "p.json:3: the key 'c' stands twice in one object"),
        (b'{"a": NaN}', "p.json:1:7: not JSON"),
        (b'{"a": Infinity}', "p.json:1:7: not JSON"),
        (b'{"a": 1e999}', "p.json:1:7: not JSON"),
        (b'{"a": "\\ud800"}', "p.json:1:8: not JSON"),
        (b'{"a": 1} {"b": 2}', "p.json:1:10: not JSON"),
        (b"{'a': 1}", "p.json:1:2: not JSON"),
        (b'{\n "a": 1,\n}', "p.json:"),
        (b"", "p.json: holds no document"),
        (b" \n", "p.json: holds no document"),
        (b'{"a": "\xff"}', "p.json:1: is not UTF-8 (byte 0xff)"),
        (b'\n{"a": "\xe9"}', "p.json:2: is not UTF-8 (byte 0xe9)"),
        ('{"a": 1}'.encode("utf-16"), "p.json:1: is not UTF-8 (byte 0xff)"),
        (b"[" * 10_000 + b"]" * 10_000, "p.json"),
        (b"[" * 65 + b"]" * 65, "p.json: more than 64 containers in one another"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "p.json"),
    ],
)
def test_json_that_is_refused_says_where_and_why(text: bytes, wanted: str) -> None:
    (problem,) = problems(text, "p.json")
    assert problem.startswith(wanted)


def test_a_json_file_holds_one_document_or_an_array() -> None:
    assert values(b'{"a": 1}', "p.json") == [{"a": 1}]
    assert values(b" [] ", "p.json") == []
    found, _ = read(b'[{"a": 1},\n\n {"b": 2}]', "p.json")
    assert [(value, place.line) for value, place in found] == [({"a": 1}, 1), ({"b": 2}, 3)]
    assert values(b"[" * 64 + b"]" * 64, "p.json")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert values("\ufeffa: 1\n") == [{"a": 1}]
    assert values('\ufeff{"a": 1}', "p.json") == [{"a": 1}]


def test_integers_are_kept_whole() -> None:
    assert strict_json(b"[9223372036854775808, 18446744073709551616]") == [2**63, 2**64]
    with pytest.raises(NotJson):
        strict_json(b"9" * 5000)


texts = st.text(st.characters(codec="utf-8"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


REFUSED: Any = "refused"


def read_at_length(data: bytes) -> Any:
    """Bracket by bracket, every key asked whether it has been there: a value, or REFUSED."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    depth = deepest = 0
    for mark in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data):
        depth += (mark in b"[{") - (mark in b"]}")
        deepest = max(deepest, depth)
    try:
        return REFUSED if deepest > yaml12.MAX_DEPTH else json.loads(data, object_pairs_hook=once)
    except ValueError:
        return REFUSED


marks = st.text(st.sampled_from('"\\[]{}:, a\u00e9'), max_size=6)
marked = st.recursive(
    st.none() | st.integers(0, 9) | marks,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(marks, inner, max_size=3),
    max_leaves=10,
)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """JSON that is hard to read at a glance: brackets and quotation marks in strings, about as deep as may be."""
    inner = json.dumps(
        draw(marked), ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    )
    around = draw(st.lists(st.sampled_from(["[", '{"a":', '["[",', '{"]":1,"}":']), max_size=3))
    deep = draw(st.sampled_from([0, 0, 60, 61, 62, 63, 64, 65]))
    opened = ["["] * deep + around
    closed = "".join("}" if each[0] == "{" else "]" for each in reversed(opened))
    text = "".join(opened) + inner + closed
    if draw(st.booleans()):
        key = json.dumps(draw(marks), ensure_ascii=False)
        text = f"{{{key}:{text},{draw(st.sampled_from([key, json.dumps('b')]))}:1}}"
    return text


@given(json_texts())
def test_json_is_as_strict_quickly_read_as_at_length(text: str) -> None:
    try:
        found = strict_json(text.encode())
    except NotJson:
        found = REFUSED
    assert found == read_at_length(text.encode())


@given(st.dictionaries(texts, plain, max_size=5))
def test_json_comes_back_as_it_was_written(value: dict[str, Any]) -> None:
    assert values(json.dumps(value), "p.json") == [value]
    assert values(json.dumps(value, ensure_ascii=False, indent=1), "p.json") == [value]
    assert values(json.dumps([value, value]), "p.json") == [value, value]


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    for file in ("p.yaml", "p.json"):
        found, wrong = read(text.encode(), file)
        assert found or wrong or text.strip() == "[]"


@given(st.text(st.sampled_from("ab01:-?[]{},&*!|>'\"%#@` \n\t\\~<."), max_size=40))
def test_no_yaml_breaks_the_reader_and_what_it_reads_other_readers_read_too(text: str) -> None:
    found, wrong = read(text.encode(), "p.yaml")
    assert found or wrong
    if not wrong:  # the strings' and containers' shape is the parser's; only scalars are resolved differently
        others = list(YAML(typ="base", pure=True).load_all(text))
        assert [type(v) for v, _ in found if isinstance(v, dict | list)] == [
            type(o) for o in others if isinstance(o, dict | list)
        ]


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for file in ("p.yaml", "p.json"):
        read(data, file)


# -- folders -----------------------------------------------------------------------------------------------------


def test_a_folder_is_read_recursively_in_order_without_what_is_no_document(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/b.json", "c.test.yaml", "d.jws.json", "e.txt", ".f.yaml", ".g/h.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"file": name}))
    found, wrong = read_folder(tmp_path)
    assert wrong == []
    assert [value["file"] for value, _ in found] == ["a/b.json", "a/z.yml", "b.yaml"]
    raw, wrong = read_signed_folder(tmp_path)
    assert wrong == []
    assert [(json.loads(data)["file"], place.line) for data, place in raw] == [("d.jws.json", 1)]


def test_everything_wrong_in_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: !x 1\n")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.yaml").write_text("c: 1\n")
    (tmp_path / "d.yaml").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "e.yaml")
    found, wrong = read_folder(tmp_path)
    assert [value for value, _ in found] == [{"c": 1}]
    assert [Path(problem.file).name for problem in wrong] == ["a.yaml", "b.json", "d.yaml", "e.yaml"]


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.yaml").write_text("a: 1\n")
    (tmp_path / "in" / "back").symlink_to(tmp_path)
    found, wrong = read_folder(tmp_path)
    assert ([value for value, _ in found], wrong) == ([{"a": 1}], [])


def test_a_missing_folder_and_a_missing_or_huge_file_are_clear(tmp_path: Path) -> None:
    with pytest.raises(FolderUnavailable, match="No such file or directory"):
        read_folder(tmp_path / "gone")
    (tmp_path / "file.yaml").write_text("a: 1\n")
    with pytest.raises(FolderUnavailable, match="Not a directory"):
        read_signed_folder(tmp_path / "file.yaml")
    (problem,) = read_file(tmp_path / "gone.yaml")[1]
    assert problem.message == "cannot be read: No such file or directory"
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    (problem,) = read_file(tmp_path / "huge.json")[1]
    assert problem.message == "is larger than 16 MiB"
