"""Pushing onto the policy log, hearing from the workers what became of it, and reading the log back.

How it works. ``policies.status`` is read from its end as it is before anything is sent, so nothing said about the new
records is missed. The records go to partition 0 with ``acks=all``, keyed by document path. Then it is waited until
every record has been called accepted or rejected, and every live worker (a member of the consumer group, by its
client id) has said ``applied`` at or beyond the last accepted one. Who is live is asked again and again: a worker that
dies meanwhile is not waited for, one that joins is. What applying them did to live calls is in the same words.

What was sent cannot be taken back. So the state of a push is kept in ``Push``, which the caller still has when
waiting ends early: by time, by a lost broker, by Ctrl-C. A document that a broker was handed and did not acknowledge
may be in the log or not; nobody can tell before a broker answers again, and that is what is said of it (``unsure``).

Traps of aiokafka 0.14 met here: an idempotent producer never gives a record up, so ``flush`` and ``stop`` wait for a
lost broker for ever; both are bounded here.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.adapters.kafka import no_topic
from streams.adapters.topics import BrokerUnavailable, connected
from streams.core import status
from streams.core.policy import Problem
from streams.core.status import Sweep, Trial
from streams.wire.chain import LogRecord
from streams.wire.jws import MAX_SIGNED

POLICIES: Final = "policies"
STATUS: Final = "policies.status"
_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at who is live."""
_SENDING: Final = 10.0
"""Seconds a record may take to be acknowledged; a broker that is lost meanwhile is reported then."""
_HURRIED: Final = 3.0
"""The same after Ctrl-C, for what had been handed over."""
_CLOSING: Final = 2.0
"""Seconds to say goodbye to brokers."""
_SILENCE: Final = 15.0
"""Seconds without a record of a log that has more, after which its broker is taken for lost."""
_FETCH: Final = 4 << 20
"""Bytes of the log asked for at once."""
_LOG_APPEND_TIME: Final = 1
"""Kafka's timestamp type of a record stamped by the broker."""
_LIVE: Final = ("Stable", "PreparingRebalance", "CompletingRebalance")
"""States of a group that has members (KIP-412's names in DescribeGroups)."""


class Offer(msgspec.Struct):
    """One document on its way.

    Attributes:
        path: the record's key.
        revision: of the document.
        raw: the signed document.
        offset: where the log took it in; None until it is acknowledged.
        answer: what the workers said; None until they did.
        problems: why it was rejected.
        sent_at: when it was sent, seconds of the monotonic clock.
        milliseconds: from sending to the answer.
        unsure: a broker was handed it and did not acknowledge it: it may be in the log.
    """

    path: str
    revision: int
    raw: bytes
    offset: int | None = None
    answer: Literal["accepted", "rejected"] | None = None
    problems: list[Problem] = []
    sent_at: float = 0.0
    milliseconds: float | None = None
    unsure: bool = False

    @property
    def standing(self) -> Literal["pushed", "not pushed", "not known"]:
        """Whether the log has it."""
        if self.offset is not None:
            return "pushed"
        return "not known" if self.unsure else "not pushed"


class Effect(msgspec.Struct):
    """What applying the documents did on one worker.

    Attributes:
        timings: step to seconds (``status.AppliedData``), the slowest where it applied them in several steps.
        sweep: its sweeps of live sessions taken together; None where no session had to be decided again.
        trials: of the documents sent, by path and revision.
    """

    timings: dict[str, float] = {}
    sweep: Sweep | None = None
    trials: dict[tuple[str, int], Trial] = {}

    def add(self, data: status.AppliedData) -> None:
        """Take in what it said of one step."""
        for step, seconds in data.timings.items():
            self.timings[step] = max(seconds, self.timings.get(step, 0.0))
        if data.sweep is not None:
            self.sweep = data.sweep if self.sweep is None else _together(self.sweep, data.sweep, data.sweep.sessions)
            self.trials |= {(trial.path, trial.revision): trial for trial in data.sweep.trials}


def _together(one: Sweep, other: Sweep, sessions: int) -> Sweep:
    return Sweep(
        sessions=sessions,
        decided=one.decided + other.decided,
        admit=one.admit + other.admit,
        alert=one.alert + other.alert,
        remove=one.remove + other.remove,
    )


class Push:
    """The state of a push.

    Attributes:
        offers: in the order they are sent.
        live: the ids of the workers to wait for.
        applied: worker id to the highest offset it has applied since the push began, and ms from sending to hearing.
        effects: worker id to what applying them did there.
    """

    def __init__(self, offers: Sequence[Offer]) -> None:
        self.offers = list(offers)
        self.live: frozenset[str] = frozenset()
        self.applied: dict[str, tuple[int, float]] = {}
        self.effects: dict[str, Effect] = {}
        self._by_offset: dict[int, Offer] = {}

    @property
    def target(self) -> int | None:
        """The last accepted offset, which workers must reach; None where nothing was accepted."""
        return max((o.offset for o in self.offers if o.answer == "accepted" and o.offset is not None), default=None)

    @property
    def answered(self) -> bool:
        """Whether every document was accepted or rejected."""
        return all(offer.answer is not None for offer in self.offers)

    @property
    def missing(self) -> list[str]:
        """The live workers that have not applied it yet."""
        target = self.target
        if target is None:
            return []
        return sorted(worker for worker in self.live if self.applied.get(worker, (-1, 0.0))[0] < target)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to wait for. What was accepted needs at least one worker that applied it."""
        return self.answered and not self.missing and (self.target is None or bool(self.live))

    @property
    def swept(self) -> Sweep:
        """The sweeps of the live workers taken together."""
        total = Sweep(sessions=0, decided=0, admit=0, alert=0, remove=0)
        for worker in self.live & self.effects.keys():
            if (sweep := self.effects[worker].sweep) is not None:
                total = _together(total, sweep, total.sessions + sweep.sessions)
        return total

    def trials(self, offer: Offer) -> list[Trial]:
        """What a document in report mode would do, by each live worker that had sessions to try it on."""
        key = (offer.path, offer.revision)
        effects = (effect for worker, effect in self.effects.items() if worker in self.live)
        return [effect.trials[key] for effect in effects if key in effect.trials]

    def sent(self, offer: Offer, offset: int) -> None:
        """Note that the log has a document."""
        offer.offset = offset
        self._by_offset[offset] = offer

    def hear(self, event: status.StatusEvent) -> None:
        """Take in what a worker said."""
        now = time.monotonic()
        if isinstance(event, status.AppliedEvent):
            self._hear_applied(event.data, now)
        elif isinstance(event, status.AcceptedEvent | status.RejectedEvent):
            offer = self._by_offset.get(event.data.offset)
            if offer is None or offer.answer is not None:
                return
            offer.milliseconds = (now - offer.sent_at) * 1000
            if isinstance(event, status.RejectedEvent):
                offer.answer, offer.problems = "rejected", event.data.problems
            else:
                offer.answer = "accepted"

    def _hear_applied(self, data: status.AppliedData, now: float) -> None:
        reached = self.applied.get(data.worker, (-1, 0.0))[0]
        if reached >= min(data.offset, max(self._by_offset, default=-1)):
            return  # past all of ours nothing is news
        since = max((o.sent_at for at, o in self._by_offset.items() if at <= data.offset), default=now)
        self.applied[data.worker] = (data.offset, (now - since) * 1000)
        if data.offset >= min(self._by_offset):
            self.effects.setdefault(data.worker, Effect()).add(data)


async def push(push: Push, bootstrap: str, *, group: str, patience: float, **security: Any) -> None:
    """Send the documents and wait until the push is complete or the time is over; ``push`` says which.

    Args:
        push: what to send; holds what became of it, whatever ends this.
        bootstrap: ``host:port``, several with commas between.
        group: the workers' consumer group.
        patience: seconds to wait, from when everything was sent.
        security: how to connect: ``streams.adapters.kafka.Connection.security_options``.

    Raises:
        BrokerUnavailable: nobody answers there, a topic is missing, or an answer is an error.
        BootstrapMalformed: ``bootstrap`` is not written like that.
    """
    async with connected(bootstrap, **security) as admin:
        # naming a missing topic to any other client could make brokers create it
        if missing := {POLICIES, STATUS} - set(await admin.list_topics()):
            raise BrokerUnavailable(no_topic(missing, bootstrap, security))
        listener = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, **security)
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=int(_SENDING * 1000),
            max_request_size=MAX_SIGNED + 2**20,  # what is too large for the deployment, its workers say
            **security,
        )
        try:
            await listener.start()
            partition = TopicPartition(STATUS, 0)
            listener.assign([partition])
            listener.seek(partition, (await listener.end_offsets([partition]))[partition])
            await producer.start()
            await _send(push, producer)
            await _listen(push, listener, admin, group, patience)
        finally:
            for client in (producer, listener):
                with suppress(TimeoutError):
                    await asyncio.wait_for(client.stop(), _CLOSING)


async def _send(push: Push, producer: AIOKafkaProducer) -> None:
    """Send all in order and wait until the log has them; when that is cut short, note which it has.

    Raises:
        KafkaError: one was refused, or not acknowledged in time.
    """
    await producer.partitions_for(POLICIES)  # so that `send` below waits for no broker that is lost meanwhile
    pending: list[tuple[Offer, asyncio.Future[Any]]] = []
    try:
        for offer in push.offers:
            offer.sent_at, offer.unsure = time.monotonic(), True
            try:
                future = await producer.send(POLICIES, offer.raw, key=offer.path.encode(), partition=0)
            except KafkaError:
                offer.unsure = False  # it was never handed over
                raise
            pending.append((offer, future))
        await asyncio.wait([future for _, future in pending], timeout=_SENDING)
    except (asyncio.CancelledError, KafkaError):
        if pending:  # what was handed over may be on its way still: say where it went
            await asyncio.wait([future for _, future in pending], timeout=_HURRIED)
        raise
    finally:
        for offer, future in pending:
            if future.done() and not future.cancelled():
                offer.unsure = False
                if future.exception() is None:
                    push.sent(offer, future.result().offset)
    for offer, future in pending:
        if not future.done():
            raise KafkaTimeoutError(f"{offer.path} was not acknowledged within {_SENDING:g} s")
        future.result()  # raises what kept it from being taken


async def _listen(
    push: Push, listener: AIOKafkaConsumer, admin: AIOKafkaAdminClient, group: str, patience: float
) -> None:
    deadline = time.monotonic() + patience
    look_again = 0.0
    while True:
        if (now := time.monotonic()) >= look_again or push.complete:
            push.live = await live_workers(admin, group)
            look_again = now + _LOOK_AGAIN
        if push.complete or now >= deadline:
            return
        wait = max(0.0, min(deadline, look_again) - now)
        for records in (await listener.getmany(timeout_ms=int(wait * 1000) + 1)).values():
            for record in records:
                with suppress(msgspec.MsgspecError):  # an event of another kind or a later version
                    push.hear(status.decode(record.value or b""))


async def look(bootstrap: str, *, group: str, **security: Any) -> frozenset[str]:
    """The ids of the workers that live now. Raises as ``push`` does."""
    async with connected(bootstrap, **security) as admin:
        return await live_workers(admin, group)


async def live_workers(admin: AIOKafkaAdminClient, group: str) -> frozenset[str]:
    """The client ids of a consumer group's members; none for a group that does not exist. Raises KafkaError."""
    found: set[str] = set()
    for response in await admin.describe_consumer_groups([group]):
        for row in response.to_object()["groups"]:
            if row["state"] in _LIVE:
                found.update(member["client_id"] for member in row["members"])
    return frozenset(found)


# -- reading it back ---------------------------------------------------------------------------------------------


class Extent(msgspec.Struct, frozen=True):
    """What a log holds: the offset of its first record, and the one that the next record will get."""

    first: int
    end: int


async def read(
    bootstrap: str, take: Callable[[Sequence[LogRecord], Extent], None], *, topic: str = POLICIES, **security: Any
) -> Extent:
    """Read the policy log, or the status log, from its first record to its end as it is now.

    Args:
        bootstrap: ``host:port``, several with commas between.
        take: given the records in order, in batches, and the log's extent; also once before the first.
        topic: ``POLICIES`` or ``STATUS``.
        security: as for ``push``.

    Raises:
        BrokerUnavailable: nobody answers there, the topic is missing, or nothing more comes though there is more.
        BootstrapMalformed: ``bootstrap`` is not written like that.
    """
    async with connected(bootstrap, **security) as admin:
        if topic not in await admin.list_topics():
            raise BrokerUnavailable(no_topic([topic], bootstrap, security))
        partition = TopicPartition(topic, 0)
        reader = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_FETCH,
            **security,
        )
        await reader.start()
        try:
            reader.assign([partition])
            first = (await reader.beginning_offsets([partition]))[partition]
            extent = Extent(first, (await reader.end_offsets([partition]))[partition])
            reader.seek(partition, first)
            take([], extent)
            heard = time.monotonic()
            while await reader.position(partition) < extent.end:
                got = (await reader.getmany(partition, timeout_ms=500)).get(partition, [])
                if got:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _SILENCE:
                    raise BrokerUnavailable(f"Kafka at {bootstrap} sends no more of {topic}")
                take([_record(each) for each in got if each.offset < extent.end], extent)
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.stop(), _CLOSING)
        return extent


def _record(record: Any) -> LogRecord:
    stamped = record.timestamp_type == _LOG_APPEND_TIME
    return LogRecord(record.offset, record.timestamp, record.key, record.value, stamped)
