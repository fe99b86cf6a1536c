"""What to write instead, where that can be told from what was written.

A fix is a few words for whoever wrote the document, never applied by itself. Where nothing can be guessed the code's
own fix stands (``streams.core.diagnostics``).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from streams.core import address
from streams.core.conditions import FIELDS, TERRITORIES
from streams.core.facts import CONNECTIONS, CONTINENTS, Vocabulary
from streams.core.policy import MAX_REVISION, ROLES, RULE_FIELDS, SCOPE_FIELDS, STAGES, Problem

_PART: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_MEANT: Final[Mapping[str, str]] = {"UK": "GB", "EL": "GR", "SU": "RU", "YU": "RS", "BU": "MM", "ZR": "CD", "TP": "TL"}
"""Country codes that people write, and the one that ISO 3166-1 has."""
_LONGEST_WORD: Final = 24
"""Characters; comparing costs their product."""
_SAMPLES: Final[Mapping[str, str]] = {
    "scope": "scope: account",
    "default": "default: admit",
    "revision": "revision: 1",
    "then": "then: admit",
    "class": "class: legal",
    "not_before": "not_before: 2027-01-15T00:00:00Z",
    "not_after": "not_after: 2027-07-15T00:00:00Z",
}


def value_at(document: Any, path: str) -> Any:
    """The part of a document that a problem's path leads to; None where nothing is there."""
    found = document
    for index, key in _PART.findall(path):
        if index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        elif key and isinstance(found, dict):
            found = found.get(key)
        else:
            return None
    return found


def suggest(problem: Problem, document: Any, vocabulary: Vocabulary) -> str | None:
    """What to write instead, in a few words, or None where that can't be told."""
    make = _SUGGESTIONS.get(problem.code)
    return make(problem, document, vocabulary) if make else None


def _unknown_key(problem: Problem, document: Any, _: Vocabulary) -> str | None:
    holder, _dot, key = problem.path.rpartition(".")
    if not holder:
        scope = document["scope"]
        for other in ("account", "meeting"):
            if scope != other and key in SCOPE_FIELDS[other]:
                return f"take it out: {scope} documents have none"
        known: Iterable[str] = SCOPE_FIELDS[scope]
    else:
        known = FIELDS if holder.endswith(".when") else RULE_FIELDS
        if key in FIELDS and known is RULE_FIELDS:
            return f"put it under `when`: when: {{{key}: [...]}}"
    return _write(closest(key, known))


def _unknown_code(problem: Problem, document: Any, vocabulary: Vocabulary) -> str | None:
    value = value_at(document, problem.path)
    if not isinstance(value, str):
        return None
    field = next(part for _, part in reversed(_PART.findall(problem.path)) if part in FIELDS)
    lists: dict[str, Iterable[str]] = {
        "country": vocabulary.countries,
        "subdivision": vocabulary.subdivisions,
        "continent": CONTINENTS,
        "connection": CONNECTIONS,
        "role": ROLES,
        "stage": STAGES,
    }
    upper = value.strip().upper()
    for other in TERRITORIES:
        if other != field and upper in lists[other]:
            return f"put it under `{other}`: {other}: [{upper}]"
    if field in TERRITORIES:
        meant = upper.replace("_", "-")
        if field == "country":
            meant = _MEANT.get(meant, meant)
        near = meant if meant in lists[field] else None
        if near is None and field == "subdivision":
            country, _dash, part = meant.partition("-")
            near = closest(part, (code[3:] for code in lists[field] if code[:2] == country))
            near = near and f"{country}-{near}"
        return _write(near)
    return _write(closest(value, lists[field]))


def _network(problem: Problem, document: Any, _: Vocabulary) -> str | None:
    value = value_at(document, problem.path)
    if not isinstance(value, str):
        return None
    base, slash, digits = value.partition("/")
    try:
        first = address.parse_literal(base)
    except address.BadAddress:
        return None
    width = len(first) * 8
    if not slash:
        return f"write {base}/{width} for this one address"
    if not (digits.isascii() and digits.isdigit() and len(digits) < 4 and int(digits) <= width):
        return None
    host_bits = (1 << width - int(digits)) - 1
    clean = address.text((int.from_bytes(first) & ~host_bits).to_bytes(len(first)))
    return f"write {clean}/{int(digits)} for the whole block, or {base}/{width} for the one address"


def _choice(problem: Problem, document: Any, _: Vocabulary) -> str | None:
    value = value_at(document, problem.path)
    if not isinstance(value, str):
        return None
    words = re.findall(r"[a-z]+", problem.message.removeprefix("must be one of"))
    meant = {"allow": "admit", "permit": "admit", "deny": "remove", "block": "remove", "flag": "alert"}.get(value)
    return _write(meant if meant in words else closest(value, (word for word in words if word != "or")))


def _time(problem: Problem, document: Any, _: Vocabulary) -> str | None:
    value = str(value_at(document, problem.path)).strip()
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        return f"write {value}T00:00:00Z"
    if match := re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?", value, re.ASCII):
        return f"write {match[1]}T{match[2]}{match[3] or ':00'}Z, if that is UTC"
    return None


def _number(problem: Problem, document: Any, _: Vocabulary) -> str | None:
    value = value_at(document, problem.path)
    if isinstance(value, str):
        digits = value.upper().removeprefix("AS")
        if digits.isascii() and digits.isdigit() and len(digits) < len(str(MAX_REVISION)):
            return f"write {int(digits)}"
    return None


def _required(problem: Problem, *_: Any) -> str:
    key = problem.path.rpartition(".")[2]
    return f"add {_SAMPLES.get(key, f'{key}: …')}"


def _general(problem: Problem, *_: Any) -> str | None:
    return "write admit" if problem.path in ("default", "unknown") else None


def _condition(problem: Problem, document: Any, _: Vocabulary) -> str | None:
    value = value_at(document, problem.path)
    return f"write [{value}]" if isinstance(value, str | int) and not isinstance(value, bool) else None


_SUGGESTIONS: Final[Mapping[str, Callable[[Problem, Any, Vocabulary], str | None]]] = {
    "unknown-key": _unknown_key,
    "unknown-code": _unknown_code,
    "network": _network,
    "choice": _choice,
    "time": _time,
    "number": _number,
    "required": _required,
    "condition": _condition,
    "C2-general": _general,
}


def _write(word: str | None) -> str | None:
    return f"write {word}" if word else None


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that most likely was meant: at most two letters off and less than half of it, else None."""
    if len(word) > _LONGEST_WORD:
        return None
    scored = sorted((_distance(word.lower(), each.lower()), each) for each in known)
    return scored[0][1] if scored and scored[0][0] <= min(2, (len(scored[0][1]) - 1) // 2) else None


def _distance(one: str, other: str) -> int:
    """Letters to insert, leave out, change or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            least = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                least = min(least, before[j - 2] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]
