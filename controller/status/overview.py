"""What `tieline status` shows, as values: a row for each provider, pool and route. Pure.

Made from whatever could be read: the newest publication (its memory has states and reasons), the live tables
(capacity and load), or only the projection in Redis (weights alone).
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from controller.core.evidence.reported import pool_loads
from controller.core.inspect.measure import pool_shares
from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.model.words import in_words
from controller.core.policy.policy import Policy
from streams.store import Contents
from tieline.events import Capacity, Command, Verb, in_scope
from tieline.table import MILLION, ClientSettings, Generation, PoolInfo, Route, RouteTable, Slice, Split

ORDERED: dict[Verb, str] = {
    "drain": "drained",
    "evacuate": "evacuated",
    "drill": "drilled",
    "freeze": "frozen",
    "verdict": "called",
}


class PoolRow(Struct, frozen=True):
    """One pool. ``weight`` is its mean share over all routes. ``reason`` is the code of why it is in its
    state, ``why`` says that in words, after the orders that concern it. ``capacity_units_per_s`` is what is
    stated, ``usable_units_per_s`` what the planner lets it carry now. None: not known from what could be
    read, or too old."""

    pool: str
    weight: float
    state: str = "?"
    reason: str = ""
    why: str = ""
    since_ms: int | None = None
    capacity_units_per_s: float | None = None
    load_units_per_s: float | None = None
    usable_units_per_s: float | None = None


class ProviderRow(Struct, frozen=True):
    """The sum of a provider's pools; ``states`` counts them by state."""

    provider: str
    weight: float
    states: dict[str, int]
    capacity_units_per_s: float | None
    load_units_per_s: float | None


class RouteRow(Struct, frozen=True):
    """One (workload, origin) and its criticality: the share of each pool that has one, the share that is
    shed, and why it is: by code and in words."""

    route: str
    shares: dict[str, float]
    shed: float
    reason: str = ""
    why: str = ""
    criticality: str = ""


class Overview(Struct, frozen=True):
    """All rows, sorted by name."""

    providers: tuple[ProviderRow, ...]
    pools: tuple[PoolRow, ...]
    routes: tuple[RouteRow, ...]


def overview(
    table: RouteTable,
    contents: Contents,
    now_ms: int,
    *,
    memory: Memory | None = None,
    policy: Policy | None = None,
    commands: tuple[Command, ...] = (),
    usable: Mapping[str, float] = {},
) -> Overview:
    """Everything that can be said from these parts."""
    remembered = memory.pools if memory else {}
    limits = capacities(contents, policy, now_ms)
    loads = pool_loads(contents.demand, now_ms)
    weights = pool_shares(table)
    pools = tuple(
        _pool_row(
            PoolRow(
                name,
                weights.get(name, 0.0),
                capacity_units_per_s=limits.get(name),
                load_units_per_s=loads.get(name),
                usable_units_per_s=usable.get(name),
            ),
            remembered.get(name),
            commands,
        )
        for name in sorted(info.pool for info in table.pools)
    )
    providers = sorted({row.pool.split("/", 1)[0] for row in pools})
    return Overview(
        tuple(_provider_row(provider, pools) for provider in providers),
        pools,
        tuple(_route_row(route, table) for route in sorted(table.routes, key=lambda route: route.name)),
    )


def capacities(contents: Contents, policy: Policy | None, now_ms: int) -> dict[str, float]:
    """Pool -> the limit that was stated last and has not expired, else the policy's, in units/s."""
    limits = {pool.id: pool.limit_units_per_s for pool in policy.pools} if policy else {}
    for row in sorted(contents.capacities, key=lambda row: row.append_ms):
        if isinstance(row.event, Capacity) and row.event.expires_ms > now_ms:
            limits.update({stated.pool: stated.limit_units_per_s for stated in row.event.pools})
    return limits


def from_slices(generation: Generation, made_ms: int, parts: Mapping[str, Slice]) -> RouteTable:
    """The table that a projection's slices were cut from, without the pools that no route names."""
    infos = {info.pool: info for part in parts.values() for info in part.pools}
    pools: tuple[PoolInfo, ...] = tuple(infos[name] for name in sorted(infos))
    place = {info.pool: index for index, info in enumerate(pools)}
    settings = next((part.settings for part in parts.values()), ClientSettings())
    routes = []
    for part in parts.values():
        route, split = part.route, part.route.split
        indices = tuple(place[part.pools[index].pool] for index in split.pools)
        whole = Split(indices, split.weights, split.shed)
        routes.append(
            Route(
                route.workload,
                route.origin,
                route.criticality,
                split=whole,
                shed_reason=route.shed_reason,
            )
        )
    return RouteTable(generation, made_ms, pools, routes=tuple(routes), settings=settings)


def _pool_row(row: PoolRow, memory: PoolMemory | None, commands: tuple[Command, ...]) -> PoolRow:
    """The row with its state, and why it is in it."""
    why = ""
    if memory is not None:
        row = replace(
            row, state=memory.state.value, reason=memory.reason.value, since_ms=memory.since_ms or None
        )
        why = in_words(memory.reason)
    concerning = [order for order in commands if order.scope != "*" and in_scope(row.pool, order.scope)]
    narrowest = {order.verb: order for order in sorted(concerning, key=lambda order: len(order.scope))}
    texts = [
        f"{words} {order.state}{' ' if order.state else ''}by {order.actor}: {order.reason}"
        for verb, words in ORDERED.items()
        if (order := narrowest.get(verb))
    ]
    if texts:
        why = "; ".join(texts) + (f" ({why})" if why else "")
    return replace(row, why=why)


def _provider_row(provider: str, pools: tuple[PoolRow, ...]) -> ProviderRow:
    own = [row for row in pools if row.pool.startswith(f"{provider}/")]
    states = {state.value: sum(row.state == state for row in own) for state in State}
    limits = [row.capacity_units_per_s for row in own if row.capacity_units_per_s is not None]
    loads = [row.load_units_per_s for row in own if row.load_units_per_s is not None]
    return ProviderRow(
        provider,
        sum(row.weight for row in own),
        {state: count for state, count in states.items() if count},
        capacity_units_per_s=sum(limits) if limits else None,
        load_units_per_s=sum(loads) if loads else None,
    )


def _route_row(route: Route, table: RouteTable) -> RouteRow:
    shares = {
        table.pools[index].pool: weight / MILLION
        for index, weight in zip(route.split.pools, route.split.weights, strict=True)
        if weight
    }
    return RouteRow(
        route.name,
        shares,
        route.split.shed / MILLION,
        reason=route.shed_reason,
        why=in_words(route.shed_reason),
        criticality=route.criticality,
    )
