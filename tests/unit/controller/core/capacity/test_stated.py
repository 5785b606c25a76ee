"""What sources state: a planned limit is known before it holds."""

from controller.core.capacity.stated import stated_capacity
from controller.core.model.memo import Memo
from controller.core.policy.compiled import compile_policy
from streams.rows import Position, Row
from tests.unit.controller.core.capacity.statements import FLEET, READ
from tests.unit.controller.core.made import LIMITS, NOW_MS, policy, pool
from tieline.events import Capacity, PlannedChange, PoolCapacity


def test_a_planned_limit_is_known_in_time_and_holds_from_its_start() -> None:
    """Two minutes before, room is made for it."""
    made = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    event = Capacity(
        "fleet", "azure", "a", "one", 1, NOW_MS, NOW_MS + 600_000,
        (PoolCapacity("azure/a/d", 150),), planned=(PlannedChange("azure/a/d", NOW_MS + 300_000, 60),),
    )  # fmt: skip
    row = Row(event, Position("capacity", 0, 1), NOW_MS, NOW_MS)
    lead = LIMITS.lead_ms
    assert lead == 120_000
    for wait_ms, limit, coming in (
        (0, 150, {}),
        (300_000 - lead, 150, {0: 60}),
        (299_999, 150, {0: 60}),
        (300_000, 60, {}),
    ):
        said = stated_capacity(made, (row,), READ, NOW_MS + wait_ms, Memo())
        assert (said.pools[0].limits.units, said.planned) == (limit, coming)
    assert stated_capacity(made, (row,), READ, NOW_MS, Memo()).until_ms == NOW_MS + 300_000 - lead
