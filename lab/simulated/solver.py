"""The solver process, simulated: it answers the frames that the real one gets, with the product's own code.

Its answer takes a virtual time. It dies when it is told to, as a real one may.
"""

import asyncio
import io
from typing import Any

from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import decode_policy
from controller.dispatch.__main__ import reply_to
from controller.dispatch.frames import SolveReply, framed, read_request

SOLVES_IN_S = 0.3


class SimSolver:
    """A process of the kind that ``asyncio.create_subprocess_exec`` returns, as far as it is used."""

    def __init__(self) -> None:
        self.pid = 1
        self.returncode: int | None = None
        self.stdin = self
        self.stdout = self
        self._ended = asyncio.Event()
        self._frames = bytearray()
        self._replies = bytearray()
        self._compiled: CompiledPolicy | None = None

    def write(self, frame: bytes) -> None:
        """Takes a part of a request."""
        self._frames += frame

    async def drain(self) -> None:
        """Takes the request that was written."""

    def close(self) -> None:
        """No more requests come."""

    async def readexactly(self, size: int) -> bytes:
        """Solves what was asked, and gives so many bytes of its reply."""
        if not self._replies:
            await asyncio.sleep(SOLVES_IN_S)
            self._replies += self._reply()
        part, self._replies = bytes(self._replies[:size]), self._replies[size:]
        return part

    async def wait(self) -> int:
        """Returns once it has ended."""
        await self._ended.wait()
        return self.returncode or 0

    def kill(self) -> None:
        """Ends it."""
        self.returncode = -9
        self._ended.set()

    def _reply(self) -> bytes:
        request = read_request(io.BytesIO(bytes(self._frames)))
        self._frames.clear()
        if request is None:
            raise asyncio.IncompleteReadError(b"", None)
        if request.policy:
            self._compiled = compile_policy(decode_policy(request.policy))
        if self._compiled is None:
            return framed(SolveReply(request.number, why="the first request has no policy"))
        return framed(reply_to(request, self._compiled))


async def spawn_solver() -> Any:
    """Starts one."""
    return SimSolver()
