"""Draw the dashboards from a real Prometheus: ``python deploy/mixin/pictures.py http://127.0.0.1:9090``.

A maintainer's tool, for the pictures in the docs; the standard library alone. It asks what Grafana would ask, panel by
panel, over the last ``--minutes``, and writes one SVG a dashboard under ``pictures/``: text, small, the same bytes for
the same answers but for times, which count from the beginning. To have something to draw, on one machine:

    doorward dev --workers 2 --policies deploy/policies --json     # says where workers' metrics are
    prometheus ...                                                 # scrapes them as jobs `doorward`, `doorward-watch`
    doorward load ...                                              # for as long as you want to see
"""

import argparse
import json
import math
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent

COLUMN, ROW, GAP, TITLE = 50, 24, 8, 24
"""Pixels: of Grafana's grid, between panels, for a row's title."""
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 30, 36
"""Within a panel, around the plot: numbers, nothing, the title, times and the legend."""
SAMPLES: Final = 90
"""Along the time axis: more can't be seen."""
COLOURS: Final = ("#3f7fbf", "#d9822b", "#4f9e58", "#b5495b", "#8062b3", "#8a6d3b", "#2a9d9d", "#777777")
STEPS: Final = {"green": "#37872d", "orange": "#d9822b", "red": "#c4162a"}
STYLE: Final = (
    "text{font:11px sans-serif;fill:#24292e}.t{font-weight:600;font-size:12px}.h{font-weight:600;font-size:14px}"
    ".a{fill:#6e7781;font-size:10px}.n{font-weight:600;font-size:24px;text-anchor:middle}.e{text-anchor:end}"
    ".p{fill:#fff;stroke:#d0d7de}.g{stroke:#eaeef2}.l{fill:none;stroke-width:1.3;stroke-linejoin:round}"
)

Point = tuple[float, float]
"""Unix seconds, value."""


class Series(NamedTuple):
    """A line: its legend and points, with none where there is no number."""

    name: str
    points: list[Point]


class Source:
    """A Prometheus.

    Args:
        url: its own.
        job: what the dashboards' variable says.
        begin, end: Unix seconds.
    """

    def __init__(self, url: str, job: str, begin: float, end: float) -> None:
        self._url = url.rstrip("/")
        self._job = job
        self.begin, self.end = begin, end
        self.step = (end - begin) / SAMPLES

    def lines(self, target: dict[str, Any]) -> list[Series]:
        """A target over the time. Raises OSError where it does not answer."""
        asked = {"start": f"{self.begin:.3f}", "end": f"{self.end:.3f}", "step": f"{self.step:.3f}"}
        return [
            Series(_legend(target, each["metric"]), _numbers(each["values"]))
            for each in self._ask("query_range", target, asked)
        ]

    def now(self, target: dict[str, Any]) -> list[tuple[dict[str, str], float]]:
        """A target at the end: labels and value."""
        found = self._ask("query", target, {"time": f"{self.end:.3f}"})
        return [(each["metric"], float(each["value"][1])) for each in found]

    def _ask(self, what: str, target: dict[str, Any], asked: dict[str, str]) -> list[dict[str, Any]]:
        window = f"{max(round(4 * self.step), 20)}s"
        expr = target["expr"].replace("$__rate_interval", window).replace("$instance", ".*").replace("$job", self._job)
        query = urllib.parse.urlencode({"query": expr} | asked)
        with urllib.request.urlopen(f"{self._url}/api/v1/{what}?{query}", timeout=30) as answer:  # noqa: S310 - as told
            found: list[dict[str, Any]] = json.loads(answer.read())["data"]["result"]
        return found


def _numbers(values: Sequence[Sequence[Any]]) -> list[Point]:
    return [(at, number) for at, text in values if math.isfinite(number := float(text))]


def _legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    text: str = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


# -- numbers -----------------------------------------------------------------------------------------------------


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1000:.3g} ms" if value else "0"


def said(value: float, unit: str, now: float) -> str:
    """A value as its unit says it; times are told from `now`, so that no picture is of a day."""
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    if unit in ("dateTimeFromNow", "dateTimeAsIso"):
        if value == 0:
            return "none"
        away = value / 1000 - now
        days = abs(away) / 86_400
        span = f"{days:.0f} d" if days >= 1 else _seconds(round(abs(away)))
        return f"in {span}" if away > 0 else f"{span} ago"
    return _short(value) + {"ops": "/s", "x": "x"}.get(unit, "")


def ticks(top: float) -> list[float]:
    """Round numbers from 0 on, the last not below `top`."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough)
    return [step * n for n in range(math.ceil(top / step - 1e-9) + 1)]


# -- panels ------------------------------------------------------------------------------------------------------


class Box(NamedTuple):
    """A panel's place, in pixels."""

    x: float
    y: float
    width: float
    height: float


def text(x: float, y: float, words: str, kind: str = "", colour: str = "") -> str:
    """One line of text."""
    fill = f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}"{fill}>{escape(words)}</text>'


def _stacked(series: list[Series]) -> list[Series]:
    base: dict[float, float] = {}
    made = []
    for name, points in series:
        for at, value in points:
            base[at] = base.get(at, 0.0) + value
        made.append(Series(name, [(at, base[at]) for at, _ in points]))
    return made


def _path(points: list[Point], step: float, stepped: bool, place: Callable[[float, float], Point]) -> str:
    parts, before = [], -math.inf
    height = 0.0
    for at, value in points:
        x, y = place(at, value)
        if at - before > 1.5 * step:
            parts.append(f"M{x:.0f} {y:.1f}")
        else:
            parts.append(f"H{x:.0f}V{y:.1f}" if stepped and y != height else f"L{x:.0f} {y:.1f}")
        before, height = at, y
    return "".join(parts)


def _frame(box: Box, marks: list[float], unit: str, source: Source) -> list[str]:
    """Lines and numbers of both axes."""
    drawn = []
    floor = box.height - TOP - BOTTOM
    for mark in marks:
        y = box.y + box.height - BOTTOM - floor * mark / marks[-1]
        drawn.append(f'<path class="g" d="M{box.x + LEFT:.0f} {y:.1f}H{box.x + box.width - RIGHT:.0f}"/>')
        drawn.append(text(box.x + LEFT - 5, y + 3, said(mark, unit, source.end), "a e"))
    spread = box.width - LEFT - RIGHT
    for part in range(4):
        minutes = part * (source.end - source.begin) / 180
        drawn.append(
            text(
                box.x + LEFT + spread * part / 3,
                box.y + box.height - BOTTOM + 13,
                f"{minutes:.2g} min",
                "a e" if part else "a",
            )
        )
    return drawn


def lines(panel: dict[str, Any], box: Box, source: Source) -> list[str]:
    """A panel of lines, stacked where Grafana's is."""
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    series = [each for target in panel["targets"] for each in source.lines(target) if each.points]
    names = {name: number for number, name in enumerate(dict.fromkeys(each.name for each in series))}
    # What is nothing all the time is a line on the floor; of many only those that say something are named.
    told = [each for each in series if any(value for _, value in each.points)] or series[:1]
    shown = _stacked(told) if custom["stacking"]["mode"] == "normal" else told
    scale = 2**20 if defaults["unit"] == "bytes" else 1
    top = max((value for each in shown for _, value in each.points), default=0.0)
    marks = [mark * scale for mark in ticks(top / scale)]
    drawn = _frame(box, marks, defaults["unit"], source)
    spread, floor = box.width - LEFT - RIGHT, box.height - TOP - BOTTOM

    def place(at: float, value: float) -> Point:
        along = (at - source.begin) / (source.end - source.begin)
        return box.x + LEFT + spread * along, box.y + box.height - BOTTOM - floor * value / marks[-1]

    stepped = custom["lineInterpolation"] == "stepAfter"
    for step in defaults["thresholds"]["steps"][1:] if custom["thresholdsStyle"]["mode"] == "line" else []:
        if step["value"] <= marks[-1]:
            y = place(source.begin, step["value"])[1]
            colour = STEPS[step["color"]]
            drawn.append(
                f'<path d="M{box.x + LEFT:.0f} {y:.1f}h{spread:.0f}" stroke="{colour}" stroke-dasharray="4 3"/>'
            )
    x = box.x + LEFT
    for each in shown:
        colour = COLOURS[names[each.name] % len(COLOURS)]
        drawn.append(f'<path class="l" stroke="{colour}" d="{_path(each.points, source.step, stepped, place)}"/>')
        if x + 8 * len(each.name) < box.x + box.width:
            drawn.append(text(x, box.y + box.height - 8, each.name, "", colour))
        x += 7 * len(each.name) + 12
    return drawn


def number(panel: dict[str, Any], box: Box, source: Source) -> list[str]:
    """A panel of one number, in its threshold's colour."""
    defaults = panel["fieldConfig"]["defaults"]
    found = source.now(panel["targets"][0])
    value = found[0][1] if found else math.nan
    steps = defaults["thresholds"]["steps"]
    colour = next((s["color"] for s in reversed(steps) if s["value"] is None or value >= s["value"]), "green")
    words = said(value, defaults["unit"], source.end) if math.isfinite(value) else "no data"
    middle = box.x + box.width / 2, box.y + TOP / 2 + box.height / 2 + 8
    return [text(*middle, words, "n", STEPS[colour])]


def table(panel: dict[str, Any], box: Box, source: Source) -> list[str]:
    """A row for each worker, a column for each query."""
    named = panel["transformations"][1]["options"]["renameByName"]
    units = {each["matcher"]["options"]: each["properties"][0]["value"] for each in panel["fieldConfig"]["overrides"]}
    titles = [named[f"Value #{target['refId']}"] for target in panel["targets"]]
    cells: dict[str, dict[str, str]] = {}
    for title, target in zip(titles, panel["targets"], strict=True):
        for labels, value in source.now(target):
            words = said(value, units[title], source.end) if value < 1e9 or units[title] != "none" else f"{value:.0f}"
            cells.setdefault(labels["instance"], {})[title] = labels.get("version", words)
    columns = ["Worker", *titles]
    width = (box.width - 20) / len(columns)
    drawn = []
    for column, title in enumerate(columns):
        x = box.x + 10 + column * width
        drawn.append(text(x, box.y + TOP + 16, title, "a"))
        for row, (instance, values) in enumerate(sorted(cells.items())):
            words = instance if column == 0 else values.get(title, "")
            drawn.append(text(x, box.y + TOP + 40 + 22 * row, words))
    return drawn


def heatmap(panel: dict[str, Any], box: Box, source: Source) -> list[str]:
    """A classic histogram: a row for each bucket, the darker the more."""
    found = sorted(source.lines(panel["targets"][0]), key=lambda each: float(each.name))
    drawn: list[str] = []
    below: dict[float, float] = {}
    most = max((value for each in found for _, value in each.points), default=1.0) or 1.0
    spread, floor = box.width - LEFT - RIGHT, box.height - TOP - BOTTOM
    height, width = floor / max(len(found), 1), spread / SAMPLES
    for row, (bound, points) in enumerate(found):
        y = box.y + box.height - BOTTOM - (row + 1) * height
        if row % 2 == 0:
            drawn.append(
                text(box.x + LEFT - 5, y + height, "more" if bound == "+Inf" else _seconds(float(bound)), "a e")
            )
        for at, value in points:
            share = (value - below.get(at, 0.0)) / most
            below[at] = value
            if share > 0.002:
                x = box.x + LEFT + spread * (at - source.begin) / (source.end - source.begin)
                drawn.append(
                    f'<rect x="{x:.0f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                    f'fill="#d9822b" opacity="{min(1.0, math.sqrt(share)):.2f}"/>'
                )
    return drawn + _frame(box, [0.0, 1.0], "x", source)[4:]


KINDS: Final = {"timeseries": lines, "stat": number, "table": table, "heatmap": heatmap}


def picture(dashboard: dict[str, Any], source: Source) -> str:
    """A dashboard as SVG; panels of text are left out."""
    drawn, height = [], 0.0
    panels = [panel for panel in dashboard["panels"] if panel["title"] != "Runbooks"]
    for panel in panels:
        grid = panel["gridPos"]
        box = Box(grid["x"] * COLUMN + GAP, grid["y"] * ROW + GAP, grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP)
        if panel["type"] == "row":
            drawn.append(text(box.x, box.y + 12, panel["title"], "h"))
        elif panel["type"] in KINDS:
            outline = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
            drawn.append(f'<rect class="p" rx="3" {outline}/>')
            drawn.append(text(box.x + 10, box.y + 18, panel["title"], "t"))
            drawn += KINDS[panel["type"]](panel, box, source)
            height = max(height, box.y + box.height + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN + GAP} {height:.0f}">'
    ground = f"<title>{escape(dashboard['title'])}</title><style>{STYLE}</style>"
    return "\n".join([head, ground, '<rect width="100%" height="100%" fill="#f6f8fa"/>', *drawn, "</svg>"]) + "\n"


def main() -> int:
    """Draw them all."""
    parser = argparse.ArgumentParser(description="Draw the dashboards from a real Prometheus.")
    parser.add_argument("prometheus", help="its URL")
    parser.add_argument("--minutes", type=float, default=5.0, help="of the past")
    parser.add_argument("--end", type=float, default=None, help="Unix seconds; none: now")
    parser.add_argument("--job", default="doorward", help="as Prometheus calls the workers")
    parser.add_argument("--out", type=Path, default=HERE / "pictures", help="where to")
    asked = parser.parse_args()
    end = asked.end or time.time()
    source = Source(asked.prometheus, asked.job, end - 60 * asked.minutes, end)
    asked.out.mkdir(parents=True, exist_ok=True)
    for file in sorted((HERE / "rendered" / "dashboards").glob("*.json")):
        drawn = picture(json.loads(file.read_text(encoding="utf-8")), source)
        (asked.out / f"{file.stem}.svg").write_text(drawn, encoding="utf-8")
        print(f"{file.stem}.svg: {len(drawn) / 1000:.0f} kB", file=sys.stderr)  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
