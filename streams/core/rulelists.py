"""What two documents write differently: fields, and rules by their ids. Texts only; ``core.difference`` asks for whom.

A rule is the same rule as long as its id is. The order of rules matters, so one that other rules have passed is said
to have moved: of the rules both documents have, those outside a longest run that kept its order.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from streams.core import instants
from streams.core.conditions import Condition
from streams.core.policy import VERDICTS, Document, Rule

MOST_VALUES: Final = 12
"""Shown of one list; the rest is counted."""
_NOTHING: Final = "none"
_TEXTS: Final = ("ground", "reference", "contest", "note")


class FieldChange(msgspec.Struct, frozen=True):
    """A field that says something else; both sides in words, ``none`` where it says nothing."""

    field: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.field}: {self.was} → {self.now}"


class RuleChange(msgspec.Struct, frozen=True):
    """A rule that is new, gone, moved, or says something else.

    Attributes:
        id: the rule's.
        what: how it differs; a rule can be ``moved`` and ``changed``, which is two of these.
        details: in words.
    """

    id: str
    what: Literal["added", "removed", "moved", "changed"]
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f": {'; '.join(self.details)}" if self.details else ""
        return f"rule {self.id!r} {self.what}{told}"


def fields(old: Document, new: Document) -> list[FieldChange]:
    """The fields that differ, but for ``revision`` and ``rules``."""
    was, now = _fields(old), _fields(new)
    return [FieldChange(name, was[name], now[name]) for name in was if was[name] != now[name]]


def _fields(document: Document) -> dict[str, str]:
    said = {"path": document.path, "retracted": "yes" if document.retracted else "no"}
    if document.retracted:
        verdicts = window = dict.fromkeys(("default", "unknown", "mode", "not_before", "not_after", "class"), _NOTHING)
    else:
        verdicts = {
            "default": VERDICTS[document.default],
            "unknown": VERDICTS[document.unknown],
            "mode": document.mode,
            "class": document.class_,
        }
        window = {
            name: _NOTHING if at is None else instants.render(at)
            for name, at in (("not_before", document.not_before), ("not_after", document.not_after))
        }
    texts = {name: _quoted(getattr(document, name)) for name in _TEXTS}
    return said | verdicts | window | texts


def _quoted(text: str | None) -> str:
    return _NOTHING if text is None else repr(text)


def rules(old: Document, new: Document) -> list[RuleChange]:
    """The rules that differ: those gone, then those of the new document in its order."""
    was, now = ({rule.id: rule for rule in document.rules} for document in (old, new))
    found = [RuleChange(id_, "removed", (_said(was[id_]),)) for id_ in was if id_ not in now]
    places = {id_: place for place, id_ in enumerate(was)}
    kept = [id_ for id_ in now if id_ in was]
    stayed = _longest_run([places[id_] for id_ in kept])
    for place, (id_, rule) in enumerate(now.items(), 1):
        if id_ not in was:
            found.append(RuleChange(id_, "added", (f"as rule {place}", _said(rule))))
            continue
        if places[id_] not in stayed:
            found.append(RuleChange(id_, "moved", (f"from rule {places[id_] + 1} to rule {place}",)))
        if details := _details(was[id_], rule):
            found.append(RuleChange(id_, "changed", details))
    return found


def _said(rule: Rule) -> str:
    when = " and ".join(map(_condition, rule.conditions))
    return f"{f'when {when} ' if when else ''}then {VERDICTS[rule.then]}"


def _condition(condition: Condition) -> str:
    return f"{condition.field} {'not in' if condition.negated else 'in'} {_listed(condition.values)}"


def _listed(values: Sequence[str | int]) -> str:
    more = f" and {len(values) - MOST_VALUES:,} more" if len(values) > MOST_VALUES else ""
    return f"[{', '.join(map(str, values[:MOST_VALUES]))}{more}]"


def _details(was: Rule, now: Rule) -> tuple[str, ...]:
    found = []
    old, new = ({c.field: c for c in rule.conditions} for rule in (was, now))
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            gone = "no longer asks for" if after is None else "asks for"
            found.append(f"{gone} {_condition(before or after)}")  # type: ignore[arg-type]  # one of them is there
        elif before.negated != after.negated:
            found.append(f"{_condition(before)} → {_condition(after)}")
        elif set(before.values) != set(after.values):
            added = [value for value in after.values if value not in set(before.values)]
            gone_values = [value for value in before.values if value not in set(after.values)]
            signs = [f"{sign}{_listed(values)}" for sign, values in (("+", added), ("−", gone_values)) if values]
            found.append(f"{name}{' not in' if after.negated else ''} {' '.join(signs)}")
    if was.then != now.then:
        found.append(f"then {VERDICTS[was.then]} → {VERDICTS[now.then]}")
    if was.note != now.note:
        found.append(f"note {_quoted(was.note)} → {_quoted(now.note)}")
    return tuple(found)


def _longest_run(places: Sequence[int]) -> set[int]:
    """A longest rising subsequence of distinct numbers, in n log n."""
    ends: list[int] = []  # the smallest last number of a run of each length
    before: dict[int, int | None] = {}
    for place in places:
        at = bisect_left(ends, place)
        before[place] = ends[at - 1] if at else None
        ends[at : at + 1] = [place]
    run: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        run.add(last)
        last = before[last]
    return run


def brief(old: Document | None, new: Document) -> str:
    """What a revision changes of the one before it, in few words."""
    if new.retracted:
        return "retracted"
    if old is None or old.retracted:
        mode = ", report mode" if new.mode == "report" else ""
        again = "issued again" if old is not None else "new"
        return f"{again}: {len(new.rules)} rule{'' if len(new.rules) == 1 else 's'}, else {VERDICTS[new.default]}{mode}"
    words = [f"{each.field} changed" if each.field in _TEXTS else str(each) for each in fields(old, new)]
    by_kind: dict[str, list[str]] = {}
    for rule in rules(old, new):
        by_kind.setdefault(rule.what, []).append(rule.id)
    words += [f"rule{'' if len(ids) == 1 else 's'} {what}: {_listed(ids)[1:-1]}" for what, ids in by_kind.items()]
    return "; ".join(words) or "says the same"
