"""Client processes: each follows the table of one workload and makes requests, as an application does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from controller.core.policy.lawful import origins_of
from controller.core.policy.policy import Policy, Workload
from lab.simulated.redis_client import SimRedisClient
from lab.system.installation import REDIS_URL, Installation
from lab.system.pools import PoolTruth, SimPools
from lab.system.request_rules import RequestWatch
from lab.system.requests import Application
from tieline import Applied, AsyncClient
from tieline._tables.redis import RedisSource
from tieline.credentials import ForHosts
from tieline.keys import Keys

SECRET = ForHosts("secret", "*.invalid")


class SimSource(RedisSource):
    """The client's own source of tables over simulated Redis. ``wires``: its connections to pools."""

    def __init__(
        self, installation: Installation, workload: str, origins: tuple[str, ...], wires: SimPools
    ) -> None:
        super().__init__(REDIS_URL, Keys(), workload=workload, origins=origins)
        self.wires = wires
        self._installation = installation

    def _connect(self) -> SimRedisClient:  # type: ignore[override]
        return SimRedisClient(self._installation.redis)


class Caller:
    """One client process. ``applied``: the generations that it has put in force, in order. ``watch``: what
    must hold of its requests."""

    def __init__(
        self,
        installation: Installation,
        policy: Policy,
        workload: Workload,
        *,
        watch: RequestWatch,
        truth: PoolTruth,
        per_s: float,
        seed: str,
    ) -> None:
        self.name = watch.client
        self.applied: list[str] = []
        self.watch = watch
        self._client: AsyncClient | None = None
        self._installation = installation
        self._policy = policy
        self._workload = workload
        self._truth = truth
        self._per_s = per_s
        self._seed = seed

    async def run(self, on_applied: Callable[[str, str], None]) -> None:
        """Follows the table and asks until it is killed. ``on_applied`` is told of (client, generation)."""
        workload = self._workload.id
        origins = tuple(origin.id for origin in origins_of(self._policy, self._workload))
        wires = SimPools(self._truth, self.name, self.watch)
        source = SimSource(self._installation, workload, (origins[0], *sorted(origins[1:])), wires=wires)
        self._client = AsyncClient(
            source,
            workload=workload,
            origin=origins[0],
            origins=origins,
            credentials={pool.credential: SECRET for pool in self._policy.pools if pool.credential},
        )
        await self._client.start()
        self._client.on_table(partial(self._note, on_applied))
        application = Application(
            self._client,
            self.name,
            self._workload.models,
            origins=origins,
            per_s=self._per_s,
            seed=self._seed,
            log=self.watch,
        )
        await application.run()

    @property
    def state(self) -> str:
        """The client's own state now."""
        return self._client.status.state.value if self._client is not None else "not started"

    def _note(self, on_applied: Callable[[str, str], None], applied: Applied) -> None:
        self.applied.append(applied.generation)
        on_applied(self.name, applied.generation)
