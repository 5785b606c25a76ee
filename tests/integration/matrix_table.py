"""Reads outcomes.md: which fault leads to which outcome for which kind of request."""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("outcomes.md")


class Row(NamedTuple):
    """One fault, as an order to a stand-in, and the outcome by column. Without an order there is no fault.
    ``everywhere``: it strikes both pools."""

    order: dict[str, Any] | None
    everywhere: bool
    outcomes: dict[str, str]


def rows(text: str) -> list[Row]:
    """The faults, in the order of the file."""
    titles, *lines = _table(text, "fault")
    return [
        Row(_order(fault), "everywhere" in fault, dict(zip(titles[1:], cells, strict=True)))
        for fault, *cells in lines
    ]


def statuses(text: str) -> dict[int, str]:
    """status -> outcome. A row of the file is for one status or for a range."""
    outcomes: dict[int, str] = {}
    for span, result in _table(text, "status")[1:]:
        first, _, last = span.partition("-")
        outcomes.update(dict.fromkeys(range(int(first), int(last or first) + 1), result))
    return outcomes


def _table(text: str, title: str) -> list[list[str]]:
    """The cells of the table whose first column has this title, the titles first."""
    lines = itertools.dropwhile(lambda line: not line.startswith(f"| {title} |"), text.splitlines())
    whole = itertools.takewhile(lambda line: line.startswith("|"), lines)
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in whole]
    return [cells[0], *cells[2:]]


def _order(fault: str) -> dict[str, Any] | None:
    """``kind`` or ``kind {"field": value}``, between backticks; None without them."""
    if "`" not in fault:
        return None
    kind, _, fields = fault.split("`")[1].partition(" ")
    return {"kind": kind, **(json.loads(fields) if fields else {})}
