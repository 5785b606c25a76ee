"""One server of the stack: a child process on loopback ports that stay the same over all its lives."""

from __future__ import annotations

import os
import random
import socket
from abc import ABC, abstractmethod
from pathlib import Path

from lab.children import Child
from lab.errors import ChildError, StackError

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0
PORT_CHOICES_MAX = 5
PORT_PROBES_MAX = 200
LOOPBACK = "127.0.0.1"
FIRST_EPHEMERAL_PORT_IANA = 49_152
FIRST_EPHEMERAL_PORT_LINUX = 32_768
FIRST_EPHEMERAL_PORT_MIN = 4_096


class Server(ABC):
    """A server on loopback ports of its own.

    The first start chooses the ports; later starts use them again, also those of later processes with the
    same directory, unless another program has taken them meanwhile.
    """

    name: str
    ports_needed: int = 1

    def __init__(self, place: Path) -> None:
        """`place` is the server's own directory; it is created if it doesn't exist."""
        self.place = place
        self.log = place / "server.log"
        place.mkdir(parents=True, exist_ok=True)
        self._ports_file = place / "ports"
        self.ports = _remembered(self._ports_file, self.ports_needed)
        self.ports_are_planned = False  # a group has chosen them
        self._child: Child | None = None

    @abstractmethod
    async def prepare(self) -> None:
        """Writes the files that the server reads when it starts on `ports`."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether a client would be served now. Must return within a second or so."""

    @property
    def port(self) -> int:
        """The port that clients use."""
        return self.ports[0]

    @property
    def pid(self) -> int:
        """The process of the present or the last life; 0 before the first."""
        return self._child.pid if self._child is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._child is not None and self._child.running

    async def start(self) -> None:
        """Starts the server and returns once it answers; does nothing if it runs. Raises ChildError.

        Another program may take a port between the choice and the start, so the first start chooses again.
        """
        if self.running:
            return
        first_start = self._child is None and not self.ports_are_planned
        for choice in range(1, PORT_CHOICES_MAX + 1):
            if first_start and (choice > 1 or not all(map(is_free, self.ports)) or not self.ports):
                self.ports = free_ports(self.ports_needed)
            await self.prepare()
            self._child = await Child.start(self.name, self.command(), log=self.log, directory=self.place)
            try:
                await self._child.until_ready(self.answers, READY_WITHIN_S)
            except ChildError:
                port_taken = "already in use" in self._child.output()
                if not first_start or not port_taken or choice == PORT_CHOICES_MAX:
                    raise
            else:
                self._ports_file.write_text(" ".join(map(str, self.ports)), "ascii")
                return

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after 15 s. Returns when the process is gone."""
        if self._child is not None:
            await self._child.stop(STOP_WITHIN_S)

    async def kill(self) -> None:
        """SIGKILL. Returns when the process is gone."""
        if self._child is not None:
            await self._child.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        if self._child is not None:
            self._child.pause()

    def resume(self) -> None:
        """SIGCONT: it goes on after `pause`."""
        if self._child is not None:
            self._child.resume()

    def last_words(self) -> str:
        """The last lines that it wrote, for an error message."""
        return self._child.last_words() if self._child is not None else "it was never started"


def _remembered(file: Path, count: int) -> tuple[int, ...]:
    """The ports that an earlier process noted in this file; empty if there is none, or if it is damaged."""
    try:
        words = file.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return ()
    ports = tuple(int(word) for word in words if word.isdigit())
    return ports if len(ports) == len(words) == count else ()


def free_ports(count: int) -> tuple[int, ...]:
    """`count` ports on loopback that nobody listens on. Raises StackError if they can't be found.

    They lie below the ports that the kernel gives to outgoing connections. A server that is stopped for a
    while therefore doesn't lose its port to somebody's outgoing connection.
    """
    chooser = random.Random(os.urandom(8))
    ceiling = _first_ephemeral_port()
    ports: list[int] = []
    for _ in range(PORT_PROBES_MAX):
        port = chooser.randrange(ceiling // 2, ceiling)
        if port not in ports and is_free(port):
            ports.append(port)
        if len(ports) == count:
            return tuple(ports)
    raise StackError(
        f"there are no {count} free ports between {ceiling // 2} and {ceiling} on {LOOPBACK}: "
        "stop some of the servers that listen there"
    )


def _first_ephemeral_port() -> int:
    """The first port for outgoing connections:

    Linux names it, elsewhere it is the one that IANA recommends.
    """
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST_EPHEMERAL_PORT_IANA
    # A machine may be set to use nearly all ports for outgoing connections. Then there is no range below them
    # that an ordinary user may listen on, and the usual first port is as good as any.
    return first if first > FIRST_EPHEMERAL_PORT_MIN else FIRST_EPHEMERAL_PORT_LINUX


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
