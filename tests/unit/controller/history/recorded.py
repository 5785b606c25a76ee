"""Tables, orders and observations for the tests of the history, with all else filled in."""

from controller.core.model.reasons import Verdict
from controller.history.conditions import Observation
from tieline.events import Command, Verb
from tieline.table import MILLION, Criticality, Generation, PoolInfo, Route, RouteTable, Split

NOW_MS = 1_800_000_000_000
POOLS = (PoolInfo("azure/r/d", "eu", "http://a"), PoolInfo("gcp/r/d", "eu", "http://g"))


def made_table(splits: dict[str, tuple[int, int]], criticality: Criticality = "critical") -> RouteTable:
    """Routes by name, with the parts per million of azure and of gcp; the rest is shed."""
    routes = tuple(
        Route(
            name.partition("/")[0],
            name.partition("/")[2],
            criticality,
            split=Split((0, 1), parts, MILLION - sum(parts)),
            shed_reason="shed_no_room",
        )
        for name, parts in splits.items()
    )
    return RouteTable(Generation("test", 3, 7), NOW_MS, POOLS, routes=routes)


WHOLE = made_table({"chat/eu": (1_000_000, 0)})


def order(verb: Verb, scope: str, *, id_: str = "o1", minutes: int = 60, guard: str = "") -> Command:
    """An order by kim, given at NOW_MS."""
    expires_ms = NOW_MS + minutes * 60_000
    return Command(id_, verb, scope, "kim", "a drill", NOW_MS, expires_ms=expires_ms, guard=guard)


def observation(
    *orders: Command,
    at_ms: int = NOW_MS,
    alarms: tuple[Verdict, ...] = (),
    holding: tuple[Verdict, ...] | None = (),
    table: RouteTable = WHOLE,
    demand: float = 90.0,
) -> Observation:
    """What a step found."""
    return Observation(
        at_ms,
        orders,
        alarms,
        holding=holding,
        table=table,
        demand={route.name: demand for route in table.routes},
    )
