"""Spawns a stand-in as a child process and talks to its admin port: for the demo, the command and tests."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from lab.standins.config import ReadyInfo, StandinConfig

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
ADMIN_TIMEOUT_S = 5.0
_READY_LINE_MAX_BYTES = 256 * 1024
_ERROR_TAIL_BYTES = 2_000


class SpawnError(RuntimeError):
    """The child did not come up; the message says why, in the child's own words where it left any."""


class StandinProcess:
    """A running child. It dies with the thread that spawned it: spawn from the main thread.

    ``pid`` is for SIGSTOP and SIGKILL; after a SIGKILL ``spawn`` again with ``config_as_run`` to come back on
    the same ports and go on with the same log.
    """

    def __init__(self, config: StandinConfig, info: ReadyInfo, child: asyncio.subprocess.Process) -> None:
        self.config = config
        self.info = info
        self._child = child

    @classmethod
    async def spawn(cls, config: StandinConfig) -> Self:
        """Start a child and wait until all its ports listen. Raises SpawnError, after 20 s at the latest."""
        errors = config.log_path.with_suffix(".stderr")
        errors.parent.mkdir(parents=True, exist_ok=True)
        with errors.open("ab") as sink:
            child = await asyncio.create_subprocess_exec(
                *_command(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                limit=_READY_LINE_MAX_BYTES,
            )
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await _converse(child, msgspec.json.encode(config))
        except TimeoutError:
            await _end(child, signal.SIGKILL)
            raise SpawnError(f"{_name(config)} was not ready in {READY_TIMEOUT_S:g} s.") from None
        except BaseException:
            await _end(child, signal.SIGKILL)
            raise
        if not line:
            status = await child.wait()
            raise SpawnError(f"{_name(config)} ended with status {status} at its start: {_last_line(errors)}")
        return cls(config, msgspec.json.decode(line, type=ReadyInfo), child)

    @property
    def pid(self) -> int:
        return self.info.pid

    @property
    def ports(self) -> dict[str, int]:
        """Port by pool id."""
        return self.info.ports

    @property
    def admin_url(self) -> str:
        return self.info.admin_url

    @property
    def log_path(self) -> Path:
        return Path(self.info.log_path)

    @property
    def alive(self) -> bool:
        return self._child.returncode is None

    @property
    def config_as_run(self) -> StandinConfig:
        """The configuration with the ports that it got, so that a second life has the same addresses."""
        pools = tuple(
            msgspec.structs.replace(pool, port=self.ports[self.config.pool_id(pool)])
            for pool in self.config.pools
        )
        admin_port = int(self.admin_url.rsplit(":", 1)[1])
        return msgspec.structs.replace(self.config, pools=pools, admin_port=admin_port)

    def url(self, pool: str) -> str:
        """The base URL of a pool, as an OpenAI client wants it."""
        return f"http://127.0.0.1:{self.ports[pool]}/v1"

    async def fault(self, kind: str, **fields: Any) -> int:
        """Switch a fault on; gives its number. Raises ValueError with the process's own words."""
        answer = await self._order("POST", "/faults", {"kind": kind, **fields})
        return int(answer["id"])

    async def clear(self, *, fault_id: int | None = None, kind: str | None = None) -> int:
        """Switch faults off (all, or those that fit); gives how many there were."""
        wanted = {"id": fault_id, "kind": kind}
        query = "&".join(f"{name}={value}" for name, value in wanted.items() if value is not None)
        answer = await self._order("DELETE", f"/faults?{query}", None)
        return len(answer["cleared"])

    async def capacity(self, **fields: Any) -> dict[str, float]:
        """Change ``tokens_per_s`` (or by ``factor``), of ``pools`` if named; gives the new ones by pool."""
        answer = await self._order("POST", "/capacity", fields)
        capacity: dict[str, float] = answer["capacity"]
        return capacity

    async def state(self) -> dict[str, Any]:
        """What the process says of itself."""
        return await self._order("GET", "/state", None)

    async def stop(self) -> int:
        """SIGTERM, SIGKILL after five seconds; gives the exit status. Also right when it is dead already."""
        return await _end(self._child, signal.SIGTERM)

    async def wait(self) -> int:
        """Wait for the end, however it comes; gives the exit status."""
        return await self._child.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _order(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=ADMIN_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(self.admin_url, timeout=timeout) as session,
            session.request(method, path, data=msgspec.json.encode(body) if body else None) as answer,
        ):
            read: dict[str, Any] = msgspec.json.decode(await answer.read())
            if answer.status >= 400:
                raise ValueError(read["error"])
            return read


def _name(config: StandinConfig) -> str:
    return f"{config.provider}/{config.region}"


def _command() -> list[str]:
    return [sys.executable, "-m", "lab.standins", "-", "--parent-pid", str(os.getpid())]


async def _converse(child: asyncio.subprocess.Process, config: bytes) -> bytes:
    if child.stdin is None or child.stdout is None:
        raise SpawnError("the child has no pipes")
    child.stdin.write(config)
    child.stdin.close()
    return await child.stdout.readline()


async def _end(child: asyncio.subprocess.Process, first: signal.Signals) -> int:
    if child.returncode is None:
        _send(child, first)
        _send(child, signal.SIGCONT)  # a stopped process hears SIGTERM only once it goes on
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await child.wait()
    except TimeoutError:
        _send(child, signal.SIGKILL)
        return await child.wait()


def _send(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        child.send_signal(number)
    except ProcessLookupError:  # it went just now
        pass


def _last_line(errors: Path) -> str:
    lines = errors.read_bytes()[-_ERROR_TAIL_BYTES:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it left no word"
