"""What a pool may carry: stated, assumed, limited by requests or by what throttling showed."""

from msgspec.structs import replace

from controller.core.capacity.remember import remember, remember_carried, remember_throttling
from controller.core.capacity.stated import collapsed_pools, stated_capacity
from controller.core.capacity.usable import PoolCap, capacities, limited_by_policy, limited_by_requests
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import QuotaGroup, Source
from streams.rows import Row
from tests.unit.controller.core.capacity.statements import BEHIND, FLEET, READ, cap, statement, taken_together
from tests.unit.controller.core.made import LIMITS, NOW_MS, clients, policy, pool, seen


def test_a_stated_limit_holds_until_its_expiry() -> None:
    """Then it goes on to bound what the pool carries, and the pool may gain nothing."""
    assert cap(statement(150)) == PoolCap(150, 100, True, Reason.CAPACITY_STATED, NOW_MS + 1)
    assert cap(statement(150, lives_ms=0)) == PoolCap(150, 100, False, Reason.CAPACITY_EXPIRED)
    assert cap(statement(150, lives_ms=0), statement(60, lives_ms=0)).limit == 60


def test_no_statement_counts_for_longer_than_a_day() -> None:
    """Whatever expiry it names: one that names the end of the century is over as well."""
    for_good = statement(50, lives_ms=10**12)
    assert cap(for_good).until_ms == for_good.append_ms + LIMITS.capacity_counts_max_ms
    old = replace(for_good, append_ms=NOW_MS - LIMITS.capacity_counts_max_ms)
    assert cap(old) == PoolCap(50, 50, False, Reason.CAPACITY_EXPIRED)


def test_until_something_is_stated_the_policy_bounds_what_a_pool_carries() -> None:
    """A source could state it and has not: 200 units/s may stay, and none may come."""
    assert cap() == PoolCap(200, 100, False, Reason.CAPACITY_EXPIRED)


def test_pools_of_which_nothing_new_is_stated_keep_their_limits_object() -> None:
    """So the stages behind skip them. A statement of one of two pools leaves the other as it was."""
    compiled = compile_policy(policy((pool("azure/a", limit=200), pool("azure/b")), sources=FLEET))
    memo = Memo()
    rows: list[list[Row]] = [[], [statement(150)], [statement(60)], [statement(60, lives_ms=0)]]
    caps = [capacities(compiled, taken_together(compiled, *row), {}, NOW_MS, memo).pools for row in rows]
    assert [pools[0].limit for pools in caps] == [200, 150, 60, 60]
    assert all(pools[1] is caps[0][1] for pools in caps)


def test_a_pool_that_an_operator_vouches_for_may_gain_up_to_the_last_word() -> None:
    """What throttling shows counts all the same."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    expired = taken_together(compiled, statement(150, lives_ms=0))
    vouched = capacities(compiled, expired, {}, NOW_MS, Memo(), [0]).pools[0]
    assert vouched == PoolCap(150, 100, True, Reason.GUARD_OVERRIDDEN)
    throttled = {"azure/a/d": PoolMemory(throttled_units_per_s=40.0, throttled_ms=NOW_MS)}
    assert capacities(compiled, expired, throttled, NOW_MS, Memo(), [0]).pools[0].limit == 40


def test_a_word_that_a_pool_gives_nothing_is_held_against_what_clients_are_served() -> None:
    """Under a tenth of the policy's limit; a smaller cut counts as it is stated."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    served = {"azure/a/d": seen(clients(40, units=300.0, span_ms=2_000))}
    for limit, carried in ((0, 150.0), (19, 150.0), (20, 0.0)):
        stated = taken_together(compiled, statement(limit))
        memories = remember(compiled, {}, served, stated, NOW_MS, Memo())
        assert memories["azure/a/d"].carried_units_per_s == carried
        now = capacities(compiled, stated, memories, NOW_MS, Memo()).pools[0]
        assert (now.limit, now.carried) == (limit, carried)
        stated = taken_together(compiled, statement(150))
        after = remember(compiled, memories, served, stated, NOW_MS, Memo())
        assert not after["azure/a/d"].carried_units_per_s


def test_what_clients_are_served_is_no_more_than_the_policy_allows_and_no_429() -> None:
    """What grows by less than the tolerance of an overload is no news; failures and 429s show nothing."""
    memory = PoolMemory(carried_units_per_s=100.0)
    for said, carried in (
        (clients(40, units=208.0, span_ms=2_000), 100.0),
        (clients(40, units=220.0, span_ms=2_000), 110.0),
        (clients(40, units=900.0, span_ms=2_000), 200.0),
        (clients(40, units=900.0, span_ms=2_000, throttled=1), 100.0),
        (clients(36, 4, units=900.0, span_ms=2_000), 100.0),
    ):
        assert remember_carried(memory, seen(said), 200.0, LIMITS).carried_units_per_s == carried
    throttled = replace(memory, throttled_units_per_s=30.0, throttled_ms=NOW_MS)
    assert cap(statement(0), memory=throttled).carried == 30.0


def test_a_group_that_gives_nothing_keeps_what_its_pools_are_served() -> None:
    """No more than the policy allows it, and a smaller cut counts as it is stated."""
    made = policy((pool("azure/a", group="g"),), groups=(QuotaGroup("g", 100),), sources=FLEET, headroom=0.8)
    compiled = compile_policy(made)
    for group, carried, limit in ((0, 40.0, 50), (0, 95.0, 100), (50, 40.0, 50)):
        stated = taken_together(compiled, statement(150, group=group))
        memories = {"azure/a/d": PoolMemory(carried_units_per_s=carried)}
        assert capacities(compiled, stated, memories, NOW_MS, Memo()).groups == [limit]
    stated = taken_together(compiled, statement(150, group=0))
    served = {"azure/a/d": seen(clients(40, units=80.0, span_ms=2_000))}
    assert remember(compiled, {}, served, stated, NOW_MS, Memo())["azure/a/d"].carried_units_per_s == 40


def test_a_controller_that_lags_lets_no_statement_expire() -> None:
    """A newer one may be there that it has not read: the limit stays, and the pool gains nothing."""
    compiled = compile_policy(policy((pool("azure/a", limit=200),), sources=FLEET))
    rows = (statement(150, group=80, lives_ms=0),)
    for reach, expected in (
        (BEHIND, PoolCap(150, 100, False, Reason.CAPACITY_STATED)),
        (READ, PoolCap(150, 100, False, Reason.CAPACITY_EXPIRED)),
    ):
        assert (
            capacities(
                compiled, stated_capacity(compiled, rows, reach, NOW_MS, Memo()), {}, NOW_MS, Memo()
            ).pools[0]
            == expected
        )


def test_the_tightest_of_several_sources_counts() -> None:
    """And nothing is committed beyond the limit."""
    assert cap(statement(150), statement(60)).limit == 60
    assert cap(statement(60)).committed == 60
    assert cap(statement(150, 20)).committed == 20


def test_without_a_source_that_could_state_it_the_policy_stands() -> None:
    """The policy's limit is fresh, burst included, where nobody is registered to say otherwise, and not where
    one is silent."""
    assert cap(sources=()) == PoolCap(200, 100, True, Reason.CAPACITY_BY_POLICY)
    assert not cap().fresh
    assert cap(sources=(Source("fleet", "fleet", scope="gcp"),)).fresh


def test_a_group_is_bound_by_the_tighter_of_policy_and_statement() -> None:
    """A quota that a source states counts, as far as the policy allows it."""
    made = policy((pool("azure/a", group="g"),), groups=(QuotaGroup("g", 100),), sources=FLEET)
    compiled = compile_policy(made)
    assert capacities(
        compiled, taken_together(compiled, statement(150, group=80)), {}, NOW_MS, Memo()
    ).groups == [80]
    assert capacities(
        compiled, taken_together(compiled, statement(150, group=500)), {}, NOW_MS, Memo()
    ).groups == [100]


def test_throttling_shows_a_limit_that_grows_back() -> None:
    """It holds for 30 s, then grows by a tenth, and by twice as much more every 10 s; never below a tenth of
    what is stated."""
    met = clients(40, throttled=10, throttled_served=50.0)
    held = remember_throttling(PoolMemory(), met, LIMITS, NOW_MS)
    assert (held.throttled_units_per_s, held.throttled_ms) == (50.0, NOW_MS)
    limits = []
    for age_ms in (0, 29_999, 30_000, 40_000, 200_000):
        old = PoolMemory(throttled_units_per_s=50.0, throttled_ms=NOW_MS - age_ms)
        limits.append(round(cap(statement(150), memory=old).limit, 1))
    assert limits == [50, 50, 55, 66, 150]
    starved = PoolMemory(throttled_units_per_s=1.0, throttled_ms=NOW_MS)
    assert cap(statement(150), memory=starved).limit == 15


def test_a_rate_limit_shows_a_limit_that_never_raises_what_is_stated() -> None:
    """The same for what was served while headers said that little was left; of the two the tighter counts."""
    near = PoolMemory(near_limit_units_per_s=60.0, near_limit_ms=NOW_MS)
    limited = cap(statement(150), memory=near)
    assert (limited.limit, limited.reason) == (60.0, Reason.NEAR_RATE_LIMIT)
    assert cap(statement(40), memory=near).reason is Reason.CAPACITY_STATED
    assert cap(statement(40), memory=near).limit == 40.0
    old = replace(near, near_limit_ms=NOW_MS - 40_000)
    assert round(cap(statement(150), memory=old).limit, 1) == 79.2
    both = replace(near, throttled_units_per_s=50.0, throttled_ms=NOW_MS)
    assert cap(statement(150), memory=both).reason is Reason.THROTTLED
    starved = PoolMemory(
        near_limit_units_per_s=1.0, near_limit_ms=NOW_MS, throttled_units_per_s=1.0, throttled_ms=NOW_MS
    )
    assert cap(statement(150), memory=starved).limit == 15


def test_limits_of_requests_count_at_the_size_and_time_of_its_requests() -> None:
    """The tightest counts: 20 requests/s of 5 units are 100 units/s, 6 in flight of 10 units/s are 60."""
    made = policy((replace(pool("azure/a", limit=200), requests_per_s=20.0, concurrency=6),), sources=FLEET)
    compiled = compile_policy(made)
    for held, limit, reason in (
        (PoolMemory(), 150, Reason.CAPACITY_STATED),
        (PoolMemory(units_per_request=5.0), 100, Reason.REQUESTS_LIMIT),
        (PoolMemory(units_per_request=5.0, units_per_slot=10.0), 60, Reason.CONCURRENCY_LIMIT),
    ):
        memories = {"azure/a/d": held}
        caps = capacities(compiled, taken_together(compiled, statement(150)), memories, NOW_MS, Memo())
        assert (caps.pools[0].limit, caps.pools[0].reason) == (limit, reason)
    stated = taken_together(compiled, statement(150))
    assert limited_by_requests(compiled, stated, limited_by_policy(made)) == {0}


def test_a_group_with_a_limit_of_requests_is_bound_by_the_smallest_requests() -> None:
    """Whatever mix of its pools serves, the group stays within it."""
    groups = (QuotaGroup("g", 1_000, requests_per_s=10.0),)
    compiled = compile_policy(policy((pool("azure/a", group="g"), pool("gcp/b", group="g")), groups=groups))
    held = {"azure/a/d": PoolMemory(units_per_request=5.0), "gcp/b/d": PoolMemory(units_per_request=20.0)}
    assert capacities(compiled, taken_together(compiled), held, NOW_MS, Memo()).groups == [50]
    assert capacities(compiled, taken_together(compiled), {}, NOW_MS, Memo()).groups == [1_000]


def test_each_of_a_pools_groups_may_limit_its_requests() -> None:
    """The second of two groups does: the size of the pool's requests must be known, and bounds that group."""
    groups = (QuotaGroup("model", 1_000), QuotaGroup("all", 1_000, requests_per_s=10.0))
    made = policy((pool("azure/a", group=("model", "all")), pool("gcp/b")), groups=groups)
    compiled = compile_policy(made)
    stated = taken_together(compiled)
    memories = {"azure/a/d": PoolMemory(units_per_request=5.0)}
    assert limited_by_requests(compiled, stated, limited_by_policy(made)) == {0}
    assert capacities(compiled, stated, memories, NOW_MS, Memo()).groups == [1_000, 50]


def test_a_pool_is_collapsed_with_any_of_its_groups() -> None:
    """What its clients are served there counts in each group that can give next to nothing."""
    groups = (QuotaGroup("model", 0.0), QuotaGroup("g", 1_000))
    made = policy((pool("azure/a", group=("model", "g")), pool("gcp/b")), groups=groups, sources=FLEET)
    compiled = compile_policy(made)
    stated = taken_together(compiled, statement(150, group=1))
    assert collapsed_pools(made, stated) == {0}
    memories = {"azure/a/d": PoolMemory(carried_units_per_s=70.0)}
    assert capacities(compiled, stated, memories, NOW_MS, Memo()).groups == [0, 70]
