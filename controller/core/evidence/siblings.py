"""A fault of one model, shown by comparison with the pool's siblings.

400 is the caller's own fault, so a pool that answers it is not blamed, unless siblings serve the same
callers: pools that carry the same workloads. A workload that no such sibling carries could be to blame
itself; what it can explain of the refusals is left out.
"""

from controller.core.evidence.client_sums import ClientOutcomes
from controller.core.evidence.gather import Evidence
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds
from tieline.table import RouteTable


def refusing_pools(
    compiled: CompiledPolicy,
    evidence: dict[str, Evidence],
    table: RouteTable | None,
    demand: list[float],
) -> set[str]:
    """Pools that refuse as the callers' fault what siblings serve. ``demand`` in units/s by route."""
    thresholds = compiled.policy.thresholds
    shares: dict[str, float] = {}
    for pool, pool_evidence in evidence.items():
        clients = pool_evidence.clients
        if clients is not None and clients.client_error and _is_telling(clients, thresholds):
            shares[pool] = clients.client_error_share
    suspects = {pool for pool, share in shares.items() if share >= thresholds.client_error_share}
    if not suspects or table is None:
        return set()
    serving = {
        pool
        for pool, pool_evidence in evidence.items()
        if pool_evidence.clients is not None
        and _is_telling(pool_evidence.clients, thresholds)
        and shares.get(pool, 0.0) < thresholds.client_error_clear
    }
    load = _load(compiled, table, demand)
    served = {workload for pool in serving for workload in load.get(pool, ())}
    return {pool for pool in suspects if _is_to_blame(load.get(pool, {}), served, shares[pool], thresholds)}


def _is_to_blame(load: dict[str, float], served: set[str], share: float, thresholds: Thresholds) -> bool:
    """Whether more is refused than the workloads that no sibling serves could cause."""
    whole = sum(load.values())
    compared = sum(units for workload, units in load.items() if workload in served) / whole if whole else 0.0
    if compared < thresholds.compared_share_min:
        return False
    return share - (1 - compared) >= thresholds.client_error_share * compared


def _is_telling(clients: ClientOutcomes, thresholds: Thresholds) -> bool:
    return clients.requests + clients.client_error >= thresholds.requests_min


def _load(compiled: CompiledPolicy, table: RouteTable, demand: list[float]) -> dict[str, dict[str, float]]:
    """Pool -> workload -> load in units/s that the table in force sends there."""
    load: dict[str, dict[str, float]] = {}
    for route in table.routes:
        index = compiled.route_index.get((route.workload, route.origin))
        if index is None:
            continue
        for number, parts in zip(route.split.pools, route.split.weights, strict=True):
            carried = load.setdefault(table.pools[number].pool, {})
            carried[route.workload] = carried.get(route.workload, 0.0) + demand[index] * parts
    return load
