"""The last resort of each route: where clients may try a request for which they have nothing left.

The policy names the pools; those that an operator or a source has withdrawn, or that can't serve as they are
configured, are left out. A pool that is down stays: to try it beats a sure refusal.
"""

from controller.core.assess import Assessment
from controller.core.compiled import Compiled
from controller.core.draft import OUT
from controller.core.eligible import Use
from controller.core.held import Held
from controller.core.reasons import Reason, Verdict


def last_resorts(rules: Compiled, use: Use) -> list[tuple[int, ...]]:
    """Per route the pools in the policy's order."""
    grade, lost = use.limits.grade, use.lost
    return [
        route.last_resort and tuple(pool for pool in route.last_resort if grade[pool] != OUT or pool in lost)
        for route in rules.routes
    ]


def resorts_changed(before: Held, now: list[tuple[int, ...]]) -> tuple[set[int], set[int]]:
    """The pools that the table in force names somewhere and ``now`` doesn't, and the other way round."""
    gone: set[int] = set()
    new: set[int] = set()
    for route, pools in zip(before.routes, now, strict=True):
        was = route.last_resort if route is not None and before.same_pools else ()
        if was != pools:
            gone.update(set(was) - set(pools))
            new.update(set(pools) - set(was))
    return gone, new


def resorts_said(known: Assessment, before: Held, now_ms: int) -> list[Verdict]:
    """Which pools leave the last resort of some route, and why, and which come to it."""
    gone, new = resorts_changed(before, last_resorts(known.rules, known.use))
    names, said = known.rules.pools, []
    for pool in sorted(gone):
        withdrawn = known.claims.withdrawn.get(pool)
        why = withdrawn[0] if withdrawn is not None else known.memory.pools[names[pool]].reason
        said.append(Verdict(names[pool], Reason.LAST_RESORT_LEFT, now_ms, because=why.value))
    return said + [Verdict(names[pool], Reason.LAST_RESORT_JOINED, now_ms) for pool in sorted(new)]
