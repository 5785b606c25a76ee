"""PURE: whether a controller that took over continued what the one before it had begun."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.thresholds import Thresholds
from controller.routes.record import RoutesRecord
from tieline.table import slices

LATE_MAX_MS = 15_000


def take_over_faults(before: RoutesRecord, after: RoutesRecord) -> list[str]:
    """What the first table of a new epoch changed beside its generation, which is all that it may change."""
    faults = []
    if after.generation.epoch <= before.generation.epoch:
        faults.append(f"epoch {after.generation.epoch} does not follow epoch {before.generation.epoch}")
    if _weights(before) != _weights(after):
        faults.append("the take-over changed weights")
    if before.memory != after.memory:
        faults.append("the take-over changed what the planner remembers")
    return faults


def hand_overs(records: Sequence[RoutesRecord]) -> list[tuple[RoutesRecord, RoutesRecord]]:
    """For each take-over the last table of the epoch before it and the first table of the new epoch."""
    tables = [record for record in records if record.table is not None]
    return [
        (before, after)
        for before, after in pairwise(tables)
        if after.generation.epoch > before.generation.epoch
    ]


def course_faults(pool: str, records: Sequence[RoutesRecord], thresholds: Thresholds) -> list[str]:
    """Where, over all ``records``, a hold-down was restarted or cut short, or a ramp restarted or skipped."""
    faults: list[str] = []
    before: PoolMemory | None = None
    for record in records:
        memory = record.memory.pools.get(pool) if record.memory is not None else None
        if memory is None:
            continue
        if before is not None:
            faults += [
                f"{pool}: {fault}"
                for fault in (
                    *_hold_down_faults(before, memory, record.published_ms),
                    *_ramp_faults(before, memory, thresholds),
                )
            ]
        before = memory
    return faults


def _hold_down_faults(before: PoolMemory, after: PoolMemory, at_ms: int) -> list[str]:
    if before.state is not State.DOWN:
        return []
    if after.state is State.DOWN and after.hold_until_ms < before.hold_until_ms:
        relapsed = after.relapses_ms != before.relapses_ms or after.down_since_ms != before.down_since_ms
        # An outage that lasts makes its hold-down longer. Only a relapse may set a new, shorter one.
        return [] if relapsed else ["its hold-down was cut short"]
    faults = []
    if after.state is State.RECOVERING:
        if at_ms < before.hold_until_ms:
            faults.append("its hold-down was skipped")
        if at_ms > before.hold_until_ms + LATE_MAX_MS and before.good_since_ms:
            faults.append("its hold-down was restarted")
    return faults


def _ramp_faults(before: PoolMemory, after: PoolMemory, thresholds: Thresholds) -> list[str]:
    if before.state is not State.RECOVERING or after.state is not State.RECOVERING:
        return []
    if after.relapses_ms != before.relapses_ms:  # between the two it was down again, for less than a second
        return []
    faults = []
    if after.ramp_step < before.ramp_step:
        faults.append("its ramp was restarted")
    if after.ramp_step > before.ramp_step + 1:
        faults.append("a step of its ramp was skipped")
    if after.ramp_step == before.ramp_step and after.ramp_since_ms != before.ramp_since_ms:
        faults.append("a step of its ramp began again")
    lasted_ms = after.ramp_since_ms - before.ramp_since_ms
    if after.ramp_step == before.ramp_step + 1 and lasted_ms < thresholds.ramp_step_min_ms:
        faults.append(f"a step of its ramp lasted only {lasted_ms} ms")
    return faults


def _weights(record: RoutesRecord) -> dict[str, bytes]:
    """By route: its slice, which names its pools; indices alone would say little."""
    return slices(record.table) if record.table is not None else {}
