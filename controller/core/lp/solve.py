"""Problem to ``Plan``: the rounds of one solve, and the answer in whole parts per million.

Pure: the same problem gives the same bytes. Losses of providers are in the programme from the start. Other
failure domains are screened after each solve (``screen_losses.py``), and those that are not survived join
the programme: at most ``JOIN_PER_ROUND`` at a time, ``DOMAINS_MAX`` in all, in ``ROUNDS_MAX`` solves.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from controller.core.lp.commodities import Commodities, commodities_of, given_back
from controller.core.lp.losses import LossBlock, block_of
from controller.core.lp.pool_classes import (
    PAIRS_MAX,
    PoolClasses,
    given_to_pools,
    pool_classes_of,
)
from controller.core.lp.programme import (
    FIRST_REFUSAL,
    SECURITY,
    SECURITY_ALL,
    SHED,
    Bools,
    Floats,
    Instance,
    instance_of,
)
from controller.core.lp.screen_losses import failure_domains, unsurvived
from controller.core.lp.tableau import REDUCED_COST_TOLERANCE, NoAnswerError, Tableau
from controller.core.model.dispatch_plan import Marginal, Plan, Problem, Relief, Shortfall, Target
from controller.core.moves.draft import whole
from controller.core.policy.compiled import CompiledPolicy, without_share_limits
from tieline.table import MILLION, checksum

__all__ = ["NoAnswerError", "Solution", "digest_of", "solve"]

ROUNDS_MAX = 4
JOIN_PER_ROUND = 6
DOMAINS_MAX = 16
TOP_RANK_FACTOR = 1.5  # what has no room after a loss counts so much more for critical_plus than for critical
SHORT_SHARE = 1e-5  # of all load: less than this without room is rounding
CRUMB = 5e-6  # of a route: less than this is no share
MARGINAL_MIN = 1.0  # points: a limit whose unit is worth less saves money or latency only
LIMIT_S = 5.0
CANDIDATES_MIN, CANDIDATES_SHARE = 24, 0.1  # pools of each commodity that are columns to begin with

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Solution(NamedTuple):
    """A plan, its cost in points x units/s, and how large the programme became.

    Where pools are merged it is the cost of the merged programme.
    """

    plan: Plan
    cost: float
    rows: int
    columns: int
    pricing_rounds: int


class _Losses(NamedTuple):
    """The losses of one solve: those in the programme, and all failure domains other than providers."""

    blocks: list[LossBlock]
    domains: dict[str, Bools]
    penalty: Floats  # by class


class _Programme(NamedTuple):
    """A tableau, and the way back from its rows and columns. ``classes`` is None unless pools are merged."""

    tableau: Tableau
    commodities: Commodities
    classes: PoolClasses | None
    losses: _Losses

    def flows(self) -> Floats:
        """[K, P] the load of each commodity on each pool, in scaled units/s."""
        flows = self.tableau.flows()
        return flows if self.classes is None else given_to_pools(self.classes, flows)

    def survived(self) -> list[Bools]:
        """The losses in the programme that the last optimum survives, each by pool."""
        least = _least(self.tableau.instance)
        lost = [block.lost for block in self.losses.blocks if self.tableau.short(block).sum() <= least]
        return lost if self.classes is None else [by_class[self.classes.of_pool] for by_class in lost]


def digest_of(problem: Problem) -> str:
    """The name of the inputs of a plan: 32 hexadecimal digits."""
    return checksum(_encoder.encode(problem))


def solve(
    compiled: CompiledPolicy,
    problem: Problem,
    *,
    limit_s: float = LIMIT_S,
    candidates: int | None = None,
    pairs_max: int = PAIRS_MAX,
) -> Solution:
    """The best plan for the problem.

    ``limit_s`` bounds each run of the solver, in seconds. ``candidates`` is the number of pools per
    commodity that the solver begins with, by default a tenth of all pools and at least 24; it adds all others
    that would improve the answer. With more than ``pairs_max`` of them together pools are merged. Raises
    ``ValueError`` for a problem of another policy, and ``NoAnswerError`` if the solver gives no optimum.
    """
    if problem.policy_version != compiled.version:
        raise ValueError(f"the problem is of policy {problem.policy_version}, not {compiled.version}")
    compiled = without_share_limits(compiled, frozenset(problem.unshared))
    if not any(units > 0 for units in problem.demand):
        plan = Plan(compiled.version, digest_of(problem), problem.at_ms, targets=())
        return Solution(plan, 0.0, 0, columns=0, pricing_rounds=0)
    commodities = commodities_of(instance_of(compiled, problem))
    pairs = len(commodities.merged.routes) * candidates_of(len(compiled.pools))
    programme = _programme(commodities, limit_s, candidates, merges=pairs > pairs_max)
    tableau = programme.tableau
    tableau.solve()
    plan = _secured_plan(programme, problem)
    cost = tableau.objective / tableau.instance.scale
    return Solution(plan, cost, tableau.rows, columns=tableau.columns, pricing_rounds=tableau.pricing_rounds)


def _programme(
    commodities: Commodities, limit_s: float, candidates: int | None, *, merges: bool
) -> _Programme:
    """The programme with the losses of all providers, not solved yet. ``merges``: pools are merged."""
    instance, compiled = commodities.merged, commodities.merged.compiled
    classes = pool_classes_of(instance) if merges else None
    instance = instance if classes is None else classes.merged
    gain_min = REDUCED_COST_TOLERANCE if classes is None else instance.move_cost
    tableau = Tableau(instance, limit_s, candidates or candidates_of(len(instance.usable)), gain_min=gain_min)
    losses = _Losses([], failure_domains(compiled), _penalty(instance, len(compiled.providers)))
    programme = _Programme(tableau, commodities, classes, losses=losses)
    for number, provider in enumerate(compiled.providers):
        _add(programme, provider, instance.provider_of == number)
    return programme


def candidates_of(pools: int) -> int:
    """The pools of each commodity that are columns to begin with. With too few of them a large programme
    takes many rounds, each of which solves all of it again."""
    return max(CANDIDATES_MIN, round(pools * CANDIDATES_SHARE))


def _add(programme: _Programme, name: str, lost: Bools) -> bool:
    """Adds one loss, by column; False if it can't strike critical load and needs no rows."""
    tableau, is_merged = programme.tableau, programme.classes is not None
    block = block_of(tableau.instance, name, lost, with_hubs=is_merged)
    if block is None:
        return False
    programme.losses.blocks.append(block)
    tableau.add_block(block, programme.losses.penalty[block.struck])
    return True


def _least(instance: Instance) -> float:
    """The load, scaled, below which a shortfall is rounding."""
    return SHORT_SHARE * float(instance.load.sum())


def _penalty(instance: Instance, providers: int) -> Floats:
    """[C] the points of a unit without room after one loss.

    With many losses each counts less: all of them together cost 2,400 points at most (3,600 for
    critical_plus), far less than to shed load.
    """
    base = min(SECURITY, SECURITY_ALL / max(1, providers + DOMAINS_MAX) * 1.5)
    penalty = np.full(len(instance.reserve), base)
    for place, number in enumerate(instance.class_of):
        if number >= 0 and instance.compiled.routes[instance.routes[place]].rank == 0:
            penalty[number] = base * TOP_RANK_FACTOR
    return penalty


def _secured_plan(programme: _Programme, problem: Problem) -> Plan:
    """The plan after the rounds in which losses that are not survived join the programme."""
    tableau, losses = programme.tableau, programme.losses
    added, rounds, left = _secure(programme)
    compiled, least = tableau.instance.compiled, _least(tableau.instance)
    unmet = [block.name for block in losses.blocks if tableau.short(block).sum() > least]
    unmet += [name for name in left if name not in unmet]
    return Plan(
        policy_version=compiled.version,
        inputs=digest_of(problem),
        made_ms=problem.at_ms,
        targets=tuple(_targets(programme)),
        met=tuple(name for name in (*compiled.providers, *losses.domains) if name not in unmet),
        unmet=tuple(unmet),
        shortfalls=tuple(_shortfalls(tableau, programme.commodities.routes, losses.blocks)),
        marginals=tuple(_marginals(tableau)),
        screened=len(losses.domains),
        added=tuple(added),
        rounds=rounds,
    )


def _secure(programme: _Programme) -> tuple[list[str], int, list[str]]:
    """Screens, adds what is not survived, solves again: (names added, solves, names still not survived).

    Where pools are merged nothing is added, as such a loss may strike a part of a class.
    """
    added: list[str] = []
    if programme.classes is not None:
        return added, 1, _unsurvived(programme)
    for number in range(1, ROUNDS_MAX):
        left = _unsurvived(programme)
        names = left[: min(JOIN_PER_ROUND, DOMAINS_MAX - len(added))]
        if not names:
            return added, number, left
        added += [name for name in names if _add(programme, name, programme.losses.domains[name])]
        programme.tableau.solve()
    return added, ROUNDS_MAX, _unsurvived(programme)


def _unsurvived(programme: _Programme) -> list[str]:
    """Domains outside the programme whose loss is not survived by the last optimum, the worst first."""
    losses, instance = programme.losses, programme.commodities.merged
    inside = {block.name for block in losses.blocks}
    outside = {name: lost for name, lost in losses.domains.items() if name not in inside}
    flows = programme.flows() + instance.fixed
    return unsurvived(instance, flows, outside, programme.survived(), _least(instance))


def _targets(programme: _Programme) -> list[Target]:
    """The shares of each route with load, in whole parts per million."""
    instance, targets = programme.commodities.routes, []
    flows, shed = given_back(programme.commodities, programme.flows(), programme.tableau.shed())
    flows += instance.fixed
    for place, route in enumerate(instance.routes):
        load = instance.load[place]
        pools = [int(pool) for pool in np.nonzero(flows[place] > CRUMB * load)[0]]
        amounts = [float(flows[place, pool]) for pool in pools]
        dropped = float(shed[place]) if shed[place] > CRUMB * load else 0.0
        if not pools and not dropped:
            continue  # less load than the solver can tell from none
        *parts, shed_parts = whole([*amounts, dropped], MILLION)
        pairs = [(pool, part) for pool, part in zip(pools, parts, strict=True) if part]
        weights = tuple(part for _, part in pairs)
        targets.append(Target(int(route), tuple(pool for pool, _ in pairs), weights, shed=shed_parts))
    return targets


def _shortfalls(tableau: Tableau, routes: Instance, blocks: list[LossBlock]) -> list[Shortfall]:
    """For each loss and struck class: the load without room in units/s, and where that load may go at all."""
    instance, compiled, shortfalls = routes, routes.compiled, []
    for block in blocks:
        for number, units in zip(block.struck, tableau.short(block), strict=True):
            if units <= _least(instance):
                continue
            members = [int(instance.routes[place]) for place in np.nonzero(instance.class_of == number)[0]]
            lawful = compiled.routes[members[0]].lawful
            shortfalls.append(
                Shortfall(
                    lost=block.name,
                    geographies=tuple(sorted({compiled.policy.pools[pool].geography for pool in lawful})),
                    routes=tuple(compiled.routes[route].name for route in members),
                    units_per_s=round(float(units) / instance.scale, 3),
                )
            )
    return shortfalls


def _marginals(tableau: Tableau) -> list[Marginal]:
    """The limits that bind and whose next unit/s is worth more than latency, the most valuable first."""
    compiled = tableau.instance.compiled
    pools, groups = tableau.shadow_prices()
    named = [*zip(compiled.pools, pools, strict=True), *zip(compiled.groups, groups, strict=True)]
    binding = [(name, worth) for name, worth in named if worth > MARGINAL_MIN]
    marginals = [Marginal(name, round(float(worth), 3), _relief(worth)) for name, worth in binding]
    return sorted(marginals, key=lambda marginal: (-marginal.worth, marginal.limit))


def _relief(worth: float) -> Relief:
    """What one more unit/s would mostly buy, read from the tier of costs that it saves."""
    if worth >= SHED[-1] / 2:
        return "shed"
    if worth >= FIRST_REFUSAL / 2:
        return "contract"
    return "security" if worth >= SECURITY / 2 else "cost"
