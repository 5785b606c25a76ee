"""Draws a dashboard of deploy/grafana as one SVG, from what a Prometheus recorded.

    python -m tools.dashboard_picture http://127.0.0.1:9090 tieline-routing START END >picture.svg

START and END are seconds since 1970. Grafana draws the same panels and queries, with more comfort. This is
for pages of the documentation, and for a look where there is no Grafana.
"""

import json
import sys
from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

from tools.dashboards import STATES, dashboard

CELL_X, CELL_Y = 50, 24
PAD, HEAD, FOOT = 8, 20, 30
STEPS = 160
LEGENDS_MAX = 8
COLORS = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#76b7b2",
    "#b07aa1",
    "#9c755f",
    "#edc948",
    "#ff9da7",
    "#86bcb6",
)
STATE_COLORS = {5: "#59a14f", 4: "#edc948", 3: "#4e79a7", 2: "#9aa0a6", 1: "#e15759"}
SCALES = {"percentunit": (100.0, " %"), "s": (1_000.0, " ms"), "bytes": (1 / 1_048_576, " MiB")}


class Line(NamedTuple):
    """One series: its legend, and (second, value) pairs."""

    legend: str
    points: list[tuple[float, float]]


class Box(NamedTuple):
    """Where a panel is, in pixels."""

    x: float
    y: float
    width: float
    height: float


class Span(NamedTuple):
    """The time that is drawn, in seconds since 1970."""

    start_s: float
    end_s: float

    def place(self, at_s: float) -> float:
        """From 0 at the start to 1 at the end."""
        return (at_s - self.start_s) / (self.end_s - self.start_s)


def lines_of(url: str, target: dict[str, str], span: Span) -> list[Line]:
    """What Prometheus recorded for one query of a panel."""
    step_s = max(1.0, (span.end_s - span.start_s) / STEPS)
    query = {"query": target["expr"], "start": span.start_s, "end": span.end_s, "step": step_s}
    with urlopen(f"{url}/api/v1/query_range?{urlencode(query)}", timeout=30) as answer:
        series = json.load(answer)["data"]["result"]
    lines = []
    for entry in series:
        legend = target["legendFormat"]
        for name, value in entry["metric"].items():
            legend = legend.replace(f"{{{{{name}}}}}", value)
        points = [(float(at), float(value)) for at, value in entry["values"] if value != "NaN"]
        lines.append(Line(legend, points))
    return sorted(lines, key=lambda line: line.legend)


def picture(url: str, uid: str, span: Span) -> str:
    """The whole page."""
    board = dashboard(uid)
    height = max(entry["gridPos"]["y"] + entry["gridPos"]["h"] for entry in board["panels"]) * CELL_Y + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * CELL_X} {height}" '
        'font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="#f4f5f7"/>',
        _text(PAD, 26, board["title"], size=18, weight="bold"),
    ]
    for entry in board["panels"]:
        place = entry["gridPos"]
        box = Box(place["x"] * CELL_X, place["y"] * CELL_Y + 40, place["w"] * CELL_X, place["h"] * CELL_Y)
        parts += _panel(url, entry, box, span)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(url: str, entry: dict[str, Any], box: Box, span: Span) -> Iterator[str]:
    if entry["type"] == "row":
        yield _text(box.x + PAD, box.y + 17, entry["title"], size=14, weight="bold")
        return
    lines = [line for target in entry["targets"] for line in lines_of(url, target, span)]
    unit = entry["fieldConfig"]["defaults"]["unit"]
    yield (
        f'<rect x="{box.x + 3}" y="{box.y + 3}" width="{box.width - 6}" height="{box.height - 6}" rx="4" '
        'fill="#fff" stroke="#d8dbe0"/>'
    )
    yield _text(box.x + PAD + 2, box.y + HEAD, entry["title"], weight="bold")
    inner = Box(box.x + 52, box.y + HEAD + 8, box.width - 64, box.height - HEAD - FOOT - 16)
    match entry["type"]:
        case "stat":
            values = [line.points[-1][1] for line in lines if line.points]
            words = _shown(values[0], unit) if values else "-"
            yield _text(box.x + box.width / 2, box.y + box.height - 24, words, size=26, anchor="middle")
        case "state-timeline":
            yield from _timeline(lines, box, span)
        case _:
            stacked = entry["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
            yield from _graph(_stacked(lines) if stacked else lines, inner, span, unit)
            yield from _legend(lines, box)


def _stacked(lines: list[Line]) -> list[Line]:
    """Each line on top of those before it."""
    sums: dict[float, float] = {}
    result = []
    for line in lines:
        points = []
        for at_s, value in line.points:
            sums[at_s] = sums.get(at_s, 0.0) + value
            points.append((at_s, sums[at_s]))
        result.append(Line(line.legend, points))
    return result


def _graph(lines: list[Line], box: Box, span: Span, unit: str) -> Iterator[str]:
    values = [value for line in lines for _, value in line.points]
    least, most = min([0.0, *values]), max([0.0, *values]) or 1.0
    for share in (0.0, 0.5, 1.0):
        y = box.y + box.height * (1 - share)
        yield f'<line x1="{box.x}" x2="{box.x + box.width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e8eaed"/>'
        words = _shown(least + (most - least) * share, unit)
        yield _text(box.x - 4, y + 4, words, size=10, anchor="end", color="#5f6368")
    gap_s = 3 * (span.end_s - span.start_s) / STEPS
    for number, line in enumerate(lines):
        path: list[str] = []
        before_s = 0.0
        for at_s, value in line.points:
            x = box.x + box.width * span.place(at_s)
            y = box.y + box.height * (1 - (value - least) / (most - least))
            path.append(f"{'L' if path and at_s - before_s <= gap_s else 'M'}{x:.1f},{y:.1f}")
            before_s = at_s
        color = COLORS[number % len(COLORS)]
        yield f'<path d="{"".join(path)}" fill="none" stroke="{color}" stroke-width="1.5"/>'


def _timeline(lines: list[Line], box: Box, span: Span) -> Iterator[str]:
    left, width = box.x + 190, box.width - 206
    height = (box.height - HEAD - FOOT - 8) / max(1, len(lines))
    for row, line in enumerate(lines):
        y = box.y + HEAD + 8 + row * height
        yield _text(
            left - 6, y + height * 0.75, line.legend, size=min(10, height), anchor="end", color="#5f6368"
        )
        for index, (at_s, value) in enumerate(line.points):
            if index and line.points[index - 1][1] == value:
                continue
            rest = (at for at, other in line.points[index:] if other != value)
            until_s = next(rest, span.end_s)
            x, end = left + width * span.place(at_s), left + width * span.place(until_s)
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{end - x:.1f}" height="{height - 2:.1f}" '
                f'fill="{STATE_COLORS[int(value)]}"/>'
            )
    entries = [(STATES[number][0], STATE_COLORS[number]) for number in sorted(STATES, reverse=True)]
    yield from _keys(entries, box)


def _legend(lines: list[Line], box: Box) -> Iterator[str]:
    names = [line.legend for line in lines]
    entries = [(name, COLORS[number % len(COLORS)]) for number, name in enumerate(names[:LEGENDS_MAX])]
    if len(names) > LEGENDS_MAX:
        entries.append((f"and {len(names) - LEGENDS_MAX} more", "#fff"))
    yield from _keys(entries, box)


def _keys(entries: list[tuple[str, str]], box: Box) -> Iterator[str]:
    x, y = box.x + PAD + 2, box.y + box.height - FOOT + 8
    for name, color in entries:
        width = 18 + 5.6 * len(name)
        if x + width > box.x + box.width and x > box.x + PAD + 2:
            x, y = box.x + PAD + 2, y + 13
        if y > box.y + box.height - 6:
            return
        yield f'<rect x="{x}" y="{y - 7}" width="8" height="8" fill="{color}"/>'
        yield _text(x + 11, y, name, size=10, color="#3c4043")
        x += width


def _shown(value: float, unit: str) -> str:
    factor, words = SCALES.get(unit, (1.0, ""))
    number = value * factor
    return f"{number:,.0f}{words}" if abs(number) >= 10 or number == int(number) else f"{number:.2g}{words}"


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 12,
    anchor: str = "start",
    weight: str = "normal",
    color: str = "#202124",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{color}">{escape(words)}</text>'
    )


if __name__ == "__main__":
    source, name, first, last = sys.argv[1:5]
    sys.stdout.write(picture(source, name, Span(float(first), float(last))))
