"""Reading route tables: shares by pool name, and what moved between two tables."""

from __future__ import annotations

from collections.abc import Iterator

from tieline.table import MILLION, Route, RouteTable, Split


def shares_of(table: RouteTable, split: Split) -> dict[str, int]:
    """Parts per million by pool name, without pools that get nothing."""
    pairs = zip(split.pools, split.weights, strict=True)
    return {table.pools[index].pool: parts for index, parts in pairs if parts}


def table_shares(table: RouteTable) -> dict[str, dict[str, int]]:
    """By route name: parts per million by pool name."""
    return {route.name: shares_of(table, route.split) for route in table.routes}


def loads(table: RouteTable, demand: dict[str, float]) -> dict[str, float]:
    """Units/s by pool that the table sends there under this demand by route; unused pools are missing."""
    sums: dict[str, float] = {}
    for route in table.routes:
        units = demand.get(route.name, 0.0)
        for pool, parts in shares_of(table, route.split).items():
            sums[pool] = sums.get(pool, 0.0) + units * parts / MILLION
    return sums


def named_pools(table: RouteTable) -> Iterator[tuple[Route, str, str]]:
    """(route, place, pool) of every pool that a split, an ``on_loss`` or a last resort names."""
    for route in table.routes:
        for pool in shares_of(table, route.split):
            yield route, "split", pool
        for provider, split in sorted(route.on_loss.items()):
            for pool in shares_of(table, split):
                yield route, f"on_loss of {provider}", pool
        for index in route.last_resort:
            yield route, "last resort", table.pools[index].pool


def movement(before: RouteTable, after: RouteTable) -> dict[str, dict[str, int]]:
    """By route and pool: the parts that the pool gained, negative for lost ones; ``shed`` is what is shed."""
    changes: dict[str, dict[str, int]] = {}
    old = {route.name: route for route in before.routes}
    for route in after.routes:
        was = old.get(route.name)
        now_shares = shares_of(after, route.split)
        old_shares = shares_of(before, was.split) if was else {}
        delta = {
            pool: now_shares.get(pool, 0) - old_shares.get(pool, 0) for pool in (*old_shares, *now_shares)
        }
        delta["shed"] = route.split.shed - (was.split.shed if was else 0)
        if any(delta.values()):
            changes[route.name] = {pool: parts for pool, parts in delta.items() if parts}
    return changes


def largest_move(changes: dict[str, dict[str, int]]) -> int:
    """The most parts that any route moved."""
    return max((sum(parts for parts in delta.values() if parts > 0) for delta in changes.values()), default=0)
