"""Numbers that a process exposes for Prometheus: what was counted between two looks at them, and quantiles of it.

What may live here: arithmetic over pages of metrics, whoever serves them. A *page* is what was exposed at one instant.
Counters and the buckets of histograms only rise while a process lives; the *increase* between two pages is what was
counted in between. A process that was started anew in between counts from 0: its second page is the increase, which
leaves out what the first process counted after the first page, as Prometheus' ``rate`` does.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""A name and its labels with their values."""

_STARTED: Final = "process_start_time_seconds"
_NO_LABELS: Final[frozenset[tuple[str, str]]] = frozenset()


class Page(msgspec.Struct, frozen=True):
    """What was exposed.

    Attributes:
        at: when; seconds by a clock that never goes back.
        gauges: what may rise and fall.
        counts: what only rises: counters, and the buckets and counts of histograms.
    """

    at: float
    gauges: Mapping[Series, float]
    counts: Mapping[Series, float]

    def has(self, name: str) -> bool:
        """Whether a gauge without labels is there."""
        return (name, _NO_LABELS) in self.gauges

    def gauge(self, name: str) -> float:
        """A gauge without labels; 0 where there is none."""
        return self.gauges.get((name, _NO_LABELS), 0.0)


class Increase(msgspec.Struct, frozen=True):
    """What was counted between two pages of one process.

    Attributes:
        seconds: between them.
        counts: by how much each series rose.
        restarted: whether the process was started anew in between.
    """

    seconds: float
    counts: Mapping[Series, float]
    restarted: bool

    def rate(self, name: str, **labels: str) -> float:
        """Of a counter, a second; summed over all of its series that have these labels."""
        wanted = labels.items()
        rose = sum(count for (of, having), count in self.counts.items() if of == name and wanted <= having)
        return rose / self.seconds

    def buckets(self, name: str) -> dict[float, float]:
        """Of a histogram without labels: upper bounds, and how many observations are at most that."""
        bucket = f"{name}_bucket"
        return {float(dict(labels)["le"]): count for (of, labels), count in self.counts.items() if of == bucket}


def increase(earlier: Page, later: Page) -> Increase:
    """What was counted from one page to a later one of the same address.

    One series that went back, or is gone, means another process: then nothing on the page goes on from the earlier one.
    """
    restarted = earlier.gauge(_STARTED) != later.gauge(_STARTED) or any(
        later.counts.get(series, 0.0) < count for series, count in earlier.counts.items()
    )
    base: Mapping[Series, float] = {} if restarted else earlier.counts
    rose = {series: count - base.get(series, 0.0) for series, count in later.counts.items()}
    return Increase(later.at - earlier.at, rose, restarted)


def together(histograms: Iterable[Mapping[float, float]]) -> dict[float, float]:
    """Histograms with the same bounds as one."""
    whole: dict[float, float] = {}
    for each in histograms:
        for bound, count in each.items():
            whole[bound] = whole.get(bound, 0.0) + count
    return whole


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """The value that a share of a histogram's observations are at most; None where there are none.

    As Prometheus' ``histogram_quantile`` does for classic buckets: observations are taken to lie evenly between their
    bucket's bounds, the first bucket starts at 0, and of the last one, which has no upper bound, nothing is known but
    where it starts: its lower bound is the answer.

    Args:
        share: above 0, up to 1.
        buckets: upper bounds, positive, infinity among them, and how many observations are at most that.
    """
    bounds = sorted(buckets)
    counts = [buckets[bound] for bound in bounds]
    if not counts or counts[-1] <= 0:
        return None
    rank = share * counts[-1]
    at = bisect_left(counts, rank)
    low, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    if at == len(bounds) - 1:
        return low
    return low + (bounds[at] - low) * (rank - below) / (counts[at] - below)
