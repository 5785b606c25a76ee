"""What another policy would change: as with an order, and what only a policy can do wrong. Pure."""

from collections.abc import Iterator

from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.inspect.consequences import UNITS_MIN, Consequences, Objection, consequences
from controller.core.policy.difference import loosened_contracts
from controller.core.policy.lawful import origins_of
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot


def policy_consequences(before: Snapshot, policy: Policy, at_ms: int) -> Consequences:
    """What is different if the next decision is made by this policy; see ``consequences``."""
    change = consequences(before, replace(before, policy=policy), at_ms)
    loosened = (Objection("contract_loosened", text) for text in loosened_contracts(before.policy, policy))
    removed = _removed_routes(before, policy, at_ms)
    return replace(change, objections=(*change.objections, *loosened, *removed))


def _removed_routes(before: Snapshot, policy: Policy, at_ms: int) -> Iterator[Objection]:
    """Routes that carry load now, and that the policy does not have: their clients could send nowhere."""
    remaining = {
        f"{workload.id}/{origin.id}"
        for workload in policy.workloads
        for origin in origins_of(policy, workload)
    }
    assessment = assess(before, at_ms)
    unit = before.policy.clients.load_unit
    for rules, units in zip(assessment.compiled.routes, assessment.demand, strict=True):
        if rules.name not in remaining and units >= UNITS_MIN:
            yield Objection(
                "route_removed", f"{rules.name}, which carries {units:,.0f} {unit}/s now, would have no route"
            )
