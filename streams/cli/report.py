"""``doorward report``: decisions counted (charter C8), and with ``--watch`` the alarm of charter C2 (ruling 38).

What may live here: options, wording and exit codes. What counts as a decision and what may be published is in
``core.counts``, the rule of the alarm in ``core.concentration``; ``cli.reading`` reads, ``cli.watch`` watches.

Exit codes: 0 all is well, 1 the alarm went off (``--once``), 2 wrong use or input that is no decision, 3 no broker or a
file that can't be read.
"""

import csv
import io
import re
import time
from typing import Annotated, Any, Final

import msgspec
import typer

from streams.cli import console, watch
from streams.cli.reading import EVER, Period, Reading, read
from streams.core import instants
from streams.core.concentration import HOUR
from streams.core.counts import COLUMNS, Aspect, Counts, Key, published
from streams.core.instants import DAY
from streams.core.trials import FEWEST

_SPAN: Final = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": DAY}


def report(
    since: Annotated[
        str | None, typer.Option(help="RFC 3339 time, or a span such as 24h, 7d. None: 24h; of files all.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339 time, or a span before now. None: now.")] = None,
    by: Annotated[str, typer.Option(help="Aspects, with commas between.")] = ",".join(COLUMNS),
    files: Annotated[
        list[str] | None,
        typer.Option("--decisions", help="Read this file of JSON lines, not Kafka; - is stdin; repeatable."),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Brokers: host:port,... None: DOORWARD_KAFKA_BOOTSTRAP.")
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help=f"For anybody to read: whole UTC days, no owner's document, no count below {FEWEST}."
        ),
    ] = False,
    watching: Annotated[
        bool,
        typer.Option("--watch", help="Go on reading, and say when a service document's removals fall on one meeting."),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="With --watch: look at the last day, then end.")] = False,
    metrics: Annotated[
        int | None, typer.Option(min=0, max=65535, help="With --watch: serve /metrics at this port; 0: any.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; with --watch one an alarm.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Rows as CSV.")] = False,
) -> None:
    """Count decisions by rule, class, verdict, country and signing holder, or watch over where removals fall."""
    aspects = _aspects(by)
    _check(by, aspects, since, until, files, public, watching, once, metrics, as_json, as_csv)
    now = time.time_ns() // 1_000_000
    settings = console.settings(kafka_bootstrap=bootstrap)
    if watching:
        if once:
            end = now if until is None else _instant("--until", until, now)
            # A decision of the future is by a clock ahead of ours, and counts as of now, unless an end was asked for.
            period = Period(end - DAY - HOUR, EVER if until is None else end)
            watch.once(settings, files or [], period, end, as_json=as_json)
        else:
            watch.follow(settings, metrics, as_json=as_json)
        return
    period = _period(since, until, now, files=bool(files), public=public)
    counts = Counts(aspects, public=public)
    reading = Reading(period, lambda event: counts.add(event.data))
    read(settings, files or [], reading, "nothing was counted")
    with console.quiet_pipe():
        _write(_result(reading, counts, public=public), counts, as_json=as_json, as_csv=as_csv)
    for note in reading.notes():
        console.say(f"doorward: {note}")


# -- options -----------------------------------------------------------------------------------------------------


def _aspects(by: str) -> tuple[Aspect, ...]:
    wanted = [part.strip() for part in by.split(",")]
    for each in wanted:
        if each not in COLUMNS:
            console.fail(f"--by: {each!r} is none of {', '.join(COLUMNS)}", console.BAD_INPUT)
    return tuple(aspect for aspect in COLUMNS if aspect in wanted)


def _check(
    by: str,
    aspects: tuple[Aspect, ...],
    since: str | None,
    until: str | None,
    files: list[str] | None,
    public: bool,
    watching: bool,
    once: bool,
    metrics: int | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """End the command where options don't go together."""
    refused = {
        "--json and --csv: one of them": as_json and as_csv,
        "--public: always by all aspects, since two reports by different ones can be subtracted": public
        and len(aspects) < len(COLUMNS),
        "--once and --metrics go with --watch": not watching and (once or metrics is not None),
        "--watch looks at the last day: no --since, --public or --csv": watching
        and (since is not None or public or as_csv),
        "--watch of files or up to an instant takes --once": watching and not once and bool(files or until),
        "--metrics: with --once there is nothing to serve": once and metrics is not None,
        "--decisions: stdin can be read only once": (files or []).count("-") > 1,
    }
    for words, holds in refused.items():
        if holds:
            console.fail(words, console.BAD_INPUT)


def _instant(option: str, text: str, now: int) -> int:
    if span := _SPAN.fullmatch(text):
        return now - int(span[1]) * _UNITS[span[2]]
    try:
        return instants.parse(text)
    except ValueError as exc:
        console.fail(f"{option}: {exc}, nor a span such as 24h", console.BAD_INPUT)


def _period(since: str | None, until: str | None, now: int, *, files: bool, public: bool) -> Period:
    """The time to count. A public one is of whole days: two that overlap otherwise could be subtracted."""
    end = now if until is None else _instant("--until", until, now)
    if public:
        end -= end % DAY
    begin = end - DAY if since is None else _instant("--since", since, now)
    if public:
        begin -= begin % DAY
    if files and since is None:
        begin = 0
    if files and until is None and not public:
        end = EVER
    if begin >= end:
        whole = ": --public counts whole UTC days" if public else ""
        console.fail(f"--since is not before --until{whole}", console.BAD_INPUT)
    return Period(begin, end)


# -- writing -----------------------------------------------------------------------------------------------------


class _Result(msgspec.Struct):
    """What is written; in the public one, None is what may not be told."""

    decisions: int | None
    rows: list[tuple[Key, int]]
    others: int | None
    head: dict[str, Any]


def _result(reading: Reading, counts: Counts, *, public: bool) -> _Result:
    period, sieve = reading.period, reading.sieve
    head: dict[str, Any] = {
        "since": instants.render(period.since) if period.since else None,
        "until": instants.render(period.until) if period.until < EVER else None,
        "complete": not (reading.cut or reading.unreadable or sieve.forgetful),
    }
    rows = counts.rows()
    if public:
        told = published(rows, counts.unlisted)
        return _Result(told.decisions, list(told.rows), told.others, {**head, "public": True})
    head |= {"repeats": sieve.repeats, "reminders": sieve.reminders, "unreadable": reading.unreadable}
    return _Result(sieve.decisions, rows, counts.unlisted, head)


def _write(result: _Result, counts: Counts, *, as_json: bool, as_csv: bool) -> None:
    columns = counts.columns
    if as_json:
        rows = [{**dict(zip(columns, key, strict=True)), "count": count} for key, count in result.rows]
        told = {**result.head, "decisions": result.decisions, "others": result.others, "rows": rows}
        console.out(msgspec.json.encode(told))
        return
    if as_csv:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((*columns, "count"))
        writer.writerows((*key, count) for key, count in result.rows)
        console.out(text.getvalue().removesuffix("\n"))
    else:
        table = [(*columns, "count"), *((*(part or "-" for part in key), f"{n:,}") for key, n in result.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for *parts, count in table:
            cells = [part.ljust(width) for part, width in zip(parts, widths[:-1], strict=True)]
            console.out("  ".join([*cells, count.rjust(widths[-1])]))
    # Without a number a public report says that there were few: no total may tell what the rows don't.
    decisions = f"fewer than {FEWEST}" if result.decisions is None else f"{result.decisions:,}"
    others = f", {result.others:,} of them in no row" if result.others else ""
    console.say(f"decisions: {decisions}{others}")
