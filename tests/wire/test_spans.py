"""The spans of a document's parts hold just their text, in JSON and in YAML."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.wire import spans as module
from streams.wire.documents import read
from streams.wire.spans import Spans, json_spans, member

keys = st.text(st.characters(codec="utf-8", exclude_characters=".["), min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from parts(item, member(path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from parts(item, f"{path}[{i}]")


@settings(deadline=None)
@given(st.dictionaries(keys, values, max_size=4), st.sampled_from([None, 1]), st.text(" \n", max_size=3))
def test_of_json_every_part_is_found(value: dict[str, Any], indent: int | None, before: str) -> None:
    text = before + json.dumps(value, indent=indent)
    spans, twice = json_spans(text, len(before))
    assert twice == []
    for path, part in parts(value):
        begin, end = spans.find(path)
        assert json.loads(text[begin:end]) == part
    for path, (begin, end) in spans.keys.items():
        assert path.endswith(json.loads(text[begin:end]))


@settings(deadline=None)
@given(
    st.recursive(
        st.sampled_from(["FR", "a b", "x"]) | st.integers(0, 9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=10,
    )
)
def test_yaml_and_json_agree_where_a_text_is_both(value: Any) -> None:
    text = json.dumps({"all": value})
    found: list[Callable[[], Spans]] = []
    read(text.encode(), "p.yaml", found)
    (spans_of,) = found
    wanted, _ = json_spans(text)
    assert spans_of().values == wanted.values
    assert spans_of().keys == wanted.keys


def test_of_block_yaml_every_part_is_found() -> None:
    text = "# first\nname: licensing # why\nrules:\n  - id: hosts\n    when: {role: [host, cohost]}\n"
    text += "  - id: &x elsewhere\nnote: *x\n"
    found: list[Callable[[], Spans]] = []
    read(text.encode(), "p.yaml", found)
    spans = found[0]()

    def at(path: str, *, key: bool = False) -> str:
        return text[slice(*spans.find(path, key=key))]

    assert at("name") == "licensing"
    assert at("rules[0].when.role[1]") == "cohost"
    assert at("rules[0].when") == "{role: [host, cohost]}"
    assert at("rules[1].id") == "&x elsewhere"
    assert at("note") == "*x"
    assert at("rules[0].when", key=True) == "when"
    assert at("rules[0].id").startswith("hosts")
    assert at("rules[0].then") == at("rules[0]"), "what is missing is looked for in what should hold it"
    assert at("none") == at("")
    assert at("").startswith("name:")


def test_each_document_of_a_file_has_its_own_spans() -> None:
    for file, text in (("p.yaml", "a: 1\n---\na: 2\n"), ("p.json", '[{"a": 1},\n {"a": 2}]')):
        found: list[Callable[[], Spans]] = []
        documents, _ = read(text.encode(), file, found)
        assert [text[slice(*spans().find("a"))] for spans in found] == ["1", "2"]
        assert len(documents) == 2


def test_keys_that_stand_twice() -> None:
    text = '[{"a": 1, "b": {"c": 1, "c": 2}, "\\u0061": 3}]'
    _, twice = json_spans(text)
    assert [(key, text[slice(*span)]) for key, span in twice] == [("c", '"c"'), ("a", '"\\u0061"')]


def test_the_end_of_a_very_long_value_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    text = json.dumps({"a": list(range(100))})
    spans, _ = json_spans(text)
    assert text[slice(*spans.find("a[0]"))] == "0"
    assert spans.find("a[99]") == spans.find("a")
