"""Whether load may be moved by choice now, and by which step: the one way in which it is asked."""

from typing import NamedTuple

from controller.core.assessment import Assessment
from controller.core.model.dispatch_plan import Plan
from controller.core.model.reasons import Reason, State
from controller.core.moves.draft import Draft
from controller.core.moves.eligible import Use
from controller.core.moves.held_table import HeldTable
from controller.core.moves.unplaced import Move
from controller.core.moves.voluntary import approach, keep_warm, target_of


class Chosen(NamedTuple):
    """``draft``: the table after one bounded step, with its ``moves``; ``target``: where such steps lead."""

    draft: Draft
    target: Draft
    moves: list[Move]


def too_little_heard(known: Assessment) -> bool:
    """Whether too many sources are silent for moves by choice, and no operator overrides that guard."""
    share_max = known.compiled.policy.thresholds.unheard_share_max
    return known.unheard > share_max and not known.orders.lifts("sources_unheard")


def chosen(known: Assessment, use: Use, before: HeldTable, plan: Plan | None) -> Chosen:
    """One step by choice from the table in force, within ``use``."""
    draft = before.draft(known.demand)
    target = target_of(draft, use, plan)
    keep_warm(target, use, known.evidence, known.requests)
    pools = known.memory.pools
    ramping = {i for i, name in enumerate(known.compiled.pools) if pools[name].state is State.RECOVERING}
    why = Reason.PLAN if plan else Reason.MERIT_ORDER
    moves = approach(draft, target, use, ramping, known.barred, why)
    return Chosen(draft, target, moves)
