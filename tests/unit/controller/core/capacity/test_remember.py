"""What is remembered of a pool's capacity: throttling, new capacity, and the size of its requests."""

from msgspec.structs import replace

from controller.core.capacity.remember import (
    remember,
    remember_limit,
    remember_near_limit,
    remember_requests,
    remember_throttling,
)
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import QuotaGroup
from streams.rows import Row
from tests.unit.controller.core.capacity.statements import FLEET, cap, statement, taken_together
from tests.unit.controller.core.made import LIMITS, NOW_MS, clients, policy, pool, seen
from tieline.events import GroupCapacity


def test_a_few_429_are_no_limit() -> None:
    """Less than 5 % of the attempts, or too few attempts, say nothing; the memory stays the same object."""
    held = PoolMemory()
    assert remember_throttling(held, clients(99, throttled=5, throttled_served=50.0), LIMITS, NOW_MS) is held
    assert remember_throttling(held, clients(9, throttled=10, throttled_served=50.0), LIMITS, NOW_MS) is held
    assert remember_throttling(held, None, LIMITS, NOW_MS) is held


def test_what_was_served_near_a_rate_limit_is_remembered() -> None:
    """Too few requests, or none that was told so, say nothing. What is served later in the same minute shows
    no smaller limit, as little is left for a while; after half a minute without such headers it does, and in
    the end it is forgotten."""
    before = PoolMemory()
    assert remember_near_limit(before, clients(9, near_limit_served=50.0), LIMITS, NOW_MS) is before
    assert remember_near_limit(before, clients(99), LIMITS, NOW_MS) is before
    assert remember_near_limit(before, None, LIMITS, NOW_MS) is before
    full = remember_near_limit(before, clients(40, near_limit_served=50.0), LIMITS, NOW_MS)
    assert (full.near_limit_units_per_s, full.near_limit_ms) == (50.0, NOW_MS)
    less, later_ms = clients(40, near_limit_served=30.0), NOW_MS + LIMITS.throttled_renew_ms
    renewed = remember_near_limit(full, less, LIMITS, later_ms)
    assert (renewed.near_limit_units_per_s, renewed.near_limit_ms) == (50.0, later_ms)
    anew_ms = NOW_MS + LIMITS.throttled_hold_ms + 1
    anew = remember_near_limit(full, less, LIMITS, anew_ms)
    assert (anew.near_limit_units_per_s, anew.near_limit_ms) == (30.0, anew_ms)
    assert remember_near_limit(full, None, LIMITS, NOW_MS + 300_000) is full
    assert remember_near_limit(full, None, LIMITS, NOW_MS + 300_001) == before


def noted(held: PoolMemory, limit: float, now_ms: int) -> PoolMemory:
    """What is remembered of azure/a (limit 200 by policy) after this was stated."""
    return remember_limit(held, limit, 200, LIMITS, now_ms)


def test_a_lump_is_ramped_and_what_is_known_is_not() -> None:
    """More than a quarter beyond what is known comes by the ramp's steps, each only while the pool is well;
    when all of it is known nothing is ramped, and a limit that comes back within minutes is not new."""
    well = PoolMemory(state=State.HEALTHY)
    assert noted(well, 200, NOW_MS) is well
    assert noted(well, 240, NOW_MS).limit_units_per_s == 240
    held, now_ms, steps = noted(well, 1_200, NOW_MS), NOW_MS, []
    while held.lump_since_ms:
        steps.append(cap(statement(1_200), memory=held).limit)
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


def test_what_a_request_is_comes_from_clients_and_is_kept_while_it_is_about_the_same() -> None:
    """50 requests of 4 units in two seconds, 5 in flight: 4 units each, 20 units/s for each in flight."""
    held = remember_requests(PoolMemory(), clients(50, units=200.0, in_flight_total=10), LIMITS)
    assert (held.units_per_request, held.units_per_slot) == (4.0, 20.0)
    assert remember_requests(held, clients(50, units=210.0, in_flight_total=10), LIMITS) is held
    assert remember_requests(held, clients(5, units=200.0), LIMITS) is held
    assert remember_requests(held, None, LIMITS) is held


def with_group(row: Row, group: GroupCapacity) -> Row:
    """The same statement, which says this of a quota group as well."""
    return replace(row, event=replace(row.event, groups=(group,)))


def test_what_is_stated_anew_is_remembered_whatever_was_kept() -> None:
    """Another limit of the pool, a group that gives nothing, and a group that limits requests are each
    remembered by a planner as by a step that has seen nothing before."""
    groups = (QuotaGroup("g", 1_000),)
    pools = (pool("azure/a", limit=200, group="g"), pool("azure/b", limit=200))
    compiled = compile_policy(policy(pools, groups=groups, sources=FLEET))
    evidence = {"azure/a/d": seen(clients(40, units=300.0, span_ms=2_000, in_flight=2.0))}
    for news in (
        statement(1_200),
        with_group(statement(200), GroupCapacity("g", 1.0)),
        with_group(statement(200), GroupCapacity("g", 1_000.0, requests_per_s=5.0)),
    ):
        memo = Memo()
        before = remember(compiled, {}, evidence, taken_together(compiled, statement(200)), NOW_MS, memo)
        again = remember(compiled, before, evidence, taken_together(compiled, statement(200)), NOW_MS, memo)
        stated = taken_together(compiled, news)
        now = remember(compiled, again, evidence, stated, NOW_MS, memo)
        assert now == remember(compiled, again, evidence, stated, NOW_MS, Memo())
        assert now["azure/a/d"] != again["azure/a/d"]
        assert now["azure/b/d"] is again["azure/b/d"]
