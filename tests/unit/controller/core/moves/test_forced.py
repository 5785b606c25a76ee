"""Forced moves: what is lost finds a place, the most critical first, and nothing else is touched."""

import pytest

from controller.core.moves.draft import GAINS_LAST, GAINS_LATE, KEEPS, OUT, Draft
from controller.core.moves.eligible import Use
from controller.core.moves.forced import settle
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Policy, QuotaGroup
from tests.unit.controller.core.made import draft, limits, policy, pool, workload
from tieline.table import MILLION


def use(
    compiled: CompiledPolicy,
    *,
    grades: dict[str, int] | None = None,
    lost: dict[str, float] | None = None,
    usable: float = 1.0,
) -> Use:
    """Limits as the policy has them; ``lost`` pools are out with the share that still succeeds."""
    gone = {f"{name}/d": share for name, share in (lost or {}).items()}
    said = dict.fromkeys(lost or {}, OUT) | (grades or {})
    keeps = [one.limit_units_per_s for one in compiled.policy.pools]
    still = {compiled.pool_index[name]: share for name, share in gone.items()}
    return Use(limits(compiled, grades=said, scale=usable), keeps, still, False)


def settled(made: Policy, work: Draft, by: Use) -> dict[str, dict[str, int]]:
    """Route -> pool -> parts after the forced moves; ``shed`` where something is."""
    settle(work, by, restore_rank=3)
    compiled = compile_policy(made)
    found = {}
    for route, rule in enumerate(compiled.routes):
        row = {compiled.pools[pool].removesuffix("/d"): parts for pool, parts in work.weights[route].items()}
        assert sum(row.values()) + work.shed[route] == MILLION
        found[rule.name] = row | ({"shed": work.shed[route]} if work.shed[route] else {})
    return found


def test_only_what_a_lost_pool_carried_moves() -> None:
    """A route without weight on it keeps the very weights it had."""
    made = policy(
        (pool("azure/a"), pool("gcp/b"), pool("oci/c")), (workload("chat"), workload("api")), headroom=1
    )
    compiled = compile_policy(made)
    weights = {
        "chat/eu": {"azure/a": 500_000, "gcp/b": 500_000},
        "api/eu": {"gcp/b": 700_000, "oci/c": 300_000},
    }
    work = draft(compiled, {"chat/eu": 60, "api/eu": 40}, weights)
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert after["api/eu"] == {"gcp/b": 700_000, "oci/c": 300_000}
    assert after["chat/eu"].keys() == {"gcp/b", "oci/c"}


def test_lower_criticality_makes_way() -> None:
    """chat loses its pool; batch, which fills the other, is shed as far as chat needs the room."""
    made = policy((pool("azure/a"), pool("gcp/b")), (workload("chat"), workload("batch", "sheddable")))
    compiled = compile_policy(made)
    weights = {"chat/eu": {"azure/a": MILLION}, "batch/eu": {"gcp/b": MILLION}}
    work = draft(compiled, {"chat/eu": 80, "batch/eu": 100}, weights)
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert after["chat/eu"] == {"gcp/b": MILLION}
    assert 795_000 <= after["batch/eu"]["shed"] <= 805_000


def test_lower_criticality_moves_on_before_it_is_shed() -> None:
    """With room elsewhere that chat may not use, batch goes there."""
    made = policy(
        (pool("azure/a"), pool("azure/b"), pool("gcp/c")),
        (workload("chat", exclusive="azure"), workload("batch", "sheddable")),
    )
    compiled = compile_policy(made)
    weights = {"chat/eu": {"azure/a": MILLION}, "batch/eu": {"azure/b": MILLION}}
    work = draft(compiled, {"chat/eu": 80, "batch/eu": 90}, weights)
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert after["chat/eu"] == {"azure/b": MILLION}
    assert "shed" not in after["batch/eu"]


def test_flexible_load_leaves_room_to_critical_load_that_has_no_choice() -> None:
    """chat (any provider) moves off azure for api (azure only); batch is shed where chat goes."""
    made = policy(
        (pool("azure/a"), pool("azure/b"), pool("gcp/c")),
        (
            workload("chat", "critical_plus"),
            workload("api", exclusive="azure"),
            workload("batch", "sheddable"),
        ),
    )
    compiled = compile_policy(made)
    weights = {
        "chat/eu": {"azure/b": MILLION},
        "api/eu": {"azure/a": MILLION},
        "batch/eu": {"gcp/c": MILLION},
    }
    work = draft(compiled, {"chat/eu": 80, "api/eu": 90, "batch/eu": 100}, weights)
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert "shed" not in after["chat/eu"]
    assert "shed" not in after["api/eu"]
    assert 690_000 <= after["batch/eu"]["shed"] <= 710_000


def test_nothing_of_higher_rank_is_shed_for_lower() -> None:
    """batch loses its pool; chat fills the other and stays."""
    made = policy((pool("azure/a"), pool("gcp/b")), (workload("chat"), workload("batch", "sheddable")))
    compiled = compile_policy(made)
    weights = {"chat/eu": {"gcp/b": MILLION}, "batch/eu": {"azure/a": MILLION}}
    work = draft(compiled, {"chat/eu": 100, "batch/eu": 50}, weights)
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert after == {"chat/eu": {"gcp/b": MILLION}, "batch/eu": {"azure/a": 5_000, "shed": 995_000}}


def test_a_failing_pool_without_alternative_keeps_its_load() -> None:
    """Do no harm: half of it succeeds there, nothing would if it were shed."""
    made = policy((pool("azure/a"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"chat/eu": 90}, {"chat/eu": {"azure/a": MILLION}})
    assert settled(made, work, use(compiled, lost={"azure/a": 0.5}))["chat/eu"] == {"azure/a": MILLION}


def test_a_dead_pool_without_alternative_keeps_a_trickle() -> None:
    """So that its recovery is noticed; the rest is shed."""
    made = policy((pool("azure/a"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"chat/eu": 90}, {"chat/eu": {"azure/a": MILLION}})
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert after["chat/eu"] == {"azure/a": 5_000, "shed": 995_000}


def test_a_drained_pool_keeps_nothing() -> None:
    """An operator's drain is no illness: no alternative is no excuse."""
    made = policy((pool("azure/a"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"chat/eu": 90}, {"chat/eu": {"azure/a": MILLION}})
    assert settled(made, work, use(compiled, grades={"azure/a": OUT}))["chat/eu"] == {"shed": MILLION}


def test_overload_leaves_least_critical_first_and_stays_within_the_headroom() -> None:
    """80 of 100 are planned with. Of 96, batch's 16 too many leave if there is room, else they stay."""
    workloads = (workload("chat"), workload("batch", "sheddable"))
    full = policy((pool("azure/a"),), workloads)
    compiled = compile_policy(full)
    weights = {"chat/eu": {"azure/a": MILLION}, "batch/eu": {"azure/a": MILLION}}
    work = draft(compiled, {"chat/eu": 60, "batch/eu": 36}, weights)
    assert settled(full, work, use(compiled, usable=0.8)) == weights
    roomy = policy((pool("azure/a"), pool("gcp/b")), workloads)
    compiled = compile_policy(roomy)
    work = draft(compiled, {"chat/eu": 60, "batch/eu": 36}, weights)
    after = settled(roomy, work, use(compiled, usable=0.8))
    assert after["chat/eu"] == {"azure/a": MILLION}
    assert 440_000 <= after["batch/eu"]["gcp/b"] <= 450_000


def test_critical_load_takes_unknown_pools_last() -> None:
    """An unknown pool gains only what would be shed otherwise, and only for critical load."""
    workloads = (workload("chat"), workload("batch", "sheddable"))
    made = policy((pool("azure/a"), pool("gcp/b"), pool("oci/c")), workloads)
    compiled = compile_policy(made)
    weights = {"chat/eu": {"azure/a": MILLION}, "batch/eu": {"azure/a": MILLION}}
    work = draft(compiled, {"chat/eu": 60, "batch/eu": 60}, weights)
    by = use(compiled, lost={"azure/a": 0.0}, grades={"gcp/b": GAINS_LAST, "oci/c": KEEPS})
    after = settled(made, work, by)
    assert after["chat/eu"] == {"gcp/b": MILLION}
    assert after["batch/eu"]["shed"] >= 990_000


def test_what_would_be_shed_tries_each_unknown_pool_a_little() -> None:
    """Each gets the first step of the ramp, one of a hundred units/s, once, and none that must not gain."""
    made = policy((pool("azure/a"), pool("gcp/b"), pool("oci/c")), (workload("batch", "sheddable"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"batch/eu": 50}, {"batch/eu": {"azure/a": MILLION}})
    by = use(compiled, lost={"azure/a": 0.0}, grades={"gcp/b": GAINS_LAST, "oci/c": KEEPS})
    after = settled(made, work, by)
    assert after["batch/eu"] == {"azure/a": 5_000, "gcp/b": 20_000, "shed": 975_000}
    assert settled(made, work, by) == after


def test_a_large_route_tries_an_unknown_pool_with_its_trickle() -> None:
    """The first step of a small pool's ramp would be no share of it at all."""
    made = policy((pool("azure/a"), pool("gcp/b")), (workload("batch", "sheddable"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"batch/eu": 1_000_000}, {"batch/eu": {"azure/a": MILLION}})
    by = use(compiled, lost={"azure/a": 0.0}, grades={"gcp/b": GAINS_LAST})
    assert "gcp/b" not in settled(made, work, by)["batch/eu"]
    work = draft(compiled, {"batch/eu": 10_000}, {"batch/eu": {"azure/a": MILLION}})
    assert settled(made, work, by)["batch/eu"]["gcp/b"] == 5_000


def test_degraded_pools_take_what_healthy_ones_can_not() -> None:
    """Healthy before degraded, both before shedding."""
    made = policy((pool("azure/a"), pool("gcp/b", limit=30, committed=30), pool("oci/c")))
    compiled = compile_policy(made)
    work = draft(compiled, {"chat/eu": 60}, {"chat/eu": {"azure/a": MILLION}})
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}, grades={"oci/c": GAINS_LATE}))
    assert after["chat/eu"] == {"gcp/b": 500_000, "oci/c": 500_000}


def test_weight_where_the_policy_forbids_it_leaves_for_good() -> None:
    """After a change of policy: unlawful load does not stay, alternative or not."""
    made = policy((pool("azure/a"), pool("gcp/b")), (workload("api", exclusive="azure"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"api/eu": 150}, {"api/eu": {"azure/a": 400_000, "gcp/b": 600_000}})
    after = settled(made, work, use(compiled))
    assert after["api/eu"].keys() == {"azure/a", "shed"}
    assert 330_000 <= after["api/eu"]["shed"] <= 340_000


def test_shed_load_returns_when_there_is_room() -> None:
    """As far as the room reaches."""
    made = policy((pool("azure/a"),))
    compiled = compile_policy(made)
    work = draft(compiled, {"chat/eu": 100}, {"chat/eu": {"azure/a": 500_000}})
    assert settled(made, work, use(compiled, usable=0.8))["chat/eu"] == {"azure/a": 800_000, "shed": 200_000}


def test_the_least_critical_is_shed_first() -> None:
    """Two make way for chat; what chat needs is taken from the lower of them alone."""
    made = policy(
        (pool("azure/a"), pool("gcp/b")),
        (workload("chat"), workload("mail", "sheddable_plus"), workload("batch", "sheddable")),
    )
    compiled = compile_policy(made)
    weights = {name: {"gcp/b": MILLION} for name in ("mail/eu", "batch/eu")}
    work = draft(
        compiled, {"chat/eu": 40, "mail/eu": 50, "batch/eu": 50}, weights | {"chat/eu": {"azure/a": MILLION}}
    )
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert after["mail/eu"] == {"gcp/b": MILLION}
    assert after["chat/eu"] == {"gcp/b": MILLION}
    assert 795_000 <= after["batch/eu"]["shed"] <= 805_000


def test_nobody_is_shed_while_another_can_move_on() -> None:
    """batch has no other pool, mail has: mail moves on, though batch is less critical."""
    made = policy(
        (pool("azure/a"), pool("azure/b"), pool("gcp/c")),
        (
            workload("chat", exclusive="azure"),
            workload("mail", "sheddable_plus"),
            workload("batch", "sheddable", exclusive="azure"),
        ),
    )
    compiled = compile_policy(made)
    weights = {"chat/eu": {"azure/a": MILLION}} | {
        name: {"azure/b": MILLION} for name in ("mail/eu", "batch/eu")
    }
    work = draft(compiled, {"chat/eu": 40, "mail/eu": 50, "batch/eu": 50}, weights)
    after = settled(made, work, use(compiled, lost={"azure/a": 0.0}))
    assert all("shed" not in row for row in after.values())
    assert after["batch/eu"] == {"azure/b": MILLION}


def test_a_quota_group_that_shrinks_gives_load_away() -> None:
    """Each pool has room for 100, both together for 100: 40 of the 140 leave, and no more."""
    pools = (pool("azure/a", group="g"), pool("azure/b", group="g"), pool("gcp/c"))
    made = policy(pools, groups=(QuotaGroup("g", 100),))
    compiled = compile_policy(made)
    work = draft(compiled, {"chat/eu": 140}, {"chat/eu": {"azure/a": 500_000, "azure/b": 500_000}})
    after = settled(made, work, use(compiled))
    assert after["chat/eu"]["gcp/c"] == pytest.approx(285_715, abs=2)


def test_what_would_be_shed_takes_most_of_the_headroom() -> None:
    """100 units lose their pool. The other one may use 80 of 100, and 95 before anything is shed."""
    made = policy((pool("azure/a"), pool("gcp/b")), headroom=0.8)
    work = draft(made, {"chat/eu": 100}, {"chat/eu": {"azure/a": MILLION}})
    after = settled(made, work, use(compile_policy(made), lost={"azure/a": 0.0}, usable=0.8))
    assert after["chat/eu"] == {"azure/a": 5_000, "gcp/b": 949_999, "shed": 45_001}


def test_load_without_a_better_place_stays_within_the_whole_limit() -> None:
    """It grew to 100 of 100 where it is; nobody is turned out for it elsewhere."""
    made = policy(
        (pool("azure/a"), pool("gcp/b")), (workload("chat"), workload("batch", "sheddable")), headroom=0.8
    )
    weights = {"chat/eu": {"azure/a": MILLION}, "batch/eu": {"gcp/b": MILLION}}
    work = draft(made, {"chat/eu": 100, "batch/eu": 80}, weights)
    assert settled(made, work, use(compile_policy(made), usable=0.8)) == weights


def test_a_silence_moves_nothing_off_a_full_pool() -> None:
    """A pool of unknown health keeps what it carries up to its whole limit, also beside one with room."""
    made = policy((pool("azure/a"), pool("gcp/b")), (workload("chat"),))
    compiled = compile_policy(made)
    for units, stays in ((103, True), (110, False)):
        work = draft(compiled, {"chat/eu": units}, {"chat/eu": {"azure/a": MILLION}})
        unknown = use(compiled, grades={"azure/a": GAINS_LAST, "gcp/b": GAINS_LAST}, usable=0.8)
        after = settled(made, work, unknown)
        assert (after["chat/eu"] == {"azure/a": MILLION}) is stays
