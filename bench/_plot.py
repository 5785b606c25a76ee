"""Draws graphs of lines as one SVG: what the plots of `scale` and `plan` share.

Each graph begins at zero on both axes, so that a straight line through the corner is what grows in
proportion.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH, HEIGHT = 560, 300  # of one graph
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 54, 44
COLORS = ("#4e79a7", "#e15759")
INK, FAINT, GRID = "#202124", "#5f6368", "#e8eaed"
ROOM = 1.12  # the largest value lies a little left of the edge
STEPS = 4  # lines above the lowest

Values = Mapping[tuple[str, str], Mapping[str, Any]]
Point = tuple[float, float]


class Line(NamedTuple):
    """Points that belong together."""

    legend: str
    points: Sequence[Point]


class Graph(NamedTuple):
    """What one graph shows: a title, the words below the axis, and one or two lines."""

    title: str
    below: str
    lines: Sequence[Line]


def values_of(text: str) -> Values:
    """The cases of the last line by name and unit. Raises KeyError or ValueError if it is no such line."""
    cases = json.loads(text.strip().splitlines()[-1])["cases"]
    return {(case["case"], case["unit"]): case for case in cases}


def picture(drawn: Sequence[Graph]) -> str:
    """All graphs in two columns."""
    height = HEIGHT * ((len(drawn) + 1) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" '
        'font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, graph in enumerate(drawn):
        parts.append(f'<g transform="translate({number % 2 * WIDTH},{number // 2 * HEIGHT})">')
        parts += _graph(graph)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _graph(graph: Graph) -> Iterator[str]:
    inner_x, inner_y = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most_x = max(x for line in graph.lines for x, _ in line.points) * ROOM
    most_y = STEPS * _round_step(max(y for line in graph.lines for _, y in line.points) / STEPS)
    yield _text(LEFT, 20, graph.title, size=14, weight="bold")
    yield _text(LEFT + inner_x / 2, HEIGHT - 8, graph.below, anchor="middle", color=FAINT)
    for step in range(STEPS + 1):
        y = TOP + inner_y * (1 - step / STEPS)
        yield f'<line x1="{LEFT}" x2="{LEFT + inner_x}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield _text(LEFT - 6, y + 4, _number(most_y * step / STEPS), anchor="end", color=FAINT)
    for x in sorted({x for line in graph.lines for x, _ in line.points}):
        yield _text(LEFT + inner_x * x / most_x, HEIGHT - 26, _number(x), anchor="middle", color=FAINT)
    for number, line in enumerate(graph.lines):
        color = COLORS[number]
        places = [(LEFT + inner_x * x / most_x, TOP + inner_y * (1 - y / most_y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>'
        yield _text(LEFT + number * 90, 40, line.legend, color=color)


def _round_step(least: float) -> float:
    """The next number from ``least`` up that people count by: 1, 2 or 5, and a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= least)


def _number(value: float) -> str:
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}"


def _text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 12,
    anchor: str = "start",
    weight: str = "normal",
    color: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{color}">{escape(words)}</text>'
    )
