"""What becomes of each drill in one decision: it begins, is measured, ends, returns, and is forgotten."""

from collections.abc import Iterable
from operator import is_

from msgspec.structs import replace

from controller.core.drilling.grounds import Cause, Grounds
from controller.core.drilling.signs import Signs
from controller.core.model.drill import DrillCause, DrillMemory, DrillOutcome, DrillPhase
from controller.core.policy.policy import RecoveryObjective
from tieline.events import Command, in_scope

EMPTY_SHARE = 0.01  # of the share before: with less the pools count as empty
BACK_SHARE = 0.9  # of the share before: from here on the load counts as back
FORGOTTEN_AFTER_MS = 600_000  # a drill that is over is remembered so long, for the history and who waits
SECOND_MS = 1_000


def drills_after(before: tuple[DrillMemory, ...], grounds: Grounds) -> tuple[DrillMemory, ...]:
    """The drills after this decision, in the order in which they were given; the same object if none changed.
    Before the first table there are none."""
    now_ms = grounds.now_ms
    ordered = {order.id: order for order in grounds.orders.commands if order.verb == "drill"}
    if grounds.snapshot.table is None or not (ordered or before):
        return before
    signs = Signs(grounds)
    drills = [_next(drill, ordered.get(drill.id), signs, now_ms) for drill in before]
    remembered = {drill.id for drill in before}
    for order in ordered.values():  # the oldest first
        if order.id not in remembered:
            drills.append(_begin(order, drills, signs, now_ms))
    lasting = tuple(drill for drill in drills if not _is_forgotten(drill, now_ms))
    is_same = len(lasting) == len(before) and all(map(is_, lasting, before))
    return before if is_same else lasting


def running_drills(drills: tuple[DrillMemory, ...]) -> frozenset[str]:
    """The ids of the drills whose pools are to be empty now."""
    return frozenset(drill.id for drill in drills if drill.is_emptying)


def objective_for(scope: str, objectives: Iterable[RecoveryObjective]) -> RecoveryObjective | None:
    """The objective of the narrowest scope that covers this one; None if none does."""
    covering = [item for item in objectives if in_scope(scope, item.scope)]
    return max(covering, key=lambda item: (item.scope != "*", item.scope.count("/")), default=None)


def _begin(order: Command, others: Iterable[DrillMemory], signs: Signs, now_ms: int) -> DrillMemory:
    """The drill of a new order: it is under way, or it is over before anything moved."""
    share = signs.share_of(order.scope)
    objective = objective_for(order.scope, signs.policy.objectives)
    drill = DrillMemory(
        order.id,
        order.scope,
        order.actor,
        reason=order.reason,
        began_ms=order.issued_ms,
        until_ms=order.expires_ms or now_ms,
        share_before=share,
        failing_before=signs.failing,
        faults_before=signs.faults_since(now_ms - signs.policy.thresholds.drill_quiet_ms),
        objective_s=objective.recovery_s if objective else 0,
        return_objective_s=(objective.return_s or 0) if objective else 0,
    )
    if any(other.phase is not DrillPhase.OVER for other in others):
        return _over_at_once(drill, DrillOutcome.NOT_STARTED, now_ms, DrillCause.OTHER_DRILL)
    if cause := signs.unrest():
        return _over_at_once(drill, DrillOutcome.NOT_STARTED, now_ms, *cause)
    if share <= 0:
        return _over_at_once(drill, DrillOutcome.NOT_STARTED, now_ms, DrillCause.NO_LOAD)
    if cause := signs.capacity_fault(order):
        return _over_at_once(drill, DrillOutcome.CAPACITY_CHECK_FAILED, now_ms, *cause)
    return drill


def _next(drill: DrillMemory, order: Command | None, signs: Signs, now_ms: int) -> DrillMemory:
    if drill.is_emptying:
        measured = _recovery_measured(drill, signs, now_ms)
        if order is None:
            return _ended(measured, now_ms)
        if harm := _harm(measured, order, signs):
            return _returning(measured, DrillOutcome.INTERRUPTED, now_ms, *harm)
        return measured
    if drill.phase is DrillPhase.RETURNING:
        return _return_measured(drill, signs, now_ms)
    return drill


def _harm(drill: DrillMemory, order: Command, signs: Signs) -> Cause | None:
    """The first sign that the drill does harm; None without any.

    Load that would be shed if the drill went on is such a sign before any is.
    """
    if cause := signs.trouble():
        return cause
    if new := [fault for fault in signs.faults_since(drill.began_ms) if fault not in drill.faults_before]:
        pool, kind = new[0].split(" ")
        return (DrillCause.THROTTLED if kind == "throttled" else DrillCause.POOL_ILL), pool, 0.0
    if signs.failing > drill.failing_before + signs.policy.thresholds.drill_failing_rise_max:
        return DrillCause.FAILURES, "clients", signs.failing
    if drill.recovered_ms and signs.share_of(drill.scope) >= EMPTY_SHARE * drill.share_before:
        return DrillCause.NO_ROOM, drill.scope, signs.share_of(drill.scope)
    if (cause := signs.capacity_fault(order)) and cause[0] is DrillCause.WOULD_SHED:
        return cause
    if drill.is_secure and signs.next_loss.is_harmful:
        return DrillCause.NO_N_MINUS_1, signs.next_loss.provider, signs.next_loss.critical_units_per_s
    return None


def _recovery_measured(drill: DrillMemory, signs: Signs, now_ms: int) -> DrillMemory:
    """With the first table that leaves the pools empty, and the instant when clients had left them."""
    if drill.recovered_ms:
        return drill
    if drill.emptied and signs.next_loss.is_known and not drill.is_secure:
        drill = replace(drill, is_secure=not signs.next_loss.is_harmful)
    empty = EMPTY_SHARE * drill.share_before
    if signs.share_of(drill.scope) >= empty:
        return drill
    if not drill.emptied:
        drill = replace(drill, emptied=signs.generation)
    if signs.is_used(drill.emptied) and signs.served_share_of(drill.scope) < empty:
        return replace(drill, phase=DrillPhase.EMPTY, recovered_ms=now_ms)
    return drill


def _return_measured(drill: DrillMemory, signs: Signs, now_ms: int) -> DrillMemory:
    """With the first table that gives the load back, until clients use that or too long a time is over."""
    if not drill.returned and signs.share_of(drill.scope) >= BACK_SHARE * drill.share_before:
        drill = replace(drill, returned=signs.generation)
    if drill.returned and signs.is_used(drill.returned):
        return replace(drill, phase=DrillPhase.OVER, returned_ms=now_ms, over_ms=now_ms)
    if now_ms - drill.ended_ms >= signs.policy.thresholds.drill_return_max_ms:
        return replace(drill, phase=DrillPhase.OVER, over_ms=now_ms)
    return drill


def _ended(drill: DrillMemory, now_ms: int) -> DrillMemory:
    """The drill once its order is in force no more: taken back, or its time is over."""
    if now_ms < drill.until_ms:
        return _returning(drill, DrillOutcome.INTERRUPTED, now_ms, DrillCause.TAKEN_BACK)
    if not drill.recovered_ms:
        return _returning(drill, DrillOutcome.FAILED, now_ms, DrillCause.NOT_EMPTIED)
    if drill.objective_s and drill.recovery_ms > drill.objective_s * SECOND_MS:
        return _returning(drill, DrillOutcome.FAILED, now_ms, DrillCause.TOO_SLOW)
    return _returning(drill, DrillOutcome.SUCCEEDED, now_ms)


def _returning(
    drill: DrillMemory,
    outcome: DrillOutcome,
    now_ms: int,
    cause: DrillCause = DrillCause.NONE,
    about: str = "",
    value: float = 0.0,
) -> DrillMemory:
    return replace(
        drill,
        phase=DrillPhase.RETURNING,
        ended_ms=now_ms,
        outcome=outcome,
        cause=cause,
        about=about,
        value=value,
    )


def _over_at_once(
    drill: DrillMemory,
    outcome: DrillOutcome,
    now_ms: int,
    cause: DrillCause,
    about: str = "",
    value: float = 0.0,
) -> DrillMemory:
    ended = _returning(drill, outcome, now_ms, cause, about=about, value=value)
    return replace(ended, phase=DrillPhase.OVER, over_ms=now_ms)


def _is_forgotten(drill: DrillMemory, now_ms: int) -> bool:
    """Whether nobody needs the drill any more. While its order is in force it is never forgotten, or it would
    begin again."""
    return drill.phase is DrillPhase.OVER and now_ms >= max(
        drill.until_ms, drill.over_ms + FORGOTTEN_AFTER_MS
    )
