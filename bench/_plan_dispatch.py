"""The cases of `script/bench plan` that solve the whole table.

One sample is one whole solve, from the problem to the plan, from scratch: no basis is kept from one to the
next. Each is another hour of the day: the table in force is the plan of the hour before, every route's demand
has changed by up to a fifth. `from merit order` starts from a table that no solver has touched, the farthest
from the optimum. Load is high enough that losses bind. Beside the times: failure domains screened after the
solve, those of them that joined the programme as they were not survived, and losses that remain so.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from bench._frame import Case
from bench._plan_world import policy_of, problem_under
from controller.core.lp.solve import solve
from controller.core.model.dispatch_plan import Plan, Problem
from controller.core.moves.first_table import first_draft
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from tieline.table import Split

FILLED = 0.85
HOURS = 12
COLD = 3
SWING = 0.2


def _next_hour(compiled: CompiledPolicy, problem: Problem, plan: Plan, hour: int) -> Problem:
    """The plan is the table in force, and each route's demand has moved on by its own rhythm."""
    held = list(problem.held)
    for target in plan.targets:
        held[target.route] = Split(target.pools, target.weights, target.shed)
    demand = tuple(
        route.expected_units_per_s * (1 + SWING * ((hour * 7 + number * 3) % 11 - 5) / 5)
        for number, route in enumerate(compiled.routes)
    )
    return replace(problem, held=tuple(held), demand=demand)


def _merit_order(compiled: CompiledPolicy) -> tuple[Split, ...]:
    demand = [route.expected_units_per_s for route in compiled.routes]
    draft = first_draft(compiled, Claims({}, {}, None), demand)
    return tuple(
        Split(tuple(weights), tuple(weights.values()), shed)
        for weights, shed in zip(draft.weights, draft.shed, strict=True)
    )


class Took(NamedTuple):
    """Milliseconds on the clock, and of the processor."""

    clock: float
    processor: float


def _timed(compiled: CompiledPolicy, problem: Problem) -> tuple[Took, Plan]:
    began, worked = time.perf_counter(), time.process_time()
    plan = solve(compiled, problem).plan
    return Took((time.perf_counter() - began) * 1_000, (time.process_time() - worked) * 1_000), plan


def solved_from_merit_order(
    size: tuple[int, int, int],
) -> tuple[CompiledPolicy, Problem, list[tuple[Took, Plan]]]:
    """The installation's compiled, its first problem, and what each of a few solves of it took."""
    policy = policy_of(*size, filled=FILLED)
    compiled = compile_policy(policy)
    problem = problem_under(policy, _merit_order(compiled))
    solve(compiled, problem)
    return compiled, problem, [_timed(compiled, problem) for _ in range(COLD)]


def dispatch_cases(name: str, size: tuple[int, int, int], target: dict[str, float]) -> Iterator[Case]:
    """``name`` says the size, e.g. `400 pools`."""
    rules, problem, cold = solved_from_merit_order(size)
    name = f"dispatch {name}"
    plan = cold[-1][1]
    samples, plans = [], []
    for hour in range(HOURS):
        problem = _next_hour(rules, problem, plan, hour)
        took, plan = _timed(rules, problem)
        samples.append(took)
        plans.append(plan)
    yield Case(name, "ms", [took.clock for took in samples], target)
    yield Case(f"{name}, processor", "ms", [took.processor for took in samples])
    yield Case(f"{name}, from merit order", "ms", [took.clock for took, _ in cold])
    yield Case(f"{name}, screened", "domains", [plan.screened for plan in plans])
    yield Case(f"{name}, added", "domains", [len(plan.added) for plan in plans])
    yield Case(f"{name}, not survived", "losses", [len(plan.unmet) for plan in plans])
