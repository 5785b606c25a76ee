"""The only place that names concrete parts: one controller process, put together, run and taken apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from redis.exceptions import RedisError

from controller.agent import RoutingAgent, Surroundings
from controller.commands.in_force import CommandReader
from controller.commands.policies import PolicyTaken, first_policy, published_policy
from controller.core.policy.policy import Policy
from controller.core.policy.registry import registry_of
from controller.decisions.figures import DecisionFigures
from controller.decisions.log import DecisionLog
from controller.dispatch.dispatcher import Dispatcher
from controller.history.log import HistoryLog
from controller.kafka.offsets import Offsets
from controller.kafka.ordered_log import watch_logs
from controller.kafka.reading import reading_faults
from controller.kafka.topics import ensure_topics
from controller.leading.fitness import PolicyNames
from controller.leading.fitness_watch import FitnessWatch, Stand
from controller.leading.leader import Leader
from controller.leading.presence import first_presence
from controller.leading.vitals import controller_vitals
from controller.ledger.log import Ledger
from controller.offers.log import OfferLog
from controller.policy_file import load_policy
from controller.ports import REAL, Ports
from controller.process.clock import monotonic_ms, now_ms
from controller.process.connections import eviction_complaint
from controller.process.errors import UserError
from controller.process.monitor import Vitals, monitored
from controller.process.roles import Role
from controller.process.seal import Seal, controller_seal
from controller.process.settings import UNSIGNED_NOTICE, Settings
from controller.process.supervise import collect_seldom, end_on_signals, together, until_asked
from controller.process.telemetry import without_password
from controller.routes.counting_rule import NO_EPOCH
from controller.routes.overlay_keeper import OverlayKeeper
from controller.routes.projection import Projector
from controller.routes.publisher import Publisher
from controller.routes.unread import UnreadWatch
from streams.app import IngestSettings
from streams.connections import bootstrap_again
from streams.tables import RedisTables
from streams.topic_ids import topic_facts
from tieline.backoff import Backoff

STOP_WITHIN_S = 4.0
INGEST_STOP_WITHIN_S = 2.0
LOGS_WITHIN_S = 10.0  # then it is said that they are still being read
ROUTES_WITHIN_S = 60.0
FORGED = "{} records of the leader log or the routes log were ignored: somebody else writes there"
FOREIGN = (
    "LINEAGE: Redis holds the lineage {}, so clients don't have our tables: correct `lineage` in the policy, "
    "or run `tieline adopt-lineage` if ours follows it"
)
NOBODY_INGESTS = (
    "no controller takes events in, so the tables grow old: start one with --role ingest, or without --role"
)
OPERATORS_SIGN = (
    "the policy names operators, so every order must be signed: leave out --unsigned-dev-mode and "
    "TIELINE_UNSIGNED_DEV_MODE, or try things out with a policy without `operators`"
)
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 2.0


class Controller:
    """One controller process: takes events in, is a candidate, reads orders, decides while it leads; or only
    one of the two, by its role (``process.roles``)."""

    def __init__(self, settings: Settings, policy: Policy, seal: Seal, ports: Ports = REAL) -> None:
        topics, kafka = settings.topics, settings.kafka
        self.seal = seal
        self._topics, self._kafka = topics, kafka
        self._unsigned_asked, self._role = settings.unsigned, settings.role
        self.redis = ports.redis(settings.redis, settings.keys)
        self._keys = settings.keys
        tables = RedisTables(self.redis, settings.keys)
        self._tables = tables
        self.leader = Leader(
            kafka,
            topics.leader.name,
            self._wake,
            may_claim=lambda: self.fitness.fitness.may_claim,
            seal=self.seal,
        )
        self.publisher = Publisher(
            kafka,
            topics.routes.name,
            identity=self.leader.identity,
            epochs=self.leader.tail,
            may_publish=self.leader.may_publish,
            seal=self.seal,
        )
        own = first_policy(policy, unsigned=settings.unsigned)
        commands, namespace = topics.commands.name, settings.namespace
        self.commands = CommandReader(kafka, commands, policy=own, namespace=namespace, on_change=self._wake)
        self.projector = Projector(self.redis, settings.keys, self.seal)
        self.overlay = OverlayKeeper(self.redis, settings.keys)
        self.decisions = DecisionLog(kafka, topics.decisions.name, self.leader.identity)
        self.figures = DecisionFigures()
        self.projector.on_projected = lambda generation: self.figures.projected(generation, now_ms())
        self.history = HistoryLog(
            kafka, topics.history.name, identity=self.leader.identity, command_of=self.commands.read.get
        )
        self.dispatcher = Dispatcher(self._wake, spawn=ports.spawn_solver)
        self.ledger = Ledger(kafka, topics.usage.name, identity=self.leader.identity)
        registry = registry_of(policy)
        self.offers = OfferLog(kafka, topics.offers.name, registry=registry, on_change=self._wake)
        ingest = IngestSettings(kafka, settings.namespace, stop_within_s=INGEST_STOP_WITHIN_S)
        self.offsets = Offsets(kafka, ingest.consumed)
        self.ingest = ports.ingest(ingest, registry, tables, on_material=self._wake)
        self._policy_file = self._policy_followed = own.version
        self._policy_refused = ""
        self._unread = UnreadWatch()
        redis_place = without_password(settings.redis)
        self.fitness = FitnessWatch(
            kafka,
            topics,
            first=first_presence(self.leader.identity, now_ms(), own, redis=redis_place, role=settings.role),
            redis=self.redis,
            keys=settings.keys,
            projector=self.projector,
            standing=self,
            shortages=ports.shortages,
            on_change=self._follow_policy,
        )
        self.agent = RoutingAgent(own, self._surroundings())
        self._commands_started = asyncio.Event()
        self._log = structlog.get_logger("controller")

    def _surroundings(self) -> Surroundings:
        """The parts that the agent works with."""
        return Surroundings(
            leader=self.leader,
            publisher=self.publisher,
            projector=self.projector,
            commands=self.commands,
            decisions=self.decisions,
            figures=self.figures,
            history=self.history,
            fitness=self.fitness,
            offsets=self.offsets,
            tables=self._tables,
            dispatcher=self.dispatcher,
            offers=self.offers,
            ledger=self.ledger,
            on_policy=self._policy_published,
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Controller"]:
        """Opens all connections, and closes them at the end, each within its own limit."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.redis.aclose)
            routes, leader = self._topics.routes.name, self._topics.leader.name
            facts = await topic_facts(self._kafka, [routes, leader])
            self.projector.history, self.projector.leader_log = facts[routes].id, facts[leader].id
            for part in (self.fitness, self.offsets, self.publisher, self.leader, self.offers, self.ledger):
                await part.start()
                closing.push_async_callback(part.stop)
            closing.push_async_callback(self.commands.stop)
            closing.push_async_callback(self.ingest.stop)
            yield self

    async def run(self) -> None:
        """Runs all tasks until cancelled. When one ends, the others end too and its error is raised."""
        tasks = {
            "fitness": self.fitness.run(),
            "leader": self.leader.run(),
            "logs": self._watch_logs(),
            "overlay": self.overlay.run(),
            "routes": self.publisher.run(),
        }
        if self._role.does(Role.INGEST):
            tasks["ingest"] = self._ingest()
        if self._role.does(Role.DECIDE):
            tasks |= {
                "agent": self._agent(),
                "commands": self._commands(),
                "decisions": self.decisions.run(),
                "dispatch": self.dispatcher.run(),
                "hints": self._hints(),
                "history": self.history.run(),
                "ledger": self.ledger.run(),
                "offers": self._offers(),
                "projection": self.projector.run(),
            }
        await together(tasks)

    async def _watch_logs(self) -> None:
        topics = self._topics
        logs = (topics.leader, topics.routes, topics.commands, topics.offers)
        await watch_logs(self._kafka, tuple(topic.name for topic in logs))

    def vitals(self) -> Vitals:
        """What this process reports about itself."""
        return controller_vitals(
            self.leader,
            self.publisher,
            self.projector,
            ingest=self.ingest,
            overlay=self.overlay,
            fitness=self.fitness.fitness,
            seal=self.seal,
            agent=self.agent.report(),
        )

    async def until_read(self) -> None:
        """See ``Standing``."""
        await self.publisher.read_all(ROUTES_WITHIN_S)

    def stands(self) -> Stand:
        """See ``Standing``."""
        head = self.publisher.in_force()
        progress = self.ingest.progress
        stands_by = self.leader.epoch is None
        return Stand(
            in_force=PolicyNames(head.generation.lineage, head.policy_version, head.policy_number)
            if head
            else None,
            epoch_in_force=self.leader.log.epoch,
            own_epoch=NO_EPOCH if self.leader.epoch is None else self.leader.epoch,
            unread=self._unread.look(self.publisher.log.newest if stands_by else None, monotonic_ms()),
            partitions=len(progress),
            alarms=(*reading_faults(progress, now_ms()), *self._alarms()),
            notices=(self.seal.notice,) if self.seal.notice else (),
        )

    def _alarms(self) -> list[str]:
        alarms = []
        if forged := self.publisher.refusals + self.leader.tail.refusals:
            alarms.append(FORGED.format(forged))
        if foreign := self.projector.foreign:
            alarms.append(FOREIGN.format(foreign))
        if self._role is Role.DECIDE and not self.fitness.somebody_does(Role.INGEST):
            alarms.append(NOBODY_INGESTS)
        return alarms

    async def _ingest(self) -> None:
        """Takes events in while this controller is fit to, and leaves them to others while it is not."""
        while True:
            await self.fitness.until(lambda: self.fitness.fitness.is_fit)
            await self.ingest.start()
            ended = asyncio.create_task(self.ingest.wait())
            leaving = asyncio.create_task(self.fitness.until(lambda: self.fitness.must_yield(Role.INGEST)))
            try:
                await asyncio.wait({ended, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
            if ended.done():
                return ended.result()
            self._log.warning("gives up its partitions", why=self.fitness.fitness.words)
            await self.ingest.stop()
            await asyncio.wait({ended})

    def _policy_published(self, taken: PolicyTaken) -> None:
        self.commands.log_policy(taken)
        self._follow_policy()

    def _follow_policy(self) -> None:
        """Checks events against the policy in force, whatever the policy file of this controller says."""
        head = self.publisher.in_force()
        if head is None:
            return
        try:
            self.commands.follow_publication(head)
            if head.policy_version in ("", self._policy_followed):
                return
            followed = published_policy(head, unsigned=self._unsigned_asked)
        except UserError as error:
            if self._policy_refused != head.policy_version:
                self._log.error("the policy in force can't be followed", why=str(error))
            self._policy_refused = head.policy_version
            return
        self.ingest.registry = self.offers.registry = registry_of(followed.policy)
        self._policy_followed = head.policy_version
        if self._unsigned_asked and followed.policy.operators:
            self._log.warning("orders must be signed here, because the policy in force names operators")
        if head.policy_version != self._policy_file:
            self._log.warning(
                "its policy file is not the policy in force, which it follows",
                number=head.policy_number,
                version=head.policy_version,
                file_version=self._policy_file,
            )

    async def _agent(self) -> None:
        """Runs the agent once the orders given so far, answers to requests for capacity and metered usage are
        read: nobody leads without knowing them, however much lies on their topics."""
        await self._commands_started.wait()
        while True:
            try:
                await self.commands.read_all(LOGS_WITHIN_S)
                await self.offers.read_older(LOGS_WITHIN_S)
                await self.ledger.read_older(LOGS_WITHIN_S)
            except TimeoutError:
                self._log.warning(
                    "orders, answers or usage are still being read", orders_left=self.commands.unread
                )
            else:
                break
        await self.agent.run()

    async def _commands(self) -> None:
        """Reads the orders, from where the newest publication left off."""
        await self.publisher.read_all(ROUTES_WITHIN_S)
        await self.commands.start(self.publisher.newest())
        self._commands_started.set()
        await self.commands.run()

    async def _offers(self) -> None:
        """Reads answers to requests for capacity once the policy in force is known: it says whose signature
        they need."""
        await self.publisher.read_all(ROUTES_WITHIN_S)
        self._follow_policy()
        await self.offers.run()

    async def _hints(self) -> None:
        """Wakes the agent for material events that other processes took in.

        These are only hints: the agent's timer does without them. This process's own events wake it directly;
        their hints are skipped, because a second step for each would delay the next event.
        """
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as hints:
                    await hints.subscribe(self._keys.tables_hint)
                    backoff.reset()
                    async for hint in hints.listen():
                        if self._tables.note_hint(hint["data"]):
                            self._wake(now_ms())
            except (RedisError, OSError):
                await asyncio.sleep(backoff.next_s())

    def _wake(self, event_ms: int | None = None) -> None:
        self.agent.wake(event_ms)


async def run_controller(settings: Settings) -> int:
    """Runs one controller until SIGTERM or SIGINT. Returns 0 after a clean end, else raises what ended it."""
    if settings.policy is None:
        raise UserError("a controller needs a policy: give --policy FILE")
    policy = load_policy(settings.policy)
    if settings.unsigned and policy.operators:
        raise UserError(OPERATORS_SIGN)
    seal = controller_seal(settings.signing_key, settings.controller_keys)
    log = structlog.get_logger("controller")
    asked_to_end = end_on_signals()
    bootstrap_again()
    created = await ensure_topics(
        settings.kafka,
        settings.topics,
        replication=settings.replication,
        on_advice=lambda topic, hints: log.warning(
            "a topic may grow beyond need", topic=topic, settings=hints
        ),
    )
    log.info(
        "starting",
        kafka=str(settings.kafka),
        redis=without_password(settings.redis),
        namespace=settings.namespace,
        lineage=policy.lineage,
        pools=len(policy.pools),
        role=settings.role.value,
        topics_created=len(created),
        orders=_orders_taken(settings, policy),
        tables=seal.notice or "signed, and those of others are checked",
    )
    async with (
        Controller(settings, policy, seal).connected() as controller,
        monitored(settings.monitor, controller.vitals),
    ):
        collect_seldom()
        if complaint := await eviction_complaint(controller.redis):
            log.warning("Redis may remove rows", why=complaint)
        running = asyncio.create_task(controller.run())
        await until_asked(asked_to_end, running)
        log.info("stopping")
        # Resign while the reader of the leader log still runs, so that a standby need not wait for silence.
        await controller.fitness.say_goodbye()
        await controller.leader.retire()
        running.cancel()
        await asyncio.wait({running}, timeout=STOP_WITHIN_S)
    log.info("stopped")
    return 0


def _orders_taken(settings: Settings, policy: Policy) -> str:
    if settings.unsigned:
        return UNSIGNED_NOTICE
    return "those that operators sign" if policy.operators else "none, as the policy names no operators"
