"""The public export: whole where documents are public, and nothing of what is private; anybody can verify it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from streams.adapters.iso import vocabulary
from streams.core import instants
from streams.wire import jws, publication
from streams.wire.chain import LogRecord
from streams.wire.history import History
from streams.wire.publication import Publication, Unverifiable, verify, without_ids
from tests.signing import AUDIENCE, key, trusting

START = 1_795_253_400_000
CANARIES = (
    "canary-account",
    "canary meeting",
    "canary-name",
    "canary-note",
    "canary-rule",
    "canary-shared",
    "canary-8",
)
EXPORT = {
    "scope": "service", "name": "export", "revision": 1, "class": "legal", "ground": "Export Act § 4",
    "reference": "https://acts.example/4", "contest": "https://contest.example", "default": "admit",
    "not_before": instants.render(START + 3 * instants.DAY), "not_after": instants.render(START + 30 * instants.DAY),
    "rules": [{"id": "embargo", "when": {"country": ["BV"]}, "then": "remove"}],
}  # fmt: skip


class Log:
    """A policy log that is written record by record."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def put(self, path: str, value: dict[str, Any] | bytes | None, *signers: str) -> None:
        raw = jws.sign(value, [key(name) for name in signers], AUDIENCE) if isinstance(value, dict) else value
        self.records.append(LogRecord(len(self.records), START + len(self.records), path.encode(), raw))

    def export(self) -> list[bytes]:
        history = History(trusting(), AUDIENCE, vocabulary(), None)
        made = Publication(trusting(), AUDIENCE, None)
        return [made.header(), *(made.record(history.take(each)) for each in self.records), made.footer()]


def owners(account: str, *, note: str, **more: Any) -> dict[str, Any]:
    rules = [
        {"id": more.pop("rule", "elsewhere"), "when": {"country": {"not": ["US"]}}, "then": "remove", "note": note}
    ]
    ids = {"scope": "account", "account": account, "name": "licensing", "revision": 1}
    return {**ids, "rules": rules, "default": "admit", "contest": f"https://settings.example/{quote(account)}", **more}


def full() -> Log:
    """Documents of every kind, with canaries wherever something private can stand."""
    log = Log()
    log.put("service/export", EXPORT, "ann", "bo")
    mine = owners("acme", note="canary-note", rule="canary-rule", name="canary-name")
    log.put("account/acme/canary-name", mine, "acme")
    there = {**owners("acme", note="canary-note"), "scope": "meeting", "meeting": "canary meeting"}
    log.put("meeting/acme/canary%20meeting/licensing", there, "acme")
    log.put("account/canary-account/licensing", owners("canary-account", note="canary-note"), "settings")
    for n in range(10):
        account = f"canary-{n}"
        shared = owners(account, note=f"{account} and canary-account ask you to sit exams at home")
        log.put(f"account/{account}/licensing", shared, "settings")
    log.put("account/canary-account/licensing", None)
    log.put("account/canary-account/licensing", b'{"account": "canary-account"}')
    # Refused, and of a service scope only by its own word: nobody vouches for what it names.
    forged = {**EXPORT, "revision": 2, "ground": "canary-account and its canary meeting"}
    log.put("service/export", forged, "acme")
    log.put("service/canary-name", {**EXPORT, "name": "canary-name", "ground": "canary-note"}, "ann")
    log.put("service/export", EXPORT, "ann", "bo")
    return log


def test_nothing_private_stands_in_it() -> None:
    lines = full().export()
    text = b"\n".join(lines).decode()
    for canary in (*CANARIES, "acme", quote("canary meeting")):
        for written in (canary, canary.encode().hex(), jws._encode(canary.encode())[:-2]):
            assert written not in text, written
    private = json.loads(lines[2])
    assert private.keys() == {
        "offset", "appended_at", "sha256", "mark", "accepted", "on_behalf", "can_remove", "chain"
    }  # fmt: skip
    assert (private["accepted"], private["on_behalf"], private["can_remove"]) == (True, False, True)
    assert json.loads(lines[4])["on_behalf"] is True
    assert [json.loads(line).keys() for line in lines[15:17]] == [{"offset", "appended_at", "chain"}] * 2
    assert json.loads(lines[17])["accepted"] is False


def test_service_documents_stand_in_it_as_they_were_signed() -> None:
    log = full()
    first, again = (json.loads(log.export()[n]) for n in (1, -2))
    assert first["value"].encode() == again["value"].encode() == log.records[0].value
    assert (first["key"], first["holder"], first["revision"]) == ("service/export", "ann, bo", 1)


def test_a_text_in_ten_owners_names_is_told_without_whose() -> None:
    (shared,) = json.loads(full().export()[-1])["texts"]
    assert shared["accounts"] == 10
    assert shared["text"] == {
        "scope": "account",
        "rules": [
            {
                "id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove",
                "note": "… and … ask you to sit exams at home",
            }
        ],
        "default": "admit",
        "contest": "https://settings.example/…",
    }  # fmt: skip


def test_nine_owners_texts_and_owners_own_are_not() -> None:
    log = Log()
    for n in range(9):
        log.put(f"account/a{n}/licensing", owners(f"a{n}", note="same"), "settings")
    log.put("account/acme/licensing", owners("acme", note="same"), "acme")
    log.put("account/a0/licensing", owners("a0", note="same", revision=2), "settings")
    assert json.loads(log.export()[-1])["texts"] == []


def test_ids_go_as_words_and_codes_stay() -> None:
    value = {
        "note": "US guests of acme, see acme-help and https://a.example/big%20acme", "default": "admit",
        "rules": [{"id": "acme", "when": {"country": ["US"]}, "then": "alert"}],
    }  # fmt: skip
    assert without_ids(value, ["US", "acme", "big acme"]) == {
        "note": "… guests of …, see …-help and https://a.example/…", "default": "admit",
        "rules": [{"id": "…", "when": {"country": ["US"]}, "then": "alert"}],
    }  # fmt: skip


# -- verifying ---------------------------------------------------------------------------------------------------


def problems(lines: list[bytes], **more: Any) -> list[str]:
    return list(verify(lines, vocabulary(), **more).problems)


def altered(lines: list[bytes], number: int, **members: Any) -> list[bytes]:
    value = {**json.loads(lines[number]), **members}
    return [*lines[:number], json.dumps(value).encode(), *lines[number + 1 :]]


def test_a_third_party_finds_it_whole_without_kafka() -> None:
    log = full()
    found = verify(log.export(), vocabulary())
    assert (found.problems, found.records, found.service, found.gaps, found.own_keys) == ((), 19, 2, (), True)
    history = History(trusting(), AUDIENCE, vocabulary(), None)
    for each in log.records:
        history.take(each)
    assert found.head == history.head, "the same chain that the log itself has"
    assert problems(log.export(), trust=trusting("ann", "bo")) == []


def test_an_empty_log_has_an_export_too() -> None:
    assert verify(Log().export(), vocabulary()).problems == ()


def test_other_keys_find_what_they_did_not_sign() -> None:
    first, second = problems(full().export(), trust=trusting("ann", "cleo"))
    assert first.startswith("offset 0, service/export: ")
    assert "[C5-approvers]" in first
    assert second.startswith("offset 18, ")


def test_an_altered_line_breaks_the_chain_where_it_stands() -> None:
    lines = full().export()
    assert problems(altered(lines, 2, sha256="sha256:" + "0" * 64)) == ["offset 1: the chain breaks here"]
    assert problems(altered(lines, 5, appended_at=START)) == ["offset 4: the chain breaks here"]
    (said,) = problems(altered(lines, 1, holder="ann, cleo"))
    assert said == "offset 0, service/export: is revision 1 by ann, bo, not 1 by ann, cleo"
    forged = jws.sign({**EXPORT, "ground": "Another"}, [key("ann"), key("ann-2")], AUDIENCE).decode()
    assert len(problems(altered(lines, 1, value=forged))) == 2, "the chain breaks, and one holder signed twice"
    assert problems([*lines[:3], *lines[4:]]) == [
        "offset 3: the chain breaks here",
        f"the footer tells of head {json.loads(lines[-1])['head']}; it is {json.loads(lines[-1])['head']}",
    ], "one record less than the footer counts"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the last line is no footer"),
        ([b"{}"], "line 1 is not the header"),
        ([b'{"doorward_policy_export":2}'], "of format 1"),
        ([b"text"], "line 1: not JSON"),
        ([b"x" * (publication.MAX_LINE + 1)], "line 1 has more than"),
        ([b"[]"], "line 1 is no JSON object"),
        (["header"], "the export is cut off"),
        (["header", b'{"offset":0}', "footer"], "line 2: offset and appended_at"),
        (["header", b'{"offset":0,"appended_at":true}', "footer"], "line 2: offset and appended_at"),
        (["header", b'{"offset":-1,"appended_at":0}', "footer"], "line 2: offset -1 does not follow -1"),
        (["header", b'{"offset":0,"appended_at":0,"value":1}', "footer"], "line 2: key and value are texts"),
        (["header", b'{"offset":0,"appended_at":0,"sha256":"sha256:x"}', "footer"], "line 2: a digest is 64"),
        (["header", b'{"head":"x","records":0,"approvers":[1]}'], "the footer's approvers: keys[0] is no JWK"),
        ([b'{"doorward_policy_export":1}', "footer"], "line 1: the header names no audience"),
    ],
)
def test_what_is_no_export_is_one_line(lines: list[Any], said: str) -> None:
    whole = Log().export()
    given = [whole[0] if line == "header" else whole[1] if line == "footer" else line for line in lines]
    with pytest.raises(Unverifiable) as caught:
        verify(given, vocabulary())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
