"""The trial of `doorward policy push`: what documents would do to live calls, counted before they are pushed.

How it works. Each document that can remove or flag somebody goes onto the policy log a second time, in report mode
and under another name (``core.trials``), signed with the same keys. Every live worker tries it on its own sessions
and says what it would change in its ``applied``. Then the trial is retracted, before anybody is asked: whatever
becomes of the question, nothing stays behind. Where retracting fails it is said, with what has to be done.

Sessions that move from one worker to another meanwhile are counted on neither or on both.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import msgspec

from streams.adapters import policylog
from streams.adapters.iso import vocabulary
from streams.adapters.policylog import Offer, Push
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable
from streams.cli import console
from streams.core import charter, trials
from streams.core.policy import LIMITS, VERDICTS, Document, Invalid, Limits
from streams.core.trials import Span
from streams.settings import Settings
from streams.wire import jws, signed
from streams.wire.keys import PrivateKey
from streams.wire.trust import TrustSet


class Prepared(msgspec.Struct):
    """A document that is ready to be pushed.

    Attributes:
        value: it as plain JSON values.
    """

    offer: Offer
    document: Document
    value: dict[str, Any]


class Attempt(msgspec.Struct):
    """A document, the trial of it, and what retracts the trial."""

    document: Document
    trial: Offer
    retraction: Offer


class Untried(msgspec.Struct):
    """A document of which there was no trial, and why; ``rejected``: because the workers rejected its trial."""

    document: Document
    reason: str
    rejected: bool = False

    @property
    def line(self) -> str:
        """It for people."""
        return f"no trial of {self.document.path}: {self.reason}"


class Counted(msgspec.Struct):
    """What a document would do on all workers that were heard.

    Attributes:
        reached: live participants that it decides about.
        removed: it would remove; of these nobody is removed now.
        alerted: it would flag; these are admitted now.
        meetings: in which it would remove.
    """

    document: Document
    reached: Span
    removed: Span
    alerted: Span
    meetings: Span

    def __str__(self) -> str:
        named = f"{self.document.path} revision {self.document.revision}"
        if not self.reached.most:
            return f"{named}: reaches no live participant"
        where = f" in {_several(self.meetings, 'meeting')}" if self.removed.most else ""
        of = f"of {_several(self.reached, 'live participant')}"
        return f"{named}: would remove {self.removed} {of}{where}; would alert {self.alerted}"


class Outcome(msgspec.Struct):
    """What the trials told.

    Attributes:
        unheard: live workers whose sessions are not counted.
    """

    counted: list[Counted] = []
    untried: list[Untried] = []
    unheard: list[str] = []

    @property
    def most_removed(self) -> int:
        """The most participants that the counted documents would remove; one whom two would remove is two."""
        return sum(each.removed.most for each in self.counted)

    @property
    def lines(self) -> list[str]:
        """It for people."""
        lines = [str(each) for each in self.counted]
        if len(self.counted) > 1:
            lines.append(f"together: would remove at most {self.most_removed:,}")
        lines += [each.line for each in self.untried]
        lines += [f"not counted: what {worker} has; it did not answer" for worker in self.unheard]
        return lines

    @property
    def summary(self) -> dict[str, Any]:
        """It for ``--json``; spans are ``{"least": …, "most": …}``."""
        return {
            "documents": [
                {
                    "path": each.document.path,
                    "revision": each.document.revision,
                    "sessions": msgspec.to_builtins(each.reached),
                    "would_remove": msgspec.to_builtins(each.removed),
                    "would_alert": msgspec.to_builtins(each.alerted),
                    "meetings": msgspec.to_builtins(each.meetings),
                }
                for each in self.counted
            ],
            "untried": [{"path": each.document.path, "reason": each.reason} for each in self.untried],
            "unheard": self.unheard,
        }


def _several(count: Span, noun: str) -> str:
    return f"{count} {noun}{'' if count == Span(1, 1) else 's'}"


# -- what is tried -----------------------------------------------------------------------------------------------


def plan(
    prepared: Sequence[Prepared],
    signing: Sequence[PrivateKey],
    trusted: TrustSet,
    audience: str,
    now: int,
    limits: Limits = LIMITS,
) -> tuple[list[Attempt], list[Untried]]:
    """The trials to make, and the documents that cannot be tried though they could remove or flag somebody.

    Args:
        prepared: what is to be pushed; of several revisions of one path the highest is tried.
        signing: the keys at hand.
        trusted: the workers' trust set.
        audience: the deployment's.
        now: ms since the epoch; the trials' revision, so that each is higher than any earlier one.
        limits: the deployment's greatest sizes.
    """
    highest: dict[str, Prepared] = {}
    for each in prepared:
        present = highest.get(each.document.path)
        if present is None or present.document.revision < each.document.revision:
            highest[each.document.path] = each
    attempts: list[Attempt] = []
    untried: list[Untried] = []
    for each in highest.values():
        if not _restricts(each.document):
            continue
        reason = _hindrance(each.document, signing)
        made = reason or _prepare(each, signing, trusted, audience, now, limits)
        if isinstance(made, Attempt):
            attempts.append(made)
        else:
            untried.append(Untried(each.document, made))
    return attempts, untried


def _restricts(document: Document) -> bool:
    verdicts = (document.default, document.unknown, *(rule.then for rule in document.rules))
    return document.mode == "enforce" and not document.retracted and max(verdicts) > VERDICTS.index("admit")


def _hindrance(document: Document, signing: Sequence[PrivateKey]) -> str | None:
    if document.scope == "service" and document.can_remove:
        return "a service document that removes needs 24 h notice in report mode too (C5)"
    return None if signing else "it is signed already, and signing its trial takes --key"


def _prepare(
    prepared: Prepared, signing: Sequence[PrivateKey], trusted: TrustSet, audience: str, now: int, limits: Limits
) -> Attempt | str:
    """A trial that has every prospect of being accepted, or why there is none."""
    value = trials.trial_of(prepared.value, now, now)
    try:
        trial = _offer(value, signing, trusted, audience, limits)
        retraction = _offer(trials.retraction_of(value), signing, trusted, audience, limits)
        if prepared.document.scope == "service":
            signers = jws.verify(trial.raw, trusted, audience, max_bytes=limits.signed).signers
            for _, _, message in charter.c5_two_approvers(prepared.document, signers, one_suffices=False):
                return f"its trial would be {message}"
    except (signed.Rejected, Invalid) as exc:
        return f"with the keys given: {'; '.join(map(str, exc.problems))}"
    except jws.BadSignature as exc:
        return f"it cannot be signed: {exc} [{exc.code}]"
    return Attempt(prepared.document, trial, retraction)


def _offer(
    value: dict[str, Any], signing: Sequence[PrivateKey], trusted: TrustSet, audience: str, limits: Limits
) -> Offer:
    raw = jws.sign(value, signing, audience, max_bytes=limits.signed)
    document = signed.check(raw, trust=trusted, audience=audience, vocabulary=vocabulary(), limits=limits)
    return Offer(document.path, document.revision, raw)


# -- trying ------------------------------------------------------------------------------------------------------


def run(
    attempts: Sequence[Attempt],
    untried: Sequence[Untried],
    settings: Settings,
    security: dict[str, Any],
    timeout: float,
    *,
    must_count: bool,
) -> Outcome:
    """Make the trials that were planned, if any. Ends the command where they cannot be made.

    Args:
        attempts: the trials to make.
        untried: the documents of which there is none.
        settings: where the brokers and workers are.
        security: how to connect, for aiokafka's clients.
        timeout: seconds to wait for the workers.
        must_count: also end it, before anything is sent, where a document that can remove cannot be tried.
    """
    uncounted = [each for each in untried if each.document.can_remove]
    if must_count and uncounted:
        for each in uncounted:
            console.say(each.line)
        console.fail("--max-removed: these cannot be tried; nothing was pushed", console.BAD_INPUT)
    made = Outcome()
    if attempts and _live(settings, security):
        made = _attempt(attempts, settings, security, timeout)
    elif attempts:
        nobody = f"the consumer group {settings.group} has no live worker"
        made.untried += [Untried(each.document, nobody) for each in attempts]
    made.untried += untried
    return made


def _live(settings: Settings, security: dict[str, Any]) -> frozenset[str]:
    try:
        return asyncio.run(policylog.look(settings.kafka_bootstrap, group=settings.group, **security))
    except BootstrapMalformed as exc:
        console.fail(str(exc), console.BAD_INPUT)
    except BrokerUnavailable as exc:
        console.fail(f"{exc}; nothing was pushed", console.UNAVAILABLE)
    except KeyboardInterrupt:
        console.fail("interrupted; nothing was pushed", console.UNAVAILABLE)


def _attempt(attempts: Sequence[Attempt], settings: Settings, security: dict[str, Any], timeout: float) -> Outcome:
    """Try, and retract whatever happens."""
    trying = Push([each.trial for each in attempts])
    broken = None
    try:
        _push(trying, settings, security, timeout)
    except BrokerUnavailable as exc:
        broken = str(exc)
    except KeyboardInterrupt:
        broken = "interrupted"
    finally:
        _retract(attempts, settings, security, timeout if trying.complete else 0.0)
    if broken is not None:
        console.fail(f"{broken}; no document was pushed", console.UNAVAILABLE)
    return outcome(attempts, trying)


def _push(push: Push, settings: Settings, security: dict[str, Any], patience: float) -> None:
    asyncio.run(policylog.push(push, settings.kafka_bootstrap, group=settings.group, patience=patience, **security))


def _retract(attempts: Sequence[Attempt], settings: Settings, security: dict[str, Any], patience: float) -> None:
    """Retract what was sent, whether or not the log was heard to have it; say of each that was not."""
    ending = Push([each.retraction for each in attempts if each.trial.sent_at and each.trial.answer != "rejected"])
    if not ending.offers:
        return
    why = "the workers rejected it"
    try:
        _push(ending, settings, security, patience)
    except BrokerUnavailable as exc:
        why = str(exc)
    except KeyboardInterrupt:
        why = "interrupted"
    for offer in ending.offers:
        if offer.offset is None or offer.answer == "rejected":
            left = f"{offer.path} stays in report mode until its revision {offer.revision} is pushed, retracted"
            console.say(f"doorward: the trial was not retracted: {why}; {left}")


def outcome(attempts: Sequence[Attempt], trying: Push) -> Outcome:
    """What became of the trials."""
    made = Outcome(unheard=_unheard(trying))
    for each in attempts:
        if each.trial.answer == "accepted":
            told = trying.trials(each.trial)
            made.counted.append(
                Counted(
                    each.document,
                    reached=reduce(add, map(trials.reached, told), Span()),
                    removed=reduce(add, map(trials.removed, told), Span()),
                    alerted=reduce(add, map(trials.alerted, told), Span()),
                    meetings=reduce(add, map(trials.meetings, told), Span()),
                )
            )
        else:
            rejected = each.trial.answer == "rejected"
            problems = "; ".join(map(str, each.trial.problems))
            reason = f"the workers rejected it: {problems}" if rejected else "no worker answered"
            made.untried.append(Untried(each.document, reason, rejected))
    return made


def _unheard(trying: Push) -> list[str]:
    """The live workers that did not try it: those behind, and those that only just started and tell of no trial."""
    started = {
        worker
        for worker in trying.live & trying.effects.keys()
        if "start" in trying.effects[worker].timings and not trying.effects[worker].trials
    }
    return sorted(started.union(trying.missing))


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
