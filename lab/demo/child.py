"""One of our own commands as a child process that never outlives this one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.stack.process import KEEPER

STOP_WITHIN_S = 10.0
TAIL_BYTES = 2_000


class ChildError(RuntimeError):
    """A part of the run did not come up, or ended by itself; the message has its last words."""


class Child:
    """A process with its output in a log file. The keeper kills it when we end, however we do."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.pid = 0
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    async def start(self) -> None:
        """Start it; returns as soon as the process exists."""
        interpreter = [sys.executable, "-I", "-S", str(KEEPER), str(self.log)]
        self._keeper = subprocess.Popen(  # noqa: ASYNC220 (returns at once; asyncio's would not outlive a loop)
            [*interpreter, sys.executable, *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as line:
            self.pid = int(await asyncio.to_thread(line.readline) or 0)
        if not self.pid:
            raise ChildError(f"{self.name} could not be started: {self.last_words()}")

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._signal(signal.SIGKILL)

    async def stop(self, within_s: float = STOP_WITHIN_S) -> int:
        """SIGTERM, and SIGKILL when that is not heard in time. Gives the exit status."""
        keeper = self._keeper
        if keeper is None:
            return 0
        self._signal(signal.SIGTERM)
        gone = await self._gone(within_s)
        if keeper.stdin is not None:
            keeper.stdin.close()  # at which the keeper kills whatever is left
        if not gone:
            await self._gone(within_s)
        return keeper.poll() or 0

    def last_words(self) -> str:
        """The end of its log."""
        try:
            text = self.log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return "it left no word"
        return "\n".join(text.strip().splitlines()[-3:]) or "it left no word"

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self.pid:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # ended a moment ago

    async def _gone(self, within_s: float) -> bool:
        if self._keeper is None:
            return True
        try:
            await asyncio.to_thread(self._keeper.wait, within_s)
        except subprocess.TimeoutExpired:
            return False
        return True
