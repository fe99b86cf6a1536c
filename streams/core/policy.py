"""Policy documents: what they may say, and everything wrong with one that may not.

``parse`` takes the plain JSON value of a document and either returns a compiled ``Document`` or raises ``Invalid``
with every problem found, each with a code and a path into the document, so that an author fixes a file in one go;
an owner's document with nothing wrong is read quicker (``streams.core.plainpolicy``), to the same effect.
The charter is kept by what cannot be written here: a service document has no field for a meeting, an account, a
person, a role, a network or a system; ``streams.core.charter`` holds what needs more than the document's own text.

Design §4 "Policy document"; rulings 12-16 and 21.
"""

import re
from collections.abc import Callable, Container, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from streams.core import address, charter, instants, plainpolicy
from streams.core.conditions import FIELDS, Condition, compile_condition
from streams.core.facts import CONNECTIONS, CONTINENTS, Vocabulary
from streams.core.fields import (
    LANGUAGE,
    LIMITS,
    MAX_ASN,
    MAX_NAME,
    MAX_REVISION,
    MAX_TEXT,
    NULLABLE,
    ROLES,
    STAGES,
    VERDICTS,
    Class,
    Fields,
    Invalid,
    Limits,
    Mode,
    Problem,
    Scope,
    Verdict,
    kind,
    words,
)

__all__ = [
    "LANGUAGE",
    "LIMITS",
    "MAX_NAME",
    "MAX_REVISION",
    "MAX_TEXT",
    "ROLES",
    "RULE_FIELDS",
    "SCOPE_FIELDS",
    "STAGES",
    "VERDICTS",
    "Class",
    "Document",
    "Invalid",
    "Limits",
    "Mode",
    "Problem",
    "Rule",
    "Scope",
    "Verdict",
    "parse",
    "path_of",
]

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]*", re.ASCII)

_IDS: Final[dict[str, tuple[str, ...]]] = {
    "service": (),
    "account": ("account",),
    "meeting": ("account", "meeting"),
}
_COMMON: Final = frozenset(
    {"language", "scope", "name", "revision", "rules", "default", "unknown", "mode", "not_before", "not_after"}
    | {"class", "ground", "reference", "contest", "note", "retracted"}
)
SCOPE_FIELDS: Final = {scope: _COMMON | set(ids) for scope, ids in _IDS.items()}
RULE_FIELDS: Final = ("id", "when", "then", "note")


class Rule(msgspec.Struct, frozen=True):
    """A rule: every condition must hold; no condition matches all."""

    id: str
    conditions: tuple[Condition, ...]
    then: int
    """A place in ``VERDICTS``."""
    note: str | None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a policy document, checked and compiled.

    ``default`` and ``unknown`` are places in ``VERDICTS``; ``not_before`` and ``not_after`` are milliseconds since the
    epoch. Of a retraction only scope, ids, name and revision mean anything.
    """

    scope: Scope
    account: str | None
    meeting: str | None
    name: str
    revision: int
    path: str
    """``service/NAME``, ``account/ACCOUNT/NAME`` or ``meeting/ACCOUNT/MEETING/NAME``, percent-encoded."""
    rules: tuple[Rule, ...] = ()
    default: int = 0
    unknown: int = 0
    mode: Mode = "enforce"
    not_before: int | None = None
    not_after: int | None = None
    class_: Class = "owner"
    ground: str | None = None
    reference: str | None = None
    contest: str | None = None
    note: str | None = None
    retracted: bool = False

    @property
    def reads_addresses(self) -> bool:
        """Whether any rule looks at the address itself."""
        return any(condition.field == "network" for rule in self.rules for condition in rule.conditions)

    @property
    def can_remove(self) -> bool:
        """Whether any way through the document ends in ``remove``."""
        remove = VERDICTS.index("remove")
        return not self.retracted and remove in (self.default, self.unknown, *(rule.then for rule in self.rules))


def path_of(*parts: str) -> str:
    """A path of percent-encoded parts; RFC 3986 unreserved characters stay (ruling 20)."""
    if _UNRESERVED.fullmatch("".join(parts)):  # nearly always, and each decision asks
        return "/".join(parts)
    return "/".join([quote(part, safe="") for part in parts])


def parse(value: object, vocabulary: Vocabulary, limits: Limits = LIMITS) -> Document:
    """Check and compile one document.

    Args:
        value: the document as plain JSON values (dict, list, str, int, float, bool, None).
        vocabulary: the codes that may be named.
        limits: the greatest sizes.

    Raises:
        Invalid: with every problem found.
    """
    try:
        return _plain(value, vocabulary, limits)
    except ValueError:  # something is wrong, or it is a service document, or out of the common
        return examine(value, vocabulary, limits)


def _plain(value: object, vocabulary: Vocabulary, limits: Limits) -> Document:
    """An owner's document that is plainly fine. Raises ValueError."""
    read = plainpolicy.read(value, limits)
    rules = [
        Rule(rule.id, conditions, VERDICTS.index(rule.then), rule.note)
        for rule, conditions in zip(read.rules, plainpolicy.conditions(read.rules, vocabulary, limits), strict=True)
    ]
    start, end = (None if text is None else instants.parse(text) for text in (read.not_before, read.not_after))
    if start is not None and end is not None and end <= start:
        raise ValueError("a window that ends before it begins")
    return Document(
        scope=read.scope,
        account=read.account,
        meeting=read.meeting if isinstance(read, plainpolicy.Meeting) else None,
        name=read.name,
        revision=read.revision,
        path=path_of(*read.parts),
        rules=tuple(rules),
        default=VERDICTS.index(read.default),
        unknown=VERDICTS.index(read.unknown),
        mode=read.mode,
        not_before=start,
        not_after=end,
        ground=None if read.ground is msgspec.UNSET else read.ground,
        reference=read.reference,
        contest=read.contest,
        note=read.note,
    )


def examine(value: object, vocabulary: Vocabulary, limits: Limits = LIMITS) -> Document:
    """The same the long way: looks for everything that may be wrong, where it is and what would be right."""
    reader = _Reader(vocabulary, limits)
    document = reader.document(value)
    if document is None or reader.problems:
        raise Invalid(reader.problems)
    return document


class _Reader(Fields):
    """Walks one document and collects problems; a method returns None (or a harmless value) where it noted one."""

    def __init__(self, vocabulary: Vocabulary, limits: Limits) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.limits = limits
        self.checks: dict[str, Callable[[object, str], None]] = {
            "country": self.one_of(vocabulary.countries, "an ISO 3166-1 alpha-2 country code"),
            "subdivision": self.one_of(vocabulary.subdivisions, "an ISO 3166-2 subdivision code"),
            "continent": self.one_of(CONTINENTS, words(sorted(CONTINENTS))),
            "connection": self.one_of(CONNECTIONS, words(CONNECTIONS)),
            "role": self.one_of(ROLES, words(ROLES)),
            "stage": self.one_of(STAGES, words(STAGES)),
            "asn": self.asn,
            "network": self.network,
        }

    # -- the document ------------------------------------------------------------------------------------------

    def document(self, value: object) -> Document | None:
        if not isinstance(value, dict):
            self.bad("type", "", f"a document is an object, not {kind(value)}")
            return None
        if self.language(value) != LANGUAGE:
            return None  # another language may mean anything: nothing else is worth saying
        scope = self.choice(value, "scope", tuple(_IDS), required=True)
        if scope is None:
            return None
        for key in value:
            if key not in SCOPE_FIELDS[scope]:
                self.bad("unknown-key", str(key), f"{scope} documents have no field {key!r}")
            elif value[key] is None and key not in NULLABLE:
                self.bad("null", key, "must not be null; leave it out")
        ids = [self.name(value, key) for key in _IDS[scope]]
        name, revision = self.name(value, "name"), self.revision(value)
        retracted = self.retracted(value)
        service = scope == "service"
        fields: dict[str, Any] = {
            "rules": self.rules(value),
            "default": self.verdict(value, "default", required=not retracted) or 0,
            "unknown": self.verdict(value, "unknown", default=0 if service else 1) or 0,
            "mode": self.choice(value, "mode", ("enforce", "report")) or "enforce",
            "not_before": self.time(value, "not_before", required=service and not retracted),
            "not_after": self.time(value, "not_after", required=service and not retracted),
            "class_": self.class_(value, service=service, required=service and not retracted),
            "ground": self.text(value, "ground", required=service and not retracted),
            "reference": self.text(value, "reference", required=service and not retracted),
            "contest": self.text(value, "contest"),
            "note": self.text(value, "note"),
        }
        # A document with a problem is never returned; it is made all the same, so that the charter's are found beside.
        parts = [part or "" for part in ids]
        document = Document(
            scope=scope,  # type: ignore[arg-type]  # choice() returned one of _IDS
            account=parts[0] if parts else None,
            meeting=parts[1] if len(parts) == 2 else None,
            name=name or "",
            revision=revision or 0,
            path=path_of(scope, *parts, name or ""),
            retracted=retracted,
            **fields,
        )
        start, end = document.not_before, document.not_after
        if not retracted and start is not None and end is not None and end <= start:
            self.bad("window", "not_after", "must be later than not_before")
        if not any(problem.path.startswith("rules") for problem in self.problems):
            for violation in charter.violations(document):
                self.bad(*violation)
        return document

    def language(self, value: Mapping[str, object]) -> object:
        language = value.get("language", LANGUAGE)
        if language != LANGUAGE or isinstance(language, bool | float):
            self.bad("language", "language", f"this engine speaks language {LANGUAGE} only")
            return None
        return language

    def revision(self, value: Mapping[str, object]) -> int | None:
        return self.integer(value.get("revision"), "revision", 1, MAX_REVISION, present="revision" in value)

    def retracted(self, value: Mapping[str, object]) -> bool:
        retracted = value.get("retracted", False)
        if not isinstance(retracted, bool | None):  # null is reported by its key
            self.bad("type", "retracted", f"must be true, not {kind(retracted)}")
        return retracted is True

    def class_(self, value: Mapping[str, object], *, service: bool, required: bool) -> str:
        allowed = ("legal", "safety") if service else ("owner",)
        return self.choice(value, "class", allowed, required=required) or allowed[0]

    def verdict(
        self,
        value: Mapping[str, object],
        key: str,
        path: str = "",
        *,
        required: bool = False,
        default: int | None = None,
    ) -> int | None:
        word = self.choice(value, key, VERDICTS, path, required=required)
        if word is not None:
            return VERDICTS.index(word)
        return default

    # -- rules -------------------------------------------------------------------------------------------------

    def rules(self, value: Mapping[str, object]) -> tuple[Rule, ...]:
        rules = value.get("rules", [])
        if not isinstance(rules, list):
            if rules is not None:  # null is reported by its key
                self.bad("type", "rules", f"must be a list of rules, not {kind(rules)}")
            return ()
        if len(rules) > self.limits.rules:
            self.bad("too-many", "rules", f"a document has at most {self.limits.rules:,} rules, not {len(rules):,}")
            return ()
        seen: dict[str, str] = {}
        out = []
        for i, item in enumerate(rules):
            path = f"rules[{i}]"
            id_ = item.get("id") if isinstance(item, dict) else None
            if isinstance(id_, str):
                if id_ in seen:
                    self.bad("duplicate-id", f"{path}.id", f"{id_!r} is the id of {seen[id_]} already")
                seen.setdefault(id_, path)
            if rule := self.rule(item, path):
                out.append(rule)
        return tuple(out)

    def rule(self, value: object, path: str) -> Rule | None:
        if not isinstance(value, dict):
            self.bad("type", path, f"a rule is an object, not {kind(value)}")
            return None
        for key in value:
            if key not in RULE_FIELDS:
                self.bad("unknown-key", f"{path}.{key}", f"a rule has no field {key!r}")
        id_ = self.name(value, "id", path)
        then = self.verdict(value, "then", path, required=True)
        note = self.text(value, "note", path=path)
        conditions = self.when(value["when"], f"{path}.when") if "when" in value else ()
        if id_ is None or then is None:
            return None
        return Rule(id_, conditions, then, note)

    def when(self, value: object, path: str) -> tuple[Condition, ...]:
        if not isinstance(value, dict) or not value:
            what = "an empty object" if value == {} else kind(value)
            self.bad("empty-when", path, f"must name at least one condition, not be {what}; leave it out to match all")
            return ()
        conditions = []
        for field in value:
            if field not in FIELDS:
                self.bad("unknown-key", f"{path}.{field}", f"there is no condition {field!r}; use {words(FIELDS)}")
                continue
            if condition := self.condition(field, value[field], f"{path}.{field}"):
                conditions.append(condition)
        return tuple(conditions)

    def condition(self, field: Any, value: object, path: str) -> Condition | None:
        negated = isinstance(value, dict)
        if isinstance(value, dict):
            if list(value) != ["not"]:
                self.bad("condition", path, 'must be a list, or {"not": [...]}')
                return None
            value, path = value["not"], f"{path}.not"
        if not isinstance(value, list):
            self.bad("condition", path, f"must be a list, not {kind(value)}")
            return None
        if not value:
            self.bad("empty-list", path, "must name at least one value")
            return None
        if len(value) > self.limits.values:
            self.bad("too-many", path, f"a list has at most {self.limits.values:,} values, not {len(value):,}")
            return None
        before = self.found
        check = self.checks[field]
        for i, item in enumerate(value):
            check(item, f"{path}[{i}]")
        if self.found > before:
            return None
        return compile_condition(field, tuple(value), negated, self.vocabulary)

    def one_of(self, known: Container[str], what: str) -> Callable[[object, str], None]:
        def check(value: object, path: str) -> None:
            if not isinstance(value, str) or value not in known:
                shown = repr(value) if isinstance(value, str) else kind(value)
                self.bad("unknown-code", path, f"{shown} is not {what}")

        return check

    def asn(self, value: object, path: str) -> None:
        self.integer(value, path, 0, MAX_ASN)

    def network(self, value: object, path: str) -> None:
        if not isinstance(value, str):
            self.bad("network", path, f"must be a CIDR block such as 192.0.2.0/24, not {kind(value)}")
            return
        try:
            address.parse_network(value)
        except address.BadAddress as exc:
            self.bad("network", path, str(exc))
