"""The table of the leader before, as the next leader publishes it again: its weights, and the policy's pools.

What a client must know of a pool (URL, name of the credential, models, adapter) always comes from the policy
in force and never from the table that is continued. Somebody who can write to the log could otherwise have
requests, and the keys in them, sent to a place of their own.
"""

from msgspec.structs import replace

from controller.core.model.reasons import Reason
from controller.core.moves.draft import whole
from controller.core.policy.compiled import CompiledPolicy
from tieline.table import MILLION, Route, RouteTable, Split


def under_policy(table: RouteTable, compiled: CompiledPolicy) -> RouteTable:
    """The same shares on the same pools, which are described by the policy, with the policy's settings.

    The share of a pool that the policy does not have goes to the other pools of its route in proportion to
    their weights; if there are none, the route is shed until the next decision.
    """
    new_index = [compiled.pool_index.get(info.pool) for info in table.pools]
    routes = table.routes
    if table.pools != compiled.infos:
        routes = tuple(_renumbered(route, new_index) for route in routes)
    return replace(table, pools=compiled.infos, routes=routes, settings=compiled.policy.clients)


def _renumbered(route: Route, new_index: list[int | None]) -> Route:
    split = _on_known_pools(route.split, new_index)
    gone = split.shed == MILLION and not route.shed_reason
    resort = (new_index[pool] for pool in route.last_resort)
    return replace(
        route,
        split=split,
        shed_reason=str(Reason.NOT_LAWFUL) if gone else route.shed_reason,
        on_loss={provider: _on_known_pools(loss, new_index) for provider, loss in route.on_loss.items()},
        last_resort=tuple(pool for pool in resort if pool is not None),
    )


def _on_known_pools(split: Split, new_index: list[int | None]) -> Split:
    weights = {
        index: parts
        for pool, parts in zip(split.pools, split.weights, strict=True)
        if (index := new_index[pool]) is not None
    }
    pools = sorted(weights)
    before = [float(weights[pool]) for pool in pools]
    if not sum(before):
        return Split((), (), MILLION)
    return Split(tuple(pools), tuple(whole(before, MILLION - split.shed)), split.shed)
