"""What sources claim until an expiry, and what operators have ordered: by pool index."""

from typing import NamedTuple

from controller.core.model.reasons import Reason
from controller.core.orders.in_force import Orders
from controller.core.policy.compiled import CompiledPolicy
from streams.rows import Row
from tieline.events import Claim, Statement, in_scope

ILL = ("degraded", "down")


class Claims(NamedTuple):
    """``ill`` pools have a status page against them; ``withdrawn`` ones are drained or under maintenance.

    Both map a pool's index to when that ends. ``coming``: pools whose maintenance begins so soon that room is
    made for it. ``due_ms`` is when the next claim begins or ends, or None.
    """

    ill: dict[int, int]
    withdrawn: dict[int, tuple[Reason, int]]
    due_ms: int | None
    coming: frozenset[int] = frozenset()


def claims_in_force(
    compiled: CompiledPolicy, statements: tuple[Row, ...], given: Orders, now_ms: int
) -> Claims:
    """What holds now."""
    ill: dict[int, int] = {}
    withdrawn: dict[int, tuple[Reason, int]] = {}
    due: list[int] = []
    coming: set[int] = set()
    lead = compiled.policy.thresholds.lead_ms
    for row in statements:
        event = row.event
        if not isinstance(event, Statement):
            continue
        for claim in event.claims:
            starts_ms = claim.starts_ms or 0
            due += [at for at in (starts_ms - lead, starts_ms, claim.expires_ms) if at > now_ms]
            if claim.state == "maintenance" and starts_ms - lead <= now_ms < min(starts_ms, claim.expires_ms):
                coming.update(_pools(compiled, event, claim))
            if not starts_ms <= now_ms < claim.expires_ms:
                continue
            if claim.state == "maintenance":
                for index in _pools(compiled, event, claim):
                    withdrawn[index] = (Reason.MAINTENANCE, claim.expires_ms)
            elif claim.state in ILL and event.kind == "status":
                for index in _pools(compiled, event, claim):
                    ill[index] = max(ill.get(index, 0), claim.expires_ms)
    for index, drain in given.drained.items():
        withdrawn[index] = (Reason.DRAINED, drain.expires_ms or 0)
    return Claims(ill, withdrawn, min(due, default=None), frozenset(coming))


def _pools(compiled: CompiledPolicy, event: Statement, claim: Claim) -> list[int]:
    if claim.pools:
        return [compiled.pool_index[pool] for pool in claim.pools if pool in compiled.pool_index]
    scope = event.provider if event.region == "*" else f"{event.provider}/{event.region}"
    return [index for index, pool in enumerate(compiled.pools) if in_scope(pool, scope)]


def declined_pools(compiled: CompiledPolicy, statements: tuple[Row, ...], now_ms: int) -> frozenset[int]:
    """Pools of the holder of the first refusal that it has declined to give burst on."""
    holder = compiled.policy.first_refusal
    found: set[int] = set()
    for row in statements:
        event = row.event
        if not isinstance(event, Statement) or event.kind != "declined" or event.provider != holder:
            continue
        for claim in event.claims:
            if claim.state != "declined" or not (claim.starts_ms or 0) <= now_ms < claim.expires_ms:
                continue
            found.update(_pools(compiled, event, claim))
    return frozenset(found)
