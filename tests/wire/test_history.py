"""The log judged again from its beginning, and held against what was known of it before."""

from __future__ import annotations

from typing import Any

import pytest

from streams.adapters.iso import vocabulary
from streams.core import instants, policy
from streams.wire import chain, jws
from streams.wire.chain import Head, LogRecord
from streams.wire.comparison import Earlier
from streams.wire.history import Entry, History
from tests.signing import AUDIENCE, entry, key, trusting

DAY = instants.DAY
START = 1_795_253_400_000
LICENSING = {
    "scope": "account", "account": "acme", "name": "licensing", "revision": 7, "default": "admit",
    "rules": [{"id": "elsewhere", "when": {"country": {"not": ["US"]}}, "then": "remove"}],
}  # fmt: skip
PATH = b"account/acme/licensing"


def sign(value: dict[str, Any], *signers: str) -> bytes:
    return jws.sign(value, [key(name) for name in signers or ("acme",)], AUDIENCE)


def record(offset: int, value: bytes | None, key: bytes | None = PATH, **more: Any) -> LogRecord:
    return LogRecord(offset, START + offset, key, value, **more)


def read(*records: LogRecord, trust: Any = None) -> tuple[History, list[Entry]]:
    history = History(trust or trusting(), AUDIENCE, vocabulary(), None)
    return history, [history.take(each) for each in records]


def test_what_each_record_changed_is_told() -> None:
    history, entries = read(
        record(0, sign(LICENSING)),
        record(1, sign({**LICENSING, "revision": 8, "default": "alert"})),
        record(2, sign({**LICENSING, "revision": 8, "default": "alert"})),
        record(3, sign({"scope": "account", "account": "acme", "name": "licensing", "revision": 9, "retracted": True})),
        record(4, sign({**LICENSING, "revision": 10, "account": "clinic"}, "settings"), b"account/clinic/licensing"),
    )
    assert [(e.path, e.revision, e.outcome, e.change) for e in entries] == [
        ("account/acme/licensing", 7, "accepted", "new: 1 rule, else admit"),
        ("account/acme/licensing", 8, "accepted", "default: admit → alert"),
        ("account/acme/licensing", 8, "repeated", ""),
        ("account/acme/licensing", 9, "accepted", "retracted"),
        ("account/clinic/licensing", 10, "accepted", "new: 1 rule, else admit"),
    ]
    assert [e.accepted.on_behalf for e in entries if e.accepted] == [False, False, False, False, True]
    assert not any(e.is_finding for e in entries)
    assert history.gaps == []
    assert entries[-1].head == history.head


@pytest.mark.parametrize(
    ("bad", "code", "finding"),
    [
        (record(1, sign({**LICENSING, "revision": 6})), "revision-falls", True),
        (record(1, sign({**LICENSING, "default": "alert"})), "revision-conflict", True),
        (record(1, sign({**LICENSING, "revision": 8}), b"account/acme/other"), "key-mismatch", True),
        (record(1, sign({**LICENSING, "revision": 8}).replace(b'"signature":"', b'"signature":"A')), "signature", True),
        (record(1, sign({**LICENSING, "revision": 8}, "nobody")), "untrusted", True),
        (record(1, sign({**LICENSING, "revision": 8}), stamped=False), "C5-append-time", True),
        (record(1, b"text"), "not-jws", True),
        (record(1, sign({**LICENSING, "revision": 8, "account": "acme"}, "bo")), "C1-owner", False),
        (record(1, None), "tombstone", False),
    ],
)
def test_what_is_refused_and_whether_it_is_a_finding(bad: LogRecord, code: str, finding: bool) -> None:
    history, (_, entry_) = read(record(0, sign(LICENSING)), bad)
    assert entry_.outcome == "refused"
    assert code in [problem.code for problem in entry_.problems]
    assert (entry_.is_finding, entry_.change) == (finding, "")
    slot = history.index.get(PATH.decode())
    assert slot is not None
    assert [each.document.revision for each in slot.revisions] == [7]


def test_missing_offsets_are_gaps() -> None:
    history, _ = read(record(3, sign(LICENSING)), record(6, None))
    assert history.gaps == [(0, 2), (4, 5)]


def test_what_a_key_signed_before_its_revocation_stands() -> None:
    trust = trusting(entry("acme", revoked=instants.render(START + 1)))
    _, entries = read(record(0, sign(LICENSING)), record(1, sign({**LICENSING, "revision": 8})), trust=trust)
    assert [each.outcome for each in entries] == ["accepted", "refused"]


# -- held against what was known before --------------------------------------------------------------------------

RECORDS = [record(n, sign({**LICENSING, "revision": n + 1})) for n in range(4)]


def known(until: int) -> tuple[Head, dict[int, bytes]]:
    _, entries = read(*RECORDS[: until + 1])
    return entries[-1].head, {each.record.offset: linked(each) for each in entries}


def linked(each: Entry) -> bytes:
    return chain.link(each.record.offset, each.record.appended_at, each.sealed)


def findings(earlier: Earlier, *records: LogRecord) -> list[str]:
    found = []
    for each in read(*records)[1]:
        found += earlier.see(each.record.offset, linked(each), each.head)
    return found + earlier.end()


@pytest.mark.parametrize("until", [0, 2, 3])
def test_a_log_that_only_grew_leads_through_its_earlier_heads(until: int) -> None:
    head, links = known(until)
    assert findings(Earlier(head), *RECORDS) == []
    assert findings(Earlier(head, links), *RECORDS) == []
    assert findings(Earlier(Head()), *RECORDS) == []


OTHER = record(1, sign({**LICENSING, "revision": 2, "default": "remove"}))


@pytest.mark.parametrize(
    ("records", "by_head", "by_export"),
    [
        ([RECORDS[0], OTHER, *RECORDS[2:]], "offset 2: the chain is", ["offset 1: the record was altered"]),
        ([RECORDS[0], *RECORDS[2:]], "offset 2: the chain is", ["offset 1: the record is missing"]),
        (RECORDS[2:], "offset 2: the chain is", [f"offset {n}: the record is missing" for n in (0, 1)]),
        (RECORDS[:2], "offset 2: the record that the earlier head stands for", ["offset 2: the record is missing"]),
        ([], "offset 2: the record that", [f"offset {n}: the record is missing" for n in (0, 1, 2)]),
    ],
)
def test_a_head_tells_that_and_an_export_tells_what(
    records: list[LogRecord], by_head: str, by_export: list[str]
) -> None:
    head, links = known(2)
    (found,) = findings(Earlier(head), *records)
    assert found.startswith(by_head)
    assert findings(Earlier(head, links), *records) == by_export


def test_a_record_that_was_put_in_is_told() -> None:
    records = [RECORDS[0], RECORDS[2], RECORDS[3]]
    _, entries = read(*records)
    earlier = Earlier(entries[-1].head, {each.record.offset: linked(each) for each in entries})
    assert findings(earlier, *RECORDS) == ["offset 1: this record was not there"]


def test_who_judges_with_lower_limits_refuses_and_works_out_the_same_chain() -> None:
    """A head is kept elsewhere and compared by others: it may not depend on anybody's settings."""
    note = "n" * 2_000
    rules = [{"id": f"r{i}", "when": {"asn": [i]}, "then": "alert", "note": note} for i in range(1_600)]
    large = {**LICENSING, "rules": rules}
    raw = jws.sign(large, [key("acme")], AUDIENCE, max_bytes=jws.MAX_SIGNED)
    heads = []
    for limits, outcome in ((policy.Limits(signed=jws.MAX_SIGNED), "accepted"), (policy.LIMITS, "refused")):
        history = History(trusting(), AUDIENCE, vocabulary(), None, limits=limits)
        taken = history.take(record(0, raw))
        heads.append(history.head)
        assert (taken.outcome, taken.sealed is not None) == (outcome, True)
    assert heads[0] == heads[1]
