"""Findings as a SARIF 2.1.0 log (OASIS, sarif-v2.1.0-os), for code hosts and editors that show such logs."""

import os
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from streams import __version__
from streams.cli.linting import Finding, Position
from streams.core.diagnostics import CODES

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def log(findings: Sequence[Finding]) -> dict[str, Any]:
    """One run with all findings, and a rule for each code among them."""
    codes = sorted({finding.code for finding in findings})
    number = {code: i for i, code in enumerate(codes)}
    driver = {
        "name": "doorward policy lint",
        "semanticVersion": __version__,
        "rules": [_rule(code) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, number[finding.code]) for finding in findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    entry = CODES[code]
    return {
        "id": code,
        "shortDescription": {"text": entry.text},
        "help": {"text": f"{entry.text}\n\nFor example:\n\n{entry.example}\n\nTo fix it: {entry.fix}."},
        "defaultConfiguration": {"level": entry.severity},
    }


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    found = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": f"{finding.message}. Fix: {finding.fix}"},
        "locations": [_location(finding.at, finding.path)],
    }
    if finding.related:
        found["relatedLocations"] = [
            _location(at, "") | {"id": i, "message": {"text": what}} for i, (at, what) in enumerate(finding.related)
        ]
    return found


def _location(at: Position, path: str) -> dict[str, Any]:
    """A place; of a signed document only its file, since lines are those of the payload inside."""
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(at.file)}}
    if at.line and not at.payload:
        physical["region"] = {
            "startLine": at.line,
            "startColumn": at.column,
            "endLine": at.end_line,
            "endColumn": at.end_column,
        }
    logical = {"logicalLocations": [{"fullyQualifiedName": path}]} if path else {}
    return {"physicalLocation": physical, **logical}


def _uri(file: str) -> str:
    """A relative reference for a relative path, a file URI for an absolute one (RFC 3986, RFC 8089)."""
    return ("file://" if file.startswith("/") else "") + quote(os.fsencode(file))
