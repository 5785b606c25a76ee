"""What is not done because a provider's mode forbids it: said, so that an operator can approve or do it."""

from controller.core.assessment import Assessment
from controller.core.changes import Change, Situation, too_little_heard, voluntary_step
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.moves.draft import Draft
from controller.core.moves.forced import settle
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import bound_pools, modes_in_force, within_freezes
from controller.core.policy.compiled import LOWEST_RANK
from tieline.table import MILLION

MODES = {"observe": Reason.MODE_OBSERVE, "recommend": Reason.MODE_RECOMMEND}


def withheld_moves(situation: Situation, change: Change | None) -> list[Verdict]:
    """The forced moves that modes forbid, else the moves by choice that they forbid.

    One verdict for each pool that may not be acted on and whose load would change: from which mean share of
    all routes to which (``before``, ``after``), and why (``because``). Moves by choice are left out beside an
    urgent change, which must not wait for them.
    """
    bound = bound_pools(situation.assessment.compiled, situation.assessment.orders)
    if not bound:
        return []
    withheld = _by_force(situation, bound)
    if withheld or (change and change.urgent):
        return withheld
    return _by_choice(situation, bound)


def _by_force(situation: Situation, bound: list[int]) -> list[Verdict]:
    _, assessment, before, now_ms = situation
    draft = before.draft(assessment.demand)
    settle(draft, assessment.acting, restore_rank=LOWEST_RANK)
    return _changes(assessment, bound, before, draft, now_ms)


def _by_choice(situation: Situation, bound: list[int]) -> list[Verdict]:
    _, assessment, before, now_ms = situation
    if too_little_heard(assessment):
        return []
    use = within_freezes(assessment.acting, assessment.orders)
    step = voluntary_step(assessment, use, before, situation.plan)
    moving = {pool for pool in bound if _parts(before.weights, pool) != _parts(step.draft.weights, pool)}
    return _changes(assessment, sorted(moving), before, step.target, now_ms)


def _changes(
    assessment: Assessment, pools: list[int], before: HeldTable, after: Draft, now_ms: int
) -> list[Verdict]:
    verdicts = []
    compiled = assessment.compiled
    modes = modes_in_force(compiled, assessment.orders)
    for pool in pools:
        was, then = _parts(before.weights, pool), _parts(after.weights, pool)
        if was == then:
            continue
        shares = [f"{parts / MILLION / len(before.weights):.1%}" for parts in (was, then)]
        verdicts.append(
            Verdict(
                compiled.pools[pool],
                MODES[modes[compiled.provider_of[pool]]],
                now_ms,
                before=shares[0],
                after=shares[1],
                because=_reason(assessment, pool).value,
            )
        )
    return verdicts


def _reason(assessment: Assessment, pool: int) -> Reason:
    """Why the pool's load would change: a claim, its state, else merit."""
    if claim := assessment.claims.emptied(pool):
        return claim[0]
    memory = assessment.memory.pools[assessment.compiled.pools[pool]]
    return Reason.MERIT_ORDER if memory.state is State.HEALTHY else memory.reason


def _parts(routes: list[dict[int, int]], pool: int) -> int:
    return sum(weights.get(pool, 0) for weights in routes)
