"""The first table of a lineage. Nothing is known yet, so the policy's committed capacity is used in part.

That part is ``first_table_share``. The rules that unknown pools gain nothing, and that nothing is moved
onto a pool without fresh capacity, do not hold here. Critical load that would be shed may use the committed
capacity up to the headroom.
"""

from controller.core.moves.draft import GAINS, OUT, Draft, DraftLimits
from controller.core.moves.eligible import Use
from controller.core.moves.forced import find_places, settle
from controller.core.moves.unplaced import whole_routes
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import CRITICAL_RANK, CompiledPolicy


def first_draft(compiled: CompiledPolicy, claims: Claims, demand: list[float]) -> Draft:
    """Every route filled in order of merit. Drained and evacuated pools stay out, as in maintenance."""
    policy, count = compiled.policy, len(compiled.routes)
    draft = Draft(compiled, demand, [{} for _ in range(count)], shed=[0] * count)
    use = _use(compiled, claims, policy.thresholds.first_table_share)
    find_places(draft, use, whole_routes(compiled), [])
    settle(draft, _use(compiled, claims, policy.headroom), restore_rank=CRITICAL_RANK)
    return draft


def _use(compiled: CompiledPolicy, claims: Claims, share: float) -> Use:
    """``share`` of what every pool is assumed to have."""
    policy = compiled.policy
    usable = [pool.assumed_units_per_s * share for pool in policy.pools]
    limits = DraftLimits(
        usable,
        [pool.committed_units_per_s * share for pool in policy.pools],
        [OUT if claims.emptied(index) else GAINS for index in range(len(usable))],
        group_usable=[group.limit_units_per_s * share for group in policy.quota_groups],
    )
    return Use(limits, keeps=usable, lost={}, panic=False)
