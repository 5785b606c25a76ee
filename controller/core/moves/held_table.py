"""The table in force as a draft, and a draft as a table: weights by the policy's own pool numbers."""

from controller.core.moves.draft import Draft
from controller.core.moves.reflex import NOWHERE, Homeless
from controller.core.policy.compiled import CompiledPolicy
from tieline.table import MILLION, Generation, Route, RouteTable, Split


class HeldTable:
    """What a table says under a policy. ``weights`` are shared: a draft copies a route before changing it.

    ``orphans`` are parts on pools that the policy no longer has, and whole routes that the table lacks.
    """

    def __init__(self, compiled: CompiledPolicy, table: RouteTable) -> None:
        self.compiled = compiled
        self.table = table
        self.weights: list[dict[int, int]] = []
        self.shed: list[int] = []
        self.orphans: list[Homeless] = []
        self.routes: list[Route | None] = []
        self.same_pools = table.pools == compiled.infos
        self.same_settings = table.settings == compiled.policy.clients
        self._drafted: Draft | None = None
        number = [compiled.pool_index.get(info.pool, NOWHERE) for info in table.pools]
        known = {(route.workload, route.origin): route for route in table.routes}
        for index, route in enumerate(compiled.routes):
            found = known.get((route.workload, route.origin))
            self.routes.append(found)
            weights: dict[int, int] = {}
            if found is not None:
                pairs = zip(found.split.pools, found.split.weights, strict=True)
                weights = {number[pool]: parts for pool, parts in pairs if parts}
            shed = found.split.shed if found is not None else 0
            weights.pop(NOWHERE, None)
            if missing := MILLION - shed - sum(weights.values()):
                self.orphans.append(Homeless(route.rank, index, NOWHERE, missing, False))
            self.weights.append(weights)
            self.shed.append(shed)
        self.lawful = all(
            route.lawful_set.issuperset(weights)
            for route, weights in zip(compiled.routes, self.weights, strict=True)
        )

    @property
    def fits(self) -> bool:
        """Whether the table is of this very policy: same pools, routes and settings."""
        whole = len(self.table.routes) == len(self.compiled.routes) and None not in self.routes
        return whole and self.same_pools and self.same_settings and not self.orphans

    def draft(self, demand: list[float]) -> Draft:
        """The table as a draft under this demand. Orphans are not part of it."""
        # Most steps meet the demand of the one before: its load needs no second sum.
        if self._drafted is None or self._drafted.demand != demand:
            self._drafted = Draft(self.compiled, list(demand), self.weights, self.shed)
            self._drafted.lawful = self.lawful
        return self._drafted.copy()


def split_of(weights: dict[int, int], shed: int) -> Split:
    """One route's weights as they travel: pools in order, whole parts that sum to a million with shed."""
    pools = sorted(weights) if all(weights.values()) else sorted(p for p, parts in weights.items() if parts)
    return Split(tuple(pools), tuple(map(weights.__getitem__, pools)), shed)


def table_of(
    compiled: CompiledPolicy,
    splits: list[Split],
    on_loss: list[dict[str, Split]],
    last_resort: list[tuple[int, ...]],
    why_shed: list[str],
    generation: Generation,
    made_ms: int,
) -> RouteTable:
    """The whole table."""
    routes = tuple(
        Route(rule.workload, rule.origin, rule.criticality, split, why, losses, last)
        for rule, split, losses, last, why in zip(
            compiled.routes, splits, on_loss, last_resort, why_shed, strict=True
        )
    )
    return RouteTable(generation, made_ms, compiled.infos, routes, compiled.policy.clients)
