"""What would happen if pools were lost or demand grew: the planner's own forced moves, worked out on paper.

A pool that is lost counts as down: nothing succeeds there, and no evidence speaks for it. Everything else is
as it is now. So the answer is the table that the planner would publish at once. Nothing is changed anywhere.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.evidence.finding import SILENT
from controller.core.inspect.measure import Measurement, measure, moved_units
from controller.core.model.memo import Memo
from controller.core.model.reasons import Reason, State
from controller.core.moves.draft import Draft
from controller.core.moves.eligible import Use, eligible
from controller.core.moves.forced import find_places, settle
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import within_modes
from controller.core.moves.unplaced import UnplacedLoad, whole_routes
from controller.core.policy.compiled import LOWEST_RANK, CompiledPolicy
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from tieline.events import in_scope


class Loss(Struct, frozen=True):
    """Pools that are lost together, and what they have in common.

    ``kind`` is provider, region, domain (a failure domain that pools name) or pool; ``name`` says which.
    """

    name: str
    kind: str
    pools: tuple[str, ...]


class PoolLoad(Struct, frozen=True):
    """One pool's load before and after, and its limit, in units/s."""

    pool: str
    before: float
    after: float
    limit: float


class WhatIfQuestion(Struct, frozen=True):
    """Which pools are lost, and by which share demand grows (0.2: a fifth more)."""

    lost: tuple[str, ...] = ()
    growth: float = 0.0


class WhatIfAnswer(Struct, frozen=True):
    """``before`` is the table in force under today's demand, ``after`` what the loss and the growth leave."""

    lost: tuple[str, ...]
    growth: float
    before: Measurement
    after: Measurement
    moved_units_per_s: float
    pools: tuple[PoolLoad, ...]


def losses(policy: Policy) -> tuple[Loss, ...]:
    """Everything that can be lost as one: providers, regions, failure domains and single pools."""
    pools = policy.pools
    regions = sorted({f"{pool.provider}/{pool.region}" for pool in pools})
    domains = sorted({domain for pool in pools for domain in pool.domains})
    scopes = [("provider", provider.id) for provider in policy.providers]
    scopes += [("region", region) for region in regions]
    scoped = [Loss(name, kind, tuple(p.id for p in pools if in_scope(p.id, name))) for kind, name in scopes]
    shared = [Loss(name, "domain", tuple(p.id for p in pools if name in p.domains)) for name in domains]
    return (*(loss for loss in scoped if loss.pools), *shared, *(Loss(p.id, "pool", (p.id,)) for p in pools))


def single_losses(policy: Policy) -> tuple[Loss, ...]:
    """The losses that N-1 asks about: each provider, region and failure domain, but not single pools."""
    return tuple(loss for loss in losses(policy) if loss.kind != "pool")


def what_if(snapshot: Snapshot, now_ms: int, question: WhatIfQuestion) -> WhatIfAnswer:
    """The answer to one question. Names that are no pools of the policy are ignored."""
    return what_ifs(snapshot, now_ms, (question,))[0]


def what_ifs(
    snapshot: Snapshot, now_ms: int, questions: Iterable[WhatIfQuestion]
) -> tuple[WhatIfAnswer, ...]:
    """The answers to several questions about the same moment, in their order."""
    assessment = assess(snapshot, now_ms)
    return tuple(_answer(snapshot, assessment, question, now_ms) for question in questions)


def draft_after(snapshot: Snapshot, assessment: Assessment, question: WhatIfQuestion) -> tuple[Draft, Use]:
    """The draft to which the planner's forced moves lead, and what they were allowed to use."""
    compiled = assessment.compiled
    use = _use_without(assessment, frozenset(question.lost))
    demand = [units * (1 + question.growth) for units in assessment.demand]
    draft, homeless = _start(snapshot, compiled, demand)
    moves = settle(draft, use, restore_rank=LOWEST_RANK)
    if homeless:
        find_places(draft, use, homeless, moves)
    return draft, use


def success_of(assessment: Assessment, use: Use) -> dict[int, float]:
    """The share of attempts that succeed, by pool index, where it is known and below 1."""
    measured = {
        assessment.compiled.pool_index[pool]: finding.success for pool, finding in assessment.findings.items()
    }
    partial = {pool: share for pool, share in measured.items() if share is not None and share < 1}
    return {**partial, **use.lost}


def _answer(
    snapshot: Snapshot, assessment: Assessment, question: WhatIfQuestion, now_ms: int
) -> WhatIfAnswer:
    compiled, caps = assessment.compiled, assessment.caps
    before, _ = _start(snapshot, compiled, assessment.demand)
    after, use = draft_after(snapshot, assessment, question)
    lost = frozenset(question.lost)
    fails = {index: 0.0 for index, name in enumerate(compiled.pools) if name in lost}
    success_now = success_of(assessment, assessment.use)
    success_then = {**success_of(assessment, use), **fails}
    # Moves are counted under the demand as grown, so that growth by itself moves nothing.
    unmoved = Draft(compiled, after.demand, list(before.weights), shed=list(before.shed))
    return WhatIfAnswer(
        lost=question.lost,
        growth=question.growth,
        before=measure(before, caps, success_now, now_ms=now_ms),
        after=measure(after, caps, success_then, now_ms=now_ms),
        moved_units_per_s=moved_units(unmoved, after),
        pools=tuple(
            PoolLoad(name, before.load[i], after.load[i], limit=caps.pools[i].limit)
            for i, name in enumerate(compiled.pools)
        ),
    )


def _start(
    snapshot: Snapshot, compiled: CompiledPolicy, demand: list[float]
) -> tuple[Draft, list[UnplacedLoad]]:
    """The table in force as a draft, and what has no place in it. Without a table, no load has a place."""
    if snapshot.table is not None:
        before = HeldTable(compiled, snapshot.table)
        return before.draft(demand), list(before.orphans)
    count = len(compiled.routes)
    empty = Draft(compiled, demand, [{} for _ in range(count)], shed=[0] * count)
    return empty, whole_routes(compiled)


def _use_without(assessment: Assessment, lost: frozenset[str]) -> Use:
    """What may be used when these pools are down and no evidence speaks for them."""
    down = {
        name: replace(pool, state=State.DOWN, reason=Reason.POOL_LOST) if name in lost else pool
        for name, pool in assessment.memory.pools.items()
    }
    findings = {name: SILENT if name in lost else finding for name, finding in assessment.findings.items()}
    use = eligible(
        assessment.compiled,
        down,
        findings,
        assessment.caps,
        assessment.claims,
        Memo(),
        panic_allowed=not assessment.orders.lifts("providers_lost"),
    )
    use = use._replace(preferred=assessment.use.preferred)
    return within_modes(use, assessment.compiled, assessment.orders)
