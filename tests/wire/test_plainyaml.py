"""The fast reader reads what the full one reads, value by value and place by place, or leaves the text to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from streams.wire import plainyaml, yaml12
from streams.wire.documents import read
from streams.wire.spans import Spans

ROOT = Path(__file__).parents[2]
POLICIES = sorted(
    file for file in (ROOT / "deploy" / "policies").glob("**/*.yaml") if not file.name.endswith(".test.yaml")
)


def both(text: str) -> bool:
    """Hold the two to each other; whether the fast one took the text."""
    quick: list[Spans] = []
    made = plainyaml.load(text, quick)
    if made is None:
        assert quick == []
        return False
    full: list[Spans] = []
    wanted, faults = yaml12.load(text, full)
    assert faults == []
    assert repr(made) == repr(wanted), "repr tells 1 from True and keeps the order"
    for mine, theirs in zip(quick, full, strict=True):
        assert mine.keys == theirs.keys
        assert mine.values.keys() == theirs.values.keys()
        for path, span in mine.values.items():
            begin, end = theirs.values[path]
            assert span[0] == begin
            # A block ends for the parser where the next thing begins; here, with its last line.
            assert span[1] <= end
            assert all(line.strip()[:1] in ("", "#") for line in text[span[1] : end].splitlines())
    return True


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.name)
def test_the_starter_documents_are_read_fast(file: Path) -> None:
    assert both(file.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n",
        "a: FR # why\nb: [FR, DE]\n\n# more\nc: {not: [x y, 2001:db8::/32], d: {}}\n",
        "---\na: true\n---\n# two\nb: null\n",
        "a:\n- b\n- c: 1\n  d:\n    - e\nf: g\n",
        "a:\n  - id: x\n    when:\n      country: [NO]\n  - id: y\n",
        "- a\n- b: c\n",
        "a: \"quoted: 'so'\"\nb: 'x # y'\n",
        "a: https://acme.example/#x\nb: What if guests were refused?\n",
        "note: Zürich — only\n",
    ],
)
def test_what_is_plain(text: str) -> None:
    assert both(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "# only a comment\n", "---\n---\na: 1\n", "a: 1\n---\n", "--- a\n", "a: 1\n...\n", "%YAML 1.2\n---\na: 1\n",
        "a: 1\na: 2\n", "a: {b: 1, b: 2}\n", "<<: {a: 1}\n", "a: &x 1\n", "a: *x\n", "a: !x 1\n", "1: a\n", "true: a\n",
        "a:\n", "a: b\n  c\n", "a: b: c\n", "a: b:\n", "a: |\n  x\n", "a: 'it''s'\n", 'a: "\\n"\n', "a: [1,\n 2]\n",
        "a: [1, ]\n", "a: [b: c]\n", "a: [?x]\n", "a: [b] c\n", "a: 010\n", "a: 1.5\n", "a: 0x1F\n", "a: .inf\n",
        "a: -1\n", "a:\tb\n", "a: b\r\nc: d\n", "a: \u2028\n", " a: 1\nb: 2\n", "a:\n   b: 1\n  c: 2\n", "- a\nb: c\n",
        "a: 1\n- b\n", "- - a\n", "-\n", "- # x\n", "a: [" * 20, "a: " + "[" * 20 + "]" * 20, "a: {b}\n", "a: {b: }\n",
        "\n".join(f"{' ' * i}a:" for i in range(20)) + " 1\n", "a: [b#c]\n", "a: @x\n", "- a\n  b\n",
        "- a: 1\n   b: 2\n", "[a]\n",
    ],
)  # fmt: skip
def test_what_is_not_plain_or_wrong_is_left_to_the_full_reader(text: str) -> None:
    assert plainyaml.load(text) is None


def test_the_limits_are_kept_by_the_full_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plainyaml, "MAX_NODES", 4)
    assert plainyaml.load("a: [1]\n") == [({"a": [1]}, 1)]
    assert plainyaml.load("a: [1, 2]\n") is None


PIECES = (
    *("a", "b: ", "c:", "id: ", "- ", "-", "  ", " ", "\n", "\n", "\n  ", "\n    ", "\n- ", "\n  - ", "---\n", "...\n"),
    *(
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        ": ",
        ":",
        "#",
        " # x",
        '"',
        "'",
        "NO",
        "true",
        "null",
        "~",
        "1",
        "01",
        "1.",
        "0x",
    ),
    *(
        "192.0.2.0/24",
        "2001:db8::/32",
        "?",
        "&x ",
        "*x",
        "!t ",
        "|",
        ">",
        "%",
        "@",
        "é",
        "\t",
        "a b",
        "a  b",
        "-1",
        "e5",
    ),
)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("a: x\n # c\nb: y\n")
@example("a:\n  b: 1\n # c\n  c: 2\n")
@example("- a: 1\n  b: [x]\n-  c: 2\n")
def test_texts_of_any_kind(text: str) -> None:
    event("fast" if both(text) else "full")


scalars = st.sampled_from(
    ["FR", "a b", "x#y", "192.0.2.0/24", "2001:db8::/32", "1", "true", '"q: x"', "'q'", "(a)", "No."]
)
flows = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"{key}: {item}" for key, item in items.items()) + "}"
        )
    ),
    max_leaves=6,
)


def indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def mapping(items: dict[str, list[str]]) -> list[str]:
    made: list[str] = []
    for key, (first, *rest) in items.items():
        made += (
            [f"{key}: {first}"]
            if not rest and not first.startswith(("- ", "k"))
            else [f"{key}:", *indented([first, *rest])]
        )
    return made


def sequence(items: list[list[str]]) -> list[str]:
    return [line for first, *rest in items for line in (f"- {first}", *indented(rest))]


blocks = st.recursive(
    flows.map(lambda flow: [flow]),
    lambda inner: (
        st.dictionaries(st.sampled_from(["k1", "k2", "k3"]), inner, min_size=1, max_size=3).map(mapping)
        | st.lists(inner.filter(lambda lines: not lines[0].startswith("- ")), min_size=1, max_size=3).map(sequence)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(["k1", "k2"]), blocks, min_size=1, max_size=2).map(mapping), st.data())
def test_documents_as_authors_write_them(lines: list[str], data: st.DataObject) -> None:
    for at in range(len(lines), 0, -1):
        if extra := data.draw(st.sampled_from(["", "", "# c", "      # c", " "])):
            lines.insert(at, extra)
    event("fast" if both("\n".join(lines) + "\n") else "full")


def test_any_mistake_is_worded_by_the_full_reader() -> None:
    found: tuple[list[Any], list[Any]] = read(b"a: 1\n---\nb: 2\nb: 3\n", "p.yaml")
    assert [value for value, _ in found[0]] == [{"a": 1}]
    assert str(found[1][0]) == "p.yaml:4:1: the key 'b' stands twice in one mapping"
