"""Shows a run as it happens: a table that updates itself on a terminal, elsewhere a line for every change."""

from __future__ import annotations

import asyncio
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller.cli.tables import WIDE_COLUMNS, fitted_table
from controller.process import clock
from lab.demo.picture import Moment, Picture, PoolView

REFRESH_S = 0.5
MOMENTS_SHOWN = 12
BAR_CHARACTERS = 20
KIND_CHARACTERS = 6
_STATE_STYLE = {
    "healthy": "green",
    "degraded": "yellow",
    "recovering": "cyan",
    "down": "bold red",
    "unknown": "dim",
}
_KIND_STYLE = {"phase": "bold", "fault": "red", "state": "yellow", "routes": "cyan", "status": "dim"}
_HEADINGS = ("pool", "state", "weight", "", "req/s", "tokens/s", "of", "429/s", "why")
_NARROW_HEADINGS = ("pool", "state", "weight", "req/s", "429/s", "why")


class Screen(Protocol):
    """Where a run is shown."""

    def say(self, text: str) -> None: ...
    def refresh(self, picture: Picture) -> None: ...
    def close(self) -> None: ...


class LineScreen:
    """One line for every change, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_ms = clock.now_ms()
        self._count = 0

    def say(self, text: str) -> None:
        """Prints something that is no change of the run, such as its preparation."""
        self._console.print(Text(text), soft_wrap=True)

    def refresh(self, picture: Picture) -> None:
        """Prints the changes since the last call."""
        for moment in picture.moments[self._count :]:
            self._console.print(line_of(moment, self._began_ms), soft_wrap=True)
        self._count = len(picture.moments)

    def close(self) -> None:
        """Does nothing: a printed line stays."""


class TableScreen:
    """A table of the pools, redrawn in place, and the latest changes below it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_ms = clock.now_ms()
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Prints above the table."""
        self._console.print(Text(text), soft_wrap=True)

    def refresh(self, picture: Picture) -> None:
        """Draws the table again."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        lines = [line_of(moment, self._began_ms) for moment in picture.moments[-MOMENTS_SHOWN:]]
        self._live.update(Group(table_of(picture, clock.now_ms(), self._console.width), *lines), refresh=True)

    def close(self) -> None:
        """Leaves the last table on the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def screen_for(console: Console, *, plain: bool) -> Screen:
    """The table on a terminal unless ``plain``, else the lines."""
    return TableScreen(console) if console.is_terminal and not plain else LineScreen(console)


async def keep_refreshing(screen: Screen, picture: Picture) -> None:
    """Refreshes the screen twice a second until cancelled."""
    while True:
        screen.refresh(picture)
        await asyncio.sleep(REFRESH_S)


def line_of(moment: Moment, began_ms: int) -> Text:
    """PURE: one line of the timeline."""
    text = Text(f"{(moment.at_ms - began_ms) / 1_000:6.1f} s  ", style="dim")
    text.append(f"{moment.kind:<{KIND_CHARACTERS}} {moment.text}", style=_KIND_STYLE.get(moment.kind, ""))
    return text


def table_of(picture: Picture, now_ms: int, width: int) -> Table:
    """PURE: every pool with its state and load, within ``width`` columns."""
    counts = picture.outcomes
    title = f"{counts['ok']} answered, {counts['shed']} shed, {counts['failed']} failed"
    headings = _HEADINGS if width >= WIDE_COLUMNS else _NARROW_HEADINGS
    rows = []
    for view in picture.views(now_ms):
        cells = _cells(view)
        rows.append(tuple(cells[heading] for heading in headings))
    return fitted_table(title, headings, rows, width)


def _cells(view: PoolView) -> dict[str, Text]:
    """The cells by their headings. What is done to the pool stands before why it is in its state."""
    why = Text(view.fault, style="bold red")
    why.append(f"{', ' if view.fault and view.reason else ''}{view.reason}", style="dim")
    return {
        "pool": Text(view.pool),
        "state": Text(view.state, style=_STATE_STYLE.get(view.state, "")),
        "weight": Text(f"{100 * view.share:.1f} %"),
        "": Text("█" * round(BAR_CHARACTERS * view.share), style="cyan"),
        "req/s": Text(f"{view.requests_per_s:.0f}"),
        "tokens/s": Text(f"{view.tokens_per_s:.0f}"),
        "of": Text(f"{view.capacity_per_s:.0f}"),
        "429/s": Text(f"{view.throttled_per_s:.0f}" if view.throttled_per_s else ""),
        "why": why,
    }
