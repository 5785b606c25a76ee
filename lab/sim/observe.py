"""A second of a simulation as ``TickFacts``: what the invariants may know."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.policy import Policy, Pool
from controller.core.snapshot import Ready
from lab.sim.facts import NEVER_S, PoolFacts, TickFacts
from lab.sim.fleet import Outcome
from lab.sim.spec import LIES, SILENCES, FuzzWorld, Kind, Occurrence
from lab.sim.splits import loads
from lab.sim.weather import Weather
from lab.simulated.clocks import START_MS
from tieline.table import RouteTable

WELL_S = 60  # nothing was wrong with a pool for so long
STATED_AGAIN_S = 15  # after a silence the fleet has stated everything again
LIFTED_S = 5
ORDER_ARRIVES_S = 2  # after it was given, and after whatever may have kept it from its reader
BELIEVED_FACTOR = 4  # x what clients are served: more is not believed (docs/failure-modes.md)
PLANNED_IN_S = 30
TOUCHING_ALL: tuple[Kind, ...] = (
    "pin",
    "failover",
)  # which pools a workload may use is another question then
RESTLESS = (State.RECOVERING, State.DOWN)
TOUCHING: tuple[Kind, ...] = (
    "errors", "throttle", "hang", "slow", "serves", "capacity", "planned", "status", "maintenance", "drain",
    "verdict", "lying_probe", "declined", "evacuate", "drill", "mode",
)  # fmt: skip


class Outlook:
    """Remembers from one second to the next since when things have been as they are."""

    def __init__(self, world: FuzzWorld) -> None:
        self._world = world
        self._modes = {provider.id: provider.mode for provider in world.policy.providers}
        self._has_fleet = any(source.kind == "fleet" for source in world.policy.sources)
        self._noise = world.noise
        self._edges = _edges(world)
        self._stirred_s = 0
        self._silent_from_s = -1
        self._lied_s = -NEVER_S
        self._asked: set[str] = set()
        self._expected = expected_units(world.policy)
        self._touched_s: dict[str, int] = {}
        self._withdrawn_from_s: dict[str, int] = {}
        self._freezes_read: set[Occurrence] = set()
        self._in_other_modes: frozenset[str] = frozenset()

    def facts(
        self,
        weather: Weather,
        ready: Ready,
        table: RouteTable,
        *,
        before: RouteTable | None,
        took_office_s: int,
        outcome: Outcome,
        undisturbed_s: int = NEVER_S,
    ) -> TickFacts:
        """What is seen after a step. ``table`` is in force now, ``before`` was until this second, and
        ``outcome`` came of that. ``undisturbed_s``: for how long nothing has kept orders from the leader."""
        second, memory, policy = weather.second, ready.memory, self._world.policy
        self._note(weather)
        self._note_freezes(weather, undisturbed_s)
        self._in_other_modes = self._ordered(lambda o: o.kind == "mode", second)
        self._note_chance(weather, memory)
        self._asked.update(route for route, units in weather.demand.items() if units)
        demand = {r: self._counted(r, u, memory) for r, u in weather.demand.items()}
        carried = loads(table, demand)
        pools = {
            pool.id: self._pool(
                pool, memory.pools.get(pool.id, PoolMemory()), weather, carried.get(pool.id, 0.0)
            )
            for pool in policy.pools
        }
        return TickFacts(
            second,
            table,
            before if ready.table is not None else None,
            urgent=ready.urgent,
            demand=demand,
            pools=pools,
            group_usable=self._groups(weather),
            frozen=frozenset(
                pool for freeze in self._freezes_read for pool in weather.pools_of(freeze.target)
            ),
            shares_lifted=self._ordered(lambda o: o.word == "provider_share", second),
            calm_s=second - self._stirred_s,
            silent_s=second - self._silent_from_s if self._silent_from_s >= 0 else -1,
            took_office_s=second - took_office_s,
            lied_s=second - self._lied_s,
            clients_heard=not weather.of("clients_silent", "lag"),
            steady=all(_is_steady(pool) for pool in memory.pools.values()),
            noisy=bool(self._noise),
            panic=_is_panic(policy, memory),
            doubted=doubted_routes(outcome),
        )

    def _counted(self, route: str, units: float, memory: Memory) -> float:
        """What no client ever asked for counts as the policy expects it. So does what clients asked for only
        while nobody could read it: reports that are too old are skipped, and nobody learns of them."""
        is_known = route in self._asked and (units or route in memory.reported)
        return units if is_known else self._expected.get(route, 0.0)

    def stir(self, second: int) -> None:
        """Something happened in that second that no occurrence tells of."""
        self._stirred_s = max(self._stirred_s, second)

    def _note(self, weather: Weather) -> None:
        second = weather.second
        if self._edges.get(second, frozenset()) - {"silence begins", "take_over"}:
            self._stirred_s = second
        if not weather.of("silence", "clients_silent", "lag"):
            self._silent_from_s = -1
        elif "silence begins" in self._edges.get(second, frozenset()):
            self._silent_from_s = second
        if weather.of(*LIES):
            self._lied_s = second
        for occurrence in weather.of(*TOUCHING):
            self._touch(weather.pools_of(occurrence.target), second)
        if weather.of(*TOUCHING_ALL):
            self._touch(weather.natures, second)
        if "fleet" in weather.targets("silence"):
            self._touch(weather.natures, second - WELL_S + STATED_AGAIN_S)
        withdrawn = sorted(weather.withdrawn())
        self._withdrawn_from_s = {pool: self._withdrawn_from_s.get(pool, second) for pool in withdrawn}

    def _touch(self, pools: Iterable[str], second: int) -> None:
        """Something was wrong with these pools in that second; what was wrong later still counts."""
        for pool in pools:
            self._touched_s[pool] = max(second, self._touched_s.get(pool, second))

    def _note_freezes(self, weather: Weather, undisturbed_s: int) -> None:
        """A freeze binds once it must have been read, and then until it ends, whoever leads."""
        in_force = weather.of("freeze")
        arrived = {o for o in in_force if min(weather.second - o.at_s, undisturbed_s) >= ORDER_ARRIVES_S}
        self._freezes_read = arrived | self._freezes_read.intersection(in_force)

    def _note_chance(self, weather: Weather, memory: Memory) -> None:
        """A pool that fails in part may cross a threshold by chance long after the failing began. Its new
        state is news then, as an occurrence is: the load moves for that, whoever leads."""
        for occurrence in weather.of("errors"):
            states = [memory.pools.get(pool) for pool in weather.pools_of(occurrence.target)]
            if occurrence.value < 1 and any(
                state is not None and (state.since_ms - START_MS) // 1_000 == weather.second
                for state in states
            ):
                self._stirred_s = weather.second

    def _pool(self, pool: Pool, memory: PoolMemory, weather: Weather, load: float) -> PoolFacts:
        limit = weather.stated[pool.id] if self._has_fleet else pool.limit_units_per_s
        is_well = weather.second - self._touched_s.get(pool.id, -WELL_S) >= WELL_S
        unbound = not memory.throttled_ms and not memory.lump_since_ms
        is_free = is_well and unbound and self._modes[pool.provider] == "act"
        since_s = (memory.since_ms - START_MS) // 1_000
        withdrawn_from_s = self._withdrawn_from_s.get(pool.id)
        return PoolFacts(
            memory.state.value,
            weather.second - max(since_s, 0),
            load,
            usable=limit * self._world.policy.headroom,
            limit=limit,
            clean=is_free and memory.state is State.HEALTHY,
            untried=is_free and memory.state is State.UNKNOWN,
            withdrawn_s=-1 if withdrawn_from_s is None else weather.second - withdrawn_from_s,
            acted_on=self._modes[pool.provider] == "act" and pool.provider not in self._in_other_modes,
        )

    def _groups(self, weather: Weather) -> dict[str, float]:
        policy = self._world.policy
        stated = weather.group_stated if self._has_fleet else {}
        return {g.id: stated.get(g.id, g.limit_units_per_s) * policy.headroom for g in policy.quota_groups}

    def _ordered(self, is_meant: Callable[[Occurrence], bool], second: int) -> frozenset[str]:
        """What such orders are given for, or were until moments ago."""
        recent = (
            o for o in self._world.occurrences
            if is_meant(o) and o.at_s <= second < o.at_s + (o.for_s or NEVER_S) + LIFTED_S
        )  # fmt: skip
        return frozenset(occurrence.target for occurrence in recent)


def expected_units(policy: Policy) -> dict[str, float]:
    """By route, the units/s that the policy expects while nobody has reported its demand."""
    return {
        f"{workload.id}/{place}": units
        for workload in policy.workloads
        for place, units in workload.expected_units_per_s.items()
    }


def doubted_routes(outcome: Outcome) -> frozenset[str]:
    """Routes of which clients are served so little that not all that they ask for is to be believed."""
    wanted, served = outcome.wanted, outcome.served
    return frozenset(r for r, units in wanted.items() if units > BELIEVED_FACTOR * served.get(r, 0.0))


def _edges(world: FuzzWorld) -> dict[int, frozenset[str]]:
    """By second: the kinds of what begins or ends then."""
    edges: dict[int, set[str]] = {}
    for occurrence in world.occurrences:
        kind = "silence begins" if occurrence.kind in SILENCES else occurrence.kind
        edges.setdefault(occurrence.at_s, set()).add(kind)
        for at_s in _later_edges(occurrence):
            # A source that is heard again may have news.
            edges.setdefault(at_s, set()).add(
                "take_over" if kind == "take_over" else f"{occurrence.kind} ends"
            )
    return {at_s: frozenset(kinds) for at_s, kinds in edges.items()}


def _later_edges(occurrence: Occurrence) -> list[int]:
    edges = [occurrence.at_s + occurrence.for_s] if occurrence.for_s else []
    if occurrence.kind == "maintenance":
        edges.append(occurrence.at_s + round(occurrence.value))
    if occurrence.kind == "planned":
        edges.append(occurrence.at_s + PLANNED_IN_S)
    return edges


def _is_steady(pool: PoolMemory) -> bool:
    """Whether the pool neither climbs nor waits nor is throttled, so that time alone changes nothing."""
    return pool.state not in RESTLESS and not pool.throttled_ms and not pool.lump_since_ms


def _is_panic(policy: Policy, memory: Memory) -> bool:
    """Whether more than half of the providers have all their pools down."""
    lost = 0
    for provider in policy.providers:
        own = [
            memory.pools[p.id].state
            for p in policy.pools
            if p.provider == provider.id and p.id in memory.pools
        ]
        lost += bool(own) and all(state is State.DOWN for state in own)
    return 2 * lost > len(policy.providers)
