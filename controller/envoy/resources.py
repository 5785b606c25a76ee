"""PURE. The files of a plan: what each of them is called, and its bytes.

Clusters and listeners lie in one file each. Of endpoints, of a pool's routes and of secrets Envoy takes a
file for each, as whoever uses one watches its file alone.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from controller.envoy import pools, routes
from controller.envoy.plan import EnvoyPlan
from controller.envoy.pools import POOLS, SECRETS, Places
from controller.envoy.shapes import Resource, file_name, file_of

CLUSTERS, LISTENERS, ROUTES = "clusters.json", "listeners.json", "routes.json"
ENDPOINTS = "endpoints"


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

    def files(self) -> dict[str, bytes]:
        """The bytes of every file, by its name."""
        whole = {CLUSTERS: self.clusters, LISTENERS: self.listeners, ROUTES: self.routes}
        folders = {SECRETS: self.secrets, POOLS: self.pool_routes, ENDPOINTS: self.endpoints}
        return {
            **{name: file_of(list(resources.values())) for name, resources in whole.items()},
            **{name: data for folder, items in folders.items() for name, data in _single(folder, items)},
        }


def _single(folder: str, resources: Mapping[str, Resource]) -> Iterable[tuple[str, bytes]]:
    return ((file_name(folder, name), file_of([resource])) for name, resource in resources.items())


def resources(plan: EnvoyPlan, places: Places) -> Resources:
    """All resources of a plan, sorted by name."""
    infos = plan.pools()
    lanes = [lane for lane in plan.lanes if lane.shares.pools]
    credentials = _credentials((info.credential for info, _ in infos.values()), places)
    return Resources(
        clusters=_by_name(
            [pools.cluster(info, places) for info, _ in infos.values()]
            + [routes.lane_cluster(lane, places.source(ENDPOINTS, lane.name)) for lane in lanes]
        ),
        listeners=_by_name(pools.listener(info, places) for info, _ in infos.values()),
        pool_routes=_by_name(pools.routes(info, settings) for info, settings in infos.values()),
        secrets=_by_name(credentials),
        endpoints={lane.name: routes.endpoints(lane) for lane in sorted(lanes, key=lambda lane: lane.name)},
        routes=_by_name([routes.route_table(plan)]),
    )


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
