"""Problem -> Plan by one linear programme: demand, contracts, headroom, law, N-1, price, latency, moves.

Pure: the same problem gives the same bytes. Losses of providers are inside the programme; other failure
domains are screened after the solve, and only those that are not survived join it, in a few rounds.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from controller.core.lp.programme import (
    FIRST_REFUSAL,
    SECURITY,
    SECURITY_ALL,
    SHED,
    Block,
    Bools,
    Floats,
    World,
    block_of,
    world_of,
)
from controller.core.lp.screen_losses import doubtful, survives
from controller.core.lp.tableau import CANDIDATES, NoAnswerError, Tableau
from controller.core.model.dispatch_plan import Marginal, Plan, Problem, Relief, Shortfall, Target
from controller.core.moves.draft import whole
from controller.core.policy.compiled import CompiledPolicy, without_share_limits
from tieline.table import MILLION, checksum

__all__ = ["NoAnswerError", "Solved", "digest_of", "solve"]

ROUNDS_MAX = 4
JOIN_PER_ROUND = 6
DOMAINS_MAX = 16
SHORT_SHARE = 1e-5  # of all load: less than this is rounding
CRUMB = 5e-6  # of a route: less than this is no share
LIMIT_S = 5.0

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Solved(NamedTuple):
    """A plan, its cost in points x units/s, and how large the programme became."""

    plan: Plan
    cost: float
    rows: int
    columns: int
    pricings: int


def digest_of(problem: Problem) -> str:
    """Names the inputs of a plan, 32 hex digits."""
    return checksum(_encoder.encode(problem))


def solve(
    compiled: CompiledPolicy, problem: Problem, *, limit_s: float = LIMIT_S, candidates: int = CANDIDATES
) -> Solved:
    """The best plan; the solver begins with that many pools per route and adds what would improve it.

    Raises ``NoAnswerError`` if the solver has none: late, failed, not set.
    """
    if problem.policy_version != compiled.version:
        raise ValueError(f"the problem is of policy {problem.policy_version}, not {compiled.version}")
    compiled = without_share_limits(compiled, frozenset(problem.unshared))
    if not any(units > 0 for units in problem.demand):
        return Solved(Plan(compiled.version, digest_of(problem), problem.at_ms, ()), 0.0, 0, 0, 0)
    world = world_of(compiled, problem)
    tableau = Tableau(world, limit_s, candidates)
    penalty = _penalty(world, len(compiled.providers))
    blocks: list[Block] = []
    for number, provider in enumerate(compiled.providers):
        block = block_of(world, provider, world.provider == number)
        if block is not None:
            blocks.append(block)
            tableau.add_block(block, penalty[block.classes])
    tableau.solve()
    domains = _domains(compiled)
    added, rounds, unsurvived = _secure(tableau, blocks, domains, penalty)
    short = {block.name: tableau.short(block) for block in blocks}
    unmet = [name for name, units in short.items() if units.sum() > _least(world)]
    names = [*compiled.providers, *domains]
    unmet += [name for name in unsurvived if name not in unmet]
    plan = Plan(
        compiled.version,
        digest_of(problem),
        problem.at_ms,
        tuple(_targets(tableau)),
        tuple(name for name in names if name not in unmet),
        tuple(unmet),
        tuple(_shortfalls(tableau, blocks)),
        tuple(_marginals(tableau)),
        len(domains),
        tuple(added),
        rounds,
    )
    cost = tableau.objective / world.scale
    return Solved(plan, cost, tableau.rows, tableau.columns, tableau.pricings)


def _least(world: World) -> float:
    return SHORT_SHARE * float(world.load.sum())


def _penalty(world: World, losses: int) -> Floats:
    """By class: what critical load without room after one loss costs; the most critical half as much more."""
    base = min(SECURITY, SECURITY_ALL / max(1, losses + DOMAINS_MAX) * 1.5)
    found = np.full(len(world.reserve), base)
    for place, klass in enumerate(world.klass):
        if klass >= 0 and world.compiled.routes[world.routes[place]].rank == 0:
            found[klass] = base * 1.5
    return found


def _domains(compiled: CompiledPolicy) -> dict[str, Bools]:
    """Failure domains other than providers: regions, and whatever the pools name. In order of name.

    One that is just all of a provider is that provider.
    """
    whole_providers = {tuple(pools) for pools in compiled.pools_of}
    members: dict[str, list[int]] = {}
    for index, pool in enumerate(compiled.policy.pools):
        for name in dict.fromkeys((f"{pool.provider}/{pool.region}", *pool.domains)):
            members.setdefault(name, []).append(index)
    found = {}
    for name in sorted(name for name in members if tuple(members[name]) not in whole_providers):
        lost = np.zeros(len(compiled.pools), dtype=np.bool_)
        lost[members[name]] = True
        found[name] = lost
    return found


def _unsurvived(tableau: Tableau, blocks: list[Block], domains: dict[str, Bools]) -> list[str]:
    """Domains outside the programme whose loss would leave critical load without room, the worst first.

    A part of a loss that is survived is survived as well, so most need no look of their own.
    """
    least = _least(tableau.world)
    inside = {block.name for block in blocks}
    survived = [block.lost for block in blocks if tableau.short(block).sum() <= least]
    flows = tableau.flows() + tableau.world.kept
    open_names = [
        name
        for name, lost in domains.items()
        if name not in inside and not any((lost <= covered).all() for covered in survived)
    ]
    if not open_names:
        return []
    doubt = doubtful(tableau.world, flows, np.array([domains[name] for name in open_names]))
    found = []
    for name in (name for name, is_open in zip(open_names, doubt, strict=True) if is_open):
        lost = domains[name]
        if (units := survives(tableau.world, flows, lost)) > least:
            found.append((-units, name))
    return [name for _, name in sorted(found)]


def _secure(
    tableau: Tableau, blocks: list[Block], domains: dict[str, Bools], penalty: Floats
) -> tuple[list[str], int, list[str]]:
    """Screens, adds what is not survived, solves again; a few times. (names added, solves, names left)."""
    added: list[str] = []
    for number in range(1, ROUNDS_MAX):
        left = _unsurvived(tableau, blocks, domains)
        names = left[: min(JOIN_PER_ROUND, DOMAINS_MAX - len(added))]
        if not names:
            return added, number, left
        for name in names:
            block = block_of(tableau.world, name, domains[name])
            if block is not None:
                blocks.append(block)
                added.append(name)
                tableau.add_block(block, penalty[block.classes])
        tableau.solve()
    return added, ROUNDS_MAX, _unsurvived(tableau, blocks, domains)


def _targets(tableau: Tableau) -> list[Target]:
    """Whole parts per million of every route with load."""
    world, found = tableau.world, []
    flows, shed = tableau.flows() + world.kept, tableau.shed()
    for place, route in enumerate(world.routes):
        load = world.load[place]
        pools = [int(p) for p in np.nonzero(flows[place] > CRUMB * load)[0]]
        amounts = [float(flows[place, p]) for p in pools]
        dropped = float(shed[place]) if shed[place] > CRUMB * load else 0.0
        parts = whole([*amounts, dropped], MILLION)
        pairs = [(pool, part) for pool, part in zip(pools, parts, strict=False) if part]
        found.append(
            Target(int(route), tuple(p for p, _ in pairs), tuple(part for _, part in pairs), parts[-1])
        )
    return found


def _shortfalls(tableau: Tableau, blocks: list[Block]) -> list[Shortfall]:
    """Per loss and class of routes, what has no room, where that load may go, in units/s."""
    world, compiled, found = tableau.world, tableau.world.compiled, []
    for block in blocks:
        for klass, units in zip(block.classes, tableau.short(block), strict=True):
            if units <= _least(world):
                continue
            members = [int(world.routes[place]) for place in np.nonzero(world.klass == klass)[0]]
            lawful = compiled.routes[members[0]].lawful
            places = sorted({compiled.policy.pools[pool].geography for pool in lawful})
            names = tuple(compiled.routes[route].name for route in members)
            found.append(Shortfall(block.name, tuple(places), names, round(float(units) / world.scale, 3)))
    return found


def _marginals(tableau: Tableau) -> list[Marginal]:
    """Limits that bind and would be worth more than money, the most valuable first."""
    compiled = tableau.world.compiled
    pools, groups = tableau.worth()
    named = [*zip(compiled.pools, pools, strict=True), *zip(compiled.groups, groups, strict=True)]
    found = [Marginal(name, round(float(worth), 3), _relief(worth)) for name, worth in named if worth > 1.0]
    return sorted(found, key=lambda marginal: (-marginal.worth, marginal.limit))


def _relief(worth: float) -> Relief:
    if worth >= SHED[-1] / 2:
        return "shed"
    if worth >= FIRST_REFUSAL / 2:
        return "contract"
    return "security" if worth >= SECURITY / 2 else "cost"
