"""Draws what `quality` measured: script/bench quality --json | python -m bench._quality_plot FILE.svg

In: the lines of a benchmark, of which the last is its JSON. Out: one SVG with a row of bars for each incident
and in it one bar for each product: the share of all demand that was *not* served, because the products differ
there. It also prints the table of docs/quality.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from bench.quality import OPTIMUM, ROUTERS, TIELINE, UNITS, UNSTATED

PRODUCTS = (*ROUTERS, UNSTATED, TIELINE)
COLORS = ("#9aa0a6", "#e15759", "#f28e2b", "#a0cbe8", "#4e79a7")
INK, FAINT, GRID = "#202124", "#5f6368", "#e8eaed"
WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 900, 270, 90, 60, 13, 22
MOST = 22.0  # percent of demand at the right edge
STEP = 5

Figures: TypeAlias = dict[str, dict[str, dict[str, float]]]
"""By incident, product and unit."""


def figures_of(text: str) -> Figures:
    """The figures of the last line. Raises KeyError or ValueError if it is no such line."""
    figures: Figures = {}
    cases: list[Mapping[str, Any]] = json.loads(text.strip().splitlines()[-1])["cases"]
    for case in cases:
        incident, _, product = str(case["case"]).partition(", ")
        figures.setdefault(incident, {}).setdefault(product, {})[case["unit"]] = float(case["p50"])
    return figures


def picture(figures: Figures) -> str:
    """The bars of all incidents, longer for more demand that was not served."""
    incidents = [name for name in figures if name != "mean"]
    height = TOP + len(incidents) * (len(PRODUCTS) * BAR + GAP) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(LEFT, 20, "Demand that was not served, % (shorter is better)", 14),
        *_legend(),
        *_grid(height),
    ]
    for row, incident in enumerate(incidents):
        top = TOP + row * (len(PRODUCTS) * BAR + GAP)
        parts.append(_text(10, top + len(PRODUCTS) * BAR / 2 + 4, incident, 12))
        parts += _bars(figures[incident], top)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(products: Mapping[str, Mapping[str, float]], top: float) -> Iterator[str]:
    for place, (product, color) in enumerate(zip(PRODUCTS, COLORS, strict=True)):
        lost = max(0.0, 100 - products[product][UNITS["total"]])
        width, y = _x(min(lost, MOST)) - LEFT, top + place * BAR
        yield f'<rect x="{LEFT}" y="{y}" width="{max(width, 1):.1f}" height="{BAR - 2}" fill="{color}"/>'
        yield _text(LEFT + width + 6, y + BAR - 3, f"{lost:.2f}", 10, FAINT)


def _legend() -> Iterator[str]:
    x = 10.0
    for product, color in zip(PRODUCTS, COLORS, strict=True):
        yield f'<rect x="{x}" y="32" width="10" height="10" fill="{color}"/>'
        yield _text(x + 15, 41, product, 11)
        x += 45 + 6.5 * len(product)


def _grid(height: float) -> Iterator[str]:
    for percent in range(0, int(MOST) + 1, STEP):
        x = _x(percent)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 26}" stroke="{GRID}"/>'
        yield _text(x - 4, height - 10, str(percent), 11, FAINT)


def _x(percent: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * percent / MOST


def _text(x: float, y: float, words: str, size: int, color: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}">{escape(words)}</text>'


def table(figures: Figures) -> Iterator[str]:
    """The lines of a table in Markdown; what never happened is a dash."""
    yield "| incident | product | " + " | ".join(UNITS.values()) + " |"
    yield "|---|---|" + "---:|" * len(UNITS)
    for incident, products in figures.items():
        for product in (*PRODUCTS, OPTIMUM):
            values = [products[product].get(unit) for unit in UNITS.values()]
            cells = ["-" if value is None else f"{value:,.4g}" for value in values]
            yield f"| {incident} | {product} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    measured = figures_of(sys.stdin.read())
    Path(sys.argv[1]).write_text(picture(measured))
    sys.stdout.write("\n".join(table(measured)) + "\n")
