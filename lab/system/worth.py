"""What a table is worth by the design: what it sheds, where it overloads, and what its placed load costs.

PURE, and written anew from docs/dispatch.md ("What is better"); it shares no code with the programme that
looks for the best table. Costs are in points per second: lesser goals never pay for greater ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from controller.core.policy.policy import Policy, Pool
from lab.sim.contracts import RANKS, SHEDDABLE_RANK, Contracts, contracts_of, provider_of
from lab.sim.flow import Claimant, most_served
from lab.sim.splits import loads, shares_of
from tieline.table import MILLION, RouteTable

FIRST_REFUSAL = 2_000.0
SECURITY, SECURITY_ALL, TOP_RANK_FACTOR = 100.0, 2_400.0, 1.5
DOMAINS_MAX = 16  # failure domains other than providers that join the programme
BURST, PRICE = 10.0, 10.0
FARTHEST_MS = 1_000.0  # and what costs a point
OVERLOAD_TOLERANCE = 1.05  # x usable: up to here load stays where it is


class Worth(NamedTuple):
    """``demand`` and ``shed`` by rank: of that rank and all more critical ones, in units/s. ``above``: of it
    on pools that carry clearly more than is usable, and ``beyond``: all that is more than usable. ``packed``:
    units/s in the last of the headroom, where load may stay that is in place, and where none comes back from
    being shed. ``costs``: points per second by kind."""

    demand: tuple[float, ...]
    shed: tuple[float, ...]
    above: float
    beyond: float
    packed: float
    costs: Mapping[str, float]


class Scales:
    """A policy and its demand, by which tables are weighed. Capacity is what the policy says: all of it is
    stated. ``ready``: pools that may gain load; ``bound``: those that must not carry more than is usable."""

    def __init__(
        self, policy: Policy, demand: Mapping[str, float], ready: frozenset[str], *, bound: frozenset[str]
    ) -> None:
        self._policy = policy
        self._demand = dict(demand)
        self._ready = ready
        self._bound = bound
        self._pools = {pool.id: pool for pool in policy.pools}
        self._usable = {pool.id: pool.limit_units_per_s * policy.headroom for pool in policy.pools}
        self.contracts: Contracts = contracts_of(msgspec.to_builtins(policy))

    def worth(self, table: RouteTable) -> Worth:
        """What the table is worth."""
        carried = loads(table, self._demand)
        excess = {p: max(carried.get(p, 0.0) - self._usable[p], 0.0) for p in self._bound}
        tolerated = {p: self._usable[p] * (OVERLOAD_TOLERANCE - 1) + 1 for p in self._bound}
        return Worth(
            self._by_rank(dict.fromkeys(self._demand, MILLION)),
            self._by_rank({route.name: route.split.shed for route in table.routes}),
            above=sum(units for pool, units in excess.items() if units > tolerated[pool]),
            beyond=sum(excess.values()),
            packed=self._packed(carried),
            costs={
                "first refusal": FIRST_REFUSAL * self._against_refusal(carried),
                "security": sum(self._short(table, lost) for lost in self.losses()),
                "burst": sum(self._burst_points(pool) * self._burst(pool, carried) for pool in carried),
                "latency": self._latency(table),
            },
        )

    @property
    def domains(self) -> int:
        """How many failure domains there are beside the providers."""
        return len(self.losses()) - len({pool.provider for pool in self._policy.pools})

    def losses(self) -> list[frozenset[str]]:
        """The pools of each provider, region and failure domain, each set once."""
        domains: dict[str, set[str]] = {}
        for pool in self._policy.pools:
            for name in (pool.provider, f"{pool.provider}/{pool.region}", *pool.domains):
                domains.setdefault(name, set()).add(pool.id)
        return sorted({frozenset(pools) for pools in domains.values()}, key=sorted)

    def dearest(self) -> dict[str, float]:
        """By kind of cost: the most points that a unit can cost."""
        return {
            "first refusal": FIRST_REFUSAL,
            "security": self._security_points(0) * len(self.losses()),
            "burst": BURST + PRICE,
            "latency": 1.0,
        }

    def _security_points(self, rank: int) -> float:
        """Of a unit of this rank that has no room after one loss."""
        most = min(SECURITY, SECURITY_ALL / (len(self._policy.providers) + DOMAINS_MAX))
        return most * (TOP_RANK_FACTOR if rank == 0 else 1.0)

    def _by_rank(self, parts: Mapping[str, int]) -> tuple[float, ...]:
        """Units/s of these parts of the routes, of each rank and all more critical ones."""
        sums = [0.0] * len(RANKS)
        for route, contract in self.contracts.routes.items():
            for rank in range(contract.rank, len(RANKS)):
                sums[rank] += self._demand.get(route, 0.0) * parts.get(route, 0) / MILLION
        return tuple(sums)

    def _packed(self, carried: Mapping[str, float]) -> float:
        part = max(self._policy.thresholds.headroom_in_scarcity, self._policy.headroom)
        over = [carried.get(pool, 0.0) - part * self._pools[pool].limit_units_per_s for pool in self._bound]
        for group in self._policy.quota_groups:
            members = [pool.id for pool in self._policy.pools if group.id in pool.quota_groups]
            load = sum(carried.get(pool, 0.0) for pool in members)
            over.append(load - part * group.limit_units_per_s)
        return sum(units for units in over if units > 0)

    def _burst(self, pool: str, carried: Mapping[str, float]) -> float:
        paid = min(self._pools[pool].committed_units_per_s * self._policy.headroom, self._usable[pool])
        return max(carried[pool] - paid, 0.0)

    def _burst_points(self, pool: str) -> float:
        prepaid = {spend.provider for spend in self._policy.committed_spend}

        def price(item: Pool) -> float:
            return 0.0 if item.provider in prepaid else item.price_per_million_units

        dearest = max(map(price, self._policy.pools))
        return BURST + PRICE * price(self._pools[pool]) / max(dearest, 1e-9)

    def _against_refusal(self, carried: Mapping[str, float]) -> float:
        holder = self._policy.first_refusal
        if holder not in {pool.provider for pool in self._policy.pools}:
            return 0.0
        return sum(self._burst(pool, carried) for pool in carried if provider_of(pool) != holder)

    def _latency(self, table: RouteTable) -> float:
        return sum(
            units * min(self._pools[pool].latency_ms.get(origin, FARTHEST_MS) / FARTHEST_MS, 1.0)
            for _, origin, pool, units in self._flows(table)
        )

    def _flows(self, table: RouteTable) -> Iterator[tuple[str, str, str, float]]:
        """(Route, its origin, pool, units/s)."""
        for route in table.routes:
            for pool, parts in shares_of(table, route.split).items():
                yield route.name, route.origin, pool, self._demand.get(route.name, 0.0) * parts / MILLION

    def _short(self, table: RouteTable, lost: frozenset[str]) -> float:
        """The points of critical load that has no room after this loss. What is critical elsewhere stays
        there, and all other load makes way."""
        rooms = {pool: self._usable[pool] for pool in self._ready - lost}
        groups = {g.id: g.limit_units_per_s * self._policy.headroom for g in self._policy.quota_groups}
        struck: dict[str, float] = {}
        stays: dict[tuple[str, str], float] = {}
        for route, _, pool, units in self._flows(table):
            if self.contracts.routes[route].rank >= SHEDDABLE_RANK:
                continue
            if pool in lost:
                struck[route] = struck.get(route, 0.0) + units
                continue
            if pool in rooms:
                rooms[pool] -= units
            for group in self.contracts.groups_of.get(pool, ()):
                groups[group] -= units
            place = (route, provider_of(pool))
            stays[place] = stays.get(place, 0.0) + units
        claimants = {}
        for route, units in struck.items():
            contract = self.contracts.routes[route]
            left = {
                provider: self._demand[route] * most - stays.get((route, provider), 0.0)
                for provider, most in contract.share_max.items()
            }
            pools = tuple(sorted(contract.lawful - lost))
            claimants[route] = Claimant(contract.rank, units, pools, share_left=left)
        saved = most_served(claimants, rooms, groups, self.contracts.groups_of)
        points = before = 0.0
        for rank in range(SHEDDABLE_RANK):
            wanted = sum(c.units for c in claimants.values() if c.rank == rank)
            points += self._security_points(rank) * max(wanted - (saved[rank] - before), 0.0)
            before = saved[rank]
        return points
