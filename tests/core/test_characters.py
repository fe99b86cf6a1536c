"""What can be seen of a text, and which names people can tell apart."""

from __future__ import annotations

import re
import sys
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.characters import SAYS_SOMETHING, in_quotation_marks, likeness, says_something
from tests.samples import PROPERTY


@pytest.mark.parametrize("text", ["a", "§ 4", "—", "\u200ba", "文", "🔒", " 7", "\u0915\u094d\u200d\u0937", "e\u0301"])
def test_it_says_something(text: str) -> None:
    assert says_something(text)


@pytest.mark.parametrize(
    "text", ["", " \t\r\n", "\u00a0\u3000", "\u200b\ufeff", "\u115f\uffa0", "\u2800", "\U000e0041"]
)
def test_it_says_nothing(text: str) -> None:
    assert not says_something(text)


def test_no_space_control_or_format_character_alone_says_anything_but_those_that_show() -> None:
    """Against the tables of this Python: the few format characters that are drawn are signs around other letters."""
    hidden = [chr(c) for c in range(sys.maxunicode + 1) if category(chr(c)) in ("Zs", "Zl", "Zp", "Cc", "Cf")]
    shown = [c for c in hidden if says_something(c)]
    assert len(hidden) > 150
    assert all(category(c) == "Cf" and re.match("[\u0600-\u08e2\U000110bd-\U0001343f]", c) for c in shown)
    assert re.search(SAYS_SOMETHING, "".join(set(hidden) - set(shown))) is None


@pytest.mark.parametrize(
    "like",
    ["Zoe", "zo\u0308e", "ZO\u00cb", "\uff5aoe", "z\u200boe", "zo\ufe0fe", "zo\u034fe", " zoe\t", "zo\U000e0065e"],
)
def test_names_that_look_alike(like: str) -> None:
    assert likeness(like) == "zoe"


@pytest.mark.parametrize(("one", "other"), [("zoe", "zo e"), ("bo", "b0"), ("कुमार", "कमार"), ("李", "王"), ("a", "b")])
def test_names_that_do_not(one: str, other: str) -> None:
    assert likeness(one) != likeness(other)


@PROPERTY
@given(st.text(max_size=20))
def test_what_is_alike_stays_alike(name: str) -> None:
    assert likeness(likeness(name)) == likeness(name)
    assert likeness(f" \u200b{name}\u00ad\n") == likeness(name)


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        ("Export control, § 4 “dual use”", "Export control, § 4 'dual use'"),
        ('he said "no"', "he said 'no'"),
        ("one\ntwo\u2028three\u0000", "one two three "),
        ("\u202eabc\u2066\u200b", "abc"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("a\u00a0b", "a b"),
    ],
)
def test_words_stay_within_quotation_marks(words: str, quoted: str) -> None:
    assert in_quotation_marks(words) == quoted
