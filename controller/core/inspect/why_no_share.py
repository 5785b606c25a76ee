"""Why a pool gets nothing of a route: the first rule that keeps load from it, as a value.

Asked in the order in which the rules bind: law, then an operator's or a source's word, then health, then
capacity, then the mode, then room and merit order. The last two are answered by filling the table anew with
the code that moves load by choice.
"""

from typing import NamedTuple

from msgspec import Struct

from controller.core.assessment import Assessment
from controller.core.choice import too_little_heard
from controller.core.guards.withheld import MODES
from controller.core.model.reasons import CONFIGURATION_REASONS, Reason, State, Verdict
from controller.core.moves.draft import GAINS_LAST, GAINS_LATE, OUT, Draft
from controller.core.moves.modes import bound_pools, without_choice
from controller.core.moves.voluntary import planned
from controller.core.orders.in_force import told
from controller.core.policy.lawful import forbidden_by
from controller.core.policy.policy import Origin, Pool, Workload
from controller.core.policy.shares import parts_left, provider_parts
from controller.core.snapshot import Snapshot
from tieline.events import Statement, in_scope
from tieline.table import MILLION


class Nothing(Struct, frozen=True, omit_defaults=True):
    """``verdict`` says which rule, since and until when; ``named`` whom or what the rule names.

    That is: who drained and why, the geographies, providers, pools or models that the law allows or asks for,
    or the pools that carry the route instead.
    """

    verdict: Verdict
    named: tuple[str, ...] = ()


class Asking(NamedTuple):
    """What the answers rest on. ``target``: the whole table filled anew under today's limits, and what
    freezes leave of that (``allowed``); ``planned``: the routes for which a plan says where their load
    should be."""

    snapshot: Snapshot
    known: Assessment
    held: Draft
    target: Draft
    allowed: Draft
    planned: frozenset[int]
    now_ms: int


def asking(snapshot: Snapshot, known: Assessment, held: Draft, now_ms: int) -> Asking:
    """Prepares the questions about one table."""
    plan = snapshot.plan
    if plan is not None and not plan.is_fresh(known.compiled.version, now_ms):
        plan = None
    target = planned(held, known.use, plan)
    use = without_choice(known.use, known.orders)
    allowed = target if use is known.use else planned(held, use, plan)
    wished = frozenset(wish.route for wish in plan.targets) if plan is not None else frozenset()
    return Asking(snapshot, known, held, target, allowed, wished, now_ms)


def why_nothing(ask: Asking, route: int, pool: int) -> Nothing:
    """Why this pool has no share of this route."""
    found = _unlawful(ask, route, pool) or _withdrawn(ask, pool) or _down(ask, pool) or _stale(ask, pool)
    return found or _observed(ask, pool) or _order(ask, route, pool)


def _said(ask: Asking, pool: int, reason: Reason, *named: str, value: float | None = None) -> Nothing:
    return Nothing(Verdict(ask.known.compiled.pools[pool], reason, 0, value=value), named)


def _unlawful(ask: Asking, route: int, pool: int) -> Nothing | None:
    compiled = ask.known.compiled
    rule = compiled.routes[route]
    if pool in rule.lawful_set:
        return None
    policy = ask.snapshot.policy
    place = policy.pools[pool]
    workload = next(one for one in policy.workloads if one.id == rule.workload)
    origin = next(one for one in policy.origins if one.id == rule.origin)
    reason = forbidden_by(place, workload, origin) or Reason.NOT_LAWFUL
    return _said(ask, pool, reason, *_asked_for(reason, place, workload, origin))


def _asked_for(reason: Reason, pool: Pool, workload: Workload, origin: Origin) -> tuple[str, ...]:
    """What the rule allows instead."""
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
            barring = (found for found in (workload.allowed_geographies, narrowed) if found)
            return next((found for found in barring if pool.geography not in found), ())
        case Reason.MODEL_NOT_OFFERED:
            offered = {offer.model for offer in pool.models}
            return tuple(model for model in workload.models if model not in offered)
        case _:
            return ()


def _withdrawn(ask: Asking, pool: int) -> Nothing | None:
    """Drained, by whom and why; or under maintenance, as which source says."""
    if pool not in ask.known.claims.withdrawn:
        return None
    reason, until_ms = ask.known.claims.withdrawn[pool]
    name = ask.known.compiled.pools[pool]
    if reason is Reason.DRAINED:
        drains = [one for one in ask.known.orders.given if one.verb == "drain" and in_scope(name, one.scope)]
        since_ms = max((one.issued_ms for one in drains), default=0)
        by = tuple(f"{one.actor}: {one.reason}" for one in drains)
        return Nothing(Verdict(name, reason, since_ms, until_ms), by)
    return Nothing(Verdict(name, reason, 0, until_ms), _maintainers(ask, name))


def _maintainers(ask: Asking, pool: str) -> tuple[str, ...]:
    found = []
    for row in ask.snapshot.statements:
        event = row.event
        if not isinstance(event, Statement):
            continue
        home = event.provider if event.region == "*" else f"{event.provider}/{event.region}"
        for claim in event.claims:
            speaks = pool in claim.pools if claim.pools else in_scope(pool, home)
            now = (claim.starts_ms or 0) <= ask.now_ms < claim.expires_ms
            if claim.state == "maintenance" and speaks and now:
                found.append(f"{event.source}: {claim.text}" if claim.text else event.source)
    return tuple(found)


def _down(ask: Asking, pool: int) -> Nothing | None:
    name = ask.known.compiled.pools[pool]
    memory = ask.known.memory.pools[name]
    if memory.state is not State.DOWN:
        return None
    until_ms = (
        None if memory.reason in (*CONFIGURATION_REASONS, Reason.FAILBACK_MANUAL) else memory.hold_until_ms
    )
    return Nothing(Verdict(name, memory.reason, memory.since_ms, until_ms, after=memory.state.value))


def _stale(ask: Asking, pool: int) -> Nothing | None:
    cap = ask.known.caps.pools[pool]
    if not cap.fresh:
        return _said(ask, pool, Reason.CAPACITY_EXPIRED)
    if ask.known.use.limits.usable[pool] <= 0:
        return Nothing(
            Verdict(ask.known.compiled.pools[pool], Reason.NO_CAPACITY, 0, cap.until_ms, value=cap.limit)
        )
    return None


def _observed(ask: Asking, pool: int) -> Nothing | None:
    if pool not in bound_pools(ask.known.compiled, ask.known.orders):
        return None
    return _said(ask, pool, MODES[ask.snapshot.policy.providers[ask.known.compiled.provider_of[pool]].mode])


def _order(ask: Asking, route: int, pool: int) -> Nothing:
    """Room and merit order, as a table filled anew has it."""
    use, grade = ask.known.use, ask.known.use.limits.grade[pool]
    name = ask.known.compiled.pools[pool]
    state = ask.known.memory.pools[name]
    if pool in ask.target.weights[route]:
        return _held_back(ask, route, pool) or _said(
            ask, pool, Reason.MOVE_DUE, value=ask.target.weights[route][pool] / MILLION
        )
    carriers = _carriers(ask, route)
    if grade in (GAINS_LAST, OUT):
        verdict = Verdict(name, Reason.UNKNOWN_LAST, state.since_ms, after=state.state.value)
        return Nothing(verdict, carriers)
    if full := _full(ask, route, pool):
        return full
    if grade == GAINS_LATE:
        verdict = Verdict(name, Reason.DEGRADED_LATE, state.since_ms, after=state.state.value)
        return Nothing(verdict, carriers)
    reason = Reason.PLANNED_ELSEWHERE if route in ask.planned else Reason.LATER_IN_MERIT
    return _said(ask, pool, reason, *carriers, value=use.limits.usable[pool])


def _held_back(ask: Asking, route: int, pool: int) -> Nothing | None:
    """By a freeze of this pool or of those that would give load to it, or since too little is heard."""
    if pool not in ask.allowed.weights[route]:
        frozen = ask.known.orders.frozen
        order = frozen.get(pool) or next(frozen[one] for one in ask.held.weights[route] if one in frozen)
        return Nothing(told(ask.known.compiled.pools[pool], Reason.FROZEN, order))
    if too_little_heard(ask.known):
        return _said(ask, pool, Reason.SOURCES_UNHEARD, value=ask.known.unheard)
    return None


def _full(ask: Asking, route: int, pool: int) -> Nothing | None:
    """Nothing more fits: the provider's share, the quota group's limit, or its own."""
    compiled, limits, target = ask.known.compiled, ask.known.use.limits, ask.target
    if target.room_parts(route, pool, limits.usable[pool], limits):
        return None
    owner, group = compiled.provider_of[pool], compiled.group_of[pool]
    most = compiled.routes[route].share_max.get(owner)
    carried = provider_parts(target.weights[route].items(), compiled.provider_of, owner)
    if most is not None and parts_left(most, carried) <= 1:
        return _said(ask, pool, Reason.PROVIDER_SHARE_FULL, value=most)
    own = limits.usable[pool] - target.load[pool]
    if group >= 0 and limits.group_usable[group] - target.group_load[group] < own:
        return _said(ask, pool, Reason.GROUP_FULL, compiled.groups[group], value=limits.group_usable[group])
    return _said(ask, pool, Reason.NO_ROOM, *_filling(ask, pool), value=limits.usable[pool])


def _filling(ask: Asking, pool: int) -> tuple[str, ...]:
    """The routes that fill the pool."""
    pairs = zip(ask.known.compiled.routes, ask.target.weights, strict=True)
    return tuple(rule.name for rule, weights in pairs if pool in weights)


def _carriers(ask: Asking, route: int) -> tuple[str, ...]:
    """The pools that carry the route, largest share first."""
    weights = ask.held.weights[route]
    ordered = sorted(weights, key=lambda pool: (-weights[pool], pool))
    return tuple(ask.known.compiled.pools[pool] for pool in ordered)
