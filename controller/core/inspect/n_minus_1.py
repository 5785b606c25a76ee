"""How much is left once a provider, a region or another failure domain is lost: the margin of N-1.

The question is that of ``tieline whatif --n-1``, answered for one loss at a time from an assessment that
exists already, so that a leader can ask it beside its work.
"""

from collections import defaultdict

from msgspec import Struct

from controller.core.assessment import Assessment
from controller.core.capacity.usable import UNBOUNDED
from controller.core.inspect.what_if import Loss, WhatIfQuestion, draft_after, losses
from controller.core.moves.draft import KEEPS, Draft
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CRITICAL_RANK, CompiledPolicy
from controller.core.snapshot import Snapshot
from tieline.table import CRITICALITIES, MILLION

UNITS_MIN = 0.5  # less is rounding


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


class GeographyMargin(Struct, frozen=True):
    """What the pools of one geography could still take after the loss of the provider ``lost``, which would
    hurt it most, in units/s. Negative: so much critical load that may go there would not be served at all.
    """

    geography: str
    lost: str
    units_per_s: float


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


def geography_margins(snapshot: Snapshot, assessment: Assessment) -> tuple[GeographyMargin, ...]:
    """The worst margin of every geography that has pools, in the policy's order."""
    worst: dict[str, GeographyMargin] = {}
    for loss in losses(snapshot.policy):
        if loss.kind == "provider":
            for name, units in _by_geography(snapshot, assessment, loss).items():
                if name not in worst or units < worst[name].units_per_s:
                    worst[name] = GeographyMargin(name, loss.name, units)
    return tuple(worst[name] for name in snapshot.policy.geographies if name in worst)


def _by_geography(snapshot: Snapshot, assessment: Assessment, loss: Loss) -> dict[str, float]:
    draft, use = draft_after(snapshot, assessment, WhatIfQuestion(loss.pools))
    compiled, pools = assessment.compiled, snapshot.policy.pools
    room: dict[str, float] = defaultdict(float)
    for pool, left in zip(pools, _rooms(draft, use), strict=True):
        room[pool.geography] += left
    short: dict[str, float] = defaultdict(float)
    lost = {compiled.pool_index[pool] for pool in loss.pools}
    for rule, units in zip(compiled.routes, _unserved(draft, lost), strict=True):
        if rule.rank <= CRITICAL_RANK:
            for geography in {pools[pool].geography for pool in rule.lawful}:
                short[geography] += units
    return {name: -short[name] if short[name] > UNITS_MIN else left for name, left in room.items()}


def _shed(compiled: CompiledPolicy, draft: Draft, lost: set[int]) -> dict[str, float]:
    shed: dict[str, float] = dict.fromkeys(CRITICALITIES, 0.0)
    for rule, units in zip(compiled.routes, _unserved(draft, lost), strict=True):
        shed[rule.criticality] += units
    return shed


def _unserved(draft: Draft, lost: set[int]) -> list[float]:
    """By route: the load that is shed or stays on lost pools."""
    unserved = []
    for units, weights, parts in zip(draft.demand, draft.weights, draft.shed, strict=True):
        parts += sum(weight for pool, weight in weights.items() if pool in lost)
        unserved.append(units * parts / MILLION)
    return unserved


def _room(draft: Draft, use: Use) -> float:
    return sum(_rooms(draft, use))


def _rooms(draft: Draft, use: Use) -> list[float]:
    """By pool: what it could still take, 0 for pools that may not gain load, as lost ones. A pool whose
    provider's mode sets no bound counts as full."""
    limits = use.limits
    return [
        max(0.0, usable - load) if grade < KEEPS and usable != UNBOUNDED else 0.0
        for usable, load, grade in zip(limits.usable, draft.load, limits.grade, strict=True)
    ]
