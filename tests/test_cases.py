"""Runs tests/cases/*.yaml: what `doorward decide` must answer, as data.

The public surface only: documents, geo files and joins go in, decision lines or an exit code come out. Each file holds
`cases`, a list, perhaps `bases`, documents the cases build upon, and `parts`, whatever the cases share by YAML anchors.
Files are YAML 1.2, so `NO` is Norway here too.
A case is a mapping of

name        what holds, unique in its file
note        why, where the name does not say it (optional)
rulings     which texts it shows: numbers are RULINGS.md, "4.2" is design section 4 "How a document decides", point 2,
            "C4" a clause of the charter, "§9" a section of the design, "bad input" what the input must survive
documents   policy documents, written one a file as JSON. `base: NAME` puts the named base's keys under the
            document's own; a key set to <absent> is left out, here and in joins
files       further files in the policy folder: name -> content, written as a line of `lines` is
geo         MMDB files in the order of --geo (see geofiles.py); none: no --geo is passed, the shipped snapshot answers
now         --now; 2026-11-21T09:30:00Z unless given
joins       objects, one input line each, laid over {meeting: m-1, account: acme, participation: p-1}. `event: TYPE`
            wraps the rest as the `data` of a CloudEvent of type doorward.TYPE.v1
lines       raw input lines instead of `joins`: a text; {latin1: text}, bytes written as characters; or a list of
            pieces, each a text or {repeat: text, times: N}
probes      instead of joins and want: address -> {yes: [when, ...], no: [...], open: [...]}: whether each `when` is
            true, false or open for a join from that address (`unset`: one that does not parse). The runner makes a
            meeting and a document of its own for each
flags       command line after the paths; --unsigned unless given. `{dir}` is the case's folder, holding `policies/`
stdin       true: the joins come by `--joins -`
want        one subset an output line, in order, no line more: what is named must be equal (`matched` and `policies`
            as a whole). Keys that are not of the envelope are looked up in `data`. Instead of a value: <absent> (no
            such key), <none> (null or absent), <any> (there, not null), {<has>: text}, {<lacks>: text}
ids         `distinct`: no two decisions share an id; `same`: all do
exit        exit code, 0 unless given; then nothing may be on stdout
stderr      texts that must stand on stderr, whatever their case

Whatever a case wants, every decision line is held to: its type says its verdict, its id is 32 hex digits, a remove has
a receipt and nothing else has, and no line of a decision carries an address of the input.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from streams.cli.main import app
from tests.geofiles import write_geo

NOW = "2026-11-21T09:30:00Z"
IDS = {"meeting": "m-1", "account": "acme", "participation": "p-1"}
ENVELOPE = {"specversion", "type", "source", "id", "time", "subject", "data", "datacontenttype"}
BESIDE = {"report", "dead_letter", "detail", "line"}
KEYS = {
    *("name", "note", "rulings", "documents", "files", "geo", "now", "joins", "lines", "probes", "flags", "stdin"),
    *("want", "ids", "exit", "stderr"),
}
WHOLE = (".matched", ".policies")
IS = {"yes": ("remove", "rule"), "no": ("admit", None), "open": ("alert", "unknown")}


def load() -> list[Any]:
    """Every case of every file, as pytest parameters."""
    found = []
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml")):
        content = YAML(typ="safe", pure=True).load(path)
        assert content.keys() <= {"bases", "cases", "parts"}, path.name
        names = [case["name"] for case in content["cases"]]
        assert len(names) == len(set(names)), f"{path.name}: a name stands twice"
        for case in content["cases"]:
            assert case.keys() <= KEYS, f"{path.name}: {case['name']}: {case.keys() - KEYS}"
            case["documents"] = [on_base(document, content.get("bases", {})) for document in case.get("documents", [])]
            found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    return found


def on_base(document: dict[str, Any], bases: dict[str, Any]) -> dict[str, Any]:
    """The document with its base's keys under its own; a key set to <absent> is left out."""
    laid = {**bases[document["base"]], **document} if "base" in document else dict(document)
    return {key: value for key, value in laid.items() if key != "base" and value != "<absent>"}


def expand_probes(case: dict[str, Any]) -> None:
    """Writes each probe as a document, a join and a wish: remove is true, admit false, alert open."""
    case["joins"], case["want"] = [], []
    for address, answers in case["probes"].items():
        for answer, whens in answers.items():
            for when in whens:
                meeting = f"probe-{len(case['joins'])}"
                rule = {"id": "probe", "when": when, "then": "remove"}
                case["documents"].append(
                    {"scope": "meeting", "account": "acme", "meeting": meeting, "name": "probe", "revision": 1}
                    | {"rules": [rule], "default": "admit", "unknown": "alert"}
                )
                case["joins"].append({"meeting": meeting, "address": "" if address == "unset" else address})
                verdict, outcome = IS[answer]
                reason = None if outcome is None else {"outcome": outcome}
                case["want"].append({"subject": f"acme/{meeting}/p-1", "verdict": verdict, "reason": reason})


def bytes_of(line: Any) -> bytes:
    """An input line, without its end, or a file's content."""
    if isinstance(line, str):
        return line.encode()
    if isinstance(line, list):
        return b"".join(bytes_of(piece) for piece in line)
    return line["latin1"].encode("latin-1") if "latin1" in line else line["repeat"].encode() * line["times"]


def event_of(join: dict[str, Any], number: int) -> str:
    """A join of a case as JSON: ids filled in, wrapped as a CloudEvent where it asks for that."""
    data = {key: value for key, value in (IDS | join).items() if key != "event" and value != "<absent>"}
    if "event" not in join:
        return json.dumps(data)
    kind = f"doorward.{join['event']}.v1"
    envelope = {"specversion": "1.0", "type": kind, "source": "/edge/test", "id": f"e-{number}", "time": NOW}
    return json.dumps(envelope | {"data": data})


def meets(wanted: Any, got: Any, at: str) -> list[str]:
    """What in `got` is not as `wanted`, one text a difference, each naming the place `at`."""
    if wanted == "<any>":
        return [] if got is not None else [f"{at}: nothing there"]
    if isinstance(wanted, dict) and wanted.keys() == {"<has>"}:
        return [] if wanted["<has>"] in str(got) else [f"{at}: {got!r} lacks {wanted['<has>']!r}"]
    if isinstance(wanted, dict) and wanted.keys() == {"<lacks>"}:
        return [] if wanted["<lacks>"] not in str(got) else [f"{at}: {got!r} has {wanted['<lacks>']!r}"]
    if not isinstance(wanted, dict) or not isinstance(got, dict) or at.endswith(WHOLE):
        same = wanted == got and isinstance(wanted, bool) == isinstance(got, bool)
        return [] if same else [f"{at}: wanted {wanted!r}, got {got!r}"]
    found = []
    for key, value in wanted.items():
        inner = got if at or key in ENVELOPE | BESIDE else got.get("data", {})
        if value == "<absent>" or (value == "<none>" and key not in inner):
            found += [f"{at}.{key}: there, {inner[key]!r}"] if key in inner else []
        elif value == "<none>":
            found += [] if inner[key] is None else [f"{at}.{key}: wanted none, got {inner[key]!r}"]
        elif key not in inner:
            found.append(f"{at}.{key}: absent from {sorted(inner)}")
        else:
            found += meets(value, inner[key], f"{at}.{key}")
    return found


def faults(line: str, decision: dict[str, Any], addresses: list[str]) -> list[str]:
    """What is wrong with a decision line whatever the case: shape, receipt, an address that leaked."""
    data = decision["data"]
    found = [f"address {address} in a decision" for address in addresses if address in line]
    if decision["type"] != f"doorward.{data['verdict']}.v1":
        found.append(f"type {decision['type']} for verdict {data['verdict']}")
    if not re.fullmatch(r"[0-9a-f]{32}", decision["id"]):
        found.append(f"id {decision['id']}")
    if (data["verdict"] == "remove") != (data.get("receipt") is not None):
        found.append(f"receipt {data.get('receipt')} on {data['verdict']}")
    return found


def arrange(case: dict[str, Any], folder: Path) -> tuple[list[str], bytes]:
    """Writes the case's files; returns the command line and the input."""
    policies = folder / "policies"
    policies.mkdir()
    for number, document in enumerate(case["documents"]):
        (policies / f"{number:03}.json").write_text(json.dumps(document))
    for name, text in case.get("files", {}).items():
        (policies / name).parent.mkdir(parents=True, exist_ok=True)
        (policies / name).write_bytes(bytes_of(text))
    if "lines" in case:
        lines = [bytes_of(line) for line in case["lines"]]
    else:
        lines = [event_of(join, number).encode() for number, join in enumerate(case.get("joins", []), start=1)]
    fed = b"".join(line + b"\n" for line in lines)
    (folder / "joins.jsonl").write_bytes(fed)
    command = [
        "decide",
        "--policies",
        str(policies),
        "--joins",
        "-" if case.get("stdin") else str(folder / "joins.jsonl"),
    ]
    command += ["--now", case.get("now", NOW)]
    for number, spec in enumerate(case.get("geo", [])):
        command += ["--geo", str(write_geo(folder / f"{number}.mmdb", spec))]
    return command + [flag.replace("{dir}", str(folder)) for flag in case.get("flags", ["--unsigned"])], fed


def test_every_ruling_that_decide_can_show_has_a_case() -> None:
    shown = {ruling for case in load() for ruling in case.values[0]["rulings"]}
    assert shown >= {*range(1, 29), *range(33, 37), 39} | {f"4.{point}" for point in range(1, 8)}


@pytest.mark.parametrize("case", load())
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    if "probes" in case:
        expand_probes(case)
    command, fed = arrange(case, tmp_path)
    result = CliRunner().invoke(app, command, input=fed if case.get("stdin") else None)
    shown = f"\nstdout: {result.stdout[:3000]}\nstderr: {result.stderr[:3000]}"
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception) + shown
    assert result.exit_code == case.get("exit", 0), shown
    said = result.stderr.replace(str(tmp_path), "").lower()  # the folder's name holds words of the case's
    missing = [piece for piece in case.get("stderr", []) if piece.lower() not in said]
    assert not missing, f"not said: {missing}{shown}"
    assert "Traceback" not in result.stderr, shown
    if "exit" in case:
        assert result.stdout == "", shown
        return
    lines = result.stdout.splitlines()
    found = [f"{len(lines)} lines out, wanted {len(case['want'])}"] if len(lines) != len(case["want"]) else []
    decisions = [json.loads(line) for line in lines]
    addresses = [join["address"] for join in case.get("joins", []) if len(str(join.get("address") or "")) > 6]
    for number, (line, got, wanted) in enumerate(zip(lines, decisions, case["want"], strict=False), start=1):
        problems = meets(wanted, got, "") + (faults(line, got, addresses) if "data" in got else [])
        found += [f"line {number}{problem if problem[0] == '.' else ' ' + problem}" for problem in problems]
    ids = [got["id"] for got in decisions if "id" in got]
    if "ids" in case and len(set(ids)) != (1 if case["ids"] == "same" else len(ids)):
        found.append(f"ids not {case['ids']}: {ids}")
    assert not found, "\n".join(found) + shown
