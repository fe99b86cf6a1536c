"""Explaining a decision that was recorded: finding what it was made from, and making it again.

What may live here: where the decision, its join and its documents come from (topics or files), what is said of parts
that are gone, and the wording. The explanation itself is ``core.explain.again``.

Nothing is guessed. Where the join is past its retention, a document is missing or the geo build is another, that is
named, and what is left is the reason that the decision gives itself. No address is printed (charter C7).
"""

import re
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka.structs import ConsumerRecord

from streams import __version__
from streams.adapters import decisionlog, recorded
from streams.adapters.anonymity import ANY_FILE, Standards
from streams.adapters.geo import Geo, GeoUnavailable, shipped
from streams.adapters.geomanifest import GeoRefused, ManifestSource
from streams.adapters.iso import vocabulary
from streams.cli import console
from streams.cli.decide import opened, read_event, read_index
from streams.cli.dev import Stop
from streams.cli.reading import kafka_errors, progress
from streams.core import explain
from streams.core.address import BadAddress
from streams.core.events import Cause, DecisionEvent, EventRef, JoinEvent, Reason
from streams.core.explain import Again
from streams.core.facts import NOTHING_KNOWN, UNVOUCHED, Facts
from streams.core.index import Index, Revision
from streams.core.policy import Mode, Verdict
from streams.settings import Settings
from streams.wire import cloudevents, signed, trust
from streams.wire.cloudevents import Malformed

REPORTS: Final = "decisions.report"
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Recorded(DecisionEvent):
    """A decision as it was written; ``report`` is said by ``doorward decide``, where there is no topic to tell."""

    report: bool = False


_decode = msgspec.json.Decoder(Recorded).decode


class Evidence(msgspec.Struct):
    """A recorded decision and what could be found of what it was made from.

    Attributes:
        decision: as it was read.
        mode: which of the two kinds it is.
        by_worker: whether a worker made it, which asks more of geography than ``doorward decide`` (ruling 33).
        event: its participation's newest event known then.
        revisions: the documents it names.
        gone: what could not be found, each in words.
    """

    decision: DecisionEvent
    mode: Mode
    by_worker: bool = True
    event: JoinEvent | None = None
    revisions: list[Revision] = []
    gone: list[str] = []


class Told(msgspec.Struct, frozen=True):
    """What is said of a decision; ``again`` is null where something is gone."""

    decision: str
    subject: str
    mode: Mode
    verdict: Verdict
    cause: Cause
    decided_at: str
    event: EventRef
    newest_event: EventRef | None
    reason: Reason | None
    policies: dict[str, int]
    policy_offset: int
    geo_build: str
    engine: str
    gone: list[str]
    again: Again | None


def decide_again(evidence: Evidence, geo_files: list[Path], settings: Settings) -> Told:
    """Make a decision again where all that it was made from is at hand.

    Args:
        evidence: it, and what was found; what else is gone is added.
        geo_files: the geo files to use; none: those of the settings.
        settings: see there. Ends the command where geo files cannot be used.
    """
    again = None
    facts = _facts(evidence, geo_files, settings)
    if evidence.event is not None and facts is not None and not evidence.gone:
        again = explain.again(evidence.decision.data, evidence.mode, evidence.revisions, evidence.event.data, facts)
    return _told(evidence, again)


def check_id(text: str) -> str:
    """A decision's id as it was given. Ends the command when it is none."""
    if _ID.fullmatch(text) is None:
        console.fail(
            f"--decision: {text!r} is no decision's id: 32 hex digits, as the receipt quotes it", console.BAD_INPUT
        )
    return text


# -- files -------------------------------------------------------------------------------------------------------


def from_files(
    id_: str, decisions: str, joins: str | None, policies: Path | None, settings: Settings, *, unsigned: bool
) -> Evidence:
    """A decision from files: decisions and joins as JSON lines, and a folder of documents.

    Ends the command where a file cannot be read, the folder has a bad document or the decision is not there.
    """
    made = _decision_in(decisions, id_)
    data = made.decision.data
    made.by_worker = data.policy_offset != 0
    if joins is None:
        made.gone.append("the join: no --joins was given")
    else:
        made.event = _event_in(joins, made, settings.max_event_bytes)
        if made.event is None:
            made.gone.append(f"the join: {joins} has no event {data.event.id} of {data.event.source}")
    if policies is None:
        made.gone += [f"{path} revision {revision}: no --policies was given" for path, revision in _named(made)]
    else:
        _choose(made, read_index(policies, settings, unsigned=unsigned), str(policies))
    return made


def _decision_in(file: str, id_: str) -> Evidence:
    wanted = id_.encode()
    with opened(file, "--decisions") as lines, progress(_size(file)) as advance:
        for line in lines:
            advance(len(line))
            if wanted in line and (found := _decoded(line, id_)) is not None:
                return Evidence(found, "report" if found.report else "enforce")
    return console.fail(f"{file} has no decision {id_}", console.FINDING)


def _event_in(file: str, made: Evidence, max_bytes: int) -> JoinEvent | None:
    """The event a decision names. A file does not tell which one was the newest when a late one was answered."""
    named = made.decision.data.event
    with opened(file) as lines, progress(_size(file)) as advance:
        for number, line in enumerate(lines, 1):
            advance(len(line))
            if not line.strip():
                continue
            try:
                event = read_event(line.rstrip(b"\r\n"), number, max_bytes)
            except Malformed:
                continue  # a dead letter: nothing was decided of it
            if EventRef(event.source, event.id) == named and isinstance(event, JoinEvent) and _is_of(event, made):
                return event
    return None


def _size(file: str) -> int | None:
    """In bytes; None where there is no telling, as of stdin."""
    path = Path(file)
    return path.stat().st_size if path.is_file() else None


# -- topics ------------------------------------------------------------------------------------------------------


def from_topics(id_: str, since: int, settings: Settings) -> Evidence:
    """A decision, its join and its documents from Kafka.

    Args:
        id_: the decision's.
        since: when to look from, ms since the epoch.
        settings: where the brokers are, and the trust set that documents are held to.

    Ends the command where something cannot be read or the decision is not there.
    """
    if settings.trust is None:
        console.fail("--trust FILE is required: a document counts by its signature", console.BAD_INPUT)
    try:
        trusted = trust.read_trust(settings.trust)
    except trust.TrustUnavailable as exc:
        console.fail(f"--trust: {exc}", console.UNAVAILABLE)
    with kafka_errors():
        made = Stop().run(_gathered(id_, since, settings, trusted))
    if made is None:
        where = f"{decisionlog.DECISIONS} and {REPORTS}"
        console.fail(f"no decision {id_} on {where}; they keep 30 days", console.FINDING)
    return made


async def _gathered(id_: str, since: int, settings: Settings, trusted: trust.TrustSet) -> Evidence | None:
    connection = settings.connection()
    bootstrap, security = connection.bootstrap, connection.security_options()
    made = await _decision_on(bootstrap, id_, since, security)
    if made is None:
        return None
    data = made.decision.data
    made.event = await recorded.join_record(
        bootstrap,
        data.meeting,
        data.order[0],
        lambda record: _event_of(record, made, settings.max_event_bytes),
        **security,
    )
    if made.event is None:
        made.gone.append(f"the join: {recorded.JOINS} does not have its record (offset {data.order[0]}) any more")
    if data.policies:
        with progress(data.policy_offset + 1) as advance:
            records = await recorded.policy_records(bootstrap, data.policies, data.policy_offset, advance, **security)
        _choose(made, _index_of(records, trusted, settings), "the policy log, by this trust set")
    return made


async def _decision_on(bootstrap: str, id_: str, since: int, security: dict[str, Any]) -> Evidence | None:
    wanted = id_.encode()
    modes: tuple[tuple[str, Mode], ...] = ((decisionlog.DECISIONS, "enforce"), (REPORTS, "report"))
    for topic, mode in modes:
        async with decisionlog.opened(bootstrap, since, topic=topic, **security) as log:
            with progress(log.total) as advance:
                while not log.done:
                    values = await log.batch()
                    advance(len(values))
                    for value in values:
                        if value is not None and wanted in value and (found := _decoded(value, id_)) is not None:
                            return Evidence(found, mode)
    return None


def _event_of(record: ConsumerRecord, made: Evidence, max_bytes: int) -> JoinEvent | None:
    try:
        event = cloudevents.decode(record.value or b"", record.headers, max_bytes=max_bytes)
    except Malformed:
        return None
    return event if isinstance(event, JoinEvent) and _is_of(event, made) else None


def _index_of(records: list[ConsumerRecord], trusted: trust.TrustSet, settings: Settings) -> Index:
    """The documents that records become, as a worker accepts them (but for ruling 32)."""
    index = Index()
    for record in records:
        try:
            index.put(
                signed.accept(
                    record.value,
                    trust=trusted,
                    audience=settings.audience,
                    vocabulary=vocabulary(),
                    index=index,
                    contest=settings.contest,
                    record=signed.Record(record.key, record.offset, record.timestamp),
                    limits=settings.limits(),
                )
            )
        except (signed.Rejected, signed.Repeat):
            continue  # the workers took it for nothing as well
    return index


# -- what both share ---------------------------------------------------------------------------------------------


def _decoded(value: bytes, id_: str) -> Recorded | None:
    """The decision, if that is what names the id."""
    try:
        found = _decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    return found if found.id == id_ else None


def _is_of(event: JoinEvent, made: Evidence) -> bool:
    data, whose = made.decision.data, event.data
    named = (data.account, data.meeting, data.participation)
    return (whose.account, whose.meeting, whose.participation) == named


def _named(made: Evidence) -> list[tuple[str, int]]:
    return list(made.decision.data.policies.items())


def _choose(made: Evidence, index: Index, where: str) -> None:
    """Take the revisions that the decision names; say which are not there, or not what decided."""
    data = made.decision.data
    told = None if data.receipt is msgspec.UNSET else data.receipt.document
    decider = None if data.reason is None else data.reason.policy
    for path, number in _named(made):
        slot = index.get(path)
        found = next((each for each in slot.revisions if each.document.revision == number), None) if slot else None
        if found is None:
            made.gone.append(f"{path} revision {number}: it is not in {where}")
        elif path == decider and told and found.sha256 and told != found.sha256:
            made.gone.append(f"{path} revision {number}: in {where} it is another document than the receipt names")
        else:
            made.revisions.append(found)


def _geography(files: list[Path], settings: Settings, standards: Standards | None) -> Geo:
    try:
        if not files and settings.geo_manifest is not None:
            return ManifestSource(settings.geo_manifest, vocabulary(), standards).open()
        return Geo.open(files or settings.geo or [shipped()], vocabulary(), standards)
    except (GeoRefused, GeoUnavailable) as exc:
        return console.fail(f"--geo: {exc}", console.UNAVAILABLE)


def _facts(evidence: Evidence, files: list[Path], settings: Settings) -> Facts | None:
    """The facts of the join's address by the geo build of the decision; None where that is not at hand."""
    wanted = evidence.decision.data.geo_build
    geography = _geography(files, settings, ANY_FILE if evidence.by_worker else None)
    geography.review(evidence.decision.data.order[-1])
    # A worker writes "!" and why behind a file whose anonymity data did not count; the file is the same.
    if [part.partition("!")[0] for part in wanted.split("+")] != geography.build.split("+"):
        evidence.gone.append(f"the geo build {wanted}: at hand is {geography.build} (--geo names other files)")
        return None
    if evidence.event is None:
        return None
    try:
        facts = geography.facts(evidence.event.data.address)
    except BadAddress:
        return NOTHING_KNOWN
    return msgspec.structs.replace(facts, doubts=facts.doubts | UNVOUCHED) if "!" in wanted else facts


def _told(evidence: Evidence, again: Again | None) -> Told:
    decision, data, event = evidence.decision, evidence.decision.data, evidence.event
    return Told(
        decision=decision.id,
        subject=decision.subject,
        mode=evidence.mode,
        verdict=data.verdict,
        cause=data.cause,
        decided_at=data.decided_at,
        event=data.event,
        newest_event=None if event is None else EventRef(event.source, event.id),
        reason=data.reason,
        policies=data.policies,
        policy_offset=data.policy_offset,
        geo_build=data.geo_build,
        engine=data.engine,
        gone=evidence.gone,
        again=again,
    )


# -- for people --------------------------------------------------------------------------------------------------


def lines(told: Told) -> list[str]:
    """What is said of a decision before the steps of its explanation."""
    report = ", in report mode" if told.mode == "report" else ""
    return [
        f"decision {told.decision}: {told.verdict} of {told.subject}{report}",
        f"  made at {told.decided_at} (cause {told.cause}), on event {told.event.id} of {told.event.source}",
        f"  with geo build {told.geo_build}, the policy log up to offset {told.policy_offset}, engine {told.engine}",
        f"  {_because(told.reason, told.policies)}",
        *[f"  gone: {each}" for each in told.gone],
        *_again(told),
    ]


def _again(told: Told) -> list[str]:
    again = told.again
    if again is None:
        return ["it cannot be decided again; the reason above is the decision's own"]
    said = []
    if told.newest_event not in (None, told.event):
        newest = f"{told.newest_event.id} of {told.newest_event.source}"
        said.append(f"the event was late: it was answered from the participation's newest one, {newest}")
    if again.same == "same":
        said.append("decided again it is the same, for the same reason:")
    elif again.same == "reason":
        said.append(f"decided again it is {told.verdict} as well, but: {_because(again.reason, told.policies)}")
    else:
        said.append(f"decided again it is {again.explanation.verdict}: {_because(again.reason, told.policies)}")
    if again.same != "same" and told.engine != __version__:
        said.append(f"it was decided by engine {told.engine}; this is {__version__}")
    return said


def _because(reason: Reason | None, policies: dict[str, int]) -> str:
    """A decision's reason in words."""
    if reason is None:
        return "admitted by default" if policies else "admitted: no document applied"
    by = f"rule {reason.rule!r}" if reason.rule is not None else f"the {reason.outcome!r}"
    whose = f"class {reason.class_}, " + (f"signed by {reason.holder}" if reason.holder is not None else "unsigned")
    on = ", ".join(f"{field} {'not known' if value is None else value}" for field, value in reason.matched.items())
    return f"{by} of {reason.policy} revision {reason.revision} ({whose})" + (f", on {on}" if on else "")
