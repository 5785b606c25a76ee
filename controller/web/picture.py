"""The newest picture of the live page, in memory: its sections, the moment it shows, and who waits for it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from controller.status.live import Moment
from controller.web.live import Sections, change_between

REPEAT_EVERY_S = 2.0  # a stream says this often that it is alive, changed or not
NOTHING_YET = "The tables of Kafka and Redis are being read."


class Shown(NamedTuple):
    """One picture. ``number`` counts them; 0 is none. ``at_ms``: when it was made."""

    number: int
    sections: Sections
    at_ms: int


NO_PICTURE = Shown(0, {}, 0)


class Picture:
    """Holds what the page shows. Somebody draws it (``watch``) while somebody looks at it (``looked_at``).

    ``moment``: what a question "what if" is asked about. ``error``: why there is no newer picture, empty
    if nothing is wrong.
    """

    def __init__(self) -> None:
        self.shown = NO_PICTURE
        self.moment: Moment | None = None
        self.error = NOTHING_YET
        self.readers = 0
        self._encoded: dict[int, bytes] = {}  # by the number of the picture that a reader has
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()

    def show(self, sections: Sections, at_ms: int, moment: Moment | None) -> None:
        """Shows this from now on."""
        self.shown = Shown(self.shown.number + 1, sections, at_ms)
        self.moment, self.error = moment, ""
        self._tell()

    def fail(self, error: str) -> None:
        """Says why there is no newer picture; the last one stays."""
        if error != self.error:
            self.error = error
            self._tell()

    async def wanted(self) -> None:
        """Returns as soon as somebody looks."""
        await self._wanted.wait()

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Somebody looks as long as the context lasts."""
        self.readers += 1
        self._wanted.set()
        try:
            yield
        finally:
            self.readers -= 1
            if not self.readers:
                self._wanted.clear()

    async def events(self, repeat_every_s: float = REPEAT_EVERY_S) -> AsyncGenerator[bytes, None]:
        """The events of one reader: everything first, then what changed since the event before.

        What was overtaken before the reader asked for its next event is left out.
        """
        with self.looked_at():
            before = NO_PICTURE
            while True:
                shown = self.shown
                yield self._event(before) if shown.number else _event("waiting", {"why": self.error})
                before = shown
                if self.shown is shown:
                    await self._next_change(repeat_every_s)

    async def _next_change(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _event(self, before: Shown) -> bytes:
        """What a reader needs that has this picture. Readers that have the same one share one encoding."""
        event = self._encoded.get(before.number)
        if event is None:
            event = self._encoded[before.number] = _encode(before, self.shown)
        return event

    def _tell(self) -> None:
        self._encoded.clear()
        self._changed.set()
        self._changed = asyncio.Event()


def _encode(before: Shown, after: Shown) -> bytes:
    if not before.number:
        return _event("state", {"at_ms": after.at_ms, "sections": after.sections})
    change = change_between(before.sections, after.sections)
    message = {"at_ms": after.at_ms, "sections": change.sections, "rows": change.rows, "gone": change.gone}
    return _event("change", message)


def _event(kind: str, data: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
