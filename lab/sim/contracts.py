"""What a policy's contracts allow, read off its plain data and written down anew from the design.

It shares no code with the controller's own rules, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

RANKS = ("critical_plus", "critical", "sheddable_plus", "sheddable")
SHEDDABLE_RANK = RANKS.index("sheddable_plus")  # from it on load may use no pool that is unknown


class RouteContract(NamedTuple):
    """What holds for one (workload, origin): ``rank`` 0 is the most critical, ``share_max`` by provider."""

    rank: int
    lawful: frozenset[str]
    share_max: Mapping[str, float]


class Contracts(NamedTuple):
    """``routes`` by ``workload/origin``; ``groups_of`` by pool: its quota groups, if it has some."""

    routes: dict[str, RouteContract]
    groups_of: dict[str, tuple[str, ...]]
    pools: tuple[str, ...]
    headroom: float


def contracts_of(policy: Mapping[str, Any]) -> Contracts:
    """The contracts of a policy in plain data (``msgspec.to_builtins``)."""
    pools = policy["pools"]
    routes = {}
    for workload in policy["workloads"]:
        for origin in policy["origins"]:
            if workload.get("origins") and origin["id"] not in workload["origins"]:
                continue
            lawful = frozenset(pool["id"] for pool in pools if _allows(workload, origin, pool))
            routes[f"{workload['id']}/{origin['id']}"] = RouteContract(
                RANKS.index(workload["criticality"]), lawful, workload.get("provider_share_max", {})
            )
    groups = {pool["id"]: quota_groups_of(pool) for pool in pools if pool.get("quota_group")}
    names = tuple(pool["id"] for pool in pools)
    return Contracts(routes, groups, names, headroom=policy.get("headroom", 0.8))


def quota_groups_of(pool: Mapping[str, Any]) -> tuple[str, ...]:
    """The quota groups of a pool: the field holds one name or a list of them."""
    groups = pool.get("quota_group") or ()
    return (groups,) if isinstance(groups, str) else tuple(groups)


def provider_of(pool: str) -> str:
    """The provider of a pool, by its id."""
    return pool.split("/", 1)[0]


def _allows(workload: Mapping[str, Any], origin: Mapping[str, Any], pool: Mapping[str, Any]) -> bool:
    provider = provider_of(pool["id"])
    geographies = (
        origin.get("allowed_geographies"),
        workload.get("allowed_geographies"),
        workload.get("allowed_geographies_by_origin", {}).get(origin["id"]),
    )
    return (
        workload.get("exclusive_provider") in (None, provider)
        and (not workload.get("allowed_providers") or provider in workload["allowed_providers"])
        and (not workload.get("pinned_pools") or pool["id"] in workload["pinned_pools"])
        and all(not allowed or pool["geography"] in allowed for allowed in geographies)
        and all(_offers(pool, model, workload) for model in workload["models"])
    )


def _offers(pool: Mapping[str, Any], model: str, workload: Mapping[str, Any]) -> bool:
    for offer in pool["models"]:
        if offer["model"] == model:
            context = offer.get("context_tokens", 0)
            is_long_enough = not context or context >= workload.get("context_tokens", 0)
            return is_long_enough and set(workload.get("features", ())) <= set(offer.get("features", ()))
    return False
