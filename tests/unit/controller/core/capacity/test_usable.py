"""What a pool may carry: stated, assumed, throttled; and how much is asked for."""

from msgspec.structs import replace

from controller.core.capacity.demand import demand_of
from controller.core.capacity.remember import remember_limit, remember_requests, remember_throttling
from controller.core.capacity.stated import StatedCapacity, stated_capacity
from controller.core.capacity.usable import PoolCap, capacities, limited_by_requests
from controller.core.evidence.hearing import Reach
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import QuotaGroup, Source
from streams.rows import DemandRow, DemandSecond, FlowSum, Position, Progress, Row
from tests.unit.controller.core.made import LIMITS, NOW_MS, clients, policy, pool
from tieline.events import Capacity, GroupCapacity, PlannedChange, PoolCapacity

FLEET = (Source("fleet", "fleet"),)
READ = Reach((Progress("tieline.capacity", 0, 1, 1, NOW_MS),), LIMITS, NOW_MS)
BEHIND = Reach((Progress("tieline.capacity", 0, 1, 2, NOW_MS),), LIMITS, NOW_MS)


def stated(
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
    return capacities(compiled, told(compiled, *rows), remembered, NOW_MS, Memo()).pools[0]


def told(compiled: CompiledPolicy, *rows: Row) -> StatedCapacity:
    """What the rows state now."""
    return stated_capacity(compiled, rows, READ, NOW_MS, Memo())


def test_a_stated_limit_holds_until_its_expiry() -> None:
    """Then the policy's committed capacity is assumed, and the pool may gain nothing."""
    assert cap(stated(150)) == PoolCap(150, 100, True, Reason.CAPACITY_STATED, NOW_MS + 1)
    assert cap(stated(150, lives_ms=0)) == PoolCap(100, 100, False, Reason.CAPACITY_EXPIRED)


def test_a_controller_that_lags_lets_no_statement_expire() -> None:
    """A newer one may be there that it has not read: the limit stays, and the pool gains nothing."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    rows = (stated(150, group=80, lives_ms=0),)
    for reach, expected in (
        (BEHIND, PoolCap(150, 100, False, Reason.CAPACITY_STATED)),
        (READ, PoolCap(100, 100, False, Reason.CAPACITY_EXPIRED)),
    ):
        assert (
            capacities(
                compiled, stated_capacity(compiled, rows, reach, NOW_MS, Memo()), {}, NOW_MS, Memo()
            ).pools[0]
            == expected
        )


def test_the_tightest_of_several_sources_counts() -> None:
    """And nothing is committed beyond the limit."""
    assert cap(stated(150), stated(60)).limit == 60
    assert cap(stated(60)).committed == 60
    assert cap(stated(150, 20)).committed == 20


def test_without_a_source_that_could_state_it_the_policy_stands() -> None:
    """Capacity is fresh where nobody is registered to say otherwise, and not where one is silent."""
    assert cap(sources=()).fresh
    assert not cap().fresh
    assert cap(sources=(Source("fleet", "fleet", scope="gcp"),)).fresh


def test_a_group_is_bound_by_the_tighter_of_policy_and_statement() -> None:
    """A quota that a source states counts, as far as the policy allows it."""
    made = policy((pool("azure/a", group="g"),), groups=(QuotaGroup("g", 100),), sources=FLEET)
    compiled = compile_policy(made)
    assert capacities(compiled, told(compiled, stated(150, group=80)), {}, NOW_MS, Memo()).groups == [80]
    assert capacities(compiled, told(compiled, stated(150, group=500)), {}, NOW_MS, Memo()).groups == [100]


def test_throttling_shows_a_limit_that_grows_back() -> None:
    """It holds for 30 s, then grows by a tenth every 10 s; never below a tenth of what is stated."""
    seen = clients(40, throttled=10, throttled_served=50.0)
    held = remember_throttling(PoolMemory(), seen, LIMITS, NOW_MS)
    assert (held.throttled_units_per_s, held.throttled_ms) == (50.0, NOW_MS)
    limits = []
    for age_ms in (0, 29_999, 30_000, 40_000, 200_000):
        old = PoolMemory(throttled_units_per_s=50.0, throttled_ms=NOW_MS - age_ms)
        limits.append(round(cap(stated(150), memory=old).limit, 1))
    assert limits == [50, 50, 55, 60.5, 150]
    starved = PoolMemory(throttled_units_per_s=1.0, throttled_ms=NOW_MS)
    assert cap(stated(150), memory=starved).limit == 15


def test_a_few_429_are_no_limit() -> None:
    """Less than 5 % of the attempts, or too few attempts, say nothing; the memory stays the same object."""
    held = PoolMemory()
    assert remember_throttling(held, clients(99, throttled=5, throttled_served=50.0), LIMITS, NOW_MS) is held
    assert remember_throttling(held, clients(9, throttled=10, throttled_served=50.0), LIMITS, NOW_MS) is held
    assert remember_throttling(held, None, LIMITS, NOW_MS) is held


def flows(age_s: int, units: float) -> DemandSecond:
    """chat/eu asked for so much in one second."""
    return DemandSecond(NOW_MS - age_s * 1000, 1, (FlowSum("chat", "eu", 1, units, 0, 0.0),), ())


def demand(*seconds: DemandSecond, reported: tuple[str, ...] = ()) -> tuple[list[float], tuple[str, ...]]:
    """Of chat/eu, in units/s, and which routes are known to be reported."""
    made = policy((pool("azure/a"),))
    expecting = made.workloads[0].__class__("chat", "critical", ("m",), expected_units_per_s={"eu": 70})
    compiled = compile_policy(policy((pool("azure/a"),), (expecting,)))
    rows = (DemandRow(Position("demand", 0, 1), seconds),) if seconds else ()
    reach = Reach((Progress("tieline.demand", 0, 1, 1, NOW_MS),), LIMITS, NOW_MS)
    asked = demand_of(compiled, rows, reach, reported, NOW_MS, Memo())
    return asked.units, asked.reported


def test_demand_is_the_mean_of_the_last_whole_seconds() -> None:
    """The newest second may still be growing."""
    assert demand(flows(3, 100), flows(2, 200), flows(1, 5)) == ([150.0], ("chat/eu",))


def test_the_expectation_counts_only_until_demand_is_reported() -> None:
    """Once reported, no report means no demand."""
    assert demand() == ([70.0], ())
    assert demand(reported=("chat/eu",)) == ([0.0], ("chat/eu",))


def test_a_partition_that_has_gone_silent_has_no_clients() -> None:
    """Its last seconds don't count for ever."""
    assert demand(flows(18, 100), flows(17, 100), reported=("chat/eu",))[0] == [0.0]
    assert demand(flows(15, 100), flows(14, 100), reported=("chat/eu",))[0] == [100.0]


def test_a_lump_is_ramped_and_what_is_known_is_not() -> None:
    """More than a quarter beyond what is known comes by the ramp's steps, each only while the pool is well;
    when all of it is known nothing is ramped, and a limit that comes back within minutes is not new."""
    well = PoolMemory(state=State.HEALTHY)
    assert noted(well, 200, NOW_MS) is well
    assert noted(well, 240, NOW_MS).limit_units_per_s == 240
    held, now_ms, steps = noted(well, 1_200, NOW_MS), NOW_MS, []
    while held.lump_since_ms:
        steps.append(cap(stated(1_200), memory=held).limit)
        ill = noted(replace(held, state=State.DEGRADED), 1_200, now_ms + 60_000)
        assert ill.lump_step == held.lump_step
        now_ms += LIMITS.ramp_step_min_ms
        held = noted(held, 1_200, now_ms)
    assert steps == [210, 300, 450, 700]
    assert held.limit_units_per_s == 1_200
    smaller = noted(held, 300, now_ms)
    assert not noted(smaller, 1_200, now_ms + LIMITS.lump_known_ms - 1).lump_since_ms
    forgotten = noted(smaller, 300, now_ms + LIMITS.lump_known_ms)
    assert noted(forgotten, 1_200, now_ms + LIMITS.lump_known_ms).lump_since_ms


def noted(held: PoolMemory, limit: float, now_ms: int) -> PoolMemory:
    """What is remembered of azure/a (limit 200 by policy) after this was stated."""
    return remember_limit(held, limit, 200, LIMITS, now_ms)


def test_limits_of_requests_count_at_the_size_and_time_of_its_requests() -> None:
    """The tightest counts: 20 requests/s of 5 units are 100 units/s, 6 in flight of 10 units/s are 60."""
    made = policy((replace(pool("azure/a", limit=200), requests_per_s=20.0, concurrency=6),), sources=FLEET)
    compiled = compile_policy(made)
    for held, limit, reason in (
        (PoolMemory(), 150, Reason.CAPACITY_STATED),
        (PoolMemory(units_per_request=5.0), 100, Reason.REQUESTS_LIMIT),
        (PoolMemory(units_per_request=5.0, units_per_slot=10.0), 60, Reason.CONCURRENCY_LIMIT),
    ):
        found = capacities(compiled, told(compiled, stated(150)), {"azure/a/d": held}, NOW_MS, Memo()).pools[
            0
        ]
        assert (found.limit, found.reason) == (limit, reason)
    assert limited_by_requests(compiled, told(compiled, stated(150))) == {0}


def test_what_a_request_is_comes_from_clients_and_is_kept_while_it_is_about_the_same() -> None:
    """50 requests of 4 units in two seconds, 5 in flight: 4 units each, 20 units/s for each in flight."""
    held = remember_requests(PoolMemory(), clients(50, units=200.0, in_flight=5), LIMITS)
    assert (held.units_per_request, held.units_per_slot) == (4.0, 20.0)
    assert remember_requests(held, clients(50, units=210.0, in_flight=5), LIMITS) is held
    assert remember_requests(held, clients(5, units=200.0), LIMITS) is held
    assert remember_requests(held, None, LIMITS) is held


def test_a_group_with_a_limit_of_requests_is_bound_by_the_smallest_requests() -> None:
    """Whatever mix of its pools serves, the group stays within it."""
    groups = (QuotaGroup("g", 1_000, requests_per_s=10.0),)
    compiled = compile_policy(policy((pool("azure/a", group="g"), pool("gcp/b", group="g")), groups=groups))
    held = {"azure/a/d": PoolMemory(units_per_request=5.0), "gcp/b/d": PoolMemory(units_per_request=20.0)}
    assert capacities(compiled, told(compiled), held, NOW_MS, Memo()).groups == [50]
    assert capacities(compiled, told(compiled), {}, NOW_MS, Memo()).groups == [1_000]


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
