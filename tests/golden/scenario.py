"""What the engine makes of the golden input in `schemas/examples`: every event it can send, file by file.

The documents are read from their signed form and accepted as a worker accepts them; what is known of the addresses is
fixed here, as are clock, offsets and geo build. So the answers can only change when the engine's meaning does, and a
test compares them byte for byte. When a change is meant, write them again and read the difference:

    python -m tests.golden.scenario
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from streams.adapters.iso import vocabulary
from streams.agents.decider import Decider
from streams.core import status
from streams.core.events import JoinEvent, Provenance
from streams.core.facts import CONNECTIONS, Facts, connection_bits, settle
from streams.core.index import Index
from streams.core.policy import Invalid, parse
from streams.wire import cloudevents, jws, signed, trust

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
APPENDED = 1_795_046_400_000  # 2026-11-19T00:00:00Z: a day before the service document's window opens
DECIDED = 1_795_253_400_123  # 2026-11-21T09:30:00.123Z
GEO = "country-2026-06-17-1a2b3c4d"

# What the geo files would say. Only for the last is an anonymity file loaded, which a service document's removal needs.
PLACES = {
    "203.0.113.9": {"country": "FR"},
    "198.51.100.7": {"country": "US", "subdivision": "US-CA"},
    "192.0.2.66": {"country": "US"},
    "192.0.2.200": {"country": "BV", "connection": connection_bits(CONNECTIONS[3:])},
    "2001:db8::17": {"country": "SE"},
}
# Which decision answers which event.
ANSWERS = {
    "join/design": "remove/design",
    "join/laboratory": "remove/legal",
    "join/licensed": "admit/licensed",
    "join/least": "admit/by-default",
    "update/new-address": "alert/unknown-place",
}


def locate(address: str) -> Facts:
    """What is known of an address of the golden input."""
    return settle(vocabulary(), **PLACES[address])  # type: ignore[arg-type]


def trusted() -> trust.TrustSet:
    """The golden trust set; the private keys were thrown away when its documents had been signed."""
    return trust.read_trust(EXAMPLES / "signed" / "trust.json")


def index() -> Index:
    """The golden documents, accepted from a policy log that holds them at offsets 41 and 42."""
    made = Index()
    for offset, (name, path) in enumerate(
        (("export", b"service/export-control"), ("licensing", b"account/acme/licensing")), 41
    ):
        raw = (EXAMPLES / "signed" / f"{name}.jws.json").read_bytes()
        record = signed.Record(path, offset, APPENDED)
        made.put(
            signed.accept(raw, trust=trusted(), audience="doorward", vocabulary=vocabulary(), index=made, record=record)
        )
    return made


def event(name: str) -> cloudevents.Event:
    """A golden input event, decoded."""
    return cloudevents.decode((EXAMPLES / f"{name}.json").read_bytes())


def decisions() -> dict[str, bytes]:
    """Every golden decision by name, as sent."""
    decider = Decider(index(), locate, Provenance(42, GEO, 1_781_654_400, None, "0.1.0"))
    made = {}
    for offset, (name, answer) in enumerate(ANSWERS.items(), 991):
        asked = event(name)
        assert isinstance(asked, JoinEvent)
        made[answer] = cloudevents.encode(decider.answer(asked, offset, DECIDED).decision)
    return made


def statuses() -> dict[str, bytes]:
    """Every golden status event by name, as sent."""
    made = index()
    slot = made.get("account/acme/licensing")
    assert slot is not None
    wrong = {"scope": "account", "account": "acme", "name": "licensing", "revision": 8, "default": "expel"}
    try:
        parse(wrong, vocabulary())
    except Invalid as invalid:
        problems = invalid.problems
    tombstone = [msgspec.structs.replace(problems[0], code="tombstone", path="", message="a record without a value")]
    keys = trusted().announced()
    applied = status.AppliedData(
        worker="worker-1",
        offset=42,
        digest=made.digest,
        documents=len(made),
        appended_at=APPENDED,
        applied_at=APPENDED + 18,
        timings={"judge": 0.004, "in_force": 0.021, "swept": 0.35},
        sweep=status.Sweep(sessions=2_350, decided=412, admit=0, alert=3, remove=27),
    )
    tried = status.Trial(
        path="account/acme/licensing~trial",
        revision=1_795_046_400_000,
        sessions=412,
        admit=360,
        alert=21,
        remove=31,
        would_alert=3,
        would_remove=27,
        meetings=14,
    )
    few = status.Trial(
        path="service/export-control~trial",
        revision=1_795_046_400_000,
        sessions=2_350,
        admit=None,
        alert=None,
        remove=40,
        would_alert=None,
        would_remove=30,
        meetings=10,
    )
    trial = msgspec.structs.replace(
        applied,
        offset=45,
        digest=made.digest[::-1],
        documents=len(made) + 2,
        timings={"judge": 0.004, "in_force": 0.02, "swept": 0.0},
        sweep=status.Sweep(sessions=2_350, decided=2_350, admit=0, alert=0, remove=0, trials=[tried, few]),
    )
    empty = msgspec.structs.replace(
        applied, offset=-1, digest=Index().digest, documents=0, appended_at=None, timings={"start": 0.3}, sweep=None
    )
    path, hash_ = "account/acme/licensing", jws.digest_of(msgspec.json.encode(wrong))
    file = status.GeoFile(name="country", sha256="sha256:" + "1a2b3c4d" * 8, build="2026-06-17T00:00:00Z")
    held = status.GeoHeldData(
        build="country-2026-07-17-9d8c7b6a",
        in_use=GEO,
        worker="worker-1",
        sessions=2_350,
        changed=705,
        share=0.3,
        limit=0.05,
    )
    said: dict[str, status.StatusEvent] = {
        "policy.accepted/owner": status.accepted(slot.revisions[0], offset=42, appended_at=APPENDED),
        "policy.rejected/wrong": status.rejected(path, 8, problems, offset=43, appended_at=APPENDED, sha256=hash_),
        "policy.rejected/tombstone": status.rejected(
            path, None, tombstone, offset=44, appended_at=APPENDED, sha256=None
        ),
        "policy.applied/applied": status.applied(applied),
        "policy.applied/trial": status.applied(trial),
        "policy.applied/empty-log": status.applied(empty),
        "trust.announced/announced": status.trust_announced(trusted().digest, keys, APPENDED),
        "trust.refused/no-jwk-set": status.trust_refused(
            "worker-1", 'trust set trust.json: is no JWK Set, {"keys": [...]}', trusted().digest, APPENDED
        ),
        "geo.announced/one-file": status.geo_announced(GEO, [file], APPENDED),
        "geo.held/too-many-would-change": status.geo_held(held, APPENDED),
        "geo.refused/no-canary": status.geo_refused("worker-1", "country: canary 2 is not in it", GEO, APPENDED),
    }
    return {name: status.encode(event) for name, event in said.items()}


def output() -> dict[str, bytes]:
    """Every golden output event by name, as sent."""
    return decisions() | statuses()


def pretty(sent: bytes) -> bytes:
    """The bytes of an event as they stand in its file: indented, else unchanged."""
    return msgspec.json.format(sent, indent=2) + b"\n"


if __name__ == "__main__":
    for name, sent in output().items():
        file = EXAMPLES / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(pretty(sent))
