"""What `tieline status` draws on a terminal: its head (``status_head``), then orders, providers and pools.

Names are never cut. On a narrow terminal columns that can be missed are left out, and only the reasons are
cut at their ends; `tieline explain` says them whole.
"""

from math import isinf
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.cli.tables import WIDE_COLUMNS, fitted_table
from controller.core.model.words import duration
from controller.core.orders.words import described
from controller.status.head import head
from controller.status.words import taken_back_by

if TYPE_CHECKING:
    from controller.status.gather import Status

COLOURS = {"healthy": "green", "degraded": "yellow", "down": "red", "recovering": "cyan", "unknown": "dim"}


def draw(status: "Status", console: Console) -> None:
    """The head, orders in force, providers, and pools."""
    for line in head(status):
        console.print(Text(line.text, style=line.style))
    if status.commands:
        console.print(_orders(status, console.width))
    console.print(_providers(status, console.width))
    console.print(_pools(status, console.width))


def _orders(status: "Status", width: int) -> Table:
    is_wide = width >= WIDE_COLUMNS
    rows = []
    for order in status.commands:
        left_ms = max((order.expires_ms or 0) - status.at_ms, 0)
        cells = [described(order), duration(left_ms), order.actor]
        if is_wide:
            cells.append(taken_back_by(order))
        rows.append(tuple(map(Text, (*cells, order.reason))))
    headings = ("order", "ends in", "by", *(("taken back by",) if is_wide else ()), "why")
    return fitted_table("orders in force", headings, rows, width)


def _providers(status: "Status", width: int) -> Table:
    rows = []
    for row in status.overview.providers:
        states = ", ".join(f"{count} {state}" for state, count in row.states.items())
        figures = (_units(row.capacity_units_per_s), _units(row.load_units_per_s), f"{row.weight:.1%}")
        rows.append(tuple(map(Text, (row.provider, *figures, states))))
    return fitted_table("providers", ("provider", "stated/s", "load/s", "weight", "pools"), rows, width)


def _pools(status: "Status", width: int) -> Table:
    headings, rows = pool_cells(status, is_wide=width >= WIDE_COLUMNS)
    return fitted_table("pools", headings, rows, width)


def pool_cells(status: "Status", *, is_wide: bool) -> tuple[tuple[str, ...], list[tuple[Text, ...]]]:
    """The headings of the table of pools, and its cells: a row for each pool, which begins with its name."""
    rows = []
    for row in status.overview.pools:
        since = "" if row.since_ms is None else duration(max(status.at_ms - row.since_ms, 0))
        figures = [_units(row.load_units_per_s), _units(row.usable_units_per_s), f"{row.weight:.1%}"]
        if is_wide:
            figures = [*figures[:2], _units(row.capacity_units_per_s), figures[2], since]
        state = Text(row.state, style=COLOURS.get(row.state, ""))
        rows.append((Text(row.pool), state, *map(Text, figures), Text(row.why)))
    wide = ("pool", "state", "load/s", "usable/s", "stated/s", "weight", "for", "why")
    narrow = tuple(heading for heading in wide if heading not in ("stated/s", "for"))
    return wide if is_wide else narrow, rows


def route_cells(status: "Status", *, is_wide: bool) -> tuple[tuple[str, ...], list[tuple[Text, ...]]]:
    """The same of routes: what is shed, by whom each is carried, and why load is shed."""
    rows: list[tuple[Text, ...]] = []
    for row in status.overview.routes:
        largest = sorted(row.shares.items(), key=lambda item: (-item[1], item[0]))
        carriers = ", ".join(f"{pool} {share:.0%}" for pool, share in largest[: 4 if is_wide else 2])
        shed = Text(f"{row.shed:.1%}", style="bold red" if row.shed else "")
        text = "; ".join(filter(None, (row.why if row.shed else "", carriers)))
        rows.append((Text(row.route), Text(row.criticality), shed, Text(str(len(row.shares))), Text(text)))
    return ("route", "criticality", "shed", "pools", "carried by"), rows


def _units(value: float | None) -> str:
    """Nothing where it is not known, or where nothing binds: a provider in mode observe has no limit."""
    return "-" if value is None or isinf(value) else f"{value:,.0f}"
