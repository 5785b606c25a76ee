"""The first half of a decision: what is known of every pool and route now, and what is to be remembered.

It goes through the chapters in their order: evidence, capacity, orders, then the pools' states, and what each
pool may therefore be used for. Explanations, rehearsals and the dispatch rest on the same assessment.
"""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.capacity.demand import Demand, demand_of
from controller.core.capacity.remember import remember
from controller.core.capacity.stated import StatedCapacity, stated_capacity
from controller.core.capacity.usable import Caps, capacities
from controller.core.drilling.grounds import Grounds
from controller.core.drilling.rule import drills_after, running_drills
from controller.core.evidence.finding import Finding
from controller.core.evidence.gather import Evidence, gather
from controller.core.evidence.heard_sources import Reach, hear, unheard_share
from controller.core.evidence.judge import judge_all
from controller.core.evidence.siblings import refusing_pools
from controller.core.model.drill import DrillMemory
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import Verdict
from controller.core.moves.eligible import Use, eligible
from controller.core.moves.modes import within_modes
from controller.core.moves.reversal import ReversalLimits
from controller.core.offers.flow import OfferInputs, Offers, accepted_parts, next_offers
from controller.core.orders.claims import Claims, claims_in_force, declined_pools
from controller.core.orders.in_force import Orders, orders_in_force, with_verdicts
from controller.core.policy.compiled import CompiledPolicy, compile_policy, rules_in_force
from controller.core.pool_states import next_states
from controller.core.snapshot import Snapshot


class Assessment(NamedTuple):
    """All that a decision rests on. ``evidence`` and ``findings`` are by pool name.

    ``written`` is the policy as it is written. ``compiled`` is the same with the exceptions that hold now:
    share limits that an operator overrides, burst that its holder has declined, pins. By route: ``demand`` in
    units/s, ``requests`` per second as clients report them, 0 where they don't. ``use`` keeps within the
    modes of providers; ``acting`` is what it would be with every provider in mode act, and the same object
    if they are. ``memory`` already is the new one, ``changes`` are the changes of state in it. ``unheard``:
    the share of sources that are silent. ``reversal``: what may not be moved back by choice yet.
    ``offers``: requests for capacity as they are now.
    ``due_ms``: when any of this changes without an event.
    """

    written: CompiledPolicy
    compiled: CompiledPolicy
    evidence: dict[str, Evidence]
    findings: dict[str, Finding]
    claims: Claims
    orders: Orders
    stated: StatedCapacity
    caps: Caps
    use: Use
    acting: Use
    demand: list[float]
    requests: list[float]
    memory: Memory
    changes: list[Verdict]
    unheard: float
    reversal: ReversalLimits
    offers: Offers
    due_ms: int | None


def assess(snapshot: Snapshot, now_ms: int, memo: Memo | None = None) -> Assessment:
    """The assessment of a snapshot as of ``now_ms``. Without a ``memo`` nothing is kept."""
    memo = memo or Memo()
    written = memo.once(compile_policy, snapshot.policy)
    thresholds, before = snapshot.policy.thresholds, snapshot.memory or Memory()

    reach = Reach(snapshot.progress, thresholds, now_ms)
    hearings = hear(snapshot.reports, reach, thresholds, now_ms, memo)
    evidence = gather(snapshot.reports, hearings, snapshot.demand, reach, thresholds, now_ms, memo)

    demand = demand_of(written, snapshot.demand, reach, before, now_ms, memo)
    declined = declined_pools(written, snapshot.statements, now_ms)
    offers = next_offers(written, before, _offer_inputs(snapshot, written, demand, declined, now_ms), now_ms)
    parts = memo.once(accepted_parts, offers.requests)
    stated = stated_capacity(written, snapshot.capacities, reach, now_ms, memo, parts)
    memories = remember(written, before.pools, evidence, stated, now_ms, memo)
    orders = orders_in_force(written, snapshot.commands, now_ms, memo)
    vouched = sorted(orders.overridden.get("fresh_capacity", {}))
    caps = capacities(written, stated, memories, now_ms, memo, vouched)
    claims = claims_in_force(written, snapshot.statements, orders, now_ms)
    compiled = _rules_in_force(written, snapshot, orders, declined, memo)
    findings = _findings(snapshot, written, evidence, memories, claims, demand.units, memo)
    findings = with_verdicts(written, findings, orders.verdicts, now_ms)
    states = next_states(snapshot, compiled, memories, findings, orders, caps, now_ms, memo)
    grounds = Grounds(
        snapshot,
        compiled,
        demand.units,
        memories=states.memories,
        findings=findings,
        caps=caps,
        orders=orders,
        unheard=unheard_share(compiled, snapshot.reports, hearings),
        now_ms=now_ms,
    )
    drills = drills_after(before.drills, grounds)
    orders, claims = _with_drills(snapshot, written, drills, orders, claims, now_ms)
    acting = _acting(compiled, states.memories, findings, caps, claims, orders, memo)
    memory = _next_memory(before, compiled, states.memories, demand, offers, drills)
    times_ms = [*states.due_ms, stated.until_ms, claims.due_ms, orders.due_ms, offers.due_ms]
    return Assessment(
        written=written,
        compiled=compiled,
        evidence=evidence,
        findings=findings,
        claims=claims,
        orders=orders,
        stated=stated,
        caps=caps,
        use=within_modes(acting, compiled, orders),
        acting=acting,
        demand=demand.units,
        requests=demand.requests,
        memory=memory,
        changes=states.changes,
        unheard=grounds.unheard,
        reversal=ReversalLimits(memory, thresholds, now_ms),
        offers=offers,
        due_ms=_earliest(times_ms, findings, now_ms),
    )


def _with_drills(
    snapshot: Snapshot,
    written: CompiledPolicy,
    drills: tuple[DrillMemory, ...],
    orders: Orders,
    claims: Claims,
    now_ms: int,
) -> tuple[Orders, Claims]:
    """Orders and claims with the pools that are emptied for drills; the same objects while none are."""
    running = running_drills(drills)
    if not running:
        return orders, claims
    orders = orders.with_drills(written, running)
    return orders, claims_in_force(written, snapshot.statements, orders, now_ms)


def _rules_in_force(
    written: CompiledPolicy, snapshot: Snapshot, orders: Orders, declined: frozenset[int], memo: Memo
) -> CompiledPolicy:
    """The policy with the exceptions that hold now."""
    unshared = orders.providers_of("provider_share", written)
    used_up = frozenset(snapshot.used_up)
    return rules_in_force(written, unshared, declined, orders.pins, memo, used_up)


def _acting(
    compiled: CompiledPolicy,
    memories: dict[str, PoolMemory],
    findings: dict[str, Finding],
    caps: Caps,
    claims: Claims,
    orders: Orders,
    memo: Memo,
) -> Use:
    """What every pool may be used for with every provider in mode act."""
    panic_allowed = not orders.lifts("providers_lost")
    acting = eligible(compiled, memories, findings, caps, claims, memo, panic_allowed=panic_allowed)
    return acting._replace(preferred=_preferred(compiled, orders)) if orders.failovers else acting


def _preferred(compiled: CompiledPolicy, orders: Orders) -> dict[int, int]:
    """Route -> the pool to which an operator moves it, where that pool is lawful for it."""
    return {
        number: orders.failovers[rules.workload]
        for number, rules in enumerate(compiled.routes)
        if orders.failovers.get(rules.workload) in rules.lawful_set
    }


def _findings(
    snapshot: Snapshot,
    compiled: CompiledPolicy,
    evidence: dict[str, Evidence],
    memories: dict[str, PoolMemory],
    claims: Claims,
    demand: list[float],
    memo: Memo,
) -> dict[str, Finding]:
    """What the evidence of each pool amounts to, status pages and siblings considered."""
    return judge_all(
        evidence,
        snapshot.policy.thresholds,
        memories,
        {compiled.pools[index] for index in claims.ill},
        refusing_pools(compiled, evidence, snapshot.table, demand),
        memo,
        siblings_complete=any(pool.clients is not None and pool.clients.ok for pool in evidence.values()),
    )


def _offer_inputs(
    snapshot: Snapshot, written: CompiledPolicy, demand: Demand, declined: frozenset[int], now_ms: int
) -> OfferInputs:
    fresh_ms, plan = snapshot.policy.thresholds.plan_fresh_ms, snapshot.plan
    is_fresh = plan is not None and plan.is_fresh(written.version, fresh_ms, now_ms)
    return OfferInputs(
        plan if is_fresh else None,
        demand.units,
        snapshot.offer_answers,
        commands=snapshot.commands,
        declined=declined,
    )


def _next_memory(
    before: Memory,
    compiled: CompiledPolicy,
    pools: dict[str, PoolMemory],
    demand: Demand,
    offers: Offers,
    drills: tuple[DrillMemory, ...],
) -> Memory:
    """The memory after this assessment; the same object if nothing is new."""
    same_policy = before.policy_version == compiled.version
    same_demand = before.reported == demand.reported and before.unheard == demand.unheard
    same_offers = before.offers == offers.requests and before.short == offers.short
    is_same = same_demand and same_offers and drills is before.drills
    if same_policy and is_same and not changed_keys(before.pools, pools):
        return before
    # Shifts name routes and pools by their index in the policy, so they end with it.
    shifts = before.shifts if same_policy else ()
    return replace(
        before,
        policy_version=compiled.version,
        pools=pools,
        reported=demand.reported,
        shifts=shifts,
        unheard=demand.unheard,
        offers=offers.requests,
        short=offers.short,
        drills=drills,
    )


def _earliest(times_ms: list[int | None], findings: dict[str, Finding], now_ms: int) -> int | None:
    """The first instant after now at which something changes without an event; None if nothing does."""
    instants = {*times_ms, *{finding.until_ms for finding in findings.values()}}
    return min((at for at in instants if at is not None and at > now_ms), default=None)
