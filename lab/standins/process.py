"""A stand-in as a child process, and calls to its admin port: for the demo, the command and tests."""

import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from lab.children import Child
from lab.standins.config import ReadyInfo, StandinConfig

READY_WITHIN_S = 20.0
STOP_WITHIN_S = 5.0
ADMIN_WITHIN_S = 5.0


class StandinProcess:
    """A running stand-in. After it was killed, ``spawn(process.config_as_run)`` starts another in its place:
    on the same ports, and with the same log."""

    def __init__(self, config: StandinConfig, info: ReadyInfo, child: Child) -> None:
        """Use ``spawn``."""
        self.config = config
        self.info = info
        self._child = child

    @classmethod
    async def spawn(cls, config: StandinConfig) -> Self:
        """Starts a stand-in and returns when all its ports listen.

        Raises ChildError, after 20 s at the latest.

        The configuration may hold a pool's key. It travels in a file that only this user can read and that is
        gone when this returns; command lines can be read by every user.
        """
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(msgspec.json.encode(config))
            file.flush()
            child = await Child.start(
                f"the stand-in {config.provider}/{config.region}",
                [sys.executable, "-m", "lab.standins", file.name],
                log=config.log_path.with_suffix(".output"),
            )

            async def is_ready() -> bool:
                return _ready_info(child) is not None

            await child.until_ready(is_ready, READY_WITHIN_S)
        info = _ready_info(child)
        assert info is not None
        return cls(config, info, child)

    @property
    def name(self) -> str:
        """provider/region."""
        return f"{self.info.provider}/{self.info.region}"

    @property
    def pid(self) -> int:
        """The process of the stand-in itself."""
        return self.info.pid

    @property
    def ports(self) -> dict[str, int]:
        """Pool id -> port."""
        return self.info.ports

    @property
    def admin_url(self) -> str:
        """Where orders go; see ``lab.standins.admin``."""
        return self.info.admin_url

    @property
    def log_path(self) -> Path:
        """Its log; see ``lab.standins.journal``."""
        return Path(self.info.log_path)

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._child.running

    @property
    def config_as_run(self) -> StandinConfig:
        """The configuration with the ports that the process got, for another life at the same addresses."""
        pools = tuple(
            msgspec.structs.replace(pool, port=self.ports[self.config.pool_id(pool)])
            for pool in self.config.pools
        )
        admin_port = int(self.admin_url.rsplit(":", 1)[1])
        return msgspec.structs.replace(self.config, pools=pools, admin_port=admin_port)

    def url(self, pool: str) -> str:
        """The base URL of a pool, as an OpenAI client takes it."""
        return f"http://127.0.0.1:{self.ports[pool]}/v1"

    async def fault(self, kind: str, **fields: Any) -> int:
        """Switches a fault on (fields of ``faults.FaultOrder``); returns its number.

        Raises ValueError with the stand-in's own sentence.
        """
        answer = await self._order("POST", "/faults", {"kind": kind, **fields})
        return int(answer["id"])

    async def clear(self, *, fault_id: int | None = None, kind: str | None = None) -> int:
        """Switches off the faults that fit, or all; returns how many there were."""
        filters = {"id": fault_id, "kind": kind}
        query = "&".join(f"{name}={value}" for name, value in filters.items() if value is not None)
        answer = await self._order("DELETE", f"/faults?{query}", None)
        return len(answer["cleared"])

    async def capacity(self, **fields: Any) -> dict[str, float]:
        """Changes capacities (fields of ``admin.CapacityOrder``); returns the new tokens/s by pool."""
        answer = await self._order("POST", "/capacity", fields)
        capacity: dict[str, float] = answer["capacity"]
        return capacity

    async def state(self) -> dict[str, Any]:
        """What ``GET /state`` of the admin port answers."""
        return await self._order("GET", "/state", None)

    def pause(self) -> None:
        """SIGSTOP: connections are accepted and nothing answers."""
        self._child.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._child.resume()

    async def kill(self) -> None:
        """SIGKILL. Returns when the process is gone."""
        await self._child.kill()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL after five seconds; returns the exit status. A dead process is left alone."""
        return await self._child.stop(STOP_WITHIN_S)

    async def wait(self) -> int:
        """Returns the exit status once the process has ended, whatever ended it; -9 is the end by SIGKILL."""
        return await self._child.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _order(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=ADMIN_WITHIN_S)
        async with (
            aiohttp.ClientSession(self.admin_url, timeout=timeout) as session,
            session.request(method, path, data=msgspec.json.encode(body) if body else None) as answer,
        ):
            content: dict[str, Any] = msgspec.json.decode(await answer.read())
            if answer.status >= 400:
                raise ValueError(content["error"])
            return content


def _ready_info(child: Child) -> ReadyInfo | None:
    """The line that a stand-in prints when it is ready; its log lines are JSON as well, with other fields."""
    for line in child.output().splitlines(keepends=True):
        if line.endswith("\n"):
            try:
                return msgspec.json.decode(line, type=ReadyInfo)
            except msgspec.MsgspecError:
                continue
    return None
