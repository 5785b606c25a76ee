"""What the table should become now: the rules that may change it, in order; the first that applies counts.

1. Forced: load on pools that are lost or full moves at once, and load that is shed returns if there is room.
2. ``on_loss`` and the last resort of a route change with what its pools can serve: a pool that is withdrawn
   or lost leaves them at once.
3. By choice: one bounded step towards the order of merit or the dispatch's plan, at most once in
   ``shift_period_ms``, and none while too many sources are silent.
4. ``on_loss`` is decided anew: soon after a forced publication, once a pool can be counted on again, and
   once in ``on_loss_period_ms``. It is published if it differs by more than a little.
"""

from typing import NamedTuple

from controller.core.assessment import Assessment
from controller.core.model.dispatch_plan import Plan
from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason, State
from controller.core.moves.draft import GAINS_LAST, OUT, Draft
from controller.core.moves.eligible import Use
from controller.core.moves.first_table import first_draft
from controller.core.moves.forced import find_places, settle
from controller.core.moves.held_table import HeldTable
from controller.core.moves.last_resort import last_resort_changes, last_resorts
from controller.core.moves.modes import within_freezes
from controller.core.moves.on_loss import (
    decide_on_loss,
    must_be_patched,
    on_loss_differs,
    uncounted_pools,
)
from controller.core.moves.unplaced import Move
from controller.core.moves.voluntary import approach, keep_warm, target_of
from controller.core.policy.compiled import CRITICAL_RANK, LOWEST_RANK, CompiledPolicy
from controller.core.snapshot import Snapshot
from tieline.table import MILLION

NEAR_ZERO = 1e-9  # units/s
NO_RANK = -1  # more critical than any: nothing that is shed returns


class Situation(NamedTuple):
    """What the second half of a decision rests on; ``before`` is the table in force."""

    snapshot: Snapshot
    assessment: Assessment
    before: HeldTable
    now_ms: int

    @property
    def plan(self) -> Plan | None:
        """The dispatch's plan, if it may guide moves now."""
        return fresh_plan(self.snapshot, self.assessment.compiled, self.now_ms)


class Change(NamedTuple):
    """A draft that is worth a publication, with the moves that led to it.

    ``urgent``: clients must not wait for it. ``voluntary``: load moves by choice. ``renewed``: it is the
    first table under its policy.
    """

    draft: Draft
    moves: list[Move]
    urgent: bool
    voluntary: bool = False
    renewed: bool = False


class VoluntaryStep(NamedTuple):
    """``draft``: the table after one bounded step, with its ``moves``; ``target``: where such steps lead."""

    draft: Draft
    target: Draft
    moves: list[Move]


def first_change(assessment: Assessment) -> Change:
    """The first table of a lineage."""
    draft = first_draft(assessment.written, assessment.claims, assessment.demand)
    return Change(draft, [], urgent=True)


def change_due(situation: Situation) -> Change | None:
    """What is to be published now; None if the table in force stays."""
    return (
        _forced(situation)
        or _pools_withdrawn(situation)
        or _by_choice(situation)
        or _on_loss_renewed(situation)
    )


def too_little_heard(assessment: Assessment) -> bool:
    """Whether too many sources are silent for moves by choice, and no operator overrides that guard."""
    share_max = assessment.compiled.policy.thresholds.unheard_share_max
    return assessment.unheard > share_max and not assessment.orders.lifts("sources_unheard")


def fresh_plan(snapshot: Snapshot, compiled: CompiledPolicy, now_ms: int) -> Plan | None:
    """The dispatch's plan, if it was made under this policy and not too long ago."""
    plan, fresh_ms = snapshot.plan, snapshot.policy.thresholds.plan_fresh_ms
    return plan if plan is not None and plan.is_fresh(compiled.version, fresh_ms, now_ms) else None


def voluntary_step(assessment: Assessment, use: Use, before: HeldTable, plan: Plan | None) -> VoluntaryStep:
    """One step by choice from the table in force, within ``use``."""
    draft = before.draft(assessment.demand)
    target = target_of(draft, use, plan)
    keep_warm(target, use, assessment.evidence, assessment.requests)
    for route in use.preferred:  # where an operator moved it, or has left it for want of room
        target.set(route, dict(draft.weights[route]), draft.shed[route])
    pools = assessment.memory.pools
    names = enumerate(assessment.compiled.pools)
    ramping = {index for index, name in names if pools[name].state is State.RECOVERING}
    reason = Reason.PLAN if plan else Reason.MERIT_ORDER
    moves = approach(draft, target, use, ramping, assessment.reversal, reason)
    return VoluntaryStep(draft, target, moves)


def on_loss_is_due(situation: Situation) -> bool:
    """Whether ``on_loss`` should be decided anew: it was only patched, a pool can be counted on again, or
    demand and capacity have moved on meanwhile."""
    snapshot, assessment, before, now_ms = situation
    memory, thresholds = assessment.memory, snapshot.policy.thresholds
    if memory.on_loss_due:
        return now_ms >= before.table.made_ms + thresholds.on_loss_after_ms
    age_ms = now_ms - memory.on_loss_ms
    is_old = age_ms >= thresholds.on_loss_period_ms
    has_returned = age_ms >= thresholds.on_loss_after_ms and bool(returned_pools(memory, assessment))
    if not is_old and not has_returned:
        return False
    # Tables without a row of progress, as after a loss of Redis, prove nothing about what was read.
    is_read = bool(snapshot.progress) and all(partition.caught_up for partition in snapshot.progress)
    if not is_read or too_little_heard(assessment):
        return False
    # No load moves by it, so a pool that has returned needn't wait until load may move by choice: until then
    # the loss of a provider could find clients without any other pool.
    return has_returned or (is_old and _may_choose(situation))


def returned_pools(memory: Memory, assessment: Assessment) -> list[str]:
    """The pools that could gain nothing when ``on_loss`` was decided, and that can gain load now."""
    index_of, uncounted = assessment.compiled.pool_index, uncounted_pools(assessment.use)
    return [name for name in memory.on_loss_without if index_of.get(name) not in uncounted]


def _forced(situation: Situation) -> Change | None:
    """What must move now: load on pools that are lost or full, and shed load for which there is room."""
    snapshot, assessment, before, _ = situation
    memory = snapshot.memory or Memory()
    draft, moves = _settled(situation, memory)
    if before.orphans:
        find_places(draft, assessment.use, list(before.orphans), moves)
    if not before.fits or memory.policy_version != assessment.compiled.version:
        return Change(draft, moves, urgent=True, renewed=True)
    return Change(draft, moves, urgent=True) if _matters(draft, before, assessment) else None


def _settled(situation: Situation, memory: Memory) -> tuple[Draft, list[Move]]:
    """The table in force within its limits, with what is shed served again where there is room.

    Sheddable load returns at most once in a shift period, and so does a little of critical load. More of
    critical load returns at once.
    """
    snapshot, assessment, before, now_ms = situation
    thresholds = snapshot.policy.thresholds
    latest_ms = max(memory.voluntary_ms, memory.restored_ms)
    due = now_ms - latest_ms >= thresholds.shift_period_ms
    draft = before.draft(assessment.demand)
    moves = settle(draft, assessment.use, restore_rank=LOWEST_RANK if due else CRITICAL_RANK)
    if not due and 0 < restored_parts(before, draft, assessment.use) < thresholds.shift_share_min * MILLION:
        draft = before.draft(assessment.demand)
        moves = settle(draft, assessment.use, restore_rank=NO_RANK)
    return draft, moves


def restored_parts(before: HeldTable, draft: Draft, use: Use) -> int:
    """The most parts of one route that the table in force sheds and the draft serves, other than to try a
    pool."""
    grade, most = use.limits.grade, 0
    for route in draft.touched:
        was, now = before.weights[route], draft.weights[route]
        tries = sum(max(now[pool] - was.get(pool, 0), 0) for pool in now if grade[pool] == GAINS_LAST)
        most = max(most, before.shed[route] - draft.shed[route] - tries)
    return most


def _matters(draft: Draft, before: HeldTable, assessment: Assessment) -> bool:
    """Whether the change is worth a publication: load leaves a lost pool, a pool of unknown health is tried,
    or more than a little moves.

    That is more than a little of a route, or of what a pool may carry: a small part of a large route may be
    all that a small pool can take. Load of a small route that is shed and is next to nothing for every pool
    must be a larger part of the route, as demand goes up and down by so much all the time.
    """
    limits, thresholds = assessment.use.limits, assessment.compiled.policy.thresholds
    changed: set[int] = set()
    largest = largest_shed = 0
    for route in draft.touched:
        was, now = before.weights[route], draft.weights[route]
        sheds = draft.shed[route] - before.shed[route]
        moved = abs(sheds)
        for pool in {*was, *now}:
            change = abs(was.get(pool, 0) - now.get(pool, 0))
            if change and pool not in now and limits.grade[pool] == OUT:
                return True
            if change and pool not in was and limits.grade[pool] == GAINS_LAST:
                return True
            if change:
                changed.add(pool)
            moved += change
        largest = max(largest, moved if sheds <= 0 else 0)
        largest_shed = max(largest_shed, moved if sheds > 0 else 0)
    load = before.draft(assessment.demand).load if changed else []
    shares = [abs(draft.load[p] - load[p]) / max(limits.usable[p], NEAR_ZERO) for p in changed]
    share = max(shares, default=0.0)
    # What is shed for the noise of a small route's demand is nothing to any pool.
    is_crumb = share < thresholds.forced_share_min
    most_shed = thresholds.shift_share_min if is_crumb else thresholds.forced_share_min
    return (
        largest >= 2 * round(thresholds.forced_share_min * MILLION)
        or largest_shed >= 2 * round(most_shed * MILLION)
        or share > thresholds.overload_tolerance
    )


def _pools_withdrawn(situation: Situation) -> Change | None:
    """The same weights with other last resorts, or with ``on_loss`` without pools that can't serve any more.

    Urgent if a pool is not to be tried any more.
    """
    _, assessment, before, _ = situation
    left, joined = last_resort_changes(before, last_resorts(assessment.compiled, assessment.use))
    is_unusable = must_be_patched(before, assessment.use)
    if not left and not joined and not is_unusable:
        return None
    return Change(before.draft(assessment.demand), [], urgent=bool(left) or is_unusable)


def _by_choice(situation: Situation) -> Change | None:
    if not _may_choose(situation):
        return None
    assessment = situation.assessment
    use = within_freezes(assessment.use, assessment.orders)
    step = voluntary_step(assessment, use, situation.before, situation.plan)
    return Change(step.draft, step.moves, urgent=False, voluntary=True) if step.moves else None


def _may_choose(situation: Situation) -> bool:
    snapshot, assessment, _, now_ms = situation
    period_ms = snapshot.policy.thresholds.shift_period_ms
    if now_ms < max(snapshot.office.voluntary_after_ms, assessment.memory.voluntary_ms + period_ms):
        return False
    return not too_little_heard(assessment)


def _on_loss_renewed(situation: Situation) -> Change | None:
    """The same weights with ``on_loss`` decided anew, if it would differ by more than a little."""
    _, assessment, before, _ = situation
    if not on_loss_is_due(situation):
        return None
    draft = before.draft(assessment.demand)
    is_other = on_loss_differs(before, decide_on_loss(draft, assessment.use))
    return Change(draft, [], urgent=False) if is_other else None
