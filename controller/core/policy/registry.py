"""What the policy lets sources say: the part of a policy that events and answers are checked against."""

from dataclasses import replace

from controller.core.policy.lawful import origins_of
from controller.core.policy.policy import Policy, encode_policy
from tieline.registration import Registry, registry_in

SERVED_MAX_FACTOR = 4.0  # x the limits of all pools: no client is served more than this


def registry_of(policy: Policy) -> Registry:
    """The registry of this policy, with the flows of its routes and the most that a client may report."""
    return replace(
        registry_in(encode_policy(policy)),
        flows=frozenset(
            (workload.id, origin.id)
            for workload in policy.workloads
            for origin in origins_of(policy, workload)
        ),
        limit_units_per_s=SERVED_MAX_FACTOR * sum(pool.limit_units_per_s for pool in policy.pools),
    )
