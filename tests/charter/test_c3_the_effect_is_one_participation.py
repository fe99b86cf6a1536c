"""C3: three words, and a decision about one participation."""

from __future__ import annotations

import msgspec
import pytest

from streams.core import events
from streams.core.policy import VERDICTS
from tests.samples import account, problems, rule


def test_there_are_three_verdicts() -> None:
    assert VERDICTS == ("admit", "alert", "remove")
    assert set(events.DECISION_TYPES) == set(VERDICTS)


@pytest.mark.parametrize(
    "verdict", ["end", "close", "suspend", "ban", "block", "REMOVE", "remove ", ["remove"], {"remove": "all"}, 2]
)
@pytest.mark.parametrize("key", ["default", "unknown", "then"])
def test_no_other_word_is_a_verdict(key: str, verdict: object) -> None:
    value = account(rules=[{**rule("admit"), "then": verdict}]) if key == "then" else account(**{key: verdict})
    assert problems(value) == {("choice", "rules[0].then" if key == "then" else key)}


def test_a_decision_names_one_participation_and_cannot_name_more() -> None:
    types = {field.name: field.type for field in msgspec.structs.fields(events.DecisionData)}
    assert types["meeting"] == types["account"] == types["participation"] == events.Id
    assert not [name for name in types if name.endswith("s") and name != "policies"]
