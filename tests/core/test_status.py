"""What is said on ``policies.status`` can be read back, and saying it again is the same event."""

from __future__ import annotations

import json

import msgspec
import pytest

from streams.core import status
from streams.core.index import Revision
from streams.core.policy import Document, Problem

REVISION = Revision(
    document=Document(
        scope="meeting", account="acme", meeting="m/1", name="exam", revision=3, path="meeting/acme/m%2F1/exam"
    ),
    content=b"",
    holder="acme",
    on_behalf=True,
    sha256="sha256:00",
)
APPLIED = status.AppliedData(
    worker="w1", offset=7, digest="d", documents=2, appended_at=1, applied_at=2, timings={"index": 0.1}
)
KEY = status.AnnouncedKey(kid="k", thumbprint="t", holder="ann", scopes=["service"], on_behalf=False)
FILE = status.GeoFile(name="country.mmdb", sha256="sha256:00", build="b")
TRIAL = status.Trial(
    path="account/acme/exam~trial", revision=5, sessions=56, admit=40, alert=4, remove=12, would_alert=3,
    would_remove=11, meetings=6,
)  # fmt: skip
SWEEP = status.Sweep(sessions=90, decided=56, admit=1, alert=2, remove=3, trials=[TRIAL])
HELD = status.GeoHeldData(build="c", in_use="b", worker="w1", sessions=90, changed=45, share=0.5, limit=0.1)
PROBLEM = Problem("C5-notice", "not_before", "too soon")

EVENTS = {
    status.ACCEPTED: status.accepted(REVISION, offset=7, appended_at=1_795_253_400_123),
    status.REJECTED: status.rejected("p", None, [PROBLEM], offset=7, appended_at=0, sha256=None),
    status.APPLIED: status.applied(APPLIED),
    status.TRUST: status.trust_announced("sha256:00", [KEY], 0),
    status.TRUST_REFUSED: status.trust_refused("w1", "keys[0] is no JWK", "sha256:00", 0),
    status.GEO: status.geo_announced("b", [FILE], 0),
    status.GEO_HELD: status.geo_held(HELD, 0),
    status.GEO_REFUSED: status.geo_refused("w1", "canary 2 is not found", "b", 0),
}


@pytest.mark.parametrize("type_", EVENTS)
def test_every_event_is_a_cloudevent_and_comes_back(type_: str) -> None:
    event = EVENTS[type_]
    value = json.loads(status.encode(event))
    assert value.keys() == {"specversion", "type", "source", "id", "time", "subject", "data"}
    assert (value["specversion"], value["type"], value["source"]) == ("1.0", type_, "doorward")
    assert len(bytes.fromhex(value["id"])) == 16
    assert status.decode(status.encode(event)) == event


def test_an_acceptance_names_whom_the_owner_must_be_shown() -> None:
    event = EVENTS[status.ACCEPTED]
    assert event.time == "2026-11-21T09:30:00.123Z"
    assert event.subject == "meeting/acme/m%2F1/exam"
    data = event.data
    assert isinstance(data, status.AcceptedData)
    assert (data.on_behalf, data.holder, data.account, data.meeting, data.offset) == (True, "acme", "acme", "m/1", 7)


def test_what_an_event_says_makes_its_id() -> None:
    others = [
        status.accepted(REVISION, offset=8, appended_at=0),
        status.rejected("p", None, [PROBLEM], offset=7, appended_at=0, sha256="sha256:00"),
        status.applied(msgspec.structs.replace(APPLIED, worker="w2")),
        status.applied(msgspec.structs.replace(APPLIED, digest="e")),
        status.trust_announced("sha256:01", [KEY], 0),
        status.trust_refused("w2", "keys[0] is no JWK", "sha256:00", 0),
        status.geo_announced("b", [FILE, FILE], 0),
        status.geo_announced("b", [msgspec.structs.replace(FILE, sha256="sha256:01")], 0),
        status.geo_announced("b", [msgspec.structs.replace(FILE, anonymity="aged")], 0),
        status.geo_held(msgspec.structs.replace(HELD, worker="w2"), 0),
        status.geo_held(msgspec.structs.replace(HELD, build="d"), 0),
        status.geo_held(msgspec.structs.replace(HELD, changed=46), 0),
        status.geo_refused("w2", "canary 2 is not found", "b", 0),
        status.geo_refused("w1", "the file is too old", "b", 0),
    ]
    ids = [event.id for event in (*EVENTS.values(), *others)]
    assert len(set(ids)) == len(ids)
    again = status.applied(msgspec.structs.replace(APPLIED, applied_at=9, timings={}))
    assert again.id == EVENTS[status.APPLIED].id
    assert status.geo_held(HELD, 9).id == EVENTS[status.GEO_HELD].id


def test_what_a_sweep_changed_comes_back_with_its_trials() -> None:
    event = status.applied(msgspec.structs.replace(APPLIED, sweep=SWEEP))
    assert status.decode(status.encode(event)) == event
    said = json.loads(status.encode(EVENTS[status.APPLIED]))
    assert said["data"]["sweep"] is None, "no session had to be decided again"


def test_why_geo_files_are_refused_is_one_line_that_fits() -> None:
    reason = status.geo_refused("w1", "not an\n  MMDB: " + "x" * 1_000, "b", 0).data.reason
    assert reason.startswith("not an MMDB: xxx")
    assert len(reason) == status.LONGEST_MESSAGE


def test_an_event_of_a_later_version_is_told_apart() -> None:
    with pytest.raises(msgspec.MsgspecError):
        status.decode(status.encode(EVENTS[status.GEO]).replace(b"announced.v1", b"announced.v2"))


def test_what_a_record_makes_us_repeat_is_cut() -> None:
    many = [Problem("unknown-key", "k" * 1_000, "m" * 1_000) for _ in range(status.MOST_PROBLEMS + 7)]
    data = status.rejected("p" * 100_000, None, many, offset=1, appended_at=0, sha256=None).data
    assert len(data.path) == status.LONGEST_PATH
    assert {(len(p.path), len(p.message)) for p in data.problems[:-1]} == {(status.LONGEST_MESSAGE,) * 2}
    assert len(data.problems) == status.MOST_PROBLEMS + 1
    assert data.problems[-1].message == "and 7 more"
    few = status.rejected("p", 1, many[:1], offset=1, appended_at=0, sha256=None).data
    assert (few.path, len(few.problems)) == ("p", 1)


def test_a_large_trust_set_is_announced_with_its_approvers_and_as_many_owners_as_fit() -> None:
    owners = [msgspec.structs.replace(KEY, kid=f"a{i}", scopes=[f"account/{i}"]) for i in range(status.MOST_KEYS)]
    data = status.trust_announced("sha256:00", [*owners, KEY], 0).data
    assert data.keys[0] == KEY
    assert (len(data.keys), data.left_out) == (status.MOST_KEYS, 1)


@pytest.mark.parametrize(
    "value",
    [
        b'{"type":"doorward.policy.applied.v1","specversion":"\x80"',
        b'{"type":"doorward.policy.applied.v1","data":' + b"[" * 2_000,
    ],
)
def test_bytes_that_are_no_event_are_one_kind_of_error(value: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        status.decode(value)
