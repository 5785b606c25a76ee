"""How much is left once a provider, a region or another failure domain is lost: the margin of N-1.

The question is that of ``tieline whatif --n-1``, answered for one loss at a time from an assessment that
exists already, so that a leader can ask it beside its work.
"""

from msgspec import Struct

from controller.core.assessment import Assessment
from controller.core.capacity.usable import UNBOUNDED
from controller.core.inspect.what_if import Loss, WhatIfQuestion, draft_after
from controller.core.moves.draft import KEEPS, Draft
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CompiledPolicy
from controller.core.snapshot import Snapshot
from tieline.table import CRITICALITIES, MILLION


class Margin(Struct, frozen=True):
    """What one loss would leave, in units/s.

    ``shed`` is, by criticality, the load that is not served any more: it is shed, or stays on lost pools for
    want of a lawful alternative. ``room`` is what the pools that are left could still take.
    """

    kind: str
    lost: str
    offered: float
    shed: dict[str, float]
    room: float

    @property
    def ratio(self) -> float:
        """The margin as a share of the offered load. Below 0 it is the share that would not be served. Above
        0 it is the room that is left; contracts may keep a part of that from the load that grows. 0 without
        load.
        """
        if not self.offered:
            return 0.0
        lost = sum(self.shed.values())
        return -lost / self.offered if lost else self.room / self.offered


def margin_without(snapshot: Snapshot, assessment: Assessment, loss: Loss) -> Margin:
    """The margin under one loss. ``assessment`` is that of ``snapshot``; nothing of it changes."""
    draft, use = draft_after(snapshot, assessment, WhatIfQuestion(loss.pools))
    compiled = assessment.compiled
    lost = {compiled.pool_index[pool] for pool in loss.pools}
    return Margin(
        loss.kind,
        loss.name,
        sum(draft.demand),
        shed=_shed(compiled, draft, lost),
        room=_room(draft, use),
    )


def _shed(compiled: CompiledPolicy, draft: Draft, lost: set[int]) -> dict[str, float]:
    shed: dict[str, float] = dict.fromkeys(CRITICALITIES, 0.0)
    for rule, units, weights, parts in zip(
        compiled.routes, draft.demand, draft.weights, draft.shed, strict=True
    ):
        parts += sum(weight for pool, weight in weights.items() if pool in lost)
        shed[rule.criticality] += units * parts / MILLION
    return shed


def _room(draft: Draft, use: Use) -> float:
    """What pools that may gain load could still take; lost ones may not. A pool whose provider's mode sets no
    bound counts as full."""
    limits = use.limits
    return sum(
        max(0.0, usable - load)
        for usable, load, grade in zip(limits.usable, draft.load, limits.grade, strict=True)
        if grade < KEEPS and usable != UNBOUNDED
    )
