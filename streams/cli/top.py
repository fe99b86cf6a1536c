"""``doorward top``: a running cluster as a table that is drawn anew every few seconds.

What may live here: options, the table's cells and columns, and when it is drawn. What the numbers mean is in
``core.cluster``, how workers are asked in ``adapters.scrape``.

Rates and latencies are of the interval between the last two answers of a worker; p50 and p99 are Prometheus'
``histogram_quantile`` of the histogram's increase in it (``core.exposition.quantile``). On a terminal the table is on
the alternate screen, so that nothing of it stays; where it is too narrow the least columns are left out.

Exit codes: 0, after Ctrl-C too; 2 wrong use; 3 with ``--once`` where no worker answers.
"""

import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.adapters.metricmanifest import QUICK
from streams.adapters.scrape import Target, look
from streams.cli import asking, console
from streams.cli.dev import Stop
from streams.core import instants
from streams.core.cluster import Cluster, Traffic, Worker, survey
from streams.core.exposition import Increase, Page, increase
from streams.core.policy import VERDICTS

INTERVAL: Final = 2.0
"""Seconds."""
LEAST_INTERVAL: Final = 0.2
MOST_INTERVAL: Final = 3600.0
PATIENCE: Final = 0.75
"""Of an interval: how long workers may take to answer, up to ``MOST_PATIENCE`` seconds."""
MOST_PATIENCE: Final = 5.0

COLUMNS: Final = (
    *("worker", "state", "parts", "events/s", "admit/s", "alert/s", "remove/s", "dead/s", "p50", "p99"),
    *("lag", "behind", "policy", "index", "sessions", "sweeps", "unconf"),
)
LEAST: Final = (
    *("parts", "sweeps", "dead/s", "alert/s", "admit/s", "unconf", "p50"),
    *("sessions", "index", "policy", "lag"),
)
"""Columns in the order in which they are left out where there is no room."""
_GAP: Final = 2
_BAD: Final = frozenset({"no answer", "fuse blown", "differs"})
_WAITING: Final = frozenset({"not ready", "recovering"})
_LONGEST: Final = QUICK[-1]
"""The greatest bound of the latency's buckets, seconds: a quantile of that may be anything above."""


class Survey(NamedTuple):
    """What is shown: ``at`` is when it was taken, ms since the epoch."""

    at: int
    cluster: Cluster
    workers: Sequence[Worker]


def top(
    metrics: Annotated[list[str] | None, asking.Urls] = None,
    interval: Annotated[
        float, typer.Option(min=LEAST_INTERVAL, max=MOST_INTERVAL, help="Seconds between two looks.")
    ] = INTERVAL,
    once: Annotated[
        bool, typer.Option("--once", help="Print one plain table after one interval; so it is without a terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON after each interval.")] = False,
    cacert: Annotated[Path | None, asking.Authority] = None,
    cert: Annotated[Path | None, asking.Certificate] = None,
    key: Annotated[Path | None, asking.Key] = None,
) -> None:
    """Show what a running cluster does: rates, verdicts, latency, lag and policy, worker by worker.

    Rates, p50 and p99 are of the last interval; the quantiles are interpolated within the histogram's buckets, as
    Prometheus' histogram_quantile does.
    """
    targets = asking.targets(metrics)
    watch = Watch(targets, interval, asking.context(targets, cacert, cert, key))
    screen = Console()
    with suppress(KeyboardInterrupt), console.quiet_pipe():
        if once or not (as_json or (sys.stdout.isatty() and not screen.is_dumb_terminal)):
            _once(watch, as_json=as_json)
        elif as_json:
            Stop()
            for taken in islice(watch.surveys(), 1, None):
                console.out(_json(taken))
                sys.stdout.flush()
        else:
            Stop()
            _draw(watch, screen)


class Watch:
    """Looks at workers again and again.

    Args:
        targets: the workers.
        interval: seconds between two looks.
        context: for those that speak TLS.
    """

    def __init__(self, targets: list[Target], interval: float, context: ssl.SSLContext | None) -> None:
        self.interval = interval
        self._targets = targets
        self._context = context
        self._pages: dict[str, Page] = {}  # the last answer of each worker

    def take(self) -> Survey:
        """Look once; blocks for less than an interval."""
        patience = min(PATIENCE * self.interval, MOST_PATIENCE)
        looks = look(self._targets, patience, self._context)
        increases: dict[str, Increase] = {}
        for each in looks:
            if each.page is not None:
                if each.name in self._pages:
                    increases[each.name] = increase(self._pages[each.name], each.page)
                self._pages[each.name] = each.page
        return Survey(time.time_ns() // 1_000_000, *survey(looks, increases))

    def surveys(self) -> Iterator[Survey]:
        """A look now, which knows no rates, and one at the end of each interval; without an end."""
        due = time.monotonic()
        while True:
            yield self.take()
            due = max(due + self.interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def _once(watch: Watch, *, as_json: bool) -> None:
    _, taken = islice(watch.surveys(), 2)
    if as_json:
        console.out(_json(taken))
    else:
        table = [list(COLUMNS), *rows(taken)]
        widths = _widths(table)
        for row in table:
            console.out((" " * _GAP).join(map(_justified, COLUMNS, row, widths)).rstrip())
        for note in notes(taken):
            console.say(f"doorward: {note}")
    if not taken.cluster.answering:
        console.fail("no worker answers", console.UNAVAILABLE)


def _json(taken: Survey) -> bytes:
    return msgspec.json.encode({"at": instants.render(taken.at), "cluster": taken.cluster, "workers": taken.workers})


# -- the table ---------------------------------------------------------------------------------------------------


def rows(taken: Survey) -> list[list[str]]:
    """Cells by ``COLUMNS``: the cluster, then each worker."""
    cluster = taken.cluster
    lowest, highest = cluster.policy_offset or ("-", "-")
    whole = [
        *("cluster", f"{cluster.ready} of {cluster.workers} ready", str(cluster.partitions)),
        *_traffic(cluster.traffic),
        *(f"{cluster.lag_records:,}", _seconds(cluster.lag_seconds)),
        *(f"{highest}" if lowest == highest else f"{lowest}-{highest}", _agrees(cluster.agrees)),
        *(f"{each:,}" for each in (cluster.sessions, cluster.sweeps_due, cluster.unconfirmed_removals)),
    ]
    return [whole, *map(_row, taken.workers)]


def _row(worker: Worker) -> list[str]:
    state = worker.state
    if state is None:
        return [worker.name, "no answer", *["-"] * (len(COLUMNS) - 2)]
    if state.fuse_blown:
        stands = "fuse blown"
    elif state.recovering:
        stands = "recovering"
    else:
        stands = "ready" if state.ready else "not ready"
    return [
        *(worker.name, stands, str(state.partitions)),
        *_traffic(worker.traffic),
        *(f"{state.lag_records:,}", _seconds(state.lag_seconds)),
        *(str(state.policy_offset), _agrees(worker.agrees)),
        *(f"{each:,}" for each in (state.sessions, state.sweeps_due, state.unconfirmed_removals)),
    ]


def _traffic(traffic: Traffic | None) -> list[str]:
    if traffic is None:
        return ["-"] * 7
    rates = (traffic.events, *(traffic.decisions[verdict] for verdict in VERDICTS), traffic.dead_letters)
    return [*map(_rate, rates), _quantile(traffic.p50), _quantile(traffic.p99)]


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"


def _quantile(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"≥{_LONGEST:g} s" if seconds >= _LONGEST else _seconds(seconds)


def _seconds(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:,.1f} s" if 0 < seconds < 100 else f"{seconds:,.0f} s"


def _agrees(agrees: bool | None) -> str:
    return "-" if agrees is None else ("same" if agrees else "differs")


def notes(taken: Survey) -> list[str]:
    """What has no column, a line each."""
    silent = [f"{each.name}: {each.error}" for each in taken.workers if each.error]
    anew = [f"{each.name}: was started anew; counted from 0" for each in taken.workers if each.restarted]
    differ = ["index hashes differ at one offset of the policy log: see `doorward status`"]
    return [*silent, *anew, *(differ if taken.cluster.agrees is False else [])]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*table, strict=True)]


def _is_left(column: str) -> bool:
    """Whether a column is of words and not of numbers."""
    return column in ("worker", "state")


def _justified(column: str, cell: str, width: int) -> str:
    return cell.ljust(width) if _is_left(column) else cell.rjust(width)


# -- on a terminal -----------------------------------------------------------------------------------------------


def _draw(watch: Watch, screen: Console) -> None:
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        for taken in watch.surveys():
            live.update(_page(taken, watch.interval, screen.width), refresh=True)


def _page(taken: Survey, interval: float, width: int) -> RenderableType:
    """The screen: a line about the whole, the table as far as it has room, and notes."""
    cells = rows(taken)
    shown = fitting(dict(zip(COLUMNS, _widths([COLUMNS, *cells]), strict=True)), width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for column in shown:
        table.add_column(column, justify="left" if _is_left(column) else "right", no_wrap=True)
    for number, row in enumerate(cells):
        named = dict(zip(COLUMNS, row, strict=True))
        table.add_row(*(Text(named[each], _style(named[each])) for each in shown), style="" if number else "bold")
    hidden = [column for column in COLUMNS if column not in shown]
    said = [*notes(taken), *([f"no room for: {', '.join(hidden)}"] if hidden else [])]
    head = f"doorward top   {instants.render(taken.at)}   every {interval:g} s   Ctrl-C ends"
    return Group(Text(head, "dim", no_wrap=True), table, *(Text(each, "dim") for each in said))


def _style(cell: str) -> str:
    return "bold red" if cell in _BAD else ("yellow" if cell in _WAITING else "")


def fitting(widths: dict[str, int], room: int) -> list[str]:
    """The columns that have room beside one another; of a very narrow terminal the first ones are cut off.

    Args:
        widths: of all columns, in order.
        room: characters in a line.
    """
    shown = dict(widths)
    for column in LEAST:
        if sum(shown.values()) + _GAP * (len(shown) - 1) <= room:
            break
        del shown[column]
    return list(shown)
