"""More commands of scenario files, about limits and contracts.

planned SCOPE 300 in 5m                 the fleet source says: so much, and no more, from then on
requests SCOPE 20 / requests SCOPE none     it states this limit of requests/s
concurrency SCOPE 10 / concurrency SCOPE none   and this one of requests in flight
group NAME 500 [requests=20]            it states a quota group's limits of units/s and of requests/s
size SCOPE 20                           a request there is so many units (10 until told)
takes SCOPE 2s                          and takes so long
left SCOPE 5% [to client-0]             its rate-limit headers say that so much is left [to this client alone]
declined PROVIDER for 10m               it gives no burst for so long
"""

from collections.abc import Callable, Iterable

from tests.scenarios.world import World
from tieline.events import Claim, GroupCapacity

Command = Callable[..., Iterable[str]]
UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


def _ms(text: str) -> int:
    return int(text[:-1]) * UNITS_MS[text[-1]]


def _planned(world: World, scope: str, limit: str, _in: str, wait: str) -> list[str]:
    for pool in world.matching(scope):
        world.pools[pool].planned = (float(limit), world.now_ms + _ms(wait))
    return []


def _each(field: str) -> Command:
    def command(world: World, scope: str, amount: str) -> list[str]:
        for pool in world.matching(scope):
            setattr(world.pools[pool], field, None if amount == "none" else float(amount))
        return []

    return command


def _takes(world: World, scope: str, period: str) -> list[str]:
    for pool in world.matching(scope):
        world.pools[pool].takes_ms = _ms(period)
    return []


def _left(world: World, scope: str, share: str, _to: str = "", client: str = "") -> list[str]:
    for pool in world.matching(scope):
        left = None if share == "none" else float(share.removesuffix("%")) / 100
        world.pools[pool].rate_limit_left, world.pools[pool].left_to = left, client
    return []


def _group(world: World, name: str, limit: str, requests: str = "") -> list[str]:
    rate = float(requests.removeprefix("requests=")) if requests else None
    world.reporting.groups[name] = GroupCapacity(name, float(limit), requests_per_s=rate)
    return []


def _declined(world: World, provider: str, _for: str, period: str) -> list[str]:
    world.claims[provider] = ("declined", Claim("declined", world.now_ms + _ms(period)))
    return []


COMMANDS: dict[str, Command] = {
    "planned": _planned,
    "requests": _each("requests_per_s"),
    "concurrency": _each("concurrency"),
    "group": _group,
    "size": _each("size"),
    "takes": _takes,
    "left": _left,
    "declined": _declined,
}
