"""What a pool may carry: stated, assumed, throttled; and how much is asked for."""

from controller.core.capacity import PoolCap, capacities, note_throttling
from controller.core.compiled import Compiled, compiled
from controller.core.evidence import Reach
from controller.core.load import demand_of
from controller.core.memory import PoolMemory
from controller.core.policy import QuotaGroup, Source
from controller.core.reasons import Reason
from controller.core.stated import Stated
from controller.core.stated import stated as stated_now
from streams.rows import DemandRow, DemandSecond, FlowSum, Position, Progress, Row
from tests.unit.core.made import LIMITS, NOW_MS, clients, policy, pool
from tieline.events import Capacity, GroupCapacity, PoolCapacity

FLEET = (Source("fleet", "fleet"),)


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
    rules = compiled(policy((pool("azure/a", limit=200),), sources=sources))
    return capacities(rules, told(rules, *rows), {"azure/a/d": memory} if memory else {}, NOW_MS).pools[0]


def told(rules: Compiled, *rows: Row) -> Stated:
    """What the rows state now."""
    return stated_now(rules, rows, NOW_MS)


def test_a_stated_limit_holds_until_its_expiry() -> None:
    """Then the policy's committed capacity is assumed, and the pool may gain nothing."""
    assert cap(stated(150)) == PoolCap(150, 100, True, Reason.CAPACITY_STATED, NOW_MS + 1)
    assert cap(stated(150, lives_ms=0)) == PoolCap(100, 100, False, Reason.CAPACITY_EXPIRED)


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
    rules = compiled(made)
    assert capacities(rules, told(rules, stated(150, group=80)), {}, NOW_MS).groups == [80]
    assert capacities(rules, told(rules, stated(150, group=500)), {}, NOW_MS).groups == [100]


def test_throttling_shows_a_limit_that_grows_back() -> None:
    """It holds for 30 s, then grows by a tenth every 10 s; never below a tenth of what is stated."""
    seen = clients(40, throttled=10, throttled_served=50.0)
    held = note_throttling(PoolMemory(), seen, LIMITS, NOW_MS)
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
    assert note_throttling(held, clients(99, throttled=5, throttled_served=50.0), LIMITS, NOW_MS) is held
    assert note_throttling(held, clients(9, throttled=10, throttled_served=50.0), LIMITS, NOW_MS) is held
    assert note_throttling(held, None, LIMITS, NOW_MS) is held


def flows(age_s: int, units: float) -> DemandSecond:
    """chat/eu asked for so much in one second."""
    return DemandSecond(NOW_MS - age_s * 1000, 1, (FlowSum("chat", "eu", 1, units, 0, 0.0),), ())


def demand(*seconds: DemandSecond, reported: tuple[str, ...] = ()) -> tuple[list[float], tuple[str, ...]]:
    """Of chat/eu, in units/s, and which routes are known to be reported."""
    made = policy((pool("azure/a"),))
    expecting = made.workloads[0].__class__("chat", "critical", ("m",), expected_units_per_s={"eu": 70})
    rules = compiled(policy((pool("azure/a"),), (expecting,)))
    rows = (DemandRow(Position("demand", 0, 1), seconds),) if seconds else ()
    reach = Reach((Progress("tieline.demand", 0, 1, 1, NOW_MS),), NOW_MS)
    asked = demand_of(rules, rows, reach, reported, LIMITS.stale_min_ms, NOW_MS)
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
