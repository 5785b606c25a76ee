"""The first table of a lineage: nothing is known yet, so the policy's committed capacity x 0.5 is used.

Exempt from "unknown gains nothing" and from the fresh-capacity guard. Critical load that this would shed may
use the committed capacity up to the headroom.
"""

from controller.core.moves.draft import GAINS, OUT, Draft, Limits
from controller.core.moves.eligible import Use
from controller.core.moves.reflex import NOWHERE, Homeless, find_places, settle
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import CRITICAL_RANK, CompiledPolicy
from tieline.table import MILLION


def first_draft(compiled: CompiledPolicy, held: Claims, demand: list[float]) -> Draft:
    """Every route filled in merit order; drained pools and those under maintenance stay out."""
    count = len(compiled.routes)
    draft = Draft(compiled, demand, [{} for _ in range(count)], [0] * count)
    whole = [
        Homeless(route.rank, index, NOWHERE, MILLION, False) for index, route in enumerate(compiled.routes)
    ]
    find_places(draft, _use(compiled, held, compiled.policy.thresholds.first_table_share), whole, [])
    settle(draft, _use(compiled, held, compiled.policy.headroom), restore_rank=CRITICAL_RANK)
    return draft


def _use(compiled: CompiledPolicy, held: Claims, share: float) -> Use:
    policy = compiled.policy
    usable = [pool.assumed_units_per_s * share for pool in policy.pools]
    committed = [pool.committed_units_per_s * share for pool in policy.pools]
    grades = [OUT if index in held.withdrawn else GAINS for index in range(len(usable))]
    groups = [group.limit_units_per_s * share for group in policy.quota_groups]
    return Use(Limits(usable, committed, grades, groups), usable, {}, False)
