"""The commands of scenario files that are operators' orders; the controllers' own log takes them.

drain SCOPE for 1h / undrain SCOPE
evacuate SCOPE for 1h                   load leaves as fast as there is room; undrain ends it too
drill SCOPE for 10m                     an evacuation for practice; undrain ends it too
drills                                  prints every drill that is remembered, and what came of it
pin WORKLOAD POOL for 1h / unpin WORKLOAD POOL
failover WORKLOAD POOL for 1h           unpin ends it too
order-mode PROVIDER recommend for 1h    an operator's mode; `policy` in place of recommend ends it
freeze SCOPE for 1h / unfreeze SCOPE    no moves by choice; * is the whole table
override GUARD of SCOPE for 1h / restore GUARD of SCOPE
verdict SCOPE down for 1h / retract SCOPE   an operator says how it is
approve SCOPE for 1h / revoke SCOPE     a provider in mode recommend may be acted on
failback SCOPE for 1h                   pools whose failback is manual may return
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from controller.commands.authority import OrderRules
from controller.commands.log import CommandLog
from tests.scenarios.world import World
from tieline.events import Command, OrderedMode, Verb

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


def _ms(text: str) -> int:
    return int(text[:-1]) * UNITS_MS[text[-1]]


def _order(world: World, command: Command) -> list[str]:
    """What the controllers' own log makes of it."""
    log = CommandLog(orders=tuple(world.commands))
    log = log.apply(0, world.now_ms, command, rules=OrderRules(unsigned_allowed=True))
    world.commands = list(log.orders)
    return [f"refused: {log.refused}"] if log.refused else []


def _command(world: World, verb: Verb, scope: str, period: str, guard: str = "", state: str = "") -> Command:
    until_ms = world.now_ms + _ms(period) if period else None
    command = Command(f"{verb}-{world.now_ms}-{scope}", verb, scope, "ann", "test", world.now_ms, until_ms)
    return replace(command, guard=guard, state=state)


def _orders(verb: Verb) -> Callable[..., list[str]]:
    def command(world: World, scope: str, _for: str, period: str) -> list[str]:
        return _order(world, _command(world, verb, scope, period))

    return command


def _takes_back(verb: Verb) -> Callable[..., list[str]]:
    def command(world: World, scope: str) -> list[str]:
        return _order(world, _command(world, verb, scope, ""))

    return command


def _override(world: World, guard: str, _of: str, scope: str, _for: str, period: str) -> list[str]:
    return _order(world, _command(world, "override", scope, period, guard))


def _restore(world: World, guard: str, _of: str, scope: str) -> list[str]:
    return _order(world, _command(world, "restore", scope, "", guard))


def _verdict(world: World, scope: str, state: str, _for: str, period: str) -> list[str]:
    return _order(world, _command(world, "verdict", scope, period, state=state))


def _of_workload(verb: Verb) -> Callable[..., list[str]]:
    def command(world: World, workload: str, pool: str, _for: str = "", period: str = "") -> list[str]:
        return _order(world, replace(_command(world, verb, pool, period), workload=workload))

    return command


def _order_mode(
    world: World, provider: str, mode: OrderedMode, _for: str = "", period: str = ""
) -> list[str]:
    return _order(world, replace(_command(world, "mode", provider, period), mode=mode))


def _drills(world: World) -> list[str]:
    lines = []
    for drill in world.memory.drills if world.memory else ():
        outcome = f" {drill.outcome.value}" if drill.outcome else ""
        cause = f": {drill.cause.value} {drill.about} {drill.value:.3g}".rstrip() if drill.cause else ""
        times = [f"away in {drill.recovery_ms // 1_000}s"] if drill.recovered_ms else []
        times += [f"back in {drill.return_ms // 1_000}s"] if drill.returned_ms else []
        lines.append("; ".join([f"{drill.scope} {drill.phase.value}{outcome}{cause}", *times]))
    return lines or ["none"]


COMMANDS: dict[str, Callable[..., Iterable[str]]] = {
    "evacuate": _orders("evacuate"),
    "drill": _orders("drill"),
    "drills": _drills,
    "pin": _of_workload("pin"),
    "unpin": _of_workload("unpin"),
    "failover": _of_workload("failover"),
    "order-mode": _order_mode,
    "drain": _orders("drain"),
    "freeze": _orders("freeze"),
    "approve": _orders("approve"),
    "failback": _orders("failback"),
    "override": _override,
    "verdict": _verdict,
    "undrain": _takes_back("undrain"),
    "unfreeze": _takes_back("unfreeze"),
    "revoke": _takes_back("revoke"),
    "retract": _takes_back("retract"),
    "restore": _restore,
}
