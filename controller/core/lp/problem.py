"""Snapshot -> ``Problem``: the same assessment that the step makes, reduced to what the programme needs."""

from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.model.dispatch_plan import Problem
from controller.core.moves.held_table import Held, held, split_of
from controller.core.moves.modes import without_choice
from controller.core.orders.claims import refused
from controller.core.policy.compiled import compile_policy
from controller.core.snapshot import Snapshot
from tieline.table import Split


def problem_of(snapshot: Snapshot, now_ms: int) -> Problem:
    """What the programme is to solve now. Needs a table in force."""
    if snapshot.table is None:
        raise ValueError("nothing can be planned before there is a table")
    known = assess(snapshot, compile_policy(snapshot.policy), now_ms)
    compiled, limits = known.compiled, without_choice(known.use, known.orders).looking_ahead().limits
    return Problem(
        compiled.version,
        now_ms,
        tuple(known.demand),
        tuple(_splits(held(compiled, snapshot.table))),
        tuple(limits.usable),
        tuple(limits.committed),
        tuple(limits.grade),
        tuple(limits.group_usable),
        tuple(sorted(refused(compiled, snapshot.statements, now_ms))),
        tuple(sorted(known.orders.providers_of("provider_share", compiled))),
    )


def _splits(before: Held) -> list[Split]:
    """The table in force in the policy's own numbers."""
    return [
        route.split if before.same_pools and route is not None else split_of(weights, shed)
        for route, weights, shed in zip(before.routes, before.weights, before.shed, strict=True)
    ]


def grown(problem: Problem, growth: float) -> Problem:
    """The same world with every demand larger by ``growth`` (0.2: a fifth more)."""
    if growth <= -1:
        raise ValueError(f"demand can't grow by {growth:g}: it would not be positive")
    return replace(problem, demand=tuple(units * (1 + growth) for units in problem.demand))
