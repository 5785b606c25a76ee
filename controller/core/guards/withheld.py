"""What is not done because a provider's mode forbids it: said, so that an operator can approve or do it."""

from controller.core.assessment import Assessment
from controller.core.choice import chosen, too_little_heard
from controller.core.model.dispatch_plan import Plan
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.moves.draft import Draft
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import bound_pools, within_freezes
from controller.core.moves.reflex import settle
from controller.core.policy.compiled import LOWEST_RANK
from tieline.table import MILLION

MODES = {"observe": Reason.MODE_OBSERVE, "recommend": Reason.MODE_RECOMMEND}


def withheld_by_force(known: Assessment, before: HeldTable, now_ms: int) -> list[Verdict]:
    """Of each pool whose mode forbids to act: from which mean share of all routes to which a forced move
    would take it, and why (``because``)."""
    bound = bound_pools(known.compiled, known.orders)
    if not bound:
        return []
    draft = before.draft(known.demand)
    settle(draft, known.acting, restore_rank=LOWEST_RANK)
    return _changes(known, bound, before, draft, now_ms)


def withheld_by_choice(known: Assessment, before: HeldTable, plan: Plan | None, now_ms: int) -> list[Verdict]:
    """The same for moves by choice: to where their steps would lead."""
    bound = bound_pools(known.compiled, known.orders)
    if not bound or too_little_heard(known):
        return []
    step = chosen(known, within_freezes(known.acting, known.orders), before, plan)
    moving = {pool for pool in bound if _parts(before.weights, pool) != _parts(step.draft.weights, pool)}
    return _changes(known, sorted(moving), before, step.target, now_ms)


def _changes(
    known: Assessment, pools: list[int], before: HeldTable, after: Draft, now_ms: int
) -> list[Verdict]:
    said = []
    for pool in pools:
        was, then = (_parts(weights, pool) for weights in (before.weights, after.weights))
        if was == then:
            continue
        name = known.compiled.pools[pool]
        reason = MODES[known.compiled.policy.providers[known.compiled.provider_of[pool]].mode]
        before_text, after_text = (f"{parts / MILLION / len(before.weights):.1%}" for parts in (was, then))
        said.append(Verdict(name, reason, now_ms, None, before_text, after_text, because=_why(known, pool)))
    return said


def _why(known: Assessment, pool: int) -> str:
    """The pool's own reason, else merit."""
    if pool in known.claims.withdrawn:
        return known.claims.withdrawn[pool][0].value
    memory = known.memory.pools[known.compiled.pools[pool]]
    return Reason.MERIT_ORDER.value if memory.state is State.HEALTHY else memory.reason.value


def _parts(weights: list[dict[int, int]], pool: int) -> int:
    return sum(held.get(pool, 0) for held in weights)
