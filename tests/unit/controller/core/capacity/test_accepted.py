"""Capacity that a provider promised on request: it counts from its start, by the ramp, and never twice."""

import pytest
from msgspec.structs import replace

from controller.core.capacity.remember import remember
from controller.core.capacity.stated import StatedCapacity, stated_capacity
from controller.core.capacity.usable import capacities
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.compiled import compile_policy, rules_in_force
from controller.core.policy.policy import QuotaGroup, Source
from streams.rows import Row
from tests.unit.controller.core.capacity.statements import BEHIND, FLEET, READ, statement
from tests.unit.controller.core.made import LIMITS, NOW_MS, policy, pool
from tieline.events import Capacity
from tieline.offers import AcceptedCapacity

PART = AcceptedCapacity(
    "azure/a/d", 60, NOW_MS - 1_000, NOW_MS + 900_000, by="kim", accepted_ms=NOW_MS - 9_000
)


def stated(
    *rows: Row, part: AcceptedCapacity = PART, sources: tuple[Source, ...] = FLEET, at_ms: int = NOW_MS
) -> StatedCapacity:
    """What is stated of azure/a (committed 100 of 200) and promised."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=sources))
    return stated_capacity(compiled, rows, READ, at_ms, Memo(), (part,))


def lasting(row: Row) -> Row:
    """The same statement, valid for an hour."""
    assert isinstance(row.event, Capacity)
    return replace(row, event=replace(row.event, expires_ms=NOW_MS + 3_600_000))


def test_it_is_added_to_what_is_stated() -> None:
    """As capacity that costs extra, until the first of both ends."""
    pools = stated(lasting(statement(150))).pools
    assert (pools[0].limits.units, pools[0].accepted) == (210, 60)
    assert pools[0].until_ms == PART.until_ms
    assert stated(statement(150)).pools[0].until_ms == NOW_MS + 1


@pytest.mark.parametrize(("from_ms", "limit"), [(NOW_MS + 1, 150), (NOW_MS, 210), (NOW_MS - 8_999, 210)])
def test_it_counts_from_its_start(from_ms: int, limit: float) -> None:
    """And the decision falls due then."""
    after = stated(lasting(statement(150)), part=replace(PART, from_ms=from_ms))
    assert after.pools[0].limits.units == limit
    if from_ms > NOW_MS:
        assert after.until_ms == from_ms


@pytest.mark.parametrize("issued_ms", [NOW_MS - 1_000, NOW_MS])
def test_what_is_stated_after_its_start_outweighs_it(issued_ms: int) -> None:
    """Then it is part of what is stated, or it has not come: the same units never count twice."""
    row = lasting(statement(150))
    event = row.event
    assert isinstance(event, Capacity)
    after = replace(row, event=replace(event, issued_ms=issued_ms), append_ms=NOW_MS)
    assert stated(after).pools[0].limits.units == 150
    early_record = replace(row, event=replace(event, issued_ms=issued_ms), append_ms=NOW_MS - 1_001)
    assert stated(early_record).pools[0].limits.units == 210  # its clock is ahead


def test_it_adds_nothing_to_what_nobody_knows() -> None:
    """A pool of which a source could state the capacity, and does not, gains nothing by a promise."""
    assert stated().pools == {}
    assert stated(statement(150), at_ms=NOW_MS + 1).pools == {}
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    late = stated_capacity(compiled, (statement(150),), BEHIND, NOW_MS + 1, Memo(), (PART,))
    assert late.pools[0].limits.units == 150
    assert set(late.late) == {0}


def test_it_is_added_to_the_policys_figure_where_nobody_could_state_another() -> None:
    """That is the pool's limit, burst included."""
    assert stated(sources=()).pools[0].limits.units == 260


def test_its_end_is_made_room_for() -> None:
    """As for a planned smaller limit, two minutes before."""
    row = lasting(statement(150))
    soon_ms = PART.until_ms - LIMITS.lead_ms
    assert stated(row, at_ms=soon_ms - 1).planned == {}
    assert stated(row, at_ms=soon_ms).planned == {0: 150}
    assert stated(row, at_ms=PART.until_ms).pools[0].limits.units == 150


def test_a_quota_group_grows_with_its_pool() -> None:
    """Or the promise could not be used; a statement of the group outweighs it as well."""
    made = compile_policy(
        policy((pool("azure/a", limit=200, group="g"),), groups=(QuotaGroup("g", 180),), sources=FLEET)
    )
    row = lasting(statement(150, group=170))
    assert stated_capacity(made, (row,), READ, NOW_MS, Memo(), (PART,)).groups[0].units == 230
    event = row.event
    assert isinstance(event, Capacity)
    later = replace(row, event=replace(event, issued_ms=NOW_MS), append_ms=NOW_MS)
    assert stated_capacity(made, (later,), READ, NOW_MS, Memo(), (PART,)).groups[0].units == 170


def test_its_price_changes_nothing_of_what_a_pool_may_carry_nor_of_its_merit() -> None:
    """Pools are used in the order of the policy's prices, whatever an answer names."""
    compiled = compile_policy(policy((pool("azure/a", limit=200, price=5.0),), sources=FLEET))
    row = lasting(statement(150))
    caps, tiers = [], []
    for price in (0.0, 99.0):
        part = replace(PART, price_per_million_units=price)
        after = stated_capacity(compiled, (row,), READ, NOW_MS, Memo(), (part,))
        caps.append(capacities(compiled, after, {}, NOW_MS, Memo()))
        rules = rules_in_force(compiled, frozenset(), frozenset(), {}, Memo())
        tiers.append([route.tiers for route in rules.routes])
    assert caps[0] == caps[1]
    assert tiers[0] == tiers[1]


def test_every_quota_group_of_its_pool_grows() -> None:
    """Or the tightest of them would hold the promise back."""
    groups = (QuotaGroup("model", 100), QuotaGroup("all", 300), QuotaGroup("other", 300))
    rules = policy((pool("azure/a", limit=200, group=("model", "all")),), groups=groups, sources=FLEET)
    after = stated_capacity(compile_policy(rules), (lasting(statement(150)),), READ, NOW_MS, Memo(), (PART,))
    assert [limits.units for limits in after.groups] == [160, 360, 300]


@pytest.mark.parametrize(("sources", "known", "first"), [(FLEET, 150.0, 150.6), ((), 200.0, 200.6)])
def test_it_comes_into_use_by_the_ramp(sources: tuple[Source, ...], known: float, first: float) -> None:
    """Whether sources state the rest or the policy does: what was there is known, and the promise is new."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=sources))
    rows = (lasting(statement(150)),) if sources else ()
    after = stated_capacity(compiled, rows, READ, NOW_MS, Memo(), (PART,))
    before = {"azure/a/d": PoolMemory(State.HEALTHY, limit_units_per_s=150.0 if sources else -1.0)}
    memories = remember(compiled, before, {}, after, NOW_MS, Memo())
    assert memories["azure/a/d"].limit_units_per_s == known
    assert memories["azure/a/d"].lump_since_ms == NOW_MS
    cap = capacities(compiled, after, memories, NOW_MS, Memo()).pools[0]
    assert cap.limit == pytest.approx(first)
    assert cap.reason is Reason.CAPACITY_RAMPED
    settled = {"azure/a/d": PoolMemory(State.HEALTHY, limit_units_per_s=known + 60)}
    cap = capacities(compiled, after, settled, NOW_MS, Memo()).pools[0]
    assert (cap.limit, cap.committed, cap.reason) == (known + 60, 100, Reason.CAPACITY_ACCEPTED)


def test_the_same_promise_keeps_the_same_object() -> None:
    """Until it begins, ends, or another is made."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    memo, rows = Memo(), (lasting(statement(150)),)
    first = stated_capacity(compiled, rows, READ, NOW_MS, memo, (PART,))
    assert stated_capacity(compiled, rows, READ, NOW_MS + 1, memo, (PART,)) is first
    other = replace(PART, units_per_s=70.0)
    assert stated_capacity(compiled, rows, READ, NOW_MS + 1, memo, (other,)).pools[0].limits.units == 220
