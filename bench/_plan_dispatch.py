"""The cases of `script/bench plan` that solve the whole table.

A sample is one whole request from scratch, from the problem in the controller to the plan that it gets back,
without the pipe to the solver process: no basis is kept from one to the next. Each sample is another hour of
the day: the table in force is the plan of the hour before, and every route's demand has changed by up to a
fifth. The load is high enough that losses bind. `from merit order` starts from a table that no solver has
touched, which lies farthest from the optimum.

The other cases count, for each plan, the failure domains that were screened, those of them that joined the
programme because they were not survived, and the losses that are not survived even so.
"""

import io
import time
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from bench._frame import Case
from bench._plan_world import Size, policy_of, problem_under
from controller.core.model.dispatch_plan import Plan, Problem
from controller.core.moves.first_table import first_draft
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.dispatch.__main__ import reply_to
from controller.dispatch.frames import LENGTH, SolveRequest, decode_reply, framed, read_request
from tieline.table import Split

FILLED = 0.85
HOURS = 12
COLD_SOLVES = 3
SWING = 0.2
LIMIT_S = 600.0  # of the solver; the product's own is shorter, and a slow machine is no error here


class Sample(NamedTuple):
    """One solve: the milliseconds that passed, those that the processor worked, and the plan."""

    clock_ms: float
    processor_ms: float
    plan: Plan


class ColdSolves(NamedTuple):
    """Solves of one problem whose table in force no solver has touched."""

    compiled: CompiledPolicy
    problem: Problem
    samples: list[Sample]


def _next_hour(compiled: CompiledPolicy, problem: Problem, plan: Plan, hour: int) -> Problem:
    """The plan is the table in force, and each route's demand has moved on by its own rhythm."""
    in_force = list(problem.in_force)
    for target in plan.targets:
        in_force[target.route] = Split(target.pools, target.weights, target.shed)
    demand = tuple(
        route.expected_units_per_s * (1 + SWING * ((hour * 7 + number * 3) % 11 - 5) / 5)
        for number, route in enumerate(compiled.routes)
    )
    return replace(problem, in_force=tuple(in_force), demand=demand)


def _merit_order(compiled: CompiledPolicy) -> tuple[Split, ...]:
    demand = [route.expected_units_per_s for route in compiled.routes]
    draft = first_draft(compiled, Claims({}, {}, None), demand)
    return tuple(
        Split(tuple(weights), tuple(weights.values()), shed)
        for weights, shed in zip(draft.weights, draft.shed, strict=True)
    )


def _plan(compiled: CompiledPolicy, problem: Problem) -> Plan:
    """The plan of one request. Raises ``RuntimeError`` if the solver finds none."""
    request = read_request(io.BytesIO(framed(SolveRequest(1, problem, limit_s=LIMIT_S))))
    assert request is not None
    reply = decode_reply(framed(reply_to(request, compiled))[LENGTH.size :])
    if reply.plan is None:
        raise RuntimeError(f"there is no plan to measure: {reply.why}")
    return reply.plan


def _sample(compiled: CompiledPolicy, problem: Problem) -> Sample:
    began, worked = time.perf_counter(), time.process_time()
    plan = _plan(compiled, problem)
    return Sample((time.perf_counter() - began) * 1_000, (time.process_time() - worked) * 1_000, plan)


def solved_from_merit_order(size: Size, contexts: int = 0) -> ColdSolves:
    """A few solves of the installation's first problem; one before them, uncounted, loads the solver."""
    policy = policy_of(size, filled=FILLED, contexts=contexts)
    compiled = compile_policy(policy)
    problem = problem_under(policy, _merit_order(compiled))
    _plan(compiled, problem)
    return ColdSolves(compiled, problem, [_sample(compiled, problem) for _ in range(COLD_SOLVES)])


def dispatch_cases(name: str, size: Size, target: dict[str, float], contexts: int = 0) -> Iterator[Case]:
    """``name`` says the size, e.g. `400 pools`. With ``contexts`` hardly any two routes are alike."""
    compiled, problem, cold = solved_from_merit_order(size, contexts)
    name = f"dispatch {name}"
    samples = [cold[-1]]
    for hour in range(HOURS):
        problem = _next_hour(compiled, problem, samples[-1].plan, hour)
        samples.append(_sample(compiled, problem))
    del samples[0]
    plans = [sample.plan for sample in samples]
    yield Case(name, "ms", [sample.clock_ms for sample in samples], target)
    yield Case(f"{name}, processor", "ms", [sample.processor_ms for sample in samples])
    yield Case(f"{name}, from merit order", "ms", [sample.clock_ms for sample in cold])
    yield Case(f"{name}, from merit order, processor", "ms", [sample.processor_ms for sample in cold])
    yield Case(f"{name}, screened", "domains", [plan.screened for plan in plans])
    yield Case(f"{name}, added", "domains", [len(plan.added) for plan in plans])
    yield Case(f"{name}, not survived", "losses", [len(plan.unmet) for plan in plans])
