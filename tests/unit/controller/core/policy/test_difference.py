"""In what two policies differ, and which contracts the newer one loosens."""

from __future__ import annotations

from msgspec.structs import replace

from controller.core.policy.difference import differences, loosened_contracts
from controller.core.policy.policy import Origin, Policy, Workload
from tests.unit.controller.core.made import policy, pool, workload

EU, US = Origin("eu", ("eu",)), Origin("us", ("us",))
POOLS = (pool("azure/sweden"), pool("gcp/paris"), pool("gcp/iowa", geography="us"))
API = workload("api", exclusive="azure")
CHAT = workload("chat", provider_share_max={"azure": 0.5})
BEFORE = replace(policy(POOLS, (API, CHAT), origins=(EU,)), geographies=("eu", "us"))


def sentences(after: Policy) -> list[str]:
    return [difference.sentence for difference in differences(BEFORE, after)]


def with_workloads(*workloads: Workload) -> Policy:
    return replace(BEFORE, workloads=workloads)


def test_the_same_policy_differs_in_nothing() -> None:
    """Nor does an equal one that was made anew."""
    assert differences(BEFORE, replace(BEFORE, pools=tuple(BEFORE.pools))) == ()


def test_each_field_that_differs_is_named_with_both_values() -> None:
    """Fields of items by the item's id, thresholds by their name, and entries of maps by their key."""
    after = replace(
        BEFORE,
        headroom=0.7,
        pools=(replace(POOLS[0], limit_units_per_s=200), *POOLS[1:]),
        workloads=(API, replace(CHAT, provider_share_max={"azure": 0.6, "gcp": 0.1})),
        thresholds=replace(BEFORE.thresholds, shift_share_max=0.2),
    )
    assert sentences(after) == [
        "pool azure/sweden/d: limit_units_per_s 100 -> 200",
        "workload chat: provider_share_max.azure 0.5 -> 0.6",
        "workload chat: provider_share_max.gcp is new: 0.1",
        "headroom 1 -> 0.7",
        "thresholds: shift_share_max 0.1 -> 0.2",
    ]


def test_items_that_come_and_go_are_named_and_not_listed_field_by_field() -> None:
    """And so is another order of the same items."""
    after = replace(BEFORE, pools=(POOLS[2], POOLS[0], pool("oci/london")))
    assert sentences(after) == [
        "pool gcp/paris/d is gone",
        "pool oci/london/d is new",
        "pools in one order -> in another",
    ]


def test_lists_without_names_are_compared_as_a_whole() -> None:
    """Their order may count."""
    after = replace(
        BEFORE, geographies=("us", "eu"), workloads=(API, replace(CHAT, allowed_providers=("gcp",)))
    )
    assert sentences(after) == [
        "geographies eu, us -> us, eu",
        "workload chat: allowed_providers none -> gcp",
    ]


def test_each_contract_that_would_bind_less_is_named() -> None:
    """An exclusivity that ends, a residency that is widened, a largest share that rises."""
    assert loosened_contracts(BEFORE, with_workloads(replace(API, exclusive_provider=None), CHAT)) == (
        "api/eu might use gcp/paris/d, where until now the policy binds this workload to another provider",
    )
    wider = replace(BEFORE, origins=(replace(EU, allowed_geographies=()),))
    assert loosened_contracts(BEFORE, wider) == (
        "chat/eu might use gcp/iowa/d, "
        "where until now data from this origin may go to other geographies only",
    )
    more = replace(CHAT, provider_share_max={"azure": 0.9})
    assert loosened_contracts(BEFORE, with_workloads(API, more)) == (
        "azure might get 90% of chat, where until now it gets at most 50%",
    )
    assert loosened_contracts(BEFORE, with_workloads(API, replace(CHAT, provider_share_max={}))) == (
        "azure might get 100% of chat, where until now it gets at most 50%",
    )


def test_a_pool_that_is_moved_to_another_country_by_its_description_loosens_residency() -> None:
    """A slip of the pen in `geography` would otherwise send data abroad."""
    moved = replace(BEFORE, pools=(*POOLS[:2], replace(POOLS[2], geography="eu")))
    assert "chat/eu might use gcp/iowa/d" in loosened_contracts(BEFORE, moved)[0]


def test_what_is_new_or_stricter_loosens_nothing() -> None:
    """New pools, workloads and origins, models that a pool offers, a smaller share, a narrower residency."""
    for after in (
        replace(BEFORE, pools=(*POOLS, pool("oci/london"))),
        with_workloads(API, CHAT, workload("batch")),
        replace(BEFORE, origins=(EU, US)),
        with_workloads(API, replace(CHAT, provider_share_max={"azure": 0.2})),
        with_workloads(API, replace(CHAT, allowed_geographies=("eu",))),
        with_workloads(CHAT),
    ):
        assert loosened_contracts(BEFORE, after) == ()
    lacking = replace(BEFORE, pools=(pool("azure/sweden", models=("other",)), *POOLS[1:]))
    assert loosened_contracts(lacking, BEFORE) == ()
