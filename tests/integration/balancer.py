"""A TCP load balancer that can lose its memory, for the tests beside this."""

from __future__ import annotations

import asyncio
import contextlib

from lab.stack.server import LOOPBACK


class Balancer:
    """A TCP load balancer in front of one port of loopback. ``forget``: what is open stays open and leads
    nowhere."""

    def __init__(self) -> None:
        self.leads_to = 0
        self._server: asyncio.Server | None = None
        self._generation = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str = LOOPBACK, port: int = 0) -> None:
        """Listens at this address; 0 stands for any free port."""
        self._server = await asyncio.start_server(self._serve, host, port)

    def refuse(self) -> None:
        """Nobody is let in any more. What is open stays as it is."""
        assert self._server is not None
        self._server.close()

    async def stop(self) -> None:
        """Nothing answers there any more."""
        self.refuse()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self) -> None:
        self._generation += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = self._generation
        try:
            there, back = await asyncio.open_connection(LOOPBACK, self.leads_to)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._copy(source, sink, generation)))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, generation: int) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if generation == self._generation:
                    sink.write(data)
            if generation == self._generation:
                sink.close()
