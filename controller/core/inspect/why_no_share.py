"""Why a pool has no share of a route: the first rule that keeps load from it, as a value.

The rules are asked in the order in which they bind: law and contract, an operator's drain or a source's
maintenance, health, capacity, the provider's mode, and then room and merit order. For the last two the table
is filled anew by ``planned``, the function with which the planner finds where moves by choice lead.
"""

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment
from controller.core.changes import fresh_plan, too_little_heard
from controller.core.guards.withheld import MODES
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import CONFIGURATION_REASONS, Reason, State, Verdict
from controller.core.moves.draft import GAINS_LAST, GAINS_LATE, OUT, Draft
from controller.core.moves.modes import bound_pools, modes_in_force, within_freezes
from controller.core.moves.voluntary import target_of
from controller.core.orders.in_force import order_verdict
from controller.core.policy.lawful import forbidden_by
from controller.core.policy.policy import Origin, Pool, Workload
from controller.core.policy.shares import parts_left, provider_parts
from controller.core.snapshot import Snapshot
from tieline.events import Statement, in_scope
from tieline.table import MILLION

EMPTIED_BY = {Reason.DRAINED: "drain", Reason.EVACUATED: "evacuate", Reason.DRILLED: "drill"}


class NoShare(Struct, frozen=True, omit_defaults=True):
    """``verdict`` says which rule, since when and until when; ``named`` whom or what the rule names.

    These are: who drained the pool and why; the sources that announce maintenance; the geographies,
    providers, pools or models that the law allows or asks for; or the pools that carry the route instead.
    """

    verdict: Verdict
    named: tuple[str, ...] = ()


class ShareContext(NamedTuple):
    """What all answers about one table rest on.

    ``in_force`` is the table as a draft. ``target`` is the whole table filled anew under today's limits, and
    ``allowed`` what freezes leave of that. ``planned`` are the routes whose load a plan places.
    """

    snapshot: Snapshot
    assessment: Assessment
    in_force: Draft
    target: Draft
    allowed: Draft
    planned: frozenset[int]
    now_ms: int

    def pool_name(self, pool: int) -> str:
        """The id of a pool by its index."""
        return self.assessment.compiled.pools[pool]

    def pool_memory(self, pool: int) -> PoolMemory:
        """What is remembered of a pool by its index."""
        return self.assessment.memory.pools[self.pool_name(pool)]

    def no_share(self, pool: int, reason: Reason, *named: str, value: float | None = None) -> NoShare:
        """An answer without times."""
        return NoShare(Verdict(self.pool_name(pool), reason, 0, value=value), named)


def share_context(snapshot: Snapshot, assessment: Assessment, in_force: Draft, now_ms: int) -> ShareContext:
    """Prepares the answers about one table, which cost two fillings of it however many are asked for."""
    plan = fresh_plan(snapshot, assessment.compiled, now_ms)
    target = target_of(in_force, assessment.use, plan)
    use = within_freezes(assessment.use, assessment.orders)
    allowed = target if use is assessment.use else target_of(in_force, use, plan)
    routes = frozenset(wish.route for wish in plan.targets) if plan is not None else frozenset()
    return ShareContext(
        snapshot=snapshot,
        assessment=assessment,
        in_force=in_force,
        target=target,
        allowed=allowed,
        planned=routes,
        now_ms=now_ms,
    )


def why_no_share(context: ShareContext, route: int, pool: int) -> NoShare:
    """Why this pool has no share of this route, both by index.

    The table in force must give it none: of a pool with a share the answer would mean nothing.
    """
    return (
        _unlawful(context, route, pool)
        or _withdrawn(context, pool)
        or _down(context, pool)
        or _without_capacity(context, pool)
        or _bound_by_mode(context, pool)
        or _by_order_of_use(context, route, pool)
    )


def _unlawful(context: ShareContext, route: int, pool: int) -> NoShare | None:
    rule = context.assessment.compiled.routes[route]
    if pool in rule.lawful_set:
        return None
    policy = context.snapshot.policy
    workload = next(workload for workload in policy.workloads if workload.id == rule.workload)
    origin = next(origin for origin in policy.origins if origin.id == rule.origin)
    reason = forbidden_by(policy.pools[pool], workload, origin)
    if reason is None:
        return _pinned_by_order(context, rule.workload, pool)
    return context.no_share(pool, reason, *_allowed_instead(reason, policy.pools[pool], workload, origin))


def _pinned_by_order(context: ShareContext, workload: str, pool: int) -> NoShare:
    """That an operator pinned the workload to other pools: by whom and why."""
    pins = [
        order
        for order in context.assessment.orders.commands
        if order.verb == "pin" and order.workload == workload
    ]
    named = tuple(f"{order.scope} by {order.actor}: {order.reason}" for order in pins)
    return context.no_share(pool, Reason.PINNED_BY_ORDER if pins else Reason.NOT_LAWFUL, *named)


def _allowed_instead(reason: Reason, pool: Pool, workload: Workload, origin: Origin) -> tuple[str, ...]:
    """What the rule allows or asks for in place of this pool."""
    match reason:
        case Reason.EXCLUSIVE_ELSEWHERE:
            return (workload.exclusive_provider or "",)
        case Reason.PROVIDER_NOT_ALLOWED:
            return workload.allowed_providers
        case Reason.PINNED_ELSEWHERE:
            return workload.pinned_pools
        case Reason.RESIDENCY_OF_ORIGIN:
            return origin.allowed_geographies
        case Reason.RESIDENCY_OF_WORKLOAD:
            narrowed = workload.allowed_geographies_by_origin.get(origin.id, ())
            limits = (allowed for allowed in (workload.allowed_geographies, narrowed) if allowed)
            return next((allowed for allowed in limits if pool.geography not in allowed), ())
        case Reason.MODEL_NOT_OFFERED:
            offered = {offer.model for offer in pool.models}
            return tuple(model for model in workload.models if model not in offered)
        case _:
            return ()


def _withdrawn(context: ShareContext, pool: int) -> NoShare | None:
    """Whether the pool is drained or evacuated, by whom and why; or under maintenance, by which source."""
    assessment, name = context.assessment, context.pool_name(pool)
    claim = assessment.claims.emptied(pool)
    if claim is None:
        return None
    reason, until_ms = claim
    if reason is not Reason.MAINTENANCE:
        drains = [
            order
            for order in assessment.orders.commands
            if order.verb == EMPTIED_BY[reason] and in_scope(name, order.scope)
        ]
        since_ms = max((order.issued_ms for order in drains), default=0)
        operators = tuple(f"{order.actor}: {order.reason}" for order in drains)
        return NoShare(Verdict(name, reason, since_ms, until_ms=until_ms), operators)
    return NoShare(Verdict(name, reason, 0, until_ms=until_ms), _maintainers(context, name))


def _maintainers(context: ShareContext, pool: str) -> tuple[str, ...]:
    """The sources that announce maintenance of the pool now, with their words."""
    sources = []
    for row in context.snapshot.statements:
        event = row.event
        if not isinstance(event, Statement):
            continue
        home = event.provider if event.region == "*" else f"{event.provider}/{event.region}"
        for claim in event.claims:
            speaks_of_pool = pool in claim.pools if claim.pools else in_scope(pool, home)
            holds_now = (claim.starts_ms or 0) <= context.now_ms < claim.expires_ms
            if claim.state == "maintenance" and speaks_of_pool and holds_now:
                sources.append(f"{event.source}: {claim.text}" if claim.text else event.source)
    return tuple(sources)


def _down(context: ShareContext, pool: int) -> NoShare | None:
    memory = context.pool_memory(pool)
    if memory.state is not State.DOWN:
        return None
    # Configuration faults and manual failback wait for a person, not for the end of the hold-down.
    waits_for_person = memory.reason in (*CONFIGURATION_REASONS, Reason.FAILBACK_MANUAL)
    until_ms = None if waits_for_person else memory.hold_until_ms
    name, after = context.pool_name(pool), memory.state.value
    return NoShare(Verdict(name, memory.reason, memory.since_ms, until_ms=until_ms, after=after))


def _without_capacity(context: ShareContext, pool: int) -> NoShare | None:
    cap = context.assessment.caps.pools[pool]
    if not cap.fresh:
        return context.no_share(pool, Reason.CAPACITY_EXPIRED)
    if context.assessment.use.limits.usable[pool] <= 0:
        name = context.pool_name(pool)
        return NoShare(Verdict(name, Reason.NO_CAPACITY, 0, until_ms=cap.until_ms, value=cap.limit))
    return None


def _bound_by_mode(context: ShareContext, pool: int) -> NoShare | None:
    compiled = context.assessment.compiled
    if pool not in bound_pools(compiled, context.assessment.orders):
        return None
    mode = modes_in_force(compiled, context.assessment.orders)[compiled.provider_of[pool]]
    return context.no_share(pool, MODES[mode])


def _by_order_of_use(context: ShareContext, route: int, pool: int) -> NoShare:
    """Room, health and merit order, as the table filled anew has them."""
    limits, target = context.assessment.use.limits, context.target
    if pool in target.weights[route]:
        due = context.no_share(pool, Reason.MOVE_DUE, value=target.weights[route][pool] / MILLION)
        return _held_back(context, route, pool) or due
    carriers = _carriers(context, route)
    memory = context.pool_memory(pool)
    verdict = Verdict(context.pool_name(pool), Reason.UNKNOWN_LAST, memory.since_ms, after=memory.state.value)
    if limits.grade[pool] in (GAINS_LAST, OUT):
        return NoShare(verdict, carriers)
    if full := _full(context, route, pool):
        return full
    if limits.grade[pool] == GAINS_LATE:
        return NoShare(replace(verdict, reason=Reason.DEGRADED_LATE), carriers)
    reason = Reason.PLANNED_ELSEWHERE if route in context.planned else Reason.LATER_IN_MERIT
    return context.no_share(pool, reason, *carriers, value=limits.usable[pool])


def _held_back(context: ShareContext, route: int, pool: int) -> NoShare | None:
    """What holds back a move that is due: a freeze of this pool or of those that would give load to it, or
    too many silent sources."""
    assessment = context.assessment
    if pool not in context.allowed.weights[route]:
        frozen = assessment.orders.frozen
        givers = context.in_force.weights[route]
        order = frozen.get(pool) or next(frozen[giver] for giver in givers if giver in frozen)
        return NoShare(order_verdict(context.pool_name(pool), Reason.FROZEN, order))
    if too_little_heard(assessment):
        return context.no_share(pool, Reason.SOURCES_UNHEARD, value=assessment.unheard)
    return None


def _full(context: ShareContext, route: int, pool: int) -> NoShare | None:
    """Which limit leaves no room: the provider's share of the workload, a quota group's, the pool's own."""
    compiled, limits, target = context.assessment.compiled, context.assessment.use.limits, context.target
    if target.room_parts(route, pool, limits.usable[pool], limits):
        return None
    provider = compiled.provider_of[pool]
    share_max = compiled.routes[route].share_max.get(provider)
    carried = provider_parts(target.weights[route].items(), compiled.provider_of, provider)
    if share_max is not None and parts_left(share_max, carried) <= 1:
        return context.no_share(pool, Reason.PROVIDER_SHARE_FULL, value=share_max)
    own_room = limits.usable[pool] - target.load[pool]
    rooms = [
        (limits.group_usable[group] - target.group_load[group], group) for group in compiled.groups_of[pool]
    ]
    group_room, group = min(rooms, default=(own_room, -1))
    if group_room < own_room:
        name, limit = compiled.groups[group], limits.group_usable[group]
        return context.no_share(pool, Reason.GROUP_FULL, name, value=limit)
    return context.no_share(pool, Reason.NO_ROOM, *_filling(context, pool), value=limits.usable[pool])


def _filling(context: ShareContext, pool: int) -> tuple[str, ...]:
    """The routes that fill the pool."""
    pairs = zip(context.assessment.compiled.routes, context.target.weights, strict=True)
    return tuple(rule.name for rule, weights in pairs if pool in weights)


def _carriers(context: ShareContext, route: int) -> tuple[str, ...]:
    """The pools that carry the route, largest share first."""
    weights = context.in_force.weights[route]
    ordered = sorted(weights, key=lambda pool: (-weights[pool], pool))
    return tuple(context.pool_name(pool) for pool in ordered)
