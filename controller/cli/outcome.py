"""What an order moved, in words: the difference between the tables before it and with it.

In units/s where clients report their load, else as the mean share of the scope's pools over all routes.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from controller.core.policy.policy import decode_policy
from controller.process.redis_reader import RedisUnreadError
from controller.process.settings import Settings
from controller.routes.record import RoutesRecord
from controller.status.redis_side import RedisSide
from controller.status.words import NAMED_MAX
from tieline.events import in_scope
from tieline.table import MILLION, Generation, Route, RouteTable

REDIS_WITHIN_S = 2.0
POLL_S = 0.01
UNITS_MIN = 0.5  # less is rounding, not a move


async def wait_for_clients(settings: Settings, generation: Generation) -> str:
    """Waits until Redis has this generation or a later one. Returns ``""``, or why it has not in time.

    Without a Redis in the settings nothing is waited for.
    """
    if not settings.redis:
        return ""
    try:
        async with asyncio.timeout(REDIS_WITHIN_S), RedisSide(settings) as redis:
            while True:
                current = await redis.generation()
                if current == generation or (current is not None and current.newer_than(generation)):
                    return ""
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return "published in Kafka, but Redis does not have it yet"
    except RedisUnreadError as error:
        return f"published in Kafka, but Redis can't be read ({error.why})"


def outcome(scope: str, before: RoutesRecord, after: RoutesRecord, offered: Mapping[str, float]) -> str:
    """Such as ``; moves 1,218 tokens/s: 1,100 to gcp, 118 shed (batch)``; empty for the whole table."""
    if scope == "*" or before.table is None or after.table is None:
        return ""
    if not any(offered.values()):
        was, now = (f"{share(table, scope):.1%}" for table in (before.table, after.table))
        return f"; mean share of {scope} in all routes {was} -> {now}"
    unit = decode_policy(after.policy).clients.load_unit
    places = moved(before.table, after.table, scope, offered)
    if not places:
        return "; it moves nothing now"
    largest = sorted(places, key=lambda place: (-places[place], place))
    texts = [f"{places[place]:,.0f} {place}" for place in largest[:NAMED_MAX]]
    if rest := sum(places[place] for place in largest[NAMED_MAX:]):
        texts.append(f"{rest:,.0f} elsewhere")
    return f"; moves {sum(places.values()):,.0f} {unit}/s: {', '.join(texts)}"


def moved(
    before: RouteTable, after: RouteTable, scope: str, offered: Mapping[str, float]
) -> dict[str, float]:
    """Where load goes that these tables move, in units/s: ``to PROVIDER`` or ``shed (WORKLOAD)``.

    Only routes count in which the share of the scope's pools changed.
    """
    places: dict[str, float] = defaultdict(float)
    old_routes = {route.name: route for route in before.routes}
    for route in after.routes:
        old = old_routes.get(route.name)
        if old is None or not (units := offered.get(route.name, 0.0)):
            continue
        was, now = _parts(before, old), _parts(after, route)
        if _within(was, scope) == _within(now, scope):
            continue
        for pool, parts in now.items():
            if (gained := parts - was.get(pool, 0)) > 0:
                places[f"to {pool.split('/', 1)[0]}"] += gained * units / MILLION
        if (shed := route.split.shed - old.split.shed) > 0:
            places[f"shed ({route.workload})"] += shed * units / MILLION
    return {place: units for place, units in places.items() if units >= UNITS_MIN}


def share(table: RouteTable, scope: str) -> float:
    """The mean share, over all routes, of the pools within ``scope``."""
    total = sum(_within(_parts(table, route), scope) for route in table.routes)
    return total / len(table.routes) / MILLION


def _parts(table: RouteTable, route: Route) -> dict[str, int]:
    weights = zip(route.split.pools, route.split.weights, strict=True)
    return {table.pools[index].pool: weight for index, weight in weights}


def _within(parts: Mapping[str, int], scope: str) -> int:
    return sum(weight for pool, weight in parts.items() if in_scope(pool, scope))
