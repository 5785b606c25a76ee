"""The lab's child processes: started, awaited, paused and ended in one way, and never left behind.

A `Child` is one program in one life. The servers of the stack, the stand-ins and the parts of the demo are
all children; what differs between them (ports, configuration, when they are ready) stays with each of them.

Between a child and this process runs a keeper (`lab/keeper.py`), which kills the child when this process
ends. Linux can do that by itself (PR_SET_PDEATHSIG), but it watches the *thread* that started the child: a
child started from a thread that ends would die at once, and the stack is started from any thread.

A child isn't bound to an event loop: it may be started in one loop and stopped in another. Hence it is no
asyncio subprocess, and its end is looked for every few milliseconds instead of being waited for in a thread
(such a thread could not be cancelled). Tested in `tests/integration/test_children.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from lab.errors import ChildError

KEEPER = Path(__file__).with_name("keeper.py")
LOOK_EVERY_S = 0.02
STOP_WITHIN_S = 10.0
TAIL_LINES = 6
TAIL_BYTES = 64 * 1024


class Child:
    """One program as a child process, its output in a log file. `name` is what messages call it."""

    def __init__(
        self, name: str, pid: int, keeper: subprocess.Popen[bytes], *, log: Path, log_start_byte: int
    ) -> None:
        """Use `start`."""
        self.name = name
        self.pid = pid
        self.log = log
        self._keeper = keeper
        self._log_start_byte = log_start_byte

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Starts `command` and returns as soon as the process exists.

        Raises ChildError if it can't be started.

        `log` receives what the program writes; an existing file is appended to. `directory` is where the
        program runs (default: here). `environment` is added to that of this process. The program gets a
        session of its own, so that ^C at a terminal reaches only this process, which then ends its children.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        log_start_byte = log.stat().st_size if log.exists() else 0
        keeper = subprocess.Popen(  # noqa: ASYNC220 (it returns at once)
            [sys.executable, "-I", "-S", str(KEEPER), str(log.absolute()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        child = cls(name, 0, keeper, log=log, log_start_byte=log_start_byte)
        try:
            child.pid = await _pid_of_program(keeper)
        except BaseException:
            await child.kill()
            raise
        if not child.pid:
            await child.kill()
            raise ChildError(f"{name} could not be started: {child.last_words()}")
        return child

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._keeper.poll() is None

    async def until_ready(self, is_ready: Callable[[], Awaitable[bool]], within_s: float) -> None:
        """Returns once `is_ready` is true.

        Otherwise the program is killed, and ChildError has its last words.
        """
        try:
            async with asyncio.timeout(within_s):
                while not await is_ready():
                    if not self.running:
                        raise ChildError(
                            f"{self.name} ended with status {self._keeper.returncode} before it was ready: "
                            f"{self.last_words()}"
                        )
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            await self.kill()
            raise ChildError(
                f"{self.name} was not ready within {within_s:g} s: {self.last_words()}"
            ) from None
        except BaseException:
            await self.kill()
            raise

    async def until_done(self, within_s: float) -> None:
        """For a program that does one thing and ends. Raises ChildError if it failed or takes longer."""
        try:
            async with asyncio.timeout(within_s):
                status = await self.wait()
        except TimeoutError:
            await self.kill()
            raise ChildError(f"{self.name} took more than {within_s:g} s: {self.last_words()}") from None
        except BaseException:
            await self.kill()
            raise
        if status:
            raise ChildError(f"{self.name} ended with status {status}: {self.last_words()}")

    async def wait(self) -> int:
        """Returns the exit status once the program has ended, whatever ended it; -9 is the end by SIGKILL."""
        while self._keeper.poll() is None:  # noqa: ASYNC110 (no event tells of it, see the module)
            await asyncio.sleep(LOOK_EVERY_S)
        self._close_pipe()
        return self._keeper.returncode

    async def stop(self, within_s: float = STOP_WITHIN_S) -> int:
        """SIGTERM, and SIGKILL if the program still runs after `within_s`. Returns its exit status.

        A paused program is resumed, because it would not notice SIGTERM. One that has ended is left alone.
        """
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(within_s):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL, which also ends a paused program. Returns the exit status when the program is gone."""
        self._close_pipe()
        return await self.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def output(self) -> str:
        """What the program has written since it was started, at most the last 64 KiB of it."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self._log_start_byte, self.log.stat().st_size - TAIL_BYTES))
                return file.read(TAIL_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def last_words(self) -> str:
        """The last lines that the program wrote, and where the rest is, for an error message."""
        lines = self.output().strip().splitlines()
        if not lines:
            return f"it wrote nothing to {self.log}"
        return " | ".join(lines[-TAIL_LINES:]) + f" (all of it: {self.log})"

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self.pid:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # it ended a moment ago

    def _close_pipe(self) -> None:
        """Lets the keeper know that its program may not run any longer."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()


async def _pid_of_program(keeper: subprocess.Popen[bytes]) -> int:
    """The first line that the keeper prints, 0 if there is none. The keeper prints it within milliseconds."""
    assert keeper.stdout is not None
    with keeper.stdout as line:
        return int(await asyncio.to_thread(line.readline) or 0)
