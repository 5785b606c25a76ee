"""Processes of `scale`, and how much of a processor they and the servers used."""

import asyncio
import os
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

LOOK_EVERY_S = 0.1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Child:
    """A running Python module of this repository. What it writes is in the file ``output``."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self.process = process
        self.output = output

    def lines(self) -> list[bytes]:
        """What it has written so far."""
        return self.output.read_bytes().splitlines()

    async def until(self, line_part: bytes, within_s: float) -> bytes:
        """The newest line with this in it. Raises RuntimeError with the last lines if none comes."""
        return await self.until_newest(line_part, b"", within_s)

    async def until_newest(self, line_part: bytes, wanted: bytes, within_s: float) -> bytes:
        """The newest line with ``line_part`` in it, once it has ``wanted`` in it too. Raises RuntimeError
        with the last lines if none has."""
        loop = asyncio.get_running_loop()
        last_s = loop.time() + within_s
        while self.process.returncode is None and loop.time() < last_s:
            lines = [line for line in self.lines() if line_part in line]
            if lines and wanted in lines[-1]:
                return lines[-1]
            await asyncio.sleep(LOOK_EVERY_S)
        raise RuntimeError(b"\n".join(self.lines()[-20:]).decode())


async def start(undo: AsyncExitStack, output: Path, module: str, *arguments: str) -> Child:
    """Starts it, and has it killed with ``undo``."""
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    undo.push_async_callback(_end, process)
    return Child(process, output)


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def processor_s(pid: int) -> float:
    """How long a process has worked, in seconds of one processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
