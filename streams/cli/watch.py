"""``doorward report --watch``: the alarm of charter C2, on a day's decisions and on those that come (ruling 38).

What may live here: when it is looked, and the words of an alarm. They name the document and the cut of its removals
that fell on one meeting or account, and how many; which meeting or account it is they never say, neither here nor in
the metrics. Whoever is to look into it has the document, which is public, and the right to read ``decisions``.
"""

import time
from typing import Any, Final, Literal

import msgspec
import typer

from streams.adapters import decisionlog
from streams.adapters.watchmetrics import WatchMetrics
from streams.cli import console
from streams.cli.dev import Stop
from streams.cli.reading import EVER, Period, Reading, kafka_errors, progress, read
from streams.core import instants
from streams.core.concentration import HOUR, TOGETHER, Day, Finding, Scope
from streams.core.counts import Recorded
from streams.core.instants import DAY
from streams.settings import Settings

CHECK_SECONDS: Final = 2.0
"""Between two looks at the last day; each also asks the brokers how many decisions wait."""


class Watch:
    """The last day, and what alarms in it.

    Attributes:
        findings: as of the latest look.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.findings: list[Finding] = []
        self._day = Day()
        self._alarms: dict[tuple[str, Scope], Finding] = {}
        self._as_json = as_json

    @property
    def alarmed(self) -> bool:
        """Whether anything alarms that was told."""
        return bool(self._alarms)

    @property
    def summary(self) -> str:
        """How it stands, for people."""
        documents = len({finding.cut.policy for finding in self.findings} - {TOGETHER})
        judged = f"{documents} service document{'' if documents == 1 else 's'} with enough removals to judge"
        return f"{judged}; {len(self._alarms) or 'no'} alarm{'' if len(self._alarms) == 1 else 's'}"

    def take(self, event: Recorded, now: int) -> None:
        """Take in a decision that counts."""
        self._day.add(event.data, now)

    def look(self, now: int) -> None:
        """Look at the last day."""
        self.findings = self._day.findings(now)

    def tell(self, now: int) -> None:
        """Write what began and what ceased to alarm since it was told last."""
        alarms = {(each.cut.policy, each.scope): each for each in self.findings if each.alarm}
        with console.quiet_pipe():
            for name, finding in alarms.items():
                if name not in self._alarms:
                    self._write("began", finding, now)
            for name, finding in self._alarms.items():
                if name not in alarms:
                    self._write("ended", finding, now)
        self._alarms = alarms

    def _write(self, alarm: Literal["began", "ended"], finding: Finding, now: int) -> None:
        if self._as_json:
            console.out(msgspec.json.encode(_object(alarm, finding, now)))
        else:
            console.out(f"{instants.render(now)} {_words(alarm, finding)}")


def _object(alarm: str, finding: Finding, now: int) -> dict[str, Any]:
    policy, rule, fact = finding.cut
    return {
        "alarm": alarm,
        "at": instants.render(now),
        "policy": policy,
        "scope": finding.scope,
        "rule": rule,
        "fact": None if fact is None else dict([fact]),
        "removals": finding.removals,
        "fallen": finding.fallen,
        "share": round(finding.share, 2),
        "usual": round(finding.usual, 2),
    }


def _words(alarm: str, finding: Finding) -> str:
    policy, rule, fact = finding.cut
    which = "all service documents together" if policy == TOGETHER else policy
    which += f", rule {rule!r}" if rule is not None else ""
    which += f", {fact[0]} {fact[1]}" if fact is not None else ""
    fell = f"{finding.fallen:,} of {finding.removals:,} removals of a day fell on one {finding.scope}"
    has = f"which has {finding.usual:.0%} of all joins"
    if alarm == "ended":
        return f"alarm over: {which}: removals no longer fall on one {finding.scope}"
    return f"ALARM {which}: {fell}, {has}"


# -- a day -------------------------------------------------------------------------------------------------------


def once(settings: Settings, files: list[str], period: Period, end: int, *, as_json: bool) -> None:
    """Look once at the day that ends at an instant (ms); ends the command with a finding where it alarms."""
    watch = Watch(as_json=as_json)
    reading = Reading(period, lambda event: watch.take(event, end))
    read(settings, files, reading, "nothing was looked at")
    watch.look(end)
    watch.tell(end)
    for note in reading.notes():
        console.say(f"doorward: {note}")
    console.say(f"doorward: {watch.summary}")
    if watch.alarmed:
        raise typer.Exit(console.FINDING)


# -- from now on -------------------------------------------------------------------------------------------------


def follow(settings: Settings, port: int | None, *, as_json: bool) -> None:
    """Look at the last day again and again, until Ctrl-C or SIGTERM.

    Args:
        settings: where the brokers are, and the host to serve metrics at.
        port: where to serve them; 0: any free one; None: nowhere.
        as_json: alarms as JSON.
    """
    metrics = WatchMetrics()
    if port is not None:
        try:
            console.say(f"metrics: http://{settings.metrics_host}:{metrics.serve(settings.metrics_host, port)}/metrics")
        except OSError as exc:
            console.fail(f"--metrics: cannot serve at port {port}: {exc.strerror}", console.UNAVAILABLE)
    try:
        with kafka_errors():
            Stop().run(_follow(settings, Watch(as_json=as_json), metrics))
    except KeyboardInterrupt:
        console.say("doorward: stopped watching")


async def _follow(settings: Settings, watch: Watch, metrics: WatchMetrics) -> None:
    reading = Reading(Period(0, EVER), lambda event: watch.take(event, _now()))
    connection = settings.connection()
    security = connection.security_options()
    async with decisionlog.opened(connection.bootstrap, _now() - DAY - HOUR, **security) as log:
        with progress(log.total) as advance:
            while not log.done:
                values = await log.batch()
                _hear(reading, values, metrics)
                advance(len(values))
        first = True
        while True:
            metrics.lag.set(await log.lag())
            watch.look(_now())
            metrics.show(watch.findings)
            metrics.checked_at.set_to_current_time()
            watch.tell(_now())
            if first:
                console.say(f"doorward: watching; {watch.summary}")
                first = False
            again = time.monotonic() + CHECK_SECONDS
            while time.monotonic() < again:
                _hear(reading, await log.batch(beyond=True), metrics)


def _hear(reading: Reading, values: list[bytes | None], metrics: WatchMetrics) -> None:
    counted, unreadable = reading.sieve.decisions, reading.unreadable
    reading.hear_records(values)
    metrics.decisions.inc(reading.sieve.decisions - counted)
    metrics.unreadable.inc(reading.unreadable - unreadable)


def _now() -> int:
    return time.time_ns() // 1_000_000
