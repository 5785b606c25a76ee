"""Ends of a small world for tests of what it has converged to: a paid pool, a dear one and a small one."""

from typing import Any

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.policy import Origin, Policy, Pool, Provider, QuotaGroup, Source, Workload
from lab.system.convergence import EndState
from tieline.table import MILLION, Generation, ModelOffer, PoolInfo, Route, RouteTable, Split

PAID, DEAR, SMALL = "azure/eu/paid", "gcp/eu/dear", "oci/eu/small"
NAMES = (PAID, DEAR, SMALL)
AT_MS = 1_700_000_000_000
HEALTHY = PoolMemory(State.HEALTHY, Reason.SUCCEEDING, since_ms=1)


def policy(criticality: str = "sheddable_plus", **changes: Any) -> Policy:
    """One workload from one origin; of the paid pool 1,000 units/s are usable, as of the dear one."""
    fields: dict[str, Any] = {
        "lineage": "test",
        "geographies": ("eu",),
        "origins": (Origin("eu"),),
        "providers": tuple(Provider(name.split("/")[0]) for name in NAMES),
        "pools": (
            _pool(PAID, 1_250.0, 1_250.0, price=1.0),
            _pool(DEAR, 1_250.0, 0.0, price=5.0),
            _pool(SMALL, 125.0, 125.0, price=1.0),
        ),
        "workloads": (Workload("chat", criticality, models=("gpt",)),),  # type: ignore[arg-type]
        "sources": (Source("fleet", "fleet"),),
    }
    return Policy(**{**fields, **changes})


def group_of_all(limit: float) -> dict[str, Any]:
    """Changes of the policy: all pools are in one quota group."""
    pools = tuple(
        _pool(pool.id, pool.limit_units_per_s, pool.committed_units_per_s, group="quota", price=1.0)
        for pool in policy().pools
    )
    return {"pools": pools, "quota_groups": (QuotaGroup("quota", limit),)}


def table(parts: dict[str, int]) -> RouteTable:
    """These parts by pool; what is missing to a million is shed."""
    split = Split(
        tuple(NAMES.index(name) for name in parts), tuple(parts.values()), MILLION - sum(parts.values())
    )
    route = Route("chat", "eu", "sheddable_plus", split=split, shed_reason="no room")
    infos = tuple(PoolInfo(name, "eu", "https://example.invalid") for name in NAMES)
    return RouteTable(Generation("test", 1, 1), 0, infos, routes=(route,))


def end(parts: dict[str, int], units: float = 1_000.0, **changes: Any) -> EndState:
    """Where all pools are healthy, but for those in ``pools``, and nothing has moved for long."""
    pools = {name: changes.get("pools", {}).get(name, HEALTHY) for name in NAMES}
    memory = Memory(pools=pools, reported=("chat/eu",), shifts=changes.get("shifts", ()))
    state = EndState(AT_MS, table(parts), memory, demand={"chat/eu": units})
    return state._replace(**{k: v for k, v in changes.items() if k not in ("pools", "shifts")})


def _pool(name: str, limit: float, committed: float, *, price: float, group: str = "") -> Pool:
    return Pool(
        name,
        "eu",
        "https://example.invalid/v1",
        models=(ModelOffer("gpt", "gpt"),),
        limit_units_per_s=limit,
        committed_units_per_s=committed,
        price_per_million_units=price,
        latency_ms={"eu": 100.0},
        quota_group=group,
    )
