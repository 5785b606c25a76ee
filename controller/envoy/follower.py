"""Keeps Envoy's resources as the tables want them: whatever changes, the plan is made anew and compared."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from controller.envoy.plan import ANY_MODEL, EnvoyPlan, Lane, RouteName
from controller.envoy.pools import Places
from controller.envoy.resources import ResourceMaker, Resources
from controller.process.telemetry import logger
from tieline.proxying import Proxied
from tieline.table import PoolInfo

LOOK_EVERY_S = 0.2  # time alone changes shares as well: a pool may be tried again
AGAIN_AFTER_S = 1.0
NAMES_LOGGED_MAX = 10


class Listing(NamedTuple):
    """The models by origin and the pools that the table of one workload lists."""

    models: Mapping[str, tuple[str, ...]]
    pools: tuple[PoolInfo, ...]


class Shelf(Protocol):
    """Where Envoy finds its resources: a directory of files, or what is served over HTTP."""

    async def put(self, resources: Resources, /, *, has_table: bool) -> tuple[str, ...]:
        """Bring it up to date, in an order in which each step is safe; gives the names of what has changed.
        Raises OSError. Without a table (``has_table``) it takes nothing from an Envoy that has one."""
        ...


class EnvoyFollower:
    """``routes``: what is followed, in the order of the resources. ``wake`` after anything that may change a
    plan; a change that is missed is found by the next look."""

    def __init__(
        self,
        routes: Sequence[RouteName],
        proxied: Mapping[str, Proxied],
        places: Places,
        shelf: Shelf,
    ) -> None:
        self._routes = tuple(routes)
        self._proxied = proxied
        self._maker = ResourceMaker(places)
        self._listings: dict[
            str, tuple[str, Listing]
        ] = {}  # by workload -> the table's generation and its pools
        self._shelf = shelf
        self._plan: EnvoyPlan | None = None
        self._woken = asyncio.Event()
        self._log = logger("envoy")
        self.changed = 0
        self.error = ""

    @property
    def without_table(self) -> tuple[str, ...]:
        """The workloads that have no table."""
        return tuple(name for name, proxied in self._proxied.items() if not proxied.generation)

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            wait_s = LOOK_EVERY_S if await self.look() else AGAIN_AFTER_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()

    async def look(self) -> bool:
        """Write what has changed. False: a file could not be written, and Envoy goes on with the former
        ones."""
        plan = self._make_plan()
        if plan == self._plan:
            return True
        try:
            wanted = self._maker.make(plan)
            names = await self._shelf.put(wanted, has_table=not self.without_table)
        except OSError as error:
            if not self.error:
                self._log.error(
                    "the files of Envoy can't be written; it goes on with the former ones", error=str(error)
                )
            self.error = str(error)
            return False
        self._plan, self.error = plan, ""
        if names:
            self.changed += len(names)
            self._log.info(
                "Envoy's resources changed",
                count=len(names),
                first=list(names[:NAMES_LOGGED_MAX]),
                generations=dict(plan.generations),
            )
        return True

    def _make_plan(self) -> EnvoyPlan:
        listings = {name: self._listing(name) for name in self._proxied}
        lanes = [
            Lane(route, model, shares=self._proxied[route.workload].shares(model, origin=route.origin))
            for route in self._routes
            for model in (*listings[route.workload].models[route.origin], ANY_MODEL)
        ]
        return EnvoyPlan(
            tuple(lanes),
            {name: proxied.generation for name, proxied in self._proxied.items()},
            {name: proxied.settings for name, proxied in self._proxied.items()},
            listed={name: listing.pools for name, listing in listings.items()},
        )

    def _listing(self, workload: str) -> Listing:
        """What the workload's table lists, looked up once for each table: a look is made five times a
        second."""
        proxied = self._proxied[workload]
        generation = proxied.generation
        former = self._listings.get(workload)
        if former is not None and former[0] == generation:
            return former[1]
        origins = [route.origin for route in self._routes if route.workload == workload]
        infos = {info.pool: info for origin in origins for info in proxied.pools(origin)}
        listing = Listing({origin: proxied.models(origin) for origin in origins}, tuple(infos.values()))
        self._listings[workload] = generation, listing
        return listing
