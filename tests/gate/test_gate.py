"""The gate: no change makes an event dearer, or a decision dearer with every document, without anybody noticing.

Counts, not clocks: instructions, calls into C and bytes are the same on a busy machine (``counting``). The three ratios
of CPU time at the end see what counts can't, a slower function written in C, and only where it is much slower.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from streams.agents.decider import Decider
from streams.core.index import Index
from streams.wire import cloudevents
from tests.gate import budgets
from tests.gate.counting import Work, count
from tests.gate.parts import FEW, FLAT, MANY, PARTS
from tests.gate.reference import clocked, pairs, plain

TABLE = budgets.read()
FULL = f"full decide beside {FEW:,} documents"
FULL_MANY = f"full decide beside {MANY:,} documents"


@pytest.fixture(scope="module")
def loop() -> int:
    """Instructions of the plain loop."""
    return count(lambda: plain).instructions


@pytest.mark.parametrize("name", PARTS)
def test_a_part_keeps_to_its_budget(name: str, loop: int) -> None:
    faults, news = budgets.judged(name, count(PARTS[name]), loop, TABLE)
    if news:
        warnings.warn(budgets.line(name, news), stacklevel=1)
    assert not faults, budgets.line(name, faults)


@pytest.mark.parametrize("many", FLAT)
def test_no_work_grows_with_the_number_of_documents(many: str) -> None:
    few = FLAT[many]
    assert not budgets.flat(few, count(PARTS[few]), count(PARTS[many]))


def test_the_table_has_a_budget_for_each_part_and_no_other() -> None:
    assert TABLE["parts"].keys() == TABLE["beside_plain"].keys() == PARTS.keys()
    assert TABLE["clock"].keys() == pairs().keys()


@pytest.mark.parametrize("name", pairs())
def test_cpu_time_beside_the_stock_codec(name: str) -> None:
    for _ in range(3):  # a neighbour on the same core can only make it look worse
        faults = budgets.slow(name, clocked(*pairs()[name]), TABLE)
        if not faults:
            return
    pytest.fail(budgets.line(name, faults))


# -- that the gate would notice --------------------------------------------------------------------------------------
# Each time held to a table of the code as it is, made just before something is planted.


def planted(function: Callable[..., Any], statement: str) -> FunctionType:
    """The same function, which begins with one more statement."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    body = tree.body[0].body  # type: ignore[attr-defined]  # it is a function's
    body.insert(1, ast.parse(statement).body[0])  # behind the docstring
    made: dict[str, Any] = {}
    exec(compile(tree, "planted", "exec"), function.__globals__, made)
    return made[function.__name__]


@pytest.mark.parametrize(
    ("where", "name", "statement", "told"),
    [
        (cloudevents, "decode", "orjson.loads(value)", "orjson.loads 1 times instead of 0"),
        (Decider, "answer", "'{} {}'.format(offset, at)", "str.format 1 times instead of 0"),
        (Decider, "answer", "line = f'{event.id} decided at {at}'", "instructions, and the budget is"),
        (cloudevents, "encode", "kept = [None] * 64", "bytes, and the budget is"),
    ],
    ids=["one-more-parse-of-JSON", "a-text-formatted", "an-f-string", "a-list"],
)
def test_what_is_done_once_more_an_event_is_noticed(
    monkeypatch: pytest.MonkeyPatch, loop: int, where: Any, name: str, statement: str, told: str
) -> None:
    table = budgets.made({FULL: count(PARTS[FULL])}, loop, {})
    monkeypatch.setattr(where, name, planted(getattr(where, name), statement))
    faults, _ = budgets.judged(FULL, count(PARTS[FULL]), loop, table)
    assert told in budgets.line(FULL, faults)
    assert budgets.line(FULL, faults).endswith("`python -m tests.gate`")


@pytest.mark.parametrize("statement", ["[slot for slot in self if slot.path == account]", "list(self)"])
def test_a_look_at_all_documents_is_noticed(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    monkeypatch.setattr(Index, "reaching", planted(Index.reaching, statement))
    faults = budgets.flat(FULL, count(PARTS[FULL]), count(PARTS[FULL_MANY]))
    assert any("work must not grow with the number of documents" in each for each in faults)


def test_a_slow_function_of_c_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "encode / json.dumps"
    table = budgets.made({}, 1, {name: clocked(*pairs()[name])})
    monkeypatch.setattr(cloudevents, "encode", planted(cloudevents.encode, "sorted(range(1000))"))
    assert budgets.slow(name, clocked(*pairs()[name]), table)


BUDGET = Work(1_000, {"len": 3, "str.join": 2}, 2_000)
BUDGETS = budgets.made({FULL: BUDGET}, 500, {})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"instructions": 500}, "500 instructions, and the budget is 1,000 (-50.0%)"),
        ({"bytes": 1_000}, "1,000 bytes, and the budget is 2,000 (-50.0%)"),
        ({"calls": {"len": 4}}, "4 calls into C, and the budget is 5 (len 4 times instead of 3)"),
    ],
)
def test_less_work_is_told_and_passes(changed: dict[str, Any], told: str) -> None:
    faults, news = budgets.judged(FULL, BUDGET._replace(**changed), 500, BUDGETS)
    assert (faults, news) == ([], [told])


def test_another_call_for_a_call_does_not_pass() -> None:
    faults, _ = budgets.judged(FULL, BUDGET._replace(calls={"len": 2, "orjson.loads": 3}), 500, BUDGETS)
    assert faults == ["5 calls into C, and the budget is 5 (orjson.loads 3 times instead of 0)"]


def test_another_python_is_held_to_the_plain_loop_alone() -> None:
    table = {**BUDGETS, "python": "3.0"}
    assert not budgets.judged(FULL, BUDGET._replace(calls={"len": 9}, bytes=10**6), 500, table).faults
    assert budgets.judged(FULL, BUDGET._replace(instructions=1_400), 500, table).faults
    assert not budgets.judged(FULL, BUDGET._replace(instructions=1_400), 700, table).faults
