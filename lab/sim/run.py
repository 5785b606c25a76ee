"""One world from beginning to end: time, what befalls it, the planner's steps, and what the observer sees."""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from typing import NamedTuple

import msgspec

from controller.core.lp.problem import problem_of
from controller.core.lp.solve import solve
from controller.core.model.dispatch_plan import Plan
from controller.core.model.memory import Memory
from controller.core.planner import Planner, step
from controller.core.policy.compiled import compile_policy
from controller.core.snapshot import Office, Ready, Snapshot
from lab.sim.contracts import contracts_of
from lab.sim.facts import TickFacts
from lab.sim.fleet import Clients, Outcome
from lab.sim.invariants import Breach, Watch
from lab.sim.observe import Outlook
from lab.sim.reports import Reports
from lab.sim.spec import FuzzWorld
from lab.sim.weather import Weather
from lab.simulated.clocks import START_MS
from streams.rows import Progress
from tieline.table import Generation, RouteTable, encode_table

TOPICS = ("capacity", "demand", "reports", "statements")
NO_EXCEPTION = "no exception"
SAME_BYTES = "the same snapshot gives the same bytes"
PLAN_EVERY_S = 5
REPLAY_EVERY_S = 97
SETTLE_S = 2
WINDOW_MS = 15_000  # moves by choice wait so long after a take-over

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class FuzzRun(NamedTuple):
    """What came of a world. ``digest`` covers every publication and the memory at the end."""

    world: FuzzWorld
    breaches: tuple[Breach, ...]
    digest: str
    steps: int
    publications: int
    urgent: int
    take_overs: int


def run(world: FuzzWorld, *, until: str = "") -> FuzzRun:
    """Runs the whole world, or ends with the first breach of the invariant ``until``.

    An exception of the planner is a breach, and ends it.
    """
    simulation = Simulation(world)
    watch = Watch(contracts_of(msgspec.to_builtins(world.policy)))
    breaches: list[Breach] = []
    for second in range(world.seconds):
        try:
            watch.look(simulation.tick(second))
            if until in {breach.invariant for breach in watch.breaches}:
                break
        except Exception as error:  # noqa: BLE001  # whatever the planner raises is what this looks for
            breaches.append(Breach(NO_EXCEPTION, second, story=f"{type(error).__name__}: {error}"))
            break
    return simulation.result((*watch.breaches, *simulation.breaches, *breaches))


class Simulation:
    """The state of a world between two seconds."""

    def __init__(self, world: FuzzWorld) -> None:
        self.world = world
        self.weather = Weather(world)
        self.reports = Reports(world)
        self.breaches: list[Breach] = []
        self.table: RouteTable | None = None
        self.memory: Memory | None = None
        self.outcome = Outcome()
        self._clients = Clients({f"client-{n}": part for n, part in enumerate(world.shares)})
        self._outlook = Outlook(world)
        self._compiled = compile_policy(world.policy)
        self._planner = Planner()
        self._noise = Random(f"{world.seed} noise")
        self._digest = blake2b(digest_size=16)
        self._epoch, self._seq, self._took_office_s = 1, 0, 0
        self._recorded: Memory | None = None
        self._plan: Plan | None = None
        self._next_plan: Plan | None = None
        self._counts = {"steps": 0, "publications": 0, "urgent": 0, "take_overs": 0}

    def tick(self, second: int) -> TickFacts:
        """One second passes; what the observer sees then."""
        now_ms = START_MS + second * 1_000
        self.weather.turn(second)
        demand = self._demand()
        if self.table is not None:
            self._happen(second, now_ms, demand)
        if self.weather.begins("take_over") and self.table is not None:
            self._take_over(second, now_ms)
        if not self.weather.lags:
            self.reports.arrive(now_ms, self.weather.lost(tuple(self._clients.shares)))
        snapshot = self._snapshot(second, now_ms)
        before = self.table
        ready = self._planner.step(snapshot, now_ms)
        self._check_replay(snapshot, ready, second, now_ms)
        self._apply(ready)
        self._think(second, now_ms)
        assert self.table is not None
        return self._outlook.facts(
            self.weather,
            ready,
            self.table,
            before=before,
            took_office_s=self._took_office_s,
            outcome=self.outcome,
        )

    def result(self, breaches: tuple[Breach, ...]) -> FuzzRun:
        """The whole run, with these breaches."""
        self._digest.update(_encoder.encode(self.memory))
        return FuzzRun(self.world, breaches, self._digest.hexdigest(), **self._counts)

    def _demand(self) -> dict[str, float]:
        noise = self.world.noise
        return {
            route: units * (1 + noise * self._noise.uniform(-1, 1) if noise else 1.0)
            for route, units in self.weather.demand.items()
        }

    def _happen(self, second: int, now_ms: int, demand: dict[str, float]) -> None:
        """Clients send and report, probers probe, the fleet states."""
        weather, clients = self.weather, self._clients
        assert self.table is not None
        tables = dict.fromkeys(clients.shares, self.table)
        outcome = clients.serve(tables, demand, weather.natures, weather.group_serves, second)
        self.outcome = outcome
        cut_off = weather.targets("own_network")
        self.reports.clients_saw(outcome, clients.shares, weather.natures, clients.left, now_ms, cut_off)
        for route, units in weather.lies.items():
            self.reports.liar_claims(route, units, now_ms)
        self.reports.sources_say(weather, now_ms)

    def _take_over(self, second: int, now_ms: int) -> None:
        """Another controller, which knows only the newest publication, takes it over under a new epoch."""
        self._epoch, self._seq, self._took_office_s = self._epoch + 1, 1, second
        self._planner = Planner()
        self.memory = self._recorded
        self.reports.rebuild()
        self._counts["take_overs"] += 1
        if self.table is not None:
            generation = Generation(self.world.policy.lineage, self._epoch, 1)
            self.table = msgspec.structs.replace(self.table, generation=generation, made_ms=now_ms)

    def _snapshot(self, second: int, now_ms: int) -> Snapshot:
        took_ms = START_MS + self._took_office_s * 1_000
        office = Office(
            self.world.policy.lineage, self._epoch, self._seq + 1, took_office_ms=took_ms,
            voluntary_after_ms=took_ms + WINDOW_MS if self._epoch > 1 else 0,
            settled=self._epoch == 1 or second - self._took_office_s >= SETTLE_S,
        )  # fmt: skip
        read = 95 if self.weather.lags else 100
        return Snapshot(
            self.world.policy, office, self.reports.of("reports"),
            statements=self.weather.statements, capacities=self.reports.of("capacity"),
            demand=self.reports.demand_rows(),
            progress=tuple(Progress(f"tieline.{t}", 0, read, end_offset=100, at_ms=now_ms) for t in TOPICS),
            commands=self.weather.commands, memory=self.memory, table=self.table, plan=self._plan,
        )  # fmt: skip

    def _apply(self, ready: Ready) -> None:
        """What the controller would do with the step."""
        self._counts["steps"] += 1
        self.memory = ready.memory
        if ready.table is not None or ready.memory_changed:
            self._recorded = ready.memory
        if ready.table is not None:
            self._counts["publications"] += 1
            self._counts["urgent"] += ready.urgent
            self._digest.update(encode_table(ready.table))
            self.table = ready.table
            self._seq += 1

    def _think(self, second: int, now_ms: int) -> None:
        """The dispatch: asked every few seconds, and its answer counts from the next second on."""
        if self._next_plan is not None:
            self._plan, self._next_plan = self._next_plan, None
        if self.world.planned and self.table is not None and second % PLAN_EVERY_S == 0:
            problem = problem_of(self._snapshot(second, now_ms), now_ms)
            self._next_plan = solve(self._compiled, problem).plan

    def _check_replay(self, snapshot: Snapshot, ready: Ready, second: int, now_ms: int) -> None:
        """Without anything kept from earlier steps the same snapshot must give the same bytes."""
        if second % REPLAY_EVERY_S != REPLAY_EVERY_S - 1 or self.breaches:
            return
        if _encoder.encode(step(snapshot, now_ms)) != _encoder.encode(ready):
            story = "a planner without kept results decides otherwise"
            self.breaches.append(Breach(SAME_BYTES, second, story=story))
