"""What is short by the last plan of the dispatch: load without room now, after one loss, or after growth."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from controller.core.model.dispatch_plan import Plan, Shortfall
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.offer_rules import OfferRules
from controller.core.policy.policy import Pool
from tieline.events import in_scope
from tieline.offers import OfferCause
from tieline.table import CRITICALITIES, MILLION

UNITS_MIN = 0.5  # less is rounding


class Shortage(NamedTuple):
    """Load of ``workloads`` without room, in units/s. ``geographies``: where it may be served, sorted.
    ``lost``: after the loss of what; empty if it is short without one."""

    geographies: tuple[str, ...]
    cause: OfferCause
    workloads: tuple[str, ...]
    units_per_s: float
    lost: str = ""


def shortages(
    compiled: CompiledPolicy, plan: Plan, demand: Sequence[float], rules: OfferRules
) -> tuple[Shortage, ...]:
    """One for each set of geographies, sorted: of several causes the one that is short of most, and of two
    that are short of the same the more pressing one. ``demand`` is in units/s by route. Left out is what no
    capacity would help: load that only the lost provider may serve."""
    worst: dict[tuple[str, ...], Shortage] = {}
    causes: tuple[tuple[OfferCause, Iterable[Shortfall]], ...] = (
        ("shed", shed_now(compiled, plan, demand, rules)),
        ("n_minus_1", plan.shortfalls),
        ("growth", plan.grown),
    )
    for cause, shortfalls in causes:
        possible = [item for item in shortfalls if _can_be_met(compiled, item)]
        for geographies, lost, units, workloads in _by_geographies(possible):
            before = worst.get(geographies)
            if units >= UNITS_MIN and (before is None or units > before.units_per_s + UNITS_MIN):
                names = {*workloads, *(before.workloads if before else ())}
                worst[geographies] = Shortage(
                    geographies, cause, tuple(sorted(names)), units_per_s=units, lost=lost
                )
    return tuple(worst[geographies] for geographies in sorted(worst))


def is_lost(pool: Pool, lost: str) -> bool:
    """Whether the pool is lost with this provider, region or failure domain; empty is none."""
    return bool(lost) and (in_scope(pool.id, lost) or lost in pool.domains)


def _can_be_met(compiled: CompiledPolicy, shortfall: Shortfall) -> bool:
    """Whether more capacity anywhere would help: some lawful pool is not lost."""
    routes = (compiled.route_index[_parts(name)] for name in shortfall.routes)
    lawful = {pool for route in routes for pool in compiled.routes[route].lawful}
    return any(not is_lost(compiled.policy.pools[pool], shortfall.lost) for pool in lawful)


def _parts(route: str) -> tuple[str, str]:
    workload, _, origin = route.partition("/")
    return workload, origin


def shed_now(
    compiled: CompiledPolicy, plan: Plan, demand: Sequence[float], rules: OfferRules
) -> Iterator[Shortfall]:
    """The load that the plan turns away, as far as capacity is asked for it."""
    least_rank = CRITICALITIES.index(rules.least_criticality)
    for target in plan.targets:
        route = compiled.routes[target.route]
        if target.shed and route.rank <= least_rank:
            geographies = {compiled.policy.pools[pool].geography for pool in route.lawful}
            units = demand[target.route] * target.shed / MILLION
            yield Shortfall("", tuple(sorted(geographies)), (route.name,), units_per_s=units)


def _by_geographies(
    shortfalls: Iterable[Shortfall],
) -> Iterator[tuple[tuple[str, ...], str, float, frozenset[str]]]:
    """For each set of geographies: the worst loss, as only one is to be survived, the units/s without room
    after it, and the workloads that any loss would hurt."""
    units: defaultdict[tuple[str, ...], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    workloads: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for shortfall in shortfalls:
        units[shortfall.geographies][shortfall.lost] += shortfall.units_per_s
        workloads[shortfall.geographies].update(name.partition("/")[0] for name in shortfall.routes)
    for geographies in sorted(units):
        most, lost = max((amount, name) for name, amount in units[geographies].items())
        yield geographies, lost, most, frozenset(workloads[geographies])
