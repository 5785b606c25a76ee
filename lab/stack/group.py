"""Servers that belong together: they know each other's ports before the first starts, and act as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lab.errors import ChildError
from lab.stack.server import PORT_CHOICES_MAX, Server, free_ports, is_free

FORMED_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1


class ServerGroup:
    """Servers of which each can be stopped, killed, paused and started again by itself.

    The methods of the group act on all of them. `name` is what messages call it.
    """

    name: str

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = list(servers)

    async def formed(self) -> bool:
        """Whether the servers, which all answer, have come together."""
        return True

    @property
    def running(self) -> bool:
        """Whether all processes exist; a paused one does."""
        return all(server.running for server in self._servers)

    async def start(self) -> None:
        """Starts the servers that don't run, and returns once they have come together. Raises ChildError."""
        await self.start_all()
        await self.until_formed()

    async def until_formed(self) -> None:
        """Returns once the servers, which all answer, have come together. Raises ChildError."""
        try:
            async with asyncio.timeout(FORMED_WITHIN_S):
                while not await self.formed():  # noqa: ASYNC110 (nothing tells of it)
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            await self.kill()
            raise ChildError(
                f"the servers of {self.name} did not come together within {FORMED_WITHIN_S:g} s"
            ) from None

    async def start_all(self) -> None:
        """Returns once all servers answer. Raises ChildError.

        As with one server, the first start chooses other ports if another program has taken one.
        """
        first_start = not any(server.pid for server in self._servers)
        for choice in range(1, PORT_CHOICES_MAX + 1):
            if first_start and (choice > 1 or not self._can_listen()):
                self._choose_ports()
            for server in self._servers:
                server.ports_are_planned = True
            ends = await asyncio.gather(*(server.start() for server in self._servers), return_exceptions=True)
            failures = [end for end in ends if isinstance(end, BaseException)]
            if not failures:
                return
            await self.kill()
            port_taken = any("already in use" in str(failure) for failure in failures)
            if not first_start or not port_taken or choice == PORT_CHOICES_MAX:
                raise failures[0]

    def _choose_ports(self) -> None:
        ports = iter(free_ports(sum(server.ports_needed for server in self._servers)))
        for server in self._servers:
            server.ports = tuple(next(ports) for _ in range(server.ports_needed))

    def _can_listen(self) -> bool:
        return all(server.ports and all(map(is_free, server.ports)) for server in self._servers)

    async def stop(self) -> None:
        """Stops all in an orderly way."""
        await asyncio.gather(*(server.stop() for server in self._servers))

    async def kill(self) -> None:
        """Kills all at once."""
        await asyncio.gather(*(server.kill() for server in self._servers))

    def pause(self) -> None:
        """Connections stay open and nothing answers."""
        for server in self._servers:
            server.pause()

    def resume(self) -> None:
        """All go on after `pause`."""
        for server in self._servers:
            server.resume()

    def last_words(self) -> str:
        """The last lines of the first server that has ended, for an error message."""
        return next((server.last_words() for server in self._servers if not server.running), "all run")
