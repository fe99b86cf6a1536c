"""Plots of results, as SVG that is the same for the same figures: bars with their spread, curves, percentiles.

Needs matplotlib (``requirements-bench.lock``); ``make bench`` installs it.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

COLOURS: Final = ["#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6b4e9b", "#00798c", "#8d6a4f", "#444444"]


def _styled(draw: Callable[[Any], None], path: Path, *, size: tuple[float, float]) -> None:
    style = {
        "svg.hashsalt": "doorward",  # ids of the file's parts: without it, another file each time
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
    }
    with mpl.rc_context(style):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    # matplotlib ends some lines with spaces
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def bars(values: Mapping[str, Sequence[float]], label: str, *, target: float | None = None) -> Callable[[Path], None]:
    """A bar for each name: the median of its values, and from the least to the most. ``target`` is a line."""

    def draw(axes: Any) -> None:
        names = list(values)
        medians = [statistics.median(values[name]) for name in names]
        ends = [
            [m - min(values[name]) for m, name in zip(medians, names, strict=True)],
            [max(values[name]) - m for m, name in zip(medians, names, strict=True)],
        ]
        axes.barh(names, medians, xerr=ends, color=COLOURS[0], height=0.6, ecolor="#222222", capsize=3)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label)
        for place, median in enumerate(medians):
            axes.annotate(f" {median:,.4g}", (0, place), va="center", color="white", fontsize=8)
        if target is not None:
            axes.axvline(target, color=COLOURS[1], linewidth=1)
            axes.annotate(" target", (target, -0.5), color=COLOURS[1], fontsize=8)

    return lambda path: _styled(draw, path, size=(6.4, 0.5 + 0.42 * len(values)))


def curves(
    lines: Mapping[str, Sequence[tuple[float, Sequence[float]]]],
    x: str,
    y: str,
    *,
    log_x: bool = True,
    log_y: bool = False,
) -> Callable[[Path], None]:
    """A line for each name: points of (x, values of the rounds), the median with its spread."""

    def draw(axes: Any) -> None:
        for name, points in lines.items():
            places = [at for at, _ in points]
            medians = [statistics.median(found) for _, found in points]
            ends = [
                [m - min(found) for m, (_, found) in zip(medians, points, strict=True)],
                [max(found) - m for m, (_, found) in zip(medians, points, strict=True)],
            ]
            axes.errorbar(places, medians, yerr=ends, label=name, marker="o", markersize=3.5, linewidth=1.2, capsize=2)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(lines) > 1:
            axes.legend(frameon=False)

    return lambda path: _styled(draw, path, size=(6.4, 3.4))


def percentiles(lines: Mapping[str, Sequence[tuple[float, float]]], y: str) -> Callable[[Path], None]:
    """A line for each name: points of (percentile below 100, value), the tail spread out as HdrHistogram plots it."""

    def draw(axes: Any) -> None:
        for name, points in lines.items():
            kept = [(1 / (1 - share / 100), value) for share, value in points if share < 100]
            axes.plot([at for at, _ in kept], [value for _, value in kept], label=name, linewidth=1.4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        marks = [(1, "0 %"), (2, "50 %"), (10, "90 %"), (100, "99 %"), (1000, "99.9 %"), (10_000, "99.99 %")]
        axes.set_xticks([at for at, _ in marks], [text for _, text in marks])
        axes.set_xlabel("percentile")
        axes.set_ylabel(y)
        axes.legend(frameon=False)

    return lambda path: _styled(draw, path, size=(6.4, 3.8))
