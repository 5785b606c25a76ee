"""What `tieline status` draws on a terminal."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.cli.terminal import described, taken_back_by
from controller.core.model.words import duration, sentence
from controller.process.settings import UNSIGNED_NOTICE

if TYPE_CHECKING:
    from controller.cli.status import Status

COLOURS = {"healthy": "green", "degraded": "yellow", "down": "red", "recovering": "cyan", "unknown": "dim"}


def draw(status: "Status", console: Console) -> None:
    """Head, alarms, orders in force, what modes hold back, providers, pools, and routes that shed."""
    console.print(Text(head(status)))
    for line in status.missing:
        console.print(Text(line, style="yellow"))
    for alarm in status.alarms:
        console.print(Text(f"alarm: {sentence(alarm, status.at_ms)}", style="red"))
    if status.commands:
        console.print(_orders(status))
    for verdict in status.withheld:
        console.print(Text(f"held back: {sentence(verdict, status.at_ms)}", style="yellow"))
    console.print(_providers(status))
    console.print(_pools(status))
    for route in status.overview.routes:
        if route.shed:
            console.print(Text(f"{route.route} sheds {route.shed:.1%}: {route.why}", style="red"))


def head(status: "Status") -> str:
    """Generation, its age, the leader and the mode in one line."""
    parts = [f"generation {status.generation}, published {_ago(status.at_ms - status.published_ms)}"]
    if status.leader is None:
        parts.append("leader not known")
    elif status.leader.resigned:
        parts.append(f"no leader: epoch {status.leader.epoch} resigned")
    else:
        heard = _ago(status.at_ms - status.leader.heard_ms)
        parts.append(
            f"leader {status.leader.identity[:8] or '?'} (epoch {status.leader.epoch}) heard {heard}"
        )
    if status.unsigned_dev_mode:
        parts.append(UNSIGNED_NOTICE)
    return "; ".join(parts)


def _ago(length_ms: int) -> str:
    return f"{duration(max(length_ms, 0))} ago"


def _orders(status: "Status") -> Table:
    table = Table(title="orders in force", title_justify="left")
    for heading in ("order", "by", "why", "ends in", "taken back by"):
        table.add_column(heading)
    for order in status.commands:
        left_ms = max((order.expires_ms or 0) - status.at_ms, 0)
        table.add_row(described(order), order.actor, order.reason, duration(left_ms), taken_back_by(order))
    return table


def _providers(status: "Status") -> Table:
    table = Table(title="providers", title_justify="left")
    for heading in ("provider", "pools", "capacity/s", "load/s", "weight"):
        table.add_column(heading, justify="left" if heading in ("provider", "pools") else "right")
    for row in status.overview.providers:
        states = ", ".join(f"{count} {state}" for state, count in row.states.items())
        table.add_row(
            row.provider,
            states,
            _units(row.capacity_units_per_s),
            _units(row.load_units_per_s),
            f"{row.weight:.1%}",
        )
    return table


def _pools(status: "Status") -> Table:
    table = Table(title="pools", title_justify="left")
    for heading in ("pool", "state", "capacity/s", "load/s", "weight", "for", "why"):
        table.add_column(
            heading, justify="right" if heading in ("capacity/s", "load/s", "weight") else "left"
        )
    for row in status.overview.pools:
        since = "" if row.since_ms is None else duration(max(status.at_ms - row.since_ms, 0))
        table.add_row(
            row.pool,
            Text(row.state, style=COLOURS.get(row.state, "")),
            _units(row.capacity_units_per_s),
            _units(row.load_units_per_s),
            f"{row.weight:.1%}",
            since,
            row.why,
        )
    return table


def _units(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
