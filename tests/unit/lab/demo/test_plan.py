"""A run's policy, stand-ins and callers come from a policy file, and every difference is named."""

import pytest
from msgspec.structs import replace

from controller.core.policy.policy import Policy
from controller.policy_file import load_policy, parse_policy
from controller.process.errors import UserError
from lab.demo.plan import DEMO, addressed, as_yaml, callers, plan, shares, standins
from lab.demo.scenario import DEMO_POOLS, DEMO_ROLES, phases, pools_of, regions
from tests.places import EXAMPLE_POLICY

EXAMPLE = EXAMPLE_POLICY
MEAN_TOKENS = 1_400.0


@pytest.fixture(scope="module")
def shipped() -> Policy:
    return load_policy(EXAMPLE)


def test_the_demo_has_eight_pools_over_four_providers(shipped: Policy) -> None:
    """Every route of the example keeps a lawful pool."""
    planned = plan(shipped, DEMO, MEAN_TOKENS, only=DEMO_POOLS)
    assert len(planned.policy.pools) >= 8
    assert len({pool.provider for pool in planned.policy.pools}) == 4


def test_every_threshold_that_differs_is_named(shipped: Policy) -> None:
    """The differences are exactly the settings that are not as shipped."""
    planned = plan(shipped, DEMO, MEAN_TOKENS, only=DEMO_POOLS)
    named = {one.name: (one.used, one.shipped) for one in planned.differences}
    for name in shipped.thresholds.__struct_fields__:
        used, was = getattr(planned.policy.thresholds, name), getattr(shipped.thresholds, name)
        assert named.pop(f"thresholds.{name}", (used, used)) == (used, was)
    for name in shipped.clients.__struct_fields__:
        used, was = getattr(planned.policy.clients, name), getattr(shipped.clients, name)
        assert named.pop(f"clients.{name}", (used, used)) == (used, was)
    assert list(named) == ["capacities"]


def test_the_derived_policy_is_one_that_tieline_reads(shipped: Policy) -> None:
    """Written to YAML and read again it is the same policy, and it has no credentials."""
    planned = plan(shipped, DEMO, MEAN_TOKENS, only=DEMO_POOLS)
    urls = {pool.id: f"http://127.0.0.1:{9_000 + n}/v1" for n, pool in enumerate(planned.policy.pools)}
    policy = addressed(planned.policy, urls)
    assert parse_policy(as_yaml(policy)) == policy
    assert {pool.credential for pool in policy.pools} == {""}
    assert all(pool.url.startswith("http://127.0.0.1:") for pool in policy.pools)


def test_stand_ins_can_give_what_the_policy_says(shipped: Policy) -> None:
    """Each pool has a stand-in with its limit and the provider's own model names."""
    planned = plan(shipped, DEMO, MEAN_TOKENS, only=DEMO_POOLS)
    configs = standins(planned, log_dir="x", kafka="k:1", namespace="demo")
    given = {c.pool_id(pool): pool for c in configs for pool in c.pools}
    assert set(given) == set(DEMO_POOLS)
    for pool in planned.policy.pools:
        assert given[pool.id].tokens_per_s == pool.limit_units_per_s
        assert given[pool.id].models == tuple(offer.name for offer in pool.models)


def test_a_route_without_a_pool_is_refused(shipped: Policy) -> None:
    """A selection of pools that leaves a workload without a pool is an error."""
    with pytest.raises(UserError, match="no pool of the run may serve"):
        plan(shipped, DEMO, MEAN_TOKENS, only=("gcp/us-central1/gemini-pro",))


def test_callers_share_the_load_and_begin_apart(shipped: Policy) -> None:
    """Two processes together send the whole rate, from different rows of the trace."""
    planned = plan(shipped, DEMO, MEAN_TOKENS, only=DEMO_POOLS)
    one, two = callers(planned, 1_000, redis="redis://r", kafka="k:1", namespace="demo", directory="d")
    assert one.rate_per_s + two.rate_per_s == pytest.approx(DEMO.requests_per_s)
    assert (one.first, two.first) == (0, 500)
    assert {(s.workload, s.origin) for s in shares(planned.policy)} == {
        (w, o) for w in ("chat", "api", "batch") for o in ("us", "eu", "jp")
    }


def test_phases_name_regions_that_exist_and_take_less_than_a_minute(shipped: Policy) -> None:
    """Every act has a stand-in, each fault is taken back, and the shortest run is less than a minute."""
    planned = plan(shipped, DEMO, MEAN_TOKENS, only=DEMO_POOLS)
    acts = [act for phase in phases(planned.policy, DEMO_ROLES) for act in phase.acts]
    assert all(pools_of(planned.policy, act.region) for act in acts)
    back = {"freeze": "thaw", "kill": "revive", "halve": "restore"}
    done = {(act.deed, act.region) for act in acts}
    assert {(back[deed], region) for deed, region in done if deed in back} <= done
    assert regions(planned.policy, "gcp") == ("gcp/europe-west4", "gcp/us-central1")
    assert sum(phase.least_s for phase in phases(planned.policy, DEMO_ROLES)) < 60


def test_a_policy_without_expected_load_is_refused(shipped: Policy) -> None:
    """Without it the capacity of the stand-ins can't be derived."""
    silent = replace(
        shipped, workloads=tuple(replace(one, expected_units_per_s={}) for one in shipped.workloads)
    )
    with pytest.raises(UserError, match="expects no load"):
        plan(silent, DEMO, MEAN_TOKENS)
