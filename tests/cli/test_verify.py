"""`verify` and `replay` before they have read anything: what they need, and how they end without it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import verify
from streams.cli.main import app
from streams.cli.verifying import Account
from streams.core.ledger import Violation
from streams.core.proof import Field
from streams.wire.trust import written
from tests.signing import entry


@pytest.fixture
def trust(tmp_path: Path) -> str:
    (tmp_path / "trust.json").write_bytes(written([entry("acme")]))
    return str(tmp_path / "trust.json")


@pytest.fixture
def nobody() -> str:
    """Where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{reserved.getsockname()[1]}"


@pytest.mark.parametrize("command", ["verify", "replay"])
def test_how_they_end_without_what_they_need(command: str, trust: str, nobody: str, tmp_path: Path) -> None:
    def ended(*given: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [command, *given])
        assert result.stdout == ""
        return result.exit_code, result.stderr

    assert ended() == (2, "doorward: --trust FILE is required: a document counts by its signature\n")
    code, words = ended("--trust", str(tmp_path / "none.json"))
    assert (code, "--trust: " in words) == (3, True)
    assert ended("--trust", trust, "--geo", trust)[0] == 3
    assert ended("--trust", trust, "--since", "yesterday")[0] == 2
    instant = "2026-11-21T12:00:00Z"
    code, words = ended("--trust", trust, "--since", instant, "--until", instant)
    assert (code, words) == (2, "doorward: --until must be after --since\n")
    code, words = ended("--trust", trust, "--bootstrap", nobody)
    assert (code, words) == (3, f"doorward: no Kafka answers at {nobody} (DOORWARD_KAFKA_BOOTSTRAP)\n")


def test_an_id_that_is_none(trust: str) -> None:
    result = CliRunner().invoke(app, ["replay", "not-hex", "--trust", trust])
    assert result.exit_code == 2
    assert "is no decision's id" in result.stderr


def test_the_account_says_what_where_and_how_many() -> None:
    violation = Violation("I3", "it differs", "decisions", 2, 7, "acme/m-1/p", "0" * 32, (Field("data.x", 1, None),))
    account = Account(partitions=4, events=1_000, decisions=990, proven=985, waiting=3, committed={0: 5})
    account.violations, account.first, account.unprovable = {"I3": 11}, [violation], {"its geo build is gone": 4}
    assert list(verify.lines(account, "doorward")) == [
        "1,000 committed events and 990 decisions on 4 partitions, group doorward",
        "I1 every committed event is answered, and the last word is the right one: holds",
        "I2 nothing is said that nothing calls for: holds",
        "I3 deciding again gives the same bytes: 11 violations",
        f"  decisions[2]@7, acme/m-1/p, {'0' * 32}: it differs",
        "    data.x: recorded 1, again null",
        "  … and 10 more",
        "I4 decisions of one id agree: holds",
        "I5 nothing is committed before its outputs are there: holds",
        "decided again to the same bytes: 985 of 990 decisions",
        "not provable: 4, its geo build is gone",
        "not committed yet, and so not looked for: 3 records of joins",
    ]
