"""What `policy push` tries first, what it cannot try and why, and how it says what was counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Offer, Push
from streams.cli.policy import app
from streams.cli.trial import Attempt, Prepared, outcome, plan
from streams.core import status
from streams.core.policy import Problem, parse
from streams.wire import jws, keys
from streams.wire.trust import written
from tests.signing import AUDIENCE, HELD, entry, key, trusting

NOW = 1_795_253_400_123
LICENSING = {
    "scope": "account", "account": "acme", "name": "licensing", "revision": 7, "default": "admit",
    "rules": [{"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove"}],
}  # fmt: skip
EXPORT = {
    "scope": "service", "name": "export", "revision": 1, "class": "legal", "ground": "Export Act § 4",
    "reference": "https://acts.example/4", "contest": "https://contest.example",
    "not_before": "2030-01-01T00:00:00Z", "not_after": "2030-02-01T00:00:00Z", "default": "admit", "unknown": "admit",
    "rules": [{"id": "embargo", "when": {"country": ["BV"]}, "then": "alert"}],
}  # fmt: skip


def prepared(value: dict[str, Any], *signers: str) -> Prepared:
    document = parse(value, vocabulary())
    raw = jws.sign(value, [key(name) for name in signers], AUDIENCE)
    return Prepared(Offer(document.path, document.revision, raw), document, value)


def planned(*prepared: Prepared, signers: tuple[str, ...] = ("acme",)) -> tuple[list[Attempt], list[str]]:
    attempts, untried = plan(prepared, [key(name) for name in signers], trusting(), AUDIENCE, NOW)
    return attempts, [each.line for each in untried]


# -- what is tried -----------------------------------------------------------------------------------------------


def test_a_trial_is_signed_with_the_same_keys_and_retracted_one_revision_later() -> None:
    (made,), untried = planned(prepared(LICENSING, "acme"))
    assert untried == []
    tried, ended = (jws.verify(offer.raw, trusting(), AUDIENCE) for offer in (made.trial, made.retraction))
    assert (made.trial.path, made.trial.revision) == ("account/acme/licensing~trial", NOW)
    assert (tried.payload["mode"], tried.payload["rules"]) == ("report", LICENSING["rules"])
    assert (made.retraction.path, made.retraction.revision) == (made.trial.path, NOW + 1)
    assert ended.payload["retracted"] is True
    assert [s.holder for s in tried.signers] == [s.holder for s in ended.signers] == ["acme"]


@pytest.mark.parametrize(
    "changed",
    [
        {"mode": "report"},
        {"retracted": True},
        {"rules": [], "unknown": "admit"},
    ],
)
def test_what_restricts_nobody_is_not_tried(changed: dict[str, Any]) -> None:
    assert planned(prepared({**LICENSING, **changed}, "acme")) == ([], [])


@pytest.mark.parametrize("changed", [{"default": "alert", "rules": []}, {"rules": [], "unknown": "alert"}])
def test_what_flags_somebody_is_tried(changed: dict[str, Any]) -> None:
    assert len(planned(prepared({**LICENSING, **changed}, "acme"))[0]) == 1


def test_of_two_revisions_of_one_document_the_higher_is_tried() -> None:
    attempts, _ = planned(prepared({**LICENSING, "revision": 8}, "acme"), prepared(LICENSING, "acme"))
    assert [each.document.revision for each in attempts] == [8]


@pytest.mark.parametrize(
    ("value", "signers", "why"),
    [
        (LICENSING, (), "it is signed already, and signing its trial takes --key"),
        (LICENSING, ("bo",), "with the keys given: document: not signed by a key trusted for account 'acme'"),
        (EXPORT, ("ann",), "its trial would be signed by 1 approver(s) with service scope; 2 distinct wanted"),
        (EXPORT, ("ann", "ann-2"), "its trial would be signed by 1 approver(s)"),
        (
            {**EXPORT, "rules": [{"id": "embargo", "when": {"country": ["BV"]}, "then": "remove"}]},
            ("ann", "bo"),
            "a service document that removes needs 24 h notice in report mode too (C5)",
        ),
    ],
)
def test_what_cannot_be_tried_says_why(value: dict[str, Any], signers: tuple[str, ...], why: str) -> None:
    attempts, (line,) = planned(prepared(value, "acme"), signers=signers)
    assert attempts == []
    assert line.startswith(f"no trial of {parse(value, vocabulary()).path}: {why}")


def test_a_service_document_that_only_flags_is_tried_at_once_by_two_approvers() -> None:
    (made,), untried = planned(prepared(EXPORT, "ann", "bo"), signers=("ann", "bo"))
    assert untried == []
    document = parse(jws.verify(made.trial.raw, trusting(), AUDIENCE).payload, vocabulary())
    assert document.not_before is not None
    assert document.not_before < NOW


# -- what was counted --------------------------------------------------------------------------------------------


def told(made: Attempt, **changed: int | None) -> status.Trial:
    counts = {
        "sessions": 20_000, "admit": 19_000, "alert": 100, "remove": 900, "would_alert": 3, "would_remove": 800,
        "meetings": 200,
    }  # fmt: skip
    return status.Trial(path=made.trial.path, revision=made.trial.revision, **{**counts, **changed})  # type: ignore[arg-type]  # each is one of its counts


def heard(
    attempts: list[Attempt], by_worker: dict[str, list[status.Trial]], live: tuple[str, ...] = ("w1", "w2")
) -> Push:
    push = Push([each.trial for each in attempts])
    push.live = frozenset(live)
    for offset, offer in enumerate(push.offers, 7):
        push.sent(offer, offset)
        offer.answer = "accepted"
    for worker, trials in by_worker.items():
        sweep = status.Sweep(sessions=30_000, decided=20_000, admit=0, alert=0, remove=0, trials=trials)
        data = status.AppliedData(
            worker=worker, offset=6 + len(attempts), digest="", documents=1, appended_at=0, applied_at=0, timings={},
            sweep=sweep if trials else None,
        )  # fmt: skip
        push.hear(status.applied(data))
    return push


def test_the_workers_counts_are_added_up() -> None:
    attempts, _ = planned(prepared(LICENSING, "acme"))
    made = outcome(
        attempts,
        heard(attempts, {"w1": [told(attempts[0])], "w2": [told(attempts[0], would_remove=404, meetings=110)]}),
    )
    assert made.lines == [
        "account/acme/licensing revision 7: would remove 1,204 of 40,000 live participants in 310 meetings; "
        "would alert 6"
    ]
    assert made.most_removed == 1_204
    assert made.summary == {
        "documents": [
            {
                "path": "account/acme/licensing",
                "revision": 7,
                "sessions": {"least": 40_000, "most": 40_000},
                "would_remove": {"least": 1_204, "most": 1_204},
                "would_alert": {"least": 6, "most": 6},
                "meetings": {"least": 310, "most": 310},
            }
        ],
        "untried": [],
        "unheard": [],
    }


def test_a_worker_without_such_sessions_counts_none() -> None:
    attempts, _ = planned(prepared(LICENSING, "acme"))
    one = told(attempts[0], sessions=1, would_remove=1, meetings=1, would_alert=0)
    assert outcome(attempts, heard(attempts, {"w1": [one], "w2": []})).lines == [
        "account/acme/licensing revision 7: would remove 1 of 1 live participant in 1 meeting; would alert 0"
    ]
    assert outcome(attempts, heard(attempts, {"w1": [], "w2": []})).lines == [
        "account/acme/licensing revision 7: reaches no live participant"
    ]


def test_counts_that_may_not_be_told_are_said_to_be_few_and_taken_at_their_most() -> None:
    attempts, _ = planned(prepared(EXPORT, "ann", "bo"), signers=("ann", "bo"))
    few = told(attempts[0], admit=None, alert=None, remove=None, would_alert=None, would_remove=None, meetings=None)
    made = outcome(attempts, heard(attempts, {"w1": [few], "w2": [told(attempts[0], admit=None, would_alert=100)]}))
    assert made.lines == [
        "service/export revision 1: would remove 800 to 818 of 40,000 live participants in 200 to 218 meetings; "
        "would alert 100 to 118"
    ]
    assert made.most_removed == 818
    alone = outcome(attempts, heard(attempts, {"w1": [few], "w2": []}))
    assert "would remove fewer than 10 of 20,000 live participants" in alone.lines[0]


def test_workers_that_were_not_heard_are_named() -> None:
    attempts, _ = planned(prepared(LICENSING, "acme"))
    push = heard(attempts, {"w1": [told(attempts[0])]}, live=("w1", "w2", "w3"))
    started = status.AppliedData(
        worker="w3", offset=7, digest="", documents=1, appended_at=0, applied_at=0, timings={"start": 0.3}
    )
    push.hear(status.applied(started))
    assert outcome(attempts, push).unheard == ["w2", "w3"], "one is behind, one has read the log but tried nothing"


def test_a_trial_that_was_rejected_says_what_is_wrong_with_it() -> None:
    attempts, _ = planned(prepared(LICENSING, "acme"))
    attempts[0].trial.answer = "rejected"
    attempts[0].trial.problems = [Problem("revision-falls", "revision", "lower")]
    made = outcome(attempts, Push([attempts[0].trial]))
    assert made.lines == [
        "no trial of account/acme/licensing: the workers rejected it: revision: lower [revision-falls]"
    ]
    assert made.untried[0].rejected


# -- as far as it gets without a broker --------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    for name in HELD:
        keys.write_private(key(name), tmp_path / f"{name}.jwk")
    (tmp_path / "trust.json").write_bytes(written([entry(name) for name in HELD]))
    (tmp_path / "licensing.jws.json").write_bytes(prepared(LICENSING, "acme").offer.raw)
    removing = {**EXPORT, "rules": [{"id": "embargo", "when": {"country": ["BV"]}, "then": "remove"}]}
    (tmp_path / "export.jws.json").write_bytes(prepared(removing, "ann", "bo").offer.raw)
    return tmp_path


def push(desk: Path, *arguments: str | Path) -> Result:
    where = ["push", "--bootstrap", "127.0.0.1:1", "--trust", desk / "trust.json"]
    return CliRunner().invoke(app, [str(argument) for argument in (*where, *arguments)])


def test_a_limit_on_what_cannot_be_counted_is_refused_before_anything_is_sent(desk: Path) -> None:
    result = push(desk, desk / "licensing.jws.json", desk / "export.jws.json", "--max-removed", "100", "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "no trial of account/acme/licensing: it is signed already, and signing its trial takes --key",
        "no trial of service/export: a service document that removes needs 24 h notice in report mode too (C5)",
        "doorward: --max-removed: these cannot be tried; nothing was pushed",
    ]


def test_a_trial_without_a_broker_is_one_line(desk: Path) -> None:
    result = push(desk, desk / "licensing.jws.json", "--key", desk / "acme.jwk", "--max-removed", "0")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
    assert "127.0.0.1:1" in result.stderr
    assert "nothing was pushed" in result.stderr
