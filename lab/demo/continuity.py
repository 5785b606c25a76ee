"""PURE: whether a controller that took over went on where the last one stopped."""

from __future__ import annotations

from collections.abc import Sequence

from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.thresholds import Thresholds
from controller.routes.record import RoutesRecord
from tieline.table import Generation, Route

LATE_MAX_MS = 15_000


def take_over_faults(before: RoutesRecord, after: RoutesRecord) -> list[str]:
    """What the first table of a new epoch changed by itself; empty when nothing but its number."""
    found = []
    if after.generation.epoch <= before.generation.epoch:
        found.append(f"epoch {after.generation.epoch} does not follow {before.generation.epoch}")
    if _routes(before) != _routes(after):
        found.append("the take-over changed weights")
    if before.memory != after.memory:
        found.append("the take-over changed what the planner remembers")
    return found


def course_faults(pool: str, records: Sequence[RoutesRecord], thresholds: Thresholds) -> list[str]:
    """Whether a hold-down was restarted or cut, or a ramp restarted or skipped, over all ``records``."""
    found: list[str] = []
    earlier: tuple[PoolMemory, Generation] | None = None
    for record in records:
        memory = record.memory.pools.get(pool) if record.memory is not None else None
        if memory is None:
            continue
        if earlier is not None:
            found += _step_faults(pool, earlier[0], memory, record.published_ms, thresholds)
        earlier = memory, record.generation
    return found


def _step_faults(
    pool: str, was: PoolMemory, now: PoolMemory, at_ms: int, thresholds: Thresholds
) -> list[str]:
    found = []
    if was.state is State.DOWN and now.state is State.DOWN and now.hold_until_ms != was.hold_until_ms:
        relapsed = now.relapses_ms != was.relapses_ms or now.down_since_ms != was.down_since_ms
        longer = now.hold_until_ms > was.hold_until_ms  # an outage that lasts earns a longer one
        if not relapsed and not longer:
            found.append(f"{pool}: its hold-down was cut short")
    if was.state is State.DOWN and now.state is State.RECOVERING:
        if at_ms < was.hold_until_ms:
            found.append(f"{pool}: its hold-down was skipped")
        if at_ms > was.hold_until_ms + LATE_MAX_MS and was.good_since_ms:
            found.append(f"{pool}: its hold-down was restarted")
    if was.state is State.RECOVERING and now.state is State.RECOVERING:
        if now.ramp_step < was.ramp_step:
            found.append(f"{pool}: its ramp was restarted")
        if now.ramp_step > was.ramp_step + 1:
            found.append(f"{pool}: a step of its ramp was skipped")
        if now.ramp_step == was.ramp_step and now.ramp_since_ms != was.ramp_since_ms:
            found.append(f"{pool}: a step of its ramp began again")
        if now.ramp_step == was.ramp_step + 1:
            lasted_ms = now.ramp_since_ms - was.ramp_since_ms
            if lasted_ms < thresholds.ramp_step_min_ms:
                found.append(f"{pool}: a step of its ramp lasted only {lasted_ms} ms")
    return found


def _routes(record: RoutesRecord) -> dict[str, Route]:
    return {route.name: route for route in record.table.routes} if record.table is not None else {}
