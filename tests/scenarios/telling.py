"""What scenario files print of a world."""

from collections.abc import Iterator

from controller.core.inspect.alarms import alarms as due_alarms
from controller.core.inspect.explain import explain
from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason
from controller.core.model.words import sentence
from tests.scenarios.world import World
from tieline.table import MILLION, Split

HELD = (Reason.FROZEN, Reason.SOURCES_UNHEARD, Reason.MODE_OBSERVE, Reason.MODE_RECOMMEND)


def plan(world: World) -> Iterator[str]:
    """The table in force, and what it sends to each pool."""
    assert world.table is not None
    names = [info.pool for info in world.table.pools]
    for route in world.table.routes:
        yield f"{route.name:10} {_split(route.split, names)}"
    load = world.load()
    yield "load       " + ", ".join(f"{pool} {round(units)}" for pool, units in load.items() if units >= 0.5)


def loss(world: World, provider: str) -> Iterator[str]:
    """What the table says of a provider's loss, for every route that uses it."""
    assert world.table is not None
    names = [info.pool for info in world.table.pools]
    for route in world.table.routes:
        if (split := route.on_loss.get(provider)) is not None:
            yield f"{route.name:10} {_split(split, names)}"


def last_resort(world: World) -> Iterator[str]:
    """The pools on which clients may try what they have nothing left for, of every route that has some."""
    assert world.table is not None
    for route in world.table.routes:
        if route.last_resort:
            names = (world.table.pools[index].pool for index in route.last_resort)
            yield f"{route.name:10} {', '.join(names)}"


def _split(split: Split, names: list[str]) -> str:
    pairs = zip(split.pools, split.weights, strict=True)
    parts = [f"{names[index]} {_percent(weight)}" for index, weight in pairs]
    return ", ".join([*parts, *([f"SHED {_percent(split.shed)}"] if split.shed else [])])


def _percent(parts: int) -> str:
    share = parts * 100 / MILLION
    return f"{share:.0f}%" if share >= 10 or share == round(share) else f"{share:.1f}%"


def states(world: World) -> Iterator[str]:
    """Every pool that is not healthy."""
    assert world.memory is not None
    ill = {name: pool for name, pool in world.memory.pools.items() if pool.state.value != "healthy"}
    if not ill:
        yield "all healthy"
    for name, pool in ill.items():
        more = f" step {pool.ramp_step + 1}" if pool.state.value == "recovering" else ""
        held_s = (pool.hold_until_ms - world.now_ms) // 1000
        if pool.state.value == "down":
            more = f" held for {held_s}s" if held_s > 0 else " hold-down over"
        yield f"{name:22} {pool.state.value}{more}: {pool.reason.value}"


def alarms(world: World) -> Iterator[str]:
    """What a person must look at, and how many records were refused since the last time."""
    standing = due_alarms(world.snapshot(), world.memory or Memory(), world.now_ms)
    if not standing and not world.reporting.rejected:
        yield "none"
    for alarm in standing:
        value = f" {alarm.value:g}" if alarm.value is not None else ""
        yield f"{alarm.subject}: {alarm.reason.value}{value}"
    if rejected := world.reporting.rejected:
        yield f"{rejected} records refused: more than 60 s in the future"
        world.reporting.rejected = 0


def evidence(world: World, pool: str) -> Iterator[str]:
    """What the evidence says of one pool, as an explanation shows it."""
    verdict = explain(world.snapshot(), world.now_ms).pools[pool].evidence
    yield f"{verdict.subject}: {sentence(verdict, world.now_ms).split(': ', 1)[1].split(', for ')[0]}"


def why(world: World) -> Iterator[str]:
    """What was decided since the last time; a repeated reason once, and one that holds on once."""
    said, world.said = world.said, []
    before = None
    held: set[str] = set()
    for verdict in said:
        if (verdict.subject, verdict.reason) == before and not verdict.after:
            continue
        before = (verdict.subject, verdict.reason)
        change = f" {verdict.before}->{verdict.after}" if verdict.after else ""
        value = f" {verdict.value:g}" if verdict.value is not None else ""
        limit = f" against {verdict.limit:g}" if verdict.limit is not None else ""
        because = f" ({verdict.because})" if verdict.because else ""
        line = f"{verdict.subject}: {verdict.reason.value}{change}{value}{limit}{because}"
        if verdict.reason not in HELD or line not in held:
            yield line
        held.add(line)
