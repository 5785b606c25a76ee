"""A command on a real terminal: what its screen shows, and keys for it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import pyte

from tests.integration.controllers import MAIN
from tests.waiting import until


class Terminal:
    """One command on a pseudo terminal of its own, with a screen that obeys what the command writes."""

    def __init__(
        self, environment: Mapping[str, str], *arguments: str, columns: int = 100, lines: int = 30
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._environment = {**environment, "TERM": "xterm-256color"}
        self._arguments = arguments
        self.written = b""

    async def __aenter__(self) -> Self:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-c", MAIN, *self._arguments], self._environment)
        self.resize(self._screen.columns, self._screen.lines)
        os.set_blocking(self._terminal, False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, self.pid, 0)
        os.close(self._terminal)

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shown(self) -> list[str]:
        """The lines of the screen now."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._terminal, 65_536):
                self.written += data
                self._stream.feed(data)
        return [line.rstrip() for line in self._screen.display]

    async def until_shown(self, *texts: str, without: str = "") -> list[str]:
        """The lines once each of these texts is on the screen and ``without`` is not."""

        def complete() -> list[str]:
            lines = self.shown()
            screen = "\n".join(lines)
            return (
                lines if all(text in screen for text in texts) and not (without and without in screen) else []
            )

        return await until(complete, what=f"{texts} on the screen")

    async def until_ended(self) -> int:
        """Its exit status, or minus the signal that ended it."""

        def status() -> Callable[[], int] | None:
            self.shown()
            pid, ended = os.waitpid(self.pid, os.WNOHANG)
            return (lambda: os.waitstatus_to_exitcode(ended)) if pid else None

        return (await until(status, what="the end of the command"))()

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as a shell needs it."""
        return bool(termios.tcgetattr(self._terminal)[3] & termios.ECHO)
