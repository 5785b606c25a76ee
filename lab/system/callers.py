"""Client processes: each follows the table of one workload, as an application's clients do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from controller.core.policy.lawful import origins_of
from controller.core.policy.policy import Policy, Workload
from lab.simulated.redis_client import SimRedisClient
from lab.system.installation import REDIS_URL, Installation
from tieline import Applied, AsyncClient
from tieline._tables.redis import RedisSource
from tieline.keys import Keys

NEVER_S = 1e9


class SimSource(RedisSource):
    """The client's own source of tables over simulated Redis."""

    def __init__(self, installation: Installation, workload: str, origins: tuple[str, ...]) -> None:
        super().__init__(REDIS_URL, Keys(), workload=workload, origins=origins)
        self._installation = installation

    def _connect(self) -> SimRedisClient:  # type: ignore[override]
        return SimRedisClient(self._installation.redis)


class Caller:
    """One client process. ``applied``: the generations that it has put in force, in order."""

    def __init__(self, installation: Installation, policy: Policy, name: str, workload: Workload) -> None:
        self.name = name
        self.applied: list[str] = []
        self._client: AsyncClient | None = None
        self._installation = installation
        self._policy = policy
        self._workload = workload

    async def run(self, on_applied: Callable[[str, str], None]) -> None:
        """Follows until it is killed. ``on_applied`` is told of (client, generation)."""
        workload = self._workload.id
        origins = tuple(origin.id for origin in origins_of(self._policy, self._workload))
        source = SimSource(self._installation, workload, (origins[0], *sorted(origins[1:])))
        self._client = AsyncClient(source, workload=workload, origin=origins[0], origins=origins)
        await self._client.start()
        self._client.on_table(partial(self._note, on_applied))
        await asyncio.sleep(NEVER_S)

    @property
    def state(self) -> str:
        """The client's own state now."""
        return self._client.status.state.value if self._client is not None else "not started"

    def _note(self, on_applied: Callable[[str, str], None], applied: Applied) -> None:
        self.applied.append(applied.generation)
        on_applied(self.name, applied.generation)
