"""A take-over changes only the generation, and hold-downs and ramps continue over it."""

from typing import Any

import pytest
from msgspec.structs import replace

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.thresholds import Thresholds
from controller.routes.record import RoutesRecord
from lab.demo.continuity import course_faults, hand_overs, take_over_faults
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split

POOL = "azure/eastus/a"
THRESHOLDS = Thresholds(ramp_step_min_ms=5_000)


def record(seq: int, memory: PoolMemory, *, epoch: int = 0, published_ms: int = 0) -> RoutesRecord:
    generation = Generation("l", epoch, seq)
    table = RouteTable(
        generation, 1, (PoolInfo(POOL, "us", "http://x/v1"),),
        (Route("chat", "us", "critical", Split((0,), (1_000_000,))),),
    )  # fmt: skip
    return RoutesRecord(generation, published_ms, table, Memory(pools={POOL: memory}))


def down(hold_until_ms: int, **more: Any) -> PoolMemory:
    return PoolMemory(State.DOWN, hold_until_ms=hold_until_ms, **more)


def ramp(step: int, since_ms: int) -> PoolMemory:
    return PoolMemory(State.RECOVERING, ramp_step=step, ramp_since_ms=since_ms)


def test_a_take_over_may_change_nothing_but_the_number() -> None:
    """Weights and memory are the same in the first table of a higher epoch."""
    before = record(7, down(9_000))
    assert take_over_faults(before, record(1, down(9_000), epoch=5)) == []
    assert take_over_faults(before, record(8, down(9_000))) == ["epoch 0 does not follow epoch 0"]
    changed = record(1, down(9_500), epoch=5)
    assert take_over_faults(before, changed) == ["the take-over changed what the planner remembers"]
    table = changed.table
    assert table is not None
    shed = replace(table.routes[0], split=Split((0,), (900_000,), 100_000))
    other = replace(changed, table=replace(table, routes=(shed,)), memory=before.memory)
    assert take_over_faults(before, other) == ["the take-over changed weights"]


def test_each_take_over_is_a_pair_of_tables() -> None:
    """The last table of one epoch and the first of the next; fences between them are passed over."""
    memory = down(9_000)
    first, last, after = record(1, memory), record(2, memory), record(1, memory, epoch=5)
    fence = replace(record(0, memory, epoch=5), table=None)
    assert hand_overs([first, last, fence, after, record(2, memory, epoch=5)]) == [(last, after)]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([(0, down(9_000)), (9_100, ramp(0, 9_100)), (14_200, ramp(1, 14_200))], None),
        ([(0, down(9_000)), (1_000, down(12_000)), (12_000, ramp(0, 12_000))], None),
        ([(0, down(9_000)), (1_000, down(5_000))], "cut short"),
        ([(0, down(9_000)), (8_000, ramp(0, 8_000))], "hold-down was skipped"),
        ([(0, down(9_000, good_since_ms=1)), (30_000, ramp(0, 30_000))], "hold-down was restarted"),
        ([(0, ramp(2, 0)), (100, ramp(0, 100))], "ramp was restarted"),
        ([(0, ramp(1, 0)), (6_000, ramp(3, 6_000))], "was skipped"),
        ([(0, ramp(1, 0)), (1_000, ramp(1, 1_000))], "began again"),
        ([(0, ramp(1, 0)), (1_000, replace(ramp(0, 1_000), relapses_ms=(500,)))], None),
        ([(0, ramp(1, 0)), (1_000, ramp(2, 1_000))], "lasted only 1000 ms"),
    ],
)
def test_hold_downs_and_ramps_keep_on(steps: list[tuple[int, PoolMemory]], said: str | None) -> None:
    """Each way to restart, cut or skip them is reported, and the lawful courses are not: one with a
    relapse between two publications among them."""
    records = [record(n, memory, published_ms=at_ms) for n, (at_ms, memory) in enumerate(steps)]
    found = course_faults(POOL, records, THRESHOLDS)
    assert (found == []) if said is None else (said in found[0])
