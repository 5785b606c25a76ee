"""The last resort of each route: where clients may try a request for which they have nothing left.

The policy names the pools; those that an operator or a source has withdrawn, or that can't serve as they are
configured, are left out. A pool that is down stays: to try it beats a sure refusal.
"""

from collections.abc import Mapping

from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import OUT
from controller.core.moves.eligible import Use
from controller.core.moves.held_table import HeldTable
from controller.core.policy.compiled import CompiledPolicy


def last_resorts(compiled: CompiledPolicy, use: Use) -> list[tuple[int, ...]]:
    """Per route the pools in the policy's order."""
    grade, lost = use.limits.grade, use.lost
    return [
        route.last_resort and tuple(pool for pool in route.last_resort if grade[pool] != OUT or pool in lost)
        for route in compiled.routes
    ]


def resorts_changed(before: HeldTable, now: list[tuple[int, ...]]) -> tuple[set[int], set[int]]:
    """The pools that the table in force names somewhere and ``now`` doesn't, and the other way round."""
    gone: set[int] = set()
    new: set[int] = set()
    for route, pools in zip(before.routes, now, strict=True):
        was = route.last_resort if route is not None and before.same_pools else ()
        if was != pools:
            gone.update(set(was) - set(pools))
            new.update(set(pools) - set(was))
    return gone, new


def resorts_said(
    compiled: CompiledPolicy,
    use: Use,
    before: HeldTable,
    *,
    withdrawn: Mapping[int, tuple[Reason, int]],
    memory: Memory,
    now_ms: int,
) -> list[Verdict]:
    """Which pools leave the last resort of some route, and why, and which come to it."""
    gone, new = resorts_changed(before, last_resorts(compiled, use))
    names, said = compiled.pools, []
    for pool in sorted(gone):
        claim = withdrawn.get(pool)
        why = claim[0] if claim is not None else memory.pools[names[pool]].reason
        said.append(Verdict(names[pool], Reason.LAST_RESORT_LEFT, now_ms, because=why.value))
    return said + [Verdict(names[pool], Reason.LAST_RESORT_JOINED, now_ms) for pool in sorted(new)]
