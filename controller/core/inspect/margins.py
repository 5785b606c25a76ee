"""N-1 margins: what room each geography has left after the loss of the provider that would hurt it most.

A loss is worked out as `tieline whatif` does it, by the planner's own forced moves. What is left after it is
the room of the pools in the geography that remain, within headroom, ramps and quota groups. Critical load
that finds no place counts against every geography to which its data may go, as room that is missing there.
"""

from collections import defaultdict

from msgspec import Struct

from controller.core.assessment import Assessment, assess
from controller.core.inspect.what_if import WhatIfQuestion, draft_after, losses
from controller.core.model.memo import Memo
from controller.core.moves.draft import Draft
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CRITICAL_RANK, CompiledPolicy
from controller.core.snapshot import Snapshot
from tieline.table import MILLION

SHED_UNITS_MIN = 0.5  # less is rounding


class Margin(Struct, frozen=True):
    """The margin of one geography, in units/s, after the loss of the provider ``lost``.

    Negative: so much critical load that may go there has no place at all after that loss.
    """

    geography: str
    lost: str
    units_per_s: float


def margins(snapshot: Snapshot, now_ms: int, memo: Memo | None = None) -> tuple[Margin, ...]:
    """The worst margin of every geography that has pools, in the policy's order."""
    assessment = assess(snapshot, now_ms, memo)
    worst: dict[str, Margin] = {}
    for loss in losses(snapshot.policy):
        if loss.kind == "provider":
            for name, units in _margins_after(snapshot, assessment, loss.pools).items():
                if name not in worst or units < worst[name].units_per_s:
                    worst[name] = Margin(name, loss.name, units)
    return tuple(worst[name] for name in snapshot.policy.geographies if name in worst)


def _margins_after(snapshot: Snapshot, assessment: Assessment, lost: tuple[str, ...]) -> dict[str, float]:
    draft, use = draft_after(snapshot, assessment, WhatIfQuestion(lost))
    short = _short(draft, assessment.compiled)
    room = _room(draft, use, frozenset(lost))
    geographies = {pool.geography for pool in snapshot.policy.pools}
    return {name: -short[name] if short[name] > SHED_UNITS_MIN else room[name] for name in geographies}


def _room(draft: Draft, use: Use, lost: frozenset[str]) -> dict[str, float]:
    """Geography -> units/s that its pools could still take; the pools of a quota group share its rest."""
    compiled, usable = draft.compiled, use.limits.usable
    room: dict[str, float] = defaultdict(float)
    grouped: dict[tuple[str, int], float] = defaultdict(float)
    for index, pool in enumerate(compiled.policy.pools):
        left = 0.0 if pool.id in lost else max(0.0, usable[index] - draft.load[index])
        if (group := compiled.group_of[index]) < 0:
            room[pool.geography] += left
        else:
            grouped[pool.geography, group] += left
    for (geography, group), left in grouped.items():
        rest = max(0.0, use.limits.group_usable[group] - draft.group_load[group])
        room[geography] += min(left, rest)
    return room


def _short(draft: Draft, compiled: CompiledPolicy) -> dict[str, float]:
    """Geography -> critical load, in units/s, that may go there and is shed."""
    short: dict[str, float] = defaultdict(float)
    for index, rules in enumerate(compiled.routes):
        units = draft.shed[index] * draft.demand[index] / MILLION
        if units and rules.rank <= CRITICAL_RANK:
            for geography in {compiled.policy.pools[pool].geography for pool in rules.lawful}:
                short[geography] += units
    return short
