"""Shows a run as it happens: a live table on a terminal, else one line for every change."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from controller.process import clock
from lab.demo.picture import Moment, Picture

REFRESH_S = 0.5
MOMENTS_SHOWN = 12
_STATE_STYLE = {
    "healthy": "green",
    "degraded": "yellow",
    "recovering": "cyan",
    "down": "bold red",
    "unknown": "dim",
}
_KIND_STYLE = {"phase": "bold", "fault": "red", "state": "yellow", "route": "cyan", "client": "magenta"}


class Screen(Protocol):
    """Where a run is shown."""

    def say(self, text: str) -> None: ...
    def refresh(self, picture: Picture) -> None: ...
    def close(self) -> None: ...


class Lines:
    """One line for every change, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_ms = clock.now_ms()
        self._shown = 0

    def say(self, text: str) -> None:
        """Something outside the run itself, such as its preparation."""
        self._console.print(Text(text), soft_wrap=True)

    def refresh(self, picture: Picture) -> None:
        """What is new."""
        for moment in picture.moments[self._shown :]:
            self._console.print(line_of(moment, self._began_ms), soft_wrap=True)
        self._shown = len(picture.moments)

    def close(self) -> None:
        """Nothing is held open."""


class Live_:  # noqa: N801 (rich has the name)
    """A table of pools that moves, and what has happened of late."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_ms = clock.now_ms()
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Above the table."""
        self._console.print(Text(text), soft_wrap=True)

    def refresh(self, picture: Picture) -> None:
        """Draw it anew."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        moments = [line_of(one, self._began_ms) for one in picture.moments[-MOMENTS_SHOWN:]]
        self._live.update(Group(table_of(picture, clock.now_ms()), *moments), refresh=True)

    def close(self) -> None:
        """Leave the last picture standing."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def screen(console: Console, *, plain: bool) -> Screen:
    """The right one for this output."""
    return Live_(console) if console.is_terminal and not plain else Lines(console)


async def keep_refreshing(on: Screen, picture: Picture) -> None:
    """Until cancelled."""
    while True:
        on.refresh(picture)
        await asyncio.sleep(REFRESH_S)


def line_of(moment: Moment, began_ms: int) -> Text:
    """PURE: one line of the timeline."""
    text = Text(f"{(moment.at_ms - began_ms) / 1_000:6.1f} s  ", style="dim")
    text.append(f"{moment.kind:<6} {moment.text}", style=_KIND_STYLE.get(moment.kind, ""))
    return text


def table_of(picture: Picture, now_ms: int) -> Table:
    """PURE: where load goes now."""
    counts = picture.outcomes
    title = f"{counts['ok']} answered, {counts['shed']} shed, {counts['failed']} failed"
    table = Table(title=title, title_justify="left", expand=False, pad_edge=False)
    headings = ("pool", "state", "weight", "", "req/s", "tokens/s", "of", "429/s", "fault", "why")
    for name in headings:
        left = name in ("pool", "state", "", "fault", "why")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    provider = ""
    for view in picture.views(now_ms):
        own = view.pool.split("/", 1)[0]
        if provider and own != provider:
            table.add_section()
        provider = own
        row: tuple[Any, ...] = (
            view.pool,
            Text(view.state, style=_STATE_STYLE.get(view.state, "")),
            f"{100 * view.share:.1f} %",
            Text("█" * round(40 * view.share), style="cyan"),
            f"{view.requests_per_s:.0f}",
            f"{view.tokens_per_s:.0f}",
            f"{view.capacity_per_s:.0f}",
            f"{view.throttled_per_s:.0f}" if view.throttled_per_s else "",
            Text(view.fault, style="bold red"),
            Text(view.reason, style="dim"),
        )
        table.add_row(*row)
    return table
