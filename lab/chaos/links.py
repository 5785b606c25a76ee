"""TCP proxies on loopback between two parts: cut, held still, slowed down, or whole.

A link forwards bytes and looks at none. What it did is counted, as proof that a fault was in force.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from lab.stack.server import LOOPBACK
from tieline.cancelling import end_all

BLOCK_BYTES = 64 * 1024
RESENT_AFTER_S = 0.2  # how long TCP takes to send a lost packet again, about


class Link:
    """One proxy. ``target_port`` may be set after the start, and before the first connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.target_port = 0
        self.blocks = 0  # forwarded so far
        self.refused = 0  # connections that were turned away by ``cut``
        self.slowed = 0  # blocks that were delayed
        self.waiting = 0  # blocks that a held link has in its hands now
        self._is_cut = False
        self._delay_s = 0.0
        self._loss = 0.0
        self._trigger: Callable[[bytes], bool] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._chance = random.Random(1)

    async def start(self) -> None:
        """Listens from now on, on a port that nobody used."""
        self._server = await asyncio.start_server(self._connected, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends all connections, and listens no more."""
        if self._server is not None:
            self._server.close()
        self._abort_all()
        await end_all(self._tasks)

    def cut(self) -> None:
        """Resets all connections, and turns new ones away."""
        self._is_cut = True
        self._abort_all()

    def hold(self) -> None:
        """Forwards nothing from now on; connections stay open, as behind a cable that was pulled out."""
        self._open.clear()

    def hold_when(self, trigger: Callable[[bytes], bool]) -> None:
        """Holds still from the first block on for which this is true, that block included."""
        self._trigger = trigger

    def slow(self, delay_s: float, loss: float = 0.0) -> None:
        """Delays each block, and that share of them by as much more as sending a lost packet again takes."""
        self._delay_s, self._loss = delay_s, loss

    def mend(self) -> None:
        """Whole again, and counting anew. What a held link has in its hands goes on its way."""
        self.refused = self.slowed = 0
        self._is_cut, self._delay_s, self._loss, self._trigger = False, 0.0, 0.0, None
        self._open.set()

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        pumps = (self._pump(reader, far_writer), self._pump(far_reader, writer))
        try:
            await asyncio.gather(*pumps)
        finally:
            self._writers -= ends
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards one direction until its end, and passes the end on."""
        with suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                if self._trigger is not None and self._trigger(block):
                    self.hold()
                await self._pass()
                writer.write(block)
                self.blocks += 1
                await writer.drain()
        with suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()

    async def _pass(self) -> None:
        if not self._open.is_set():
            self.waiting += 1
            try:
                await self._open.wait()
            finally:
                self.waiting -= 1
        delay_s = self._delay_s
        if self._loss and self._chance.random() < self._loss:
            delay_s += RESENT_AFTER_S
        if delay_s:
            self.slowed += 1
            await asyncio.sleep(delay_s)
