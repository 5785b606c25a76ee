"""The outcome of a decision: a table to publish, checked by the guards, or the one in force that stays.

A forced table carries ``on_loss`` that are only patched, so that it need not wait for new ones; these are due
soon after.
"""

from msgspec.structs import replace

from controller.core.assessment import Assessment
from controller.core.changes import Change, Situation, on_loss_is_due, restored_parts
from controller.core.guards.last_look import Proposal, UnlawfulTableError, apply_guards
from controller.core.guards.overridden import overridden_verdicts
from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import Draft
from controller.core.moves.held_table import HeldTable, split_of, table_of
from controller.core.moves.last_resort import last_resorts
from controller.core.moves.on_loss import decide_on_loss, patch_on_loss, uncounted_pools
from controller.core.snapshot import Ready, Snapshot
from controller.core.verdicts import holding_verdicts
from tieline.table import Generation, RouteTable, Split


def publish(
    snapshot: Snapshot,
    assessment: Assessment,
    change: Change,
    before: HeldTable | None,
    verdicts: list[Verdict],
    now_ms: int,
) -> Ready:
    """The change as a table, or the table in force if no lawful one can be made. ``verdicts`` are said of it.

    ``before`` is None for the first table of a lineage.
    """
    use, draft = assessment.use, change.draft
    is_hasty = change.urgent and before is not None and not change.renewed
    on_loss = patch_on_loss(before, use) if before and is_hasty else decide_on_loss(draft, use)
    proposal = _proposal(assessment, change, before, on_loss, verdicts, now_ms)
    try:
        apply_guards(proposal)
    except UnlawfulTableError:
        verdicts.append(Verdict("table", Reason.GUARD_EMPTY_TABLE, now_ms))
        return _kept(snapshot, assessment, assessment.memory, verdicts, now_ms)
    verdicts += overridden_verdicts(assessment, proposal.splits, proposal.before)
    was_due = assessment.memory.on_loss_due
    is_due = is_hasty and (was_due or bool(draft.touched) or _is_patched(before, on_loss))
    memory = _memory_after(assessment, change, before, now_ms)
    memory = replace(memory, on_loss_due=is_due) if is_hasty else _on_loss_decided(memory, assessment, now_ms)
    wake_ms = assessment.due_ms
    if is_due:
        renew_ms = now_ms + snapshot.policy.thresholds.on_loss_after_ms
        wake_ms = min(renew_ms, wake_ms or renew_ms)
    return Ready(
        memory,
        _table(snapshot, proposal, before, now_ms),
        tuple(verdicts),
        urgent=change.urgent,
        memory_changed=memory != snapshot.memory,
        wake_ms=wake_ms,
    )


def keep(situation: Situation, verdicts: list[Verdict]) -> Ready:
    """The table in force stays. What has to be remembered is recorded without one."""
    snapshot, assessment, _, now_ms = situation
    memory = assessment.memory
    if on_loss_is_due(situation):  # it was looked at, and would not differ
        memory = _on_loss_decided(memory, assessment, now_ms)
    return _kept(snapshot, assessment, memory, verdicts, now_ms)


def _kept(
    snapshot: Snapshot, assessment: Assessment, memory: Memory, verdicts: list[Verdict], now_ms: int
) -> Ready:
    return Ready(
        memory,
        None,
        (*verdicts, *holding_verdicts(assessment, now_ms)),
        memory_changed=memory is not snapshot.memory,
        wake_ms=assessment.due_ms,
    )


def _on_loss_decided(memory: Memory, assessment: Assessment, now_ms: int) -> Memory:
    """The memory after ``on_loss`` was decided, with the pools that it could not count on."""
    without = tuple(assessment.compiled.pools[pool] for pool in sorted(uncounted_pools(assessment.use)))
    return replace(memory, on_loss_due=False, on_loss_ms=now_ms, on_loss_without=without)


def _proposal(
    assessment: Assessment,
    change: Change,
    before: HeldTable | None,
    on_loss: list[dict[str, Split]],
    verdicts: list[Verdict],
    now_ms: int,
) -> Proposal:
    checked: list[dict[str, Split]] = []
    if before and not change.renewed:
        checked = [route.on_loss if route else {} for route in before.routes]
    return Proposal(
        compiled=assessment.compiled,
        use=assessment.use,
        splits=_splits(change.draft, before),
        on_loss=on_loss,
        last_resort=last_resorts(assessment.compiled, assessment.use),
        before=before.splits() if before else [None] * len(on_loss),
        checked_on_loss=checked,
        verdicts=verdicts,
        is_first=before is None,
        now_ms=now_ms,
    )


def _splits(draft: Draft, before: HeldTable | None) -> list[Split]:
    """The draft's routes as a table has them. Untouched routes keep the same split."""
    splits = []
    for index, weights in enumerate(draft.weights):
        route = before.routes[index] if before and before.same_pools else None
        if route is not None and index not in draft.touched:
            splits.append(route.split)
        else:
            splits.append(split_of(weights, draft.shed[index]))
    return splits


def _is_patched(before: HeldTable | None, on_loss: list[dict[str, Split]]) -> bool:
    """Whether any ``on_loss`` is not the same object as in the table in force."""
    old = [route.on_loss if route else None for route in before.routes] if before else []
    return any(now is not was for now, was in zip(on_loss, old, strict=True))


def _memory_after(assessment: Assessment, change: Change, before: HeldTable | None, now_ms: int) -> Memory:
    """With when load last moved by choice or was restored, and what may not move back yet."""
    memory = assessment.memory
    if change.voluntary:
        memory = replace(memory, voluntary_ms=now_ms)
    if before is None:
        return memory
    if restored_parts(before, change.draft, assessment.use) > 0:
        memory = replace(memory, restored_ms=now_ms)
    shifts = assessment.reversal.after(before.weights, change.draft.weights, change.moves, now_ms)
    return replace(memory, shifts=shifts)


def _table(snapshot: Snapshot, proposal: Proposal, before: HeldTable | None, now_ms: int) -> RouteTable:
    office = snapshot.office
    return table_of(
        proposal.compiled,
        proposal.splits,
        proposal.on_loss,
        proposal.last_resort,
        [Reason.SHED_NO_ROOM.value if split.shed else "" for split in proposal.splits],
        Generation(office.lineage, office.epoch, office.next_seq),
        now_ms,
        before,
    )
