"""What binds where load finds no place: the contract, guard, limit or order that keeps it from each pool."""

from collections.abc import Collection

from msgspec import Struct

from controller.core.assessment import Assessment
from controller.core.inspect.why_no_share import share_context, why_no_share
from controller.core.model.reasons import Reason
from controller.core.moves.draft import Draft
from controller.core.snapshot import Snapshot

#: Reasons that only say in which order pools are used. They keep no load from a place.
ORDER_OF_USE = frozenset((Reason.LATER_IN_MERIT, Reason.PLANNED_ELSEWHERE, Reason.MOVE_DUE))
#: What a decision says when a guard or a provider's mode has kept load where it was.
GUARDS = frozenset(
    (
        Reason.GUARD_EMPTY_TABLE,
        Reason.GUARD_FRESH_CAPACITY,
        Reason.GUARD_PROVIDERS_LOST,
        Reason.GUARD_PROVIDER_SHARE,
        Reason.GUARD_LAWFUL,
        Reason.MODE_OBSERVE,
        Reason.MODE_RECOMMEND,
    )
)


class Binding(Struct, frozen=True):
    """One rule by its reason's code, the pools that it keeps load from, and the routes to which that matters.

    Without pools it is a guard, and ``routes`` are the subjects of which the decision speaks.
    """

    reason: str
    pools: tuple[str, ...]
    routes: tuple[str, ...]


def binding_rules(
    snapshot: Snapshot,
    assessment: Assessment,
    draft: Draft,
    *,
    routes: Collection[int],
    taken: Collection[str],
    new_verdicts: Collection[tuple[str, str]],
    at_ms: int,
) -> tuple[Binding, ...]:
    """What keeps the load of these routes, by index, from the pools of which the draft gives them nothing.

    ``taken``: pools that the order itself takes out of use, which are not named. ``new_verdicts``:
    (subject, code) of what the decision says; guards and modes among it bind as well.
    """
    pools_by: dict[str, set[str]] = {}
    routes_by: dict[str, set[str]] = {}
    for subject, code in new_verdicts:
        if code in GUARDS:
            routes_by.setdefault(code, set()).add(subject)
    if routes:
        context = share_context(snapshot, assessment, draft, at_ms)
        for route in routes:
            for pool, name in enumerate(assessment.compiled.pools):
                if name in taken:
                    continue
                reason = Reason.NO_ROOM
                if pool not in draft.weights[route]:
                    reason = why_no_share(context, route, pool).verdict.reason
                if reason not in ORDER_OF_USE:
                    pools_by.setdefault(reason.value, set()).add(name)
                    routes_by.setdefault(reason.value, set()).add(assessment.compiled.routes[route].name)
    return tuple(
        Binding(code, tuple(sorted(pools_by.get(code, ()))), tuple(sorted(names)))
        for code, names in sorted(routes_by.items())
    )
