"""What is said about a decision: what changed and why, or what keeps the table as it is."""

from controller.core.assessment import Assessment
from controller.core.changes import Change, Situation, too_little_heard
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import OUT
from controller.core.moves.last_resort import last_resort_verdicts
from controller.core.moves.on_loss import pools_to_drop
from controller.core.moves.unplaced import NOWHERE, Move
from controller.core.orders.in_force import order_verdict
from tieline.table import MILLION


def change_verdicts(situation: Situation, change: Change) -> list[Verdict]:
    """Changes of state, then what moved off each pool (by choice: onto it) and why, then what is shed."""
    _, assessment, before, now_ms = situation
    verdicts = list(assessment.changes)
    if assessment.use.panic:
        verdicts.append(Verdict("table", Reason.GUARD_PROVIDERS_LOST, now_ms))
    if change.renewed:
        verdicts.append(Verdict("table", Reason.POLICY_CHANGED, now_ms))
    elif not change.moves and not change.urgent:
        verdicts.append(Verdict("table", Reason.ON_LOSS_RENEWED, now_ms))
    if not change.renewed:
        verdicts += last_resort_verdicts(
            assessment.compiled,
            assessment.use,
            before,
            withdrawn=assessment.claims.withdrawn,
            memory=assessment.memory,
            now_ms=now_ms,
        )
    if change.urgent and not change.moves:
        verdicts += _on_loss_verdicts(situation)
    return [*verdicts, *_move_verdicts(situation, change), *_shed_verdicts(situation, change)]


def _on_loss_verdicts(situation: Situation) -> list[Verdict]:
    """Which pools leave ``on_loss``, and why. Not said of pools that lose load as well, which says more."""
    _, assessment, before, now_ms = situation
    names = assessment.compiled.pools
    verdicts = []
    for pool in sorted(pools_to_drop(before, assessment.use)):
        claim = assessment.claims.emptied(pool)
        cause = claim[0] if claim else assessment.memory.pools[names[pool]].reason
        if assessment.use.limits.grade[pool] != OUT:
            cause = Reason.NO_CAPACITY
        verdicts.append(Verdict(names[pool], Reason.ON_LOSS_LEFT, now_ms, because=cause.value))
    return verdicts


def holding_verdicts(assessment: Assessment, now_ms: int) -> list[Verdict]:
    """What keeps the table as it is, beyond that nothing has to move."""
    verdicts = []
    if too_little_heard(assessment):
        verdicts.append(Verdict("table", Reason.SOURCES_UNHEARD, now_ms, value=assessment.unheard))
    if assessment.use.panic:
        verdicts.append(Verdict("table", Reason.GUARD_PROVIDERS_LOST, now_ms))
    freezes = (order for order in assessment.orders.commands if order.verb == "freeze")
    verdicts += [order_verdict(order.scope.replace("*", "table"), Reason.FROZEN, order) for order in freezes]
    return verdicts


def _move_verdicts(situation: Situation, change: Change) -> list[Verdict]:
    """By pool and reason: how much load the pool gained or lost, and what it keeps although it is lost."""
    _, assessment, before, now_ms = situation
    names, claims = assessment.compiled.pools, assessment.claims
    old_load, new_load = before.draft(assessment.demand).load, change.draft.load
    verdicts = []
    moves = [move for move in change.moves if move.pool != NOWHERE]
    for pool, reason in sorted({(move.pool, _reason(assessment, move)) for move in moves}):
        claim = claims.emptied(pool) if reason is Reason.POOL_LOST else None
        cause = claim[0] if claim else reason
        units = round(abs(new_load[pool] - old_load[pool]), 3)
        verdicts.append(Verdict(names[pool], cause, now_ms, value=units))
        if pool in assessment.use.lost and (remaining := round(new_load[pool], 3)) > 0:
            verdicts.append(Verdict(names[pool], Reason.KEPT_NO_ALTERNATIVE, now_ms, value=remaining))
    return verdicts


def _reason(assessment: Assessment, move: Move) -> Reason:
    """Why the pool lost load; where the policy would allow it there, an operator's pin doesn't."""
    is_lawful = move.pool in assessment.written.routes[move.route].lawful_set
    return Reason.PINNED_BY_ORDER if move.reason is Reason.NOT_LAWFUL and is_lawful else move.reason


def _shed_verdicts(situation: Situation, change: Change) -> list[Verdict]:
    """By route: which share is shed now, where that changed."""
    verdicts = []
    for route in sorted(change.draft.touched):
        was, now = situation.before.shed[route], change.draft.shed[route]
        if was != now:
            reason = Reason.SHED_NO_ROOM if now > was else Reason.SHED_RESTORED
            name = situation.assessment.compiled.routes[route].name
            verdicts.append(Verdict(name, reason, situation.now_ms, value=now / MILLION))
    return verdicts
