"""Snapshot to ``Problem``: the assessment that a step makes, reduced to what the linear programme needs.

This file runs in the controller, so that the solver process gets plain numbers and decides nothing itself.
It must not import numpy or highspy.
"""

from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.model.dispatch_plan import Problem
from controller.core.model.memo import Memo
from controller.core.moves.held_table import HeldTable, split_of
from controller.core.moves.modes import within_freezes
from controller.core.orders.claims import declined_pools
from controller.core.snapshot import Snapshot
from tieline.table import Split


def problem_of(snapshot: Snapshot, now_ms: int, memo: Memo | None = None) -> Problem:
    """The problem to solve for this snapshot at ``now_ms``.

    Frozen pools keep what they carry, as a plan only guides moves by choice. Pools whose capacity is about to
    shrink already count with the smaller figure. Raises ``ValueError`` if no table is in force.
    """
    if snapshot.table is None:
        raise ValueError("the dispatch needs a table in force: decide a first table before asking for a plan")
    memo = memo or Memo()
    assessment = assess(snapshot, now_ms, memo)
    compiled = assessment.compiled
    limits = within_freezes(assessment.use, assessment.orders).looking_ahead().limits
    return Problem(
        policy_version=compiled.version,
        at_ms=now_ms,
        demand=tuple(assessment.demand),
        in_force=tuple(_splits(memo.once(HeldTable, compiled, snapshot.table))),
        usable=tuple(limits.usable),
        committed=tuple(limits.committed),
        grade=tuple(limits.grade),
        group_usable=tuple(limits.group_usable),
        refused=tuple(sorted(declined_pools(compiled, snapshot.statements, now_ms))),
        used_up=snapshot.used_up,
        unshared=tuple(sorted(assessment.orders.providers_of("provider_share", compiled))),
    )


def _splits(before: HeldTable) -> list[Split]:
    """The table in force by route, with the pool numbers of the policy."""
    return [
        route.split if before.same_pools and route is not None else split_of(weights, shed)
        for route, weights, shed in zip(before.routes, before.weights, before.shed, strict=True)
    ]


def grown(problem: Problem, growth: float) -> Problem:
    """The same problem with every demand larger by the share ``growth`` (0.2: a fifth more).

    Raises ``ValueError`` unless ``growth`` is above -1.
    """
    if growth <= -1:
        raise ValueError(f"demand can't grow by {growth:g}: give a growth above -1")
    return replace(problem, demand=tuple(units * (1 + growth) for units in problem.demand))
