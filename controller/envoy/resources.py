"""PURE. The files of a plan: what each of them is called, and its bytes."""

from collections.abc import Iterable

from msgspec import Struct

from controller.envoy import pools, routes
from controller.envoy.plan import EnvoyPlan
from controller.envoy.pools import POOL_ROUTES, SECRETS, Places
from controller.envoy.shapes import Resource, file_of

ENDPOINTS, CLUSTERS, LISTENERS = "endpoints.json", "clusters.json", "listeners.json"
ROUTES = "routes.json"


class Resources(Struct, frozen=True):
    """Envoy's resources by name, one mapping for each file."""

    clusters: dict[str, Resource]
    listeners: dict[str, Resource]
    pool_routes: dict[str, Resource]
    secrets: dict[str, Resource]
    endpoints: dict[str, Resource]
    routes: dict[str, Resource]

    def files(self) -> dict[str, bytes]:
        """The bytes of every file."""
        return {
            SECRETS: file_of(list(self.secrets.values())),
            POOL_ROUTES: file_of(list(self.pool_routes.values())),
            CLUSTERS: file_of(list(self.clusters.values())),
            LISTENERS: file_of(list(self.listeners.values())),
            ENDPOINTS: file_of(list(self.endpoints.values())),
            ROUTES: file_of(list(self.routes.values())),
        }


def resources(plan: EnvoyPlan, places: Places) -> Resources:
    """All resources of a plan, sorted by name."""
    infos = plan.pools()
    lanes = [lane for lane in plan.lanes if lane.shares.pools]
    credentials = _credentials((info.credential for info, _ in infos.values()), places)
    endpoints_file = places.path(ENDPOINTS)
    return Resources(
        clusters=_by_name(
            [pools.cluster(info, places) for info, _ in infos.values()]
            + [routes.lane_cluster(lane, endpoints_file) for lane in lanes]
        ),
        listeners=_by_name(pools.listener(info, places) for info, _ in infos.values()),
        pool_routes=_by_name(pools.routes(info, settings) for info, settings in infos.values()),
        secrets=_by_name(credentials),
        endpoints={lane.name: routes.endpoints(lane) for lane in sorted(lanes, key=lambda lane: lane.name)},
        routes=_by_name([routes.route_table(plan)]),
    )


def _credentials(names: Iterable[str], places: Places) -> list[Resource]:
    directory = places.credentials
    if directory is None:
        return []
    return [pools.secret(name, directory) for name in sorted({name for name in names if name})]


def _by_name(messages: Iterable[Resource]) -> dict[str, Resource]:
    return {message["name"]: message for message in sorted(messages, key=lambda message: message["name"])}
