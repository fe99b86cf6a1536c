"""The JSON Schema of a policy document, built from the very constants that ``streams.core.policy`` checks with.

What a schema can say of one document's shape is here: which fields a scope takes, what they hold, and of the charter
what is shape (a service document has no condition but four, lets everyone else in, and names a territory where it
removes). Sizes are the default ones; a deployment may set others. What it cannot say stays with the engine, and
``BEYOND`` lists it by the codes of the engine's problems; the tests hold both to the same documents and let them differ
nowhere else.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, get_args

from streams.core import charter
from streams.core.characters import SAYS_SOMETHING
from streams.core.conditions import FIELDS, TERRITORIES
from streams.core.facts import CONNECTIONS, CONTINENTS
from streams.core.policy import LANGUAGE, LIMITS, MAX_NAME, MAX_REVISION, MAX_TEXT, ROLES, STAGES, VERDICTS, Mode

Schema: TypeAlias = dict[str, Any]

BEYOND: Final[dict[str, str]] = {
    "unknown-code": "whether a well-formed country or subdivision code is in the engine's edition of ISO 3166",
    "network": "whether a well-formed block has host bits set or numbers out of range",
    "time": "whether a well-formed time exists (no 30 February)",
    "duplicate-id": "whether rule ids are unique",
    "window": "whether not_after follows not_before",
    "C5-window": "whether a service document's window has 7 to 366 days",
}
"""What only the engine can refuse: its problem's code, and what that is about."""

# RFC 3339 section 5.6, always with an offset; whole seconds or any number of digits.
_TIME: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
}
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_TEXT: Final[Schema] = {"type": "string", "maxLength": MAX_TEXT, "pattern": SAYS_SOMETHING}

_VALUES: Final[dict[str, Schema]] = {
    "country": {
        "type": "string",
        "pattern": "^[A-Z]{2}$",
        "description": "ISO 3166-1 alpha-2, or XK. The engine checks its edition (`doorward --version` names it).",
    },
    "subdivision": {
        "type": "string",
        "pattern": "^[A-Z]{2}-[A-Z0-9]{1,3}$",
        "description": "ISO 3166-2. The engine checks its edition (`doorward --version` names it).",
    },
    "continent": {"enum": sorted(CONTINENTS)},
    "asn": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "description": "Autonomous system number."},
    "network": {
        "type": "string",
        "pattern": "^[0-9A-Fa-f:.]+/(0|[1-9][0-9]{0,2})$",
        "description": "CIDR block, IPv4 or IPv6, no host bits set.",
    },
    "connection": {"enum": list(CONNECTIONS)},
    "role": {"enum": list(ROLES)},
    "stage": {"enum": list(STAGES)},
}


def policy_schema() -> Schema:
    """The schema, one variant a scope."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:doorward:schema:policy",
        "title": "Policy document",
        "description": (
            f"What a policy document may say, language {LANGUAGE}: the payload of a signed document, and what people "
            "write in YAML 1.2 or JSON. maxItems are the default settings (DOORWARD_MAX_RULES, DOORWARD_MAX_VALUES). "
            f"Not said here, but refused by the engine: {'; '.join(BEYOND.values())}."
        ),
        "oneOf": [{"$ref": f"#/$defs/{name}Document"} for name in ("service", "account", "meeting")],
        "$defs": {
            "serviceDocument": _service(),
            "accountDocument": _owner("account", ("account",), "counts for every meeting of the account"),
            "meetingDocument": _owner("meeting", ("account", "meeting"), "counts for one meeting of the account"),
            "rule": _rule("when"),
            "serviceRule": _service_rule(),
            "when": _when(FIELDS, "All fields named must hold."),
            "serviceWhen": _when(
                [field for field in FIELDS if field in charter.SERVICE_FIELDS],
                "All fields named must hold. Territories and connection classes only: a service document is general.",
            ),
            **{f"{field}Condition": _condition(field) for field in FIELDS},
            "verdict": {"enum": list(VERDICTS), "description": "Least strict first."},
            "time": {**_TIME, "description": "RFC 3339, with an offset."},
        },
    }


def _owner(scope: str, ids: tuple[str, ...], reach: str) -> Schema:
    fields = _fields(classes=["owner"], unknown="alert")
    return _document(scope, ids, fields, {"required": ["default"]}, f"A document of an account's owner; it {reach}.")


def _service() -> Schema:
    admit = {"const": VERDICTS[charter.ADMIT]}
    asked = {
        "required": ["default", "class", "ground", "reference", "not_before", "not_after"],
        "properties": {
            "rules": {"type": "array", "items": _ref("serviceRule")},
            "default": admit,
            "unknown": admit,
            "not_before": _ref("time"),
            "not_after": {**_ref("time"), "description": "7 to 366 days after not_before."},
            "ground": _TEXT,
            "reference": _TEXT,
        },
    }
    about = "A document of the service for all meetings: public, signed by two approvers, for a time (charter C2-C5)."
    return _document("service", (), _fields(classes=["legal", "safety"], unknown="admit"), asked, about)


def _document(scope: str, ids: tuple[str, ...], fields: dict[str, Schema], asked: Schema, about: str) -> Schema:
    """A variant. What ``asked`` says is not asked of a retraction (ruling 15)."""
    return {
        "title": f"{scope.capitalize()} document",
        "description": about,
        "type": "object",
        "properties": {"scope": {"const": scope}, **dict.fromkeys(ids, _NAME), **fields},
        "required": ["scope", *ids, "name", "revision"],
        "additionalProperties": False,
        "if": {"properties": {"retracted": {"const": True}}, "required": ["retracted"]},
        "else": asked,
    }


def _fields(*, classes: list[str], unknown: str) -> dict[str, Schema]:
    """Every field of a document but its scope and ids, as a retraction may have it too."""
    return {
        "name": {**_NAME, "description": "Tells the documents of one scope apart."},
        "revision": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_REVISION,
            "description": "Only rises; of several the highest whose not_before has come is in force.",
        },
        "language": {"const": LANGUAGE, "default": LANGUAGE},
        "rules": {
            "type": "array",
            "maxItems": LIMITS.rules,
            "items": _ref("rule"),
            "default": [],
            "description": "In order: the first that is true decides.",
        },
        "default": {**_ref("verdict"), "description": "Where no rule is true."},
        "unknown": {
            **_ref("verdict"),
            "default": unknown,
            "description": "Where facts that are not known could lead to different verdicts.",
        },
        "mode": {
            "enum": list(get_args(Mode)),
            "default": "enforce",
            "description": "report: decide beside, change nothing.",
        },
        "not_before": _or_null({**_ref("time"), "description": "In force from then on; null: at once."}),
        "not_after": _or_null({**_ref("time"), "description": "In force until then; null: until superseded."}),
        "class": {"enum": classes},
        "ground": {**_TEXT, "description": "Why the document exists, for those it refuses."},
        "reference": _or_null({**_TEXT, "description": "A public text that can be looked up."}),
        "contest": _or_null({**_TEXT, "description": "Where a refused person can contest."}),
        "note": _or_null({**_TEXT, "description": "For people; no decision looks at it."}),
        "retracted": {"type": "boolean", "default": False, "description": "true: the document has no say any more."},
    }


def _rule(when: str) -> Schema:
    return {
        "type": "object",
        "properties": {
            "id": {**_NAME, "description": "Unique in the document; decisions name it."},
            "when": _ref(when),
            "then": _ref("verdict"),
            "note": _or_null({**_TEXT, "description": "A refused person reads it in the receipt."}),
        },
        "required": ["id", "then"],
        "additionalProperties": False,
    }


def _service_rule() -> Schema:
    """C4: a rule that removes names a territory, and names it positively."""
    positive = [{"required": [field], "properties": {field: {"type": "array"}}} for field in TERRITORIES]
    return {
        **_rule("serviceWhen"),
        "if": {"properties": {"then": {"const": VERDICTS[charter.REMOVE]}}, "required": ["then"]},
        "then": {"required": ["when"], "properties": {"when": {"anyOf": positive}}},
    }


def _when(fields: Iterable[str], about: str) -> Schema:
    return {
        "description": f"{about} Left out: matches all.",
        "type": "object",
        "properties": {field: _ref(f"{field}Condition") for field in fields},
        "additionalProperties": False,
        "minProperties": 1,
    }


def _condition(field: str) -> Schema:
    """A list, any of which; or ``{"not": [...]}``, none of which."""
    values = {"type": "array", "minItems": 1, "maxItems": LIMITS.values, "items": _VALUES[field]}
    negated = {"type": "object", "properties": {"not": values}, "required": ["not"], "additionalProperties": False}
    return {"oneOf": [values, negated]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(schema: Schema) -> Schema:
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {"description": schema["description"], "anyOf": [bare, {"type": "null"}]}
