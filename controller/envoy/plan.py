"""PURE. What Envoy is to do, before it is written in Envoy's words: one lane for each (workload, origin,
model)."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tieline.proxying import Shares
from tieline.table import ClientSettings, PoolInfo

ANY_MODEL = ""


class RouteName(Struct, frozen=True, order=True):
    """A route of the table."""

    workload: str
    origin: str

    def __str__(self) -> str:
        return f"{self.workload}/{self.origin}"


class Lane(Struct, frozen=True):
    """How requests of one route for one model are divided; ``model`` ``ANY_MODEL``: those that name none."""

    route: RouteName
    model: str
    shares: Shares

    @property
    def name(self) -> str:
        """The name of its cluster in Envoy."""
        return f"{self.route}/{self.model}"


class EnvoyPlan(Struct, frozen=True):
    """``generations``: of each workload's table. ``settings``: of each workload. ``listed``: the pools that
    each workload's routes may use. One that is out for a moment is still there, so that it need not be set up
    anew. The lanes of a route are together, and all routes that are followed have at least one; of one
    without a table it sheds everything."""

    lanes: tuple[Lane, ...]
    generations: Mapping[str, str]
    settings: Mapping[str, ClientSettings]
    listed: Mapping[str, tuple[PoolInfo, ...]]

    def pools(self) -> dict[str, tuple[PoolInfo, ClientSettings]]:
        """Every pool that a route may use, with the settings of the first workload that may, sorted."""
        pools: dict[str, tuple[PoolInfo, ClientSettings]] = {}
        for workload, infos in self.listed.items():
            for info in infos:
                pools.setdefault(info.pool, (info, self.settings[workload]))
        return dict(sorted(pools.items()))

    def routes(self) -> dict[RouteName, Sequence[Lane]]:
        """The lanes of each route, in the order of the plan."""
        lanes: dict[RouteName, list[Lane]] = {}
        for lane in self.lanes:
            lanes.setdefault(lane.route, []).append(lane)
        return dict(lanes)
