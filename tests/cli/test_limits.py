"""The greatest sizes are settings: what a worker with them takes every command takes, and refuses in its words."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.iso import vocabulary
from streams.cli import policytest, trial
from streams.cli.main import app
from streams.core.index import Index
from streams.core.lint import Given
from streams.core.policy import Limits, parse
from streams.wire import cloudevents, documents, jws, keys, publication, signed
from streams.wire.history import History
from streams.wire.trust import written
from tests.signing import AUDIENCE, entry, key, trusting

JOIN = {"meeting": "m-1", "account": "acme", "participation": "p-1", "address": "192.0.2.1"}
GREATEST = Limits(signed=jws.MAX_SIGNED, rules=100_000, values=1_000_000)
"""As high as the settings go."""


def document(rules: int = 1, values: int = 1, note: str = "-") -> dict[str, Any]:
    """One with so many rules, of which the first names so many systems, and a note on each."""
    listed = [{"id": f"r{i}", "when": {"asn": [i]}, "then": "alert", "note": note} for i in range(rules)]
    listed[0]["when"] = {"asn": list(range(values))}
    return {
        "scope": "account",
        "account": "acme",
        "name": "offices",
        "revision": 1,
        "rules": listed,
        "default": "admit",
    }


def environment(limits: Limits) -> dict[str, str]:
    named = {"DOCUMENT_BYTES": limits.signed, "RULES": limits.rules, "VALUES": limits.values}
    return {f"DOORWARD_MAX_{name}": str(value) for name, value in named.items()}


class Desk:
    """A folder with a document, plain and signed, beside a test of it, and what every command says of them."""

    def __init__(self, folder: Path, value: dict[str, Any]) -> None:
        self.plain, self.sealed = folder / "plain", folder / "sealed"
        for each in (self.plain, self.sealed):
            each.mkdir()
        self.file, self.signed = self.plain / "offices.json", self.sealed / "offices.jws.json"
        self.key, self.trust, self.joins = folder / "acme.jwk", folder / "trust.json", folder / "joins.jsonl"
        self.file.write_text(json.dumps(value, separators=(",", ":")))
        self.raw = jws.sign(value, [key("acme")], AUDIENCE, max_bytes=jws.MAX_SIGNED)
        self.signed.write_bytes(self.raw)
        (self.plain / "offices.test.yaml").write_text(
            "account: acme\ncases: [{case: office, join: {asn: 0}, expect: alert}]\n"
        )
        keys.write_private(key("acme"), self.key)
        self.trust.write_bytes(written([entry("acme")]))
        self.joins.write_text(json.dumps(JOIN))

    def worker(self, limits: Limits) -> str:
        """What a worker with these limits says of the signed document; nothing where it takes it."""
        try:
            index = Index()
            signed.accept(
                self.raw, trust=trusting(), audience=AUDIENCE, vocabulary=vocabulary(), index=index, limits=limits
            )
        except signed.Rejected as exc:
            return exc.problems[0].message
        return ""

    def commands(self) -> Iterator[tuple[str, list[str | Path]]]:
        """Every command that reads documents and asks no broker."""
        joins: list[str | Path] = ["--joins", self.joins]
        held = ["--policies", self.sealed, *joins, "--trust", self.trust]
        yield "decide plain", ["decide", "--policies", self.plain, *joins, "--unsigned"]
        yield "decide signed", ["decide", *held]
        yield "explain plain", ["policy", "explain", "--policies", self.plain, *joins]
        yield "explain signed", ["policy", "explain", *held]
        yield "lint plain", ["policy", "lint", self.file]
        yield "lint signed", ["policy", "lint", self.signed]
        yield "test", ["policy", "test", self.plain]
        yield "sign plain", ["policy", "sign", self.file, "--key", self.key, "--out", self.plain.parent / "out"]
        yield "diff plain", ["policy", "diff", self.file, self.file]
        yield "diff signed", ["policy", "diff", self.signed, self.signed]

    def refused_unsent(self) -> Iterator[tuple[str, list[str | Path]]]:
        """Every command that looks at documents before it asks a broker; there is none."""
        away: list[str | Path] = ["--bootstrap", "127.0.0.1:1", "--trust", self.trust, "--key", self.key, "--yes"]
        for name, file in (("plain", self.file), ("signed", self.signed)):
            yield f"push {name}", ["policy", "push", file, *away]
            yield f"retract {name}", ["policy", "retract", file, *away]


def doorward(words: list[str | Path], limits: Limits) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env=environment(limits))


def test_what_raised_limits_let_a_worker_take_every_command_takes(tmp_path: Path) -> None:
    desk = Desk(tmp_path, document(rules=2_300, note="n" * 2_000))
    assert desk.worker(Limits())
    assert desk.file.stat().st_size > documents.MAX_DOCUMENT, "nor would it be read at all"
    assert not desk.worker(GREATEST)
    for name, words in desk.commands():
        result = doorward(words, GREATEST)
        assert result.exit_code == 0, f"{name}: {result.stdout[-500:]}{result.stderr[-500:]}"


@pytest.mark.parametrize(
    ("made", "lowered"),
    [
        (document(rules=3), Limits(rules=2)),
        (document(values=3), Limits(values=2)),
        (document(rules=70, note="n" * 1_000), Limits(signed=65_536)),
    ],
    ids=["rules", "values", "bytes"],
)
def test_what_lowered_limits_let_a_worker_refuse_every_command_refuses_in_its_words(
    made: dict[str, Any], lowered: Limits, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, made)
    assert not desk.worker(Limits())
    said = desk.worker(lowered).split("; ")[-1]  # "has N bytes; a signed document has at most …": N is the file's
    assert said
    for name, words in [*desk.commands(), *desk.refused_unsent()]:
        result = doorward(words, lowered)
        assert result.exit_code == (1 if name.startswith("lint") else 2), f"{name}: {result.stdout}{result.stderr}"
        assert said in result.stdout + result.stderr, name


def test_a_signature_more_is_refused_where_it_makes_a_document_too_large(tmp_path: Path) -> None:
    desk = Desk(tmp_path, document(rules=45, note="n" * 1_000))
    lowered = Limits(signed=65_536)
    assert not desk.worker(lowered)
    for number in range(16):
        keys.write_private(key(f"more-{number}"), tmp_path / f"{number}.jwk")
        result = doorward(["policy", "sign", desk.signed, "--key", tmp_path / f"{number}.jwk"], lowered)
        if result.exit_code:
            break
    assert result.exit_code == 2
    assert "a signed document has at most 65,536 [too-large]" in result.stderr


LIMITED = (
    *(
        parse,
        Given,
        History,
        trial.plan,
        policytest.run,
        publication.verify,
        cloudevents.decode,
        cloudevents.decode_data,
    ),
    *(jws.sign, jws.countersign, jws.verify, jws.payload_of, jws.unverified),
    *(
        signed.accept,
        signed.check,
        signed.plain,
        signed.accept_unsigned,
        signed.index_of_signed,
        signed.index_of_unsigned,
    ),
    *(documents.read, documents.read_file, documents.read_folder),
)
"""Whatever has the default sizes where it is told no others."""
CLI = Path(trial.__file__).parent


def calls(file: Path) -> Iterator[tuple[int, Any, list[str]]]:
    """The calls of a module to one of those: line, what is called, and the parameters that are given."""
    module = importlib.import_module(f"streams.cli.{file.stem}")
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name):
                called = getattr(module, name, None)
            case ast.Attribute(value=ast.Name(id=base), attr=name):
                called = getattr(getattr(module, base, None), name, None)
            case _:
                continue
        if called is not None and any(called is each for each in LIMITED):
            named = {keyword.arg: ... for keyword in node.keywords if keyword.arg}
            given = inspect.signature(called).bind_partial(*node.args, **named)
            yield node.lineno, called, list(given.arguments)


def test_no_command_forgets_the_settings_sizes() -> None:
    """Also of those that read the policy log, which the cases above don't reach."""
    found = 0
    for file in sorted(CLI.glob("*.py")):
        if file.stem == "dev":  # the sandbox's workers take nothing from the environment: they have the default sizes
            continue
        for line, called, given in calls(file):
            found += 1
            assert {"limits", "max_bytes"} & set(given), f"{file.name}:{line}: {called.__name__} is told no sizes"
    assert found > 30
