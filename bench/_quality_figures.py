"""What a product made of a world: the figures of `quality`, and the optimum of somebody who knows the future.

In: one ``Second`` after the other, from Tieline's simulation or from a ``Router`` on the same model of
clients and pools. Out: ``Quality``.

- *served*: units served of units asked for, of critical load (``critical_plus``, ``critical``) and of all.
- *overload*: seconds in which some pool was sent more than it could serve, retries included, by over 1 %.
- *violations*: seconds x routes whose table names an unlawful pool anywhere, or gives a provider too much.
- *burst* and *unused*: money for units above the committed capacity of a pool, and the worth of committed
  capacity that was not used, both at the price of the pool.
- *moved*: how often all load changed its place.
- *leave* and *return*: seconds from the beginning of the incident until the pools that fail for half of the
  requests or more get less than a tenth of what they got before, and from its end until they get nine tenths
  again, each for five seconds in a row. None: that never happened.

The optimum is a maximum flow in each second, the most critical first, with what each pool really serves then.
It moves load without delay or limit, so nobody can reach it; it is a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from bench._quality_routers import Router
from bench._quality_worlds import IncidentWorld
from lab.sim.contracts import SHEDDABLE_RANK, Contracts, contracts_of, provider_of
from lab.sim.fleet import Clients, Outcome, PoolNature, Traffic
from lab.sim.flow import Claimant, most_served
from lab.sim.run import Simulation
from lab.sim.spec import FuzzWorld
from lab.sim.splits import movement, named_pools, shares_of
from lab.sim.weather import Weather
from tieline.table import MILLION, RouteTable

BEFORE_S = 30  # what "before the incident" means
STEADY_S = 5
STEPS = 5  # of a second in which something fails: 200 ms, about what an error takes to arrive
LEFT_BELOW = 0.1
RETURNED_FROM = 0.9
ILL_FROM = 0.5  # of requests that fail
OVERLOAD_FACTOR = 1.01
PER_MILLION = 1e-6


class Second(NamedTuple):
    """One second: what came of the load, the truth about the pools, and the table in force."""

    second: int
    outcome: Outcome
    natures: dict[str, PoolNature]
    table: RouteTable


class Quality(NamedTuple):
    """The figures of one product in one world; shares of demand, seconds, money and multiples of the load."""

    critical: float
    total: float
    overload_s: int
    violations: int
    burst_money: float
    unused_money: float
    moved: float
    leave_s: int | None
    return_s: int | None


class Bound(NamedTuple):
    """What could have been served at best, as shares of demand."""

    critical: float
    total: float


def tieline_seconds(world: FuzzWorld) -> Iterator[Second]:
    """The whole world under Tieline: reports arrive late, and its own clients leave pools that fail."""
    simulation = Simulation(world)
    for second in range(world.seconds):
        table = simulation.table
        simulation.tick(second)
        if table is not None:
            yield Second(second, simulation.outcome, dict(simulation.weather.natures), table=table)


def router_seconds(world: FuzzWorld, router: Router) -> Iterator[Second]:
    """The same under a router that knows its outcomes at once. ``table`` is the one at the second's start."""
    weather = Weather(world)
    for second in range(world.seconds):
        weather.turn(second)
        if second == 0:
            continue  # Tieline's first table is in force from the second second on
        table = router.table(second)
        outcome = _met(table, weather, second)
        if any(traffic.failed + traffic.throttled > 0 for traffic in outcome.traffic.values()):
            outcome = _in_steps(router, weather, second)
        else:
            router.observe(second + 1, outcome, weather.natures)
        yield Second(second, outcome, dict(weather.natures), table=table)


def _met(table: RouteTable, weather: Weather, second: int) -> Outcome:
    """What becomes of a whole second of load under this table. No client leaves a pool by itself: that is a
    habit of Tieline's clients."""
    clients = Clients({"gateway": 1.0})
    return clients.serve({"gateway": table}, weather.demand, weather.natures, weather.group_serves, second)


def _in_steps(router: Router, weather: Weather, second: int) -> Outcome:
    """A second in which the router acts on what it meets every fifth of it."""
    total = Outcome()
    for step in range(STEPS):
        part = Outcome()
        add_part(part, _met(router.table(second + step / STEPS), weather, second))
        router.observe(second + (step + 1) / STEPS, part, weather.natures)
        add_part(total, part, factor=1.0)
    return total


def add_part(total: Outcome, outcome: Outcome, factor: float = 1 / STEPS) -> None:
    """Adds this part of an outcome to another."""
    for key, traffic in outcome.traffic.items():
        sums = total.traffic.setdefault(key, Traffic())
        for name in ("sent", "served", "throttled", "failed"):
            setattr(sums, name, getattr(sums, name) + factor * getattr(traffic, name))
    for name in ("wanted", "shed", "served"):
        sums_by_route: dict[str, float] = getattr(total, name)
        for route, units in getattr(outcome, name).items():
            sums_by_route[route] = sums_by_route.get(route, 0.0) + factor * units


def quality_of(incident: IncidentWorld, seconds: Iterable[Second]) -> Quality:
    """The figures of a whole world. Counts from ``BEFORE_S`` before the incident to the end."""
    world = incident.world
    contracts = contracts_of(msgspec.to_builtins(world.policy))
    first_s = incident.begins_s - BEFORE_S
    counted = [second for second in seconds if second.second >= first_s]
    ill = _ill_pools(counted, incident.begins_s)
    there = [_share_at(second, ill) for second in counted]
    usual = sum(there[:BEFORE_S]) / BEFORE_S
    critical = [name for name, route in contracts.routes.items() if route.rank < SHEDDABLE_RANK]
    leave_at = _steady(there, BEFORE_S, lambda share: share <= LEFT_BELOW * usual)
    ends_at = incident.ends_s - first_s
    return_at = _steady(there, ends_at, lambda share: share >= RETURNED_FROM * usual)
    burst_money, unused_money = money(world, counted)
    return Quality(
        critical=served_share(counted, critical),
        total=served_share(counted, contracts.routes),
        overload_s=sum(is_overloaded(second) for second in counted),
        violations=sum(violations(second.table, contracts) for second in counted),
        burst_money=burst_money,
        unused_money=unused_money,
        moved=sum(moved_share(a.table, b) for a, b in pairwise(counted)),
        leave_s=None if leave_at is None else leave_at - BEFORE_S,
        return_s=None if return_at is None else return_at - ends_at,
    )


def bound_of(incident: IncidentWorld) -> Bound:
    """The optimum with the future known, over the same seconds."""
    contracts = contracts_of(msgspec.to_builtins(incident.world.policy))
    weather = Weather(incident.world)
    sums = {"critical": 0.0, "total": 0.0, "critical wanted": 0.0, "wanted": 0.0}
    flows: dict[str, list[float]] = {}
    for second in range(incident.begins_s - BEFORE_S, incident.world.seconds):
        weather.turn(second)
        key = repr((weather.demand, weather.natures))
        if key not in flows:
            flows[key] = most_served(_claimants(weather.demand, contracts), rooms(weather.natures), {}, {})
        sums["critical"] += flows[key][SHEDDABLE_RANK - 1]
        sums["total"] += flows[key][-1]
        sums["wanted"] += sum(weather.demand.values())
        sums["critical wanted"] += sum(
            units for route, units in weather.demand.items() if contracts.routes[route].rank < SHEDDABLE_RANK
        )
    return Bound(sums["critical"] / sums["critical wanted"], sums["total"] / sums["wanted"])


def rooms(natures: dict[str, PoolNature]) -> dict[str, float]:
    """By pool: the units/s that can be served in truth."""
    return {
        pool: 0.0 if nature.hangs else nature.serves * (1 - nature.errors) * (1 - nature.throttles)
        for pool, nature in natures.items()
    }


def served_share(seconds: Iterable[Second], routes: Iterable[str]) -> float:
    """Units of these routes that were served, of those that were asked for."""
    names = list(routes)
    wanted = served = 0.0
    for second in seconds:
        wanted += sum(second.outcome.wanted.get(name, 0.0) for name in names)
        served += sum(second.outcome.served.get(name, 0.0) for name in names)
    return served / wanted


def is_overloaded(second: Second) -> bool:
    """Whether some pool was sent more than it could serve."""
    sent: dict[str, float] = {}
    for (_, pool), traffic in second.outcome.traffic.items():
        sent[pool] = sent.get(pool, 0.0) + traffic.sent
    return any(units > OVERLOAD_FACTOR * second.natures[pool].serves for pool, units in sent.items())


def violations(table: RouteTable, contracts: Contracts) -> int:
    """Routes of a table that break their contract."""
    faulty = {
        route.name for route, _, pool in named_pools(table) if pool not in contracts.routes[route.name].lawful
    }
    for route in table.routes:
        shares = shares_of(table, route.split)
        for provider, most in contracts.routes[route.name].share_max.items():
            parts = sum(share for pool, share in shares.items() if provider_of(pool) == provider)
            if parts > most * MILLION + 1:
                faulty.add(route.name)
    return len(faulty)


def moved_share(before: RouteTable, second: Second) -> float:
    """The part of all load that the table of this second sends elsewhere than the one before it."""
    if before is second.table:
        return 0.0
    wanted = second.outcome.wanted
    units = sum(
        wanted.get(route, 0.0) * sum(parts for parts in changes.values() if parts > 0) / MILLION
        for route, changes in movement(before, second.table).items()
    )
    return units / max(sum(wanted.values()), 1.0)


def money(world: FuzzWorld, seconds: Iterable[Second]) -> tuple[float, float]:
    """Money for what was served above the committed capacity, and the worth of what of that was not used."""
    burst = unused = 0.0
    for second in seconds:
        served = dict.fromkeys(second.natures, 0.0)
        for (_, pool), traffic in second.outcome.traffic.items():
            served[pool] += traffic.served
        for info in world.policy.pools:
            price = info.price_per_million_units * PER_MILLION
            burst += max(0.0, served[info.id] - info.committed_units_per_s) * price
            unused += max(0.0, info.committed_units_per_s - served[info.id]) * price
    return burst, unused


def _ill_pools(seconds: Iterable[Second], begins_s: int) -> frozenset[str]:
    natures = next(second.natures for second in seconds if second.second == begins_s)
    return frozenset(
        pool
        for pool, nature in natures.items()
        if 1 - (1 - nature.errors) * (1 - nature.throttles) >= ILL_FROM
    )


def _steady(shares: Sequence[float], start: int, holds: Callable[[float], bool]) -> int | None:
    """The first place from ``start`` on from which it holds for ``STEADY_S`` seconds in a row."""
    places = range(start, len(shares) - STEADY_S + 1)
    return next((at for at in places if all(holds(share) for share in shares[at : at + STEADY_S])), None)


def _share_at(second: Second, pools: frozenset[str]) -> float:
    """What was sent to these pools, retries included, as a part of all demand."""
    sent = sum(traffic.sent for (_, pool), traffic in second.outcome.traffic.items() if pool in pools)
    return sent / max(sum(second.outcome.wanted.values()), 1.0)


def _claimants(demand: dict[str, float], contracts: Contracts) -> dict[str, Claimant]:
    claimants = {}
    for name, units in demand.items():
        route = contracts.routes[name]
        share_left = {provider: most * units for provider, most in route.share_max.items()}
        claimants[name] = Claimant(route.rank, units, tuple(sorted(route.lawful)), share_left=share_left)
    return claimants
