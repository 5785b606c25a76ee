"""Which pools may serve a route at all: exclusivity, allowed providers, pins, residency, models.

Every later rule chooses among the pools that are lawful by this file, in shares, ``on_loss`` and last resorts
alike. Residency is the origin's and the workload's; both hold.
"""

from msgspec.structs import replace

from controller.core.model.reasons import Reason
from controller.core.policy.policy import Origin, Policy, Pool, Workload


def origins_of(policy: Policy, workload: Workload) -> tuple[Origin, ...]:
    """The origins for which the workload has a route, in the policy's order."""
    if not workload.origins:
        return policy.origins
    return tuple(origin for origin in policy.origins if origin.id in workload.origins)


class PoolKinds:
    """The pools of a policy by all that law and contracts look at, so that each kind is judged once."""

    def __init__(self, policy: Policy) -> None:
        kinds: dict[tuple[object, ...], list[int]] = {}
        for index, pool in enumerate(policy.pools):
            kinds.setdefault((pool.provider, pool.geography, pool.models), []).append(index)
        self._pools = policy.pools
        self._kinds = list(kinds.values())

    def lawful(self, workload: Workload, origin: Origin) -> tuple[int, ...]:
        """Indices into ``policy.pools`` of the pools that may serve (workload, origin)."""
        anywhere = replace(workload, pinned_pools=()) if workload.pinned_pools else workload
        lawful = [
            index
            for members in self._kinds
            if may_serve(self._pools[members[0]], anywhere, origin)
            for index in members
            if not workload.pinned_pools or self._pools[index].id in workload.pinned_pools
        ]
        return tuple(sorted(lawful))


def lawful_pools(policy: Policy, workload: Workload, origin: Origin) -> tuple[int, ...]:
    """Indices into ``policy.pools`` of the pools that may serve (workload, origin)."""
    return PoolKinds(policy).lawful(workload, origin)


def may_serve(pool: Pool, workload: Workload, origin: Origin) -> bool:
    """Whether law and contracts let this pool serve this workload from this origin."""
    return forbidden_by(pool, workload, origin) is None


def forbidden_by(pool: Pool, workload: Workload, origin: Origin) -> Reason | None:
    """The first rule that keeps this pool from serving this workload from this origin; None if none does."""
    if workload.exclusive_provider and pool.provider != workload.exclusive_provider:
        return Reason.EXCLUSIVE_ELSEWHERE
    if workload.allowed_providers and pool.provider not in workload.allowed_providers:
        return Reason.PROVIDER_NOT_ALLOWED
    if workload.pinned_pools and pool.id not in workload.pinned_pools:
        return Reason.PINNED_ELSEWHERE
    if origin.allowed_geographies and pool.geography not in origin.allowed_geographies:
        return Reason.RESIDENCY_OF_ORIGIN
    narrowed = workload.allowed_geographies_by_origin.get(origin.id, ())
    for allowed in (workload.allowed_geographies, narrowed):
        if allowed and pool.geography not in allowed:
            return Reason.RESIDENCY_OF_WORKLOAD
    return _unfit(pool, workload)


def _unfit(pool: Pool, workload: Workload) -> Reason | None:
    """What the pool's models lack that the workload needs of each of its models; None if nothing."""
    offered = {offer.model: offer for offer in pool.models}
    for model in workload.models:
        if (offer := offered.get(model)) is None:
            return Reason.MODEL_NOT_OFFERED
        if 0 < offer.context_tokens < workload.context_tokens:
            return Reason.CONTEXT_TOO_SHORT
        if not set(workload.features).issubset(offer.features):
            return Reason.FEATURE_NOT_OFFERED
    return None
