"""The files of policy tests: what is taken, and that everything wrong is said with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streams.adapters.iso import vocabulary
from streams.core.cases import ANY_MEETING, Expected, Join
from streams.wire import testfiles
from streams.wire.documents import FolderUnavailable

STORY = """
about: What the document is for.
documents: [licensing.yaml, ../more]
account: acme
now: 2026-11-21T09:30:00Z

cases:
  - case: patients in Norway and in California are let in
    join: [{country: NO}, {subdivision: US-CA, role: guest}]
    expect: admit

  - case: at midnight it is otherwise
    now: 2026-11-22T00:00:00+01:00
    join: {country: NO, account: other}
    expect: {verdict: remove, rule: elsewhere, report: none}
"""


def read(text: str, file: str = "some/where/a.test.yaml") -> testfiles.Read:
    made, wrong = testfiles.read(text.encode(), file, vocabulary())
    assert made is not None, list(map(str, wrong))
    return made


def problems(text: str) -> list[str]:
    made, wrong = testfiles.read(text.encode(), "a.test.yaml", vocabulary())
    assert made is None
    return [str(problem).removeprefix("a.test.yaml:") for problem in wrong]


def test_a_story_is_read_with_the_line_of_each_case() -> None:
    made = read(STORY)
    assert (made.head.account, made.head.meeting) == ("acme", ANY_MEETING)
    assert list(map(str, made.selected)) == ["some/where/licensing.yaml", "some/more"]
    first, second = made.cases
    assert (first.line, second.line) == (8, 12)
    assert first.at == 1_795_253_400_000
    assert second.at == 1_795_302_000_000
    assert first.case.joins == [Join(country="NO"), Join(subdivision="US-CA", role="guest")]
    assert second.case.expected == Expected(verdict="remove", rule="elsewhere", report="none")


def test_without_a_selection_the_folder_is_meant_and_without_a_time_none() -> None:
    made = read("cases: [{case: a, join: {account: acme}, expect: admit}]")
    assert made.selected == [Path("some/where")]
    assert made.cases[0].at is None


WRONG = {
    "": "a.test.yaml: ",
    "[1]": "1:1: a test file is a mapping with `cases`, perhaps `documents`, `account`, `meeting`, `now`",
    "a: 1\n---\nb: 2": " a test file is one YAML document, not 2",
    "{}": "1:1: the key 'cases' is missing",
    "cases: []": "1:1: expected `array` of length >= 1",
    "cases:": "1:1: has no value; leave the key out for what is not known",
    "account: ''\ncases: [{}]": "1:1: expected `str` of length >= 1",
    "now: 2026-11-21\ncases: [{case: a, join: {account: a}, expect: admit}]": "1:1: not an RFC 3339 time",
    "case: 1\naccount: a": "1:1: a test file has no key 'case'; it has about, documents, account, meeting, now, cases",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_none_is_refused(text: str) -> None:
    assert any(WRONG[text] in problem or not text for problem in problems(text)), problems(text)


CASE = {
    "joins: {}": "4:5: a case has no key 'joins'; it has case, join, expect, now",
    "join: {contry: FR}": "4:12: a join has no key 'contry'; it has account, meeting, role, stage, address, country,",
    "join: [{}, {role: owner}]": "4:17: 'owner' is none of host, cohost, participant, guest",
    "join: {country: }": "4:12: has no value; leave the key out for what is not known",
    "join: {country: FR, subdivision: US-CA}": "4:25: US-CA is not in FR",
    "join: [{country: ZZ}]": "4:13: 'ZZ' is no country code",
    "join: {connection: [tor, vnp]}": "4:30: 'vnp' is none of tor, vpn, proxy, relay, hosting, mobile,",
    "join: {connection: []}": "4:12: expected",
    "join: []": "4:5: expected",
    "join: {asn: '1'}": "4:12: expected `int`, got `str`",
    "expect: refuse": "4:5: 'refuse' is none of admit, alert, remove",
    "expect: {rule: a}": "4:5: the key 'verdict' is missing",
    "expect: {verdict: no}": "4:14: 'no' is none of admit, alert, remove",
    "expect: {verdict: admit, rul: a}": "4:30: an expectation has no key 'rul'; it has verdict, document, rule,",
    "expect: {verdict: admit, report: {mode: a}}": "4:39: an expectation has no key 'mode'; it has verdict, document,",
    "expect: {verdict: admit, report: no}": "4:30: 'no' is none of admit, alert, remove, none",
    "expect: {verdict: admit, outcome: rules}": "4:30: 'rules' is none of rule, default, unknown, none",
    "now: yesterday": "4:5: not an RFC 3339 time with an offset, such as 2026-11-21T09:30:00Z",
}


@pytest.mark.parametrize("line", CASE)
def test_a_mistake_in_a_case_is_named_where_it_stands(line: str) -> None:
    key = line.partition(":")[0]
    rest = [text for text in ("join: {}", "expect: admit") if not text.startswith(f"{key}:")]
    text = "account: acme\ncases:\n  - case: a\n    " + "\n    ".join([line, *rest])
    [problem] = problems(text)
    assert problem.startswith(CASE[line])


def test_every_bad_case_is_said_in_the_order_of_the_file() -> None:
    text = "cases:\n- {case: a, join: {}, expect: admit}\n- 7\n- {case: b, expect: admit}\n"
    assert problems(text + "- {case: a, join: {account: x}, expect: admit}\nacount: x") == [
        "2:13: whose meeting? give `account` here, or at the top of the file for all cases",
        "3:3: expected `object`, got `int`",
        "4:3: the key 'join' is missing",
        "5:4: 'a' is the name of an earlier case",
        "6:1: a test file has no key 'acount'; it has about, documents, account, meeting, now, cases",
    ]


def test_what_yaml_refuses_is_refused_here() -> None:
    [problem] = problems("cases: []\ncases: []")
    assert problem.startswith("2:1: ")


def test_files_are_found_below_a_folder_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b.test.yaml", "a/a.test.yaml", ".c.test.yaml", ".git/d.test.yaml", "a/e.yaml", "f.test.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert testfiles.find_files(tmp_path) == [tmp_path / "a/a.test.yaml", tmp_path / "b.test.yaml"]
    with pytest.raises(FolderUnavailable, match="none: No such file"):
        testfiles.find_files(tmp_path / "none")


def test_a_file_that_cannot_be_read_is_said_and_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.test.yaml")
    for name, wanted in (("pipe", "is not a regular file"), ("none", "cannot be read: No such file or directory")):
        made, [problem] = testfiles.read_file(tmp_path / f"{name}.test.yaml", vocabulary())
        assert made is None
        assert problem.message == wanted
    (tmp_path / "a.test.yaml").write_text(STORY)
    made, wrong = testfiles.read_file(tmp_path / "a.test.yaml", vocabulary())
    assert made is not None
    assert wrong == []
    (tmp_path / "a.test.yaml").write_bytes(b"\xff")
    assert testfiles.read_file(tmp_path / "a.test.yaml", vocabulary())[0] is None
