"""PURE. The files of a plan: what each of them is called, and its bytes.

Clusters and listeners lie in one file each. Of endpoints, of a pool's routes and of secrets Envoy takes a
file for each, as whoever uses one watches its file alone.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from controller.envoy import pools, routes
from controller.envoy.plan import EnvoyPlan, Lane
from controller.envoy.pools import POOLS, SECRETS, Places
from controller.envoy.shapes import Resource, file_name, file_of
from tieline.table import ClientSettings, PoolInfo

CLUSTERS, LISTENERS, ROUTES = "clusters.json", "listeners.json", "routes.json"
ENDPOINTS = "endpoints"
Encode: TypeAlias = Callable[[str, list[Resource]], bytes]


class PoolParts(NamedTuple):
    """What one pool is made into."""

    cluster: Resource
    listener: Resource
    routes: Resource


class LaneParts(NamedTuple):
    """What one lane is made into. The cluster depends on the lane's name alone."""

    cluster: Resource
    endpoints: Resource


class Resources(Struct, frozen=True):
    """Envoy's resources by name, one mapping for each kind."""

    clusters: dict[str, Resource]
    listeners: dict[str, Resource]
    pool_routes: dict[str, Resource]
    secrets: dict[str, Resource]
    endpoints: dict[str, Resource]
    routes: dict[str, Resource]

    def watchers(self) -> int:
        """How many of the kernel's inotify instances an Envoy needs that reads all of this from files: one
        for each file, and one for the directory of each secret."""
        singles = (self.pool_routes, self.secrets, self.secrets, self.endpoints)
        return 3 + sum(map(len, singles))

    def files(self, encode: Encode = lambda _, rows: file_of(rows)) -> dict[str, bytes]:
        """The bytes of every file, by its name. ``encode`` makes them of a file's name and its resources."""
        whole = {CLUSTERS: self.clusters, LISTENERS: self.listeners, ROUTES: self.routes}
        folders = {SECRETS: self.secrets, POOLS: self.pool_routes, ENDPOINTS: self.endpoints}
        rows = {name: list(resources.values()) for name, resources in whole.items()}
        for folder, items in folders.items():
            rows.update({file_name(folder, name): [resource] for name, resource in items.items()})
        return {name: encode(name, of_file) for name, of_file in rows.items()}


class ResourceMaker:
    """Makes the resources of one plan after another. What a pool or a lane was made into stays the same
    object until the pool or the lane changes: at 4,000 pools all of them take a second and more."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._pools: dict[str, tuple[tuple[PoolInfo, ClientSettings], PoolParts]] = {}
        self._lanes: dict[str, tuple[Lane, LaneParts]] = {}

    def make(self, plan: EnvoyPlan) -> Resources:
        """All resources of a plan, sorted by name."""
        infos = plan.pools()
        self._pools = {pool: self._pool(pool, *row) for pool, row in infos.items()}
        self._lanes = {lane.name: self._lane(lane) for lane in plan.lanes if lane.shares.pools}
        of_pools = [parts for _, parts in self._pools.values()]
        of_lanes = [parts for _, parts in self._lanes.values()]
        credentials = _credentials((info.credential for info, _ in infos.values()), self._places)
        return Resources(
            clusters=_by_name(
                [*(parts.cluster for parts in of_pools), *(parts.cluster for parts in of_lanes)]
            ),
            listeners=_by_name(parts.listener for parts in of_pools),
            pool_routes=_by_name(parts.routes for parts in of_pools),
            secrets=_by_name(credentials),
            endpoints={
                parts.cluster["name"]: parts.endpoints
                for parts in sorted(of_lanes, key=lambda parts: parts.cluster["name"])
            },
            routes=_by_name([routes.route_table(plan)]),
        )

    def _pool(
        self, pool: str, info: PoolInfo, settings: ClientSettings
    ) -> tuple[tuple[PoolInfo, ClientSettings], PoolParts]:
        former = self._pools.get(pool)
        if former is not None and former[0] == (info, settings):
            return former
        parts = PoolParts(
            pools.cluster(info, self._places),
            pools.listener(info, self._places),
            pools.routes(info, settings),
        )
        return (info, settings), parts

    def _lane(self, lane: Lane) -> tuple[Lane, LaneParts]:
        former = self._lanes.get(lane.name)
        if former is None:
            cluster = routes.lane_cluster(lane, self._places.source(ENDPOINTS, lane.name))
            return lane, LaneParts(cluster, routes.endpoints(lane))
        if former[0] == lane:
            return former
        return lane, LaneParts(former[1].cluster, routes.endpoints(lane))


def resources(plan: EnvoyPlan, places: Places) -> Resources:
    """All resources of one plan, sorted by name."""
    return ResourceMaker(places).make(plan)


def with_former(resources: Resources, before: Resources | None) -> Resources:
    """The new clusters and listeners beside those of the former plan that are no longer there."""
    if before is None:
        return resources
    return replace(
        resources,
        clusters=dict(sorted({**before.clusters, **resources.clusters}.items())),
        listeners=dict(sorted({**before.listeners, **resources.listeners}.items())),
    )


def _credentials(names: Iterable[str], places: Places) -> list[Resource]:
    directory = places.credentials
    if directory is None:
        return []
    return [pools.secret(name, directory) for name in sorted({name for name in names if name})]


def _by_name(messages: Iterable[Resource]) -> dict[str, Resource]:
    return {message["name"]: message for message in sorted(messages, key=lambda message: message["name"])}
