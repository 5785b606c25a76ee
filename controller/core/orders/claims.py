"""What sources claim until an expiry, and which pools operators have drained: by pool index."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from controller.core.model.reasons import Reason
from controller.core.orders.in_force import Orders
from controller.core.policy.compiled import CompiledPolicy
from streams.rows import Row
from tieline.events import Claim, Statement, in_scope

ILL_STATES = ("degraded", "down")
LEAVES_BECAUSE = {"evacuate": Reason.EVACUATED, "drill": Reason.DRILLED}


class Claims(NamedTuple):
    """``ill``: pools that a status page calls ill, until when. ``withdrawn``: pools that are drained or under
    maintenance, with the reason and until when.

    ``due_ms``: when the next claim begins or ends; None if none does. ``maintenance_soon``: pools whose
    maintenance begins so soon that room is made for it. ``leaving``: pools that are evacuated and not
    withdrawn: they give their load away and keep only what has no room elsewhere. So it is with pools that
    are emptied for a drill.
    """

    ill: dict[int, int]
    withdrawn: dict[int, tuple[Reason, int]]
    due_ms: int | None
    maintenance_soon: frozenset[int] = frozenset()
    leaving: Mapping[int, tuple[Reason, int]] = MappingProxyType({})

    def emptied(self, pool: int) -> tuple[Reason, int] | None:
        """Why load must leave the pool, and until when; None if none must."""
        return self.withdrawn.get(pool) or self.leaving.get(pool)


def claims_in_force(
    compiled: CompiledPolicy, statements: tuple[Row, ...], orders: Orders, now_ms: int
) -> Claims:
    """What is claimed and drained now."""
    ill: dict[int, int] = {}
    withdrawn: dict[int, tuple[Reason, int]] = {}
    times_ms: list[int] = []
    soon: set[int] = set()
    lead_ms = compiled.policy.thresholds.lead_ms
    for statement, claim in _claims(statements):
        starts_ms = claim.starts_ms or 0
        times_ms += [starts_ms - lead_ms, starts_ms, claim.expires_ms]
        is_soon = starts_ms - lead_ms <= now_ms < min(starts_ms, claim.expires_ms)
        if claim.state == "maintenance" and is_soon:
            soon.update(_pools(compiled, statement, claim))
        if not starts_ms <= now_ms < claim.expires_ms:
            continue
        if claim.state == "maintenance":
            for index in _pools(compiled, statement, claim):
                withdrawn[index] = (Reason.MAINTENANCE, claim.expires_ms)
        elif claim.state in ILL_STATES and statement.kind == "status":
            for index in _pools(compiled, statement, claim):
                ill[index] = max(ill.get(index, 0), claim.expires_ms)
    for index, drain in orders.drained.items():
        withdrawn[index] = (Reason.DRAINED, drain.expires_ms or 0)
    due_ms = min((at for at in times_ms if at > now_ms), default=None)
    leaving = {
        index: (LEAVES_BECAUSE[order.verb], order.expires_ms or 0)
        for index, order in orders.evacuated.items()
        if index not in withdrawn
    }
    return Claims(ill, withdrawn, due_ms, maintenance_soon=frozenset(soon), leaving=leaving)


def declined_pools(compiled: CompiledPolicy, statements: tuple[Row, ...], now_ms: int) -> frozenset[int]:
    """Pools on which the holder of the first refusal gives no burst now."""
    holder = compiled.policy.first_refusal
    pools: set[int] = set()
    for statement, claim in _claims(statements):
        if statement.kind != "declined" or statement.provider != holder or claim.state != "declined":
            continue
        if (claim.starts_ms or 0) <= now_ms < claim.expires_ms:
            pools.update(_pools(compiled, statement, claim))
    return frozenset(pools)


def _claims(rows: tuple[Row, ...]) -> list[tuple[Statement, Claim]]:
    return [
        (row.event, claim) for row in rows if isinstance(row.event, Statement) for claim in row.event.claims
    ]


def _pools(compiled: CompiledPolicy, statement: Statement, claim: Claim) -> list[int]:
    """The pools that a claim names, or else all of its statement's region or provider."""
    if claim.pools:
        return [compiled.pool_index[pool] for pool in claim.pools if pool in compiled.pool_index]
    scope = statement.provider if statement.region == "*" else f"{statement.provider}/{statement.region}"
    return [index for index, pool in enumerate(compiled.pools) if in_scope(pool, scope)]
