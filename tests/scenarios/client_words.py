"""More commands of scenario files, about clients that come, go, fall silent or lie, and forged reports.

mute NAME / unmute NAME                 this client goes on serving, but its reports get lost
leave NAME / crash NAME                 it closes with or without its goodbye, and others take its load over
claims NAME ROUTE 1e15 / claims NAME none   a made-up client says so each second / says nothing more
forged SOURCE SCOPE errors=100% every 15m   somebody else sends one report under this name
made-up 20 SCOPE errors=100%            so many made-up clients say each second that they meet this there
"""

from collections.abc import Callable, Iterable

from tests.scenarios.world import World
from tieline.events import Flow, Outcomes, PoolObservation

Command = Callable[..., Iterable[str]]


def _muted(value: bool) -> Command:
    def command(world: World, name: str) -> list[str]:
        world.reporting.of(name).muted = value
        return []

    return command


def _leave(world: World, name: str) -> list[str]:
    world.gone.add(name)
    world.reporting.says_goodbye(name, world.now_ms)
    return []


def _crash(world: World, name: str) -> list[str]:
    world.gone.add(name)
    return []


def _claims(world: World, name: str, route: str, units: str = "") -> list[str]:
    if route == "none":
        world.reporting.made_up.pop(name, None)
    else:
        workload, origin = route.split("/")
        flow = Flow(workload, origin, requests=1, offered_units=float(units))
        world.reporting.made_up[name] = ((flow,), ())
    return []


def _made_up(world: World, count: str, scope: str, errors: str) -> list[str]:
    bad = round(100 * float(errors.removeprefix("errors=").removesuffix("%")) / 100)
    outcomes = Outcomes(ok=100 - bad, server_error=bad)
    met = tuple(PoolObservation(pool, outcomes) for pool in world.matching(scope))
    for number in range(int(count)):
        world.reporting.made_up[f"made-up-{number}"] = ((), met)
    return []


def _forged(world: World, source: str, scope: str, errors: str, _every: str, period: str) -> list[str]:
    share = float(errors.removeprefix("errors=").removesuffix("%")) / 100
    interval_ms = int(period.removesuffix("m")) * 60_000
    world.reporting.forge(source, world.matching(scope), share, interval_ms, world.now_ms)
    return []


COMMANDS: dict[str, Command] = {
    "mute": _muted(True),
    "unmute": _muted(False),
    "leave": _leave,
    "crash": _crash,
    "claims": _claims,
    "made-up": _made_up,
    "forged": _forged,
}
