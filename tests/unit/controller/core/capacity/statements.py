"""Statements of capacity for tests: rows that a source stated, and what they amount to."""

from controller.core.capacity.stated import StatedCapacity, stated_capacity
from controller.core.capacity.usable import PoolCap, capacities
from controller.core.evidence.heard_sources import Reach
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Source
from streams.rows import Position, Progress, Row
from tests.unit.controller.core.made import LIMITS, NOW_MS, policy, pool
from tieline.events import Capacity, GroupCapacity, PoolCapacity

FLEET = (Source("fleet", "fleet"),)
READ = Reach((Progress("tieline.capacity", 0, 1, 1, NOW_MS),), LIMITS, NOW_MS)
BEHIND = Reach((Progress("tieline.capacity", 0, 1, 2, NOW_MS),), LIMITS, NOW_MS)


def statement(
    limit: float, committed: float | None = None, *, lives_ms: int = 1, group: float | None = None
) -> Row:
    """The pool azure/a's limit, as a source states it."""
    groups = (GroupCapacity("g", group),) if group is not None else ()
    event = Capacity(
        "fleet", "azure", "a", "one", 1, NOW_MS - 9_000, NOW_MS + lives_ms,
        (PoolCapacity("azure/a/d", limit, committed),), groups,
    )  # fmt: skip
    return Row(event, Position("capacity", 0, 1), NOW_MS - 9_000, NOW_MS - 9_000)


def cap(*rows: Row, sources: tuple[Source, ...] = FLEET, memory: PoolMemory | None = None) -> PoolCap:
    """What azure/a (committed 100 of 200) may carry."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=sources))
    remembered = {"azure/a/d": memory} if memory else {}
    return capacities(compiled, taken_together(compiled, *rows), remembered, NOW_MS, Memo()).pools[0]


def taken_together(compiled: CompiledPolicy, *rows: Row) -> StatedCapacity:
    """What the rows state now."""
    return stated_capacity(compiled, rows, READ, NOW_MS, Memo())
