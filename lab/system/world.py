"""One run of the whole system: what happens in each second, and what is checked."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from hashlib import blake2b
from itertools import cycle
from typing import Any, NamedTuple

import msgspec
import structlog
from aiokafka import TopicPartition

from controller.core.model.memory import Memory
from controller.core.policy.policy import Workload
from controller.core.snapshot import Ready
from controller.decisions.record import decode_decision
from controller.routes.record import RoutesRecord, decode_record
from lab.sim.contracts import contracts_of
from lab.sim.fleet import Clients, Outcome
from lab.sim.invariants import ALL, Breach, Watch
from lab.sim.observe import Outlook, doubted_routes
from lab.sim.splits import table_shares
from lab.sim.weather import Weather
from lab.simulated.clocks import START_MS, simulated
from lab.simulated.kafka import SimRecord
from lab.simulated.loop import VirtualLoop, collect
from lab.system.callers import Caller
from lab.system.convergence import CONVERGES, EndState, convergence, must_converge, twin_of
from lab.system.events import Events
from lab.system.installation import Installation
from lab.system.machine_faults import MOMENTS, Breaker, Mend, is_claim
from lab.system.pools import PoolTruth
from lab.system.record_faults import POISON_KEY, event_topics
from lab.system.request_rules import RequestWatch
from lab.system.rules import (
    LETTERS,
    NO_EXCEPTION,
    READABLE,
    TABLES,
    AppliedTables,
    NewLeaders,
    RebuiltTable,
    RoutesHistory,
    courses,
    letter_faults,
    rest_faults,
    table_faults,
)
from lab.system.spec import CONTROLLERS, MachineFault, SystemWorld
from lab.system.trace import Trace
from tieline.table import RouteTable, TableError

BROKER_CLOCKS = frozenset({"broker_clock_ahead", "clocks_apart"})
REDIS_LOSSES = frozenset({"redis_emptied", "redis_taken_back"})
COMPARES_WITHIN_S = 5  # a new controller has found a leader, and compared its Redis with the leader's
GRACE_S = 75  # the minute, and the time to take over
OF_CONTROLLERS = MOMENTS | {"killed", "stopped"}
INGESTED_MS = 5_000  # by then a record is stored
SETTLES_S = 20  # a new leader, and who reads which partition; only then is everything decided at once
ALWAYS = frozenset({
    "only lawful pools", "a whole table", "on_loss names no pool that is down", "moves by choice are bounded",
    "silence moves nothing", "a take-over moves nothing",
})  # fmt: skip


class SystemRun(NamedTuple):
    """What came of a world. ``digest`` covers every record that was appended, ``orders`` the distinct orders
    of steps that were reached, ``faults`` how often each fault was in force, ``requests`` how many of them
    ended how."""

    world: SystemWorld
    breaches: tuple[Breach, ...]
    digest: str
    publications: int
    take_overs: int
    deposed: int
    restarts: int
    orders: frozenset[tuple[tuple[str, int], ...]]
    faults: dict[str, int]
    requests: dict[str, int]


def run(world: SystemWorld) -> SystemRun:
    """Runs a world from its beginning to its end, in virtual time. After a long quiet time its twin is run as
    well, the same world in which nothing happens, and the two are compared."""
    result, ending = _lived(world, is_compared=must_converge(world))
    collect()
    if ending is None:
        return result
    _, twin = _lived(twin_of(world, ending), is_compared=True)
    collect()
    faults = convergence(world.fuzz.policy, ending, twin).faults if twin is not None else ()
    apart = tuple(Breach(CONVERGES, world.seconds, story=fault) for fault in faults)
    return result._replace(breaches=(*result.breaches, *apart))


def _lived(world: SystemWorld, *, is_compared: bool) -> tuple[SystemRun, EndState | None]:
    """What came of a world, and how it ended if that is compared with another."""
    structlog.configure(processors=[_drop])
    logging.getLogger("tieline").setLevel(logging.CRITICAL)
    loop = VirtualLoop()
    with simulated(loop, world.seed):
        system = System(loop, world)
        try:
            loop.run_until_complete(system.live())
        finally:
            system.installation.end()
            loop.bury()
            structlog.reset_defaults()
    return system.result(), system.ending() if is_compared else None


def _drop(*_arguments: Any) -> Any:
    raise structlog.DropEvent


class System:
    """The state of a run."""

    def __init__(self, loop: VirtualLoop, world: SystemWorld) -> None:
        self._loop = loop
        self._world = world
        policy = world.fuzz.policy
        self.installation = Installation(loop, policy, world.seed, partitions=world.partitions)
        self.trace = Trace()
        self._breaker = Breaker(self.installation, self.trace)
        self._weather = Weather(world.fuzz)
        self._events = Events(world, self.installation)
        self._clients = Clients({f"client-{n}": part for n, part in enumerate(world.fuzz.shares)})
        self._history = RoutesHistory()
        self._contracts = contracts_of(msgspec.to_builtins(policy))
        self._truth = PoolTruth(world.seed, policy.pools)
        self._callers = [
            self._caller(name, workload)
            for name, workload in zip(self._clients.shares, cycle(policy.workloads), strict=False)
        ]
        self._applied = AppliedTables(self._history)
        self._rebuilt = RebuiltTable(self._history)
        self._leaders = NewLeaders()
        self._outlook = Outlook(world.fuzz)
        self._watch = Watch(self._contracts)
        self._seen: RouteTable | None = None
        self._took_office_s = 0
        self._stirred_s = 0  # when something last happened that may be news of pools
        self._shaken_s = 0  # when a fault last began or ended
        self._faults_in_force = 0
        self._urgent = False  # whether an urgent table was published since the last look
        self._outcome = Outcome()
        self._digest = blake2b(digest_size=16)
        self._breaches: list[Breach] = []
        self.installation.kafka.on_append.append(self._appended)

    async def live(self) -> None:
        """All of it."""
        for name in CONTROLLERS:
            self._loop.create_task(self.installation.keep(name), name=f"keep {name}")
        for caller in self._callers:
            self.installation.start(caller.name, lambda caller=caller: caller.run(self._applied.note))  # type: ignore[misc]
        await self._events.start([*self._clients.shares, *(s.id for s in self._world.fuzz.policy.sources)])
        self._loop.create_task(self._break_things(), name="faults")
        await self._pass_by(range(self._world.seconds))
        if not self._leading() and (self._knows_no_redis() or self._log_is_ahead()):
            await self._pass_by(range(self._world.seconds, self._world.seconds + GRACE_S))
        await self._at_rest()

    async def _pass_by(self, seconds: range) -> None:
        for second in seconds:
            await asyncio.sleep(max(second - self._loop.time(), 0))
            self.installation.redis.keep_copy()
            if second:
                self._look()  # what the second before has led to
            self._happen(second)

    def _leading(self) -> list[str]:
        """Who leads in its own eyes."""
        controllers = self.installation.controllers
        return [name for name, controller in controllers.items() if controller.leader.may_publish()]

    def _log_is_ahead(self) -> bool:
        """Whether the leader log holds times that have hardly come, as its broker's clock was ahead. No claim
        counts before those are over: the silence before it is measured by that clock (leading/claim_rule.py).
        """
        if not any(fault.kind in BROKER_CLOCKS for fault in self._world.faults):
            return False
        place = TopicPartition(self.installation.topics.leader.name, 0)
        partition = self.installation.kafka.partition(place)
        times_ms = [record.timestamp for record in partition.records] if partition is not None else []
        return max(times_ms, default=0) > self.installation.kafka.clock_ms(place) - SETTLES_S * 1_000

    def _knows_no_redis(self) -> bool:
        """Whether no controller can know that this is the Redis of the last leader, as Redis lost its data
        and no controller is older than that. Then nobody leads for a minute (leading/fitness.py).
        """
        lost_s = max((f.at_s for f in self._world.faults if f.kind in REDIS_LOSSES), default=float("inf"))
        processes = [self.installation.processes[name] for name in CONTROLLERS]
        return all(process.began_s > lost_s - COMPARES_WITHIN_S for process in processes)

    def ending(self) -> EndState | None:
        """How it has ended; None if no table was ever published."""
        newest = self._history.newest
        if newest is None or newest.table is None or newest.memory is None:
            return None
        now_ms = START_MS + self._world.seconds * 1_000
        demand, doubted = self._weather.demand, doubted_routes(self._outcome)
        return EndState(
            now_ms,
            newest.table,
            newest.memory,
            demand=demand,
            moved_ms=self._history.moved_ms(),
            doubted=doubted,
        )

    def result(self) -> SystemRun:
        """The whole run."""
        breaches = [*self._watch.breaches, *self._breaches]
        policy = self._world.fuzz.policy
        courses_broken = courses(self._history, [pool.id for pool in policy.pools], policy.thresholds)
        broken = (self._history, self._applied, self._rebuilt, self._leaders)
        for rule, story in (*(pair for part in broken for pair in part.breaches), *courses_broken):
            breaches.append(Breach(rule, -1, story=story))
        breaches += [Breach(NO_EXCEPTION, -1, story=ending) for ending in self.installation.endings]
        for caller in self._callers:
            breaches += [Breach(rule, second, story=story) for second, rule, story in caller.watch.breaches]
        return SystemRun(
            self._world,
            tuple(breaches),
            self._digest.hexdigest(),
            publications=len(self._history.counting),
            take_overs=self._history.take_overs,
            deposed=self._history.deposed,
            restarts=self.installation.restarts,
            orders=frozenset(self.trace.orders),
            faults=self._breaker.done,
            requests=dict(sum((Counter(caller.watch.ends) for caller in self._callers), Counter())),
        )

    def _caller(self, name: str, workload: Workload) -> Caller:
        watch = RequestWatch(
            name,
            workload.id,
            self._contracts,
            split_of=self._split_of,
            ill=self._truth.ill_s,
            cut_off=self._truth.ever_cut_off,
            numbers=self._truth.numbers,
            clock_s=self._loop.time,
        )
        return Caller(
            self.installation,
            self._world.fuzz.policy,
            workload,
            watch=watch,
            truth=self._truth,
            per_s=self._world.requests_per_s,
            seed=self._world.seed,
        )

    def _split_of(self, generation: str, route_name: str) -> dict[str, int]:
        """A route's shares by pool in a publication that counts; empty where there is none."""
        record = self._history.counting.get(generation)
        if record is None or record.table is None:
            return {}
        return table_shares(record.table).get(route_name, {})

    async def _break_things(self) -> None:
        for fault in self._world.faults:
            await asyncio.sleep(max(fault.at_s - self._loop.time(), 0))
            mend = self._breaker.break_now(fault)
            self._stir(fault)
            self._faults_in_force += 1
            self._loop.create_task(self._mend_later(fault, mend), name=f"mend {fault.kind}")

    async def _mend_later(self, fault: MachineFault, mend: Mend) -> None:
        await asyncio.sleep(fault.for_s)
        mend()
        self._faults_in_force -= 1
        self._stir(fault)

    def _stir(self, fault: MachineFault) -> None:
        """Something begins or ends. A controller that is lost is no news of pools: for that nothing moves."""
        self._shaken_s = round(self._loop.time())
        if fault.kind not in OF_CONTROLLERS:
            self._stirred_s = self._shaken_s

    def _happen(self, second: int) -> None:
        """One second of clients, probers, the fleet, status pages and operators."""
        weather, events, clients = self._weather, self._events, self._clients
        weather.turn(second)
        now_ms = START_MS + round(self._loop.time() * 1_000)
        events.hush(weather.lost(tuple(clients.shares)))
        events.claims_and_orders(weather, now_ms)
        tables = self._tables()
        outcome = clients.serve(tables, weather.demand, weather.natures, weather.group_serves, second)
        self._outcome = outcome
        cut_off = weather.targets("own_network")
        self._truth.turn(second, weather.natures, outcome, cut_off)
        if tables:
            events.clients_saw(outcome, clients.shares, weather.natures, clients.left, now_ms, cut_off)
        for route, units in weather.lies.items():
            events.liar_claims(route, units, now_ms)
        events.sources_say(weather, now_ms)

    def _tables(self) -> dict[str, RouteTable]:
        """By client, the table of the generation that it has in force."""
        tables = {}
        for caller in self._callers:
            record = self._history.counting.get(caller.applied[-1]) if caller.applied else None
            if record is not None and record.table is not None:
                tables[caller.name] = record.table
        return tables

    def _appended(self, record: SimRecord, sender: str) -> None:
        self._digest.update(repr(record[:5]).encode())
        self._digest.update(record.value or b"")
        topics = self.installation.topics
        if record.topic == topics.leader.name and is_claim(record):
            self.trace.note("claim", sender)
            self._leaders.claimed(record.offset, self._ends())
        elif record.topic == topics.decisions.name and record.value is not None:
            self._leaders.decided(decode_decision(record.value), self._ends())
        if record.topic != topics.routes.name or record.value is None:
            return
        try:
            routes = decode_record(record.value)
        except TableError as error:
            self._breaches.append(Breach(READABLE, round(self._loop.time()), story=str(error)))
            return
        epoch_before = self._history.newest.generation.epoch if self._history.newest else -1
        counts = self._history.append(routes)
        self._rebuilt.append(record.offset, record.key, record.value, routes)
        self._urgent |= counts and routes.urgent_seq == routes.generation.seq
        self.trace.note("fence" if routes.table is None else "append" if counts else "late append", sender)
        if counts and routes.generation.epoch > epoch_before:
            self._took_office_s = max(self._weather.second, 0)  # the second in which the table is looked at

    def _ends(self) -> dict[tuple[str, int, str], int]:
        """Where the topics of events end now."""
        topics = self.installation.kafka.topics
        return {
            (name, number, topics[name].id): partition.end_offset
            for name in event_topics(self.installation)
            for number, partition in enumerate(topics[name].partitions)
        }

    def _look(self) -> None:
        """The invariants of this second, on the newest publication that counts."""
        newest = self._history.newest
        if newest is None or newest.table is None or newest.memory is None:
            return
        before, self._seen = self._seen, newest.table
        ready = self._ready(newest, newest.memory, is_new=before is not newest.table)
        self._outlook.stir(self._stirred_s)
        since_s = self._weather.second - max(self._shaken_s, self._took_office_s)
        facts = self._outlook.facts(
            self._weather,
            ready,
            newest.table,
            before=before,
            took_office_s=self._took_office_s,
            outcome=self._outcome,
            undisturbed_s=0 if self._faults_in_force else since_s,
        )
        decides = since_s >= SETTLES_S and not self._faults_in_force
        self._watch.look(facts, ALL if decides else ALWAYS)

    def _ready(self, record: RoutesRecord, memory: Memory, *, is_new: bool) -> Ready:
        is_urgent, self._urgent = self._urgent, False
        return Ready(memory, record.table if is_new else None, (), urgent=is_urgent)

    async def _at_rest(self) -> None:
        stored = self.installation.redis.data.get(self.installation.keys.routes.encode(), {})
        faults = rest_faults(
            self._history,
            self._applied,
            states={caller.name: caller.state for caller in self._callers},
            stored=stored if isinstance(stored, dict) else {},
            leaders=self._leading(),
            now_ms=START_MS + round(self._loop.time() * 1_000),
        )
        faults += await self._records_at_rest(START_MS + round(self._loop.time() * 1_000) - INGESTED_MS)
        self._breaches += [Breach(rule, self._world.seconds, story=story) for rule, story in faults]

    async def _records_at_rest(self, until_ms: int) -> list[tuple[str, str]]:
        """What became of the records that Kafka has held since before that time."""
        installation = self.installation
        events, letters = event_topics(installation), installation.topics.deadletter.name
        keys = installation.keys_on(*events, until_ms=until_ms)
        poison = [key for key in keys if key is not None and key.startswith(POISON_KEY)]
        dead = installation.keys_on(letters, until_ms=until_ms + INGESTED_MS)
        rebuilt = await installation.rebuilt(until_ms + INGESTED_MS)
        stale = table_faults(rebuilt, await installation.contents(), until_ms)
        return [*((LETTERS, story) for story in letter_faults(poison, dead)), *((TABLES, s) for s in stale)]
