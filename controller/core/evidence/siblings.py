"""A fault of one model, found by comparison with its siblings.

400 is the caller's own fault, so a pool that answers it is not blamed, unless siblings serve the very same
callers: pools that carry the same workloads. Only workloads that no such sibling carries could be to blame
themselves; what they can explain of the refusals is left out.
"""

from controller.core.evidence.client_sums import Clients
from controller.core.evidence.gather import Evidence
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds
from tieline.table import RouteTable


def refusing(
    compiled: CompiledPolicy,
    evidence: dict[str, Evidence],
    table: RouteTable | None,
    demand: list[float],
) -> set[str]:
    """Pools that refuse as the callers' fault what siblings serve. ``demand`` in units/s by route."""
    limits = compiled.policy.thresholds
    shares: dict[str, float] = {}
    for pool, seen in evidence.items():
        clients = seen.clients
        if clients is not None and clients.client_error and _tells(clients, limits):
            shares[pool] = clients.client_error_share
    suspects = {pool for pool, share in shares.items() if share >= limits.client_error_share}
    if not suspects or table is None:
        return set()
    serving = {
        pool
        for pool, seen in evidence.items()
        if seen.clients is not None
        and _tells(seen.clients, limits)
        and shares.get(pool, 0.0) < limits.client_error_clear
    }
    load = _load(compiled, table, demand)
    served = {workload for pool in serving for workload in load.get(pool, ())}
    return {pool for pool in suspects if _is_to_blame(load.get(pool, {}), served, shares[pool], limits)}


def _is_to_blame(load: dict[str, float], served: set[str], share: float, limits: Thresholds) -> bool:
    """Whether more is refused than the workloads that no sibling serves could cause."""
    whole = sum(load.values())
    compared = sum(units for workload, units in load.items() if workload in served) / whole if whole else 0.0
    if compared < limits.compared_share_min:
        return False
    return share - (1 - compared) >= limits.client_error_share * compared


def _tells(clients: Clients, limits: Thresholds) -> bool:
    return clients.requests + clients.client_error >= limits.requests_min


def _load(compiled: CompiledPolicy, table: RouteTable, demand: list[float]) -> dict[str, dict[str, float]]:
    """Pool -> workload -> load that the table in force sends there."""
    found: dict[str, dict[str, float]] = {}
    for route in table.routes:
        index = compiled.route_index.get((route.workload, route.origin))
        if index is None:
            continue
        for number, parts in zip(route.split.pools, route.split.weights, strict=True):
            carried = found.setdefault(table.pools[number].pool, {})
            carried[route.workload] = carried.get(route.workload, 0.0) + demand[index] * parts
    return found
