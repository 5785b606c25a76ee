"""Sharing out: in merit order, within room, and never a part lost."""

import pytest
from msgspec.structs import replace

from controller.core.model.memo import Memo
from controller.core.moves.draft import GAINS_LATE, KEEPS, whole
from controller.core.policy.compiled import compile_policy, rules_in_force
from controller.core.policy.policy import CommittedSpend, QuotaGroup
from tests.unit.controller.core.made import draft, limits, policy, pool, workload
from tieline.table import MILLION


@pytest.mark.parametrize(
    ("amounts", "total", "shares"),
    [([1, 1, 1], 10, [4, 3, 3]), ([1.0], 7, [7]), ([0.2, 0.3, 0.5], 10, [2, 3, 5]), ([1, 2], 0, [0, 0])],
)
def test_whole_shares_by_largest_remainder(amounts: list[float], total: int, shares: list[int]) -> None:
    """Whole numbers that sum to the total; ties go to the first."""
    assert whole(amounts, total) == shares


def test_committed_capacity_comes_before_burst() -> None:
    """What is paid for is used first, though its pool is further away."""
    compiled = compile_policy(
        policy((pool("azure/far", committed=100, latency_ms=300), pool("gcp/near", committed=0, price=1)))
    )
    work = draft(compiled, {"chat/eu": 60})
    assert work.place(0, MILLION, limits(compiled)) == 0
    assert work.weights[0] == {0: MILLION}


def test_near_pools_share_and_far_ones_wait() -> None:
    """Pools of one latency band share in proportion to their room; the next band takes the rest."""
    pools = (
        pool("azure/a", limit=100),
        pool("gcp/b", limit=300, committed=300),
        pool("oci/c", latency_ms=200),
    )
    compiled = compile_policy(policy(pools))
    work = draft(compiled, {"chat/eu": 200})
    work.place(0, MILLION, limits(compiled))
    assert work.weights[0] == {0: 250_000, 1: 750_000}


def test_what_has_no_room_is_left_over() -> None:
    """The caller gets back what nobody can take, to the part."""
    compiled = compile_policy(policy((pool("azure/a", limit=100),)))
    work = draft(compiled, {"chat/eu": 400})
    assert work.place(0, MILLION, limits(compiled)) == 750_000
    assert work.load == [100.0]


def test_a_quota_group_binds_its_pools_together() -> None:
    """Two pools with room for 100 each take 120 in all if their group allows no more."""
    pools = (pool("azure/a", group="g"), pool("azure/b", group="g"))
    compiled = compile_policy(policy(pools, groups=(QuotaGroup("g", 120),)))
    work = draft(compiled, {"chat/eu": 200})
    left = work.place(0, MILLION, limits(compiled))
    assert left == pytest.approx(400_000, abs=2)
    assert sum(work.load) == pytest.approx(120)


def test_every_quota_group_of_a_pool_binds_it() -> None:
    """A pool with room for 100 takes no more than the tightest of its groups leaves, whichever that is."""
    for first, second in ((60, 90), (90, 60)):
        rules = policy(
            (pool("azure/a", group=("model", "all")), pool("azure/b", group="all", limit=30, committed=30)),
            (workload("chat", pinned_pools=("azure/a/d",)), workload("batch", pinned_pools=("azure/b/d",))),
            groups=(QuotaGroup("model", first), QuotaGroup("all", second)),
        )
        compiled = compile_policy(rules)
        work = draft(compiled, {"chat/eu": 200, "batch/eu": 20}, {"batch/eu": {"azure/b": MILLION}})
        left = work.place(0, MILLION, limits(compiled))
        assert 200 * (MILLION - left) / MILLION == pytest.approx(min(first, second - 20), abs=0.01)
        assert work.room(0, 100.0, limits(compiled)) == pytest.approx(0.0, abs=0.01)


def test_a_provider_takes_no_more_than_its_share() -> None:
    """The policy's share of one provider holds while load is placed, whatever room it has."""
    pools = (pool("azure/a", limit=1000, committed=1000), pool("gcp/b", limit=1000, committed=1000))
    compiled = compile_policy(policy(pools, (workload("chat", provider_share_max={"azure": 0.3}),)))
    work = draft(compiled, {"chat/eu": 100})
    work.place(0, MILLION, limits(compiled))
    assert work.weights[0] == {0: 300_000, 1: 700_000}


def test_degraded_pools_get_what_no_other_takes_and_others_nothing() -> None:
    """Grades are an order: those that gain, those that gain late; those that keep get nothing."""
    pools = (pool("azure/a"), pool("gcp/b"), pool("oci/c"))
    compiled = compile_policy(policy(pools))
    work = draft(compiled, {"chat/eu": 150})
    grades = {"azure/a": GAINS_LATE, "oci/c": KEEPS}
    assert work.place(0, MILLION, limits(compiled, grades=grades)) == 0
    assert work.weights[0] == {1: 666_666, 0: 333_334}


def test_without_demand_shares_follow_capacity() -> None:
    """A route nobody uses yet is ready for use: in proportion to what its pools can carry."""
    compiled = compile_policy(
        policy((pool("azure/a", committed=100), pool("gcp/b", committed=300, limit=300)))
    )
    work = draft(compiled, {})
    work.place(0, MILLION, limits(compiled))
    assert work.weights[0] == {0: 250_000, 1: 750_000}


def test_a_copy_shares_nothing_that_changes() -> None:
    """Trying something out on a copy leaves the draft as it was."""
    compiled = compile_policy(policy((pool("azure/a"), pool("gcp/b"))))
    work = draft(compiled, {"chat/eu": 50}, {"chat/eu": {"azure/a": MILLION}})
    twin = work.copy()
    twin.take(0, 0, 400_000)
    twin.give(0, 1, 400_000)
    assert (work.weights[0], work.load) == ({0: MILLION}, [50.0, 0.0])
    assert (twin.weights[0], twin.load) == ({0: 600_000, 1: 400_000}, [30.0, 20.0])


def test_the_holder_of_the_first_refusal_gives_its_burst_first() -> None:
    """Before cheaper burst of others; what is paid for still comes before any burst."""
    pools = (
        pool("azure/a", committed=0, price=1),
        pool("gcp/b", committed=0, price=9),
        pool("oci/c", committed=20, limit=20, latency_ms=300),
    )
    compiled = compile_policy(replace(policy(pools), first_refusal="gcp"))
    work = draft(compiled, {"chat/eu": 100})
    work.place(0, MILLION, limits(compiled))
    assert work.weights[0] == {2: 200_000, 1: 800_000}


def test_declined_burst_counts_as_anybodys_and_what_is_prepaid_as_free() -> None:
    """On a pool that the holder has declined its burst is no longer first; a commitment to spend pays for
    gcp's burst, so that it comes before cheaper burst that is not paid for."""
    given = replace(
        policy(
            (
                pool("azure/a", committed=0, price=5),
                pool("gcp/b", committed=0, price=9),
                pool("oci/c", committed=0, price=7),
            )
        ),
        first_refusal="oci",
        committed_spend=(CommittedSpend("gcp", "year", money=1.0),),
    )
    compiled = compile_policy(given)
    assert [tier.pools for tier in compiled.routes[0].tiers if tier.burst] == [(2,), (1,), (0,)]
    memo = Memo()
    declined = rules_in_force(compiled, frozenset(), frozenset({2}), {}, memo)
    assert [tier.pools for tier in declined.routes[0].tiers if tier.burst] == [(1,), (0,), (2,)]
    assert rules_in_force(compiled, frozenset(), frozenset(), {}, memo) is compiled
    assert rules_in_force(compiled, frozenset(), frozenset({2}), {}, memo) is declined


def test_burst_that_is_prepaid_is_free_until_the_commitment_is_used_up() -> None:
    """Then it costs what the policy says, and other burst may be cheaper."""
    rules = replace(
        policy((pool("a/r", committed=0.0, price=5.0), pool("b/r", committed=0.0, price=3.0))),
        committed_spend=(CommittedSpend("a", "year", units=1.0),),
    )
    compiled = compile_policy(rules)
    memo = Memo()
    burst = [tier.pools for tier in compiled.routes[0].tiers if tier.burst]
    assert burst == [(0,), (1,)]
    later = rules_in_force(compiled, frozenset(), frozenset(), {}, memo, frozenset({"a"}))
    assert [tier.pools for tier in later.routes[0].tiers if tier.burst] == [(1,), (0,)]
    assert rules_in_force(compiled, frozenset(), frozenset(), {}, memo, frozenset({"b"})) is compiled
