"""What people use today in place of Tieline, as small routers: static weights, and cool-down after failures.

A ``Router`` is asked for a table, as Tieline publishes one, and is then shown what its own clients met:
``Outcome`` of lab/sim/fleet.py. That happens every second, and every 200 ms while something fails, because
these products act on a failed request as soon as they have it. A router is one gateway through which all load
goes and which knows every outcome at once, so it knows more, and sooner, than a fleet of such gateways would.
What fails or is throttled is tried once more on the other pools of the table, as for Tieline's clients.

All routers respect the contracts: a route has its lawful pools and no others. Weights are in proportion to
the limits of the pools, unless the class says otherwise.

``CoolDown`` follows LiteLLM's router with its default settings:
https://github.com/BerriAI/litellm/blob/1fa201c73311632f2204e3056a9b8702b07548fe/litellm/router_utils/cooldown_handlers.py
and litellm/constants.py beside it (cool-down 5 s, failures 50 % of a minute's requests).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, TypeAlias

import msgspec

from controller.core.policy.policy import Policy
from lab.sim.contracts import contracts_of
from lab.sim.fleet import Outcome, PoolNature
from tieline.table import MILLION, Generation, PoolInfo, Route, RouteTable, Split

Shares: TypeAlias = dict[str, dict[str, float]]
"""By route and pool: parts of the route's load, of any sum. A route without pools refuses everything."""

COOL_DOWN_S = 5
FAILURES_MAX = 0.5  # of a pool's requests in the minute of the clock
AT_ONCE = ("auth", "not_found")  # LiteLLM does not retry these, and cools down at the first
NOT_COUNTED = ("client_error",)  # every other 4xx is taken for the caller's fault
MINUTE_S = 60


class Router(Protocol):
    """One product. Times are seconds from the beginning of the world."""

    def table(self, at_s: float, /) -> RouteTable:
        """Where its clients send their requests from now on."""
        ...

    def observe(self, at_s: float, outcome: Outcome, natures: Mapping[str, PoolNature]) -> None:
        """What its clients met since it was asked last, in units, up to now. Of ``natures`` only the class of
        failed results is used."""
        ...


class Fleet:
    """What every router knows from its configuration: by route the lawful pools, by pool the limit."""

    def __init__(self, policy: Policy) -> None:
        contracts = contracts_of(msgspec.to_builtins(policy))
        self.limits = {pool.id: pool.limit_units_per_s for pool in policy.pools}
        self.committed = {pool.id: pool.committed_units_per_s for pool in policy.pools}
        self.lawful = {name: tuple(sorted(route.lawful)) for name, route in sorted(contracts.routes.items())}
        self._infos = tuple(PoolInfo(pool.id, pool.geography, pool.url) for pool in policy.pools)
        self._places = {pool.id: place for place, pool in enumerate(policy.pools)}
        self._criticalities = {workload.id: workload.criticality for workload in policy.workloads}
        self._lineage = policy.lineage
        self._last: tuple[Shares, RouteTable] | None = None

    def by_limit(self, pools: tuple[str, ...]) -> dict[str, float]:
        """Parts in proportion to the limits."""
        return {pool: self.limits[pool] for pool in pools}

    def table(self, shares: Shares) -> RouteTable:
        """The table with these shares; the same object as long as they stay the same."""
        if self._last is None or self._last[0] != shares:
            routes = tuple(self._route(name, parts) for name, parts in shares.items())
            table = RouteTable(Generation(self._lineage, 1, 1), 0, self._infos, routes=routes)
            self._last = shares, table
        return self._last[1]

    def _route(self, name: str, parts: Mapping[str, float]) -> Route:
        workload, origin = name.split("/")
        split = self._split(parts)
        reason = "no pool is left" if split.shed else ""
        return Route(workload, origin, self._criticalities[workload], split=split, shed_reason=reason)

    def _split(self, parts: Mapping[str, float]) -> Split:
        total = sum(parts.values())
        if total <= 0:
            return Split((), (), MILLION)
        weights = [int(MILLION * part / total) for part in parts.values()]
        weights[0] += MILLION - sum(weights)
        return Split(tuple(self._places[pool] for pool in parts), tuple(weights))


class StaticWeights:
    """Weights that never change; what fails is tried once more elsewhere."""

    def __init__(self, policy: Policy) -> None:
        fleet = Fleet(policy)
        self._table = fleet.table({route: fleet.by_limit(pools) for route, pools in fleet.lawful.items()})

    def table(self, _: float, /) -> RouteTable:
        """The one table."""
        return self._table

    def observe(self, at_s: float, outcome: Outcome, natures: Mapping[str, PoolNature]) -> None:
        """Nothing is learnt."""


class CoolDown:
    """A pool gets nothing for five seconds after a 429 or a 401, or when over half of a minute's requests
    failed. While all pools of a route cool down its requests are refused, as LiteLLM does."""

    def __init__(self, policy: Policy) -> None:
        self._fleet = Fleet(policy)
        self._cool_until_s: dict[str, float] = {}
        self._minute = 0
        self._requests: dict[str, float] = {}
        self._failures: dict[str, float] = {}

    def table(self, at_s: float, /) -> RouteTable:
        """All lawful pools that don't cool down."""
        return self._fleet.table(
            {
                route: self._fleet.by_limit(
                    tuple(pool for pool in pools if self._cool_until_s.get(pool, 0) <= at_s)
                )
                for route, pools in self._fleet.lawful.items()
            }
        )

    def observe(self, at_s: float, outcome: Outcome, natures: Mapping[str, PoolNature]) -> None:
        """Counts within the minute of the clock, and begins cool-downs."""
        if math.ceil(at_s / MINUTE_S) != self._minute:
            self._minute = math.ceil(at_s / MINUTE_S)
            self._requests, self._failures = {}, {}
        for (_, pool), traffic in outcome.traffic.items():
            self._requests[pool] = self._requests.get(pool, 0.0) + traffic.sent
            failures = traffic.failed + traffic.throttled
            self._failures[pool] = self._failures.get(pool, 0.0) + failures
            counts = traffic.failed > 0 and natures[pool].result not in NOT_COUNTED
            is_at_once = traffic.throttled > 0 or (traffic.failed > 0 and natures[pool].result in AT_ONCE)
            is_over = counts and self._failures[pool] > FAILURES_MAX * self._requests[pool]
            if is_at_once or is_over:
                self._cool_until_s[pool] = at_s + COOL_DOWN_S
