"""`tieline status --watch`: the status on the whole screen, as it changes, with keys.

``watch_view`` says what is shown and what keys do. Here is the loop: a task follows the status, another works
out an explanation when one is asked for, and the screen is drawn after each of them, after a key and after a
change of the terminal's size. While nothing can be read the screen says why, and the task goes on trying.
"""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator

import msgspec
from msgspec.structs import replace
from rich.text import Text

from controller.cli.keyboard import FullScreen
from controller.cli.tables import WIDE_COLUMNS
from controller.cli.terminal import Screen
from controller.cli.watch_view import View, frame, page_rows, pressed, rows_of
from controller.process.settings import Settings
from controller.status.following import READING_ERRORS, Following, in_words
from controller.status.gather import Status, status_of
from controller.status.live import present
from tieline.backoff import Backoff
from tieline.cancelling import end_all

RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 5.0
NEEDS_A_TERMINAL = (
    "status --watch needs a terminal: add --json for one JSON object a second, or leave out --watch"
)


def has_terminal() -> bool:
    """Whether keys can be read and a screen be drawn."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


async def watch_lines(settings: Settings) -> None:
    """Prints the status as one JSON object a line, at each publication and otherwise once a second, until it
    is interrupted.

    While nothing can be read the line has ``error`` alone.
    """
    async for status in _statuses(settings):
        line = {"error": status} if isinstance(status, str) else status
        print(msgspec.json.encode(line).decode(), flush=True)


async def _statuses(settings: Settings) -> AsyncIterator[Status | str]:
    """The status at each publication and otherwise once a second, or why there is none now; without end."""
    backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
    while True:
        try:
            async with Following(settings) as following:
                async for findings in following.findings():
                    status = status_of(
                        findings.kafka, findings.redis, findings.at_ms, missing=findings.missing
                    )
                    backoff.reset()
                    yield replace(status, context=settings.context)
        except READING_ERRORS as error:
            yield in_words(error)
            await asyncio.sleep(backoff.next_s())


async def watch(settings: Settings) -> None:
    """Shows the status until `q` or an interrupt."""
    await _Watch(settings).run()


class _Watch:
    """What is shown now, and what wakes the loop that draws it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._view = View()
        self._status: Status | None = None
        self._trouble = ""
        self._changed = asyncio.Event()
        self._explaining: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Draws after every change, until a key ends it."""
        reading = asyncio.create_task(self._read())
        self._changed.set()
        try:
            async with FullScreen(self._on_key, self._changed.set) as screen:
                while self._view.asks != "quit":
                    await self._changed.wait()
                    self._changed.clear()
                    screen.draw(self._drawn())
        finally:
            await end_all({reading} | ({self._explaining} if self._explaining else set()))

    async def _read(self) -> None:
        async for status in _statuses(self._settings):
            if isinstance(status, str):
                self._trouble = status
            else:
                self._status, self._trouble = status, ""
            self._changed.set()

    def _on_key(self, key: str) -> None:
        width, height = os.get_terminal_size()
        if self._status is None:
            self._view = replace(self._view, asks="quit" if key == "q" else "")
        else:
            rows = rows_of(self._status, self._view, is_wide=width >= WIDE_COLUMNS)
            self._view = pressed(self._view, key, rows, page_rows(self._status, height))
        if self._view.asks == "explain":
            self._explain(self._view.selected, width)
        self._changed.set()

    def _explain(self, name: str, width: int) -> None:
        if self._explaining is not None:
            self._explaining.cancel()
        self._view = replace(self._view, detail=(f"{name}: one moment",), top=0)
        self._explaining = asyncio.create_task(self._work_out(name, width))

    async def _work_out(self, name: str, width: int) -> None:
        try:
            lines = await _explanation(self._settings, name, width)
        except READING_ERRORS as error:
            lines = (f"{name}: {in_words(error)}",)
        if self._view.detail is not None:
            self._view = replace(self._view, detail=lines)
            self._changed.set()

    def _drawn(self) -> str:
        width, height = os.get_terminal_size()
        if self._status is None:
            lines = [Text(self._trouble or "reading")]
        else:
            lines = frame(self._status, self._view, width, height)
            if self._trouble:
                lines[0] = Text(self._trouble[:width], style="bold red")
        console = Screen(file=io.StringIO(), force_terminal=True, width=width, highlight=False, emoji=False)
        drawn = []
        for line in lines:
            with console.capture() as captured:
                console.print(line, end="", no_wrap=True, overflow="crop")
            drawn.append(f"{captured.get()}\x1b[K")
        return "\r\n".join(drawn)


async def _explanation(settings: Settings, name: str, width: int) -> tuple[str, ...]:
    """What `tieline explain` says, as lines of this width."""
    from controller.cli.explain import draw, explained  # only for whoever asks

    moment = await present(settings)
    report = await asyncio.to_thread(explained, moment, name)
    console = Screen(file=io.StringIO(), width=width, highlight=False, emoji=False)
    with console.capture() as captured:
        draw(report, console)
    return tuple(captured.get().splitlines())
