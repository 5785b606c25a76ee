"""What would happen if pools were lost or demand grew: the planner's own forced moves, on paper.

A lost pool is down by decree: nothing succeeds there and nothing speaks for it. All else is as known now, so
the answer is what the planner would publish at once. Nothing is changed anywhere.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.evidence.finding import SILENT
from controller.core.inspect.measure import Measured, measure, moved_units
from controller.core.model.memo import Memo
from controller.core.model.reasons import Reason, State
from controller.core.moves.draft import Draft
from controller.core.moves.eligible import Use, eligible
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import bound_by_mode
from controller.core.moves.reflex import NOWHERE, Homeless, find_places, settle
from controller.core.policy.compiled import LOWEST_RANK, CompiledPolicy
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from tieline.events import in_scope
from tieline.table import MILLION


class Loss(Struct, frozen=True):
    """What is lost together: ``name`` is a provider, a region, a pool or a failure domain of the policy."""

    name: str
    kind: str
    pools: tuple[str, ...]


class PoolLoad(Struct, frozen=True):
    """One pool's load in units/s before and after, and its limit."""

    pool: str
    before: float
    after: float
    limit: float


class Answer(Struct, frozen=True):
    """``before``: the table in force under today's demand; ``after``: what the loss and the growth leave."""

    lost: tuple[str, ...]
    growth: float
    before: Measured
    after: Measured
    moved_units_per_s: float
    pools: tuple[PoolLoad, ...]


class Asked(Struct, frozen=True):
    """One question: which pools are lost, and by which share demand grows."""

    lost: tuple[str, ...] = ()
    growth: float = 0.0


def losses(policy: Policy) -> tuple[Loss, ...]:
    """Everything that can be lost as one: providers, regions, named failure domains, pools."""
    pools = policy.pools
    regions = sorted({f"{pool.provider}/{pool.region}" for pool in pools})
    domains = sorted({domain for pool in pools for domain in pool.domains})
    named = [("provider", one.id) for one in policy.providers] + [("region", name) for name in regions]
    scopes = [Loss(name, kind, tuple(p.id for p in pools if in_scope(p.id, name))) for kind, name in named]
    shared = [Loss(name, "domain", tuple(p.id for p in pools if name in p.domains)) for name in domains]
    return (*(one for one in scopes if one.pools), *shared, *(Loss(p.id, "pool", (p.id,)) for p in pools))


def single_losses(policy: Policy) -> tuple[Loss, ...]:
    """Every single loss that N-1 is asked for: providers, regions and domains."""
    return tuple(one for one in losses(policy) if one.kind != "pool")


def what_if(snapshot: Snapshot, now_ms: int, asked: Asked) -> Answer:
    """The answer to one question. Pools that the policy doesn't have are not lost twice: they are ignored."""
    return what_ifs(snapshot, now_ms, (asked,))[0]


def what_ifs(snapshot: Snapshot, now_ms: int, questions: Iterable[Asked]) -> tuple[Answer, ...]:
    """The answers to several questions about one moment."""
    known = assess(snapshot, now_ms)
    return tuple(_answer(snapshot, known, asked, now_ms) for asked in questions)


def decided(snapshot: Snapshot, known: Assessment, asked: Asked) -> tuple[Draft, Use]:
    """The draft that the planner's forced moves lead to, and what it was allowed to use."""
    compiled = known.compiled
    use = _without(known, frozenset(asked.lost))
    draft, homeless = _start(snapshot, compiled, [units * (1 + asked.growth) for units in known.demand])
    moves = settle(draft, use, restore_rank=LOWEST_RANK)
    if homeless:
        find_places(draft, use, homeless, moves)
    return draft, use


def success_of(known: Assessment, use: Use) -> dict[int, float]:
    """The share of attempts that succeed by pool index, as far as it is known and below 1."""
    found = {known.compiled.pool_index[pool]: one.success for pool, one in known.findings.items()}
    partial = {pool: share for pool, share in found.items() if share is not None and share < 1}
    return {**partial, **use.lost}


def _answer(snapshot: Snapshot, known: Assessment, asked: Asked, now_ms: int) -> Answer:
    compiled = known.compiled
    before, _ = _start(snapshot, compiled, known.demand)
    after, use = decided(snapshot, known, asked)
    lost = frozenset(asked.lost)
    success = success_of(known, known.use)
    decreed = {index: 0.0 for index, name in enumerate(compiled.pools) if name in lost}
    caps = known.caps
    grown = Draft(compiled, after.demand, list(before.weights), list(before.shed))
    return Answer(
        asked.lost,
        asked.growth,
        measure(before, caps, success, now_ms),
        measure(after, caps, {**success_of(known, use), **decreed}, now_ms),
        moved_units(grown, after),
        tuple(
            PoolLoad(name, before.load[i], after.load[i], caps.pools[i].limit)
            for i, name in enumerate(compiled.pools)
        ),
    )


def _start(snapshot: Snapshot, compiled: CompiledPolicy, demand: list[float]) -> tuple[Draft, list[Homeless]]:
    """The table in force as a draft, and what has no place in it; without a table nothing has."""
    if snapshot.table is not None:
        before = HeldTable(compiled, snapshot.table)
        return before.draft(demand), list(before.orphans)
    count = len(compiled.routes)
    whole = [Homeless(rule.rank, i, NOWHERE, MILLION, False) for i, rule in enumerate(compiled.routes)]
    return Draft(compiled, demand, [{} for _ in range(count)], [0] * count), whole


def _without(known: Assessment, lost: frozenset[str]) -> Use:
    """What may be used when these pools are down and nothing speaks for them."""
    down = {
        name: replace(pool, state=State.DOWN, reason=Reason.POOL_LOST) if name in lost else pool
        for name, pool in known.memory.pools.items()
    }
    findings = {name: SILENT if name in lost else one for name, one in known.findings.items()}
    allowed = not known.orders.lifts("providers_lost")
    use = eligible(known.compiled, down, findings, known.caps, known.claims, Memo(), panic_allowed=allowed)
    return bound_by_mode(use, known.compiled, known.orders)
