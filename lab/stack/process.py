"""One server as a child process: started, awaited until it answers, paused, stopped, never left behind."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from lab.stack.errors import ServerError

KEEPER = Path(__file__).with_name("keeper.py")
READY_WITHIN_S = 60.0
PROBE_EVERY_S = 0.05
STOP_WITHIN_S = 15.0
PORT_CHOICES_MAX = 5
PORT_PROBES_MAX = 200
TAIL_LINES = 6
TAIL_BYTES = 64 * 1024
LOOPBACK = "127.0.0.1"


class Server(ABC):
    """A server on a loopback port of its own. The first start chooses the port; later ones use it again."""

    name: str
    ports_needed: int = 1

    def __init__(self, place: Path) -> None:
        """`place` is the server's own directory; it is made if need be."""
        self.place = place
        self.log = place / "server.log"
        self.ports: tuple[int, ...] = ()
        self.pid = 0
        self._keeper: subprocess.Popen[bytes] | None = None
        place.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    async def prepare(self) -> None:
        """Writes what the server reads at its start, for the ports chosen."""

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
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._keeper is not None and self._keeper.poll() is None

    async def start(self) -> None:
        """Starts the server and returns once it answers; does nothing if it runs. Raises ServerError."""
        if self.running:
            return
        chosen = bool(self.ports)
        for choice in range(1, PORT_CHOICES_MAX + 1):
            if not chosen:
                self.ports = free_ports(self.ports_needed)
            logged_before = self.log.stat().st_size if self.log.exists() else 0
            try:
                await self._start_once(logged_before)
            except ServerError:
                lost_race = "already in use" in self._tail(logged_before, lines=TAIL_BYTES)
                if chosen or not lost_race or choice == PORT_CHOICES_MAX:
                    raise
            else:
                return

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after 15 s. Returns when the process is gone."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        if not await self._gone_within(STOP_WITHIN_S):
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL. Returns when the process is gone."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            await self._gone_within(STOP_WITHIN_S)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def _start_once(self, logged_before: int) -> None:
        await self.prepare()
        interpreter = [sys.executable, "-I", "-S", str(KEEPER), str(self.log)]
        self._keeper = subprocess.Popen(  # noqa: ASYNC220 (asyncio's belongs to one loop, this object to none)
            interpreter + self.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.place,
            start_new_session=True,
        )
        try:
            await self._become_ready(self._keeper, logged_before)
        except BaseException:
            await self.kill()
            raise

    async def _become_ready(self, keeper: subprocess.Popen[bytes], logged_before: int) -> None:
        assert keeper.stdout is not None
        with keeper.stdout as pid_line:
            self.pid = int(await asyncio.to_thread(pid_line.readline) or 0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        while not await self.answers():
            if keeper.poll() is not None:
                raise ServerError(f"{self.name} stopped while starting: {self._tail(logged_before)}")
            if loop.time() > deadline:
                raise ServerError(
                    f"{self.name} did not answer within {READY_WITHIN_S:.0f} s: {self._tail(logged_before)}"
                )
            await asyncio.sleep(PROBE_EVERY_S)

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self.pid:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # ended a moment ago

    async def _gone_within(self, seconds: float) -> bool:
        """Waits for the keeper, which ends when the server has, and closes the pipe to it."""
        if self._keeper is None:
            return True
        try:
            await asyncio.to_thread(self._keeper.wait, seconds)
        except subprocess.TimeoutExpired:
            return False
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        return True

    def last_words(self) -> str:
        """The last lines of its log, for an error message."""
        return self._tail(0)

    def _tail(self, since: int, lines: int = TAIL_LINES) -> str:
        """The last lines that the server wrote since it was started, and where the rest is."""
        if not self.log.exists():
            return f"it wrote nothing to {self.log}"
        with self.log.open("rb") as file:
            file.seek(max(since, self.log.stat().st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace").splitlines()
        return " | ".join(text[-lines:]) + f" (all of it: {self.log})"


def free_ports(count: int) -> tuple[int, ...]:
    """Ports on loopback that nobody listens on, below those that the kernel gives to outgoing connections: so
    none of them is taken while a server that is to come back is down."""
    chooser = random.Random(os.urandom(8))
    ceiling = _first_ephemeral_port()
    ports: list[int] = []
    for _ in range(PORT_PROBES_MAX):
        port = chooser.randrange(ceiling // 2, ceiling)
        if port not in ports and _is_free(port):
            ports.append(port)
        if len(ports) == count:
            return tuple(ports)
    raise ServerError(
        f"no {count} free ports between {ceiling // 2} and {ceiling} on {LOOPBACK}: close some servers"
    )


def _first_ephemeral_port() -> int:
    """Linux says it; others start at 49152 (IANA)."""
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 49152
    return low if low > 4096 else 32768


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
