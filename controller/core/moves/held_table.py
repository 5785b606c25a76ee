"""The table in force as a draft, and a draft as a table: weights by the policy's own pool numbers."""

from functools import cached_property

from controller.core.moves.draft import Draft
from controller.core.moves.unplaced import NOWHERE, UnplacedLoad
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.shares import within_shares
from tieline.table import MILLION, Generation, Route, RouteTable, Split


class HeldTable:
    """What a table says under a policy, by route. Drafts share ``weights`` and copy a route to change it.

    ``routes`` are the table's own, None where it lacks one. ``orphans``: parts on pools that the policy no
    longer has, and whole routes that the table lacks.
    """

    def __init__(self, compiled: CompiledPolicy, table: RouteTable) -> None:
        self.compiled = compiled
        self.table = table
        self.weights: list[dict[int, int]] = []
        self.shed: list[int] = []
        self.orphans: list[UnplacedLoad] = []
        by_name = {(route.workload, route.origin): route for route in table.routes}
        self.routes = [by_name.get((rules.workload, rules.origin)) for rules in compiled.routes]
        self.same_pools = table.pools == compiled.infos
        self._same_settings = table.settings == compiled.policy.clients
        self._draft: Draft | None = None
        pool_index = [compiled.pool_index.get(info.pool, NOWHERE) for info in table.pools]
        for index in range(len(compiled.routes)):
            self._read_route(index, pool_index)
        self._lawful = all(
            rules.lawful_set.issuperset(weights)
            for rules, weights in zip(compiled.routes, self.weights, strict=True)
        )

    def _read_route(self, index: int, pool_index: list[int]) -> None:
        route, weights, shed = self.routes[index], dict[int, int](), 0
        if route is not None:
            pairs = zip(route.split.pools, route.split.weights, strict=True)
            weights = {pool_index[pool]: parts for pool, parts in pairs if parts}
            shed = route.split.shed
        weights.pop(NOWHERE, None)
        if missing := MILLION - shed - sum(weights.values()):
            rank = self.compiled.routes[index].rank
            self.orphans.append(UnplacedLoad(rank, index, NOWHERE, parts=missing, may_return=False))
        self.weights.append(weights)
        self.shed.append(shed)

    @property
    def fits(self) -> bool:
        """Whether the table is of this very policy: the same pools, routes and settings."""
        whole = len(self.table.routes) == len(self.compiled.routes) and None not in self.routes
        return whole and self.same_pools and self._same_settings and not self.orphans

    @cached_property
    def named_on_loss(self) -> list[frozenset[int]]:
        """By route the pools that its ``on_loss`` names. None if the table is of other pools."""
        routes = self.routes if self.same_pools else [None] * len(self.routes)
        return [
            frozenset().union(*(split.pools for split in route.on_loss.values())) if route else frozenset()
            for route in routes
        ]

    @cached_property
    def counted_on(self) -> frozenset[int]:
        """The pools that ``on_loss`` of some route names although the route carries nothing there now."""
        pairs = zip(self.named_on_loss, self.routes, strict=True)
        return frozenset().union(*(pools.difference(route.split.pools) for pools, route in pairs if route))

    @cached_property
    def on_loss_beyond_shares(self) -> frozenset[int]:
        """The routes whose ``on_loss`` gives a provider more than its largest share, as under other rules."""
        owner = self.compiled.provider_of
        return frozenset(
            number
            for number, (route, rules) in enumerate(zip(self.routes, self.compiled.routes, strict=True))
            if route is not None and self.same_pools and rules.share_max
            for split in route.on_loss.values()
            if within_shares(split, rules.share_max, owner) is not split
        )

    def draft(self, demand: list[float]) -> Draft:
        """The table as a draft under this demand. Orphans are not part of it."""
        # Most decisions meet the demand of the one before, whose load needs no second sum.
        if self._draft is None or self._draft.demand != demand:
            self._draft = Draft(self.compiled, list(demand), self.weights, shed=self.shed)
            self._draft.lawful = self._lawful
        return self._draft.copy()

    def splits(self) -> list[Split | None]:
        """The split of each route by the policy's own pool numbers; None where the table lacks the route."""
        if self.same_pools:
            return [None if route is None else route.split for route in self.routes]
        pairs = zip(self.weights, self.shed, strict=True)
        return [split_of(weights, shed) for weights, shed in pairs]


def split_of(weights: dict[int, int], shed: int) -> Split:
    """One route's weights as a table has them: pools in order, without those that carry nothing."""
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
    before: HeldTable | None = None,
) -> RouteTable:
    """The whole table; the lists are by route. A route that is as in ``before`` is the same object."""
    old_routes = before.routes if before is not None and before.same_pools else [None] * len(splits)
    routes = tuple(
        old
        if old is not None
        and old.split is split
        and old.on_loss is losses
        and (old.criticality, old.shed_reason, old.last_resort) == (rules.criticality, reason, resort)
        else Route(
            rules.workload,
            rules.origin,
            rules.criticality,
            split=split,
            shed_reason=reason,
            on_loss=losses,
            last_resort=resort,
        )
        for rules, split, losses, resort, reason, old in zip(
            compiled.routes, splits, on_loss, last_resort, why_shed, old_routes, strict=True
        )
    )
    return RouteTable(generation, made_ms, compiled.infos, routes=routes, settings=compiled.policy.clients)
