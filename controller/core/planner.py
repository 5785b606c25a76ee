"""One decision: ``step(snapshot, now_ms) -> Ready``. Pure: the same snapshot gives the same bytes.

trust -> health -> capacity -> eligible (``assess``), then forced moves, else moves by choice, then guards.
"""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.choice import chosen, too_little_heard
from controller.core.guards.last_look import Proposal, UnlawfulTableError, apply_guards
from controller.core.guards.overridden import overridden
from controller.core.guards.withheld import withheld_by_choice, withheld_by_force
from controller.core.model.dispatch_plan import Plan as WholePlan
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import OUT, Draft
from controller.core.moves.first_table import first_draft
from controller.core.moves.held_table import HeldTable, split_of, table_of
from controller.core.moves.last_resort import last_resort_changes, last_resort_verdicts, last_resorts
from controller.core.moves.modes import within_freezes
from controller.core.moves.on_loss import decide_on_loss, on_loss_differs, patch_on_loss
from controller.core.moves.reflex import find_places, settle
from controller.core.moves.unplaced import NOWHERE, Move
from controller.core.orders.in_force import order_verdict
from controller.core.policy.compiled import CRITICAL_RANK, LOWEST_RANK, CompiledPolicy
from controller.core.snapshot import Ready, Snapshot
from tieline.table import MILLION, Generation, RouteTable, Split


class Planner:
    """Decides again and again, and keeps between decisions what nothing has touched (``memo``)."""

    def __init__(self) -> None:
        self.memo = Memo()

    def step(self, snapshot: Snapshot, now_ms: int) -> Ready:
        """The same bytes as the function ``step``, sooner."""
        return _step(snapshot, now_ms, self.memo)


def step(snapshot: Snapshot, now_ms: int) -> Ready:
    """What to do now, given everything that is known. Keeps nothing: who decides often has a ``Planner``."""
    return _step(snapshot, now_ms, Memo())


class Plan(NamedTuple):
    """A draft worth publishing, with what moved in it. ``renewed``: the table's first under its policy."""

    draft: Draft
    moves: list[Move]
    urgent: bool
    voluntary: bool
    renewed: bool = False


def _step(snapshot: Snapshot, now_ms: int, memo: Memo) -> Ready:
    memory = snapshot.memory or Memory()
    if held_back := _held_back(snapshot, now_ms):
        return Ready(memory, None, (held_back,))
    known = assess(snapshot, now_ms, memo)
    table = snapshot.table
    if table is None:
        first = Plan(first_draft(known.written, known.claims, known.demand), [], True, False)
        said = (Verdict("table", Reason.FIRST_TABLE, now_ms), *known.changes)
        return _publish(snapshot, known, first, None, list(said), now_ms)
    before = memo.once(HeldTable, known.compiled, table)
    plan = (
        _forced(known, before, memory, now_ms)
        or _last_resort_changed(known, before)
        or _by_choice(snapshot, known, before, now_ms)
        or _on_loss_renewed(snapshot, known, before, now_ms)
    )
    if plan is None and _on_loss_is_old(snapshot, known, now_ms):
        known = known._replace(memory=replace(known.memory, on_loss_ms=now_ms))
    would = withheld_by_force(known, before, now_ms)
    if not would and not (plan and plan.urgent):  # nothing forced waits for what would be done by choice
        would = withheld_by_choice(known, before, _fresh_plan(snapshot, known, now_ms), now_ms)
    if plan is None:
        return _unchanged(known, memory, [*known.changes, *would], now_ms)
    return _publish(snapshot, known, plan, before, [*_said(known, plan, before, now_ms), *would], now_ms)


def _held_back(snapshot: Snapshot, now_ms: int) -> Verdict | None:
    """Why nothing may be decided now, or None."""
    if not snapshot.office.settled:
        return Verdict("table", Reason.NOT_SETTLED, snapshot.office.took_office_ms)
    if not snapshot.office.clock_trusted and snapshot.table is not None:
        return Verdict("table", Reason.CLOCK_JUMPED, now_ms)
    return None


def _forced(known: Assessment, before: HeldTable, memory: Memory, now_ms: int) -> Plan | None:
    """What must move now: load on pools that are lost or full, shed load for which there is room."""
    draft = before.draft(known.demand)
    limits = known.compiled.policy.thresholds
    due = now_ms - memory.voluntary_ms >= limits.shift_period_ms
    moves = settle(draft, known.use, restore_rank=LOWEST_RANK if due else CRITICAL_RANK)
    if before.orphans:
        find_places(draft, known.use, list(before.orphans), moves)
    if not before.fits or memory.policy_version != known.compiled.version:
        return Plan(draft, moves, True, False, renewed=True)
    if not _matters(draft, before, known):
        return None
    return Plan(draft, moves, True, False)


def _matters(draft: Draft, before: HeldTable, known: Assessment) -> bool:
    """Whether the change is worth a publication: load leaves a lost pool, or more than a little moves."""
    small = round(known.compiled.policy.thresholds.forced_share_min * MILLION)
    for route in draft.touched:
        was, now = before.weights[route], draft.weights[route]
        if was == now and before.shed[route] == draft.shed[route]:
            continue
        moved = abs(before.shed[route] - draft.shed[route])
        for pool in {*was, *now}:
            change = abs(was.get(pool, 0) - now.get(pool, 0))
            if change and pool not in now and known.use.limits.grade[pool] == OUT:
                return True
            moved += change
        if moved >= 2 * small:
            return True
    return False


def _last_resort_changed(known: Assessment, before: HeldTable) -> Plan | None:
    """The same weights with another last resort, at once; in haste if a pool is not to be tried any more."""
    gone, new = last_resort_changes(before, last_resorts(known.compiled, known.use))
    return Plan(before.draft(known.demand), [], bool(gone), False) if gone or new else None


def _by_choice(snapshot: Snapshot, known: Assessment, before: HeldTable, now_ms: int) -> Plan | None:
    """A bounded step towards merit order, at most one in 10 s, and none while too little is heard."""
    if not _may_choose(snapshot, known, now_ms):
        return None
    plan = _fresh_plan(snapshot, known, now_ms)
    step = chosen(known, within_freezes(known.use, known.orders), before, plan)
    return Plan(step.draft, step.moves, False, True) if step.moves else None


def _may_choose(snapshot: Snapshot, known: Assessment, now_ms: int) -> bool:
    period_ms = snapshot.policy.thresholds.shift_period_ms
    if now_ms < max(snapshot.office.voluntary_after_ms, known.memory.voluntary_ms + period_ms):
        return False
    return not too_little_heard(known)


def _fresh_plan(snapshot: Snapshot, known: Assessment, now_ms: int) -> WholePlan | None:
    plan = snapshot.plan
    fresh_ms = snapshot.policy.thresholds.plan_fresh_ms
    return plan if plan is not None and plan.is_fresh(known.compiled.version, fresh_ms, now_ms) else None


def _on_loss_renewed(snapshot: Snapshot, known: Assessment, before: HeldTable, now_ms: int) -> Plan | None:
    """The same weights with ``on_loss`` decided anew: a second after a forced publication, and once a minute,
    as demand and capacity move on where the table stays, if they would be others."""
    after_ms = snapshot.policy.thresholds.on_loss_after_ms
    hasty = known.memory.on_loss_due and now_ms >= before.table.made_ms + after_ms
    if not hasty and not _on_loss_is_old(snapshot, known, now_ms):
        return None
    draft = before.draft(known.demand)
    if hasty or on_loss_differs(before, decide_on_loss(draft, known.use)):
        return Plan(draft, [], False, False)
    return None


def _on_loss_is_old(snapshot: Snapshot, known: Assessment, now_ms: int) -> bool:
    memory = known.memory
    due = (
        not memory.on_loss_due and now_ms - memory.on_loss_ms >= snapshot.policy.thresholds.on_loss_period_ms
    )
    due = due and all(one.caught_up for one in snapshot.progress)
    return due and not known.orders.frozen and _may_choose(snapshot, known, now_ms)


def _unchanged(known: Assessment, memory: Memory, said: list[Verdict], now_ms: int) -> Ready:
    if too_little_heard(known):
        said.append(Verdict("table", Reason.SOURCES_UNHEARD, now_ms, value=known.unheard))
    if known.use.panic:
        said.append(Verdict("table", Reason.GUARD_PROVIDERS_LOST, now_ms))
    freezes = (order for order in known.orders.commands if order.verb == "freeze")
    said += [order_verdict(order.scope.replace("*", "table"), Reason.FROZEN, order) for order in freezes]
    changed = known.memory is not memory
    return Ready(known.memory, None, tuple(said), memory_changed=changed, wake_ms=known.due_ms)


def _publish(
    snapshot: Snapshot,
    known: Assessment,
    plan: Plan,
    before: HeldTable | None,
    said: list[Verdict],
    now_ms: int,
) -> Ready:
    compiled, draft = known.compiled, plan.draft
    splits = _splits(draft, before)
    hasty = plan.urgent and before is not None and not plan.renewed
    losses = patch_on_loss(before, known.use) if before and hasty else decide_on_loss(draft, known.use)
    proposal = Proposal(
        compiled,
        known.use,
        splits,
        losses,
        last_resorts(compiled, known.use),
        _held_splits(before, len(splits)),
        [route.on_loss if route else {} for route in before.routes] if before and not plan.renewed else [],
        said,
        before is None,
        now_ms,
    )
    try:
        apply_guards(proposal)
    except UnlawfulTableError:
        said.append(Verdict("table", Reason.GUARD_EMPTY_TABLE, now_ms))
        return _unchanged(known, snapshot.memory or Memory(), said, now_ms)
    said += overridden(known, proposal.splits, proposal.held)
    due = hasty and (known.memory.on_loss_due or bool(draft.touched) or _are_patched(before, losses))
    looked_ms = known.memory.on_loss_ms if hasty else now_ms
    memory = _remembered(known, plan, before, now_ms)
    memory = replace(memory, on_loss_due=due, on_loss_ms=looked_ms)
    table = _table(snapshot, compiled, proposal, now_ms)
    wake_ms = known.due_ms
    if due:
        renew_ms = now_ms + snapshot.policy.thresholds.on_loss_after_ms
        wake_ms = min(renew_ms, wake_ms or renew_ms)
    return Ready(memory, table, tuple(said), plan.urgent, memory != snapshot.memory, wake_ms)


def _are_patched(before: HeldTable | None, losses: list[dict[str, Split]]) -> bool:
    """Whether any ``on_loss`` is not the very one of the table in force."""
    held = [route.on_loss if route else None for route in before.routes] if before else []
    return any(lost is not known for lost, known in zip(losses, held, strict=True))


def _remembered(known: Assessment, plan: Plan, before: HeldTable | None, now_ms: int) -> Memory:
    """With when load last moved by choice, and what may not move back yet."""
    shifts = known.memory.shifts
    if before is not None:
        shifts = known.barred.after(before.weights, plan.draft.weights, plan.moves, now_ms)
    voluntary_ms = now_ms if plan.voluntary else known.memory.voluntary_ms
    return replace(known.memory, voluntary_ms=voluntary_ms, shifts=shifts)


def _held_splits(before: HeldTable | None, count: int) -> list[Split | None]:
    """What each route had, by the policy's own pool numbers; None where it is new."""
    if before is None:
        return [None] * count
    if before.same_pools:
        return [None if route is None else route.split for route in before.routes]
    return [split_of(weights, shed) for weights, shed in zip(before.weights, before.shed, strict=True)]


def _splits(draft: Draft, before: HeldTable | None) -> list[Split]:
    """Untouched routes keep the very split they had."""
    splits = []
    for index, weights in enumerate(draft.weights):
        route = before.routes[index] if before else None
        if before and before.same_pools and route is not None and index not in draft.touched:
            splits.append(route.split)
        else:
            splits.append(split_of(weights, draft.shed[index]))
    return splits


def _table(snapshot: Snapshot, compiled: CompiledPolicy, proposal: Proposal, now_ms: int) -> RouteTable:
    office = snapshot.office
    generation = Generation(office.lineage, office.epoch, office.next_seq)
    why = [Reason.SHED_NO_ROOM.value if split.shed else "" for split in proposal.splits]
    return table_of(
        compiled, proposal.splits, proposal.on_loss, proposal.last_resort, why, generation, now_ms
    )


def _said(known: Assessment, plan: Plan, before: HeldTable, now_ms: int) -> list[Verdict]:
    """State changes, then what moved off (by choice: onto) each pool and why, then what is shed."""
    compiled, draft = known.compiled, plan.draft
    said = list(known.changes)
    if known.use.panic:
        said.append(Verdict("table", Reason.GUARD_PROVIDERS_LOST, now_ms))
    if plan.renewed:
        said.append(Verdict("table", Reason.POLICY_CHANGED, now_ms))
    elif not plan.moves and not plan.urgent:
        said.append(Verdict("table", Reason.ON_LOSS_RENEWED, now_ms))
    if not plan.renewed:
        said += last_resort_verdicts(
            compiled, known.use, before, withdrawn=known.claims.withdrawn, memory=known.memory, now_ms=now_ms
        )
    load = before.draft(known.demand).load
    for pool, reason in sorted({(move.pool, move.reason) for move in plan.moves if move.pool != NOWHERE}):
        if reason is Reason.POOL_LOST and pool in known.claims.withdrawn:
            reason = known.claims.withdrawn[pool][0]
        units = round(abs(draft.load[pool] - load[pool]), 3)
        said.append(Verdict(compiled.pools[pool], reason, now_ms, value=units))
        if pool in known.use.lost and (kept := round(draft.load[pool], 3)) > 0:
            said.append(Verdict(compiled.pools[pool], Reason.KEPT_NO_ALTERNATIVE, now_ms, value=kept))
    for route in sorted(draft.touched):
        was, now = before.shed[route], draft.shed[route]
        if was != now:
            reason = Reason.SHED_NO_ROOM if now > was else Reason.SHED_RESTORED
            said.append(Verdict(compiled.routes[route].name, reason, now_ms, value=now / MILLION))
    return said
