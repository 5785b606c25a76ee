"""The last resort of each route: where a client may try a request for which it has nothing left.

The policy names the pools. Those that an operator or a source has withdrawn, or that let nobody in because of
a fault of configuration, are left out. A pool that is down stays in: to try it is better than a refusal that
is certain.
"""

from collections.abc import Mapping

from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import OUT
from controller.core.moves.eligible import Use
from controller.core.moves.held_table import HeldTable
from controller.core.policy.compiled import CompiledPolicy


def last_resorts(compiled: CompiledPolicy, use: Use) -> list[tuple[int, ...]]:
    """By route the pools that may be tried now, in the policy's order."""
    grade, tried = use.limits.grade, use.lost.keys() - use.refusing
    return [
        route.last_resort and tuple(pool for pool in route.last_resort if grade[pool] != OUT or pool in tried)
        for route in compiled.routes
    ]


def last_resort_changes(before: HeldTable, now: list[tuple[int, ...]]) -> tuple[set[int], set[int]]:
    """The pools that leave the last resort of some route, and those that join one."""
    left: set[int] = set()
    joined: set[int] = set()
    for route, pools in zip(before.routes, now, strict=True):
        was = route.last_resort if route is not None and before.same_pools else ()
        if was != pools:
            left.update(set(was) - set(pools))
            joined.update(set(pools) - set(was))
    return left, joined


def last_resort_verdicts(
    compiled: CompiledPolicy,
    use: Use,
    before: HeldTable,
    *,
    withdrawn: Mapping[int, tuple[Reason, int]],
    memory: Memory,
    now_ms: int,
) -> list[Verdict]:
    """Which pools leave the last resort of some route and why, and which join one."""
    left, joined = last_resort_changes(before, last_resorts(compiled, use))
    names, verdicts = compiled.pools, []
    for pool in sorted(left):
        claim = withdrawn.get(pool)
        reason = claim[0] if claim is not None else memory.pools[names[pool]].reason
        verdicts.append(Verdict(names[pool], Reason.LAST_RESORT_LEFT, now_ms, because=reason.value))
    return verdicts + [Verdict(names[pool], Reason.LAST_RESORT_JOINED, now_ms) for pool in sorted(joined)]
