"""What ``policy push`` and ``retract`` share: keys and trust, sending, and saying what became of each document.

A command that ends early says of every document whether the log has it: pushed, not pushed, or not known, where a
broker was handed it and never answered.
"""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from streams.adapters import policylog
from streams.adapters.kafka import CredentialsUnavailable
from streams.adapters.policylog import Effect, Push
from streams.adapters.topics import BootstrapMalformed, BrokerUnavailable
from streams.cli import console
from streams.cli.trial import Outcome
from streams.core.status import Sweep
from streams.settings import Settings
from streams.wire import keys, trust


def carry_out(
    pushed: Push,
    tried: Outcome | None,
    settings: Settings,
    connecting: dict[str, Any],
    timeout: float,
    *,
    as_json: bool,
) -> None:
    """Push, say what became of it, and end the command where something is still wrong."""
    quiet_client()
    broken = None
    try:
        asyncio.run(
            policylog.push(pushed, settings.kafka_bootstrap, group=settings.group, patience=timeout, **connecting)
        )
    except BootstrapMalformed as exc:
        console.fail(str(exc), console.BAD_INPUT)
    except BrokerUnavailable as exc:
        broken = str(exc)
    except KeyboardInterrupt:
        broken = "interrupted"
    with console.quiet_pipe():
        if as_json:
            console.out(json.dumps(summary(pushed, tried)))
        else:
            _print(pushed)
    _finish(pushed, settings, broken, timeout)


def quiet_client() -> None:
    """Silence aiokafka, which logs each attempt, and what asyncio says of it after Ctrl-C: one line says it all."""
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def security(settings: Settings) -> dict[str, Any]:
    """How to connect, for aiokafka's clients."""
    try:
        return settings.connection().security_options()
    except CredentialsUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)


def _finish(pushed: Push, settings: Settings, broken: str | None, timeout: float) -> None:
    """End with what is still wrong, if anything is."""
    if broken is not None:
        there = [offer for offer in pushed.offers if offer.offset is not None]
        for offer in pushed.offers:
            console.say(f"{offer.standing}: {offer.path} r{offer.revision}")
        what = f"{len(there)} of {len(pushed.offers)} documents are in the log"
        if unsure := sum(offer.standing == "not known" for offer in pushed.offers):
            what += f", {unsure} may be: `doorward policy show` tells once Kafka answers again"
        console.fail(f"{broken}; {what}", console.UNAVAILABLE)
    if any(offer.answer == "rejected" for offer in pushed.offers):
        raise typer.Exit(console.FINDING)
    if not pushed.complete:
        if not pushed.live:
            why = f"the consumer group {settings.group} has no live worker"
        elif not pushed.answered:
            why = "no worker answered"
        else:
            why = f"not applied by {', '.join(pushed.missing)}"
        console.fail(f"after {timeout:g} s: {why}; the documents stay in the log", console.UNAVAILABLE)


def _print(pushed: Push) -> None:
    for offer in pushed.offers:
        if offer.offset is None:
            continue
        took = "" if offer.milliseconds is None else f", {offer.milliseconds:.0f} ms"
        verdict = offer.answer or "no answer"
        console.out(f"{verdict}: {offer.path} revision {offer.revision} (offset {offer.offset}{took})")
        for problem in offer.problems:
            console.out(f"  {problem}")
    for worker in sorted(pushed.live) if pushed.target is not None else ():
        if worker in pushed.missing:
            console.out(f"not applied: {worker}")
        else:
            offset, took_ms = pushed.applied[worker]
            steps = "".join(f", {step}" for step in _steps(pushed.effects.get(worker, Effect())))
            console.out(f"applied: {worker} (offset {offset}, {took_ms:.0f} ms){steps}")
    swept = pushed.swept
    if swept.decided:
        changed = f"removed {swept.remove:,}, alerted {swept.alert:,}, admitted {swept.admit:,}"
        console.out(f"{changed} of {swept.sessions:,} live participants")


_STEPS: Final = (("judge", "verified in"), ("in_force", "in force after"), ("swept", "live sessions swept in"))


def _steps(effect: Effect) -> Iterator[str]:
    """What a worker did and how long it took, in words."""
    for step, words in _STEPS:
        if step in effect.timings:
            yield f"{words} {effect.timings[step] * 1000:.0f} ms"
    if effect.sweep is not None:
        changed = effect.sweep.admit + effect.sweep.alert + effect.sweep.remove
        yield f"{changed:,} verdict{'' if changed == 1 else 's'} changed"


def summary(pushed: Push, tried: Outcome | None) -> dict[str, Any]:
    """What ``--json`` prints of a push, with the trial where one was made."""
    return {
        "documents": [
            {
                "path": offer.path,
                "revision": offer.revision,
                "offset": offer.offset,
                "standing": offer.standing,
                "answer": offer.answer,
                "problems": [{"code": p.code, "path": p.path, "message": p.message} for p in offer.problems],
                "ms": offer.milliseconds,
            }
            for offer in pushed.offers
        ],
        "workers": [
            {
                "worker": worker,
                "applied": worker in pushed.applied and worker not in pushed.missing,
                "offset": pushed.applied[worker][0] if worker in pushed.applied else None,
                "ms": pushed.applied[worker][1] if worker in pushed.applied else None,
                "timings": effect.timings,
                "sweep": _counts(effect.sweep) if effect.sweep else None,
            }
            for worker in sorted(pushed.live)
            for effect in (pushed.effects.get(worker, Effect()),)
        ],
        "swept": _counts(pushed.swept),
        "trial": tried.summary if tried else None,
        "complete": pushed.complete,
    }


def _counts(sweep: Sweep) -> dict[str, int]:
    return {name: getattr(sweep, name) for name in ("sessions", "decided", "admit", "alert", "remove")}


def trusted(settings: Settings) -> trust.TrustSet:
    """The workers' trust set. Ends the command where there is none."""
    if settings.trust is None:
        console.fail("--trust FILE (DOORWARD_TRUST) is required: the workers' trust set", console.BAD_INPUT)
    try:
        return trust.read_trust(settings.trust)
    except trust.TrustUnavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)


def signing_keys(files: list[Path]) -> list[keys.PrivateKey]:
    """The private keys of files. Ends the command where one cannot be had."""
    try:
        return [keys.read_private(file) for file in files]
    except keys.KeyUnavailable as exc:
        console.fail(f"--key: {exc}", console.UNAVAILABLE)


def stop_if(problems: Sequence[object]) -> None:
    """End the command if anything is wrong, after all of it is said."""
    for problem in problems:
        console.say(str(problem))
    if problems:
        console.fail(f"{len(problems)} problem(s); nothing was done", console.BAD_INPUT)
